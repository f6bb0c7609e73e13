/* Makes the keys that a cluster file names. */
#include "client/cli/args.h"
#include "client/cli/cluster.h"
#include "client/cli/node.h"
#include "cluster/keygen.h"
#include <stdio.h>

enum { WHY_MAX = 1024 };

static void
print_line(void *ctx, const char *line)
{
    (void)ctx;
    printf("%s\n", line);
}

int
cli_cluster_keygen(int argc, char **argv)
{
    const char *file = NULL, *out = NULL, *host = NULL;
    bool renew = false;
    const struct cli_option options[] = {
        CLI_CLUSTER_OPTION(file),
        {"out", 'o', "DIR", "everything goes there (default: where the file has it)",
         &out, NULL},
        {"host", 0, "NAME", "this host's files alone", &host, NULL},
        {"renew", 0, NULL,
         "new keys and certificates of the same CA, for all hosts or --host", NULL,
         &renew}};
    const struct cli_command command = {
        .name = "cluster keygen",
        .usage = "[FILE] [--out DIR] [--host NAME] [--renew]",
        .summary = "Makes the keys of a cluster: a CA, a certificate for each host, the\n"
                   "key of login tokens",
        .details =
            "What is there is kept, so a host added to the file gets its certificate by\n"
            "running this again. A host needs the CA's certificate, its own certificate\n"
            "and key, and the token key; the CA's key stays with you. With one host and\n"
            "no tls in the file there is only the token key to make.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_max = 1};
    struct plan *plan;
    char why[WHY_MAX] = "";
    int code = cli_cluster_open(&command, argc, argv, &file, &plan);

    if (code >= 0) {
        return code;
    }
    const struct keygen_cfg cfg = {
        .plan = plan, .out = out, .renew = renew, .host = host, .say = print_line};
    enum an_err err = keygen(&cfg, why, sizeof(why));
    plan_free(plan);
    return err == AN_OK ? 0 : cli_fail(err, command.name, why[0] == '\0' ? NULL : why);
}
