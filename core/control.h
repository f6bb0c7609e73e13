/* Asks a running node's text endpoint, as `nngcat --req` does. Blocking: for command line
 * programs. */
#ifndef AN_CORE_CONTROL_H
#define AN_CORE_CONTROL_H

#include "core/err.h"
#include <stdint.h>

/* *out: the answer, terminated, the caller's to free(). AN_ERR_UNAVAILABLE: nobody
 * listens there. AN_ERR_TIMEOUT, AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err an_control_ask(char **out, const char *url, const char *words,
                                       uint32_t timeout_ms);

#endif
