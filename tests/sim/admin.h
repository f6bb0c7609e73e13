/* An actor of the simulator's own, in the role of the api: makes the users, again at
 * every start, and is ready when all exist. */
#ifndef AN_TESTS_SIM_ADMIN_H
#define AN_TESTS_SIM_ADMIN_H

#include "core/topology.h"
#include "tests/sim/check.h"

enum { SIM_USER_KEY = 1001 };

struct sim_admin_cfg {
    const struct sim_check *check;
    const struct an_topology *topology;
};

sim_make_f sim_admin_make; /* ctx: struct sim_admin_cfg */

#endif
