/* A blocking client of a Noise door, for the test_gate_door*.c files. */
#ifndef AN_TESTS_ACTORS_NOISE_PEER_H
#define AN_TESTS_ACTORS_NOISE_PEER_H

#include "core/noise_conn.h"

struct noise_peer {
    int fd; /* the caller's */
    struct an_noise_conn conn;
    uint8_t plain[AN_NOISE_PAYLOAD_MAX]; /* opened, not taken yet */
    size_t plain_at, plain_len;
};

/* Begins the handshake with this key, cut into so many bytes. From malloc(). */
struct noise_peer *noise_peer_begin(int fd, const uint8_t *pinned, size_t step);
/* Takes the server's answer, which must be good. */
void noise_peer_answer(struct noise_peer *peer);
void noise_peer_put(struct noise_peer *peer, const void *data, size_t len);
/* Reads exactly so much. */
void noise_peer_get(struct noise_peer *peer, uint8_t *at, size_t len);
/* NULL is fine; the socket stays. */
void noise_peer_free(struct noise_peer *peer);

#endif
