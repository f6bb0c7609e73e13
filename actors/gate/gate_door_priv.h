/* The inside of the gate's door, shared by its files. Bytes come in and go out through
 * layers, each of which a connection may lack:
 *
 *   gate_door_in.c, _out.c  gate_door_tls.c,  gate_door_ws.c  _json.c  gate_door_in.c
 *                           _noise.c
 *   the socket's bytes      TLS or Noise      WebSocket       JSON     frames, to the
 *                                                                      actor
 *
 * gate_door.c has the loop and the listeners, gate_door_conn.c the life of connections,
 * gate_door_from.c what those of one address may have.
 * Context: the door's thread, but for gate_tls_load. */
#ifndef AN_ACTORS_GATE_DOOR_PRIV_H
#define AN_ACTORS_GATE_DOOR_PRIV_H

#include "actors/gate/gate_door.h"
#include "actors/gate/gate_http.h"
#include "actors/gate/gate_json.h"
#include "actors/gate/gate_ws.h"
#include "core/bucket.h"
#include "core/froms.h"
#include "core/limits.h"
#include "core/listen.h"
#include "core/noise_conn.h"
#include <openssl/ssl.h>
#include <pthread.h>
#include <uv.h>

enum {
    DOOR_READ_BYTES = 64 * 1024,      /* one buffer for all connections */
    DOOR_CLOSE_MS = AN_CONN_CLOSE_MS, /* last words and a polite end take no longer */
    DOOR_PAUSE_BYTES =
        AN_CONN_PAUSE_BYTES, /* unread output that stops reading a connection */
    DOOR_BACKLOG = 1024,
    DOOR_BACKLOG_MIN = 64,
    DOOR_BACKLOG_MAX = 4096,
    DOOR_ACCEPT_STEP_MS =
        10, /* when there are more than may be taken, they are in steps */
    DOOR_SPARE_FDS = AN_GATE_SPARE_FDS, /* descriptors left to the rest of the process */
    DOOR_SAY_MS = 1000,                 /* between two lines about that */
    DOOR_CROWD_SAY_MS = 10000,          /* and about too many at once */
    DOOR_HELD_BYTES = AN_DOOR_HELD_BYTES, /* JSON and records not whole, of all */
    DOOR_HELD_OWN = AN_DOOR_HELD_OWN,     /* of a connection, that are not counted */
    DOOR_CERT_WARN_DAYS = 14,        /* left: who renews by himself has done it by then */
    DOOR_LINE_MAX = 256,             /* of the log */
    DOOR_RECORD_BYTES = 16384,       /* the plaintext of a TLS record */
    DOOR_SCRATCH_BYTES = 256 * 1024, /* a shared buffer that grew beyond is given back */
    DOOR_INDEX_BITS = 24, /* of a connection id; above it a number that only grows */
};

#define DOOR_NONE UINT32_MAX

/* Of struct gate_door_stats, what the gate's metrics show: X(name, help) */
#define DOOR_COUNTERS(X)                                                                 \
    X(accepted, "Connections taken, before their handshakes")                            \
    X(accept_waits, "Times that accepting waited for gate.accept_per_s")                 \
    X(tls_full, "TLS handshakes that went through in full")                              \
    X(tls_resumed, "TLS handshakes that resumed a session")                              \
    X(noise_full, "Noise handshakes that went through")                                  \
    X(broken, "Open connections ended by bytes that TLS or Noise refused")               \
    X(handshakes_failed, "Handshakes refused, broken or given up by the client")         \
    X(handshakes_late, "Handshakes too slow, or pushed out by newer ones")               \
    X(held_refused, "Connections closed for too many bytes that were not whole")         \
    X(bad_lines, "Lines that were no JSON object")                                       \
    X(accept_pauses, "Times that accepting waited for file descriptors")                 \
    X(read_pauses, "Times that a client's unread output stopped its input")

/* What the connections of an address have of the door. */
struct door_from {
    struct an_from from; /* first */
    uint32_t handshakes;
    size_t held_bytes;
};

/* Counted in tens of thousands: what a connection needs only now and then is allocated
 * then. */
struct door_conn {
    uv_tcp_t tcp; /* first: uv hands it back to us */
    uint64_t id;
    uint8_t *partial; /* of a frame that is not whole yet */
    uint32_t partial_len, partial_cap;
    uint32_t seg_first, seg_last; /* this drain's frames, in door.segs */
    size_t framed, formed; /* what waits, or did: as frames, and in the form it has */
    SSL *tls;              /* NULL: none */
    struct an_noise_conn *noise; /* NULL: none */
    struct door_ws *ws;          /* NULL: none */
    struct door_from *from;      /* NULL: without limits */
    struct door_held *lines;     /* NULL: not lines of JSON */
    /* In door.shaking until the handshakes are through, in door.finishing at the end. */
    struct door_conn *wait_next, **wait_link;
    uint64_t wait_ms; /* until then */
    uint8_t address[AN_ADDRESS_LEN];
    bool asked : 1;    /* a frame of its has gone to the actor */
    bool known : 1;    /* it has logged in */
    bool awaits : 1;   /* not read until it has: much lies behind its Login */
    bool tls_done : 1; /* its handshake is through */
    bool broken : 1;   /* its layer cannot say anything any more */
    bool open : 1;     /* the actor knows of it */
    bool chosen : 1;   /* its first byte has said which form it speaks */
    bool finish : 1;   /* CONN_CLOSE came: last words, then the end */
    bool ending : 1;   /* the end is under way: input is thrown away */
    bool bad : 1;      /* its input is no sequence of frames; not read any more */
    bool paused : 1;   /* not read until its output is taken */
    bool touched : 1;  /* in door.touched */
    bool reported : 1; /* the actor believes that output waits */
};

struct door_seg {
    const uint8_t *data;
    uint32_t len, next;
};

/* Connections that have so much time for something, oldest first. */
struct door_waits {
    struct door_conn *first, **last;
    uv_timer_t timer;
    uint64_t ms;
};

/* Grows as needed, serves all connections in turn. */
struct door_scratch {
    uint8_t *data;
    size_t len, cap;
};

struct door_tls {
    pthread_mutex_t mutex; /* ctx is replaced from any thread */
    SSL_CTX *ctx;          /* for the next connection; NULL: no TLS */
    char *cert, *key, *client_ca;
    BIO *bio;               /* of every connection: reads feed, writes to sealed */
    BIO_METHOD *bio_method; /* freed after it */
    const uint8_t *feed;    /* what came from the socket, for the next SSL_ call */
    size_t feed_len;
    struct door_scratch sealed; /* what it wants to have written */
    uint8_t plain[DOOR_RECORD_BYTES];
};

/* What is collected until it is whole: counted over all connections. */
struct door_held {
    uint8_t *data;
    uint32_t len, cap;
};

struct door_noise {
    struct an_noise_key key;
    uint8_t *plain;             /* of a record; NULL: no Noise */
    struct door_scratch sealed; /* records to be written */
};

struct door_ws {
    struct door_held held; /* the request's head, or a message of JSON */
    bool upgraded, said_close;
    uint16_t code; /* of the close; 0: 1000 */
    const char *reason;
    struct gate_ws in;
};

struct door_listener {
    uv_tcp_t tcp;
    char address[AN_LISTEN_TEXT_MAX];
    struct an_listen at;
    bool waiting; /* one is waiting to be accepted, and more behind it */
    bool open;
};

struct gate_door {
    struct an_door door;
    struct an_door_host host;
    struct gate_door_cfg cfg;
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t turn_timer, cert_timer, accept_timer;
    struct door_listener listeners[GATE_DOOR_LISTEN_MAX];
    unsigned listener_count;
    bool loop_made, started, quitting, full, full_logged;

    struct door_conn **conns; /* by the index in their id; NULL: free */
    uint32_t *free_list;
    uint32_t conn_cap, free_count;
    uint64_t serial;
    uint32_t fd_max;
    uint64_t full_ms, refused_ms, held_ms, unmade_ms; /* when the log was told last */
    struct an_rate accept_rate;
    struct an_bucket accepts;
    uint64_t crowd_ms; /* when the log was told that they wait */

    struct door_waits shaking, finishing;
    struct door_tls tls;
    struct door_noise noise;
    struct gate_ws_shared ws;
    struct an_arena arena; /* of a message of JSON */
    size_t held_bytes;     /* of all struct door_held, and of records not whole */
    struct an_froms froms;
    struct an_nets unlimited; /* of no address */
    char *origins;
    struct door_scratch gathered; /* frames that go out through a layer */
    struct door_seg *segs;        /* of this drain */
    uint32_t seg_count, seg_cap;
    struct door_conn **touched; /* connections with segments or an end to begin */
    uint32_t touched_count, touched_cap;
    uint64_t *reports; /* connections whose output waits since the last flush */
    uint32_t report_count, report_cap;
    struct an_msg msg; /* the one that is delivered, again and again */
    struct gate_door_stats stats;
    uint8_t read_buf[DOOR_READ_BYTES];
};

static inline struct gate_door *
door_of(const struct door_conn *conn)
{
    return conn->tcp.loop->data;
}

static inline size_t
door_unsent(const struct door_conn *conn)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);
}

static inline bool
door_gone(const struct door_conn *conn)
{
    return uv_is_closing((const uv_handle_t *)&conn->tcp) != 0;
}

/* Does it still take frames? Delivering one may have ended that. */
static inline bool
door_reading(const struct door_conn *conn)
{
    return !conn->bad && !conn->finish && !door_gone(conn);
}

/* ------------------------------------------------------------------ gate_door.c */

/* To whoever the cfg names. */
void gate_door_log(struct gate_door *door, int level, const char *line);
/* Descriptors may be free again: accepts what waits. */
void gate_door_accept_more(struct gate_door *door);
/* Makes room behind len; NULL without memory. */
uint8_t *gate_door_scratch(struct door_scratch *scratch, size_t more);
/* Empties it, and gives back what a burst made it grow to. */
void gate_door_scratch_clear(struct door_scratch *scratch);

/* ------------------------------------------------------------------ gate_door_conn.c */

/* It is time for more of those that wait. */
void gate_door_accept_due(uv_timer_t *timer);
/* A listener has one to accept. */
void gate_door_accept(struct gate_door *door, struct door_listener *listener);
struct door_conn *gate_door_find(const struct gate_door *door, uint64_t id);
/* Steps the actor with door.msg, whose kind is this. */
void gate_door_deliver(struct gate_door *door, struct door_conn *conn, enum an_kind kind);
/* How much of its output waits. */
void gate_door_deliver_output(struct gate_door *door, struct door_conn *conn);
/* The handshakes are through: the actor hears of it. */
void gate_door_open(struct gate_door *door, struct door_conn *conn);
/* The handshakes have failed: what they have left in tls.sealed is sent, then the end. */
void gate_door_shut_out(struct gate_door *door, struct door_conn *conn);
/* What came is none of its layer's, "TLS" or "Noise": says why, at most once a second,
 * and ends it. */
void gate_door_break_off(struct gate_door *door, struct door_conn *conn,
                         const char *layer, const char *why);
/* Tells the actor of output that flush could not get rid of. Whether there was any. */
bool gate_door_report(struct gate_door *door);
/* The last words have been given: sends them, then ends, within a bounded time. */
void gate_door_finish(struct gate_door *door, struct door_conn *conn);
/* We end: whoever has been sent all is not waited for any longer. */
void gate_door_kill_told(struct gate_door *door);
/* At once. CONN_CLOSED follows from the loop. */
void gate_door_kill(struct door_conn *conn);
bool gate_door_waits_init(struct gate_door *door, struct door_waits *waits, uint64_t ms);

/* ------------------------------------------------------------------ gate_door_in.c */

/* What TLS has opened: to the next layer; of the first byte, which that is. */
void gate_door_layer_in(struct gate_door *door, struct door_conn *conn,
                        const uint8_t *data, size_t len);
/* Starts, or starts again, to read from the socket. false: it cannot be. */
bool gate_door_read(struct door_conn *conn);
/* Bytes from the client with every layer taken off: cuts and delivers frames. */
void gate_door_frames_in(struct gate_door *door, struct door_conn *conn,
                         const uint8_t *data, size_t len);
void gate_door_partial_free(struct gate_door *door, struct door_conn *conn);
/* Its input cannot be trusted any more: not read, and the actor is told. */
void gate_door_bad(struct gate_door *door, struct door_conn *conn, enum an_err err);

/* It has logged in: what was left in its socket until then is read. */
void gate_door_logged_in(struct door_conn *conn);

/* ------------------------------------------------------------------ gate_door_from.c */

/* Finds where it comes from: conn->address, and conn->from until it leaves. false:
 * without memory. */
bool gate_from_join(struct gate_door *door, struct door_conn *conn);
void gate_from_leave(struct gate_door *door, struct door_conn *conn);
/* After all connections. */
void gate_from_fini(struct gate_door *door);
/* Which handshake ends so that this one may begin. There is one. */
struct door_conn *gate_from_victim(const struct gate_door *door,
                                   const struct door_conn *conn);
/* May a buffer of its grow? A refusal is counted and logged. */
bool gate_held_room(struct gate_door *door, const struct door_conn *conn, size_t before,
                    size_t after);
/* It has grown, or shrunk. */
void gate_held_count(struct gate_door *door, struct door_conn *conn, size_t before,
                     size_t after);
/* Is what begins like that, before anything else, no Login? Counted and logged. */
bool gate_door_login_too_large(struct gate_door *door, const struct door_conn *conn,
                               size_t len);

/* ------------------------------------------------------------------ gate_door_out.c */

void gate_door_carry(struct an_door *base, const struct an_effect *effect,
                     const uint8_t *bytes);
void gate_door_flush(struct an_door *base);
/* One that the actor knows ends without its word: behind what is carried already, at the
 * next flush. */
void gate_door_end(struct gate_door *door, struct door_conn *conn);
/* It is gone: the next flush passes it by. */
void gate_door_untouch(struct gate_door *door, struct door_conn *conn);
/* To the socket as they are: now as far as it takes them, the rest queued. false: the
 * connection is broken. */
bool gate_door_write(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                     size_t len);
/* The same through TLS, if there is some. */
bool gate_door_send(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                    size_t len);
/* How much of its output waits, in bytes of frames: whoever speaks JSON may leave as many
 * frames unread as others, though they are longer. 0 only when nothing waits. */
size_t gate_door_unread(const struct door_conn *conn);
/* Not read any more until its output is taken, if that is too much. */
void gate_door_pause_if_full(struct gate_door *door, struct door_conn *conn);

/* ------------------------------------------------------------------ gate_door_tls.c */

/* Reads the files of the cfg. AN_ERR_CONFIG, AN_ERR_NO_MEMORY, with *why. */
AN_MUST_USE enum an_err gate_tls_init(struct door_tls *tls,
                                      const struct gate_door_cfg *cfg, char *why,
                                      size_t why_len);
/* Zeroed is fine. */
void gate_tls_fini(struct door_tls *tls);
/* Any thread. As gate_tls_init; an error leaves what was there. */
AN_MUST_USE enum an_err gate_tls_reload(struct door_tls *tls, char *why, size_t why_len);
/* Has the certificate expired, or will it soon? Then says so in *out. Any thread. */
bool gate_tls_expires(struct door_tls *tls, int *level, char *out, size_t len);
/* The server's end of one connection; NULL without memory. */
SSL *gate_tls_accept(struct door_tls *tls);
/* Bytes from the socket: the handshake goes on, what is behind it goes to
 * gate_door_frames_in. */
void gate_tls_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                 size_t len);
/* Encrypts and writes. false: the connection is broken. */
bool gate_tls_out(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                  size_t len);
/* Says that no more comes, if there is somebody to say it to. */
void gate_tls_bye(struct gate_door *door, struct door_conn *conn);

/* ------------------------------------------------------------------ gate_door_noise.c */

/* AN_ERR_CONFIG: the cfg has no key; AN_ERR_NO_MEMORY; with *why. */
AN_MUST_USE enum an_err gate_noise_init(struct door_noise *noise,
                                        const struct gate_door_cfg *cfg, char *why,
                                        size_t why_len);
/* Wipes the key. Zeroed is fine. */
void gate_noise_fini(struct door_noise *noise);
/* The server's end of one connection; NULL without memory. */
struct an_noise_conn *gate_noise_accept(const struct door_noise *noise);
void gate_noise_free(struct gate_door *door, struct door_conn *conn);
/* Bytes from the socket, as gate_tls_in. */
void gate_noise_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                   size_t len);
/* Encrypts and writes. false: the connection is broken. */
bool gate_noise_out(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                    size_t len);

/* ------------------------------------------------------------------ gate_door_ws.c */

struct door_ws *gate_ws_new(void); /* NULL without memory */
void gate_ws_free(struct gate_door *door, struct door_conn *conn);
/* Bytes of the request or of frames: what they carry goes to gate_door_frames_in. */
void gate_ws_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                size_t len);
/* A frame as it is sent, behind what is there. false: without memory. */
bool gate_ws_put(struct door_scratch *all, struct door_conn *conn, const uint8_t *frame,
                 size_t len);
/* The close frame, if none was said. */
void gate_ws_bye(struct gate_door *door, struct door_conn *conn);

/* ------------------------------------------------------------------ gate_door_json.c */

/* false: without memory, or too much is held of its address or of all. */
bool gate_held_add(struct gate_door *door, struct door_conn *conn, struct door_held *held,
                   const uint8_t *data, size_t len);
/* Empties it. */
void gate_held_free(struct gate_door *door, struct door_conn *conn,
                    struct door_held *held);
/* A whole text: its frame goes to gate_door_frames_in. false: it is no JSON object. */
bool gate_json_take(struct gate_door *door, struct door_conn *conn, const uint8_t *text,
                    size_t len);
/* From here on it speaks lines of JSON; false: without memory. */
bool gate_lines_begin(struct door_conn *conn);
void gate_lines_free(struct gate_door *door, struct door_conn *conn);
void gate_lines_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                   size_t len);
/* A frame as its line, behind what is there. false: without memory. */
bool gate_lines_put(struct door_scratch *all, const uint8_t *frame, size_t len);

#endif
