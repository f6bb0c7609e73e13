/* The inside of the gate actor, shared by its files:
 *
 *   gate.c         the actor: dispatch, start, tick, metrics; ops
 *   gate_join.c    when clients are let in
 *   gate_leave.c   and sent away: drain, stop
 *   gate_inspect.c words of operators
 *   gate_conn.c    connections: table, lists by age, frames out, closing
 *   gate_client.c  frames in: who may ask what, and what a request must look like
 *   gate_order.c   no Send before one that was refused and may be sent again
 *   gate_rate.c    how often users and addresses may ask
 *   gate_login.c   the way from a token to a session; heartbeats
 *   gate_account.c who may be let in, stay and send
 *   gate_names.c   user names to keys, through a bounded cache
 *   gate_lanes.c   in whose turn batches are filled
 *   gate_submit.c  commands to sequencers in batches, and their results
 *   gate_read.c    queries to stores in batches, and their answers
 *   gate_fetch.c   pages completed with messages that are on other stores
 *   gate_router.c  sessions announced to routers; deliveries from them
 *
 * A client's request is an op from its frame to its answer. An op sits in exactly one
 * place at a time (a name's waiters, a lane, a batch, a read queue, a connection's pages
 * or held frames, a router link) and ends by gate_op_fail or by its answer; either frees
 * it.
 *
 * Context: the gate actor's thread. */
#ifndef AN_ACTORS_GATE_PRIV_H
#define AN_ACTORS_GATE_PRIV_H

#include "actors/gate/gate.h"
#include "core/bucket.h"
#include "core/chains.h"
#include "core/hash.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/rng.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/rows.h"

enum {
    GATE_ASKS_MAX =
        AN_CONN_ASKS_MAX, /* unanswered requests of a connection other than Sends */
    GATE_ORDERS_MAX =
        AN_CONN_ORDERS_MAX, /* conversations of a connection that wait for a resend */
    GATE_REFUSED_MAX = AN_CONN_REFUSED_MAX, /* messages of them; beyond: closed */
    GATE_HOPS_MAX = 4,                      /* how often a command is sent on */
    GATE_HELD_MAX =
        AN_CONN_HELD_MAX,  /* frames of a connection that wait for its login to end */
    GATE_REREADS_MAX = 3,  /* of a login's head, when pushes come in between */
    GATE_DOWNS_MAX = 4096, /* sessions' ends waiting for a router; beyond: announce all */
    GATE_HEAD_DELAY_MS = 100, /* heartbeats gather this long for one read of heads */
    GATE_LINK_RETRY_MIN_MS = 10,
    GATE_LINK_RETRY_MAX_MS = 1000,
    GATE_JOIN_RETRY_MS = 200,
    GATE_JOIN_SAY_MS = 5000,       /* says for whom it waits this often */
    GATE_LEAVE_STEP_MS = 100,      /* clients are sent away in so small steps */
    GATE_POSITIONS_FLYING_MAX = 4, /* they stay out for up to AN_CONFIRM_DELAY_MS */
    GATE_READS_FLYING_MAX = 4,
    GATE_READ_BYTES_MAX = 6 * AN_PAGE_BYTES_MAX, /* what one READ may bring */
    GATE_FETCHES_MAX = 16, /* single messages of one READ, and of one Sync at a time */
};

_Static_assert(GATE_READ_BYTES_MAX / AN_PAGE_BYTES_MAX *
                       (AN_PAGE_BYTES_MAX + AN_FRAME_LEN_MAX) <
                   AN_BUS_MSG_LEN_MAX,
               "pages of one read fit an answer");
_Static_assert(GATE_FETCHES_MAX *AN_FRAME_LEN_MAX < GATE_READ_BYTES_MAX,
               "messages of one read fit an answer");

/* Counters, in the order they are shown. X(name, help) */
#define GATE_COUNTERS(X)                                                                 \
    X(conns_opened, "Connections opened, their handshakes done")                         \
    X(conns_closed, "Connections that have ended")                                       \
    X(conns_refused, "Connections refused: over the limit, or while stopping")           \
    X(over_address_conns, "Connections refused: too many of one address")                \
    X(closed_bad, "Connections closed for bytes that were not frames")                   \
    X(closed_idle, "Connections closed for silence")                                     \
    X(closed_slow, "Connections closed for output that was not read")                    \
    X(closed_account, "Connections closed: user deleted or forbidden, token revoked")    \
    X(account_hints, "Changed accounts that routers told of")                            \
    X(logins, "Logins that succeeded")                                                   \
    X(logins_failed, "Logins that were refused")                                         \
    X(devices_noted, "Devices written down: seen for the first time, or in a day")       \
    X(frames_in, "Frames from clients")                                                  \
    X(frames_out, "Frames to clients")                                                   \
    X(bytes_in, "Bytes of frames from clients")                                          \
    X(bytes_out, "Bytes of frames to clients")                                           \
    X(sends, "Messages taken from clients")                                              \
    X(sends_ok, "Messages acknowledged to their senders")                                \
    X(sends_failed, "Messages refused")                                                  \
    X(confirms, "Confirms from clients")                                                 \
    X(pages, "Sync and History requests from clients")                                   \
    X(heartbeats, "Heartbeats from clients")                                             \
    X(errors_out, "Error answers to clients")                                            \
    X(submits, "Batches of commands sent to sequencers")                                 \
    X(submit_commands, "Commands sent to sequencers")                                    \
    X(moved, "Commands sent on to another sequencer")                                    \
    X(away, "Times that a sequencer was found away")                                     \
    X(reads, "Batches of queries sent to stores")                                        \
    X(read_queries, "Queries sent to stores")                                            \
    X(names_asked, "User names asked of stores")                                         \
    X(fetches, "Messages of Syncs fetched from other stores")                            \
    X(fetches_missing, "Messages of Syncs that another store has no more")               \
    X(delivers, "Batches of pushes from routers")                                        \
    X(deliver_frames, "Frames pushed to clients")                                        \
    X(deliver_stale, "Pushes for connections that are gone")                             \
    X(announces, "Lists of sessions sent to routers")

#define GATE_RATE_ENUM(name, of, command, what) GATE_RATE_##name,
enum gate_rate { GATE_RATES(GATE_RATE_ENUM) GATE_RATE_COUNT };
#undef GATE_RATE_ENUM
enum { GATE_RATE_USERS = GATE_RATE_address_logins }; /* so many are of users */

enum gate_state {
    CONN_NEW,     /* must log in */
    CONN_LOGIN,   /* is being logged in */
    CONN_READY,   /* logged in */
    CONN_CLOSING, /* we said the last word; waits for CONN_CLOSED */
    CONN_GONE,    /* closed; kept while ops still point at it */
};

struct gate_op;
struct gate_lane;
struct gate_turn;
struct gate_order;

/* A user, or an address: what all connections of it have in common. */
struct gate_rated {
    struct an_chained chained;        /* first; in gate_rates */
    struct gate_rated *older, *newer; /* in gate_rates, while no connection is of it */
    struct gate_turn *turns;          /* of a user: in pipes where he has commands */
    uint64_t key[2];
    uint64_t left_ms; /* since when */
    uint32_t conns;
    uint32_t op_bytes; /* of a user: the sum of his connections' */
    uint8_t of;
    struct an_bucket buckets[]; /* by enum gate_rate, of those of its own kind */
};

struct gate_rates {
    struct an_chains chains;
    struct gate_rated *oldest, *newest; /* of those that left */
    size_t left_count;
    uint32_t burst_s, address_conns_max;
    struct an_rate rate[GATE_RATE_COUNT];
    struct an_nets unlimited;
    uint64_t said_ms;                     /* a refusal, in the log */
    uint64_t unsaid[GATE_RATE_COUNT + 1]; /* of each limit; the last: connections */
};

/* One connection. Counted in tens of thousands: what is only needed while something is
 * under way lies behind pointers. */
struct gate_conn {
    struct an_chained chained; /* first; in gate.conns */
    uint64_t id;
    uint8_t address[AN_ADDRESS_LEN]; /* where it comes from */
    uint64_t user;                   /* key; 0 before its name is resolved */
    struct gate_conn *older, *newer; /* in gate.opening or gate.active */
    uint64_t active_ms;              /* last frame; when opened, in gate.opening */
    uint64_t since_ms;               /* wall time of the Login */
    uint64_t confirmed;              /* this device's cursor as last heard */
    uint64_t issued_ms;              /* the token's iat */
    uint64_t muted_until_ms;         /* Unix ms */
    uint64_t account_version;        /* of the state that says so */
    uint64_t checked_ms;             /* when the account was last heard of */
    struct gate_conn *checked_older, *checked_newer; /* in gate.checked, when READY */
    uint64_t noted_ms;             /* when the device was last written down, or refused */
    struct gate_op *sends;         /* unanswered Sends, newest first */
    struct gate_lane *lanes;       /* with commands waiting */
    struct gate_order *orders;     /* conversations that wait for a resend */
    size_t refused_count;          /* messages in them */
    struct gate_op *pages;         /* Sync and History not asked yet, oldest first */
    struct gate_op *held;          /* frames behind a Login, oldest first */
    struct gate_rated *of_user;    /* NULL: its name is not resolved */
    struct gate_rated *of_address; /* NULL: without limits */
    uint8_t *text;                 /* user name, device, app; NULL before login */
    uint32_t output;               /* bytes not taken by the client, as last told */
    uint32_t sent;                 /* bytes sent since */
    uint32_t sent_drain;           /* in which drain the last of them */
    uint32_t ops;                  /* that point here */
    uint32_t op_bytes;             /* of them */
    uint16_t send_count, again_count; /* unanswered Sends; those of them sent again */
    uint8_t ask_count, held_count;
    uint8_t bad_lines; /* in a row */
    uint8_t state;     /* enum gate_state */
    uint8_t user_len, device_len, app_len, platform;
    bool send_only : 1;
    bool listed : 1;       /* a router knows of it, or is being told */
    bool pushed_early : 1; /* a push came before LoginOk */
    bool page_flying : 1;
    bool checking : 1; /* the account is being asked about, without a heartbeat */
    bool noting : 1;   /* its device is being written down */
    bool noted : 1;    /* at noted_ms */
    bool leaving : 1;  /* goes when its Sends are answered; takes no more */
};

enum gate_what {
    OP_LOGIN,
    OP_HEARTBEAT,
    OP_SEND,
    OP_CONFIRM,
    OP_DELIVERED,
    OP_SYNC,
    OP_HISTORY,
    OP_RESOLVE, /* the gate's own: conn is NULL */
    OP_NAME,    /* the state of a name's user; conn is NULL */
    OP_ACCOUNT, /* of a connection's, which sends no heartbeats */
    OP_SEEN,    /* the device of a connection is to be written down */
    OP_FETCH,   /* a message for a Sync; conn is NULL */
    OP_HELD,    /* a frame that came behind a Login, before its end */
};

/* A Confirm is split into commands; the client is answered when all are decided. */
struct gate_confirm {
    unsigned left;
    uint32_t retry_after_ms;
    enum an_err err; /* the first */
    uint64_t cursor;
};

struct gate_name;

/* A Sync some of whose events have their message on another store. They are fetched in
 * the page's order, a few at a time, until all are there or the page is full. */
struct gate_fetch {
    struct gate_fetch *next, **link; /* in gate.fetches */
    struct gate_op *op;              /* the Sync */
    Anser__Client__SyncOk *page;
    struct gate_hollow *hollows; /* by event */
    size_t count, asked;
    size_t failed; /* the first that could not be had; count: none */
    unsigned left; /* asked and not answered */
};

struct gate_op {
    struct gate_op *next; /* in whatever holds it */
    struct gate_conn *conn;
    uint64_t trace;
    uint64_t peer; /* key of the other user; OP_LOGIN: of the user */
    uint32_t request;
    uint32_t bytes;    /* counted in op_bytes of gate and connection */
    uint32_t since_ms; /* low bits of the monotonic clock */
    uint16_t slot;
    uint8_t what; /* enum gate_what */
    uint8_t hops; /* to another sequencer */
    uint8_t peer_len;
    union {
        struct {
            struct gate_op *newer, *older; /* of the connection */
            uint64_t order;                /* grows with every Send of the gate */
            uint32_t type, body_len;
            bool has_after, again; /* again: keeps the place it had when refused */
            uint8_t id[AN_CLIENT_MSG_ID_LEN];
            uint8_t after[AN_CLIENT_MSG_ID_LEN];
        } send;
        struct {
            struct gate_confirm *all;
            uint64_t seq, generation;
        } confirm;
        struct {
            uint64_t after, before, generation;
            uint32_t limit;
            bool oldest_first;
            struct gate_fetch *fetch; /* being completed */
        } page;
        struct {
            struct gate_fetch *all;
            size_t hollow;
        } fetch;
        struct {
            unsigned rereads;
            bool announced; /* a router knows, or is away */
        } login;
        struct gate_name *name; /* OP_RESOLVE, OP_NAME */
        struct an_frame frame;  /* OP_HELD; its body is the data */
    } u;
    uint8_t data[]; /* the peer's name; a Send's body behind it */
};

struct gate_ops { /* a queue */
    struct gate_op *first, *last;
};

/* A user name and its key, or who waits for it. */
struct gate_name {
    struct an_chained chained;       /* first; in gate_names */
    struct gate_name *older, *newer; /* by age */
    uint64_t user;                   /* 0: being asked for */
    uint64_t checked_ms;             /* when the user's state was heard of; 0: never */
    uint64_t version;                /* of the state */
    bool deleted;
    bool checking; /* the state is being asked for */
    bool busy;     /* its ops are going on */
    struct gate_ops waiting;
    uint8_t app_len, name_len;
    uint8_t text[]; /* app, name */
};

struct gate_names {
    struct an_chains by_text;
    struct gate_name *oldest, *newest;
};

struct gate_pipe;

/* A queue whose members go to its end again while they have more. */
struct gate_seat {
    struct gate_seat *next;
};

struct gate_round {
    struct gate_seat *first, *last;
};

/* What waits for one (sequencer, store). */
struct gate_pipe {
    struct gate_pipe *next;
    uint16_t sequencer, store;
    bool positions; /* confirms and deliveries, which wait for company: sends must not */
    unsigned flying;
    struct gate_round turns; /* of users with commands waiting */
};

/* An ask under way. */
struct gate_batch {
    struct gate_batch *next;
    uint64_t tag;
    struct gate_pipe *pipe; /* SUBMIT */
    uint16_t store;         /* READ */
    size_t count;
    struct gate_op *ops[];
};

struct gate_store {
    struct gate_ops ops; /* waiting */
    unsigned flying;
};

struct gate_down {
    uint64_t user, conn;
};

/* One router. */
struct gate_link {
    uint64_t view;   /* its number for us; 0: not heard yet */
    uint64_t number; /* of our newest announcement */
    bool all;        /* the next announcement lists everything */
    bool flying, flying_all;
    bool answered; /* once in our life */
    bool heard;    /* a hint of it, once in our life */
    bool retry_armed;
    uint32_t retry_ms; /* not 0: the last announcement failed */
    uint64_t sent_ms;
    struct gate_ops ups;     /* logins to announce */
    struct gate_ops told;    /* logins in the announcement under way */
    struct gate_down *downs; /* to announce */
    size_t down_count, down_cap;
};

struct gate {
    struct an_actor actor;
    const struct an_topology *topology;
    const struct an_token_keys *keys;
    const struct an_apps *apps;
    uint16_t index;
    uint32_t conns_max, heartbeat_ms, tick_ms, idle_ms, login_timeout_ms,
        output_bytes_max, sends_max, submits_flying_max;
    uint64_t incarnation;        /* of this life, for routers */
    struct an_rng rng;           /* of traces */
    struct an_hash_key hash_key; /* clients choose names and addresses */
    uint64_t started_ms;
    bool ready, stopping, stopped, draining;
    bool joined_sequencer, joined_store; /* one of them has answered */
    unsigned joining;                    /* asks under way */
    uint64_t said_ms;                    /* for whom we wait */
    enum an_err leave_err;               /* what those who leave are told */
    uint64_t leave_ms, leave_spread_ms;  /* since when, and over how long */
    uint64_t goodbye_ms;                 /* when the last one was said */
    size_t leave_total, leave_told;
    bool leave_armed;

    struct an_chains conns;           /* by id, which the door makes and nobody chooses */
    size_t closing_count;             /* of them, those that were told the last word */
    struct gate_conn opening, active; /* rings; the oldest behind newer */
    struct gate_conn checked;         /* likewise, behind checked_newer */
    struct gate_names names;
    struct gate_rates rates;
    struct gate_pipe *pipes;    /* commands to (sequencer, store), made when needed */
    struct gate_store *stores;  /* queries to each, by index */
    struct gate_link *links;    /* routers, by index */
    struct gate_batch *batches; /* asks under way */
    struct gate_fetch *fetches; /* Syncs that are being completed */
    struct gate_ops heads;      /* heartbeats that wait for the next read of heads */
    uint16_t *owner;            /* the sequencer of each slot, as last told */

    uint64_t next_tag;         /* the newest of an ask, */
    uint64_t next_order;       /* and of a Send in the order of sending */
    size_t op_bytes, op_count; /* of all clients' requests */
    uint32_t drains;           /* so many were; it may wrap */
    struct an_now now;         /* of the step */
    struct an_outbox *out;
    struct an_arena frame;   /* a client's body while its frame is handled */
    struct an_arena scratch; /* a bus message while it is put together */
#define GATE_FIELD(name, help) uint64_t name;
    struct {
        GATE_COUNTERS(GATE_FIELD)
#define GATE_RATE_FIELD(name, of, command, what) uint64_t over_##name;
        GATE_RATES(GATE_RATE_FIELD)
#undef GATE_RATE_FIELD
    } counted;
#undef GATE_FIELD
};

/* What tags of timers and asks begin with. */
enum { TAG_TICK = 1, TAG_HEADS, TAG_LINK, TAG_SUBMIT, TAG_READ, TAG_JOIN, TAG_LEAVE };
#define GATE_TAG(what, n)  ((uint64_t)(what) << 56 | (uint64_t)(n))
#define GATE_TAG_WHAT(tag) ((unsigned)((tag) >> 56))
#define GATE_TAG_N(tag)    ((tag)&0xffffffffffffffu)

/* ------------------------------------------------------------------ gate_conn.c */

/* NULL: unknown, or gone. */
struct gate_conn *gate_conn_find(const struct gate *g, uint64_t id);
/* The one behind c, in no order; NULL: the first. NULL: that was the last. None comes or
 * goes in between. */
struct gate_conn *gate_conn_walk(const struct gate *g, const struct gate_conn *c);
/* A client connected: takes it, or turns it away when there are too many. */
void gate_conn_open(struct gate *g, uint64_t id, const uint8_t address[AN_ADDRESS_LEN]);
/* The door says that it is gone. */
void gate_conn_closed(struct gate *g, uint64_t id);
/* The door says how many bytes its client has not taken. */
void gate_conn_output(struct gate *g, uint64_t id, uint64_t bytes);
/* Frees a connection that is gone once no op points at it. */
void gate_conn_unref(struct gate *g, struct gate_conn *c);
/* To the end of its list: it is alive. */
void gate_conn_touch(struct gate *g, struct gate_conn *c);
/* Logged in: moves it from opening to active. */
void gate_conn_ready(struct gate *g, struct gate_conn *c);
void gate_conn_walk_old(struct gate *g);
/* A frame out; nothing for a connection that is closing. Too much unread output closes
 * it. */
void gate_conn_answer(struct gate *g, struct gate_conn *c, unsigned command,
                      uint32_t request, const ProtobufCMessage *body);
void gate_conn_send_packed(struct gate *g, struct gate_conn *c, unsigned command,
                           uint16_t flags, uint32_t request, const uint8_t *body,
                           size_t len);
/* id: of a refused Send, else NULL. */
void gate_conn_error(struct gate *g, struct gate_conn *c, unsigned command,
                     uint32_t request, enum an_err err, uint32_t retry_after_ms,
                     const uint8_t *id);
void gate_conn_goodbye(struct gate *g, struct gate_conn *c, enum an_err err);
void gate_conn_close(struct gate *g, struct gate_conn *c);
/* Has it room for a page? */
bool gate_conn_reads(const struct gate *g, const struct gate_conn *c);
void gate_conn_table_fini(struct gate *g);

/* ------------------------------------------------------------------ ops: gate.c */

/* NULL when the gate holds as many bytes of requests as it may. */
struct gate_op *gate_op_create(struct gate *g, struct gate_conn *c, enum gate_what what,
                               uint32_t request, const void *peer, size_t peer_len,
                               const void *body, size_t body_len);
/* Counts what the op has come to hold beside itself. false: the gate holds too much; its
 * connection's share is not asked, for the op was let in. */
bool gate_op_grow(struct gate *g, struct gate_op *op, size_t bytes);
void gate_op_free(struct gate *g, struct gate_op *op);
/* Tells the client and frees it. */
void gate_op_fail(struct gate *g, struct gate_op *op, enum an_err err,
                  uint32_t retry_after_ms);
void gate_ops_push(struct gate_ops *ops, struct gate_op *op);
struct gate_op *gate_ops_pop(struct gate_ops *ops);
struct gate_batch *gate_batch_create(struct gate *g, unsigned what, size_t count);
/* NULL: not ours, or answered already. Takes it out of the list; the caller frees it. */
struct gate_batch *gate_batch_take(struct gate *g, uint64_t tag);
/* The client_msg_id in hex. out: 2 * AN_CLIENT_MSG_ID_LEN + 1 bytes. Returns out. */
const char *gate_json_id(char *out, const uint8_t id[AN_CLIENT_MSG_ID_LEN]);
/* Quotes a name for JSON. out: 2 * AN_NAME_LEN_MAX + 1 bytes. Returns out. */
const char *gate_json_name(char *out, const uint8_t *name, size_t len);
/* What a client is told instead of our inner errors. */
enum an_err gate_client_err(unsigned err);

/* ------------------------------------------------------------------ gate_join.c */

/* Asks those whom no client can be served without, until one of each has answered. */
void gate_join(struct gate *g);
void gate_join_answered(struct gate *g, const struct an_msg *msg);
/* Says once that clients are let in, when they are. */
void gate_joined_if(struct gate *g);

/* ------------------------------------------------------------------ gate_leave.c */

/* Clients are asked to connect elsewhere, within so many ms; nobody is let in. */
void gate_drain(struct gate *g, uint64_t spread_ms);
/* Clients are let in again; who was asked to leave still leaves. */
void gate_undrain(struct gate *g);
/* All clients leave now. */
void gate_stop(struct gate *g);
void gate_leave_due(struct gate *g);
/* An unanswered Send of the connection is about to be freed, after its answer: was it
 * the last one that a leaving client waited for? */
void gate_left_if(struct gate *g, struct gate_conn *c);
/* Says once that the gate has stopped, when it has. */
void gate_stopped_if(struct gate *g);

/* ------------------------------------------------------------------ gate_inspect.c */

/* An INSPECT. */
void gate_inspect(struct gate *g, struct an_msg *msg);

/* ------------------------------------------------------------------ gate_client.c */

/* One whole frame from a client. */
void gate_client_frame(struct gate *g, struct gate_conn *c, const struct an_msg *msg);
/* A line that is no JSON object: a request that no user is known to have made. */
void gate_client_bad_line(struct gate *g, struct gate_conn *c);
/* The login has ended, well or not: what came behind it is handled now. */
void gate_client_held(struct gate *g, struct gate_conn *c);
/* Drops what was not handled: held frames and waiting pages. */
void gate_client_drop(struct gate *g, struct gate_conn *c);
/* One command of a Confirm is decided: frees it, and answers when it was the last. */
void gate_confirm_part(struct gate *g, struct gate_op *op);
/* The next page, if one may be asked for now. */
void gate_client_pages(struct gate *g, struct gate_conn *c);
/* op's peer name has become op->peer, or could not. */
void gate_client_resolved(struct gate *g, struct gate_op *op, enum an_err err);

/* ------------------------------------------------------------------ gate_order.c */

/* May this Send go now, or must others be sent again before it? *number: its place in the
 * order of sending, in either case. */
bool gate_order_admits(struct gate *g, struct gate_conn *c,
                       const Anser__Client__Send *send, uint64_t *number);
/* One that may be retried was refused: later ones to the conversation must wait for it.
 * Closes the connection when that cannot be remembered. */
void gate_order_refuse(struct gate *g, struct gate_conn *c, const uint8_t *to,
                       size_t to_len, const uint8_t *id, uint64_t number);
/* The same after op, a Send, was answered with err. */
void gate_order_refused(struct gate *g, struct gate_op *op, enum an_err err);
/* The Send was taken: nothing waits for it any more. */
void gate_order_accepted(struct gate_op *op);
/* Fills in behind which unanswered Send the sequencer is to take this one. */
void gate_order_after(struct gate_op *op);
/* Forgets what was refused. */
void gate_order_drop(struct gate_conn *c);

/* ------------------------------------------------------------------ gate_rate.c */

void gate_rate_init(struct gate *g, const struct gate_cfg *cfg);
/* A connection from there. AN_ERR_ADDRESS_FULL, AN_ERR_BUSY: it was not counted. */
enum an_err gate_rate_open(struct gate *g, struct gate_conn *c,
                           const uint8_t address[AN_ADDRESS_LEN]);
void gate_rate_closed(struct gate *g, struct gate_conn *c);
/* A Login for this user: his connection from now on, until gate_rate_user_gone, also if
 * the answer is AN_ERR_RATE. AN_ERR_BUSY: without memory. */
enum an_err gate_rate_user(struct gate *g, struct gate_conn *c, uint64_t user,
                           uint32_t *retry_after_ms);
void gate_rate_user_gone(struct gate *g, struct gate_conn *c);
/* May the user, and the address, do that now? Then it is counted; else AN_ERR_RATE. */
enum an_err gate_rate_take(struct gate *g, struct gate_conn *c, unsigned command,
                           uint32_t *retry_after_ms);
void gate_rate_tick(struct gate *g);
/* After all connections. */
void gate_rate_fini(struct gate *g);

/* ------------------------------------------------------------------ gate_login.c */

/* A Login: the token is judged now, the rest follows by messages. */
void gate_login(struct gate *g, struct gate_conn *c, uint32_t request,
                const Anser__Client__Login *login);
/* Refuses it; trying again on this connection is possible only when that may help. */
void gate_login_failed(struct gate *g, struct gate_conn *c, uint32_t request,
                       enum an_err err, uint32_t retry_after_ms);
/* The user's key is known. */
void gate_login_resolved(struct gate *g, struct gate_op *op);
/* A router knows the session now. */
void gate_login_announced(struct gate *g, struct gate_op *op);
void gate_login_read(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *a);
void gate_heartbeat(struct gate *g, struct gate_conn *c, uint32_t request);
void gate_heartbeat_read(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *a);
void gate_heads_due(struct gate *g);

/* ------------------------------------------------------------------ gate_account.c */

/* May it stay, as far as the state says? USER_DELETED, USER_FORBIDDEN, TOKEN_REVOKED. */
enum an_err gate_account_judge(const struct gate_conn *c,
                               const Anser__Bus__AccountState *state);
/* The same of a login's answer, which is kept. */
enum an_err gate_account_login(struct gate *g, struct gate_conn *c,
                               const Anser__Bus__Answer *answer);
/* A heartbeat's answer: closes it when it may not stay. */
void gate_account_seen(struct gate *g, struct gate_conn *c,
                       const Anser__Bus__Answer *answer);
bool gate_account_muted(const struct gate *g, const struct gate_conn *c);
/* A router says that the user's account, or one device's, has changed. */
void gate_account_changed(struct gate *g, uint64_t user,
                          const Anser__Bus__AccountState *state);
/* Asks about those of which nothing was heard for a heartbeat. */
void gate_account_tick(struct gate *g);
/* The connection is READY, and its account was heard of just now. */
void gate_account_heard(struct gate *g, struct gate_conn *c);
/* It is READY no more, or never was. */
void gate_account_gone(struct gate_conn *c);
void gate_account_read(struct gate *g, struct gate_op *op,
                       const Anser__Bus__Answer *answer);
/* Has the device written down, if what was read of a connection that is logged in says
 * that it was not, or not for long. */
void gate_account_note(struct gate *g, struct gate_conn *c,
                       const Anser__Bus__Answer *answer);
void gate_account_noted(struct gate *g, struct gate_op *op, enum an_err err);

/* ------------------------------------------------------------------ gate_names.c */

/* Fills op->peer from the peer name in op->data, now or later, and goes on with
 * gate_client_resolved. */
void gate_name_resolve(struct gate *g, struct gate_op *op, const uint8_t *app,
                       size_t app_len);
void gate_name_read(struct gate *g, struct gate_op *op, enum an_err err, uint64_t user);
/* The state of its user, or (answer NULL) why there is none. */
void gate_name_state(struct gate *g, struct gate_op *op, enum an_err err,
                     const Anser__Bus__Answer *answer);
/* A router says that the user's state has changed. */
void gate_names_changed(struct gate *g, uint64_t user,
                        const Anser__Bus__AccountState *state);
void gate_names_fini(struct gate *g);

/* ------------------------------------------------------------------ gate_lanes.c */

/* Behind what its connection has there. false: without memory. */
bool gate_lane_push(struct gate_pipe *pipe, struct gate_op *op);
/* The next command in the round; NULL: none is waiting. */
struct gate_op *gate_lane_pop(struct gate_pipe *pipe);

/* ------------------------------------------------------------------ gate_submit.c */

/* Queues a command; op->slot is set. */
void gate_submit(struct gate *g, struct gate_op *op);
void gate_submit_drained(struct gate *g);
void gate_submit_done(struct gate *g, const struct an_msg *msg);
void gate_submit_fini(struct gate *g);

/* ------------------------------------------------------------------ gate_read.c */

/* Queues a query for the store of op->slot. */
void gate_read(struct gate *g, struct gate_op *op);
/* Asks stores what has gathered. */
void gate_read_drained(struct gate *g);
/* An answer to a READ. */
void gate_read_done(struct gate *g, const struct an_msg *msg);
/* A Sync or History of this connection is answered: the next may go. */
void gate_page_done(struct gate *g, struct gate_op *op, const uint8_t *body, size_t len);

/* ------------------------------------------------------------------ gate_fetch.c */

/* The answer to a Sync names messages elsewhere: completes the page, then answers. */
void gate_fetch(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *answer);
/* What to ask for an OP_FETCH; seq and conversation are borrowed from it. */
void gate_fetch_query(const struct gate_op *op, Anser__Bus__MessageQuery *query);
/* One message has come, or (answer NULL) could not be read. */
void gate_fetch_read(struct gate *g, struct gate_op *op, enum an_err err,
                     const Anser__Bus__Answer *answer);
/* Frees it with its page, not its op. NULL is fine. */
void gate_fetch_free(struct gate_fetch *fetch);

/* ------------------------------------------------------------------ gate_router.c */

/* Announces the session of a login, which goes on when a router knows it. */
void gate_router_up(struct gate *g, struct gate_op *login);
/* Announces its end, if it was announced. */
void gate_router_down(struct gate *g, struct gate_conn *c);
/* Tells routers what has changed. */
void gate_router_drained(struct gate *g);
/* An answer to SESSIONS. */
void gate_router_done(struct gate *g, const struct an_msg *msg);
/* Not joined yet: asks routers that were not heard for a sign. */
void gate_router_listen(struct gate *g);
/* The pause after a failed announcement is over. */
void gate_router_retry(struct gate *g, uint64_t index);
/* Signs of life, once a heartbeat. */
void gate_router_tick(struct gate *g);
/* A DELIVER. */
void gate_router_deliver(struct gate *g, const struct an_msg *msg);
/* Frees links and what waits in them. */
void gate_router_fini(struct gate *g);

#endif
