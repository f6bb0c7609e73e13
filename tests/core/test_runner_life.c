/* Does a runner carry out timers, jobs, stop and failure, and does it answer the stock
 * tool? Toy actors, once over inproc and once over ipc. */
#include "core/control.h"
#include "proto/bus.pb-c.h"
#include "tests/core/toys.h"
#include <assert.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ timers, jobs, end */

static void
set_timers(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (msg->kind == AN_KIND_START) {
        an_out_timer(out, now.mono_ms + 30, 4);
        an_out_timer(out, now.mono_ms + 10, 2);
        an_out_timer(out, now.mono_ms, 1);
        an_out_timer(out, now.mono_ms + 10, 3);
        toy->state->last = (uint32_t)(now.mono_ms & 0xffffffff);
    }
    if (msg->kind == AN_KIND_TIMER) {
        uint32_t waited = (uint32_t)(now.mono_ms & 0xffffffff) - toy->state->last;
        assert(msg->tag != 4 || waited >= 30);
        toy->state->tags[toy->state->tag_count++] = msg->tag;
        toy_note(toy->state, &toy->state->timers);
    }
}

static void
test_runner_timers_fire_in_order_not_early(void **unused)
{
    struct an_runner *runner = toys_runner();
    struct toy_state *toy = &toy_states[AN_ROLE_IDGEN];

    (void)unused;
    toys_add(runner, AN_ROLE_IDGEN, 0, set_timers);
    toys_start(runner, AN_ROLE_IDGEN, 0);
    toy_await(toy, &toy->timers, 4);
    an_runner_destroy(runner);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(toy->tags[i], i + 1);
    }
}

struct toy_job {
    struct an_job job; /* first */
    struct toy_state *state;
    pthread_t ran_on;
};

static void
job_run(struct an_job *job)
{
    ((struct toy_job *)job)->ran_on = pthread_self();
}

static void
job_done(struct an_job *job)
{
    struct toy_job *whole = (struct toy_job *)job;

    if (!pthread_equal(whole->ran_on, pthread_self())) {
        toy_note(whole->state, &whole->state->jobs);
    }
    free(whole);
}

static void
offload(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)now;
    for (unsigned i = 0; msg->kind == AN_KIND_START && i < 20; i++) {
        struct toy_job *job = calloc(1, sizeof(*job));
        job->job = (struct an_job){job_run, job_done,
                                   i % 2 == 0 ? AN_LANE_READ : AN_LANE_APPLY, NULL};
        job->state = toy->state;
        an_out_offload(out, &job->job);
    }
    if (msg->kind == AN_KIND_JOB_DONE) {
        msg->job->done(msg->job);
    }
}

static void
test_runner_jobs_run_elsewhere_and_come_back(void **unused)
{
    struct an_runner *runner = toys_runner();
    struct toy_state *toy = &toy_states[AN_ROLE_STORE];

    (void)unused;
    toys_add(runner, AN_ROLE_STORE, 0, offload);
    toys_start(runner, AN_ROLE_STORE, 0);
    toy_await(toy, &toy->jobs, 20);
    an_runner_destroy(runner);
}

static void
test_runner_destroyed_with_jobs_underway_brings_them_home(void **unused)
{
    struct an_runner *runner = toys_runner();

    (void)unused;
    toys_add(runner, AN_ROLE_STORE, 0, offload);
    toys_start(runner, AN_ROLE_STORE, 0);
    an_runner_destroy(runner); /* the leak checker counts the jobs */
}

static void
test_runner_stop_waits_for_the_actor(void **unused)
{
    struct an_runner *runner = toys_pair(toy_idle, toy_serve);

    (void)unused;
    assert_int_equal(an_runner_stop(runner, (struct an_addr){AN_ROLE_SEQUENCER, 0}, 5000),
                     AN_OK);
    assert_int_equal(an_runner_stop(runner, toy_idgen, 5000), AN_OK);
    assert_int_equal(an_runner_stop(runner, (struct an_addr){AN_ROLE_STORE, 0}, 5000),
                     AN_OK); /* never added */
    an_runner_destroy(runner);
}

static void
burn(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)toy;
    (void)now;
    if (msg->kind == AN_KIND_START) {
        an_out_failed(out, AN_ERR_IO, "disk on %s", "fire");
    }
}

static void
test_runner_failed_actor_is_reported(void **unused)
{
    struct an_runner *runner = toys_runner();
    struct toy_state *toy = &toy_states[AN_ROLE_STORE];

    (void)unused;
    toys_add(runner, AN_ROLE_STORE, 0, burn);
    toys_start(runner, AN_ROLE_STORE, 0);
    toy_await(toy, &toy->jobs, 1);
    an_runner_destroy(runner);
    assert_int_equal(toy->failed, AN_ERR_IO);
}

/* ------------------------------------------------------------------ inspection */

static void
talk(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__Inspected inspected = ANSER__BUS__INSPECTED__INIT;
    const Anser__Bus__Inspect *words;

    (void)toy;
    if (msg->kind == AN_KIND_START || msg->kind == AN_KIND_TIMER) {
        an_out_event(out, "message.commit", "{\"trace\":\"%016x\"}", 7u);
        an_out_timer(out, now.mono_ms + 2, 1);
    }
    if (msg->kind != AN_KIND_INSPECT) {
        return;
    }
    words = (const Anser__Bus__Inspect *)msg->body;
    if (words->words.len != 6 || memcmp(words->words.data, "say hi", 6) != 0) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    inspected.json.data = (uint8_t *)(uintptr_t) "{\"hi\":1}";
    inspected.json.len = 8;
    an_out_answer(out, msg, AN_OK, &inspected.base);
}

static void
expect_words(const char *url, const char *words, const char *part)
{
    char *text = NULL;

    assert_int_equal(an_control_ask(&text, url, words, TOY_WAIT_S * 1000), AN_OK);
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' answered: %s", words, text);
    }
    free(text);
}

static void
test_runner_words_are_answered(void **unused)
{
    struct an_runner *runner;
    char url[128], *text;

    (void)unused;
    snprintf(url, sizeof(url), "ipc://%s/control", toys_dir);
    assert_int_equal(an_control_ask(&text, url, "help", 1000), AN_ERR_UNAVAILABLE);
    runner = toys_runner_cfg((struct an_runner_cfg){.control = url});
    toys_add(runner, AN_ROLE_IDGEN, 0, talk);
    toys_add(runner, AN_ROLE_STORE, 0, toy_idle);
    toys_start(runner, AN_ROLE_IDGEN, 0);
    expect_words(url, "help", "\"ACTOR stats\"");
    expect_words(url, "actors\n", "{\"actor\":\"idgen/0\",\"ready\":true");
    expect_words(url, "idgen/0 stats", "{\"actor\":\"idgen/0\",\"stats\":{\"idgen\":{");
    expect_words(url, "metrics", "# TYPE anser_idgen_steps_total counter\n");
    expect_words(url, "metrics", "anser_runner_steps_total{actor=\"idgen/0\"} ");
    expect_words(url, "idgen/0 say hi", "{\"hi\":1}\n");
    expect_words(url, "idgen/0 help", "stats");
    expect_words(url, "idgen/0 sing \"la\"", "\"at\":\"sing \\\"la\\\"\"");
    expect_words(url, "idgen/0", "words are missing");
    expect_words(url, "idgen/1 stats", "\"error\":\"NOT_FOUND\"");
    expect_words(url, "store/0 stats", "\"error\":\"NOT_FOUND\""); /* not started */
    expect_words(url, "idgen/99999 stats", "\"error\":\"ARGUMENT\"");
    expect_words(url, "nonsense", "\"at\":\"nonsense\"");
    an_runner_destroy(runner);
}

static void
test_runner_events_reach_a_listener(void **unused)
{
    struct an_runner *runner;
    nng_socket socket;
    char url[128];
    nng_msg *msg;

    (void)unused;
    snprintf(url, sizeof(url), "ipc://%s/events", toys_dir);
    runner = toys_runner_cfg((struct an_runner_cfg){.events = url});
    toys_add(runner, AN_ROLE_IDGEN, 0, talk);
    toys_start(runner, AN_ROLE_IDGEN, 0);
    assert_int_equal(nng_sub0_open(&socket), 0);
    assert_int_equal(nng_socket_set(socket, NNG_OPT_SUB_SUBSCRIBE, "message.", 8), 0);
    assert_int_equal(nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, TOY_WAIT_S * 1000), 0);
    assert_int_equal(nng_dial(socket, url, NULL, 0), 0);
    assert_int_equal(nng_recvmsg(socket, &msg, 0), 0);
    assert_int_equal(nng_msg_len(msg),
                     strlen("message.commit {\"trace\":\"0000000000000007\"}\n"));
    assert_memory_equal(nng_msg_body(msg),
                        "message.commit {\"trace\":\"0000000000000007\"}\n",
                        nng_msg_len(msg));
    nng_msg_free(msg);
    /* The publisher first: NNG 1.5.2 never ends the close of an ipc connection on which
     * a message's length was just read and its body was not. */
    an_runner_destroy(runner);
    nng_close(socket);
}

static void
test_runner_address_taken_is_an_error(void **unused)
{
    struct an_runner *one = toys_runner(), *other = toys_runner();
    char why[256] = "";

    (void)unused;
    toys_add(one, AN_ROLE_IDGEN, 0, toy_serve);
    assert_int_equal(an_runner_add(other, toy_create(AN_ROLE_IDGEN, toy_serve), 0, NULL,
                                   why, sizeof(why)),
                     AN_ERR_CONNECTION);
    assert_non_null(strstr(why, "idgen-0"));
    an_runner_destroy(other);
    an_runner_destroy(one);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, toys_setup, toys_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_runner_timers_fire_in_order_not_early),
        TEST(test_runner_jobs_run_elsewhere_and_come_back),
        TEST(test_runner_destroyed_with_jobs_underway_brings_them_home),
        TEST(test_runner_stop_waits_for_the_actor),
        TEST(test_runner_failed_actor_is_reported),
        TEST(test_runner_words_are_answered),
        TEST(test_runner_events_reach_a_listener),
        TEST(test_runner_address_taken_is_an_error),
    };
    int failures;

    toys_bus = AN_BUS_INPROC;
    failures = cmocka_run_group_tests_name("inproc", tests, NULL, NULL);
    toys_bus = AN_BUS_IPC;
    failures += cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
    nng_fini(); /* NNG frees what was closed in the background: wait for it */
    return failures;
}
