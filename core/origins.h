/* Lists of web origins (RFC 6454: SCHEME://HOST or SCHEME://HOST:PORT), as the
 * configuration has them: separated by commas and spaces, "*" is every origin. Both doors
 * that browsers come to ask the same question of theirs. Pure, thread safe. */
#ifndef AN_CORE_ORIGINS_H
#define AN_CORE_ORIGINS_H

#include <stdbool.h>
#include <stddef.h>

#define AN_ORIGINS_APART ", " /* the bytes that separate them */

/* Whether the origin, len bytes as a browser said it, is in the list. Letters of any
 * case, as in schemes and hosts. */
bool an_origins_list(const char *list, const char *origin, size_t len);

#endif
