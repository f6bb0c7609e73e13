/* Are the keys that keygen makes ones that NNG's TLS takes, and nobody else's; is what is
 * there kept? */
#include "cluster/keygen.h"
#include "cluster/node_file.h"
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_ROOM = 256, WAIT_MS = 10000 };

static char dir[PATH_ROOM], why[1024], said[4096];
static struct plan *plan;

static void
hear(void *ctx, const char *line)
{
    size_t len = strlen(said);

    (void)ctx;
    snprintf(said + len, sizeof(said) - len, "%s\n", line);
}

static struct plan *
load(const char *tls)
{
    struct plan *loaded = NULL;
    char text[1024];

    snprintf(text, sizeof(text),
             "cluster: demo\nhosts:\n  a: {address: 127.0.0.1}\n  b-2: {address: "
             "127.0.0.1}\ntls: %s\nactors:\n"
             "  gate/0: {host: a, listen: [\"tcp://127.0.0.1:0\"]}\n"
             "  router/0: {host: a, slots: 0-1023}\n"
             "  sequencer/0: {host: b-2, slots: 0-1023}\n"
             "  store/0: {host: b-2, slots: 0-1023, data: d}\n"
             "  idgen/0: {host: a}\n",
             tls);
    if (plan_parse(&loaded, "c.yaml", dir, text, strlen(text), why, sizeof(why)) !=
        AN_OK) {
        fail_msg("%s", why);
    }
    return loaded;
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/keygen-test-XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    plan = load("{ca: keys/ca.pem, cert: \"keys/%h.pem\", key: \"keys/%h.key\"}");
    return 0;
}

static int
teardown(void **state)
{
    static const char *const folders[] = {"keys", "out", "k"};
    static const char *const names[] = {"ca.pem",  "ca.key",  "a.pem",     "a.key",
                                        "b-2.pem", "b-2.key", "token.json"};
    char path[PATH_ROOM * 2];

    (void)state;
    plan_free(plan);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
            snprintf(path, sizeof(path), "%s/%s/%s", dir, folders[i], names[j]);
            unlink(path);
        }
        snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
        rmdir(path);
    }
    return rmdir(dir);
}

static enum an_err
make(const char *out, bool renew, const char *host)
{
    const struct keygen_cfg cfg = {
        .plan = plan, .out = out, .renew = renew, .host = host, .say = hear};

    said[0] = why[0] = '\0';
    return keygen(&cfg, why, sizeof(why));
}

static void
must_make(const char *out, bool renew, const char *host)
{
    if (make(out, renew, host) != AN_OK) {
        fail_msg("%s", why);
    }
}

/* folder: below dir; text from malloc(). */
static char *
content(const char *folder, const char *name)
{
    char path[PATH_ROOM * 2], *text = calloc(1, 8192);
    FILE *file;

    assert_non_null(text);
    snprintf(path, sizeof(path), "%s/%s/%s", dir, folder, name);
    file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(text, 1, 8191, file) > 0);
    fclose(file);
    return text;
}

static bool
differs(const char *folder, const char *name, const char *from)
{
    char *text = content(folder, name);
    bool other = strcmp(text, from) != 0;

    free(text);
    return other;
}

/* ------------------------------------------------------------------ handshakes */

static nng_tls_config *
config(nng_tls_mode mode, const char *ca, const char *folder, const char *name)
{
    char file[64], *ca_text = content(ca, "ca.pem"), *cert, *key;
    nng_tls_config *made;

    snprintf(file, sizeof(file), "%s.pem", name);
    cert = content(folder, file);
    snprintf(file, sizeof(file), "%s.key", name);
    key = content(folder, file);
    assert_int_equal(nng_tls_config_alloc(&made, mode), 0);
    assert_int_equal(nng_tls_config_auth_mode(made, NNG_TLS_AUTH_MODE_REQUIRED), 0);
    assert_int_equal(nng_tls_config_ca_chain(made, ca_text, NULL), 0);
    assert_int_equal(nng_tls_config_own_cert(made, cert, key, NULL), 0);
    free(ca_text);
    free(cert);
    free(key);
    return made;
}

/* Does a dialer that shows this certificate, and wants to see this name, get an answer of
 * host a? */
static int
dial(nng_tls_config *client, const char *name)
{
    nng_tls_config *server = config(NNG_TLS_MODE_SERVER, "keys", "keys", "a");
    nng_socket rep, req;
    nng_listener listener;
    nng_dialer dialer;
    char url[64], got[8], ping[] = "ping", pong[] = "pong";
    size_t len = sizeof(got);
    int port, rv;

    assert_int_equal(nng_tls_config_server_name(client, name), 0);
    assert_int_equal(nng_rep0_open(&rep), 0);
    assert_int_equal(nng_req0_open(&req), 0);
    nng_socket_set_ms(rep, NNG_OPT_RECVTIMEO, WAIT_MS);
    nng_socket_set_ms(req, NNG_OPT_RECVTIMEO, WAIT_MS);
    assert_int_equal(nng_listener_create(&listener, rep, "tls+tcp://127.0.0.1:0"), 0);
    assert_int_equal(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, server), 0);
    assert_int_equal(nng_listener_start(listener, 0), 0);
    assert_int_equal(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    snprintf(url, sizeof(url), "tls+tcp://127.0.0.1:%d", port);
    assert_int_equal(nng_dialer_create(&dialer, req, url), 0);
    assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, client), 0);
    rv = nng_dialer_start(dialer, 0);
    if (rv == 0) {
        assert_int_equal(nng_send(req, ping, 4, 0), 0);
        assert_int_equal(nng_recv(rep, got, &len, 0), 0);
        assert_int_equal(nng_send(rep, pong, 4, 0), 0);
        len = sizeof(got);
        assert_int_equal(nng_recv(req, got, &len, 0), 0);
        assert_memory_equal(got, "pong", 4);
    }
    nng_close(req);
    nng_close(rep);
    nng_tls_config_free(server);
    nng_tls_config_free(client);
    return rv;
}

static void
test_keygen_hosts_reach_each_other_strangers_nobody(void **state)
{
    char out[PATH_ROOM + 8];

    (void)state;
    must_make(NULL, false, NULL);
    snprintf(out, sizeof(out), "%s/out", dir);
    must_make(out, false, NULL); /* another cluster of the same names */
    assert_int_equal(dial(config(NNG_TLS_MODE_CLIENT, "keys", "keys", "b-2"), "a"), 0);
    assert_int_equal(dial(config(NNG_TLS_MODE_CLIENT, "keys", "keys", "a"), "a"), 0);
    /* Who dials b-2 and finds a; who has another CA's certificate; who trusts another CA.
     */
    assert_int_not_equal(dial(config(NNG_TLS_MODE_CLIENT, "keys", "keys", "b-2"), "b-2"),
                         0);
    assert_int_not_equal(dial(config(NNG_TLS_MODE_CLIENT, "keys", "out", "b-2"), "a"), 0);
    assert_int_not_equal(dial(config(NNG_TLS_MODE_CLIENT, "out", "keys", "b-2"), "a"), 0);
}

/* ------------------------------------------------------------------ Noise */

/* One for all gates, made once; or one for each host. */
static void
test_keygen_noise_key_is_made_once_and_printed(void **state)
{
    static const char tls[] = "{ca: keys/ca.pem, cert: \"keys/%h.pem\", key: "
                              "\"keys/%h.key\"}\nsettings: {gate: {noise_key: ";
    struct plan *plain = plan;
    char text[512], path[PATH_ROOM * 2], public[AN_NOISE_TEXT_MAX];
    struct an_noise_key key, again;
    struct stat st;

    (void)state;
    snprintf(text, sizeof(text), "%skeys/noise.json}}", tls);
    plan = load(text);
    must_make(NULL, false, NULL);
    snprintf(path, sizeof(path), "%s/keys/noise.json", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(node_noise_read(&key, path, why, sizeof(why)), AN_OK);
    an_noise_key_print(key.public, public);
    assert_non_null(strstr(said, public));
    must_make(NULL, true, NULL); /* certificates anew: what clients pin stays */
    assert_int_equal(node_noise_read(&again, path, why, sizeof(why)), AN_OK);
    assert_memory_equal(&key, &again, sizeof(key));
    assert_int_equal(unlink(path), 0);
    plan_free(plan);
    snprintf(text, sizeof(text), "%s\"keys/%%h-noise.json\"}}", tls);
    plan = load(text);
    must_make(NULL, false, "b-2");
    snprintf(path, sizeof(path), "%s/keys/a-noise.json", dir);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof(path), "%s/keys/b-2-noise.json", dir);
    assert_int_equal(unlink(path), 0);
    plan_free(plan);
    plan = plain;
}

/* ------------------------------------------------------------------ files */

static void
test_keygen_private_files_are_private(void **state)
{
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"ca.key", 0600},     {"a.key", 0600},  {"b-2.key", 0600},
                 {"token.json", 0600}, {"ca.pem", 0644}, {"a.pem", 0644},
                 {"b-2.pem", 0644}};
    mode_t mask = umask(0);
    unsigned warnings = 0;

    (void)state;
    must_make(NULL, false, NULL);
    umask(mask);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[PATH_ROOM * 2];
        struct stat st;

        snprintf(path, sizeof(path), "%s/keys/%s", dir, files[i].name);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, files[i].mode);
        assert_int_equal(chmod(path, 0644), 0);
    }
    assert_null(strstr(said, "warning"));
    must_make(NULL, false, NULL); /* says which should not be, four times */
    for (const char *at = said; (at = strstr(at, "warning: ")) != NULL; at++) {
        warnings++;
    }
    assert_int_equal(warnings, 4);
    assert_non_null(strstr(said, "a.key is open to others (mode 644): chmod 600"));
}

static void
test_keygen_again_keeps_renew_makes_anew(void **state)
{
    struct an_token_key key;
    char *ca, *a, *b, *token, path[PATH_ROOM * 2];

    (void)state;
    must_make(NULL, false, NULL);
    assert_non_null(strstr(said, "made "));
    assert_null(strstr(said, "kept "));
    ca = content("keys", "ca.pem");
    a = content("keys", "a.key");
    b = content("keys", "b-2.key");
    token = content("keys", "token.json");
    must_make(NULL, false, NULL);
    assert_null(strstr(said, "made "));
    assert_false(differs("keys", "a.key", a));
    must_make(NULL, true, "a");
    assert_true(differs("keys", "a.key", a));
    assert_false(differs("keys", "b-2.key", b));
    must_make(NULL, true, NULL);
    assert_true(differs("keys", "b-2.key", b));
    assert_false(differs("keys", "ca.pem", ca));
    assert_false(differs("keys", "token.json", token));
    snprintf(path, sizeof(path), "%s/keys/token.json", dir);
    assert_int_equal(node_key_read(&key, path, why, sizeof(why)), AN_OK);
    free(ca);
    free(a);
    free(b);
    free(token);
}

static void
expect_refused(const char *reason)
{
    assert_int_equal(make(NULL, false, NULL), AN_ERR_CONFIG);
    if (strstr(why, reason) == NULL) {
        fail_msg("wanted: %s\nsaid: %s", reason, why);
    }
}

static void
remove_key(const char *name)
{
    char path[PATH_ROOM * 2];

    snprintf(path, sizeof(path), "%s/keys/%s", dir, name);
    assert_int_equal(unlink(path), 0);
}

static void
test_keygen_what_does_not_fit_is_refused(void **state)
{
    char from[PATH_ROOM * 2], to[PATH_ROOM * 2], out[PATH_ROOM + 8];

    (void)state;
    must_make(NULL, false, NULL);
    snprintf(out, sizeof(out), "%s/out", dir);
    must_make(out, false, NULL);
    remove_key("a.key");
    expect_refused("a.key is not: put it back, or --renew --host a");
    snprintf(from, sizeof(from), "%s/out/a.key", dir);
    snprintf(to, sizeof(to), "%s/keys/a.key", dir);
    assert_int_equal(rename(from, to), 0);
    expect_refused("a.pem: the key is another one's; --renew --host a");
    snprintf(from, sizeof(from), "%s/out/a.pem", dir);
    snprintf(to, sizeof(to), "%s/keys/a.pem", dir);
    assert_int_equal(rename(from, to), 0);
    expect_refused("a.pem: this CA did not sign it; --renew --host a");
    must_make(NULL, true, "a");
    remove_key("a.key");
    remove_key("a.pem");
    remove_key("ca.key");
    expect_refused("host a needs a certificate, and there is no ");
    assert_int_equal(make(NULL, false, "c"), AN_ERR_CONFIG);
    assert_string_equal(why, "the file has no host 'c'");
}

static void
test_keygen_a_lost_ca_certificate_is_not_made_over_its_key(void **state)
{
    (void)state;
    must_make(NULL, false, NULL);
    remove_key("ca.pem");
    expect_refused("ca.key is there but ");
}

static void
test_keygen_paths_that_are_one_file_are_refused(void **state)
{
    (void)state;
    plan_free(plan);
    plan = load("{ca: k/ca.pem, cert: k/a.pem, key: \"k/%h.key\"}");
    expect_refused("hosts a and b-2 would have one file, ");
    assert_string_equal(said, ""); /* and nothing made */
    plan_free(plan);
    plan = load("{ca: k/a.pem, cert: \"k/%h.pem\", key: \"k/x%h.key\"}");
    expect_refused("k/a.pem would be two files");
    assert_string_equal(said, "");
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_keygen_hosts_reach_each_other_strangers_nobody),
        TEST(test_keygen_noise_key_is_made_once_and_printed),
        TEST(test_keygen_private_files_are_private),
        TEST(test_keygen_again_keeps_renew_makes_anew),
        TEST(test_keygen_what_does_not_fit_is_refused),
        TEST(test_keygen_a_lost_ca_certificate_is_not_made_over_its_key),
        TEST(test_keygen_paths_that_are_one_file_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
