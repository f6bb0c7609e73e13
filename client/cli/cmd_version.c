#include "client/cli/args.h"
#include "client/cli/commands.h"
#include <stdio.h>

int
cmd_version(int argc, char **argv)
{
    const struct cli_command command = {
        .name = "version", .usage = "", .summary = "Prints the version"};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    printf("anser %s\n", AN_VERSION);
    return 0;
}
