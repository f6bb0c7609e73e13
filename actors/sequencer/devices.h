/* Inbox cursors of devices in memory, with what is known of their inbox's head. Bounded
 * like the conversations. */
#ifndef AN_ACTORS_SEQUENCER_DEVICES_H
#define AN_ACTORS_SEQUENCER_DEVICES_H

#include "actors/sequencer/position.h"
#include "actors/sequencer/table.h"
#include "core/hash.h"
#include "core/limits.h"
#include <stddef.h>

struct seq_device {
    uint64_t user;
    uint8_t name[AN_NAME_LEN_MAX];
    uint8_t name_len;
    bool used, touched;
    bool loaded, loading;
    uint32_t hash;
    uint64_t head;       /* the inbox has at least this many */
    uint64_t generation; /* of the inbox; 0: empty when last read */
    uint64_t asked;      /* reads begun */
    uint64_t answered;   /* of those, the last one answered */
    struct seq_position cursor;
};

struct seq_devices {
    struct seq_table table;
    struct seq_device *devices;
    uint32_t cap, count, hand;
    struct an_hash_key hash_key;
};

/* Room for max; false without memory. Seeds of the hash come from the runner. */
bool seq_devices_init(struct seq_devices *d, uint32_t max, uint64_t hash_seed);
void seq_devices_fini(struct seq_devices *d);
/* The cached one, or a new one that is not loaded. NULL when all are busy. name_len at
 * most AN_NAME_LEN_MAX (asserted). */
struct seq_device *seq_devices_get(struct seq_devices *d, uint64_t user,
                                   const uint8_t *name, size_t name_len, uint16_t slot);
/* Nothing may point at it any more. */
void seq_devices_drop(struct seq_devices *d, struct seq_device *device);

#endif
