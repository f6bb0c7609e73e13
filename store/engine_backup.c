/* A copy of everything, while the engine goes on: the rows of one moment, walked in key
 * order and put into a new base in pieces, one short job after the other, so that reads
 * get their turn on the lane between two of them. */
#include "store/engine_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKUP_PIECE_ROWS  16384u
#define BACKUP_PIECE_BYTES (8u * 1024u * 1024u)
#define PARTIAL            ".partial"

struct backup_job {
    struct an_job job;
    struct engine *engine;
    struct merge merge;
    struct base *target;
    struct identity identity;
    char partial[STORE_PATH_LEN_MAX];
    bool stop; /* set between two pieces */
    /* Of the piece that was copied last. */
    enum an_err err;
    bool more;
    uint64_t rows;
    size_t bytes;
};

/* ------------------------------------------------------------------ one piece */

struct piece {
    struct base_feed feed;
    struct backup_job *job;
};

static bool
piece_next(struct base_feed *feed, struct base_row *out)
{
    struct backup_job *job = ((struct piece *)(void *)feed)->job;

    job->more = job->rows == BACKUP_PIECE_ROWS || job->bytes >= BACKUP_PIECE_BYTES;
    if (job->more) {
        return false;
    }
    do {
        job->err = merge_next(&job->merge, out);
    } while (job->err == AN_OK && out->deleted);
    if (job->err != AN_OK) {
        job->err = job->err == AN_ERR_NOT_FOUND ? AN_OK : job->err;
        return false;
    }
    job->rows++;
    job->bytes += out->key.len + out->value.len;
    return true;
}

/* Whole, durable, and only then under its own name. */
static enum an_err
finish(struct backup_job *job)
{
    struct store_files *files = job->engine->cfg.files;
    char path[STORE_PATH_LEN_MAX + 8], parent[STORE_PATH_LEN_MAX];
    struct store_log_cfg log = {
        .files = files, .dir = path, .segment_bytes = job->engine->cfg.log_segment_bytes};
    char *slash;

    job->target->ops->close(job->target);
    job->target = NULL;
    snprintf(path, sizeof path, "%s/log", job->partial);
    snprintf(parent, sizeof parent, "%s", job->partial);
    slash = strrchr(parent, '/');
    assert(slash != NULL); /* engine_backup() */
    slash[slash == parent] = '\0';
    memcpy(log.salt, job->identity.salt, sizeof log.salt);
    enum an_err err = store_log_create(&log);
    if (err == AN_OK) { /* the file: a check takes it before any engine does */
        struct store_file *lock = NULL;
        snprintf(path, sizeof path, "%s/lock", job->partial);
        err = files->ops->lock(files, path, true, &lock);
        store_file_close(&lock);
    }
    if (err == AN_OK) {
        err = files->ops->sync_dir(files, job->partial);
    }
    if (err == AN_OK) {
        err = identity_save(&job->identity, files, job->partial);
    }
    if (err == AN_OK) {
        err = files->ops->rename(files, job->partial, job->engine->backup.dir);
    }
    if (err == AN_OK) {
        err = files->ops->sync_dir(files, parent);
    }
    return err;
}

/* Pool thread: owns the job, its views and the target. */
static void
backup_run(struct an_job *an_job)
{
    struct backup_job *job = (struct backup_job *)(void *)an_job;
    struct piece piece = {.feed = {.next = piece_next}, .job = job};

    job->rows = 0;
    job->bytes = 0;
    job->more = false;
    /* Position 0: an empty log follows, whose first record will be 1. */
    enum an_err err = job->target->ops->apply(job->target, &piece.feed, 0);
    if (job->err == AN_OK) {
        job->err = err;
    }
    if (job->err == AN_OK && !job->more) {
        job->err = finish(job);
    }
}

/* ------------------------------------------------------------------ begin and end */

static void
drop(struct backup_job *job)
{
    struct engine *engine = job->engine;

    if (job->target != NULL) {
        job->target->ops->close(job->target);
    }
    if (job->merge.base != NULL) {
        engine->base->ops->view_close(job->merge.base);
    }
    for (size_t i = 0; i < job->merge.cursor_count; i++) {
        generation_unref(job->merge.cursors[i].view.generation);
    }
    free(job);
}

static void
backup_done(struct an_job *an_job)
{
    struct backup_job *job = (struct backup_job *)(void *)an_job;
    struct engine *engine = job->engine;
    struct engine_backup *state = &engine->backup;

    state->rows += job->rows;
    if (job->err == AN_OK && job->more && !job->stop) {
        engine->cfg.host.offload(engine->cfg.host.ctx, &job->job);
        return;
    }
    state->running = false;
    state->err = job->err == AN_OK && job->more ? AN_ERR_SHUTTING_DOWN : job->err;
    if (state->err != AN_OK) {
        snprintf(state->why, sizeof state->why, "%.200s: %s; it may be removed",
                 job->partial, an_err_text(state->err));
    }
    engine_say(engine, state->err == AN_OK ? AN_LOG_INFO : AN_LOG_ERROR,
               "backup to %s: %llu rows: %s", state->dir, (unsigned long long)state->rows,
               state->err == AN_OK ? "done" : an_err_text(state->err));
    engine->backup_job = NULL;
    drop(job);
}

static enum an_err
refuse(char *why, size_t why_len, enum an_err err, const char *dir, const char *what)
{
    snprintf(why, why_len, "%s: %s", dir, what);
    return err;
}

static void
ignore_name(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
}

static enum an_err
make_target(struct backup_job *job, const char *dir, char *why, size_t why_len)
{
    struct store_files *files = job->engine->cfg.files;
    struct base_cfg cfg = {.dir = job->partial,
                           .files = files,
                           .map_bytes = job->engine->cfg.lmdb_map_bytes,
                           .why = why,
                           .why_len = why_len};

    if (files->ops->list(files, dir, ignore_name, NULL) == AN_OK) {
        return refuse(why, why_len, AN_ERR_ARGUMENT, dir, "is there already");
    }
    if (files->ops->list(files, job->partial, ignore_name, NULL) == AN_OK) {
        return refuse(why, why_len, AN_ERR_ARGUMENT, job->partial,
                      "was left by a backup that did not end: remove it first");
    }
    enum an_err err = files->ops->make_dir(files, job->partial);
    if (err != AN_OK) {
        return refuse(why, why_len, err, job->partial, an_err_text(err));
    }
    err = job->engine->cfg.kind == ENGINE_LMDB ? base_lmdb_open(&job->target, &cfg)
                                               : base_memory_open(&job->target, &cfg);
    if (err == AN_OK) {
        job->identity = job->engine->identity;
        err = files->ops->random(files, job->identity.salt, sizeof job->identity.salt);
    }
    return err;
}

/* Fixes the moment that is copied. */
static enum an_err
take_views(struct backup_job *job)
{
    struct engine *engine = job->engine;
    struct generation_view views[MERGE_VIEWS_MAX];

    enum an_err err = engine->base->ops->view_open(engine->base, &job->merge.base);
    if (err != AN_OK) {
        job->merge.base = NULL;
        return err;
    }
    job->merge.cursor_count = overlay_views(engine, views);
    for (size_t i = 0; i < job->merge.cursor_count; i++) {
        generation_ref(views[i].generation);
        job->merge.cursors[i].view = views[i];
    }
    return merge_seek(&job->merge, (struct engine_blob){(const uint8_t *)"", 0}, false);
}

enum an_err
engine_backup(struct engine *engine, const char *dir, char *why, size_t why_len)
{
    size_t len = strlen(dir);

    if (engine->backup_job != NULL) {
        return refuse(why, why_len, AN_ERR_BUSY, engine->backup.dir, "is being written");
    }
    if (dir[0] != '/' || dir[len - 1] == '/' || len > STORE_PATH_LEN_MAX - 64) {
        return refuse(why, why_len, AN_ERR_ARGUMENT, dir,
                      "is no absolute path of a new "
                      "directory");
    }
    struct backup_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return refuse(why, why_len, AN_ERR_NO_MEMORY, dir, "out of memory");
    }
    why[0] = '\0';
    job->job =
        (struct an_job){.run = backup_run, .done = backup_done, .lane = AN_LANE_READ};
    job->engine = engine;
    snprintf(job->partial, sizeof job->partial, "%s" PARTIAL, dir);
    enum an_err err = make_target(job, dir, why, why_len);
    if (err == AN_OK) {
        err = take_views(job);
    }
    if (err != AN_OK) {
        drop(job);
        return why[0] != '\0' ? err : refuse(why, why_len, err, dir, an_err_text(err));
    }
    engine->backup = (struct engine_backup){.running = true};
    memcpy(engine->backup.dir, dir, len + 1);
    engine->backup_job = job;
    engine->cfg.host.offload(engine->cfg.host.ctx, &job->job);
    return AN_OK;
}

void
engine_backup_stop(struct engine *engine)
{
    if (engine->backup_job != NULL) {
        engine->backup_job->stop = true;
    }
}

const struct engine_backup *
engine_backup_state(const struct engine *engine)
{
    return &engine->backup;
}
