/* Big-endian integers in byte strings. */
#ifndef AN_PROTO_BYTES_H
#define AN_PROTO_BYTES_H

#include <stdint.h>

static inline void
an_put_u16(uint8_t *out, uint16_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

static inline void
an_put_u32(uint8_t *out, uint32_t v)
{
    an_put_u16(out, (uint16_t)(v >> 16));
    an_put_u16(out + 2, (uint16_t)v);
}

static inline void
an_put_u64(uint8_t *out, uint64_t v)
{
    an_put_u32(out, (uint32_t)(v >> 32));
    an_put_u32(out + 4, (uint32_t)v);
}

static inline uint16_t
an_get_u16(const uint8_t *in)
{
    return (uint16_t)((unsigned)in[0] << 8 | in[1]);
}

static inline uint32_t
an_get_u32(const uint8_t *in)
{
    return (uint32_t)an_get_u16(in) << 16 | an_get_u16(in + 2);
}

static inline uint64_t
an_get_u64(const uint8_t *in)
{
    return (uint64_t)an_get_u32(in) << 32 | an_get_u32(in + 4);
}

#endif
