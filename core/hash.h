/* Hashes of what strangers choose (SipHash-2-4): without the key nobody can aim at a
 * place of a table.
 *
 * Context: pure functions. */
#ifndef AN_CORE_HASH_H
#define AN_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { AN_HASH_KEY_LEN = 16 };

struct an_hash_key {
    uint8_t bytes[AN_HASH_KEY_LEN];
};

/* Any seed will do; the same seed gives the same hashes. */
void an_hash_seed(struct an_hash_key *key, uint64_t seed);
uint64_t an_hash(const struct an_hash_key *key, const void *data, size_t len);

#endif
