/* Fixed-width integers in stored bytes. The log is little-endian, keys are big-endian
 * (so that byte order is number order). Shifts, not casts: any alignment, any machine;
 * compilers make one load of each. */
#ifndef AN_STORE_BYTES_H
#define AN_STORE_BYTES_H

#include <stdint.h>

static inline void
put_le32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static inline void
put_le64(uint8_t *out, uint64_t value)
{
    put_le32(out, (uint32_t)value);
    put_le32(out + 4, (uint32_t)(value >> 32));
}

static inline uint32_t
get_le32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
           (uint32_t)in[3] << 24;
}

static inline uint64_t
get_le64(const uint8_t *in)
{
    return (uint64_t)get_le32(in) | (uint64_t)get_le32(in + 4) << 32;
}

static inline uint16_t
get_be16(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}

static inline uint64_t
get_be64(const uint8_t *in)
{
    return (uint64_t)in[0] << 56 | (uint64_t)in[1] << 48 | (uint64_t)in[2] << 40 |
           (uint64_t)in[3] << 32 | (uint64_t)in[4] << 24 | (uint64_t)in[5] << 16 |
           (uint64_t)in[6] << 8 | (uint64_t)in[7];
}

#endif
