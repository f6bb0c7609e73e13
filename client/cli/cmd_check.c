/* The offline check of a data directory. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "cluster/check.h"
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DIRS_MAX = 64, EXIT_DAMAGED = 9 };

struct report {
    bool several;  /* directories: findings name theirs */
    bool progress; /* somebody looks at a terminal */
    bool shown;    /* a progress line stands there */
};

static void
clear_progress(struct report *report)
{
    if (report->shown) {
        fprintf(stderr, "\r\033[K");
        report->shown = false;
    }
}

static void
on_finding(void *ctx, const struct an_check_finding *finding)
{
    const struct report *report = ctx;

    clear_progress(ctx);
    printf("%s%s%s%s:%llu: %s\n", finding->note ? "note: " : "",
           report->several ? finding->dir : "", report->several ? "/" : "", finding->file,
           (unsigned long long)finding->offset, finding->sentence);
}

static void
on_progress(void *ctx, uint64_t rows)
{
    struct report *report = ctx;

    if (report->progress) {
        fprintf(stderr, "\r%llu rows", (unsigned long long)rows);
        report->shown = true;
    }
}

static void
print_totals(const struct an_check_totals *t)
{
    printf("%llu rows: %llu users, %llu conversations, %llu messages, %llu inboxes with "
           "%llu entries, %llu retry rows, %llu devices\n",
           (unsigned long long)t->rows, (unsigned long long)t->users,
           (unsigned long long)t->conversations, (unsigned long long)t->messages,
           (unsigned long long)t->inboxes, (unsigned long long)t->entries,
           (unsigned long long)t->dedupes, (unsigned long long)t->devices);
    if (t->outgoing + t->marks + t->elsewhere > 0) {
        printf("%llu outgoing rows, %llu of them waiting, %llu marks, %llu entries with "
               "their message elsewhere\n",
               (unsigned long long)t->outgoing, (unsigned long long)t->waiting,
               (unsigned long long)t->marks, (unsigned long long)t->elsewhere);
    }
    if (t->findings == 0) {
        printf("no damage found\n");
    } else {
        printf("%llu findings\n", (unsigned long long)t->findings);
    }
}

/* A node keeps its store in DIR/store; a store's own directory is taken as well. */
static const char *
store_of(const char *dir, char *path, size_t cap)
{
    struct stat st;

    snprintf(path, cap, "%s/store", dir);
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? path : dir;
}

/* LMDB follows what its pages say: a damaged one leads outside the file, or to an
 * assertion. Nothing can be read on then, but it can be said. */
static void
on_broken_page(int signal)
{
    static const char text[] = "lmdb/data.mdb:0: a page is damaged and leads nowhere; no "
                               "row behind it is known\n";

    (void)signal;
    /* Nobody left to tell when this fails. */
    ssize_t written = write(STDOUT_FILENO, text, sizeof(text) - 1);
    (void)written;
    _exit(EXIT_DAMAGED);
}

static void
say_broken_pages(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE};
    struct sigaction action = {.sa_handler = on_broken_page};

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what was found so far has been said */
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, NULL);
    }
}

static int
check(char *const *dirs, size_t count)
{
    static char paths[DIRS_MAX][PATH_MAX];
    const char *stores[DIRS_MAX];
    struct report report = {.several = count > 1, .progress = isatty(STDERR_FILENO) == 1};
    struct an_check_totals totals = {0};
    char what[PATH_MAX + 16];
    struct timespec now;
    struct an_check_cfg cfg = {.dirs = stores,
                               .dir_count = count,
                               .files = store_files_posix(),
                               .ctx = &report,
                               .finding = on_finding,
                               .progress = on_progress};
    enum an_err err;

    for (size_t i = 0; i < count; i++) {
        stores[i] = store_of(dirs[i], paths[i], sizeof(paths[i]));
    }
    say_broken_pages();
    clock_gettime(CLOCK_REALTIME, &now);
    cfg.wall_ms = (uint64_t)now.tv_sec * 1000;
    err = an_check_data(&cfg, &totals);
    clear_progress(&report);
    snprintf(what, sizeof(what), "check %s", dirs[0]);
    for (size_t i = 0; i < count; i++) {
        if (totals.dir == stores[i]) {
            snprintf(what, sizeof(what), "check %s", dirs[i]);
        }
    }
    switch (err) {
    case AN_OK:
        print_totals(&totals);
        fflush(stdout);
        return totals.findings == 0
                   ? 0
                   : cli_fail(AN_ERR_CORRUPT, count == 1 ? what : "check", NULL);
    case AN_ERR_LOCKED:
        return cli_fail(err, what, "a node runs on it; stop it first");
    case AN_ERR_NOT_FOUND:
        return cli_fail(err, what, "this is no data directory");
    case AN_ERR_ARGUMENT:
        return cli_fail(err, what, "these are not different stores of one cluster");
    default:
        return cli_fail(err, what, NULL);
    }
}

int
cmd_check(int argc, char **argv)
{
    const char *data = NULL;
    const struct cli_option options[] = {
        {"data", 'd', "DIR", "the same as the argument", &data, NULL}};
    const struct cli_command command = {
        .name = "check",
        .usage = "[DIR...]",
        .summary = "Verifies every stored invariant of a data directory, offline",
        .details =
            "Changes nothing. One line for each finding, with file and offset, then a\n"
            "summary. Exit code 0: no damage; 9: damage; 6: a node runs on it.\n"
            "Directories of all stores of a cluster are verified together.",
        .options = options,
        .option_count = 1,
        .args_max = DIRS_MAX};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (count == 0) {
        char *one = (char *)(uintptr_t)cli_data_dir(data);

        return check(&one, 1);
    }
    return check(args, (size_t)count);
}
