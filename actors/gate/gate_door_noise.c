/* Noise of client connections: core/noise_conn.h fed with what the socket has. An idle
 * connection costs its two keys and no buffer. */
#include "actors/gate/gate_door_priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char layer[] = "Noise";

enum an_err
gate_noise_init(struct door_noise *noise, const struct gate_door_cfg *cfg, char *why,
                size_t why_len)
{
    if (cfg->noise_key == NULL) {
        snprintf(why, why_len,
                 "gate.noise_key: missing: what listens with Noise needs "
                 "it");
        return AN_ERR_CONFIG;
    }
    noise->plain = malloc(AN_NOISE_PAYLOAD_MAX);
    if (noise->plain == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    noise->key = *cfg->noise_key;
    return AN_OK;
}

void
gate_noise_fini(struct door_noise *noise)
{
    an_noise_wipe(&noise->key, sizeof(noise->key));
    free(noise->plain);
    free(noise->sealed.data);
}

/* ------------------------------------------------------------------ a connection */

struct an_noise_conn *
gate_noise_accept(const struct door_noise *noise)
{
    struct an_noise_conn *conn = malloc(sizeof(*conn));

    if (conn != NULL && an_noise_conn_server(conn, &noise->key) != AN_OK) {
        free(conn);
        return NULL;
    }
    return conn;
}

void
gate_noise_free(struct gate_door *door, struct door_conn *conn)
{
    if (conn->noise != NULL) {
        gate_held_count(door, conn, conn->noise->held_cap, 0);
        an_noise_conn_fini(conn->noise);
        free(conn->noise);
        conn->noise = NULL;
    }
}

/* What records that are not whole take is bounded over all connections. */
static enum an_err
take(struct gate_door *door, struct door_conn *conn, struct an_noise_piece *in)
{
    struct an_noise_conn *noise = conn->noise;
    size_t before = noise->held_cap;
    enum an_err err = an_noise_take(noise, in);

    bool room = in->record != NULL || gate_held_room(door, conn, before, noise->held_cap);

    gate_held_count(door, conn, before, noise->held_cap);
    if (err == AN_OK && !room) {
        noise->why = "too much waits for the rest of it";
        err = AN_ERR_FULL;
    }
    return err;
}

static enum an_err
shake(struct gate_door *door, struct door_conn *conn, const struct an_noise_piece *in)
{
    uint8_t reply[AN_NOISE_HELLO_LEN];
    size_t len;
    enum an_err err =
        an_noise_shake(conn->noise, in->record, in->record_len, reply, &len);

    if (err != AN_OK) {
        return err;
    }
    if (!gate_door_write(door, conn, reply, len)) {
        gate_door_kill(conn);
        return AN_OK;
    }
    door->stats.noise_full++;
    gate_door_open(door, conn);
    return AN_OK;
}

void
gate_noise_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
              size_t len)
{
    struct an_noise_piece in = {.data = data, .len = len};

    while (door_reading(conn)) {
        enum an_err err = take(door, conn, &in);

        if (err == AN_OK && in.record == NULL) {
            return; /* all taken */
        }
        if (err == AN_OK && !an_noise_is_open(conn->noise)) {
            err = shake(door, conn, &in);
        } else if (err == AN_OK) {
            err = an_noise_open(conn->noise, in.record, in.record_len, door->noise.plain);
            if (err == AN_OK) {
                gate_door_layer_in(door, conn, door->noise.plain,
                                   in.record_len - AN_NOISE_TAG_LEN);
            }
        }
        if (err != AN_OK) {
            gate_door_break_off(door, conn, layer, conn->noise->why);
        }
    }
}

bool
gate_noise_out(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
               size_t len)
{
    struct door_scratch *sealed = &door->noise.sealed;
    size_t sealed_len = an_noise_sealed_len(len);
    bool good = gate_door_scratch(sealed, sealed_len) != NULL &&
                an_noise_seal(conn->noise, data, len, sealed->data) == AN_OK &&
                gate_door_write(door, conn, sealed->data, sealed_len);

    gate_door_scratch_clear(sealed);
    return good;
}
