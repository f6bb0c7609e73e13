/* `anser bench`: the load generator, on the client library (bench.c); one summary line on
 * standard output. */
#include "client/cli/args.h"
#include "client/cli/bench.h"
#include "client/cli/commands.h"
#include "core/limits.h"
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

struct texts {
    const char *data, *cluster, *host, *users, *window, *size, *rate, *warm, *time, *fill,
        *offline, *idle, *logins, *pid;
};

static int
parse(struct bench *b, struct texts *t, int argc, char **argv)
{
    const struct cli_option options[] = {
        {"data", 0, "DIR", "the node's directory ($ANSER_DATA, else ./anser-data)",
         &t->data, NULL},
        CLI_CLUSTER_OPTION(t->cluster),
        CLI_HOST_OPTION(t->host),
        {"users", 'u', "N", "users, who talk in pairs (200)", &t->users, NULL},
        {"window", 'w', "N", "unanswered messages of a user (8)", &t->window, NULL},
        {"size", 's', "BYTES", "of a body (150)", &t->size, NULL},
        {"warm", 0, "S", "seconds before the measurement (2)", &t->warm, NULL},
        {"time", 't', "S", "seconds of the measurement (10)", &t->time, NULL},
        {"rate", 'r', "N", "messages a second, whatever the answers: open loop", &t->rate,
         NULL},
        {"fill", 0, "N", "send N messages to users who are away", &t->fill, NULL},
        {"offline", 0, "N", "the same, then let them come and fetch", &t->offline, NULL},
        {"idle", 0, "N", "hold N connections for --time", &t->idle, NULL},
        {"pid", 0, "PID", "with --idle: whose memory to report", &t->pid, NULL},
        {"logins", 0, "N", "log in and leave N times, 64 at once", &t->logins, NULL},
        {"no-add", 0, NULL, "the users are there already", NULL, &b->users_exist},
        {"json", 0, NULL, "the summary as a JSON object", NULL, &b->json},
    };
    const struct cli_command command = {
        .name = "bench",
        .usage = "[--users N] [--window W] [--time S] [--rate N | --fill N | ...]",
        .summary = "Loads a running node, and prints one line of figures",
        .details =
            "Without a mode: closed loop, every user keeps --window messages "
            "unanswered.\n"
            "acked/s counts messages on the server's disk; latencies are microseconds, "
            "p50_us\nfrom sending to the answer, with --rate from the due time to "
            "delivery. The users are\nbench00000 and so on, made through the node.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
    };
    char **args;
    int count;

    return cli_parse(&command, argc, argv, &args, &count);
}

static int
read_numbers(struct bench *b, const struct texts *t)
{
    const struct {
        const char *name, *text;
        uint64_t min, max, *value;
    } numbers[] = {
        {"users", t->users, 2, BENCH_USERS_MAX, &b->user_count},
        {"window", t->window, 1, AN_CONN_SENDS_MAX, &b->window},
        {"size", t->size, BENCH_HEAD_LEN, AN_BODY_LEN_MAX, &b->size},
        {"warm", t->warm, 0, 3600, &b->warm_s},
        {"time", t->time, 1, 86400, &b->time_s},
        {"rate", t->rate, 0, 1000000, &b->rate},
        {"fill", t->fill, 0, 1000000000, &b->fill},
        {"offline", t->offline, 0, 1000000000, &b->offline},
        {"idle", t->idle, 0, BENCH_USERS_MAX, &b->idle},
        {"logins", t->logins, 0, 100000000, &b->logins},
        {"pid", t->pid, 0, INT32_MAX, &b->pid},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (!cli_number(numbers[i].text, numbers[i].max, numbers[i].value) ||
            *numbers[i].value < numbers[i].min) {
            return cli_usage("bench", "--%s is a number from %" PRIu64 " to %" PRIu64,
                             numbers[i].name, numbers[i].min, numbers[i].max);
        }
    }
    b->user_count = (b->user_count + 1) / 2 * 2;
    return -1;
}

int
cmd_bench(int argc, char **argv)
{
    struct texts texts = {.users = "200",
                          .window = "8",
                          .size = "150",
                          .rate = "0",
                          .warm = "2",
                          .time = "10",
                          .fill = "0",
                          .offline = "0",
                          .idle = "0",
                          .logins = "0",
                          .pid = "0"};
    struct bench *b = calloc(1, sizeof(*b));
    int code;

    if (b == NULL || sodium_init() < 0) {
        free(b);
        return cli_fail(AN_ERR_NO_MEMORY, "bench", NULL);
    }
    b->pool.epoll = -1;
    code = parse(b, &texts, argc, argv);
    if (code < 0) {
        code = read_numbers(b, &texts);
    }
    if (code < 0) {
        code = bench_run(b, texts.cluster, texts.host, texts.data);
        pool_fini(&b->pool);
    }
    anser_client_destroy(b->tickets);
    cli_node_fini(&b->node);
    free(b->users);
    free(b->body);
    free(b);
    return code;
}
