/* Making an account is three steps in three places: a key from the id generator, the
 * directory row (app, name) -> key at the sequencer of the name's slot, the user row at
 * the sequencer of the key's slot. Every step may be repeated, so a step whose outcome is
 * not known is simply taken again, and an account left half made by a crash is completed
 * by the next attempt. */
#include "actors/api/api.h"
#include "actors/api/api_http.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/slot.h"
#include "core/text.h"
#include "proto/bus.pb-c.h"
#include "proto/names.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ACCOUNTS_MAX = 16, /* made at the same time; beyond: BUSY */
    RETRY_MS = 50,
    STEP_MS = 3000, /* budget of one step */
    WORDS_MAX = 512,
    JSON_MAX = 1024,
};

enum stage { FREE, TAKE_KEY, PUT_DIRECTORY, CREATE_USER };

struct account {
    enum stage stage;
    struct an_msg *request; /* held */
    uint8_t app[AN_NAME_LEN_MAX], name[AN_NAME_LEN_MAX];
    size_t app_len, name_len;
    uint64_t key;
    bool existed;   /* the name had a key before we came */
    uint16_t slot;  /* of the step's command */
    uint16_t owner; /* the sequencer to ask about it */
    uint16_t idgen; /* to ask for the key */
    uint32_t round; /* in tags: answers and timers of an earlier step are stale */
};

/* X(name, sentence) */
#define API_COUNTERS(X)                                                                  \
    X(requests, "Requests by words.")                                                    \
    X(users_created, "Accounts made or completed.")                                      \
    X(users_existed, "Requests for accounts that were there.")                           \
    X(refused, "Requests refused: unknown words, bad names, too many at once.")          \
    X(failed, "Requests that ended with an error of another actor.")                     \
    X(retries, "Steps taken again.")

#define FIELD(name, sentence) uint64_t name;
struct counters {
    API_COUNTERS(FIELD)
};
#undef FIELD

struct api {
    struct an_actor actor; /* first */
    const struct an_topology *topology;
    struct an_rng rng;
    struct account accounts[ACCOUNTS_MAX];
    struct counters count;
    uint64_t in_progress;
};

/* ------------------------------------------------------------------ tags */

static uint64_t
tag_of(const struct api *api, const struct account *account)
{
    return (uint64_t)(account - api->accounts) | (uint64_t)account->round << 8;
}

static struct account *
account_of(struct api *api, uint64_t tag)
{
    struct account *account = &api->accounts[(tag & 0xff) % ACCOUNTS_MAX];

    return account->stage != FREE && tag_of(api, account) == tag ? account : NULL;
}

/* ------------------------------------------------------------------ the end */

static void
end(struct api *api, struct account *account, enum an_err err, struct an_outbox *out)
{
    Anser__Bus__Inspected done = ANSER__BUS__INSPECTED__INIT;
    char json[JSON_MAX], name[2 * AN_NAME_LEN_MAX + 1], app[2 * AN_NAME_LEN_MAX + 1];

    if (err == AN_OK) {
        api->count.users_created++;
        an_text_escape(name, sizeof(name), (const char *)account->name, account->name_len,
                       true);
        an_text_escape(app, sizeof(app), (const char *)account->app, account->app_len,
                       true);
        snprintf(json, sizeof(json), "{\"user\":\"%s\",\"app\":\"%s\",\"key\":\"%llu\"}",
                 name, app, (unsigned long long)account->key);
        done.json.data = (uint8_t *)json;
        done.json.len = strlen(json);
        an_out_answer(out, account->request, AN_OK, &done.base);
        an_out_log(out, AN_LOG_INFO, account->request->trace, "user made key=%llu",
                   (unsigned long long)account->key);
    } else {
        api->count.users_existed += err == AN_ERR_USER_EXISTS;
        api->count.failed += err != AN_ERR_USER_EXISTS;
        an_out_answer(out, account->request, err, NULL);
    }
    an_msg_release(account->request);
    account->request = NULL;
    account->stage = FREE;
    account->round++;
    api->in_progress--;
}

/* ------------------------------------------------------------------ steps */

static uint32_t
budget(const struct account *account, struct an_now now)
{
    uint64_t left = account->request->deadline_mono_ms - now.mono_ms;

    return left < STEP_MS ? (uint32_t)left : STEP_MS;
}

static void
submit(struct api *api, struct account *account, Anser__Bus__Command *command,
       struct an_now now, struct an_outbox *out)
{
    Anser__Bus__Submit body = ANSER__BUS__SUBMIT__INIT;
    struct an_addr to = {AN_ROLE_SEQUENCER, account->owner};

    command->slot = account->slot;
    command->trace = account->request->trace;
    body.commands = &command;
    body.n_commands = 1;
    an_out_ask(out, to, AN_KIND_SUBMIT, &body.base, budget(account, now),
               tag_of(api, account), account->request->trace);
}

static void
take_key(struct api *api, struct account *account, struct an_now now,
         struct an_outbox *out)
{
    Anser__Bus__TakeSegment take = ANSER__BUS__TAKE_SEGMENT__INIT;
    struct an_addr to = {AN_ROLE_IDGEN, account->idgen};

    take.name.data = (uint8_t *)(uintptr_t) "user";
    take.name.len = 4;
    take.count = 1;
    an_out_ask(out, to, AN_KIND_TAKE_SEGMENT, &take.base, budget(account, now),
               tag_of(api, account), account->request->trace);
}

static void
put_directory(struct api *api, struct account *account, struct an_now now,
              struct an_outbox *out)
{
    Anser__Bus__PutDirectory put = ANSER__BUS__PUT_DIRECTORY__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;

    put.app.data = account->app;
    put.app.len = account->app_len;
    put.name.data = account->name;
    put.name.len = account->name_len;
    put.user = account->key;
    command.what_case = ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;
    command.put_directory = &put;
    submit(api, account, &command, now, out);
}

static void
create_user(struct api *api, struct account *account, struct an_now now,
            struct an_outbox *out)
{
    Anser__Bus__CreateUser create = ANSER__BUS__CREATE_USER__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;

    create.user = account->key;
    create.app.data = account->app;
    create.app.len = account->app_len;
    create.name.data = account->name;
    create.name.len = account->name_len;
    command.what_case = ANSER__BUS__COMMAND__WHAT_CREATE_USER;
    command.create_user = &create;
    submit(api, account, &command, now, out);
}

static void
advance(struct api *api, struct account *account, struct an_now now,
        struct an_outbox *out)
{
    account->round++;
    if (an_msg_expired(account->request, now)) {
        end(api, account, AN_ERR_TIMEOUT, out);
        return;
    }
    switch (account->stage) {
    case FREE:
        return;
    case TAKE_KEY:
        take_key(api, account, now, out);
        return;
    case PUT_DIRECTORY:
        put_directory(api, account, now, out);
        return;
    case CREATE_USER:
        create_user(api, account, now, out);
        return;
    }
}

static void
enter(struct api *api, struct account *account, enum stage stage, struct an_now now,
      struct an_outbox *out)
{
    account->stage = stage;
    if (stage == PUT_DIRECTORY) {
        account->slot = an_slot_name(account->app, account->app_len, account->name,
                                     account->name_len);
    } else if (stage == CREATE_USER) {
        account->slot = an_slot_user(account->key);
    }
    account->owner = api->topology->slot_sequencer[account->slot];
    advance(api, account, now, out);
}

/* The one asked is away, stops or cannot serve: the next try asks another. Every step may
 * be taken twice, so this needs no certainty. */
static void
ask_another(const struct api *api, struct account *account)
{
    if (account->stage == TAKE_KEY) {
        account->idgen =
            (uint16_t)((account->idgen + 1) % api->topology->count[AN_ROLE_IDGEN]);
    } else {
        account->owner = an_topology_other(api->topology, account->slot, account->owner);
    }
}

/* The same step again, a little later. */
static void
retry(struct api *api, struct account *account, struct an_now now, struct an_outbox *out)
{
    api->count.retries++;
    account->round++;
    an_out_timer(out, now.mono_ms + RETRY_MS + an_rng_below(&api->rng, RETRY_MS),
                 tag_of(api, account));
}

/* ------------------------------------------------------------------ answers */

static void
key_taken(struct api *api, struct account *account, const struct an_msg *msg,
          struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__TakenSegment *taken = (const Anser__Bus__TakenSegment *)msg->body;

    if (taken->count == 0 || taken->first == 0) {
        end(api, account, AN_ERR_INTERNAL, out);
        return;
    }
    account->key = taken->first;
    enter(api, account, PUT_DIRECTORY, now, out);
}

static void
directory_put(struct api *api, struct account *account, enum an_err err,
              const Anser__Bus__Result *result, struct an_now now, struct an_outbox *out)
{
    if (err == AN_ERR_USER_EXISTS && result->user != 0) {
        /* Our own key: an earlier try of ours, whose outcome we did not learn. */
        account->existed = result->user != account->key;
        account->key = result->user;
        err = AN_OK;
    }
    if (err != AN_OK) {
        end(api, account, err, out);
        return;
    }
    enter(api, account, CREATE_USER, now, out);
}

static void
user_created(struct api *api, struct account *account, enum an_err err,
             struct an_outbox *out)
{
    if (err == AN_ERR_USER_EXISTS && !account->existed) {
        err = AN_OK; /* made by our own earlier try */
    }
    end(api, account, err, out);
}

static void
submitted(struct api *api, struct account *account, const struct an_msg *msg,
          struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Submitted *body = (const Anser__Bus__Submitted *)msg->body;
    const Anser__Bus__Result *result;
    enum an_err err;

    if (body->n_results != 1 || !an_err_known(body->results[0]->err)) {
        end(api, account, AN_ERR_INTERNAL, out);
        return;
    }
    result = body->results[0];
    err = (enum an_err)result->err;
    if (err == AN_ERR_MOVED && result->owner < api->topology->count[AN_ROLE_SEQUENCER]) {
        account->owner = (uint16_t)result->owner;
    } else if (err == AN_ERR_UNAVAILABLE || err == AN_ERR_SHUTTING_DOWN) {
        ask_another(api, account);
    }
    if (an_err_handling(err) == AN_HANDLE_RETRY) {
        retry(api, account, now, out);
    } else if (account->stage == PUT_DIRECTORY) {
        directory_put(api, account, err, result, now, out);
    } else {
        user_created(api, account, err, out);
    }
}

static void
answered(struct api *api, const struct an_msg *msg, struct an_now now,
         struct an_outbox *out)
{
    struct account *account = account_of(api, msg->tag);

    if (account == NULL) {
        return; /* of a step that was given up */
    }
    if (an_err_handling(msg->err) == AN_HANDLE_RETRY) {
        if (msg->err != AN_ERR_BUSY) {
            ask_another(api, account);
        }
        retry(api, account, now, out);
    } else if (msg->err != AN_OK || msg->body == NULL) {
        end(api, account, msg->err == AN_OK ? AN_ERR_INTERNAL : msg->err, out);
    } else if (msg->kind == AN_KIND_TAKEN_SEGMENT && account->stage == TAKE_KEY) {
        key_taken(api, account, msg, now, out);
    } else if (msg->kind == AN_KIND_SUBMITTED && account->stage != TAKE_KEY) {
        submitted(api, account, msg, now, out);
    } else {
        end(api, account, AN_ERR_INTERNAL, out);
    }
}

/* ------------------------------------------------------------------ words */

static void
refuse(struct api *api, struct an_msg *msg, enum an_err err, struct an_outbox *out)
{
    api->count.refused++;
    an_out_answer(out, msg, err, NULL);
}

static struct account *
free_account(struct api *api)
{
    for (size_t i = 0; i < ACCOUNTS_MAX; i++) {
        if (api->accounts[i].stage == FREE) {
            return &api->accounts[i];
        }
    }
    return NULL;
}

static void
user_add(struct api *api, struct an_msg *msg, const char *name, const char *app,
         struct an_now now, struct an_outbox *out)
{
    struct account *account = free_account(api);

    if (!an_name_valid((const uint8_t *)name, strlen(name)) ||
        !an_name_valid((const uint8_t *)app, strlen(app))) {
        refuse(api, msg, AN_ERR_USER_NAME, out);
        return;
    }
    if (account == NULL) {
        refuse(api, msg, AN_ERR_BUSY, out);
        return;
    }
    account->name_len = strlen(name);
    memcpy(account->name, name, account->name_len);
    account->app_len = strlen(app);
    memcpy(account->app, app, account->app_len);
    account->existed = false;
    account->idgen = 0;
    account->slot = 0;
    account->request = an_msg_hold(msg);
    api->in_progress++;
    enter(api, account, TAKE_KEY, now, out);
}

static void
inspect(struct api *api, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Inspect *body = (const Anser__Bus__Inspect *)msg->body;
    char text[WORDS_MAX];
    char *word, *name, *app, *more, *at = NULL;

    api->count.requests++;
    if (an_out_help(out, msg, "\"user-add NAME [APP]\":\"make an account\"")) {
        return;
    }
    if (body->words.len == 0 || body->words.len >= sizeof(text) ||
        memchr(body->words.data, '\0', body->words.len) != NULL) {
        refuse(api, msg, AN_ERR_ARGUMENT, out);
        return;
    }
    memcpy(text, body->words.data, body->words.len);
    text[body->words.len] = '\0';
    word = strtok_r(text, " ", &at);
    name = strtok_r(NULL, " ", &at);
    app = strtok_r(NULL, " ", &at);
    more = strtok_r(NULL, " ", &at);
    if (word != NULL && strcmp(word, "user-add") == 0 && name != NULL && more == NULL) {
        user_add(api, msg, name, app == NULL ? "default" : app, now, out);
    } else {
        refuse(api, msg, AN_ERR_ARGUMENT, out);
    }
}

/* ------------------------------------------------------------------ the actor */

static void
stop(struct api *api, struct an_outbox *out)
{
    for (size_t i = 0; i < ACCOUNTS_MAX; i++) {
        if (api->accounts[i].stage != FREE) {
            end(api, &api->accounts[i], AN_ERR_SHUTTING_DOWN, out);
        }
    }
    an_out_stopped(out);
}

static void
api_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
         struct an_outbox *out)
{
    struct api *api = (struct api *)actor;
    struct account *account;

    if (msg->answer) {
        answered(api, msg, now, out);
    } else if (msg->kind == AN_KIND_INSPECT) {
        inspect(api, msg, now, out);
    } else if (msg->kind == AN_KIND_TIMER) {
        account = account_of(api, msg->tag);
        if (account != NULL) {
            advance(api, account, now, out);
        }
    } else if (msg->kind == AN_KIND_HTTP) {
        api_http(msg->http, out);
    } else if (msg->kind == AN_KIND_START) {
        an_out_ready(out);
    } else if (msg->kind == AN_KIND_STOP) {
        stop(api, out);
    } else if (msg->request) {
        refuse(api, msg, AN_ERR_NOT_SUPPORTED, out);
    }
}

/* One request is one chain of asks: there is nothing to gather. */
static void
api_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

static void
api_metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct api *api = (const struct api *)actor;

#define METRIC(name, sentence)                                                           \
    metric(ctx, #name "_total", sentence, true, api->count.name);
    API_COUNTERS(METRIC)
#undef METRIC
    metric(ctx, "in_progress", "Accounts being made now.", false, api->in_progress);
}

static void
api_destroy(struct an_actor *actor)
{
    struct api *api = (struct api *)actor;

    for (size_t i = 0; i < ACCOUNTS_MAX; i++) {
        an_msg_abandon(api->accounts[i].request);
    }
    free(api);
}

static const struct an_actor_ops api_ops = {AN_ROLE_API, api_step, api_drained,
                                            api_metrics, api_destroy};

enum an_err
api_create(struct an_actor **out, const struct api_cfg *cfg)
{
    struct api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    api->actor.ops = &api_ops;
    api->topology = cfg->topology;
    an_rng_seed(&api->rng, cfg->seed);
    *out = &api->actor;
    return AN_OK;
}
