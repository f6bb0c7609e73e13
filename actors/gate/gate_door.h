/* The gate's door: client connections over TCP, TLS, Noise and WebSocket on a libuv loop.
 * Cuts frames, writes frames, counts bytes; every decision is the gate actor's (gate.h),
 * which hears of a connection when its handshakes are through.
 *
 * Context: see core/door.h. */
#ifndef AN_ACTORS_GATE_DOOR_H
#define AN_ACTORS_GATE_DOOR_H

#include "core/door.h"
#include "core/nets.h"
#include "core/noise.h"

#define GATE_DOOR_LISTEN_MAX 8u

struct gate_door_cfg {
    /* As core/listen.h reads them. Borrowed, as all texts here, until create returns. */
    const char *listen[GATE_DOOR_LISTEN_MAX];
    unsigned listen_count;
    /* 0 means the default. */
    uint32_t frame_len_max;  /* AN_FRAME_LEN_MAX */
    uint32_t close_ms;       /* unsent output of a closing connection gets this long */
    uint32_t handshake_ms;   /* AN_HANDSHAKE_MS */
    uint32_t handshakes_max; /* AN_HANDSHAKES_MAX */
    uint32_t login_len_max;  /* AN_DOOR_LOGIN_HELD */
    uint32_t accept_per_s;   /* connections taken; the rest wait. 0: no limit */
    uint32_t accept_burst;   /* of them at once, after a quiet time */
    /* PEM files of what listens with TLS: certificate with its chain, its key, and, when
     * clients must show a certificate, the CAs these are believed from (else NULL). */
    const char *tls_cert, *tls_key, *tls_client_ca;
    const struct an_noise_key *noise_key; /* of what listens with Noise; else NULL */
    /* Addresses that may have all; NULL: none. Borrowed until create returns. */
    const struct an_nets *unlimited;
    const char *origins; /* of pages that may open a WebSocket; NULL, "*": any */
    /* Told about trouble an operator should know (out of descriptors, no listening);
     * level as in core/log.h. May be NULL. Called on any thread. */
    void (*log)(void *ctx, int level, const char *line);
    void *log_ctx;
};

/* What a door counts; read on its thread, or after run() returned. */
struct gate_door_stats {
    uint64_t accepted, closed, frames_in, frames_out, bytes_in, bytes_out, writes;
    uint64_t bad_streams, bad_lines, accept_pauses, accept_waits, read_pauses;
    uint64_t tls_full, tls_resumed; /* handshakes that succeeded */
    uint64_t noise_full;            /* the same of Noise */
    uint64_t broken;            /* open ones that ended by what came, as TLS or Noise */
    uint64_t handshakes_failed; /* refused, broken, given up by the client */
    uint64_t handshakes_late;   /* too slow, or too many at once */
    uint64_t held_refused;      /* too much that was not whole */
    uint64_t handshakes;        /* now: not through yet */
    uint64_t conns;             /* now */
    uint64_t partial_bytes;     /* now: buffers of frames not yet whole */
    uint64_t output_bytes;      /* now: not yet taken by clients */
};

/* AN_ERR_NO_MEMORY, AN_ERR_CONFIG (an address, a file of TLS), with *why. Binds nothing
 * yet. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err gate_door_create(struct an_door **out,
                                         const struct gate_door_cfg *cfg, char *why,
                                         size_t why_len);
void gate_door_stats(const struct an_door *door, struct gate_door_stats *out);

#endif
