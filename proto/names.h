/* What a user, device or app may be called: 1..AN_NAME_LEN_MAX bytes of valid UTF-8, no
 * control characters (C0, DEL, C1), no space, '/' or '"'. Shared by server and clients so
 * that both refuse the same names. Thread safe. */
#ifndef AN_PROTO_NAMES_H
#define AN_PROTO_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is said to whoever gave another one. */
#define AN_NAME_RULE                                                                     \
    "has to be 1 to 64 bytes of UTF-8 without spaces, slashes, quotes and control "      \
    "characters"

/* name may hold any bytes; NULL only with len 0. */
bool an_name_valid(const uint8_t *name, size_t len);

/* Whether a new account may have that name: a valid one that looks like no other. Without
 * invisible characters and marks of direction (U+200B to U+200F, U+2028 to U+202E, U+2060
 * to U+2064, U+2066 to U+2069, U+FEFF), and without spaces of any kind at its ends.
 * Accounts of before have what they have: not for looking up. */
bool an_name_new(const uint8_t *name, size_t len);
#define AN_NAME_NEW_RULE                                                                 \
    "has to be without invisible characters, marks of direction, and spaces at its ends"

/* Whether text may be shown beside others: valid UTF-8 without control characters (C0,
 * DEL, C1) and without what turns the direction of what follows (U+202A to U+202E, U+2066
 * to U+2069). Joiners stay: emoji and Persian have them. No text is. */
bool an_nick_valid(const uint8_t *nick, size_t len);

/* X(platform) as clients name them. The first is who names none at a gate. */
#define AN_PLATFORMS(X) X(api) X(ios) X(android) X(windows) X(mac) X(linux) X(web)

enum {
#define AN_PLATFORM_COUNT_ONE(name) +1
    AN_PLATFORM_COUNT = 0 AN_PLATFORMS(AN_PLATFORM_COUNT_ONE)
#undef AN_PLATFORM_COUNT_ONE
};

/* Its place in AN_PLATFORMS; AN_PLATFORM_COUNT: none of them. platform may hold any
 * bytes; NULL only with len 0. */
unsigned an_platform_find(const uint8_t *platform, size_t len);
/* The name; place < AN_PLATFORM_COUNT. */
const char *an_platform_name(unsigned place);

#endif
