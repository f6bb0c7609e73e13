#include "proto/rows.h"
#include "proto/bytes.h"
#include <string.h>

static uint8_t *
head(uint8_t *out, uint16_t slot, char table)
{
    an_put_u16(out, slot);
    out[2] = (uint8_t)table;
    return out + 3;
}

static uint8_t *
put_bytes(uint8_t *at, const uint8_t *data, size_t len)
{
    if (len > 0) {
        memcpy(at, data, len);
    }
    return at + len;
}

static uint8_t *
put_number(uint8_t *at, uint64_t v)
{
    an_put_u64(at, v);
    return at + 8;
}

struct an_conv
an_conv_direct(uint64_t a, uint64_t b)
{
    struct an_conv conv;

    conv.bytes[0] = 'D';
    an_put_u64(conv.bytes + 1, a < b ? a : b);
    an_put_u64(conv.bytes + 9, a < b ? b : a);
    return conv;
}

bool
an_conv_get(struct an_conv *conv, const uint8_t *data, size_t len)
{
    if (len != AN_CONV_LEN || data[0] != 'D' ||
        an_get_u64(data + 1) > an_get_u64(data + 9)) {
        return false;
    }
    memcpy(conv->bytes, data, AN_CONV_LEN);
    return true;
}

void
an_conv_users(const struct an_conv *conv, uint64_t *low, uint64_t *high)
{
    *low = an_get_u64(conv->bytes + 1);
    *high = an_get_u64(conv->bytes + 9);
}

size_t
an_row_conversation(uint8_t *out, uint16_t slot, const struct an_conv *conv)
{
    uint8_t *at = put_bytes(head(out, slot, 'c'), conv->bytes, AN_CONV_LEN);

    return (size_t)(at - out);
}

size_t
an_row_message(uint8_t *out, uint16_t slot, const struct an_conv *conv, uint64_t seq)
{
    uint8_t *at = put_bytes(head(out, slot, 'm'), conv->bytes, AN_CONV_LEN);

    return (size_t)(put_number(at, seq) - out);
}

size_t
an_row_delivered(uint8_t *out, uint16_t slot, const struct an_conv *conv, uint64_t user)
{
    uint8_t *at = put_bytes(head(out, slot, 'v'), conv->bytes, AN_CONV_LEN);

    return (size_t)(put_number(at, user) - out);
}

size_t
an_row_dedupe(uint8_t *out, uint16_t slot, const uint8_t client_msg_id[16],
              uint64_t sender, const struct an_conv *conv)
{
    uint8_t *at = put_bytes(head(out, slot, 'd'), client_msg_id, 16);

    at = put_bytes(put_number(at, sender), conv->bytes, AN_CONV_LEN);
    return (size_t)(at - out);
}

size_t
an_row_user(uint8_t *out, uint16_t slot, uint64_t user)
{
    return (size_t)(put_number(head(out, slot, 'u'), user) - out);
}

size_t
an_row_inbox_head(uint8_t *out, uint16_t slot, uint64_t user)
{
    return (size_t)(put_number(head(out, slot, 'h'), user) - out);
}

size_t
an_row_inbox(uint8_t *out, uint16_t slot, uint64_t user, uint64_t seq)
{
    return (size_t)(put_number(put_number(head(out, slot, 'i'), user), seq) - out);
}

size_t
an_row_device(uint8_t *out, uint16_t slot, uint64_t user, const uint8_t *name,
              size_t name_len)
{
    uint8_t *at = put_number(head(out, slot, 'g'), user);

    return (size_t)(put_bytes(at, name, name_len) - out);
}

size_t
an_row_account(uint8_t *out, uint16_t slot, uint64_t user)
{
    return (size_t)(put_number(head(out, slot, 'a'), user) - out);
}

size_t
an_row_device_session(uint8_t *out, uint16_t slot, uint64_t user, const uint8_t *name,
                      size_t name_len)
{
    uint8_t *at = put_number(head(out, slot, 'p'), user);

    return (size_t)(put_bytes(at, name, name_len) - out);
}

size_t
an_row_directory(uint8_t *out, uint16_t slot, const uint8_t *app, size_t app_len,
                 const uint8_t *name, size_t name_len)
{
    uint8_t *at = put_bytes(head(out, slot, 'n'), app, app_len);

    *at++ = 0;
    return (size_t)(put_bytes(at, name, name_len) - out);
}

size_t
an_row_slot(uint8_t *out, uint16_t slot)
{
    return (size_t)(head(out, slot, 's') - out);
}

size_t
an_row_outgoing(uint8_t *out, uint16_t home, uint16_t slot, uint64_t number)
{
    uint8_t *at = head(out, home, 'o');

    an_put_u16(at, slot);
    return (size_t)(put_number(at + 2, number) - out);
}

size_t
an_row_mark(uint8_t *out, uint16_t slot, uint16_t source)
{
    uint8_t *at = head(out, slot, 'w');

    an_put_u16(at, source);
    return (size_t)(at + 2 - out);
}

size_t
an_row_register(uint8_t *out, uint16_t slot, const uint8_t *name, size_t name_len)
{
    return (size_t)(put_bytes(head(out, slot, 'z'), name, name_len) - out);
}
