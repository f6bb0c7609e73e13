/* A byte stream in Noise, as docs/protocol.md says: records of two bytes of length (the
 * high one first) and a Noise message. The first of each side is its handshake message
 * with an empty payload, the others are pieces of the stream. Both ends use it: the
 * gate's door and the client library; neither sockets nor clocks are in here.
 *
 * Context: pure functions on the caller's connection. */
#ifndef AN_CORE_NOISE_CONN_H
#define AN_CORE_NOISE_CONN_H

#include "core/noise.h"

#define AN_NOISE_PROLOGUE "anser/1"

enum {
    AN_NOISE_LENGTH_LEN = 2,
    AN_NOISE_HELLO_LEN = AN_NOISE_LENGTH_LEN + AN_NOISE_HELLO_EXTRA,
    AN_NOISE_PIECE_LEN = 16384, /* of the stream in a record that we write */
    AN_NOISE_RECORD_EXTRA = AN_NOISE_LENGTH_LEN + AN_NOISE_TAG_LEN,
};

/* Kept while a connection lives: what the handshake needs goes when it is over, a record
 * that is not whole is on the heap, in no more memory than twice what has come. */
struct an_noise_conn {
    struct an_noise_handshake *handshake; /* NULL: it is over */
    struct an_noise_cipher in, out;
    uint8_t *held; /* of a record; its length first */
    uint32_t held_len, held_cap;
    bool served;     /* held is a record that was handed out */
    const char *why; /* what was wrong, for a log; NULL: nothing */
};

/* The server's end; key is borrowed until the handshake is over. AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err an_noise_conn_server(struct an_noise_conn *conn,
                                             const struct an_noise_key *key);
/* The client's end, and the record that it begins with. AN_ERR_NO_MEMORY; AN_ERR_TLS: the
 * pinned key is of low order. */
AN_MUST_USE enum an_err an_noise_conn_client(struct an_noise_conn *conn,
                                             const uint8_t pinned[AN_NOISE_KEY_LEN],
                                             uint8_t hello[AN_NOISE_HELLO_LEN]);
/* Wipes and frees; zeroed is fine. */
void an_noise_conn_fini(struct an_noise_conn *conn);

/* Bytes as they came, and the record that was found in them. */
struct an_noise_piece {
    const uint8_t *data; /* not taken yet */
    size_t len;
    const uint8_t *record; /* a Noise message; NULL: it is not whole */
    size_t record_len;
};

/* Takes bytes up to the end of the next record, which is good until the next call; or
 * all, when it is not whole. To be called until then, so that nothing is kept of records
 * that are done with. AN_ERR_FRAME_TOO_LARGE, AN_ERR_BODY_MALFORMED: no record of this
 * kind has such a length; AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err an_noise_take(struct an_noise_conn *conn,
                                      struct an_noise_piece *in);
/* Is the handshake over? Until then a record goes to an_noise_shake, then to
 * an_noise_open. */
bool an_noise_is_open(const struct an_noise_conn *conn);
/* The other side's handshake message. The server's answer to it is put into reply, a
 * client has none: *reply_len. Errors as an_noise_read. */
AN_MUST_USE enum an_err an_noise_shake(struct an_noise_conn *conn, const uint8_t *record,
                                       size_t len, uint8_t reply[AN_NOISE_HELLO_LEN],
                                       size_t *reply_len);
/* A piece of the stream, len - AN_NOISE_TAG_LEN bytes, perhaps none. Errors as
 * an_noise_decrypt. */
AN_MUST_USE enum an_err an_noise_open(struct an_noise_conn *conn, const uint8_t *record,
                                      size_t len, uint8_t *plain);
/* How long the stream's next len bytes are in records. */
size_t an_noise_sealed_len(size_t len);
/* Into an_noise_sealed_len(len) bytes. AN_ERR_FULL: no nonce is left. */
AN_MUST_USE enum an_err an_noise_seal(struct an_noise_conn *conn, const uint8_t *plain,
                                      size_t len, uint8_t *out);

#endif
