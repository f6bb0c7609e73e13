/* Offline verification of a data directory: is every stored byte what the formats of
 * docs/storage.md allow, and do log and base fit together? Changes nothing.
 *
 * The log is read by code of its own (check_log.c), written from the format and not from
 * the engine: a mistake made alike in writing and replaying would otherwise agree with
 * itself. Context: one thread; nothing else may have the directory open. */
#ifndef AN_STORE_CHECK_H
#define AN_STORE_CHECK_H

#include "core/err.h"
#include "store/engine.h"
#include "store/files.h"

struct store_check;

/* Something that should not be. file is relative to the directory. Strings are borrowed
 * until the callback returns. */
struct store_finding {
    const char *file;
    uint64_t offset;
    const char *sentence;
};
typedef void store_finding_fn(void *ctx, const struct store_finding *finding);

/* What the directory says of itself. Strings live as long as the check. */
struct store_check_info {
    const char *engine; /* "lmdb" or "memory" */
    const char *cluster_id;
    uint32_t store_id;
    uint16_t slot_first, slot_last;
    uint64_t applied;       /* position the base has reached */
    uint64_t position;      /* of the log's newest record */
    uint64_t log_records;   /* above applied */
    uint64_t finding_count; /* so far */
};

/* Opens, locks and verifies identity, log and base's openness, reporting findings.
 * AN_ERR_LOCKED if a node runs on it, AN_ERR_NOT_FOUND if it is no data directory,
 * AN_ERR_CORRUPT if nothing further can be read (then there was a finding). Findings
 * alone are no error: what can be read can still be walked. */
AN_MUST_USE enum an_err store_check_open(struct store_check **out,
                                         struct store_files *files, const char *dir,
                                         store_finding_fn *fn, void *ctx);
/* Unlocks. NULL is fine. */
void store_check_close(struct store_check *check);
void store_check_info(const struct store_check *check, struct store_check_info *out);

/* A row as a reader would see it, and where it lies: the record's row in the log, or the
 * base's file. Borrowed until the callback returns. */
struct store_check_row {
    struct engine_blob key;
    struct engine_blob value;
    const char *file;
    uint64_t offset;
};
/* False ends the walk. */
typedef bool store_check_row_fn(void *ctx, const struct store_check_row *row);

/* Every row of log over base in key order. Reports keys that are malformed, out of order
 * or of a slot that is not this store's. */
AN_MUST_USE enum an_err store_check_rows(struct store_check *check,
                                         store_check_row_fn *fn, void *ctx);

#endif
