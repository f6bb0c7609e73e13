/* Requests over HTTP against an actor with a fake host: what is asked of whom, and what
 * the client is told, whatever comes. */
#include "core/slot.h"
#include "tests/actors/api_kit.h"
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { REQUESTS = 128 };

static const char PASSWORD[] = "{\"user\":\"alice\",\"password\":\"correct horse\","
                               "\"device\":\"dev\",\"platform\":\"web\"}";
static struct an_topology topology;
static struct an_token_keys keys = {.key = {{.id = "k1"}}, .count = 1};
static struct api_gates gates = {
    .at = {{"tcp://a:1", 0}, {"ws://a:2", 0}, {"ws://b:2", 1}}, .count = 3};
static struct harness *h;
static struct an_http_request requests[REQUESTS];
static uint64_t asked;

static int
setup(void **state)
{
    const struct api_cfg cfg = {.seed = 7,
                                .keys = &keys,
                                .gates = &gates,
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

static uint64_t
post_from(const char *uri, const char *body, const char *from)
{
    struct an_http_request *request = &requests[asked % REQUESTS];

    *request = (struct an_http_request){.id = ++asked,
                                        .method = AN_HTTP_POST,
                                        .method_name = "POST",
                                        .uri = uri,
                                        .content_type = "application/json",
                                        .body = (const uint8_t *)body,
                                        .body_len = strlen(body)};
    snprintf(request->from, sizeof(request->from), "%s", from);
    harness_http(h, request);
    return request->id;
}

static uint64_t
post(const char *uri, const char *body)
{
    return post_from(uri, body, "10.0.0.1");
}

static uint64_t
get(const char *uri, const char *token)
{
    struct an_http_request *request = &requests[asked % REQUESTS];
    static char header[4096];

    *request = (struct an_http_request){.id = ++asked,
                                        .method = AN_HTTP_GET,
                                        .method_name = "GET",
                                        .uri = uri,
                                        .from = "10.0.0.1"};
    if (token != NULL) {
        snprintf(header, sizeof(header), "Bearer %s", token);
        request->authorization = header;
    }
    harness_http(h, request);
    return request->id;
}

/* Takes the answer, which must be there and be to this request. */
static const struct harness_effect *
answered(uint64_t id, unsigned status)
{
    const struct harness_effect *answer = harness_take(h, AN_EFFECT_HTTP);

    assert_non_null(answer);
    assert_int_equal(answer->e.conn, id);
    if (answer->e.status != status) {
        fail_msg("%u: %s", (unsigned)answer->e.status, answer->text);
    }
    return answer;
}

static const struct harness_effect *
refused(uint64_t id, unsigned status, const char *name)
{
    const struct harness_effect *answer = answered(id, status);
    char member[64];

    snprintf(member, sizeof(member), "\"name\":\"%s\"", name);
    if (strstr(answer->text, member) == NULL) {
        fail_msg("%s, not %s", answer->text, name);
    }
    return answer;
}

static void
resolve(enum an_err err, uint64_t user)
{
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;

    answer.err = err;
    answer.user = user;
    assert_int_equal(api_kit_read(h, &answer)->what_case,
                     ANSER__BUS__QUERY__WHAT_RESOLVE);
}

struct account {
    const char *hash;
    bool forbidden, deleted;
    uint64_t tokens_from_ms;
};

static void
give_account(const struct account *account)
{
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    Anser__Bus__AccountState state = ANSER__BUS__ACCOUNT_STATE__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;

    state.forbidden = account->forbidden;
    state.deleted = account->deleted;
    state.tokens_from_ms = account->tokens_from_ms;
    details.app.data = (uint8_t *)(uintptr_t) "default";
    details.app.len = 7;
    details.password_hash.data = (uint8_t *)(uintptr_t)account->hash;
    details.password_hash.len = account->hash == NULL ? 0 : strlen(account->hash);
    answer.name.data = (uint8_t *)(uintptr_t) "alice";
    answer.name.len = 5;
    answer.account = &state;
    answer.details = &details;
    assert_int_equal(api_kit_read(h, &answer)->what_case,
                     ANSER__BUS__QUERY__WHAT_ACCOUNT);
}

/* The hash that registering stores. */
static char *
register_alice(void)
{
    uint64_t id = post("/v1/register", PASSWORD);
    const Anser__Bus__Command *command;
    char *hash;

    resolve(AN_ERR_NOT_FOUND, 0);
    harness_run_jobs(h);
    api_kit_key(h, 42);
    api_kit_decide(h, AN_OK, 0);
    command = api_kit_decide(h, AN_OK, 0);
    assert_int_equal(command->what_case, ANSER__BUS__COMMAND__WHAT_CREATE_USER);
    hash = strndup((const char *)command->create_user->password_hash.data,
                   command->create_user->password_hash.len);
    answered(id, 200);
    return hash;
}

/* ------------------------------------------------------------------ tests */

static void
test_api_a1_register_stores_a_hash_and_no_password(void **state)
{
    char *hash = register_alice();

    (void)state;
    assert_memory_equal(hash, "$argon2id$", 10);
    assert_null(strstr(hash, "correct"));
    free(hash);
}

static void
test_api_a1_login_ends_in_tokens_for_the_device(void **state)
{
    char *hash = register_alice();
    uint64_t id = post("/v1/login", PASSWORD);
    const Anser__Bus__Command *command;
    const struct harness_effect *answer;

    (void)state;
    resolve(AN_OK, 42);
    give_account(&(struct account){.hash = hash});
    assert_null(harness_take(h, AN_EFFECT_HTTP));
    harness_run_jobs(h);
    command = api_kit_decide(h, AN_OK, 0);
    assert_int_equal(command->what_case, ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE);
    assert_int_equal(command->slot, an_slot_user(42));
    assert_int_equal(command->update_device->refresh_hash.len, AN_REFRESH_HASH_LEN);
    assert_int_equal(command->update_device->expect_refresh_hash.len, 0);
    assert_int_equal(command->update_device->expect_password_hash.len, strlen(hash));
    assert_memory_equal(command->update_device->expect_password_hash.data, hash,
                        strlen(hash));
    answer = answered(id, 200);
    assert_non_null(strstr(answer->text, "\"token\":\"ey"));
    assert_non_null(strstr(answer->text, "\"refresh_token\":\"r1.000000000000002a."));
    free(hash);
}

/* What a revocation has to reach, the sequencer was told before. */
static void
test_api_a6_login_token_is_dated_as_the_sequencer_was_told(void **state)
{
    char *hash = register_alice();
    uint64_t id = post("/v1/login", PASSWORD), told_ms;
    struct an_token_claims claims;
    const char *token;

    (void)state;
    resolve(AN_OK, 42);
    give_account(&(struct account){.hash = hash});
    harness_run_jobs(h);
    told_ms = harness_now(h).wall_ms;
    harness_wall(h, 3000);
    assert_int_equal(api_kit_decide(h, AN_OK, 0)->update_device->issued_ms, told_ms);
    token = strstr(answered(id, 200)->text, "\"token\":\"ey") + strlen("\"token\":\"");
    assert_int_equal(an_token_verify(&claims, &keys, (const uint8_t *)token,
                                     strcspn(token, "\""), harness_now(h).wall_ms),
                     AN_OK);
    assert_int_equal(claims.issued_ms, told_ms / 1000 * 1000);
    free(hash);
}

/* Nobody, no password and a wrong one: one answer, and a hash is computed for each. */
static void
test_api_wrong_logins_look_the_same(void **state)
{
    char *hash = register_alice();

    (void)state;
    for (int i = 0; i < 3; i++) {
        uint64_t id =
            post("/v1/login", "{\"user\":\"alice\",\"password\":\"a wrong one\"}");

        resolve(i == 0 ? AN_ERR_NOT_FOUND : AN_OK, 42);
        if (i > 0) {
            give_account(&(struct account){.hash = i == 1 ? NULL : hash});
        }
        assert_null(harness_take(h, AN_EFFECT_HTTP));
        harness_run_jobs(h);
        refused(id, 401, "PASSWORD_WRONG");
    }
    assert_int_equal(harness_metric(h, "passwords_wrong_total"), 3);
    free(hash);
}

static void
test_api_forbidden_is_said_to_the_owner_alone(void **state)
{
    char *hash = register_alice();
    uint64_t id = post("/v1/login", PASSWORD);

    (void)state;
    resolve(AN_OK, 42);
    give_account(&(struct account){.hash = hash, .forbidden = true});
    harness_run_jobs(h);
    refused(id, 403, "USER_FORBIDDEN");
    id = post("/v1/login", "{\"user\":\"alice\",\"password\":\"a wrong one\"}");
    resolve(AN_OK, 42);
    give_account(&(struct account){.hash = hash, .deleted = true});
    harness_run_jobs(h);
    refused(id, 401, "PASSWORD_WRONG");
    free(hash);
}

/* The next line for the operator, if there is one. */
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

static uint64_t
try_wrong(const char *from)
{
    return post_from("/v1/login", "{\"user\":\"alice\",\"password\":\"a wrong one\"}",
                     from);
}

static void
fail_once(const char *from)
{
    uint64_t id = try_wrong(from);

    resolve(AN_ERR_NOT_FOUND, 0);
    harness_run_jobs(h);
    refused(id, 401, "PASSWORD_WRONG");
}

static void
test_api_guessing_waits_longer_and_longer(void **state)
{
    uint32_t waits[4];

    (void)state;
    for (int i = 0; i < 5; i++) {
        fail_once("10.0.0.1");
    }
    for (int i = 0; i < 4; i++) {
        const struct harness_effect *answer =
            refused(try_wrong("10.0.0.1"), 429, "TOO_MANY_TRIES");

        waits[i] = answer->e.retry_s;
        assert_true(i == 0 || waits[i] > waits[i - 1]);
        harness_advance(h, 1000 * (uint64_t)waits[i]);
        fail_once("10.0.0.1");
    }
    /* Nothing was asked for those that were refused, and others come through. */
    assert_null(harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ));
    fail_once("10.0.0.2");
    fail_once("2001:db8::1");
    assert_int_equal(harness_metric(h, "tries_slowed_total"), 4);
}

static void
test_api_slowed_guesses_are_said_to_the_operator(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        fail_once("10.0.0.1");
    }
    said(NULL);
    fail_once("10.0.0.1");
    said("slowed for wrong passwords address=10.0.0.1 app=default user=alice "
         "what=account wait_s=1 count=1");
    for (int i = 0; i < 3; i++) {
        (void)refused(try_wrong("10.0.0.1"), 429, "TOO_MANY_TRIES");
    }
    said(NULL); /* one a second */
    harness_advance(h, 1000);
    fail_once("10.0.0.1");
    said("slowed for wrong passwords address=10.0.0.1 app=default user=alice "
         "what=account wait_s=2 count=4");
    fail_once("10.0.0.2");
    said(NULL);
}

/* A network is one guesser, whichever of its addresses it takes. */
static void
test_api_guessing_from_a_network_is_one(void **state)
{
    char from[48];

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(from, sizeof(from), "2001:db8:1:2::%x", i + 1);
        fail_once(from);
    }
    refused(try_wrong("2001:db8:1:2:ffff::1"), 429, "TOO_MANY_TRIES");
    fail_once("2001:db8:1:3::1");
}

static void
test_api_one_address_guessing_many_names_waits(void **state)
{
    char body[96];
    uint64_t id;

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(body, sizeof(body), "{\"user\":\"u%d\",\"password\":\"a wrong one\"}",
                 i);
        id = post("/v1/login", body);
        resolve(AN_ERR_NOT_FOUND, 0);
        harness_run_jobs(h);
        refused(id, 401, "PASSWORD_WRONG");
    }
    said("slowed for wrong passwords address=10.0.0.1 app=default user=u49 what=address "
         "wait_s=1 count=1");
    refused(post("/v1/login", "{\"user\":\"z\",\"password\":\"a wrong one\"}"), 429,
            "TOO_MANY_TRIES");
}

static void
test_api_too_many_hashes_are_busy(void **state)
{
    char body[96];
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 65; i++) {
        char from[32];

        snprintf(from, sizeof(from), "10.0.1.%d", i);
        snprintf(body, sizeof(body), "{\"user\":\"u%d\",\"password\":\"a wrong one\"}",
                 i);
        last = post_from("/v1/login", body, from);
        resolve(AN_ERR_NOT_FOUND, 0);
    }
    assert_int_equal(refused(last, 503, "BUSY")->e.retry_s, 1);
    assert_int_equal(harness_metric(h, "hashes"), 64);
}

static uint64_t
registers_from(int i)
{
    char body[96], from[32];
    uint64_t id;

    snprintf(from, sizeof(from), "10.0.2.%d", i);
    snprintf(body, sizeof(body), "{\"user\":\"r%d\",\"password\":\"correct horse\"}", i);
    id = post_from("/v1/register", body, from);
    resolve(AN_ERR_NOT_FOUND, 0);
    return id;
}

static void
test_api_one_address_has_a_share_of_the_hashes(void **state)
{
    char body[96];
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 9; i++) {
        snprintf(body, sizeof(body), "{\"user\":\"u%d\",\"password\":\"correct horse\"}",
                 i);
        last = post_from("/v1/register", body, i % 2 ? "2001:db8::1" : "2001:db8::2");
        resolve(AN_ERR_NOT_FOUND, 0);
    }
    assert_int_equal(refused(last, 503, "BUSY")->e.retry_s, 1);
    assert_int_equal(harness_metric(h, "hashes"), 8);
    (void)post_from("/v1/login", PASSWORD, "2001:db8:1::1");
    resolve(AN_ERR_NOT_FOUND, 0);
    assert_int_equal(harness_metric(h, "hashes"), 9);
}

static void
test_api_a_login_goes_before_registrations(void **state)
{
    uint64_t login;

    (void)state;
    for (int i = 0; i < 32; i++) {
        (void)registers_from(i);
    }
    assert_int_equal(refused(registers_from(32), 503, "BUSY")->e.retry_s, 1);
    login = post_from("/v1/login", PASSWORD, "10.0.0.9");
    resolve(AN_ERR_NOT_FOUND, 0);
    assert_int_equal(harness_metric(h, "hashes"), 33);
    harness_run_job(h); /* that were out before it came */
    harness_run_job(h);
    harness_run_job(h);
    refused(login, 401, "PASSWORD_WRONG");
    assert_int_equal(harness_metric(h, "hashes"), 30);
}

static void
test_api_refresh_of_a_used_token_is_the_sequencers_word(void **state)
{
    static const char body[] =
        "{\"refresh_token\":\"r1.000000000000002a.ZGV2.AAAAAAAAAAAAAAAAAAAA\"}";
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    Anser__Bus__AccountState account = ANSER__BUS__ACCOUNT_STATE__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;
    Anser__Bus__DeviceState device = ANSER__BUS__DEVICE_STATE__INIT, *devices = &device;
    const Anser__Bus__Command *command;
    uint64_t id = post("/v1/refresh", body);

    (void)state;
    device.device.data = (uint8_t *)(uintptr_t) "dev";
    device.device.len = 3;
    device.used_ms = harness_now(h).wall_ms - 5000;
    answer.account = &account;
    answer.details = &details;
    answer.devices = &devices;
    answer.n_devices = 1;
    answer.name = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "alice"};
    details.app = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "default"};
    api_kit_read(h, &answer);
    command = api_kit_decide(h, AN_ERR_REFRESH_REUSED, 0);
    assert_int_equal(command->update_device->expect_refresh_hash.len,
                     AN_REFRESH_HASH_LEN);
    refused(id, 401, "REFRESH_REUSED");
    said("refresh token used twice, its device is revoked address=10.0.0.1 app=default "
         "user=alice device=dev count=1");
    /* Of before a revocation it is not even tried; nor after its time. */
    account.tokens_from_ms = harness_now(h).wall_ms;
    id = post("/v1/refresh", body);
    api_kit_read(h, &answer);
    refused(id, 401, "REFRESH_INVALID");
    account.tokens_from_ms = 0;
    device.used_ms = harness_now(h).wall_ms - 31ull * 24 * 3600 * 1000;
    id = post("/v1/refresh", body);
    api_kit_read(h, &answer);
    refused(id, 401, "REFRESH_INVALID");
}

static void
test_api_forbidden_is_not_said_for_a_made_up_refresh_token(void **state)
{
    static const char token[] = "r1.000000000000002a.ZGV2.AAAAAAAAAAAAAAAAAAAA";
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    Anser__Bus__AccountState account = ANSER__BUS__ACCOUNT_STATE__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;
    Anser__Bus__DeviceState device = ANSER__BUS__DEVICE_STATE__INIT, *devices = &device;
    uint8_t hash[AN_REFRESH_HASH_LEN] = {1};
    char body[128];
    uint64_t id;

    (void)state;
    snprintf(body, sizeof(body), "{\"refresh_token\":\"%s\"}", token);
    account.forbidden = true;
    device.device.data = (uint8_t *)(uintptr_t) "dev";
    device.device.len = 3;
    device.used_ms = harness_now(h).wall_ms;
    device.refresh_hash = (ProtobufCBinaryData){sizeof(hash), hash};
    answer.account = &account;
    answer.details = &details;
    id = post("/v1/refresh", body);
    api_kit_read(h, &answer);
    refused(id, 401, "REFRESH_INVALID");
    answer.devices = &devices;
    answer.n_devices = 1;
    id = post("/v1/refresh", body);
    api_kit_read(h, &answer);
    refused(id, 401, "REFRESH_INVALID");
    /* Whoever has the device's own is told. */
    crypto_generichash(hash, sizeof(hash), (const unsigned char *)token, strlen(token),
                       NULL, 0);
    id = post("/v1/refresh", body);
    api_kit_read(h, &answer);
    refused(id, 403, "USER_FORBIDDEN");
}

static char *
mint(void)
{
    char *token;

    assert_int_equal(an_token_mint(&token, &keys.key[0], "default", "alice",
                                   harness_now(h).wall_ms, 60000),
                     AN_OK);
    return token;
}

static void
test_api_a6_revoked_token_shows_nothing(void **state)
{
    char *token = mint();
    uint64_t id = get("/v1/profile", token);

    (void)state;
    resolve(AN_OK, 42);
    give_account(&(struct account){.tokens_from_ms = harness_now(h).wall_ms + 1000});
    refused(id, 401, "TOKEN_REVOKED");
    id = get("/v1/profile", token);
    resolve(AN_OK, 42);
    give_account(&(struct account){0});
    assert_non_null(strstr(answered(id, 200)->text, "\"user\":\"alice\""));
    refused(get("/v1/profile", "ey.x.y"), 401, "TOKEN_INVALID");
    refused(get("/v1/profile", NULL), 401, "LOGIN_REQUIRED");
    free(token);
}

static void
test_api_store_away_is_asked_again_then_timeout(void **state)
{
    char *token = mint();
    uint64_t id = get("/v1/profile", token);
    const struct harness_effect *answer = NULL;

    (void)state;
    for (int i = 0; i < 200 && answer == NULL; i++) {
        const struct harness_effect *ask =
            harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);

        if (ask != NULL) {
            harness_answer(h, ask, AN_ERR_UNAVAILABLE, NULL);
        }
        harness_advance(h, 100);
        answer =
            harness_count(h, AN_EFFECT_HTTP) > 0 ? refused(id, 503, "TIMEOUT") : NULL;
    }
    assert_non_null(answer);
    assert_int_equal(answer->e.retry_s, 1);
    free(token);
}

static void
test_api_paths_and_methods(void **state)
{
    (void)state;
    answered(get("/healthz", NULL), 200);
    answered(get("/healthz?x=1", NULL), 200);
    refused(get("/healthzz", NULL), 404, "NOT_FOUND");
    assert_int_equal(refused(get("/v1/login", NULL), 405, "METHOD")->e.allow,
                     1u << AN_HTTP_POST);
    assert_int_equal(refused(post("/v1/profile", "{}"), 405, "METHOD")->e.allow,
                     1u << AN_HTTP_GET | 1u << AN_HTTP_HEAD | 1u << AN_HTTP_PATCH);
    refused(get("/v1/devices/", NULL), 404, "NOT_FOUND");
    refused(get("/v1/devices/a/b", NULL), 404, "NOT_FOUND");
    refused(post("/v1/nothing", "{}"), 404, "NOT_FOUND");
    refused(post("/v1/login", "[]"), 400, "JSON");
    refused(post("/v1/app/tokens", "{}"), 401, "SIGNATURE_MISSING");
    assert_non_null(strstr(answered(get("/v1/openapi.json", NULL), 200)->text, "3.0.3"));
}

static void
hear_gates(const uint32_t *live, size_t count)
{
    Anser__Bus__OnlineDone done = ANSER__BUS__ONLINE_DONE__INIT;
    const struct harness_effect *ask =
        harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_ONLINE);

    assert_non_null(ask);
    done.complete = true;
    done.gates = (uint32_t *)(uintptr_t)live;
    done.n_gates = count;
    harness_answer(h, ask, AN_OK, &done.base);
}

static void
expect_gates(const char *uri, const char *json)
{
    assert_string_equal(answered(get(uri, NULL), 200)->text, json);
}

static void
test_api_l1_dead_gate_leaves_the_list(void **state)
{
    const uint32_t both[] = {0, 1}, first[] = {0};

    (void)state;
    expect_gates("/v1/gates?scheme=ws", "{\"gates\":[\"ws://a:2\",\"ws://b:2\"]}");
    hear_gates(both, 2);
    expect_gates("/v1/gates?scheme=ws", "{\"gates\":[\"ws://a:2\",\"ws://b:2\"]}");
    harness_advance(h, 2000);
    hear_gates(first, 1);
    expect_gates("/v1/gates?scheme=ws", "{\"gates\":[\"ws://a:2\"]}");
    expect_gates("/v1/gates", "{\"gates\":[\"tcp://a:1\",\"ws://a:2\"]}");
    expect_gates("/v1/gates?scheme=wss", "{\"gates\":[]}");
    /* No router to ask: what was heard last grows old, and all are named. */
    harness_advance(h, 20000);
    expect_gates("/v1/gates?scheme=ws", "{\"gates\":[\"ws://a:2\",\"ws://b:2\"]}");
}

static void
test_api_stop_answers_all_and_waits_for_the_hash(void **state)
{
    uint64_t reading = post("/v1/register", PASSWORD), hashing;

    (void)state;
    hashing = post_from("/v1/login", PASSWORD, "10.0.0.9");
    harness_answer(h, harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ), AN_ERR_TIMEOUT,
                   NULL); /* the first comes again later */
    resolve(AN_ERR_NOT_FOUND, 0);
    harness_stop(h);
    refused(reading, 503, "SHUTTING_DOWN");
    refused(hashing, 503, "SHUTTING_DOWN");
    assert_null(harness_take(h, AN_EFFECT_STOPPED));
    refused(get("/healthz", NULL), 503, "SHUTTING_DOWN");
    harness_run_jobs(h);
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_api_a1_register_stores_a_hash_and_no_password),
        TEST(test_api_a1_login_ends_in_tokens_for_the_device),
        TEST(test_api_a6_login_token_is_dated_as_the_sequencer_was_told),
        TEST(test_api_wrong_logins_look_the_same),
        TEST(test_api_forbidden_is_said_to_the_owner_alone),
        TEST(test_api_guessing_waits_longer_and_longer),
        TEST(test_api_slowed_guesses_are_said_to_the_operator),
        TEST(test_api_guessing_from_a_network_is_one),
        TEST(test_api_one_address_guessing_many_names_waits),
        TEST(test_api_too_many_hashes_are_busy),
        TEST(test_api_one_address_has_a_share_of_the_hashes),
        TEST(test_api_a_login_goes_before_registrations),
        TEST(test_api_refresh_of_a_used_token_is_the_sequencers_word),
        TEST(test_api_forbidden_is_not_said_for_a_made_up_refresh_token),
        TEST(test_api_a6_revoked_token_shows_nothing),
        TEST(test_api_store_away_is_asked_again_then_timeout),
        TEST(test_api_paths_and_methods),
        TEST(test_api_l1_dead_gate_leaves_the_list),
        TEST(test_api_stop_answers_all_and_waits_for_the_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
