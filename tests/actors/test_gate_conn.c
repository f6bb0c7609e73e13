/* Connections: limits, silence, output that nobody reads, bad streams, the end of the
 * gate; confirms, pages and heartbeats on the way. */
#include "tests/actors/gate_kit.h"

static void
heartbeat(struct harness *h, uint64_t conn, uint32_t request)
{
    Anser__Client__Heartbeat heartbeat = ANSER__CLIENT__HEARTBEAT__INIT;

    harness_conn_frame(h, conn, AN_COMMAND_HEARTBEAT, request, &heartbeat.base);
}

static void
sync_ask(struct harness *h, uint64_t conn, uint32_t request, uint64_t after,
         uint32_t limit)
{
    Anser__Client__Sync sync = ANSER__CLIENT__SYNC__INIT;

    sync.after = after;
    sync.limit = limit;
    sync.inbox_generation = 5;
    harness_conn_frame(h, conn, AN_COMMAND_SYNC, request, &sync.base);
}

/* ------------------------------------------------------------------ limits */

static void
test_gate_too_many_connections_turned_away(void **state)
{
    struct gate_cfg cfg = {.conns_max = 2};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_open(h, 10);
    kit_open(h, 11);
    kit_open(h, 12);
    kit_goodbye(h, 12, AN_ERR_TOO_MANY_CONNECTIONS);
    kit_login_send(h, 12, "alice", "phone", false); /* was on its way already */
    kit_serve(h);
    kit_no_frame(h, 12);
    harness_conn(h, AN_KIND_CONN_CLOSED, 12);
    harness_conn(h, AN_KIND_CONN_CLOSED, 11);
    kit_login(h, 13, "alice", "phone"); /* room again */
    harness_destroy(h);
}

static void
test_gate_no_login_in_time_closed(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_open(h, 10);
    harness_advance(h, AN_LOGIN_TIMEOUT_MS - 2 * AN_GATE_TICK_MS);
    kit_no_frame(h, 10);
    harness_advance(h, 3 * AN_GATE_TICK_MS);
    kit_goodbye(h, 10, AN_ERR_LOGIN_TIMEOUT);
    harness_destroy(h);
}

/* C6 */
static void
test_gate_silent_client_closed(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "bob", "phone");
    harness_advance(h, AN_IDLE_MS - 2 * AN_GATE_TICK_MS);
    heartbeat(h, 11, 2); /* any frame is a sign of life */
    kit_no_frame(h, 10);
    kit_serve(h);
    harness_advance(h, 3 * AN_GATE_TICK_MS);
    kit_goodbye(h, 10, AN_ERR_IDLE);
    kit_serve(h);
    assert_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    assert_int_equal(harness_metric(h, "closed_idle_total"), 1);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    harness_advance(h, AN_IDLE_MS + AN_GATE_TICK_MS);
    while ((ask = harness_take_frame(h, 11)) != NULL &&
           ask->frame.command != AN_COMMAND_GOODBYE) {
    }
    assert_non_null(ask);
    harness_destroy(h);
}

static void
test_gate_idle_list_in_order_of_last_frame(void **state)
{
    enum { COUNT = 50 };
    struct harness *h = kit_gate(NULL);

    (void)state;
    for (uint64_t i = 0; i < COUNT; i++) {
        char device[16];

        snprintf(device, sizeof(device), "d%u", (unsigned)i);
        kit_login(h, 100 + i, "alice", device);
        harness_advance(h, 100);
    }
    harness_advance(h, 2000);
    for (uint64_t i = 0; i < COUNT; i += 2) {
        heartbeat(h, 100 + i, 2); /* every other one */
    }
    kit_serve(h);
    harness_advance(h, AN_IDLE_MS - 500);
    assert_int_equal(harness_metric(h, "closed_idle_total"), COUNT / 2);
    for (uint64_t i = 0; i < COUNT; i++) {
        const struct harness_effect *effect;
        bool closed = false;

        while ((effect = harness_take_frame(h, 100 + i)) != NULL) {
            closed = closed || effect->frame.command == AN_COMMAND_GOODBYE;
        }
        assert_int_equal(closed, i % 2 == 1);
    }
    harness_destroy(h);
}

/* ------------------------------------------------------------------ bad input */

static void
test_gate_bad_stream_says_why_and_closes(void **state)
{
    static const enum an_err errs[] = {AN_ERR_FRAME_MAGIC, AN_ERR_FRAME_VERSION,
                                       AN_ERR_FRAME_FLAGS, AN_ERR_FRAME_TOO_LARGE};
    struct harness *h = kit_gate(NULL);

    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        kit_login(h, 10 + i, "alice", "phone");
        harness_conn_bad(h, 10 + i, errs[i]);
        kit_goodbye(h, 10 + i, errs[i]);
    }
    kit_open(h, 20); /* before login too */
    harness_conn_bad(h, 20, AN_ERR_FRAME_MAGIC);
    kit_goodbye(h, 20, AN_ERR_FRAME_MAGIC);
    assert_int_equal(harness_metric(h, "closed_bad_total"), 5);
    harness_destroy(h);
}

/* C4, C5: these keep the connection. */
static void
test_gate_bad_frames_refused_one_by_one(void **state)
{
    struct harness *h = kit_gate(NULL);
    struct an_frame codec = {.codec = 9, .command = AN_COMMAND_SYNC, .request = 3};
    struct an_frame unknown = {.codec = 1, .command = 777, .request = 4};
    struct an_frame push = {.codec = 1, .command = AN_COMMAND_EVENT, .request = 5};
    struct an_frame bad = {.codec = 1, .command = AN_COMMAND_SEND, .request = 6};
    struct an_frame answer = {
        .codec = 1, .command = AN_COMMAND_SYNC, .flags = AN_FRAME_ANSWER, .request = 7};
    static const uint8_t broken[] = {0x0a, 0x7f, 'x'};
    /* Sync{} with a field nobody knows yet: number 99, length-delimited. */
    static const uint8_t foreign[] = {0x9a, 0x06, 0x02, 'h', 'i'};
    struct an_frame sync = {.codec = 1, .command = AN_COMMAND_SYNC, .request = 8};

    (void)state;
    kit_login(h, 10, "alice", "phone");
    harness_conn_frame_raw(h, 10, &codec, NULL, 0);
    kit_error(h, 10, AN_COMMAND_SYNC, 3, AN_ERR_CODEC);
    harness_conn_frame_raw(h, 10, &unknown, NULL, 0);
    kit_error(h, 10, 777, 4, AN_ERR_COMMAND);
    harness_conn_frame_raw(h, 10, &push, NULL, 0);
    kit_error(h, 10, AN_COMMAND_EVENT, 5, AN_ERR_COMMAND);
    harness_conn_frame_raw(h, 10, &bad, broken, sizeof(broken));
    kit_error(h, 10, AN_COMMAND_SEND, 6, AN_ERR_BODY_MALFORMED);
    harness_conn_frame_raw(h, 10, &sync, foreign, sizeof(foreign));
    kit_serve(h);
    assert_non_null(harness_take_frame(h, 10));
    harness_conn_bad(h, 10, AN_ERR_JSON); /* one line of an open stream */
    kit_error(h, 10, 0, 0, AN_ERR_JSON);
    harness_conn_bad(h, 99, AN_ERR_JSON); /* of one that is gone */
    assert_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    harness_conn_frame_raw(h, 10, &answer, NULL, 0); /* only we answer */
    kit_goodbye(h, 10, AN_ERR_FRAME_FLAGS);
    harness_destroy(h);
}

/* ------------------------------------------------------------------ output */

static void
deliver(struct harness *h, uint64_t conn, uint64_t user, size_t len)
{
    Anser__Bus__Deliver batch = ANSER__BUS__DELIVER__INIT;
    Anser__Bus__DeliverItem item = ANSER__BUS__DELIVER_ITEM__INIT, *items = &item;
    uint8_t *body = calloc(1, len);

    assert_non_null(body);
    item.conns = &conn;
    item.n_conns = 1;
    item.user = user;
    item.command = AN_COMMAND_EVENT;
    item.body = (ProtobufCBinaryData){len, body};
    batch.incarnation = KIT_SEED;
    batch.items = &items;
    batch.n_items = 1;
    harness_publish(h, (struct an_addr){AN_ROLE_ROUTER, 0}, AN_KIND_DELIVER, &batch.base);
    free(body);
}

/* C11 */
static void
test_gate_unread_output_over_the_cap_closes(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *effect;
    unsigned frames = 0;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "bob", "phone");
    for (int i = 0; i < 30; i++) { /* one drain: the door could not say anything yet */
        deliver(h, 10, ALICE, 60000);
    }
    deliver(h, 11, BOB, 60000); /* others are not affected */
    assert_non_null(harness_take_frame(h, 11));
    kit_no_frame(h, 11);
    while ((effect = harness_take_frame(h, 10)) != NULL &&
           effect->frame.command == AN_COMMAND_EVENT) {
        frames++;
    }
    assert_in_range(frames, 16, AN_CONN_OUTPUT_MAX / 60000);
    assert_int_equal(effect->frame.command, AN_COMMAND_GOODBYE);
    assert_non_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    assert_int_equal(harness_metric(h, "closed_slow_total"), 1);
    harness_destroy(h);
}

static void
test_gate_output_taken_is_not_counted(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    for (int i = 0; i < 200; i++) { /* much in all, but the door reports nothing stuck */
        deliver(h, 10, ALICE, 60000);
        harness_drain(h);
    }
    assert_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    harness_destroy(h);
}

static void
test_gate_reported_output_counts(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    harness_drain(h);
    harness_conn_output(h, 10, 900000);
    deliver(h, 10, ALICE, 60000);
    harness_drain(h);
    assert_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    deliver(h, 10, ALICE, 120000);
    assert_non_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    harness_destroy(h);

    h = kit_gate(NULL);
    kit_login(h, 10, "alice", "phone");
    harness_conn_output(h, 10, AN_CONN_OUTPUT_MAX + 1); /* the report alone */
    kit_goodbye(h, 10, AN_ERR_SLOW_CONSUMER);
    harness_destroy(h);
}

/* ------------------------------------------------------------------ pages */

static void
test_gate_sync_and_history_read_from_the_store(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Client__History history = ANSER__CLIENT__HISTORY__INIT;
    const struct harness_effect *ask, *effect;
    const Anser__Bus__Query *query;
    struct an_conv conv = an_conv_direct(ALICE, BOB);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "bob", "phone"); /* so that his key is known */
    sync_ask(h, 10, 2, 41, 100000);
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);
    assert_non_null(ask);
    query = ((const Anser__Bus__Read *)harness_body(ask))->queries[0];
    assert_int_equal(query->slot, an_slot_user(ALICE));
    assert_int_equal(query->sync->user, ALICE);
    assert_int_equal(query->sync->after, 41);
    assert_int_equal(query->sync->limit, AN_PAGE_ITEMS_MAX);
    assert_int_equal(query->sync->inbox_generation, 5);
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    kit_error(h, 10, AN_COMMAND_SYNC, 2, AN_ERR_TIMEOUT);

    history.peer = TEXT("bob");
    history.before = 9;
    history.after = 3;
    history.oldest_first = true;
    history.limit = 7;
    harness_conn_frame(h, 10, AN_COMMAND_HISTORY, 3, &history.base);
    harness_drain(h);
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);
    query = ((const Anser__Bus__Read *)harness_body(ask))->queries[0];
    assert_int_equal(query->slot, an_slot_conv(&conv));
    assert_memory_equal(query->history->conversation.data, conv.bytes, AN_CONV_LEN);
    assert_int_equal(query->history->viewer, ALICE);
    assert_int_equal(query->history->peer, BOB);
    assert_int_equal(query->history->before, 9);
    assert_int_equal(query->history->after, 3);
    assert_true(query->history->oldest_first);
    assert_int_equal(query->history->limit, 7);
    sync_ask(h, 10, 4, 0, 0); /* waits for the page before */
    harness_drain(h);
    assert_null(harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ));
    harness_answer(
        h, ask, AN_OK,
        &(Anser__Bus__ReadDone){
            .base = PROTOBUF_C_MESSAGE_INIT(&anser__bus__read_done__descriptor),
            .n_answers = 1,
            .answers = (Anser__Bus__Answer *[]){&(Anser__Bus__Answer){
                .base = PROTOBUF_C_MESSAGE_INIT(&anser__bus__answer__descriptor),
                .client_body = TEXT("packed by the store"),
            }},
        }
             .base);
    effect = harness_take_frame(h, 10);
    assert_int_equal(effect->frame.command, AN_COMMAND_HISTORY);
    assert_int_equal(effect->frame.flags, AN_FRAME_ANSWER);
    assert_int_equal(effect->frame.request, 3);
    assert_memory_equal(effect->bytes + AN_FRAME_HEADER_LEN, "packed by the store", 19);
    kit_serve(h);
    effect = harness_take_frame(h, 10);
    assert_int_equal(effect->frame.request, 4);
    history.peer = TEXT("nobody");
    harness_conn_frame(h, 10, AN_COMMAND_HISTORY, 5, &history.base);
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_HISTORY, 5, AN_ERR_USER_NOT_FOUND);
    history.peer = TEXT("");
    harness_conn_frame(h, 10, AN_COMMAND_HISTORY, 6, &history.base);
    kit_error(h, 10, AN_COMMAND_HISTORY, 6, AN_ERR_USER_NAME);
    harness_destroy(h);
}

static void
test_gate_pages_wait_while_output_is_unread(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    harness_drain(h);
    harness_conn_output(h, 10, 500000);
    sync_ask(h, 10, 2, 0, 0);
    kit_serve(h);
    kit_no_frame(h, 10);
    harness_conn_output(h, 10, 100000);
    kit_serve(h);
    assert_non_null(harness_take_frame(h, 10));
    harness_destroy(h);
}

static void
test_gate_too_many_questions_are_busy(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    for (uint32_t i = 1; i <= 33; i++) {
        sync_ask(h, 10, i, 0, 0);
    }
    kit_error(h, 10, AN_COMMAND_SYNC, 33, AN_ERR_BUSY);
    kit_serve(h);
    for (uint32_t i = 1; i <= 32; i++) {
        assert_int_equal(harness_take_frame(h, 10)->frame.request, i); /* in order */
    }
    sync_ask(h, 10, 34, 0, 0);
    kit_serve(h);
    assert_int_equal(harness_take_frame(h, 10)->frame.flags, AN_FRAME_ANSWER);
    harness_destroy(h);
}

/* ------------------------------------------------------------------ heartbeats */

/* P5, R5 */
static void
test_gate_heartbeats_read_heads_in_one_batch(void **state)
{
    struct harness *h = kit_gate(NULL);
    const Anser__Client__HeartbeatOk *ok;
    uint64_t reads;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "bob", "phone");
    kit_inbox_head = 7;
    reads = harness_metric(h, "reads_total");
    heartbeat(h, 10, 5);
    heartbeat(h, 11, 6);
    harness_drain(h);
    assert_null(harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ)); /* not one by one */
    harness_advance(h, 200);
    kit_serve(h);
    assert_int_equal(harness_metric(h, "reads_total"), reads + 1);
    ok = kit_frame(h, 10, AN_COMMAND_HEARTBEAT, AN_FRAME_ANSWER, 5,
                   &anser__client__heartbeat_ok__descriptor);
    assert_int_equal(ok->inbox_head, 7);
    assert_int_equal(ok->inbox_generation, 5);
    assert_int_equal(ok->server_time_ms, harness_now(h).wall_ms);
    assert_memory_equal(ok->head_event.data, "head event", 10); /* cursor is 2 */
    kit_frame(h, 11, AN_COMMAND_HEARTBEAT, AN_FRAME_ANSWER, 6,
              &anser__client__heartbeat_ok__descriptor);
    kit_inbox_head = 2; /* all confirmed: the head is not repeated */
    heartbeat(h, 10, 7);
    harness_advance(h, 200);
    kit_serve(h);
    ok = kit_frame(h, 10, AN_COMMAND_HEARTBEAT, AN_FRAME_ANSWER, 7,
                   &anser__client__heartbeat_ok__descriptor);
    assert_int_equal(ok->inbox_head, 2);
    assert_int_equal(ok->head_event.len, 0);
    harness_destroy(h);
}

/* X5: the link lives though the store does not. */
static void
test_gate_heartbeat_answered_without_store(void **state)
{
    struct harness *h = kit_gate(NULL);
    const Anser__Client__HeartbeatOk *ok;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    heartbeat(h, 10, 5);
    harness_advance(h, 200);
    harness_answer(h, harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ),
                   AN_ERR_UNAVAILABLE, NULL);
    ok = kit_frame(h, 10, AN_COMMAND_HEARTBEAT, AN_FRAME_ANSWER, 5,
                   &anser__client__heartbeat_ok__descriptor);
    assert_int_equal(ok->inbox_head, 0);
    harness_destroy(h);
}

/* ------------------------------------------------------------------ confirms */

static void
confirm(struct harness *h, uint32_t request, uint64_t seq, const char *const *peers,
        size_t count)
{
    Anser__Client__Confirm body = ANSER__CLIENT__CONFIRM__INIT;
    Anser__Client__Position rows[128], *positions[128];

    for (size_t i = 0; i < count; i++) {
        anser__client__position__init(&rows[i]);
        rows[i].peer = kit_text(peers[i]);
        rows[i].seq = 30 + i;
        positions[i] = &rows[i];
    }
    body.inbox_seq = seq;
    body.inbox_generation = 5;
    body.delivered = positions;
    body.n_delivered = count;
    harness_conn_frame(h, 10, AN_COMMAND_CONFIRM, request, &body.base);
}

/* R2, R11 */
static void
test_gate_confirm_is_split_and_answered_once(void **state)
{
    static const char *const peers[] = {"bob", "carol"};
    struct harness *h = kit_gate(NULL);
    struct an_conv conv = an_conv_direct(ALICE, BOB);
    const Anser__Client__ConfirmOk *ok;
    const Anser__Bus__Submit *submit;
    const struct harness_effect *ask;
    unsigned seen = 0;

    (void)state;
    kit_login(h, 12, "bob", "phone");
    kit_login(h, 13, "carol", "phone");
    kit_login(h, 10, "alice", "phone");
    confirm(h, 4, 9, peers, 2);
    harness_drain(h);
    ask = kit_submit(h);
    submit = harness_body(ask);
    assert_int_equal(submit->n_commands, 3);
    for (size_t i = 0; i < 3; i++) {
        const Anser__Bus__Command *c = submit->commands[i];

        if (c->what_case == ANSER__BUS__COMMAND__WHAT_CONFIRM) {
            assert_int_equal(c->slot, an_slot_user(ALICE));
            assert_int_equal(c->confirm->user, ALICE);
            assert_memory_equal(c->confirm->device.data, "phone", 5);
            assert_int_equal(c->confirm->inbox_seq, 9);
            assert_int_equal(c->confirm->inbox_generation, 5);
            seen |= 1;
        } else if (c->delivered->seq == 30) {
            assert_int_equal(c->slot, an_slot_conv(&conv));
            assert_memory_equal(c->delivered->conversation.data, conv.bytes, AN_CONV_LEN);
            assert_int_equal(c->delivered->member, ALICE);
            seen |= 2;
        } else {
            assert_int_equal(c->delivered->seq, 31);
            seen |= 4;
        }
    }
    assert_int_equal(seen, 7);
    kit_submitted(h, ask, AN_OK);
    ok = kit_frame(h, 10, AN_COMMAND_CONFIRM, AN_FRAME_ANSWER, 4,
                   &anser__client__confirm_ok__descriptor);
    assert_int_equal(ok->inbox_seq, 3); /* the stub counts: the cursor's was the third */
    kit_no_frame(h, 10);
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

/* A confirm may wait at the sequencer for company; messages must not wait with it. */
static void
test_gate_confirm_under_way_does_not_hold_up_sends(void **state)
{
    struct harness *h = kit_gate(NULL);
    const Anser__Bus__Submit *submit;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    confirm(h, 1, 9, NULL, 0);
    kit_serve(h);
    submit = harness_body(kit_submit(h)); /* stays unanswered */
    assert_int_equal(submit->commands[0]->what_case, ANSER__BUS__COMMAND__WHAT_CONFIRM);
    kit_send(h, 10, 2, "bob", 1, "a");
    kit_serve(h);
    submit = harness_body(kit_submit(h));
    assert_int_equal(submit->n_commands, 1);
    assert_int_equal(submit->commands[0]->what_case, ANSER__BUS__COMMAND__WHAT_SEND);
    harness_destroy(h);
}

static void
test_gate_confirm_one_part_refused_is_an_error(void **state)
{
    static const char *const unknown[] = {"nobody"}, *const bad[] = {"b ad"};
    const char *many[101];
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    confirm(h, 1, 9, unknown, 1);
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_OK);
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_CONFIRM, 1, AN_ERR_USER_NOT_FOUND);
    confirm(h, 2, 9, NULL, 0);
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_ERR_CURSOR_AHEAD);
    kit_error(h, 10, AN_COMMAND_CONFIRM, 2, AN_ERR_CURSOR_AHEAD);
    confirm(h, 3, 9, bad, 1);
    kit_error(h, 10, AN_COMMAND_CONFIRM, 3, AN_ERR_USER_NAME);
    for (size_t i = 0; i < 101; i++) {
        many[i] = "bob";
    }
    confirm(h, 4, 9, many, 101);
    kit_error(h, 10, AN_COMMAND_CONFIRM, 4, AN_ERR_ARGUMENT);
    assert_int_equal(harness_metric(h, "requests"), 0);
    harness_destroy(h);
}

/* ------------------------------------------------------------------ the end */

static void
test_gate_stop_says_goodbye_and_waits_for_the_last(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_open(h, 11);
    harness_stop(h);
    harness_drain(h);
    for (uint64_t conn = 10; conn <= 11; conn++) {
        const Anser__Client__Goodbye *goodbye = kit_frame(
            h, conn, AN_COMMAND_GOODBYE, 0, 0, &anser__client__goodbye__descriptor);

        assert_int_equal(goodbye->code, AN_ERR_SHUTTING_DOWN);
        assert_true(goodbye->retry);
        assert_non_null(harness_take(h, AN_EFFECT_CONN_CLOSE));
    }
    assert_null(harness_take(h, AN_EFFECT_STOPPED));
    kit_open(h, 12);
    kit_goodbye(h, 12, AN_ERR_SHUTTING_DOWN);
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    harness_conn(h, AN_KIND_CONN_CLOSED, 11);
    harness_drain(h);
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_drain(h);
    assert_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_destroy(h);
}

static void
test_gate_inspect_lists_connections(void **state)
{
    struct harness *h = kit_gate(NULL);
    const char *json;

    (void)state;
    kit_open(h, 9);
    kit_login(h, 10, "alice", "phone");
    json = harness_inspect(h, "conns");
    assert_non_null(json);
    assert_non_null(strstr(json, "{\"count\":2,\"conns\":["));
    assert_non_null(strstr(json, "\"state\":\"ready\",\"user\":\"alice\","
                                 "\"device\":\"phone\""));
    assert_null(harness_inspect(h, "connections"));
    for (uint64_t i = 100; i < 300; i++) {
        kit_open(h, i);
    }
    assert_non_null(harness_inspect(h, "conns")); /* bounded */
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_too_many_connections_turned_away),
        cmocka_unit_test(test_gate_no_login_in_time_closed),
        cmocka_unit_test(test_gate_silent_client_closed),
        cmocka_unit_test(test_gate_idle_list_in_order_of_last_frame),
        cmocka_unit_test(test_gate_bad_stream_says_why_and_closes),
        cmocka_unit_test(test_gate_bad_frames_refused_one_by_one),
        cmocka_unit_test(test_gate_unread_output_over_the_cap_closes),
        cmocka_unit_test(test_gate_output_taken_is_not_counted),
        cmocka_unit_test(test_gate_reported_output_counts),
        cmocka_unit_test(test_gate_sync_and_history_read_from_the_store),
        cmocka_unit_test(test_gate_pages_wait_while_output_is_unread),
        cmocka_unit_test(test_gate_too_many_questions_are_busy),
        cmocka_unit_test(test_gate_heartbeats_read_heads_in_one_batch),
        cmocka_unit_test(test_gate_heartbeat_answered_without_store),
        cmocka_unit_test(test_gate_confirm_is_split_and_answered_once),
        cmocka_unit_test(test_gate_confirm_under_way_does_not_hold_up_sends),
        cmocka_unit_test(test_gate_confirm_one_part_refused_is_an_error),
        cmocka_unit_test(test_gate_stop_says_goodbye_and_waits_for_the_last),
        cmocka_unit_test(test_gate_inspect_lists_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
