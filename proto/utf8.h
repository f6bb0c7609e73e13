/* Is it well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most
 * U+10FFFF)? NUL is allowed. Thread safe. */
#ifndef AN_PROTO_UTF8_H
#define AN_PROTO_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* data may be NULL only with len 0; no bytes are valid. */
bool an_utf8_valid(const uint8_t *data, size_t len);

#endif
