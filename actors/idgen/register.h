/* A durable register at the store: read, compare-and-set, one ask at a time. When an ask
 * fails its outcome is unknown: the register is read again before anything else. */
#ifndef AN_ACTORS_IDGEN_REGISTER_H
#define AN_ACTORS_IDGEN_REGISTER_H

#include "core/actor.h"
#include "core/limits.h"
#include "core/topology.h"

enum { IDGEN_VALUE_MAX = 32 };

/* Embedded. */
struct idgen_register {
    char name[AN_NAME_LEN_MAX + 1];
    uint64_t tag; /* of its asks and its timer */
    struct an_addr store;
    uint16_t slot;

    bool known;    /* version and value are what the store last said */
    bool asking;   /* one ask is out */
    bool swapping; /* and it would change the register */
    bool waiting;  /* a timer is out, after a failure */
    uint64_t version;
    uint8_t value[IDGEN_VALUE_MAX];
    size_t value_len;
    uint32_t backoff_ms;
};

/* name: at most AN_NAME_LEN_MAX bytes (asserted). */
void idgen_register_init(struct idgen_register *reg, const struct an_topology *topology,
                         const char *name, uint64_t tag);
/* May an ask be sent? */
bool idgen_register_idle(const struct idgen_register *reg);
void idgen_register_read(struct idgen_register *reg, struct an_outbox *out);
/* Only when known and idle. */
void idgen_register_swap(struct idgen_register *reg, const uint8_t *value, size_t len,
                         struct an_outbox *out);

enum idgen_register_result {
    IDGEN_REGISTER_READ,    /* version and value are current */
    IDGEN_REGISTER_SWAPPED, /* ours is stored now */
    IDGEN_REGISTER_LOST,    /* somebody else's is; version and value are current */
    IDGEN_REGISTER_FAILED,  /* not known; a timer with our tag will come: read then */
};
enum idgen_register_result idgen_register_answered(struct idgen_register *reg,
                                                   const struct an_msg *msg,
                                                   struct an_now now,
                                                   struct an_outbox *out);
/* The timer of a failure came. */
void idgen_register_timer(struct idgen_register *reg);

#endif
