/* Sends: the retry rules, the order rules, and the conversation they wait in. */
#include "actors/sequencer/sequencer_priv.h"
#include "core/slot.h"
#include "proto/bytes.h"
#include <assert.h>
#include <sodium.h>
#include <string.h>

struct an_conv
seq_send_conv(const Anser__Bus__SendCommand *send)
{
    return an_conv_direct(send->sender, send->recipient);
}

static bool
uuidv7(const ProtobufCBinaryData *id)
{
    return id->len == AN_CLIENT_MSG_ID_LEN && (id->data[6] & 0xf0) == 0x70 &&
           (id->data[8] & 0xc0) == 0x80;
}

static bool
name_ok(const ProtobufCBinaryData *name)
{
    return name->len > 0 && name->len <= AN_NAME_LEN_MAX;
}

enum an_err
seq_send_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__SendCommand *send = in->send;
    struct an_conv conv;

    if (send->sender == 0 || send->recipient == 0 || !name_ok(&send->from) ||
        !name_ok(&send->to) || !name_ok(&send->device) || !uuidv7(&send->client_msg_id) ||
        (send->after_id.len != 0 && send->after_id.len != AN_CLIENT_MSG_ID_LEN)) {
        return AN_ERR_ARGUMENT;
    }
    if (send->body.len == 0) {
        return AN_ERR_BODY_EMPTY;
    }
    if (send->body.len > AN_BODY_LEN_MAX) {
        return AN_ERR_BODY_TOO_LARGE;
    }
    conv = seq_send_conv(send);
    return an_slot_conv(&conv) == in->slot ? AN_OK : AN_ERR_ARGUMENT;
}

static struct seq_dedupe_key
key_of(const Anser__Bus__SendCommand *send, const ProtobufCBinaryData *id)
{
    struct seq_dedupe_key key = {.sender = send->sender, .recipient = send->recipient};

    memcpy(key.id, id->data, AN_CLIENT_MSG_ID_LEN);
    return key;
}

/* A cryptographic hash: with a cheaper one a client could make two bodies collide and
 * have the second one reported as stored. */
static void
body_hash(uint8_t out[SEQ_HASH_LEN], const Anser__Bus__SendCommand *send)
{
    crypto_generichash_state state;
    uint8_t type[4];

    an_put_u32(type, send->type);
    crypto_generichash_init(&state, NULL, 0, SEQ_HASH_LEN);
    crypto_generichash_update(&state, type, sizeof(type));
    crypto_generichash_update(&state, send->body.data, send->body.len);
    crypto_generichash_final(&state, out, SEQ_HASH_LEN);
}

static bool
ask_dedupe(struct seq *s, struct seq_cmd *cmd, enum seq_read_kind kind)
{
    struct seq_read read = {.kind = kind, .slot = cmd->slot, .cmd = cmd};

    return seq_read_add(s, &read);
}

/* The id is known: the first outcome is this one's too. */
static void
again(struct seq *s, struct seq_cmd *cmd, struct seq_dedupe_row *row, struct an_now now,
      struct an_outbox *out)
{
    if (memcmp(row->body_hash, cmd->body_hash, SEQ_HASH_LEN) != 0) {
        seq_finish(s, cmd, AN_ERR_ID_CONFLICT, now, out);
        return;
    }
    s->m.retries++;
    if (row->cmd != NULL) {
        seq_list_push(&row->cmd->followers, cmd);
        cmd->conv->refs--; /* it needs nothing but the other's outcome now */
        cmd->conv = NULL;
        return;
    }
    cmd->seq = row->seq;
    cmd->message_id = row->message_id;
    cmd->time_ms = row->time_ms;
    cmd->inbox_seq = row->inbox_seq;
    seq_finish(s, cmd, AN_OK, now, out);
}

enum after { AFTER_OK, AFTER_ASK, AFTER_MISSING };

/* Is the send that this one must follow accepted or ahead of it? */
static enum after
after(struct seq *s, struct seq_cmd *cmd)
{
    const Anser__Bus__SendCommand *send = cmd->in->send;
    const struct seq_dedupe_row *row;
    struct seq_dedupe_key key;

    if (send->after_id.len == 0 || (cmd->flags & SEQ_CMD_AFTER_STORED) != 0) {
        return AFTER_OK;
    }
    key = key_of(send, &send->after_id);
    row = seq_dedupe_find(&s->dedupe, &key);
    if (row != NULL) {
        if (row->cmd == NULL) {
            cmd->flags |= SEQ_CMD_AFTER_STORED;
        }
        return AFTER_OK;
    }
    if ((cmd->flags & SEQ_CMD_AFTER_MISSING) == 0 &&
        seq_id_ms(key.id) <= s->dedupe.watermark_ms[cmd->slot]) {
        return AFTER_ASK;
    }
    return AFTER_MISSING;
}

bool
seq_send_follows(struct seq *s, const struct seq_cmd *cmd)
{
    const Anser__Bus__SendCommand *send = cmd->in->send;
    struct seq_dedupe_key key;

    if (send->after_id.len == 0 || (cmd->flags & SEQ_CMD_AFTER_STORED) != 0) {
        return true;
    }
    key = key_of(send, &send->after_id);
    return seq_dedupe_find(&s->dedupe, &key) != NULL;
}

static enum an_err
time_check(const struct seq *s, const struct seq_cmd *cmd, struct an_now now)
{
    uint64_t ms = seq_id_ms(cmd->in->send->client_msg_id.data);

    if (ms > now.wall_ms + AN_DEDUPE_AHEAD_MS) {
        return AN_ERR_ID_TIME;
    }
    if (ms + s->dedupe_window_ms < now.wall_ms) {
        return AN_ERR_ID_EXPIRED;
    }
    return an_msg_expired(cmd->submit->msg, now) ? AN_ERR_EXPIRED : AN_OK;
}

static void
accept(struct seq *s, struct seq_cmd *cmd, const struct seq_dedupe_key *key,
       struct an_now now, struct an_outbox *out)
{
    struct seq_dedupe_row *row = seq_dedupe_add(&s->dedupe, key, cmd->slot);

    if (row == NULL) {
        s->m.busy++;
        seq_finish(s, cmd, AN_ERR_BUSY, now, out);
        return;
    }
    memcpy(row->body_hash, cmd->body_hash, SEQ_HASH_LEN);
    row->cmd = cmd;
    cmd->row = row;
    seq_list_push(&seq_link_of(s, cmd->slot)->ready, cmd);
}

/* Asks the store; false when that is impossible and the command was refused. */
static bool
asked(struct seq *s, struct seq_cmd *cmd, enum seq_read_kind kind, struct an_now now,
      struct an_outbox *out)
{
    if (ask_dedupe(s, cmd, kind)) {
        s->m.dedupe_reads++;
        return true;
    }
    s->m.busy++;
    seq_finish(s, cmd, AN_ERR_BUSY, now, out);
    return false;
}

/* false: the store must be asked first; the command and all behind it wait. */
static bool
decide(struct seq *s, struct seq_cmd *cmd, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__SendCommand *send = cmd->in->send;
    struct seq_dedupe_key key = key_of(send, &send->client_msg_id);
    enum an_err err = time_check(s, cmd, now);
    struct seq_dedupe_row *row;

    if (err != AN_OK) {
        seq_finish(s, cmd, err, now, out);
        return true;
    }
    row = seq_dedupe_find(&s->dedupe, &key);
    if (row != NULL) {
        again(s, cmd, row, now, out);
        return true;
    }
    if ((cmd->flags & SEQ_CMD_ID_NEW) == 0 &&
        seq_id_ms(key.id) <= s->dedupe.watermark_ms[cmd->slot]) {
        return !asked(s, cmd, SEQ_READ_DEDUPE, now, out);
    }
    switch (after(s, cmd)) {
    case AFTER_OK:
        accept(s, cmd, &key, now, out);
        return true;
    case AFTER_ASK:
        return !asked(s, cmd, SEQ_READ_DEDUPE_AFTER, now, out);
    case AFTER_MISSING:
        seq_finish(s, cmd, AN_ERR_ORDER, now, out);
        return true;
    }
    return true;
}

void
seq_conv_run(struct seq *s, struct seq_conv *conv, struct an_now now,
             struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    assert(conv->loaded);
    seq_list_init(&rest);
    seq_list_move(&rest, &conv->waiting);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        if (cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_DELIVERED) {
            seq_delivered_decide(s, cmd, now, out);
        } else if (!decide(s, cmd, now, out)) {
            seq_list_push(&conv->waiting, cmd);
            seq_list_move(&conv->waiting, &rest);
        }
    }
}

void
seq_send_run(struct seq *s, struct seq_cmd *cmd, struct an_now now, struct an_outbox *out)
{
    struct an_conv key = seq_send_conv(cmd->in->send);
    struct seq_conv *conv = seq_convs_get(&s->convs, &key, cmd->slot);
    struct seq_read read = {.kind = SEQ_READ_CONV, .slot = cmd->slot, .conv = conv};

    if (conv == NULL || (!conv->loaded && !conv->loading && !seq_read_add(s, &read))) {
        s->m.busy++;
        seq_finish(s, cmd, AN_ERR_BUSY, now, out);
        return;
    }
    cmd->conv = conv;
    conv->refs++;
    body_hash(cmd->body_hash, cmd->in->send);
    if (!conv->loaded) {
        conv->asked += !conv->loading;
        conv->loading = true;
        seq_list_push(&conv->waiting, cmd);
    } else if (conv->waiting.head != NULL || !decide(s, cmd, now, out)) {
        seq_list_push(&conv->waiting, cmd);
    }
}

static void
set_name(struct seq_conv *conv, uint64_t user, const ProtobufCBinaryData *name)
{
    for (size_t i = 0; i < 2; i++) {
        if (conv->users[i] == user && name->len <= AN_NAME_LEN_MAX) {
            memcpy(conv->names[i], name->data, name->len);
            conv->name_lens[i] = (uint8_t)name->len;
        }
    }
}

void
seq_conv_learn_names(struct seq_conv *conv, const Anser__Bus__SendCommand *send)
{
    if (conv->name_lens[0] == 0 || conv->name_lens[1] == 0) {
        set_name(conv, send->sender, &send->from);
        set_name(conv, send->recipient, &send->to);
    }
}

void
seq_conv_answered(struct seq *s, struct seq_conv *conv, const Anser__Bus__Answer *answer,
                  enum an_err err, struct an_now now, struct an_outbox *out)
{
    conv->loading = false;
    conv->answered = conv->asked;
    if (err != AN_OK && err != AN_ERR_NOT_FOUND) {
        seq_finish_all(s, &conv->waiting, err, now, out);
        return;
    }
    conv->loaded = true;
    if (err == AN_OK) {
        conv->head = conv->assigned = answer->conversation_head;
        conv->last_time_ms = answer->last_time_ms;
        for (size_t m = 0; m < answer->n_members; m++) {
            const Anser__Bus__MemberState *member = answer->members[m];

            set_name(conv, member->user, &member->name);
            for (size_t i = 0; i < 2; i++) {
                if (conv->users[i] == member->user) {
                    conv->delivered[i].durable = member->delivered;
                }
            }
        }
    }
    seq_conv_run(s, conv, now, out);
}

/* Remembers what the store said, so that the next retry need not ask. */
static void
remember(struct seq *s, const struct seq_cmd *cmd, const ProtobufCBinaryData *id,
         const Anser__Bus__Answer *answer)
{
    struct seq_dedupe_key key = key_of(cmd->in->send, id);
    struct seq_dedupe_row *row;

    if (answer->body_hash.len != SEQ_HASH_LEN ||
        seq_dedupe_find(&s->dedupe, &key) != NULL) {
        return;
    }
    row = seq_dedupe_add(&s->dedupe, &key, cmd->slot);
    if (row != NULL) {
        row->seq = answer->seq;
        row->message_id = answer->message_id;
        row->time_ms = answer->time_ms;
        row->inbox_seq = answer->inbox_seq;
        memcpy(row->body_hash, answer->body_hash.data, SEQ_HASH_LEN);
    }
}

/* The waiting command at the head of its conversation learns about an id. */
static void
learn(struct seq *s, struct seq_cmd *cmd, bool own, const Anser__Bus__Answer *answer,
      enum an_err err, struct an_now now, struct an_outbox *out)
{
    if (err == AN_ERR_NOT_FOUND) {
        cmd->flags |= own ? SEQ_CMD_ID_NEW : SEQ_CMD_AFTER_MISSING;
        return;
    }
    if (err == AN_OK && !own) {
        cmd->flags |= SEQ_CMD_AFTER_STORED;
        remember(s, cmd, &cmd->in->send->after_id, answer);
        return;
    }
    if (err == AN_OK) {
        remember(s, cmd, &cmd->in->send->client_msg_id, answer);
        if (answer->body_hash.len != SEQ_HASH_LEN ||
            memcmp(answer->body_hash.data, cmd->body_hash, SEQ_HASH_LEN) != 0) {
            err = AN_ERR_ID_CONFLICT;
        }
        s->m.retries++;
        cmd->seq = answer->seq;
        cmd->message_id = answer->message_id;
        cmd->time_ms = answer->time_ms;
        cmd->inbox_seq = answer->inbox_seq;
    }
    seq_list_pop(&cmd->conv->waiting);
    seq_finish(s, cmd, err, now, out);
}

void
seq_dedupe_answered(struct seq *s, const struct seq_read *read,
                    const Anser__Bus__Answer *answer, enum an_err err, struct an_now now,
                    struct an_outbox *out)
{
    struct seq_conv *conv = read->cmd->conv;

    assert(conv->waiting.head == read->cmd);
    learn(s, read->cmd, read->kind == SEQ_READ_DEDUPE, answer, err, now, out);
    seq_conv_run(s, conv, now, out);
}
