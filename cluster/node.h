/* A single node: every actor and the store in one process, under the NNG runner.
 *
 * Context: one thread, the program's first; block the signals that end the program
 * before node_start, so that no other thread takes them. */
#ifndef AN_CLUSTER_NODE_H
#define AN_CLUSTER_NODE_H

#include "cluster/config.h"
#include "core/err.h"
#include <stdbool.h>

struct node;

/* Holds the data directory (created when it is not there), opens the store (which may
 * replay a log), starts every actor in order and returns when logins are accepted. On an
 * error nothing is left running and *why is one sentence: AN_ERR_LOCKED,
 * AN_ERR_DISK_FULL, AN_ERR_IO, AN_ERR_CORRUPT, AN_ERR_CONFIG, AN_ERR_CONNECTION (an
 * address cannot be had), AN_ERR_TIMEOUT (an actor did not get ready), AN_ERR_NO_MEMORY.
 *
 * An actor that cannot go on later, or a disk whose sync failed, ends the process with
 * the error's exit code after a log line. */
AN_MUST_USE enum an_err node_start(struct node **out, const struct config *config,
                                   char *why, size_t why_len);
/* "tcp://HOST:PORT" with the real port, several with a space between;
 * "/absolute/data/dir". Live as long as the node. */
const char *node_address(const struct node *node);
/* The same of the api; empty: HTTP is off. */
const char *node_http(const struct node *node);
const char *node_data(const struct node *node);
/* Certificates read again: as group_reload. */
AN_MUST_USE enum an_err node_reload(struct node *node, char *why, size_t why_len);
/* Goodbyes to clients, what is in flight finished, the store applied and closed. Each
 * actor has a bounded time. NULL is fine. False: all is on disk, but NNG does not end,
 * and the process must end with _exit(). It was logged. */
AN_MUST_USE bool node_stop(struct node *node);

#endif
