/* What goes wrong, and how often: drawn once for each seed, so that some seeds are calm
 * and some are hostile, and each leaves some kinds out. */
#include "core/apps.h"
#include "tests/sim/sim_priv.h"
#include <stdlib.h>

enum { RATES_SALT = 0x7a7e5, PEOPLE_SALT = 0x9e091e };

/* 0 with the chance that this seed leaves the kind out. */
static uint32_t
draw(struct sim *sim, uint32_t low, uint32_t high)
{
    unsigned level = sim->plan.level;

    if (level == 0 || an_rng_below(&sim->rng, 4) >= 1 + level) {
        return 0;
    }
    return (uint32_t)sim_between(sim, low, high);
}

/* A mean gap: shorter the more hostile the seed. */
static uint32_t
draw_gap(struct sim *sim, uint32_t low_ms, uint32_t high_ms)
{
    uint32_t gap = draw(sim, low_ms, high_ms);

    return gap == 0 ? 0 : gap * 3 / sim->plan.level;
}

/* As draw_gap, from the dice of the cluster's own: other seeds keep their meaning. */
static uint32_t
cluster_gap(struct sim *sim, uint32_t low_ms, uint32_t high_ms)
{
    unsigned level = sim->plan.level;

    if (level == 0 || an_rng_below(&sim->shape_rng, 4) >= 1 + level) {
        return 0;
    }
    return (uint32_t)(low_ms + an_rng_below(&sim->shape_rng, high_ms - low_ms + 1)) * 3 /
           level;
}

static bool
one_in(struct sim *sim, uint64_t chance)
{
    return an_rng_below(&sim->shape_rng, chance) == 0;
}

static void
cluster_draw(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;

    plan->cluster = one_in(sim, 2);
    if (sim->options.shape != SIM_SHAPE_DRAWN) {
        plan->cluster = sim->options.shape == SIM_SHAPE_CLUSTER;
    }
    if (!plan->cluster) {
        return;
    }
    plan->single = false;
    plan->gates = plan->routers = plan->sequencers = plan->idgens = 2;
    plan->stores = one_in(sim, 4) ? 1 : 2;
    plan->standby = !one_in(sim, 8);
    plan->slots_dealt = (unsigned)an_rng_below(&sim->shape_rng, 3);
    plan->owners_differ = one_in(sim, 5);
    plan->stranger = one_in(sim, 5);
    plan->by_host = one_in(sim, 4);
    plan->part_gap = cluster_gap(sim, 1500, 8000);
    plan->part_host_gap = cluster_gap(sim, 4000, 20000);
    plan->pause_long_gap = cluster_gap(sim, 8000, 30000);
    plan->handover_gap = cluster_gap(sim, 5000, 20000);
    plan->host_gap = cluster_gap(sim, 8000, 30000);
    plan->drain_gap = cluster_gap(sim, 6000, 25000);
}

/* By dice of their own: other seeds keep their meaning. */
static void
rates_draw(struct sim *sim)
{
    struct an_rng dice;

    an_rng_seed(&dice, sim->options.seed ^ RATES_SALT);
    if (an_rng_below(&dice, 3) == 0 && sim->options.outage.how == SIM_OUTAGE_NONE) {
        sim->plan.rates = (uint32_t)(4 + an_rng_below(&dice, 5));
    }
}

/* The same. */
static void
people_draw(struct sim *sim)
{
    struct an_rng dice;

    an_rng_seed(&dice, sim->options.seed ^ PEOPLE_SALT);
    if (an_rng_below(&dice, 2) == 0 && sim->options.outage.how == SIM_OUTAGE_NONE) {
        sim->plan.people = (uint32_t)(10 + an_rng_below(&dice, 30));
    }
    sim->plan.policy = (unsigned)an_rng_below(&dice, AN_LOGIN_POLICY_COUNT);
}

/* What came later is drawn from dice of its own: seeds without it keep their meaning. */
static void
late_draw(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    struct an_rng rng;

    an_rng_seed(&rng, sim->options.seed ^ 0xd21f7);
    if (plan->level > 0 && an_rng_below(&rng, 4) < 1 + plan->level) {
        plan->drift_ppm = (uint32_t)an_rng_below(&rng, 10000 * plan->level) + 100;
    }
    if (plan->stores > 1 && plan->level > 0 && an_rng_below(&rng, 4) < 1 + plan->level) {
        plan->rewind = (uint32_t)(10 + an_rng_below(&rng, 300 * plan->level));
    }
}

/* Faster or slower by up to ppm. */
static int64_t
draw_rate(struct an_rng *rng, uint32_t ppm)
{
    return (int64_t)an_rng_below(rng, 2 * (uint64_t)ppm + 1) - ppm;
}

void
sim_clocks_draw(struct sim *sim)
{
    int64_t mono[SIM_PROCESSES_MAX], wall[SIM_PROCESSES_MAX];
    uint32_t ppm = sim->plan.drift_ppm;
    struct an_rng rng;

    an_rng_seed(&rng, sim->options.seed ^ 0xc10c);
    for (unsigned i = 0; i < SIM_PROCESSES_MAX; i++) {
        mono[i] = draw_rate(&rng, ppm);
        /* In half of them the wall clock is slewed, in its own way. */
        wall[i] = an_rng_below(&rng, 2) == 0 ? mono[i] : draw_rate(&rng, ppm);
    }
    for (unsigned i = 0; i < sim->process_count; i++) {
        /* On one host each process has them for itself, as its jumps. */
        unsigned which = sim->plan.cluster ? sim->process[i].host : i;

        sim->process[i].mono_ppm = mono[which];
        sim->process[i].wall_ppm = wall[which];
    }
}

static const char *const kind_names[] = {
#define KIND_NAME(field, name) [SIM_KIND_##field] = name,
    SIM_KINDS(KIND_NAME)
#undef KIND_NAME
};
_Static_assert(SIM_KIND_COUNT <= 32, "bits of a uint32_t");

const char *
sim_kind_name(enum sim_kind kind)
{
    return kind_names[kind];
}

/* The dice have been thrown for them too: the rest of the plan is the same. */
static void
leave_out(struct sim_plan *plan, uint32_t without)
{
#define KIND_OUT(field, name)                                                            \
    if ((without >> SIM_KIND_##field & 1) != 0) {                                        \
        plan->field = 0;                                                                 \
    }
    SIM_KINDS(KIND_OUT)
#undef KIND_OUT
}

void
sim_plan_draw(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;
    uint64_t mood = an_rng_below(&sim->rng, 10);

    plan->level = mood == 0 ? 0 : mood < 4 ? 1 : mood < 7 ? 2 : 3;
    plan->single = an_rng_below(&sim->rng, 3) == 0;
    plan->gates = (unsigned)sim_between(sim, 1, 2);
    plan->routers = (unsigned)sim_between(sim, 1, 2);
    plan->sequencers = (unsigned)sim_between(sim, 1, 2);
    plan->latency_us = (uint32_t)sim_between(sim, 20, 1500);
    if (sim->options.calm) {
        plan->level = 0;
    }
    plan->drop_request = draw(sim, 5, 60 * plan->level);
    plan->drop_answer = draw(sim, 5, 60 * plan->level);
    plan->double_request = draw(sim, 10, 300 * plan->level);
    plan->late_request = draw(sim, 10, 150 * plan->level);
    plan->delay = draw(sim, 10, 150 * plan->level);
    plan->drop_publish = draw(sim, 50, 800 * plan->level);
    plan->double_publish = draw(sim, 50, 500 * plan->level);
    plan->reorder_publish = draw(sim, 50, 800 * plan->level);
    plan->conn_slow = draw(sim, 3, 20 * plan->level);
    plan->reset_gap = draw_gap(sim, 500, 5000);
    plan->kill_gap = draw_gap(sim, 2000, 10000);
    plan->kill_all_gap = draw_gap(sim, 8000, 30000);
    plan->power_gap = draw_gap(sim, 4000, 20000);
    plan->stop_gap = draw_gap(sim, 5000, 20000);
    plan->pause_gap = draw_gap(sim, 3000, 10000);
    plan->conn_gap = draw_gap(sim, 300, 3000);
    plan->conn_half_gap = draw_gap(sim, 2000, 8000);
    plan->sync_gap = draw_gap(sim, 8000, 30000);
    plan->cut_gap = draw_gap(sim, 4000, 20000);
    plan->full_gap = draw_gap(sim, 5000, 20000);
    plan->clock_gap = draw_gap(sim, 3000, 20000);
    cluster_draw(sim);
    rates_draw(sim);
    people_draw(sim);
    late_draw(sim);
    sim_outage_plan(sim);
    leave_out(plan, sim->options.without);
}

/* ------------------------------------------------------------------ one of each */

static unsigned
any_process(struct sim *sim)
{
    return (unsigned)an_rng_below(&sim->rng, sim->process_count);
}

static void
hit_reset(struct sim *sim)
{
    struct an_addr a = sim->actor[an_rng_below(&sim->rng, sim->actor_count)].addr;
    struct an_addr b = sim->actor[an_rng_below(&sim->rng, sim->actor_count)].addr;

    sim->counts[SIM_RESET]++;
    sim_trace(sim, "reset between %s/%u and %s/%u", an_role_name(a.role), a.index,
              an_role_name(b.role), b.index);
    sim_reset(sim, a, b);
}

static void
hit_kill(struct sim *sim)
{
    unsigned process = any_process(sim);

    if (sim->process[process].up) {
        sim->counts[SIM_KILL]++;
        sim_kill(sim, process, false, sim_between(sim, 20, 4000));
    }
}

static void
hit_all(struct sim *sim, bool power)
{
    for (unsigned i = 0; i < sim->process_count; i++) {
        if (sim->process[i].up) {
            sim_kill(sim, i, power, sim_between(sim, 20, 3000));
        }
    }
}

static void
hit_kill_all(struct sim *sim)
{
    sim->counts[SIM_KILL_ALL]++;
    hit_all(sim, false);
}

static void
hit_power(struct sim *sim)
{
    sim->counts[SIM_POWER]++;
    hit_all(sim, true);
}

static void
hit_stop(struct sim *sim)
{
    unsigned process = any_process(sim);

    if (sim->process[process].up && !sim->process[process].stopping) {
        sim->counts[SIM_STOP]++;
        sim_stop(sim, process);
    }
}

static void
pause_process(struct sim *sim, struct sim_process *process, uint64_t ms)
{
    process->paused_until_us = sim->now_us + ms * SIM_MS;
    if (sim->trouble_us < process->paused_until_us) {
        sim->trouble_us = process->paused_until_us;
    }
    sim_trace(sim, "%s stands still until %llu ms", process->name,
              (unsigned long long)(process->paused_until_us / SIM_MS));
}

static void
hit_pause(struct sim *sim)
{
    struct sim_process *process = &sim->process[any_process(sim)];

    sim->counts[SIM_PAUSE]++;
    pause_process(sim, process, sim_between(sim, 10, 8000));
}

/* Longer than any lease, probe or budget. */
static void
hit_pause_long(struct sim *sim)
{
    struct sim_process *process = &sim->process[any_process(sim)];

    sim->counts[SIM_PAUSE_LONG]++;
    pause_process(sim, process, sim_between(sim, 8000, 45000));
}

static unsigned
any_of(struct sim *sim, enum an_role role, unsigned count)
{
    struct an_addr addr = {(uint8_t)role, (uint16_t)an_rng_below(&sim->rng, count)};

    return (unsigned)sim_actor_find(sim, addr);
}

static void
hit_handover(struct sim *sim)
{
    unsigned actor = any_of(sim, AN_ROLE_SEQUENCER, sim->plan.sequencers);
    unsigned process = sim->actor[actor].process;

    if (sim->process[process].up && !sim->process[process].stopping) {
        sim->counts[SIM_STOP_SEQUENCER]++;
        sim_stop(sim, process);
    }
}

/* One host goes, often with its power. */
static void
hit_host(struct sim *sim)
{
    unsigned host = (unsigned)an_rng_below(&sim->rng, SIM_HOSTS_MAX);
    bool power = an_rng_below(&sim->rng, 2) == 0;

    sim->counts[SIM_HOST_DOWN]++;
    for (unsigned i = 0; i < sim->process_count; i++) {
        if (sim->process[i].host == host && sim->process[i].up) {
            sim_kill(sim, i, power, sim_between(sim, 200, 12000));
        }
    }
}

static void
undrain(struct sim *sim, void *arg, uint64_t actor)
{
    (void)arg;
    if (sim_actor_up(sim, (unsigned)actor)) {
        sim_net_inspect(sim, (unsigned)actor, "undrain");
    }
}

static void
hit_drain(struct sim *sim)
{
    unsigned actor = any_of(sim, AN_ROLE_GATE, sim->plan.gates);

    if (sim_actor_up(sim, actor)) {
        sim->counts[SIM_GATE_DRAINED]++;
        sim_trace(sim, "gate/%u is drained", sim->actor[actor].addr.index);
        sim_net_inspect(sim, actor, "drain");
        sim_at(sim, sim->now_us + sim_between(sim, 100, 15000) * SIM_MS, undrain, NULL,
               actor);
    }
}

static void
hit_conn(struct sim *sim)
{
    sim_door_fault(sim, false);
}

static void
hit_conn_half(struct sim *sim)
{
    sim_door_fault(sim, true);
}

static void
hit_sync(struct sim *sim)
{
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].disk != NULL) {
            sim_trace(sim, "the next sync of %s/%u fails",
                      an_role_name(sim->actor[i].addr.role), sim->actor[i].addr.index);
            sim_disk_fail_sync(sim->actor[i].disk);
        }
    }
}

static void
hit_cut(struct sim *sim)
{
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].disk != NULL) {
            sim_disk_cut(sim->actor[i].disk);
        }
    }
}

static void
disk_room(struct sim *sim, void *arg, uint64_t number)
{
    (void)arg;
    (void)number;
    sim_trace(sim, "the disks have room again");
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].disk != NULL) {
            sim_disk_set_full(sim->actor[i].disk, false);
        }
    }
}

static void
hit_full(struct sim *sim)
{
    sim_trace(sim, "the disks are full");
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].disk != NULL) {
            sim_disk_set_full(sim->actor[i].disk, true);
        }
    }
    sim_at(sim, sim->now_us + sim_between(sim, 100, 4000) * SIM_MS, disk_room, NULL, 0);
}

static void
hit_clock(struct sim *sim)
{
    struct sim_process *process = &sim->process[any_process(sim)];
    uint64_t span = an_rng_below(&sim->rng, 4) == 0 ? 3600 * 1000 : 20 * 1000;
    int64_t by = (int64_t)sim_between(sim, 1, span);

    if (an_rng_below(&sim->rng, 2) == 0) {
        sim->counts[SIM_CLOCK_BACK]++;
        by = -by;
    } else {
        sim->counts[SIM_CLOCK_AHEAD]++;
    }
    process->wall_offset_ms =
        sim->plan.clocks_near ? by % SIM_NEAR_MS : process->wall_offset_ms + by;
    sim_trace(sim, "the clock of %s jumps, and is off by %lld ms", process->name,
              (long long)process->wall_offset_ms);
}

/* ------------------------------------------------------------------ when */

struct fault {
    void (*hit)(struct sim *sim);
    uint32_t gap;
};

static void
strike(struct sim *sim, void *arg, uint64_t number)
{
    const struct fault *fault = arg;

    (void)number;
    if (!sim->faults) {
        free(arg);
        return;
    }
    fault->hit(sim);
    sim_at(sim, sim->now_us + sim_between(sim, 1, 2ull * fault->gap) * SIM_MS, strike,
           arg, 0);
}

static void
fault_plan(struct sim *sim, uint32_t gap, void (*hit)(struct sim *sim))
{
    struct fault *fault;

    if (gap == 0) {
        return;
    }
    fault = sim_alloc(sizeof(*fault));
    *fault = (struct fault){hit, gap};
    sim_at(sim, sim->now_us + sim_between(sim, 1, 2ull * gap) * SIM_MS, strike, fault, 0);
}

void
sim_faults_start(struct sim *sim)
{
    const struct sim_plan *plan = &sim->plan;

    sim->faults = true;
    sim->counts[SIM_OWNERS_DIFFER] += plan->owners_differ;
    sim_trace(sim, "faults begin, level %u, %s", plan->level,
              plan->cluster  ? "three hosts"
              : plan->single ? "one process"
                             : "a process for each actor");
    fault_plan(sim, plan->reset_gap, hit_reset);
    fault_plan(sim, plan->kill_gap, hit_kill);
    fault_plan(sim, plan->kill_all_gap, hit_kill_all);
    fault_plan(sim, plan->power_gap, hit_power);
    fault_plan(sim, plan->stop_gap, hit_stop);
    fault_plan(sim, plan->pause_gap, hit_pause);
    fault_plan(sim, plan->conn_gap, hit_conn);
    fault_plan(sim, plan->conn_half_gap, hit_conn_half);
    fault_plan(sim, plan->sync_gap, hit_sync);
    fault_plan(sim, plan->cut_gap, hit_cut);
    fault_plan(sim, plan->full_gap, hit_full);
    fault_plan(sim, plan->clock_gap, hit_clock);
    fault_plan(sim, plan->part_gap, sim_cut_hit);
    fault_plan(sim, plan->part_host_gap, sim_cut_hit_host);
    fault_plan(sim, plan->pause_long_gap, hit_pause_long);
    fault_plan(sim, plan->handover_gap, hit_handover);
    fault_plan(sim, plan->host_gap, hit_host);
    fault_plan(sim, plan->drain_gap, hit_drain);
    sim_outage_start(sim);
}

/* The world is kind from now on; what is down still has to come up by itself, and what
 * stands still or is cut off goes on at its time. */
void
sim_faults_end(struct sim *sim)
{
    sim->faults = false;
    sim_trace(sim, "faults end");
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].disk != NULL) {
            sim_disk_heal(sim->actor[i].disk);
        }
    }
}
