/* Accounts, through a running node's control endpoint or a cluster's api. */
#include "client/cli/args.h"
#include "client/cli/ask.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include "proto/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
add(const char *cluster, const char *host, const char *data, const char *name,
    const char *app)
{
    struct cli_asker asker = {.command = "user add"};
    char why[512] = "";
    enum an_err err;
    int code;

    if (!an_name_valid((const uint8_t *)name, strlen(name)) ||
        (app != NULL && !an_name_valid((const uint8_t *)app, strlen(app)))) {
        return cli_fail(AN_ERR_USER_NAME, "user add", NULL);
    }
    code = cli_asker_open(&asker, cli_cluster_file(cluster, data), host, data);
    if (code >= 0) {
        cli_asker_close(&asker);
        return code;
    }
    if (app == NULL) {
        app = asker.plan != NULL && asker.plan->app != NULL ? asker.plan->app
                                                            : AN_APP_DEFAULT;
    }
    err = cli_user_add(&asker, name, app, why, sizeof(why));
    if (err == AN_OK) {
        printf("user %s added\n", name);
        code = 0;
    } else if (err == AN_ERR_UNAVAILABLE && asker.plan == NULL) {
        snprintf(why, sizeof(why), "no node runs on %s; start one with: anser up",
                 cli_data_dir(data));
        code = cli_fail(err, "user add", why);
    } else {
        code = cli_fail(err, err == AN_ERR_USER_EXISTS ? name : "user add",
                        why[0] == '\0' ? NULL : why);
    }
    cli_asker_close(&asker);
    return code;
}

int
cmd_user(int argc, char **argv)
{
    const char *data = NULL, *cluster = NULL, *host = NULL, *app = NULL;
    const struct cli_option options[] = {
        {"data", 'd', "DIR", "the node's directory ($ANSER_DATA, else ./anser-data)",
         &data, NULL},
        CLI_CLUSTER_OPTION(cluster),
        CLI_HOST_OPTION(host),
        {"app", 0, "APP", "the app (tenant) the name belongs to", &app, NULL}};
    const struct cli_command command = {
        .name = "user",
        .usage = "add NAME [--app APP] [--data DIR | --cluster FILE [--host NAME]]",
        .summary = "Makes an account, through the running server",
        .details =
            "A name is 1 to 64 bytes of UTF-8 without spaces, '/', '\"' or control\n"
            "characters.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 2,
        .args_max = 2};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (strcmp(args[0], "add") != 0) {
        return cli_usage("user", "unknown action '%s'", args[0]);
    }
    return add(cluster, host, data, args[1], app);
}
