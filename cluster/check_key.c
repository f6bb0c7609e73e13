/* Keys as docs/storage.md describes them, taken apart from the description and not by the
 * code that makes them. */
#include "cluster/check_priv.h"
#include "proto/utf8.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 64, CONV_BYTES = 17, SLOTS = 1024 };

static uint64_t
number(const uint8_t *at, size_t len)
{
    uint64_t out = 0;

    for (size_t i = 0; i < len; i++) {
        out = out << 8 | at[i];
    }
    return out;
}

bool
check_conv_get(const uint8_t *data, size_t len, uint64_t *low, uint64_t *high)
{
    if (len != CONV_BYTES || data[0] != 'D') {
        return false;
    }
    *low = number(data + 1, 8);
    *high = number(data + 9, 8);
    return *low <= *high && *low != 0;
}

bool
check_name(const uint8_t *name, size_t len)
{
    if (len == 0 || len > NAME_MAX_LEN || !an_utf8_valid(name, len)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] <= ' ' || name[i] == 0x7f || name[i] == '/' || name[i] == '"' ||
            (name[i] == 0xc2 && name[i + 1] < 0xa0)) {
            return false;
        }
    }
    return true;
}

/* What follows the table's letter: how long, and where the parts lie. */
static const char *
conversation_key(struct check_key *key, const uint8_t *rest, size_t len, size_t behind)
{
    if (len != CONV_BYTES + behind) {
        return "a length that no such key has";
    }
    return check_conv_get(rest, CONV_BYTES, &key->low, &key->high)
               ? NULL
               : "a malformed conversation in its key";
}

static const char *
dedupe_key(struct check_key *key, const uint8_t *rest, size_t len)
{
    if (len != 16 + 8 + CONV_BYTES) {
        return "a length that no such key has";
    }
    key->id = rest;
    key->user = number(rest + 16, 8);
    return check_conv_get(rest + 24, CONV_BYTES, &key->low, &key->high)
               ? NULL
               : "a malformed conversation in its key";
}

static const char *
user_key(struct check_key *key, const uint8_t *rest, size_t len, size_t behind)
{
    if (len != 8 + behind) {
        return "a length that no such key has";
    }
    key->user = number(rest, 8);
    key->seq = behind == 8 ? number(rest + 8, 8) : 0;
    return key->user != 0 ? NULL : "user 0 in its key";
}

static const char *
name_key(struct check_key *key, const uint8_t *name, size_t len, const char *wrong)
{
    key->name = name;
    key->name_len = len;
    return check_name(name, len) ? NULL : wrong;
}

static const char *
directory_key(struct check_key *key, const uint8_t *rest, size_t len)
{
    const uint8_t *end = memchr(rest, 0, len);

    if (end == NULL || !check_name(rest, (size_t)(end - rest))) {
        return "a malformed app name in its key";
    }
    key->app = rest;
    key->app_len = (size_t)(end - rest);
    return name_key(key, end + 1, len - key->app_len - 1,
                    "a malformed user name in its key");
}

const char *
check_key_get(struct check_key *key, const uint8_t *data, size_t len)
{
    const uint8_t *rest = data + 3;
    const char *wrong;

    *key = (struct check_key){0};
    if (len < 3) {
        return "a key too short for slot and table";
    }
    key->slot = (uint16_t)number(data, 2);
    key->table = (char)data[2];
    len -= 3;
    switch (key->table) {
    case 'c':
        return conversation_key(key, rest, len, 0);
    case 'm':
        wrong = conversation_key(key, rest, len, 8);
        key->seq = wrong == NULL ? number(rest + CONV_BYTES, 8) : 0;
        return wrong;
    case 'v':
        wrong = conversation_key(key, rest, len, 8);
        key->user = wrong == NULL ? number(rest + CONV_BYTES, 8) : 0;
        return wrong;
    case 'd':
        return dedupe_key(key, rest, len);
    case 'a':
    case 'u':
    case 'h':
        return user_key(key, rest, len, 0);
    case 'i':
        return user_key(key, rest, len, 8);
    case 'g':
    case 'p':
        if (len < 8) {
            return "a length that no such key has";
        }
        wrong = user_key(key, rest, 8, 0);
        return wrong != NULL ? wrong
                             : name_key(key, rest + 8, len - 8,
                                        "a malformed device name in its key");
    case 'n':
        return directory_key(key, rest, len);
    case 'o':
        key->other = len == 10 ? (uint32_t)number(rest, 2) : 0;
        key->seq = len == 10 ? number(rest + 2, 8) : 0;
        return len == 10 ? NULL : "a length that no such key has";
    case 'w':
        key->other = len == 2 ? (uint32_t)number(rest, 2) : 0;
        return len == 2 ? NULL : "a length that no such key has";
    case 's':
        return len == 0 ? NULL : "a length that no such key has";
    case 'z':
        key->name = rest;
        key->name_len = len;
        return len > 0 && len <= NAME_MAX_LEN ? NULL : "a malformed name in its key";
    default:
        return "a table that is not known";
    }
}

static uint16_t
slot_of(const uint8_t *data, size_t len)
{
    static const uint8_t zero[crypto_shorthash_KEYBYTES];
    uint8_t out[crypto_shorthash_BYTES];
    uint64_t v = 0;

    crypto_shorthash(out, data, len, zero);
    for (size_t i = 0; i < sizeof(out); i++) {
        v |= (uint64_t)out[i] << 8 * i;
    }
    return (uint16_t)(v % SLOTS);
}

static size_t
put(uint8_t *out, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++) {
        out[i] = (uint8_t)(v >> (56 - 8 * i));
    }
    return 8;
}

uint16_t
check_slot_user(uint64_t user)
{
    uint8_t text[9] = {'U'};

    put(text + 1, user);
    return slot_of(text, sizeof(text));
}

uint16_t
check_slot_conv(uint64_t low, uint64_t high)
{
    uint8_t text[CONV_BYTES] = {'D'};
    size_t len = 1;

    len += put(text + len, low);
    len += put(text + len, high);
    return slot_of(text, len);
}

uint16_t
check_slot_name(const uint8_t *app, size_t app_len, const uint8_t *name, size_t name_len)
{
    uint8_t text[2 * NAME_MAX_LEN + 2] = {'N'};

    memcpy(text + 1, app, app_len);
    text[1 + app_len] = 0;
    memcpy(text + 2 + app_len, name, name_len);
    return slot_of(text, 2 + app_len + name_len);
}

/* A register called NAME@SLOT, in decimal, lies where its name says; any other where the
 * hash says. */
static uint16_t
slot_register(const uint8_t *name, size_t len)
{
    uint8_t text[NAME_MAX_LEN + 1] = {'Z'};
    const uint8_t *at = memrchr(name, '@', len);
    size_t digits = at == NULL ? 0 : len - 1 - (size_t)(at - name);
    char number[5] = "", canonical[12];
    unsigned slot;

    if (digits > 0 && digits <= 4 && at > name) {
        memcpy(number, at + 1, digits);
        slot = (unsigned)strtoul(number, NULL, 10);
        snprintf(canonical, sizeof(canonical), "%u", slot);
        if (slot < SLOTS && strcmp(number, canonical) == 0) {
            return (uint16_t)slot;
        }
    }
    memcpy(text + 1, name, len);
    return slot_of(text, 1 + len);
}

int
check_key_slot(const struct check_key *key)
{
    switch (key->table) {
    case 'c':
    case 'm':
    case 'v':
    case 'd':
        return check_slot_conv(key->low, key->high);
    case 'a':
    case 'u':
    case 'h':
    case 'i':
    case 'g':
    case 'p':
        return check_slot_user(key->user);
    case 'n':
        return check_slot_name(key->app, key->app_len, key->name, key->name_len);
    case 'z':
        return slot_register(key->name, key->name_len);
    default:
        return -1;
    }
}
