#include "core/noise_conn.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char prologue[] = AN_NOISE_PROLOGUE;
enum { PROLOGUE_LEN = sizeof(prologue) - 1, HELD_MIN = 64 };

static void
put_length(uint8_t *out, size_t len)
{
    out[0] = (uint8_t)(len >> 8);
    out[1] = (uint8_t)len;
}

/* ------------------------------------------------------------------ life */

enum an_err
an_noise_conn_server(struct an_noise_conn *conn, const struct an_noise_key *key)
{
    *conn = (struct an_noise_conn){.handshake = malloc(sizeof(*conn->handshake))};
    if (conn->handshake == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    an_noise_server(conn->handshake, key, prologue, PROLOGUE_LEN);
    return AN_OK;
}

enum an_err
an_noise_conn_client(struct an_noise_conn *conn, const uint8_t pinned[AN_NOISE_KEY_LEN],
                     uint8_t hello[AN_NOISE_HELLO_LEN])
{
    *conn = (struct an_noise_conn){.handshake = malloc(sizeof(*conn->handshake))};
    if (conn->handshake == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    an_noise_client(conn->handshake, pinned, prologue, PROLOGUE_LEN);
    put_length(hello, AN_NOISE_HELLO_EXTRA);
    return an_noise_write(conn->handshake, NULL, 0, hello + AN_NOISE_LENGTH_LEN);
}

static void
handshake_free(struct an_noise_conn *conn)
{
    if (conn->handshake != NULL) {
        an_noise_wipe(conn->handshake, sizeof(*conn->handshake));
        free(conn->handshake);
        conn->handshake = NULL;
    }
}

static void
held_free(struct an_noise_conn *conn)
{
    free(conn->held);
    conn->held = NULL;
    conn->held_len = conn->held_cap = 0;
    conn->served = false;
}

void
an_noise_conn_fini(struct an_noise_conn *conn)
{
    handshake_free(conn);
    held_free(conn);
    an_noise_wipe(&conn->in, sizeof(conn->in));
    an_noise_wipe(&conn->out, sizeof(conn->out));
}

bool
an_noise_is_open(const struct an_noise_conn *conn)
{
    return conn->handshake == NULL;
}

/* ------------------------------------------------------------------ cutting */

static enum an_err
broken(struct an_noise_conn *conn, enum an_err err, const char *why)
{
    conn->why = why;
    return err;
}

/* Judged as soon as it is known: nothing is kept of a record that cannot be one. */
static enum an_err
judge_length(struct an_noise_conn *conn, size_t len)
{
    if (!an_noise_is_open(conn) && len != AN_NOISE_HELLO_EXTRA &&
        conn->handshake->own == NULL) {
        return broken(conn, AN_ERR_BODY_MALFORMED,
                      "whoever answers there speaks no Noise");
    }
    if (!an_noise_is_open(conn) && len != AN_NOISE_HELLO_EXTRA) {
        return len > AN_NOISE_HELLO_EXTRA
                   ? broken(conn, AN_ERR_FRAME_TOO_LARGE,
                            "a handshake message that is too long")
                   : broken(conn, AN_ERR_BODY_MALFORMED,
                            "a handshake message that is too short");
    }
    if (len < AN_NOISE_TAG_LEN) {
        return broken(conn, AN_ERR_BODY_MALFORMED, "a record that is too short");
    }
    return AN_OK;
}

/* Room for what has come, not for what was announced. */
static enum an_err
hold(struct an_noise_conn *conn, struct an_noise_piece *in, size_t want)
{
    size_t missing = want - conn->held_len, cap = conn->held_cap;
    size_t take = missing < in->len ? missing : in->len;
    uint8_t *bigger;

    cap = cap == 0 ? HELD_MIN : cap;
    while (cap < conn->held_len + take) {
        cap *= 2;
    }
    if (cap != conn->held_cap) {
        bigger = realloc(conn->held, cap);
        if (bigger == NULL) {
            return broken(conn, AN_ERR_NO_MEMORY, "out of memory");
        }
        conn->held = bigger;
        conn->held_cap = (uint32_t)cap;
    }
    if (take > 0) {
        memcpy(conn->held + conn->held_len, in->data, take);
    }
    conn->held_len += (uint32_t)take;
    in->data += take;
    in->len -= take;
    return AN_OK;
}

static size_t
get_length(const uint8_t *data)
{
    return (size_t)data[0] << 8 | data[1];
}

/* Goes on with the record that was begun: first its length, then the rest. */
static enum an_err
take_held(struct an_noise_conn *conn, struct an_noise_piece *in)
{
    size_t body;
    enum an_err err = AN_OK;

    if (conn->held_len < AN_NOISE_LENGTH_LEN) {
        err = hold(conn, in, AN_NOISE_LENGTH_LEN);
    }
    if (err != AN_OK || conn->held_len < AN_NOISE_LENGTH_LEN) {
        return err;
    }
    body = get_length(conn->held);
    err = judge_length(conn, body);
    if (err == AN_OK) {
        err = hold(conn, in, AN_NOISE_LENGTH_LEN + body);
    }
    if (err == AN_OK && conn->held_len == AN_NOISE_LENGTH_LEN + body) {
        conn->served = true;
        in->record = conn->held + AN_NOISE_LENGTH_LEN;
        in->record_len = body;
    }
    return err;
}

enum an_err
an_noise_take(struct an_noise_conn *conn, struct an_noise_piece *in)
{
    enum an_err err;
    size_t body;

    in->record = NULL;
    if (conn->served) {
        held_free(conn);
    }
    if (in->len == 0) {
        return AN_OK;
    }
    if (conn->held_len > 0 || in->len < AN_NOISE_LENGTH_LEN) {
        return take_held(conn, in);
    }
    body = get_length(in->data);
    err = judge_length(conn, body);
    if (err != AN_OK) {
        return err;
    }
    if (in->len < AN_NOISE_LENGTH_LEN + body) {
        return take_held(conn, in);
    }
    in->record = in->data + AN_NOISE_LENGTH_LEN; /* whole: used where it lies */
    in->record_len = body;
    in->data += AN_NOISE_LENGTH_LEN + body;
    in->len -= AN_NOISE_LENGTH_LEN + body;
    return AN_OK;
}

/* ------------------------------------------------------------------ records */

enum an_err
an_noise_shake(struct an_noise_conn *conn, const uint8_t *record, size_t len,
               uint8_t reply[AN_NOISE_HELLO_LEN], size_t *reply_len)
{
    const bool server = conn->handshake->own != NULL;
    uint8_t nothing[1];
    enum an_err err;

    assert(len == AN_NOISE_HELLO_EXTRA); /* judged */
    *reply_len = 0;
    err = an_noise_read(conn->handshake, record, len, nothing);
    if (err == AN_OK && server) {
        put_length(reply, AN_NOISE_HELLO_EXTRA);
        err = an_noise_write(conn->handshake, NULL, 0, reply + AN_NOISE_LENGTH_LEN);
        *reply_len = err == AN_OK ? AN_NOISE_HELLO_LEN : 0;
    }
    if (err != AN_OK) {
        return broken(conn, err,
                      server ? "the handshake is for another key, or its own key is weak"
                             : "the answer is not from the pinned key");
    }
    an_noise_split(conn->handshake, &conn->in, &conn->out, NULL);
    handshake_free(conn);
    return AN_OK;
}

enum an_err
an_noise_open(struct an_noise_conn *conn, const uint8_t *record, size_t len,
              uint8_t *plain)
{
    enum an_err err = an_noise_decrypt(&conn->in, record, len, plain);

    return err == AN_OK
               ? err
               : broken(conn, err,
                        err == AN_ERR_FULL ? "no nonce is left"
                                           : "a record was changed, lost or repeated");
}

size_t
an_noise_sealed_len(size_t len)
{
    return len +
           (len + AN_NOISE_PIECE_LEN - 1) / AN_NOISE_PIECE_LEN * AN_NOISE_RECORD_EXTRA;
}

enum an_err
an_noise_seal(struct an_noise_conn *conn, const uint8_t *plain, size_t len, uint8_t *out)
{
    enum an_err err = AN_OK;

    while (err == AN_OK && len > 0) {
        size_t take = len < AN_NOISE_PIECE_LEN ? len : AN_NOISE_PIECE_LEN;

        put_length(out, take + AN_NOISE_TAG_LEN);
        err = an_noise_encrypt(&conn->out, plain, take, out + AN_NOISE_LENGTH_LEN);
        out += AN_NOISE_RECORD_EXTRA + take;
        plain += take;
        len -= take;
    }
    return err == AN_OK ? err : broken(conn, err, "no nonce is left");
}
