#include "client/cli/histogram.h"

enum { SUB_BITS = 5 };

static size_t
bucket_of(uint64_t us)
{
    unsigned octave = 0;
    size_t at;

    if (us < 1u << SUB_BITS) {
        return (size_t)us;
    }
    octave = 63u - (unsigned)__builtin_clzll(us) - SUB_BITS;
    at = ((size_t)(octave + 1) << SUB_BITS) + (size_t)((us >> octave) & 31);
    return at < HISTOGRAM_BUCKETS ? at : HISTOGRAM_BUCKETS - 1;
}

/* The upper end of a bucket. */
static uint64_t
value_of(size_t bucket)
{
    size_t octave = bucket >> SUB_BITS;
    uint64_t low = bucket & 31;

    return octave == 0 ? low : ((32 + low + 1) << (octave - 1)) - 1;
}

void
histogram_add(struct histogram *h, uint64_t us)
{
    h->buckets[bucket_of(us)]++;
    h->count++;
}

uint64_t
histogram_quantile(const struct histogram *h, double fraction)
{
    uint64_t want = (uint64_t)((double)h->count * fraction);
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (h->buckets[i] > 0 && seen >= want) {
            return value_of(i);
        }
    }
    return 0;
}
