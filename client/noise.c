/* Noise over the link's socket: the server must have the pinned key. What was sealed
 * keeps its place until the socket takes it. */
#include "client/client_priv.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 16384 + AN_NOISE_RECORD_EXTRA };

struct ac_noise {
    struct an_noise_conn conn;
    struct ac_buffer sealed;
};

/* What the other side did wrong, or we ran out of. */
static enum an_err
failed(struct ac_link *link, enum an_err err)
{
    if (err == AN_ERR_NO_MEMORY) {
        return err;
    }
    snprintf(link->why, sizeof(link->why), "Noise: %s", link->noise->conn.why);
    return AN_ERR_TLS;
}

enum an_err
ac_noise_begin(struct ac_link *link, const uint8_t pinned[AN_NOISE_KEY_LEN])
{
    struct ac_noise *noise = calloc(1, sizeof(*noise));
    uint8_t hello[AN_NOISE_HELLO_LEN];
    enum an_err err;

    if (noise == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    link->noise = noise;
    err = an_noise_conn_client(&noise->conn, pinned, hello);
    if (err != AN_OK) {
        noise->conn.why = "the pinned key is no key of a server";
        return failed(link, err);
    }
    if (!ac_buffer_reserve(&noise->sealed, sizeof(hello))) {
        return AN_ERR_NO_MEMORY;
    }
    memcpy(noise->sealed.data, hello, sizeof(hello));
    noise->sealed.len = sizeof(hello);
    return AN_OK;
}

void
ac_noise_end(struct ac_link *link)
{
    if (link->noise != NULL) {
        an_noise_conn_fini(&link->noise->conn);
        free(link->noise->sealed.data);
        free(link->noise);
    }
    link->noise = NULL;
}

bool
ac_noise_wants_write(const struct ac_link *link)
{
    return link->noise != NULL && link->noise->sealed.len > 0;
}

/* ------------------------------------------------------------------ the handshake */

static enum an_err
take_answer(struct ac_link *link, const uint8_t *data, size_t len)
{
    struct an_noise_conn *conn = &link->noise->conn;
    struct an_noise_piece in = {.data = data, .len = len};
    uint8_t none[AN_NOISE_HELLO_LEN];
    size_t none_len;
    enum an_err err = an_noise_take(conn, &in);

    if (err == AN_OK && in.record != NULL) {
        err = an_noise_shake(conn, in.record, in.record_len, none, &none_len);
        link->connected = err == AN_OK;
    }
    return err == AN_OK ? err : failed(link, err);
}

enum an_err
ac_noise_handshake(struct ac_link *link)
{
    struct ac_noise *noise = link->noise;
    uint8_t answer[AN_NOISE_HELLO_LEN];
    size_t got;
    enum an_err err = ac_link_send(link, &noise->sealed);

    link->want_write = noise->sealed.len > 0;
    if (err != AN_OK || link->want_write) {
        return err;
    }
    /* No byte behind the answer: that is for ac_noise_read. */
    err = ac_link_recv(link, answer, sizeof(answer) - noise->conn.held_len, &got);
    if (err == AN_ERR_CONNECTION) {
        /* A server that cannot read our first record says no more than this. */
        noise->conn.why = "the server ended the handshake: it has another key than the "
                          "pinned one, or none";
        return failed(link, AN_ERR_TLS);
    }
    return err == AN_OK && got > 0 ? take_answer(link, answer, got) : err;
}

/* ------------------------------------------------------------------ the stream */

static enum an_err
open_all(struct ac_link *link, const uint8_t *data, size_t len)
{
    struct an_noise_conn *conn = &link->noise->conn;
    struct an_noise_piece in = {.data = data, .len = len};
    struct ac_buffer *to = &link->in;
    enum an_err err;

    for (;;) {
        err = an_noise_take(conn, &in);
        if (err != AN_OK || in.record == NULL) {
            return err;
        }
        if (!ac_buffer_reserve(to, in.record_len)) {
            return AN_ERR_NO_MEMORY;
        }
        err =
            an_noise_open(conn, in.record, in.record_len, to->data + to->start + to->len);
        if (err != AN_OK) {
            return err;
        }
        to->len += in.record_len - AN_NOISE_TAG_LEN;
    }
}

enum an_err
ac_noise_read(struct ac_link *link, bool *more)
{
    uint8_t data[READ_BYTES];
    size_t got;
    enum an_err err = ac_link_recv(link, data, sizeof(data), &got);

    *more = got == sizeof(data);
    if (err == AN_OK && got > 0) {
        err = open_all(link, data, got);
        return err == AN_OK ? err : failed(link, err);
    }
    return err;
}

enum an_err
ac_noise_write(struct ac_link *link)
{
    struct ac_noise *noise = link->noise;
    struct ac_buffer *out = &link->out, *sealed = &noise->sealed;
    enum an_err err = ac_link_send(link, sealed);

    while (err == AN_OK && sealed->len == 0 && out->len > 0) {
        size_t take = out->len < AN_NOISE_PIECE_LEN ? out->len : AN_NOISE_PIECE_LEN;
        size_t len = an_noise_sealed_len(take);

        if (!ac_buffer_reserve(sealed, len)) {
            return AN_ERR_NO_MEMORY;
        }
        err = an_noise_seal(&noise->conn, out->data + out->start, take, sealed->data);
        if (err != AN_OK) {
            return failed(link, err);
        }
        sealed->len = len;
        ac_buffer_eat(out, take);
        err = ac_link_send(link, sealed);
    }
    return err;
}
