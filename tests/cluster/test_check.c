/* Planted damage: each kind is written into a healthy directory behind the store's back,
 * through the engine, and the check has to name it, with its file and offset. */
#include "cluster/check.h"
#include "core/limits.h"
#include "core/slot.h"
#include "proto/stored.pb-c.h"
#include "tests/actors/store_rig.h"
#include "tests/cluster/check_plant.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

/* ------------------------------------------------------------------ a healthy store */

static ProtobufCBinaryData
data(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static void
append_one(struct store_rig *rig, uint16_t slot, Anser__Bus__Entry *entry)
{
    if (rig->epochs[slot] == 0) {
        store_rig_claim(rig, slot);
    }
    assert_int_equal(store_rig_append(rig, slot, &entry, 1)->err, AN_OK);
}

static void
make_directory(struct store_rig *rig, const char *name, uint64_t key)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__DirectoryEntry directory = ANSER__BUS__DIRECTORY_ENTRY__INIT;

    directory.app = data("default");
    directory.name = data(name);
    directory.user = key;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DIRECTORY;
    entry.directory = &directory;
    append_one(rig,
               an_slot_name(directory.app.data, directory.app.len, directory.name.data,
                            directory.name.len),
               &entry);
}

static void
make_user(struct store_rig *rig, uint64_t key)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__UserEntry user = ANSER__BUS__USER_ENTRY__INIT;
    char name[16];

    snprintf(name, sizeof(name), "u%u", (unsigned)key);
    user.app = data("default");
    user.name = data(name);
    user.user = key;
    user.created_ms = 5;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_USER;
    entry.user = &user;
    append_one(rig, an_slot_user(key), &entry);
    make_directory(rig, name, key);
}

static void
make_positions(struct store_rig *rig)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__DeviceEntry device = ANSER__BUS__DEVICE_ENTRY__INIT;
    Anser__Bus__DeliveredEntry delivered = ANSER__BUS__DELIVERED_ENTRY__INIT;
    Anser__Bus__Cas cas = ANSER__BUS__CAS__INIT;
    struct an_conv conv = an_conv_direct(1, 2);
    enum an_err err;

    device.user = 2;
    device.device = data("phone");
    device.cursor = 3;
    device.confirmed_ms = 1;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DEVICE;
    entry.device = &device;
    append_one(rig, an_slot_user(2), &entry);
    delivered.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    delivered.member = 2;
    delivered.seq = 3;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DELIVERED;
    entry.delivered = &delivered;
    append_one(rig, an_slot_conv(&conv), &entry);
    cas.name = data("worker/1");
    cas.slot = an_slot_register(cas.name.data, cas.name.len);
    cas.value = data("x");
    assert_non_null(store_rig_ask(rig, AN_ROLE_IDGEN, AN_KIND_CAS, &cas.base, &err));
    cas.name = data("worker/2@700"); /* lies where its name says */
    cas.slot = an_slot_register(cas.name.data, cas.name.len);
    assert_int_equal(cas.slot, 700);
    assert_non_null(store_rig_ask(rig, AN_ROLE_IDGEN, AN_KIND_CAS, &cas.base, &err));
}

/* One who was muted and has a device. */
static void
make_account(struct store_rig *rig, uint64_t key)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__AccountEntry account = ANSER__BUS__ACCOUNT_ENTRY__INIT;
    Anser__Bus__AccountState state = ANSER__BUS__ACCOUNT_STATE__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;
    Anser__Bus__DeviceSessionEntry session = ANSER__BUS__DEVICE_SESSION_ENTRY__INIT;
    Anser__Bus__DeviceState device = ANSER__BUS__DEVICE_STATE__INIT;

    account.user = session.user = key;
    account.state = &state;
    account.details = &details;
    state.version = 1;
    state.muted_until_ms = UINT64_MAX;
    state.tokens_from_ms = 3000;
    state.revocations = 2;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_ACCOUNT;
    entry.account = &account;
    append_one(rig, an_slot_user(key), &entry);
    session.state = &device;
    device.device = data("phone");
    device.platform = data("ios");
    device.revocations = 2;
    device.refresh_hash = data("0123456789abcdef0123456789abcdef");
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION;
    entry.device_session = &session;
    append_one(rig, an_slot_user(key), &entry);
}

/* Users 1 to 4; 1 and 2 talk, 1 and 3 talk, 4 writes to itself. */
static void
fill(struct store_rig *rig)
{
    for (uint64_t key = 1; key <= 4; key++) {
        make_user(rig, key);
    }
    store_rig_claim_pair(rig, 1, 2);
    store_rig_claim_pair(rig, 1, 3);
    store_rig_claim_pair(rig, 4, 4);
    store_rig_talk(rig, 1, 2, 1, 8);
    store_rig_talk(rig, 1, 3, 1, 4);
    store_rig_talk(rig, 4, 4, 1, 3);
    make_positions(rig);
    make_account(rig, 1);
}

static int
setup(void **state)
{
    struct store_rig *rig = store_rig_create();

    store_rig_open(rig);
    fill(rig);
    /* Stopped, so applied: what is planted lies in the log above it. */
    harness_stop(rig->h);
    store_rig_settle(rig);
    assert_non_null(harness_take(rig->h, AN_EFFECT_STOPPED));
    store_rig_close(rig);
    *state = rig;
    return 0;
}

static int
teardown(void **state)
{
    store_rig_destroy(*state);
    return 0;
}

/* ------------------------------------------------------------------ checking */

struct heard {
    const char *want; /* part of a sentence */
    unsigned findings, notes, wanted;
    bool print;
};

static void
hear(void *ctx, const struct an_check_finding *finding)
{
    struct heard *heard = ctx;

    heard->findings += !finding->note;
    heard->notes += finding->note;
    if (heard->want != NULL && strstr(finding->sentence, heard->want) != NULL) {
        heard->wanted++;
        assert_true(strlen(finding->file) > 0);
        assert_true(finding->offset > 0);
    }
    if (heard->print) {
        print_message("%s:%llu: %s\n", finding->file, (unsigned long long)finding->offset,
                      finding->sentence);
    }
}

static struct an_check_totals
check(struct store_rig *rig, struct heard *heard, uint64_t wall_ms)
{
    const char *const dirs[] = {rig->cfg.engine.dir};
    struct an_check_cfg cfg = {.dirs = dirs,
                               .dir_count = 1,
                               .files = rig->cfg.engine.files,
                               .wall_ms = wall_ms,
                               .id_filter_bytes = 64 * 1024,
                               .ctx = heard,
                               .finding = hear};
    struct an_check_totals totals;

    assert_int_equal(an_check_data(&cfg, &totals), AN_OK);
    assert_int_equal(totals.findings, heard->findings);
    assert_int_equal(totals.notes, heard->notes);
    return totals;
}

/* ------------------------------------------------------------------ planting */

struct keyed {
    uint8_t key[AN_ROW_KEY_MAX];
    size_t len;
};

static struct keyed
message_key(uint64_t a, uint64_t b, uint64_t seq)
{
    struct an_conv conv = an_conv_direct(a, b);
    struct keyed out;

    out.len = an_row_message(out.key, an_slot_conv(&conv), &conv, seq);
    return out;
}

/* The stored form of what store_rig_message makes, to be bent by a plant. */
struct message {
    struct store_rig_message made;
    Anser__Stored__Message row;
};

static void
stored_message(struct message *out, uint64_t from, uint64_t to, uint64_t seq)
{
    const Anser__Bus__MessageEntry *entry = &out->made.message;

    store_rig_message(&out->made, from, to, seq);
    anser__stored__message__init(&out->row);
    out->row.message_id = entry->message_id;
    out->row.time_ms = entry->time_ms;
    out->row.sender = entry->sender;
    out->row.from = entry->from;
    out->row.to = entry->to;
    out->row.from_device = entry->device;
    out->row.client_msg_id = entry->client_msg_id;
    out->row.type = entry->type;
    out->row.body = entry->body;
}

static void
put_message(struct store_rig *rig, const struct message *message, uint64_t a, uint64_t b,
            uint64_t seq)
{
    struct keyed at = message_key(a, b, seq);

    check_plant(rig, at.key, at.len, &message->row.base);
}

static void
plant_lost_message(struct store_rig *rig)
{
    struct keyed at = message_key(1, 2, 5);

    check_plant(rig, at.key, at.len, NULL);
}

static void
plant_lost_last_message(struct store_rig *rig)
{
    struct keyed at = message_key(1, 2, 8);

    check_plant(rig, at.key, at.len, NULL);
}

static void
plant_message_that_is_none(struct store_rig *rig)
{
    struct keyed at = message_key(1, 2, 4);
    Anser__Client__Send send = ANSER__CLIENT__SEND__INIT;

    send.type = 7; /* field 3 as a varint, where a message has a fixed64 */
    check_plant(rig, at.key, at.len, &send.base);
}

static void
plant_foreign_sender(struct store_rig *rig)
{
    struct message m;

    stored_message(&m, 1, 2, 3);
    m.row.sender = 4;
    put_message(rig, &m, 1, 2, 3);
}

static void
plant_other_names(struct store_rig *rig)
{
    struct message m;

    stored_message(&m, 1, 2, 3);
    m.row.to = data("u9");
    put_message(rig, &m, 1, 2, 3);
}

static void
plant_time_going_back(struct store_rig *rig)
{
    struct message m;

    stored_message(&m, 1, 2, 5);
    m.row.time_ms = store_rig_time(2);
    put_message(rig, &m, 1, 2, 5);
}

static void
plant_repeated_id(struct store_rig *rig)
{
    struct message m, other;

    stored_message(&other, 3, 1, 2);
    stored_message(&m, 1, 2, 5);
    m.row.message_id = other.row.message_id;
    put_message(rig, &m, 1, 2, 5);
}

static void
plant_bad_client_id(struct store_rig *rig)
{
    struct message m;

    stored_message(&m, 1, 2, 5);
    m.made.id[6] = 0x40;
    put_message(rig, &m, 1, 2, 5);
}

static void
plant_lost_dedupe(struct store_rig *rig)
{
    struct message m;
    uint8_t key[AN_ROW_KEY_MAX];

    stored_message(&m, 1, 2, 5);
    check_plant(
        rig, key,
        an_row_dedupe(key, an_slot_conv(&m.made.conv), m.made.id, 1, &m.made.conv), NULL);
}

static void
plant_dedupe_of_nothing(struct store_rig *rig)
{
    struct message m;
    uint8_t key[AN_ROW_KEY_MAX];
    Anser__Stored__Dedupe row = ANSER__STORED__DEDUPE__INIT;

    stored_message(&m, 1, 2, 99);
    row.seq = 99;
    row.message_id = m.row.message_id;
    row.time_ms = m.row.time_ms;
    row.body_hash = (ProtobufCBinaryData){16, m.made.hash};
    check_plant(
        rig, key,
        an_row_dedupe(key, an_slot_conv(&m.made.conv), m.made.id, 1, &m.made.conv),
        &row.base);
}

static void
put_entry(struct store_rig *rig, uint64_t user, uint64_t inbox_seq, uint64_t a,
          uint64_t b, uint64_t seq)
{
    uint8_t key[AN_ROW_KEY_MAX];
    struct an_conv conv = an_conv_direct(a, b);
    Anser__Stored__InboxEntry row = ANSER__STORED__INBOX_ENTRY__INIT;

    row.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    row.seq = seq;
    check_plant(rig, key, an_row_inbox(key, an_slot_user(user), user, inbox_seq),
                &row.base);
}

static void
put_inbox_head(struct store_rig *rig, uint64_t user, uint64_t head)
{
    uint8_t key[AN_ROW_KEY_MAX];
    Anser__Stored__InboxHead row = ANSER__STORED__INBOX_HEAD__INIT;

    row.generation = 1;
    row.first = 1;
    row.head = head;
    check_plant(rig, key, an_row_inbox_head(key, an_slot_user(user), user), &row.base);
}

static void
plant_lost_entry(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];

    check_plant(rig, key, an_row_inbox(key, an_slot_user(2), 2, 5), NULL);
}

static void
plant_entry_of_nothing(struct store_rig *rig)
{
    put_entry(rig, 2, 5, 1, 2, 77);
}

static void
plant_entry_twice(struct store_rig *rig)
{
    put_entry(rig, 2, 9, 1, 2, 4);
    put_inbox_head(rig, 2, 9);
}

static void
plant_foreign_entry(struct store_rig *rig)
{
    put_entry(rig, 2, 5, 1, 3, 1);
}

static void
plant_inbox_head_too_high(struct store_rig *rig)
{
    put_inbox_head(rig, 2, 11);
}

static void
plant_lost_inbox_head(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];

    check_plant(rig, key, an_row_inbox_head(key, an_slot_user(2), 2), NULL);
}

static void
plant_delivered_beyond_head(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    struct an_conv conv = an_conv_direct(1, 2);
    Anser__Stored__Delivered row = ANSER__STORED__DELIVERED__INIT;

    row.seq = 9;
    check_plant(rig, key, an_row_delivered(key, an_slot_conv(&conv), &conv, 2),
                &row.base);
}

static void
plant_cursor_beyond_head(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    Anser__Stored__Device row = ANSER__STORED__DEVICE__INIT;

    row.cursor = 9;
    check_plant(rig, key,
                an_row_device(key, an_slot_user(2), 2, (const uint8_t *)"phone", 5),
                &row.base);
}

static void
plant_lost_directory_row(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    const uint8_t *app = (const uint8_t *)"default";
    const uint8_t *name = (const uint8_t *)"u2";

    check_plant(rig, key,
                an_row_directory(key, an_slot_name(app, 7, name, 2), app, 7, name, 2),
                NULL);
}

static void
plant_second_name(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    const uint8_t *app = (const uint8_t *)"default";
    const uint8_t *name = (const uint8_t *)"eve";
    Anser__Stored__Directory row = ANSER__STORED__DIRECTORY__INIT;

    row.user = 2;
    check_plant(rig, key,
                an_row_directory(key, an_slot_name(app, 7, name, 3), app, 7, name, 3),
                &row.base);
}

static void
plant_wrong_slot(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    Anser__Stored__Device row = ANSER__STORED__DEVICE__INIT;
    uint16_t slot = (uint16_t)((an_slot_user(2) + 1) % AN_SLOTS);

    row.confirmed_ms = 1;
    check_plant(rig, key, an_row_device(key, slot, 2, (const uint8_t *)"phone", 5),
                &row.base);
}

static void
plant_unknown_table(struct store_rig *rig)
{
    uint8_t key[5] = {0, 1, 'q', 1, 2};
    Anser__Stored__Slot row = ANSER__STORED__SLOT__INIT;

    row.epoch = 1;
    check_plant(rig, key, sizeof(key), &row.base);
}

static void
plant_short_key(struct store_rig *rig)
{
    uint8_t key[7] = {0, 1, 'c', 'D', 1, 2, 3};
    Anser__Stored__Slot row = ANSER__STORED__SLOT__INIT;

    row.epoch = 1;
    check_plant(rig, key, sizeof(key), &row.base);
}

static void
plant_register_of_version_0(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    const uint8_t *name = (const uint8_t *)"worker/1";
    Anser__Stored__Register row = ANSER__STORED__REGISTER__INIT;

    row.value = data("x");
    check_plant(rig, key, an_row_register(key, an_slot_register(name, 8), name, 8),
                &row.base);
}

static void
plant_epoch_0(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    Anser__Stored__Slot row = ANSER__STORED__SLOT__INIT;

    row.owner = 1;
    check_plant(rig, key, an_row_slot(key, 17), &row.base);
}

static void
plant_lost_conversation(struct store_rig *rig)
{
    uint8_t key[AN_ROW_KEY_MAX];
    struct an_conv conv = an_conv_direct(1, 2);

    check_plant(rig, key, an_row_conversation(key, an_slot_conv(&conv), &conv), NULL);
}

/* X(plant, part of the sentence) */
static void
put_account(struct store_rig *rig, uint64_t user, uint64_t version)
{
    Anser__Stored__Account row = ANSER__STORED__ACCOUNT__INIT;
    struct keyed k;

    row.version = version;
    k.len = an_row_account(k.key, an_slot_user(user), user);
    check_plant(rig, k.key, k.len, &row.base);
}

static void
put_session(struct store_rig *rig, uint64_t user, const char *hash)
{
    Anser__Stored__DeviceSession row = ANSER__STORED__DEVICE_SESSION__INIT;
    struct keyed k;

    row.refresh_hash = data(hash);
    k.len = an_row_device_session(k.key, an_slot_user(user), user,
                                  (const uint8_t *)"phone", 5);
    check_plant(rig, k.key, k.len, &row.base);
}

static void
plant_session_issued_after_its_use(struct store_rig *rig)
{
    Anser__Stored__DeviceSession row = ANSER__STORED__DEVICE_SESSION__INIT;
    struct keyed k;

    row.issued_ms = 5;
    row.seen_ms = 4;
    k.len = an_row_device_session(k.key, an_slot_user(2), 2, (const uint8_t *)"tv", 2);
    check_plant(rig, k.key, k.len, &row.base);
}

static void
plant_session_after_no_revocation(struct store_rig *rig)
{
    Anser__Stored__DeviceSession row = ANSER__STORED__DEVICE_SESSION__INIT;
    struct keyed k;

    row.revocations = 9;
    k.len = an_row_device_session(k.key, an_slot_user(2), 2, (const uint8_t *)"tv", 2);
    check_plant(rig, k.key, k.len, &row.base);
}

static void
plant_account_with_half_a_second(struct store_rig *rig)
{
    Anser__Stored__Account row = ANSER__STORED__ACCOUNT__INIT;
    struct keyed k;

    row.version = 1;
    row.rest_from_ms = 1500;
    k.len = an_row_account(k.key, an_slot_user(2), 2);
    check_plant(rig, k.key, k.len, &row.base);
}

static void
plant_account_of_nobody(struct store_rig *rig)
{
    put_account(rig, 9, 1);
}

static void
plant_session_of_nobody(struct store_rig *rig)
{
    put_session(rig, 9, "");
}

static void
plant_account_of_version_0(struct store_rig *rig)
{
    put_account(rig, 2, 0);
}

static void
plant_session_with_half_a_hash(struct store_rig *rig)
{
    put_session(rig, 2, "half");
}

#define PLANTS(X)                                                                        \
    X(lost_message, "lacks messages 5 to 5")                                             \
    X(lost_last_message, "has head 8 and its last message is 7")                         \
    X(message_that_is_none, "value is not a Message")                                    \
    X(foreign_sender, "by user 4, who is no member")                                     \
    X(other_names, "names other people than its members")                                \
    X(time_going_back, "is older than the one before it")                                \
    X(repeated_id, "has the id")                                                         \
    X(bad_client_id, "a client id that is no UUIDv7")                                    \
    X(lost_dedupe, "has no dedupe row of its own")                                       \
    X(dedupe_of_nothing, "points at message 99")                                         \
    X(lost_entry, "is missing from the inbox of user 2")                                 \
    X(entry_of_nothing, "points at message 77")                                          \
    X(entry_twice, "repeats message 4")                                                  \
    X(foreign_entry, "which the user is not in")                                         \
    X(inbox_head_too_high, "has head 11 and its last entry is 8")                        \
    X(lost_inbox_head, "lies in an inbox without head row")                              \
    X(delivered_beyond_head, "delivered, which ends at 8")                               \
    X(cursor_beyond_head, "of an inbox that ends at 8")                                  \
    X(lost_directory_row, "user 2 has no directory row")                                 \
    X(second_name, "who bears another name")                                             \
    X(account_of_nobody, "an account row is of user 9, who is not")                      \
    X(session_of_nobody, "a device's session is of user 9, who is not")                  \
    X(account_of_version_0, "has version 0")                                             \
    X(session_with_half_a_hash, "has a hash of another length")                          \
    X(session_issued_after_its_use, "was used before it was issued")                     \
    X(session_after_no_revocation, "more revocations than his account counts")           \
    X(account_with_half_a_second, "tokens from within a second")                         \
    X(wrong_slot, "belongs into slot")                                                   \
    X(unknown_table, "a table that is not known")                                        \
    X(short_key, "a length that no such key has")                                        \
    X(register_of_version_0, "a register has version 0")                                 \
    X(epoch_0, "epoch 0")                                                                \
    X(lost_conversation, "which has no head row")

static void
find_planted(struct store_rig *rig, void (*plant)(struct store_rig *rig),
             const char *want)
{
    struct heard heard = {.want = want};

    plant(rig);
    check(rig, &heard, store_rig_time(100));
    if (heard.wanted == 0) {
        heard = (struct heard){.print = true};
        check(rig, &heard, store_rig_time(100));
        fail_msg("nothing says \"%s\"", want);
    }
    assert_true(heard.findings > 0);
}

#define PLANT_TEST(plant, want)                                                          \
    static void test_check_##plant##_is_named(void **state)                              \
    {                                                                                    \
        find_planted(*state, plant_##plant, want);                                       \
    }
PLANTS(PLANT_TEST)
#undef PLANT_TEST

/* ------------------------------------------------------------------ what is allowed */

static void
test_check_clean_directory_has_no_finding(void **state)
{
    struct heard heard = {.print = true};
    struct an_check_totals totals = check(*state, &heard, store_rig_time(100));

    assert_int_equal(totals.findings, 0);
    assert_int_equal(totals.notes, 0);
    assert_int_equal(totals.conversations, 3);
    assert_int_equal(totals.messages, 15);
    assert_int_equal(totals.entries, 12 * 2 + 3);
    assert_int_equal(totals.inboxes, 4);
    assert_int_equal(totals.users, 4);
    assert_int_equal(totals.devices, 1);
    assert_int_equal(totals.dedupes, 15);
}

/* A dedupe row that retention deleted is missed by nobody. */
static void
test_check_dedupe_row_past_the_window_may_be_gone(void **state)
{
    struct heard heard = {.print = true};

    plant_lost_dedupe(*state);
    check(*state, &heard, store_rig_time(6) + AN_DEDUPE_WINDOW_MS + AN_DEDUPE_AHEAD_MS);
    assert_int_equal(heard.findings, 0);
}

static void
test_check_unfinished_account_is_a_note(void **state)
{
    struct store_rig *rig = *state;
    struct heard heard = {.want = "user 77"};

    store_rig_open(rig);
    make_directory(rig, "halfway", 77);
    store_rig_close(rig);
    check(rig, &heard, store_rig_time(100));
    assert_int_equal(heard.findings, 0);
    assert_int_equal(heard.notes, 1);
    assert_int_equal(heard.wanted, 1);
}

/* With a filter far too small every id is suspect; the second walk clears them all. */
static void
test_check_small_filter_finds_no_more_and_no_less(void **state)
{
    struct store_rig *rig = *state;
    struct heard heard = {.want = "has the id"};
    const char *const dirs[] = {rig->cfg.engine.dir};
    struct an_check_cfg cfg = {.dirs = dirs,
                               .dir_count = 1,
                               .files = rig->cfg.engine.files,
                               .wall_ms = store_rig_time(100),
                               .id_filter_bytes = 8,
                               .ctx = &heard,
                               .finding = hear};
    struct an_check_totals totals;

    assert_int_equal(an_check_data(&cfg, &totals), AN_OK);
    assert_int_equal(totals.findings, 0);
    plant_repeated_id(rig);
    assert_int_equal(an_check_data(&cfg, &totals), AN_OK);
    assert_int_equal(heard.wanted, 1);
}

static void
test_check_running_store_is_locked(void **state)
{
    struct store_rig *rig = *state;
    struct heard heard = {0};
    const char *const dirs[] = {rig->cfg.engine.dir};
    struct an_check_cfg cfg = {.dirs = dirs,
                               .dir_count = 1,
                               .files = rig->cfg.engine.files,
                               .ctx = &heard,
                               .finding = hear};
    struct an_check_totals totals;

    store_rig_open(rig);
    assert_int_equal(an_check_data(&cfg, &totals), AN_ERR_LOCKED);
}

int
main(void)
{
#define TEST(name)              cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_PLANT(plant, want) TEST(test_check_##plant##_is_named),
    const struct CMUnitTest tests[] = {
        TEST(test_check_clean_directory_has_no_finding),
        TEST(test_check_dedupe_row_past_the_window_may_be_gone),
        TEST(test_check_unfinished_account_is_a_note),
        TEST(test_check_small_filter_finds_no_more_and_no_less),
        TEST(test_check_running_store_is_locked),
        PLANTS(TEST_PLANT)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
