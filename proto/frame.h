/* The client protocol's frame header (docs/protocol.md). 16 bytes, big-endian:
 *
 *   0  2  magic "AN"
 *   2  1  version, 1
 *   3  1  codec of the body: 1 protobuf
 *   4  2  command
 *   6  2  flags: 1 answer, 2 error (with answer: the body is an Error)
 *   8  4  request number, chosen by the asker, repeated in the answer; 0 in pushes
 *  12  4  body length in bytes
 */
#ifndef AN_PROTO_FRAME_H
#define AN_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define AN_FRAME_HEADER_LEN 16u
#define AN_FRAME_VERSION    1u
#define AN_CODEC_PROTOBUF   1u
#define AN_FRAME_ANSWER     1u
#define AN_FRAME_ERROR      2u
#define AN_FRAME_FLAGS      (AN_FRAME_ANSWER | AN_FRAME_ERROR)

/* X(number, COMMAND, body, answer): requests of clients, then pushes of the server. */
#define AN_COMMANDS(X)                                                                   \
    X(1, LOGIN, login, login_ok)                                                         \
    X(2, LOGOUT, logout, logout_ok)                                                      \
    X(3, HEARTBEAT, heartbeat, heartbeat_ok)                                             \
    X(4, SEND, send, send_ok)                                                            \
    X(5, CONFIRM, confirm, confirm_ok)                                                   \
    X(6, SYNC, sync, sync_ok)                                                            \
    X(7, HISTORY, history, history_ok)
#define AN_PUSHES(X)                                                                     \
    X(64, EVENT, event)                                                                  \
    X(65, RECEIPT, receipt)                                                              \
    X(66, GOODBYE, goodbye)

#define AN_COMMAND_ENUM(number, command, ...) AN_COMMAND_##command = (number),
enum an_command { AN_COMMANDS(AN_COMMAND_ENUM) AN_PUSHES(AN_COMMAND_ENUM) };
#undef AN_COMMAND_ENUM

struct an_frame {
    uint8_t codec;
    uint16_t command;
    uint16_t flags;
    uint32_t request;
    uint32_t body_len;
};

/* What is wrong with a header, or that all is well, or that bytes are missing. */
enum an_frame_state {
    AN_FRAME_OK,
    AN_FRAME_MORE,      /* the header is not whole yet */
    AN_FRAME_BAD_MAGIC, /* this and the following: answer the error and close */
    AN_FRAME_BAD_VERSION,
    AN_FRAME_BAD_FLAGS,
    AN_FRAME_TOO_LARGE,
};

/* Looks at the first bytes of a stream; frame_len_max counts header and body. Judges what
 * it can see: a wrong first byte is bad even when the rest has not come. *frame is
 * written only for AN_FRAME_OK; the body follows the header and may not be whole yet. */
enum an_frame_state an_frame_get(struct an_frame *frame, const uint8_t *data, size_t len,
                                 uint32_t frame_len_max);
void an_frame_put(uint8_t out[AN_FRAME_HEADER_LEN], const struct an_frame *frame);
const char *an_command_name(unsigned command); /* "unknown" outside the tables */

#endif
