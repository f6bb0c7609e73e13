/* The base: where applied rows live. Two of them, LMDB and an ordered map in memory,
 * behind this one interface; the overlay lies over either.
 *
 * Context: open, view_open, view_close and close on the store's thread; apply in a job,
 * one at a time; a view's seek and step in one job at a time, also while apply runs. */
#ifndef AN_STORE_BASE_H
#define AN_STORE_BASE_H

#include "core/err.h"
#include "store/engine.h"
#include "store/files.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_row {
    struct engine_blob key;
    struct engine_blob value;
    bool deleted; /* only on the way into a base */
};

/* Rows for an apply: each key once, in key order. */
struct base_feed {
    bool (*next)(struct base_feed *feed, struct base_row *out);
};

struct base {
    const struct base_ops *ops;
};

/* The base as it was at one moment. */
struct base_view {
    struct base *base;
};

struct base_ops {
    void (*close)(struct base *base);
    /* Of the newest log record whose rows are in it; 0 for none. */
    uint64_t (*position)(const struct base *base);
    /* Space used, for the gauge. Any thread. */
    uint64_t (*bytes)(const struct base *base);
    /* Durable when it returns AN_OK, and without effect otherwise. */
    enum an_err (*apply)(struct base *base, struct base_feed *feed, uint64_t position);
    /* Shows what the last completed apply left, whatever is applied later.
     * AN_ERR_BUSY when too many are open. */
    enum an_err (*view_open)(struct base *base, struct base_view **out);
    void (*view_close)(struct base_view *view);
    /* To the first row with a key >= key, or with reverse the last < key; then step in
     * that direction. AN_ERR_NOT_FOUND at the end. Rows stay valid until view_close.
     * AN_ERR_CORRUPT with a key in *out: it stands on a row whose bytes are damaged. */
    enum an_err (*seek)(struct base_view *view, struct engine_blob key, bool reverse,
                        struct base_row *out);
    enum an_err (*step)(struct base_view *view, bool reverse, struct base_row *out);
    /* Which file, and where in it, the row under the view's cursor lies; name is relative
     * to the data directory and constant. For offline checks. */
    void (*origin)(const struct base_view *view, const char **name, uint64_t *offset);
};

/* Key order: bytes, the shorter of equal beginnings first. */
static inline int
blob_compare(struct engine_blob left, struct engine_blob right)
{
    size_t len = left.len < right.len ? left.len : right.len;
    int order = len > 0 ? __builtin_memcmp(left.data, right.data, len) : 0;
    return order != 0 ? order : (left.len > right.len) - (left.len < right.len);
}

struct base_cfg {
    const char *dir; /* the data directory */
    struct store_files *files;
    size_t map_bytes;
    bool read_only; /* apply is not called; nothing is created */
    char *why;      /* receives a sentence on failure; may be NULL */
    size_t why_len;
};

/* Both create what is missing unless read_only. AN_ERR_CORRUPT if it cannot be read. */
AN_MUST_USE enum an_err base_memory_open(struct base **out, const struct base_cfg *cfg);
AN_MUST_USE enum an_err base_lmdb_open(struct base **out, const struct base_cfg *cfg);

#endif
