/* A request of the api's door, as the actor sees it. The door has parsed HTTP and read
 * the whole body; what path, query and body mean is the actor's.
 *
 * Context: read only; belongs to the door, until it was answered. */
#ifndef AN_CORE_HTTP_H
#define AN_CORE_HTTP_H

#include <stddef.h>
#include <stdint.h>

/* X(method) */
#define AN_HTTP_METHODS(X) X(GET) X(HEAD) X(POST) X(PUT) X(PATCH) X(DELETE)

#define AN_HTTP_METHOD_ENUM(method) AN_HTTP_##method,
enum an_http_method { AN_HTTP_METHODS(AN_HTTP_METHOD_ENUM) AN_HTTP_OTHER };
#undef AN_HTTP_METHOD_ENUM

/* Headers that the actor looks at: X(field, name) */
#define AN_HTTP_HEADERS(X)                                                               \
    X(content_type, "Content-Type")                                                      \
    X(authorization, "Authorization")                                                    \
    X(key, "Anser-Key")                                                                  \
    X(time, "Anser-Time")                                                                \
    X(nonce, "Anser-Nonce")                                                              \
    X(signature, "Anser-Signature")

enum { AN_HTTP_FROM_MAX = 48 };

#define AN_HTTP_HEADER_FIELD(field, name) const char *field; /* NULL: not sent */
struct an_http_request {
    uint64_t id; /* never that of another request in a door's life */
    enum an_http_method method;
    const char *method_name; /* as it was sent */
    const char *uri;         /* path and query, as they were sent */
    AN_HTTP_HEADERS(AN_HTTP_HEADER_FIELD)
    const uint8_t *body;
    size_t body_len;
    char from[AN_HTTP_FROM_MAX]; /* the peer's address, a number without a port */
};
#undef AN_HTTP_HEADER_FIELD

#endif
