/* Anser out of a seed: which actors there are, in which processes, on which hosts, and
 * who has which slots. */
#include "actors/gate/gate.h"
#include "actors/idgen/idgen.h"
#include "actors/router/router.h"
#include "actors/sequencer/sequencer.h"
#include "actors/store/store.h"
#include "tests/sim/trial.h"
#include <stdio.h>

/* ------------------------------------------------------------------ making actors */

static const struct an_topology *
believed(const struct sim_trial *trial, struct an_addr addr)
{
    const struct sim *sim = trial->sim;
    unsigned process = sim->actor[sim_actor_find(sim, addr)].process;

    return &trial->topology[trial->belief[process]];
}

static struct an_actor *
made(enum an_err err, struct an_actor *const *actor, char *why, size_t why_len)
{
    if (err == AN_OK) {
        return *actor;
    }
    if (why[0] == '\0') {
        snprintf(why, why_len, "%s", an_err_name(err));
    }
    return NULL;
}

static struct an_actor *
gate_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct sim_trial *trial = ctx;
    uint32_t rates = trial->sim->plan.rates;
    struct gate_cfg cfg = {.index = addr.index,
                           .topology = believed(trial, addr),
                           .seed = seed,
                           .keys = &trial->clients->keys,
                           .user_sends_per_s = rates,
                           .user_heartbeats_per_s = rates,
                           .rate_burst_s = SIM_RATE_BURST_S,
                           .address_conns_max = rates == 0 ? 0 : SIM_ADDRESS_CONNS_MAX};
    struct an_actor *actor = NULL;

    return made(gate_create(&actor, &cfg), &actor, why, why_len);
}

static struct an_actor *
router_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct sim_trial *trial = ctx;
    struct router_cfg cfg = {.index = addr.index,
                             .topology = believed(trial, addr),
                             .seed = seed,
                             .apps = &trial->apps};
    struct an_actor *actor = NULL;

    return made(router_create(&actor, &cfg), &actor, why, why_len);
}

static struct an_actor *
sequencer_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct sim_trial *trial = ctx;
    struct sequencer_cfg cfg = {.index = addr.index,
                                .topology = believed(trial, addr),
                                .seed = seed,
                                .convs_max = 1024,
                                .dedupe_rows_max = 16384};
    struct an_actor *actor = NULL;

    return made(sequencer_create(&actor, &cfg), &actor, why, why_len);
}

static struct an_actor *
idgen_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct sim_trial *trial = ctx;
    struct idgen_cfg cfg = {.index = addr.index,
                            .topology = believed(trial, addr),
                            .seed = seed,
                            .worker = addr.index};
    struct an_actor *actor = NULL;

    return made(idgen_create(&actor, &cfg), &actor, why, why_len);
}

/* The disk broke its word: nothing of this process may be believed any more. */
static void
disk_fatal(void *ctx, const char *why)
{
    struct sim_store *store = ctx;
    struct sim *sim = store->trial->sim;
    int actor = sim_actor_find(sim, (struct an_addr){AN_ROLE_STORE, store->index});
    unsigned process = sim->actor[actor].process;

    sim_trace(sim, "store/%u: %s", store->index, why);
    if (!sim->process[process].doomed) {
        sim_process_doom(sim, process, an_rng_below(&sim->rng, 2) == 0);
    }
}

static struct an_actor *
store_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct sim_trial *trial = ctx;
    struct sim *sim = trial->sim;
    int index = sim_actor_find(sim, addr);
    struct store_cfg cfg = {
        .index = addr.index, .topology = believed(trial, addr), .seed = seed};
    struct an_actor *actor = NULL;
    enum an_err err;

    if (sim->actor[index].disk == NULL) {
        sim->actor[index].disk = sim_disk_create(sim, (unsigned)index);
    }
    cfg.engine = (struct engine_cfg){
        .kind = ENGINE_MEMORY,
        .dir = "data",
        .files = sim_disk_files(sim->actor[index].disk),
        .host = {.ctx = &trial->store[addr.index], .fatal = disk_fatal},
        .cluster_id = "sim",
        .overlay_rows_max = trial->overlay_rows,
        .log_segment_bytes = trial->segment_bytes};
    err = store_create(&actor, &cfg, why, why_len);
    if (err == AN_ERR_CORRUPT) {
        sim_fail(sim, "store/%u does not open its own directory: %s", addr.index, why);
    }
    return made(err, &actor, why, why_len);
}

/* ------------------------------------------------------------------ places */

static unsigned
process_add(struct sim_trial *trial, const char *name, unsigned host)
{
    struct sim *sim = trial->sim;
    unsigned process = sim_process_add(sim, name);
    bool differs = sim->plan.owners_differ && host == 1;

    sim->process[process].host = host;
    trial->belief[process] = differs ? SIM_BELIEF_OTHER_OWNERS : SIM_BELIEF_MEANT;
    return process;
}

/* Where the actor is to live: alone, or with others. */
static unsigned
process_of(struct sim_trial *trial, enum an_role role, unsigned index)
{
    const struct sim_plan *plan = &trial->sim->plan;
    unsigned host = plan->cluster ? (index + trial->role_host[role]) % SIM_HOSTS_MAX : 0;
    bool shared = plan->single || plan->by_host;
    char name[32];

    if (shared && trial->shared[host] != 0) {
        return trial->shared[host] - 1;
    }
    if (plan->by_host) {
        snprintf(name, sizeof(name), "host-%u", host);
    } else if (plan->single) {
        snprintf(name, sizeof(name), "node");
    } else {
        snprintf(name, sizeof(name), "%s/%u", an_role_name(role), index);
    }
    if (shared) {
        trial->shared[host] = process_add(trial, name, host) + 1;
        return trial->shared[host] - 1;
    }
    return process_add(trial, name, host);
}

static void
actors_add(struct sim_trial *trial, enum an_role role, unsigned count, sim_make_f *make)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned process = process_of(trial, role, i);
        sim_actor_add(trial->sim, process, (struct an_addr){(uint8_t)role, (uint16_t)i},
                      make, trial);
    }
    for (unsigned i = 0; i < SIM_BELIEF_COUNT; i++) {
        trial->topology[i].count[role] = (uint16_t)count;
    }
}

/* ------------------------------------------------------------------ slots */

static unsigned
sequencer_of(const struct sim_plan *plan, unsigned slot)
{
    switch (plan->slots_dealt) {
    case 1:
        return slot % plan->sequencers;
    case 2:
        return plan->sequencers - 1 - slot * plan->sequencers / AN_SLOTS;
    default:
        return slot * plan->sequencers / AN_SLOTS;
    }
}

static void
slots_deal(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    const struct sim_plan *plan = &sim->plan;
    struct an_topology *meant = &trial->topology[SIM_BELIEF_MEANT];
    unsigned border = 512, differ = 0;

    if (plan->cluster) {
        border = 200 + (unsigned)an_rng_below(&sim->shape_rng, 600);
        differ = (unsigned)an_rng_below(&sim->shape_rng, 900);
    }
    if (sim->options.outage.how != SIM_OUTAGE_NONE) {
        border = AN_SLOTS / 2; /* as people deal them */
    }
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        unsigned owner = sequencer_of(plan, slot);
        unsigned other = (owner + 1) % plan->sequencers;

        meant->slot_sequencer[slot] = (uint16_t)owner;
        meant->slot_standby[slot] = (uint16_t)(plan->standby ? other : owner);
        meant->slot_router[slot] = (uint16_t)(slot % plan->routers);
        meant->slot_store[slot] = slot >= border && plan->stores > 1;
    }
    trial->topology[SIM_BELIEF_OTHER_OWNERS] = *meant;
    trial->topology[SIM_BELIEF_OTHER_STORES] = *meant;
    for (unsigned slot = differ; slot < differ + 120; slot++) {
        struct an_topology *theirs = &trial->topology[SIM_BELIEF_OTHER_OWNERS];

        theirs->slot_sequencer[slot] = (uint16_t)(1 - meant->slot_sequencer[slot]);
        theirs->slot_standby[slot] = meant->slot_sequencer[slot];
    }
    trial->topology[SIM_BELIEF_OTHER_STORES].slot_store[border] ^= 1;
}

/* ------------------------------------------------------------------ the cluster */

/* A gate whose file says something else of the stores: nobody speaks with it. */
static void
stranger_add(struct sim_trial *trial)
{
    unsigned process = process_add(trial, "stranger", 2);

    trial->belief[process] = SIM_BELIEF_OTHER_STORES;
    sim_actor_add(trial->sim, process,
                  (struct an_addr){AN_ROLE_GATE, (uint16_t)trial->sim->plan.gates},
                  gate_make, trial);
    for (unsigned i = 0; i < SIM_BELIEF_COUNT; i++) {
        trial->topology[i].count[AN_ROLE_GATE]++;
    }
}

static void
actors_place(struct sim_trial *trial)
{
    const struct sim_plan *plan = &trial->sim->plan;

    actors_add(trial, AN_ROLE_STORE, plan->stores, store_make);
    actors_add(trial, AN_ROLE_IDGEN, plan->idgens, idgen_make);
    actors_add(trial, AN_ROLE_SEQUENCER, plan->sequencers, sequencer_make);
    actors_add(trial, AN_ROLE_ROUTER, plan->routers, router_make);
    actors_add(trial, AN_ROLE_GATE, plan->gates, gate_make);
}

void
sim_cluster_build(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    const struct sim_plan *plan = &sim->plan;
    unsigned admin;

    for (unsigned i = 0; i < SIM_BELIEF_COUNT; i++) {
        an_topology_single(&trial->topology[i]);
    }
    for (unsigned role = 0; role < AN_ROLE_COUNT && plan->cluster; role++) {
        trial->role_host[role] = (unsigned)an_rng_below(&sim->shape_rng, SIM_HOSTS_MAX);
    }
    for (uint16_t i = 0; i < SIM_STORES_MAX; i++) {
        trial->store[i] = (struct sim_store){trial, i};
    }
    if (plan->single) {
        trial->shared[0] = process_add(trial, "node", 0) + 1;
    }
    admin = process_add(trial, "admin", plan->cluster ? 2 : 0);
    trial->belief[admin] = SIM_BELIEF_MEANT;
    actors_place(trial);
    slots_deal(trial);
    if (plan->stranger) {
        stranger_add(trial);
    }
    sim_clocks_draw(sim);
    for (unsigned i = 0; i < sim->process_count; i++) {
        sim->process[i].cluster = an_cluster_digest("sim");
        sim->process[i].stores = an_topology_digest(&trial->topology[trial->belief[i]]);
    }
    sim->topology = &trial->topology[SIM_BELIEF_MEANT];
    trial->apps.count = 1;
    snprintf(trial->apps.app[0].name, sizeof(trial->apps.app[0].name), SIM_GUEST_APP);
    trial->apps.app[0].login = (enum an_login_policy)plan->policy;
    trial->admin = (struct sim_admin_cfg){trial->check, sim->topology, &trial->census,
                                          trial->errand};
    trial->admin_actor = sim->actor_count;
    sim_actor_add(sim, admin, (struct an_addr){AN_ROLE_API, 0}, sim_admin_make,
                  &trial->admin);
    trial->segment_bytes = (uint32_t)sim_between(sim, 4, 5) << 20;
    trial->overlay_rows = (uint32_t)sim_between(sim, 20, 600);
}
