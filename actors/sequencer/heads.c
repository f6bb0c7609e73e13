#include "actors/sequencer/heads.h"
#include <stdlib.h>
#include <string.h>

enum { HEADS_BITS = 15 }; /* 512 KiB when all are in use */

bool
seq_heads_init(struct seq_heads *heads)
{
    heads->inboxes = calloc((size_t)1 << HEADS_BITS, sizeof(*heads->inboxes));
    return heads->inboxes != NULL;
}

void
seq_heads_fini(struct seq_heads *heads)
{
    free(heads->inboxes);
    heads->inboxes = NULL;
}

/* User keys are given out one after the other by the system: no seed is needed. */
static struct seq_inbox *
place_of(const struct seq_heads *heads, uint64_t user)
{
    return &heads->inboxes[user * 0x9e3779b97f4a7c15u >> (64 - HEADS_BITS)];
}

void
seq_heads_learn(struct seq_heads *heads, uint64_t user, uint64_t head)
{
    struct seq_inbox *inbox = place_of(heads, user);

    if (user != 0 && head != 0 && (inbox->user != user || inbox->head < head)) {
        *inbox = (struct seq_inbox){user, head};
    }
}

uint64_t
seq_heads_get(const struct seq_heads *heads, uint64_t user)
{
    const struct seq_inbox *inbox = place_of(heads, user);

    return inbox->user == user ? inbox->head : 0;
}

void
seq_heads_clear(struct seq_heads *heads)
{
    memset(heads->inboxes, 0, ((size_t)1 << HEADS_BITS) * sizeof(*heads->inboxes));
}
