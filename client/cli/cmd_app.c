/* What an application's back end signs its requests with. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include "cluster/app_keys.h"
#include "cluster/node_file.h"
#include "cluster/plan.h"
#include "core/token.h"
#include "proto/names.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHY_MAX = 1024, PATH_ROOM = 4096 };

/* Of a cluster: those in the file with the token key. */
static enum an_err
read_cluster(struct an_app_keys *keys, const char *file, char *why)
{
    struct plan *plan;
    enum an_err err = plan_load(&plan, file, why, WHY_MAX);

    if (err == AN_OK) {
        err = app_keys_read(keys, plan->token_key, why, WHY_MAX);
        plan_free(plan);
    }
    return err;
}

/* A key of another app is made where there is none: the node reads it when it starts. */
static enum an_err
make_key(const char *data, const char *app, struct an_app_keys *keys, char *why)
{
    struct node_file *file = calloc(1, sizeof(*file));
    enum an_err err =
        file == NULL ? AN_ERR_NO_MEMORY : node_file_read(file, data, why, WHY_MAX);

    if (err == AN_OK && !app_keys_add(&file->app_keys, app)) {
        snprintf(why, WHY_MAX, "there are %d keys already", AN_APP_KEYS_MAX);
        err = AN_ERR_FULL;
    }
    if (err == AN_OK) {
        err = node_file_write(file, data, why, WHY_MAX);
        *keys = file->app_keys;
    }
    if (file != NULL) {
        node_file_fini(file);
    }
    free(file);
    return err;
}

static int
print_key(const char *cluster, const char *data, const char *app, bool make)
{
    struct an_app_keys *keys = calloc(1, sizeof(*keys));
    const struct an_app_key *key = NULL;
    char path[PATH_ROOM], why[WHY_MAX] = "";
    enum an_err err = AN_ERR_NO_MEMORY;
    int code = 0;

    snprintf(path, sizeof(path), "%s/node.json", data);
    if (keys != NULL) {
        err = cluster != NULL ? read_cluster(keys, cluster, why)
                              : app_keys_read(keys, path, why, sizeof(why));
    }
    if (err == AN_OK && app_keys_find(keys, app) == NULL && make && cluster == NULL) {
        err = make_key(data, app, keys, why);
        if (err == AN_OK) {
            fprintf(stderr,
                    "anser: app: the node takes the key of '%s' when it starts; `apps:` "
                    "of its configuration has to name the app\n",
                    app);
        }
    }
    if (err == AN_OK) {
        key = app_keys_find(keys, app);
        err = key == NULL ? AN_ERR_NOT_FOUND : AN_OK;
    }
    if (err == AN_ERR_NOT_FOUND) {
        snprintf(why, sizeof(why), "app '%s' has no key%s", app,
                 cluster == NULL ? "; --make makes one" : "");
    }
    if (err == AN_OK) {
        printf("%s %s\n", key->id, key->secret);
    } else {
        code = cli_fail(err, "app", why[0] == '\0' ? NULL : why);
    }
    if (keys != NULL) {
        sodium_memzero(keys, sizeof(*keys));
    }
    free(keys);
    return code;
}

int
cmd_app(int argc, char **argv)
{
    const char *data = NULL, *cluster = NULL;
    bool make = false;
    const struct cli_option options[] = {
        CLI_DATA_OPTION(data),
        CLI_CLUSTER_OPTION(cluster),
        {"make", 0, NULL, "make one where there is none; the node reads it at its start",
         NULL, &make}};
    const struct cli_command command = {
        .name = "app",
        .usage = "key [APP] [--make] [--data DIR | --cluster FILE]",
        .summary = "Prints ID SECRET: what an app's back end signs its requests with",
        .details = "docs/http.md says how. Whoever holds the secret may do everything\n"
                   "with the users of the app.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 1,
        .args_max = 2};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (strcmp(args[0], "key") != 0) {
        return cli_usage("app", "'%s' is not 'key'", args[0]);
    }
    if (count > 1 && !an_name_valid((const uint8_t *)args[1], strlen(args[1]))) {
        return cli_usage("app", "'%s' cannot be the name of an app", args[1]);
    }
    return print_key(cli_cluster_file(cluster, data), cli_data_dir(data),
                     count > 1 ? args[1] : AN_APP_DEFAULT, make);
}
