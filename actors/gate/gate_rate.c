/* How often users and addresses may ask. Each has a bucket for every kind of request;
 * those of a user count for all his connections here, those of an address for all of its
 * users. Whoever has left is remembered until his buckets are full again, so that coming
 * back gives nothing. What is refused takes nothing out of a bucket, and is not stored.
 */
#include "actors/gate/gate_priv.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SAY_MS = 1000 };
enum { OF_USER, OF_ADDRESS };

static const struct {
    uint8_t of;
    uint16_t command;
    const char *name;
} rates[] = {
#define ROW(name, of, command, what) {OF_##of, command, #name},
    GATE_RATES(ROW)
#undef ROW
};

/* ------------------------------------------------------------------ table */

static uint64_t
hash_of(const struct gate *g, const uint64_t key[2], unsigned of)
{
    const uint64_t whole[3] = {key[0], key[1], of};

    return an_hash(&g->hash_key, whole, sizeof(whole));
}

static struct gate_rated *
find(const struct gate_rates *all, uint64_t hash, const uint64_t key[2], unsigned of)
{
    struct an_chained *at;

    for (at = an_chains_first(&all->chains, hash); at != NULL; at = an_chains_next(at)) {
        struct gate_rated *rated = (struct gate_rated *)at;

        if (rated->of == of && rated->key[0] == key[0] && rated->key[1] == key[1]) {
            return rated;
        }
    }
    return NULL;
}

static void
left_unlink(struct gate_rates *all, struct gate_rated *at)
{
    *(at->older == NULL ? &all->oldest : &at->older->newer) = at->newer;
    *(at->newer == NULL ? &all->newest : &at->newer->older) = at->older;
    at->older = at->newer = NULL;
    all->left_count--;
}

/* One that no connection is of. */
static void
forget(struct gate_rates *all, struct gate_rated *at)
{
    assert(at->conns == 0);
    left_unlink(all, at);
    an_chains_remove(&all->chains, &at->chained);
    free(at);
}

static struct gate_rated *
add(struct gate_rates *all, uint64_t hash, const uint64_t key[2], unsigned of)
{
    size_t buckets = of == OF_USER ? GATE_RATE_USERS : GATE_RATE_COUNT - GATE_RATE_USERS;
    struct gate_rated *rated =
        calloc(1, sizeof(*rated) + buckets * sizeof(struct an_bucket));

    if (rated == NULL || !an_chains_add(&all->chains, &rated->chained, hash)) {
        free(rated);
        return NULL;
    }
    memcpy(rated->key, key, sizeof(rated->key));
    rated->of = (uint8_t)of;
    return rated;
}

/* With one connection more. NULL without memory. */
static struct gate_rated *
join(struct gate *g, const uint64_t key[2], unsigned of)
{
    uint64_t hash = hash_of(g, key, of);
    struct gate_rated *rated = find(&g->rates, hash, key, of);

    if (rated == NULL) {
        rated = add(&g->rates, hash, key, of);
        if (rated == NULL) {
            return NULL;
        }
    } else if (rated->conns == 0) {
        left_unlink(&g->rates, rated);
    }
    rated->conns++;
    return rated;
}

static void
leave(struct gate *g, struct gate_rated *at)
{
    struct gate_rates *all = &g->rates;

    if (--at->conns > 0) {
        return;
    }
    at->left_ms = g->now.mono_ms;
    at->older = all->newest;
    *(all->newest == NULL ? &all->oldest : &all->newest->newer) = at;
    all->newest = at;
    if (++all->left_count > AN_GATE_RATED_MAX) {
        forget(all, all->oldest);
    }
}

void
gate_rate_tick(struct gate *g)
{
    struct gate_rates *all = &g->rates;

    /* After a burst's time without any request every bucket is full. */
    while (all->oldest != NULL &&
           g->now.mono_ms - all->oldest->left_ms >= (uint64_t)all->burst_s * 1000) {
        forget(all, all->oldest);
    }
}

/* ------------------------------------------------------------------ refusing */

/* At most one line a second: a flood must not become one of the log. Which limit; the one
 * of connections is GATE_RATE_COUNT. */
static void
say(struct gate *g, const struct gate_conn *c, enum gate_rate limit)
{
    char user[2 * AN_NAME_LEN_MAX + 1], address[AN_ADDRESS_TEXT_MAX];

    g->rates.unsaid[limit]++;
    if (g->rates.said_ms != 0 && g->now.mono_ms - g->rates.said_ms < SAY_MS) {
        return;
    }
    g->rates.said_ms = g->now.mono_ms;
    an_address_print(c->address, address, sizeof(address));
    an_out_log(g->out, AN_LOG_INFO, 0,
               "refused limit=%s address=%s conn=%" PRIu64 " user=%s count=%" PRIu64,
               limit == GATE_RATE_COUNT ? "address_conns" : rates[limit].name, address,
               c->id, c->text == NULL ? "-" : gate_json_name(user, c->text, c->user_len),
               g->rates.unsaid[limit]);
    g->rates.unsaid[limit] = 0;
}

static enum an_err
refuse(struct gate *g, const struct gate_conn *c, enum gate_rate rate)
{
    switch (rate) {
#define COUNT(name, of, command, what)                                                   \
    case GATE_RATE_##name:                                                               \
        g->counted.over_##name++;                                                        \
        break;
        GATE_RATES(COUNT)
#undef COUNT
    case GATE_RATE_COUNT:
        assert(false);
    }
    say(g, c, rate);
    return AN_ERR_RATE;
}

static struct an_bucket *
bucket_of(const struct gate_conn *c, enum gate_rate rate)
{
    struct gate_rated *of = rates[rate].of == OF_USER ? c->of_user : c->of_address;

    return of == NULL
               ? NULL
               : &of->buckets[rates[rate].of == OF_USER ? rate : rate - GATE_RATE_USERS];
}

/* The row that counts the command; GATE_RATE_COUNT: none. */
static enum gate_rate
rate_of(unsigned of, unsigned command)
{
    enum gate_rate other = GATE_RATE_COUNT;

    for (unsigned i = 0; i < GATE_RATE_COUNT; i++) {
        if (rates[i].of == of && rates[i].command == command) {
            return (enum gate_rate)i;
        }
        if (rates[i].of == of && rates[i].command == 0) {
            other = (enum gate_rate)i;
        }
    }
    return other;
}

enum an_err
gate_rate_take(struct gate *g, struct gate_conn *c, unsigned command,
               uint32_t *retry_after_ms)
{
    struct an_bucket *buckets[2] = {NULL, NULL};
    enum gate_rate of[2] = {rate_of(OF_USER, command), rate_of(OF_ADDRESS, command)};

    for (unsigned i = 0; i < 2; i++) {
        buckets[i] = of[i] == GATE_RATE_COUNT ? NULL : bucket_of(c, of[i]);
        if (buckets[i] == NULL) {
            continue;
        }
        *retry_after_ms =
            an_bucket_wait_ms(buckets[i], &g->rates.rate[of[i]], g->now.mono_ms);
        if (*retry_after_ms > 0) {
            return refuse(g, c, of[i]);
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        if (buckets[i] != NULL) {
            an_bucket_take(buckets[i], &g->rates.rate[of[i]], g->now.mono_ms);
        }
    }
    return AN_OK;
}

/* ------------------------------------------------------------------ connections */

static void
address_key(uint64_t key[2], const uint8_t address[AN_ADDRESS_LEN])
{
    uint8_t kept[AN_ADDRESS_LEN];

    memcpy(kept, address, sizeof(kept));
    an_address_network(kept);
    memcpy(key, kept, sizeof(kept));
}

enum an_err
gate_rate_open(struct gate *g, struct gate_conn *c, const uint8_t address[AN_ADDRESS_LEN])
{
    uint64_t key[2];

    if (an_nets_hold(&g->rates.unlimited, address)) {
        return AN_OK;
    }
    address_key(key, address);
    c->of_address = join(g, key, OF_ADDRESS);
    if (c->of_address == NULL) {
        return AN_ERR_BUSY;
    }
    if (g->rates.address_conns_max > 0 &&
        c->of_address->conns > g->rates.address_conns_max) {
        gate_rate_closed(g, c);
        g->counted.over_address_conns++;
        say(g, c, GATE_RATE_COUNT);
        return AN_ERR_ADDRESS_FULL;
    }
    return AN_OK;
}

void
gate_rate_closed(struct gate *g, struct gate_conn *c)
{
    if (c->of_address != NULL) {
        leave(g, c->of_address);
        c->of_address = NULL;
    }
}

enum an_err
gate_rate_user(struct gate *g, struct gate_conn *c, uint64_t user,
               uint32_t *retry_after_ms)
{
    const uint64_t key[2] = {user, 0};
    struct an_bucket *bucket;

    assert(c->of_user == NULL);
    c->of_user = join(g, key, OF_USER);
    if (c->of_user == NULL) {
        return AN_ERR_BUSY;
    }
    c->of_user->op_bytes += c->op_bytes;
    bucket = &c->of_user->buckets[GATE_RATE_user_logins];
    *retry_after_ms =
        an_bucket_wait_ms(bucket, &g->rates.rate[GATE_RATE_user_logins], g->now.mono_ms);
    if (*retry_after_ms > 0) {
        return refuse(g, c, GATE_RATE_user_logins);
    }
    an_bucket_take(bucket, &g->rates.rate[GATE_RATE_user_logins], g->now.mono_ms);
    return AN_OK;
}

void
gate_rate_user_gone(struct gate *g, struct gate_conn *c)
{
    if (c->of_user != NULL) {
        c->of_user->op_bytes -= c->op_bytes;
        leave(g, c->of_user);
        c->of_user = NULL;
    }
}

/* ------------------------------------------------------------------ life */

void
gate_rate_init(struct gate *g, const struct gate_cfg *cfg)
{
    struct gate_rates *all = &g->rates;

    all->burst_s = cfg->rate_burst_s == 0 ? AN_RATE_BURST_S : cfg->rate_burst_s;
    all->address_conns_max = cfg->address_conns_max;
    if (cfg->unlimited != NULL) {
        all->unlimited = *cfg->unlimited;
    }
#define FILL(name, of, command, what)                                                    \
    all->rate[GATE_RATE_##name] =                                                        \
        an_rate_of(cfg->name##_per_s, (uint64_t)cfg->name##_per_s * all->burst_s);
    GATE_RATES(FILL)
#undef FILL
}

void
gate_rate_fini(struct gate *g)
{
    struct gate_rates *all = &g->rates;

    while (all->oldest != NULL) {
        forget(all, all->oldest);
    }
    assert(all->chains.count == 0);
    an_chains_fini(&all->chains);
}
