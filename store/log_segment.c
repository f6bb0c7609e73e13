/* Segment files: names, creation, and the job that keeps a spare one ready. */
#include "store/log_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Zeroing goes in steps with a sync each: one sync of a whole segment would hold up the
 * appends' syncs for as long as the disk takes for all of it. */
#define ZERO_STEP_LEN (1024u * 1024u)

enum an_err
segment_list_reserve(struct segment_list *list)
{
    if (list->count < list->room) {
        return AN_OK;
    }
    size_t room = list->room == 0 ? 8 : list->room * 2;
    struct segment *items = realloc(list->items, room * sizeof *items);
    if (items == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    list->items = items;
    list->room = room;
    return AN_OK;
}

void
segment_list_add(struct segment_list *list, struct segment segment)
{
    assert(list->count < list->room);
    list->items[list->count++] = segment;
}

struct segment
segment_list_remove(struct segment_list *list, size_t index)
{
    assert(index < list->count);
    struct segment out = list->items[index];
    list->count--;
    memmove(list->items + index, list->items + index + 1,
            (list->count - index) * sizeof out);
    return out;
}

void
segment_path(const char *dir, uint64_t number, char out[STORE_PATH_LEN_MAX])
{
    int len = snprintf(out, STORE_PATH_LEN_MAX, "%s/%016" PRIx64 ".seg", dir, number);
    assert(len > 0 && (size_t)len < STORE_PATH_LEN_MAX);
}

bool
segment_number(const char *name, uint64_t *out)
{
    if (strlen(name) != 20 || strspn(name, "0123456789abcdef") != 16 ||
        strcmp(name + 16, ".seg") != 0) {
        return false;
    }
    *out = strtoull(name, NULL, 16);
    return *out != 0;
}

static enum an_err
segment_fill(struct store_file *file, uint64_t size)
{
    uint8_t *zeros = calloc(1, ZERO_STEP_LEN);
    if (zeros == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    enum an_err err = AN_OK;
    for (uint64_t at = SEGMENT_HEADER_LEN; at < size && err == AN_OK;) {
        size_t len = size - at < ZERO_STEP_LEN ? (size_t)(size - at) : ZERO_STEP_LEN;
        err = store_file_write(file, at, zeros, len);
        if (err == AN_OK) {
            err = store_file_sync(file);
        }
        at += len;
    }
    free(zeros);
    return err;
}

enum an_err
segment_create(const struct store_log_cfg *cfg, const char *dir, uint64_t number,
               bool zeroed, struct store_file **out)
{
    const struct store_files_ops *ops = cfg->files->ops;
    char path[STORE_PATH_LEN_MAX];
    char temp[STORE_PATH_LEN_MAX + 4];
    uint8_t header[SEGMENT_HEADER_LEN];
    struct store_file *file = NULL;

    segment_path(dir, number, path);
    snprintf(temp, sizeof temp, "%s.tmp", path);
    segment_put_header(header, cfg->salt);
    enum an_err err = ops->open(cfg->files, temp, STORE_OPEN_CREATE, &file);
    if (err != AN_OK) {
        return err;
    }
    if ((err = ops->preallocate(file, cfg->segment_bytes)) != AN_OK ||
        (err = store_file_write(file, 0, header, sizeof header)) != AN_OK ||
        (zeroed && (err = segment_fill(file, cfg->segment_bytes)) != AN_OK) ||
        (err = store_file_sync(file)) != AN_OK ||
        (err = ops->rename(cfg->files, temp, path)) != AN_OK) {
        goto out;
    }
    *out = file;
    return AN_OK;
out:
    /* Nothing depends on it yet, so even a failed sync does no harm here. */
    store_file_close(&file);
    (void)ops->unlink(cfg->files, temp);
    return err;
}

static enum an_err
spare_make(struct spare_job *job)
{
    const struct store_log_cfg *cfg = &job->log->cfg;
    const struct store_files_ops *ops = cfg->files->ops;
    char from[STORE_PATH_LEN_MAX];
    char to[STORE_PATH_LEN_MAX];

    if (job->victim == 0) {
        job->size = cfg->segment_bytes;
        return segment_create(cfg, job->log->dir, job->number, true, &job->file);
    }
    segment_path(job->log->dir, job->victim, from);
    segment_path(job->log->dir, job->number, to);
    enum an_err err = ops->open(cfg->files, from, STORE_OPEN_WRITE, &job->file);
    if (err == AN_OK) {
        err = store_file_size(job->file, &job->size);
    }
    if (err == AN_OK && job->size < cfg->segment_bytes) { /* the configuration grew */
        job->size = cfg->segment_bytes;
        err = cfg->files->ops->preallocate(job->file, job->size);
    }
    if (err == AN_OK) {
        err = store_file_sync(job->file);
    }
    if (err == AN_OK) {
        err = ops->rename(cfg->files, from, to);
    }
    job->renamed = err == AN_OK;
    return err;
}

/* Pool thread: touches the job's own fields and the log's constant ones. */
static void
spare_run(struct an_job *an_job)
{
    struct spare_job *job = (struct spare_job *)(void *)an_job;
    const struct store_log_cfg *cfg = &job->log->cfg;

    job->err = job->number != 0 ? spare_make(job) : AN_OK;
    for (size_t i = 0; i < job->remove_count; i++) {
        char path[STORE_PATH_LEN_MAX];
        segment_path(job->log->dir, job->remove[i], path);
        (void)cfg->files->ops->unlink(cfg->files,
                                      path); /* replay passes over leftovers */
    }
    /* A spare must not be written to before its name is on disk: after a power cut the
     * records in it would be found under a name that was free for reuse. */
    enum an_err err = cfg->files->ops->sync_dir(cfg->files, job->log->dir);
    job->sync_failed = err == AN_ERR_IO;
    if (job->err == AN_OK) {
        job->err =
            err; /* not tried: no spare yet, and the next one takes its name over */
    }
}

static void
spare_done(struct an_job *an_job)
{
    struct spare_job *job = (struct spare_job *)(void *)an_job;
    struct store_log *log = job->log;

    job->in_flight = false;
    if (job->sync_failed) {
        store_file_close(&job->file);
        store_log_die(log, "syncing the log's directory failed");
        return;
    }
    if (job->err != AN_OK) {
        char line[128];
        snprintf(line, sizeof line, "preparing a log segment failed: %s",
                 an_err_text(job->err));
        store_log_say(log, AN_LOG_WARN, line);
        store_file_close(&job->file);
        if (job->victim != 0 && !job->renamed &&
            segment_list_reserve(&log->free) == AN_OK) {
            segment_list_add(&log->free, (struct segment){.number = job->victim});
        }
        return;
    }
    if (job->number != 0) {
        log->spare = (struct segment){
            .number = job->number, .used = SEGMENT_HEADER_LEN, .size = job->size};
        log->spare_file = job->file;
        job->file = NULL;
    }
}

void
store_log_tick(struct store_log *log)
{
    struct spare_job *job = &log->spare_job;
    bool want_spare = log->spare.number == 0;

    if (log->dead || job->in_flight || (!want_spare && log->free.count <= LOG_FREE_MAX)) {
        return;
    }
    *job = (struct spare_job){
        .job = {.run = spare_run, .done = spare_done, .lane = AN_LANE_APPLY},
        .log = log,
        .in_flight = true,
    };
    if (want_spare) {
        job->number = log->live.items[log->live.count - 1].number + 1;
        if (log->free.count > 0) {
            job->victim = segment_list_remove(&log->free, 0).number;
        }
    }
    while (log->free.count > LOG_FREE_MAX && job->remove_count < LOG_REMOVE_MAX) {
        job->remove[job->remove_count++] = segment_list_remove(&log->free, 0).number;
    }
    log->cfg.host.offload(log->cfg.host.ctx, &job->job);
}
