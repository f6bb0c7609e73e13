#include "core/slot.h"
#include "core/limits.h"
#include "proto/bytes.h"
#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

_Static_assert(AN_NAME_LEN_MAX == 64, "proto/names.c uses the same number");
_Static_assert(crypto_shorthash_BYTES == 8, "SipHash-2-4 gives 64 bits");

static uint16_t
slot_of(const uint8_t *data, size_t len)
{
    static const uint8_t key[crypto_shorthash_KEYBYTES];
    uint8_t out[crypto_shorthash_BYTES];
    uint64_t v = 0;

    crypto_shorthash(out, data, len, key);
    for (size_t i = sizeof(out); i > 0; i--) {
        v = v << 8 | out[i - 1];
    }
    return (uint16_t)(v % AN_SLOTS);
}

uint16_t
an_slot_conv(const struct an_conv *conv)
{
    return slot_of(conv->bytes, AN_CONV_LEN);
}

uint16_t
an_slot_user(uint64_t user)
{
    uint8_t buf[9] = {'U'};

    an_put_u64(buf + 1, user);
    return slot_of(buf, sizeof(buf));
}

uint16_t
an_slot_name(const uint8_t *app, size_t app_len, const uint8_t *name, size_t name_len)
{
    uint8_t buf[2 * AN_NAME_LEN_MAX + 2] = {'N'};

    assert(app_len <= AN_NAME_LEN_MAX);
    assert(name_len <= AN_NAME_LEN_MAX);
    memcpy(buf + 1, app, app_len);
    buf[1 + app_len] = 0;
    memcpy(buf + 2 + app_len, name, name_len);
    return slot_of(buf, 2 + app_len + name_len);
}

/* NAME@SLOT, decimal without leading zeros. */
static bool
names_its_slot(const uint8_t *name, size_t len, uint16_t *slot)
{
    size_t at = len;
    unsigned number = 0;

    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9') {
        at--;
    }
    if (at == len || len - at > 4 || at < 2 || name[at - 1] != '@' ||
        (name[at] == '0' && len - at > 1)) {
        return false;
    }
    for (; at < len; at++) {
        number = number * 10 + (unsigned)(name[at] - '0');
    }
    *slot = (uint16_t)number;
    return number < AN_SLOTS;
}

uint16_t
an_slot_register(const uint8_t *name, size_t name_len)
{
    uint8_t buf[AN_NAME_LEN_MAX + 1] = {'Z'};
    uint16_t slot;

    assert(name_len <= AN_NAME_LEN_MAX);
    if (names_its_slot(name, name_len, &slot)) {
        return slot;
    }
    memcpy(buf + 1, name, name_len);
    return slot_of(buf, 1 + name_len);
}

uint16_t
an_slot_mark(const uint8_t mark[AN_MARK_LEN])
{
    return (uint16_t)((mark[0] | (unsigned)mark[1] << 8) % AN_SLOTS);
}
