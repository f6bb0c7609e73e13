/* Keeps every process of a host of a cluster file running: starts `anser run` for each,
 * starts again what died, and stops all in order. What systemd would do, for who has none
 * at hand. A process of its own with one thread; it holds no data and no connection.
 *
 *   starting    all at once: they wait for each other
 *   dying       again after SUPERVISOR_BACKOFF_MIN_MS, doubled with every death up to
 *               SUPERVISOR_BACKOFF_MAX_MS, from the start again after
 *               SUPERVISOR_STEADY_MS alive; others go on
 *   stopping    gates, api, sequencers, idgens, routers, stores: each process in the turn
 *               of its last actor; SIGKILL after a bounded time, and at once when the
 *               signal comes a second time
 *
 * Children get SIGTERM when the supervisor dies, whatever it dies of.
 *
 * Context: the calling process has one thread and has blocked SIGINT and SIGTERM. */
#ifndef AN_CLUSTER_SUPERVISOR_H
#define AN_CLUSTER_SUPERVISOR_H

#include "cluster/plan.h"

enum {
    SUPERVISOR_BACKOFF_MIN_MS = 200,
    SUPERVISOR_BACKOFF_MAX_MS = 5000,
    SUPERVISOR_STEADY_MS = 10000,
};

struct supervisor_cfg {
    const struct plan *plan; /* borrowed */
    uint16_t host;
    const char *program; /* run as: PROGRAM run ACTOR... --cluster FILE */
    const char *file;
    uint32_t stop_ms; /* for the processes of one turn to end; 0: 30 s, stores 90 s */
    /* Called once, when every process has said that it is ready. text: all their actors,
     * then the addresses that gates listen on, separated by spaces. */
    void (*ready)(void *ctx, const char *text);
    void *ctx;
};

/* Runs until SIGINT or SIGTERM came and every process ended. AN_OK; AN_ERR_TIMEOUT: one
 * had to be killed. Before anything was started: AN_ERR_LOCKED (the host's processes are
 * kept by another), AN_ERR_CONFIG, AN_ERR_IO, AN_ERR_NO_MEMORY, with *why. */
AN_MUST_USE enum an_err supervisor_run(const struct supervisor_cfg *cfg, char *why,
                                       size_t why_len);
/* The pause before the next start of a process that lived for alive_ms; last_ms: the
 * pause before that life, 0: none. */
uint32_t supervisor_backoff_ms(uint32_t last_ms, uint64_t alive_ms);

#endif
