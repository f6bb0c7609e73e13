/* A login token, signed with the server's own key; the server need not run. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int
print_token(const char *cluster, const char *host, const char *data, const char *name,
            const char *app, uint64_t ttl_ms)
{
    struct cli_node node = {0};
    struct timespec now;
    char reason[1024] = "";
    char *token = NULL;
    enum an_err err = cluster != NULL ? cli_node_load_cluster(&node, cluster, host,
                                                              reason, sizeof(reason))
                                      : cli_node_load(&node, data);
    int code = 0;

    if (cluster == NULL && err == AN_ERR_CONNECTION) {
        snprintf(reason, sizeof(reason), "%s/node.json is not there; anser up makes it",
                 data);
        cli_node_fini(&node);
        return cli_fail(AN_ERR_UNAVAILABLE, "token", reason);
    }
    if (err == AN_OK) {
        clock_gettime(CLOCK_REALTIME, &now);
        err = an_token_mint(&token, &node.key, app == NULL ? node.app : app, name,
                            (uint64_t)now.tv_sec * 1000, ttl_ms);
    }
    if (err == AN_OK) {
        printf("%s\n", token);
    } else {
        code = cli_fail(err, "token", reason[0] == '\0' ? NULL : reason);
    }
    free(token);
    cli_node_fini(&node);
    return code;
}

int
cmd_token(int argc, char **argv)
{
    const char *data = NULL, *cluster = NULL, *host = NULL, *app = NULL, *ttl = "24h";
    const struct cli_option options[] = {
        CLI_DATA_OPTION(data),
        CLI_CLUSTER_OPTION(cluster),
        CLI_HOST_OPTION(host),
        {"ttl", 't', "TIME", "how long it is good: 90s, 15m, 24h, 7d (default 24h)", &ttl,
         NULL},
        {"app", 0, "APP", "the app (tenant) of the name", &app, NULL}};
    const struct cli_command command = {
        .name = "token",
        .usage = "NAME [--ttl 24h] [--app APP] [--data DIR | --cluster FILE]",
        .summary = "Prints a login token signed with the server's key",
        .details =
            "Whoever holds it is NAME until it expires. Whether there is such a user\n"
            "is asked at login.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 1,
        .args_max = 1};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);
    uint64_t ttl_ms;

    if (code >= 0) {
        return code;
    }
    if (!cli_duration(ttl, &ttl_ms) || ttl_ms == 0) {
        return cli_usage("token", "'%s' is no duration", ttl);
    }
    return print_token(cli_cluster_file(cluster, data), host, cli_data_dir(data), args[0],
                       app, ttl_ms);
}
