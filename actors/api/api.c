/* The actor: what it is told, and its life. A request is a task (api_priv.h). */
#include "actors/api/api.h"
#include "actors/api/api_priv.h"
#include "core/limits.h"
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
refuse(struct api_run *run, struct an_msg *msg, enum an_err err)
{
    run->api->count.refused++;
    an_out_answer(run->out, msg, err, NULL);
}

/* ------------------------------------------------------------------ stop */

static void
stop(struct api_run *run)
{
    struct api *api = run->api;

    api->stopping = true;
    api_hashes_stop(api);
    for (size_t i = 0; i < AN_API_TASKS_MAX; i++) { /* imports' users end with them */
        struct api_task *task = &api->tasks[i];

        if (task->used && task->import != NULL) {
            api_task_free(api, task);
        }
    }
    for (size_t i = 0; i < AN_API_TASKS_MAX; i++) {
        if (api->tasks[i].used) {
            api_end_err(run, &api->tasks[i], AN_ERR_SHUTTING_DOWN);
        }
    }
    if (api->job_count == 0) {
        an_out_stopped(run->out);
    }
}

static void
job_done(struct api_run *run, struct an_job *job)
{
    api_task_hashed(run, job);
    if (run->api->stopping && run->api->job_count == 0) {
        an_out_stopped(run->out);
    }
}

/* ------------------------------------------------------------------ the actor */

static void
api_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
         struct an_outbox *out)
{
    struct api_run run = {(struct api *)actor, now, out};

    if (msg->answer && msg->tag == API_TAG_GATES) {
        api_gates_answered(&run, msg);
    } else if (msg->answer) {
        api_task_answered(&run, msg);
    } else if (msg->kind == AN_KIND_HTTP) {
        api_http(&run, msg->http);
    } else if (msg->kind == AN_KIND_INSPECT) {
        api_on_words(&run, msg);
    } else if (msg->kind == AN_KIND_TIMER && msg->tag == API_TAG_GATES) {
        api_gates_ask(&run);
    } else if (msg->kind == AN_KIND_TIMER) {
        api_task_timer(&run, msg->tag);
    } else if (msg->kind == AN_KIND_JOB_DONE) {
        job_done(&run, msg->job);
    } else if (msg->kind == AN_KIND_START) {
        an_out_ready(out);
        api_gates_ask(&run);
    } else if (msg->kind == AN_KIND_STOP) {
        stop(&run);
    } else if (msg->request) {
        refuse(&run, msg, AN_ERR_NOT_SUPPORTED);
    }
}

/* One request is one chain of asks: there is nothing to gather. */
static void
api_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

static void
api_metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct api *api = (const struct api *)actor;

#define METRIC(name, sentence)                                                           \
    metric(ctx, #name "_total", sentence, true, api->count.name);
    API_COUNTERS(METRIC)
#undef METRIC
    metric(ctx, "in_progress", "Requests under way now", false, api->in_progress);
    metric(ctx, "hashes", "Passwords waiting to be hashed", false, api->job_count);
}

static void
api_destroy(struct an_actor *actor)
{
    struct api *api = (struct api *)actor;

    for (size_t i = 0; i < AN_API_TASKS_MAX; i++) {
        if (api->tasks[i].used) {
            api_task_abandon(api, &api->tasks[i]);
        }
    }
    while (api->jobs != NULL) { /* the lanes have ended */
        struct api_hash_job *job = api->jobs;

        api->jobs = job->next;
        api_hash_job_free(job);
    }
    api_guess_destroy(api->guess);
    sodium_memzero(api->cfg.secret, sizeof(api->cfg.secret));
    free(api);
}

static const struct an_actor_ops api_ops = {AN_ROLE_API, api_step, api_drained,
                                            api_metrics, api_destroy};

enum an_err
api_create(struct an_actor **out, const struct api_cfg *cfg)
{
    struct api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    api->actor.ops = &api_ops;
    api->cfg = *cfg;
    api->cfg.token_ms = cfg->token_ms != 0 ? cfg->token_ms : AN_TOKEN_TTL_MS;
    api->cfg.refresh_ms = cfg->refresh_ms != 0 ? cfg->refresh_ms : AN_REFRESH_TTL_MS;
    an_rng_seed(&api->rng, cfg->seed);
    api->guess = api_guess_create(cfg->seed);
    if (api->guess == NULL) {
        api_destroy(&api->actor);
        return AN_ERR_NO_MEMORY;
    }
    *out = &api->actor;
    return AN_OK;
}
