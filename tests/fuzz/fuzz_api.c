/* Fuzzing what is asked over HTTP: path, token, body. The input is a letter (who asks:
 * none, a user with a good token, a back end with a good signature), another for the
 * method, a line with the URI, and the body. Whatever comes is answered once, with JSON,
 * in bounded steps; those who are asked answer, know nothing of whom they are asked
 * about, or refuse the n-th ask; and the user is as usual, forbidden, deleted or muted:
 * all of it more of the letter. */
#include "tests/actors/api_kit.h"
#include "tests/fuzz/input.h"

#include <assert.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URI_MAX 2048u
enum { STEPS_MAX = 400, USER = 42 };
enum state { USUAL, FORBIDDEN, DELETED, MUTED };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const methods[] = {"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD"};
static const enum an_http_method numbers[] = {AN_HTTP_GET,    AN_HTTP_POST, AN_HTTP_PATCH,
                                              AN_HTTP_DELETE, AN_HTTP_PUT,  AN_HTTP_HEAD};
static struct an_token_keys keys = {.key = {{.id = "k1"}}, .count = 1};

/* ------------------------------------------------------------------ who is asked */

/* Of "correct horse", made once. */
static const char *
password_hash(void)
{
    static char hash[crypto_pwhash_STRBYTES];

    if (hash[0] == '\0' && crypto_pwhash_str(hash, "correct horse", 13, 1, 8192) != 0) {
        abort();
    }
    return hash;
}

static void
answer_read(struct harness *h, const struct harness_effect *ask, bool known,
            enum state state)
{
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT;
    Anser__Bus__AccountState account = ANSER__BUS__ACCOUNT_STATE__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;
    Anser__Bus__DeviceState device = ANSER__BUS__DEVICE_STATE__INIT, *devices = &device;
    uint8_t name[] = {'d', 'e', 'v'}, extra[] = {'{', '}'};

    account.forbidden = state == FORBIDDEN;
    account.deleted = state == DELETED;
    account.muted_until_ms = state == MUTED ? UINT64_MAX : 0;
    answer.err = known ? AN_OK : AN_ERR_NOT_FOUND;
    answer.user = USER;
    answer.name = (ProtobufCBinaryData){sizeof(name), name};
    details.app = answer.name;
    details.password_hash = (ProtobufCBinaryData){strlen(password_hash()),
                                                  (uint8_t *)(uintptr_t)password_hash()};
    details.extra = (ProtobufCBinaryData){sizeof(extra), extra};
    device.device = device.refresh_hash = answer.name;
    device.used_ms = harness_now(h).wall_ms;
    answer.account = &account;
    answer.details = &details;
    answer.devices = &devices;
    answer.n_devices = 1;
    api_kit_give_answer(h, ask, &answer);
}

static bool
answer_one(struct harness *h, bool known, bool refused, enum state state)
{
    const Anser__Bus__Result done = ANSER__BUS__RESULT__INIT;
    const struct harness_effect *ask = harness_take(h, AN_EFFECT_ASK);

    if (ask == NULL) {
        return false;
    }
    if (refused) {
        harness_answer(h, ask, AN_ERR_CORRUPT, NULL);
    } else if (ask->e.kind == AN_KIND_READ) {
        answer_read(h, ask, known, state);
    } else if (ask->e.kind == AN_KIND_SUBMIT) {
        api_kit_give_result(h, ask, &done);
    } else {
        api_kit_give_key(h, ask, USER);
    }
    return true;
}

/* ------------------------------------------------------------------ who asks */

struct asker {
    char uri[URI_MAX], header[1024];
    struct api_kit_signature signature;
};

static void
show_token(struct asker *asker, struct an_http_request *request, uint64_t wall_ms)
{
    const struct an_token_spec spec = {
        .app = "default", .user = "dev", .device = "dev", .ttl_ms = 60000};
    char *token;
    enum an_err err = an_token_mint_spec(&token, &keys.key[0], &spec, wall_ms);

    assert(err == AN_OK);
    snprintf(asker->header, sizeof(asker->header), "Bearer %s", token);
    request->authorization = asker->header;
    free(token);
}

static void
take_uri(struct input *in, char out[URI_MAX])
{
    size_t len = 0;

    while (in->len > 0) {
        uint8_t c = take(in);

        if (c == '\n' || c == 0 || len + 1 == URI_MAX) {
            break;
        }
        out[len++] = (char)c;
    }
    out[len] = '\0';
}

static struct harness *
make_api(void)
{
    static struct an_topology topology;
    const struct api_cfg cfg = {.seed = 1,
                                .keys = &keys,
                                .app_keys = &api_kit_app_keys,
                                .hash_passes = 1,
                                .hash_bytes = 8192};

    return api_kit_create(&cfg, &topology);
}

static void
judge(struct harness *h)
{
    const struct harness_effect *answer = harness_take(h, AN_EFFECT_HTTP);
    json_t *root;

    assert(answer != NULL && answer->e.conn == 1);
    root = json_loadb(answer->text, answer->e.len, 0, NULL);
    assert(json_is_object(root));
    assert((answer->e.status == 200) == (json_object_get(root, "error") == NULL));
    json_decref(root);
    assert(harness_take(h, AN_EFFECT_HTTP) == NULL);
    assert(harness_metric(h, "in_progress") == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct input in = {data, len};
    struct harness *h = make_api();
    const uint64_t wall_ms = harness_now(h).wall_ms;
    uint8_t who = take(&in);
    unsigned method = take(&in) % (sizeof(methods) / sizeof(methods[0]));
    struct asker asker;
    struct an_http_request request = {.id = 1,
                                      .method = numbers[method],
                                      .method_name = methods[method],
                                      .uri = asker.uri,
                                      .content_type = "application/json",
                                      .from = "10.0.0.1"};
    unsigned steps = 0;

    take_uri(&in, asker.uri);
    request.body = in.data;
    request.body_len = in.len;
    if (who % 4 == 1) {
        show_token(&asker, &request, wall_ms);
    } else if (who % 4 == 2) {
        api_kit_sign(&asker.signature, &request, "nonce-nonce", wall_ms);
    }
    harness_http(h, &request);
    do {
        assert(++steps < STEPS_MAX);
        harness_run_jobs(h);
    } while (answer_one(h, who < 128, steps == who / 4 % 8, (enum state)(who / 32 % 4)));
    judge(h);
    harness_destroy(h);
    return 0;
}
