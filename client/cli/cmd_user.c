/* Accounts, through the running node's control endpoint. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include "core/control.h"
#include "proto/names.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 256, TIMEOUT_MS = 15000 };

/* The node's JSON: an error's number and text, or the account. */
static int
understand(const char *text, const char *name)
{
    json_t *root = json_loads(text, 0, NULL);
    const json_t *number = json_object_get(root, "number");
    enum an_err err = AN_OK;
    int code = 0;

    if (root == NULL) {
        return cli_fail(AN_ERR_INTERNAL, "user add", "the node's answer is not JSON");
    }
    if (number != NULL) {
        err = an_err_known((unsigned)json_integer_value(number))
                  ? (enum an_err)json_integer_value(number)
                  : AN_ERR_INTERNAL;
        code = cli_fail(err, name, NULL);
    } else {
        printf("user %s added\n", name);
    }
    json_decref(root);
    return code;
}

static int
add(const char *data, const char *name, const char *app)
{
    struct cli_node node = {0};
    char words[WORDS_MAX], reason[512];
    char *text = NULL;
    enum an_err err;
    int code;

    if (!an_name_valid((const uint8_t *)name, strlen(name)) ||
        !an_name_valid((const uint8_t *)app, strlen(app))) {
        return cli_fail(AN_ERR_USER_NAME, "user add", NULL);
    }
    err = cli_node_load(&node, data);
    if (err == AN_OK && node.control == NULL) {
        err = AN_ERR_CONFIG;
    }
    if (err == AN_OK) {
        snprintf(words, sizeof(words), "api/0 user-add %s %s", name, app);
        err = an_control_ask(&text, node.control, words, TIMEOUT_MS);
    }
    if (err == AN_OK) {
        code = understand(text, name);
    } else if (err == AN_ERR_CONNECTION || err == AN_ERR_UNAVAILABLE) {
        snprintf(reason, sizeof(reason), "no node runs on %s; start one with: anser up",
                 data);
        code = cli_fail(AN_ERR_UNAVAILABLE, "user add", reason);
    } else {
        code = cli_fail(err, "user add", NULL);
    }
    free(text);
    cli_node_fini(&node);
    return code;
}

int
cmd_user(int argc, char **argv)
{
    const char *data = NULL, *app = AN_APP_DEFAULT;
    const struct cli_option options[] = {
        {"data", 'd', "DIR", "the node's directory ($ANSER_DATA, else ./anser-data)",
         &data, NULL},
        {"app", 0, "APP", "the app (tenant) the name belongs to", &app, NULL}};
    const struct cli_command command = {
        .name = "user",
        .usage = "add NAME [--app APP] [--data DIR]",
        .summary = "Makes an account, through the running node",
        .details =
            "A name is 1 to 64 bytes of UTF-8 without spaces, '/', '\"' or control\n"
            "characters.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 2,
        .args_max = 2};
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (strcmp(args[0], "add") != 0) {
        return cli_usage("user", "unknown action '%s'", args[0]);
    }
    return add(cli_data_dir(data), args[1], app);
}
