/* Sends: what is refused at the gate, what goes to a sequencer and with whom, and the
 * order that a refusal must not break. */
#include "tests/actors/gate_kit.h"

/* M1, R1: acknowledged only when the sequencer says so. */
static void
test_gate_send_goes_to_sequencer_and_back(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    const Anser__Bus__Command *command;
    const Anser__Client__SendOk *ok;
    struct an_conv conv = an_conv_direct(ALICE, BOB);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 7, "bob", 1, "hello");
    kit_serve(h); /* bob's key */
    ask = kit_submit(h);
    assert_int_equal(kit_submit_of(ask)->n_commands, 1);
    command = kit_submit_of(ask)->commands[0];
    assert_int_equal(command->slot, an_slot_conv(&conv));
    assert_int_equal(command->trace, 0xabc);
    assert_int_equal(command->send->sender, ALICE);
    assert_int_equal(command->send->recipient, BOB);
    assert_memory_equal(command->send->from.data, "alice", 5);
    assert_memory_equal(command->send->to.data, "bob", 3);
    assert_memory_equal(command->send->device.data, "phone", 5);
    assert_memory_equal(command->send->client_msg_id.data, kit_id(1), 16);
    assert_int_equal(command->send->type, 1);
    assert_memory_equal(command->send->body.data, "hello", 5);
    assert_int_equal(command->send->after_id.len, 0);
    kit_no_frame(h, 10);
    kit_submitted(h, ask, AN_OK);
    ok = kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 7,
                   &anser__client__send_ok__descriptor);
    assert_memory_equal(ok->client_msg_id.data, kit_id(1), 16);
    assert_int_equal(ok->seq, 1);
    assert_int_equal(ok->message_id, 1000);
    assert_int_equal(ok->time_ms, 5000);
    assert_int_equal(ok->inbox_seq, 70);
    assert_int_equal(harness_metric(h, "requests"), 0);
    assert_int_equal(harness_metric(h, "sends_ok_total"), 1);
    harness_destroy(h);
}

static void
send_raw(struct harness *h, uint32_t request, ProtobufCBinaryData to,
         ProtobufCBinaryData id, uint32_t type, ProtobufCBinaryData body)
{
    Anser__Client__Send send = ANSER__CLIENT__SEND__INIT;

    send.to = to;
    send.client_msg_id = id;
    send.type = type;
    send.body = body;
    harness_conn_frame(h, 10, AN_COMMAND_SEND, request, &send.base);
}

static void
test_gate_send_form_judged_at_the_gate(void **state)
{
    static uint8_t large[AN_BODY_LEN_MAX + 1];
    struct harness *h = kit_gate(NULL);
    uint8_t id[16], version4[16], variant[16];
    ProtobufCBinaryData good = {16, id}, body = TEXT("x"), bob = TEXT("bob");

    (void)state;
    memset(large, 'x', sizeof(large));
    memcpy(id, kit_id(1), 16);
    memcpy(version4, id, 16);
    version4[6] = 0x40;
    memcpy(variant, id, 16);
    variant[8] = 0x00;
    kit_login(h, 10, "alice", "phone");
    send_raw(h, 1, TEXT(""), good, 1, body);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_USER_NAME);
    send_raw(h, 2, TEXT("b ob"), good, 1, body);
    kit_error(h, 10, AN_COMMAND_SEND, 2, AN_ERR_USER_NAME);
    send_raw(h, 3, bob, (ProtobufCBinaryData){15, id}, 1, body);
    kit_error(h, 10, AN_COMMAND_SEND, 3, AN_ERR_ARGUMENT);
    send_raw(h, 4, bob, (ProtobufCBinaryData){16, version4}, 1, body);
    kit_error(h, 10, AN_COMMAND_SEND, 4, AN_ERR_ARGUMENT);
    send_raw(h, 5, bob, (ProtobufCBinaryData){16, variant}, 1, body);
    kit_error(h, 10, AN_COMMAND_SEND, 5, AN_ERR_ARGUMENT);
    send_raw(h, 6, bob, good, 0, body);
    kit_error(h, 10, AN_COMMAND_SEND, 6, AN_ERR_ARGUMENT);
    send_raw(h, 7, bob, good, 1, TEXT(""));
    kit_error(h, 10, AN_COMMAND_SEND, 7, AN_ERR_BODY_EMPTY);
    send_raw(h, 8, bob, good, 3, (ProtobufCBinaryData){sizeof(large), large});
    kit_error(h, 10, AN_COMMAND_SEND, 8, AN_ERR_BODY_TOO_LARGE);
    send_raw(h, 9, bob, good, 1, TEXT("\xff"));
    kit_error(h, 10, AN_COMMAND_SEND, 9, AN_ERR_UTF8);
    kit_serve(h);
    assert_null(kit_submit(h)); /* nobody else heard of it */
    /* M6: only text is looked into; unknown types pass. */
    send_raw(h, 10, bob, good, 999, TEXT("\xff"));
    id[15]++;
    send_raw(h, 11, bob, good, 3, (ProtobufCBinaryData){AN_BODY_LEN_MAX, large});
    kit_serve(h);
    assert_int_equal(kit_submit_of(kit_submit(h))->n_commands, 2);
    harness_destroy(h);
}

static void
test_gate_send_unknown_recipient_refused(void **state)
{
    struct harness *h = kit_gate(NULL);
    const Anser__Client__Error *error;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 7, "nobody", 1, "hello");
    kit_serve(h);
    error = kit_error(h, 10, AN_COMMAND_SEND, 7, AN_ERR_USER_NOT_FOUND);
    assert_memory_equal(error->client_msg_id.data, kit_id(1), 16);
    kit_send(h, 10, 8, "nobody", 2, "hello"); /* not a matter of order */
    kit_serve(h);
    kit_error(h, 10, AN_COMMAND_SEND, 8, AN_ERR_USER_NOT_FOUND);
    harness_destroy(h);
}

static void
test_gate_send_names_asked_once(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_send(h, 10, 2, "bob", 2, "b"); /* waits for the same answer */
    kit_serve(h);
    kit_send(h, 10, 3, "bob", 3, "c");
    assert_int_equal(harness_metric(h, "names_asked_total"), 2); /* alice, bob */
    assert_int_equal(harness_metric(h, "names"), 2);
    assert_int_equal(kit_submit_of(kit_submit(h))->n_commands, 2);
    harness_destroy(h);
}

static void
test_gate_sends_name_the_one_before(void **state)
{
    struct harness *h = kit_gate(NULL);
    const Anser__Bus__Submit *submit;
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_send(h, 10, 2, "carol", 2, "b");
    kit_send(h, 10, 3, "bob", 3, "c");
    kit_send(h, 10, 4, "bob", 4, "d");
    kit_serve(h);
    ask = kit_submit(h);
    submit = kit_submit_of(ask);
    assert_int_equal(submit->n_commands, 4);
    for (size_t i = 0; i < 4; i++) {
        unsigned number = kit_number(submit->commands[i]);
        ProtobufCBinaryData after = submit->commands[i]->send->after_id;

        if (number <= 2) {
            assert_int_equal(after.len, 0);
        } else {
            assert_int_equal(after.len, 16);
            assert_int_equal(after.data[15], number == 3 ? 1 : 3);
        }
    }
    kit_submitted(h, ask, AN_OK);
    kit_send(h, 10, 5, "bob", 5, "e"); /* those before are answered */
    kit_serve(h);
    assert_int_equal(kit_submit_of(kit_submit(h))->commands[0]->send->after_id.len, 0);
    harness_destroy(h);
}

/* P2 */
static void
test_gate_order_kept_after_a_refusal(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    const Anser__Client__Error *error;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_send(h, 10, 2, "bob", 2, "b");
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_ERR_BUSY);
    error = kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_BUSY);
    assert_true(error->retry_after_ms > 0);
    kit_error(h, 10, AN_COMMAND_SEND, 2, AN_ERR_BUSY);
    kit_send(h, 10, 3, "bob", 3, "c"); /* 1 first */
    kit_error(h, 10, AN_COMMAND_SEND, 3, AN_ERR_ORDER);
    kit_send(h, 10, 4, "bob", 2, "b");
    kit_error(h, 10, AN_COMMAND_SEND, 4, AN_ERR_ORDER);
    kit_send(h, 10, 5, "carol", 4, "d"); /* another conversation is free */
    kit_send(h, 10, 6, "bob", 1, "a");
    kit_send(h, 10, 7, "bob", 2, "b");
    kit_send(h, 10, 8, "bob", 3, "c");
    kit_serve(h);
    ask = kit_submit(h);
    assert_int_equal(kit_submit_of(ask)->n_commands, 3);
    kit_submitted(h, ask, AN_OK);
    kit_send(h, 10, 9, "bob", 5, "e");
    kit_serve(h);
    assert_int_equal(kit_submit_of(kit_submit(h))->n_commands, 2); /* and carol's */
    harness_destroy(h);
}

/* The one refused first keeps its place when it is refused again. */
static void
test_gate_order_refused_again_still_first(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result busy = ANSER__BUS__RESULT__INIT, *rows[1] = {&busy};

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    ask = kit_submit(h);
    kit_send(h, 10, 2, "bob", 2, "b"); /* waits for the next batch */
    kit_serve(h);
    assert_null(kit_submit(h));
    busy.err = AN_ERR_BUSY;
    busy.retry_after_ms = 77;
    submitted.results = rows;
    submitted.n_results = 1;
    harness_answer(h, ask, AN_OK, &submitted.base);
    assert_int_equal(kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_BUSY)->retry_after_ms,
                     77);
    harness_drain(h);
    ask = kit_submit(h); /* 2 goes, naming 1, and is refused by the sequencer */
    assert_int_equal(kit_submit_of(ask)->commands[0]->send->after_id.data[15], 1);
    kit_send(h, 10, 3, "bob", 1, "a"); /* 1 again, before 2's refusal came */
    kit_submitted(h, ask, AN_ERR_ORDER);
    kit_error(h, 10, AN_COMMAND_SEND, 2, AN_ERR_ORDER);
    harness_drain(h);
    kit_submitted(h, kit_submit(h), AN_ERR_BUSY); /* 1 refused again */
    kit_error(h, 10, AN_COMMAND_SEND, 3, AN_ERR_BUSY);
    kit_send(h, 10, 4, "bob", 2, "b");
    kit_error(h, 10, AN_COMMAND_SEND, 4, AN_ERR_ORDER);
    kit_send(h, 10, 5, "bob", 1, "a");
    kit_send(h, 10, 6, "bob", 2, "b");
    kit_serve(h);
    assert_int_equal(kit_submit_of(kit_submit(h))->n_commands, 2);
    harness_destroy(h);
}

/* 3 was sent when the client had not heard yet that 2 was refused too. */
static void
test_gate_order_each_refused_is_waited_for(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_send(h, 10, 2, "bob", 2, "b");
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_ERR_BUSY);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_BUSY);
    kit_error(h, 10, AN_COMMAND_SEND, 2, AN_ERR_BUSY);
    kit_send(h, 10, 3, "bob", 1, "a");
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 3,
              &anser__client__send_ok__descriptor);
    kit_send(h, 10, 4, "bob", 3, "c");
    kit_error(h, 10, AN_COMMAND_SEND, 4, AN_ERR_ORDER);
    kit_send(h, 10, 5, "bob", 2, "b");
    kit_send(h, 10, 6, "bob", 4, "d"); /* 3 was refused before it came */
    kit_error(h, 10, AN_COMMAND_SEND, 6, AN_ERR_ORDER);
    kit_send(h, 10, 7, "bob", 3, "c");
    kit_send(h, 10, 8, "bob", 4, "d");
    kit_send(h, 10, 9, "bob", 5, "e");
    kit_serve(h);
    assert_int_equal(kit_submit_of(kit_submit(h))->n_commands, 4);
    harness_destroy(h);
}

/* 3 is under way when 1 and 2, refused before, are sent again: 4 comes after 3, not after
 * what arrived last. */
static void
test_gate_order_of_sending_not_of_arrival(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    const Anser__Bus__Submit *submit;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_send(h, 10, 2, "bob", 2, "b");
    kit_serve(h);
    ask = kit_submit(h);
    kit_send(h, 10, 3, "bob", 3, "c");
    kit_submitted(h, ask, AN_ERR_BUSY);
    harness_drain(h);
    ask = kit_submit(h); /* 3 */
    kit_send(h, 10, 4, "bob", 1, "a");
    kit_send(h, 10, 5, "bob", 2, "b");
    kit_send(h, 10, 6, "bob", 4, "d");
    kit_submitted(h, ask, AN_ERR_ORDER);
    harness_drain(h);
    submit = kit_submit_of(kit_submit(h));
    assert_int_equal(submit->n_commands, 3);
    assert_int_equal(submit->commands[0]->send->after_id.len, 0);
    assert_int_equal(submit->commands[1]->send->after_id.data[15], 1);
    assert_int_equal(submit->commands[2]->send->after_id.data[15], 3);
    harness_destroy(h);
}

static void
test_gate_final_refusal_blocks_nobody(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_ERR_ID_EXPIRED);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_ID_EXPIRED);
    kit_send(h, 10, 2, "bob", 2, "b");
    kit_serve(h);
    assert_non_null(kit_submit(h));
    harness_destroy(h);
}

static void
test_gate_sends_over_the_bound_are_busy(void **state)
{
    struct gate_cfg cfg = {.sends_max = 3};
    struct harness *h = kit_gate(&cfg);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    for (unsigned i = 1; i <= 5; i++) {
        kit_send(h, 10, i, "bob", i, "x");
    }
    kit_error(h, 10, AN_COMMAND_SEND, 4, AN_ERR_BUSY);
    kit_error(h, 10, AN_COMMAND_SEND, 5, AN_ERR_ORDER);
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_OK);
    kit_send(h, 10, 6, "bob", 5, "x");
    for (unsigned i = 1; i <= 3; i++) {
        kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, i,
                  &anser__client__send_ok__descriptor);
    }
    kit_error(h, 10, AN_COMMAND_SEND, 6, AN_ERR_ORDER);
    kit_send(h, 10, 7, "bob", 4, "x");
    kit_send(h, 10, 8, "bob", 5, "x");
    kit_serve(h);
    assert_int_equal(kit_submit_of(kit_submit(h))->n_commands, 2);
    harness_destroy(h);
}

/* P7: what waits at the gate is bounded over all connections. */
static void
test_gate_bytes_over_the_bound_are_busy(void **state)
{
    struct harness *h = kit_gate(NULL);
    char *body = calloc(1, 60001);
    unsigned refused = 0;

    (void)state;
    assert_non_null(body);
    memset(body, 'x', 60000);
    for (uint64_t conn = 10; conn < 14; conn++) {
        char device[8];

        snprintf(device, sizeof(device), "d%u", (unsigned)conn);
        kit_login(h, conn, "alice", device);
    }
    for (unsigned i = 0; i < 4 * 200; i++) {
        kit_send(h, 10 + i % 4, i, "bob", i, body);
    }
    for (unsigned i = 0; i < 4; i++) {
        while (harness_take_frame(h, 10 + i) != NULL) {
            refused++;
        }
    }
    assert_true(harness_metric(h, "request_bytes") <= AN_GATE_PENDING_BYTES_MAX);
    assert_in_range(refused, 800 - AN_GATE_PENDING_BYTES_MAX / 60000, 799);
    free(body);
    harness_destroy(h);
}

static void
test_gate_next_batch_fills_while_one_is_under_way(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    ask = kit_submit(h);
    for (unsigned i = 2; i < 8; i++) {
        kit_send(h, 10, i, "bob", i, "x");
        harness_drain(h);
    }
    assert_null(kit_submit(h));
    kit_submitted(h, ask, AN_OK);
    harness_drain(h);
    ask = kit_submit(h);
    assert_int_equal(kit_submit_of(ask)->n_commands, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(kit_number(kit_submit_of(ask)->commands[i]), i + 2);
    }
    harness_destroy(h);
}

static void
test_gate_two_batches_under_way_at_most(void **state)
{
    struct gate_cfg cfg = {.submits_flying_max = 2};
    struct harness *h = kit_gate(&cfg);
    const struct harness_effect *one, *two;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    one = kit_submit(h);
    kit_send(h, 10, 2, "bob", 2, "b");
    harness_drain(h);
    two = kit_submit(h);
    assert_int_equal(kit_submit_of(two)->commands[0]->send->after_id.data[15], 1);
    kit_send(h, 10, 3, "bob", 3, "c");
    harness_drain(h);
    assert_null(kit_submit(h));
    kit_submitted(h, two, AN_OK); /* each has its own answer, whichever comes first */
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 2,
              &anser__client__send_ok__descriptor);
    harness_drain(h);
    assert_non_null(kit_submit(h));
    kit_submitted(h, one, AN_OK);
    kit_frame(h, 10, AN_COMMAND_SEND, AN_FRAME_ANSWER, 1,
              &anser__client__send_ok__descriptor);
    harness_destroy(h);
}

/* A batch holds only slots that share sequencer and store. */
static void
test_gate_batches_by_sequencer_and_store(void **state)
{
    struct an_conv with_bob = an_conv_direct(ALICE, BOB);
    struct an_conv with_carol = an_conv_direct(ALICE, CAROL);
    struct gate_cfg cfg = {.topology = &kit_topology};
    const struct harness_effect *one, *two;
    struct harness *h;

    (void)state;
    an_topology_single(&kit_topology);
    kit_topology.count[AN_ROLE_STORE] = 2;
    kit_topology.slot_store[an_slot_conv(&with_bob)] = 1;
    assert_int_not_equal(an_slot_conv(&with_bob), an_slot_conv(&with_carol));
    h = kit_gate(&cfg);
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_send(h, 10, 2, "carol", 2, "b");
    kit_serve(h);
    one = kit_submit(h);
    two = kit_submit(h);
    assert_int_equal(kit_submit_of(one)->n_commands, 1);
    assert_int_equal(kit_submit_of(two)->n_commands, 1);
    assert_int_not_equal(kit_submit_of(one)->commands[0]->slot,
                         kit_submit_of(two)->commands[0]->slot);
    harness_destroy(h);
}

static void
test_gate_sequencer_away_may_be_tried_again(void **state)
{
    static const enum an_err errs[] = {AN_ERR_UNAVAILABLE, AN_ERR_TIMEOUT, AN_ERR_BUSY};
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    for (unsigned i = 0; i < 3; i++) {
        kit_send(h, 10, i, "bob", 1, "a");
        kit_serve(h);
        harness_answer(h, kit_submit(h), errs[i], NULL);
        kit_error(h, 10, AN_COMMAND_SEND, i, errs[i]);
    }
    harness_destroy(h);
}

/* A peer that answers less than it was asked: the outcome is not known. */
static void
test_gate_short_answer_is_not_an_outcome(void **state)
{
    struct harness *h = kit_gate(NULL);
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    harness_answer(h, kit_submit(h), AN_OK, &submitted.base);
    kit_error(h, 10, AN_COMMAND_SEND, 1, AN_ERR_TIMEOUT);
    harness_destroy(h);
}

/* X1: what the gate took goes on without its client. */
static void
test_gate_client_gone_message_goes_on(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    harness_conn(h, AN_KIND_CONN_CLOSED, 10);
    kit_serve(h);
    ask = kit_submit(h);
    assert_int_equal(kit_submit_of(ask)->n_commands, 1);
    assert_memory_equal(kit_submit_of(ask)->commands[0]->send->from.data, "alice", 5);
    kit_submitted(h, ask, AN_OK);
    kit_no_frame(h, 10);
    assert_int_equal(harness_metric(h, "requests"), 0);
    assert_int_equal(harness_metric(h, "conns"), 0);
    harness_destroy(h);
}

static void
test_gate_destroyed_midway_lets_go(void **state)
{
    struct harness *h = kit_gate(NULL);

    (void)state;
    kit_login(h, 10, "alice", "phone");
    kit_send(h, 10, 1, "bob", 1, "a");
    kit_serve(h);
    kit_send(h, 10, 2, "bob", 2, "b");    /* in a lane */
    kit_send(h, 10, 3, "nobody", 3, "c"); /* at a name */
    kit_open(h, 11);
    kit_login_send(h, 11, "alice", "desk", false); /* at a router link */
    harness_destroy(h);
}

static void
test_gate_send_events_only_while_watched(void **state)
{
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *event;

    (void)state;
    kit_login(h, 10, "alice", "phone");
    harness_watch(h, true);
    kit_send(h, 10, 1, "bob", 1, "secret");
    event = harness_take_event(h, "message.gate_in");
    assert_non_null(event);
    assert_string_equal(event->text,
                        "message.gate_in {\"trace\":\"0000000000000abc\","
                        "\"client_msg_id\":\"01930000000070008000000000000001\","
                        "\"from\":\"alice\",\"to\":\"bob\",\"type\":1,\"len\":6,"
                        "\"gate\":0}");
    kit_serve(h);
    kit_submitted(h, kit_submit(h), AN_OK);
    event = harness_take_event(h, "message.ack");
    assert_non_null(event);
    assert_string_equal(event->text,
                        "message.ack {\"trace\":\"0000000000000abc\","
                        "\"client_msg_id\":\"01930000000070008000000000000001\","
                        "\"message_id\":\"1000\",\"seq\":\"1\",\"gate\":0}");
    harness_watch(h, false);
    kit_send(h, 10, 2, "bob", 2, "x");
    assert_null(harness_take_event(h, "message.gate_in"));
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_send_goes_to_sequencer_and_back),
        cmocka_unit_test(test_gate_send_form_judged_at_the_gate),
        cmocka_unit_test(test_gate_send_unknown_recipient_refused),
        cmocka_unit_test(test_gate_send_names_asked_once),
        cmocka_unit_test(test_gate_sends_name_the_one_before),
        cmocka_unit_test(test_gate_order_kept_after_a_refusal),
        cmocka_unit_test(test_gate_order_refused_again_still_first),
        cmocka_unit_test(test_gate_order_each_refused_is_waited_for),
        cmocka_unit_test(test_gate_order_of_sending_not_of_arrival),
        cmocka_unit_test(test_gate_final_refusal_blocks_nobody),
        cmocka_unit_test(test_gate_sends_over_the_bound_are_busy),
        cmocka_unit_test(test_gate_bytes_over_the_bound_are_busy),
        cmocka_unit_test(test_gate_next_batch_fills_while_one_is_under_way),
        cmocka_unit_test(test_gate_two_batches_under_way_at_most),
        cmocka_unit_test(test_gate_batches_by_sequencer_and_store),
        cmocka_unit_test(test_gate_sequencer_away_may_be_tried_again),
        cmocka_unit_test(test_gate_short_answer_is_not_an_outcome),
        cmocka_unit_test(test_gate_client_gone_message_goes_on),
        cmocka_unit_test(test_gate_destroyed_midway_lets_go),
        cmocka_unit_test(test_gate_send_events_only_while_watched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
