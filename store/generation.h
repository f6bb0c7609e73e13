/* One generation of the overlay: the rows of a run of log records, in key order, in
 * memory. A record's own bytes are the rows' memory: they are built here, written to the
 * log from here, and then linked into the order.
 *
 * Context: one writer, the store's thread. Cursors may walk it on any thread meanwhile:
 * links are only ever added, and a cursor sees only rows up to its view's version. The
 * reference count is the store's thread's alone. */
#ifndef AN_STORE_GENERATION_H
#define AN_STORE_GENERATION_H

#include "core/err.h"
#include "store/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct generation;
struct generation_node;
struct generation_version;

/* NULL without memory. Reference count 1. */
struct generation *generation_create(void);
struct generation *generation_ref(struct generation *generation);
/* Frees at the last reference. NULL is fine. */
void generation_unref(struct generation *generation);

/* Room for one record of len bytes, 8-byte aligned; NULL without memory. Ends in exactly
 * one generation_commit or generation_rollback. */
uint8_t *generation_reserve(struct generation *generation, size_t len);
/* Allocates what generation_commit will need for the rows of the body, so that nothing
 * can fail once the record is synced. The body must be well-formed and lie in memory that
 * was reserved. */
AN_MUST_USE enum an_err generation_prepare(struct generation *generation,
                                           const uint8_t *body, size_t body_len);
/* The prepared rows become visible to views taken from now on. */
void generation_commit(struct generation *generation, uint64_t position);
/* Gives back what was reserved and prepared. */
void generation_rollback(struct generation *generation);

/* Rows linked, each version of a key counted. */
size_t generation_rows(const struct generation *generation);
/* Memory its rows take. */
size_t generation_bytes(const struct generation *generation);
/* Of the newest record in it; 0 when empty. */
uint64_t generation_position(const struct generation *generation);

/* What a reader sees of a generation: rows of versions up to this one. */
struct generation_view {
    struct generation *generation;
    uint64_t version;
};
/* Takes no reference. */
struct generation_view generation_view(struct generation *generation);

/* Walks a view; each key comes once, in its newest version, deletes included. */
struct generation_cursor {
    struct generation_view view;
    const struct generation_node *node;       /* NULL: at the end */
    const struct generation_version *version; /* of it, the newest the view sees */
};
/* To the first key >= key, or with reverse to the last key < key. */
void generation_seek(struct generation_cursor *cursor, struct engine_blob key,
                     bool reverse);
/* To the next key in that direction. */
void generation_step(struct generation_cursor *cursor, bool reverse);
/* The row under the cursor; false at the end. */
bool generation_row(const struct generation_cursor *cursor, struct record_row *out);

#endif
