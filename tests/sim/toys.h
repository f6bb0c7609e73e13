/* Two toy actors, to test the simulated runner by itself: a caller that asks a server for
 * segments of numbers and asks again until it has enough, and the server. Nothing is
 * promised but what the runner promises: each ask ends exactly once. */
#ifndef AN_TESTS_SIM_TOYS_H
#define AN_TESTS_SIM_TOYS_H

#include "tests/sim/sim.h"

struct toys {
    unsigned wanted; /* asks of the caller */
    unsigned window; /* at a time */
    unsigned lives;  /* of the server */
    unsigned asked, ended, failed;
    unsigned served;     /* over all lives */
    unsigned ends[4096]; /* by ask */
    unsigned timers, jobs, stray_timers;
    bool in_order; /* the server saw the asks of each life of it in rising order */
    uint64_t last;
};

sim_make_f toys_caller_make; /* ctx: struct toys */
sim_make_f toys_server_make;

#endif
