/* Some actors of a plan, run together in this process: all six of a single node, or
 * those of one process of a cluster.
 *
 * Context: one thread, the program's first. */
#ifndef AN_CLUSTER_GROUP_H
#define AN_CLUSTER_GROUP_H

#include "cluster/plan.h"
#include "core/app_key.h"
#include "core/runner_nng.h"
#include "core/token.h"
#include <stdbool.h>

struct group;

#define GROUP_GATES  (1u << AN_ROLE_GATE)
#define GROUP_OTHERS (~GROUP_GATES)
#define GROUP_ALL    (~0u)

struct group_cfg {
    const struct plan *plan;                /* borrowed until group_destroy */
    const struct plan_actor *const *actors; /* of the plan; copied */
    unsigned actor_count;
    const struct an_token_keys
        *keys; /* what logins are checked and signed with; borrowed */
    const struct an_app_keys *app_keys; /* what back ends sign with; borrowed */
    const char *who;                    /* of its log lines; borrowed */
};

/* Judges the gates' addresses; makes nothing on disk and binds nothing. AN_ERR_CONFIG (an
 * address is none), AN_ERR_NO_MEMORY, with *why. */
AN_MUST_USE enum an_err group_create(struct group **out, const struct group_cfg *cfg,
                                     char *why, size_t why_len);
/* Makes the runner, and each actor in it: store directories are made when they are
 * missing (parents not), opened and locked, logs replayed, addresses bound. cfg: its
 * topology and failed are filled in here. The errors of an_runner_create, an_runner_add
 * and store_create, with *why. */
AN_MUST_USE enum an_err group_open(struct group *group, const struct an_runner_cfg *cfg,
                                   char *why, size_t why_len);
/* Starts those of these roles (bits 1 << role). AN_ERR_NO_MEMORY, AN_ERR_CONNECTION. */
AN_MUST_USE enum an_err group_start(struct group *group, unsigned roles, char *why,
                                    size_t why_len);
/* Waits until all that were started are ready. AN_ERR_TIMEOUT: *why names those that are
 * not. May be called again. */
AN_MUST_USE enum an_err group_await(struct group *group, uint32_t timeout_ms, char *why,
                                    size_t why_len);
/* "sequencer/0" of those that were started and are not ready, in order; NULL beyond. */
const char *group_unready(const struct group *group, unsigned index);
/* The addresses that gates, and behind them apis, listen on, "tcp://HOST:PORT" with the
 * real port and its kin, in order; NULL beyond the last. After group_open, as long as the
 * group. */
const char *group_address(const struct group *group, unsigned index);
/* The certificates that gates show, read again: for new connections. An error, with *why,
 * leaves that gate and those behind it with what they had. */
AN_MUST_USE enum an_err group_reload(struct group *group, char *why, size_t why_len);
/* Stops what was started, gates first and stores last, each within a bounded time. */
void group_stop(struct group *group);
/* NULL is fine. What was not stopped is dropped as by a crash. False: the stores are
 * closed, but NNG does not end (an_runner_destroy_within); the plan stays borrowed, and
 * the process must end with _exit(). It was logged. */
bool group_destroy(struct group *group);

#endif
