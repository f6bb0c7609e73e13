#include "tests/sim/toys.h"
#include "proto/bus.pb-c.h"
#include <stddef.h>
#include <stdlib.h>

static const struct an_addr server_addr = {AN_ROLE_IDGEN, 0};

struct toy {
    struct an_actor actor;
    struct toys *toys;
    struct an_msg *held; /* the server answers a message late: when the job is done */
    struct an_job job;
};

static void
toy_destroy(struct an_actor *actor)
{
    struct toy *toy = (struct toy *)actor;

    an_msg_release(toy->held);
    free(toy);
}

static void
toy_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

/* ------------------------------------------------------------------ the caller */

static void
ask(struct toys *toys, struct an_outbox *out)
{
    Anser__Bus__TakeSegment take = ANSER__BUS__TAKE_SEGMENT__INIT;

    if (toys->asked < toys->wanted) {
        take.count = ++toys->asked;
        an_out_ask(out, server_addr, AN_KIND_TAKE_SEGMENT, &take.base, 500, toys->asked,
                   0);
    }
}

static void
caller_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
            struct an_outbox *out)
{
    struct toys *toys = ((struct toy *)actor)->toys;

    if (msg->kind == AN_KIND_START) {
        an_out_timer(out, now.mono_ms + 30, 77);
        an_out_ready(out);
        return;
    }
    if (msg->kind == AN_KIND_TIMER) {
        toys->timers++;
        toys->stray_timers += msg->tag != 77;
        for (unsigned i = 0; i < toys->window; i++) {
            ask(toys, out);
        }
        return;
    }
    if (msg->answer) {
        toys->ended++;
        toys->failed += msg->err != AN_OK;
        toys->ends[msg->tag]++;
        ask(toys, out);
    }
}

static const struct an_actor_ops caller_ops = {.role = AN_ROLE_SEQUENCER,
                                               .step = caller_step,
                                               .drained = toy_drained,
                                               .destroy = toy_destroy};

/* ------------------------------------------------------------------ the server */

static void
job_run(struct an_job *job)
{
    (void)job;
}

static void
answer(struct an_msg *request, struct an_outbox *out)
{
    const Anser__Bus__TakeSegment *take = (const Anser__Bus__TakeSegment *)request->body;
    Anser__Bus__TakenSegment taken = ANSER__BUS__TAKEN_SEGMENT__INIT;

    taken.first = take->count;
    taken.count = 1;
    an_out_answer(out, request, AN_OK, &taken.base);
}

static void
server_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
            struct an_outbox *out)
{
    struct toy *toy = (struct toy *)actor;

    (void)now;
    if (msg->kind == AN_KIND_JOB_DONE) {
        toy->toys->jobs++;
        answer(toy->held, out);
        an_msg_release(toy->held);
        toy->held = NULL;
    } else if (msg->kind == AN_KIND_TAKE_SEGMENT) {
        uint64_t number = ((const Anser__Bus__TakeSegment *)msg->body)->count;
        toy->toys->served++;
        toy->toys->in_order = toy->toys->in_order && number >= toy->toys->last;
        toy->toys->last = number;
        if (toy->held == NULL && number % 5 == 0) {
            toy->held = an_msg_hold(msg);
            an_out_offload(out, &toy->job);
        } else {
            answer(msg, out);
        }
    }
}

static const struct an_actor_ops server_ops = {.role = AN_ROLE_IDGEN,
                                               .step = server_step,
                                               .drained = toy_drained,
                                               .destroy = toy_destroy};

static struct toy *
toy_make(void *ctx, const struct an_actor_ops *ops)
{
    struct toy *toy = calloc(1, sizeof(*toy));

    if (toy != NULL) {
        toy->actor.ops = ops;
        toy->toys = ctx;
        toy->job = (struct an_job){.run = job_run, .done = job_run, .lane = AN_LANE_READ};
    }
    return toy;
}

struct an_actor *
toys_caller_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    (void)addr;
    (void)seed;
    (void)why;
    (void)why_len;
    return &toy_make(ctx, &caller_ops)->actor;
}

struct an_actor *
toys_server_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    (void)addr;
    (void)seed;
    (void)why;
    (void)why_len;
    ((struct toys *)ctx)->lives++;
    return &toy_make(ctx, &server_ops)->actor;
}
