/* Stored rows: the input is what a data directory says, written through the engine with
 * good checksums. A row is a byte for its table, its key and its value:
 *   table   index into TABLES; beyond them a key as it is: a byte of length, bytes
 *   a, b, n a byte each: two users and a number, of which the key is made. The high bit
 *           of the table's byte: two more bytes are its slot, instead of the right one
 *   value   two bytes of length, bytes
 * The offline check walks the directory twice over (the second time with a filter far too
 * small for its ids), then a store opens it and is asked everything it can be asked about
 * the users named. No crash; nothing is left; every question has one answer. */
#include "cluster/check.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "proto/bytes.h"
#include "proto/rows.h"
#include "store/files_sim.h"
#include "tests/fuzz/asked.h"
#include "tests/fuzz/cast.h"
#include "tests/fuzz/host.h"
#include "tests/fuzz/input.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define DIR       "/fuzz"
#define TABLES    "cmvduhignszowap"
#define ROWS_MAX  96u
#define USERS_MAX 3u

static struct engine_blob
take_bytes(struct input *in, size_t len)
{
    struct engine_blob bytes;

    len = len < in->len ? len : in->len;
    bytes = (struct engine_blob){in->data, len};
    in->data += len;
    in->len -= len;
    return bytes;
}

/* ------------------------------------------------------------------ keys */

struct name {
    char text[4];
    size_t len;
};

static struct name
name_of(uint8_t a)
{
    return (struct name){{'u', (char)('0' + a % 10)}, 2};
}

/* The key that a store would make; slot -1: the right one. */
static size_t
key_make(uint8_t *out, char table, int slot, const uint8_t from[3])
{
    struct an_conv conv = an_conv_direct(from[0], from[1]);
    struct name name = name_of(from[0]);
    const uint8_t *text = (const uint8_t *)name.text, *app = (const uint8_t *)"default";
    uint8_t id[16] = {0x01, 0xa3, 0xd2, 0x10, 0, from[2], 0x70, 0, 0x80};
    uint16_t of_conv = slot < 0 ? an_slot_conv(&conv) : (uint16_t)slot;
    uint16_t of_user = slot < 0 ? an_slot_user(from[0]) : (uint16_t)slot;

    switch (table) {
    case 'c':
        return an_row_conversation(out, of_conv, &conv);
    case 'm':
        return an_row_message(out, of_conv, &conv, from[2]);
    case 'v':
        return an_row_delivered(out, of_conv, &conv, from[2] % 2 ? from[0] : from[1]);
    case 'd':
        return an_row_dedupe(out, of_conv, id, from[0], &conv);
    case 'u':
        return an_row_user(out, of_user, from[0]);
    case 'h':
        return an_row_inbox_head(out, of_user, from[0]);
    case 'i':
        return an_row_inbox(out, of_user, from[0], from[2]);
    case 'a':
        return an_row_account(out, of_user, from[0]);
    case 'p':
        return an_row_device_session(out, of_user, from[0], (const uint8_t *)"phone", 5);
    case 'g':
        return an_row_device(out, of_user, from[0], (const uint8_t *)"phone", 5);
    case 'n':
        return an_row_directory(
            out, slot < 0 ? an_slot_name(app, 7, text, name.len) : (uint16_t)slot, app, 7,
            text, name.len);
    case 's':
        return an_row_slot(out, slot < 0 ? from[0] : (uint16_t)slot);
    case 'z':
        return an_row_register(
            out, slot < 0 ? an_slot_register(text, name.len) : (uint16_t)slot, text,
            name.len);
    case 'o':
        return an_row_outgoing(out, slot < 0 ? 0 : (uint16_t)slot, an_slot_user(from[0]),
                               from[2]);
    default:
        return an_row_mark(out, of_user, from[1]);
    }
}

/* The first few users that keys are made of: they are asked about. */
static uint8_t users[USERS_MAX];
static unsigned user_count;

static void
meet(uint8_t user)
{
    for (unsigned i = 0; i < user_count; i++) {
        if (users[i] == user) {
            return;
        }
    }
    if (user_count < USERS_MAX) {
        users[user_count++] = user;
    }
}

static struct engine_blob
take_key(struct input *in, uint8_t room[AN_ROW_KEY_MAX])
{
    uint8_t what = take(in), from[3];
    size_t table = what & 0x0f;
    int slot = -1;

    if (table >= sizeof(TABLES) - 1) {
        return take_bytes(in, take(in));
    }
    for (size_t i = 0; i < sizeof(from); i++) {
        from[i] = take(in);
    }
    meet(from[0]);
    meet(from[1]);
    if ((what & 0x80) != 0) {
        slot = take(in) << 8;
        slot = (slot | take(in)) % (int)AN_SLOTS;
    }
    return (struct engine_blob){room, key_make(room, TABLES[table], slot, from)};
}

/* ------------------------------------------------------------------ writing */

static void
appended(void *ctx, enum an_err err)
{
    *(enum an_err *)ctx = err;
}

static void
write_rows(struct store_files *files, struct input *in)
{
    struct engine_cfg cfg = {.kind = ENGINE_MEMORY,
                             .dir = DIR,
                             .files = files,
                             .host = {.offload = offload, .fatal = fatal},
                             .cluster_id = "fuzz",
                             .slot_last = AN_SLOTS / 2 - 1,
                             .log_segment_bytes = 64 * 1024};
    struct engine *engine = NULL;
    enum an_err err = engine_open(&engine, &cfg, NULL, 0);

    assert(err == AN_OK);
    for (unsigned i = 0; in->len > 0 && i < ROWS_MAX; i++) {
        uint8_t room[AN_ROW_KEY_MAX];
        struct engine_row row = {.op = ENGINE_PUT, .key = take_key(in, room)};
        struct engine_group group = {.rows = &row, .row_count = 1};
        size_t len = (size_t)take(in) << 8;

        row.value = take_bytes(in, len | take(in));
        if (row.key.len < 3 || row.key.len > ENGINE_KEY_LEN_MAX) {
            continue; /* the engine takes no such key */
        }
        group.slot = an_get_u16(row.key.data);
        if (engine_open_slot(engine, group.slot, &group.fence) == AN_OK) {
            engine_append(engine, &group, 1, appended, &err);
            assert(err == AN_OK || err == AN_ERR_BUSY || err == AN_ERR_ARGUMENT);
        }
    }
    engine_close(engine);
}

/* ------------------------------------------------------------------ reading */

static void
finding(void *ctx, const struct an_check_finding *found)
{
    assert(found->sentence[0] != '\0' && strchr(found->sentence, '\n') == NULL);
    ++*(uint64_t *)ctx;
}

static void
check(struct store_files *files, size_t filter_bytes)
{
    const char *const dirs[] = {DIR};
    uint64_t heard = 0;
    struct an_check_totals totals;
    struct an_check_cfg cfg = {.dirs = dirs,
                               .dir_count = 1,
                               .files = files,
                               .wall_ms = 1795219200ull * 1000,
                               .id_filter_bytes = filter_bytes,
                               .ctx = &heard,
                               .finding = finding};

    if (an_check_data(&cfg, &totals) == AN_OK) {
        assert(heard == totals.findings + totals.notes);
    }
}

static void
ask(struct cast *cast, unsigned kind, const ProtobufCMessage *body)
{
    uint8_t packed[512];
    size_t len = protobuf_c_message_get_packed_size(body);

    assert(len <= sizeof(packed));
    protobuf_c_message_pack(body, packed);
    cast_request(cast, kind, 0, packed, len);
    cast_settle(cast);
}

/* One query with this content. */
static void
query(struct cast *cast, uint16_t slot, Anser__Bus__Query__WhatCase what,
      ProtobufCMessage *content)
{
    Anser__Bus__Read read = ANSER__BUS__READ__INIT;
    Anser__Bus__Query q = ANSER__BUS__QUERY__INIT, *list[] = {&q};

    q.slot = slot;
    q.what_case = what;
    q.sync = (Anser__Bus__SyncQuery *)content; /* of a union */
    read.queries = list;
    read.n_queries = 1;
    ask(cast, AN_KIND_READ, &read.base);
}

static void
ask_user(struct cast *cast, uint64_t user)
{
    Anser__Bus__LoginQuery login = ANSER__BUS__LOGIN_QUERY__INIT;
    Anser__Bus__SyncQuery sync = ANSER__BUS__SYNC_QUERY__INIT;
    Anser__Bus__HeadQuery head = ANSER__BUS__HEAD_QUERY__INIT;
    Anser__Bus__DeviceQuery device = ANSER__BUS__DEVICE_QUERY__INIT;
    Anser__Bus__ResolveQuery resolve = ANSER__BUS__RESOLVE_QUERY__INIT;
    struct name name = name_of((uint8_t)user);
    uint16_t slot = an_slot_user(user);

    login.user = sync.user = head.user = device.user = user;
    login.device = device.device =
        (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "phone"};
    resolve.app = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "default"};
    resolve.name = (ProtobufCBinaryData){name.len, (uint8_t *)name.text};
    query(cast, slot, ANSER__BUS__QUERY__WHAT_LOGIN, &login.base);
    query(cast, slot, ANSER__BUS__QUERY__WHAT_SYNC, &sync.base);
    query(cast, slot, ANSER__BUS__QUERY__WHAT_HEAD, &head.base);
    query(cast, slot, ANSER__BUS__QUERY__WHAT_DEVICE, &device.base);
    query(cast, an_slot_name(resolve.app.data, 7, resolve.name.data, resolve.name.len),
          ANSER__BUS__QUERY__WHAT_RESOLVE, &resolve.base);
}

static void
ask_conv(struct cast *cast, uint64_t a, uint64_t b)
{
    struct an_conv conv = an_conv_direct(a, b);
    ProtobufCBinaryData key = {AN_CONV_LEN, conv.bytes};
    Anser__Bus__HistoryQuery history = ANSER__BUS__HISTORY_QUERY__INIT;
    Anser__Bus__ConversationQuery head = ANSER__BUS__CONVERSATION_QUERY__INIT;
    Anser__Bus__DedupeQuery dedupe = ANSER__BUS__DEDUPE_QUERY__INIT;
    Anser__Bus__MessageQuery message = ANSER__BUS__MESSAGE_QUERY__INIT;
    uint8_t id[16] = {0x01, 0xa3, 0xd2, 0x10, 0, 1, 0x70, 0, 0x80};
    uint16_t slot = an_slot_conv(&conv);

    history.conversation = head.conversation = dedupe.conversation = key;
    message.conversation = key;
    history.viewer = message.viewer = dedupe.sender = a;
    history.peer = b;
    message.seq = 1;
    dedupe.client_msg_id = (ProtobufCBinaryData){sizeof(id), id};
    query(cast, slot, ANSER__BUS__QUERY__WHAT_HISTORY, &history.base);
    history.oldest_first = true;
    query(cast, slot, ANSER__BUS__QUERY__WHAT_HISTORY, &history.base);
    query(cast, slot, ANSER__BUS__QUERY__WHAT_CONVERSATION, &head.base);
    query(cast, slot, ANSER__BUS__QUERY__WHAT_DEDUPE, &dedupe.base);
    query(cast, slot, ANSER__BUS__QUERY__WHAT_MESSAGE, &message.base);
}

static void
serve(struct store_files *files)
{
    struct cast *cast = cast_create_store(files, DIR);

    if (cast == NULL) {
        return; /* it said why */
    }
    for (unsigned i = 0; i < user_count; i++) {
        ask_user(cast, users[i]);
        for (unsigned j = i; j < user_count; j++) {
            ask_conv(cast, users[i], users[j]);
        }
    }
    cast_advance(cast, 2000); /* retention looks around */
    cast_settle(cast);
    cast_destroy(cast);
    asked_forget();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct files_sim *sim = files_sim_create(1);
    struct store_files *files = files_sim_table(sim);
    struct input in = {data, len};

    user_count = 0;
    write_rows(files, &in);
    check(files, 64 * 1024);
    check(files, 8);
    serve(files);
    files_sim_destroy(sim);
    return 0;
}
