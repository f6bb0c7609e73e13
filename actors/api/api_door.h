/* The api's door: HTTP and HTTPS by libmicrohttpd, on threads of its own. Gathers whole
 * requests, hands those under /v1/ and /healthz to the actor (api.h), gives files of the
 * web page and the numbers of /metrics by itself. Slow, silent and greedy clients are
 * bounded here; every other decision is the actor's.
 *
 * Context: see core/door.h. */
#ifndef AN_ACTORS_API_DOOR_H
#define AN_ACTORS_API_DOOR_H

#include "core/door.h"

#define API_DOOR_LISTEN_MAX 8u

struct api_door_cfg {
    /* As core/listen.h reads them. Borrowed, as all texts here, until create returns. */
    const char *listen[API_DOOR_LISTEN_MAX];
    unsigned listen_count;
    /* 0 means the default. */
    uint32_t conns_max;    /* AN_HTTP_CONNS_MAX */
    uint32_t body_len_max; /* AN_HTTP_BODY_LEN_MAX */
    uint32_t request_ms;   /* AN_HTTP_REQUEST_MS */
    uint32_t answer_ms;    /* AN_HTTP_ANSWER_MS */
    uint32_t idle_ms;      /* AN_HTTP_IDLE_MS */
    /* PEM files of what listens with TLS. */
    const char *tls_cert, *tls_key;
    /* Proxies, as core/nets.h reads them: what comes from one of these says in
     * X-Forwarded-For whose it is. NULL: none. */
    const char *proxies;
    /* Of pages elsewhere that may ask, with commas between; "*": any. NULL, "": none. */
    const char *origins;
    const char *web; /* directory of the web page; NULL: there is none */
    /* Prometheus text, to be freed; NULL: not to be had now. May block for a moment.
     * Called on a thread of the door's. */
    char *(*metrics)(void *ctx);
    void *metrics_ctx;
    /* Told what an operator should know; level as in core/log.h. May be NULL. Called on
     * any thread. */
    void (*log)(void *ctx, int level, const char *line);
    void *log_ctx;
};

/* AN_ERR_NO_MEMORY, AN_ERR_CONFIG (an address, a file of TLS), with *why. Binds nothing
 * yet. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err api_door_create(struct an_door **out,
                                        const struct api_door_cfg *cfg, char *why,
                                        size_t why_len);

#endif
