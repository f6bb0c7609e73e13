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
