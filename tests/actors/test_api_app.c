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

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_api_an_import_leaves_registrations_every_other_hash),
        TEST(test_api_registrations_leave_an_import_every_other_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
