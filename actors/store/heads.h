/* The heads of timelines in memory: what the next number is. One table holds those of
 * conversations, one those of inboxes.
 *
 * A head has two faces: as synced, which is all that reads may see, and as it will be
 * once the batch being built or written is synced, which is what numbers are given from.
 *
 * Context: the store actor's thread. Bounded: when the table is full the least recently
 * used head without a pin makes room; pinned heads never move and never go. */
#ifndef AN_ACTORS_STORE_HEADS_H
#define AN_ACTORS_STORE_HEADS_H

#include "proto/bus.pb-c.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_head_state {
    STORE_HEAD_UNKNOWN, /* nothing was read yet */
    STORE_HEAD_LOADING,
    STORE_HEAD_LOADED,
};

struct store_head {
    uint64_t key[2]; /* conversation: its users, ascending; inbox: the user and 0 */

    /* As synced. */
    uint64_t generation; /* 0: the timeline does not exist */
    uint64_t head;
    uint64_t mark; /* conversation: time of its last message; inbox: oldest seq held */

    /* With the batch being built or in flight; the same otherwise. */
    uint64_t next_generation;
    uint64_t next_head;
    uint64_t next_mark;

    /* While a slot's entries are being checked; next_* otherwise. */
    uint64_t checked_head;
    uint64_t checked_mark;

    /* Conversation: its newest message in the batch, whose names its row repeats. */
    const Anser__Bus__MessageEntry *newest;
    uint64_t load; /* LOADING: number of the read that brings it */
    uint32_t pins;
    uint32_t index; /* the table's own, like the next two */
    uint32_t newer, older;
    uint16_t slot; /* where its rows live */
    uint8_t state; /* enum store_head_state */
    bool touched;  /* in the batch's list */
};

struct store_heads {
    uint32_t max;
    uint32_t count;
    uint32_t made;           /* heads that have memory */
    uint32_t spare;          /* first of those not in use, linked by older; 0: none */
    uint32_t newest, oldest; /* those without a pin */
    uint32_t *table;         /* number of a head, 0 where empty */
    uint32_t table_len;      /* a power of two */
    struct store_head **chunks;
    uint32_t chunk_count;
    uint64_t hits, misses, evictions;
};

/* Takes no memory yet. max: heads held when none is pinned. */
void store_heads_init(struct store_heads *heads, uint32_t max);
void store_heads_fini(struct store_heads *heads);
/* The head of this key, made UNKNOWN when it is not held; stays until store_heads_unpin.
 * NULL without memory. */
struct store_head *store_heads_pin(struct store_heads *heads, uint64_t a, uint64_t b);
/* One more pin of a head that has one. */
void store_heads_pin_again(struct store_head *head);
void store_heads_unpin(struct store_heads *heads, struct store_head *head);
/* A view of a LOADED head, or NULL. Dies at the next change of the table. */
const struct store_head *store_heads_peek(const struct store_heads *heads, uint64_t a,
                                          uint64_t b);

#endif
