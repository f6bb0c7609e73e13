/* The inside of the api's door, shared by its files. */
#ifndef AN_ACTORS_API_DOOR_PRIV_H
#define AN_ACTORS_API_DOOR_PRIV_H

#include "actors/api/api_door.h"
#include "actors/api/api_error.h"
#include "core/froms.h"
#include "core/http.h"
#include "core/listen.h"
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>

enum {
    DOOR_LINE_MAX = 512,
    DOOR_PATH_MAX = 1024,
    DOOR_SPARE_CONNS = 64, /* above conns_max, until the oldest have made room */
    DOOR_TICK_MS = 1000,   /* deadlines of connections are looked at this often */
    DOOR_BACKLOG = 511,
    DOOR_SAY_MS = 1000, /* between two lines about the same */
};

struct api_door;

/* What a connection is waited for: each has its deadline. */
enum http_phase {
    HTTP_ASKING,    /* a whole request */
    HTTP_THINKING,  /* us */
    HTTP_ANSWERING, /* the answer to be taken */
    HTTP_IDLE,      /* the next request */
};

/* What an address (/64 of IPv6) has of the door; there while a connection is its. */
struct http_from {
    struct an_from from; /* first */
    uint32_t conns;      /* that are not cut */
    size_t body_bytes;
};

/* A TCP connection; of the door's list while its socket is open. */
struct http_conn {
    struct http_conn *next, **link;
    struct api_door *door;
    int fd;
    enum http_phase phase;
    uint64_t since_ms;
    /* In answers before this one, since the client had taken all there was. */
    uint64_t answered_ms;
    struct http_from *of; /* NULL: nobody's, it counts alone */
    bool cut;             /* told to end */
    uint8_t address[AN_ADDRESS_LEN];
    char from[AN_HTTP_FROM_MAX];
};

/* One request and its answer. Its connection's thread has it, but between the two marked
 * places: from dispatch to resume it is the actor's, or the errand's. */
struct exchange {
    struct an_http_request request; /* first */
    struct api_door *door;
    struct http_conn *conn;
    struct MHD_Connection *connection;
    char *uri;
    uint8_t *body;
    size_t body_len, body_cap;
    enum { EX_NEW, EX_READING, EX_AWAY, EX_BACK } state;
    bool lent;           /* its connection is a proxy's, and its client's for now */
    enum an_err refused; /* while reading: the rest is thrown away */
    struct MHD_Response *response;
    unsigned status;
    struct exchange *next; /* in a queue */
    struct exchange *away_next, **away_link;
};

struct http_queue {
    struct exchange *first, **end;
};

/* X(name, sentence) */
#define API_DOOR_COUNTERS(X)                                                             \
    X(conns_evicted, "HTTP connections closed to make room, of addresses that had most") \
    X(bodies_refused, "HTTP requests refused since there was no room for their bodies")

#define API_DOOR_COUNTER(name, sentence) uint64_t name;
struct http_counters {
    API_DOOR_COUNTERS(API_DOOR_COUNTER)
};
#undef API_DOOR_COUNTER

/* A line of the log: at most one a second. */
struct http_said {
    uint64_t at_ms; /* the last; 0: none yet */
    uint64_t unsaid;
};

struct http_listener {
    struct an_listen at;
    char address[AN_LISTEN_TEXT_MAX];
    int fd;     /* -1: not bound */
    bool quiet; /* accepts no more; the socket is ours again */
    struct MHD_Daemon *daemon;
};

struct api_door {
    struct an_door door; /* first */
    struct api_door_cfg cfg;
    struct an_door_host host;
    struct an_msg msg; /* the one that is delivered */
    struct http_listener listeners[API_DOOR_LISTEN_MAX];
    unsigned listener_count;
    char *tls_cert, *tls_key; /* files, where https:// is spoken */
    char *origins;
    struct an_nets proxies;
    int web_fd; /* the directory; -1: none */
    pthread_t errands;
    bool has_errands;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;  /* of run() */
    pthread_cond_t errand;
    struct api_cert *cert;   /* that handshakes are met with; NULL: no https:// */
    struct http_conn *conns; /* youngest first */
    uint32_t conn_count, cut_count;
    struct an_froms froms;
    struct http_queue fresh;   /* for the actor */
    struct http_queue metrics; /* for the errands' thread */
    struct exchange *away;     /* the actor's, and those in fresh */
    uint64_t serial;
    size_t body_bytes;
    struct http_counters count;
    struct http_said evicted_said, refused_said;
    size_t exchange_count;
    size_t leaving; /* on the way to away */
    bool woken, quitting;
};

uint64_t api_door_now_ms(void);
void api_door_log(struct api_door *door, int level, const char *line);
/* One more: how many a line is due for; 0: none now. Under the lock, the line after it.
 */
uint64_t api_door_due(struct http_said *said);
/* The line: words, address, what (NULL: none) and count. */
void api_door_say(struct api_door *door, const char *words, const char *address,
                  const char *what, uint64_t count);

/* api_door_conn.c: connections. */
void api_conn_notify(void *cls, struct MHD_Connection *connection, void **context,
                     enum MHD_ConnectionNotificationCode code);
/* Those past their deadlines end. On the door's thread. */
void api_conn_sweep(struct api_door *door);
void api_conn_phase(struct http_conn *conn, enum http_phase phase);

/* api_door_from.c: what connections of one address have together. */
/* The connection is that address's, until it leaves; with a lack of memory nobody's. It
 * must be nobody's. Under the lock. */
void api_from_join(struct http_conn *conn, const uint8_t address[AN_ADDRESS_LEN]);
/* Holding no bytes of a body. Under the lock. */
void api_from_leave(struct http_conn *conn);
/* Whose it is, or the network that counts as one. Under the lock. */
void api_from_print(const struct http_conn *conn, char out[AN_ADDRESS_TEXT_MAX]);
/* So many bytes more of a body, if the connection's address and all have room for them.
 * Takes the lock, as the next. */
bool api_from_hold(struct http_conn *conn, size_t more);
void api_from_let_go(struct http_conn *conn, size_t bytes);
/* Who makes room for the newcomer. NULL: nobody. Under the lock. */
struct http_conn *api_from_victim(const struct api_door *door,
                                  const struct http_conn *newcomer);

/* api_door_request.c: requests; callbacks of libmicrohttpd. */
void *api_request_begin(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result api_request_on(void *cls, struct MHD_Connection *connection,
                               const char *url, const char *method, const char *version,
                               const char *upload, size_t *upload_len, void **context);
void api_request_end(void *cls, struct MHD_Connection *connection, void **context,
                     enum MHD_RequestTerminationCode code);
/* Its answer is ready (NULL: none could be made, the connection ends); it goes back to
 * its connection's thread. Any thread; the exchange is not the caller's any more. */
void api_request_back(struct exchange *exchange, unsigned status,
                      struct MHD_Response *response);
/* An answer of JSON; copies. NULL without memory. */
struct MHD_Response *api_response_json(const void *body, size_t len, uint32_t retry_s);
/* Names the methods, 1 << an_http_method each, in a response that may be NULL; 0: not. */
void api_response_allow(struct MHD_Response *response, uint32_t allow);
struct MHD_Response *api_response_error(enum an_err err);
void api_queue_add(struct http_queue *queue, struct exchange *exchange);
struct exchange *api_queue_take_all(struct http_queue *queue);

/* api_door_tls.c: the certificate of https://. Errors, with *why: AN_ERR_CONFIG. */
AN_MUST_USE enum an_err api_tls_init(struct api_door *door, char *why, size_t why_len);
/* From the same files; any thread. */
AN_MUST_USE enum an_err api_tls_reload(struct api_door *door, char *why, size_t why_len);
void api_tls_fini(struct api_door *door);
/* This thread takes connections for the door, and shakes their hands. */
void api_tls_thread(struct api_door *door);
int api_tls_choose(gnutls_session_t session, const gnutls_datum_t *issuers,
                   int issuer_count, const gnutls_pk_algorithm_t *algorithms,
                   int algorithm_count, gnutls_pcert_st **chain, unsigned *count,
                   gnutls_privkey_t *key);

/* api_door_web.c: the web page. *status is written. NULL without memory. */
struct MHD_Response *api_web_answer(struct api_door *door,
                                    const struct an_http_request *request,
                                    struct MHD_Connection *connection, unsigned *status);

#endif
