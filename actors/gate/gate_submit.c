/* Commands to sequencers. A batch holds only slots that share sequencer and store: the
 * sequencer can then make one append of it, and one slow store delays only its own. In
 * whose turn a batch is filled is gate_lanes.c's. */
#include "actors/gate/gate_priv.h"
#include "proto/names.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ queues */

static struct gate_pipe *
pipe_get(struct gate *g, uint16_t sequencer, uint16_t store, bool positions)
{
    struct gate_pipe *pipe = g->pipes;

    while (pipe != NULL && (pipe->sequencer != sequencer || pipe->store != store ||
                            pipe->positions != positions)) {
        pipe = pipe->next;
    }
    if (pipe == NULL) {
        pipe = calloc(1, sizeof(*pipe));
        if (pipe != NULL) {
            pipe->sequencer = sequencer;
            pipe->store = store;
            pipe->positions = positions;
            pipe->next = g->pipes;
            g->pipes = pipe;
        }
    }
    return pipe;
}

void
gate_submit(struct gate *g, struct gate_op *op)
{
    struct gate_pipe *pipe = pipe_get(
        g, g->owner[op->slot], g->topology->slot_store[op->slot], op->what != OP_SEND);

    if (pipe == NULL || !gate_lane_push(pipe, op)) {
        gate_op_fail(g, op, AN_ERR_BUSY, 0);
    }
}

/* ------------------------------------------------------------------ asking */

static ProtobufCBinaryData
bytes(const void *data, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
}

static bool
put_send(struct an_arena *arena, Anser__Bus__Command *command, const struct gate_op *op)
{
    const struct gate_conn *c = op->conn;
    Anser__Bus__SendCommand *send = an_arena_alloc(arena, sizeof(*send));

    if (send == NULL) {
        return false;
    }
    anser__bus__send_command__init(send);
    send->sender = c->user;
    send->recipient = op->peer;
    send->from = bytes(c->text, c->user_len);
    send->to = bytes(op->data, op->peer_len);
    send->device = bytes(c->text + c->user_len, c->device_len);
    send->client_msg_id = bytes(op->u.send.id, AN_CLIENT_MSG_ID_LEN);
    send->type = op->u.send.type;
    send->body = bytes(op->data + op->peer_len, op->u.send.body_len);
    if (op->u.send.has_after) {
        send->after_id = bytes(op->u.send.after, AN_CLIENT_MSG_ID_LEN);
    }
    command->what_case = ANSER__BUS__COMMAND__WHAT_SEND;
    command->send = send;
    return true;
}

static bool
put_confirm(struct an_arena *arena, Anser__Bus__Command *command,
            const struct gate_op *op)
{
    const struct gate_conn *c = op->conn;
    Anser__Bus__ConfirmCommand *confirm = an_arena_alloc(arena, sizeof(*confirm));

    if (confirm == NULL) {
        return false;
    }
    anser__bus__confirm_command__init(confirm);
    confirm->user = c->user;
    confirm->device = bytes(c->text + c->user_len, c->device_len);
    confirm->inbox_seq = op->u.confirm.seq;
    confirm->inbox_generation = op->u.confirm.generation;
    command->what_case = ANSER__BUS__COMMAND__WHAT_CONFIRM;
    command->confirm = confirm;
    return true;
}

static bool
put_delivered(struct an_arena *arena, Anser__Bus__Command *command,
              const struct gate_op *op)
{
    struct an_conv conv = an_conv_direct(op->conn->user, op->peer);
    Anser__Bus__DeliveredCommand *delivered = an_arena_alloc(arena, sizeof(*delivered));

    if (delivered == NULL) {
        return false;
    }
    anser__bus__delivered_command__init(delivered);
    delivered->conversation =
        bytes(an_arena_dup(arena, conv.bytes, AN_CONV_LEN), AN_CONV_LEN);
    delivered->member = op->conn->user;
    delivered->seq = op->u.confirm.seq;
    command->what_case = ANSER__BUS__COMMAND__WHAT_DELIVERED;
    command->delivered = delivered;
    return delivered->conversation.data != NULL;
}

static bool
put_seen(struct an_arena *arena, Anser__Bus__Command *command, const struct gate_op *op)
{
    const struct gate_conn *c = op->conn;
    Anser__Bus__UpdateDevice *update = an_arena_alloc(arena, sizeof(*update));
    const char *platform = an_platform_name(c->platform);

    if (update == NULL) {
        return false;
    }
    anser__bus__update_device__init(update);
    update->user = c->user;
    update->device = bytes(c->text + c->user_len, c->device_len);
    update->set = ANSER__BUS__DEVICE_SET__DEVICE_SET_SEEN |
                  ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM;
    update->platform = bytes(platform, strlen(platform));
    update->issued_ms = c->issued_ms;
    command->what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE;
    command->update_device = update;
    return true;
}

static Anser__Bus__Command *
put_command(struct an_arena *arena, const struct gate_op *op)
{
    Anser__Bus__Command *command = an_arena_alloc(arena, sizeof(*command));
    bool done = false;

    if (command == NULL) {
        return NULL;
    }
    anser__bus__command__init(command);
    command->slot = op->slot;
    command->trace = op->trace;
    if (op->what == OP_SEND) {
        done = put_send(arena, command, op);
    } else if (op->what == OP_CONFIRM) {
        done = put_confirm(arena, command, op);
    } else if (op->what == OP_SEEN) {
        done = put_seen(arena, command, op);
    } else {
        assert(op->what == OP_DELIVERED);
        done = put_delivered(arena, command, op);
    }
    return done ? command : NULL;
}

static bool
ask(struct gate *g, struct gate_batch *batch)
{
    Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    struct an_addr to = {AN_ROLE_SEQUENCER, batch->pipe->sequencer};

    submit.commands = an_arena_alloc(&g->scratch, batch->count * sizeof(void *));
    if (submit.commands == NULL) {
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        submit.commands[i] = put_command(&g->scratch, batch->ops[i]);
        if (submit.commands[i] == NULL) {
            return false;
        }
    }
    submit.n_commands = batch->count;
    an_out_ask(g->out, to, AN_KIND_SUBMIT, &submit.base, AN_ASK_MS, batch->tag,
               batch->ops[0]->trace);
    return true;
}

static void
fail_all(struct gate *g, struct gate_batch *batch, enum an_err err)
{
    for (size_t i = 0; i < batch->count; i++) {
        gate_op_fail(g, batch->ops[i], err, 0);
    }
}

static void
submit_one(struct gate *g, struct gate_pipe *pipe)
{
    struct gate_op *ops[AN_BATCH_ITEMS_MAX];
    struct gate_batch *batch;
    size_t count = 0, size = 0;

    while (count < AN_BATCH_ITEMS_MAX && size < AN_BATCH_BYTES_MAX &&
           pipe->turns.first != NULL) {
        ops[count] = gate_lane_pop(pipe);
        size += ops[count++]->bytes;
    }
    batch = gate_batch_create(g, TAG_SUBMIT, count);
    if (batch == NULL) {
        for (size_t i = 0; i < count; i++) {
            gate_op_fail(g, ops[i], AN_ERR_BUSY, 0);
        }
        return;
    }
    memcpy(batch->ops, ops, count * sizeof(struct gate_op *));
    batch->pipe = pipe;
    if (!ask(g, batch)) {
        gate_batch_take(g, batch->tag);
        fail_all(g, batch, AN_ERR_BUSY);
        free(batch);
    } else {
        pipe->flying++;
        g->counted.submits++;
        g->counted.submit_commands += count;
    }
    an_arena_reset(&g->scratch);
}

void
gate_submit_drained(struct gate *g)
{
    for (struct gate_pipe *pipe = g->pipes; pipe != NULL; pipe = pipe->next) {
        unsigned flying_max =
            pipe->positions ? GATE_POSITIONS_FLYING_MAX : g->submits_flying_max;

        while (pipe->turns.first != NULL && pipe->flying < flying_max) {
            submit_one(g, pipe);
        }
    }
}

/* ------------------------------------------------------------------ results */

static void
event_ack(struct gate *g, const struct gate_op *op, const Anser__Bus__Result *result)
{
    char id[2 * AN_CLIENT_MSG_ID_LEN + 1];

    an_out_hop(g->out, AN_HOP_ACK, op->trace, result->message_id, op->conn->id);
    if (!g->out->watched) {
        return;
    }
    an_out_event(g->out, "message.ack",
                 "{\"trace\":\"%016" PRIx64 "\",\"client_msg_id\":\"%s\","
                 "\"message_id\":\"%" PRIu64 "\",\"seq\":\"%" PRIu64 "\",\"gate\":%u}",
                 op->trace, gate_json_id(id, op->u.send.id), result->message_id,
                 result->seq, g->index);
}

static void
send_ok(struct gate *g, struct gate_op *op, const Anser__Bus__Result *result)
{
    Anser__Client__SendOk ok = ANSER__CLIENT__SEND_OK__INIT;

    gate_order_accepted(op);
    event_ack(g, op, result);
    ok.client_msg_id = bytes(op->u.send.id, AN_CLIENT_MSG_ID_LEN);
    ok.seq = result->seq;
    ok.message_id = result->message_id;
    ok.time_ms = result->time_ms;
    ok.inbox_seq = result->inbox_seq;
    g->counted.sends_ok++;
    gate_conn_answer(g, op->conn, AN_COMMAND_SEND, op->request, &ok.base);
    gate_left_if(g, op->conn);
    gate_op_free(g, op);
}

static void
result_ok(struct gate *g, struct gate_op *op, const Anser__Bus__Result *result)
{
    if (op->what == OP_SEND) {
        send_ok(g, op, result);
        return;
    }
    if (op->what == OP_SEEN) {
        gate_account_noted(g, op, AN_OK);
        return;
    }
    if (op->what == OP_CONFIRM) {
        op->u.confirm.all->cursor = result->seq;
    }
    gate_confirm_part(g, op);
}

/* ------------------------------------------------------------------ following */

/* Takes the queue apart and queues each command where its slot belongs now. */
static void
pipe_resort(struct gate *g, struct gate_pipe *pipe)
{
    struct gate_ops all = {0};
    struct gate_op *op;

    while ((op = gate_lane_pop(pipe)) != NULL) {
        gate_ops_push(&all, op);
    }
    while ((op = gate_ops_pop(&all)) != NULL) {
        gate_submit(g, op);
    }
}

/* After what was under way was sent on: what waits behind it must not overtake it, nor
 * wait for one that is away. */
static void
resort_like(struct gate *g, const struct gate_pipe *pipe)
{
    for (struct gate_pipe *at = g->pipes; at != NULL; at = at->next) {
        if (at->sequencer == pipe->sequencer && at->store == pipe->store) {
            pipe_resort(g, at);
        }
    }
}

/* The one asked is not to be asked again about the slot, if there is another. */
static bool
owner_flip(struct gate *g, uint16_t slot, uint16_t asked)
{
    uint16_t other = an_topology_other(g->topology, slot, asked);

    if (g->owner[slot] != asked || other == asked) {
        return false;
    }
    g->owner[slot] = other;
    return true;
}

/* The sequencer is away: all its slots at that store are asked of their other candidate,
 * who finds out whether it really is, and sends us back if not. */
static bool
owners_away(struct gate *g, const struct gate_pipe *pipe)
{
    bool flipped = false;

    g->counted.away++;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (g->topology->slot_store[slot] == pipe->store) {
            flipped |= owner_flip(g, slot, pipe->sequencer);
        }
    }
    return flipped;
}

/* Surely not handled by the one asked: queues it for the one who has its slot now. */
static bool
follow(struct gate *g, struct gate_op *op, uint16_t asked)
{
    uint32_t age_ms = (uint32_t)g->now.mono_ms - op->since_ms;

    if (g->owner[op->slot] == asked || op->hops >= GATE_HOPS_MAX ||
        age_ms >= AN_GATE_FOLLOW_MS) {
        return false;
    }
    op->hops++;
    g->counted.moved++;
    gate_submit(g, op);
    return true;
}

/* No results: the sequencer could not be asked, would not hear, or went meanwhile. Those
 * of unknown outcome are the client's to send again; the retry goes to the standby, which
 * looks up whether they were stored. */
static void
unanswered(struct gate *g, struct gate_batch *batch, enum an_err err)
{
    bool unhandled = err == AN_ERR_UNAVAILABLE || err == AN_ERR_SHUTTING_DOWN;
    bool flipped = false;

    if (unhandled || err == AN_ERR_TIMEOUT) {
        flipped = owners_away(g, batch->pipe);
    }
    for (size_t i = 0; i < batch->count; i++) {
        if (!unhandled || !follow(g, batch->ops[i], batch->pipe->sequencer)) {
            gate_op_fail(g, batch->ops[i], gate_client_err(err), 0);
        }
    }
    if (flipped) {
        resort_like(g, batch->pipe);
    }
}

/* Refused, and another may take it: now when it was told whom to ask or the one asked is
 * stopping, with the client's next try when it only cannot serve. True: who is to be
 * asked has changed. */
static bool
refused(struct gate *g, struct gate_op *op, const Anser__Bus__Result *result,
        uint16_t asked)
{
    bool changed = false, unhandled = false;

    if (result->err == AN_ERR_MOVED &&
        result->owner < g->topology->count[AN_ROLE_SEQUENCER]) {
        changed = g->owner[op->slot] != result->owner;
        g->owner[op->slot] = (uint16_t)result->owner;
        unhandled = true;
    } else if (result->err == AN_ERR_SHUTTING_DOWN || result->err == AN_ERR_UNAVAILABLE) {
        changed = owner_flip(g, op->slot, asked);
        unhandled = result->err == AN_ERR_SHUTTING_DOWN;
    }
    if (!unhandled || !follow(g, op, asked)) {
        gate_op_fail(g, op, gate_client_err(result->err), result->retry_after_ms);
    }
    return changed;
}

/* ------------------------------------------------------------------ answers */

void
gate_submit_done(struct gate *g, const struct an_msg *msg)
{
    const Anser__Bus__Submitted *submitted = (const Anser__Bus__Submitted *)msg->body;
    struct gate_batch *batch = gate_batch_take(g, msg->tag);
    enum an_err err = msg->err;
    bool changed = false;

    if (batch == NULL) {
        return;
    }
    batch->pipe->flying--;
    if (err == AN_OK && submitted->n_results != batch->count) {
        err = AN_ERR_TIMEOUT; /* who knows what it did */
    }
    if (err != AN_OK) {
        unanswered(g, batch, err);
        free(batch);
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        const Anser__Bus__Result *result = submitted->results[i];

        if (result->err == AN_OK) {
            result_ok(g, batch->ops[i], result);
        } else {
            changed |= refused(g, batch->ops[i], result, batch->pipe->sequencer);
        }
    }
    if (changed) {
        resort_like(g, batch->pipe);
    }
    free(batch);
}

void
gate_submit_fini(struct gate *g)
{
    while (g->pipes != NULL) {
        struct gate_pipe *pipe = g->pipes;
        struct gate_op *op;

        while ((op = gate_lane_pop(pipe)) != NULL) {
            gate_op_free(g, op);
        }
        g->pipes = pipe->next;
        free(pipe);
    }
}
