/* Does a cluster file say what it means, and is a wrong one refused by line and key? Each
 * way to be wrong is a row, or a case. */
#include "cluster/plan.h"
#include "cluster/plan_show.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char why[512];

static enum an_err
parse(struct plan **plan, const char *text)
{
    why[0] = '\0';
    return plan_parse(plan, "c.yaml", "/etc/anser", text, strlen(text), why, sizeof(why));
}

static void
expect_refused(const char *text, const char *reason)
{
    struct plan *plan = NULL;
    enum an_err err = parse(&plan, text);

    if (err != AN_ERR_CONFIG || strstr(why, reason) != why) {
        fail_msg("wanted: %s\nsaid (%s): %s", reason, an_err_name(err), why);
    }
}

static struct plan *
parsed(const char *text)
{
    struct plan *plan = NULL;

    if (parse(&plan, text) != AN_OK) {
        fail_msg("%s", why);
    }
    return plan;
}

/* Lines 1-9; what a case is about comes behind, or instead of one. */
#define HEAD  "cluster: demo\nhosts: {a: {address: 127.0.0.1}}\n"
#define GATE  "  gate/0: {host: a, listen: [\"tcp://127.0.0.1:0\"]}\n"
#define ROUT  "  router/0: {host: a, slots: 0-1023}\n"
#define SEQ   "  sequencer/0: {host: a, slots: 0-1023}\n"
#define STOR  "  store/0: {host: a, slots: 0-1023, data: d}\n"
#define IDG   "  idgen/0: {host: a}\n"
#define PLAIN "settings: {gate: {plain: anywhere}}\n"
#define ONE   HEAD "actors:\n" GATE ROUT SEQ STOR IDG
#define TWO_HOSTS                                                                        \
    "cluster: demo\nhosts:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.2}\n"
#define TLS "tls: {ca: ca.pem, cert: \"%h.pem\", key: \"k/%h.key\"}\n"

/* ------------------------------------------------------------------ what is meant */

static void
test_plan_one_host_has_what_the_file_says_and_defaults(void **state)
{
    struct plan *plan = parsed(ONE "settings: {gate: {idle_ms: 60000}}\n");
    char dir[PLAN_RUN_DIR_MAX];

    (void)state;
    assert_string_equal(plan->cluster, "demo");
    assert_int_equal(plan->actor_count, 5);
    assert_int_equal(plan->process_count, 5);
    assert_string_equal(plan->processes[0].name, "gate-0");
    assert_string_equal(plan->actors[0].listen[0], "tcp://127.0.0.1:0");
    assert_string_equal(plan->actors[3].data, "/etc/anser/d");
    assert_int_equal(plan->actors[3].slot_last, 1023);
    assert_string_equal(plan->token_key, "/etc/anser/keys/token.json");
    assert_string_equal(plan->app, "default");
    assert_null(plan->run_dir);
    assert_int_equal(plan->settings.gate_idle_ms, 60000);
    assert_int_equal(plan->topology.count[AN_ROLE_GATE], 1);
    assert_int_equal(plan->topology.count[AN_ROLE_API], 0);
    assert_int_equal(plan->topology.slot_standby[512], 0);
    assert_int_equal(an_place_of(&plan->places, plan->actors[0].addr)->port, 0);
    plan_run_dir(plan, 0, dir, sizeof(dir));
    assert_non_null(strstr(dir, "-demo-a"));
    assert_int_equal(plan_tls(plan, 0, why, sizeof(why)), AN_OK);
    plan_free(plan);
}

static void
test_plan_ports_are_numbered_over_all_hosts(void **state)
{
    struct plan *plan =
        parsed(TWO_HOSTS TLS "bus_port: 100\nactors:\n"
                             "  gate/1: {host: b, listen: [\"tcp://0.0.0.0:7400\"]}\n"
                             "  gate/0: {host: a, listen: [\"tcp://[::]:7400\"]}\n"
                             "  router/0: {host: a, slots: 0-99}\n"
                             "  router/1: {host: b, slots: [100-1022, 1023]}\n"
                             "  sequencer/0: {host: a, standby: sequencer/1, slots: "
                             "\"0-1,500-1023\"}\n"
                             "  sequencer/1: {host: b, slots: 2-499}\n" STOR IDG PLAIN);
    const struct an_topology *topology = &plan->topology;

    (void)state;
    assert_int_equal(plan->places.of[AN_ROLE_GATE][1].port, 100);
    assert_int_equal(plan->places.of[AN_ROLE_GATE][0].port, 101);
    assert_int_equal(plan->places.of[AN_ROLE_IDGEN][0].port, 107);
    assert_int_equal(plan->places.of[AN_ROLE_ROUTER][0].hints, 108);
    assert_int_equal(plan->places.of[AN_ROLE_ROUTER][1].hints, 110);
    assert_int_equal(plan->places.of[AN_ROLE_ROUTER][1].host, 1);
    assert_int_equal(topology->slot_router[99], 0);
    assert_int_equal(topology->slot_router[1023], 1);
    assert_int_equal(topology->slot_sequencer[1], 0);
    assert_int_equal(topology->slot_sequencer[2], 1);
    assert_int_equal(topology->slot_standby[1], 1);
    assert_int_equal(topology->slot_standby[2], 1); /* none: the owner */
    assert_int_equal(topology->slot_standby[1023], 1);
    plan_free(plan);
}

static void
test_plan_actors_that_name_one_process_share_it(void **state)
{
    struct plan *plan =
        parsed(HEAD "actors:\n  gate/0: {host: a, listen: [\"tcp://127.0.0.1:0\"], "
                    "process: front}\n  router/0: {host: a, slots: 0-1023, process: "
                    "front}\n" SEQ STOR IDG);
    const struct plan_actor *gate, *router;

    (void)state;
    assert_int_equal(plan->process_count, 4);
    assert_int_equal(plan_actor_parse(plan, "gate/0", &gate, why, sizeof(why)), AN_OK);
    assert_int_equal(plan_actor_parse(plan, "router/0", &router, why, sizeof(why)),
                     AN_OK);
    assert_int_equal(gate->process, router->process);
    assert_string_equal(plan->processes[gate->process].name, "front");
    assert_int_equal(plan_actor_parse(plan, "gate/1", &gate, why, sizeof(why)),
                     AN_ERR_NOT_FOUND);
    assert_int_equal(plan_actor_parse(plan, "gate", &gate, why, sizeof(why)),
                     AN_ERR_ARGUMENT);
    plan_free(plan);
}

static void
test_plan_files_of_the_tree_are_plans(void **state)
{
    struct plan *plan = NULL;

    (void)state;
    if (plan_load(&plan, AN_CLUSTER "/local.yaml", why, sizeof(why)) != AN_OK) {
        fail_msg("%s", why);
    }
    assert_int_equal(plan->process_count, 6);
    assert_string_equal(plan->token_key, AN_CLUSTER "/anser-data/token.json");
    plan_free(plan);
    if (plan_load(&plan, AN_CLUSTER "/three-hosts.yaml", why, sizeof(why)) != AN_OK) {
        fail_msg("%s", why);
    }
    assert_int_equal(plan->places.host_count, 3);
    assert_int_equal(plan->topology.slot_standby[0], 1);
    assert_int_equal(plan->topology.slot_standby[1023], 0);
    assert_int_equal(plan->places.of[AN_ROLE_ROUTER][1].hints + 1, 7514);
    plan_free(plan);
}

/* docs/cluster-file.md: its example is a plan, and each key has a row. */
static void
test_plan_docs_have_every_key_and_an_example(void **state)
{
    static const char *const keys[] = {"cluster",  "hosts", "actors",    "tls",
                                       "bus_port", "run",   "token_key", "app",
                                       "settings", "host",  "address",   "process",
                                       "listen",   "slots", "standby",   "data"};
    static char docs[65536];
    char row[64], *begin, *end;
    FILE *file = fopen(AN_DOCS "/cluster-file.md", "re");

    (void)state;
    assert_non_null(file);
    docs[fread(docs, 1, sizeof(docs) - 1, file)] = '\0';
    fclose(file);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        snprintf(row, sizeof(row), "\n| `%s` | ", keys[i]);
        if (strstr(docs, row) == NULL) {
            fail_msg("docs/cluster-file.md lacks a row of %s", keys[i]);
        }
    }
    begin = strstr(docs, "```yaml\n");
    assert_non_null(begin);
    begin += strlen("```yaml\n");
    end = strstr(begin, "```");
    assert_non_null(end);
    *end = '\0';
    plan_free(parsed(begin));
}

static void
test_plan_api_listens_for_http_alone(void **state)
{
    struct plan *plan =
        parsed(ONE "  api/0: {host: a, listen: [\"http://127.0.0.1:7480\"]}\n"
                   "  api/1: {host: a}\n");

    (void)state;
    assert_int_equal(plan->actors[5].listen_count, 1);
    assert_string_equal(plan->actors[5].listen[0], "http://127.0.0.1:7480");
    assert_int_equal(plan->actors[6].listen_count, 0);
    plan_free(plan);
    expect_refused(ONE "  api/0: {host: a, listen: [\"tcp://127.0.0.1:1\"]}\n",
                   "c.yaml:9: api/0.listen: 'tcp://127.0.0.1:1' is not http:// or https");
    expect_refused(ONE "  api/0: {host: a, listen: [\"http://0.0.0.0:80\"]}\n",
                   "c.yaml:9: api/0.listen: http://0.0.0.0:80: others could read");
    expect_refused(ONE "  api/0: {host: a, listen: [\"https://0.0.0.0:80\"]}\n",
                   "c.yaml:9: api/0.listen: https://0.0.0.0:80: TLS needs gate.tls_cert");
    expect_refused(ONE "  api/0: {host: a, listen: [\"http://127.0.0.1:80\"]}\n"
                       "  api/1: {host: a, listen: [\"http://127.0.0.1:80\"]}\n",
                   "c.yaml:10: api/1.listen: api/0 listens on port 80 of host a");
    expect_refused(HEAD "actors:\n" ROUT SEQ STOR IDG
                        "  gate/0: {host: a, listen: [\"http://127.0.0.1:1\"]}\n",
                   "c.yaml:8: gate/0.listen: 'http://127.0.0.1:1' is not tcp://");
    expect_refused(ONE "settings:\n  api:\n    listen: http://127.0.0.1:80\n",
                   "c.yaml:11: api.listen: each api of the file says it for itself");
}

/* Where clients are told to go: what a host listens on for all is the host's address. */
static void
test_plan_client_urls_are_ones_to_dial(void **state)
{
    const struct an_host v4 = {.address = "10.0.0.1"}, v6 = {.address = "2001:db8::1"};
    static const struct {
        bool v6;
        const char *listen, *url;
    } cases[] = {{false, "tcp://0.0.0.0:7400", "tcp://10.0.0.1:7400"},
                 {false, "wss://[::]:7403", "wss://10.0.0.1:7403"},
                 {true, "ws://[::]:7402", "ws://[2001:db8::1]:7402"},
                 {false, "tls://192.0.2.7:7401", "tls://192.0.2.7:7401"},
                 {false, "tcp://127.0.0.1:0", NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *url = plan_client_url(cases[i].v6 ? &v6 : &v4, cases[i].listen);

        if (cases[i].url == NULL) {
            assert_null(url);
        } else {
            assert_string_equal(url, cases[i].url);
        }
        free(url);
    }
}

static void
test_plan_missing_file_is_named(void **state)
{
    struct plan *plan;

    (void)state;
    assert_int_equal(plan_load(&plan, "/nonexistent/c.yaml", why, sizeof(why)),
                     AN_ERR_IO);
    assert_non_null(strstr(why, "/nonexistent/c.yaml: No such file"));
}

static char *
shown(const struct plan *plan, enum an_err show(const struct plan *, FILE *))
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    assert_int_equal(show(plan, out), AN_OK);
    fclose(out);
    return text;
}

static void
test_plan_show_says_who_is_where(void **state)
{
    static const char *const lines[] = {
        "cluster demo: 2 hosts, 7 processes, 7 actors\n",
        "\nhost b, address 10.0.0.2, sockets in /run/x\n",
        "  gate-0         gate/0         7506   clients tcp://0.0.0.0:1\n",
        "  router-0       router/0       7500   slots 0-1023, hints for gates 7507",
        "  sequencer-0    sequencer/0    7501   slots 0-6,8-1023, standby sequencer/1\n",
        "  sequencer-1    sequencer/1    7502   slots 7, no standby\n",
        "  p              store/0        7503   slots 0-1023, data /etc/anser/d\n"};
    struct plan *plan = parsed(
        TWO_HOSTS TLS "run: /run/x\nactors:\n" ROUT
                      "  sequencer/0: {host: a, slots: [0-6, 8-1023], standby: "
                      "sequencer/1}\n  sequencer/1: {host: b, slots: 7}\n"
                      "  store/0: {host: a, slots: 0-1023, data: d, process: p}\n" IDG
                      "  api/0: {host: b}\n"
                      "  gate/0: {host: b, listen: [\"tcp://0.0.0.0:1\"]}\n" PLAIN);
    char *text = shown(plan, plan_show);

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(text, lines[i]) == NULL) {
            fail_msg("no '%s' in:\n%s", lines[i], text);
        }
    }
    free(text);
    text = shown(plan, plan_show_json);
    assert_non_null(strstr(text,
                           "{\"actor\":\"sequencer/0\",\"host\":\"a\",\"process\":"
                           "\"sequencer-0\",\"bus\":\"tls+tcp://10.0.0.1:7501\","
                           "\"slots\":\"0-6,8-1023\",\"standby\":\"sequencer/1\"}"));
    assert_non_null(strstr(text, "\"listen\":[\"tcp://0.0.0.0:1\"]"));
    assert_non_null(strstr(text, "\"hints\":[\"tls+tcp://10.0.0.1:7507\"]"));
    free(text);
    plan_free(plan);
}

/* ------------------------------------------------------------------ what is refused */

static void
test_plan_keys_missing_unknown_and_repeated(void **state)
{
    (void)state;
    expect_refused("", "c.yaml:1: empty");
    expect_refused("- a\n", "c.yaml:1: Expecting MAPPING");
    expect_refused("hosts: {}\n", "c.yaml:1: cluster: missing");
    expect_refused("cluster: demo\n", "c.yaml:1: hosts: missing");
    expect_refused(HEAD, "c.yaml:1: actors: missing");
    expect_refused(ONE "colour: red\n", "c.yaml:9: colour: not a key here");
    expect_refused(ONE "cluster: x\n", "c.yaml:9: cluster: already seen in line 1");
    expect_refused("cluster: demo\nhosts: {a: {addr: x}}\n",
                   "c.yaml:2: addr: not a key of a");
    expect_refused("cluster: demo\nhosts: {a: {}}\n", "c.yaml:2: a.address: missing");
    expect_refused(
        HEAD "actors:\n  gate/0: {host: a, data: d}\n",
        "c.yaml:4: data: not a key of gate/0; there are: host, process, liste");
    expect_refused(HEAD "actors:\n" GATE GATE,
                   "c.yaml:5: gate/0: already seen in line 4");
    expect_refused(ONE TLS "settings: {gate: {idle: 5}}\n",
                   "c.yaml:10: idle: not a key of gate");
    expect_refused(ONE "settings:\n  listen: x\n",
                   "c.yaml:10: listen: not a key of sett");
    expect_refused(ONE "settings: {gate: {sends_max: 0}}\n",
                   "c.yaml:9: gate.sends_max: 0 is not in 1..65536");
    expect_refused(HEAD "actors: {\"gate/0\\0x\": 1}\n",
                   "c.yaml:3: a key is a text, not empty");
    expect_refused(ONE "\"x\\ny\": 1\n", "c.yaml:9: x\\ny: not a key here");
    expect_refused(ONE "---\na: 1\n", "c.yaml:10: a second document");
}

static void
test_plan_names_that_do_not_do(void **state)
{
    (void)state;
    expect_refused("cluster: a b\n", "c.yaml:1: cluster: 'a b': a name has letters");
    expect_refused("cluster: ../x\n", "c.yaml:1: cluster: '../x': a name has letters");
    expect_refused("cluster: n123456789012345678901234567890123\n",
                   "c.yaml:1: cluster: 'n123456789012345678901234567890123' is longer");
    expect_refused("cluster: d\nhosts:\n  -a: {address: 1.2.3.4}\n",
                   "c.yaml:3: hosts.-a: '-a': a name has letters");
    expect_refused("cluster: d\nhosts: {a: {address: \"[::1]:5\"}}\n",
                   "c.yaml:2: a.address: '[::1]:5' is no address");
    expect_refused("cluster: d\nhosts:\n  a: {address: 1.2.3.4}\n  b:\n    address:\n",
                   "c.yaml:5: b.address: empty");
    expect_refused("cluster: d\nhosts: {a: {address: 0.0.0.0}}\n",
                   "c.yaml:2: a.address: other hosts cannot reach 0.0.0.0");
    expect_refused(HEAD "actors:\n  clerk/0: {host: a}\n",
                   "c.yaml:4: clerk/0: no actor: gate/0");
    expect_refused(HEAD "actors:\n  gate/00: {host: a}\n", "c.yaml:4: gate/00: no actor");
    expect_refused(HEAD "actors:\n  idgen/0: {host: a, process: a/b}\n",
                   "c.yaml:4: idgen/0.process: 'a/b': a name has letters");
    expect_refused(HEAD "actors:\n  idgen/0: {host: a, process: up}\n",
                   "c.yaml:4: idgen/0.process: 'up' is taken");
    expect_refused(ONE "app: \"a/b\"\n", "c.yaml:9: app: 'a/b' is no name of an app");
}

static void
test_plan_slots_uncovered_twice_or_no_slots(void **state)
{
    (void)state;
    expect_refused(HEAD "actors:\n" GATE ROUT SEQ IDG
                        "  store/0: {host: a, slots: 0-511, data: d}\n",
                   "c.yaml:3: actors: no store has slots 512-1023");
    expect_refused(HEAD "actors:\n" GATE SEQ STOR IDG
                        "  router/0: {host: a, slots: [0-6, 8-1023]}\n",
                   "c.yaml:3: actors: no router has slot 7");
    expect_refused(HEAD "actors:\n" GATE ROUT STOR IDG
                        "  sequencer/0: {host: a, slots: 0-512}\n"
                        "  sequencer/1: {host: a, slots: 512-1023}\n",
                   "c.yaml:9: sequencer/1.slots: slot 512 is sequencer/0's already");
    expect_refused(HEAD "actors:\n  router/0: {host: a}\n",
                   "c.yaml:4: router/0.slots: missing");
    expect_refused(HEAD "actors:\n  router/0: {host: a, slots: []}\n",
                   "c.yaml:4: router/0.slots: at least one slot");
    expect_refused(HEAD "actors:\n  router/0: {host: a, slots: [0-6, 512-1024]}\n",
                   "c.yaml:4: router/0.slots: '512-1024': slot 1023 is the last");
    expect_refused(HEAD "actors:\n  router/0: {host: a, slots: \"7,1023-512\"}\n",
                   "c.yaml:4: router/0.slots: '1023-512' ends before it begins");
    expect_refused(HEAD "actors:\n  router/0: {host: a, slots: all}\n",
                   "c.yaml:4: router/0.slots: 'all' is no range: write slots as "
                   "0-99,200-300, within 0-1023");
    expect_refused(HEAD "actors:\n  router/0: {host: a, slots: 0-9999999}\n",
                   "c.yaml:4: router/0.slots: '0-9999999' is no range: write");
    expect_refused(HEAD "actors:\n  store/0: {host: a, data: d, slots: [0-1, 3-1023]}\n",
                   "c.yaml:4: store/0.slots: a store has one range");
}

static void
test_plan_actors_missing_or_with_gaps(void **state)
{
    (void)state;
    expect_refused(HEAD "actors: {}\n", "c.yaml:3: actors: 0 actors");
    expect_refused(HEAD "actors:\n" ROUT SEQ STOR IDG, "c.yaml:3: actors: no gate/0");
    expect_refused(HEAD "actors:\n" GATE ROUT SEQ STOR, "c.yaml:3: actors: no idgen/0");
    expect_refused(HEAD "actors:\n" GATE ROUT SEQ STOR IDG
                        "  gate/2: {host: a, listen: [\"tcp://127.0.0.1:0\"]}\n",
                   "c.yaml:9: gate/2: there is no gate/1");
    expect_refused(HEAD "actors:\n  idgen/0: {host: z}\n",
                   "c.yaml:4: idgen/0.host: no host 'z' under hosts");
    expect_refused(HEAD "actors:\n  idgen/0: {}\n", "c.yaml:4: idgen/0.host: missing");
    expect_refused("cluster: d\nhosts: {}\n", "c.yaml:2: hosts: 0 hosts");
}

static void
test_plan_standby_is_another_sequencer(void **state)
{
#define WITH_STANDBY(who)                                                                \
    HEAD "actors:\n" GATE ROUT STOR IDG                                                  \
         "  sequencer/0:\n    host: a\n    slots: 0-1023\n    standby: " who "\n"
    (void)state;
    expect_refused(WITH_STANDBY("sequencer/0"),
                   "c.yaml:11: sequencer/0.standby: a sequencer is not its own standby");
    expect_refused(WITH_STANDBY("store/0"),
                   "c.yaml:11: sequencer/0.standby: 'store/0' is no sequencer");
    expect_refused(WITH_STANDBY("sequencer/1"),
                   "c.yaml:11: sequencer/0.standby: 'sequencer/1' is no sequencer");
}

static void
test_plan_gates_and_stores_have_what_they_need(void **state)
{
    (void)state;
    expect_refused(HEAD "actors:\n  gate/0: {host: a}\n",
                   "c.yaml:4: gate/0.listen: missing");
    expect_refused(HEAD "actors:\n  gate/0: {host: a, listen: []}\n",
                   "c.yaml:4: gate/0.listen: 0 addresses");
    expect_refused(HEAD "actors:\n  gate/0:\n    host: a\n    listen: [a.example:1]\n",
                   "c.yaml:6: gate/0.listen: 'a.example:1' is not tcp://, tls://, "
                   "noise://, ws:// or wss://HOST:PORT");
    expect_refused(HEAD "actors:\n  gate/0: {host: a, listen: [\"tcp://1.2.3.4:65536\"]}",
                   "c.yaml:4: gate/0.listen: 'tcp://1.2.3.4:65536' is not");
    expect_refused(HEAD "actors:\n  store/0: {host: a, slots: 0-1023}\n",
                   "c.yaml:4: store/0.data: missing");
}

static void
test_plan_two_in_one_place_are_refused(void **state)
{
    (void)state;
    expect_refused(HEAD "actors:\n" GATE ROUT SEQ IDG
                        "  store/0: {host: a, slots: 0-511, data: x/y}\n"
                        "  store/1: {host: a, slots: 512-1023, data: ./x//y/}\n",
                   "c.yaml:9: store/1.data: /etc/anser/x/y is store/0's already");
    expect_refused(HEAD "actors:\n" ROUT SEQ STOR IDG
                        "  gate/0: {host: a, listen: [\"tcp://127.0.0.1:7400\"]}\n"
                        "  gate/1: {host: a, listen: [\"tcp://0.0.0.0:7400\"]}\n",
                   "c.yaml:9: gate/1.listen: gate/0 listens on port 7400 of host a");
    expect_refused(TWO_HOSTS TLS
                   "actors:\n" ROUT SEQ STOR IDG
                   "  gate/0: {host: a, listen: [\"tcp://0.0.0.0:7503\"]}\n",
                   "c.yaml:11: gate/0.listen: port 7503 is idgen/0's on the bus");
    expect_refused(TWO_HOSTS TLS
                   "actors:\n" ROUT SEQ STOR IDG
                   "  gate/0: {host: a, listen: [\"tcp://0.0.0.0:7505\"]}\n",
                   "c.yaml:11: gate/0.listen: port 7505 is router/0's on the bus");
    expect_refused(TWO_HOSTS TLS "actors:\n" ROUT SEQ STOR
                                 "  idgen/0: {host: a, process: p}\n"
                                 "  idgen/1: {host: b, process: p}\n",
                   "c.yaml:11: idgen/1.process: process 'p' is on host a already");
}

static void
test_plan_hosts_need_certificates_and_ports(void **state)
{
    (void)state;
    expect_refused(TWO_HOSTS "actors:\n" GATE ROUT SEQ STOR IDG,
                   "c.yaml:2: hosts: 2 hosts, so there must be tls");
    expect_refused(TWO_HOSTS "tls: {ca: x}\n", "c.yaml:5: tls.cert: missing");
    expect_refused(TWO_HOSTS TLS "bus_port: 65530\nactors:\n" GATE ROUT SEQ STOR IDG
                                 "  api/0: {host: b}\n",
                   "c.yaml:6: bus_port: 7 ports from 65530 on");
    expect_refused(TWO_HOSTS TLS "bus_port: 0\n", "c.yaml:6: bus_port: 0 is not in 1..");
    expect_refused(ONE "settings: {idgen: {worker: 1023}}\nx: 1", "c.yaml:10: x: not a");
    expect_refused(HEAD "actors:\n" GATE ROUT SEQ STOR IDG "  idgen/1: {host: a}\n"
                        "settings: {idgen: {worker: 1023}}\n",
                   "c.yaml:10: idgen.worker: with 2 idgens above it");
}

static void
test_plan_run_directory_fits_socket_names(void **state)
{
    /* "/sequencer-0.control" in 107 bytes. */
    char dir[89] = "/", text[1024];

    (void)state;
    memset(dir + 1, 'r', 86);
    snprintf(text, sizeof(text), ONE "run: %s\n", dir);
    plan_free(parsed(text));
    dir[87] = 'r';
    snprintf(text, sizeof(text), ONE "run: %s\n", dir);
    expect_refused(text,
                   "c.yaml:9: run: the sockets' directory is at most 87 bytes long");
}

static void
test_plan_hosts_of_one_address_have_own_run_directories(void **state)
{
#define SHARED                                                                           \
    "cluster: d\nhosts: {a: {address: x.lan}, b: {address: 10.0.0.2}, c: {address: "     \
    "X.lan}}\n"
    (void)state;
    expect_refused(SHARED TLS "run: /run/x\nactors:\n" GATE ROUT SEQ STOR IDG,
                   "c.yaml:4: run: hosts a and c share the address X.lan");
    plan_free(parsed(SHARED TLS "run: /run/x-%h\nactors:\n" GATE ROUT SEQ STOR IDG));
    plan_free(parsed(SHARED TLS "actors:\n" GATE ROUT SEQ STOR IDG));
}

/* ------------------------------------------------------------------ this machine */

static void
test_plan_host_is_named_only_one_or_by_address(void **state)
{
    struct plan *plan = parsed(ONE);
    uint16_t host = 9;

    (void)state;
    assert_int_equal(plan_host(plan, NULL, &host, why, sizeof(why)), AN_OK);
    assert_int_equal(host, 0);
    assert_int_equal(plan_host(plan, "b", &host, why, sizeof(why)), AN_ERR_CONFIG);
    assert_string_equal(why, "the file has no host 'b'");
    plan_free(plan);
    plan = parsed("cluster: d\nhosts:\n  b: {address: 192.0.2.1}\n"
                  "  a: {address: 127.0.0.1}\n" TLS "actors:\n" GATE ROUT SEQ STOR IDG);
    assert_int_equal(plan_host(plan, NULL, &host, why, sizeof(why)), AN_OK);
    assert_int_equal(host, 1);
    assert_int_equal(plan_host(plan, "b", &host, why, sizeof(why)), AN_OK);
    assert_int_equal(host, 0);
    plan_free(plan);
    plan = parsed("cluster: d\nhosts:\n  a: {address: 127.0.0.1}\n"
                  "  b: {address: localhost}\n" TLS "actors:\n" GATE ROUT SEQ STOR IDG);
    assert_int_equal(plan_host(plan, NULL, &host, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "hosts a and b both have an address of this machine"));
    plan_free(plan);
}

static void
test_plan_certificates_are_seen_before_they_are_used(void **state)
{
    char dir[] = "/tmp/plan-test-XXXXXX", path[64];
    static const char text[] = TWO_HOSTS TLS "actors:\n" GATE ROUT SEQ STOR IDG;
    static const char *const names[] = {"ca.pem", "b.pem", "k/b.key"};
    struct plan *plan;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(plan_parse(&plan, "c.yaml", dir, text, strlen(text), why, 512),
                     AN_OK);
    snprintf(path, sizeof(path), "%s/k", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < 3; i++) {
        FILE *file;

        assert_int_equal(plan_tls(plan, 1, why, sizeof(why)), AN_ERR_CONFIG);
        snprintf(path, sizeof(path), "%s/%s: No such file", dir, names[i]);
        assert_non_null(strstr(why, path));
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        file = fopen(path, "we");
        assert_non_null(file);
        fclose(file);
    }
    assert_int_equal(plan_tls(plan, 1, why, sizeof(why)), AN_OK);
    assert_string_equal(plan->places.key, path);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/k", dir);
    rmdir(path);
    rmdir(dir);
    plan_free(plan);
}

static void
test_plan_run_directory_must_be_ours_alone(void **state)
{
    char dir[] = "/tmp/plan-test-XXXXXX", text[1024], run[PLAN_RUN_DIR_MAX];
    struct plan *plan;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(text, sizeof(text), ONE "run: %s/%%h-run\n", dir);
    plan = parsed(text);
    assert_int_equal(plan_run_dir_make(plan, 0, run, sizeof(run), why, 512), AN_OK);
    assert_int_equal(plan_run_dir_make(plan, 0, run, sizeof(run), why, 512), AN_OK);
    assert_non_null(strstr(run, "/a-run"));
    assert_int_equal(chmod(run, 0750), 0);
    assert_int_equal(plan_run_dir_make(plan, 0, run, sizeof(run), why, 512),
                     AN_ERR_FORBIDDEN);
    assert_non_null(strstr(why, "open to other users"));
    assert_int_equal(rmdir(run), 0);
    assert_int_equal(symlink(dir, run), 0);
    assert_int_equal(plan_run_dir_make(plan, 0, run, sizeof(run), why, 512),
                     AN_ERR_FORBIDDEN);
    assert_non_null(strstr(why, "not a directory"));
    unlink(run);
    rmdir(dir);
    assert_int_equal(plan_run_dir_make(plan, 0, run, sizeof(run), why, 512), AN_ERR_IO);
    plan_free(plan);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_one_host_has_what_the_file_says_and_defaults),
        cmocka_unit_test(test_plan_ports_are_numbered_over_all_hosts),
        cmocka_unit_test(test_plan_actors_that_name_one_process_share_it),
        cmocka_unit_test(test_plan_files_of_the_tree_are_plans),
        cmocka_unit_test(test_plan_docs_have_every_key_and_an_example),
        cmocka_unit_test(test_plan_missing_file_is_named),
        cmocka_unit_test(test_plan_show_says_who_is_where),
        cmocka_unit_test(test_plan_keys_missing_unknown_and_repeated),
        cmocka_unit_test(test_plan_names_that_do_not_do),
        cmocka_unit_test(test_plan_slots_uncovered_twice_or_no_slots),
        cmocka_unit_test(test_plan_actors_missing_or_with_gaps),
        cmocka_unit_test(test_plan_standby_is_another_sequencer),
        cmocka_unit_test(test_plan_gates_and_stores_have_what_they_need),
        cmocka_unit_test(test_plan_two_in_one_place_are_refused),
        cmocka_unit_test(test_plan_hosts_need_certificates_and_ports),
        cmocka_unit_test(test_plan_run_directory_fits_socket_names),
        cmocka_unit_test(test_plan_hosts_of_one_address_have_own_run_directories),
        cmocka_unit_test(test_plan_host_is_named_only_one_or_by_address),
        cmocka_unit_test(test_plan_certificates_are_seen_before_they_are_used),
        cmocka_unit_test(test_plan_run_directory_must_be_ours_alone),
        cmocka_unit_test(test_plan_api_listens_for_http_alone),
        cmocka_unit_test(test_plan_client_urls_are_ones_to_dial),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
