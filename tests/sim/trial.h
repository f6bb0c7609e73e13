/* One trial: what its files share. */
#ifndef AN_TESTS_SIM_TRIAL_H
#define AN_TESTS_SIM_TRIAL_H

#include "core/apps.h"
#include "core/topology.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"
#include "tests/sim/guests.h"

/* What processes may believe of the cluster. */
enum sim_belief {
    SIM_BELIEF_MEANT,
    SIM_BELIEF_OTHER_OWNERS, /* other sequencers for some slots: legal, if unwise */
    SIM_BELIEF_OTHER_STORES, /* refused by everybody */
    SIM_BELIEF_COUNT,
};

enum { SIM_STORES_MAX = 2 };

struct sim_store { /* whose disk it is that failed */
    struct sim_trial *trial;
    uint16_t index;
};

struct sim_trial {
    struct sim *sim;
    struct an_topology topology[SIM_BELIEF_COUNT];
    uint8_t belief[SIM_PROCESSES_MAX]; /* enum sim_belief, of each process */
    unsigned role_host[AN_ROLE_COUNT]; /* of the first of its kind; the next one beside */
    unsigned shared[SIM_HOSTS_MAX]; /* process + 1 of all actors of the host; 0: none */
    struct sim_store store[SIM_STORES_MAX];
    struct sim_check *check;
    struct sim_clients *clients;
    struct sim_guests *guests; /* NULL: none */
    struct sim_admin_cfg admin;
    struct sim_census census;
    struct sim_errand errand[SIM_ERRANDS_MAX]; /* 0: the ban; then guests' */
    struct an_apps apps;
    unsigned admin_actor;
    uint32_t segment_bytes, overlay_rows;
    uint64_t settle_ms; /* the longest */
    uint64_t ops;       /* of clients, before the faults end */
};

/* cluster.c */
void sim_cluster_build(struct sim_trial *trial);
/* trial.c */
/* Is every actor ready that can be? why: which is not. */
bool sim_trial_ready(const struct sim_trial *trial, char *why, size_t why_len);
/* The power of all processes goes, and comes again. */
void sim_trial_power_cut(struct sim_trial *trial);
/* people.c */
/* Guests come and go, under faults and then without. */
void sim_people(struct sim_trial *trial);

#endif
