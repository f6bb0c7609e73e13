/* One ordered walk over generations and base, the newer covering the older. Used by reads
 * (generations over base) and by applies (generations alone).
 *
 * Context: any thread; touches only the views it was given. */
#ifndef AN_STORE_MERGE_H
#define AN_STORE_MERGE_H

#include "store/base.h"
#include "store/generation.h"

/* Closed generations waiting for an apply; applies that fail let them pile up to here. */
#define GENERATIONS_MAX 8u
#define MERGE_VIEWS_MAX (GENERATIONS_MAX + 1) /* and the one being filled */

struct merge {
    struct generation_cursor cursors[MERGE_VIEWS_MAX]; /* newest first; views set */
    size_t cursor_count;
    struct base_view *base; /* NULL: generations alone */
    /* Set by merge_seek. */
    bool reverse;
    bool base_live; /* base_row is the base's next row */
    struct base_row base_row;
};

/* To the first key >= key, or with reverse to the last key < key. */
AN_MUST_USE enum an_err merge_seek(struct merge *merge, struct engine_blob key,
                                   bool reverse);
/* The next key in that direction, in its newest version, deletes included.
 * AN_ERR_NOT_FOUND at the end. Valid as long as the views. */
AN_MUST_USE enum an_err merge_next(struct merge *merge, struct base_row *out);

#endif
