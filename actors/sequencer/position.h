/* A forward-only position that is confirmed many times and stored rarely: a device's
 * inbox cursor, a member's delivered seq. */
#ifndef AN_ACTORS_SEQUENCER_POSITION_H
#define AN_ACTORS_SEQUENCER_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seq_cmd;
struct seq_conv;
struct seq_device;

/* Commands in order. Embedded; init before use, do not move. */
struct seq_list {
    struct seq_cmd *head, **tail;
};

struct seq_position {
    struct seq_device *device; /* whose cursor; or NULL: */
    struct seq_conv *conv;     /* where member's delivered seq */
    uint8_t member;
    bool dirty;  /* on the link's list: pending is to be stored */
    bool flying; /* inflight is in the append on its way */
    uint16_t slot;
    uint64_t durable, inflight, pending;
    struct seq_list waiting; /* for durable to reach what they ask */
    struct seq_position *next;
};

static inline bool
seq_position_idle(const struct seq_position *p)
{
    return !p->dirty && !p->flying && p->waiting.head == NULL;
}

#endif
