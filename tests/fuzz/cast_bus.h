/* The bus around the one actor of a cast: who asks it and whom it asks, in other
 * processes through a mailbox and in its own past NNG (core/runner_nng/local.c), in
 * turns. Stands in for the files of the runner that need sockets or threads. */
#ifndef AN_TESTS_FUZZ_CAST_BUS_H
#define AN_TESTS_FUZZ_CAST_BUS_H

#include "core/runner_nng/priv.h"

struct cast_bus {
    struct instance *inst; /* the actor's */
    void (*step)(void *ctx, struct an_msg *msg);
    void *ctx;

    struct held *helds;         /* requests not answered yet, by next_free */
    struct call *calls;         /* likewise, of a neighbour */
    struct instance neighbours; /* all others of this process, as one */
    struct parcel *arrived;     /* what local_ask gave to somebody */
    unsigned turn;
};

/* One at a time. step takes each message that comes, NULL when it was refused. */
void cast_bus_begin(struct cast_bus *bus, struct instance *inst,
                    void (*step)(void *ctx, struct an_msg *msg), void *ctx);
/* The actor is gone; frees what it did not answer, and messages that nobody read. */
void cast_bus_end(struct cast_bus *bus);

/* A message of these bytes, the caller's. */
nng_msg *cast_bus_msg(const uint8_t *data, size_t len);
/* Takes msg: a request. */
void cast_bus_request(struct cast_bus *bus, nng_msg *msg);
/* Takes msg: a hint. */
void cast_bus_publish(struct cast_bus *bus, nng_msg *msg);
/* Takes msg: the answer of `from` to an ask of kind; NULL: err came instead. */
void cast_bus_answer(struct cast_bus *bus, const struct an_effect *ask, nng_msg *msg,
                     enum an_err err);

#endif
