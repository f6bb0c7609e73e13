/* A scripted server for tests of the client library: loopback, a port of the system's
 * choice, in the test's own thread (mock_step). By itself it behaves: it logs in, numbers
 * sends once per client_msg_id, serves an inbox, keeps a cursor. A test changes its
 * fields, or takes over single frames with on_frame. */
#ifndef TESTS_CLIENT_MOCK_SERVER_H
#define TESTS_CLIENT_MOCK_SERVER_H

#include "core/err.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOCK_CONNS = 8, MOCK_LOG = 4096, MOCK_EVENTS = 2048, MOCK_IDS = 2048 };

struct mock_conn {
    int fd;          /* -1: free */
    unsigned number; /* counts accepted connections from 1 */
    uint8_t *in;
    size_t in_len;
};

struct mock_seen {
    unsigned conn;
    uint16_t command;
    uint32_t request;
    uint64_t at_ms;
    uint8_t id[16]; /* SEND */
    char text[64];  /* SEND: the body's head; LOGIN: the token's */
    uint64_t seq;   /* CONFIRM: inbox_seq; SYNC: after */
};

struct mock_event {
    uint64_t seq;
    uint8_t *data;
    size_t len;
};

struct mock {
    int listen_fd;
    unsigned port;
    char url[64];
    unsigned accepted;
    struct mock_conn conns[MOCK_CONNS];
    struct mock_seen seen[MOCK_LOG];
    size_t seen_count;

    /* How it behaves. */
    const char *user;
    uint64_t server_time_ms;
    uint64_t generation, first, cursor;
    uint32_t heartbeat_ms, sends_max, page, body_len_max;
    bool own_inbox; /* sends get inbox entries of the sender */
    uint64_t peer_delivered;
    uint64_t now_ms; /* the test's clock, for the log */
    /* true: handled, or to be left unanswered. */
    bool (*on_frame)(struct mock *mock, struct mock_conn *conn,
                     const struct an_frame *frame, const uint8_t *body);
    void *arg;
    unsigned counter; /* the test's */

    /* What it holds. */
    struct mock_event events[MOCK_EVENTS];
    size_t event_count;
    uint64_t head;
    struct {
        uint8_t id[16];
        uint64_t seq;
        uint64_t inbox_seq;
    } ids[MOCK_IDS];
    size_t id_count;
};

void mock_start(struct mock *mock);
void mock_stop(struct mock *mock);
/* Accepts, reads and answers all that is there. true: something happened. */
bool mock_step(struct mock *mock);
void mock_close_conns(struct mock *mock);
/* The newest open connection; fails the test when there is none. */
struct mock_conn *mock_conn(struct mock *mock);
void mock_raw(struct mock_conn *conn, const void *data, size_t len);
void mock_frame(struct mock_conn *conn, uint16_t command, uint16_t flags,
                uint32_t request, const ProtobufCMessage *body);
void mock_answer(struct mock_conn *conn, const struct an_frame *to,
                 const ProtobufCMessage *body);
void mock_refuse(struct mock_conn *conn, const struct an_frame *to, enum an_err err,
                 uint32_t retry_after_ms);
void mock_goodbye(struct mock_conn *conn, enum an_err err, bool retry,
                  uint32_t retry_after_ms);
/* A message into the inbox, without a push. Returns its inbox seq. */
uint64_t mock_deliver(struct mock *mock, const char *from, const char *to, uint64_t seq,
                      const char *text);
/* Pushes the inbox entry (0: the newest). */
void mock_push(struct mock *mock, uint64_t inbox_seq);
void mock_receipt(struct mock *mock, const char *peer, uint64_t seq,
                  Anser__Client__ReceiptKind kind);
/* Frames of this command so far. */
size_t mock_seen(const struct mock *mock, uint16_t command);
/* The nth (from 0) of them; fails the test when there are fewer. */
const struct mock_seen *mock_nth(const struct mock *mock, uint16_t command, size_t n);

#endif
