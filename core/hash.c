#include "core/hash.h"
#include "core/rng.h"
#include "proto/bytes.h"
#include <sodium.h>

_Static_assert(AN_HASH_KEY_LEN == crypto_shorthash_KEYBYTES,
               "SipHash-2-4 takes 128 bits");
_Static_assert(crypto_shorthash_BYTES == 8, "SipHash-2-4 gives 64 bits");

void
an_hash_seed(struct an_hash_key *key, uint64_t seed)
{
    struct an_rng rng;

    an_rng_seed(&rng, seed);
    an_put_u64(key->bytes, an_rng_next(&rng));
    an_put_u64(key->bytes + 8, an_rng_next(&rng));
}

uint64_t
an_hash(const struct an_hash_key *key, const void *data, size_t len)
{
    uint8_t out[crypto_shorthash_BYTES];

    crypto_shorthash(out, data, len, key->bytes);
    return an_get_u64(out);
}
