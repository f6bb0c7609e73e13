/* What a client pins: the public half of the key of noise:// addresses. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include <stdio.h>
#include <string.h>

static int
print_key(const char *cluster, const char *host, const char *data)
{
    struct cli_node node = {0};
    int code = cli_node_open(&node, "noise", cluster, host, data);

    if (code < 0 && node.server_key == NULL) {
        code = cli_fail(AN_ERR_NOT_FOUND, "noise",
                        "no noise:// address is listened on, so there is no key: up "
                        "--listen noise://HOST:PORT makes it, or cluster keygen");
    } else if (code < 0) {
        printf("%s\n", node.server_key);
        code = 0;
    }
    cli_node_fini(&node);
    return code;
}

int
cmd_noise(int argc, char **argv)
{
    const char *data = NULL, *cluster = NULL, *host = NULL;
    const struct cli_option options[] = {
        CLI_DATA_OPTION(data), CLI_CLUSTER_OPTION(cluster), CLI_HOST_OPTION(host)};
    const struct cli_command command = {
        .name = "noise",
        .usage = "key [--data DIR | --cluster FILE]",
        .summary = "Prints the public key that clients of noise:// addresses pin",
        .details =
            "Base64, 43 characters: for --server-key, or a client's options. It is\n"
            "no secret, but must reach the client unchanged: put it into the app.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 1,
        .args_max = 1};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (strcmp(args[0], "key") != 0) {
        return cli_usage("noise", "'%s' is not 'key'", args[0]);
    }
    return print_key(cluster, host, data);
}
