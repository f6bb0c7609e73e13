/* Do processes of a cluster file find each other in whatever order they start, over ipc
 * and between hosts, and are impossible ones refused with a clear word? Real actors of
 * several processes, all in this one. */
#include "cluster/process.h"
#include "core/control.h"
#include "core/log.h"
#include "tests/core/stage.h"
#include "tests/core/tree.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PROCESSES = 8, READY_MS = 30000, TLS_WAIT_MS = 60000 };

static char top[64], why[1024];
static struct plan *plans[PROCESSES];
static struct process *processes[PROCESSES];
static unsigned plan_count;
static uint16_t ports[AN_ROLE_COUNT][8], hints[8];

#define HEAD                                                                             \
    "cluster: test\n"                                                                    \
    "token_key: token.json\n"                                                            \
    "run: run-%h\n"                                                                      \
    "settings: {store: {log_segment_bytes: 8388608, lmdb_map_bytes: 67108864}}\n"
#define ONE_HOST "hosts: {a: {address: 127.0.0.1}}\n"

static const char five[] =
    HEAD ONE_HOST "actors:\n"
                  "  gate/0: {host: a, listen: [\"tcp://127.0.0.1:0\"]}\n"
                  "  router/0: {host: a, slots: 0-1023, process: middle}\n"
                  "  api/0: {host: a, process: middle}\n"
                  "  sequencer/0: {host: a, slots: 0-1023}\n"
                  "  store/0: {host: a, slots: 0-511, data: s0, process: disks}\n"
                  "  store/1: {host: a, slots: 512-1023, data: s1, process: disks}\n"
                  "  idgen/0: {host: a}\n";

static const char three_hosts[] =
    HEAD "hosts:\n"
         "  a: {address: 127.0.0.1}\n"
         "  b: {address: 127.0.0.1}\n"
         "  c: {address: 127.0.0.1}\n"
         "tls: {ca: certs/ca.pem, cert: certs/%h.pem, key: certs/%h.key}\n"
         "actors:\n"
         "  gate/0: {host: a, listen: [\"tcp://127.0.0.1:0\"]}\n"
         "  api/0: {host: a}\n"
         "  router/0: {host: b, slots: 0-1023}\n"
         "  sequencer/0: {host: b, slots: 0-1023}\n"
         "  store/0: {host: c, slots: 0-1023, data: s0}\n"
         "  idgen/0: {host: c}\n";

static int
setup(void **state)
{
    char path[128];
    FILE *file;

    (void)state;
    snprintf(top, sizeof(top), "/tmp/anser-proc-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(path, sizeof(path), "%s/token.json", top);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs("{\"key\":{\"id\":\"k1\","
          "\"secret\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}}",
          file);
    fclose(file);
    snprintf(path, sizeof(path), "%s/certs", top);
    assert_int_equal(symlink(stage_certs, path), 0);
    for (unsigned role = 0; role < AN_ROLE_COUNT; role++) {
        for (unsigned i = 0; i < 8; i++) {
            ports[role][i] = stage_port();
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        hints[i] = stage_port();
    }
    an_log_setup(AN_LOG_ERROR, false);
    plan_count = 0;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < plan_count; i++) {
        assert_true(process_stop(processes[i]));
        processes[i] = NULL;
        plan_free(plans[i]);
    }
    return tree_remove(top);
}

/* Each process reads the file for itself; free ports take the place of fixed ones. */
static struct plan *
load(const char *text)
{
    struct plan *plan;

    if (plan_parse(&plan, "test.yaml", top, text, strlen(text), why, sizeof(why)) !=
        AN_OK) {
        fail_msg("%s", why);
    }
    for (unsigned i = 0; i < plan->actor_count; i++) {
        struct an_addr addr = plan->actors[i].addr;
        struct an_place *place = &plan->places.of[addr.role][addr.index];

        if (place->port != 0) {
            place->port = ports[addr.role][addr.index];
        }
        if (place->hints != 0) {
            place->hints = hints[addr.index];
        }
    }
    assert_true(plan_count < PROCESSES);
    plans[plan_count] = plan;
    processes[plan_count++] = NULL;
    return plan;
}

/* names: "store/0 idgen/0" */
static enum an_err
try_start(const char *text, const char *names)
{
    const struct plan_actor *actors[8];
    struct plan *plan = load(text);
    unsigned count = 0;
    char copy[128], *rest = NULL;

    snprintf(copy, sizeof(copy), "%s", names);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        assert_true(count < 8);
        assert_int_equal(plan_actor_parse(plan, word, &actors[count++], why, sizeof(why)),
                         AN_OK);
    }
    return process_start(&processes[plan_count - 1], plan, actors, count, why,
                         sizeof(why));
}

static struct process *
start(const char *text, const char *names)
{
    enum an_err err = try_start(text, names);

    if (err != AN_OK) {
        fail_msg("%s: %s: %s", names, an_err_name(err), why);
    }
    return processes[plan_count - 1];
}

static void
await(struct process *process, uint32_t timeout_ms)
{
    if (process_await(process, timeout_ms, why, sizeof(why)) != AN_OK) {
        fail_msg("%s: %s", process_name(process), why);
    }
}

static void
await_all(uint32_t timeout_ms)
{
    for (unsigned i = 0; i < plan_count; i++) {
        await(processes[i], timeout_ms);
    }
}

static void
expect_words(const char *process, const char *words, const char *part)
{
    char *text = NULL, url[160];
    unsigned i = 0;

    while (strcmp(plans[0]->processes[i].name, process) != 0) {
        i++;
    }
    process_control_url(plans[0], i, url, sizeof(url));
    assert_int_equal(an_control_ask(&text, url, words, 10000), AN_OK);
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' answered: %s", words, text);
    }
    free(text);
}

static void
test_process_start_in_any_order_waits_for_the_others(void **state)
{
    struct process *gate = start(five, "gate/0");

    (void)state;
    start(five, "sequencer/0");
    assert_int_equal(process_await(processes[1], 50, why, sizeof(why)), AN_ERR_TIMEOUT);
    assert_non_null(strstr(why, "sequencer/0"));
    process_unreached(processes[1], why, sizeof(why));
    assert_string_equal(why, "store/0, store/1, idgen/0");
    start(five, "router/0 api/0");
    start(five, "idgen/0");
    start(five, "store/0 store/1");
    await_all(READY_MS);
    assert_string_equal(process_name(processes[4]), "disks");
    assert_non_null(strstr(process_address(gate, 0), "tcp://127.0.0.1:"));
    assert_null(process_address(gate, 1));
    expect_words("middle", "api/0 user-add alice", "\"user\":\"alice\"");
    expect_words("middle", "api/0 user-add alice", "\"error\":\"USER_EXISTS\"");
    expect_words("disks", "actors", "\"actor\":\"store/1\"");
}

static void
test_process_between_hosts_over_tls_serves(void **state)
{
    (void)state;
    start(three_hosts, "gate/0");
    start(three_hosts, "api/0");
    start(three_hosts, "sequencer/0 router/0");
    start(three_hosts, "idgen/0");
    start(three_hosts, "store/0");
    await_all(TLS_WAIT_MS);
    expect_words("api-0", "api/0 user-add alice", "\"user\":\"alice\"");
}

/* What was written by one shape is read by another. */
static void
test_process_all_in_one_and_back_keeps_accounts(void **state)
{
    (void)state;
    start(five, "gate/0 router/0 api/0 sequencer/0 store/0 store/1 idgen/0");
    await_all(READY_MS);
    expect_words("middle", "api/0 user-add alice", "\"user\":\"alice\"");
    expect_words("idgen-0", "idgen/0 state", "reserved"); /* each name finds it */
    assert_true(process_stop(processes[0]));
    processes[0] = NULL;
    start(five, "gate/0");
    start(five, "sequencer/0 idgen/0 router/0 api/0");
    start(five, "store/0 store/1");
    for (unsigned i = 1; i < plan_count; i++) {
        await(processes[i], READY_MS);
    }
    expect_words("middle", "api/0 user-add alice", "\"error\":\"USER_EXISTS\"");
}

static void
test_process_twice_locked(void **state)
{
    (void)state;
    start(five, "idgen/0");
    assert_int_equal(try_start(five, "router/0 api/0 idgen/0"), AN_ERR_LOCKED);
    assert_non_null(strstr(why, "process idgen-0 runs already"));
    start(five, "router/0 api/0"); /* and nothing of the refused one is left */
}

static void
test_process_impossible_groups_are_refused(void **state)
{
    (void)state;
    assert_int_equal(try_start(five, "store/0"), AN_ERR_ARGUMENT);
    assert_non_null(strstr(why, "store/0 is in process disks together with store/1"));
    assert_int_equal(try_start(five, "gate/0 gate/0"), AN_ERR_ARGUMENT);
    assert_non_null(strstr(why, "twice"));
    assert_int_equal(try_start(three_hosts, "gate/0 store/0"), AN_ERR_ARGUMENT);
    assert_non_null(strstr(why, "gate/0 is of host a, store/0 of host c"));
}

static void
test_process_gate_without_its_key_is_named(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/token.json", top);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(try_start(five, "gate/0"), AN_ERR_CORRUPT);
    assert_non_null(strstr(why, "token.json"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_start(five, "gate/0"), AN_ERR_NOT_FOUND);
    assert_non_null(
        strstr(why, "token.json: there is none; `anser cluster keygen` makes it"));
}

/* Its directory is made, those above it not: the first that is missing is named. */
static void
test_process_store_without_a_parent_names_it(void **state)
{
    char text[2048];
    const char *at = strstr(five, "data: s0");

    (void)state;
    snprintf(text, sizeof(text), "%.*sdata: disk/anser/s0%s", (int)(at - five), five,
             at + strlen("data: s0"));
    assert_int_equal(try_start(text, "store/0 store/1"), AN_ERR_IO);
    snprintf(text, sizeof(text),
             "%s/disk/anser/s0: the directory %s/disk is not there; make it first", top,
             top);
    assert_string_equal(why, text);
}

/* It would be ready, and nobody would ever talk to it. */
static void
test_process_certificate_that_others_refuse_is_refused(void **state)
{
    static const char *const links[][2] = {
        {"ca.pem", "ca.pem"}, {"a.pem", "a.pem"}, {"a.key", "b.key"}};
    char path[128], target[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/certs", top);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/certs/%s", top, links[i][0]);
        snprintf(target, sizeof(target), "%s/%s", stage_certs, links[i][1]);
        assert_int_equal(symlink(target, path), 0);
    }
    assert_int_equal(try_start(three_hosts, "gate/0"), AN_ERR_CONFIG);
    assert_int_equal(strncmp(why, path, strlen(path)), 0);
    assert_non_null(strstr(why, "it is not the key of host a's certificate"));
}

/* The one whose directory is another store's says so; its neighbour is let go again. */
static void
test_process_data_of_another_store_is_refused(void **state)
{
    char from[128], to[128];

    (void)state;
    start(five, "store/0 store/1");
    assert_true(process_stop(processes[0]));
    processes[0] = NULL;
    snprintf(from, sizeof(from), "%s/s0", top);
    snprintf(to, sizeof(to), "%s/s1", top);
    assert_int_equal(tree_remove(to), 0);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(try_start(five, "store/0 store/1"), AN_ERR_CONFIG);
    snprintf(from, sizeof(from), "%s/s1 belongs to (", top);
    assert_non_null(strstr(why, from));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_process_start_in_any_order_waits_for_the_others),
        TEST(test_process_between_hosts_over_tls_serves),
        TEST(test_process_all_in_one_and_back_keeps_accounts),
        TEST(test_process_twice_locked),
        TEST(test_process_impossible_groups_are_refused),
        TEST(test_process_gate_without_its_key_is_named),
        TEST(test_process_certificate_that_others_refuse_is_refused),
        TEST(test_process_store_without_a_parent_names_it),
        TEST(test_process_data_of_another_store_is_refused),
    };

    return cmocka_run_group_tests(tests, stage_certs_make, stage_certs_drop);
}
