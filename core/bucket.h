/* How often something may be done: so many a second, and so many at once by who was quiet
 * before (a token bucket, kept as the one time when it will be full again).
 *
 * Context: pure functions; the caller says what time it is. */
#ifndef AN_CORE_BUCKET_H
#define AN_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct an_rate {
    uint64_t gap_ns;   /* between two; 0: no limit */
    uint64_t slack_ns; /* what they may be ahead of that */
};

/* Zeroed: full. */
struct an_bucket {
    uint64_t full_ns; /* when it will be; of the caller's monotonic clock */
};

enum { AN_BUCKET_MS_NS = 1000000, AN_BUCKET_S_NS = 1000000000 };

/* per_s 0: no limit. burst: at once; 0 counts as 1. */
static inline struct an_rate
an_rate_of(uint32_t per_s, uint64_t burst)
{
    struct an_rate rate = {0, 0};

    if (per_s > 0) {
        rate.gap_ns = per_s > AN_BUCKET_S_NS ? 1 : AN_BUCKET_S_NS / per_s;
        rate.slack_ns = (burst > 0 ? burst - 1 : 0) * rate.gap_ns;
    }
    return rate;
}

/* 0: one may be taken now. Else in how many ms, at least 1. */
static inline uint32_t
an_bucket_wait_ms(const struct an_bucket *bucket, const struct an_rate *rate,
                  uint64_t now_ms)
{
    uint64_t soonest_ns = now_ms * AN_BUCKET_MS_NS + rate->slack_ns;

    if (rate->gap_ns == 0 || bucket->full_ns <= soonest_ns) {
        return 0;
    }
    return (uint32_t)((bucket->full_ns - soonest_ns + AN_BUCKET_MS_NS - 1) /
                      AN_BUCKET_MS_NS);
}

/* Takes one that there is. */
static inline void
an_bucket_take(struct an_bucket *bucket, const struct an_rate *rate, uint64_t now_ms)
{
    uint64_t now_ns = now_ms * AN_BUCKET_MS_NS;

    bucket->full_ns =
        (bucket->full_ns > now_ns ? bucket->full_ns : now_ns) + rate->gap_ns;
}

#endif
