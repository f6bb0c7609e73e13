/* Where clients connect: "tcp://HOST:PORT" and its kin, read and printed the same way by
 * whoever judges an address and by the door that binds it.
 *
 * Context: pure functions. */
#ifndef AN_CORE_LISTEN_H
#define AN_CORE_LISTEN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What an address is covered by. */
enum an_cover { AN_COVER_NONE, AN_COVER_TLS, AN_COVER_NOISE };

/* X(NAME, text, cover, WebSocket, of the api's door) */
#define AN_SCHEMES(X)                                                                    \
    X(TCP, "tcp", NONE, false, false)                                                    \
    X(TLS, "tls", TLS, false, false)                                                     \
    X(WS, "ws", NONE, true, false)                                                       \
    X(WSS, "wss", TLS, true, false)                                                      \
    X(NOISE, "noise", NOISE, false, false)                                               \
    X(HTTP, "http", NONE, false, true)                                                   \
    X(HTTPS, "https", TLS, false, true)

#define AN_SCHEME_ENUM(name, text, cover, web, http) AN_SCHEME_##name,
enum an_scheme { AN_SCHEMES(AN_SCHEME_ENUM) };
#undef AN_SCHEME_ENUM

/* What a listening address may be, for error lines. */
#define AN_LISTEN_FORMS      "tcp://, tls://, noise://, ws:// or wss://HOST:PORT"
#define AN_LISTEN_HTTP_FORMS "http:// or https://HOST:PORT"

enum { AN_LISTEN_TEXT_MAX = 80 }; /* holds any that is printed */

struct an_listen {
    enum an_scheme scheme;
    struct sockaddr_storage at; /* AF_INET or AF_INET6 */
};

/* A gate's: a numeric host ([::1] for IPv6) or localhost, and a port; 0: the system
 * picks. false: it is none, and *out is not to be used. */
bool an_listen_parse(struct an_listen *out, const char *url);
/* The same of an api. */
bool an_listen_parse_http(struct an_listen *out, const char *url);
/* Either of them, http: an api's; when it is none, *why says which setting wants what. */
bool an_listen_read(struct an_listen *out, const char *url, bool http, char *why,
                    size_t why_len);
uint16_t an_listen_port(const struct an_listen *listen);
/* Reached from this machine only. */
bool an_listen_is_local(const struct an_listen *listen);
/* Any address of the machine: 0.0.0.0, [::]. */
bool an_listen_is_any(const struct an_listen *listen);
enum an_cover an_scheme_cover(enum an_scheme scheme);
bool an_scheme_is_web(enum an_scheme scheme);  /* WebSocket */
bool an_scheme_is_http(enum an_scheme scheme); /* the api's */
const char *an_scheme_name(enum an_scheme scheme);
/* "tcp://127.0.0.1:7400"; AN_LISTEN_TEXT_MAX holds it. */
void an_listen_print(const struct an_listen *listen, char *out, size_t len);

#endif
