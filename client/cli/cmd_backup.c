/* A copy of a running node's data, made by the node itself while it serves. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include "core/control.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIMEOUT_MS = 10000, POLL_MS = 100, WHY_MAX = 1200, FILE_LEN_MAX = 65536 };

struct backup {
    const char *control;
    unsigned store;
    char dir[PATH_MAX]; /* the new store directory */
    uint64_t rows;
    char why[WHY_MAX];
};

/* ------------------------------------------------------------------ asking */

/* *running: it goes on. An error of the copy itself is returned as it is. */
static enum an_err
understand(struct backup *backup, const char *text, bool *running)
{
    json_t *root = json_loads(text, 0, NULL);
    const char *error = json_string_value(json_object_get(root, "error"));
    const char *why = json_string_value(json_object_get(root, "why"));
    const char *rows = json_string_value(json_object_get(root, "rows"));
    enum an_err err = AN_OK;

    if (error == NULL || rows == NULL) {
        snprintf(backup->why, WHY_MAX, "the node answered: %.200s", text);
        err = AN_ERR_NOT_SUPPORTED;
    } else if (error[0] != '\0') {
        snprintf(backup->why, WHY_MAX, "%s", why == NULL || why[0] == '\0' ? error : why);
        err = strcmp(error, "BUSY") == 0        ? AN_ERR_BUSY
              : strcmp(error, "ARGUMENT") == 0  ? AN_ERR_ARGUMENT
              : strcmp(error, "DISK_FULL") == 0 ? AN_ERR_DISK_FULL
                                                : AN_ERR_IO;
    } else {
        backup->rows = strtoull(rows, NULL, 10);
        *running = json_is_true(json_object_get(root, "running"));
    }
    json_decref(root);
    return err;
}

static enum an_err
ask(struct backup *backup, const char *dir, bool *running)
{
    char words[PATH_MAX + 64];
    char *text = NULL;
    enum an_err err;

    snprintf(words, sizeof(words), "store/%u backup%s%s", backup->store,
             dir[0] == '\0' ? "" : " ", dir);
    err = an_control_ask(&text, backup->control, words, TIMEOUT_MS);
    if (err != AN_OK) {
        snprintf(backup->why, WHY_MAX, "%s: no answer", backup->control);
    } else {
        err = understand(backup, text, running);
    }
    free(text);
    return err;
}

static enum an_err
copy_store(struct backup *backup)
{
    bool running = false, shown = isatty(STDERR_FILENO) == 1;
    enum an_err err = ask(backup, backup->dir, &running);

    while (err == AN_OK && running) {
        (void)poll(NULL, 0, POLL_MS);
        err = ask(backup, "", &running);
        if (shown) {
            fprintf(stderr, "\r%" PRIu64 " rows", backup->rows);
        }
    }
    if (shown) {
        fprintf(stderr, "\r\033[K");
    }
    return err;
}

/* ------------------------------------------------------------------ files */

/* The node's own directory: the store alone is not enough to start from. */
static enum an_err
copy_file(struct backup *backup, const char *from_dir, const char *to_dir)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16], bytes[FILE_LEN_MAX];
    FILE *in;
    int out = -1;
    size_t len = 0;
    bool good;

    snprintf(from, sizeof(from), "%s/node.json", from_dir);
    snprintf(to, sizeof(to), "%s/node.json", to_dir);
    in = fopen(from, "re");
    if (in != NULL) {
        len = fread(bytes, 1, sizeof(bytes), in);
        fclose(in);
        out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }
    good =
        len > 0 && out >= 0 && write(out, bytes, len) == (ssize_t)len && fsync(out) == 0;
    if (!good) {
        snprintf(backup->why, WHY_MAX, "%.1000s: %s", to, strerror(errno));
    }
    if (out >= 0) {
        close(out);
    }
    explicit_bzero(bytes, sizeof(bytes)); /* the node's key */
    return good ? AN_OK : AN_ERR_IO;
}

static enum an_err
copy_node(struct backup *backup, const char *data, const char *out)
{
    char full[PATH_MAX];
    enum an_err err;

    if (mkdir(out, 0700) != 0 || realpath(out, full) == NULL) {
        snprintf(backup->why, WHY_MAX, "%s: %s", out, strerror(errno));
        return errno == EEXIST ? AN_ERR_ARGUMENT : AN_ERR_IO;
    }
    if (snprintf(backup->dir, sizeof(backup->dir), "%s/store", full) >=
        (int)sizeof(backup->dir)) {
        snprintf(backup->why, WHY_MAX, "%s: the path is too long", out);
        return AN_ERR_ARGUMENT;
    }
    err = copy_store(backup);
    if (err != AN_OK) {
        (void)rmdir(full); /* unless the store's part lies in it */
        return err;
    }
    return copy_file(backup, data, full);
}

/* out need not exist: its parent does, or the store says so. */
static enum an_err
copy_one_store(struct backup *backup, const char *out)
{
    char here[PATH_MAX];

    if (out[0] == '/') {
        snprintf(backup->dir, sizeof(backup->dir), "%s", out);
    } else if (getcwd(here, sizeof(here)) == NULL ||
               snprintf(backup->dir, sizeof(backup->dir), "%s/%s", here, out) >=
                   (int)sizeof(backup->dir)) {
        snprintf(backup->why, WHY_MAX, "%s: the path is too long", out);
        return AN_ERR_ARGUMENT;
    }
    return copy_store(backup);
}

/* ------------------------------------------------------------------ command */

static int
run(const char *data, const char *control, unsigned store, const char *out)
{
    struct backup backup = {.store = store};
    struct cli_node node = {0};
    enum an_err err = AN_OK;

    if (control != NULL) {
        backup.control = control;
        err = copy_one_store(&backup, out);
    } else {
        data = cli_data_dir(data);
        err = cli_node_load(&node, data);
        if (err != AN_OK || node.control == NULL) {
            snprintf(backup.why, WHY_MAX, "no node runs on %s", data);
        } else {
            backup.control = node.control;
            err = copy_node(&backup, data, out);
        }
    }
    cli_node_fini(&node);
    if (err != AN_OK) {
        return cli_fail(err, "backup", backup.why);
    }
    printf("%s %" PRIu64 " rows\n", out, backup.rows);
    return 0;
}

int
cmd_backup(int argc, char **argv)
{
    const char *data = NULL, *control = NULL, *store = NULL;
    const struct cli_option options[] = {
        {"data", 'd', "DIR", "the node's directory ($ANSER_DATA, else ./anser-data)",
         &data, NULL},
        {"control", 0, "URL", "instead: the text endpoint of the store's process",
         &control, NULL},
        {"store", 0, "N", "with --control: which store (0)", &store, NULL}};
    const struct cli_command command = {
        .name = "backup",
        .usage = "OUT [--data DIR | --control URL [--store N]]",
        .summary = "Copies a running node's data to a new directory",
        .details = "The node makes the copy itself and serves on meanwhile. OUT must not "
                   "exist.\nOf a node it becomes a data directory (`anser up --data "
                   "OUT`), with\n--control the directory of that one store. Prints OUT "
                   "and how many rows it\nholds; `anser check OUT` verifies it.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 1,
        .args_max = 1};
    uint64_t number = 0;
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (store != NULL && (control == NULL || !cli_number(store, UINT16_MAX, &number))) {
        return cli_usage("backup", "--store takes a number, and --control with it");
    }
    return run(data, control, (unsigned)number, args[0]);
}
