#include "tests/actors/store_rig.h"
#include "core/slot.h"
#include "proto/bytes.h"
#include "tests/core/tree.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct an_addr SEQUENCER = {AN_ROLE_SEQUENCER, 0};

static void
fatal(void *ctx, const char *why)
{
    (void)why;
    ((struct store_rig *)ctx)->fatals++;
}

struct store_rig *
store_rig_create(void)
{
    struct store_rig *rig = calloc(1, sizeof(*rig));

    assert(rig != NULL);
    an_topology_single(&rig->topology);
    rig->cfg.topology = &rig->topology;
    rig->cfg.engine.kind = STORE_RIG_KIND;
    rig->cfg.engine.cluster_id = "test";
    rig->cfg.engine.log_segment_bytes = 1024u * 1024u;
    rig->cfg.engine.host.ctx = rig;
    rig->cfg.engine.host.fatal = fatal;
    rig->sim = files_sim_create(7);
    assert(rig->sim != NULL);
    rig->cfg.engine.files = files_sim_table(rig->sim);
    rig->cfg.engine.dir = "data";
    if (rig->cfg.engine.kind == ENGINE_LMDB) { /* keeps its own file, on the real disk */
        snprintf(rig->dir, sizeof(rig->dir), "/tmp/anser-store-XXXXXX");
        rig->cfg.engine.dir = mkdtemp(rig->dir);
        assert(rig->cfg.engine.dir != NULL);
        rig->cfg.engine.lmdb_map_bytes = 64u * 1024u * 1024u;
    }
    return rig;
}

void
store_rig_open(struct store_rig *rig)
{
    struct an_actor *actor = NULL;
    char why[256] = "";
    enum an_err err = store_create(&actor, &rig->cfg, why, sizeof(why));

    if (err != AN_OK) {
        fprintf(stderr, "store_create: %s: %s\n", an_err_name(err), why);
    }
    assert(err == AN_OK);
    rig->h = harness_create(actor);
    harness_start(rig->h);
    assert(harness_take(rig->h, AN_EFFECT_READY) != NULL);
    store_rig_settle(rig);
}

void
store_rig_close(struct store_rig *rig)
{
    if (rig->h != NULL) {
        store_rig_settle(rig);
        harness_destroy(rig->h);
        rig->h = NULL;
    }
}

void
store_rig_destroy(struct store_rig *rig)
{
    store_rig_close(rig);
    files_sim_destroy(rig->sim);
    if (rig->dir[0] != '\0') {
        tree_remove(rig->dir);
    }
    free(rig);
}

int
store_rig_setup(void **state)
{
    struct store_rig *rig = store_rig_create();

    store_rig_open(rig);
    *state = rig;
    return 0;
}

int
store_rig_teardown(void **state)
{
    store_rig_destroy(*state);
    return 0;
}

void
store_rig_settle(struct store_rig *rig)
{
    for (unsigned i = 0; i < 8; i++) {
        harness_drain(rig->h);
        harness_run_jobs(rig->h);
    }
}

ProtobufCBinaryData
store_rig_data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

bool
store_rig_is(ProtobufCBinaryData data, const char *text)
{
    return data.len == strlen(text) && memcmp(data.data, text, data.len) == 0;
}

uint16_t
store_rig_slot(uint64_t a, uint64_t b)
{
    struct an_conv conv = an_conv_direct(a, b);

    return an_slot_conv(&conv);
}

const void *
store_rig_ask(struct store_rig *rig, enum an_role from, enum an_kind kind,
              const ProtobufCMessage *body, enum an_err *err)
{
    struct an_addr addr = {(uint8_t)from, 0};
    uint64_t id = harness_request(rig->h, addr, kind, body);
    const struct harness_effect *reply;

    store_rig_settle(rig);
    reply = harness_reply(rig->h, id);
    assert(reply != NULL);
    *err = reply->e.err;
    return reply->e.err == AN_OK ? harness_body(reply) : NULL;
}

void
store_rig_claim(struct store_rig *rig, uint16_t slot)
{
    Anser__Bus__Claim claim = ANSER__BUS__CLAIM__INIT;
    const Anser__Bus__Claimed *claimed;
    uint32_t number = slot;
    enum an_err err;

    claim.slots = &number;
    claim.n_slots = 1;
    claimed = store_rig_ask(rig, AN_ROLE_SEQUENCER, AN_KIND_CLAIM, &claim.base, &err);
    assert(err == AN_OK && claimed->n_slots == 1 && claimed->slots[0]->err == AN_OK);
    rig->epochs[slot] = claimed->slots[0]->epoch;
}

void
store_rig_claim_pair(struct store_rig *rig, uint64_t a, uint64_t b)
{
    struct an_conv conv = an_conv_direct(a, b);

    store_rig_claim(rig, an_slot_conv(&conv));
}

uint64_t
store_rig_time(uint64_t seq)
{
    return 1795219200000 + seq;
}

void
store_rig_message(struct store_rig_message *out, uint64_t from, uint64_t to, uint64_t seq)
{
    memset(out, 0, sizeof(*out));
    out->conv = an_conv_direct(from, to);
    an_put_u64(out->id, store_rig_time(seq) << 16 | 0x7000 | (seq & 0xfff));
    an_put_u64(out->id + 8, 0x8000000000000000u | from << 32 | to);
    an_put_u64(out->hash, seq);
    snprintf(out->from, sizeof(out->from), "u%llu", (unsigned long long)from);
    snprintf(out->to, sizeof(out->to), "u%llu", (unsigned long long)to);
    snprintf(out->text, sizeof(out->text), "message %llu", (unsigned long long)seq);
    anser__bus__message_entry__init(&out->message);
    out->message.conversation = (ProtobufCBinaryData){AN_CONV_LEN, out->conv.bytes};
    out->message.seq = seq;
    /* Unique over all conversations of a test. */
    out->message.message_id = from * 1000003 + to * 1009 + (seq << 40);
    out->message.time_ms = store_rig_time(seq);
    out->message.sender = from;
    out->message.recipient = to;
    out->message.from = (ProtobufCBinaryData){strlen(out->from), (uint8_t *)out->from};
    out->message.to = (ProtobufCBinaryData){strlen(out->to), (uint8_t *)out->to};
    out->message.device.data = (uint8_t *)(uintptr_t) "phone";
    out->message.device.len = 5;
    out->message.client_msg_id = (ProtobufCBinaryData){sizeof(out->id), out->id};
    out->message.body_hash = (ProtobufCBinaryData){sizeof(out->hash), out->hash};
    out->message.type = 1;
    out->message.body = (ProtobufCBinaryData){strlen(out->text), (uint8_t *)out->text};
    anser__bus__entry__init(&out->entry);
    out->entry.what_case = ANSER__BUS__ENTRY__WHAT_MESSAGE;
    out->entry.message = &out->message;
    out->entry.trace = 0xabc000 + seq;
}

uint64_t
store_rig_append_begin(struct store_rig *rig, uint16_t slot, Anser__Bus__Entry **entries,
                       size_t count)
{
    Anser__Bus__Append append = ANSER__BUS__APPEND__INIT;
    Anser__Bus__AppendSlot one = ANSER__BUS__APPEND_SLOT__INIT;
    Anser__Bus__AppendSlot *list = &one;

    one.slot = slot;
    one.epoch = rig->epochs[slot];
    one.entries = entries;
    one.n_entries = count;
    append.slots = &list;
    append.n_slots = 1;
    return harness_request(rig->h, SEQUENCER, AN_KIND_APPEND, &append.base);
}

const Anser__Bus__AppendedSlot *
store_rig_append(struct store_rig *rig, uint16_t slot, Anser__Bus__Entry **entries,
                 size_t count)
{
    uint64_t id = store_rig_append_begin(rig, slot, entries, count);
    const Anser__Bus__Appended *appended;

    store_rig_settle(rig);
    assert(harness_reply(rig->h, id) != NULL);
    assert(harness_reply(rig->h, id)->e.err == AN_OK);
    appended = harness_body(harness_reply(rig->h, id));
    assert(appended->n_slots == 1);
    assert(appended->slots[0]->slot == slot);
    return appended->slots[0];
}

const Anser__Bus__AppendedSlot *
store_rig_send(struct store_rig *rig, uint64_t from, uint64_t to, uint64_t seq)
{
    struct store_rig_message message;
    Anser__Bus__Entry *entry = &message.entry;

    store_rig_message(&message, from, to, seq);
    return store_rig_append(rig, an_slot_conv(&message.conv), &entry, 1);
}

void
store_rig_talk(struct store_rig *rig, uint64_t a, uint64_t b, uint64_t first,
               uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        const Anser__Bus__AppendedSlot *slot = seq % 2 == 1
                                                   ? store_rig_send(rig, a, b, seq)
                                                   : store_rig_send(rig, b, a, seq);

        assert(slot->err == AN_OK);
    }
}

const Anser__Bus__Answer *
store_rig_query(struct store_rig *rig, const Anser__Bus__Query *query)
{
    Anser__Bus__Read read = ANSER__BUS__READ__INIT;
    Anser__Bus__Query own = *query;
    Anser__Bus__Query *list = &own;
    const Anser__Bus__ReadDone *done;
    enum an_err err;

    read.queries = &list;
    read.n_queries = 1;
    done = store_rig_ask(rig, AN_ROLE_GATE, AN_KIND_READ, &read.base, &err);
    assert(err == AN_OK && done->n_answers == 1);
    return done->answers[0];
}

const Anser__Bus__Answer *
store_rig_login(struct store_rig *rig, uint64_t user, const char *device)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__LoginQuery what = ANSER__BUS__LOGIN_QUERY__INIT;

    what.user = user;
    what.device = store_rig_data(device);
    query.slot = an_slot_user(user);
    query.what_case = ANSER__BUS__QUERY__WHAT_LOGIN;
    query.login = &what;
    return store_rig_query(rig, &query);
}

/* Pages are kept by the answer's effect: unpacked into memory the test frees. */
static void *
unpack(const ProtobufCMessageDescriptor *descriptor, ProtobufCBinaryData body)
{
    void *out = protobuf_c_message_unpack(descriptor, NULL, body.len, body.data);

    assert(out != NULL);
    return out;
}

Anser__Client__SyncOk *
store_rig_sync(struct store_rig *rig, uint64_t user, uint64_t after, uint32_t limit,
               uint64_t generation, enum an_err *err)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__SyncQuery sync = ANSER__BUS__SYNC_QUERY__INIT;
    const Anser__Bus__Answer *answer;

    sync.user = user;
    sync.after = after;
    sync.limit = limit;
    sync.inbox_generation = generation;
    query.slot = an_slot_user(user);
    query.what_case = ANSER__BUS__QUERY__WHAT_SYNC;
    query.sync = &sync;
    answer = store_rig_query(rig, &query);
    *err = (enum an_err)answer->err;
    return *err != AN_OK
               ? NULL
               : unpack(&anser__client__sync_ok__descriptor, answer->client_body);
}

Anser__Client__HistoryOk *
store_rig_history(struct store_rig *rig, uint64_t viewer, uint64_t a, uint64_t b,
                  const Anser__Bus__HistoryQuery *how, enum an_err *err)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__HistoryQuery history = *how;
    struct an_conv conv = an_conv_direct(a, b);
    const Anser__Bus__Answer *answer;

    history.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    history.viewer = viewer;
    history.peer = viewer == a ? b : a;
    query.slot = an_slot_conv(&conv);
    query.what_case = ANSER__BUS__QUERY__WHAT_HISTORY;
    query.history = &history;
    answer = store_rig_query(rig, &query);
    *err = (enum an_err)answer->err;
    return *err != AN_OK
               ? NULL
               : unpack(&anser__client__history_ok__descriptor, answer->client_body);
}

uint64_t
store_rig_head(struct store_rig *rig, uint64_t a, uint64_t b)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__ConversationQuery what = ANSER__BUS__CONVERSATION_QUERY__INIT;
    struct an_conv conv = an_conv_direct(a, b);
    const Anser__Bus__Answer *answer;

    what.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    query.slot = an_slot_conv(&conv);
    query.what_case = ANSER__BUS__QUERY__WHAT_CONVERSATION;
    query.conversation = &what;
    answer = store_rig_query(rig, &query);
    return answer->err == AN_ERR_NOT_FOUND ? 0 : answer->conversation_head;
}
