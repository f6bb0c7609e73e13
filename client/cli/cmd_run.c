/* Runs some actors of a cluster file in this process until SIGINT or SIGTERM. */
#include "client/cli/args.h"
#include "client/cli/commands.h"
#include "client/cli/serve.h"
#include "cluster/process.h"
#include "core/limits.h"
#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    WHY_MAX = 1024,
    SLICE_MS = 200, /* between two looks at signals while the actors get ready */
    SAY_MS = 5000,  /* between two lines about whom we wait for */
};

struct request {
    const char *file, *host;
};

/* Every actor of the file, for who named none. */
static int
refuse_none(const struct plan *plan, const char *file)
{
    char all[WHY_MAX] = "";
    size_t len = 0;

    for (unsigned i = 0; i < plan->actor_count && len < sizeof(all); i++) {
        const struct plan_actor *actor = &plan->actors[i];

        len +=
            (size_t)snprintf(all + len, sizeof(all) - len, " %s/%u",
                             an_role_name(actor->addr.role), (unsigned)actor->addr.index);
    }
    return cli_usage("run", "which actors? %s has%s", file, all);
}

static void
say_waiting(const struct process *process, const char *why, unsigned seconds)
{
    char missing[WHY_MAX];

    process_unreached(process, missing, sizeof(missing));
    an_log(AN_LOG_WARN, process_name(process), "still waiting: %s%s%s seconds=%u", why,
           missing[0] == '\0' ? "" : ", not connected to ", missing, seconds);
}

/* Waits for the actors and so for other processes, for ever if need be. Not 0: the signal
 * that came first. */
static enum an_err
reload(void *process, char *why, size_t why_len)
{
    return process_reload(process, why, why_len);
}

static int
await_ready(struct process *process, const sigset_t *signals)
{
    char why[WHY_MAX];
    uint32_t waited_ms = 0;
    int got = 0;

    while (got == 0 &&
           process_await(process, SLICE_MS, why, sizeof(why)) == AN_ERR_TIMEOUT) {
        waited_ms += SLICE_MS;
        if (waited_ms % SAY_MS == 0) {
            say_waiting(process, why, waited_ms / 1000);
        }
        got = cli_serve_wait(signals, 0, reload, process);
    }
    return got;
}

static void
say_ready(const struct process *process, const struct plan_actor *const *actors,
          unsigned count)
{
    const char *address;

    printf("anser ready");
    for (unsigned i = 0; i < count; i++) {
        printf(" %s/%u", an_role_name(actors[i]->addr.role),
               (unsigned)actors[i]->addr.index);
    }
    for (unsigned i = 0; (address = process_address(process, i)) != NULL; i++) {
        printf(" %s", address);
    }
    printf("\n");
    fflush(stdout);
}

static int
serve(struct plan *plan, const struct plan_actor *const *actors, unsigned count,
      const sigset_t *signals)
{
    struct process *process;
    char why[WHY_MAX] = "";
    enum an_err err = process_start(&process, plan, actors, count, why, sizeof(why));
    int got;

    if (err != AN_OK) {
        return cli_fail(err, "run", why[0] == '\0' ? NULL : why);
    }
    got = await_ready(process, signals);
    if (got == 0) {
        say_ready(process, actors, count);
        while ((got = cli_serve_wait(signals, AN_CERT_LOOK_MS, reload, process)) == 0) {
            process_look(process);
        }
    }
    an_log(AN_LOG_INFO, process_name(process), "stopping signal=%s",
           cli_serve_signal_name(got));
    if (!process_stop(process)) {
        _exit(0); /* exit() would wait for NNG */
    }
    return 0;
}

/* Is the host that the command line names theirs? */
static enum an_err
check_host(const struct plan *plan, const char *name, const struct plan_actor *actor,
           char *why)
{
    uint16_t host;
    enum an_err err = plan_host(plan, name, &host, why, WHY_MAX);

    if (err == AN_OK && host != actor->host) {
        snprintf(why, WHY_MAX, "%s/%u is of host %s, not of %s",
                 an_role_name(actor->addr.role), (unsigned)actor->addr.index,
                 plan->places.hosts[actor->host].name, name);
        err = AN_ERR_ARGUMENT;
    }
    return err;
}

static int
run(struct plan *plan, const struct request *request, char **names, int count,
    const sigset_t *signals)
{
    const struct plan_actor **actors;
    char why[WHY_MAX] = "";
    enum an_err err = AN_OK;
    int code;

    if (count == 0) {
        return refuse_none(plan, request->file);
    }
    actors = calloc((size_t)count, sizeof(*actors));
    if (actors == NULL) {
        return cli_fail(AN_ERR_NO_MEMORY, "run", NULL);
    }
    for (int i = 0; err == AN_OK && i < count; i++) {
        err = plan_actor_parse(plan, names[i], &actors[i], why, sizeof(why));
        if (err == AN_OK && request->host != NULL) {
            err = check_host(plan, request->host, actors[i], why);
        }
    }
    if (err == AN_OK) {
        cli_serve_log(&plan->settings);
        code = serve(plan, actors, (unsigned)count, signals);
    } else {
        code = cli_fail(err, "run", why[0] == '\0' ? NULL : why);
    }
    free(actors);
    return code;
}

int
cmd_run(int argc, char **argv)
{
    struct request request = {.file = getenv("ANSER_CLUSTER")};
    const struct cli_option options[] = {
        {"cluster", 'c', "FILE", "the cluster file (default $ANSER_CLUSTER)",
         &request.file, NULL},
        {"host", 0, "NAME", "refuse actors of another of the file's hosts", &request.host,
         NULL}};
    const struct cli_command command = {
        .name = "run",
        .usage = "ACTOR... --cluster FILE [--host NAME]",
        .summary = "Runs some actors of a cluster file in one process",
        .details =
            "ACTOR is ROLE/N as in the file; all of one host, and of a process that the\n"
            "file names all of its actors. Other processes may start before or after:\n"
            "it waits for them. Prints one line when its actors are ready:\n"
            "  anser ready ACTOR... [tcp://HOST:PORT...]\n"
            "Logs go to stderr. Ends cleanly on SIGINT and SIGTERM; SIGHUP makes its "
            "gates read\n"
            "their certificates again.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_max = -1};
    struct plan *plan;
    sigset_t signals;
    char why[WHY_MAX] = "";
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);
    enum an_err err;

    if (code >= 0) {
        return code;
    }
    if (request.file == NULL || request.file[0] == '\0') {
        return cli_usage("run", "which cluster? --cluster FILE");
    }
    cli_serve_signals(&signals);
    cli_serve_descriptors();
    err = plan_load(&plan, request.file, why, sizeof(why));
    if (err != AN_OK) {
        return cli_fail(err, "run", why[0] == '\0' ? NULL : why);
    }
    code = run(plan, &request, args, count, &signals);
    plan_free(plan);
    return code;
}
