/* Syncs whose page names messages on other stores: what is asked where, and what the
 * client gets of it. */
#include "tests/actors/gate_kit.h"

enum { EVENTS_MAX = 100 };

/* The answer to a Sync of alice's: events 1..count, those whose bit is set in hollow
 * without their message. Messages are of the conversation with bob, seq 10 + event. */
struct page {
    size_t count;
    bool hollow[EVENTS_MAX];
    size_t body_len;
};

static uint8_t big[AN_BODY_LEN_MAX];

static struct harness *
gate_with_stores(uint16_t stores)
{
    struct gate_cfg cfg = {.topology = &kit_topology};
    struct an_conv with_bob = an_conv_direct(ALICE, BOB);

    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_STORE] = stores;
    kit_topology.slot_store[an_slot_conv(&with_bob)] = (uint16_t)(stores - 1);
    return kit_gate(&cfg);
}

static void
sync_ask(struct harness *h, uint32_t request)
{
    Anser__Client__Sync sync = ANSER__CLIENT__SYNC__INIT;

    harness_conn_frame(h, 10, AN_COMMAND_SYNC, request, &sync.base);
    harness_drain(h);
}

static const struct harness_effect *
read_of(struct harness *h, uint16_t store)
{
    const struct harness_effect *ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);

    assert_non_null(ask);
    assert_int_equal(ask->e.to.index, store);
    return ask;
}

static Anser__Client__Message
message_of(uint64_t seq, size_t body_len)
{
    Anser__Client__Message message = ANSER__CLIENT__MESSAGE__INIT;

    message.seq = seq;
    message.message_id = 1000 + seq;
    message.from = TEXT("bob");
    message.to = TEXT("alice");
    message.type = 1;
    message.body = (ProtobufCBinaryData){body_len, big};
    return message;
}

static void
answer_one(struct harness *h, const struct harness_effect *ask,
           Anser__Bus__Answer *answer)
{
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;

    done.answers = &answer;
    done.n_answers = 1;
    harness_answer(h, ask, AN_OK, &done.base);
    harness_drain(h);
}

/* Answers the READ that is the Sync. */
static void
page_give(struct harness *h, const struct page *page)
{
    struct an_conv conv = an_conv_direct(ALICE, BOB);
    Anser__Client__SyncOk ok = ANSER__CLIENT__SYNC_OK__INIT;
    Anser__Client__Message messages[EVENTS_MAX];
    Anser__Client__Event events[EVENTS_MAX], *event_list[EVENTS_MAX];
    Anser__Bus__Elsewhere elsewhere[EVENTS_MAX], *elsewhere_list[EVENTS_MAX];
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    uint8_t *body;

    for (size_t i = 0; i < page->count; i++) {
        anser__client__event__init(&events[i]);
        events[i].inbox_seq = i + 1;
        event_list[i] = &events[i];
        messages[i] = message_of(10 + i, page->body_len);
        if (!page->hollow[i]) {
            events[i].message = &messages[i];
            continue;
        }
        anser__bus__elsewhere__init(&elsewhere[i]);
        elsewhere[i].event = (uint32_t)i;
        elsewhere[i].conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
        elsewhere[i].seq = 10 + i;
        elsewhere_list[answer.n_elsewhere++] = &elsewhere[i];
    }
    ok.events = event_list;
    ok.n_events = page->count;
    ok.head = page->count;
    ok.first = 1;
    ok.completed = true;
    ok.inbox_generation = 5;
    answer.elsewhere = elsewhere_list;
    answer.client_body.len = anser__client__sync_ok__get_packed_size(&ok);
    body = malloc(answer.client_body.len);
    assert_non_null(body);
    anser__client__sync_ok__pack(&ok, body);
    answer.client_body.data = body;
    answer_one(h, read_of(h, 0), &answer);
    free(body);
}

/* Answers a READ of single messages, all of them; err for each. Returns how many. */
static size_t
messages_give(struct harness *h, const struct harness_effect *ask, size_t body_len,
              enum an_err err)
{
    const Anser__Bus__Read *read = harness_body(ask);
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer *rows = calloc(read->n_queries, sizeof(*rows));
    Anser__Bus__Answer **answers = calloc(read->n_queries, sizeof(*answers));
    size_t count = read->n_queries;

    assert_non_null(rows);
    assert_non_null(answers);
    for (size_t i = 0; i < count; i++) {
        Anser__Client__Message message;

        assert_int_equal(read->queries[i]->what_case, ANSER__BUS__QUERY__WHAT_MESSAGE);
        assert_int_equal(read->queries[i]->message->viewer, ALICE);
        message = message_of(read->queries[i]->message->seq, body_len);
        anser__bus__answer__init(&rows[i]);
        answers[i] = &rows[i];
        rows[i].err = err;
        if (err != AN_OK) {
            continue;
        }
        rows[i].client_body.len = anser__client__message__get_packed_size(&message);
        rows[i].client_body.data = malloc(rows[i].client_body.len);
        assert_non_null(rows[i].client_body.data);
        anser__client__message__pack(&message, rows[i].client_body.data);
    }
    done.answers = answers;
    done.n_answers = count;
    harness_answer(h, ask, AN_OK, &done.base);
    for (size_t i = 0; i < count; i++) {
        free(rows[i].client_body.data);
    }
    free(rows);
    free(answers);
    harness_drain(h);
    return count;
}

static const Anser__Client__SyncOk *
sync_answer(struct harness *h, uint32_t request)
{
    return kit_frame(h, 10, AN_COMMAND_SYNC, AN_FRAME_ANSWER, request,
                     &anser__client__sync_ok__descriptor);
}

static void
test_gate_fetch_completes_the_page(void **state)
{
    struct harness *h = gate_with_stores(2);
    struct page page = {.count = 3, .hollow = {true, false, true}, .body_len = 5};
    struct an_conv conv = an_conv_direct(ALICE, BOB);
    const Anser__Client__SyncOk *ok;
    const struct harness_effect *ask;
    const Anser__Bus__Read *read;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    kit_no_frame(h, 10);
    ask = read_of(h, 1);
    read = harness_body(ask);
    assert_int_equal(read->n_queries, 2);
    assert_int_equal(read->queries[0]->slot, an_slot_conv(&conv));
    assert_memory_equal(read->queries[0]->message->conversation.data, conv.bytes,
                        AN_CONV_LEN);
    assert_int_equal(read->queries[0]->message->seq, 10);
    assert_int_equal(read->queries[1]->message->seq, 12);
    messages_give(h, ask, 5, AN_OK);
    ok = sync_answer(h, 2);
    assert_int_equal(ok->n_events, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ok->events[i]->inbox_seq, i + 1);
        assert_non_null(ok->events[i]->message);
        assert_int_equal(ok->events[i]->message->seq, 10 + i);
        assert_int_equal(ok->events[i]->message->body.len, 5);
    }
    assert_true(ok->completed);
    assert_int_equal(ok->head, 3);
    assert_int_equal(ok->inbox_generation, 5);
    assert_int_equal(harness_metric(h, "requests"), 0);
    assert_int_equal(harness_metric(h, "request_bytes"), 0);
    /* The next page may go. */
    page.hollow[0] = page.hollow[2] = false;
    sync_ask(h, 3);
    page_give(h, &page);
    assert_int_equal(sync_answer(h, 3)->n_events, 3);
    harness_destroy(h);
}

/* A store may have to answer with the largest messages: a few at a time. */
static void
test_gate_fetch_a_few_at_a_time(void **state)
{
    struct harness *h = gate_with_stores(2);
    struct page page = {.count = 40, .body_len = 5};
    size_t seen = 0;

    (void)state;
    memset(page.hollow, true, sizeof(page.hollow));
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    while (seen < 40) {
        size_t some = messages_give(h, read_of(h, 1), 5, AN_OK);

        assert_in_range(some, 1, 16);
        seen += some;
    }
    assert_int_equal(sync_answer(h, 2)->n_events, 40);
    harness_destroy(h);
}

/* What does not fit a page stays for the next one. */
static void
test_gate_fetch_page_ends_where_its_bytes_do(void **state)
{
    struct harness *h = gate_with_stores(2);
    struct page page = {.count = 60, .body_len = 5};
    const Anser__Client__SyncOk *ok;
    const struct harness_effect *ask;

    (void)state;
    memset(page.hollow, true, sizeof(page.hollow));
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    while ((ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ)) != NULL) {
        messages_give(h, ask, sizeof(big), AN_OK);
    }
    ok = sync_answer(h, 2);
    assert_in_range(ok->n_events, AN_PAGE_BYTES_MAX / AN_FRAME_LEN_MAX,
                    AN_PAGE_BYTES_MAX / sizeof(big));
    assert_false(ok->completed);
    for (size_t i = 0; i < ok->n_events; i++) {
        assert_int_equal(ok->events[i]->message->body.len, sizeof(big));
    }
    assert_in_range(harness_metric(h, "fetches_total"), 8, 32); /* not all 60 */
    harness_destroy(h);
}

static void
test_gate_fetch_store_away_is_unavailable(void **state)
{
    static const enum an_err errs[] = {AN_ERR_UNAVAILABLE, AN_ERR_NOT_MINE, AN_ERR_BUSY};
    struct harness *h = gate_with_stores(2);
    struct page page = {.count = 3, .hollow = {true, false, true}, .body_len = 5};

    (void)state;
    kit_login(h, 10, "alice", "phone");
    for (uint32_t i = 0; i < 3; i++) {
        sync_ask(h, i);
        page_give(h, &page);
        messages_give(h, read_of(h, 1), 5, errs[i]);
        kit_error(h, 10, AN_COMMAND_SYNC, i, AN_ERR_UNAVAILABLE);
    }
    sync_ask(h, 8);
    page_give(h, &page);
    harness_answer(h, read_of(h, 1), AN_ERR_TIMEOUT, NULL);
    kit_error(h, 10, AN_COMMAND_SYNC, 8, AN_ERR_UNAVAILABLE);
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

/* What is before the message that cannot be had now is not kept from the device: the
 * page ends there. */
static void
test_gate_fetch_store_away_page_ends_before_it(void **state)
{
    struct harness *h = gate_with_stores(2);
    struct page page = {
        .count = 5, .hollow = {false, true, false, true, false}, .body_len = 5};
    const Anser__Client__SyncOk *ok;
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    messages_give(h, read_of(h, 1), 5, AN_ERR_UNAVAILABLE);
    while ((ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ)) != NULL) {
        messages_give(h, ask, 5, AN_OK);
    }
    ok = sync_answer(h, 2);
    assert_int_equal(ok->n_events, 1);
    assert_int_equal(ok->events[0]->inbox_seq, 1);
    assert_non_null(ok->events[0]->message);
    assert_false(ok->completed);
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

/* A store that was put back in time has lost the message: the inbox goes on. */
static void
test_gate_fetch_message_gone_event_stays_without(void **state)
{
    struct harness *h = gate_with_stores(2);
    struct page page = {.count = 2, .hollow = {true, false}, .body_len = 5};
    const Anser__Client__SyncOk *ok;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    messages_give(h, read_of(h, 1), 5, AN_ERR_NOT_FOUND);
    ok = sync_answer(h, 2);
    assert_int_equal(ok->n_events, 2);
    assert_null(ok->events[0]->message);
    assert_int_equal(ok->events[0]->inbox_seq, 1);
    assert_non_null(ok->events[1]->message);
    assert_int_equal(harness_metric(h, "fetches_missing_total"), 1);
    harness_destroy(h);
}

/* Another message than asked for is not passed on. */
static void
test_gate_fetch_wrong_answers_are_not_believed(void **state)
{
    struct harness *h = gate_with_stores(2);
    struct page page = {.count = 1, .hollow = {true}, .body_len = 5};
    Anser__Client__Message other = message_of(99, 5);
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    Anser__Bus__Elsewhere at = ANSER__BUS__ELSEWHERE__INIT, *list[1] = {&at};
    uint8_t body[256];

    (void)state;
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    answer.client_body.len = anser__client__message__pack(&other, body);
    answer.client_body.data = body;
    answer_one(h, read_of(h, 1), &answer);
    kit_error(h, 10, AN_COMMAND_SYNC, 2, AN_ERR_UNAVAILABLE);
    sync_ask(h, 3);
    page_give(h, &page);
    answer.client_body = TEXT("\xff\xff");
    answer_one(h, read_of(h, 1), &answer);
    kit_error(h, 10, AN_COMMAND_SYNC, 3, AN_ERR_UNAVAILABLE);
    /* An event that is not in the page. */
    sync_ask(h, 4);
    at.event = 7;
    at.conversation = TEXT("x");
    answer.client_body = TEXT("");
    answer.elsewhere = list;
    answer.n_elsewhere = 1;
    answer_one(h, read_of(h, 0), &answer);
    kit_error(h, 10, AN_COMMAND_SYNC, 4, AN_ERR_INTERNAL);
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

static void
test_gate_fetch_client_gone_or_gate_destroyed(void **state)
{
    struct page page = {.count = 40, .body_len = 5};
    struct harness *h = gate_with_stores(2);

    (void)state;
    memset(page.hollow, true, sizeof(page.hollow));
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    messages_give(h, read_of(h, 1), 5, AN_OK);
    assert_null(harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ)); /* nobody waits */
    assert_int_equal(harness_metric(h, "requests"), 0);
    kit_login(h, 10, "alice", "phone");
    sync_ask(h, 2);
    page_give(h, &page);
    read_of(h, 1);
    sync_ask(h, 3);
    harness_destroy(h); /* midway */
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_fetch_completes_the_page),
        cmocka_unit_test(test_gate_fetch_a_few_at_a_time),
        cmocka_unit_test(test_gate_fetch_page_ends_where_its_bytes_do),
        cmocka_unit_test(test_gate_fetch_store_away_is_unavailable),
        cmocka_unit_test(test_gate_fetch_store_away_page_ends_before_it),
        cmocka_unit_test(test_gate_fetch_message_gone_event_stays_without),
        cmocka_unit_test(test_gate_fetch_wrong_answers_are_not_believed),
        cmocka_unit_test(test_gate_fetch_client_gone_or_gate_destroyed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
