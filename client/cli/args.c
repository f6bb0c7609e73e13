#include "client/cli/args.h"
#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 24, HELP = 1, FIRST = 1000 };

static void
print_help(const struct cli_command *command)
{
    printf("anser %s %s\n\n%s.\n", command->name, command->usage, command->summary);
    if (command->details != NULL) {
        printf("\n%s\n", command->details);
    }
    printf("\nOptions:\n");
    for (size_t i = 0; i < command->option_count; i++) {
        const struct cli_option *option = &command->options[i];
        char left[48];

        snprintf(left, sizeof(left), "%s%c%s--%s%s%s", option->letter != 0 ? "-" : " ",
                 option->letter != 0 ? option->letter : ' ',
                 option->letter != 0 ? ", " : "  ", option->name,
                 option->meta != NULL ? " " : "",
                 option->meta != NULL ? option->meta : "");
        printf("  %-26s %s\n", left, option->summary);
    }
    printf("  %-26s %s\n", "-h, --help", "this text");
}

int
cli_usage(const char *command, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "anser: %s: ", command);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "; try: anser %s --help\n", command);
    return CLI_EXIT_USAGE;
}

int
cli_fail(enum an_err err, const char *what, const char *reason)
{
    fprintf(stderr, "anser: %s: %s (%s)\n", what,
            reason != NULL ? reason : an_err_text(err), an_err_name(err));
    return an_err_exit_code(err);
}

/* getopt's own tables: long options numbered from FIRST, ':' first so that a missing
 * value is told from an unknown option. */
static void
make_tables(const struct cli_command *command, struct option *longs, char *shorts)
{
    size_t used = 0, i;

    assert(command->option_count + 2 <= OPTIONS_MAX);
    shorts[used++] = ':';
    for (i = 0; i < command->option_count; i++) {
        const struct cli_option *option = &command->options[i];
        int takes = option->value != NULL ? required_argument : no_argument;

        longs[i] = (struct option){option->name, takes, NULL, FIRST + (int)i};
        if (option->letter != 0) {
            shorts[used++] = option->letter;
            if (takes == required_argument) {
                shorts[used++] = ':';
            }
        }
    }
    longs[i++] = (struct option){"help", no_argument, NULL, HELP};
    longs[i] = (struct option){0};
    shorts[used++] = 'h';
    shorts[used] = '\0';
}

static const struct cli_option *
find_option(const struct cli_command *command, int code)
{
    if (code >= FIRST) {
        return &command->options[code - FIRST];
    }
    for (size_t i = 0; i < command->option_count; i++) {
        if (command->options[i].letter == code) {
            return &command->options[i];
        }
    }
    return NULL;
}

int
cli_parse(const struct cli_command *command, int argc, char **argv, char ***args,
          int *arg_count)
{
    struct option longs[OPTIONS_MAX];
    char shorts[OPTIONS_MAX * 2 + 4];
    int code;

    make_tables(command, longs, shorts);
    opterr = 0;
    optind = 1;
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const struct cli_option *option;

        if (code == HELP || code == 'h') {
            print_help(command);
            return 0;
        }
        if (code == ':') {
            return cli_usage(command->name, "%s needs a value", argv[optind - 1]);
        }
        if (code == '?' && optopt > 0 && optopt < FIRST && optopt != HELP) {
            return cli_usage(command->name, "unknown option -%c", optopt);
        }
        if (code == '?') { /* a long one, or one that takes no value */
            return cli_usage(command->name, "unknown option %s", argv[optind - 1]);
        }
        option = find_option(command, code);
        assert(option != NULL);
        if (option->value != NULL) {
            *option->value = optarg;
        } else {
            *option->flag = true;
        }
    }
    *args = argv + optind;
    *arg_count = argc - optind;
    if (*arg_count < command->args_min) {
        return cli_usage(command->name, "an argument is missing");
    }
    if (command->args_max >= 0 && *arg_count > command->args_max) {
        return cli_usage(command->name, "unexpected argument '%s'",
                         (*args)[command->args_max]);
    }
    return -1;
}

const char *
cli_data_dir(const char *given)
{
    const char *env = getenv("ANSER_DATA");

    if (given != NULL) {
        return given;
    }
    return env != NULL && env[0] != '\0' ? env : "./anser-data";
}

bool
cli_number(const char *text, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        if (*text < '0' || *text > '9' || value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

bool
cli_duration(const char *text, uint64_t *ms)
{
    static const uint64_t ten_years_s = 10ull * 366 * 86400;
    char digits[24];
    size_t len = strspn(text, "0123456789");
    uint64_t value, unit = 1;

    switch (text[len]) {
    case '\0':
    case 's':
        break;
    case 'm':
        unit = 60;
        break;
    case 'h':
        unit = 3600;
        break;
    case 'd':
        unit = 86400;
        break;
    default:
        return false;
    }
    if (len >= sizeof(digits) || (text[len] != '\0' && text[len + 1] != '\0')) {
        return false;
    }
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (!cli_number(digits, ten_years_s, &value) || value * unit > ten_years_s) {
        return false;
    }
    *ms = value * unit * 1000;
    return true;
}
