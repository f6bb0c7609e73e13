/* The engine: opening, fencing, appending. Reads are in engine_read.c, the way of rows
 * into the base in engine_apply.c. */
#include "store/engine_priv.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
engine_say(const struct engine *engine, int level, const char *format, ...)
{
    char line[1024];
    va_list args;

    if (engine->cfg.host.log == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    engine->cfg.host.log(engine->cfg.host.ctx, level, line);
}

size_t
overlay_rows(const struct engine *engine)
{
    size_t rows = generation_rows(engine->active);

    for (size_t i = 0; i < engine->closed_count; i++) {
        rows += generation_rows(engine->closed[i]);
    }
    return rows;
}

size_t
overlay_bytes(const struct engine *engine)
{
    size_t bytes = generation_bytes(engine->active);

    for (size_t i = 0; i < engine->closed_count; i++) {
        bytes += generation_bytes(engine->closed[i]);
    }
    return bytes;
}

size_t
overlay_views(struct engine *engine, struct generation_view out[MERGE_VIEWS_MAX])
{
    size_t count = 0;

    out[count++] = generation_view(engine->active);
    for (size_t i = engine->closed_count; i-- > 0;) {
        out[count++] = generation_view(engine->closed[i]);
    }
    return count;
}

static void
set_defaults(struct engine_cfg *cfg)
{
    if (cfg->overlay_rows_max == 0) {
        cfg->overlay_rows_max = AN_OVERLAY_ROWS_MAX;
    }
    if (cfg->overlay_bytes_max == 0) {
        cfg->overlay_bytes_max = AN_OVERLAY_BYTES_MAX;
    }
    if (cfg->log_segment_bytes == 0) {
        cfg->log_segment_bytes = AN_LOG_SEGMENT_BYTES;
    }
    if (cfg->lmdb_map_bytes == 0) {
        cfg->lmdb_map_bytes = AN_LMDB_MAP_BYTES;
    }
}

/* The sentence for the caller, unless something nearer to the cause wrote one. */
static enum an_err
refuse(char *why, size_t why_len, enum an_err err, const char *what)
{
    if (why != NULL && why_len > 0 && why[0] == '\0') {
        snprintf(why, why_len, "%s: %s", what, an_err_text(err));
    }
    return err;
}

/* A directory without identity is new, or its creation was cut short. One that has an
 * identity's work in it but no identity has lost the file: not ours to make anew. */
static enum an_err
create_directory(struct engine *engine, const struct store_log_cfg *log_cfg, char *why,
                 size_t why_len)
{
    struct store_files *files = engine->cfg.files;
    uint8_t head[RECORD_HEADER_LEN] = {0};
    char path[STORE_PATH_LEN_MAX + 64];
    struct store_file *file = NULL;
    struct record_head record;
    size_t got;

    snprintf(path, sizeof path, "%s/0000000000000001.seg", log_cfg->dir);
    bool used = engine->base->ops->position(engine->base) > 0;
    if (!used && files->ops->open(files, path, STORE_OPEN_READ, &file) == AN_OK) {
        enum an_err err =
            store_file_read(file, SEGMENT_HEADER_LEN, head, sizeof head, &got);
        store_file_close(&file);
        used = err != AN_OK || record_get_head(head, &record);
    }
    if (used) {
        snprintf(path, sizeof path, "%s/identity", engine->dir);
        return refuse(why, why_len, AN_ERR_CORRUPT, path);
    }
    struct store_log_cfg cfg = *log_cfg;
    enum an_err err =
        files->ops->random(files, engine->identity.salt, sizeof engine->identity.salt);
    memcpy(cfg.salt, engine->identity.salt, sizeof cfg.salt);
    if (err == AN_OK) {
        err = store_log_create(&cfg);
    }
    if (err == AN_OK) {
        err = files->ops->sync_dir(files, engine->dir);
    }
    if (err == AN_OK) { /* last: it says that all the rest is there */
        err = identity_save(&engine->identity, files, engine->dir);
    }
    return err == AN_OK ? AN_OK : refuse(why, why_len, err, engine->dir);
}

static enum an_err
replay_record(void *ctx, const struct record_head *head, const uint8_t *body)
{
    struct engine *engine = ctx;

    uint8_t *copy = generation_reserve(engine->active, head->body_len + 1);
    if (copy == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    memcpy(copy, body, head->body_len);
    enum an_err err = generation_prepare(engine->active, copy, head->body_len);
    if (err != AN_OK) {
        generation_rollback(engine->active);
        return err;
    }
    generation_commit(engine->active, head->position);
    engine->stats.replayed_records++;
    return AN_OK;
}

static enum an_err
open_log(struct engine *engine, char *why, size_t why_len)
{
    char dir[STORE_PATH_LEN_MAX + 8];
    struct store_log_cfg cfg = {.files = engine->cfg.files,
                                .dir = dir,
                                .segment_bytes = engine->cfg.log_segment_bytes,
                                .host = engine->cfg.host};
    struct identity found;

    snprintf(dir, sizeof dir, "%s/log", engine->dir);
    enum an_err err = identity_load(&found, engine->cfg.files, engine->dir);
    if (err == AN_ERR_NOT_FOUND) {
        err = create_directory(engine, &cfg, why, why_len);
        cfg.created = true;
    } else if (err == AN_OK) {
        memcpy(engine->identity.salt, found.salt, sizeof found.salt);
    }
    if (err != AN_OK) {
        return refuse(why, why_len, err, "identity");
    }
    memcpy(cfg.salt, engine->identity.salt, sizeof cfg.salt);
    err = store_log_open(&engine->log, &cfg, engine->base->ops->position(engine->base),
                         replay_record, engine, why, why_len);
    return err == AN_OK ? AN_OK : refuse(why, why_len, err, dir);
}

/* Before anything is touched: is it ours, and does nobody else have it? */
static enum an_err
claim_directory(struct engine *engine, char *why, size_t why_len)
{
    struct store_files *files = engine->cfg.files;
    char path[STORE_PATH_LEN_MAX + 16];
    struct identity found;

    snprintf(path, sizeof path, "%s/lock", engine->dir);
    enum an_err err = files->ops->lock(files, path, true, &engine->lock);
    if (err != AN_OK) {
        return refuse(why, why_len, err, path);
    }
    err = identity_load(&found, files, engine->dir);
    if (err == AN_OK) {
        err = identity_compare(&found, &engine->identity, engine->dir, why, why_len);
        if (err != AN_OK && why != NULL) {
            engine_say(engine, AN_LOG_ERROR, "%s", why);
        }
        return err;
    }
    snprintf(path, sizeof path, "%s/identity", engine->dir);
    return err == AN_ERR_NOT_FOUND ? AN_OK : refuse(why, why_len, err, path);
}

static enum an_err
open_base(struct engine *engine, char *why, size_t why_len)
{
    struct base_cfg cfg = {.dir = engine->dir,
                           .files = engine->cfg.files,
                           .map_bytes = engine->cfg.lmdb_map_bytes,
                           .why = why,
                           .why_len = why_len};
    enum an_err err = engine->cfg.kind == ENGINE_LMDB
                          ? base_lmdb_open(&engine->base, &cfg)
                          : base_memory_open(&engine->base, &cfg);
    return err == AN_OK ? AN_OK : refuse(why, why_len, err, engine->dir);
}

enum an_err
engine_open(struct engine **out, const struct engine_cfg *cfg, char *why, size_t why_len)
{
    char own_why[STORE_PATH_LEN_MAX];

    if (why == NULL || why_len == 0) {
        why = own_why; /* so that log lines can quote it */
        why_len = sizeof own_why;
    }
    why[0] = '\0';
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    engine->cfg = *cfg;
    set_defaults(&engine->cfg);
    enum an_err err = AN_ERR_ARGUMENT;
    /* Room for the longest name below it. */
    if (strlen(cfg->dir) > STORE_PATH_LEN_MAX - 64) {
        goto out;
    }
    snprintf(engine->dir, sizeof engine->dir, "%s", cfg->dir);
    engine->cfg.dir = engine->dir;
    engine->cfg.cluster_id = engine->identity.cluster_id;
    if ((err = identity_from_cfg(&engine->identity, cfg)) != AN_OK) {
        refuse(why, why_len, err, "cluster id or slots");
        goto out;
    }
    err = AN_ERR_NO_MEMORY;
    engine->active = generation_create();
    if (engine->active == NULL ||
        (err = claim_directory(engine, why, why_len)) != AN_OK ||
        (err = open_base(engine, why, why_len)) != AN_OK ||
        (err = open_log(engine, why, why_len)) != AN_OK) {
        goto out;
    }
    if (engine->stats.replayed_records > 0) {
        engine_say(engine, AN_LOG_INFO, "%s: replayed %llu log records", engine->dir,
                   (unsigned long long)engine->stats.replayed_records);
    }
    store_log_tick(engine->log);
    *out = engine;
    return AN_OK;
out:
    engine_close(engine);
    return err;
}

void
engine_close(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    assert(!engine->applying);
    assert(engine->reads_in_flight == 0);
    assert(engine->backup_job == NULL);
    store_log_close(engine->log);
    if (engine->base != NULL) {
        engine->base->ops->close(engine->base);
    }
    for (size_t i = 0; i < engine->closed_count; i++) {
        generation_unref(engine->closed[i]);
    }
    generation_unref(engine->active);
    store_file_close(&engine->lock); /* last: nobody else may come in before */
    free(engine);
}

enum an_err
engine_open_slot(struct engine *engine, uint16_t slot, uint64_t *fence)
{
    if (slot < engine->cfg.slot_first || slot > engine->cfg.slot_last) {
        return AN_ERR_NOT_MINE;
    }
    engine->fences[slot] = ++engine->fence_last;
    *fence = engine->fences[slot];
    return AN_OK;
}

/* The checks that refuse a batch before anything is built. */
static enum an_err
admit(struct engine *engine, const struct engine_group *groups, size_t group_count)
{
    for (size_t i = 0; i < group_count; i++) {
        const struct engine_group *group = &groups[i];
        bool mine =
            group->slot >= engine->cfg.slot_first && group->slot <= engine->cfg.slot_last;
        if (!mine || group->fence == 0 || engine->fences[group->slot] != group->fence) {
            engine->stats.refused_fenced++;
            return AN_ERR_FENCED;
        }
    }
    if (overlay_rows(engine) >= engine->cfg.overlay_rows_max * OVERLAY_REFUSE_FACTOR ||
        overlay_bytes(engine) >= engine->cfg.overlay_bytes_max * OVERLAY_REFUSE_FACTOR) {
        return AN_ERR_BUSY;
    }
    return AN_OK;
}

static void
measure(const struct engine_group *groups, size_t group_count, size_t *body_len,
        size_t *row_count)
{
    *body_len = 0;
    *row_count = 0;
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].row_count; j++) {
            *body_len += record_row_len(&groups[i].rows[j]);
        }
        *row_count += groups[i].row_count;
    }
}

static void
put_groups(uint8_t *body, const struct engine_group *groups, size_t group_count)
{
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].row_count; j++) {
            const struct engine_row *row = &groups[i].rows[j];
            assert(row->key.len >= 2);
            assert((row->key.data[0] << 8 | row->key.data[1]) == groups[i].slot);
            body = record_put_row(body, row);
        }
    }
}

static enum an_err
append(struct engine *engine, const struct engine_group *groups, size_t group_count)
{
    size_t body_len;
    size_t row_count;

    enum an_err err = admit(engine, groups, group_count);
    if (err != AN_OK) {
        return err;
    }
    measure(groups, group_count, &body_len, &row_count);
    if (body_len > UINT32_MAX / 2) {
        return AN_ERR_ARGUMENT;
    }
    /* Everything that can fail comes before the sync: once it is on disk it is linked. */
    uint8_t *record = generation_reserve(engine->active, record_len(body_len));
    if (record == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    put_groups(record + RECORD_HEADER_LEN, groups, group_count);
    err = generation_prepare(engine->active, record + RECORD_HEADER_LEN, body_len);
    if (err == AN_OK) {
        err = store_log_append(engine->log, record, body_len, (uint32_t)row_count);
    }
    if (err != AN_OK) {
        generation_rollback(engine->active);
        return err;
    }
    generation_commit(engine->active, store_log_position(engine->log));
    engine->stats.appends++;
    engine->stats.append_rows += row_count;
    engine->stats.append_bytes += record_len(body_len);
    return AN_OK;
}

void
engine_append(struct engine *engine, const struct engine_group *groups,
              size_t group_count, engine_append_done *done, void *ctx)
{
    assert(!engine->appending);
    engine->appending = true;
    enum an_err err = append(engine, groups, group_count);
    engine->appending = false;
    if (store_log_dead(engine->log)) {
        return; /* a test's fatal returned; the outcome is unknown for ever */
    }
    engine->stats.refused_full += err == AN_ERR_DISK_FULL;
    engine->stats.refused_busy += err == AN_ERR_BUSY;
    store_log_tick(engine->log);
    done(ctx, err);
}

void
engine_stats(const struct engine *engine, struct engine_stats *out)
{
    struct store_log_stats log;

    store_log_stats(engine->log, &log);
    *out = engine->stats;
    out->syncs = log.syncs;
    out->sync_us_total = log.sync_us_total;
    out->overlay_rows = overlay_rows(engine);
    out->overlay_bytes = overlay_bytes(engine);
    out->overlay_generations = engine->closed_count + 1;
    out->log_segments = log.segments;
    out->log_bytes = log.bytes;
    out->base_bytes = engine->base->ops->bytes(engine->base);
}
