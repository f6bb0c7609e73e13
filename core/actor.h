/* The actor contract: what an actor is given, and what it may ask for.
 *
 * An actor is (state, message, now) -> (state, effects). It never sends, reads a clock,
 * rolls dice, opens a file, starts a thread or sleeps: it emits effects into the outbox,
 * and what comes of them returns as messages. core/runner_nng/ runs actors on real
 * sockets, tests/sim/ on a seeded event queue; both run the same object code.
 *
 * Context: an actor, its messages and its outbox belong to one thread at a time. */
#ifndef AN_CORE_ACTOR_H
#define AN_CORE_ACTOR_H

#include "core/arena.h"
#include "core/err.h"
#include "core/http.h"
#include "core/job.h"
#include "core/nets.h"
#include "proto/frame.h"
#include "proto/kinds.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Time, read once by the runner for each step. */
struct an_now {
    uint64_t mono_ms; /* never goes back; only differences mean something */
    uint64_t wall_ms; /* Unix time; may jump either way */
};

/* ------------------------------------------------------------------ messages */

enum { AN_REPLY_TO_MAX = 64 };

/* Owned by the runner; an actor that needs one beyond the step holds it. Everything it
 * points at (body, frame bytes) lives exactly as long. */
struct an_msg {
    uint16_t kind;   /* enum an_kind */
    bool answer;     /* the end of an ask of ours; tag says which */
    bool request;    /* must be answered, exactly once, before it is released */
    enum an_err err; /* of an answer or CONN_BAD. Not AN_OK: body may be NULL */
    struct an_addr from;
    uint64_t trace;
    uint64_t deadline_mono_ms; /* of a request: nobody listens for the answer after it */
    uint64_t tag;              /* answers, timers: what the actor gave when asking */
    const ProtobufCMessage *body; /* unpacked by the kind's descriptor */
    struct an_job *job;           /* JOB_DONE */

    /* CONN_*: of the gate's door. conn is never reused within a gate's life. */
    uint64_t conn;
    struct an_frame frame;           /* CONN_FRAME: its header */
    const uint8_t *frame_body;       /* CONN_FRAME: frame.body_len bytes */
    uint64_t output_bytes;           /* CONN_OUTPUT: not yet taken by the client */
    uint8_t address[AN_ADDRESS_LEN]; /* CONN_OPEN: the client's (core/nets.h) */

    /* HTTP: the request; it is there until an_out_http has answered it. */
    const struct an_http_request *http;

    /* The runner's. */
    struct an_arena arena;
    unsigned refs;
    bool answered;
    uint8_t reply_to_len;
    uint8_t reply_to[AN_REPLY_TO_MAX];
    void *owner; /* where it goes when released */
    void (*recycle)(void *owner, struct an_msg *msg);
    struct an_msg *next; /* the holder's, for its queue */
};

/* A fresh message with one reference. NULL without memory. arena_limit: bytes that its
 * body may take. recycle may be NULL: it is freed. */
struct an_msg *an_msg_create(size_t arena_limit);
/* Unpacks the body by the kind's descriptor into the message's arena. AN_ERR_ENVELOPE
 * when it is not a valid message of the kind, AN_ERR_NO_MEMORY at the arena's limit. */
AN_MUST_USE enum an_err an_msg_unpack(struct an_msg *msg, const uint8_t *body,
                                      size_t len);
/* One more reference, to be released. Returns msg. */
struct an_msg *an_msg_hold(struct an_msg *msg);
/* Drops a reference; the last one of a request that was never answered is our bug
 * (asserted). NULL is fine. */
void an_msg_release(struct an_msg *msg);
/* The same in an actor's destroy(): a request held there dies unanswered. */
void an_msg_abandon(struct an_msg *msg);
/* Has the asker given up? */
bool an_msg_expired(const struct an_msg *msg, struct an_now now);

/* ------------------------------------------------------------------ effects */

enum an_effect_type {
    AN_EFFECT_ASK,
    AN_EFFECT_ANSWER,
    AN_EFFECT_PUBLISH,
    AN_EFFECT_TIMER,
    AN_EFFECT_OFFLOAD,
    AN_EFFECT_CONN_SEND,
    AN_EFFECT_CONN_CLOSE,
    AN_EFFECT_HTTP,
    AN_EFFECT_EVENT,
    AN_EFFECT_LOG,
    AN_EFFECT_READY,
    AN_EFFECT_STOPPED,
    AN_EFFECT_FAILED,
};

struct an_effect {
    enum an_effect_type type;
    struct an_addr to; /* ASK, PUBLISH */
    uint16_t kind;     /* ASK, ANSWER, PUBLISH */
    enum an_err err;   /* ANSWER, FAILED */
    int level;         /* LOG */
    uint64_t trace;
    uint64_t tag;         /* ASK, TIMER */
    uint64_t at_mono_ms;  /* TIMER */
    uint32_t budget_ms;   /* ASK */
    uint64_t conn;        /* CONN_*; HTTP: the request's id */
    uint16_t status;      /* HTTP */
    uint32_t retry_s;     /* HTTP: Retry-After; 0: none */
    uint32_t allow;       /* HTTP: Allow, 1 << method each; 0: none */
    struct an_job *job;   /* OFFLOAD */
    uint8_t reply_to_len; /* ANSWER: copied from the request */
    uint8_t reply_to[AN_REPLY_TO_MAX];
    size_t offset, len; /* of its bytes in the outbox: a packed body, a frame, a line */
};

/* Where a message was seen: X(HOP, topic of its event). The numbers travel to `anser
 * trace`: append only. */
#define AN_HOPS(X)                                                                       \
    X(GATE_IN, "message.gate_in") /* a gate took the Send */                             \
    X(ORDER, "message.order")     /* the sequencer gave the number */                    \
    X(COMMIT, "message.commit")   /* on disk */                                          \
    X(FORWARD, "message.forward") /* on disk in an inbox of another store */             \
    X(PUSH, "message.push")       /* a router got the hint */                            \
    X(DELIVER, "message.deliver") /* a gate gave it to a connection */                   \
    X(ACK, "message.ack")         /* a gate answered the sender */
#define AN_HOP_ENUM(hop, topic) AN_HOP_##hop,
enum an_hop { AN_HOPS(AN_HOP_ENUM) AN_HOP_COUNT };
#undef AN_HOP_ENUM

struct an_hop_note {
    uint64_t trace;
    uint64_t message_id; /* 0: not given yet */
    uint64_t detail;     /* seq of ORDER and COMMIT, user key of FORWARD and PUSH,
                            connection of the others */
    uint8_t hop;         /* enum an_hop */
};

/* Effects in the order they were emitted. Filled during a step, emptied by the runner
 * after it. Fields are the runner's; actors use the functions. */
struct an_outbox {
    struct an_effect *effects;
    size_t count, cap;
    uint8_t *bytes;
    size_t bytes_len, bytes_cap;
    struct an_hop_note *hops;
    size_t hop_count, hop_cap;
    bool watched; /* somebody listens to inspection events */
    bool traced;  /* hops are kept */
};

/* Memory for effects is taken as needed; without memory the process stops (an actor
 * cannot undo half a step). */
void an_outbox_fini(struct an_outbox *out);
void an_outbox_clear(struct an_outbox *out); /* the runner's, after carrying out */

/* Ask and be answered exactly once: a message with answer set, this tag and either
 * AN_OK and a body, or an error (the other side's, AN_ERR_TIMEOUT after budget_ms or when
 * the connection broke: the outcome is not known; AN_ERR_UNAVAILABLE: not connected, so
 * it was never sent; AN_ERR_BUSY: refused by the other mailbox, or this runner's bound
 * of outstanding asks, not handled). The runner never asks twice. Asks of one instance
 * arrive there in the order they were made; their answers may come in any order. */
void an_out_ask(struct an_outbox *out, struct an_addr to, enum an_kind kind,
                const ProtobufCMessage *body, uint32_t budget_ms, uint64_t tag,
                uint64_t trace);
/* Answers a request, held or current; once. body: of the kind's answer; may be NULL with
 * an error, must not be with AN_OK. Does not release. */
void an_out_answer(struct an_outbox *out, struct an_msg *request, enum an_err err,
                   const ProtobufCMessage *body);
/* Router to gate: may be lost, is never answered. */
void an_out_publish(struct an_outbox *out, struct an_addr to, enum an_kind kind,
                    const ProtobufCMessage *body);
/* AN_KIND_TIMER with this tag, not before at_mono_ms. Cannot be taken back: an actor
 * ignores those it no longer wants. */
void an_out_timer(struct an_outbox *out, uint64_t at_mono_ms, uint64_t tag);
void an_out_offload(struct an_outbox *out, struct an_job *job);
/* Gate: one frame to a client, header made here. For a connection that is gone: nothing.
 * an_out_conn_send_packed takes an already packed body. */
void an_out_conn_send(struct an_outbox *out, uint64_t conn, const struct an_frame *frame,
                      const ProtobufCMessage *body);
void an_out_conn_send_packed(struct an_outbox *out, uint64_t conn,
                             const struct an_frame *frame, const uint8_t *body,
                             size_t len);
/* Gate: sends what was given before, within a bounded time, then closes. */
void an_out_conn_close(struct an_outbox *out, uint64_t conn);
/* Api: the answer to a request of its door, once for each; the request is gone then.
 * body: JSON. retry_s: when to come again, as Retry-After; 0: nothing is said. */
void an_out_http(struct an_outbox *out, uint64_t id, unsigned status, uint32_t retry_s,
                 const char *body, size_t len);
/* The same with status 405; allow: 1 << an_http_method for each that the path has. */
void an_out_http_allow(struct an_outbox *out, uint64_t id, uint32_t allow,
                       const char *body, size_t len);
/* A line for `nngcat`: "TOPIC {json}". Check out->watched first: it costs nothing while
 * nobody listens. fmt makes the JSON object's text. */
void an_out_event(struct an_outbox *out, const char *topic, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Notes a hop in the process's ring, for `anser trace`; costs a few stores. */
void an_out_hop(struct an_outbox *out, enum an_hop hop, uint64_t trace,
                uint64_t message_id, uint64_t detail);
/* A structured log line; level as in core/log.h; fmt makes "key=value ..." text after the
 * message. Never a body, a token or a key. */
void an_out_log(struct an_outbox *out, int level, uint64_t trace, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* This actor can serve now. Once. */
void an_out_ready(struct an_outbox *out);
/* After AN_KIND_STOP: nothing is left to do. */
void an_out_stopped(struct an_outbox *out);
/* This actor cannot go on: the process says why and ends. */
void an_out_failed(struct an_outbox *out, enum an_err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ------------------------------------------------------------------ an actor */

struct an_actor;

/* Receives one counter or gauge. name: without the "anser_ROLE_" prefix, "_total" behind
 * a counter, before it "_bytes", "_us" or "_ms" when it is an amount; help: what is
 * counted, for an operator who reads it alone: a capital letter first, no full stop. */
typedef void an_metric_f(void *ctx, const char *name, const char *help, bool counter,
                         uint64_t value);

struct an_actor_ops {
    enum an_role role;
    /* One message: gather. */
    void (*step)(struct an_actor *actor, struct an_msg *msg, struct an_now now,
                 struct an_outbox *out);
    /* The mailbox is empty or AN_DRAIN_MSGS_MAX steps were taken: act. */
    void (*drained)(struct an_actor *actor, struct an_now now, struct an_outbox *out);
    /* Every metric this actor keeps, always the same ones in the same order. */
    void (*metrics)(const struct an_actor *actor, an_metric_f *metric, void *ctx);
    /* Releases what it holds, answering nothing; after AN_EFFECT_STOPPED or at a crash.
     */
    void (*destroy)(struct an_actor *actor);
};

/* First member of every actor's struct. */
struct an_actor {
    const struct an_actor_ops *ops;
};

/* An answer to INSPECT is made by the runner for these words, and for a "help" that the
 * actor does not know; others reach the actor as
 * AN_KIND_INSPECT requests (body: Inspect), answered with Inspected whose json is one
 * JSON value, or AN_ERR_ARGUMENT when the actor does not know the words. */

#define AN_RUNNER_WORDS                                                                  \
    "\"status\":\"whether it is ready, since when it runs\","                            \
    "\"stats\":\"this actor's counters\","                                               \
    "\"peers\":\"whom it asks or hears, and whether it is connected\","                  \
    "\"trace ID\":\"where a message (its id, or its trace) was seen here\""

/* Answers an INSPECT whose word is "help". words: members of a JSON object, each a word
 * and what it gives; AN_RUNNER_WORDS are said already. False: it asks something else. */
bool an_out_help(struct an_outbox *out, struct an_msg *request, const char *words);

#endif
