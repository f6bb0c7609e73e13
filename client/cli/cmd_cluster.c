/* What is done with a cluster file: finds the command of `anser cluster`. */
#include "client/cli/args.h"
#include "client/cli/cluster.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
#define ROW(name, function, summary) {name, function, summary},
    AN_CLI_CLUSTER(ROW)
#undef ROW
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]), WHY_MAX = 1024 };

static void
print_help(FILE *to)
{
    fprintf(to,
            "anser cluster COMMAND [FILE] [OPTION...]\n\n"
            "FILE is the cluster file (default $ANSER_CLUSTER); docs/cluster-file.md has "
            "its keys.\n\n"
            "Commands:\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(to, "\n'anser cluster COMMAND --help' tells more.\n");
}

int
cli_cluster_parse(const struct cli_command *command, int argc, char **argv,
                  const char **file)
{
    char **args;
    int count, code = cli_parse(command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (count > 0 && *file != NULL) {
        return cli_usage(command->name, "FILE and --cluster: one of them");
    }
    *file = cli_cluster_file(count > 0 ? args[0] : *file, NULL);
    return *file != NULL
               ? -1
               : cli_usage(command->name,
                           "which cluster? FILE, --cluster FILE or $ANSER_CLUSTER");
}

int
cli_cluster_open(const struct cli_command *command, int argc, char **argv,
                 const char **file, struct plan **plan)
{
    char why[WHY_MAX] = "";
    int code = cli_cluster_parse(command, argc, argv, file);
    enum an_err err;

    if (code >= 0) {
        return code;
    }
    err = plan_load(plan, *file, why, sizeof(why));
    return err == AN_OK ? -1 : cli_fail(err, command->name, why[0] == '\0' ? NULL : why);
}

int
cmd_cluster(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    return cli_usage("cluster", "unknown command '%s'", argv[1]);
}
