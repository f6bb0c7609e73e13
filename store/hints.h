/* Where in a generation the newest row of a timeline, or a head that is overwritten with
 * every message, was put: a table of bounded size that may forget anything at any time.
 * What it says is checked by the asker against the rows themselves.
 *
 * Context: the store's thread alone; readers of a generation never look here. */
#ifndef AN_STORE_HINTS_H
#define AN_STORE_HINTS_H

#include <stddef.h>
#include <stdint.h>

struct hint {
    void *node; /* NULL: free */
    uint32_t hash;
};

struct hints {
    struct hint *entries; /* NULL until the first put */
    size_t count;         /* a power of two */
    size_t used;
};

/* What was put last under this hash, or NULL. */
void *hints_get(const struct hints *hints, uint32_t hash);
/* Remembers node, which must outlive the table, in place of what stood there. Without
 * memory it does nothing. */
void hints_put(struct hints *hints, uint32_t hash, void *node);
void hints_fini(struct hints *hints);

#endif
