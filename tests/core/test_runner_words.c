/* Can any actor of a cluster be asked for words, from its own host and from another, and
 * does it remember where messages were seen? */
#include "core/control.h"
#include "proto/bus.pb-c.h"
#include "tests/core/stage.h"
#include "tests/core/toys.h"
#include <assert.h>
#include <nng/nng.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct an_addr sequencer = {AN_ROLE_SEQUENCER, 0};
static const struct an_addr store = {AN_ROLE_STORE, 0};

/* What one runner and one command see: the runner is host b's. */
static struct stage plan, there, here;

static struct an_runner *
stage_runner(struct an_runner_cfg cfg, enum an_role role)
{
    stage_init(&plan, 2);
    stage_put(&plan, role, 0, 1, 1);
    stage_copy(&there, &plan, "b");
    stage_copy(&here, &plan, "a");
    cfg.places = &there.places;
    cfg.process = 1;
    return toys_runner_cfg(cfg);
}

static enum an_err
ask_from(uint16_t host, struct an_addr addr, const char *words, char **text, char *why,
         size_t why_len)
{
    struct an_control_from from = {
        .cluster = toys_cluster(),
        .topology = &toys_topology,
        .places = host == 1 ? &there.places : &here.places,
        .run_dir = toys_dir,
        .host = host,
    };

    return an_control_ask_actor(text, &from, addr, words, TOY_WAIT_S * 1000, why,
                                why_len);
}

static void
expect_from(uint16_t host, struct an_addr addr, const char *words, const char *part)
{
    char *text = NULL, why[256] = "";
    enum an_err err = ask_from(host, addr, words, &text, why, sizeof(why));

    if (err != AN_OK) {
        fail_msg("'%s': %s: %s", words, an_err_name(err), why);
    }
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' answered: %s", words, text);
    }
    free(text);
}

static void
expect_refused(uint16_t host, const char *words, enum an_err err)
{
    char *text = NULL, why[256] = "";

    assert_int_equal(ask_from(host, store, words, &text, why, sizeof(why)), err);
}

static void
talk(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Inspect *inspect = (const Anser__Bus__Inspect *)msg->body;
    Anser__Bus__Inspected inspected = ANSER__BUS__INSPECTED__INIT;
    char json[] = "{\"hi\":1}";

    (void)toy;
    (void)now;
    if (msg->kind != AN_KIND_INSPECT) {
        return;
    }
    if (inspect->words.len != 6 || memcmp(inspect->words.data, "say hi", 6) != 0) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    inspected.json = (ProtobufCBinaryData){strlen(json), (uint8_t *)json};
    an_out_answer(out, msg, AN_OK, &inspected.base);
}

static void
test_words_reach_any_actor_from_any_host(void **unused)
{
    struct an_runner *runner = stage_runner((struct an_runner_cfg){0}, AN_ROLE_STORE);
    char long_words[1025];

    (void)unused;
    memset(long_words, 'a', 1024);
    long_words[1024] = '\0';
    toys_add(runner, AN_ROLE_STORE, 0, talk);
    toys_start(runner, AN_ROLE_STORE, 0);
    for (unsigned i = 0; i < 3; i++) {
        uint16_t host = i == 2 ? AN_HOST_NONE : (uint16_t)i; /* TLS, ipc, TLS */
        expect_from(host, store, "say hi", "{\"hi\":1}");
        expect_from(host, store, "status", "\"uptime_ms\":");
        expect_from(host, store, "stats", "\"steps_total\":");
        expect_from(host, store, "help", "\"peers\":");
        expect_from(host, store, "peers", "\"peers\":[");
        expect_refused(host, "say ho", AN_ERR_ARGUMENT);
        expect_refused(host, "trace", AN_ERR_ARGUMENT);
        expect_refused(host, "trace x", AN_ERR_ARGUMENT);
        expect_refused(host, "", AN_ERR_ARGUMENT);
        expect_refused(host, long_words, AN_ERR_ARGUMENT);
    }
    toys_topology.slot_store[7] = 3;
    expect_refused(0, "stats", AN_ERR_CLUSTER);
    an_runner_destroy(runner);
}

static void
test_words_to_nobody_name_the_address_and_why(void **unused)
{
    char *text, why[256];

    (void)unused;
    stage_init(&plan, 2);
    stage_put(&plan, AN_ROLE_STORE, 0, 1, 1);
    stage_copy(&there, &plan, "b");
    stage_copy(&here, &plan, "a");
    for (uint16_t host = 0; host < 2; host++) {
        assert_int_equal(ask_from(host, store, "stats", &text, why, sizeof(why)),
                         AN_ERR_UNAVAILABLE);
        assert_non_null(strstr(why, host == 0 ? "tls+tcp://127.0.0.1:" : "ipc://"));
        assert_non_null(strstr(why, "nobody listens there"));
    }
    snprintf(here.places.key, sizeof(here.places.key), "%s/none.key", stage_certs);
    assert_int_equal(ask_from(0, store, "stats", &text, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "none.key"));
}

/* ------------------------------------------------------------------ peers */

static void
test_words_peers_tell_who_is_connected(void **unused)
{
    struct an_runner *runner = stage_runner((struct an_runner_cfg){0}, AN_ROLE_SEQUENCER);
    struct an_runner *other;
    char *text = NULL, why[256];

    (void)unused;
    stage_log_open();
    toys_add(runner, AN_ROLE_SEQUENCER, 0, talk);
    toys_start(runner, AN_ROLE_SEQUENCER, 0);
    expect_from(1, sequencer, "peers",
                "\"connected\":false,\"asks\":0,\"reconnects\":0,\"lost_ms_ago\":null}");
    expect_from(1, sequencer, "peers", "\"url\":\"tls+tcp://127.0.0.1:");
    other = toys_runner_cfg((struct an_runner_cfg){.places = &here.places, .process = 0});
    toys_add(other, AN_ROLE_IDGEN, 0, toy_idle);
    toys_start(other, AN_ROLE_IDGEN, 0);
    do {
        free(text);
        assert_int_equal(ask_from(1, sequencer, "peers", &text, why, sizeof(why)), AN_OK);
    } while (strstr(text, "\"to\":\"idgen/0\",\"use\":\"asks\",\"url\":\"tls+tcp://") ==
                 NULL ||
             strstr(text, "\"connected\":true") == NULL);
    free(text);
    an_runner_destroy(other);
    an_runner_destroy(runner);
    stage_log_close();
}

/* ------------------------------------------------------------------ traces */

enum { MESSAGES = 100, TRACE_BASE = 0x1000 };

/* Each message: in with its trace alone, then ordered and on disk with its id. */
static void
note_hops(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    unsigned messages = msg->kind == AN_KIND_START ? MESSAGES : AN_TRACE_HOPS;

    talk(toy, msg, now, out);
    if (msg->kind != AN_KIND_START && msg->kind != AN_KIND_TIMER) {
        return;
    }
    for (unsigned i = 1; i <= messages; i++) {
        uint64_t id = 5000 + i, trace = TRACE_BASE + i;
        an_out_hop(out, AN_HOP_GATE_IN, trace, 0, 77);
        an_out_hop(out, AN_HOP_ORDER, trace, id, i);
        an_out_hop(out, AN_HOP_COMMIT, trace, id, i);
    }
    if (msg->kind == AN_KIND_START) {
        an_out_timer(out, now.mono_ms + (toy->state->on_pool ? 0 : 1000000), 1);
    } else {
        toy_note(toy->state, &toy->state->timers);
    }
}

static void
test_words_trace_by_id_and_by_trace(void **unused)
{
    struct an_runner *runner = stage_runner((struct an_runner_cfg){0}, AN_ROLE_STORE);
    char *text = NULL, why[256];
    const char *gate_in, *order, *commit;

    (void)unused;
    toys_add(runner, AN_ROLE_STORE, 0, note_hops);
    toys_start(runner, AN_ROLE_STORE, 0);
    assert_int_equal(ask_from(0, store, "trace 5042", &text, why, sizeof(why)), AN_OK);
    gate_in = strstr(text, "\"hop\":\"message.gate_in\"");
    order = strstr(text, "\"hop\":\"message.order\"");
    commit = strstr(text, "\"hop\":\"message.commit\"");
    assert_true(gate_in != NULL && gate_in < order && order < commit);
    assert_null(strstr(commit + 1, "\"hop\""));
    assert_non_null(strstr(text, "\"trace\":\"000000000000102a\",\"message_id\":\"5042\","
                                 "\"detail\":\"42\""));
    assert_non_null(strstr(text, "\"on\":true"));
    assert_non_null(strstr(text, "\"more\":false,\"since_us\":null"));
    free(text);
    expect_from(0, store, "trace 000000000000102a", "\"message_id\":\"5042\"");
    expect_from(0, store, "trace 4999", "\"notes\":[]");
    an_runner_destroy(runner);
}

static void
test_words_trace_says_what_it_no_longer_knows(void **unused)
{
    struct an_runner *runner = stage_runner((struct an_runner_cfg){0}, AN_ROLE_STORE);
    struct toy_state *toy = &toy_states[AN_ROLE_STORE];

    (void)unused;
    toy->on_pool = true; /* the timer fires at once: three rings full */
    toys_add(runner, AN_ROLE_STORE, 0, note_hops);
    toys_start(runner, AN_ROLE_STORE, 0);
    toy_await(toy, &toy->timers, 1);
    expect_from(0, store, "trace 5042", "\"notes\":[]");
    expect_from(0, store, "trace 5042", "\"since_us\":\"1"); /* a time of this century */
    expect_from(0, store, "trace 37768", "\"hop\":\"message.commit\"");
    an_runner_destroy(runner);
}

static void
test_words_trace_turned_off_keeps_nothing(void **unused)
{
    struct an_runner *runner =
        stage_runner((struct an_runner_cfg){.untraced = true}, AN_ROLE_STORE);

    (void)unused;
    toys_add(runner, AN_ROLE_STORE, 0, note_hops);
    toys_start(runner, AN_ROLE_STORE, 0);
    expect_from(0, store, "trace 5042", "\"on\":false,\"notes\":[]");
    an_runner_destroy(runner);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, toys_setup, toys_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_words_reach_any_actor_from_any_host),
        TEST(test_words_to_nobody_name_the_address_and_why),
        TEST(test_words_peers_tell_who_is_connected),
        TEST(test_words_trace_by_id_and_by_trace),
        TEST(test_words_trace_says_what_it_no_longer_knows),
        TEST(test_words_trace_turned_off_keeps_nothing),
    };
    int failures = cmocka_run_group_tests(tests, stage_certs_make, stage_certs_drop);

    nng_fini();
    return failures;
}
