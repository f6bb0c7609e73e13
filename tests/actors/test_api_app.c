/* Back ends' requests against an actor with a fake host. */
#include "tests/actors/api_kit.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { REQUESTS = 64, IMPORTED = 8 /* that are under way at once */ };

struct asked {
    struct an_http_request request;
    struct api_kit_signature signature;
    char nonce[24], body[1024];
};

static struct an_topology topology;
static struct an_token_keys keys = {.key = {{.id = "k1"}}, .count = 1};
static struct harness *h;
static struct asked requests[REQUESTS];
static uint64_t asked;

static int
setup(void **state)
{
    const struct api_cfg cfg = {.seed = 7,
                                .keys = &keys,
                                .app_keys = &api_kit_app_keys,
                                .secret = "nobody can guess this, can they",
                                .hash_passes = 1,
                                .hash_bytes = 8192};

    (void)state;
    asked = 0;
    h = api_kit_create(&cfg, &topology);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    harness_destroy(h);
    return 0;
}

/* ------------------------------------------------------------------ the host */

static struct asked *
prepare(enum an_http_method method, const char *name, const char *uri, const char *body)
{
    struct asked *one = &requests[asked % REQUESTS];

    snprintf(one->body, sizeof(one->body), "%s", body);
    one->request = (struct an_http_request){.id = ++asked,
                                            .method = method,
                                            .method_name = name,
                                            .uri = uri,
                                            .from = "192.0.2.7",
                                            .content_type = "application/json",
                                            .body = (const uint8_t *)one->body,
                                            .body_len = strlen(body)};
    return one;
}

static void
sign(struct asked *one)
{
    snprintf(one->nonce, sizeof(one->nonce), "nonce-%08llu",
             (unsigned long long)one->request.id);
    api_kit_sign(&one->signature, &one->request, one->nonce, harness_now(h).wall_ms);
}

/* Signed, and claimed: nobody made it before. */
static uint64_t
app(enum an_http_method method, const char *name, const char *uri, const char *body)
{
    struct asked *one = prepare(method, name, uri, body);

    sign(one);
    harness_http(h, &one->request);
    assert_int_equal(api_kit_decide(h, AN_OK, 0)->what_case,
                     ANSER__BUS__COMMAND__WHAT_CLAIM_NONCE);
    return one->request.id;
}

static void
nobody(void)
{
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;

    answer.err = AN_ERR_NOT_FOUND;
    api_kit_read(h, &answer);
}

/* ------------------------------------------------------------------ hashes */

static void
import_some(void)
{
    char body[1024];
    int len = snprintf(body, sizeof(body), "{\"users\":[");

    for (int i = 0; i < IMPORTED; i++) {
        len += snprintf(body + len, sizeof(body) - (size_t)len,
                        "{\"user\":\"i%d\",\"password\":\"correct horse\"}%s", i,
                        i == IMPORTED - 1 ? "]}" : ",");
    }
    (void)app(AN_HTTP_POST, "POST", "/v1/app/users:import", body);
    for (int i = 0; i < IMPORTED; i++) {
        nobody();
    }
}

static void
register_some(int count)
{
    for (int i = 0; i < count; i++) {
        struct asked *one;
        char body[96];

        snprintf(body, sizeof(body), "{\"user\":\"r%d\",\"password\":\"correct horse\"}",
                 i);
        one = prepare(AN_HTTP_POST, "POST", "/v1/register", body);
        harness_http(h, &one->request);
        nobody();
    }
}

/* Whose hash was made, as the name that gets a key then: 'i' of the import, 'r' of a
 * registration. */
static char
hash_one(void)
{
    harness_run_job(h);
    api_kit_key(h, 1);
    return (char)api_kit_decide(h, AN_ERR_CORRUPT, 0)->put_directory->name.data[0];
}

static unsigned
registrations_of(unsigned hashes)
{
    unsigned count = 0;

    for (unsigned i = 0; i < hashes; i++) {
        count += hash_one() == 'r';
    }
    return count;
}

static void
test_api_an_import_leaves_registrations_every_other_hash(void **state)
{
    (void)state;
    import_some();
    register_some(2);
    assert_int_equal(registrations_of(2), 0); /* that were out before */
    assert_int_equal(registrations_of(4), 2);
    assert_int_equal(registrations_of(4), 0); /* whose turn it is has none */
}

static void
test_api_registrations_leave_an_import_every_other_hash(void **state)
{
    (void)state;
    register_some(8);
    import_some();
    assert_int_equal(registrations_of(2), 2);
    assert_int_equal(registrations_of(8), 4);
}

/* ------------------------------------------------------------------ the operator */

/* The next line for him, or none. */
static void
said(const char *line)
{
    const struct harness_effect *log = harness_take(h, AN_EFFECT_LOG);

    if (log == NULL || line == NULL) {
        assert_true(log == NULL && line == NULL);
    } else {
        assert_string_equal(log->text, line);
    }
}

/* Of a back end that has changed something: bob is there, with a device. */
static void
find_bob(void)
{
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;

    answer.user = 42;
    answer.name = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "bob"};
    details.app = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "default"};
    answer.details = &details;
    api_kit_read(h, &answer); /* the name */
    api_kit_read(h, &answer); /* the account */
}

static void
change_bob(enum an_http_method method, const char *name, const char *uri,
           const char *body, const char *line)
{
    (void)app(method, name, uri, body);
    find_bob();
    said(NULL); /* not before it is so */
    api_kit_decide(h, AN_OK, 42);
    said(line);
    (void)harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ); /* what it answers with */
}

static void
test_api_back_ends_changes_are_said_to_the_operator(void **state)
{
    static const char path[] = "/v1/app/users/bob", revoke[] = "/v1/app/tokens:revoke";

    (void)state;
    change_bob(AN_HTTP_PATCH, "PATCH", path, "{\"forbidden\":true}",
               "user forbidden address=192.0.2.7 app=default user=bob count=1");
    change_bob(AN_HTTP_PATCH, "PATCH", path, "{\"forbidden\":false}",
               "user not forbidden any more address=192.0.2.7 app=default user=bob "
               "count=1");
    change_bob(AN_HTTP_PATCH, "PATCH", path, "{\"nick\":\"Bob\"}", NULL);
    change_bob(AN_HTTP_POST, "POST", revoke, "{\"user\":\"bob\"}",
               "tokens revoked address=192.0.2.7 app=default user=bob count=1");
    harness_advance(h, 1000);
    change_bob(AN_HTTP_POST, "POST", revoke, "{\"user\":\"bob\",\"device\":\"tv\"}",
               "tokens revoked address=192.0.2.7 app=default user=bob device=tv count=1");
    change_bob(AN_HTTP_DELETE, "DELETE", path, "",
               "user deleted address=192.0.2.7 app=default user=bob count=1");
}

static void
test_api_refused_signatures_are_said_to_the_operator(void **state)
{
    static const char path[] = "/v1/app/users/bob";
    struct asked *one;

    (void)state;
    one = prepare(AN_HTTP_GET, "GET", path, "");
    sign(one);
    one->signature.hex[0] ^= 1;
    harness_http(h, &one->request);
    said("signature refused address=192.0.2.7 app=default user=- key=a1 "
         "err=SIGNATURE_WRONG count=1");
    one = prepare(AN_HTTP_GET, "GET", path, "");
    sign(one);
    one->request.key = "a secret by mistake";
    harness_http(h, &one->request);
    said(NULL);
    harness_advance(h, 1000);
    sign(one);
    one->request.key = "a secret by mistake";
    one->request.id = ++asked;
    harness_http(h, &one->request);
    said("signature refused address=192.0.2.7 app=- user=- key=- err=SIGNATURE_KEY "
         "count=2");
    harness_advance(h, 1000);
    one = prepare(AN_HTTP_GET, "GET", path, "");
    sign(one);
    harness_http(h, &one->request);
    api_kit_decide(h, AN_ERR_SIGNATURE_REPLAYED, 0);
    said("signature refused address=192.0.2.7 app=default user=- key=a1 "
         "err=SIGNATURE_REPLAYED count=1");
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_api_an_import_leaves_registrations_every_other_hash),
        TEST(test_api_registrations_leave_an_import_every_other_hash),
        TEST(test_api_back_ends_changes_are_said_to_the_operator),
        TEST(test_api_refused_signatures_are_said_to_the_operator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
