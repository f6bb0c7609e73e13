/* Who floods leaves room for others: shares of batches and of memory. */
#include "tests/actors/gate_kit.h"

/* Sends of 60,000 bytes until one is refused, 256 at the most; how many were taken. */
static unsigned
flood(struct harness *h, uint64_t conn, const char *body)
{
    for (unsigned i = 0; i < 256; i++) {
        kit_send(h, conn, i + 1, "bob", (unsigned)conn * 256 + i, body);
        if (harness_take_frame(h, conn) != NULL) {
            return i;
        }
    }
    return 256;
}

/* P7: those that flood leave room for others, however many they are. */
static void
test_gate_pending_bytes_are_shared(void **state)
{
    struct harness *h = kit_gate(NULL);
    char *body = calloc(1, 60001);

    (void)state;
    assert_non_null(body);
    memset(body, 'x', 60000);
    kit_login(h, 9, "carol", "quiet");
    for (uint64_t conn = 10; conn < 50; conn++) {
        unsigned taken, most = AN_GATE_PENDING_BYTES_MAX / 5 / 60000;

        kit_login(h, conn, "alice", "loud");
        taken = flood(h, conn, body);
        assert_in_range(taken, 0, most);
        if (conn == 10) { /* alone: its share is a fifth of all */
            assert_in_range(taken, most - 1, most);
        }
    }
    /* The window of one who sends little is free as ever. */
    for (unsigned i = 0; i < 100; i++) {
        kit_send(h, 9, i, "bob", 50000 + i, "hello");
    }
    kit_no_frame(h, 9);
    free(body);
    harness_destroy(h);
}

/* Of all his connections together, and what he frees is free again. */
static void
test_gate_pending_bytes_are_a_users(void **state)
{
    enum { MOST = AN_GATE_PENDING_BYTES_MAX / 5 / 60000 };
    struct harness *h = kit_gate(NULL);
    char *body = calloc(1, 60001);
    unsigned taken = 0;

    (void)state;
    assert_non_null(body);
    memset(body, 'x', 60000);
    for (uint64_t conn = 10; conn < 18; conn++) {
        kit_login(h, conn, "alice", "loud");
        taken += flood(h, conn, body);
    }
    assert_in_range(taken, MOST - 1, MOST);
    kit_login(h, 9, "carol", "quiet");
    assert_true(flood(h, 9, body) > MOST / 2);
    for (const struct harness_effect *ask; (ask = kit_submit(h)) != NULL;) {
        kit_submitted(h, ask, AN_OK);
        kit_serve(h);
    }
    assert_int_equal(harness_metric(h, "request_bytes"), 0);
    kit_login(h, 18, "alice", "again");
    assert_in_range(flood(h, 18, body), MOST - 1, MOST);
    free(body);
    harness_destroy(h);
}

/* The flood has a hundred times as many commands waiting: each batch has the others' in
 * front, and as many of it as of the other user, whose connections have the same of his.
 */
static void
test_gate_flood_of_commands_gets_its_share_of_each_batch(void **state)
{
    struct gate_cfg cfg = {.sends_max = 10000};
    struct harness *h = kit_gate(&cfg);
    const struct harness_effect *ask;
    unsigned seen[7] = {0};

    (void)state;
    kit_login(h, 9, "alice", "loud");
    for (uint64_t conn = 10; conn < 16; conn++) {
        kit_login(h, conn, "carol", "quiet");
    }
    for (unsigned i = 0; i < 5000; i++) {
        kit_send(h, 9, i, "bob", i, "0");
    }
    for (unsigned conn = 10; conn < 16; conn++) {
        char body[2] = {(char)('0' + conn - 9), '\0'};

        for (unsigned i = 0; i < 50; i++) {
            kit_send(h, conn, i, "bob", 5000 + conn * 50 + i, body);
        }
    }
    kit_serve(h);
    ask = kit_submit(h);
    assert_int_equal(kit_submit_of(ask)->n_commands, AN_BATCH_ITEMS_MAX);
    for (size_t i = 0; i < 120; i++) { /* two users of sixty, one of them on six lanes */
        seen[kit_submit_of(ask)->commands[i]->send->body.data[0] - '0']++;
    }
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(seen[i], i == 0 ? 60 : 10);
    }
    harness_destroy(h);
}

/* Connections are cheap: sixteen that flood are one user, and get what one gets. */
static void
test_gate_flood_on_many_connections_is_one_users(void **state)
{
    enum { LOUD = 16 };
    struct harness *h = kit_gate(NULL);
    const struct harness_effect *ask;
    unsigned quiet = 0;

    (void)state;
    for (uint64_t conn = 10; conn < 10 + LOUD; conn++) {
        char device[8];

        snprintf(device, sizeof(device), "d%u", (unsigned)conn);
        kit_login(h, conn, "alice", device);
    }
    kit_login(h, 9, "carol", "quiet");
    for (unsigned i = 0; i < 100; i++) {
        for (uint64_t conn = 10; conn < 10 + LOUD; conn++) {
            kit_send(h, conn, i + 2, "bob", (unsigned)conn * 100 + i, "a");
        }
    }
    for (unsigned i = 0; i < 40; i++) {
        kit_send(h, 9, i + 2, "bob", 10000 + i, "c");
    }
    kit_serve(h);
    ask = kit_submit(h);
    assert_true(kit_submit_of(ask)->n_commands > 100);
    for (size_t i = 0; i < 80; i++) {
        quiet += kit_submit_of(ask)->commands[i]->send->body.data[0] == 'c';
    }
    assert_int_equal(quiet, 40);
    harness_destroy(h);
}

/* P7: one that floods gets no more than its share of a batch. */
static void
test_gate_batch_filled_round_robin(void **state)
{
    struct harness *h = kit_gate(NULL);
    const Anser__Bus__Submit *submit;
    char *body = calloc(1, 60001);
    unsigned small = 0;

    (void)state;
    assert_non_null(body);
    memset(body, 'x', 60000);
    kit_login(h, 10, "alice", "phone");
    kit_login(h, 11, "bob", "phone");
    kit_login(h, 12, "carol", "phone");
    for (unsigned i = 0; i < 100; i++) {
        kit_send(h, 10, i, "bob", i, body);
    }
    kit_send(h, 11, 1, "carol", 101, "first");
    kit_send(h, 11, 2, "carol", 102, "second");
    kit_send(h, 12, 1, "bob", 103, "third");
    kit_serve(h);
    submit = kit_submit_of(kit_submit(h));
    assert_in_range(submit->n_commands, 15, 25); /* about a MiB */
    for (size_t i = 0; i < 5; i++) {
        small += submit->commands[i]->send->body.len < 10;
    }
    assert_int_equal(small, 3); /* all three in front, though they came last */
    free(body);
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_pending_bytes_are_shared),
        cmocka_unit_test(test_gate_pending_bytes_are_a_users),
        cmocka_unit_test(test_gate_flood_of_commands_gets_its_share_of_each_batch),
        cmocka_unit_test(test_gate_flood_on_many_connections_is_one_users),
        cmocka_unit_test(test_gate_batch_filled_round_robin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
