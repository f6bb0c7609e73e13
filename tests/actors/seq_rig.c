#include "tests/actors/seq_rig.h"
#include "core/slot.h"
#include "proto/bytes.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ the model store */

static struct an_conv
conv_of(const ProtobufCBinaryData *key)
{
    struct an_conv conv;
    bool ok = an_conv_get(&conv, key->data, key->len);

    assert(ok);
    return conv;
}

static bool
same_conv(const struct an_conv *a, const struct an_conv *b)
{
    return memcmp(a->bytes, b->bytes, AN_CONV_LEN) == 0;
}

static void
text_of(char *out, size_t max, const ProtobufCBinaryData *data)
{
    size_t len = data->len < max ? data->len : max - 1;

    if (len > 0) {
        memcpy(out, data->data, len);
    }
    out[len] = 0;
}

static bool
text_is(const char *text, const ProtobufCBinaryData *data)
{
    return strlen(text) == data->len && memcmp(text, data->data, data->len) == 0;
}

static size_t
head_of(const struct rig *rig, const struct an_conv *conv)
{
    size_t head = 0;

    for (size_t i = 0; i < rig->message_count; i++) {
        head += same_conv(&rig->messages[i].conv, conv);
    }
    return head;
}

static uint64_t
delivered_of(const struct rig *rig, const struct an_conv *conv, uint64_t member)
{
    for (size_t i = 0; i < rig->delivered_count; i++) {
        if (rig->delivered[i].member == member &&
            same_conv(&rig->delivered[i].conv, conv)) {
            return rig->delivered[i].seq;
        }
    }
    return 0;
}

static uint64_t
store_message(struct rig *rig, const Anser__Bus__MessageEntry *in)
{
    struct rig_message *m = &rig->messages[rig->message_count];

    assert(rig->message_count < RIG_ROWS_MAX);
    m->conv = conv_of(&in->conversation);
    assert(in->seq == head_of(rig, &m->conv) + 1); /* a real store says GAP */
    rig->message_count++;
    m->sender = in->sender;
    m->seq = in->seq;
    m->message_id = in->message_id;
    m->time_ms = in->time_ms;
    m->inbox_seq = ++rig->inbox_head;
    memcpy(m->id, in->client_msg_id.data, 16);
    memcpy(m->hash, in->body_hash.data, 16);
    text_of(m->body, sizeof(m->body), &in->body);
    return m->inbox_seq;
}

static void
store_device(struct rig *rig, const Anser__Bus__DeviceEntry *in)
{
    size_t i = 0;

    while (i < rig->device_count && (rig->devices[i].user != in->user ||
                                     !text_is(rig->devices[i].name, &in->device))) {
        i++;
    }
    assert(i < 64);
    if (i == rig->device_count) {
        rig->device_count++;
    }
    rig->devices[i].user = in->user;
    text_of(rig->devices[i].name, sizeof(rig->devices[i].name), &in->device);
    assert(in->cursor > rig->devices[i].cursor);
    rig->devices[i].cursor = in->cursor;
}

static void
store_delivered(struct rig *rig, const Anser__Bus__DeliveredEntry *in)
{
    struct an_conv conv = conv_of(&in->conversation);
    size_t i = 0;

    while (i < rig->delivered_count && (rig->delivered[i].member != in->member ||
                                        !same_conv(&rig->delivered[i].conv, &conv))) {
        i++;
    }
    assert(i < 64);
    if (i == rig->delivered_count) {
        rig->delivered_count++;
    }
    assert(in->seq > rig->delivered[i].seq);
    rig->delivered[i] = (struct rig_delivered){conv, in->member, in->seq};
}

static void
store_name(struct rig_name *names, size_t *count, uint64_t user,
           const ProtobufCBinaryData *app, const ProtobufCBinaryData *name)
{
    struct rig_name *row = &names[(*count)++];

    assert(*count <= 64);
    row->user = user;
    text_of(row->app, sizeof(row->app), app);
    text_of(row->name, sizeof(row->name), name);
}

static uint64_t
store_entry(struct rig *rig, const Anser__Bus__Entry *entry)
{
    switch (entry->what_case) {
    case ANSER__BUS__ENTRY__WHAT_MESSAGE:
        return store_message(rig, entry->message);
    case ANSER__BUS__ENTRY__WHAT_DEVICE:
        store_device(rig, entry->device);
        return 0;
    case ANSER__BUS__ENTRY__WHAT_DELIVERED:
        store_delivered(rig, entry->delivered);
        return 0;
    case ANSER__BUS__ENTRY__WHAT_USER:
        store_name(rig->users, &rig->user_count, entry->user->user, &entry->user->app,
                   &entry->user->name);
        rig_store_first(rig, entry->user);
        return 0;
    case ANSER__BUS__ENTRY__WHAT_ACCOUNT:
        rig_store_account(rig, entry->account);
        return 0;
    case ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION:
        rig_store_session(rig, entry->device_session);
        return 0;
    case ANSER__BUS__ENTRY__WHAT_DIRECTORY:
        store_name(rig->names, &rig->name_count, entry->directory->user,
                   &entry->directory->app, &entry->directory->name);
        return 0;
    default:
        abort();
    }
}

/* ------------------------------------------------------------------ its answers */

static void
answer_append(struct rig *rig, const struct harness_effect *ask, bool apply, bool reply)
{
    static Anser__Bus__AppendedSlot slots[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__AppendedSlot *list[AN_BATCH_ITEMS_MAX];
    static uint64_t seqs[AN_BATCH_ITEMS_MAX];
    static uint64_t recipient_seqs[AN_BATCH_ITEMS_MAX];
    const Anser__Bus__Append *append = harness_body(ask);
    Anser__Bus__Appended done = ANSER__BUS__APPENDED__INIT;
    size_t n = 0;

    for (size_t i = 0; i < append->n_slots; i++) {
        const Anser__Bus__AppendSlot *in = append->slots[i];
        Anser__Bus__AppendedSlot *slot = &slots[i];

        anser__bus__appended_slot__init(slot);
        list[i] = slot;
        slot->slot = in->slot;
        slot->inbox_seqs = &seqs[n];
        slot->recipient_inbox_seqs = &recipient_seqs[n];
        if (in->epoch != rig->epoch[in->slot]) {
            slot->err = AN_ERR_FENCED;
            slot->epoch = rig->epoch[in->slot];
            slot->owner = rig->owner[in->slot];
            continue;
        }
        slot->n_inbox_seqs = slot->n_recipient_inbox_seqs = in->n_entries;
        for (size_t e = 0; e < in->n_entries; e++, n++) {
            seqs[n] = apply ? store_entry(rig, in->entries[e]) : 0;
            recipient_seqs[n] = seqs[n]; /* the rig's users share one inbox */
        }
    }
    done.slots = list;
    done.n_slots = append->n_slots;
    if (reply) {
        harness_answer(rig->h, ask, AN_OK, &done.base);
        harness_drain(rig->h);
    }
}

static void
claim_one(struct rig *rig, const Anser__Bus__Claim *claim, Anser__Bus__SlotClaim *slot,
          bool held)
{
    if (held && rig->claimer[slot->slot] != claim->incarnation) {
        slot->err = AN_ERR_FENCED;
        slot->epoch = rig->epoch[slot->slot];
        slot->owner = rig->owner[slot->slot];
        return;
    }
    slot->epoch = ++rig->epoch[slot->slot];
    rig->claimer[slot->slot] = claim->incarnation;
    rig->owner[slot->slot] = (uint16_t)claim->sequencer;
    for (size_t m = 0; m < rig->message_count; m++) {
        uint64_t ms = an_get_u64(rig->messages[m].id) >> 16;
        if (an_slot_conv(&rig->messages[m].conv) == slot->slot &&
            ms > slot->dedupe_high_ms) {
            slot->dedupe_high_ms = ms;
        }
    }
}

static void
answer_claim(struct rig *rig, const struct harness_effect *ask)
{
    static Anser__Bus__SlotClaim slots[2 * AN_SLOTS];
    static Anser__Bus__SlotClaim *list[2 * AN_SLOTS];
    const Anser__Bus__Claim *claim = harness_body(ask);
    Anser__Bus__Claimed done = ANSER__BUS__CLAIMED__INIT;

    for (size_t i = 0; i < claim->n_slots + claim->n_held; i++) {
        Anser__Bus__SlotClaim *slot = list[i] = &slots[i];
        bool held = i >= claim->n_slots;

        anser__bus__slot_claim__init(slot);
        slot->slot = held ? claim->held[i - claim->n_slots] : claim->slots[i];
        claim_one(rig, claim, slot, held);
    }
    done.slots = list;
    done.n_slots = claim->n_slots + claim->n_held;
    harness_answer(rig->h, ask, AN_OK, &done.base);
    harness_drain(rig->h);
}

void
rig_claimed_by(struct rig *rig, uint16_t owner, uint16_t first, uint16_t count)
{
    for (uint16_t slot = first; slot < first + count; slot++) {
        rig->epoch[slot]++;
        rig->claimer[slot] = 1000u + owner;
        rig->owner[slot] = owner;
    }
}

static void
answer_conversation(struct rig *rig, const ProtobufCBinaryData *key,
                    Anser__Bus__Answer *a)
{
    static Anser__Bus__MemberState members[2];
    static Anser__Bus__MemberState *list[2] = {&members[0], &members[1]};
    struct an_conv conv = conv_of(key);
    uint64_t users[2];

    a->conversation_head = head_of(rig, &conv);
    if (a->conversation_head == 0) {
        a->err = AN_ERR_NOT_FOUND;
        return;
    }
    for (size_t i = 0; i < rig->message_count; i++) {
        if (same_conv(&rig->messages[i].conv, &conv)) {
            a->last_time_ms = rig->messages[i].time_ms;
        }
    }
    an_conv_users(&conv, &users[0], &users[1]);
    for (size_t i = 0; i < 2; i++) {
        anser__bus__member_state__init(&members[i]);
        members[i].user = users[i];
        members[i].name = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "name"};
        members[i].delivered = delivered_of(rig, &conv, users[i]);
    }
    a->members = list;
    a->n_members = users[0] == users[1] ? 1 : 2;
}

static void
answer_dedupe(struct rig *rig, const Anser__Bus__DedupeQuery *q, Anser__Bus__Answer *a)
{
    struct an_conv conv = conv_of(&q->conversation);

    a->err = AN_ERR_NOT_FOUND;
    for (size_t i = 0; i < rig->message_count; i++) {
        struct rig_message *m = &rig->messages[i];

        if (same_conv(&m->conv, &conv) && m->sender == q->sender &&
            memcmp(m->id, q->client_msg_id.data, 16) == 0) {
            a->err = AN_OK;
            a->seq = m->seq;
            a->message_id = m->message_id;
            a->time_ms = m->time_ms;
            a->inbox_seq = m->inbox_seq;
            a->body_hash = (ProtobufCBinaryData){16, m->hash};
        }
    }
}

static void
answer_device(struct rig *rig, const Anser__Bus__DeviceQuery *q, Anser__Bus__Answer *a)
{
    a->inbox_generation = rig->inbox_generation;
    a->inbox_head = rig->inbox_head;
    for (size_t i = 0; i < rig->device_count; i++) {
        if (rig->devices[i].user == q->user &&
            text_is(rig->devices[i].name, &q->device)) {
            a->cursor = rig->devices[i].cursor;
        }
    }
}

static void
answer_query(struct rig *rig, const Anser__Bus__Query *q, Anser__Bus__Answer *a)
{
    switch (q->what_case) {
    case ANSER__BUS__QUERY__WHAT_CONVERSATION:
        answer_conversation(rig, &q->conversation->conversation, a);
        return;
    case ANSER__BUS__QUERY__WHAT_DEDUPE:
        answer_dedupe(rig, q->dedupe, a);
        return;
    case ANSER__BUS__QUERY__WHAT_DEVICE:
        answer_device(rig, q->device, a);
        return;
    case ANSER__BUS__QUERY__WHAT_RESOLVE:
        a->err = AN_ERR_NOT_FOUND;
        for (size_t i = 0; i < rig->name_count; i++) {
            if (text_is(rig->names[i].name, &q->resolve->name)) {
                a->err = AN_OK;
                a->user = rig->names[i].user;
            }
        }
        return;
    case ANSER__BUS__QUERY__WHAT_ACCOUNT:
        rig_answer_account(rig, q->account, a);
        return;
    default:
        abort();
    }
}

static void
answer_read(struct rig *rig, const struct harness_effect *ask)
{
    const Anser__Bus__Read *read = harness_body(ask);
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer *answers = calloc(read->n_queries, sizeof(*answers));
    Anser__Bus__Answer **list = calloc(read->n_queries, sizeof(*list));

    assert(answers != NULL && list != NULL);
    for (size_t i = 0; i < read->n_queries; i++) {
        anser__bus__answer__init(&answers[i]);
        list[i] = &answers[i];
        answer_query(rig, read->queries[i], &answers[i]);
        rig->reads++;
    }
    done.answers = list;
    done.n_answers = read->n_queries;
    harness_answer(rig->h, ask, AN_OK, &done.base);
    harness_drain(rig->h);
    free(answers);
    free(list);
}

static void
answer_ids(struct rig *rig, const struct harness_effect *ask)
{
    const Anser__Bus__TakeIds *take = harness_body(ask);
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    Anser__Bus__IdRun run = ANSER__BUS__ID_RUN__INIT;
    Anser__Bus__IdRun *list[] = {&run};

    if (rig->no_ids) {
        harness_answer(rig->h, ask, AN_ERR_UNAVAILABLE, NULL);
        harness_drain(rig->h);
        return;
    }
    run.prefix = ++rig->next_ms << 22;
    run.start = 17;
    run.stride = 5;
    run.count = take->count < 4096 ? take->count : 4096;
    taken.runs = list;
    taken.n_runs = 1;
    harness_answer(rig->h, ask, AN_OK, &taken.base);
    harness_drain(rig->h);
}

/* ------------------------------------------------------------------ pumping */

static bool
pump_one(struct rig *rig, enum an_kind kind)
{
    const struct harness_effect *ask;

    switch (kind) {
    case AN_KIND_CLAIM:
        ask = harness_take_ask(rig->h, AN_ROLE_STORE, kind);
        if (ask != NULL) {
            answer_claim(rig, ask);
        }
        return ask != NULL;
    case AN_KIND_READ:
        ask = harness_take_ask(rig->h, AN_ROLE_STORE, kind);
        if (ask != NULL) {
            answer_read(rig, ask);
        }
        return ask != NULL;
    case AN_KIND_APPEND:
        ask = rig_take_append(rig);
        if (ask != NULL) {
            rig_answer(rig, ask);
        }
        return ask != NULL;
    case AN_KIND_TAKE_IDS:
        ask = harness_take_ask(rig->h, AN_ROLE_IDGEN, kind);
        if (ask != NULL) {
            answer_ids(rig, ask);
        }
        return ask != NULL;
    default:
        abort();
    }
}

void
rig_pump_kind(struct rig *rig, enum an_kind kind)
{
    while (pump_one(rig, kind)) {
    }
}

void
rig_pump_but_appends(struct rig *rig)
{
    while (pump_one(rig, AN_KIND_CLAIM) || pump_one(rig, AN_KIND_TAKE_IDS) ||
           pump_one(rig, AN_KIND_READ)) {
    }
}

void
rig_pump(struct rig *rig)
{
    do {
        rig_pump_but_appends(rig);
    } while (pump_one(rig, AN_KIND_APPEND));
}

const struct harness_effect *
rig_take_append(struct rig *rig)
{
    const struct harness_effect *ask =
        harness_take_ask(rig->h, AN_ROLE_STORE, AN_KIND_APPEND);

    rig->appends += ask != NULL;
    return ask;
}

void
rig_store(struct rig *rig, const struct harness_effect *append)
{
    answer_append(rig, append, true, false);
}

void
rig_answer(struct rig *rig, const struct harness_effect *append)
{
    answer_append(rig, append, true, true);
}

void
rig_refuse(struct rig *rig, const struct harness_effect *append, enum an_err err,
           uint32_t owner)
{
    static Anser__Bus__AppendedSlot slots[AN_BATCH_ITEMS_MAX];
    static Anser__Bus__AppendedSlot *list[AN_BATCH_ITEMS_MAX];
    const Anser__Bus__Append *in = harness_body(append);
    Anser__Bus__Appended done = ANSER__BUS__APPENDED__INIT;

    for (size_t i = 0; i < in->n_slots; i++) {
        anser__bus__appended_slot__init(&slots[i]);
        list[i] = &slots[i];
        slots[i].slot = in->slots[i]->slot;
        slots[i].err = err;
        slots[i].owner = owner;
        slots[i].epoch = in->slots[i]->epoch + 1;
    }
    done.slots = list;
    done.n_slots = in->n_slots;
    harness_answer(rig->h, append, AN_OK, &done.base);
    harness_drain(rig->h);
}

/* ------------------------------------------------------------------ life */

static void
start(struct rig *rig, const struct sequencer_cfg *cfg)
{
    struct sequencer_cfg own = cfg != NULL ? *cfg : (struct sequencer_cfg){0};
    struct an_actor *actor = NULL;
    enum an_err err;

    if (own.topology == NULL) {
        own.topology = &rig->topology;
    }
    if (own.dedupe_rows_max == 0) {
        own.dedupe_rows_max = 4096;
    }
    if (own.convs_max == 0) {
        own.convs_max = 256;
    }
    if (own.seed == 0) {
        own.seed = 99;
    }
    err = sequencer_create(&actor, &own);
    assert(err == AN_OK);
    rig->h = harness_create(actor);
    harness_start(rig->h);
}

void
rig_init(struct rig *rig, const struct sequencer_cfg *cfg)
{
    *rig = (struct rig){.inbox_generation = 77};
    an_topology_single(&rig->topology);
    rig->messages = calloc(RIG_ROWS_MAX, sizeof(*rig->messages));
    assert(rig->messages != NULL);
    start(rig, cfg);
}

void
rig_init_ready(struct rig *rig, const struct sequencer_cfg *cfg)
{
    const struct harness_effect *ready;

    rig_init(rig, cfg);
    rig_pump(rig);
    ready = harness_take(rig->h, AN_EFFECT_READY);
    assert(ready != NULL);
}

void
rig_restart(struct rig *rig, const struct sequencer_cfg *cfg)
{
    harness_destroy(rig->h);
    start(rig, cfg);
}

void
rig_fini(struct rig *rig)
{
    harness_destroy(rig->h);
    free(rig->messages);
    rig_accounts_fini(rig);
}

/* ------------------------------------------------------------------ commands */

void
rig_id(const struct rig *rig, uint64_t id, int64_t age_ms, uint8_t out[16])
{
    uint64_t ms = harness_now(rig->h).wall_ms - (uint64_t)age_ms;

    an_put_u64(out, ms << 16 | 0x7000 | (id & 0xfff));
    an_put_u64(out + 8, 0x8000000000000000u | id);
}

static const struct an_addr gate0 = {AN_ROLE_GATE, 0};

ProtobufCBinaryData
rig_text(const char *chars)
{
    return (ProtobufCBinaryData){strlen(chars), (uint8_t *)(uintptr_t)chars};
}

uint64_t
rig_submit(struct rig *rig, Anser__Bus__Command **list, size_t count)
{
    Anser__Bus__Submit in = ANSER__BUS__SUBMIT__INIT;
    uint64_t request;

    in.commands = list;
    in.n_commands = count;
    request = harness_request(rig->h, gate0, AN_KIND_SUBMIT, &in.base);
    harness_drain(rig->h);
    return request;
}

struct built {
    Anser__Bus__Command command;
    Anser__Bus__SendCommand send;
    uint8_t id[16], after[16];
};

static void
build(const struct rig *rig, struct built *b, const struct rig_send *in)
{
    struct an_conv conv;

    anser__bus__command__init(&b->command);
    anser__bus__send_command__init(&b->send);
    b->command.what_case = ANSER__BUS__COMMAND__WHAT_SEND;
    b->command.send = &b->send;
    b->command.trace = in->id;
    b->send.sender = in->sender != 0 ? in->sender : 1;
    b->send.recipient = in->recipient != 0 ? in->recipient : 2;
    conv = an_conv_direct(b->send.sender, b->send.recipient);
    b->command.slot = an_slot_conv(&conv);
    b->send.from = rig_text("from");
    b->send.to = rig_text("to");
    b->send.device = rig_text("phone");
    rig_id(rig, in->id, in->id_age_ms, b->id);
    b->send.client_msg_id = (ProtobufCBinaryData){16, b->id};
    b->send.type = in->type != 0 ? in->type : 1;
    b->send.body = rig_text(in->body != NULL ? in->body : "hello");
    if (in->after != 0) {
        rig_id(rig, in->after, in->after_age_ms, b->after);
        b->send.after_id = (ProtobufCBinaryData){16, b->after};
    }
}

uint64_t
rig_sends(struct rig *rig, const struct rig_send *sends, size_t count)
{
    struct built *built = calloc(count, sizeof(*built));
    Anser__Bus__Command **list = calloc(count, sizeof(Anser__Bus__Command *));
    uint64_t request;

    assert(built != NULL && list != NULL);
    for (size_t i = 0; i < count; i++) {
        build(rig, &built[i], &sends[i]);
        list[i] = &built[i].command;
    }
    request = rig_submit(rig, list, count);
    free(built);
    free(list);
    return request;
}

uint64_t
rig_send(struct rig *rig, const struct rig_send *send)
{
    return rig_sends(rig, send, 1);
}

uint64_t
rig_confirm(struct rig *rig, uint64_t user, const char *device, uint64_t seq,
            uint64_t generation)
{
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__ConfirmCommand confirm = ANSER__BUS__CONFIRM_COMMAND__INIT;
    Anser__Bus__Command *list[] = {&command};

    command.slot = an_slot_user(user);
    command.what_case = ANSER__BUS__COMMAND__WHAT_CONFIRM;
    command.confirm = &confirm;
    confirm.user = user;
    confirm.device = rig_text(device);
    confirm.inbox_seq = seq;
    confirm.inbox_generation = generation;
    return rig_submit(rig, list, 1);
}

uint64_t
rig_delivered(struct rig *rig, uint64_t a, uint64_t b, uint64_t member, uint64_t seq)
{
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__DeliveredCommand delivered = ANSER__BUS__DELIVERED_COMMAND__INIT;
    Anser__Bus__Command *list[] = {&command};
    struct an_conv conv = an_conv_direct(a, b);

    command.slot = an_slot_conv(&conv);
    command.what_case = ANSER__BUS__COMMAND__WHAT_DELIVERED;
    command.delivered = &delivered;
    delivered.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    delivered.member = member;
    delivered.seq = seq;
    return rig_submit(rig, list, 1);
}

uint64_t
rig_put_directory(struct rig *rig, const char *name, uint64_t user)
{
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__PutDirectory put = ANSER__BUS__PUT_DIRECTORY__INIT;
    Anser__Bus__Command *list[] = {&command};

    put.app = rig_text("default");
    put.name = rig_text(name);
    put.user = user;
    command.slot = an_slot_name(put.app.data, put.app.len, put.name.data, put.name.len);
    command.what_case = ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;
    command.put_directory = &put;
    return rig_submit(rig, list, 1);
}

uint64_t
rig_create_user(struct rig *rig, const char *name, uint64_t user)
{
    return rig_register(rig, name, user, "");
}

bool
rig_answered(struct rig *rig, uint64_t request)
{
    return harness_reply(rig->h, request) != NULL;
}

const Anser__Bus__Result *
rig_result(struct rig *rig, uint64_t request, size_t i)
{
    const Anser__Bus__Submitted *done = harness_body(harness_reply(rig->h, request));

    assert(i < done->n_results);
    return done->results[i];
}

size_t
rig_stored(const struct rig *rig, uint64_t a, uint64_t b)
{
    struct an_conv conv = an_conv_direct(a, b);

    return head_of(rig, &conv);
}
