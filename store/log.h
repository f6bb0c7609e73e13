/* The log: what makes an append durable. Records of rows, numbered from 1 without gaps,
 * in preallocated segment files that are used again once their records are applied.
 *
 * Promise: after store_log_append answered AN_OK the record is on disk; after any other
 * answer nothing of it will ever be replayed. At most one record is ever unsynced.
 *
 * Context: the store's thread. Preparing and recycling segments is done by jobs given to
 * the host. */
#ifndef AN_STORE_LOG_H
#define AN_STORE_LOG_H

#include "core/err.h"
#include "store/engine.h"
#include "store/files.h"
#include "store/record.h"
#include <stddef.h>
#include <stdint.h>

struct store_log;

struct store_log_cfg {
    struct store_files *files;
    const char *dir; /* of the segments; copied */
    uint8_t salt[STORE_SALT_LEN];
    size_t segment_bytes;
    bool created; /* by store_log_create just now: there is nothing to search through */
    struct engine_host host;
};

/* Makes the directory and its first, empty segment, durably; throws away what an
 * interrupted creation left. */
AN_MUST_USE enum an_err store_log_create(const struct store_log_cfg *cfg);

/* One record above what was applied; head and body are borrowed. An error ends the
 * opening with that error. */
typedef enum an_err store_log_replay_fn(void *ctx, const struct record_head *head,
                                        const uint8_t *body);

/* Replays every record above `applied` in order, cuts off a torn last one and syncs: what
 * was replayed is then on disk. AN_ERR_CORRUPT with file and offset in *why when a record
 * is damaged that is not the last, or when log and base do not meet. */
AN_MUST_USE enum an_err store_log_open(struct store_log **out,
                                       const struct store_log_cfg *cfg, uint64_t applied,
                                       store_log_replay_fn *fn, void *ctx, char *why,
                                       size_t why_len);
/* No job may be in flight. NULL is fine. */
void store_log_close(struct store_log *log);

/* Writes and syncs one record; buf as record_seal wants it. AN_ERR_DISK_FULL, AN_ERR_IO,
 * AN_ERR_BUSY (the next segment is being prepared), AN_ERR_ARGUMENT (longer than a
 * segment): nothing was written. When a sync failed host.fatal was called; should that
 * return, the log is dead and so says store_log_dead. */
AN_MUST_USE enum an_err store_log_append(struct store_log *log, uint8_t *buf,
                                         size_t body_len, uint32_t row_count);
bool store_log_dead(const struct store_log *log);
/* Of the newest record; 0 when there never was one. */
uint64_t store_log_position(const struct store_log *log);

/* Records up to the position are in the base, durably: their segments are free. */
void store_log_applied(struct store_log *log, uint64_t position);
/* Starts the job that prepares a spare segment or removes free ones, when due. */
void store_log_tick(struct store_log *log);

struct store_log_stats {
    uint64_t syncs, sync_us_total;
    uint64_t segments; /* with records not applied, the current one included */
    uint64_t bytes;    /* of records not applied */
};
void store_log_stats(const struct store_log *log, struct store_log_stats *out);

#endif
