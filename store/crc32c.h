/* CRC-32C (Castagnoli), the checksum of stored records. Thread safe. */
#ifndef AN_STORE_CRC32C_H
#define AN_STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues a checksum: crc32c(crc32c(0, a), b) is the checksum of a and b together.
 * Uses the processor's instruction where there is one. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same by tables alone; what crc32c falls back to, and what tests compare it with. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
