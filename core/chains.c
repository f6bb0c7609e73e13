#include "core/chains.h"
#include <assert.h>
#include <stdlib.h>

enum { CAP_MIN = 64 };

static struct an_chained **
place(const struct an_chains *chains, uint64_t hash)
{
    return &chains->table[hash & (chains->cap - 1)];
}

static void
push(struct an_chains *chains, struct an_chained *chained)
{
    struct an_chained **first = place(chains, chained->hash);

    chained->next = *first;
    *first = chained;
}

/* As many places as there are in it, or more: chains are one long, mostly. */
static bool
grow(struct an_chains *chains)
{
    struct an_chains larger = {.count = chains->count};

    if (chains->count < chains->cap) {
        return true;
    }
    larger.cap = chains->cap == 0 ? CAP_MIN : chains->cap * 2;
    larger.table = calloc(larger.cap, sizeof(*larger.table));
    if (larger.table == NULL) {
        return chains->cap > 0;
    }
    for (size_t i = 0; i < chains->cap; i++) {
        while (chains->table[i] != NULL) {
            struct an_chained *at = chains->table[i];

            chains->table[i] = at->next;
            push(&larger, at);
        }
    }
    free(chains->table);
    *chains = larger;
    return true;
}

bool
an_chains_add(struct an_chains *chains, struct an_chained *chained, uint64_t hash)
{
    if (!grow(chains)) {
        return false;
    }
    chained->hash = hash;
    push(chains, chained);
    chains->count++;
    return true;
}

void
an_chains_remove(struct an_chains *chains, const struct an_chained *chained)
{
    struct an_chained **link;

    assert(chains->count > 0);
    link = place(chains, chained->hash);
    while (*link != chained) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = chained->next;
    chains->count--;
}

struct an_chained *
an_chains_walk(const struct an_chains *chains, const struct an_chained *at)
{
    size_t i = 0;

    if (at != NULL && at->next != NULL) {
        return at->next;
    }
    if (at != NULL) {
        i = (size_t)(at->hash & (chains->cap - 1)) + 1;
    }
    while (i < chains->cap && chains->table[i] == NULL) {
        i++;
    }
    return i < chains->cap ? chains->table[i] : NULL;
}

void
an_chains_fini(struct an_chains *chains)
{
    free(chains->table);
    *chains = (struct an_chains){0};
}
