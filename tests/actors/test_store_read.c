/* Reads: pages without gap or repeat, resets, both directions of history, logins. */
#include "core/slot.h"
#include "proto/bytes.h"
#include "tests/actors/store_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static void
free_sync(Anser__Client__SyncOk *page)
{
    anser__client__sync_ok__free_unpacked(page, NULL);
}

static void
free_history(Anser__Client__HistoryOk *page)
{
    anser__client__history_ok__free_unpacked(page, NULL);
}

/* ------------------------------------------------------------------ sync */

/* Two conversations, interleaved: every entry once, in order, with its own message. */
static void
test_store_sync_pages_have_no_gap_and_no_repeat(void **state)
{
    struct store_rig *rig = *state;
    uint64_t after = 0;
    unsigned pages = 0;
    bool completed = false;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_claim_pair(rig, 1, 3);
    for (uint64_t seq = 1; seq <= 15; seq++) {
        store_rig_talk(rig, 1, 2, seq, seq);
        store_rig_talk(rig, 1, 3, seq, seq);
    }
    while (!completed) {
        enum an_err err;
        Anser__Client__SyncOk *page = store_rig_sync(rig, 1, after, 7, 0, &err);

        assert_int_equal(err, AN_OK);
        assert_int_equal(page->head, 30);
        assert_int_equal(page->first, 1);
        assert_true(page->n_events > 0 && page->n_events <= 7);
        for (size_t i = 0; i < page->n_events; i++) {
            const Anser__Client__Event *event = page->events[i];
            char text[32];

            assert_int_equal(event->inbox_seq, ++after);
            assert_int_equal(event->message->seq, (after + 1) / 2);
            snprintf(text, sizeof(text), "message %u", (unsigned)((after + 1) / 2));
            assert_true(store_rig_is(event->message->body, text));
            assert_true(store_rig_is(event->message->from, "u1") ||
                        store_rig_is(event->message->to, "u1"));
        }
        completed = page->completed;
        pages++;
        free_sync(page);
    }
    assert_int_equal(after, 30);
    assert_int_equal(pages, 5);
}

static void
test_store_sync_at_head_is_completed_and_empty(void **state)
{
    struct store_rig *rig = *state;
    enum an_err err;
    Anser__Client__SyncOk *page = store_rig_sync(rig, 1, 0, 0, 0, &err);

    assert_int_equal(err, AN_OK); /* nothing was ever stored */
    assert_int_equal(page->head, 0);
    assert_int_equal(page->inbox_generation, 0);
    assert_true(page->completed);
    free_sync(page);
    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 3);
    page = store_rig_sync(rig, 1, 3, 0, 0, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(page->n_events, 0);
    assert_true(page->completed);
    assert_int_equal(page->inbox_generation, harness_now(rig->h).wall_ms);
    free_sync(page);
}

static void
test_store_sync_foreign_cursor_is_reset(void **state)
{
    struct store_rig *rig = *state;
    uint64_t generation;
    enum an_err err;
    Anser__Client__SyncOk *page;

    assert_null(store_rig_sync(rig, 1, 1, 0, 0, &err));
    assert_int_equal(err, AN_ERR_RESET);
    assert_null(store_rig_sync(rig, 1, 0, 0, 99, &err));
    assert_int_equal(err, AN_ERR_RESET);
    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 3);
    generation = harness_now(rig->h).wall_ms;
    page = store_rig_sync(rig, 1, 0, 0, generation, &err);
    assert_int_equal(err, AN_OK);
    free_sync(page);
    assert_null(store_rig_sync(rig, 1, 0, 0, generation + 1, &err));
    assert_int_equal(err, AN_ERR_RESET);
    assert_null(store_rig_sync(rig, 1, 4, 0, generation, &err));
    assert_int_equal(err, AN_ERR_RESET);
    assert_null(store_rig_sync(rig, 1, UINT64_MAX, 0, generation, &err));
    assert_int_equal(err, AN_ERR_RESET);
}

static void
test_store_sync_large_bodies_close_the_page_early(void **state)
{
    struct store_rig *rig = *state;
    static uint8_t body[AN_BODY_LEN_MAX];
    uint64_t after = 0;
    bool completed = false;

    /* Of one conversation for a while, so they are one range; then of two in turn. */
    store_rig_claim_pair(rig, 1, 2);
    store_rig_claim_pair(rig, 3, 2);
    for (uint64_t i = 0; i < 20; i++) {
        struct store_rig_message m;
        Anser__Bus__Entry *entry = &m.entry;
        bool first = i < 10 || i % 2 == 0;

        store_rig_message(&m, first ? 1 : 3, 2,
                          i < 10  ? i + 1
                          : first ? 11 + (i - 10) / 2
                                  : 1 + (i - 10) / 2);
        m.message.body = (ProtobufCBinaryData){sizeof(body), body};
        assert_int_equal(store_rig_append(rig, an_slot_conv(&m.conv), &entry, 1)->err,
                         AN_OK);
    }
    while (!completed) {
        enum an_err err;
        Anser__Client__SyncOk *page = store_rig_sync(rig, 2, after, 0, 0, &err);
        size_t bytes = 0;

        assert_int_equal(err, AN_OK);
        assert_true(page->n_events > 0);
        for (size_t i = 0; i < page->n_events; i++) {
            assert_int_equal(page->events[i]->inbox_seq, ++after);
            bytes += page->events[i]->message->body.len;
        }
        assert_true(bytes <= AN_PAGE_BYTES_MAX);
        completed = page->completed;
        free_sync(page);
    }
    assert_int_equal(after, 20);
}

/* What an append in flight will number is not read before it is synced. */
static void
test_store_sync_sees_only_what_is_synced(void **state)
{
    struct store_rig *rig = *state;
    struct store_rig_message m;
    Anser__Bus__Entry *entry = &m.entry;
    enum an_err err;
    Anser__Client__SyncOk *page;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 2);
    store_rig_message(&m, 1, 2, 3);
    files_sim_fail(rig->sim, FILES_SIM_WRITE_FAILS, ".seg", 1);
    assert_int_equal(store_rig_append(rig, an_slot_conv(&m.conv), &entry, 1)->err,
                     AN_ERR_IO);
    page = store_rig_sync(rig, 2, 0, 0, 0, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(page->head, 2);
    assert_int_equal(page->n_events, 2);
    free_sync(page);
}

/* ------------------------------------------------------------------ history */

static void
test_store_history_newest_first_pages_to_the_beginning(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__HistoryQuery how = ANSER__BUS__HISTORY_QUERY__INIT;
    uint64_t expect = 12;
    bool completed = false;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 12);
    how.limit = 5;
    while (!completed) {
        enum an_err err;
        Anser__Client__HistoryOk *page = store_rig_history(rig, 2, 1, 2, &how, &err);

        assert_int_equal(err, AN_OK);
        assert_int_equal(page->head, 12);
        for (size_t i = 0; i < page->n_messages; i++) {
            const Anser__Client__Message *message = page->messages[i];

            assert_int_equal(message->seq, expect);
            assert_true(store_rig_is(message->from, expect % 2 ? "u1" : "u2"));
            assert_true(store_rig_is(message->to, expect % 2 ? "u2" : "u1"));
            assert_int_equal(message->time_ms, store_rig_time(expect));
            expect--;
        }
        how.before = expect + 1;
        completed = page->completed;
        free_history(page);
    }
    assert_int_equal(expect, 0);
}

static void
test_store_history_oldest_first_pages_to_the_head(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__HistoryQuery how = ANSER__BUS__HISTORY_QUERY__INIT;
    bool completed = false;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 12);
    how.limit = 5;
    how.oldest_first = true;
    how.after = 3;
    while (!completed) {
        enum an_err err;
        Anser__Client__HistoryOk *page = store_rig_history(rig, 1, 1, 2, &how, &err);

        assert_int_equal(err, AN_OK);
        for (size_t i = 0; i < page->n_messages; i++) {
            assert_int_equal(page->messages[i]->seq, ++how.after);
        }
        completed = page->completed;
        free_history(page);
    }
    assert_int_equal(how.after, 12);
}

static void
test_store_history_of_nothing_is_empty(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__HistoryQuery how = ANSER__BUS__HISTORY_QUERY__INIT;
    enum an_err err;
    Anser__Client__HistoryOk *page = store_rig_history(rig, 1, 1, 2, &how, &err);

    assert_int_equal(err, AN_OK);
    assert_int_equal(page->n_messages, 0);
    assert_int_equal(page->head, 0);
    assert_true(page->completed);
    free_history(page);
    how.before = 1;
    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 2);
    page = store_rig_history(rig, 1, 1, 2, &how, &err);
    assert_int_equal(page->n_messages, 0);
    assert_true(page->completed);
    free_history(page);
}

static void
test_store_history_of_strangers_is_forbidden(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__HistoryQuery how = ANSER__BUS__HISTORY_QUERY__INIT;
    enum an_err err;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 2);
    assert_null(store_rig_history(rig, 3, 1, 2, &how, &err));
    assert_int_equal(err, AN_ERR_FORBIDDEN);
}

static void
test_store_history_carries_delivered_positions(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__HistoryQuery how = ANSER__BUS__HISTORY_QUERY__INIT;
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__Entry *list = &entry;
    Anser__Bus__DeliveredEntry delivered = ANSER__BUS__DELIVERED_ENTRY__INIT;
    struct an_conv conv = an_conv_direct(1, 2);
    enum an_err err;
    Anser__Client__HistoryOk *page;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 5);
    delivered.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    delivered.member = 2;
    delivered.seq = 3;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DELIVERED;
    entry.delivered = &delivered;
    assert_int_equal(store_rig_append(rig, an_slot_conv(&conv), &list, 1)->err, AN_OK);
    page = store_rig_history(rig, 1, 1, 2, &how, &err);
    assert_int_equal(page->peer_delivered, 3);
    assert_int_equal(page->own_delivered, 0);
    free_history(page);
    page = store_rig_history(rig, 2, 1, 2, &how, &err);
    assert_int_equal(page->peer_delivered, 0);
    assert_int_equal(page->own_delivered, 3);
    free_history(page);
    delivered.seq = 6;
    assert_int_equal(store_rig_append(rig, an_slot_conv(&conv), &list, 1)->err,
                     AN_ERR_CURSOR_AHEAD);
}

static void
test_store_history_to_oneself_is_one_timeline(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__HistoryQuery how = ANSER__BUS__HISTORY_QUERY__INIT;
    enum an_err err;
    Anser__Client__HistoryOk *page;
    Anser__Client__SyncOk *inbox;

    store_rig_claim_pair(rig, 4, 4);
    store_rig_talk(rig, 4, 4, 1, 3);
    page = store_rig_history(rig, 4, 4, 4, &how, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(page->n_messages, 3);
    free_history(page);
    inbox = store_rig_sync(rig, 4, 0, 0, 0, &err);
    assert_int_equal(inbox->n_events, 3);
    free_sync(inbox);
}

/* ------------------------------------------------------------------ the small ones */

static void
make_user(struct store_rig *rig, uint64_t key, const char *name)
{
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__Entry *list = &entry;
    Anser__Bus__UserEntry user = ANSER__BUS__USER_ENTRY__INIT;
    Anser__Bus__DirectoryEntry directory = ANSER__BUS__DIRECTORY_ENTRY__INIT;
    uint16_t slot = an_slot_user(key);
    uint16_t name_slot =
        an_slot_name((const uint8_t *)"default", 7, (const uint8_t *)name, strlen(name));

    directory.app = user.app = store_rig_data("default");
    directory.name = user.name = store_rig_data(name);
    directory.user = user.user = key;
    user.created_ms = 5;
    store_rig_claim(rig, slot);
    entry.what_case = ANSER__BUS__ENTRY__WHAT_USER;
    entry.user = &user;
    assert_int_equal(store_rig_append(rig, slot, &list, 1)->err, AN_OK);
    store_rig_claim(rig, name_slot);
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DIRECTORY;
    entry.directory = &directory;
    assert_int_equal(store_rig_append(rig, name_slot, &list, 1)->err, AN_OK);
}

static const Anser__Bus__Answer *
resolve(struct store_rig *rig, const char *name)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__ResolveQuery what = ANSER__BUS__RESOLVE_QUERY__INIT;

    what.app = store_rig_data("default");
    what.name = store_rig_data(name);
    query.slot = an_slot_name(what.app.data, what.app.len, what.name.data, what.name.len);
    query.what_case = ANSER__BUS__QUERY__WHAT_RESOLVE;
    query.resolve = &what;
    return store_rig_query(rig, &query);
}

static void
test_store_login_names_user_inbox_and_cursor(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Entry entry = ANSER__BUS__ENTRY__INIT;
    Anser__Bus__Entry *list = &entry;
    Anser__Bus__DeviceEntry device = ANSER__BUS__DEVICE_ENTRY__INIT;
    const Anser__Bus__Answer *answer;

    assert_int_equal(resolve(rig, "u1")->err, AN_ERR_NOT_FOUND);
    assert_int_equal(store_rig_login(rig, 1, "phone")->err, AN_ERR_NOT_FOUND);
    make_user(rig, 1, "u1");
    answer = resolve(rig, "u1");
    assert_int_equal(answer->err, AN_OK);
    assert_int_equal(answer->user, 1);
    answer = store_rig_login(rig, 1, "phone");
    assert_int_equal(answer->err, AN_OK);
    assert_true(store_rig_is(answer->name, "u1"));
    assert_int_equal(answer->inbox_generation, 0);
    assert_int_equal(answer->inbox_first, 1);
    assert_int_equal(answer->inbox_head, 0);
    assert_int_equal(answer->cursor, 0);
    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 4);
    device.user = 1;
    device.device = store_rig_data("phone");
    device.cursor = 2;
    device.confirmed_ms = 9;
    entry.what_case = ANSER__BUS__ENTRY__WHAT_DEVICE;
    entry.device = &device;
    assert_int_equal(store_rig_append(rig, an_slot_user(1), &list, 1)->err, AN_OK);
    answer = store_rig_login(rig, 1, "phone");
    assert_int_equal(answer->inbox_head, 4);
    assert_int_equal(answer->cursor, 2);
    assert_int_not_equal(answer->inbox_generation, 0);
    assert_int_equal(store_rig_login(rig, 1, "tablet")->cursor, 0);
}

static void
test_store_dedupe_query_finds_what_was_stored(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__DedupeQuery what = ANSER__BUS__DEDUPE_QUERY__INIT;
    const Anser__Bus__Answer *answer;
    struct store_rig_message m;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 3);
    store_rig_message(&m, 1, 2, 3);
    what.conversation = m.message.conversation;
    what.sender = 1;
    what.client_msg_id = m.message.client_msg_id;
    query.slot = an_slot_conv(&m.conv);
    query.what_case = ANSER__BUS__QUERY__WHAT_DEDUPE;
    query.dedupe = &what;
    answer = store_rig_query(rig, &query);
    assert_int_equal(answer->err, AN_OK);
    assert_int_equal(answer->seq, 3);
    assert_int_equal(answer->message_id, m.message.message_id);
    assert_int_equal(answer->time_ms, m.message.time_ms);
    assert_int_equal(answer->inbox_seq, 3);
    assert_memory_equal(answer->body_hash.data, m.hash, 16);
    what.sender = 2; /* somebody else's id */
    assert_int_equal(store_rig_query(rig, &query)->err, AN_ERR_NOT_FOUND);
}

static void
test_store_head_brings_the_newest_event(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__HeadQuery what = ANSER__BUS__HEAD_QUERY__INIT;
    const Anser__Bus__Answer *answer;
    Anser__Client__Event *event;

    what.user = 2;
    query.slot = an_slot_user(2);
    query.what_case = ANSER__BUS__QUERY__WHAT_HEAD;
    query.head = &what;
    answer = store_rig_query(rig, &query);
    assert_int_equal(answer->err, AN_OK);
    assert_int_equal(answer->inbox_head, 0);
    assert_int_equal(answer->head_event.len, 0);
    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 7);
    answer = store_rig_query(rig, &query);
    assert_int_equal(answer->inbox_head, 7);
    event = anser__client__event__unpack(NULL, answer->head_event.len,
                                         answer->head_event.data);
    assert_non_null(event);
    assert_int_equal(event->inbox_seq, 7);
    assert_int_equal(event->inbox_generation, answer->inbox_generation);
    assert_true(store_rig_is(event->message->body, "message 7"));
    anser__client__event__free_unpacked(event, NULL);
}

static void
test_store_read_judges_each_query_alone(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__Read read = ANSER__BUS__READ__INIT;
    Anser__Bus__Query queries[3] = {ANSER__BUS__QUERY__INIT, ANSER__BUS__QUERY__INIT,
                                    ANSER__BUS__QUERY__INIT};
    Anser__Bus__Query *list[3] = {&queries[0], &queries[1], &queries[2]};
    Anser__Bus__HeadQuery head = ANSER__BUS__HEAD_QUERY__INIT;
    const Anser__Bus__ReadDone *done;
    enum an_err err;

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 2);
    head.user = 1;
    queries[0].slot = AN_SLOTS; /* nobody's */
    queries[0].what_case = ANSER__BUS__QUERY__WHAT_HEAD;
    queries[0].head = &head;
    queries[1].slot = an_slot_user(1);
    queries[1].what_case = ANSER__BUS__QUERY__WHAT_HEAD;
    queries[1].head = &head;
    queries[2].slot = (an_slot_user(1) + 1u) % AN_SLOTS; /* not this user's */
    queries[2].what_case = ANSER__BUS__QUERY__WHAT_HEAD;
    queries[2].head = &head;
    read.queries = list;
    read.n_queries = 3;
    done = store_rig_ask(rig, AN_ROLE_GATE, AN_KIND_READ, &read.base, &err);
    assert_int_equal(err, AN_OK);
    assert_int_equal(done->answers[0]->err, AN_ERR_NOT_MINE);
    assert_int_equal(done->answers[1]->err, AN_OK);
    assert_int_equal(done->answers[1]->inbox_head, 2);
    assert_int_equal(done->answers[2]->err, AN_ERR_ARGUMENT);
}

static void
test_store_read_after_restart_gives_the_same_answers(void **state)
{
    struct store_rig *rig = *state;
    Anser__Bus__HistoryQuery how = ANSER__BUS__HISTORY_QUERY__INIT;
    uint8_t before[2][4096];
    size_t lens[2];

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 20);
    for (unsigned round = 0; round < 2; round++) {
        enum an_err err;
        Anser__Client__SyncOk *inbox = store_rig_sync(rig, 2, 0, 0, 0, &err);
        Anser__Client__HistoryOk *page = store_rig_history(rig, 1, 1, 2, &how, &err);
        uint8_t bytes[2][4096];

        assert_true(protobuf_c_message_get_packed_size(&inbox->base) < 4096);
        assert_true(protobuf_c_message_get_packed_size(&page->base) < 4096);
        lens[0] = protobuf_c_message_pack(&inbox->base, bytes[0]);
        lens[1] = protobuf_c_message_pack(&page->base, bytes[1]);
        free_sync(inbox);
        free_history(page);
        if (round == 1) {
            assert_memory_equal(before[0], bytes[0], lens[0]);
            assert_memory_equal(before[1], bytes[1], lens[1]);
        } else {
            memcpy(before, bytes, sizeof(bytes));
            store_rig_close(rig);
            store_rig_open(rig);
        }
    }
}

/* One message, for a member of its conversation alone. */
static void
test_store_message_query_is_answered_to_members_alone(void **state)
{
    struct store_rig *rig = *state;
    struct an_conv conv = an_conv_direct(1, 2);
    const struct {
        uint64_t viewer, seq;
        enum an_err err;
    } cases[] = {{1, 2, AN_OK},
                 {2, 1, AN_OK},
                 {3, 1, AN_ERR_NOT_FOUND},
                 {1, 3, AN_ERR_NOT_FOUND},
                 {1, 0, AN_ERR_NOT_FOUND}};

    store_rig_claim_pair(rig, 1, 2);
    store_rig_talk(rig, 1, 2, 1, 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
        Anser__Bus__MessageQuery message = ANSER__BUS__MESSAGE_QUERY__INIT;
        const Anser__Bus__Answer *answer;

        message.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
        message.seq = cases[i].seq;
        message.viewer = cases[i].viewer;
        query.slot = an_slot_conv(&conv);
        query.what_case = ANSER__BUS__QUERY__WHAT_MESSAGE;
        query.message = &message;
        answer = store_rig_query(rig, &query);
        assert_int_equal(answer->err, cases[i].err);
        if (cases[i].err == AN_OK) {
            Anser__Client__Message *one = anser__client__message__unpack(
                NULL, answer->client_body.len, answer->client_body.data);

            assert_non_null(one);
            assert_int_equal(one->seq, cases[i].seq);
            assert_true(
                store_rig_is(one->body, one->seq == 1 ? "message 1" : "message 2"));
            anser__client__message__free_unpacked(one, NULL);
        }
        message.conversation.len = 3;
        assert_int_equal(store_rig_query(rig, &query)->err, AN_ERR_ARGUMENT);
    }
}

int
main(void)
{
#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, store_rig_setup, store_rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_store_sync_pages_have_no_gap_and_no_repeat),
        TEST(test_store_sync_at_head_is_completed_and_empty),
        TEST(test_store_sync_foreign_cursor_is_reset),
        TEST(test_store_sync_large_bodies_close_the_page_early),
        TEST(test_store_sync_sees_only_what_is_synced),
        TEST(test_store_history_newest_first_pages_to_the_beginning),
        TEST(test_store_history_oldest_first_pages_to_the_head),
        TEST(test_store_history_of_nothing_is_empty),
        TEST(test_store_history_of_strangers_is_forbidden),
        TEST(test_store_history_carries_delivered_positions),
        TEST(test_store_history_to_oneself_is_one_timeline),
        TEST(test_store_login_names_user_inbox_and_cursor),
        TEST(test_store_dedupe_query_finds_what_was_stored),
        TEST(test_store_head_brings_the_newest_event),
        TEST(test_store_read_judges_each_query_alone),
        TEST(test_store_message_query_is_answered_to_members_alone),
        TEST(test_store_read_after_restart_gives_the_same_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
