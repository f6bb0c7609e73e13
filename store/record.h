/* The bytes of the log: a segment's header, a record's header, and the rows in its body.
 * docs/storage.md has the layout byte by byte. All integers little-endian.
 *
 * The checksum is seeded with the store's salt, random bytes made at creation: nobody who
 * sends messages can put bytes into a body that would pass for a record. */
#ifndef AN_STORE_RECORD_H
#define AN_STORE_RECORD_H

#include "core/err.h"
#include "store/engine.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_FORMAT        1u
#define STORE_SALT_LEN      8u
#define SEGMENT_HEADER_LEN  4096u /* a block of its own: no append ever rewrites it */
#define RECORD_HEADER_LEN   24u
#define RECORD_MAGIC        0x31524e41u /* "ANR1" */
#define RECORD_ALIGN        8u
#define RECORD_ROW_LEN_MIN  7u /* operation, key length, value length, a key byte */
#define RECORD_ROW_HEAD_LEN 6u

/* A row as it lies in a body: pointers into the body. */
struct record_row {
    enum engine_op op;
    struct engine_blob key;
    struct engine_blob value;
};

/* A record's header, taken apart. */
struct record_head {
    uint32_t body_len;
    uint32_t row_count;
    uint64_t position;
    uint32_t crc;
};

/* Header, body and padding of a record whose body has body_len bytes. */
static inline size_t
record_len(size_t body_len)
{
    return (RECORD_HEADER_LEN + body_len + RECORD_ALIGN - 1) &
           ~(size_t)(RECORD_ALIGN - 1);
}

static inline size_t
record_row_len(const struct engine_row *row)
{
    return RECORD_ROW_HEAD_LEN + row->key.len + row->value.len;
}

/* Writes one row at out, which has record_row_len bytes; returns the byte behind it. */
uint8_t *record_put_row(uint8_t *out, const struct engine_row *row);
/* Takes the row at *at apart and moves *at behind it. False if it does not lie whole and
 * well-formed before end. */
bool record_get_row(const uint8_t **at, const uint8_t *end, struct record_row *out);
/* The same for bytes that record_get_row accepted before. */
struct record_row record_row_trusted(const uint8_t *row);
/* Are these bytes exactly row_count well-formed rows? */
bool record_body_valid(const uint8_t *body, size_t body_len, uint32_t row_count);

/* Completes a record: buf holds record_len(body_len) bytes with the body in place behind
 * the header; fills in header and padding. */
void record_seal(uint8_t *buf, size_t body_len, uint32_t row_count, uint64_t position,
                 const uint8_t salt[STORE_SALT_LEN]);
/* False if these RECORD_HEADER_LEN bytes are no record's header. Proves nothing about
 * the body yet. */
bool record_get_head(const uint8_t *buf, struct record_head *out);
/* Does the checksum agree? buf holds the header and its body_len bytes of body. */
bool record_crc_valid(const uint8_t *buf, const struct record_head *head,
                      const uint8_t salt[STORE_SALT_LEN]);

/* The block every segment begins with. */
void segment_put_header(uint8_t out[SEGMENT_HEADER_LEN],
                        const uint8_t salt[STORE_SALT_LEN]);
/* AN_ERR_CORRUPT if it is not a segment's header, AN_ERR_CONFIG if another store's or
 * another format's. */
AN_MUST_USE enum an_err segment_check_header(const uint8_t in[SEGMENT_HEADER_LEN],
                                             const uint8_t salt[STORE_SALT_LEN]);

#endif
