#include "tests/actors/noise_peer.h"
#include "tests/actors/gate_door_kit.h"

struct noise_peer *
noise_peer_begin(int fd, const uint8_t *pinned, size_t step)
{
    struct noise_peer *peer = calloc(1, sizeof(*peer));
    uint8_t hello[AN_NOISE_HELLO_LEN];

    assert_non_null(peer);
    peer->fd = fd;
    assert_int_equal(an_noise_conn_client(&peer->conn, pinned, hello), AN_OK);
    for (size_t at = 0; at < sizeof(hello); at += step) {
        door_put(fd, hello + at, step < sizeof(hello) - at ? step : sizeof(hello) - at);
    }
    return peer;
}

void
noise_peer_answer(struct noise_peer *peer)
{
    uint8_t hello[AN_NOISE_HELLO_LEN], none[AN_NOISE_HELLO_LEN];
    size_t len;

    door_get(peer->fd, hello, sizeof(hello));
    assert_int_equal(hello[0] << 8 | hello[1], AN_NOISE_HELLO_EXTRA);
    assert_int_equal(
        an_noise_shake(&peer->conn, hello + 2, AN_NOISE_HELLO_EXTRA, none, &len), AN_OK);
}

void
noise_peer_put(struct noise_peer *peer, const void *data, size_t len)
{
    uint8_t *sealed = malloc(an_noise_sealed_len(len));

    assert_non_null(sealed);
    assert_int_equal(an_noise_seal(&peer->conn, data, len, sealed), AN_OK);
    door_put(peer->fd, sealed, an_noise_sealed_len(len));
    free(sealed);
}

static void
get_record(struct noise_peer *peer)
{
    static uint8_t record[AN_NOISE_MESSAGE_MAX];
    uint8_t length[AN_NOISE_LENGTH_LEN];
    size_t len;

    door_get(peer->fd, length, sizeof(length));
    len = (size_t)length[0] << 8 | length[1];
    door_get(peer->fd, record, len);
    assert_int_equal(an_noise_open(&peer->conn, record, len, peer->plain), AN_OK);
    peer->plain_at = 0;
    peer->plain_len = len - AN_NOISE_TAG_LEN;
}

void
noise_peer_get(struct noise_peer *peer, uint8_t *at, size_t len)
{
    for (; len > 0; len--) {
        while (peer->plain_at == peer->plain_len) {
            get_record(peer);
        }
        *at++ = peer->plain[peer->plain_at++];
    }
}

void
noise_peer_free(struct noise_peer *peer)
{
    if (peer != NULL) {
        an_noise_conn_fini(&peer->conn);
    }
    free(peer);
}
