/* Processes and their actors: starting, stepping, killing. One process is one failure
 * unit with its own clocks; an actor's step takes virtual time, and its effects leave
 * when the step is over, so a kill between the two loses them. */
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAKE_US_MIN = 5, /* from a message's arrival to the step */
    WAKE_US_MAX = 40,
    STEP_US = 3, /* what a step costs */
    MSG_ARENA_MAX = AN_BUS_MSG_LEN_MAX * 2,
    START_FAILURES_MAX = 200,
    STOP_MS_MAX = 8000, /* a stopping process is killed after that */
    MILLION = 1000000,
};

static uint64_t
pack_life(unsigned index, uint32_t life)
{
    return (uint64_t)life << 32 | index;
}

int
sim_actor_find(const struct sim *sim, struct an_addr addr)
{
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].addr.role == addr.role &&
            sim->actor[i].addr.index == addr.index) {
            return (int)i;
        }
    }
    return -1;
}

uint32_t
sim_life(const struct sim *sim, unsigned actor)
{
    return sim->process[sim->actor[actor].process].life;
}

bool
sim_actor_up(const struct sim *sim, unsigned actor)
{
    return sim->actor[actor].actor != NULL && sim->process[sim->actor[actor].process].up;
}

/* So much time, as a clock counts it that is off by ppm. */
static uint64_t
drifted_us(uint64_t us, int64_t ppm)
{
    return (uint64_t)((int64_t)us + (int64_t)us * ppm / MILLION);
}

struct an_now
sim_clock(const struct sim *sim, const struct sim_process *process)
{
    uint64_t wall =
        SIM_WALL_BASE_MS + drifted_us(sim->now_us, process->wall_ppm) / SIM_MS;
    uint64_t up_us = drifted_us(sim->now_us - process->boot_us, process->mono_ppm);

    return (struct an_now){
        .mono_ms = process->mono_base_ms + up_us / SIM_MS,
        .wall_ms = (uint64_t)((int64_t)wall + process->wall_offset_ms),
    };
}

uint64_t
sim_clock_at_us(const struct sim_process *process, uint64_t mono_ms)
{
    uint64_t up_us, us;

    if (mono_ms <= process->mono_base_ms) {
        return process->boot_us;
    }
    up_us = (mono_ms - process->mono_base_ms) * SIM_MS;
    us = process->mono_ppm == 0
             ? up_us
             : up_us * MILLION / (uint64_t)(MILLION + process->mono_ppm);
    while (us > 0 && drifted_us(us - 1, process->mono_ppm) >= up_us) {
        us--; /* nor later, for the rounding's sake */
    }
    while (drifted_us(us, process->mono_ppm) < up_us) {
        us++; /* never before */
    }
    return process->boot_us + us;
}

unsigned
sim_process_add(struct sim *sim, const char *name)
{
    struct sim_process *process = &sim->process[sim->process_count];

    assert(sim->process_count < SIM_PROCESSES_MAX);
    snprintf(process->name, sizeof(process->name), "%s", name);
    return sim->process_count++;
}

void
sim_actor_add(struct sim *sim, unsigned process, struct an_addr addr, sim_make_f *make,
              void *ctx)
{
    struct sim_actor *actor = &sim->actor[sim->actor_count];

    assert(sim->actor_count < SIM_ACTORS_MAX && process < sim->process_count);
    actor->addr = addr;
    actor->process = process;
    actor->make = make;
    actor->ctx = ctx;
    sim->actor_count++;
}

/* ------------------------------------------------------------------ messages */

static void
live_forget(struct sim_actor *actor, const struct an_msg *msg)
{
    for (size_t i = actor->live_count; i-- > 0;) {
        if (actor->live[i] == msg) {
            actor->live[i] = actor->live[--actor->live_count];
            return;
        }
    }
    assert(false); /* released twice */
}

static void
msg_recycle(void *owner, struct an_msg *msg)
{
    live_forget(owner, msg);
    an_arena_fini(&msg->arena);
    free(msg);
}

struct an_msg *
sim_msg_create(struct sim *sim, unsigned index, uint16_t kind)
{
    struct sim_actor *actor = &sim->actor[index];
    struct an_msg *msg = an_msg_create(MSG_ARENA_MAX);

    if (msg == NULL) {
        abort();
    }
    msg->kind = kind;
    msg->owner = actor;
    msg->recycle = msg_recycle;
    actor->live = sim_grow(actor->live, &actor->live_cap, actor->live_count + 1,
                           sizeof(struct an_msg *));
    actor->live[actor->live_count++] = msg;
    return msg;
}

static struct an_msg *
mail_take(struct sim_actor *actor)
{
    struct an_msg *msg = actor->head;

    actor->head = msg->next;
    if (actor->head == NULL) {
        actor->tail = NULL;
    }
    msg->next = NULL;
    actor->queued--;
    return msg;
}

/* ------------------------------------------------------------------ steps */

static sim_event_f wake;

static void
wake_plan(struct sim *sim, unsigned index)
{
    struct sim_actor *actor = &sim->actor[index];
    const struct sim_process *process = &sim->process[actor->process];
    uint64_t at = sim->now_us + sim_between(sim, WAKE_US_MIN, WAKE_US_MAX);

    actor->planned = true;
    if (at < process->paused_until_us) {
        at = process->paused_until_us;
    }
    sim_at(sim, at, wake, NULL, pack_life(index, process->life));
}

void
sim_mail(struct sim *sim, unsigned index, struct an_msg *msg)
{
    struct sim_actor *actor = &sim->actor[index];

    if (actor->tail == NULL) {
        actor->head = msg;
    } else {
        actor->tail->next = msg;
    }
    actor->tail = msg;
    actor->queued++;
    if (!actor->planned) {
        wake_plan(sim, index);
    }
}

/* The step is over: its effects leave, and what queued up meanwhile is next. */
static void
depart(struct sim *sim, void *arg, uint64_t number)
{
    unsigned index = (unsigned)(number & 0xffffffff);
    struct sim_actor *actor = &sim->actor[index];

    (void)arg;
    if (sim_life(sim, index) != number >> 32) {
        return;
    }
    if (sim->now_us < sim->process[actor->process].paused_until_us) {
        sim_at(sim, sim->process[actor->process].paused_until_us, depart, NULL, number);
        return;
    }
    sim_carry_out(sim, index);
    if (sim_life(sim, index) != number >> 32) {
        return; /* it failed or stopped */
    }
    actor->planned = false;
    if (actor->queued > 0) {
        wake_plan(sim, index);
    }
}

static void
forget_job(struct sim_actor *actor, const struct an_job *job)
{
    for (struct sim_job **at = &actor->jobs; *at != NULL; at = &(*at)->next) {
        if ((*at)->job == job) {
            struct sim_job *gone = *at;
            *at = gone->next;
            free(gone);
            return;
        }
    }
    assert(false); /* done twice */
}

static void
step(struct sim *sim, unsigned index, struct an_msg *msg, struct an_now now)
{
    struct sim_actor *actor = &sim->actor[index];

    sim_mix_u64(sim, (uint64_t)index << 32 | msg->kind);
    if (msg->kind == AN_KIND_JOB_DONE) {
        forget_job(actor, msg->job);
    }
    if (an_msg_expired(msg, now)) {
        sim_net_refuse(sim, index, msg, AN_ERR_EXPIRED);
    } else {
        actor->actor->ops->step(actor->actor, msg, now, &actor->out);
    }
    an_msg_release(msg);
}

static void
wake(struct sim *sim, void *arg, uint64_t number)
{
    unsigned index = (unsigned)(number & 0xffffffff);
    struct sim_actor *actor = &sim->actor[index];
    struct sim_process *process = &sim->process[actor->process];
    struct an_now now = sim_clock(sim, process);
    size_t steps = 0;

    (void)arg;
    if (process->life != number >> 32) {
        return;
    }
    if (sim->now_us < process->paused_until_us) {
        sim_at(sim, process->paused_until_us, wake, NULL, number);
        return;
    }
    actor->disk_us = 0;
    while (actor->queued > 0 && steps < AN_DRAIN_MSGS_MAX && !process->doomed) {
        step(sim, index, mail_take(actor), now);
        steps++;
    }
    if (!process->doomed) {
        actor->actor->ops->drained(actor->actor, now, &actor->out);
    }
    if (process->doomed) {
        sim_kill(sim, actor->process, process->doomed_power, sim_between(sim, 50, 2000));
        return;
    }
    sim_at(sim, sim->now_us + 1 + steps * STEP_US + actor->disk_us, depart, NULL, number);
}

/* ------------------------------------------------------------------ birth and death */

static void
actor_end(struct sim *sim, unsigned index)
{
    struct sim_actor *actor = &sim->actor[index];

    sim_jobs_finish(sim, index);
    for (size_t i = 0; i < actor->live_count; i++) {
        actor->live[i]->answered = true; /* nobody answers for the dead */
    }
    while (actor->queued > 0) {
        an_msg_release(mail_take(actor));
    }
    actor->actor->ops->destroy(actor->actor);
    actor->actor = NULL;
    if (actor->live_count > 0) {
        sim_fail(sim, "%s/%u: destroyed with %zu messages still held (first kind %s)",
                 an_role_name(actor->addr.role), actor->addr.index, actor->live_count,
                 an_kind_name(actor->live[0]->kind));
    }
    an_outbox_clear(&actor->out);
    actor->planned = false;
    actor->ready = false;
    actor->stopped = false;
}

static void
process_end(struct sim *sim, unsigned index)
{
    struct sim_process *process = &sim->process[index];
    uint64_t up_us = sim->now_us - process->boot_us;
    uint64_t apart_us = (uint64_t)llabs((int64_t)up_us * process->mono_ppm / MILLION);

    sim->counts[SIM_CLOCK_APART] += process->up && apart_us >= 100 * SIM_MS;
    process->up = false;
    process->stopping = false;
    process->doomed = false;
    process->life++;
    process->paused_until_us = 0;
    for (unsigned i = 0; i < sim->actor_count; i++) {
        struct sim_actor *actor = &sim->actor[i];
        if (actor->process == index && actor->disk != NULL) {
            sim_disk_freeze(actor->disk);
        }
    }
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].process == index && sim->actor[i].actor != NULL) {
            actor_end(sim, i);
        }
    }
    process->doomed = false; /* a last job may have met the frozen disk */
}

static bool
actors_make(struct sim *sim, unsigned index)
{
    char why[256] = "";

    for (unsigned i = 0; i < sim->actor_count; i++) {
        struct sim_actor *actor = &sim->actor[i];
        if (actor->process != index) {
            continue;
        }
        actor->actor = actor->make(actor->ctx, actor->addr, an_rng_next(&sim->rng) | 1,
                                   why, sizeof(why));
        if (actor->actor == NULL || sim->process[index].doomed) {
            sim_trace(sim, "%s/%u cannot start: %s", an_role_name(actor->addr.role),
                      actor->addr.index, why);
            return false;
        }
        actor->out.watched = true;
    }
    return true;
}

static void
process_start(struct sim *sim, void *arg, uint64_t number)
{
    unsigned index = (unsigned)(number & 0xffffffff);
    struct sim_process *process = &sim->process[index];

    (void)arg;
    if (process->life != number >> 32) {
        return;
    }
    process->life++;
    process->boot_us = sim->now_us;
    process->mono_base_ms = sim_between(sim, 1, 1u << 30);
    process->doomed = false;
    sim_trace(sim, "%s starts, life %u", process->name, process->life);
    if (!actors_make(sim, index)) {
        bool power = process->doomed && process->doomed_power;
        if (++process->start_failures > START_FAILURES_MAX) {
            sim_fail(sim, "%s does not come up again", process->name);
        }
        sim_kill(sim, index, power, sim_between(sim, 100, 500));
        return;
    }
    process->start_failures = 0;
    process->up = true;
    sim->counts[SIM_CLOCK_DRIFT] += process->mono_ppm != 0;
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].process == index) {
            sim_mail(sim, i, sim_msg_create(sim, i, AN_KIND_START));
        }
    }
}

void
sim_process_begin(struct sim *sim, unsigned index, uint64_t in_ms)
{
    sim_at(sim, sim->now_us + in_ms * SIM_MS, process_start, NULL,
           pack_life(index, sim->process[index].life));
}

void
sim_kill(struct sim *sim, unsigned index, bool power, uint64_t restart_ms)
{
    struct sim_process *process = &sim->process[index];

    sim_trace(sim, "%s dies%s", process->name, power ? " by power cut" : "");
    sim_mix_u64(sim, 0xdead0000u + index);
    process_end(sim, index);
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].process == index && sim->actor[i].disk != NULL) {
            sim_disk_thaw(sim->actor[i].disk, power);
        }
    }
    sim_net_process_down(sim, index);
    sim_door_process_down(sim, index);
    sim_process_begin(sim, index, restart_ms);
}

static void
stop_late(struct sim *sim, void *arg, uint64_t number)
{
    unsigned index = (unsigned)(number & 0xffffffff);

    (void)arg;
    if (sim->process[index].life == number >> 32) {
        sim_trace(sim, "%s did not stop in time", sim->process[index].name);
        sim_kill(sim, index, false, sim_between(sim, 20, 1000));
    }
}

void
sim_stop(struct sim *sim, unsigned index)
{
    if (!sim->process[index].up || sim->process[index].stopping) {
        return;
    }
    sim_trace(sim, "%s is told to stop", sim->process[index].name);
    sim->process[index].stopping = true;
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].process == index) {
            sim_mail(sim, i, sim_msg_create(sim, i, AN_KIND_STOP));
        }
    }
    sim_at(sim, sim->now_us + STOP_MS_MAX * SIM_MS, stop_late, NULL,
           pack_life(index, sim->process[index].life));
}

void
sim_process_doom(struct sim *sim, unsigned index, bool power)
{
    sim->process[index].doomed = true;
    sim->process[index].doomed_power = power;
}

void
sim_hosts_fini(struct sim *sim)
{
    for (unsigned i = 0; i < sim->process_count; i++) {
        process_end(sim, i);
    }
    for (unsigned i = 0; i < sim->actor_count; i++) {
        an_outbox_fini(&sim->actor[i].out);
        free(sim->actor[i].live);
        sim_disk_destroy(sim->actor[i].disk);
    }
}
