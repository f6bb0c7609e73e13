#include "proto/names.h"
#include "proto/utf8.h"
#include <assert.h>
#include <string.h>

enum { NAME_LEN_MAX = 64 }; /* core/limits.h: AN_NAME_LEN_MAX, compared in core/slot.c */

bool
an_name_valid(const uint8_t *name, size_t len)
{
    if (len == 0 || len > NAME_LEN_MAX || !an_utf8_valid(name, len)) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] <= ' ' || name[i] == 0x7F || name[i] == '/' || name[i] == '"') {
            return false;
        }
        if (name[i] == 0xC2 && name[i + 1] < 0xA0) { /* U+0080..U+009F */
            return false;
        }
    }
    return true;
}

struct range {
    uint32_t from, to;
};

static const struct range unseen[] = {{0x200B, 0x200F},
                                      {0x2028, 0x202E},
                                      {0x2060, 0x2064},
                                      {0x2066, 0x2069},
                                      {0xFEFF, 0xFEFF}};
static const struct range spaces[] = {{0xA0, 0xA0},     {0x1680, 0x1680},
                                      {0x2000, 0x200A}, {0x202F, 0x202F},
                                      {0x205F, 0x205F}, {0x3000, 0x3000}};
static const struct range unwanted[] = {
    {0x00, 0x1F}, {0x7F, 0x9F}, {0x202A, 0x202E}, {0x2066, 0x2069}};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool
is_in(uint32_t code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (code >= ranges[i].from && code <= ranges[i].to) {
            return true;
        }
    }
    return false;
}

/* The character at *at, which goes behind it. Of valid UTF-8. */
static uint32_t
take_code(const uint8_t **at)
{
    const uint8_t first = *(*at)++;
    uint32_t code = first < 0x80   ? first
                    : first < 0xE0 ? first & 0x1Fu
                    : first < 0xF0 ? first & 0x0Fu
                                   : first & 0x07u;
    unsigned more = first < 0xC0 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;

    for (; more > 0; more--) {
        code = code << 6 | (*(*at)++ & 0x3Fu);
    }
    return code;
}

bool
an_name_new(const uint8_t *name, size_t len)
{
    if (!an_name_valid(name, len)) {
        return false;
    }
    for (const uint8_t *at = name, *end = name + len; at < end;) {
        const bool first = at == name;
        uint32_t code = take_code(&at);

        if (is_in(code, unseen, COUNT_OF(unseen)) ||
            ((first || at == end) && is_in(code, spaces, COUNT_OF(spaces)))) {
            return false;
        }
    }
    return true;
}

bool
an_nick_valid(const uint8_t *nick, size_t len)
{
    if (!an_utf8_valid(nick, len)) {
        return false;
    }
    for (const uint8_t *at = nick, *end = nick + len; at < end;) {
        if (is_in(take_code(&at), unwanted, COUNT_OF(unwanted))) {
            return false;
        }
    }
    return true;
}

#define PLATFORM_NAME(name) #name,
static const char *const platforms[] = {AN_PLATFORMS(PLATFORM_NAME)};
#undef PLATFORM_NAME

unsigned
an_platform_find(const uint8_t *platform, size_t len)
{
    unsigned i = 0;

    while (i < AN_PLATFORM_COUNT &&
           (strlen(platforms[i]) != len || memcmp(platforms[i], platform, len) != 0)) {
        i++;
    }
    return i;
}

const char *
an_platform_name(unsigned place)
{
    assert(place < AN_PLATFORM_COUNT);
    return platforms[place];
}
