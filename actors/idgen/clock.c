#include "actors/idgen/clock.h"
#include "actors/idgen/idgen.h"
#include <assert.h>

uint64_t
idgen_clock_read(struct idgen_clock *clock, struct an_now now)
{
    uint64_t wall = now.wall_ms > IDGEN_EPOCH_MS ? now.wall_ms - IDGEN_EPOCH_MS : 0;

    if (clock->mono_ms != 0) {
        clock->logical_ms += now.mono_ms - clock->mono_ms;
    }
    clock->mono_ms = now.mono_ms;
    if (wall > clock->logical_ms) {
        clock->logical_ms = wall;
    }
    return clock->logical_ms;
}

void
idgen_clock_reserved(struct idgen_clock *clock, uint64_t lo, uint64_t hi)
{
    assert(lo < hi);
    assert(lo >= clock->hi);
    if (lo != clock->hi) {
        clock->lo = lo;
    }
    clock->hi = hi;
}

static void
enter(struct idgen_clock *clock, uint64_t ms)
{
    assert(ms > clock->ms || clock->stride == 0);
    clock->ms = ms;
    clock->used = 0;
    clock->start = (uint32_t)an_rng_below(&clock->rng, IDGEN_PER_MS);
    /* Odd, so that all of the millisecond is reached; neither 1 nor -1, with which ids
     * would count messages: 3 to IDGEN_PER_MS - 3. */
    clock->stride = 3u + 2u * (uint32_t)an_rng_below(&clock->rng, IDGEN_PER_MS / 2 - 2);
}

/* The millisecond that ids would come from now; hi or above when there is none. */
static uint64_t
current(struct idgen_clock *clock, struct an_now now)
{
    uint64_t ms = idgen_clock_read(clock, now);

    if (ms < clock->lo) {
        ms = clock->lo;
    }
    if (clock->stride != 0 && ms <= clock->ms) {
        ms = clock->used < IDGEN_PER_MS ? clock->ms : clock->ms + 1;
    }
    return ms;
}

bool
idgen_clock_take(struct idgen_clock *clock, struct an_now now, uint32_t count,
                 struct idgen_run *run)
{
    uint64_t ms = current(clock, now);

    assert(count > 0);
    if (ms >= clock->hi || ms >= IDGEN_TIME_END) {
        return false;
    }
    if (clock->stride == 0 || ms != clock->ms) {
        enter(clock, ms);
    }
    if (count > IDGEN_PER_MS - clock->used) {
        count = IDGEN_PER_MS - clock->used;
    }
    run->prefix = ms << (IDGEN_WORKER_BITS + IDGEN_SEQUENCE_BITS) |
                  clock->worker << IDGEN_SEQUENCE_BITS;
    run->start = (clock->start + clock->used * clock->stride) % IDGEN_PER_MS;
    run->stride = clock->stride;
    run->count = count;
    clock->used += count;
    return true;
}

uint64_t
idgen_clock_left(struct idgen_clock *clock, struct an_now now)
{
    uint64_t ms = current(clock, now);

    return ms < clock->hi ? clock->hi - ms : 0;
}
