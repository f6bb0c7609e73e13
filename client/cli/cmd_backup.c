/* A copy of a running node's data, made by the node itself while it serves. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include "cluster/process.h"
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
    char url[PATH_MAX]; /* of a cluster's process */
    unsigned store;
    char dir[PATH_MAX]; /* the new store directory */
    uint64_t rows;
    char why[WHY_MAX];
};

/* ------------------------------------------------------------------ asking */

/* The text endpoint refused to ask, or the store to do it. */
static enum an_err
take_error(struct backup *backup, const json_t *root, const char *text)
{
    const json_t *number = json_object_get(root, "number");
    const char *reason = json_string_value(json_object_get(root, "text"));
    unsigned err = json_is_integer(number) ? (unsigned)json_integer_value(number) : 0;

    if (err == AN_OK || !an_err_known(err)) {
        snprintf(backup->why, WHY_MAX, "the node answered: %.*s",
                 (int)strcspn(text, "\n"), text);
        return AN_ERR_NOT_SUPPORTED;
    }
    if (err == AN_ERR_NOT_FOUND) {
        snprintf(backup->why, WHY_MAX, "store/%u does not run in that process",
                 backup->store);
    } else {
        snprintf(backup->why, WHY_MAX, "store/%u: %s", backup->store,
                 reason == NULL ? an_err_text(err) : reason);
    }
    return (enum an_err)err;
}

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
        err = take_error(backup, root, text);
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
copy_file(struct backup *backup, const char *from_dir, const char *to_dir,
          const char *name)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16], bytes[FILE_LEN_MAX];
    FILE *in;
    int out = -1;
    size_t len = 0;
    bool good;

    snprintf(from, sizeof(from), "%s/%s", from_dir, name);
    snprintf(to, sizeof(to), "%s/%s", to_dir, name);
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
    explicit_bzero(bytes, sizeof(bytes)); /* a key */
    return good ? AN_OK : AN_ERR_IO;
}

static bool
has_noise(const char *data)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof(path), "%s/noise.json", data);
    return access(path, F_OK) == 0;
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
    err = copy_file(backup, data, full, "node.json");
    return err == AN_OK && has_noise(data) ? copy_file(backup, data, full, "noise.json")
                                           : err;
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

/* What was typed. */
struct request {
    const char *data, *control, *cluster, *host, *store;
    unsigned number; /* of the store */
    const char *out;
};

/* The store makes the copy, on its own host: only there does it help to know. */
static enum an_err
find_store(struct backup *backup, const struct request *request, const char *file)
{
    const struct plan_actor *store = NULL;
    struct plan *plan = NULL;
    uint16_t here;
    enum an_err err = plan_load(&plan, file, backup->why, WHY_MAX);

    if (err == AN_OK) {
        err = plan_host(plan, request->host, &here, backup->why, WHY_MAX);
    }
    if (err == AN_OK) {
        store = plan_actor_find(
            plan, (struct an_addr){AN_ROLE_STORE, (uint16_t)request->number});
        if (store == NULL) {
            snprintf(backup->why, WHY_MAX, "%s has no store/%u", file, request->number);
            err = AN_ERR_NOT_FOUND;
        }
    }
    if (err == AN_OK && store->host != here) {
        snprintf(backup->why, WHY_MAX,
                 "store/%u is on host %s, which would make the "
                 "copy: type this there",
                 request->number, plan->places.hosts[store->host].name);
        err = AN_ERR_ARGUMENT;
    }
    if (err == AN_OK) {
        process_control_url(plan, store->process, backup->url, sizeof(backup->url));
        backup->control = backup->url;
    }
    plan_free(plan);
    return err;
}

static int
run(const struct request *request)
{
    struct backup backup = {.store = request->number};
    struct cli_node node = {0};
    const char *data = request->data, *out = request->out;
    const char *file = request->control != NULL
                           ? NULL
                           : cli_cluster_file(request->cluster, request->data);
    enum an_err err = AN_OK;

    if (request->store != NULL && request->control == NULL && file == NULL) {
        return cli_usage("backup", "--store needs --cluster or --control");
    }
    if (file != NULL) {
        err = find_store(&backup, request, file);
        err = err == AN_OK ? copy_one_store(&backup, out) : err;
    } else if (request->control != NULL) {
        backup.control = request->control;
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
    struct request request = {0};
    const struct cli_option options[] = {
        CLI_DATA_OPTION(request.data),
        CLI_CLUSTER_OPTION(request.cluster),
        CLI_HOST_OPTION(request.host),
        {"control", 0, "URL", "instead: the text endpoint of the store's process",
         &request.control, NULL},
        {"store", 0, "N", "of a cluster: which store (0)", &request.store, NULL}};
    const struct cli_command command = {
        .name = "backup",
        .usage = "OUT [--data DIR | [--cluster FILE | --control URL] [--store N]]",
        .summary = "Copies a running node's data to a new directory",
        .details =
            "The server makes the copy itself and serves on meanwhile. OUT must not "
            "exist.\n"
            "Of a node it becomes a data directory (`anser up --data OUT`); of a "
            "cluster,\n"
            "on the store's host, the directory of that one store. Prints OUT and how\n"
            "many rows it holds; `anser check OUT` verifies it.",
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
    if (request.store != NULL && !cli_number(request.store, UINT16_MAX, &number)) {
        return cli_usage("backup", "--store takes a number");
    }
    request.number = (unsigned)number;
    request.out = args[0];
    return run(&request);
}
