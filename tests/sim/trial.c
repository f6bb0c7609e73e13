/* One trial: builds Anser out of a seed, lets the clients work while faults happen, ends
 * the faults, waits until everything settled, reads everything back and judges it. */
#include "tests/sim/trial.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPS_DEFAULT = 2000,
    USERS_MS_MAX = 60000,
    WORK_MS_MAX = 7200000,
    SETTLE_MS_MAX = 120000, /* after the last fault */
    AUDIT_MS_MAX = 120000,
    CENSUS_MS_MAX = 60000,
    BAN_MS = 15000, /* a heartbeat and a quarter, a tick, a read */
};

/* ------------------------------------------------------------------ phases */

static bool
users_exist(void *ctx)
{
    struct sim_trial *trial = ctx;

    return trial->sim->actor[trial->admin_actor].ready;
}

/* What the clients have begun to do. Sending again what had no answer does not count. */
static uint64_t
ops_count(const struct sim *sim)
{
    static const enum sim_count ops[] = {
        SIM_OP_LOGIN,  SIM_OP_SEND,      SIM_OP_SEND_UNKNOWN, SIM_OP_REPEAT,
        SIM_OP_SYNC,   SIM_OP_CONFLICT,  SIM_OP_HISTORY,      SIM_OP_CONFIRM,
        SIM_OP_LOGOUT, SIM_OP_HEARTBEAT, SIM_OP_TWIN,         SIM_OP_BAD_BODY,
    };
    uint64_t sum = 0;

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        sum += sim->counts[ops[i]];
    }
    return sum;
}

static bool
ops_done(void *ctx)
{
    struct sim_trial *trial = ctx;

    return ops_count(trial->sim) >= trial->ops;
}

/* Everybody is up and serves; only the stranger never can. */
bool
sim_trial_ready(const struct sim_trial *trial, char *why, size_t why_len)
{
    const struct sim *sim = trial->sim;

    for (unsigned i = 0; i < sim->actor_count; i++) {
        const struct sim_actor *actor = &sim->actor[i];
        bool stranger = trial->belief[actor->process] == SIM_BELIEF_OTHER_STORES;
        if (!stranger && (!sim_actor_up(sim, i) || !actor->ready)) {
            snprintf(why, why_len, "%s/%u is not ready", an_role_name(actor->addr.role),
                     actor->addr.index);
            return false;
        }
    }
    return true;
}

static void
gauge_find(void *ctx, const char *name, const char *help, bool counter, uint64_t value)
{
    uint64_t *waiting = ctx;

    (void)help;
    (void)counter;
    if (strcmp(name, "outgoing_waiting") == 0) {
        *waiting += value;
    }
}

/* What has to reach inboxes of other stores has. */
static bool
outboxes_empty(const struct sim_trial *trial, char *why, size_t why_len)
{
    const struct sim *sim = trial->sim;

    for (unsigned i = 0; i < sim->actor_count; i++) {
        struct an_actor *actor = sim->actor[i].actor;
        uint64_t waiting = 0;
        if (actor == NULL || actor->ops->role != AN_ROLE_STORE) {
            continue;
        }
        actor->ops->metrics(actor, gauge_find, &waiting);
        if (waiting > 0) {
            snprintf(why, why_len, "store/%u has %llu entries for other stores",
                     sim->actor[i].addr.index, (unsigned long long)waiting);
            return false;
        }
    }
    return true;
}

static bool
all_settled(const struct sim_trial *trial, char *why, size_t why_len)
{
    return sim_clients_settled(trial->clients, why, why_len) &&
           sim_trial_ready(trial, why, why_len) && outboxes_empty(trial, why, why_len);
}

static bool
settled(void *ctx)
{
    char why[128];

    return all_settled(ctx, why, sizeof(why));
}

static bool
counted(void *ctx)
{
    struct sim_trial *trial = ctx;

    return trial->census.done;
}

static bool
audited(void *ctx)
{
    struct sim_trial *trial = ctx;

    return sim_clients_audited(trial->clients);
}

static void
settle(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    char why[128] = "";
    uint64_t took_ms;

    trial->clients->quiet = true;
    trial->clients->quiet_us =
        sim->trouble_us > sim->now_us ? sim->trouble_us : sim->now_us;
    if (!sim_run_until(sim, trial->clients->quiet_us / SIM_MS + SETTLE_MS_MAX, settled,
                       trial) &&
        !sim->failed) {
        all_settled(trial, why, sizeof(why));
        sim_fail(sim, "not settled %d s after the last fault: %s", SETTLE_MS_MAX / 1000,
                 why);
    }
    took_ms = sim->now_us < trial->clients->quiet_us
                  ? 0
                  : (sim->now_us - trial->clients->quiet_us) / SIM_MS;
    trial->settle_ms = took_ms > trial->settle_ms ? took_ms : trial->settle_ms;
}

static void
work(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;

    sim_faults_start(sim);
    sim_clients_start(trial->clients);
    if (!sim_run_until(sim, sim_now_ms(sim) + WORK_MS_MAX, ops_done, trial) &&
        !sim->failed) {
        sim_fail(sim, "%llu client operations in %d virtual s, %llu were to be",
                 (unsigned long long)ops_count(sim), WORK_MS_MAX / 1000,
                 (unsigned long long)trial->ops);
    }
    sim_faults_end(sim);
}

/* Somebody has every slot, or takes it when asked. */
static void
census(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;

    sim_admin_census(sim, trial->admin_actor, &trial->census, sim->topology);
    if (sim_run_until(sim, sim_now_ms(sim) + CENSUS_MS_MAX, counted, trial) ||
        sim->failed) {
        sim->counts[SIM_SAW_CENSUS] += trial->census.count;
        return;
    }
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        if (!trial->census.served[slot]) {
            sim_fail(sim, "nobody serves slot %u (of %u served): sequencer/%u says %s",
                     slot, trial->census.count, trial->census.of[slot],
                     an_err_name(trial->census.err[slot]));
            return;
        }
    }
}

/* ------------------------------------------------------------------ a ban */

static bool
ban_done(void *ctx)
{
    return ((struct sim_trial *)ctx)->errand[0].done;
}

static bool
never(void *ctx)
{
    (void)ctx;
    return false;
}

static bool
let_in_again(void *ctx)
{
    struct sim_trial *trial = ctx;

    return sim_clients_on(trial->clients, trial->clients->banned - 1) > 0;
}

static bool
ban_set(struct sim_trial *trial, bool forbidden)
{
    struct sim *sim = trial->sim;

    trial->errand[0].forbidden = forbidden;
    sim_admin_errand(sim, trial->admin_actor, trial->errand, 0, sim->topology);
    if (!sim_run_until(sim, sim_now_ms(sim) + CENSUS_MS_MAX, ban_done, trial) &&
        !sim->failed) {
        sim_fail(sim, "a user cannot be %s", forbidden ? "forbidden" : "let in again");
    }
    return !sim->failed;
}

/* Some user is forbidden: within a heartbeat and a little nobody serves him, whether the
 * gates hear of it or every hint is lost; and he is served again when he may be. */
static void
ban(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    struct sim_clients *clients = trial->clients;
    unsigned user =
        sim_client_user(sim, (unsigned)an_rng_below(&sim->rng, clients->count));

    if (an_rng_below(&sim->rng, 2) == 0) {
        sim->hints_lost = true;
        sim->counts[SIM_HINTS_LOST]++;
    }
    trial->errand[0].what = SIM_ERRAND_FORBID;
    trial->errand[0].user = SIM_USER_KEY + user;
    clients->banned = user + 1;
    clients->banned_us = UINT64_MAX;
    if (!ban_set(trial, true)) {
        return;
    }
    clients->banned_us = sim->now_us + BAN_MS * SIM_MS;
    sim_run_until(sim, sim_now_ms(sim) + 2 * BAN_MS, never, trial);
    if (!sim->failed && sim_clients_on(clients, user) > 0) {
        sim_fail(sim, "a forbidden user is still logged in after %d ms", 2 * BAN_MS);
    }
    clients->banned_us = UINT64_MAX;
    if (sim->failed || !ban_set(trial, false)) {
        return;
    }
    if (!sim_run_until(sim, sim_now_ms(sim) + CENSUS_MS_MAX, let_in_again, trial) &&
        !sim->failed) {
        sim_fail(sim, "a user who is not forbidden any more is not let in");
    }
}

void
sim_trial_power_cut(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;

    for (unsigned i = 0; i < sim->process_count; i++) {
        if (sim->process[i].up) {
            sim_kill(sim, i, true, sim_between(sim, 20, 500));
        }
    }
}

static void
judge(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;

    if (an_rng_below(&sim->rng, 2) == 0) { /* acked means on disk */
        sim_trial_power_cut(trial);
        settle(trial);
    }
    if (!sim->failed) {
        census(trial);
    }
    trial->clients->audit = true;
    if (!sim->failed &&
        !sim_run_until(sim, sim_now_ms(sim) + AUDIT_MS_MAX, audited, trial)) {
        sim_fail(sim, "the audit did not end");
    }
    if (!sim->failed) {
        sim_check_end(trial->check);
    }
    if (!sim->failed) {
        ban(trial);
    }
    if (!sim->failed && sim->plan.people > 0) {
        sim_people(trial);
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
report(struct sim_trial *trial, struct sim_result *result)
{
    struct sim *sim = trial->sim;

    result->ok = !sim->failed;
    memcpy(result->why, sim->why, sizeof(result->why));
    result->hash = sim->hash;
    result->events = sim->events;
    result->ops = ops_count(sim);
    result->virtual_ms = sim_now_ms(sim);
    result->settle_ms = trial->settle_ms;
    memcpy(result->counts, sim->counts, sizeof(result->counts));
    if (sim->failed && !sim->options.quiet) {
        ring_print(sim);
    }
}

void
sim_trial(const struct sim_options *options, struct sim_result *result)
{
    struct sim_trial trial = {.sim = sim_create(options)};
    struct sim *sim = trial.sim;

    if (sim == NULL) {
        abort();
    }
    sim_plan_draw(sim);
    trial.check = sim_check_create(sim, (unsigned)sim_between(sim, 3, 6));
    trial.clients = sim_clients_create(sim, trial.check);
    trial.ops = options->ops == 0 ? OPS_DEFAULT : options->ops;
    sim_cluster_build(&trial);
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
    sim_guests_destroy(trial.guests);
    sim_clients_destroy(trial.clients);
    sim_check_destroy(trial.check);
}
