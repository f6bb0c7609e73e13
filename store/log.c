/* Appending to the log. */
#include "store/log_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
store_log_say(const struct store_log *log, int level, const char *line)
{
    if (log->cfg.host.log != NULL) {
        log->cfg.host.log(log->cfg.host.ctx, level, line);
    }
}

void
store_log_die(struct store_log *log, const char *why)
{
    log->dead = true;
    log->cfg.host.fatal(log->cfg.host.ctx, why);
}

bool
store_log_dead(const struct store_log *log)
{
    return log->dead;
}

uint64_t
store_log_position(const struct store_log *log)
{
    return log->position;
}

/* Interrupted creations leave segments without records; a store with an identity never
 * comes here. */
static void
remove_entry(void *ctx, const char *name)
{
    const struct store_log_cfg *cfg = ctx;
    char path[STORE_PATH_LEN_MAX];

    int len = snprintf(path, sizeof path, "%s/%s", cfg->dir, name);
    if (len > 0 && (size_t)len < sizeof path) {
        (void)cfg->files->ops->unlink(cfg->files, path);
    }
}

enum an_err
store_log_create(const struct store_log_cfg *cfg)
{
    struct store_log_cfg own = *cfg;
    struct store_file *file = NULL;

    enum an_err err = cfg->files->ops->make_dir(cfg->files, cfg->dir);
    if (err == AN_OK) {
        err = cfg->files->ops->list(cfg->files, cfg->dir, remove_entry, &own);
    }
    if (err == AN_OK) {
        err = segment_create(cfg, cfg->dir, 1, false, &file);
    }
    store_file_close(&file);
    if (err == AN_OK) {
        err = cfg->files->ops->sync_dir(cfg->files, cfg->dir);
    }
    return err;
}

void
store_log_close(struct store_log *log)
{
    if (log == NULL) {
        return;
    }
    assert(!log->spare_job.in_flight);
    store_file_close(&log->file);
    store_file_close(&log->spare_file);
    free(log->live.items);
    free(log->free.items);
    free(log);
}

/* The next segment becomes the one appended to. */
static enum an_err
switch_segment(struct store_log *log)
{
    if (log->spare.number == 0 && log->spare_job.in_flight) {
        return AN_ERR_BUSY; /* it is being made under the very number we need */
    }
    enum an_err err = segment_list_reserve(&log->live);
    if (err != AN_OK) {
        return err;
    }
    if (log->spare.number == 0) {
        uint64_t number = log->live.items[log->live.count - 1].number + 1;
        err = segment_create(&log->cfg, log->dir, number, false, &log->spare_file);
        if (err != AN_OK) {
            return err;
        }
        err = log->cfg.files->ops->sync_dir(log->cfg.files, log->dir);
        if (err != AN_OK) {
            store_file_close(&log->spare_file); /* made again next time */
            if (err == AN_ERR_IO) {
                store_log_die(log, "syncing the log's directory failed");
            }
            return err;
        }
        log->spare = (struct segment){
            .number = number, .used = SEGMENT_HEADER_LEN, .size = log->cfg.segment_bytes};
    }
    store_file_close(&log->file);
    segment_list_add(&log->live, log->spare);
    log->file = log->spare_file;
    log->spare = (struct segment){0};
    log->spare_file = NULL;
    return AN_OK;
}

static enum an_err
sync_current(struct store_log *log, const char *why)
{
    struct store_files *files = log->cfg.files;
    uint64_t start_us = files->ops->now_us(files);

    if (store_file_sync(log->file) != AN_OK) {
        store_log_die(log, why);
        return AN_ERR_IO;
    }
    log->syncs++;
    log->sync_us_total += files->ops->now_us(files) - start_us;
    return AN_OK;
}

/* A write failed: part of the record may lie there, all of it even. Without its header
 * it is no record; once that is on disk the refusal is true for ever. */
static enum an_err
cut_back(struct store_log *log, const struct segment *current, enum an_err err)
{
    static const uint8_t zeros[RECORD_HEADER_LEN];

    if (store_file_write(log->file, current->used, zeros, sizeof zeros) != AN_OK) {
        store_log_die(log, "cutting off a failed write failed");
        return AN_ERR_IO;
    }
    enum an_err cut = sync_current(log, "syncing the cut after a failed write failed");
    return cut != AN_OK ? cut : err;
}

enum an_err
store_log_append(struct store_log *log, uint8_t *buf, size_t body_len, uint32_t row_count)
{
    size_t len = record_len(body_len);
    struct segment *current = &log->live.items[log->live.count - 1];

    if (log->dead) {
        store_log_die(log, "append to a dead log");
        return AN_ERR_IO;
    }
    if (len > log->cfg.segment_bytes - SEGMENT_HEADER_LEN) {
        return AN_ERR_ARGUMENT;
    }
    if (current->used + len > current->size) {
        enum an_err err = switch_segment(log);
        if (err != AN_OK) {
            return err;
        }
        current = &log->live.items[log->live.count - 1];
        /* A segment of an earlier, smaller configured length is used up first. */
        if (current->used + len > current->size) {
            return AN_ERR_BUSY;
        }
    }
    record_seal(buf, body_len, row_count, log->position + 1, log->cfg.salt);
    enum an_err err = store_file_write(log->file, current->used, buf, len);
    if (err != AN_OK) {
        return cut_back(log, current, err);
    }
    if (sync_current(log, "syncing the log failed") != AN_OK) {
        return AN_ERR_IO;
    }
    log->position++;
    current->used += len;
    current->last = log->position;
    if (current->first == 0) {
        current->first = log->position;
    }
    return AN_OK;
}

void
store_log_applied(struct store_log *log, uint64_t position)
{
    assert(position >= log->applied);
    assert(position <= log->position);
    log->applied = position;
    /* The newest record stays even when applied: the log always holds the base's
     * position, so a log that ends below it has lost something. */
    while (log->live.items[0].last <= position &&
           log->live.items[0].last < log->position) {
        if (segment_list_reserve(&log->free) != AN_OK) {
            return; /* found again by the next apply */
        }
        segment_list_add(&log->free, segment_list_remove(&log->live, 0));
    }
}

void
store_log_stats(const struct store_log *log, struct store_log_stats *out)
{
    *out = (struct store_log_stats){.syncs = log->syncs,
                                    .sync_us_total = log->sync_us_total,
                                    .segments = log->live.count};
    for (size_t i = 0; i < log->live.count; i++) {
        out->bytes += log->live.items[i].used - SEGMENT_HEADER_LEN;
    }
    if (log->applied == log->position) {
        out->bytes = 0;
    }
}
