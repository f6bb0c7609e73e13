/* What a running node tells its own machine: DIR/node.json (mode 0600). */
#ifndef AN_CLIENT_CLI_NODE_H
#define AN_CLIENT_CLI_NODE_H

#include "core/err.h"
#include "core/token.h"
#include <stdint.h>

struct cli_node {
    char *tcp;     /* "tcp://127.0.0.1:7400" */
    char *control; /* the text endpoint, "ipc://..."; may be NULL */
    char *events;  /* may be NULL */
    char *app;
    struct an_token_key key;
};

/* CONNECTION when there is no such file: no node runs there. CONFIG when it makes no
 * sense, IO when it cannot be read. Fill with zeros first. */
AN_MUST_USE enum an_err cli_node_load(struct cli_node *node, const char *dir);
/* Frees, and wipes the key. A zeroed node is fine. */
void cli_node_fini(struct cli_node *node);
/* A token for user, good for ttl_ms; *out from malloc(). */
AN_MUST_USE enum an_err cli_node_token(char **out, const struct cli_node *node,
                                       const char *user, uint64_t ttl_ms);

#endif
