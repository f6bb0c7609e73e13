/* What every command does the same way: options, help, errors, the data directory. */
#ifndef AN_CLIENT_CLI_ARGS_H
#define AN_CLIENT_CLI_ARGS_H

#include "core/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_EXIT_USAGE 2

/* An option of a command. value NULL: it takes none, and *flag is set. */
struct cli_option {
    const char *name;    /* long, without the dashes */
    char letter;         /* short form; 0: none */
    const char *meta;    /* of its value, for --help; NULL: takes none */
    const char *summary; /* one line for --help */
    const char **value;  /* where its value goes (points into argv) */
    bool *flag;          /* where a valueless option is noted */
};

struct cli_command {
    const char *name;
    const char *usage; /* behind the name */
    const char *summary;
    const char *details; /* more lines for --help, or NULL */
    const struct cli_option *options;
    size_t option_count;
    int args_min, args_max; /* of what is not an option; args_max -1: any number */
};

/* Parses argv (from the command's name on). Returns -1 to go on: *args and *arg_count are
 * what is not an option, in order. Otherwise the exit code: 0 after --help,
 * CLI_EXIT_USAGE after an unknown option, a missing value or a wrong number of arguments,
 * which was named on stderr. */
int cli_parse(const struct cli_command *command, int argc, char **argv, char ***args,
              int *arg_count);
/* "anser: WHAT: REASON (NAME)" on stderr; returns the exit code. reason NULL: the error's
 * own sentence. */
int cli_fail(enum an_err err, const char *what, const char *reason);
/* Names a wrong use on stderr; returns CLI_EXIT_USAGE. */
int cli_usage(const char *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* given, else $ANSER_DATA, else "./anser-data". */
const char *cli_data_dir(const char *given);
/* "90", "90s", "15m", "24h", "7d" in ms; false when it is not a duration, or above 10
 * years. */
bool cli_duration(const char *text, uint64_t *ms);
bool cli_number(const char *text, uint64_t max, uint64_t *number);

#endif
