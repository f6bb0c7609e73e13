/* The commands of `anser cluster`, once: dispatch and help come from here. */
#ifndef AN_CLIENT_CLI_CLUSTER_H
#define AN_CLIENT_CLI_CLUSTER_H

#include "client/cli/args.h"
#include "cluster/plan.h"

/* X(name, function, summary). Each in its own file cmd_cluster_NAME.c; gets argv from its
 * name on. */
#define AN_CLI_CLUSTER(X)                                                                \
    X("up", cli_cluster_up, "keep every process of the file on this host running")       \
    X("status", cli_cluster_status, "ask every actor whether it is well")                \
    X("plan", cli_cluster_plan, "print who runs and listens where, who has which slots") \
    X("keygen", cli_cluster_keygen, "make the CA, the hosts' certificates, the token key")

#define AN_CLI_CLUSTER_DECLARE(name, function, summary)                                  \
    int function(int argc, char **argv);
AN_CLI_CLUSTER(AN_CLI_CLUSTER_DECLARE)
#undef AN_CLI_CLUSTER_DECLARE

/* Parses argv as cli_parse does. *file: what --cluster was given; then the file to use:
 * the one argument, else that, else $ANSER_CLUSTER. -1 to go on, otherwise the exit code;
 * what was wrong was named. */
int cli_cluster_parse(const struct cli_command *command, int argc, char **argv,
                      const char **file);
/* The same, and reads the file: -1 to go on, *plan is to be freed. */
int cli_cluster_open(const struct cli_command *command, int argc, char **argv,
                     const char **file, struct plan **plan);

#endif
