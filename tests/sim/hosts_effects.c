/* Carries out what actors ask for: each effect becomes an event. */
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    JOB_US_MAX = 3000, /* a read */
    HASH_US_MAX = 400000,
    APPLY_US_MAX = 200000,
};

static void
timer_fire(struct sim *sim, void *arg, uint64_t tag)
{
    uint64_t who = *(uint64_t *)arg;
    unsigned index = (unsigned)(who & 0xffffffff);
    struct an_msg *msg;

    free(arg);
    if (sim_life(sim, index) != who >> 32) {
        return;
    }
    msg = sim_msg_create(sim, index, AN_KIND_TIMER);
    msg->tag = tag;
    sim_mail(sim, index, msg);
}

static void
timer_set(struct sim *sim, unsigned index, const struct an_effect *effect)
{
    const struct sim_process *process = &sim->process[sim->actor[index].process];
    uint64_t *who = sim_alloc(sizeof(*who));
    uint64_t at = sim_clock_at_us(process, effect->at_mono_ms);

    *who = (uint64_t)process->life << 32 | index;
    sim_at(sim, (at > sim->now_us ? at : sim->now_us) + sim_between(sim, 0, 300),
           timer_fire, who, effect->tag);
}

/* ------------------------------------------------------------------ jobs */

static void
job_done(struct sim *sim, void *arg, uint64_t number)
{
    unsigned index = (unsigned)(number & 0xffffffff);
    struct an_job *job = *(struct an_job **)arg;
    struct an_msg *msg;

    free(arg);
    if (sim_life(sim, index) != number >> 32) {
        return;
    }
    msg = sim_msg_create(sim, index, AN_KIND_JOB_DONE);
    msg->job = job;
    sim_mail(sim, index, msg);
}

static void
job_run(struct sim *sim, void *arg, uint64_t number)
{
    unsigned index = (unsigned)(number & 0xffffffff);
    struct sim_actor *actor = &sim->actor[index];
    struct sim_process *process = &sim->process[actor->process];
    struct an_job *job = *(struct an_job **)arg;
    struct sim_job *at = actor->jobs;

    if (process->life != number >> 32) {
        free(arg);
        return;
    }
    if (sim->now_us < process->paused_until_us) {
        sim_at(sim, process->paused_until_us, job_run, arg, number);
        return;
    }
    while (at->job != job) {
        at = at->next;
    }
    at->ran = true;
    sim_mix_u64(sim, 0x10b0000u + (uint64_t)job->lane);
    job->run(job);
    if (process->doomed) {
        free(arg);
        sim_kill(sim, actor->process, process->doomed_power, sim_between(sim, 50, 2000));
        return;
    }
    sim_at(sim, sim->now_us + sim_between(sim, 1, 200), job_done, arg, number);
}

static void
job_add(struct sim *sim, unsigned index, struct an_job *job)
{
    struct sim_actor *actor = &sim->actor[index];
    struct sim_job *entry = sim_alloc(sizeof(*entry));

    entry->job = job;
    entry->next = actor->jobs;
    actor->jobs = entry;
}

static void
job_plan(struct sim *sim, unsigned index, struct an_job *job)
{
    struct sim_actor *actor = &sim->actor[index];
    struct an_job **arg = sim_alloc(sizeof(struct an_job *));
    uint64_t at = sim->now_us + sim_between(sim, 1, JOB_US_MAX);

    if (job->lane == AN_LANE_APPLY) { /* one at a time, in order */
        at = actor->apply_free_us > sim->now_us ? actor->apply_free_us : sim->now_us;
        at += sim_between(sim, 1, APPLY_US_MAX);
        actor->apply_free_us = at;
    }
    if (job->lane == AN_LANE_HASH) { /* the same */
        at = actor->hash_free_us > sim->now_us ? actor->hash_free_us : sim->now_us;
        at += sim_between(sim, 1, HASH_US_MAX);
        actor->hash_free_us = at;
    }
    *arg = job;
    job_add(sim, index, job);
    sim_at(sim, at, job_run, arg, (uint64_t)sim_life(sim, index) << 32 | index);
}

/* The process is dead, but memory is not: what was offloaded runs against the frozen disk
 * and comes back, until nothing is left that the actor would wait for. */
void
sim_jobs_finish(struct sim *sim, unsigned index)
{
    struct sim_actor *actor = &sim->actor[index];
    struct an_now now = sim_clock(sim, &sim->process[actor->process]);

    for (;;) {
        struct sim_job *entry;
        struct an_msg *msg;

        for (size_t i = 0; i < actor->out.count; i++) {
            if (actor->out.effects[i].type == AN_EFFECT_OFFLOAD &&
                actor->out.effects[i].job != NULL) {
                job_add(sim, index, actor->out.effects[i].job);
            }
        }
        an_outbox_clear(&actor->out);
        entry = actor->jobs;
        if (entry == NULL) {
            return;
        }
        actor->jobs = entry->next;
        if (!entry->ran) {
            entry->job->run(entry->job);
        }
        msg = sim_msg_create(sim, index, AN_KIND_JOB_DONE);
        msg->job = entry->job;
        free(entry);
        actor->actor->ops->step(actor->actor, msg, now, &actor->out);
        an_msg_release(msg);
    }
}

/* ------------------------------------------------------------------ the rest */

/* A runner says why and ends the process; whoever watches it starts it again. Damage and
 * faults of our own are never right here. */
static void
actor_failed(struct sim *sim, unsigned index, enum an_err err)
{
    const struct sim_actor *actor = &sim->actor[index];

    if (err == AN_ERR_CORRUPT || err == AN_ERR_INTERNAL) {
        sim_fail(sim, "%s/%u gave up: %s", an_role_name(actor->addr.role),
                 actor->addr.index, an_err_name(err));
        return;
    }
    sim_kill(sim, actor->process, false, sim_between(sim, 50, 2000));
}

static void
stopped(struct sim *sim, unsigned index)
{
    unsigned process = sim->actor[index].process;

    if (!sim->process[process].stopping) {
        sim_fail(sim, "%s/%u says stopped and nobody asked",
                 an_role_name(sim->actor[index].addr.role), sim->actor[index].addr.index);
        return;
    }
    sim->actor[index].stopped = true;
    for (unsigned i = 0; i < sim->actor_count; i++) {
        if (sim->actor[i].process == process && !sim->actor[i].stopped) {
            return;
        }
    }
    sim_kill(sim, process, false, sim_between(sim, 20, 1000));
}

static void
effect_carry_out(struct sim *sim, unsigned index, const struct an_effect *effect)
{
    struct sim_actor *actor = &sim->actor[index];
    const char *role = an_role_name(actor->addr.role);
    const uint8_t *bytes = actor->out.bytes + effect->offset;
    int len = effect->len > 160 ? 160 : (int)effect->len;

    switch (effect->type) {
    case AN_EFFECT_ASK:
        sim_net_ask(sim, index, effect, bytes);
        break;
    case AN_EFFECT_ANSWER:
        sim_net_answer(sim, index, effect, bytes);
        break;
    case AN_EFFECT_PUBLISH:
        sim_net_publish(sim, index, effect, bytes);
        break;
    case AN_EFFECT_TIMER:
        timer_set(sim, index, effect);
        break;
    case AN_EFFECT_OFFLOAD:
        job_plan(sim, index, effect->job);
        break;
    case AN_EFFECT_CONN_SEND:
        sim_door_send(sim, index, effect, bytes);
        break;
    case AN_EFFECT_CONN_CLOSE:
        sim_door_close(sim, index, effect->conn);
        break;
    case AN_EFFECT_HTTP:
        if (sim->http == NULL) {
            sim_fail(sim, "%s/%u answers HTTP that nobody asked", role,
                     actor->addr.index);
        } else {
            sim->http(sim, effect, bytes);
        }
        break;
    case AN_EFFECT_EVENT:
    case AN_EFFECT_LOG:
        sim_mix(sim, bytes, effect->len);
        sim_trace(sim, "%s/%u %s %.*s", role, actor->addr.index,
                  effect->type == AN_EFFECT_LOG ? "log" : "event", len,
                  (const char *)bytes);
        break;
    case AN_EFFECT_READY:
        if (actor->ready) {
            sim_fail(sim, "%s/%u is ready twice", role, actor->addr.index);
        }
        actor->ready = true;
        sim_trace(sim, "%s/%u ready", role, actor->addr.index);
        break;
    case AN_EFFECT_STOPPED:
        stopped(sim, index);
        break;
    case AN_EFFECT_FAILED:
        sim_trace(sim, "%s/%u failed: %s %.*s", role, actor->addr.index,
                  an_err_name(effect->err), len, (const char *)bytes);
        actor_failed(sim, index, effect->err);
        break;
    }
}

void
sim_carry_out(struct sim *sim, unsigned index)
{
    struct sim_actor *actor = &sim->actor[index];
    uint32_t life = sim_life(sim, index);

    for (size_t i = 0; i < actor->out.count; i++) {
        struct an_effect effect = actor->out.effects[i];
        actor->out.effects[i].job = NULL; /* not a second time if the process ends now */
        effect_carry_out(sim, index, &effect);
        if (sim_life(sim, index) != life) {
            return; /* the process ended; its outbox was cleared with it */
        }
    }
    an_outbox_clear(&actor->out);
}
