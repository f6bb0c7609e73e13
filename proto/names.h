/* What a user, device or app may be called: 1..AN_NAME_LEN_MAX bytes of valid UTF-8, no
 * control characters (C0, DEL, C1), no space, '/' or '"'. Shared by server and clients so
 * that both refuse the same names. Thread safe. */
#ifndef AN_PROTO_NAMES_H
#define AN_PROTO_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name may hold any bytes; NULL only with len 0. */
bool an_name_valid(const uint8_t *name, size_t len);

#endif
