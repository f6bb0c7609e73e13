/* Where a server is and how to log in there: what a running node tells its own machine in
 * DIR/node.json (mode 0600), or a cluster file. */
#ifndef AN_CLIENT_CLI_NODE_H
#define AN_CLIENT_CLI_NODE_H

#include "core/err.h"
#include "core/token.h"
#include <stddef.h>
#include <stdint.h>

enum { CLI_ADDRESSES_MAX = 16 };

/* Rows of a struct cli_option table, the same in every command. */
#define CLI_DATA_OPTION(dir)                                                             \
    {                                                                                    \
        "data", 'd', "DIR", "the node's directory ($ANSER_DATA, else ./anser-data)",     \
            &(dir), NULL                                                                 \
    }
#define CLI_CLUSTER_OPTION(file)                                                         \
    {                                                                                    \
        "cluster", 'c', "FILE", "the cluster file (default $ANSER_CLUSTER)", &(file),    \
            NULL                                                                         \
    }
#define CLI_HOST_OPTION(host)                                                            \
    {                                                                                    \
        "host", 0, "NAME", "which of the file's hosts this is (default: by address)",    \
            &(host), NULL                                                                \
    }

struct cli_node {
    char *tcp[CLI_ADDRESSES_MAX]; /* "tcp://127.0.0.1:7400", of each gate */
    size_t tcp_count;
    char *control; /* the text endpoint, "ipc://..."; may be NULL */
    char *events;  /* may be NULL */
    char *app;
    struct an_token_key key;
    char *server_key; /* of noise://, in base64; NULL: it has no such address */
};

/* CONNECTION when there is no such file: no node runs there. CONFIG when it makes no
 * sense, IO when it cannot be read. Fill with zeros first. */
AN_MUST_USE enum an_err cli_node_load(struct cli_node *node, const char *dir);
/* From a cluster file: the gates' addresses as clients elsewhere know them, those of host
 * first (NULL, or not of this machine: as the file has them), the key of login tokens.
 * Errors of plan_load, plan_host and node_key_read, with *why. Fill with zeros first. */
AN_MUST_USE enum an_err cli_node_load_cluster(struct cli_node *node, const char *file,
                                              const char *host, char *why,
                                              size_t why_len);
/* The cluster file to use: as given, else $ANSER_CLUSTER unless a data directory is
 * given. NULL: none. */
const char *cli_cluster_file(const char *given, const char *data);
/* Loads whichever it is. -1, or the exit code after naming the error. */
int cli_node_open(struct cli_node *node, const char *command, const char *cluster,
                  const char *host, const char *data);
/* Frees, and wipes the key. A zeroed node is fine. */
void cli_node_fini(struct cli_node *node);
/* A token for user, good for ttl_ms; *out from malloc(). */
AN_MUST_USE enum an_err cli_node_token(char **out, const struct cli_node *node,
                                       const char *user, uint64_t ttl_ms);

#endif
