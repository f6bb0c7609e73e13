#include "cluster/check_priv.h"
#include "core/limits.h"
#include "core/wire.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DECODE_BYTES_MAX = 1024 * 1024,
    NAMES_BYTES_MAX = 1024 * 1024 * 1024, /* of one slot's conversations */
    PROGRESS_ROWS = 65536,
};

/* ------------------------------------------------------------------ reporting */

void *
check_list_add(struct check *check, struct check_list *list, size_t size)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 256 : list->room * 2;
        void *items = realloc(list->items, room * size);

        if (items == NULL) {
            check->err = AN_ERR_NO_MEMORY;
            return NULL;
        }
        list->items = items;
        list->room = room;
    }
    return memset((char *)list->items + list->count++ * size, 0, size);
}

/* Files are few: their names are kept once, so that an origin can outlive its row. */
static uint32_t
file_number(struct check *check, const char *name)
{
    const uint32_t last = sizeof(check->files) / sizeof(check->files[0]) - 1;

    for (uint32_t i = check->file_count; i > 0; i--) {
        if (check->files[i - 1].dir == check->dir->name &&
            strcmp(check->files[i - 1].name, name) == 0) {
            return i - 1;
        }
    }
    if (check->file_count == last) {
        name = "(one of many)";
    } else if (check->file_count > last) {
        return last;
    }
    check->files[check->file_count].dir = check->dir->name;
    check->files[check->file_count].name = strdup(name);
    if (check->files[check->file_count].name == NULL) {
        check->err = AN_ERR_NO_MEMORY;
        return 0;
    }
    return check->file_count++;
}

__attribute__((format(printf, 5, 0))) static void
tell(struct check *check, const char *const where[2], uint64_t offset, bool note,
     const char *format, va_list args)
{
    char sentence[512];
    struct an_check_finding finding = {.dir = where[0],
                                       .file = where[1],
                                       .offset = offset,
                                       .sentence = sentence,
                                       .note = note};

    vsnprintf(sentence, sizeof(sentence), format, args);
    if (note) {
        check->totals->notes++;
    } else {
        check->totals->findings++;
    }
    check->cfg->finding(check->cfg->ctx, &finding);
}

void
check_here(struct check *check, const char *format, ...)
{
    const char *const where[2] = {check->dir->name, check->row->file};
    va_list args;

    va_start(args, format);
    tell(check, where, check->row->offset, false, format, args);
    va_end(args);
}

void
check_there(struct check *check, struct check_origin origin, bool note,
            const char *format, ...)
{
    const struct check_file *file = &check->files[origin.file];
    const char *const where[2] = {file->dir != NULL ? file->dir : check->dir->name,
                                  file->name != NULL ? file->name : "?"};
    va_list args;

    va_start(args, format);
    tell(check, where, origin.offset, note, format, args);
    va_end(args);
}

static void
bytes_finding(void *ctx, const struct store_finding *finding)
{
    struct check *check = ctx;
    struct an_check_finding out = {.dir = check->dir->name,
                                   .file = finding->file,
                                   .offset = finding->offset,
                                   .sentence = finding->sentence};

    if (check->second) {
        return; /* the first walk said so */
    }
    check->totals->findings++;
    check->cfg->finding(check->cfg->ctx, &out);
}

void *
check_value(struct check *check, const ProtobufCMessageDescriptor *descriptor)
{
    void *out;

    an_arena_reset(&check->decode);
    out = an_wire_unpack(descriptor, &check->decode, check->row->value.data,
                         check->row->value.len);
    if (out == NULL && !check->second) {
        check_here(check, "the row's value is not a %s", descriptor->short_name);
    }
    return out;
}

/* ------------------------------------------------------------------ walking */

static bool
walk_row(void *ctx, const struct store_check_row *row)
{
    struct check *check = ctx;
    struct check_key key;
    const char *wrong;
    int slot;

    check->row = row;
    if (++check->walked % PROGRESS_ROWS == 0 && check->cfg->progress != NULL) {
        check->cfg->progress(check->cfg->ctx, check->walked);
    }
    check->at = (struct check_origin){row->offset, file_number(check, row->file)};
    wrong = check_key_get(&key, row->key.data, row->key.len);
    if (check->second) {
        if (wrong == NULL) {
            check_join_row(check, &key);
        }
        return check->err == AN_OK;
    }
    check->totals->rows++;
    if (wrong != NULL) {
        check_here(check, "a row with %s", wrong);
        return check->err == AN_OK;
    }
    slot = check_key_slot(&key);
    if (slot >= 0 && slot != key.slot) {
        check_here(check, "a row of table '%c' lies in slot %u and belongs into slot %d",
                   key.table, key.slot, slot);
    }
    check_slot_row(check, &key);
    return check->err == AN_OK;
}

static enum an_err
walk(struct check *check)
{
    enum an_err err = AN_OK;

    for (size_t i = 0; err == AN_OK && i < check->cfg->dir_count; i++) {
        check->dir = &check->dirs[i];
        check->totals->dir = check->dir->name;
        check_outgoing_begin(check);
        err = store_check_rows(check->dir->store, walk_row, check);
        if (err == AN_OK) {
            err = check->err;
        }
        if (err == AN_OK && !check->second) {
            check_slot_end(check);
            check_outgoing_end(check);
        }
    }
    if (err == AN_OK) {
        check_outgoing_join(check);
    }
    return err != AN_OK ? err : check->err;
}

static enum an_err
run(struct check *check)
{
    enum an_err err = check_join_init(check);

    if (err == AN_OK) {
        err = walk(check);
    }
    if (err == AN_OK && check_join_doubts(check)) {
        check->second = true;
        err = walk(check);
        if (err == AN_OK) {
            check_join_report(check);
        }
    }
    return err != AN_OK ? err : check->err;
}

/* ------------------------------------------------------------------ directories */

static void
unfit(struct check *check, const struct check_dir *dir, const char *sentence)
{
    struct an_check_finding finding = {
        .dir = dir->name, .file = "identity", .sentence = sentence};

    check->totals->findings++;
    check->cfg->finding(check->cfg->ctx, &finding);
}

/* Can it be one of the stores that the ones before it are of? */
static bool
fits(struct check *check, size_t at)
{
    const struct check_dir *dir = &check->dirs[at];
    struct store_check_info info, other;

    store_check_info(dir->store, &info);
    for (size_t i = 0; i < at; i++) {
        const struct check_dir *before = &check->dirs[i];

        store_check_info(before->store, &other);
        if (strcmp(info.cluster_id, other.cluster_id) != 0) {
            unfit(check, dir, "the directories are of different clusters");
            return false;
        }
        if (dir->store_id == before->store_id || (dir->slot_first <= before->slot_last &&
                                                  before->slot_first <= dir->slot_last)) {
            unfit(check, dir, "two directories are of one store, or have the same slots");
            return false;
        }
    }
    return true;
}

static enum an_err
open_dirs(struct check *check)
{
    check->dirs = calloc(check->cfg->dir_count, sizeof(*check->dirs));
    if (check->dirs == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < check->cfg->dir_count; i++) {
        struct check_dir *dir = &check->dirs[i];
        struct store_check_info info;
        enum an_err err;

        dir->name = check->cfg->dirs[i];
        check->dir = dir;
        check->totals->dir = dir->name;
        err = store_check_open(&dir->store, check->cfg->files, dir->name, bytes_finding,
                               check);
        if (err != AN_OK) {
            return err;
        }
        store_check_info(dir->store, &info);
        dir->store_id = (uint16_t)info.store_id;
        dir->slot_first = info.slot_first;
        dir->slot_last = info.slot_last;
        if (!fits(check, i)) {
            return AN_ERR_ARGUMENT;
        }
    }
    return AN_OK;
}

static void
close_dirs(struct check *check)
{
    for (size_t i = 0; check->dirs != NULL && i < check->cfg->dir_count; i++) {
        store_check_close(check->dirs[i].store);
    }
    free(check->dirs);
    for (uint32_t i = 0; i < check->file_count; i++) {
        free(check->files[i].name);
    }
}

enum an_err
an_check_data(const struct an_check_cfg *cfg, struct an_check_totals *totals)
{
    uint64_t window =
        cfg->dedupe_window_ms != 0 ? cfg->dedupe_window_ms : AN_DEDUPE_WINDOW_MS;
    struct check *check = calloc(1, sizeof(*check));
    enum an_err err;

    *totals = (struct an_check_totals){0};
    if (check == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    check->cfg = cfg;
    check->totals = totals;
    window += AN_DEDUPE_AHEAD_MS;
    check->horizon_ms = cfg->wall_ms > window ? cfg->wall_ms - window : 0;
    an_arena_init(&check->decode, DECODE_BYTES_MAX);
    an_arena_init(&check->slot.names, NAMES_BYTES_MAX);
    err = open_dirs(check);
    if (err == AN_OK) {
        err = run(check);
    }
    check_join_fini(check);
    check_slot_fini(check);
    check_outgoing_fini(check);
    close_dirs(check);
    an_arena_fini(&check->decode);
    free(check);
    return err;
}
