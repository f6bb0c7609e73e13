/* How far inboxes reach, as learned from stored messages: a device that confirms what it
 * was just pushed needs no question to the store. Bounded; users who share a place push
 * each other out, and the store is asked then. */
#ifndef AN_ACTORS_SEQUENCER_HEADS_H
#define AN_ACTORS_SEQUENCER_HEADS_H

#include <stdbool.h>
#include <stdint.h>

struct seq_inbox {
    uint64_t user; /* 0: free */
    uint64_t head;
};

struct seq_heads {
    struct seq_inbox *inboxes; /* direct-mapped */
};

/* False without memory. */
bool seq_heads_init(struct seq_heads *heads);
void seq_heads_fini(struct seq_heads *heads);
/* The user's inbox has an entry of this number on disk. Zeros are ignored. */
void seq_heads_learn(struct seq_heads *heads, uint64_t user, uint64_t head);
/* At least so many entries; 0 when nothing is known. */
uint64_t seq_heads_get(const struct seq_heads *heads, uint64_t user);
/* Forgets all: a store may have been put back in time. */
void seq_heads_clear(struct seq_heads *heads);

#endif
