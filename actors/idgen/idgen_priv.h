/* What the id generator's own files share: idgen.c (the actor, message ids), segment.c
 * (numbers by lease), over clock.c (logical time) and register.c (the store). */
#ifndef AN_ACTORS_IDGEN_PRIV_H
#define AN_ACTORS_IDGEN_PRIV_H

#include "actors/idgen/clock.h"
#include "actors/idgen/idgen.h"
#include "actors/idgen/register.h"
#include "proto/bus.pb-c.h"

enum {
    IDGEN_SEGMENTS_MAX = 16,     /* names; each costs a register */
    IDGEN_SEGMENT_NAME_MAX = 32, /* fits a register's name */
    IDGEN_VALUE_VERSION = 1,     /* first byte of every register */
    IDGEN_TAG_SEGMENT = 16,      /* and up: asks and timer of segment i */
};

/* Held asks in order. Embedded; init before use, do not move. */
struct idgen_queue {
    struct an_msg *head, **tail;
};

struct idgen_segment {
    struct idgen_register reg;
    char name[IDGEN_SEGMENT_NAME_MAX + 1];
    uint64_t next, end; /* leased: next <= n < end */
    uint64_t durable;   /* the register's next free number */
    uint64_t proposed;
    struct idgen_queue waiting;
};

/* X(STATE, name) */
#define IDGEN_STATES(X)                                                                  \
    X(STARTING, "starting")                                                              \
    X(OWNER, "owner")                                                                    \
    X(TAKEN, "taken")                                                                    \
    X(STOPPED, "stopped")
#define IDGEN_STATE_ENUM(state, name) IDGEN_STATE_##state,
enum idgen_state { IDGEN_STATES(IDGEN_STATE_ENUM) };
/* X(field, name, help, counter) */
#define IDGEN_METRICS(X)                                                                 \
    X(ids, "ids_total", "Message ids given out", true)                                   \
    X(takes, "takes_total", "Requests for message ids answered", true)                   \
    X(reservations, "reservations_total", "Durable reservations of logical time", true)  \
    X(segment_numbers, "segment_numbers_total", "Segment numbers given out", true)       \
    X(leases, "segment_leases_total", "Durable leases of segments", true)                \
    X(store_errors, "store_errors_total", "Requests for registers that failed", true)    \
    X(refused, "refused_total", "Requests answered with an error", true)                 \
    X(waiting, "waiting", "Requests waiting for a reservation", false)                   \
    X(ahead_ms, "ahead_ms", "Logical time ahead of the clock", false)

struct idgen_metrics {
#define IDGEN_METRIC_FIELD(field, name, help, counter) uint64_t field;
    IDGEN_METRICS(IDGEN_METRIC_FIELD)
};

struct idgen {
    struct an_actor actor;
    const struct an_topology *topology;
    uint64_t nonce; /* this instance */
    uint32_t reserve_ms, segment;
    enum idgen_state state;
    struct idgen_clock clock;
    struct idgen_register reg;
    uint64_t durable_ms;  /* the register's reserved-until */
    uint64_t proposed_ms; /* what the ask in flight would make it */
    uint64_t last_take_mono_ms;
    bool ahead_timer; /* one is out */
    struct idgen_queue waiting;
    struct idgen_segment segments[IDGEN_SEGMENTS_MAX];
    size_t segment_count;
    struct idgen_metrics m;
};

/* ------------------------------------------------------------------ idgen.c */

static inline void
idgen_queue_init(struct idgen_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static inline void
idgen_queue_put(struct idgen_queue *q, struct an_msg *msg)
{
    an_msg_hold(msg)->next = NULL;
    *q->tail = msg;
    q->tail = &msg->next;
}

static inline void
idgen_queue_pop(struct idgen_queue *q)
{
    struct an_msg *msg = q->head;

    q->head = msg->next;
    if (q->head == NULL) {
        q->tail = &q->head;
    }
    an_msg_release(msg);
}

void idgen_refuse(struct idgen *g, struct an_msg *msg, enum an_err err,
                  struct an_outbox *out);
void idgen_queue_refuse(struct idgen *g, struct idgen_queue *q, enum an_err err,
                        struct an_outbox *out);
/* While the store does not answer: lets go of those that nobody waits for any more. */
void idgen_queue_expire(struct idgen *g, struct idgen_queue *q, struct an_now now,
                        struct an_outbox *out);

/* ------------------------------------------------------------------ segment.c */

/* An admitted TAKE_SEGMENT: answered now or when its lease is there. */
void idgen_segment_take(struct idgen *g, struct an_msg *msg, struct an_now now,
                        struct an_outbox *out);
void idgen_segment_answered(struct idgen *g, const struct an_msg *msg, struct an_now now,
                            struct an_outbox *out);
void idgen_segment_timer(struct idgen *g, const struct an_msg *msg, struct an_now now,
                         struct an_outbox *out);

#endif
