#include "tests/actors/api_kit.h"
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

const struct an_app_keys api_kit_app_keys = {
    .key = {{.id = "a1", .secret = "secret", .app = "default"}}, .count = 1};

struct harness *
api_kit_create(const struct api_cfg *cfg, struct an_topology *topology)
{
    struct api_cfg own = *cfg;
    struct an_actor *actor;
    struct harness *h;
    const struct harness_effect *ready;
    enum an_err err;

    an_topology_single(topology);
    own.topology = topology;
    err = api_create(&actor, &own);
    assert(err == AN_OK);
    h = harness_create(actor);
    harness_start(h);
    ready = harness_take(h, AN_EFFECT_READY);
    assert(ready != NULL);
    return h;
}

uint64_t
api_kit_say(struct harness *h, const char *words)
{
    Anser__Bus__Inspect inspect = ANSER__BUS__INSPECT__INIT;

    inspect.words.data = (uint8_t *)(uintptr_t)words;
    inspect.words.len = strlen(words);
    return harness_request_budget(h, (struct an_addr){AN_ROLE_RUNNER, 0}, AN_KIND_INSPECT,
                                  &inspect.base, 10000);
}

void
api_kit_sign(struct api_kit_signature *out, struct an_http_request *request,
             const char *nonce, uint64_t wall_ms)
{
    unsigned char hash[crypto_hash_sha256_BYTES], mac[crypto_auth_hmacsha256_BYTES];
    const char *const secret = api_kit_app_keys.key[0].secret;
    crypto_auth_hmacsha256_state state;
    char text[4096], hex[2 * sizeof(hash) + 1];
    size_t len;

    /* Of before the api's start, or of the same second: refused. */
    snprintf(out->time, sizeof(out->time), "%llu",
             (unsigned long long)(wall_ms / 1000 + 1));
    crypto_hash_sha256(hash, request->body, request->body_len);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    len = (size_t)snprintf(text, sizeof(text), "%s\n%s\n%s\n%s\n%s", request->method_name,
                           request->uri, out->time, nonce, hex);
    assert(len < sizeof(text));
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret, strlen(secret));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, len);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_bin2hex(out->hex, sizeof(out->hex), mac, sizeof(mac));
    request->key = api_kit_app_keys.key[0].id;
    request->time = out->time;
    request->nonce = nonce;
    request->signature = out->hex;
}

/* ------------------------------------------------------------------ what was asked */

const Anser__Bus__Query *
api_kit_give_answer(struct harness *h, const struct harness_effect *ask,
                    const Anser__Bus__Answer *answer)
{
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer own = *answer, *answers = &own;
    const Anser__Bus__Read *read = harness_body(ask);

    done.answers = &answers;
    done.n_answers = 1;
    harness_answer(h, ask, AN_OK, &done.base);
    return read->queries[0];
}

const Anser__Bus__Command *
api_kit_give_result(struct harness *h, const struct harness_effect *ask,
                    const Anser__Bus__Result *result)
{
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result own = *result, *results = &own;
    const Anser__Bus__Submit *submit = harness_body(ask);

    submitted.results = &results;
    submitted.n_results = 1;
    harness_answer(h, ask, AN_OK, &submitted.base);
    return submit->commands[0];
}

void
api_kit_give_key(struct harness *h, const struct harness_effect *ask, uint64_t key)
{
    Anser__Bus__TakenSegment taken = ANSER__BUS__TAKEN_SEGMENT__INIT;

    taken.first = key;
    taken.count = 1;
    harness_answer(h, ask, AN_OK, &taken.base);
}

/* ------------------------------------------------------------------ the next ask */

static const struct harness_effect *
next(struct harness *h, enum an_role role, enum an_kind kind)
{
    const struct harness_effect *ask = harness_take_ask(h, role, kind);

    assert(ask != NULL);
    return ask;
}

const Anser__Bus__Query *
api_kit_read(struct harness *h, const Anser__Bus__Answer *answer)
{
    return api_kit_give_answer(h, next(h, AN_ROLE_STORE, AN_KIND_READ), answer);
}

const Anser__Bus__Command *
api_kit_decide(struct harness *h, enum an_err err, uint64_t user)
{
    const struct harness_effect *ask = next(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);
    Anser__Bus__Result result = ANSER__BUS__RESULT__INIT;

    assert(((const Anser__Bus__Submit *)harness_body(ask))->n_commands == 1);
    result.err = err;
    result.user = user;
    return api_kit_give_result(h, ask, &result);
}

void
api_kit_key(struct harness *h, uint64_t key)
{
    api_kit_give_key(h, next(h, AN_ROLE_IDGEN, AN_KIND_TAKE_SEGMENT), key);
}
