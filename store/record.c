/* Encoding and decoding of log records. */
#include "store/record.h"

#include "store/bytes.h"
#include "store/crc32c.h"
#include <assert.h>
#include <string.h>

static const char segment_magic[8] = {'A', 'N', 'S', 'R', 'L', 'O', 'G', '\n'};

uint8_t *
record_put_row(uint8_t *out, const struct engine_row *row)
{
    assert(row->op == ENGINE_PUT || row->op == ENGINE_DELETE);
    assert(row->key.len >= 2 && row->key.len <= ENGINE_KEY_LEN_MAX);
    assert(row->value.len <= ENGINE_VALUE_LEN_MAX);
    assert(row->op == ENGINE_PUT || row->value.len == 0);
    out[0] = (uint8_t)row->op;
    out[1] = (uint8_t)row->key.len;
    put_le32(out + 2, (uint32_t)row->value.len);
    out += RECORD_ROW_HEAD_LEN;
    memcpy(out, row->key.data, row->key.len);
    out += row->key.len;
    if (row->value.len > 0) {
        memcpy(out, row->value.data, row->value.len);
    }
    return out + row->value.len;
}

bool
record_get_row(const uint8_t **at, const uint8_t *end, struct record_row *out)
{
    const uint8_t *row = *at;

    if ((size_t)(end - row) < RECORD_ROW_LEN_MIN) {
        return false;
    }
    size_t key_len = row[1];
    size_t value_len = get_le32(row + 2);
    if ((row[0] != ENGINE_PUT && row[0] != ENGINE_DELETE) || key_len < 2 ||
        value_len > ENGINE_VALUE_LEN_MAX || (row[0] == ENGINE_DELETE && value_len != 0) ||
        (size_t)(end - row) < RECORD_ROW_HEAD_LEN + key_len + value_len) {
        return false;
    }
    out->op = row[0] == ENGINE_PUT ? ENGINE_PUT : ENGINE_DELETE;
    out->key = (struct engine_blob){row + RECORD_ROW_HEAD_LEN, key_len};
    out->value = (struct engine_blob){row + RECORD_ROW_HEAD_LEN + key_len, value_len};
    *at = row + RECORD_ROW_HEAD_LEN + key_len + value_len;
    return true;
}

struct record_row
record_row_trusted(const uint8_t *row)
{
    size_t key_len = row[1];
    const uint8_t *key = row + RECORD_ROW_HEAD_LEN;

    return (struct record_row){.op = row[0] == ENGINE_PUT ? ENGINE_PUT : ENGINE_DELETE,
                               .key = {key, key_len},
                               .value = {key + key_len, get_le32(row + 2)}};
}

bool
record_body_valid(const uint8_t *body, size_t body_len, uint32_t row_count)
{
    const uint8_t *at = body;
    struct record_row row;

    for (uint32_t i = 0; i < row_count; i++) {
        if (!record_get_row(&at, body + body_len, &row)) {
            return false;
        }
    }
    return at == body + body_len;
}

/* Everything behind the checksum is under it: length, rows, position and body. */
static uint32_t
record_crc(const uint8_t *buf, size_t body_len, const uint8_t salt[STORE_SALT_LEN])
{
    uint32_t crc = crc32c(0, salt, STORE_SALT_LEN);
    return crc32c(crc, buf + 8, RECORD_HEADER_LEN - 8 + body_len);
}

void
record_seal(uint8_t *buf, size_t body_len, uint32_t row_count, uint64_t position,
            const uint8_t salt[STORE_SALT_LEN])
{
    put_le32(buf, RECORD_MAGIC);
    put_le32(buf + 8, (uint32_t)body_len);
    put_le32(buf + 12, row_count);
    put_le64(buf + 16, position);
    put_le32(buf + 4, record_crc(buf, body_len, salt));
    size_t end = RECORD_HEADER_LEN + body_len;
    memset(buf + end, 0, record_len(body_len) - end);
}

bool
record_get_head(const uint8_t *buf, struct record_head *out)
{
    if (get_le32(buf) != RECORD_MAGIC) {
        return false;
    }
    *out = (struct record_head){.crc = get_le32(buf + 4),
                                .body_len = get_le32(buf + 8),
                                .row_count = get_le32(buf + 12),
                                .position = get_le64(buf + 16)};
    return true;
}

bool
record_crc_valid(const uint8_t *buf, const struct record_head *head,
                 const uint8_t salt[STORE_SALT_LEN])
{
    return record_crc(buf, head->body_len, salt) == head->crc;
}

/* magic[8] format[4] checksum[4] salt[8], then zeros. */
void
segment_put_header(uint8_t out[SEGMENT_HEADER_LEN], const uint8_t salt[STORE_SALT_LEN])
{
    memset(out, 0, SEGMENT_HEADER_LEN);
    memcpy(out, segment_magic, sizeof segment_magic);
    put_le32(out + 8, STORE_FORMAT);
    memcpy(out + 16, salt, STORE_SALT_LEN);
    put_le32(out + 12, crc32c(crc32c(0, out, 12), salt, STORE_SALT_LEN));
}

enum an_err
segment_check_header(const uint8_t in[SEGMENT_HEADER_LEN],
                     const uint8_t salt[STORE_SALT_LEN])
{
    uint32_t crc = crc32c(crc32c(0, in, 12), in + 16, STORE_SALT_LEN);

    if (memcmp(in, segment_magic, sizeof segment_magic) != 0 ||
        get_le32(in + 12) != crc) {
        return AN_ERR_CORRUPT;
    }
    if (get_le32(in + 8) != STORE_FORMAT || memcmp(in + 16, salt, STORE_SALT_LEN) != 0) {
        return AN_ERR_CONFIG;
    }
    return AN_OK;
}
