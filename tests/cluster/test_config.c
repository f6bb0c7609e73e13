/* Does a configuration file say what it means, and is a wrong one refused by line and
 * key? */
#include "cluster/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config config;
static char why[512];

static int
setup(void **state)
{
    (void)state;
    why[0] = '\0';
    return config_init(&config) == AN_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    config_fini(&config);
    return 0;
}

static enum an_err
parse(const char *text)
{
    return config_parse(&config, "anser.yaml", text, strlen(text), why, sizeof(why));
}

static void
expect_refused(const char *text, const char *reason)
{
    assert_int_equal(parse(text), AN_ERR_CONFIG);
    if (strstr(why, reason) == NULL) {
        fail_msg("'%s' said: %s", text, why);
    }
}

static void
test_config_empty_keeps_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse(""), AN_OK);
    assert_int_equal(parse("# nothing\n"), AN_OK);
    assert_string_equal(config.top_listen, "tcp://127.0.0.1:7400, ws://127.0.0.1:7402");
    assert_string_equal(config.top_bus, "inproc");
    assert_int_equal(config.gate_idle_ms, AN_IDLE_MS);
    assert_int_equal(config.store_lmdb_map_bytes, AN_LMDB_MAP_BYTES);
}

static void
test_config_apps_have_login_policies(void **state)
{
    (void)state;
    assert_int_equal(parse("apps:\n- name: shop\n  login: triple\n- {name: game}\n"),
                     AN_OK);
    assert_int_equal(config.apps.count, 2);
    assert_string_equal(config.apps.app[0].name, "shop");
    assert_int_equal(config.apps.app[0].login, AN_LOGIN_TRIPLE);
    assert_int_equal(config.apps.app[1].login, AN_LOGIN_MULTI);
    assert_int_equal(config.apps.app[0].registers, AN_REGISTER_AS_API);
    assert_int_equal(
        parse("apps: [{name: a, register: closed}, {name: b, register: open}]"), AN_OK);
    assert_int_equal(config.apps.app[0].registers, AN_REGISTER_CLOSED);
    assert_int_equal(config.apps.app[1].registers, AN_REGISTER_OPEN);
    assert_ptr_equal(an_apps_find(&config.apps, "b", 1), &config.apps.app[1]);
    assert_null(an_apps_find(&config.apps, "c", 1));
    assert_string_equal(an_apps_find(&config.apps, "default", 7)->name, "default");
    expect_refused("apps:\n- {name: shop, register: no}\n",
                   "'no' is none of open|closed");
    expect_refused("apps:\n- {name: shop, login: both}\n",
                   "'both' is none of single|double|triple|multi");
    expect_refused("apps:\n- {name: a}\n- {name: a}\n", "'a' is there already");
    expect_refused("apps:\n- {login: multi}\n", "name");
    expect_refused("apps:\n- {name: a/b}\n", "'a/b' is no name");
    expect_refused("apps: shop\n", "apps");
}

static void
test_config_apps_have_keys_of_sign_on_services(void **state)
{
    (void)state;
    assert_int_equal(parse("apps:\n"
                           "- name: shop\n"
                           "  keys:\n"
                           "  - {id: a, alg: ES256, issuer: \"https://x\", file: a.pem}\n"
                           "  - {id: b, alg: RS256, file: b.pem}\n"),
                     AN_OK);
    assert_int_equal(config.key_count, 2);
    assert_string_equal(config.keys[0].app, "shop");
    assert_string_equal(config.keys[0].id, "a");
    assert_int_equal(config.keys[0].alg, AN_TOKEN_ES256);
    assert_string_equal(config.keys[0].issuer, "https://x");
    assert_string_equal(config.keys[0].file, "a.pem");
    assert_string_equal(config.keys[1].issuer, "");
    expect_refused("apps: [{name: a, keys: [{id: k, alg: HS256, file: f}]}]\n",
                   "'HS256' is none of RS256|ES256");
    expect_refused("apps: [{name: a, keys: [{id: k, alg: RS256}]}]\n", "file");
    expect_refused("apps: [{name: a, keys: [{alg: RS256, file: f}]}]\n", "id");
}

static void
test_config_named_keys_are_set_others_kept(void **state)
{
    (void)state;
    assert_int_equal(parse("listen: tcp://0.0.0.0:0\n"
                           "bus: ipc\n"
                           "trace: off\n"
                           "log: {level: debug, format: json}\n"
                           "gate:\n"
                           "  idle_ms: 60000\n"
                           "store:\n"
                           "  engine: memory\n"
                           "api: {listen: [http://a, https://b], register: closed}\n"
                           "idgen: {worker: 0}\n"),
                     AN_OK);
    assert_string_equal(config.api_listen, "http://a,https://b");
    assert_string_equal(config.api_register, "closed");
    assert_string_equal(config.top_listen, "tcp://0.0.0.0:0");
    assert_string_equal(config.top_bus, "ipc");
    assert_string_equal(config.top_trace, "off");
    assert_string_equal(config.log_level, "debug");
    assert_string_equal(config.log_format, "json");
    assert_int_equal(config.gate_idle_ms, 60000);
    assert_int_equal(config.gate_heartbeat_ms, AN_HEARTBEAT_MS);
    assert_string_equal(config.store_engine, "memory");
}

static void
test_config_unknown_key_names_line_and_key(void **state)
{
    (void)state;
    expect_refused("listen: tcp://127.0.0.1:1\nlisten_on: x\n",
                   "anser.yaml:2: listen_on");
    expect_refused("gate:\n  idle_ms: 30000\n  idle: 5\n", "anser.yaml:3: idle:");
}

static void
test_config_wrong_value_names_line_key_and_bounds(void **state)
{
    (void)state;
    expect_refused("\ngate:\n  conns_max: many\n",
                   "anser.yaml:3: gate.conns_max: 'many' is not a");
    expect_refused("store:\n  engine: lmdb\ngate:\n  conns_max: 0\n",
                   "anser.yaml:4: gate.conns_max: 0 is not in 1..1000000");
    expect_refused("bus: carrier-pigeon\n",
                   "anser.yaml:1: bus: 'carrier-pigeon' is none of inproc|ipc");
    expect_refused("log: {level: loud}\n", "anser.yaml:1: log.level: 'loud' is none of");
    expect_refused("log: 5\n", "anser.yaml:1: log: Expecting MAPPING");
    expect_refused(
        "api:\n  gates: chat.example.com\n",
        "anser.yaml:2: api.gates: 'chat.example.com' is no address of a gate, ");
    expect_refused("api:\n  web: w\n  gates: tcp://a:1, http://b:2\n",
                   "anser.yaml:3: api.gates: 'http://b:2' is no address of a gate, ");
    expect_refused("api: {origins: 'https://a.example/'}\n",
                   "anser.yaml:1: api.origins: 'https://a.example/' is no origin, ");
    expect_refused("gate:\n  origins: 'https://a, a.example'\n",
                   "anser.yaml:2: gate.origins: 'a.example' is no origin, ");
    expect_refused("gate:\n  idle_ms: 10000\n",
                   "anser.yaml:2: gate.idle_ms: less than twice heartbeat_ms");
    expect_refused("gate:\n  unlimited: localhost\n",
                   "anser.yaml:2: gate.unlimited: not addresses");
    expect_refused("idgen:\n  worker: 1024\n", "anser.yaml:2: idgen.worker: 1024");
}

static bool
takes(const char *key, const char *value)
{
    char text[512];

    snprintf(text, sizeof(text), "api: {%s: \"%s\"}\n", key, value);
    return parse(text) == AN_OK;
}

static void
test_config_addresses_that_are_told_are_judged(void **state)
{
    static const char *const gates[] = {
        "wss://chat.example.com", "wss://Chat.Example.com",
        "wss://chat.example.com/ws?x=1",
        "tcp://a:7400, tls://[::1]:7401,noise://10.0.0.1:65535"};
    static const char *const no_gates[] = {
        "tcp://",        "tcp://:7400",    "tcp://a:",           "tcp://a:0",
        "tcp://a:65536", "tcp://a:123456", "tcp://a/b",          "tcp://[::1",
        "://a:1",        "tcpp://a:1",     "tcp:/a:1",           "https://a:1",
        "wss://a b",     "tcp://[]:1",     "tcp://a:1;tls://b:2"};
    static const char *const origins[] = {"*", "https://a.example",
                                          "http://localhost:5173, capacitor://localhost",
                                          "http://[::1]:80"};
    static const char *const no_origins[] = {"a.example",
                                             "https://a.example/",
                                             "https://A.example",
                                             "https://a.example/x",
                                             "HTTPS://a.example",
                                             "https://*.example",
                                             "null",
                                             "https://a, b"};
    char url[200] = "tcp://";

    (void)state;
#define EACH(list, key, wanted)                                                          \
    for (size_t i = 0; i < sizeof(list) / sizeof((list)[0]); i++) {                      \
        if (takes(key, (list)[i]) != (wanted)) {                                         \
            fail_msg("%s: %s: %s", key, (list)[i], why);                                 \
        }                                                                                \
    }
    EACH(gates, "gates", true)
    EACH(no_gates, "gates", false)
    EACH(origins, "origins", true)
    EACH(no_origins, "origins", false)
#undef EACH
    memset(url + 6, 'a', 153); /* 159 bytes in all */
    assert_true(takes("gates", url));
    url[159] = 'a';
    assert_false(takes("gates", url)); /* it was left out, and nobody told */
}

static void
test_config_key_twice_names_the_second(void **state)
{
    (void)state;
    expect_refused("listen: a\nbus: ipc\nlisten: b\n", "anser.yaml:3: listen");
}

static void
test_config_broken_yaml_is_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("gate: [1"), AN_ERR_CONFIG);
    assert_int_equal(parse("- a list\n"), AN_ERR_CONFIG);
    assert_int_equal(parse("\tx: 1"), AN_ERR_CONFIG);
    assert_true(why[0] != '\0');
}

static void
test_config_missing_file_is_named(void **state)
{
    (void)state;
    assert_int_equal(config_load(&config, "/nonexistent/a.yaml", why, sizeof(why)),
                     AN_ERR_IO);
    assert_non_null(strstr(why, "/nonexistent/a.yaml: No such file"));
}

/* docs/configuration.md has a row for every key, with its default. */
static void
test_config_docs_name_every_key_and_default(void **state)
{
    FILE *file = fopen(AN_DOCS "/configuration.md", "re");
    static char docs[65536];
    size_t len;

    (void)state;
    assert_non_null(file);
    len = fread(docs, 1, sizeof(docs) - 1, file);
    docs[len] = '\0';
    fclose(file);
#define SECTION_DOT(section) (strcmp(#section, "top") == 0 ? "" : #section ".")
#define DOC(section, key)                                                                \
    snprintf(row, sizeof(row), "| `%s%s` | %s |", SECTION_DOT(section), #key, def);      \
    if (strstr(docs, row) == NULL) {                                                     \
        fail_msg("docs/configuration.md lacks: %s", row);                                \
    }
#define DOC_TEXT(section, key, default, help)                                            \
    {                                                                                    \
        char row[256];                                                                   \
        const char *def = "`" default "`";                                               \
        DOC(section, key)                                                                \
    }
#define DOC_CHOICE(section, key, default, choices, help)                                 \
    DOC_TEXT(section, key, default, help)
#define DOC_NUMBER(section, key, default, least, most, help)                             \
    {                                                                                    \
        char row[256], def[32];                                                          \
        snprintf(def, sizeof(def), "%llu", (unsigned long long)(default));               \
        DOC(section, key)                                                                \
    }
    AN_CONFIG(DOC_TEXT, DOC_CHOICE, DOC_NUMBER)
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_config_empty_keeps_defaults),
        TEST(test_config_apps_have_login_policies),
        TEST(test_config_apps_have_keys_of_sign_on_services),
        TEST(test_config_named_keys_are_set_others_kept),
        TEST(test_config_unknown_key_names_line_and_key),
        TEST(test_config_wrong_value_names_line_key_and_bounds),
        TEST(test_config_addresses_that_are_told_are_judged),
        TEST(test_config_key_twice_names_the_second),
        TEST(test_config_broken_yaml_is_refused),
        TEST(test_config_missing_file_is_named),
        TEST(test_config_docs_name_every_key_and_default),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
