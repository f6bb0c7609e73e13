#include "actors/api/api_guess.h"
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

struct api_guess {
    struct tries of[BUCKETS][WAYS];
};

struct api_guess *
api_guess_create(void)
{
    return calloc(1, sizeof(struct api_guess));
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

static uint64_t
id_of(const char *app, const char *name, const char *from)
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash_state state;
    uint64_t id;

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    crypto_generichash_update(&state, (const unsigned char *)app, strlen(app) + 1);
    crypto_generichash_update(&state, (const unsigned char *)name, strlen(name) + 1);
    add_address(&state, from);
    crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(&id, hash, sizeof(id));
    return id == 0 ? 1 : id;
}

uint64_t
api_guess_address(const char *from)
{
    return id_of("", "", from);
}

/* Its place; with make, that of whom nobody needs any more, or of the one that tried the
 * longest ago. */
static struct tries *
find(struct api_guess *guess, uint64_t id, bool make, uint64_t now_ms)
{
    struct tries *ways = guess->of[id % BUCKETS], *oldest = ways;

    for (unsigned i = 0; i < WAYS; i++) {
        if (ways[i].id == id) {
            if (make && now_ms - ways[i].last_ms > FORGET_MS) {
                ways[i] = (struct tries){.id = id};
            }
            return &ways[i];
        }
        if (ways[i].last_ms < oldest->last_ms) {
            oldest = &ways[i];
        }
    }
    if (!make) {
        return NULL;
    }
    *oldest = (struct tries){.id = id};
    return oldest;
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
    struct tries *pair = find(guess, id_of(app, name, from), true, now_ms);
    struct tries *all;
    uint64_t until_ms;

    pair->last_ms = now_ms; /* it is not the one to go for the other */
    all = find(guess, api_guess_address(from), true, now_ms);
    until_ms = pair->until_ms > all->until_ms ? pair->until_ms : all->until_ms;
    if (until_ms > now_ms) {
        return until_ms - now_ms;
    }
    count(pair, FREE_TRIES, now_ms);
    count(all, FREE_ADDRESS_TRIES, now_ms);
    return 0;
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
    }
}

void
api_guess_pass(struct api_guess *guess, const char *app, const char *name,
               const char *from, uint64_t began_ms, bool right)
{
    take_back(find(guess, id_of(app, name, from), false, 0), began_ms, right);
    take_back(find(guess, api_guess_address(from), false, 0), began_ms, false);
}
