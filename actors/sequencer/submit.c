/* Takes Submits apart, hands each command to its rules, ends commands, and puts the
 * answers together. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>

/* ------------------------------------------------------------------ commands */

/* X(COMMAND, check, run) */
#define SEQ_COMMANDS(X)                                                                  \
    X(SEND, seq_send_check, seq_send_run)                                                \
    X(CONFIRM, seq_confirm_check, seq_confirm_run)                                       \
    X(DELIVERED, seq_delivered_check, seq_delivered_run)                                 \
    X(CREATE_USER, seq_create_user_check, seq_account_run)                               \
    X(PUT_DIRECTORY, seq_put_directory_check, seq_account_run)                           \
    X(UPDATE_ACCOUNT, seq_update_account_check, seq_account_run)                         \
    X(UPDATE_DEVICE, seq_update_device_check, seq_account_run)                           \
    X(CLAIM_NONCE, seq_claim_nonce_check, seq_claim_nonce_run)

static const struct {
    enum an_err (*check)(const Anser__Bus__Command *in);
    void (*run)(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                struct an_outbox *out);
} commands[] = {
#define SEQ_COMMAND_ROW(command, check, run)                                             \
    [ANSER__BUS__COMMAND__WHAT_##command] = {check, run},
    SEQ_COMMANDS(SEQ_COMMAND_ROW)};

static uint32_t
retry_after(enum an_err err)
{
    if (err == AN_ERR_BUSY) {
        return SEQ_RETRY_BUSY_MS;
    }
    return err == AN_ERR_UNAVAILABLE || err == AN_ERR_TIMEOUT ||
                   err == AN_ERR_DISK_FULL || err == AN_ERR_NOT_MINE
               ? SEQ_RETRY_UNAVAILABLE_MS
               : 0;
}

static void
submit_hold(struct seq *s, struct seq_submit *submit, struct an_msg *msg)
{
    submit->msg = an_msg_hold(msg);
    submit->older = NULL;
    submit->newer = s->submits;
    if (s->submits != NULL) {
        s->submits->older = submit;
    }
    s->submits = submit;
}

static void
submit_release(struct seq *s, struct seq_submit *submit)
{
    if (submit->newer != NULL) {
        submit->newer->older = submit->older;
    }
    if (submit->older != NULL) {
        submit->older->newer = submit->newer;
    } else {
        s->submits = submit->newer;
    }
    an_msg_release(submit->msg);
}

/* Answers and lets go of the Submit: its commands are gone afterwards. */
static void
answer(struct seq *s, struct seq_submit *submit, struct an_outbox *out)
{
    Anser__Bus__Submitted done = ANSER__BUS__SUBMITTED__INIT;
    struct seq_scratch *x = s->scratch;

    for (uint32_t i = 0; i < submit->count; i++) {
        const struct seq_cmd *cmd = &submit->cmds[i];
        Anser__Bus__Result *r = &x->results[i];

        anser__bus__result__init(r);
        r->err = cmd->err;
        r->retry_after_ms =
            cmd->retry_after_ms > 0 ? cmd->retry_after_ms : retry_after(cmd->err);
        r->owner = cmd->owner;
        r->user = cmd->user;
        if (cmd->err == AN_OK) {
            r->seq = cmd->seq;
            r->message_id = cmd->message_id;
            r->time_ms = cmd->time_ms;
            r->inbox_seq = cmd->inbox_seq;
        }
        x->result_list[i] = r;
    }
    done.results = x->result_list;
    done.n_results = submit->count;
    an_out_answer(out, submit->msg, AN_OK, &done.base);
    submit_release(s, submit);
}

static void
count_finished(struct seq *s, const struct seq_cmd *cmd)
{
    if (cmd->err != AN_OK && cmd->err != AN_ERR_USER_EXISTS) {
        s->m.refused++;
        s->m.moved += cmd->err == AN_ERR_MOVED;
        return;
    }
    switch (cmd->in->what_case) {
    case ANSER__BUS__COMMAND__WHAT_CONFIRM:
    case ANSER__BUS__COMMAND__WHAT_DELIVERED:
        s->m.confirms++;
        break;
    default:
        s->m.accounts += seq_is_account(cmd->in);
        break;
    }
}

static void
finish_one(struct seq *s, struct seq_cmd *cmd, enum an_err err, struct an_outbox *out)
{
    struct seq_submit *submit = cmd->submit;

    assert(!cmd->finished);
    cmd->finished = true;
    cmd->err = err;
    count_finished(s, cmd);
    if (cmd->row != NULL) {
        seq_dedupe_remove(&s->dedupe, cmd->row); /* it came to nothing */
        cmd->row = NULL;
    }
    if (cmd->conv != NULL) {
        assert(cmd->conv->refs > 0);
        cmd->conv->refs--;
        cmd->conv = NULL;
    }
    s->m.pending--;
    s->m.pending_bytes -= cmd->cost;
    if (--submit->left == 0) {
        answer(s, submit, out);
    }
}

void
seq_finish(struct seq *s, struct seq_cmd *cmd, enum an_err err, struct an_now now,
           struct an_outbox *out)
{
    bool account = seq_is_account(cmd->in);
    struct seq_list behind = {.head = NULL};
    struct seq_cmd first, *next;

    seq_list_init(&behind);
    if (account) {
        seq_account_leave(s, cmd, &behind);
        finish_one(s, cmd, err, out);
        seq_run_all(s, &behind, now, out);
        return;
    }
    if (cmd->followers.head == NULL) {
        finish_one(s, cmd, err, out);
        return;
    }
    seq_list_move(&behind, &cmd->followers);
    first = *cmd;
    finish_one(s, cmd, err, out);
    while ((next = seq_list_pop(&behind)) != NULL) {
        next->seq = first.seq;
        next->message_id = first.message_id;
        next->time_ms = first.time_ms;
        next->inbox_seq = first.inbox_seq;
        next->owner = first.owner;
        finish_one(s, next, err, out);
    }
}

void
seq_finish_all(struct seq *s, struct seq_list *list, enum an_err err, struct an_now now,
               struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, list);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        seq_finish(s, cmd, err, now, out);
    }
}

void
seq_run(struct seq *s, struct seq_cmd *cmd, struct an_now now, struct an_outbox *out)
{
    struct seq_slot *slot = &s->slots[cmd->slot];

    if (s->parting && !slot->left) {
        seq_finish(s, cmd, AN_ERR_SHUTTING_DOWN, now, out);
        return;
    }
    switch (slot->state) {
    case SEQ_SLOT_FOREIGN:
    case SEQ_SLOT_LOST:
        seq_not_ours(s, cmd, now, out);
        return;
    case SEQ_SLOT_CLAIMING:
        if (slot->err != AN_OK) {
            seq_finish(s, cmd, slot->err, now, out);
        } else {
            seq_list_push(&seq_link_of(s, cmd->slot)->waiting, cmd);
        }
        return;
    case SEQ_SLOT_OWNED:
        commands[cmd->in->what_case].run(s, cmd, now, out);
        return;
    }
}

void
seq_run_all(struct seq *s, struct seq_list *list, struct an_now now,
            struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, list);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        seq_run(s, cmd, now, out);
    }
}

/* ------------------------------------------------------------------ coming in */

static enum an_err
admit(struct seq *s, struct seq_cmd *cmd)
{
    const Anser__Bus__Command *in = cmd->in;
    uint64_t cost = SEQ_COMMAND_COST;
    enum an_err err;

    if (in->what_case == ANSER__BUS__COMMAND__WHAT__NOT_SET || in->slot >= AN_SLOTS) {
        return AN_ERR_ARGUMENT;
    }
    cmd->slot = (uint16_t)in->slot;
    err = commands[in->what_case].check(in);
    if (err != AN_OK) {
        return err;
    }
    if (in->what_case == ANSER__BUS__COMMAND__WHAT_SEND) {
        cost += in->send->body.len;
    } else if (in->what_case == ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT ||
               in->what_case == ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE) {
        cost += sizeof(struct seq_change);
    }
    if (s->m.pending_bytes + cost > s->pending_bytes_max) {
        s->m.busy++;
        return AN_ERR_BUSY;
    }
    cmd->cost = (uint32_t)cost;
    s->m.pending_bytes += cost;
    return AN_OK;
}

static void
refuse(struct seq *s, struct an_msg *msg, enum an_err err, struct an_outbox *out)
{
    s->m.refused++;
    an_out_answer(out, msg, err, NULL);
}

void
seq_submit(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Submit *in = (const Anser__Bus__Submit *)msg->body;
    uint32_t count = (uint32_t)in->n_commands;
    struct seq_submit *submit;

    if (s->refusing || an_msg_expired(msg, now) || count == 0 ||
        in->n_commands > AN_BATCH_ITEMS_MAX) {
        refuse(s, msg,
               s->refusing                ? AN_ERR_SHUTTING_DOWN
               : an_msg_expired(msg, now) ? AN_ERR_EXPIRED
                                          : AN_ERR_ARGUMENT,
               out);
        return;
    }
    submit = an_arena_calloc(&msg->arena, 1, sizeof(*submit));
    if (submit != NULL) {
        submit->cmds = an_arena_calloc(&msg->arena, count, sizeof(*submit->cmds));
    }
    if (submit == NULL || submit->cmds == NULL) {
        refuse(s, msg, AN_ERR_BUSY, out);
        return;
    }
    submit_hold(s, submit, msg);
    submit->count = count;
    submit->left = count;
    s->m.commands += count;
    s->m.pending += count;
    for (uint32_t i = 0; i < count; i++) {
        submit->urgent |=
            in->commands[i]->what_case != ANSER__BUS__COMMAND__WHAT_CONFIRM &&
            in->commands[i]->what_case != ANSER__BUS__COMMAND__WHAT_DELIVERED;
    }
    /* The last command's end answers and lets go of the Submit: touch it no more then. */
    for (uint32_t i = 0; i < count; i++) {
        struct seq_cmd *cmd = &submit->cmds[i];
        enum an_err err;

        cmd->submit = submit;
        cmd->in = in->commands[i];
        seq_list_init(&cmd->followers);
        err = admit(s, cmd);
        if (err != AN_OK) {
            seq_finish(s, cmd, err, now, out);
        } else if (s->stopping) {
            seq_late(s, cmd, now, out);
        } else {
            seq_run(s, cmd, now, out);
        }
    }
}
