/* Keeps every process of a cluster file that this host has running, until SIGINT or
 * SIGTERM. */
#include "client/cli/args.h"
#include "client/cli/cluster.h"
#include "client/cli/node.h"
#include "client/cli/serve.h"
#include "cluster/cert.h"
#include "cluster/supervisor.h"
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

enum { WHY_MAX = 1024 };

static void
on_ready(void *ctx, const char *text)
{
    (void)ctx;
    printf("anser ready %s\n", text);
    fflush(stdout);
}

static int
keep(struct plan *plan, const char *file, const char *host_name)
{
    char program[PATH_MAX], why[WHY_MAX] = "";
    struct supervisor_cfg cfg = {
        .plan = plan, .program = program, .file = file, .ready = on_ready};
    time_t until;
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    enum an_err err = plan_host(plan, host_name, &cfg.host, why, sizeof(why));

    if (len <= 0) {
        return cli_fail(AN_ERR_IO, "cluster up", "/proc/self/exe cannot be read");
    }
    program[len] = '\0'; /* by its name: after an upgrade the new one is started */
    if (err == AN_OK) {
        err = plan_tls(plan, cfg.host, why, sizeof(why));
    }
    if (err == AN_OK) { /* once, not by every process again and again */
        err = cert_check(plan, cfg.host, &until, why, sizeof(why));
    }
    if (err == AN_OK) {
        cli_serve_log(&plan->settings);
        err = supervisor_run(&cfg, why, sizeof(why));
    }
    return err == AN_OK ? 0 : cli_fail(err, "cluster up", why[0] == '\0' ? NULL : why);
}

int
cli_cluster_up(int argc, char **argv)
{
    const char *file = NULL, *host = NULL;
    const struct cli_option options[] = {CLI_CLUSTER_OPTION(file), CLI_HOST_OPTION(host)};
    const struct cli_command command = {
        .name = "cluster up",
        .usage = "[FILE] [--host NAME]",
        .summary = "Runs every process that the cluster file has on this host",
        .details = "Starts `anser run` for each, and again after it died: after 200 ms, "
                   "doubled\n"
                   "with every death up to 5 s. Prints one line when all are ready:\n"
                   "  anser ready ACTOR... [tcp://HOST:PORT...]\n"
                   "Logs of all go to stderr. SIGINT or SIGTERM stops all in order, "
                   "gates first,\n"
                   "stores last; a second one kills what still runs.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_max = 1};
    struct plan *plan;
    sigset_t signals;
    char why[WHY_MAX] = "";
    int code = cli_cluster_parse(&command, argc, argv, &file);
    enum an_err err;

    if (code >= 0) {
        return code;
    }
    cli_serve_signals(&signals);
    cli_serve_descriptors();
    err = plan_load(&plan, file, why, sizeof(why));
    if (err != AN_OK) {
        return cli_fail(err, "cluster up", why[0] == '\0' ? NULL : why);
    }
    code = keep(plan, file, host);
    plan_free(plan);
    return code;
}
