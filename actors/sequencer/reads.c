/* Questions to stores, batched. Asking is idempotent: a failed Read fails the commands
 * that wait for it, and their senders ask again. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>
#include <string.h>

bool
seq_read_add(struct seq *s, const struct seq_read *read)
{
    struct seq_link *link = seq_link_of(s, read->slot);

    if (link->read_count == SEQ_READS_MAX) {
        return false;
    }
    link->read_queue[link->read_count++] = *read;
    return true;
}

/* Everything one Query may need; lives until the Read is packed. */
enum {
    FIELDS = 16 * 12, /* numbers, tags and lengths of a message of less than 16 fields */
    DEVICE_BYTES = 2 * AN_NAME_LEN_MAX + 2 * AN_REFRESH_HASH_LEN + FIELDS / 2,
    ACCOUNT_BYTES = AN_PASSWORD_HASH_LEN_MAX + AN_NICK_LEN_MAX + AN_AVATAR_LEN_MAX +
                    AN_PROFILE_EXTRA_LEN_MAX + 3 * AN_NAME_LEN_MAX + 3 * FIELDS +
                    AN_DEVICE_SESSIONS_MAX * DEVICE_BYTES,
    OTHER_BYTES = 2048, /* heads and members */
};

_Static_assert(SEQ_READ_ACCOUNTS_MAX *ACCOUNT_BYTES + SEQ_READ_ITEMS_MAX * OTHER_BYTES <
                   AN_BUS_MSG_LEN_MAX,
               "what accounts and their devices say fits an answer");

struct question {
    Anser__Bus__Query query;
    union {
        Anser__Bus__ConversationQuery conversation;
        Anser__Bus__DedupeQuery dedupe;
        Anser__Bus__DeviceQuery device;
        Anser__Bus__ResolveQuery resolve;
        Anser__Bus__AccountQuery account;
    } of;
    struct an_conv key;
};

static void
ask_dedupe(struct question *q, const struct seq_read *read)
{
    const Anser__Bus__SendCommand *send = read->cmd->in->send;

    q->key = seq_send_conv(send);
    q->query.what_case = ANSER__BUS__QUERY__WHAT_DEDUPE;
    q->query.dedupe = &q->of.dedupe;
    anser__bus__dedupe_query__init(&q->of.dedupe);
    q->of.dedupe.conversation = (ProtobufCBinaryData){AN_CONV_LEN, q->key.bytes};
    q->of.dedupe.sender = send->sender;
    q->of.dedupe.client_msg_id =
        read->kind == SEQ_READ_DEDUPE ? send->client_msg_id : send->after_id;
}

static void
ask_account(struct question *q, const struct seq_read *read)
{
    const Anser__Bus__Command *in = read->cmd->in;

    if (in->what_case == ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY) {
        q->query.what_case = ANSER__BUS__QUERY__WHAT_RESOLVE;
        q->query.resolve = &q->of.resolve;
        anser__bus__resolve_query__init(&q->of.resolve);
        q->of.resolve.app = in->put_directory->app;
        q->of.resolve.name = in->put_directory->name;
    } else {
        q->query.what_case = ANSER__BUS__QUERY__WHAT_ACCOUNT;
        q->query.account = &q->of.account;
        anser__bus__account_query__init(&q->of.account);
        q->of.account.user = seq_account_user(in);
        q->of.account.details = true;
        /* A revocation comes after what any of them was given. */
        q->of.account.devices =
            in->what_case == ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE ||
            (in->what_case == ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT &&
             (in->update_account->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE) !=
                 0);
    }
}

static void
fill(struct question *q, struct seq_read *read)
{
    anser__bus__query__init(&q->query);
    q->query.slot = read->slot;
    switch (read->kind) {
    case SEQ_READ_CONV:
    case SEQ_READ_HEAD:
        q->query.what_case = ANSER__BUS__QUERY__WHAT_CONVERSATION;
        q->query.conversation = &q->of.conversation;
        anser__bus__conversation_query__init(&q->of.conversation);
        q->of.conversation.conversation =
            (ProtobufCBinaryData){AN_CONV_LEN, read->conv->key.bytes};
        return;
    case SEQ_READ_DEDUPE:
    case SEQ_READ_DEDUPE_AFTER:
        ask_dedupe(q, read);
        return;
    case SEQ_READ_DEVICE:
        q->query.what_case = ANSER__BUS__QUERY__WHAT_DEVICE;
        q->query.device = &q->of.device;
        anser__bus__device_query__init(&q->of.device);
        q->of.device.user = read->device->user;
        q->of.device.device =
            (ProtobufCBinaryData){read->device->name_len, read->device->name};
        return;
    case SEQ_READ_ACCOUNT:
        ask_account(q, read);
        return;
    case SEQ_READ_DROPPED:
        break;
    }
    assert(0 && "a dropped question is never sent");
}

static void
send_batch(struct seq *s, struct seq_link *link, uint32_t which, struct an_outbox *out)
{
    struct seq_read_batch *batch = &link->read_batches[which];
    struct question questions[SEQ_READ_ITEMS_MAX];
    Anser__Bus__Query *list[SEQ_READ_ITEMS_MAX];
    Anser__Bus__Read read = ANSER__BUS__READ__INIT;
    struct an_addr store = {AN_ROLE_STORE, link->index};
    uint32_t taken = 0, accounts = 0;

    batch->count = 0;
    while (taken < link->read_count && batch->count < SEQ_READ_ITEMS_MAX &&
           accounts < SEQ_READ_ACCOUNTS_MAX) {
        struct seq_read *next = &link->read_queue[taken++];

        accounts += next->kind == SEQ_READ_ACCOUNT;
        if (next->kind != SEQ_READ_DROPPED) {
            fill(&questions[batch->count], next);
            list[batch->count] = &questions[batch->count].query;
            batch->reads[batch->count++] = *next;
        }
    }
    link->read_count -= taken;
    memmove(link->read_queue, link->read_queue + taken,
            link->read_count * sizeof(*link->read_queue));
    if (batch->count == 0) {
        return;
    }
    read.queries = list;
    read.n_queries = batch->count;
    batch->flying = true;
    s->m.reads += batch->count;
    an_out_ask(out, store, AN_KIND_READ, &read.base, AN_ASK_MS,
               seq_tag(SEQ_TAG_READ, link->index * SEQ_READS_FLYING_MAX + which), 0);
}

void
seq_reads_act(struct seq *s, struct seq_link *link, struct an_outbox *out)
{
    for (uint32_t i = 0; i < SEQ_READS_FLYING_MAX && link->read_count > 0; i++) {
        if (!link->read_batches[i].flying) {
            send_batch(s, link, i, out);
        }
    }
}

static void
answered_one(struct seq *s, const struct seq_read *read, const Anser__Bus__Answer *answer,
             enum an_err err, struct an_now now, struct an_outbox *out)
{
    switch (read->kind) {
    case SEQ_READ_CONV:
        seq_conv_answered(s, read->conv, answer, err, now, out);
        return;
    case SEQ_READ_HEAD:
        seq_head_answered(s, read->conv, answer, err, now, out);
        return;
    case SEQ_READ_DEDUPE:
    case SEQ_READ_DEDUPE_AFTER:
        seq_dedupe_answered(s, read, answer, err, now, out);
        return;
    case SEQ_READ_DEVICE:
        seq_device_answered(s, read->device, answer, err, now, out);
        return;
    case SEQ_READ_ACCOUNT:
        seq_account_answered(s, read->cmd, answer, err, now, out);
        return;
    case SEQ_READ_DROPPED:
        return;
    }
}

void
seq_reads_answered(struct seq *s, uint32_t which, const struct an_msg *msg,
                   struct an_now now, struct an_outbox *out)
{
    struct seq_link *link = &s->links[which / SEQ_READS_FLYING_MAX];
    struct seq_read_batch *batch = &link->read_batches[which % SEQ_READS_FLYING_MAX];
    const Anser__Bus__ReadDone *done = (const Anser__Bus__ReadDone *)msg->body;
    enum an_err err = msg->err;

    assert(batch->flying);
    if (err == AN_ERR_TIMEOUT || err == AN_ERR_CONNECTION) {
        err = AN_ERR_UNAVAILABLE; /* nothing was written: there is no outcome to know */
    }
    if (err == AN_OK && done->n_answers != batch->count) {
        err = AN_ERR_INTERNAL;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        const Anser__Bus__Answer *answer = err == AN_OK ? done->answers[i] : NULL;
        enum an_err one = err;

        if (answer != NULL) {
            one = an_err_known(answer->err) ? (enum an_err)answer->err : AN_ERR_INTERNAL;
        }
        answered_one(s, &batch->reads[i], answer, one, now, out);
    }
    batch->flying = false;
}

static void
drop(struct seq_read *reads, uint32_t count, const bool slots[AN_SLOTS])
{
    for (uint32_t i = 0; i < count; i++) {
        if (slots[reads[i].slot]) {
            reads[i].kind = SEQ_READ_DROPPED;
        }
    }
}

void
seq_reads_drop(struct seq *s, struct seq_link *link, const bool slots[AN_SLOTS])
{
    (void)s;
    drop(link->read_queue, link->read_count, slots);
    for (uint32_t i = 0; i < SEQ_READS_FLYING_MAX; i++) {
        if (link->read_batches[i].flying) {
            drop(link->read_batches[i].reads, link->read_batches[i].count, slots);
        }
    }
}
