/* What the running node counts. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include "core/control.h"
#include <stdio.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 10000 };

int
cmd_metrics(int argc, char **argv)
{
    const char *data = NULL;
    const struct cli_option options[] = {CLI_DATA_OPTION(data)};
    const struct cli_command command = {
        .name = "metrics",
        .usage = "[--data DIR]",
        .summary = "Prints the counters and gauges of every actor as Prometheus text",
        .options = options,
        .option_count = 1};
    struct cli_node node = {0};
    char **args, reason[512];
    char *text = NULL;
    int count, code = cli_parse(&command, argc, argv, &args, &count);
    enum an_err err;

    if (code >= 0) {
        return code;
    }
    data = cli_data_dir(data);
    err = cli_node_load(&node, data);
    if (err == AN_OK) {
        err = node.control == NULL
                  ? AN_ERR_CONFIG
                  : an_control_ask(&text, node.control, "metrics", TIMEOUT_MS);
    }
    code = 0;
    if (err == AN_OK) {
        fputs(text, stdout);
    } else if (err == AN_ERR_CONNECTION || err == AN_ERR_UNAVAILABLE) {
        snprintf(reason, sizeof(reason), "no node runs on %s", data);
        code = cli_fail(AN_ERR_UNAVAILABLE, "metrics", reason);
    } else {
        code = cli_fail(err, "metrics", NULL);
    }
    free(text);
    cli_node_fini(&node);
    return code;
}
