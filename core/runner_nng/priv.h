/* The inside of the NNG runner, shared by its files:
 *
 *   runner.c      creating, starting and stopping; threads
 *   turn.c        one turn of an actor: messages in, steps, effects out
 *   msgs.c        the messages' pool, and what is checked before an actor sees one
 *   inbox.c       what other threads leave for an instance
 *   links.c       who is reached how: addresses, certificates, listening and dialing
 *   mailbox.c     requests in, answers out (REP)
 *   peers.c       asks out, answers in (REQ)
 *   pubsub.c      hints (PUB, SUB)
 *   local.c       asks and hints within the process, past NNG
 *   pool.c        offload lanes
 *   timers.c      a heap of due times
 *   inspect.c     the text and event endpoints
 *   words.c       words that the runner answers for every actor
 *   trace.c       a ring of the hops that messages took
 *   warden.c      looks after the connections to other processes
 *   faults.c      why a connection was not made
 *   control.c     words asked by a command
 *   mend.c        faults of NNG 1.5.2, mended from outside
 *
 * Threads: NNG's task threads run callbacks, which only put a parcel into an instance's
 * inbox (or send a prepared refusal); everything else about an instance happens on its
 * own thread. */
#ifndef AN_CORE_RUNNER_NNG_PRIV_H
#define AN_CORE_RUNNER_NNG_PRIV_H

#include "core/actor.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/runner_nng.h"
#include "proto/envelope.h"
#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

struct an_metrics;
struct instance;
struct tls;
struct warden;
struct peer;
struct pooled;

enum {
    WHO_LEN = 24,      /* "sequencer/65535" */
    URL_LEN = 128,     /* NNG's own bound of inproc and ipc addresses */
    NNG_BUFFER = 8192, /* the most NNG allows */
    RECONNECT_MIN_MS = 10,
    RECONNECT_MAX_MS = 200, /* between two dials of a peer that is away */
    CONNECT_GRACE_MS =
        1000,           /* after start an ask waits for its dial instead of failing */
    LOG_GAP_MS = 1000,  /* between two lines about bad messages */
    INSPECT_MS = 10000, /* an actor's time to answer words */
    WORDS_MAX = 1024,   /* of one question */
};

/* ------------------------------------------------------------------ inbox */

enum parcel_type {
    PARCEL_REQUEST,      /* struct held */
    PARCEL_ANSWER,       /* struct call */
    PARCEL_LOCAL_ASK,    /* struct local */
    PARCEL_LOCAL_ANSWER, /* struct local */
    PARCEL_PUBLISHED,    /* struct hint */
    PARCEL_WORDS,        /* struct question */
    PARCEL_COLLECT,      /* struct gather */
};

/* What callbacks hand to an instance's thread; embedded in whatever it is part of, so
 * that handing over takes no memory. */
struct parcel {
    struct parcel *next;
    enum parcel_type type;
};

struct inbox {
    pthread_mutex_t lock;
    sem_t wake;
    struct parcel *head, **tail;
    struct an_job *jobs, **jobs_tail; /* done */
    uint32_t requests;                /* in the list, or taken but not stepped */
    uint64_t hint_bytes;              /* likewise */
    bool sleeping;                    /* a wake-up is needed */
    bool start, stop, quit;
};

/* An embedded inbox, not yet shared with any thread. */
void inbox_init(struct inbox *inbox);
/* No thread may use it any more. */
void inbox_fini(struct inbox *inbox);
/* Any thread. Wakes the instance when it sleeps. */
void inbox_put(struct instance *inst, struct parcel *parcel);
void inbox_put_job(struct instance *inst, struct an_job *job);
/* As inbox_put, refused at the bound of requests or of hint bytes. */
bool inbox_put_request(struct instance *inst, struct parcel *parcel);
bool inbox_put_hint(struct instance *inst, struct parcel *parcel, size_t bytes);
void inbox_flag(struct instance *inst, bool *flag);
/* The instance's thread: waits for something to be put, at most so long, or for no reason
 * less. False: the thread should end. */
bool inbox_sleep(struct inbox *inbox, uint64_t wait_ms);

/* ------------------------------------------------------------------ NNG's counters */

/* X(name in NNG, what it means): of a dialer or a listener; there is nothing else that
 * tells why a connection was not made. */
#define FAULTS(X)                                                                        \
    X(auth, "a certificate was refused, or the other side does not speak TLS")           \
    X(proto, "the other side does not speak this protocol")                              \
    X(refused, "nobody listens there")                                                   \
    X(timeout, "no answer in time")                                                      \
    X(disconnect, "the connection was reset")                                            \
    X(other, "the connection was closed, or the address is not to be reached")

#define FAULT_ENUM(name, meaning) FAULT_##name,
enum fault { FAULTS(FAULT_ENUM) FAULT_COUNT };
#undef FAULT_ENUM

struct faults {
    uint64_t count[FAULT_COUNT];
};

/* Of the dialer or listener ("dialer", "listener") of this number. False: not there. */
bool faults_read(nng_stat *all, const char *scope, unsigned id, struct faults *out);
/* The first kind that is more now; FAULT_COUNT: none. */
enum fault faults_newer(const struct faults *before, const struct faults *now);
/* NULL of FAULT_COUNT. */
const char *fault_meaning(enum fault fault);

/* ------------------------------------------------------------------ links */

enum {
    HOST_NONE = AN_HOST_NONE,
    EARS_MAX = 3,
    LINK_PIPES_MAX = 4, /* one that is up; closed ones that NNG still takes apart */
};

/* How an instance is reached. */
enum reach { REACH_INPROC, REACH_IPC, REACH_TLS, REACH_COUNT };

/* One connection that we dial: of a peer, or of a gate's SUB socket to one router. */
struct link {
    struct an_runner *runner;
    struct instance *inst; /* who dials */
    struct an_addr to;
    enum reach reach;
    uint16_t host; /* of `to`; HOST_NONE without places */
    char url[URL_LEN];
    nng_socket socket;
    atomic_uint dialer;                 /* NNG's number */
    atomic_int pipes;                   /* connections that are up, */
    atomic_uint pipe[LINK_PIPES_MAX];   /* and NNG's numbers of them; 0: none */
    _Atomic uint64_t connects, lost_ms; /* how often, when last (monotonic; 0: never) */
    struct link *next;                  /* of the same socket */

    /* The warden's. */
    struct faults faults;                /* at its last look */
    const char *why;                     /* the newest one's meaning */
    uint64_t down_ms, said_ms, moved_ms; /* since when, said when, when a dial ended */
};

/* One address that others dial. */
struct ear {
    char url[URL_LEN];
    nng_listener listener;
    enum reach reach;
    struct faults faults; /* the warden's: at its last line, */
    uint64_t said_ms;     /* and when that was */
};

/* The address of `to` seen over reach; gate NULL: its mailbox, else its hints for that
 * gate. cfg: cluster, run_dir and places. */
void link_url(const struct an_runner_cfg *cfg, enum reach reach, struct an_addr to,
              const uint16_t *gate, char out[URL_LEN]);
/* The configuration of who dials that host. The caller frees it. AN_ERR_CONFIG with *why.
 */
enum an_err link_tls(nng_tls_config **out, const struct an_places *places, uint16_t host,
                     char *why, size_t why_len);
/* Sets it, and what else a dialer between hosts needs. An NNG error number. */
int link_tls_dialer(nng_dialer dialer, nng_tls_config *config);
/* Where this process is, and its certificates when hosts are several. AN_ERR_CONFIG with
 * *why, AN_ERR_NO_MEMORY; to be closed also then. */
enum an_err links_open(struct an_runner *runner, char *why, size_t why_len);
void links_close(struct an_runner *runner);
/* May `from` ask `to` anything? The table says. */
bool may_ask(unsigned from, unsigned to);
/* Makes the link and dials it, without waiting. gate: the hints for that gate; NULL: the
 * mailbox. first: of this socket's links, with their order in next. An NNG error number.
 */
int link_dial(struct link *link, struct instance *inst, nng_socket socket,
              struct an_addr to, const uint16_t *gate, struct link *first);
/* Dials anew. */
void link_restart(struct link *link);
/* Listens wherever somebody looks for this mailbox, or for these hints. *why names the
 * address. An NNG error number. */
int links_listen(struct instance *inst, nng_socket socket, const uint16_t *gate,
                 struct ear ears[EARS_MAX], char *why, size_t why_len);

/* Lets the kernel notice within AN_LINK_DEAD_MS when the host at the other end is gone:
 * on every connection between hosts; listening not 0: on the listener of that port, for
 * those it will accept. NNG itself can only turn keepalive on, whose default is two
 * hours. Reads /proc/self/fd: some 10 ms with 16,000 descriptors. */
void links_watch_host(uint16_t listening);
/* AN_ERR_NO_MEMORY. */
enum an_err warden_start(struct an_runner *runner);
/* Before anything of an instance is closed. */
void warden_stop(struct an_runner *runner);

/* ------------------------------------------------------------------ mailbox */

enum held_phase { HELD_FREE, HELD_RECEIVING, HELD_QUEUED, HELD_SENDING };

/* One request, from its receive to the end of its answer's send. */
struct held {
    struct parcel parcel;
    struct mailbox *mailbox;
    nng_ctx ctx;
    nng_aio *aio;
    nng_msg *msg; /* until it is unpacked */
    uint64_t received_ms;
    enum held_phase phase;
    struct held *next_free;
};

struct mailbox {
    struct instance *inst;
    nng_socket socket;
    pthread_mutex_t lock;
    struct held **all;
    size_t count, cap;
    struct held *free;
    bool receiving; /* exactly one context receives at a time: that keeps the order */
    bool closing;
    bool open;
    struct ear ears[EARS_MAX];
};

/* Binds the REP socket and receives from now on. AN_ERR_CONNECTION with *why, _NO_MEMORY;
 * to be closed also then. */
enum an_err mailbox_open(struct mailbox *mailbox, struct instance *inst, char *why,
                         size_t why_len);
/* Closes the socket; no callback runs after it. A zeroed one is fine. */
void mailbox_close(struct mailbox *mailbox);
/* After mailbox_close, when no parcel of its is looked at any more. */
void mailbox_free(struct mailbox *mailbox);
/* Takes msg. */
void mailbox_answer(struct held *held, nng_msg *msg);

/* ------------------------------------------------------------------ asks */

/* One ask, from its send to the hand-over of its end. */
struct call {
    struct parcel parcel;
    struct peer *peer;
    nng_ctx ctx;
    nng_aio *aio;
    bool sent;
    nng_msg *msg;    /* the answer, when err is AN_OK */
    enum an_err err; /* otherwise */
    uint64_t deadline_ms;
    uint64_t tag, trace;
    uint16_t kind; /* asked */
    struct call *next_free;

    /* Within the process: the thread's own. */
    bool local;      /* an ask is out */
    bool answered;   /* and its answer is here: its time is over no more */
    uint64_t number; /* of asks so far */
};

struct peer {
    struct instance *inst;
    nng_socket socket;
    struct link link;
    struct call calls[AN_BUS_OUTSTANDING_MAX];
    struct call *free;
    uint64_t grace_until_ms;
    bool open;
    struct instance *local; /* in this process, and asked past NNG; or NULL */
};

/* Dials everybody whom the table lets this role ask, without waiting. AN_ERR_NO_MEMORY,
 * _CONNECTION; to be closed also then. */
enum an_err peers_open(struct instance *inst);
/* No callback runs after it. */
void peers_close(struct instance *inst);
/* After peers_close, when no parcel of theirs is looked at any more. */
void peers_free(struct instance *inst);
/* AN_OK: a parcel will come. Otherwise nothing was sent: AN_ERR_BUSY, _UNAVAILABLE,
 * _NO_MEMORY, _ENVELOPE (too large). */
enum an_err peers_ask(struct instance *inst, const struct an_effect *effect,
                      const uint8_t *body, uint64_t mono_ms);
/* The parcel was taken care of. */
void call_free(struct call *call);
/* Hands it over with what became of it; err is not AN_OK. */
void call_ended(struct call *call, enum an_err err);

/* ------------------------------------------------------------------ in one process */

struct local;
struct pubsub;

/* Notes which peers, and for a router which gates, are of this process. All instances
 * were added, the thread does not run yet. Later ones are reached through NNG: never
 * both, for the sake of the order. */
void locals_find(struct instance *inst);
/* The asker's thread. Takes msg; a parcel will come, also at the deadline of the call. */
void local_ask(struct call *call, nng_msg *msg, uint64_t mono_ms);
/* The asker's thread. Takes a PARCEL_LOCAL_ANSWER; NULL: it came too late. */
struct call *local_answered(struct parcel *parcel);
/* The asker's thread: ends the asks whose time was up at mono_ms, and whose answer was
 * not in the inbox when it was last taken, which has to be later. */
void locals_expire(struct instance *inst, uint64_t mono_ms);
/* The thread of the one asked: the request of a PARCEL_LOCAL_ASK, still owned by it ...
 */
nng_msg *local_request(const struct local *local, uint64_t *received_ms);
/* ... which was freed: the actor holds it now ... */
void local_hold(struct instance *inst, struct local *local);
/* ... and answers. Takes msg. */
void local_answer(struct instance *inst, struct local *local, nng_msg *msg);
/* Either parcel: nobody will look at it. */
void local_drop(struct parcel *parcel);
/* Asks that were never answered; the actor is gone. */
void locals_drop(struct instance *inst);
/* The router's thread. True: msg was taken, and dropped if need be. */
bool local_publish(struct pubsub *pub, nng_msg *msg);

/* ------------------------------------------------------------------ hints */

struct hint {
    struct parcel parcel;
    nng_msg *msg;
};

/* A router's socket to one gate, or a gate's from all routers. */
struct pubsub {
    struct instance *inst;
    nng_socket socket;
    nng_aio *aio;
    bool open;
    struct ear ears[EARS_MAX]; /* PUB */
    struct link *links;        /* SUB: by router index */
    size_t link_count;
    struct instance *local; /* PUB: the gate, if it is of this process */
};

/* A router: one bound PUB socket for each gate. AN_ERR_CONNECTION with *why, _NO_MEMORY.
 */
enum an_err pubs_open(struct instance *inst, char *why, size_t why_len);
/* A gate: dials every router, without waiting. AN_ERR_CONNECTION, _NO_MEMORY. */
enum an_err sub_open(struct instance *inst);
/* Closes either; no callback runs after it. */
void pubsub_close(struct instance *inst);
/* A hint for the gate inst; dropped and counted at its bound. Takes msg. Any thread. */
void hint_put(struct instance *inst, nng_msg *msg);
/* One PUBLISH effect; dropped and counted when it cannot be sent. */
void pubs_publish(struct instance *inst, const struct an_effect *effect,
                  const uint8_t *body);

/* ------------------------------------------------------------------ timers */

struct timer {
    uint64_t at_mono_ms;
    uint64_t order; /* equal times fire in the order they were set */
    uint64_t tag;
};

struct timers {
    struct timer *heap;
    size_t count, cap;
    uint64_t set;
};

/* Aborts without memory, as every effect does. */
void timers_add(struct timers *timers, uint64_t at_mono_ms, uint64_t tag);
/* Is one due? Removes it. */
bool timers_take(struct timers *timers, uint64_t mono_ms, uint64_t *tag);
/* When the next one is due; UINT64_MAX: never. */
uint64_t timers_next(const struct timers *timers);
/* Forgets all. */
void timers_fini(struct timers *timers);

/* ------------------------------------------------------------------ lanes */

struct pool_entry;

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct pool_entry *head, **tail;
    pthread_t *threads;
    unsigned count;
    bool humble; /* gives way to everything else that wants the processor */
    bool quit;
};

struct pool {
    struct lane lanes[AN_LANE_COUNT];
};

/* readers: threads of the READ lane; APPLY and HASH have one. AN_ERR_NO_MEMORY; stop it
 * also then.
 */
enum an_err pool_start(struct pool *pool, unsigned readers);
/* Runs the job on a thread of its lane, then puts it into the instance's inbox. */
void pool_offload(struct pool *pool, struct instance *inst, struct an_job *job);
/* Runs what is queued, then ends the threads. */
void pool_stop(struct pool *pool);

/* ------------------------------------------------------------------ inspection */

struct inspect;
struct question;
struct gather;

/* Either URL may be NULL. *out is to be closed also after an error; *why names the
 * address. AN_ERR_CONNECTION, _NO_MEMORY. */
enum an_err inspect_open(struct inspect **out, struct an_runner *runner,
                         const char *control, const char *events, char *why,
                         size_t why_len);
/* No instance may run any more. NULL is fine. */
void inspect_close(struct inspect *inspect);
/* Does anybody listen to events? Any thread. */
bool inspect_watched(const struct inspect *inspect);
/* The instance's thread. */
void inspect_event(struct inspect *inspect, struct instance *inst, const uint8_t *line,
                   size_t len);
/* The instance's thread: the words of a question; what was said to it (a packed
 * Inspected); the instance's numbers for a gathering, or nothing when inst is NULL. */
const char *question_words(const struct question *question);
void question_answer(struct question *question, enum an_err err, const uint8_t *body,
                     size_t len);
void gather_add(struct parcel *parcel, struct instance *inst);

/* True: the runner answered this INSPECT by itself. */
bool words_answer(struct instance *inst, struct an_msg *msg);

/* ------------------------------------------------------------------ traces */

struct kept_hop {
    struct an_hop_note note;
    uint64_t time_us; /* Unix time, of the end of its turn */
};
_Static_assert(sizeof(struct kept_hop) == 40, "core/limits.h says so");

/* Zeroed: keeps nothing. */
struct ring {
    struct kept_hop *kept; /* AN_TRACE_HOPS; NULL: none */
    uint64_t total;        /* ever added */
};

/* False without memory. */
bool ring_open(struct ring *ring);
void ring_close(struct ring *ring);
void ring_add(struct ring *ring, const struct an_hop_note *notes, size_t count);
/* Writes members of a JSON object: "notes" of a message id (decimal) or a trace (16 hex
 * digits), "more", "since_us". False: it is neither. */
bool ring_find(const struct ring *ring, const char *id, FILE *out);

/* ------------------------------------------------------------------ instance */

/* X(name, sentence): the runner's own counters of an instance. */
#define RUNNER_COUNTERS(X)                                                               \
    X(steps, "Messages handled by the actor")                                            \
    X(drains, "Times that the actor acted on what it had gathered")                      \
    X(requests, "Requests taken from the mailbox")                                       \
    X(answers, "Answers to requests of others")                                          \
    X(asks, "Asks sent to other actors")                                                 \
    X(asks_busy, "Asks not sent: too many without an answer")                            \
    X(asks_unavailable, "Asks not sent: no connection")                                  \
    X(asks_timeout, "Asks that were not answered in time: outcome unknown")              \
    X(refused_busy, "Requests refused: the mailbox was full")                            \
    X(refused_expired, "Requests answered EXPIRED: their asker had given up")            \
    X(refused_malformed, "Bus messages refused: malformed, or not allowed")              \
    X(refused_cluster, "Bus messages refused: another cluster, or slot map")             \
    X(hints_published, "Hints published")                                                \
    X(hints_received, "Hints received")                                                  \
    X(hints_dropped, "Hints dropped: too many waited")                                   \
    X(jobs, "Jobs done on threads beside the actor")                                     \
    X(timers, "Timers that fired")

/* One line a second about one kind of thing, naming how many went unsaid. */
struct quiet {
    uint64_t said_ms;
    uint64_t unsaid;
};

#define RUNNER_COUNTER_FIELD(name, sentence) _Atomic uint64_t name;
struct counters {
    RUNNER_COUNTERS(RUNNER_COUNTER_FIELD)
};
#undef RUNNER_COUNTER_FIELD

struct instance {
    struct an_runner *runner;
    struct an_actor *actor;
    struct an_door *door; /* gates and apis; NULL: none */
    struct an_addr addr;
    char who[WHO_LEN];
    pthread_t thread;
    bool started;
    uint64_t started_ms;

    struct inbox inbox;
    struct mailbox mailbox;
    struct peer **peers; /* whom it may ask */
    size_t peer_count;
    struct pubsub *pubs; /* router: by gate index */
    size_t pub_count;
    struct pubsub sub; /* gate */
    struct counters counters;

    /* The thread's own. */
    struct parcel *taken;
    struct an_job *jobs;
    struct an_msg *loopback, **loopback_tail; /* answers made here */
    bool start, stop;                         /* flags taken, not yet delivered */
    struct timers timers;
    struct an_outbox out;
    struct ring ring;
    struct an_now now;
    unsigned steps;           /* since the last drained */
    struct local *locals;     /* asked by others of this process, not answered */
    atomic_uint locals_count; /* and those in the inbox; bounded as the mailbox's are */
    uint64_t locals_due_ms;   /* no ask of ours in this process ends before; or never */
    struct pooled *msgs;      /* all that live */
    struct pooled *free_msgs;
    size_t free_msg_count;
    nng_aio *event_aio;
    struct quiet malformed, strangers;

    /* Guarded by the runner's lock. */
    bool ready, stopped;
};

struct an_runner {
    struct an_runner_cfg cfg; /* its strings are owned */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* ready, stopped */
    struct instance **instances;
    size_t instance_count;
    struct pool pool;
    struct inspect *inspect;
    struct warden *warden;    /* when there are places */
    atomic_int fresh;         /* connections to other hosts, new to the warden */
    struct tls *tls;          /* when hosts are several */
    uint16_t host;            /* this process's */
    uint64_t cluster, stores; /* digests: what we are, and take for granted */
};

/* What an_msg.reply_to holds: who waits for the answer. */
enum reply_type { REPLY_HELD, REPLY_LOCAL, REPLY_QUESTION };
struct reply_to {
    enum reply_type type;
    bool help; /* an actor that knows no "help" of its own: the runner's words */
    void *waiter;
};
_Static_assert(sizeof(struct reply_to) <= AN_REPLY_TO_MAX, "fits");

/* A message of the instance's pool, one reference, all else zero. */
struct an_msg *msg_take(struct instance *inst, unsigned kind);
/* Takes the parcel. NULL: it was refused, or was not for the actor. */
struct an_msg *msg_from_parcel(struct instance *inst, struct parcel *parcel);
/* Frees what nobody will look at any more. */
void parcel_drop(struct parcel *parcel);
/* Frees the pool, whoever still holds a message. */
void msgs_fini(struct instance *inst);

/* CLOCK_MONOTONIC in ms. */
uint64_t clock_mono_ms(void);
/* Both clocks, as an actor sees them. */
struct an_now clock_now(void);
/* NULL when no such instance was added. Any thread. */
struct instance *runner_find(struct an_runner *runner, struct an_addr addr);
/* One turn; returns the ms until the next is wanted: 0 at once, UINT64_MAX never. */
uint64_t instance_turn(struct instance *inst);
/* A door's message, stepped now. */
void instance_deliver(struct instance *inst, struct an_msg *msg);
/* Ends its jobs and destroys the actor; its thread is gone, its sockets may be open. */
void instance_drop(struct instance *inst);
/* Of what came since: nobody will look at it. */
void instance_drop_parcels(struct instance *inst);
/* Adds the actor's numbers and the runner's own. The instance's thread. */
void instance_metrics(struct instance *inst, struct an_metrics *metrics);
/* Sets ready or stopped and tells whoever waits. */
void runner_note(struct instance *inst, bool *flag);
/* A bus message as bytes; the digests are filled in. NULL without memory. */
nng_msg *bus_msg(const struct an_runner *runner, struct an_envelope *env,
                 const uint8_t *body);
/* Is NNG the version whose faults mend.c knows? Calling it links that file in. */
bool nng_is_mended(void);
/* 0 is AN_OK; anything unknown AN_ERR_CONNECTION. */
enum an_err nng_to_err(int rv);

#endif
