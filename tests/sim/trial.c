/* One trial: builds Anser out of a seed, lets the clients work while faults happen, ends
 * the faults, waits until everything settled, reads everything back and judges it. */
#include "actors/gate/gate.h"
#include "actors/idgen/idgen.h"
#include "actors/router/router.h"
#include "actors/sequencer/sequencer.h"
#include "actors/store/store.h"
#include "core/topology.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPS_DEFAULT = 500,
    USERS_MS_MAX = 60000,
    WORK_MS_MAX = 1200000,
    SETTLE_MS_MAX = 120000, /* after the last fault */
    AUDIT_MS_MAX = 120000,
};

struct trial {
    struct sim *sim;
    struct an_topology topology;
    struct sim_check *check;
    struct sim_clients *clients;
    struct sim_admin_cfg admin;
    unsigned admin_actor;
    uint32_t segment_bytes, overlay_rows;
};

/* ------------------------------------------------------------------ making actors */

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
    struct trial *trial = ctx;
    struct gate_cfg cfg = {.index = addr.index,
                           .topology = &trial->topology,
                           .seed = seed,
                           .keys = &trial->clients->keys};
    struct an_actor *actor = NULL;

    return made(gate_create(&actor, &cfg), &actor, why, why_len);
}

static struct an_actor *
router_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct trial *trial = ctx;
    struct router_cfg cfg = {
        .index = addr.index, .topology = &trial->topology, .seed = seed};
    struct an_actor *actor = NULL;

    return made(router_create(&actor, &cfg), &actor, why, why_len);
}

static struct an_actor *
sequencer_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct trial *trial = ctx;
    struct sequencer_cfg cfg = {
        .index = addr.index, .topology = &trial->topology, .seed = seed};
    struct an_actor *actor = NULL;

    return made(sequencer_create(&actor, &cfg), &actor, why, why_len);
}

static struct an_actor *
idgen_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct trial *trial = ctx;
    struct idgen_cfg cfg = {.index = addr.index,
                            .topology = &trial->topology,
                            .seed = seed,
                            .worker = addr.index};
    struct an_actor *actor = NULL;

    return made(idgen_create(&actor, &cfg), &actor, why, why_len);
}

/* The disk broke its word: nothing of this process may be believed any more. */
static void
disk_fatal(void *ctx, const char *why)
{
    struct trial *trial = ctx;
    int store = sim_actor_find(trial->sim, (struct an_addr){AN_ROLE_STORE, 0});
    unsigned process = trial->sim->actor[store].process;

    sim_trace(trial->sim, "store/0: %s", why);
    if (!trial->sim->process[process].doomed) {
        sim_process_doom(trial->sim, process, an_rng_below(&trial->sim->rng, 2) == 0);
    }
}

static struct an_actor *
store_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct trial *trial = ctx;
    struct sim *sim = trial->sim;
    int index = sim_actor_find(sim, addr);
    struct store_cfg cfg = {
        .index = addr.index, .topology = &trial->topology, .seed = seed};
    struct an_actor *actor = NULL;
    enum an_err err;

    if (sim->actor[index].disk == NULL) {
        sim->actor[index].disk = sim_disk_create(sim, (unsigned)index);
    }
    cfg.engine = (struct engine_cfg){.kind = ENGINE_MEMORY,
                                     .dir = "data",
                                     .files = sim_disk_files(sim->actor[index].disk),
                                     .host = {.ctx = trial, .fatal = disk_fatal},
                                     .cluster_id = "sim",
                                     .overlay_rows_max = trial->overlay_rows,
                                     .log_segment_bytes = trial->segment_bytes};
    err = store_create(&actor, &cfg, why, why_len);
    if (err == AN_ERR_CORRUPT) {
        sim_fail(sim, "store/%u does not open its own directory: %s", addr.index, why);
    }
    return made(err, &actor, why, why_len);
}

/* ------------------------------------------------------------------ the cluster */

static void
actors_add(struct trial *trial, enum an_role role, unsigned count, sim_make_f *make,
           unsigned node)
{
    struct sim *sim = trial->sim;

    trial->topology.count[role] = (uint16_t)count;
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s/%u", an_role_name(role), i);
        sim_actor_add(sim, sim->plan.single ? node : sim_process_add(sim, name),
                      (struct an_addr){(uint8_t)role, (uint16_t)i}, make, trial);
    }
}

static void
cluster_build(struct trial *trial)
{
    struct sim *sim = trial->sim;
    const struct sim_plan *plan = &sim->plan;
    unsigned node = plan->single ? sim_process_add(sim, "node") : 0;
    unsigned admin = sim_process_add(sim, "admin");

    an_topology_single(&trial->topology);
    actors_add(trial, AN_ROLE_STORE, 1, store_make, node);
    actors_add(trial, AN_ROLE_IDGEN, 1, idgen_make, node);
    actors_add(trial, AN_ROLE_SEQUENCER, plan->sequencers, sequencer_make, node);
    actors_add(trial, AN_ROLE_ROUTER, plan->routers, router_make, node);
    actors_add(trial, AN_ROLE_GATE, plan->gates, gate_make, node);
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        trial->topology.slot_sequencer[slot] =
            (uint16_t)(slot * plan->sequencers / AN_SLOTS);
        trial->topology.slot_standby[slot] = trial->topology.slot_sequencer[slot];
        trial->topology.slot_router[slot] = (uint16_t)(slot % plan->routers);
    }
    trial->admin = (struct sim_admin_cfg){trial->check, &trial->topology};
    trial->admin_actor = sim->actor_count;
    sim_actor_add(sim, admin, (struct an_addr){AN_ROLE_API, 0}, sim_admin_make,
                  &trial->admin);
    trial->segment_bytes = (uint32_t)sim_between(sim, 4, 5) << 20;
    trial->overlay_rows = (uint32_t)sim_between(sim, 20, 600);
}

/* ------------------------------------------------------------------ phases */

static bool
users_exist(void *ctx)
{
    struct trial *trial = ctx;

    return trial->sim->actor[trial->admin_actor].ready;
}

static bool
ops_done(void *ctx)
{
    struct trial *trial = ctx;

    return trial->clients->ops_left == 0;
}

static bool
settled(void *ctx)
{
    struct trial *trial = ctx;
    char why[128];

    return sim_clients_settled(trial->clients, why, sizeof(why));
}

static bool
audited(void *ctx)
{
    struct trial *trial = ctx;

    return sim_clients_audited(trial->clients);
}

static void
settle(struct trial *trial)
{
    struct sim *sim = trial->sim;
    char why[128] = "";

    trial->clients->quiet = true;
    trial->clients->quiet_us = sim->now_us;
    if (!sim_run_until(sim, sim_now_ms(sim) + SETTLE_MS_MAX, settled, trial) &&
        !sim->failed) {
        sim_clients_settled(trial->clients, why, sizeof(why));
        sim_fail(sim, "not settled %d s after the last fault: %s", SETTLE_MS_MAX / 1000,
                 why);
    }
}

static void
work(struct trial *trial)
{
    struct sim *sim = trial->sim;

    sim_faults_start(sim);
    sim_clients_start(trial->clients);
    if (!sim_run_until(sim, sim_now_ms(sim) + WORK_MS_MAX, ops_done, trial) &&
        !sim->failed) {
        sim_trace(sim, "%llu operations were not reached",
                  (unsigned long long)trial->clients->ops_left);
    }
    sim_faults_end(sim);
}

static void
judge(struct trial *trial)
{
    struct sim *sim = trial->sim;

    if (an_rng_below(&sim->rng, 2) == 0) { /* acked means on disk */
        for (unsigned i = 0; i < sim->process_count; i++) {
            if (sim->process[i].up) {
                sim_kill(sim, i, true, sim_between(sim, 20, 500));
            }
        }
        settle(trial);
    }
    trial->clients->audit = true;
    if (!sim->failed &&
        !sim_run_until(sim, sim_now_ms(sim) + AUDIT_MS_MAX, audited, trial)) {
        sim_fail(sim, "the audit did not end");
    }
    if (!sim->failed) {
        sim_check_end(trial->check);
    }
}

static void
ring_print(const struct sim *sim)
{
    uint64_t first =
        sim->ring_count > SIM_RING_LINES ? sim->ring_count - SIM_RING_LINES : 0;

    for (uint64_t i = first; i < sim->ring_count && !sim->options.verbose; i++) {
        fprintf(stderr, "%s\n", sim->ring[i % SIM_RING_LINES]);
    }
}

static void
report(struct trial *trial, struct sim_result *result)
{
    struct sim *sim = trial->sim;

    result->ok = !sim->failed;
    memcpy(result->why, sim->why, sizeof(result->why));
    result->hash = sim->hash;
    result->events = sim->events;
    result->virtual_ms = sim_now_ms(sim);
    memcpy(result->counts, sim->counts, sizeof(result->counts));
    if (sim->failed && !sim->options.quiet) {
        ring_print(sim);
    }
}

void
sim_trial(const struct sim_options *options, struct sim_result *result)
{
    struct trial trial = {.sim = sim_create(options)};
    struct sim *sim = trial.sim;

    if (sim == NULL) {
        abort();
    }
    sim_plan_draw(sim);
    trial.check = sim_check_create(sim, (unsigned)sim_between(sim, 3, 6));
    trial.clients = sim_clients_create(sim, trial.check);
    trial.clients->ops_left = options->ops == 0 ? OPS_DEFAULT : options->ops;
    cluster_build(&trial);
    sim_start(sim);
    if (!sim_run_until(sim, USERS_MS_MAX, users_exist, &trial) && !sim->failed) {
        sim_fail(sim, "the users could not be made");
    }
    if (!sim->failed) {
        work(&trial);
    }
    if (!sim->failed) {
        settle(&trial);
    }
    if (!sim->failed) {
        judge(&trial);
    }
    report(&trial, result);
    sim_destroy(sim);
    sim_clients_destroy(trial.clients);
    sim_check_destroy(trial.check);
}
