/* Accounts, through a running node's control endpoint or a cluster's api. */
#include "client/cli/args.h"
#include "client/cli/ask.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include "proto/names.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* X(action, what became of the user; NULL: what the server says is printed) */
#define ACTIONS(X)                                                                       \
    X(add, "added")                                                                      \
    X(show, NULL)                                                                        \
    X(forbid, "forbidden")                                                               \
    X(unforbid, "allowed again")                                                         \
    X(mute, "muted")                                                                     \
    X(unmute, "may send again")                                                          \
    X(delete, "deleted")                                                                 \
    X(revoke, "tokens revoked")

struct action {
    const char *name, *done;
};

struct request {
    const struct action *action;
    const char *cluster, *host, *data, *app, *user, *device, *time;
    uint64_t time_ms;
};

static const struct action *
action_find(const char *name)
{
#define ROW(action, done) {#action, done},
    static const struct action actions[] = {ACTIONS(ROW)};
#undef ROW

    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(actions[i].name, name) == 0) {
            return &actions[i];
        }
    }
    return NULL;
}

static bool
is(const struct request *r, const char *action)
{
    return strcmp(r->action->name, action) == 0;
}

/* NULL: names do, as far as one can tell without asking. */
static const char *
wrong_name(const struct request *r, enum an_err *err)
{
    const struct {
        const char *name, *why;
        enum an_err err;
    } names[] = {{r->user, "a name " AN_NAME_RULE, AN_ERR_USER_NAME},
                 {r->app, "an app " AN_NAME_RULE, AN_ERR_APP_UNKNOWN},
                 {r->device, "a device " AN_NAME_RULE, AN_ERR_DEVICE_NAME}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *name = names[i].name;

        if (name != NULL && !an_name_valid((const uint8_t *)name, strlen(name))) {
            *err = names[i].err;
            return names[i].why;
        }
    }
    if (is(r, "add") && !an_name_new((const uint8_t *)r->user, strlen(r->user))) {
        *err = AN_ERR_USER_NAME;
        return "a new name " AN_NAME_NEW_RULE;
    }
    return NULL;
}

/* What the api is told. */
static void
words_of(const struct request *r, char out[CLI_WORDS_MAX + 3 * AN_NAME_LEN_MAX])
{
    size_t len = (size_t)snprintf(out, CLI_WORDS_MAX, "user-%s %s %s", r->action->name,
                                  r->user, r->app);

    if (is(r, "mute") && r->time != NULL) {
        snprintf(out + len, CLI_WORDS_MAX, " %" PRIu64, (r->time_ms + 999) / 1000);
    } else if (is(r, "revoke") && r->device != NULL) {
        snprintf(out + len, CLI_WORDS_MAX, " %s", r->device);
    }
}

static int
say(const struct request *r, const struct cli_asker *asker)
{
    char words[CLI_WORDS_MAX + 3 * AN_NAME_LEN_MAX], why[512] = "", what[32];
    char *text = NULL;
    enum an_err err;

    words_of(r, words);
    err = cli_api_ask(asker, words, &text, why, sizeof(why));
    if (err == AN_OK) {
        if (r->action->done == NULL) {
            printf("%s\n", text);
        } else {
            printf("user %s %s\n", r->user, r->action->done);
        }
        free(text);
        return 0;
    }
    snprintf(what, sizeof(what), "user %s", r->action->name);
    if (err == AN_ERR_UNAVAILABLE && asker->plan == NULL) {
        snprintf(why, sizeof(why), "no node runs on %s; start one with: anser up",
                 cli_data_dir(r->data));
    }
    return cli_fail(
        err, err == AN_ERR_USER_EXISTS || err == AN_ERR_USER_NOT_FOUND ? r->user : what,
        why[0] == '\0' ? NULL : why);
}

static int
run(struct request *r)
{
    struct cli_asker asker = {.command = "user"};
    enum an_err err = AN_OK;
    const char *why = wrong_name(r, &err);
    int code;

    if (why != NULL) {
        return cli_fail(err, "user", why);
    }
    code =
        cli_asker_open(&asker, cli_cluster_file(r->cluster, r->data), r->host, r->data);
    if (code < 0) {
        if (r->app == NULL) {
            r->app = asker.plan != NULL && asker.plan->app != NULL ? asker.plan->app
                                                                   : AN_APP_DEFAULT;
        }
        code = say(r, &asker);
    }
    cli_asker_close(&asker);
    return code;
}

int
cmd_user(int argc, char **argv)
{
    struct request r = {0};
    const struct cli_option options[] = {
        CLI_DATA_OPTION(r.data),
        CLI_CLUSTER_OPTION(r.cluster),
        CLI_HOST_OPTION(r.host),
        {"app", 0, "APP", "the app (tenant) the name belongs to", &r.app, NULL},
        {"for", 'f', "TIME",
         "mute: for how long, as 90s, 15m, 24h; without: until unmute", &r.time, NULL},
        {"device", 0, "DEVICE", "revoke: of this device alone", &r.device, NULL}};
    const struct cli_command command = {
        .name = "user",
        .usage = "add|show|forbid|unforbid|mute|unmute|delete|revoke NAME [--for TIME]\n"
                 "           [--device DEVICE] [--app APP] "
                 "[--data DIR | --cluster FILE [--host NAME]]",
        .summary = "Makes and changes accounts, through the running server",
        .details =
            "A name is 1 to 64 bytes of UTF-8 without spaces, '/', '\"' or control\n"
            "characters. A forbidden user cannot log in, a muted one cannot send, a\n"
            "deleted one is gone for all, but what was said stays; revoke ends every\n"
            "token issued so far. Live connections hear of it within moments.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 2,
        .args_max = 2};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    r.action = action_find(args[0]);
    r.user = args[1];
    if (r.action == NULL) {
        return cli_usage("user", "unknown action '%s'", args[0]);
    }
    if (r.time != NULL && (!is(&r, "mute") || !cli_duration(r.time, &r.time_ms))) {
        return cli_usage("user", "--for is for mute: a duration such as 10m or 24h");
    }
    if (r.device != NULL && !is(&r, "revoke")) {
        return cli_usage("user", "--device is for revoke");
    }
    return run(&r);
}
