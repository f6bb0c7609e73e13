/* An index from hashes to structs that live elsewhere: a table of chains, which grows
 * with what is in it. A struct that may be in one begins with its struct an_chained, so
 * that a pointer to that is one to the whole:
 *
 *   struct an_chained *at = an_chains_first(&chains, hash);
 *
 *   while (at != NULL && ((const struct thing *)at)->key != key) {
 *       at = an_chains_next(at);
 *   }
 *
 * The index owns its table alone. Keys and their comparison are the caller's, and so is
 * the hash; where strangers choose the keys it is a keyed one (core/hash.h).
 *
 * Context: one thread at a time. */
#ifndef AN_CORE_CHAINS_H
#define AN_CORE_CHAINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct an_chained {
    struct an_chained *next; /* at the same place of the table */
    uint64_t hash;
};

/* Zeroed: empty. */
struct an_chains {
    struct an_chained **table; /* NULL before the first was added */
    size_t cap;                /* places; 0 or a power of two */
    size_t count;              /* what is in it; only read by others */
};

/* Puts it in; twice under one key is the caller's to avoid. Memory for a larger table is
 * a wish: without it chains get longer. false, and nothing done, only when there is none
 * for the first. */
bool an_chains_add(struct an_chains *chains, struct an_chained *chained, uint64_t hash);
/* Takes out what is in it (asserted). */
void an_chains_remove(struct an_chains *chains, const struct an_chained *chained);
/* Walks all, in an order that follows from the hashes and what was done before, while
 * nothing is put in or taken out:
 *   for (at = an_chains_walk(&chains, NULL); at != NULL; at = an_chains_walk(&chains,
 * at)) */
struct an_chained *an_chains_walk(const struct an_chains *chains,
                                  const struct an_chained *at);
/* Frees the table and leaves it empty. What was in it stays as it is. */
void an_chains_fini(struct an_chains *chains);

/* The first at or behind this one with the hash; NULL: none. */
static inline struct an_chained *
an_chains_from(struct an_chained *at, uint64_t hash)
{
    while (at != NULL && at->hash != hash) {
        at = at->next;
    }
    return at;
}

/* Of those with the hash, in no order; NULL: none. */
static inline struct an_chained *
an_chains_first(const struct an_chains *chains, uint64_t hash)
{
    return chains->cap == 0
               ? NULL
               : an_chains_from(chains->table[hash & (chains->cap - 1)], hash);
}

/* The next one with the same hash; NULL: none. */
static inline struct an_chained *
an_chains_next(const struct an_chained *at)
{
    return an_chains_from(at->next, at->hash);
}

#endif
