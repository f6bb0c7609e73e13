/* `anser send`: one message, or each line of standard input; says ID SEQ once a message
 * is on the server's disk. */
#include "client/cli/commands.h"
#include "client/cli/lines.h"
#include "client/cli/show.h"
#include "client/cli/target.h"
#include "core/limits.h"
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRESS_AFTER_MS = 1000, PROGRESS_EVERY_MS = 200 };

struct send {
    struct cli_target target;
    const char *to;
    bool json;
    uint32_t type;
    uint64_t timeout_ms;
    uint64_t accepted, sent, failed;
    uint64_t decided_ms; /* when the last message was decided */
    uint64_t progress_ms;
    bool progress_shown;
    int code; /* of the first failure */
};

static void
progress(struct send *s, bool last)
{
    uint64_t now = cli_mono_ms();

    if (!isatty(STDERR_FILENO) || now - s->target.began_ms < PROGRESS_AFTER_MS) {
        return;
    }
    if (last && s->progress_shown) {
        fputs("\r\x1b[K", stderr);
    } else if (!last && now - s->progress_ms >= PROGRESS_EVERY_MS) {
        fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " sent\x1b[K", s->sent, s->accepted);
        s->progress_ms = now;
        s->progress_shown = true;
    }
}

static void
failed(struct send *s, const struct anser_error *error, uint64_t number)
{
    char what[96];
    int code;

    progress(s, true);
    if (number > 1 || s->accepted > 1) {
        (void)snprintf(what, sizeof(what), "%.64s: message %" PRIu64, s->to, number);
    } else {
        (void)snprintf(what, sizeof(what), "%.64s", s->to);
    }
    code = cli_fail_error(error, what);
    s->failed++;
    s->code = s->code == 0 ? code : s->code;
}

static void
print_sent(const struct send *s, const struct anser_send *sent)
{
    char id[2 * ANSER_MSG_ID_LEN + 1];

    if (!s->json) {
        printf("%" PRIu64 " %" PRIu64 "\n", sent->message_id, sent->seq);
        return;
    }
    (void)sodium_bin2hex(id, sizeof(id), sent->client_msg_id, ANSER_MSG_ID_LEN);
    printf("{\"id\":\"%" PRIu64 "\",\"seq\":\"%" PRIu64 "\",\"time_ms\":\"%" PRIu64
           "\",\"client_msg_id\":\"%s\"}\n",
           sent->message_id, sent->seq, sent->time_ms, id);
}

/* Then it is no fault of the message: turn() names the login's. */
static bool
login_refused(const struct send *s)
{
    return !s->target.was_online &&
           anser_client_state(s->target.client) == ANSER_STATE_CLOSED;
}

static void
on_send(void *user, const struct anser_send *send)
{
    struct send *s = user;

    if (send->state == ANSER_SEND_SENT) {
        print_sent(s, send);
        s->sent++;
        s->decided_ms = cli_mono_ms();
    } else if (send->state == ANSER_SEND_FAILED && !login_refused(s)) {
        s->decided_ms = cli_mono_ms();
        failed(s, &send->error, (uint64_t)(uintptr_t)send->tag);
    }
}

/* ------------------------------------------------------------------ sending */

/* Waits once. false: the client's end was named and noted. */
static bool
turn(struct send *s, int fd, bool *ready)
{
    struct anser_error error = {0};

    if (cli_target_wait(&s->target, fd, PROGRESS_EVERY_MS, ready, &error) != AN_OK) {
        progress(s, true);
        s->code = s->failed > 0 ? s->code : cli_fail_error(&error, "send");
        return false;
    }
    progress(s, false);
    if (anser_client_pending(s->target.client) > 0 &&
        cli_mono_ms() - s->decided_ms >= s->timeout_ms) {
        progress(s, true);
        s->code = cli_fail(AN_ERR_TIMEOUT, "send", NULL);
        return false;
    }
    return !cli_interrupted();
}

static void
offer(struct send *s, const void *body, size_t len, const uint8_t *id)
{
    struct anser_outgoing message = {
        .to = s->to, .type = s->type, .body = body, .body_len = len, .client_msg_id = id};
    enum anser_err err;

    s->accepted++;
    message.tag = (void *)(uintptr_t)s->accepted;
    if (anser_client_pending(s->target.client) == 0) {
        s->decided_ms = cli_mono_ms(); /* the wait for an answer begins now */
    }
    err = anser_client_send(s->target.client, &message, NULL);
    if (err != ANSER_OK) {
        struct anser_error error = {.code = err, .category = anser_err_category(err)};
        (void)snprintf(error.name, sizeof(error.name), "%s", anser_err_name(err));
        (void)snprintf(error.text, sizeof(error.text), "%s", anser_err_text(err));
        failed(s, &error, s->accepted);
    }
}

static void
finish(struct send *s)
{
    while (anser_client_pending(s->target.client) > 0) {
        if (!turn(s, -1, NULL)) {
            return;
        }
    }
}

static void
send_lines(struct send *s)
{
    struct cli_lines lines = {0};
    struct anser_client *client = s->target.client;

    while (!lines.failed && (!lines.eof || lines.len > 0)) {
        size_t len;
        const uint8_t *line = NULL;
        bool ready = false;

        if (anser_client_can_send(client, AN_BODY_LEN_MAX)) {
            line = cli_lines_next(&lines, AN_BODY_LEN_MAX, &len);
        }
        if (line != NULL) {
            offer(s, line, len, NULL);
            continue;
        }
        if (lines.eof && lines.len == 0) {
            break;
        }
        if (!turn(s,
                  !lines.eof && anser_client_can_send(client, AN_BODY_LEN_MAX)
                      ? STDIN_FILENO
                      : -1,
                  &ready)) {
            break;
        }
        if (ready) {
            cli_lines_read(&lines, STDIN_FILENO);
        }
    }
    if (lines.failed) {
        s->code = cli_fail(AN_ERR_IO, "standard input", NULL);
    }
    cli_lines_fini(&lines);
}

static void
send_file(struct send *s, const char *path, const uint8_t *id)
{
    uint8_t *body = malloc(AN_BODY_LEN_MAX + 1);
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t len;

    if (body == NULL || file == NULL) {
        s->code = cli_fail(body == NULL ? AN_ERR_NO_MEMORY : AN_ERR_NOT_FOUND, path,
                           body == NULL ? NULL : "the file cannot be opened");
    } else {
        len = fread(body, 1, AN_BODY_LEN_MAX + 1, file);
        if (ferror(file)) {
            s->code = cli_fail(AN_ERR_IO, path, NULL);
        } else {
            offer(s, body, len, id);
        }
    }
    if (file != NULL && file != stdin) {
        (void)fclose(file);
    }
    free(body);
}

static void
send_words(struct send *s, char **words, int count, const uint8_t *id)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    for (int i = 0; out != NULL && i < count; i++) {
        fprintf(out, "%s%s", i == 0 ? "" : " ", words[i]);
    }
    if (out == NULL || fclose(out) != 0) {
        s->code = cli_fail(AN_ERR_NO_MEMORY, "send", NULL);
    } else {
        offer(s, text, len, id);
    }
    free(text);
}

static int
run(struct send *s, const char *file, const uint8_t *id, char **args, int count)
{
    struct anser_options options = {.send_only = true, .pending_max = 256};
    int code;

    options.callbacks.on_send = on_send;
    code = cli_target_open(&s->target, &options, "cli");
    if (code >= 0) {
        return code;
    }
    cli_catch_signals();
    s->decided_ms = cli_mono_ms();
    if (file != NULL) {
        send_file(s, file, id);
    } else if (count == 1 && strcmp(args[0], "-") == 0) {
        send_lines(s);
    } else {
        send_words(s, args, count, id);
    }
    finish(s);
    progress(s, true);
    if (fflush(stdout) != 0 && s->code == 0) {
        s->code = cli_fail(AN_ERR_IO, "standard output", NULL);
    }
    return cli_interrupted() && s->code == 0 ? 130 : s->code;
}

static bool
parse_id(uint8_t id[ANSER_MSG_ID_LEN], const char *text)
{
    size_t len = 0;

    return sodium_hex2bin(id, ANSER_MSG_ID_LEN, text, strlen(text), "-", &len, NULL) ==
               0 &&
           len == ANSER_MSG_ID_LEN;
}

int
cmd_send(int argc, char **argv)
{
    struct send s = {.target = {.command = "send"}};
    const char *file = NULL, *type = NULL, *timeout = "30", *id_text = NULL;
    uint8_t id[ANSER_MSG_ID_LEN];
    uint64_t type_number = 0;
    const struct cli_option options[] = {
        CLI_TARGET_USER(s.target),
        {"to", 't', "OTHER", "who gets it", &s.to, NULL},
        {"file", 0, "FILE", "the file's bytes are one message (of type 3)", &file, NULL},
        {"type", 0, "N", "1 text, 2 picture, 3 file, 4 red packet", &type, NULL},
        {"id", 0, "HEX", "the client message id (a UUIDv7), to repeat an earlier send",
         &id_text, NULL},
        {"timeout", 0, "TIME", "give up when no answer comes for so long (30s)", &timeout,
         NULL},
        {"json", 0, NULL, "one JSON object per message", NULL, &s.json},
        CLI_TARGET_OPTIONS(s.target),
    };
    const struct cli_command command = {
        .name = "send",
        .usage = "--user NAME --to OTHER [TEXT... | --file F | -]",
        .summary = "Sends a message and prints ID SEQ once it is on the server's disk",
        .details = "The words of TEXT make one message. '-' sends each line of standard "
                   "input as one,\nin order. A message that cannot be sent is named on "
                   "stderr, the others go on, and\nthe exit code is that of the first.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_max = -1,
    };
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (s.to == NULL) {
        return cli_usage("send", "to whom? --to OTHER");
    }
    if ((file != NULL) == (count > 0)) {
        return cli_usage("send", "what? TEXT, --file FILE or '-'");
    }
    if (type != NULL &&
        (!cli_number(type, UINT32_MAX, &type_number) || type_number == 0)) {
        return cli_usage("send", "--type is a positive number");
    }
    if (id_text != NULL && !parse_id(id, id_text)) {
        return cli_usage("send", "--id is 32 hexadecimal digits");
    }
    if (!cli_duration(timeout, &s.timeout_ms)) {
        return cli_usage("send", "--timeout is a duration such as 10s or 2m");
    }
    s.type = type != NULL   ? (uint32_t)type_number
             : file != NULL ? ANSER_FILE
                            : ANSER_TEXT;
    code = run(&s, file, id_text == NULL ? NULL : id, args, count);
    cli_target_close(&s.target);
    return code;
}
