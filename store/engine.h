/* The timeline engine: durable rows in key order behind one small interface.
 *
 * What a row means is not the engine's business: keys and values are bytes, given whole
 * by the store actor (proto/rows.h). The engine promises that a completed append is on
 * disk, that nothing unsynced is ever read, and that a range read sees every append
 * completed before it began.
 *
 * Context: every function is called on the store actor's thread; every completion
 * callback runs on that thread too, either inside the call or inside a job's done().
 * The engine has no clock, no thread and no socket: time comes in through engine_tick,
 * slow work leaves through the host's offload. LMDB's words, log positions and file
 * descriptors stay behind this line. */
#ifndef AN_STORE_ENGINE_H
#define AN_STORE_ENGINE_H

#include "core/err.h"
#include "core/job.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_KEY_LEN_MAX   255u
#define ENGINE_VALUE_LEN_MAX (128u * 1024u)

struct engine;
struct store_files; /* store/files.h: the disk, or a simulated one */

struct engine_blob {
    const uint8_t *data;
    size_t len;
};

/* What the engine needs of its surroundings. */
struct engine_host {
    void *ctx;
    /* Takes the job until its done() has been called; never refuses. */
    void (*offload)(void *ctx, struct an_job *job);
    /* One line for the operator; level as in core/log.h. May be NULL. */
    void (*log)(void *ctx, int level, const char *line);
    /* The disk broke its word (a sync failed): the process must stop now, loudly, and
     * never acknowledge again. Does not return in production; a test may make it. */
    void (*fatal)(void *ctx, const char *why);
};

enum engine_kind {
    ENGINE_LMDB,
    ENGINE_MEMORY, /* same log and overlay over an ordered map: for tests and simulation
                    */
};

struct engine_cfg {
    enum engine_kind kind;
    const char *dir;           /* exists; the engine owns everything in it */
    struct store_files *files; /* borrowed until engine_close */
    struct engine_host host;
    /* Recorded in the directory at creation and compared at every open (AN_ERR_CONFIG
     * with a log line naming both values when they differ). Slot range inclusive. */
    const char *cluster_id;
    uint32_t store_id;
    uint16_t slot_first;
    uint16_t slot_last;
    /* 0 means the default of core/limits.h. */
    size_t overlay_rows_max;
    size_t overlay_bytes_max;
    size_t log_segment_bytes;
    size_t lmdb_map_bytes;
};

/* Locks the directory (AN_ERR_LOCKED if another process holds it), replays the log above
 * what was applied, syncs, and returns ready to serve. *why, when not NULL, receives one
 * sentence naming file and offset on AN_ERR_CORRUPT, or the reason of another error
 * (caller's buffer of why_len bytes). Nothing is written to *out on failure. */
AN_MUST_USE enum an_err engine_open(struct engine **out, const struct engine_cfg *cfg,
                                    char *why, size_t why_len);
/* Frees everything and unlocks. Jobs in flight must have been done. What is synced but
 * not applied stays in the log for the next start. NULL is fine. */
void engine_close(struct engine *engine);

/* A fence: the right to append to a slot through this engine. A later engine_open_slot
 * of the same slot makes an earlier fence stale. AN_ERR_NOT_MINE outside the range. */
AN_MUST_USE enum an_err engine_open_slot(struct engine *engine, uint16_t slot,
                                         uint64_t *fence);

enum engine_op { ENGINE_PUT = 1, ENGINE_DELETE = 2 };

struct engine_row {
    enum engine_op op;
    struct engine_blob key;   /* begins with the slot, big-endian */
    struct engine_blob value; /* empty for a delete */
};

struct engine_group {
    uint16_t slot;
    uint64_t fence;
    const struct engine_row *rows;
    size_t row_count;
};

/* AN_OK: synced. AN_ERR_FENCED: a fence was stale, AN_ERR_DISK_FULL, AN_ERR_BUSY (the
 * overlay is full, or the next log segment is being prepared), AN_ERR_IO, AN_ERR_FULL (no
 * descriptors), AN_ERR_NO_MEMORY, AN_ERR_ARGUMENT (longer than a log segment): definite
 * refusals, nothing of the batch was written and nothing of it will ever be read. */
typedef void engine_append_done(void *ctx, enum an_err err);

/* All groups become one log record: all of them or none. Rows are copied. At most one
 * append may be in flight (asserted). The order of rows with the same key is kept.
 * done is called exactly once, perhaps before this returns. */
void engine_append(struct engine *engine, const struct engine_group *groups,
                   size_t group_count, engine_append_done *done, void *ctx);

struct engine_query {
    struct engine_blob first; /* inclusive */
    struct engine_blob end; /* exclusive; for one key: the key with a zero byte behind */
    size_t items_max;       /* at least 1 */
    size_t bytes_max;       /* of keys and values; the first item always fits. 0: none */
    bool reverse;           /* from just below end down to first */
};

struct engine_item {
    struct engine_blob key;
    struct engine_blob value;
};

struct engine_answer {
    const struct engine_item *items; /* in the order asked for */
    size_t item_count;
    bool more; /* the range holds more than was returned */
};

/* answers: one per query, borrowed until the callback returns; NULL unless AN_OK.
 * AN_ERR_BUSY: 512 reads are in flight. AN_ERR_IO, AN_ERR_CORRUPT, AN_ERR_NO_MEMORY. */
typedef void engine_read_done(void *ctx, enum an_err err,
                              const struct engine_answer *answers, size_t answer_count);

/* All queries see one moment: every append completed so far and none after. Queries are
 * copied. When the overlay alone can answer a one-key query (put or deleted there) for
 * every query asked, the completion may come before this returns. */
void engine_read(struct engine *engine, const struct engine_query *queries,
                 size_t query_count, engine_read_done *done, void *ctx);

/* Starts an apply when one is due (rows, bytes or age). mono_ms: the caller's monotonic
 * clock. Call about once a second and after appends. */
void engine_tick(struct engine *engine, uint64_t mono_ms);
/* Starts an apply of everything now in the overlay, unless one runs. For tests and a
 * clean stop. */
void engine_apply_now(struct engine *engine);

/* Copies all rows as they are now into a store directory of its own, which must not exist
 * (its parent must): the same cluster, store and slots, nothing left in its log. Written
 * as DIR.partial and renamed when it is whole and on disk. Appends, reads and applies go
 * on meanwhile; LMDB's file grows while it lasts, because the moment it copies stays
 * readable. One at a time. */
struct engine_backup {
    char dir[1024];
    bool running;
    uint64_t rows;   /* copied so far */
    enum an_err err; /* of the last one that ended */
    char why[256];   /* one sentence, when that is not AN_OK */
};
/* AN_OK: it has begun. AN_ERR_BUSY: one is running. AN_ERR_ARGUMENT, AN_ERR_IO,
 * AN_ERR_DISK_FULL, AN_ERR_NO_MEMORY, with *why. */
AN_MUST_USE enum an_err engine_backup(struct engine *engine, const char *dir, char *why,
                                      size_t why_len);
/* Ends one that is running soon, with AN_ERR_SHUTTING_DOWN. Call it before a close. */
void engine_backup_stop(struct engine *engine);
/* The running one, or the last; zeros before the first. */
const struct engine_backup *engine_backup_state(const struct engine *engine);

/* Counters since open, and gauges; for metrics and tests. */
struct engine_stats {
    uint64_t appends, append_rows, append_bytes; /* bytes of log records */
    uint64_t syncs, sync_us_total;
    uint64_t reads, reads_overlay_only, read_items;
    uint64_t applies, apply_rows, apply_us_total, apply_failures;
    uint64_t replayed_records;
    uint64_t refused_full, refused_busy, refused_fenced;
    uint64_t overlay_rows, overlay_bytes, overlay_generations; /* now */
    uint64_t log_segments, log_bytes;                          /* now, un-applied */
    uint64_t base_bytes; /* now: LMDB's used pages */
};
void engine_stats(const struct engine *engine, struct engine_stats *out);

#endif
