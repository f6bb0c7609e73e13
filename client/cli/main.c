/* `anser`: finds the command and hands over. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
#define ROW(name, function, usage, summary) {name, function, summary},
    AN_CLI_COMMANDS(ROW)
#undef ROW
};

static void
print_help(FILE *to)
{
    fprintf(to, "anser: instant messaging server\n\n"
                "anser COMMAND [OPTION...]\n\nCommands:\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(to,
            "\n'anser COMMAND --help' tells more.\n"
            "Exit codes: 0 done, 2 wrong usage, 3 not authenticated, 4 not allowed,\n"
            "5 not found, 6 conflict, 7 busy or unreachable, 8 invalid, 9 internal.\n");
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        argv[1] += 2; /* the command of that name */
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "anser: unknown command '%s'; try: anser --help\n", argv[1]);
    return CLI_EXIT_USAGE;
}
