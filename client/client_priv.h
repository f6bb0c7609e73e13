/* The inside of a client, shared by the files of this folder. Internal names begin with
 * ac_ so that a program which links the library keeps its own names.
 *
 *   client.c    options, life, process, wait, flush
 *   session.c   connecting, login, heartbeat, back-off, dispatch of frames
 *   link.c      one non-blocking socket and its two buffers
 *   tls.c       TLS on it
 *   noise.c     or Noise
 *   conv.c      conversations
 *   outgoing.c  pending messages: order, window, resend
 *   follow.c    what becomes of sent messages: stored, delivered
 *   inbox.c     entries in order: holes, Sync, pause
 *   confirm.c   what was taken, told to the server
 *   cursor.c    and kept in a file
 *   history.c   pages
 *
 * Every step works on client->now, read once per process(). A function that returns an
 * an_err other than AN_OK has found the connection unusable; session.c then drops it. */
#ifndef ANSER_CLIENT_PRIV_H
#define ANSER_CLIENT_PRIV_H

#include "client/anser.h"
#include "client/limits.h"
#include "core/arena.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/noise_conn.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#define AC_NEVER UINT64_MAX

/* Where time and chance come from; tests put their own. */
struct ac_env {
    uint64_t (*mono_ms)(void *ctx);
    uint32_t (*below)(void *ctx, uint32_t bound); /* uniform in 0..bound-1 */
    void *ctx;
};
void ac_client_set_env(struct anser_client *client, const struct ac_env *env);

/* ------------------------------------------------------------------ link.c */

struct ac_buffer {
    uint8_t *data;
    size_t start, len, cap; /* len bytes from start */
};

struct ac_link {
    int fd; /* -1: none */
    uint64_t count;
    bool connected; /* TLS or Noise too, where there is some */
    bool socket_up;
    bool want_write;         /* a handshake waits for room in the socket */
    SSL *tls;                /* NULL: none */
    struct ac_noise *noise;  /* NULL: none */
    struct ac_tls *sessions; /* where its ticket goes, under this address */
    const struct ac_address *address;
    char why[128]; /* of AN_ERR_TLS */
    struct ac_buffer in, out;
};

struct ac_address {
    bool tls, noise;
    char host[256];
    char port[6];
};

/* false: no tcp://, tls:// or noise://HOST:PORT (HOST may be [V6]). */
bool ac_address_parse(struct ac_address *address, const char *text);
void ac_link_init(struct ac_link *link);
void ac_link_close(struct ac_link *link); /* also frees its buffers */
/* Begins to connect. CONNECTION when refused at once. */
AN_MUST_USE enum an_err ac_link_open(struct ac_link *link, const struct sockaddr *to,
                                     socklen_t len);
/* What to watch its socket for: ANSER_READ, ANSER_WRITE. */
unsigned ac_link_events(const struct ac_link *link);
/* Is there input that the socket does not show any more? */
bool ac_link_holds_input(const struct ac_link *link);
/* Has the connection been made? Asks the socket, and goes on with the handshake.
 * CONNECTION when it failed; TLS, with why. */
AN_MUST_USE enum an_err ac_link_check(struct ac_link *link);
/* One read into in. *more: there may be more. CONNECTION at the end or on error. */
AN_MUST_USE enum an_err ac_link_read(struct ac_link *link, bool *more);
AN_MUST_USE enum an_err ac_link_write(struct ac_link *link);
/* Room for len more bytes of output, NULL without memory. Counted as written by then. */
uint8_t *ac_link_put(struct ac_link *link, size_t len);
void ac_buffer_eat(struct ac_buffer *buffer, size_t len);
/* Room for len more bytes behind what is there; false without memory. */
bool ac_buffer_reserve(struct ac_buffer *buffer, size_t len);
/* As much as there is, up to cap; *len 0: nothing yet. CONNECTION at the end. */
AN_MUST_USE enum an_err ac_link_recv(struct ac_link *link, uint8_t *to, size_t cap,
                                     size_t *len);
/* As much of it as the socket takes, as it is. CONNECTION. */
AN_MUST_USE enum an_err ac_link_send(struct ac_link *link, struct ac_buffer *from);

/* ------------------------------------------------------------------ tls.c */

/* A session to be resumed, and with whom. */
struct ac_ticket {
    char host[256], port[6];
    SSL_SESSION *session;
};

/* Of all clients that share it, in one thread. */
struct ac_tls {
    unsigned refs;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    struct ac_ticket *tickets; /* the newest last */
    size_t ticket_count, ticket_cap;
};

/* NO_MEMORY; TLS: a file cannot be used. */
AN_MUST_USE enum an_err ac_tls_create(struct ac_tls **out,
                                      const struct anser_options *options);
void ac_tls_unref(struct ac_tls *tls); /* NULL is fine */
/* The socket is open: TLS will be with this address, which outlives the link. */
AN_MUST_USE enum an_err ac_tls_begin(struct ac_tls *tls, struct ac_link *link,
                                     const struct ac_address *address);
void ac_tls_end(struct ac_link *link);
/* Errors of these: CONNECTION; TLS with link->why. OK and nothing done: later. */
AN_MUST_USE enum an_err ac_tls_handshake(struct ac_link *link);
AN_MUST_USE enum an_err ac_tls_read(struct ac_link *link, uint8_t *to, size_t cap,
                                    size_t *len);
AN_MUST_USE enum an_err ac_tls_write(struct ac_link *link, const uint8_t *from,
                                     size_t len, size_t *wrote);

/* ------------------------------------------------------------------ noise.c */

/* The socket is open: the server will have to have this key. NO_MEMORY; TLS: it is none
 * that a server can have. */
AN_MUST_USE enum an_err ac_noise_begin(struct ac_link *link,
                                       const uint8_t pinned[AN_NOISE_KEY_LEN]);
void ac_noise_end(struct ac_link *link);
/* Is there something sealed that the socket did not take? */
bool ac_noise_wants_write(const struct ac_link *link);
/* Errors of these: CONNECTION; TLS with link->why; NO_MEMORY. As ac_link_check, _read and
 * _write, which call them. */
AN_MUST_USE enum an_err ac_noise_handshake(struct ac_link *link);
AN_MUST_USE enum an_err ac_noise_read(struct ac_link *link, bool *more);
AN_MUST_USE enum an_err ac_noise_write(struct ac_link *link);

/* ------------------------------------------------------------------ conversations */

struct ac_outgoing;
struct ac_followed;

enum ac_queue { AC_QUEUE_NONE, AC_QUEUE_READY, AC_QUEUE_BLOCKED };

/* The conversation with one peer. */
struct ac_conv {
    struct ac_conv *hash_next;
    struct ac_conv *prev, *next; /* in the queue it is in */
    enum ac_queue queue;
    /* undecided messages, in order; unsent: the first that is not in flight */
    struct ac_outgoing *first, *last, *unsent;
    unsigned in_flight;
    bool probing;          /* after a refusal: one at a time until one is accepted */
    bool refused_on_link;  /* the server expects the first one again before others */
    unsigned refusals;     /* in a row: the level of the back-off */
    uint64_t not_before;   /* BLOCKED: until then */
    unsigned last_refusal; /* code of the last refusal or loss; 0: none */
    struct ac_followed *followed, *followed_last;
    uint64_t delivered; /* the peer's position as far as told */
    uint64_t received;  /* our position: the highest seq received */
    uint64_t told;      /* of it, what the server has acknowledged */
    uint64_t telling;   /* and what the Confirm under way says */
    size_t peer_len;
    char peer[AN_NAME_LEN_MAX + 1];
};

enum { AC_CONV_BUCKETS = 64 };

struct ac_conv_list {
    struct ac_conv *first, *last;
};

struct ac_conv *ac_conv_find(struct anser_client *client, const uint8_t *peer,
                             size_t len);
/* Found or made; NULL without memory or when all are in use. */
struct ac_conv *ac_conv_get(struct anser_client *client, const uint8_t *peer, size_t len);
/* At the end of the queue, also when it is in that queue already. */
void ac_conv_queue(struct anser_client *client, struct ac_conv *conv,
                   enum ac_queue queue);
/* Puts the conversation into the queue where it belongs now. */
void ac_conv_settle(struct anser_client *client, struct ac_conv *conv);
void ac_conv_free_all(struct anser_client *client);

/* ------------------------------------------------------------------ outgoing.c */

struct ac_outgoing {
    struct ac_outgoing *prev, *next;         /* its conversation's, in order */
    struct ac_outgoing *all_prev, *all_next; /* of the client, by age */
    struct ac_outgoing *fly_prev, *fly_next; /* in flight, by time of sending */
    struct ac_conv *conv;
    uint64_t ticket;
    void *tag;
    uint64_t queued_at, sent_at;
    uint32_t request; /* 0: not in flight */
    uint32_t type;
    unsigned attempts;
    bool sent_first; /* nothing of the conversation was ahead of it when it was sent */
    bool has_id, told_sending;
    bool own_seen; /* its entry in our own inbox came before the answer */
    uint8_t id[ANSER_MSG_ID_LEN];
    size_t body_len;
    uint8_t body[];
};

struct ac_sending {
    struct ac_outgoing *first, *last;         /* by age */
    struct ac_outgoing *fly_first, *fly_last; /* by time of sending */
    struct ac_conv_list ready, blocked;
    size_t count, bytes;
    unsigned in_flight;
    unsigned narrow;     /* after RATE: at most so many in flight; 0: the whole window */
    uint64_t not_before; /* after RATE: none is sent */
    uint64_t next_ticket;
    /* Accepted ones whose entry in our own inbox is still to come; a ring, as needed. */
    uint8_t (*own_ids)[ANSER_MSG_ID_LEN];
    size_t own_at, own_count;
};

AN_MUST_USE enum an_err ac_outgoing_pump(struct anser_client *client);
AN_MUST_USE enum an_err ac_outgoing_answer(struct anser_client *client,
                                           const struct an_frame *frame,
                                           const uint8_t *body);
void ac_outgoing_link_lost(struct anser_client *client);
/* Is this message of our device one that this client sent, and told of or will tell of?
 */
bool ac_outgoing_knows(struct anser_client *client, const struct anser_message *message);
/* Is this the user that is logged in? */
bool ac_to_self(const struct anser_client *client, const char *to);
/* Gives up what waited too long. */
void ac_outgoing_expire(struct anser_client *client);
/* Every message fails with the client's last error. */
void ac_outgoing_fail_all(struct anser_client *client);
void ac_outgoing_free_all(struct anser_client *client);
uint64_t ac_outgoing_due(const struct anser_client *client);
void ac_outgoing_tell(struct anser_client *client, const struct anser_send *send);

/* ------------------------------------------------------------------ follow.c */

struct ac_followed {
    struct ac_followed *next; /* higher seq */
    uint64_t ticket;
    void *tag;
    uint64_t seq, message_id, time_ms;
    unsigned attempts;
    bool stored;
    uint8_t id[ANSER_MSG_ID_LEN];
};

struct ac_early {
    uint64_t seq; /* 0: free */
    char peer[AN_NAME_LEN_MAX + 1];
};

struct ac_following {
    size_t count;
    uint64_t check_at; /* AC_NEVER: nothing to ask */
    uint32_t check_ms;
    unsigned early_at;
    struct ac_early *early; /* STORED receipts that came before their SendOk */
};

void ac_follow_sent(struct anser_client *client, struct ac_conv *conv,
                    const struct anser_send *sent);
void ac_follow_receipt(struct anser_client *client, const Anser__Client__Receipt *in);
void ac_follow_delivered(struct anser_client *client, const char *peer, uint64_t seq);
/* Asks for the positions of conversations with followed messages. */
void ac_follow_online(struct anser_client *client);
AN_MUST_USE enum an_err ac_follow_step(struct anser_client *client);
void ac_follow_free(struct anser_client *client);

/* ------------------------------------------------------------------ inbox.c */

/* An entry that waits for its turn: a packed Event, or (len 0) one that is known already,
 * because SendOk named it. */
struct ac_held {
    uint64_t seq;
    size_t len;
    uint8_t *event;
};

struct ac_inbox {
    uint64_t generation; /* 0: not known yet */
    uint64_t next;       /* the entry to hand over next */
    uint64_t head;       /* the newest known to exist */
    bool known;          /* next is meaningful: there was a login or a cursor file */
    bool paused;
    bool must_reset;       /* the server said RESET: the next login begins anew */
    uint32_t sync_request; /* 0: none under way */
    uint64_t sync_sent_at, sync_after;
    uint64_t sync_not_before;
    uint64_t hole_at, hole_since; /* the next that is missing, and since when */
    struct ac_held *held;         /* by seq, ascending */
    size_t held_count, held_bytes;
};

AN_MUST_USE enum an_err ac_inbox_login(struct anser_client *client,
                                       const Anser__Client__LoginOk *ok);
AN_MUST_USE enum an_err ac_inbox_event(struct anser_client *client,
                                       const Anser__Client__Event *event);
AN_MUST_USE enum an_err ac_inbox_heartbeat(struct anser_client *client,
                                           const Anser__Client__HeartbeatOk *ok);
AN_MUST_USE enum an_err ac_inbox_answer(struct anser_client *client,
                                        const struct an_frame *frame,
                                        const uint8_t *body);
/* The message of a SendOk is inbox entry seq. */
void ac_inbox_own(struct anser_client *client, uint64_t seq);
void ac_inbox_link_lost(struct anser_client *client);
AN_MUST_USE enum an_err ac_inbox_step(struct anser_client *client);
uint64_t ac_inbox_due(const struct anser_client *client);
void ac_inbox_free(struct anser_client *client);
/* Checks a Message from the server and makes ours of it; the strings are put in names. */
struct ac_names {
    char from[AN_NAME_LEN_MAX + 1];
    char to[AN_NAME_LEN_MAX + 1];
    char device[AN_NAME_LEN_MAX + 1];
};
AN_MUST_USE enum an_err ac_message_get(const struct anser_client *client,
                                       struct anser_message *out, struct ac_names *names,
                                       const Anser__Client__Message *in);

/* ------------------------------------------------------------------ confirm.c */

struct ac_confirm {
    uint64_t confirmed; /* the server's cursor */
    uint64_t telling;   /* what the Confirm under way says */
    uint32_t request;   /* 0: none under way */
    uint64_t sent_at;
    uint64_t due;     /* AC_NEVER: nothing to confirm */
    bool refused;     /* due after a refusal: not to be hurried */
    size_t positions; /* conversations whose received > told */
};

/* The inbox moved; own: only by a message of ours, which nobody waits for. */
void ac_confirm_moved(struct anser_client *client, bool own);
void ac_confirm_received(struct anser_client *client, struct ac_conv *conv, uint64_t seq);
AN_MUST_USE enum an_err ac_confirm_step(struct anser_client *client);
AN_MUST_USE enum an_err ac_confirm_answer(struct anser_client *client,
                                          const struct an_frame *frame,
                                          const uint8_t *body);
void ac_confirm_link_lost(struct anser_client *client);
uint64_t ac_confirm_due(const struct anser_client *client);
/* The inbox began anew: nothing of the old one is to be told. */
void ac_confirm_forget(struct anser_client *client);
bool ac_confirm_done(const struct anser_client *client);
/* Confirms without waiting for more. */
void ac_confirm_hurry(struct anser_client *client);

/* ------------------------------------------------------------------ cursor.c */

/* Reads the file of this user and device. OK with found false: there is none. CORRUPT: it
 * is damaged or another's. Positions go into the client's conversations. */
AN_MUST_USE enum an_err ac_cursor_load(struct anser_client *client, uint64_t *generation,
                                       uint64_t *seq, bool *found);
/* Replaces the file, durably. IO, NO_MEMORY. */
AN_MUST_USE enum an_err ac_cursor_save(struct anser_client *client, uint64_t seq);

/* ------------------------------------------------------------------ history.c */

struct ac_history {
    struct ac_history *next;
    uint32_t request; /* 0: not asked yet */
    uint64_t sent_at, not_before;
    unsigned attempts;
    uint64_t before, after;
    uint32_t limit;
    bool oldest_first;
    anser_page_f *page; /* NULL: the library's own, for peer_delivered */
    void *arg;
    char peer[AN_NAME_LEN_MAX + 1];
};

/* For the library's own questions; they do not count against HISTORY_MAX. */
void ac_history_ask_own(struct anser_client *client, const char *peer);
AN_MUST_USE enum an_err ac_history_answer(struct anser_client *client,
                                          const struct an_frame *frame,
                                          const uint8_t *body);
AN_MUST_USE enum an_err ac_history_step(struct anser_client *client);
void ac_history_link_lost(struct anser_client *client);
void ac_history_fail_all(struct anser_client *client);
void ac_history_free(struct anser_client *client);
uint64_t ac_history_due(const struct anser_client *client);

/* ------------------------------------------------------------------ session.c */

enum ac_phase { AC_OFFLINE, AC_CONNECTING, AC_LOGIN, AC_ONLINE, AC_CLOSED };

struct ac_session {
    enum ac_phase phase;
    uint64_t since;      /* when the phase began */
    uint64_t connect_at; /* OFFLINE: the next attempt */
    unsigned level;      /* of the back-off */
    size_t address;      /* the one being tried */
    size_t tried;        /* in this round, without lasting success */
    struct sockaddr_storage resolved[ANSER_LIMIT_RESOLVED_MAX];
    socklen_t resolved_len[ANSER_LIMIT_RESOLVED_MAX];
    size_t resolved_count, resolved_at;
    bool token_asked; /* since the last good login */
    uint32_t last_request;
    uint32_t login_request, logout_request, heartbeat_request;
    uint64_t heartbeat_sent_at, heartbeat_at;
    uint32_t heartbeat_ms;
    uint32_t body_len_max, frame_len_max, sends_max;
    int64_t server_offset_ms; /* server time minus now */
    bool server_time_known;
};

/* One request. *request: its number, not 0. */
AN_MUST_USE enum an_err ac_session_ask(struct anser_client *client,
                                       enum an_command command,
                                       const ProtobufCMessage *body, uint32_t *request);
void ac_session_step(struct anser_client *client);
/* Ends the connection; a new attempt follows unless error says that none may. */
void ac_session_drop(struct anser_client *client, const struct anser_error *error);
/* The same for a plain code. */
void ac_session_drop_code(struct anser_client *client, enum an_err err);
/* Closed for good: everything pending fails with this error. */
void ac_session_end(struct anser_client *client, const struct anser_error *error);
uint64_t ac_session_due(const struct anser_client *client);
/* Jittered: between half of and the whole pause of this level. */
uint32_t ac_session_backoff(struct anser_client *client, unsigned level);
/* Unpacks a body into the client's arena, valid until the next frame. NULL when it is
 * malformed. */
void *ac_unpack(struct anser_client *client, const ProtobufCMessageDescriptor *kind,
                const uint8_t *data, size_t len);

/* ------------------------------------------------------------------ error.c */

struct anser_error ac_error(unsigned code);
/* With a sentence of our own instead of the table's. */
struct anser_error ac_error_text(unsigned code, const char *text);
/* From an Error frame's body; BODY_MALFORMED when it is none. */
struct anser_error ac_error_frame(struct anser_client *client, const uint8_t *body,
                                  size_t len);
struct anser_error ac_error_fields(uint32_t code, ProtobufCBinaryData name,
                                   ProtobufCBinaryData text, bool retry,
                                   uint32_t retry_after_ms);

/* ------------------------------------------------------------------ the client */

struct anser_client {
    struct ac_env env;
    uint64_t now;
    bool in_callback;
    bool processing; /* inside process(): work found now is done before it returns */

    struct ac_address addresses[ANSER_LIMIT_ADDRESSES_MAX];
    size_t address_count;
    uint8_t server_key[AN_NOISE_KEY_LEN]; /* of noise:// */
    char *token, *cursor_path, *client_name;
    char device[AN_NAME_LEN_MAX + 1];
    char platform[AN_NAME_LEN_MAX + 1];
    bool send_only;
    uint32_t window, pending_max, send_attempts_max, send_timeout_ms;
    uint32_t backoff_min_ms, backoff_max_ms, connect_timeout_ms, answer_timeout_ms;
    uint32_t confirm_delay_ms;
    struct anser_callbacks callbacks;
    void *user;

    char name[AN_NAME_LEN_MAX + 1]; /* this user's, from LoginOk */
    struct anser_error error;
    enum anser_state told_state;
    struct ac_link link;
    struct ac_tls *tls; /* NULL: no address needs one */
    struct an_arena arena;
    struct ac_session session;
    struct ac_conv *convs[AC_CONV_BUCKETS];
    size_t conv_count;
    struct ac_sending sending;
    struct ac_following following;
    struct ac_inbox inbox;
    struct ac_confirm confirm;
    struct ac_history *history, *history_last;
    size_t history_count; /* the program's */
};

void ac_warn(struct anser_client *client, unsigned code, const char *text);
/* 16 bytes: RFC 9562 version 7. */
void ac_uuid7(uint8_t out[ANSER_MSG_ID_LEN], uint64_t unix_ms);

#endif
