/* Errors as HTTP says them: the status of an an_err, and the body
 * {"error":{"code":NUMBER,"name":"...","message":"..."}}.
 *
 * Context: pure functions. */
#ifndef AN_ACTORS_API_ERROR_H
#define AN_ACTORS_API_ERROR_H

#include "core/err.h"
#include <stddef.h>

enum { API_ERROR_JSON_MAX = 512 };

/* By category, but for a few that HTTP has a number of its own for. AN_OK: 200. */
unsigned api_error_status(enum an_err err);
/* The body, ended by a NUL; its length. message: NULL for the table's sentence; it must
 * need no escaping. */
size_t api_error_json(enum an_err err, const char *message, char out[API_ERROR_JSON_MAX]);

#endif
