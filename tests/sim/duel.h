/* A duel: two real sequencers, standby of each other, over a toy store and a toy id
 * generator, with a toy gate that sends, follows MOVED and turns to the other one when
 * one does not answer. What the store accepts is judged at once: nothing may be written
 * in an epoch by another than who claimed it, with a gap, or twice. */
#ifndef AN_TESTS_SIM_DUEL_H
#define AN_TESTS_SIM_DUEL_H

#include "core/topology.h"
#include "proto/rows.h"
#include "tests/sim/sim.h"

enum {
    DUEL_PACE_MS = 2200,
    DUEL_CLIENTS = 8,
    DUEL_MESSAGES = 25,
    DUEL_WINDOW = 3,
    DUEL_ROWS_MAX = 1024
};

struct duel_row {
    struct an_conv conv;
    uint64_t seq, message_id, time_ms;
    uint8_t id[16], hash[16];
    uint64_t sender;
};

struct duel_message {
    uint64_t wall_ms; /* of its id; 0: never sent */
    bool out;
    uint64_t seq, message_id; /* as acked; 0: not yet */
};

struct duel_client { /* sends to one conversation, in order */
    uint64_t user, peer;
    unsigned done;
    struct duel_message messages[DUEL_MESSAGES];
};

struct duel {
    struct sim *sim;
    struct an_topology topology;
    /* What the store has; it outlives its lives. */
    struct duel_row rows[DUEL_ROWS_MAX];
    unsigned row_count;
    uint64_t epoch[AN_SLOTS], claimer[AN_SLOTS];
    uint16_t owner[AN_SLOTS];
    struct {
        uint64_t incarnation, number;
    } newest[2];      /* request of each sequencer */
    uint64_t next_ms; /* of ids */
    /* What the gate has. */
    struct duel_client clients[DUEL_CLIENTS];
    uint16_t asks[AN_SLOTS]; /* which sequencer */
    /* What happened. */
    unsigned fenced, moved, changed, back, held_refused, acked;
};

sim_make_f duel_store_make, duel_idgen_make, duel_gate_make, duel_sequencer_make;
/* Is every message acked? ctx: the duel. */
bool duel_done(void *ctx);

#endif
