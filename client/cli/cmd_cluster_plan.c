/* A cluster file as a table: who runs where. */
#include "client/cli/args.h"
#include "client/cli/cluster.h"
#include "client/cli/node.h"
#include "cluster/plan_show.h"
#include <stdio.h>

int
cli_cluster_plan(int argc, char **argv)
{
    const char *file = NULL;
    bool json = false;
    const struct cli_option options[] = {
        CLI_CLUSTER_OPTION(file),
        {"json", 0, NULL, "one JSON object instead of a table", NULL, &json}};
    const struct cli_command command = {
        .name = "cluster plan",
        .usage = "[FILE] [--json]",
        .summary = "Prints who runs where, who listens where, and who has which slots",
        .details = "Starts nothing and asks nobody: it reads the file, and refuses one\n"
                   "that is wrong by line and key.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_max = 1};
    struct plan *plan;
    int code = cli_cluster_open(&command, argc, argv, &file, &plan);
    enum an_err err;

    if (code >= 0) {
        return code;
    }
    err = json ? plan_show_json(plan, stdout) : plan_show(plan, stdout);
    plan_free(plan);
    return err == AN_OK ? 0 : cli_fail(err, command.name, NULL);
}
