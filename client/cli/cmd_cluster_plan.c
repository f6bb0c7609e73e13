/* A cluster file as a table: who runs where. */
#include "client/cli/args.h"
#include "client/cli/cluster.h"
#include "cluster/plan_show.h"
#include <stdio.h>

enum { WHY_MAX = 1024 };

int
cli_cluster_plan(int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {
        {"json", 0, NULL, "one JSON object instead of a table", NULL, &json}};
    const struct cli_command command = {
        .name = "cluster plan",
        .usage = "FILE [--json]",
        .summary = "Prints who runs where, who listens where, and who has which slots",
        .details = "Starts nothing and asks nobody: it reads the file, and refuses one\n"
                   "that is wrong by line and key.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 1,
        .args_max = 1};
    struct plan *plan;
    char why[WHY_MAX] = "";
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);
    enum an_err err;

    if (code >= 0) {
        return code;
    }
    err = plan_load(&plan, args[0], why, sizeof(why));
    if (err != AN_OK) {
        return cli_fail(err, command.name, why[0] == '\0' ? NULL : why);
    }
    err = json ? plan_show_json(plan, stdout) : plan_show(plan, stdout);
    plan_free(plan);
    return err == AN_OK ? 0 : cli_fail(err, command.name, NULL);
}
