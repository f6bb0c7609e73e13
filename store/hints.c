/* Direct-mapped: a hash has one place, the newest comer has it. */
#include "store/hints.h"

#include <stdlib.h>

#define COUNT_FIRST 256u
#define COUNT_MAX   65536u /* 1 MB: some 20,000 busy users with their conversations */

static struct hint *
place_of(const struct hints *hints, uint32_t hash)
{
    return &hints->entries[hash & (hints->count - 1)];
}

void *
hints_get(const struct hints *hints, uint32_t hash)
{
    if (hints->entries == NULL) {
        return NULL;
    }
    const struct hint *hint = place_of(hints, hash);
    return hint->hash == hash ? hint->node : NULL;
}

/* Four times the places, so that few of those in use share one. */
static void
grow(struct hints *hints)
{
    struct hints wider = {.count = hints->count == 0 ? COUNT_FIRST : hints->count * 4};

    wider.entries = calloc(wider.count, sizeof *wider.entries);
    if (wider.entries == NULL) {
        return;
    }
    for (size_t i = 0; i < hints->count; i++) {
        if (hints->entries[i].node != NULL) {
            *place_of(&wider, hints->entries[i].hash) = hints->entries[i];
            wider.used++;
        }
    }
    free(hints->entries);
    *hints = wider;
}

void
hints_put(struct hints *hints, uint32_t hash, void *node)
{
    if (hints->used * 2 >= hints->count && hints->count < COUNT_MAX) {
        grow(hints);
        if (hints->entries == NULL) {
            return;
        }
    }
    struct hint *hint = place_of(hints, hash);
    hints->used += hint->node == NULL;
    *hint = (struct hint){node, hash};
}

void
hints_fini(struct hints *hints)
{
    free(hints->entries);
    *hints = (struct hints){0};
}
