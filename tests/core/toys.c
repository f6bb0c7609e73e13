#include "tests/core/toys.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct toy_state toy_states[AN_ROLE_COUNT];

void
toy_note(struct toy_state *state, unsigned *counter)
{
    pthread_mutex_lock(&state->lock);
    (*counter)++;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->lock);
}

unsigned
toy_count(struct toy_state *state, const unsigned *counter)
{
    unsigned count;

    pthread_mutex_lock(&state->lock);
    count = *counter;
    pthread_mutex_unlock(&state->lock);
    return count;
}

void
toy_await(struct toy_state *state, const unsigned *counter, unsigned at_least)
{
    struct timespec until;
    int rv = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TOY_WAIT_S;
    pthread_mutex_lock(&state->lock);
    while (*counter < at_least && rv == 0) {
        rv = pthread_cond_timedwait(&state->changed, &state->lock, &until);
    }
    pthread_mutex_unlock(&state->lock);
    assert_int_equal(rv, 0);
}

void
toy_set_closed(struct toy_state *state, bool closed)
{
    pthread_mutex_lock(&state->lock);
    state->gate_closed = closed;
    pthread_cond_broadcast(&state->changed);
    pthread_mutex_unlock(&state->lock);
}

static void
toy_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
         struct an_outbox *out)
{
    struct toy *toy = (struct toy *)actor;
    struct toy_state *state = toy->state;

    if (msg->kind == AN_KIND_STOP) {
        an_out_stopped(out);
        return;
    }
    if (msg->answer) {
        assert(msg->err < 1024);
        toy_note(state, &state->errs[msg->err]);
    }
    if (msg->kind == AN_KIND_START) {
        an_out_ready(out);
    }
    toy->on(toy, msg, now, out);
    if (msg->answer) {
        toy_note(state, &state->answers);
    }
    toy_note(state, &state->steps);
}

static void
toy_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

static void
toy_metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct toy *toy = (const struct toy *)actor;

    pthread_mutex_lock(&toy->state->lock);
    metric(ctx, "steps_total", "Steps of the toy.", true, toy->state->steps);
    pthread_mutex_unlock(&toy->state->lock);
}

static void
toy_destroy(struct an_actor *actor)
{
    struct toy *toy = (struct toy *)actor;

    while (toy->held != NULL) {
        struct an_msg *msg = toy->held;
        toy->held = msg->next;
        an_msg_abandon(msg);
    }
    free(toy);
}

struct an_actor *
toy_create(enum an_role role, toy_step_f *on)
{
    struct toy *toy = calloc(1, sizeof(*toy));

    assert_non_null(toy);
    toy->ops =
        (struct an_actor_ops){role, toy_step, toy_drained, toy_metrics, toy_destroy};
    toy->actor.ops = &toy->ops;
    toy->on = on;
    toy->state = &toy_states[role];
    return &toy->actor;
}

/* ------------------------------------------------------------------ the stage */

enum an_bus toys_bus;
char toys_dir[64];
struct an_topology toys_topology;
static unsigned toys_round;
const struct an_addr toy_idgen = {AN_ROLE_IDGEN, 0};

static void
on_failed(void *ctx, struct an_addr addr, enum an_err err, const char *why)
{
    (void)ctx;
    assert(strcmp(why, "disk on fire") == 0);
    pthread_mutex_lock(&toy_states[addr.role].lock);
    toy_states[addr.role].failed = err;
    pthread_mutex_unlock(&toy_states[addr.role].lock);
    toy_note(&toy_states[addr.role], &toy_states[addr.role].jobs);
}

/* A test that hangs leaves a core with every thread's stack. */
static void
on_hang(int sig)
{
    (void)sig;
    abort();
}

int
toys_setup(void **state)
{
    (void)state;
    signal(SIGALRM, on_hang);
    alarm(TOY_HANG_S);
    snprintf(toys_dir, sizeof(toys_dir), "/tmp/anser-test-XXXXXX");
    assert_non_null(mkdtemp(toys_dir));
    toys_round++;
    an_topology_single(&toys_topology);
    for (size_t i = 0; i < AN_ROLE_COUNT; i++) {
        memset(&toy_states[i], 0, sizeof(toy_states[i]));
        pthread_mutex_init(&toy_states[i].lock, NULL);
        pthread_cond_init(&toy_states[i].changed, NULL);
    }
    return 0;
}

int
toys_teardown(void **state)
{
    (void)state;
    assert_int_equal(rmdir(toys_dir), 0); /* NNG unlinks its sockets */
    return 0;
}

const char *
toys_cluster(void)
{
    static char name[32];

    snprintf(name, sizeof(name), "test-%d-%u", (int)getpid(), toys_round);
    return name;
}

struct an_runner *
toys_runner_cfg(struct an_runner_cfg cfg)
{
    struct an_runner *runner;
    char why[256];

    cfg.cluster = cfg.cluster == NULL ? toys_cluster() : cfg.cluster;
    cfg.run_dir = toys_dir;
    cfg.bus = toys_bus;
    cfg.topology = cfg.topology == NULL ? &toys_topology : cfg.topology;
    cfg.failed = on_failed;
    assert_int_equal(an_runner_create(&runner, &cfg, why, sizeof(why)), AN_OK);
    return runner;
}

struct an_runner *
toys_runner(void)
{
    return toys_runner_cfg((struct an_runner_cfg){0});
}

void
toys_add(struct an_runner *runner, enum an_role role, uint16_t index, toy_step_f *on)
{
    char why[256];

    assert_int_equal(
        an_runner_add(runner, toy_create(role, on), index, NULL, why, sizeof(why)),
        AN_OK);
}

void
toys_start(struct an_runner *runner, enum an_role role, uint16_t index)
{
    struct an_addr addr = {(uint8_t)role, index};

    assert_int_equal(an_runner_start(runner, addr), AN_OK);
    assert_int_equal(an_runner_wait_ready(runner, addr, TOY_WAIT_S * 1000), AN_OK);
}

struct an_runner *
toys_pair(toy_step_f *asker, toy_step_f *server)
{
    struct an_runner *runner = toys_runner();

    toys_add(runner, AN_ROLE_IDGEN, 0, server);
    toys_add(runner, AN_ROLE_SEQUENCER, 0, asker);
    toys_start(runner, AN_ROLE_IDGEN, 0);
    toys_start(runner, AN_ROLE_SEQUENCER, 0);
    return runner;
}

void
toy_serve(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    const Anser__Bus__TakeIds *take;

    (void)now;
    if (msg->kind != AN_KIND_TAKE_IDS) {
        return;
    }
    take = (const Anser__Bus__TakeIds *)msg->body;
    if (msg->from.index == 0) {
        toy->state->out_of_order += take->count != ++toy->state->last;
    }
    an_out_answer(out, msg, AN_OK, &taken.base);
}

void
toy_idle(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)toy;
    (void)msg;
    (void)now;
    (void)out;
}
