/* The way of rows into the base: generations are closed and applied in one large
 * transaction, in the background. Rows leave memory only once the base has them. */
#include "store/engine_priv.h"

#include <assert.h>
#include <string.h>

struct apply_feed {
    struct base_feed feed;
    struct apply_job *job;
};

static bool
feed_next(struct base_feed *feed, struct base_row *out)
{
    struct apply_job *job = ((struct apply_feed *)(void *)feed)->job;

    /* Without a base in the merge the end is the only error. */
    if (merge_next(&job->merge, out) != AN_OK) {
        return false;
    }
    job->rows++;
    return true;
}

/* Pool thread. The generations are closed, and the engine keeps them until done. */
static void
apply_run(struct an_job *an_job)
{
    struct apply_job *job = (struct apply_job *)(void *)an_job;
    struct apply_feed feed = {.feed = {.next = feed_next}, .job = job};
    struct base *base = job->engine->base;
    struct store_files *files = job->engine->cfg.files;
    uint64_t start_us = files->ops->now_us(files);

    job->err =
        merge_seek(&job->merge, (struct engine_blob){(const uint8_t *)"", 0}, false);
    if (job->err == AN_OK) {
        job->err = base->ops->apply(base, &feed.feed, job->position);
    }
    job->us = files->ops->now_us(files) - start_us;
}

static void
apply_done(struct an_job *an_job)
{
    struct apply_job *job = (struct apply_job *)(void *)an_job;
    struct engine *engine = job->engine;

    engine->applying = false;
    engine->stats.applies++;
    engine->stats.apply_us_total += job->us;
    engine->apply_failed = job->err != AN_OK;
    if (job->err != AN_OK) {
        engine->stats.apply_failures++;
        engine->apply_retry_ms = engine->mono_ms + APPLY_RETRY_MS;
        engine_say(engine, AN_LOG_ERROR,
                   "%s: moving %zu rows from the log into the base failed and will be "
                   "tried again: %s",
                   engine->dir, overlay_rows(engine), an_err_text(job->err));
        return;
    }
    engine->stats.apply_rows += job->rows;
    for (size_t i = 0; i < job->generation_count; i++) {
        generation_unref(engine->closed[i]);
    }
    engine->closed_count -= job->generation_count;
    memmove(engine->closed, engine->closed + job->generation_count,
            engine->closed_count * sizeof engine->closed[0]);
    if (!store_log_dead(engine->log)) {
        store_log_applied(engine->log, job->position);
        store_log_tick(engine->log);
    }
}

/* The active generation becomes a closed one, if there is anything in it and room. */
static void
close_active(struct engine *engine)
{
    if (generation_rows(engine->active) == 0 || engine->closed_count == GENERATIONS_MAX) {
        return;
    }
    struct generation *fresh = generation_create();
    if (fresh == NULL) {
        return; /* a later tick finds memory or appends end at the bound */
    }
    engine->closed[engine->closed_count++] = engine->active;
    engine->active = fresh;
    engine->oldest_ms = 0;
}

static void
apply_start(struct engine *engine)
{
    struct apply_job *job = &engine->apply;

    assert(!engine->applying);
    if (engine->closed_count == 0) {
        return;
    }
    *job = (struct apply_job){
        .job = {.run = apply_run, .done = apply_done, .lane = AN_LANE_APPLY},
        .engine = engine,
        .generation_count = engine->closed_count,
        .position = generation_position(engine->closed[engine->closed_count - 1]),
    };
    for (size_t i = engine->closed_count; i-- > 0;) {
        job->merge.cursors[job->merge.cursor_count++].view =
            generation_view(engine->closed[i]);
    }
    engine->applying = true;
    engine->cfg.host.offload(engine->cfg.host.ctx, &job->job);
}

void
engine_tick(struct engine *engine, uint64_t mono_ms)
{
    engine->mono_ms = mono_ms;
    if (engine->oldest_ms == 0 && generation_rows(engine->active) > 0) {
        engine->oldest_ms = mono_ms > 0 ? mono_ms : 1;
    }
    if (!store_log_dead(engine->log)) {
        store_log_tick(engine->log);
    }
    if (engine->applying || (engine->apply_failed && mono_ms < engine->apply_retry_ms)) {
        return;
    }
    bool old = engine->oldest_ms != 0 && mono_ms >= engine->oldest_ms + AN_OVERLAY_AGE_MS;
    if (old || generation_rows(engine->active) >= engine->cfg.overlay_rows_max ||
        generation_bytes(engine->active) >= engine->cfg.overlay_bytes_max) {
        close_active(engine);
    }
    apply_start(engine);
}

void
engine_apply_now(struct engine *engine)
{
    if (engine->applying) {
        return;
    }
    close_active(engine);
    apply_start(engine);
}
