/* An actor of the simulator's own, in the role of the api: makes the users, again at
 * every start, and is ready when all exist. At the end it counts who serves what. */
#ifndef AN_TESTS_SIM_ADMIN_H
#define AN_TESTS_SIM_ADMIN_H

#include "core/topology.h"
#include "tests/sim/check.h"

enum { SIM_USER_KEY = 1001 };

/* Is every slot served by somebody, who can be found? */
struct sim_census {
    bool done;
    unsigned count; /* of those served */
    bool served[AN_SLOTS];
    uint16_t of[AN_SLOTS];  /* the sequencer to ask */
    uint16_t err[AN_SLOTS]; /* its last answer */
    uint64_t user[AN_SLOTS];
};

/* A user is forbidden, or no more. */
struct sim_ban {
    uint64_t user;
    bool forbidden;
    bool done; /* it is on disk */
    uint16_t owner;
};

struct sim_admin_cfg {
    const struct sim_check *check;
    const struct an_topology *topology;
    struct sim_census *census;
    struct sim_ban *ban;
};

sim_make_f sim_admin_make; /* ctx: struct sim_admin_cfg */
/* Begins a census: asks of each slot its owner, then whoever is named; and the standby
 * when there is no answer. */
void sim_admin_census(struct sim *sim, unsigned actor, struct sim_census *census,
                      const struct an_topology *topology);
/* Has it done, however often it must be asked for. */
void sim_admin_ban(struct sim *sim, unsigned actor, struct sim_ban *ban,
                   const struct an_topology *topology);

#endif
