#include "core/runner_nng.h"
#include "core/runner_nng/priv.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------ small things */

static uint64_t
clock_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t
clock_mono_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

struct an_now
clock_now(void)
{
    return (struct an_now){clock_ms(CLOCK_MONOTONIC), clock_ms(CLOCK_REALTIME)};
}

/* The one place where NNG's numbers become ours. */
enum an_err
nng_to_err(int rv)
{
    switch (rv) {
    case 0:
        return AN_OK;
    case NNG_ENOMEM:
        return AN_ERR_NO_MEMORY;
    case NNG_ETIMEDOUT:
        return AN_ERR_TIMEOUT;
    default:
        return AN_ERR_CONNECTION;
    }
}

nng_msg *
bus_msg(const struct an_runner *runner, struct an_envelope *env, const uint8_t *body)
{
    nng_msg *msg;
    uint8_t *data;

    if (nng_msg_alloc(&msg, AN_ENVELOPE_LEN + env->body_len) != 0) {
        return NULL;
    }
    env->cluster = runner->cluster;
    env->stores = runner->stores;
    data = nng_msg_body(msg);
    an_envelope_put(data, env);
    if (env->body_len > 0) {
        memcpy(data + AN_ENVELOPE_LEN, body, env->body_len);
    }
    return msg;
}

struct instance *
runner_find(struct an_runner *runner, struct an_addr addr)
{
    struct instance *found = NULL;

    pthread_mutex_lock(&runner->lock);
    for (size_t i = 0; i < runner->instance_count; i++) {
        struct instance *inst = runner->instances[i];
        if (inst->addr.role == addr.role && inst->addr.index == addr.index) {
            found = inst;
        }
    }
    pthread_mutex_unlock(&runner->lock);
    return found;
}

void
runner_note(struct instance *inst, bool *flag)
{
    pthread_mutex_lock(&inst->runner->lock);
    *flag = true;
    pthread_cond_broadcast(&inst->runner->changed);
    pthread_mutex_unlock(&inst->runner->lock);
}

/* ------------------------------------------------------------------ create, add */

static enum an_err
copy_cfg(struct an_runner *runner, const struct an_runner_cfg *cfg)
{
    runner->cfg = *cfg;
    runner->cfg.cluster = strdup(cfg->cluster);
    runner->cfg.run_dir = strdup(cfg->run_dir == NULL ? "" : cfg->run_dir);
    runner->cfg.control = NULL; /* used in create only */
    runner->cfg.events = NULL;
    if (runner->cfg.mailbox_msgs_max == 0) {
        runner->cfg.mailbox_msgs_max = AN_MAILBOX_MSGS_MAX;
    }
    if (runner->cfg.readers == 0) {
        runner->cfg.readers = AN_STORE_READERS;
    }
    return runner->cfg.cluster == NULL || runner->cfg.run_dir == NULL ? AN_ERR_NO_MEMORY
                                                                      : AN_OK;
}

enum an_err
an_runner_create(struct an_runner **out, const struct an_runner_cfg *cfg, char *why,
                 size_t why_len)
{
    struct an_runner *runner = calloc(1, sizeof(*runner));
    pthread_condattr_t attr;
    enum an_err err;

    snprintf(why, why_len, "out of memory");
    if (runner == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    pthread_mutex_init(&runner->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&runner->changed, &attr);
    pthread_condattr_destroy(&attr);
    an_log(AN_LOG_DEBUG, "bus", "NNG %s%s", nng_version(),
           nng_is_mended() ? ", its closing mended" : "");
    runner->cluster = an_cluster_digest(cfg->cluster);
    runner->stores = an_topology_digest(cfg->topology);
    err = copy_cfg(runner, cfg);
    if (err == AN_OK) {
        err = links_open(runner, why, why_len);
    }
    if (err == AN_OK) {
        err = pool_start(&runner->pool, runner->cfg.readers);
    }
    if (err == AN_OK) {
        err = inspect_open(&runner->inspect, runner, cfg->control, cfg->events, why,
                           why_len);
    }
    if (err == AN_OK) {
        err = warden_start(runner);
    }
    if (err != AN_OK) {
        an_runner_destroy(runner);
        return err;
    }
    *out = runner;
    return AN_OK;
}

static void
door_deliver(void *ctx, struct an_msg *msg)
{
    instance_deliver(ctx, msg);
}

static uint64_t
door_turn(void *ctx)
{
    struct instance *inst = ctx;
    bool quit;

    pthread_mutex_lock(&inst->inbox.lock);
    quit = inst->inbox.quit;
    pthread_mutex_unlock(&inst->inbox.lock);
    if (quit) {
        inst->door->ops->quit(inst->door);
        return UINT64_MAX;
    }
    return instance_turn(inst);
}

/* Everything of the instance that others may reach before it starts. */
static enum an_err
bind_all(struct instance *inst, char *why, size_t why_len)
{
    struct an_door_host host = {inst, door_deliver, door_turn};
    enum an_err err = mailbox_open(&inst->mailbox, inst, why, why_len);

    if (err == AN_OK && inst->addr.role == AN_ROLE_ROUTER) {
        err = pubs_open(inst, why, why_len);
    }
    if (err == AN_OK && nng_aio_alloc(&inst->event_aio, NULL, NULL) != 0) {
        err = AN_ERR_NO_MEMORY;
    }
    if (err == AN_OK && inst->door != NULL) {
        snprintf(why, why_len, "the listen address cannot be had");
        err = inst->door->ops->start(inst->door, &host);
    }
    return err;
}

static struct instance *
instance_create(struct an_runner *runner, struct an_actor *actor, uint16_t index,
                struct an_door *door)
{
    struct instance *inst = calloc(1, sizeof(*inst));
    struct instance **all = realloc(runner->instances, (runner->instance_count + 1) *
                                                           sizeof(struct instance *));

    if (all != NULL) {
        runner->instances = all;
    }
    if (inst == NULL || all == NULL) {
        free(inst);
        actor->ops->destroy(actor);
        if (door != NULL) {
            door->ops->destroy(door);
        }
        return NULL;
    }
    inst->runner = runner;
    inst->actor = actor;
    inst->door = door;
    inst->addr = (struct an_addr){(uint8_t)actor->ops->role, index};
    inst->loopback_tail = &inst->loopback;
    inst->locals_due_ms = UINT64_MAX;
    /* Without memory for its ring an actor runs untraced. */
    inst->out.traced = !runner->cfg.untraced && ring_open(&inst->ring);
    snprintf(inst->who, sizeof(inst->who), "%s/%u", an_role_name(inst->addr.role),
             (unsigned)index);
    inbox_init(&inst->inbox);
    return inst;
}

enum an_err
an_runner_add(struct an_runner *runner, struct an_actor *actor, uint16_t index,
              struct an_door *door, char *why, size_t why_len)
{
    struct instance *inst;

    snprintf(why, why_len, "out of memory");
    pthread_mutex_lock(&runner->lock); /* the inspection reads the list */
    inst = instance_create(runner, actor, index, door);
    if (inst != NULL) {
        runner->instances[runner->instance_count++] = inst;
    }
    pthread_mutex_unlock(&runner->lock);
    return inst == NULL ? AN_ERR_NO_MEMORY : bind_all(inst, why, why_len);
}

/* ------------------------------------------------------------------ threads */

static void *
instance_main(void *arg)
{
    struct instance *inst = arg;

    pthread_setname_np(pthread_self(), inst->who);
    if (inst->door != NULL) {
        inst->door->ops->run(inst->door);
        return NULL;
    }
    while (inbox_sleep(&inst->inbox, instance_turn(inst))) {
    }
    return NULL;
}

enum an_err
an_runner_start(struct an_runner *runner, struct an_addr addr)
{
    struct instance *inst = runner_find(runner, addr);
    enum an_err err;

    assert(inst != NULL);
    assert(!inst->started);
    err = peers_open(inst);
    if (err == AN_OK && addr.role == AN_ROLE_GATE) {
        err = sub_open(inst);
    }
    if (err != AN_OK) {
        return err;
    }
    locals_find(inst);
    inst->inbox.start = true;
    inst->started_ms = clock_mono_ms();
    if (pthread_create(&inst->thread, NULL, instance_main, inst) != 0) {
        return AN_ERR_NO_MEMORY;
    }
    pthread_mutex_lock(&runner->lock);
    inst->started = true;
    pthread_mutex_unlock(&runner->lock);
    return AN_OK;
}

static enum an_err
wait_flag(struct an_runner *runner, const bool *flag, uint32_t timeout_ms)
{
    uint64_t until_ms = clock_mono_ms() + timeout_ms;
    struct timespec until = {(time_t)(until_ms / 1000),
                             (long)(until_ms % 1000) * 1000000};
    int rv = 0;
    bool set;

    pthread_mutex_lock(&runner->lock);
    while (!*flag && rv == 0) {
        rv = pthread_cond_timedwait(&runner->changed, &runner->lock, &until);
    }
    set = *flag;
    pthread_mutex_unlock(&runner->lock);
    return set ? AN_OK : AN_ERR_TIMEOUT;
}

enum an_err
an_runner_wait_ready(struct an_runner *runner, struct an_addr addr, uint32_t timeout_ms)
{
    struct instance *inst = runner_find(runner, addr);

    assert(inst != NULL);
    return wait_flag(runner, &inst->ready, timeout_ms);
}

enum an_err
an_runner_stop(struct an_runner *runner, struct an_addr addr, uint32_t timeout_ms)
{
    struct instance *inst = runner_find(runner, addr);

    if (inst == NULL || !inst->started) {
        return AN_OK;
    }
    inbox_flag(inst, &inst->inbox.stop);
    return wait_flag(runner, &inst->stopped, timeout_ms);
}

/* ------------------------------------------------------------------ the end */

static void
end_thread(struct instance *inst)
{
    if (!inst->started) {
        return;
    }
    inbox_flag(inst, &inst->inbox.quit);
    pthread_join(inst->thread, NULL);
    pthread_mutex_lock(&inst->runner->lock); /* the inspection asks it no more */
    inst->started = false;
    pthread_mutex_unlock(&inst->runner->lock);
}

static void
close_sockets(struct instance *inst)
{
    mailbox_close(&inst->mailbox);
    peers_close(inst);
    pubsub_close(inst);
    if (inst->event_aio != NULL) {
        nng_aio_free(inst->event_aio);
    }
}

static void
instance_free(struct instance *inst)
{
    instance_drop_parcels(inst);
    /* Not before: what their closing ended lay in the inbox as parcels of theirs. */
    mailbox_free(&inst->mailbox);
    peers_free(inst);
    if (inst->door != NULL) {
        inst->door->ops->destroy(inst->door);
    }
    inbox_fini(&inst->inbox);
    free(inst);
}

/* First half of the end: no actor exists any more, what they held on disk is closed.
 * Callbacks still may put parcels into inboxes. */
static void
end_actors(struct an_runner *runner)
{
    warden_stop(runner);
    for (size_t i = 0; i < runner->instance_count; i++) {
        end_thread(runner->instances[i]);
    }
    pool_stop(&runner->pool);
    for (size_t i = 0; i < runner->instance_count; i++) {
        instance_drop(runner->instances[i]);
    }
}

/* The rest: what NNG may never end. */
static void
end_sockets(struct an_runner *runner)
{
    for (size_t i = 0; i < runner->instance_count; i++) {
        close_sockets(runner->instances[i]);
    }
    for (size_t i = 0; i < runner->instance_count; i++) {
        instance_drop_parcels(runner->instances[i]); /* an answer of words may go out */
    }
    inspect_close(runner->inspect);
    for (size_t i = 0; i < runner->instance_count; i++) {
        instance_free(runner->instances[i]);
    }
    links_close(runner);
    free(runner->instances);
    free((void *)(uintptr_t)runner->cfg.cluster);
    free((void *)(uintptr_t)runner->cfg.run_dir);
    pthread_cond_destroy(&runner->changed);
    pthread_mutex_destroy(&runner->lock);
    free(runner);
}

void
an_runner_destroy(struct an_runner *runner)
{
    if (runner == NULL) {
        return;
    }
    end_actors(runner);
    end_sockets(runner);
}

/* Shared by who waits and the thread that closes; the last one frees it. */
struct ending {
    struct an_runner *runner;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done, left;
};

static void
ending_free(struct ending *ending)
{
    pthread_cond_destroy(&ending->changed);
    pthread_mutex_destroy(&ending->lock);
    free(ending);
}

static void *
ending_main(void *arg)
{
    struct ending *ending = arg;
    bool left;

    end_sockets(ending->runner);
    pthread_mutex_lock(&ending->lock);
    ending->done = true;
    left = ending->left;
    pthread_cond_signal(&ending->changed);
    pthread_mutex_unlock(&ending->lock);
    if (left) {
        ending_free(ending);
    }
    return NULL;
}

/* NULL without memory or thread. */
static struct ending *
ending_start(struct an_runner *runner)
{
    struct ending *ending = calloc(1, sizeof(*ending));
    pthread_condattr_t attr;
    pthread_t thread;

    if (ending == NULL) {
        return NULL;
    }
    ending->runner = runner;
    pthread_mutex_init(&ending->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&ending->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&thread, NULL, ending_main, ending) != 0) {
        ending_free(ending);
        return NULL;
    }
    pthread_detach(thread);
    return ending;
}

bool
an_runner_destroy_within(struct an_runner *runner, uint32_t timeout_ms)
{
    struct ending *ending;
    struct timespec until;
    uint64_t until_ms;
    bool done;
    int rv = 0;

    if (runner == NULL) {
        return true;
    }
    end_actors(runner);
    ending = ending_start(runner);
    if (ending == NULL) {
        return false;
    }
    until_ms = clock_mono_ms() + timeout_ms;
    until =
        (struct timespec){(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
    pthread_mutex_lock(&ending->lock);
    while (!ending->done && rv == 0) {
        rv = pthread_cond_timedwait(&ending->changed, &ending->lock, &until);
    }
    done = ending->done;
    ending->left = !done;
    pthread_mutex_unlock(&ending->lock);
    if (done) {
        ending_free(ending);
    }
    return done;
}
