/* Offline verification: the directory, the base, and log and base as one. */
#include "store/check_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
check_report(struct store_check *check, const char *file, uint64_t offset,
             const char *format, ...)
{
    char sentence[512];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    check->finding_count++;
    check->fn(check->ctx, &(struct store_finding){file, offset, sentence});
}

void *
check_vector_add(struct check_vector *vector, size_t size)
{
    if (vector->count == vector->room) {
        size_t room = vector->room == 0 ? 64 : vector->room * 2;
        void *items = realloc(vector->items, room * size);
        if (items == NULL) {
            return NULL;
        }
        vector->items = items;
        vector->room = room;
    }
    void *out = (uint8_t *)vector->items + vector->count++ * size;
    memset(out, 0, size);
    return out;
}

bool
check_key(struct store_check *check, struct engine_blob key, const char *file,
          uint64_t offset)
{
    if (key.len < 2 || key.len > ENGINE_KEY_LEN_MAX) {
        check_report(check, file, offset, "a key of %zu bytes", key.len);
        return false;
    }
    unsigned slot = (unsigned)key.data[0] << 8 | key.data[1];
    if (slot < check->identity.slot_first || slot > check->identity.slot_last) {
        check_report(check, file, offset, "a key of slot %u, which is not this store's",
                     slot);
        return false;
    }
    return true;
}

static enum an_err
open_identity(struct store_check *check)
{
    char path[STORE_PATH_LEN_MAX + 8];

    snprintf(path, sizeof path, "%s/lock", check->dir);
    enum an_err err = check->files->ops->lock(check->files, path, false, &check->lock);
    if (err != AN_OK) {
        return err;
    }
    err = identity_load(&check->identity, check->files, check->dir);
    if (err == AN_ERR_NOT_FOUND) {
        check_report(check, "identity", 0, "the file is missing");
        return AN_ERR_CORRUPT;
    }
    if (err == AN_ERR_CORRUPT) {
        check_report(check, "identity", 0, "the text or its checksum is damaged");
    } else if (err == AN_OK && check->identity.format != STORE_FORMAT) {
        check_report(check, "identity", 0, "format %" PRIu32 " is not known here",
                     check->identity.format);
        err = AN_ERR_CORRUPT;
    }
    return err;
}

static enum an_err
open_base(struct store_check *check)
{
    char why[STORE_PATH_LEN_MAX] = "";
    struct base_cfg cfg = {.dir = check->dir,
                           .files = check->files,
                           .map_bytes = AN_LMDB_MAP_BYTES,
                           .read_only = true,
                           .why = why,
                           .why_len = sizeof why};
    bool lmdb = strcmp(check->identity.engine, "lmdb") == 0;

    enum an_err err =
        lmdb ? base_lmdb_open(&check->base, &cfg) : base_memory_open(&check->base, &cfg);
    if (err != AN_OK) {
        check_report(check, lmdb ? "lmdb/data.mdb" : "memory/base", 0,
                     "cannot be opened: %s", why);
        return err == AN_ERR_NO_MEMORY ? err : AN_ERR_CORRUPT;
    }
    check->applied = check->base->ops->position(check->base);
    return AN_OK;
}

enum an_err
store_check_open(struct store_check **out, struct store_files *files, const char *dir,
                 store_finding_fn *fn, void *ctx)
{
    struct store_check *check = calloc(1, sizeof *check);
    if (check == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    check->files = files;
    check->fn = fn;
    check->ctx = ctx;
    enum an_err err = AN_ERR_ARGUMENT;
    if (strlen(dir) <= STORE_PATH_LEN_MAX - 64) {
        snprintf(check->dir, sizeof check->dir, "%s", dir);
        err = open_identity(check);
    }
    if (err == AN_OK) {
        err = open_base(check);
    }
    if (err == AN_OK) {
        err = check_log(check);
    }
    if (err != AN_OK) {
        store_check_close(check);
        return err;
    }
    *out = check;
    return AN_OK;
}

void
store_check_close(struct store_check *check)
{
    if (check == NULL) {
        return;
    }
    if (check->base != NULL) {
        check->base->ops->close(check->base);
    }
    for (size_t i = 0; i < check->segments.count; i++) {
        free(((struct check_segment *)check->segments.items)[i].bytes);
    }
    free(check->segments.items);
    free(check->records.items);
    free(check->rows.items);
    store_file_close(&check->lock);
    free(check);
}

void
store_check_info(const struct store_check *check, struct store_check_info *out)
{
    *out = (struct store_check_info){.engine = check->identity.engine,
                                     .cluster_id = check->identity.cluster_id,
                                     .store_id = check->identity.store_id,
                                     .slot_first = check->identity.slot_first,
                                     .slot_last = check->identity.slot_last,
                                     .applied = check->applied,
                                     .position = check->position,
                                     .log_records = check->log_records,
                                     .finding_count = check->finding_count};
}

/* LMDB's page on machines like this one; elsewhere some rows more or less are searched.
 */
enum { CHECK_PAGE = 4096 };

/* The walk over the base, with its own check of what it meets. */
struct base_walk {
    struct base_view *view;
    struct base_view *probe; /* searches, while view walks */
    uint64_t page;
    bool live;
    struct base_row row;
    struct engine_blob before; /* the last key; its bytes stay while the view does */
};

/* Where the search for a key leads that the walk has met. */
static void
check_search(struct store_check *check, const struct base_walk *walk,
             struct engine_blob key, const char *file, uint64_t offset)
{
    struct base_row row = {0};

    enum an_err err = check->base->ops->seek(walk->probe, key, false, &row);
    if ((err != AN_OK && row.key.data == NULL) || blob_compare(row.key, key) != 0) {
        check_report(check, file, offset, "a search does not find the row");
    }
}

/* Of each leaf page the first and the last row are searched for: a walk from leaf to leaf
 * does not notice keys in branch pages that send a search to the wrong one. */
static void
check_searches(struct store_check *check, struct base_walk *walk, const char *file,
               uint64_t offset)
{
    uint64_t page = offset / CHECK_PAGE + 1; /* 0: none yet */

    if (page == walk->page) {
        return;
    }
    walk->page = page;
    check_search(check, walk, walk->row.key, file, offset);
    if (walk->before.data != NULL) {
        check_search(check, walk, walk->before, file, offset);
    }
}

static enum an_err
base_arrived(struct store_check *check, struct base_walk *walk, enum an_err err)
{
    const char *file;
    uint64_t offset;

    bool damaged = err == AN_ERR_CORRUPT && walk->row.key.data != NULL;
    walk->live = err == AN_OK || damaged;
    if (err == AN_ERR_NOT_FOUND) {
        return AN_OK;
    }
    if (!walk->live) {
        check_report(check, check->identity.engine, 0, "the base cannot be read on: %s",
                     an_err_text(err));
        return err;
    }
    check->base->ops->origin(walk->view, &file, &offset);
    if (damaged) {
        check_report(check, file, offset, "the row's checksum is wrong");
    }
    check_searches(check, walk, file, offset);
    (void)check_key(check, walk->row.key, file, offset);
    if (walk->row.value.len > ENGINE_VALUE_LEN_MAX) {
        check_report(check, file, offset, "a value of %zu bytes", walk->row.value.len);
    }
    if (walk->before.data != NULL && blob_compare(walk->before, walk->row.key) >= 0) {
        check_report(check, file, offset, "the key is not above the one before it");
    }
    walk->before = walk->row.key;
    return AN_OK;
}

static bool
show_base(struct store_check *check, const struct base_walk *walk, store_check_row_fn *fn,
          void *ctx)
{
    struct store_check_row row = {.key = walk->row.key, .value = walk->row.value};

    check->base->ops->origin(walk->view, &row.file, &row.offset);
    return fn(ctx, &row);
}

static bool
show_log(struct store_check *check, const struct check_row *log, store_check_row_fn *fn,
         void *ctx)
{
    const struct check_segment *segments = check->segments.items;
    struct store_check_row row = {.key = log->key,
                                  .value = log->value,
                                  .file = segments[log->segment].name,
                                  .offset = log->offset};
    return log->deleted || fn(ctx, &row);
}

enum an_err
store_check_rows(struct store_check *check, store_check_row_fn *fn, void *ctx)
{
    const struct base_ops *ops = check->base->ops;
    const struct check_row *rows = check->rows.items;
    struct base_walk walk = {0};
    size_t at = 0;
    bool on = true;

    enum an_err err = ops->view_open(check->base, &walk.view);
    if (err != AN_OK) {
        return err;
    }
    err = ops->view_open(check->base, &walk.probe);
    if (err != AN_OK) {
        ops->view_close(walk.view);
        return err;
    }
    err = base_arrived(check, &walk,
                       ops->seek(walk.view, (struct engine_blob){(const uint8_t *)"", 0},
                                 false, &walk.row));
    while (err == AN_OK && on && (walk.live || at < check->rows.count)) {
        int order = !walk.live                ? -1
                    : at == check->rows.count ? 1
                                              : blob_compare(rows[at].key, walk.row.key);
        if (order <= 0) {
            const struct check_row *newest = &rows[at];
            on = show_log(check, newest, fn, ctx);
            while (at < check->rows.count &&
                   blob_compare(rows[at].key, newest->key) == 0) {
                at++; /* older versions */
            }
        } else {
            on = show_base(check, &walk, fn, ctx);
        }
        if (order >= 0 && walk.live) {
            err = base_arrived(check, &walk, ops->step(walk.view, false, &walk.row));
        }
    }
    ops->view_close(walk.probe);
    ops->view_close(walk.view);
    return err;
}
