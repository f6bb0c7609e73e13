#include "core/rng.h"
#include <assert.h>

static uint64_t
rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void
an_rng_seed(struct an_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        rng->s[i] = z ^ z >> 31;
    }
}

uint64_t
an_rng_next(struct an_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t out = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

uint64_t
an_rng_below(struct an_rng *rng, uint64_t bound)
{
    uint64_t floor;

    assert(bound > 0);
    floor = (0 - bound) % bound; /* reject the uneven head, so that all are equal */
    for (;;) {
        uint64_t x = an_rng_next(rng);
        if (x >= floor) {
            return x % bound;
        }
    }
}
