/* Drives one pure actor by hand: feed it a message, read what it emitted. Every body
 * travels packed, as on the bus, so descriptors and fields are exercised too.
 *
 *   struct harness *h = harness_create(actor);
 *   harness_start(h);
 *   uint64_t id = harness_request(h, from, AN_KIND_SUBMIT, &submit.base);
 *   harness_drain(h);
 *   const struct harness_effect *ask;
 *   ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_APPEND);
 *   const Anser__Bus__Append *append = harness_body(ask);
 *   harness_answer(h, ask, AN_OK, &appended.base);
 *   const struct harness_effect *done = harness_reply(h, id);
 *   harness_destroy(h);
 *
 * Stepping is never followed by drained() by itself, except in harness_advance().
 * Everything returned lives until harness_forget or harness_destroy. */
#ifndef AN_TESTS_ACTORS_HARNESS_H
#define AN_TESTS_ACTORS_HARNESS_H

#include "core/actor.h"

struct harness;

struct harness_effect {
    struct an_effect e;
    uint8_t *bytes;         /* e.len of them: a packed body, a frame, or a line of text */
    const char *text;       /* the same, ended by a NUL: EVENT, LOG, FAILED, HTTP */
    uint64_t request;       /* ANSWER: what harness_request returned */
    ProtobufCMessage *body; /* ASK, ANSWER, PUBLISH: unpacked; NULL when there is none */
    struct an_frame frame;  /* CONN_SEND: its header; harness_frame_body unpacks */
    bool taken;
};

/* Takes the actor. Time begins at mono 1,000,000 ms and wall 2026-11-21T00:00:00Z. */
struct harness *harness_create(struct an_actor *actor);
/* As at a crash: the actor must let go of all it holds (an_msg_abandon, asserted). */
void harness_destroy(struct harness *h);
struct an_actor *harness_actor(struct harness *h);

/* ------------------------------------------------------------------ time */

struct an_now harness_now(const struct harness *h);
/* Moves the wall clock alone, forwards or backwards. */
void harness_wall(struct harness *h, int64_t delta_ms);
/* Moves both clocks, firing the timers that fall due on the way, each at its own time and
 * followed by drained(). */
void harness_advance(struct harness *h, uint64_t ms);

/* ------------------------------------------------------------------ feeding */

void harness_start(struct harness *h);
void harness_stop(struct harness *h);
void harness_drain(struct harness *h);
/* One request step; its number, for harness_reply. Budget AN_ASK_MS. */
uint64_t harness_request(struct harness *h, struct an_addr from, enum an_kind kind,
                         const ProtobufCMessage *body);
uint64_t harness_request_budget(struct harness *h, struct an_addr from, enum an_kind kind,
                                const ProtobufCMessage *body, uint32_t budget_ms);
/* A published message (DELIVER): no answer is wanted. */
void harness_publish(struct harness *h, struct an_addr from, enum an_kind kind,
                     const ProtobufCMessage *body);
/* One answer step for an ASK; body may be NULL with an error. Each ask once (asserted).
 */
void harness_answer(struct harness *h, const struct harness_effect *ask, enum an_err err,
                    const ProtobufCMessage *body);
/* INSPECT with these words; the JSON, or NULL when the answer was an error. */
const char *harness_inspect(struct harness *h, const char *words);
/* Runs and completes every job offloaded so far, and those they offload. */
void harness_run_jobs(struct harness *h);
/* The oldest alone; there must be one. */
void harness_run_job(struct harness *h);
/* CONN_OPEN, CONN_CLOSED: the rest of their fields are zero. */
void harness_conn(struct harness *h, enum an_kind kind, uint64_t conn);
/* CONN_OPEN of a client with this address, "192.0.2.1". */
void harness_conn_from(struct harness *h, uint64_t conn, const char *address);
void harness_conn_bad(struct harness *h, uint64_t conn, enum an_err err);
void harness_conn_output(struct harness *h, uint64_t conn, uint64_t output_bytes);
/* A request of the api's door; it must stay until it was answered (AN_EFFECT_HTTP). */
void harness_http(struct harness *h, const struct an_http_request *request);
/* A whole frame with this body. harness_conn_frame_raw: any header, any bytes. */
void harness_conn_frame(struct harness *h, uint64_t conn, uint16_t command,
                        uint32_t request, const ProtobufCMessage *body);
void harness_conn_frame_raw(struct harness *h, uint64_t conn,
                            const struct an_frame *frame, const uint8_t *body,
                            size_t len);

/* ------------------------------------------------------------------ effects */

/* The oldest effect not taken yet that fits; NULL when there is none. Taking marks it. */
const struct harness_effect *harness_take(struct harness *h, enum an_effect_type type);
const struct harness_effect *harness_take_ask(struct harness *h, enum an_role to,
                                              enum an_kind kind);
/* A frame to this connection (of any command). */
const struct harness_effect *harness_take_frame(struct harness *h, uint64_t conn);
/* An event with this topic. */
const struct harness_effect *harness_take_event(struct harness *h, const char *topic);
/* The answer to a request, taken or not; NULL when it was not answered yet. */
const struct harness_effect *harness_reply(struct harness *h, uint64_t request);
/* How many of a type are not taken yet. */
size_t harness_count(const struct harness *h, enum an_effect_type type);
/* The unpacked body, never NULL (fails the test). Cast it to the kind's type. */
const void *harness_body(const struct harness_effect *effect);
/* Of a CONN_SEND: unpacks the frame's body by this descriptor. */
const void *harness_frame_body(struct harness *h, const struct harness_effect *effect,
                               const ProtobufCMessageDescriptor *descriptor);
/* Events are emitted only while somebody watches; off at first. */
void harness_watch(struct harness *h, bool watched);
/* The newest hop of this kind that was noted; NULL: none was. */
const struct an_hop_note *harness_hop(const struct harness *h, enum an_hop hop);
/* Frees what was taken and every answer: keeps long tests small. */
void harness_forget(struct harness *h);
/* The value of one metric; fails the test when there is none of that name. */
uint64_t harness_metric(struct harness *h, const char *name);

#endif
