/* Confirms and deliveries: forward only, coalesced, stored along with messages. */
#include "actors/sequencer/sequencer_priv.h"
#include "core/slot.h"
#include <assert.h>

enum an_err
seq_confirm_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__ConfirmCommand *confirm = in->confirm;

    if (confirm->user == 0 || confirm->device.len == 0 ||
        confirm->device.len > AN_NAME_LEN_MAX ||
        an_slot_user(confirm->user) != in->slot) {
        return AN_ERR_ARGUMENT;
    }
    return AN_OK;
}

enum an_err
seq_delivered_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__DeliveredCommand *delivered = in->delivered;
    struct an_conv conv;
    uint64_t low, high;

    if (!an_conv_get(&conv, delivered->conversation.data, delivered->conversation.len) ||
        an_slot_conv(&conv) != in->slot) {
        return AN_ERR_ARGUMENT;
    }
    an_conv_users(&conv, &low, &high);
    return delivered->member == low || delivered->member == high ? AN_OK
                                                                 : AN_ERR_FORBIDDEN;
}

/* ------------------------------------------------------------------ judging */

static uint64_t
wanted(const struct seq_cmd *cmd)
{
    return cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_CONFIRM
               ? cmd->in->confirm->inbox_seq
               : cmd->in->delivered->seq;
}

enum verdict {
    VERDICT_DONE,  /* the position is there already */
    VERDICT_STORE, /* right; wait until it is stored */
    VERDICT_READ,  /* perhaps wrong: read the timeline's head first */
    VERDICT_AHEAD,
    VERDICT_RESET,
};

static enum verdict
judge_device(const struct seq *s, const struct seq_device *device,
             const struct seq_cmd *cmd)
{
    const Anser__Bus__ConfirmCommand *confirm = cmd->in->confirm;
    bool certain = device->answered > cmd->asked_at; /* read since the command came */

    if (!device->loaded) {
        return VERDICT_READ;
    }
    if (confirm->inbox_generation != 0 &&
        confirm->inbox_generation != device->generation) {
        return certain ? VERDICT_RESET : VERDICT_READ;
    }
    if (confirm->inbox_seq <= device->cursor.durable) {
        return VERDICT_DONE;
    }
    if (confirm->inbox_seq > device->head &&
        confirm->inbox_seq > seq_heads_get(&s->heads, device->user)) {
        return certain ? VERDICT_AHEAD : VERDICT_READ;
    }
    return VERDICT_STORE;
}

static enum verdict
judge(const struct seq *s, const struct seq_position *p, const struct seq_cmd *cmd)
{
    if (p->device != NULL) {
        return judge_device(s, p->device, cmd);
    }
    if (wanted(cmd) <= p->durable) {
        return VERDICT_DONE;
    }
    if (wanted(cmd) > p->conv->assigned) {
        return p->conv->answered > cmd->asked_at ? VERDICT_AHEAD : VERDICT_READ;
    }
    return VERDICT_STORE;
}

static void
mark_dirty(struct seq *s, struct seq_position *p, bool urgent, struct an_now now)
{
    struct seq_link *link = seq_link_of(s, p->slot);
    uint64_t due =
        urgent || s->stopping ? now.mono_ms : now.mono_ms + s->confirm_delay_ms;

    if (!p->dirty) {
        p->dirty = true;
        p->next = NULL;
        *link->dirty_tail = p;
        link->dirty_tail = &p->next;
    }
    if (due < link->dirty_due_mono_ms) {
        link->dirty_due_mono_ms = due;
    }
}

static bool
read_device(struct seq *s, struct seq_device *device)
{
    struct seq_read read = {
        .kind = SEQ_READ_DEVICE, .slot = device->cursor.slot, .device = device};

    if (device->loading) {
        return true;
    }
    if (!seq_read_add(s, &read)) {
        return false;
    }
    device->loading = true;
    device->asked++;
    return true;
}

static bool
read_head(struct seq *s, struct seq_conv *conv)
{
    struct seq_read read = {.kind = SEQ_READ_HEAD, .slot = conv->slot, .conv = conv};

    if (conv->loading) {
        return true;
    }
    if (!seq_read_add(s, &read)) {
        return false;
    }
    conv->loading = true;
    conv->asked++;
    return true;
}

/* Finishes the command or puts it among the waiting. */
static void
judge_one(struct seq *s, struct seq_position *p, struct seq_cmd *cmd, struct an_now now,
          struct an_outbox *out)
{
    switch (judge(s, p, cmd)) {
    case VERDICT_DONE:
        cmd->seq = p->durable;
        seq_finish(s, cmd, AN_OK, now, out);
        return;
    case VERDICT_AHEAD:
        seq_finish(s, cmd, AN_ERR_CURSOR_AHEAD, now, out);
        return;
    case VERDICT_RESET:
        seq_finish(s, cmd, AN_ERR_RESET, now, out);
        return;
    case VERDICT_READ:
        if (p->device != NULL ? !read_device(s, p->device) : !read_head(s, p->conv)) {
            s->m.busy++;
            seq_finish(s, cmd, AN_ERR_BUSY, now, out);
            return;
        }
        break;
    case VERDICT_STORE:
        if (wanted(cmd) > p->pending) {
            p->pending = wanted(cmd);
        }
        if (!p->flying || p->pending > p->inflight) {
            mark_dirty(s, p, cmd->submit->urgent, now);
        }
        break;
    }
    seq_list_push(&p->waiting, cmd);
}

void
seq_position_judge(struct seq *s, struct seq_position *p, struct an_now now,
                   struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, &p->waiting);
    p->pending = p->durable;
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        judge_one(s, p, cmd, now, out);
    }
}

void
seq_position_stored(struct seq *s, struct seq_position *p, enum an_err err,
                    struct an_now now, struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    assert(p->flying);
    p->flying = false;
    if (err == AN_OK) {
        p->durable = p->inflight;
        seq_position_judge(s, p, now, out);
        return;
    }
    seq_list_init(&rest);
    seq_list_move(&rest, &p->waiting);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        if (wanted(cmd) <= p->inflight) {
            seq_finish(s, cmd, err, now, out);
        } else {
            seq_list_push(&p->waiting, cmd);
        }
    }
    seq_position_judge(s, p, now, out);
}

/* ------------------------------------------------------------------ confirm */

void
seq_confirm_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                struct an_outbox *out)
{
    const Anser__Bus__ConfirmCommand *confirm = cmd->in->confirm;
    struct seq_device *device = seq_devices_get(
        &s->devices, confirm->user, confirm->device.data, confirm->device.len, cmd->slot);

    if (device == NULL) {
        s->m.busy++;
        seq_finish(s, cmd, AN_ERR_BUSY, now, out);
        return;
    }
    cmd->position = &device->cursor;
    cmd->asked_at = device->asked;
    judge_one(s, &device->cursor, cmd, now, out);
}

void
seq_device_answered(struct seq *s, struct seq_device *device,
                    const Anser__Bus__Answer *answer, enum an_err err, struct an_now now,
                    struct an_outbox *out)
{
    device->loading = false;
    device->answered = device->asked;
    if (err != AN_OK) {
        seq_finish_all(s, &device->cursor.waiting, err, now, out);
        return;
    }
    if (!device->loaded) {
        device->loaded = true;
        device->cursor.durable = answer->cursor;
    }
    device->generation = answer->inbox_generation;
    if (answer->inbox_head > device->head) {
        device->head = answer->inbox_head;
    }
    seq_position_judge(s, &device->cursor, now, out);
}

/* ------------------------------------------------------------------ delivered */

void
seq_delivered_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                  struct an_outbox *out)
{
    const Anser__Bus__DeliveredCommand *delivered = cmd->in->delivered;
    struct seq_conv *conv;
    struct seq_read read = {.kind = SEQ_READ_CONV, .slot = cmd->slot};
    struct an_conv key;
    bool ok =
        an_conv_get(&key, delivered->conversation.data, delivered->conversation.len);

    assert(ok);
    conv = read.conv = seq_convs_get(&s->convs, &key, cmd->slot);
    if (conv == NULL || (!conv->loaded && !conv->loading && !seq_read_add(s, &read))) {
        s->m.busy++;
        seq_finish(s, cmd, AN_ERR_BUSY, now, out);
        return;
    }
    cmd->conv = conv;
    conv->refs++;
    cmd->asked_at = conv->asked;
    if (!conv->loaded) {
        conv->asked += !conv->loading;
        conv->loading = true;
        seq_list_push(&conv->waiting, cmd);
        return;
    }
    seq_delivered_decide(s, cmd, now, out);
}

void
seq_delivered_decide(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                     struct an_outbox *out)
{
    struct seq_conv *conv = cmd->conv;
    size_t member = cmd->in->delivered->member == conv->users[0] ? 0 : 1;

    cmd->position = &conv->delivered[member];
    judge_one(s, cmd->position, cmd, now, out);
}

/* Those of the position that need the head end with err. */
static void
finish_ahead(struct seq *s, struct seq_position *p, enum an_err err, struct an_now now,
             struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, &p->waiting);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        if (wanted(cmd) > p->conv->assigned) {
            seq_finish(s, cmd, err, now, out);
        } else {
            seq_list_push(&p->waiting, cmd);
        }
    }
}

void
seq_head_answered(struct seq *s, struct seq_conv *conv, const Anser__Bus__Answer *answer,
                  enum an_err err, struct an_now now, struct an_outbox *out)
{
    conv->loading = false;
    conv->answered = conv->asked;
    if (err == AN_OK && answer->conversation_head > conv->assigned) {
        /* Another has numbered messages: the slot is its, and we were not told. Claiming
         * what we hold tells; then all is run anew. */
        seq_link_of(s, conv->slot)->suspect = true;
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        if (err != AN_OK && err != AN_ERR_NOT_FOUND) {
            finish_ahead(s, &conv->delivered[i], err, now, out);
        } else {
            seq_position_judge(s, &conv->delivered[i], now, out);
        }
    }
}
