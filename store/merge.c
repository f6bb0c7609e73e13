/* Merging ordered sources. There are ten at most, so the least is found by looking at
 * each. */
#include "store/merge.h"

static enum an_err
base_moved(struct merge *merge, enum an_err err)
{
    merge->base_live = err == AN_OK;
    return err == AN_ERR_NOT_FOUND ? AN_OK : err;
}

enum an_err
merge_seek(struct merge *merge, struct engine_blob key, bool reverse)
{
    merge->reverse = reverse;
    merge->base_live = false;
    for (size_t i = 0; i < merge->cursor_count; i++) {
        generation_seek(&merge->cursors[i], key, reverse);
    }
    if (merge->base == NULL) {
        return AN_OK;
    }
    const struct base_ops *ops = merge->base->base->ops;
    return base_moved(merge, ops->seek(merge->base, key, reverse, &merge->base_row));
}

/* Is left the one to come first in the direction of the walk? */
static bool
comes_first(const struct merge *merge, struct engine_blob left, struct engine_blob right)
{
    int order = blob_compare(left, right);
    return merge->reverse ? order > 0 : order < 0;
}

enum an_err
merge_next(struct merge *merge, struct base_row *out)
{
    struct record_row row;
    bool any = false;

    /* Strictly first only: of equal keys the newest source, looked at first, stays. */
    for (size_t i = 0; i < merge->cursor_count; i++) {
        if (generation_row(&merge->cursors[i], &row) &&
            (!any || comes_first(merge, row.key, out->key))) {
            *out = (struct base_row){
                .key = row.key, .value = row.value, .deleted = row.op == ENGINE_DELETE};
            any = true;
        }
    }
    if (merge->base_live && (!any || comes_first(merge, merge->base_row.key, out->key))) {
        *out = merge->base_row;
        any = true;
    }
    if (!any) {
        return AN_ERR_NOT_FOUND;
    }
    for (size_t i = 0; i < merge->cursor_count; i++) {
        if (generation_row(&merge->cursors[i], &row) &&
            blob_compare(row.key, out->key) == 0) {
            generation_step(&merge->cursors[i], merge->reverse);
        }
    }
    if (merge->base_live && blob_compare(merge->base_row.key, out->key) == 0) {
        const struct base_ops *ops = merge->base->base->ops;
        return base_moved(merge,
                          ops->step(merge->base, merge->reverse, &merge->base_row));
    }
    return AN_OK;
}
