/* A seeded generator for actors (xoshiro256**, Blackman and Vigna 2018, seeded through
 * splitmix64): the runner hands in the seed, so a simulation repeats. Not for secrets. */
#ifndef AN_CORE_RNG_H
#define AN_CORE_RNG_H

#include <stdint.h>

struct an_rng {
    uint64_t s[4];
};

/* Any seed will do; the same seed gives the same numbers. */
void an_rng_seed(struct an_rng *rng, uint64_t seed);
uint64_t an_rng_next(struct an_rng *rng);
/* Uniform in 0..bound-1; bound above 0. */
uint64_t an_rng_below(struct an_rng *rng, uint64_t bound);

#endif
