/* Is a host's certificate that no other host would take refused before it is shown, by
 * file and flaw; is one that soon expires warned of? */
#include "cluster/cert.h"
#include "cluster/keygen_x509.h"
#include "core/limits.h"
#include "core/log.h"
#include "tests/core/stage.h"
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[] = {"ca.pem", "a.pem", "a.key"};
static char dir[64], why[1024];
static struct plan *plan;
static struct x509_pair ca, other, a;
static time_t until;

static time_t
now_s(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    return now.tv_sec;
}

static void
path_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", dir, name);
}

static void
put(const char *name, const char *mode, const struct x509_pair *pair, bool key)
{
    char path[128], pem[X509_PEM_MAX];
    size_t len = key ? x509_key_pem(pair, pem) : x509_cert_pem(pair, pem);
    FILE *file;

    path_of(name, path);
    file = fopen(path, mode);
    assert_non_null(file);
    assert_true(len > 0 && fwrite(pem, 1, len, file) == len);
    assert_int_equal(fclose(file), 0);
}

static int
setup(void **state)
{
    static const char text[] =
        "cluster: demo\nhosts:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.2}\n"
        "tls: {ca: ca.pem, cert: \"%h.pem\", key: \"%h.key\"}\nactors:\n"
        "  gate/0: {host: a, listen: [\"tcp://127.0.0.1:0\"]}\n"
        "  router/0: {host: a, slots: 0-1023}\n"
        "  sequencer/0: {host: b, slots: 0-1023}\n"
        "  store/0: {host: b, slots: 0-1023, data: d}\n"
        "  idgen/0: {host: a}\n";

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/cert-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(
        plan_parse(&plan, "c.yaml", dir, text, strlen(text), why, sizeof(why)), AN_OK);
    assert_int_equal(x509_make_ca(&ca, "demo"), AN_OK);
    assert_int_equal(x509_make_ca(&other, "demo"), AN_OK);
    assert_int_equal(x509_make_host(&a, &ca, "demo", "a"), AN_OK);
    put("ca.pem", "we", &ca, false);
    put("a.pem", "we", &a, false);
    put("a.key", "we", &a, true);
    assert_int_equal(plan_tls(plan, 0, why, sizeof(why)), AN_OK);
    return 0;
}

static int
teardown(void **state)
{
    char path[128];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        path_of(names[i], path);
        unlink(path);
    }
    x509_fini(&ca);
    x509_fini(&other);
    x509_fini(&a);
    plan_free(plan);
    return rmdir(dir);
}

static void
expect_refused(const char *name, const char *flaw)
{
    char start[256];
    enum an_err err = cert_check(plan, 0, &until, why, sizeof(why));

    snprintf(start, sizeof(start), "%s/%s: %s", dir, name, flaw);
    if (err != AN_ERR_CONFIG || strstr(why, start) != why) {
        fail_msg("wanted: %s\nsaid (%s): %s", start, an_err_name(err), why);
    }
}

static void
expect_taken(int days)
{
    if (cert_check(plan, 0, &until, why, sizeof(why)) != AN_OK) {
        fail_msg("%s", why);
    }
    assert_true(until > now_s() + (days - 1) * 86400);
    assert_true(until <= now_s() + days * 86400);
}

/* From and to when, in days from now; signed anew. */
static void
set_days(struct x509_pair *pair, const struct x509_pair *by, int from, int to)
{
    assert_non_null(X509_time_adj_ex(X509_getm_notBefore(pair->cert), from, 0, NULL));
    assert_non_null(X509_time_adj_ex(X509_getm_notAfter(pair->cert), to, 0, NULL));
    assert_true(X509_sign(pair->cert, by->key, EVP_sha256()) > 0);
}

static void
test_cert_what_keygen_makes_is_taken(void **state)
{
    (void)state;
    expect_taken(X509_HOST_DAYS);
    /* While one CA follows another, both are in the file. */
    put("ca.pem", "we", &other, false);
    put("ca.pem", "ae", &ca, false);
    expect_taken(X509_HOST_DAYS);
}

static void
test_cert_name_key_and_ca_that_do_not_fit_are_refused(void **state)
{
    struct x509_pair b = {0};

    (void)state;
    assert_int_equal(x509_make_host(&b, &ca, "demo", "b"), AN_OK);
    put("a.key", "we", &b, true);
    expect_refused("a.key", "it is not the key of host a's certificate");
    put("a.pem", "we", &b, false);
    expect_refused("a.pem", "it is for another name than a");
    put("a.pem", "we", &a, false);
    put("a.key", "we", &a, true);
    put("ca.pem", "we", &other, false);
    snprintf(why, sizeof(why), "%s/ca.pem did not sign it", dir);
    char flaw[128];
    snprintf(flaw, sizeof(flaw), "%s/ca.pem did not sign it", dir);
    expect_refused("a.pem", flaw);
    put("ca.pem", "we", &ca, true);
    expect_refused("ca.pem", "no certificate in PEM");
    x509_fini(&b);
}

static void
test_cert_expired_and_not_yet_valid_are_refused(void **state)
{
    (void)state;
    set_days(&a, &ca, -2, -1);
    put("a.pem", "we", &a, false);
    expect_refused("a.pem", "it has expired");
    set_days(&a, &ca, 1, 2);
    put("a.pem", "we", &a, false);
    expect_refused("a.pem", "it is not valid yet");
    set_days(&a, &ca, -1, 2);
    put("a.pem", "we", &a, false);
    expect_taken(2);
    set_days(&ca, &ca, -2, -1);
    put("ca.pem", "we", &ca, false);
    expect_refused("ca.pem", "it has expired");
    set_days(&ca, &ca, -2, 1);
    put("ca.pem", "we", &ca, false);
    expect_taken(1); /* the first of the chain that goes */
}

static void
test_cert_that_soon_expires_is_warned_of(void **state)
{
    const time_t now = now_s();

    (void)state;
    an_log_setup(AN_LOG_WARN, false);
    stage_log_open();
    cert_warn(plan, 0, "none");
    cert_warn(plan, now + (AN_CERT_WARN_DAYS + 1) * 86400, "later");
    cert_warn(plan, now + (AN_CERT_WARN_DAYS - 1) * 86400, "soon");
    cert_warn(plan, now - 86400, "gone");
    assert_true(stage_log_has("expired on"));
    assert_true(stage_log_has("expires on"));
    assert_true(stage_log_has("/a.pem, or its CA, "));
    assert_false(stage_log_has("later"));
    assert_false(stage_log_has("none"));
    stage_log_close();
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_cert_what_keygen_makes_is_taken),
        TEST(test_cert_name_key_and_ca_that_do_not_fit_are_refused),
        TEST(test_cert_expired_and_not_yet_valid_are_refused),
        TEST(test_cert_that_soon_expires_is_warned_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
