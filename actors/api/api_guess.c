#include "actors/api/api_guess.h"
#include "core/hash.h"
#include "core/limits.h"
#include <arpa/inet.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024,
    WAYS = 8,
    FREE_TRIES = 5,          /* of a pair; then it waits */
    FREE_ADDRESS_TRIES = 50, /* of an address, over all accounts */
    FIRST_WAIT_MS = 1000,
    WAIT_MS_MAX = 60000,
    FORGET_MS = 15 * 60 * 1000, /* without a try */
};

struct tries {
    uint64_t id; /* of the pair or the address; 0: nobody's */
    uint64_t last_ms, until_ms;
    uint64_t began_ms; /* the newest that was counted */
    uint32_t count;
};

/* Names cost nothing, addresses do: names never push out addresses. */
struct api_guess {
    struct an_hash_key key;
    struct tries pairs[BUCKETS][WAYS];
    struct tries addresses[BUCKETS][WAYS];
};

_Static_assert(AN_HASH_KEY_LEN >= crypto_generichash_KEYBYTES_MIN,
               "BLAKE2b takes the key");

struct api_guess *
api_guess_create(uint64_t seed)
{
    struct api_guess *guess = calloc(1, sizeof(*guess));

    if (guess != NULL) {
        an_hash_seed(&guess->key, seed);
    }
    return guess;
}

void
api_guess_destroy(struct api_guess *guess)
{
    free(guess);
}

/* A customer's network has 2^64 addresses; it is one. */
static void
add_address(crypto_generichash_state *state, const char *from)
{
    struct in6_addr v6;

    if (inet_pton(AF_INET6, from, &v6) == 1) {
        crypto_generichash_update(state, v6.s6_addr, 8);
    } else {
        crypto_generichash_update(state, (const unsigned char *)from, strlen(from) + 1);
    }
}

/* With the key, so that nobody can compute which names share a place. */
static uint64_t
id_of(const struct api_guess *guess, const char *app, const char *name, const char *from)
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash_state state;
    uint64_t id;

    crypto_generichash_init(&state, guess->key.bytes, sizeof(guess->key.bytes),
                            sizeof(hash));
    crypto_generichash_update(&state, (const unsigned char *)app, strlen(app) + 1);
    crypto_generichash_update(&state, (const unsigned char *)name, strlen(name) + 1);
    add_address(&state, from);
    crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(&id, hash, sizeof(id));
    return id == 0 ? 1 : id;
}

uint64_t
api_guess_address(const struct api_guess *guess, const char *from)
{
    return id_of(guess, "", "", from);
}

/* NULL, too, when it is forgotten. */
static struct tries *
find(struct tries table[][WAYS], uint64_t id, uint64_t now_ms)
{
    struct tries *ways = table[id % BUCKETS];

    for (unsigned i = 0; i < WAYS; i++) {
        if (ways[i].id == id) {
            if (now_ms > ways[i].last_ms && now_ms - ways[i].last_ms > FORGET_MS) {
                ways[i] = (struct tries){0};
                return NULL;
            }
            return &ways[i];
        }
    }
    return NULL;
}

/* Its place, else that of the one that tried the longest ago of those that wait for
 * nothing. NULL where all wait: *until_ms, when the first of them has waited. */
static struct tries *
find_or_make(struct tries table[][WAYS], uint64_t id, uint64_t now_ms, uint64_t *until_ms)
{
    struct tries *ways = table[id % BUCKETS], *oldest = NULL;
    struct tries *tries = find(table, id, now_ms);

    if (tries != NULL) {
        return tries;
    }
    *until_ms = UINT64_MAX;
    for (unsigned i = 0; i < WAYS; i++) {
        if (ways[i].until_ms > now_ms) {
            *until_ms = ways[i].until_ms < *until_ms ? ways[i].until_ms : *until_ms;
        } else if (oldest == NULL || ways[i].last_ms < oldest->last_ms) {
            oldest = &ways[i];
        }
    }
    if (oldest != NULL) {
        *oldest = (struct tries){.id = id, .last_ms = now_ms};
    }
    return oldest;
}

/* Whether it may not try yet; who tries is not forgotten. */
static bool
waits(struct tries *tries, uint64_t now_ms, uint64_t *until_ms)
{
    tries->last_ms = now_ms;
    *until_ms = tries->until_ms;
    return tries->until_ms > now_ms;
}

static void
count(struct tries *tries, uint32_t free_tries, uint64_t now_ms)
{
    uint64_t wait_ms = FIRST_WAIT_MS;

    tries->last_ms = now_ms;
    tries->began_ms = now_ms;
    if (++tries->count < free_tries) {
        return;
    }
    for (uint32_t i = free_tries; i < tries->count && wait_ms < WAIT_MS_MAX; i++) {
        wait_ms *= 2;
    }
    tries->until_ms = now_ms + (wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX);
}

uint64_t
api_guess_try(struct api_guess *guess, const char *app, const char *name,
              const char *from, uint64_t now_ms)
{
    uint64_t id = id_of(guess, app, name, from), until_ms, pair_ms;
    struct tries *pair = find(guess->pairs, id, now_ms);
    struct tries *all =
        find_or_make(guess->addresses, api_guess_address(guess, from), now_ms, &until_ms);
    bool slowed = all == NULL || waits(all, now_ms, &until_ms);

    if (pair == NULL && !slowed) { /* who waits makes up names in vain */
        pair = find_or_make(guess->pairs, id, now_ms, &until_ms);
        slowed = pair == NULL;
    }
    if (pair != NULL && waits(pair, now_ms, &pair_ms)) {
        until_ms = slowed && until_ms > pair_ms ? until_ms : pair_ms;
        slowed = true;
    }
    if (slowed) {
        return until_ms - now_ms;
    }
    count(pair, FREE_TRIES, now_ms);
    count(all, FREE_ADDRESS_TRIES, now_ms);
    return 0;
}

uint64_t
api_guess_wait(struct api_guess *guess, const char *app, const char *name,
               const char *from, uint64_t now_ms, bool *address)
{
    const struct tries *pair = find(guess->pairs, id_of(guess, app, name, from), now_ms);
    const struct tries *all =
        find(guess->addresses, api_guess_address(guess, from), now_ms);
    uint64_t pair_ms = pair == NULL ? 0 : pair->until_ms;
    uint64_t all_ms = all == NULL ? 0 : all->until_ms;
    uint64_t until_ms = pair_ms > all_ms ? pair_ms : all_ms;

    *address = all_ms > now_ms;
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

/* A later one began after its own wait, and has set another: that one stands. */
static void
take_back(struct tries *tries, uint64_t began_ms, bool all)
{
    if (tries != NULL && tries->count > 0) {
        tries->count = all ? 0 : tries->count - 1;
        if (all || tries->began_ms == began_ms) {
            tries->until_ms = 0;
        }
        if (tries->count == 0 && tries->until_ms == 0) {
            *tries = (struct tries){0}; /* it takes no place */
        }
    }
}

void
api_guess_pass(struct api_guess *guess, const char *app, const char *name,
               const char *from, uint64_t began_ms, bool right)
{
    take_back(find(guess->pairs, id_of(guess, app, name, from), began_ms), began_ms,
              right);
    take_back(find(guess->addresses, api_guess_address(guess, from), began_ms), began_ms,
              false);
}
