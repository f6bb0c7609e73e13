/* Runs a node until SIGINT or SIGTERM. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/serve.h"
#include "cluster/config.h"
#include "cluster/node.h"
#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WHY_MAX = 1024 };

struct request {
    const char *file, *data, *listen, *http;
    bool plain;
};

static enum an_err
make_config(struct config *config, const struct request *request, char *why)
{
    const char *env = getenv("ANSER_DATA");
    enum an_err err = config_init(config);

    if (err == AN_OK && env != NULL && env[0] != '\0') {
        err = config_set_text(&config->top_data, env);
    }
    if (err == AN_OK && request->file != NULL) {
        err = config_load(config, request->file, why, WHY_MAX);
    }
    if (err == AN_OK && request->data != NULL) {
        err = config_set_text(&config->top_data, request->data);
    }
    if (err == AN_OK && request->listen != NULL) {
        err = config_set_text(&config->top_listen, request->listen);
    }
    if (err == AN_OK && request->http != NULL) {
        err = config_set_text(&config->api_listen, request->http);
    }
    if (err == AN_OK && request->plain) {
        err = config_set_text(&config->gate_plain, "anywhere");
    }
    if (err == AN_OK && request->plain) {
        err = config_set_text(&config->api_plain, "anywhere");
    }
    return err;
}

static enum an_err
reload(void *node, char *why, size_t why_len)
{
    return node_reload(node, why, why_len);
}

static int
run(const struct config *config, const sigset_t *signals)
{
    struct node *node;
    char why[WHY_MAX] = "";
    enum an_err err = node_start(&node, config, why, sizeof(why));
    int got;

    if (err != AN_OK) {
        return cli_fail(err, "up", why);
    }
    printf("anser ready %s%s%s data=%s\n", node_address(node),
           node_http(node)[0] == '\0' ? "" : " ", node_http(node), node_data(node));
    fflush(stdout);
    got = cli_serve_wait(signals, UINT32_MAX, reload, node);
    an_log(AN_LOG_INFO, "node", "stopping signal=%s", cli_serve_signal_name(got));
    if (!node_stop(node)) {
        _exit(0); /* exit() would wait for NNG */
    }
    return 0;
}

int
cmd_up(int argc, char **argv)
{
    struct request request = {0};
    const struct cli_option options[] = {
        {"data", 'd', "DIR", "the node's directory (default $ANSER_DATA or ./anser-data)",
         &request.data, NULL},
        {"config", 'c', "FILE", "YAML; docs/configuration.md has every key",
         &request.file, NULL},
        {"listen", 'l', "URL,...",
         "tcp://, tls://, noise://, ws://, wss://HOST:PORT; port 0: any", &request.listen,
         NULL},
        {"http", 0, "URL,...",
         "http://, https://HOST:PORT of the HTTP interface and the page; off: none",
         &request.http, NULL},
        {"plain", 0, NULL,
         "clear text beyond this machine, of clients and of HTTP (passwords): readable",
         NULL, &request.plain}};
    const struct cli_command command = {
        .name = "up",
        .usage = "[--data DIR] [--config FILE] [--listen URL,...] [--http URL,...] "
                 "[--plain]",
        .summary = "Runs a node: every actor and the store in one process",
        .details = "Prints one line once logins are accepted:\n"
                   "  anser ready tcp://HOST:PORT [tls://...] [http://...] data=DIR\n"
                   "Logs go to stderr. Ends cleanly on SIGINT and SIGTERM; SIGHUP makes\n"
                   "it read its certificates again.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0])};
    struct config config;
    sigset_t signals;
    char why[WHY_MAX] = "";
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);
    enum an_err err;

    if (code >= 0) {
        return code;
    }
    cli_serve_signals(&signals);
    cli_serve_descriptors();
    err = make_config(&config, &request, why);
    if (err == AN_OK) {
        cli_serve_log(&config);
        code = run(&config, &signals);
    } else {
        code = cli_fail(err, "up", why[0] != '\0' ? why : NULL);
    }
    config_fini(&config);
    return code;
}
