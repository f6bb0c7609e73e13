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

/* Something that is to be done, however often it must be asked for. */
enum sim_errand_what {
    SIM_ERRAND_NAME,   /* the directory has the user's name */
    SIM_ERRAND_USER,   /* the account is made */
    SIM_ERRAND_FORBID, /* or let in again */
    SIM_ERRAND_REVOKE, /* the tokens of the user, or with a device of that alone */
    SIM_ERRAND_LOGIN,  /* of the device: tokens of its earlier logins end */
};

enum { SIM_ERRANDS_MAX = 32 };

struct sim_errand {
    enum sim_errand_what what;
    const char *app, *name; /* as the others: not the errand's own */
    const char *device, *platform;
    uint64_t user;
    uint8_t hash[AN_REFRESH_HASH_LEN]; /* of a login: its refresh token's */
    bool forbidden;
    bool pending;
    bool done;         /* it is on disk */
    uint16_t owner;    /* whom to ask */
    uint32_t serial;   /* of those that had this place */
    uint64_t began_us; /* asked for the first time */
    uint64_t time_ms;  /* the answer's: from when tokens are good */
};

struct sim_admin_cfg {
    const struct sim_check *check;
    const struct an_topology *topology;
    struct sim_census *census;
    struct sim_errand *errand; /* SIM_ERRANDS_MAX */
};

sim_make_f sim_admin_make; /* ctx: struct sim_admin_cfg */
/* Begins a census: asks of each slot its owner, then whoever is named; and the standby
 * when there is no answer. */
void sim_admin_census(struct sim *sim, unsigned actor, struct sim_census *census,
                      const struct an_topology *topology);
/* Has it done. The caller filled in what it is; not while that place is pending. */
void sim_admin_errand(struct sim *sim, unsigned actor, struct sim_errand *errand,
                      unsigned place, const struct an_topology *topology);

#endif
