/* `anser recv`: prints messages as they come, and confirms exactly what it printed. */
#include "client/cli/commands.h"
#include "client/cli/show.h"
#include "client/cli/target.h"
#include <stdio.h>
#include <string.h>

enum { FLUSH_MS = 5000 };

struct recv {
    struct cli_target target;
    bool json, follow, all;
    uint64_t left;
    uint64_t last_ms; /* when the last message came */
    bool output_failed;
};

/* What this very device sent comes back in the inbox of a later run: the user has seen it
 * when sending. A note to oneself is to be received all the same. */
static bool
wanted(const struct recv *r, const struct anser_message *message)
{
    return r->all || !message->own_device || strcmp(message->to, message->from) == 0;
}

static bool
on_message(void *user, const struct anser_message *message)
{
    struct recv *r = user;

    if (!wanted(r, message)) {
        return r->left > 0 || r->follow;
    }
    if ((r->left == 0 && !r->follow) || r->output_failed) {
        return false;
    }
    if (r->json) {
        r->output_failed = !cli_put_json(stdout, message);
    } else {
        cli_put_line(stdout, message);
    }
    if (fflush(stdout) != 0) {
        r->output_failed = true; /* not printed: not taken, it comes again next time */
    }
    if (r->output_failed) {
        return false;
    }
    r->left -= r->follow ? 0 : 1;
    r->last_ms = cli_mono_ms();
    return true;
}

static void
on_gap(void *user, uint64_t from, uint64_t to, bool reset)
{
    (void)user;
    if (reset) {
        fprintf(stderr,
                "anser: recv: the server's inbox began anew; see anser history\n");
    } else {
        fprintf(stderr,
                "anser: recv: inbox entries %llu to %llu are older than the server "
                "keeps; see anser history\n",
                (unsigned long long)from, (unsigned long long)to);
    }
}

/* AN_OK when done, TIMEOUT when nothing came, else the client's end. */
static enum an_err
receive(struct recv *r, uint64_t timeout_ms, struct anser_error *error)
{
    r->last_ms = cli_mono_ms();
    while ((r->left > 0 || r->follow) && !cli_interrupted() && !r->output_failed) {
        uint64_t waited = cli_mono_ms() - r->last_ms;
        uint64_t wait = r->follow ? 60000 : timeout_ms - waited;
        enum an_err err;

        if (!r->follow && waited >= timeout_ms) {
            return AN_ERR_TIMEOUT;
        }
        err = cli_target_wait(&r->target, -1, wait > 60000 ? 60000 : (uint32_t)wait, NULL,
                              error);
        if (err != AN_OK) {
            return error->code == 0 ? AN_ERR_CONNECTION : (enum an_err)error->code;
        }
    }
    return AN_OK;
}

static int
run(struct recv *r, uint64_t timeout_ms)
{
    struct anser_options options = {.confirm_delay_ms = 20};
    struct anser_error error = {0};
    enum an_err err;
    int code;

    options.callbacks.on_message = on_message;
    options.callbacks.on_gap = on_gap;
    code = cli_target_open(&r->target, &options, "cli");
    if (code >= 0) {
        return code;
    }
    cli_catch_signals();
    err = receive(r, timeout_ms, &error);
    if (error.code != 0) {
        return cli_fail_error(&error, "recv");
    }
    if (anser_client_flush(r->target.client, FLUSH_MS) != ANSER_OK && err == AN_OK) {
        return cli_fail(AN_ERR_UNAVAILABLE, "recv",
                        "what was printed could not be confirmed and will come again");
    }
    if (r->output_failed) {
        return cli_fail(AN_ERR_IO, "standard output", NULL);
    }
    if (err == AN_ERR_TIMEOUT) {
        return cli_fail(err, "recv", "no message came in time");
    }
    return 0;
}

int
cmd_recv(int argc, char **argv)
{
    struct recv r = {.target = {.command = "recv"}};
    const char *count_text = "1", *timeout = "10";
    uint64_t timeout_ms = 0;
    const struct cli_option options[] = {
        CLI_TARGET_USER(r.target),
        {"count", 'n', "N", "end after so many messages (1)", &count_text, NULL},
        {"follow", 'f', NULL, "go on until interrupted", NULL, &r.follow},
        {"timeout", 0, "TIME", "give up when none comes for so long (10s)", &timeout,
         NULL},
        {"json", 0, NULL, "one JSON object per line", NULL, &r.json},
        {"all", 0, NULL, "also what this very device sent", NULL, &r.all},
        CLI_TARGET_OPTIONS(r.target),
    };
    const struct cli_command command = {
        .name = "recv",
        .usage = "--user NAME [--device D] [--follow | --count N] [--json]",
        .summary = "Prints messages as they come: SEQ FROM TEXT",
        .details =
            "Each device (default: cli) has its own place in the inbox; one never "
            "seen before\nstarts at the oldest entry. What was printed is "
            "confirmed: the next recv of this\ndevice goes on behind it. Exit "
            "code 7 when too few messages came in time.\nOf anything but text, type and "
            "size are printed: [file, 3000 bytes]; --json has "
            "the bytes.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
    };
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (!cli_number(count_text, UINT64_MAX, &r.left) || r.left == 0) {
        return cli_usage("recv", "--count is a positive number");
    }
    if (!cli_duration(timeout, &timeout_ms)) {
        return cli_usage("recv", "--timeout is a duration such as 10s or 2m");
    }
    code = run(&r, timeout_ms);
    cli_target_close(&r.target);
    return code;
}
