/* Opening the log: find the segments, replay what is above the base, cut off a torn tail.
 *
 * Live segments, in number order, hold a run of records each, and the runs join. A spare
 * that was recycled holds records of an earlier life: their positions are lower, so it
 * does not join. The log ends at the first record that is missing. That is a torn append
 * only if no record of a higher position exists anywhere; at most one record was ever
 * unsynced, so anything else is damage. */
#include "store/log_priv.h"

#include "store/bytes.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fits the second-level cache: the search for higher records reads whole segments. */
#define WINDOW_LEN (256u * 1024u)
#define ZERO_STEP  512u

/* A part of a file in memory, moved and grown as asked. */
struct window {
    struct store_file *file;
    uint64_t size; /* of the file */
    uint8_t *buf;
    size_t room;
    uint64_t start;
    size_t len;
};

/* A segment as found at opening. */
struct found {
    uint64_t number;
    uint64_t first; /* position of a whole record at its beginning; 0: none */
    uint64_t size;
    bool live;
};

struct opening {
    struct store_log *log;
    struct found *found;
    size_t count;
    size_t room;
    enum an_err err; /* of the listing */
    struct window window;
    store_log_replay_fn *fn;
    void *ctx;
    char *why;
    size_t why_len;
    /* Where the log ends. */
    size_t tail;
    uint64_t tail_offset;
    uint64_t expected; /* position the next record will have */
};

__attribute__((format(printf, 3, 4))) static enum an_err
refuse(struct opening *o, enum an_err err, const char *format, ...)
{
    if (o->why != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(o->why, o->why_len, format, args);
        va_end(args);
    }
    return err;
}

static void
window_close(struct window *w)
{
    store_file_close(&w->file);
    w->len = 0;
}

static enum an_err
window_open(struct opening *o, uint64_t number)
{
    struct window *w = &o->window;
    char path[STORE_PATH_LEN_MAX];

    window_close(w);
    segment_path(o->log->dir, number, path);
    struct store_files *files = o->log->cfg.files;
    enum an_err err = files->ops->open(files, path, STORE_OPEN_WRITE, &w->file);
    if (err == AN_OK) {
        err = store_file_size(w->file, &w->size);
    }
    return err == AN_OK ? AN_OK : refuse(o, err, "%s: cannot be opened", path);
}

/* *out: len bytes of the file at offset, NULL beyond its end. Valid until the next. */
static enum an_err
window_get(struct window *w, uint64_t offset, size_t len, const uint8_t **out)
{
    *out = NULL;
    if (offset > w->size || len > w->size - offset) {
        return AN_OK;
    }
    if (offset < w->start || offset + len > w->start + w->len) {
        size_t want = len > WINDOW_LEN ? len : WINDOW_LEN;
        if (want > w->room) {
            uint8_t *buf = realloc(w->buf, want);
            if (buf == NULL) {
                return AN_ERR_NO_MEMORY;
            }
            w->buf = buf;
            w->room = want;
        }
        w->start = offset;
        w->len = 0;
        enum an_err err = store_file_read(w->file, offset, w->buf, w->room, &w->len);
        if (err != AN_OK) {
            return err;
        }
        if (w->len < len) {
            return AN_ERR_IO; /* the file is shorter than it said */
        }
    }
    *out = w->buf + (offset - w->start);
    return AN_OK;
}

/* *record: a whole record that begins at offset, NULL if none does. */
static enum an_err
record_at(struct opening *o, uint64_t offset, struct record_head *head,
          const uint8_t **record)
{
    enum an_err err = window_get(&o->window, offset, RECORD_HEADER_LEN, record);
    if (err != AN_OK || *record == NULL) {
        return err;
    }
    if (!record_get_head(*record, head) || head->position == 0) {
        *record = NULL;
        return AN_OK;
    }
    err = window_get(&o->window, offset, RECORD_HEADER_LEN + (size_t)head->body_len,
                     record);
    if (err == AN_OK && *record != NULL &&
        !record_crc_valid(*record, head, o->log->cfg.salt)) {
        *record = NULL;
    }
    return err;
}

static void
note_segment(void *ctx, const char *name)
{
    struct opening *o = ctx;
    uint64_t number;

    if (o->err != AN_OK || !segment_number(name, &number)) {
        return;
    }
    if (o->count == o->room) {
        size_t room = o->room == 0 ? 8 : o->room * 2;
        struct found *found = realloc(o->found, room * sizeof *found);
        if (found == NULL) {
            o->err = AN_ERR_NO_MEMORY;
            return;
        }
        o->found = found;
        o->room = room;
    }
    o->found[o->count++] = (struct found){.number = number};
}

static int
found_compare(const void *left, const void *right)
{
    const struct found *a = left;
    const struct found *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

static enum an_err
inspect_segment(struct opening *o, struct found *f)
{
    const uint8_t *bytes;
    struct record_head head;

    enum an_err err = window_open(o, f->number);
    if (err == AN_OK) {
        err = window_get(&o->window, 0, SEGMENT_HEADER_LEN, &bytes);
    }
    if (err != AN_OK) {
        return err;
    }
    f->size = o->window.size;
    err = bytes == NULL ? AN_ERR_CORRUPT : segment_check_header(bytes, o->log->cfg.salt);
    if (err != AN_OK) {
        return refuse(o, err, "%s/%016" PRIx64 ".seg at byte 0: %s", o->log->dir,
                      f->number,
                      err == AN_ERR_CORRUPT ? "the segment's header is damaged"
                                            : "the segment belongs to another store or "
                                              "another version");
    }
    err = record_at(o, SEGMENT_HEADER_LEN, &head, &bytes);
    f->first = err == AN_OK && bytes != NULL ? head.position : 0;
    return err;
}

static enum an_err
find_segments(struct opening *o)
{
    struct store_files *files = o->log->cfg.files;

    enum an_err err = files->ops->list(files, o->log->dir, note_segment, o);
    if (err == AN_OK) {
        err = o->err;
    }
    if (err == AN_OK && o->count == 0) {
        err = AN_ERR_NOT_FOUND;
    }
    if (err != AN_OK) {
        return refuse(o, err == AN_ERR_NOT_FOUND ? AN_ERR_CORRUPT : err,
                      "%s: the log's segments cannot be found", o->log->dir);
    }
    qsort(o->found, o->count, sizeof *o->found, found_compare);
    uint64_t newest = 0;
    for (size_t i = 0; i < o->count; i++) {
        err = inspect_segment(o, &o->found[i]);
        if (err != AN_OK) {
            return err;
        }
        o->found[i].live = o->found[i].first > newest;
        newest = o->found[i].live ? o->found[i].first : newest;
    }
    return AN_OK;
}

/* Reads the run of segment i, handing out what is above the base. */
static enum an_err
replay_segment(struct opening *o, size_t i)
{
    uint64_t offset = SEGMENT_HEADER_LEN;

    enum an_err err = window_open(o, o->found[i].number);
    if (err != AN_OK) {
        return err;
    }
    for (;;) {
        struct record_head head;
        const uint8_t *record;
        err = record_at(o, offset, &head, &record);
        if (err != AN_OK || record == NULL || head.position != o->expected) {
            break;
        }
        const uint8_t *body = record + RECORD_HEADER_LEN;
        if (!record_body_valid(body, head.body_len, head.row_count)) {
            return refuse(o, AN_ERR_CORRUPT,
                          "%s/%016" PRIx64 ".seg at byte %" PRIu64 ": record %" PRIu64
                          " is sealed but its rows are malformed",
                          o->log->dir, o->found[i].number, offset, head.position);
        }
        if (head.position > o->log->applied) {
            err = o->fn(o->ctx, &head, body);
            if (err != AN_OK) {
                break;
            }
        }
        offset += record_len(head.body_len);
        o->expected++;
    }
    o->tail = i;
    o->tail_offset = offset;
    return err;
}

static struct segment
segment_of(const struct opening *o, size_t i, uint64_t last, uint64_t used)
{
    return (struct segment){.number = o->found[i].number,
                            .first = o->found[i].first,
                            .last = last,
                            .used = used,
                            .size = o->found[i].size};
}

/* Replays every live segment that may hold a record above the base. */
static enum an_err
replay(struct opening *o)
{
    struct store_log *log = o->log;
    bool begun = false;

    o->expected = log->applied + 1;
    for (size_t i = 0; i < o->count; i++) {
        const struct found *f = &o->found[i];
        size_t next = i + 1;
        while (next < o->count && !o->found[next].live) {
            next++;
        }
        bool below = next < o->count && o->found[next].first <= log->applied + 1;
        if (!f->live || (below && !begun)) {
            continue;
        }
        if (begun ? f->first != o->expected : f->first > o->expected) {
            break; /* a hole: the search for higher records will name it */
        }
        o->expected = f->first;
        begun = true;
        enum an_err err = segment_list_reserve(&log->live);
        if (err == AN_OK) {
            err = replay_segment(o, i);
        }
        if (err != AN_OK) {
            return err;
        }
        segment_list_add(&log->live, segment_of(o, i, o->expected - 1, o->tail_offset));
    }
    if (!begun) {
        /* Nothing to join the base to. A store that never appended looks like this; for
         * any other the search for higher records, or the base, will object. */
        bool any = false;
        for (size_t i = 0; i < o->count; i++) {
            any = any || o->found[i].live;
        }
        o->expected = any ? log->applied + 1 : 1;
        o->tail = 0;
        o->tail_offset = SEGMENT_HEADER_LEN;
    }
    return AN_OK;
}

/* Most of a segment is zeros: they are passed over in large steps. */
static bool
step_is_zero(const uint8_t *bytes)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, ZERO_STEP - 1) == 0;
}

/* The first place in the bytes where a record of position >= expected may begin; len if
 * there is none. Places are aligned; a place needs a whole header. */
static size_t
next_candidate(const uint8_t *bytes, size_t len, uint64_t expected)
{
    struct record_head head;

    for (size_t at = 0; at + RECORD_HEADER_LEN <= len; at += RECORD_ALIGN) {
        while (at + ZERO_STEP <= len && step_is_zero(bytes + at)) {
            at += ZERO_STEP;
        }
        if (at + RECORD_HEADER_LEN > len) {
            break;
        }
        /* Asked millions of times at every start: the magic first, and here. */
        if (get_le32(bytes + at) == RECORD_MAGIC && record_get_head(bytes + at, &head) &&
            head.position >= expected) {
            return at;
        }
    }
    return len;
}

/* Is there a whole record of position >= expected at or behind this offset? */
static enum an_err
search_segment(struct opening *o, size_t i, uint64_t offset, uint64_t *found)
{
    enum an_err err = window_open(o, o->found[i].number);

    *found = 0;
    while (err == AN_OK && offset + RECORD_HEADER_LEN <= o->window.size) {
        const uint8_t *bytes;
        struct record_head head;
        uint64_t rest = o->window.size - offset;
        size_t len = rest < WINDOW_LEN ? (size_t)rest : WINDOW_LEN;
        err = window_get(&o->window, offset, len, &bytes);
        if (err != AN_OK) {
            return err;
        }
        size_t at = next_candidate(bytes, len, o->expected);
        if (at == len) {
            /* The next step looks again at what was too short for a header. */
            offset += len == rest ? len : len - RECORD_HEADER_LEN;
            continue;
        }
        offset += at;
        err = record_at(o, offset, &head, &bytes);
        if (err == AN_OK && bytes != NULL) {
            *found = offset;
            return AN_OK;
        }
        offset += RECORD_ALIGN;
    }
    return err;
}

static enum an_err
search_higher(struct opening *o)
{
    for (size_t i = o->tail; i < o->count; i++) {
        /* A segment is made only when the one before is there: the newest one lost shows
         * by the spare behind it. */
        if (o->found[i].number != o->found[o->tail].number + (i - o->tail)) {
            return refuse(o, AN_ERR_CORRUPT, "%s/%016" PRIx64 ".seg: the file is missing",
                          o->log->dir, o->found[o->tail].number + (i - o->tail));
        }
        uint64_t found;
        enum an_err err = search_segment(
            o, i, i == o->tail ? o->tail_offset : SEGMENT_HEADER_LEN, &found);
        if (err != AN_OK) {
            return err;
        }
        if (found != 0) {
            return refuse(o, AN_ERR_CORRUPT,
                          "%s/%016" PRIx64 ".seg at byte %" PRIu64 ": record %" PRIu64
                          " is damaged or missing, but %016" PRIx64
                          ".seg holds a later one at byte %" PRIu64,
                          o->log->dir, o->found[o->tail].number, o->tail_offset,
                          o->expected, o->found[i].number, found);
        }
    }
    if (o->expected <= o->log->applied) {
        return refuse(
            o, AN_ERR_CORRUPT,
            "%s/%016" PRIx64 ".seg at byte %" PRIu64
            ": the log ends before record %" PRIu64 ", which the base already holds",
            o->log->dir, o->found[o->tail].number, o->tail_offset, o->log->applied);
    }
    return AN_OK;
}

/* Wipes a torn record's header, so that its remains can never count. */
static enum an_err
wipe_head(struct opening *o, uint64_t offset)
{
    static const uint8_t zeros[RECORD_HEADER_LEN];
    const uint8_t *bytes;

    enum an_err err = window_get(&o->window, offset, RECORD_HEADER_LEN, &bytes);
    if (err != AN_OK || bytes == NULL || memcmp(bytes, zeros, sizeof zeros) == 0) {
        return err;
    }
    return store_file_write(o->window.file, offset, zeros, sizeof zeros);
}

/* What was replayed may have been only in the page cache of a process that was killed:
 * it must be on disk before anybody reads it. */
static enum an_err
sync_segments(struct opening *o)
{
    struct store_log *log = o->log;

    for (size_t i = 0; i < o->count; i++) {
        if (!o->found[i].live && i <= o->tail && o->tail != i) {
            continue;
        }
        enum an_err err = window_open(o, o->found[i].number);
        if (err == AN_OK && i == o->tail) {
            err = wipe_head(o, o->tail_offset);
        } else if (err == AN_OK && i > o->tail && o->found[i].first == 0) {
            err = wipe_head(o, SEGMENT_HEADER_LEN);
        }
        if (err == AN_OK) {
            err = store_file_sync(o->window.file);
        }
        if (err != AN_OK) {
            return refuse(o, err, "%s/%016" PRIx64 ".seg: cannot be synced", log->dir,
                          o->found[i].number);
        }
    }
    enum an_err err = log->cfg.files->ops->sync_dir(log->cfg.files, log->dir);
    return err == AN_OK ? AN_OK : refuse(o, err, "%s: cannot be synced", log->dir);
}

/* Sorts what was found into the one appended to, the spare, and the free ones. */
static enum an_err
adopt_segments(struct opening *o)
{
    struct store_log *log = o->log;
    char path[STORE_PATH_LEN_MAX];

    if (log->live.count == 0) {
        enum an_err err = segment_list_reserve(&log->live);
        if (err != AN_OK) {
            return err;
        }
        o->found[o->tail].first = 0;
        segment_list_add(&log->live, segment_of(o, o->tail, 0, SEGMENT_HEADER_LEN));
    }
    log->position = o->expected - 1;
    uint64_t current = o->found[o->tail].number;
    for (size_t i = 0; i < o->count; i++) {
        const struct found *f = &o->found[i];
        if (f->number == current || f->number == current + 1) {
            enum an_err err = window_open(o, f->number);
            if (err != AN_OK) {
                return err;
            }
            *(f->number == current ? &log->file : &log->spare_file) = o->window.file;
            o->window.file = NULL;
            if (f->number != current) {
                log->spare = (struct segment){
                    .number = f->number, .used = SEGMENT_HEADER_LEN, .size = f->size};
            }
        } else if (f->number > current) {
            segment_path(log->dir, f->number, path);
            (void)log->cfg.files->ops->unlink(log->cfg.files, path);
        } else if (f->number < log->live.items[0].number) {
            enum an_err err = segment_list_reserve(&log->free);
            if (err != AN_OK) {
                return err;
            }
            segment_list_add(&log->free, segment_of(o, i, log->applied, f->size));
        }
    }
    return AN_OK;
}

enum an_err
store_log_open(struct store_log **out, const struct store_log_cfg *cfg, uint64_t applied,
               store_log_replay_fn *fn, void *ctx, char *why, size_t why_len)
{
    struct store_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    struct opening o = {.log = log, .fn = fn, .ctx = ctx, .why = why, .why_len = why_len};
    log->cfg = *cfg;
    snprintf(log->dir, sizeof log->dir, "%s", cfg->dir);
    log->cfg.dir = log->dir;
    log->applied = applied;

    enum an_err err = find_segments(&o);
    if (err == AN_OK) {
        err = replay(&o);
    }
    if (err == AN_OK && !cfg->created) {
        err = search_higher(&o);
    }
    if (err == AN_OK) {
        err = sync_segments(&o);
    }
    if (err == AN_OK) {
        err = adopt_segments(&o);
    }
    window_close(&o.window);
    free(o.window.buf);
    free(o.found);
    if (err != AN_OK) {
        store_log_close(log);
        return err;
    }
    store_log_applied(log, applied);
    *out = log;
    return AN_OK;
}
