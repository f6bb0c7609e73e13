/* Do actors of several processes and hosts reach each other, over the transport that
 * their places ask for, and do those of another cluster not? Two runners in one program
 * stand for two processes. */
#include "proto/bus.pb-c.h"
#include "tests/core/stage.h"
#include "tests/core/toys.h"
#include <assert.h>
#include <nng/nng.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct an_addr sequencer = {AN_ROLE_SEQUENCER, 0};
static struct toy_state *const asker = &toy_states[AN_ROLE_SEQUENCER];
static struct toy_state *const server = &toy_states[AN_ROLE_IDGEN];

static void
ask(struct toy *toy, struct an_outbox *out)
{
    Anser__Bus__TakeIds take = ANSER__BUS__TAKE_IDS__INIT;

    take.count = ++toy->next;
    an_out_ask(out, toy_idgen, AN_KIND_TAKE_IDS, &take.base, 5000, take.count, 0);
}

/* Asks one after the other, as long as it is answered AN_OK; after another answer it
 * waits a little. */
static void
ask_on(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (msg->kind == AN_KIND_START || msg->kind == AN_KIND_TIMER ||
        (msg->answer && msg->err == AN_OK)) {
        ask(toy, out);
    } else if (msg->answer) {
        an_out_timer(out, now.mono_ms + 5, 1);
    }
}

static struct an_runner *
runner_of(const struct stage *stage, uint16_t process)
{
    return toys_runner_cfg(
        (struct an_runner_cfg){.places = &stage->places, .process = process});
}

/* The asker in process 0 of host a, the server as placed; both speak, then all ends. */
static void
speak(uint16_t host, uint16_t process)
{
    struct stage here, there;
    struct an_runner *one, *two;
    struct stage plan;

    stage_init(&plan, 2);
    stage_put(&plan, AN_ROLE_SEQUENCER, 0, 0, 0);
    stage_put(&plan, AN_ROLE_IDGEN, 0, host, process);
    stage_copy(&here, &plan, "a");
    stage_copy(&there, &plan, host == 0 ? "a" : "b");
    one = runner_of(&here, 0);
    two = process == 0 ? one : runner_of(&there, process);
    toys_add(two, AN_ROLE_IDGEN, 0, toy_serve);
    toys_add(one, AN_ROLE_SEQUENCER, 0, ask_on);
    toys_start(two, AN_ROLE_IDGEN, 0);
    toys_start(one, AN_ROLE_SEQUENCER, 0);
    toy_await(asker, &asker->errs[AN_OK], 100);
    assert_int_equal(an_runner_stop(one, sequencer, 5000), AN_OK);
    an_runner_destroy(one);
    if (two != one) {
        an_runner_destroy(two);
    }
    assert_int_equal(server->out_of_order, 0);
}

static void
test_places_same_process_speaks_inproc(void **unused)
{
    (void)unused;
    speak(0, 0);
}

static void
test_places_same_host_speaks_ipc(void **unused)
{
    (void)unused;
    speak(0, 1);
}

static void
test_places_other_host_speaks_tls(void **unused)
{
    (void)unused;
    speak(1, 1);
}

/* ------------------------------------------------------------------ hints */

static void
publish(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__Deliver deliver = ANSER__BUS__DELIVER__INIT;

    (void)toy;
    if (msg->kind == AN_KIND_START || msg->kind == AN_KIND_TIMER) {
        an_out_publish(out, (struct an_addr){AN_ROLE_GATE, 0}, AN_KIND_DELIVER,
                       &deliver.base);
        an_out_timer(out, now.mono_ms + 5, 1);
    }
}

static void
count_hints(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)now;
    (void)out;
    if (msg->kind == AN_KIND_DELIVER) {
        toy_note(toy->state, &toy->state->hints);
    }
}

static void
test_places_hints_cross_hosts(void **unused)
{
    struct stage plan, here, there;
    struct an_runner *one, *two;

    (void)unused;
    stage_init(&plan, 2);
    stage_put(&plan, AN_ROLE_GATE, 0, 0, 0);
    stage_put(&plan, AN_ROLE_ROUTER, 0, 1, 1);
    stage_copy(&here, &plan, "a");
    stage_copy(&there, &plan, "b");
    one = runner_of(&here, 0);
    two = runner_of(&there, 1);
    toys_add(one, AN_ROLE_GATE, 0, count_hints);
    toys_add(two, AN_ROLE_ROUTER, 0, publish);
    toys_start(one, AN_ROLE_GATE, 0);
    toys_start(two, AN_ROLE_ROUTER, 0);
    toy_await(&toy_states[AN_ROLE_GATE], &toy_states[AN_ROLE_GATE].hints, 10);
    an_runner_destroy(two);
    an_runner_destroy(one);
}

/* ------------------------------------------------------------------ other clusters */

/* Two processes of one host that differ: both say so, nothing is handled, the asker is
 * told UNAVAILABLE. */
static void
differ(struct an_runner_cfg cfg, const char *what)
{
    struct stage plan;
    struct an_runner *one, *two;
    char line[128];

    stage_init(&plan, 1);
    stage_put(&plan, AN_ROLE_IDGEN, 0, 0, 1);
    one = runner_of(&plan, 0);
    cfg.places = &plan.places;
    cfg.process = 1;
    two = toys_runner_cfg(cfg);
    stage_log_open();
    toys_add(two, AN_ROLE_IDGEN, 0, toy_serve);
    toys_add(one, AN_ROLE_SEQUENCER, 0, ask_on);
    toys_start(two, AN_ROLE_IDGEN, 0);
    toys_start(one, AN_ROLE_SEQUENCER, 0);
    snprintf(line, sizeof(line), "idgen/0 request refused: sequencer/0 %s", what);
    stage_log_await(line);
    snprintf(line, sizeof(line), "sequencer/0 refused by the one asked: idgen/0 %s",
             what);
    stage_log_await(line);
    toy_await(asker, &asker->errs[AN_ERR_UNAVAILABLE], 3);
    stage_log_close();
    assert_int_equal(an_runner_stop(one, sequencer, 5000), AN_OK);
    an_runner_destroy(one);
    an_runner_destroy(two);
    assert_int_equal(asker->errs[AN_OK], 0);
    assert_int_equal(server->last, 0);
}

static void
test_places_other_cluster_refused_by_both(void **unused)
{
    (void)unused;
    differ((struct an_runner_cfg){.cluster = "another"}, "is of another cluster");
}

static void
test_places_other_slot_map_refused_by_both(void **unused)
{
    struct an_topology other = toys_topology;

    (void)unused;
    other.slot_store[1023] = 1;
    differ((struct an_runner_cfg){.topology = &other}, "has other stores for the slots");
}

static void
test_places_hints_of_another_cluster_dropped(void **unused)
{
    struct stage plan;
    struct an_runner *one, *two;

    (void)unused;
    stage_init(&plan, 1);
    stage_put(&plan, AN_ROLE_ROUTER, 0, 0, 1);
    one = runner_of(&plan, 0);
    two = toys_runner_cfg((struct an_runner_cfg){
        .cluster = "another", .places = &plan.places, .process = 1});
    stage_log_open();
    toys_add(one, AN_ROLE_GATE, 0, count_hints);
    toys_add(two, AN_ROLE_ROUTER, 0, publish);
    toys_start(one, AN_ROLE_GATE, 0);
    toys_start(two, AN_ROLE_ROUTER, 0);
    stage_log_await("gate/0 hint dropped: router/0 is of another cluster");
    stage_log_close();
    an_runner_destroy(two);
    an_runner_destroy(one);
    assert_int_equal(toy_states[AN_ROLE_GATE].hints, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, toys_setup, toys_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_places_same_process_speaks_inproc),
        TEST(test_places_same_host_speaks_ipc),
        TEST(test_places_other_host_speaks_tls),
        TEST(test_places_hints_cross_hosts),
        TEST(test_places_other_cluster_refused_by_both),
        TEST(test_places_other_slot_map_refused_by_both),
        TEST(test_places_hints_of_another_cluster_dropped),
    };
    int failures = cmocka_run_group_tests(tests, stage_certs_make, stage_certs_drop);

    nng_fini();
    return failures;
}
