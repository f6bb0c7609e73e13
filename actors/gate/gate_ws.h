/* WebSocket framing (RFC 6455, section 5) as a server sees it, over wslay's frame layer:
 * bytes in, events out; no sockets.
 *
 * Context: one thread for everything that shares a struct gate_ws_shared. */
#ifndef AN_ACTORS_GATE_WS_H
#define AN_ACTORS_GATE_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GATE_WS_MESSAGE_MAX = 1024 * 1024, /* of a client, in all its fragments */
    GATE_WS_CONTROL_MAX = 125,         /* RFC 6455 */
    GATE_WS_HEADER_MAX = 10,           /* of a server's frame */
};

/* The opcodes we send. */
enum { GATE_WS_TEXT = 1, GATE_WS_BINARY = 2, GATE_WS_CLOSE_OP = 8, GATE_WS_PONG = 10 };

/* A parser of wslay's has a buffer of 4 KiB. It is needed only while a frame is not
 * whole: a connection between two frames has none. */
struct gate_ws_shared {
    const uint8_t *feed; /* what came, for the next call; taken from here */
    size_t feed_len;
    void *spare; /* a parser that nobody uses */
};

/* Zero it for a new connection. */
struct gate_ws {
    void *parser;
    uint64_t fed;     /* bytes given to it and not yet come out as a whole frame */
    uint64_t off;     /* payload of this frame that came out */
    uint64_t message; /* payload of this message */
    bool text;        /* messages are text, not binary; yours to set */
    bool in_message, started, closed;
    uint8_t control_len;
    uint8_t control[GATE_WS_CONTROL_MAX];
};

enum gate_ws_event {
    GATE_WS_MORE,  /* the feed is used up */
    GATE_WS_DATA,  /* a piece of a message */
    GATE_WS_WHOLE, /* and its end */
    GATE_WS_PING,  /* to be answered by a pong with the same data */
    GATE_WS_CLOSE, /* to be answered by the same; code: why, 1005: not said */
    GATE_WS_FAIL,  /* to be closed with code and text; nothing is taken any more */
};

struct gate_ws_got {
    const uint8_t *data; /* DATA, PING; dies at the next call */
    size_t len;
    uint16_t code;    /* CLOSE, FAIL */
    const char *text; /* FAIL */
};

/* The next of the feed. */
enum gate_ws_event gate_ws_next(struct gate_ws *ws, struct gate_ws_shared *shared,
                                struct gate_ws_got *got);
/* The header of an unmasked frame that is a message by itself: its length. */
size_t gate_ws_header(uint8_t out[GATE_WS_HEADER_MAX], unsigned opcode, size_t len);
/* The payload of a close frame into out: its length. */
size_t gate_ws_close(uint8_t out[GATE_WS_CONTROL_MAX], unsigned code, const char *text);
void gate_ws_fini(struct gate_ws *ws);
void gate_ws_shared_fini(struct gate_ws_shared *shared);

#endif
