/* The HTTP request that opens a WebSocket (RFC 6455, section 4.2), judged; no sockets.
 *
 * Context: pure functions. */
#ifndef AN_ACTORS_GATE_HTTP_H
#define AN_ACTORS_GATE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GATE_HTTP_HEAD_MAX = 8192, /* of a request; browsers send some 500 bytes */
    GATE_HTTP_ANSWER_MAX = 1024,
};

/* The bytes of the head, its empty line included, when it is whole; 0: not yet. */
size_t gate_http_head_len(const uint8_t *data, size_t len);
/* Answers a whole head: *len bytes into out, and whether the WebSocket is open; *json: in
 * the JSON form. origins: what pages may connect: "*", or some with commas between. */
bool gate_http_answer(const uint8_t *head, size_t head_len, const char *origins,
                      char out[GATE_HTTP_ANSWER_MAX], size_t *len, bool *json);
/* The same for a head that is too long. */
void gate_http_too_long(char out[GATE_HTTP_ANSWER_MAX], size_t *len);

#endif
