#include "core/runner_nng/priv.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static bool
before(const struct timer *a, const struct timer *b)
{
    return a->at_mono_ms != b->at_mono_ms ? a->at_mono_ms < b->at_mono_ms
                                          : a->order < b->order;
}

static void
swap(struct timer *a, struct timer *b)
{
    struct timer t = *a;

    *a = *b;
    *b = t;
}

void
timers_add(struct timers *timers, uint64_t at_mono_ms, uint64_t tag)
{
    size_t i;

    if (timers->count == timers->cap) {
        timers->cap = timers->cap == 0 ? 64 : timers->cap * 2;
        timers->heap = realloc(timers->heap, timers->cap * sizeof(*timers->heap));
        if (timers->heap == NULL) {
            fputs("anser: out of memory for timers\n", stderr);
            abort(); /* as for any effect: an actor cannot undo half a step */
        }
    }
    i = timers->count++;
    timers->heap[i] = (struct timer){at_mono_ms, timers->set++, tag};
    while (i > 0 && before(&timers->heap[i], &timers->heap[(i - 1) / 2])) {
        swap(&timers->heap[i], &timers->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
}

static void
sink(struct timers *timers)
{
    size_t i = 0;

    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++) {
            if (child < timers->count &&
                before(&timers->heap[child], &timers->heap[least])) {
                least = child;
            }
        }
        if (least == i) {
            return;
        }
        swap(&timers->heap[i], &timers->heap[least]);
        i = least;
    }
}

bool
timers_take(struct timers *timers, uint64_t mono_ms, uint64_t *tag)
{
    if (timers->count == 0 || timers->heap[0].at_mono_ms > mono_ms) {
        return false;
    }
    *tag = timers->heap[0].tag;
    timers->heap[0] = timers->heap[--timers->count];
    sink(timers);
    return true;
}

uint64_t
timers_next(const struct timers *timers)
{
    return timers->count == 0 ? UINT64_MAX : timers->heap[0].at_mono_ms;
}

void
timers_fini(struct timers *timers)
{
    free(timers->heap);
    *timers = (struct timers){0};
}
