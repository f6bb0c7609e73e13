#include "tests/sim/guess.h"
#include "actors/api/api.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "tests/sim/puppet.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY = 1000,        /* users' keys, by account */
    FREE_TRIES = 5,    /* as docs/http.md has it: of an account from an address */
    FREE_ADDRESS = 50, /* over all accounts */
    FIRST_WAIT_MS = 1000,
    WAIT_MS_MAX = 60000,
    FORGET_MS = 15 * 60 * 1000,
    CLOCK_PERCENT = 95, /* of a time, by a clock that may drift */
    NAP_MS = 16 * 60 * 1000,
    TYPOS_MAX = 3,
    HASH_PASSES = 1,
    HASH_BYTES = 8192,
};

static const char RIGHT[] = "correct horse";
/* Of that; made once, since its salt is random. */
static char hash[crypto_pwhash_STRBYTES];

/* ------------------------------------------------------------------ whom it asks */

static void
account_of(const struct guess *g, const ProtobufCBinaryData *name,
           Anser__Bus__Answer *answer)
{
    char known[16];

    answer->err = AN_ERR_NOT_FOUND;
    for (unsigned i = 0; i < g->people; i++) {
        snprintf(known, sizeof(known), "user-%u", i);
        if (name->len == strlen(known) && memcmp(name->data, known, name->len) == 0) {
            answer->err = AN_OK;
            answer->user = KEY + i;
        }
    }
}

static void
store_step(void *ctx, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const struct guess *g = ctx;
    const Anser__Bus__Read *read = (const Anser__Bus__Read *)msg->body;
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer answer = ANSER__BUS__ANSWER__INIT, *answers = &answer;
    Anser__Bus__AccountState state = ANSER__BUS__ACCOUNT_STATE__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;
    char name[16];

    (void)now;
    if (msg->kind != AN_KIND_READ) {
        return;
    }
    if (sim_chance(g->sim, g->unwell)) {
        an_out_answer(out, msg, AN_ERR_DISK_FULL, NULL); /* not asked again */
        return;
    }
    if (read->queries[0]->what_case == ANSER__BUS__QUERY__WHAT_RESOLVE) {
        account_of(g, &read->queries[0]->resolve->name, &answer);
    } else {
        uint64_t user = read->queries[0]->account->user;

        snprintf(name, sizeof(name), "user-%llu", (unsigned long long)(user - KEY));
        answer.name = (ProtobufCBinaryData){strlen(name), (uint8_t *)name};
        details.app = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t)AN_APP_DEFAULT};
        details.password_hash = (ProtobufCBinaryData){strlen(hash), (uint8_t *)hash};
        answer.account = &state;
        answer.details = &details;
    }
    done.answers = &answers;
    done.n_answers = 1;
    an_out_answer(out, msg, AN_OK, &done.base);
}

static void
sequencer_step(void *ctx, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__Submitted done = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result result = ANSER__BUS__RESULT__INIT, *results = &result;

    (void)ctx;
    (void)now;
    if (msg->kind != AN_KIND_SUBMIT) {
        return;
    }
    done.results = &results;
    done.n_results = 1;
    an_out_answer(out, msg, AN_OK, &done.base);
}

/* Which gates there are nobody can say. */
static void
router_step(void *ctx, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)ctx;
    (void)now;
    if (msg->request) {
        an_out_answer(out, msg, AN_ERR_UNAVAILABLE, NULL);
    }
}

static struct an_actor *
store_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    (void)addr, (void)seed, (void)why, (void)why_len;
    return puppet_create(ctx, store_step);
}

static struct an_actor *
sequencer_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    (void)addr, (void)seed, (void)why, (void)why_len;
    return puppet_create(ctx, sequencer_step);
}

static struct an_actor *
router_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    (void)addr, (void)seed, (void)why, (void)why_len;
    return puppet_create(ctx, router_step);
}

static struct an_actor *
api_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    static const struct an_token_keys keys = {.key = {{.id = "k1"}}, .count = 1};
    const struct guess *g = ctx;
    struct api_cfg cfg = {.index = addr.index,
                          .topology = &g->topology,
                          .seed = seed,
                          .keys = &keys,
                          .secret = "nobody can guess this, can they",
                          .hash_passes = HASH_PASSES,
                          .hash_bytes = HASH_BYTES};
    struct an_actor *actor;
    enum an_err err = api_create(&actor, &cfg);

    if (err != AN_OK) {
        snprintf(why, why_len, "%s", an_err_name(err));
        return NULL;
    }
    return actor;
}

/* ------------------------------------------------------------------ the rule */

static uint64_t
wait_ms(size_t counted, unsigned free_tries)
{
    uint64_t ms = FIRST_WAIT_MS;

    if (counted < free_tries) {
        return 0;
    }
    for (size_t i = free_tries; i < counted && ms < WAIT_MS_MAX; i++) {
        ms *= 2;
    }
    return ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX;
}

static void
put_sorted(uint64_t *array, size_t count, uint64_t value)
{
    size_t at = count;

    while (at > 0 && array[at - 1] > value) {
        array[at] = array[at - 1];
        at--;
    }
    array[at] = value;
}

/* When a guess began nobody but the api knows: not before it was sent, nor after it was
 * answered. So the i-th to begin was not before the i-th that was sent, and the j-th not
 * after the j-th that was answered; and between the two lie the waits. */
static void
run_judge(struct guess *g, const struct guess_run *run, unsigned free_tries,
          const char *of)
{
    int64_t latest = INT64_MIN, waits = 0;

    for (size_t j = 0; j < run->count; j++) {
        int64_t least = (int64_t)run->sent[j] - waits;

        latest = least > latest ? least : latest;
        if ((int64_t)run->answered[j] - waits < latest) {
            sim_fail(g->sim, "%zu guesses of %s are answered, %lld ms too early", j + 1,
                     of,
                     (long long)(latest + waits - (int64_t)run->answered[j]) / SIM_MS);
            return;
        }
        waits += (int64_t)wait_ms(j + 1, free_tries) * SIM_MS * CLOCK_PERCENT / 100;
    }
}

static void
run_wrong(struct guess *g, struct guess_run *run, const struct guess_request *request,
          unsigned free_tries, const char *of)
{
    size_t count = run->count++;

    run->sent = sim_grow(run->sent, &run->sent_cap, run->count, sizeof(uint64_t));
    run->answered =
        sim_grow(run->answered, &run->answered_cap, run->count, sizeof(uint64_t));
    put_sorted(run->sent, count, request->sent_us);
    put_sorted(run->answered, count, g->sim->now_us);
    g->longest = run->count > g->longest ? (unsigned)run->count : g->longest;
    run_judge(g, run, free_tries, of);
}

/* So long without a try that it is forgotten, or may be. */
static void
run_tried(const struct guess *g, struct guess_run *run)
{
    uint64_t forget_us = (uint64_t)FORGET_MS * SIM_MS * CLOCK_PERCENT / 100;

    if (g->sim->now_us - run->tried_us > forget_us) {
        run->count = 0;
    }
    run->tried_us = g->sim->now_us;
}

/* ------------------------------------------------------------------ requests */

static void
request_free(struct guess *g, struct guess_request *request)
{
    request->used = false;
    g->person[request->person].flying--;
}

/* The api died: nobody answers those, and what it counted is gone. */
static void
lives_check(struct guess *g)
{
    uint32_t life_now = sim_life(g->sim, g->api);

    if (life_now == g->life) {
        return;
    }
    g->life = life_now;
    for (unsigned i = 0; i < GUESS_REQUESTS_MAX; i++) {
        if (g->request[i].used && g->request[i].life != life_now) {
            request_free(g, &g->request[i]);
        }
    }
    for (unsigned i = 0; i < g->people; i++) {
        g->person[i].all.count = 0;
        g->person[i].wait_until_us = 0;
        for (unsigned k = 0; k < g->people; k++) {
            g->person[i].at[k].count = 0;
        }
    }
}

static void
address_put(struct guess *g, unsigned person, char *from)
{
    if (!g->person[person].v6) {
        snprintf(from, AN_HTTP_FROM_MAX, "10.0.0.%u", person);
        return;
    }
    snprintf(from, AN_HTTP_FROM_MAX, "2001:db8:0:%x::%x", person,
             (unsigned)an_rng_below(&g->dice, 65536));
}

static void
try_login(struct guess *g, unsigned person, unsigned account, bool right)
{
    struct sim *sim = g->sim;
    struct guess_request *request = g->request;
    struct an_msg *msg;

    lives_check(g);
    while (request < g->request + GUESS_REQUESTS_MAX && request->used) {
        request++;
    }
    if (request == g->request + GUESS_REQUESTS_MAX || !sim_actor_up(sim, g->api) ||
        sim->process[sim->actor[g->api].process].stopping) {
        return;
    }
    *request = (struct guess_request){.used = true,
                                      .person = person,
                                      .account = account,
                                      .right = right,
                                      .sent_us = sim->now_us,
                                      .life = g->life};
    snprintf(request->body, sizeof(request->body),
             "{\"user\":\"user-%u\",\"password\":\"%s\",\"device\":\"d\","
             "\"platform\":\"web\"}",
             account, right ? RIGHT : "a wrong one");
    request->http = (struct an_http_request){.id = ++g->next_id,
                                             .method = AN_HTTP_POST,
                                             .method_name = "POST",
                                             .uri = "/v1/login",
                                             .content_type = "application/json",
                                             .body = (const uint8_t *)request->body,
                                             .body_len = strlen(request->body)};
    address_put(g, person, request->http.from);
    run_tried(g, &g->person[person].all);
    run_tried(g, &g->person[person].at[account]);
    g->person[person].flying++;
    sim_trace(sim, "%s tries a %s password of user-%u, request %llu", request->http.from,
              right ? "right" : "wrong", account, (unsigned long long)request->http.id);
    msg = sim_msg_create(sim, g->api, AN_KIND_HTTP);
    msg->http = &request->http;
    sim_mail(sim, g->api, msg);
}

/* ------------------------------------------------------------------ answers */

static bool
named(const char *body, size_t len, const char *name)
{
    char member[64];

    snprintf(member, sizeof(member), "\"name\":\"%s\"", name);
    return memmem(body, len, member, strlen(member)) != NULL;
}

static void
answer_wrong(struct guess *g, const struct guess_request *request)
{
    struct guess_person *person = &g->person[request->person];
    char of[96];

    g->wrong++;
    if (request->right) {
        sim_fail(g->sim, "the right password of user-%u is wrong", request->account);
    }
    snprintf(of, sizeof(of), "user-%u by person %u", request->account, request->person);
    run_wrong(g, &person->at[request->account], request, FREE_TRIES, of);
    snprintf(of, sizeof(of), "all by person %u", request->person);
    run_wrong(g, &person->all, request, FREE_ADDRESS, of);
}

static void
answer_slowed(struct guess *g, const struct guess_request *request, uint32_t retry_s)
{
    struct guess_person *person = &g->person[request->person];

    g->slowed++;
    if (person->owner) {
        sim_fail(g->sim, "the owner of user-%u is told to wait for others' guesses",
                 request->account);
    }
    if (retry_s == 0 || retry_s > WAIT_MS_MAX / 1000) {
        sim_fail(g->sim, "a guesser is told to wait %u s", retry_s);
    }
    person->wait_until_us = g->sim->now_us + retry_s * 1000ull * SIM_MS;
}

static void
on_http(struct sim *sim, const struct an_effect *effect, const uint8_t *bytes)
{
    struct guess *g = sim->http_ctx;
    struct guess_request *request = g->request;
    const char *body = (const char *)bytes;

    while (request < g->request + GUESS_REQUESTS_MAX &&
           (!request->used || request->http.id != effect->conn)) {
        request++;
    }
    if (request == g->request + GUESS_REQUESTS_MAX) {
        sim_fail(sim, "an answer to a request that nobody made");
        return;
    }
    sim_trace(sim, "request %llu is answered %u: %.*s", (unsigned long long)effect->conn,
              (unsigned)effect->status, effect->len > 90 ? 90 : (int)effect->len, body);
    if (effect->status == 200) {
        g->in++;
        g->person[request->person].in_us = sim->now_us;
        g->person[request->person].typos = 0;
        /* Nobody has a wrong one on its way beside it. */
        g->person[request->person].at[request->account].count = 0;
        if (!request->right) {
            sim_fail(sim, "a wrong password of user-%u is right", request->account);
        }
    } else if (named(body, effect->len, "PASSWORD_WRONG")) {
        answer_wrong(g, request);
    } else if (named(body, effect->len, "TOO_MANY_TRIES")) {
        answer_slowed(g, request, effect->retry_s);
    } else {
        g->passing++;
    }
    request_free(g, request);
}

/* ------------------------------------------------------------------ people */

static uint64_t
between(struct guess *g, uint64_t low, uint64_t high)
{
    return low + an_rng_below(&g->dice, high - low + 1);
}

/* Some wrong ones, never too many of them, then the right one until it was let in. */
static uint64_t
owner_step(struct guess *g, unsigned index)
{
    struct guess_person *person = &g->person[index];
    bool typo = person->typos < TYPOS_MAX && between(g, 0, 2) == 0;

    if (person->flying > 0) {
        return 1000;
    }
    person->typos = typo ? person->typos + 1 : TYPOS_MAX;
    try_login(g, index, person->account, !typo);
    return typo || person->in_us == 0 ? 2000 : between(g, 2000, 60000);
}

static uint64_t
guesser_step(struct guess *g, unsigned index)
{
    struct guess_person *person = &g->person[index];
    unsigned at_once = person->manner == GUESS_BURSTS ? GUESS_BURST : 1;

    if (person->manner == GUESS_PATIENT && person->wait_until_us > g->sim->now_us) {
        return (person->wait_until_us - g->sim->now_us) / SIM_MS + between(g, 1, 20);
    }
    while (person->flying < at_once) {
        unsigned flying = person->flying;

        if (person->own_too && between(g, 0, 3) == 0) {
            try_login(g, index, person->account, true);
        } else {
            try_login(g, index, (unsigned)between(g, 0, GUESS_OWNERS - 1), false);
        }
        if (person->flying == flying) {
            break; /* no api, or answered at once */
        }
    }
    if (between(g, 1, 2000) == 1) {
        return NAP_MS;
    }
    return person->manner == GUESS_PATIENT ? between(g, 1, 100) : between(g, 20, 1500);
}

static void
tick(struct sim *sim, void *arg, uint64_t index)
{
    struct guess *g = sim->http_ctx;
    uint64_t ms;

    (void)arg;
    ms = g->person[index].owner ? owner_step(g, (unsigned)index)
                                : guesser_step(g, (unsigned)index);
    sim_at(sim, sim->now_us + ms * SIM_MS, tick, NULL, index);
}

void
guess_start(struct guess *g)
{
    for (unsigned i = 0; i < g->people; i++) {
        sim_at(g->sim, g->sim->now_us + between(g, 1, 3000) * SIM_MS, tick, NULL, i);
    }
}

bool
guess_owners_in(const struct guess *g, uint64_t since_us)
{
    for (unsigned i = 0; i < GUESS_OWNERS; i++) {
        if (g->person[i].in_us < since_us) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ life */

static void
people_draw(struct guess *g)
{
    g->people = GUESS_OWNERS + (unsigned)between(g, 1, GUESS_GUESSERS_MAX);
    for (unsigned i = 0; i < g->people; i++) {
        struct guess_person *person = &g->person[i];

        person->owner = i < GUESS_OWNERS;
        person->account = i;
        person->manner = (enum guess_manner)between(g, 0, GUESS_MANNERS - 1);
        person->v6 = between(g, 0, 1) == 1;
        person->own_too = between(g, 0, 1) == 1;
    }
}

static void
plan_draw(struct guess *g, struct sim_plan *plan)
{
    uint32_t level = (uint32_t)between(g, 0, 3);

    plan->latency_us = 200;
    plan->drop_request = plan->drop_answer = 60 * level;
    plan->double_request = plan->late_request = plan->delay = 100 * level;
    g->unwell = 300 * level;
    plan->reset_gap = level == 0 ? 0 : 20000;
    plan->pause_gap = level < 2 ? 0 : 15000;
    plan->kill_gap = level < 3 ? 0 : 300000;
    for (unsigned i = 0; i < g->sim->process_count; i++) {
        g->sim->process[i].mono_ppm = (int64_t)between(g, 0, 60000) - 30000;
    }
}

struct sim *
guess_begin(struct guess *g, uint64_t seed, bool verbose)
{
    static const struct {
        const char *name;
        uint8_t role;
        sim_make_f *make;
    } actors[] = {
        {"store", AN_ROLE_STORE, store_make},
        {"sequencer", AN_ROLE_SEQUENCER, sequencer_make},
        {"router", AN_ROLE_ROUTER, router_make},
        {"api", AN_ROLE_API, api_make},
    };
    struct sim_options options = {.seed = seed, .quiet = !verbose, .verbose = verbose};
    struct sim *sim = sim_create(&options);

    *g = (struct guess){.sim = sim};
    if (sim == NULL || sodium_init() < 0 ||
        (hash[0] == '\0' &&
         crypto_pwhash_str(hash, RIGHT, strlen(RIGHT), HASH_PASSES, HASH_BYTES) != 0)) {
        abort();
    }
    an_rng_seed(&g->dice, seed ^ 0x60e55);
    an_topology_single(&g->topology);
    for (size_t i = 0; i < sizeof(actors) / sizeof(actors[0]); i++) {
        g->api = sim->actor_count; /* the last one */
        sim_actor_add(sim, sim_process_add(sim, actors[i].name),
                      (struct an_addr){actors[i].role, 0}, actors[i].make, g);
    }
    sim->http = on_http;
    sim->http_ctx = g;
    people_draw(g);
    plan_draw(g, &sim->plan);
    return sim;
}

void
guess_end(struct guess *g)
{
    sim_destroy(g->sim);
    for (unsigned i = 0; i < g->people; i++) {
        free(g->person[i].all.sent);
        free(g->person[i].all.answered);
        for (unsigned k = 0; k < GUESS_PEOPLE_MAX; k++) {
            free(g->person[i].at[k].sent);
            free(g->person[i].at[k].answered);
        }
    }
}
