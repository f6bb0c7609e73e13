/* The message table: every kind of message an actor may receive, what its body is, who
 * may send it, to whom, and what answers it. Enum, names, dispatch and the bus's access
 * check all come from here. Raise AN_BUS_VERSION whenever the table or a body changes in
 * a way an older peer would misread. */
#ifndef AN_PROTO_KINDS_H
#define AN_PROTO_KINDS_H

#include "proto/roles.h"
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#define AN_BUS_VERSION 3

#define AN_BY(role) (1u << AN_ROLE_##role)

/* X(number, KIND, body descriptor or none, senders, receiver, answer)
 * Requests name the kind of their answer; answers and published kinds name NONE. */
#define AN_KINDS(X)                                                                      \
    X(1, SUBMIT, submit, AN_BY(GATE) | AN_BY(API), SEQUENCER, SUBMITTED)                 \
    X(2, SUBMITTED, submitted, AN_BY(SEQUENCER), NONE, NONE)                             \
    X(3, CLAIM, claim, AN_BY(SEQUENCER), STORE, CLAIMED)                                 \
    X(4, CLAIMED, claimed, AN_BY(STORE), NONE, NONE)                                     \
    X(5, APPEND, append, AN_BY(SEQUENCER), STORE, APPENDED)                              \
    X(6, APPENDED, appended, AN_BY(STORE), NONE, NONE)                                   \
    X(7, READ, read, AN_BY(GATE) | AN_BY(SEQUENCER) | AN_BY(API), STORE, READ_DONE)      \
    X(8, READ_DONE, read_done, AN_BY(STORE), NONE, NONE)                                 \
    X(9, CAS, cas, AN_BY(IDGEN), STORE, CAS_DONE)                                        \
    X(10, CAS_DONE, cas_done, AN_BY(STORE), NONE, NONE)                                  \
    X(11, TAKE_IDS, take_ids, AN_BY(SEQUENCER) | AN_BY(API), IDGEN, TAKEN_IDS)           \
    X(12, TAKEN_IDS, taken_ids, AN_BY(IDGEN), NONE, NONE)                                \
    X(13, TAKE_SEGMENT, take_segment, AN_BY(SEQUENCER) | AN_BY(API), IDGEN,              \
      TAKEN_SEGMENT)                                                                     \
    X(14, TAKEN_SEGMENT, taken_segment, AN_BY(IDGEN), NONE, NONE)                        \
    X(15, PUSH, push, AN_BY(STORE) | AN_BY(ROUTER), ROUTER, PUSHED)                      \
    X(16, PUSHED, pushed, AN_BY(ROUTER), NONE, NONE)                                     \
    X(17, SESSIONS, sessions, AN_BY(GATE), ROUTER, SESSIONS_DONE)                        \
    X(18, SESSIONS_DONE, sessions_done, AN_BY(ROUTER), NONE, NONE)                       \
    X(19, DELIVER, deliver, AN_BY(ROUTER), GATE, NONE)                                   \
    X(20, INSPECT, inspect, AN_BY(RUNNER), NONE, INSPECTED)                              \
    X(21, INSPECTED, inspected, 0xffu, NONE, NONE)                                       \
    X(22, PROBE, probe, AN_BY(SEQUENCER), SEQUENCER, PROBED)                             \
    X(23, PROBED, probed, AN_BY(SEQUENCER), NONE, NONE)                                  \
    X(24, HANDOVER, handover, AN_BY(SEQUENCER), SEQUENCER, HANDED_OVER)                  \
    X(25, HANDED_OVER, handed_over, AN_BY(SEQUENCER), NONE, NONE)                        \
    X(26, FORWARD, forward, AN_BY(STORE), STORE, FORWARDED)                              \
    X(27, FORWARDED, forwarded, AN_BY(STORE), NONE, NONE)                                \
    X(28, MARKS, marks, AN_BY(STORE), STORE, MARKS_DONE)                                 \
    X(29, MARKS_DONE, marks_done, AN_BY(STORE), NONE, NONE)                              \
    X(30, ONLINE, online, AN_BY(API), ROUTER, ONLINE_DONE)                               \
    X(31, ONLINE_DONE, online_done, AN_BY(ROUTER), NONE, NONE)

#define AN_KIND_ENUM(number, kind, body, senders, receiver, answer)                      \
    AN_KIND_##kind = (number),
enum an_kind {
    AN_KIND_NONE = 0,
    AN_KINDS(AN_KIND_ENUM) AN_KIND_BUS_COUNT,

    /* Local: from an actor's own runner or door, never on the bus. */
    AN_KIND_START = 1000, /* first message of every actor, exactly once */
    AN_KIND_TIMER,        /* tag: the actor's */
    AN_KIND_JOB_DONE,     /* job: call its done() */
    AN_KIND_STOP, /* finish cleanly: apply, say goodbye; the runner waits a bounded time
                   */
    AN_KIND_CONN_OPEN,   /* gate: a client connected */
    AN_KIND_CONN_FRAME,  /* gate: one whole frame */
    AN_KIND_CONN_BAD,    /* gate: the byte stream is broken (err); the door reads no more.
                          * Err JSON: one line of it, and the door goes on */
    AN_KIND_CONN_OUTPUT, /* gate: how many bytes of output the client has not taken */
    AN_KIND_CONN_CLOSED, /* gate: gone; no effect for it is carried out any more */
    AN_KIND_HTTP,        /* api: one whole request of its door */
};
#undef AN_KIND_ENUM

struct an_kind_row {
    const char *name;
    const ProtobufCMessageDescriptor *body; /* NULL only for unknown kinds */
    uint32_t senders;                       /* bits of AN_BY */
    uint8_t receiver;                       /* AN_ROLE_NONE: any */
    uint16_t answer;                        /* AN_KIND_NONE: not a request */
};

/* NULL when the number is not a bus kind. */
const struct an_kind_row *an_kind_row(unsigned kind);
/* Also names the local kinds; "unknown" otherwise. */
const char *an_kind_name(unsigned kind);

#endif
