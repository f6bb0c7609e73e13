/* `anser chat`: two people talk. */
#include "client/cli/chat_screen.h"
#include "client/cli/commands.h"
#include "client/cli/lines.h"
#include "client/cli/target.h"
#include "core/limits.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HISTORY_COUNT = 20,
    FLUSH_MS = 5000,
    CLOSE_MS = 500,
    MISSED_QUIET_MS = 400,
    OWN_IDS = 256
};

struct chat {
    struct cli_target target;
    char peer[AN_NAME_LEN_MAX + 1]; /* "": nobody yet */
    struct chat_screen screen;
    bool ready; /* the conversation's history is on the screen */
    bool leaving;
    bool was_lost;
    uint64_t history_head; /* what the inbox brings up to here was in the history */
    uint64_t began_ms;     /* server time of the first login: older is backlog */
    uint64_t missed;       /* backlog of other conversations, not shown */
    uint64_t missed_ms;
    uint8_t own_ids[OWN_IDS][ANSER_MSG_ID_LEN]; /* shown when typed */
    size_t own_count;
    int code; /* of the first message that failed */
};

static void on_page(void *arg, const struct anser_page *page);

static void
open_conversation(struct chat *c, const char *peer)
{
    struct anser_query query = {.peer = peer, .limit = HISTORY_COUNT};
    enum anser_err err = anser_client_history(c->target.client, &query, on_page, c);

    if (err != ANSER_OK) {
        chat_screen_note(&c->screen, "%s: %s", peer, anser_err_text(err));
        return;
    }
    c->ready = false;
    (void)snprintf(c->peer, sizeof(c->peer), "%s", peer);
    chat_screen_prompt(&c->screen, c->target.user, c->peer);
}

/* ------------------------------------------------------------------ showing */

static void
show(struct chat *c, const struct anser_message *m, enum chat_mark mark)
{
    char who[2 * AN_NAME_LEN_MAX + 8];

    if (m->own && strcmp(m->peer, c->peer) != 0) {
        (void)snprintf(who, sizeof(who), "%s → %s", m->from, m->to);
    } else {
        (void)snprintf(who, sizeof(who), "%s", m->from);
    }
    chat_screen_message(&c->screen, m, who, mark, 0);
}

static void
on_page(void *arg, const struct anser_page *page)
{
    struct chat *c = arg;

    if (strcmp(page->peer, c->peer) != 0 ||
        anser_client_state(c->target.client) == ANSER_STATE_CLOSED) {
        return; /* the conversation was changed meanwhile, or the end is named elsewhere
                 */
    }
    if (page->error.code != 0) {
        chat_screen_note(&c->screen, "%s: %s (%s)", page->peer, page->error.text,
                         page->error.name);
        c->code = c->code == 0 ? (page->error.code == ANSER_ERR_USER_NOT_FOUND ? 5 : 0)
                               : c->code;
    }
    for (size_t i = page->count; i > 0; i--) {
        const struct anser_message *m = &page->messages[i - 1];
        enum chat_mark mark = CHAT_MARK_NONE;
        if (m->own) {
            mark = m->seq <= page->peer_delivered ? CHAT_MARK_DELIVERED : CHAT_MARK_SENT;
        }
        show(c, m, mark);
    }
    c->history_head = page->head;
    c->ready = true;
    anser_client_resume(c->target.client);
}

static bool
shown_when_typed(const struct chat *c, const struct anser_message *m)
{
    for (size_t i = 0; i < c->own_count && i < OWN_IDS; i++) {
        if (memcmp(c->own_ids[i], m->client_msg_id, ANSER_MSG_ID_LEN) == 0) {
            return true;
        }
    }
    return false;
}

static bool
on_message(void *user, const struct anser_message *m)
{
    struct chat *c = user;
    bool here = strcmp(m->peer, c->peer) == 0;

    if (c->peer[0] != '\0' && !c->ready) {
        return false; /* the history comes first */
    }
    if (here && m->seq <= c->history_head) {
        return true;
    }
    if (m->own_device && shown_when_typed(c, m)) {
        return true;
    }
    if (!here && m->time_ms < c->began_ms) {
        c->missed += m->own ? 0 : 1;
        c->missed_ms = cli_mono_ms();
        return true;
    }
    show(c, m, m->own ? CHAT_MARK_SENT : CHAT_MARK_NONE);
    return true;
}

static void
on_send(void *user, const struct anser_send *send)
{
    struct chat *c = user;

    switch (send->state) {
    case ANSER_SEND_SENDING:
        memcpy(c->own_ids[c->own_count++ % OWN_IDS], send->client_msg_id,
               ANSER_MSG_ID_LEN);
        break;
    case ANSER_SEND_SENT:
        chat_screen_mark(&c->screen, send->ticket, CHAT_MARK_SENT);
        break;
    case ANSER_SEND_STORED:
        break; /* sent says as much */
    case ANSER_SEND_DELIVERED:
        chat_screen_mark(&c->screen, send->ticket, CHAT_MARK_DELIVERED);
        break;
    case ANSER_SEND_FAILED:
        chat_screen_mark(&c->screen, send->ticket, CHAT_MARK_FAILED);
        chat_screen_note(&c->screen, "not sent to %s: %s (%s)", send->to,
                         send->error.text, send->error.name);
        if (c->code == 0) {
            c->code = an_err_exit_code(send->error.code);
        }
        break;
    }
}

static void
on_state(void *user, enum anser_state state, const struct anser_error *why)
{
    struct chat *c = user;

    if (state == ANSER_STATE_ONLINE && c->began_ms == 0) {
        c->began_ms = anser_client_server_time_ms(c->target.client);
    }
    if (state == ANSER_STATE_OFFLINE && !c->was_lost && c->target.was_online) {
        chat_screen_note(&c->screen, "connection lost (%s); trying again",
                         why == NULL ? "closed" : why->name);
        c->was_lost = true;
    } else if (state == ANSER_STATE_ONLINE && c->was_lost) {
        chat_screen_note(&c->screen, "connected again");
        c->was_lost = false;
    }
}

static void
on_gap(void *user, uint64_t from, uint64_t to, bool reset)
{
    (void)from;
    (void)to;
    chat_screen_note(&((struct chat *)user)->screen,
                     reset ? "the server's inbox began anew"
                           : "older messages are only in the history");
}

/* ------------------------------------------------------------------ typing */

static void
say(struct chat *c, const uint8_t *text, size_t len)
{
    struct anser_outgoing out = {.to = c->peer, .body = text, .body_len = len};
    struct anser_message m = {.body = text, .body_len = len, .type = ANSER_TEXT};
    uint64_t ticket = 0;
    enum anser_err err;

    if (c->peer[0] == '\0') {
        chat_screen_note(&c->screen, "to whom? /to NAME");
        return;
    }
    err = anser_client_send(c->target.client, &out, &ticket);
    if (err != ANSER_OK) {
        chat_screen_note(&c->screen, "not sent: %s (%s)", anser_err_text(err),
                         anser_err_name(err));
        c->code = c->code == 0 ? an_err_exit_code(err) : c->code;
        return;
    }
    m.time_ms = anser_client_server_time_ms(c->target.client);
    m.from = c->target.user;
    m.to = c->peer;
    m.peer = c->peer;
    chat_screen_message(&c->screen, &m, c->target.user, CHAT_MARK_WAITING, ticket);
}

static void
command(struct chat *c, const char *text)
{
    if (strncmp(text, "/to ", 4) == 0 && text[4] != '\0') {
        open_conversation(c, text + 4);
    } else if (strcmp(text, "/quit") == 0) {
        c->leaving = true;
    } else {
        chat_screen_note(&c->screen, "/to NAME changes the conversation, /quit leaves; a "
                                     "message that begins with / needs two");
    }
}

static void
entered(struct chat *c, const uint8_t *line, size_t len)
{
    if (len == 0) {
        return;
    }
    if (line[0] == '/' && (len == 1 || line[1] != '/')) {
        char *text = strndup((const char *)line, len);
        if (text != NULL) {
            command(c, text);
        }
        free(text);
        return;
    }
    if (line[0] == '/') {
        line++;
        len--;
    }
    say(c, line, len);
}

static void
read_keys(struct chat *c)
{
    struct cli_editor *editor = &c->screen.editor;
    uint8_t buf[4096];
    ssize_t got = read(STDIN_FILENO, buf, sizeof(buf));
    size_t at = 0;

    if (got <= 0) {
        c->leaving = true;
        return;
    }
    while (at < (size_t)got && !c->leaving) {
        size_t used = 0;
        enum cli_typed typed = cli_editor_feed(editor, buf + at, (size_t)got - at, &used);
        at += used;
        if (typed == CLI_TYPED_LEAVE) {
            c->leaving = true;
        } else if (typed == CLI_TYPED_LINE) {
            uint8_t *line = malloc(editor->len + 1);
            size_t len = editor->len;
            if (line != NULL) {
                memcpy(line, editor->line, len);
            }
            cli_editor_clear(editor);
            if (line != NULL) {
                entered(c, line, len);
            }
            free(line);
        }
    }
    cli_editor_draw(editor);
}

/* ------------------------------------------------------------------ running */

static void
tell_missed(struct chat *c)
{
    if (c->missed > 0 && cli_mono_ms() - c->missed_ms >= MISSED_QUIET_MS) {
        chat_screen_note(&c->screen,
                         "%" PRIu64 " earlier messages in other conversations; /to NAME "
                         "shows one",
                         c->missed);
        c->missed = 0;
    }
}

static int
talk(struct chat *c)
{
    struct anser_error error = {0};

    while (!c->leaving && !cli_interrupted()) {
        bool ready = false;
        uint32_t wait = c->missed > 0 ? MISSED_QUIET_MS : 60000;

        if (cli_target_wait(&c->target, STDIN_FILENO, wait, &ready, &error) != AN_OK) {
            chat_screen_end(&c->screen);
            return cli_fail_error(&error, "chat");
        }
        if (ready) {
            read_keys(c);
        }
        tell_missed(c);
    }
    return -1;
}

/* Standard input is a pipe or a file: every line is sent; the end is the end. */
static int
talk_plain(struct chat *c)
{
    struct cli_lines lines = {0};
    struct anser_error error = {0};
    struct anser_client *client = c->target.client;
    int code = -1;

    while (!c->leaving && !cli_interrupted()) {
        bool ready = false, room = anser_client_can_send(client, AN_BODY_LEN_MAX);
        size_t len;
        const uint8_t *line = room && (c->ready || c->peer[0] == '\0')
                                  ? cli_lines_next(&lines, AN_BODY_LEN_MAX, &len)
                                  : NULL;

        if (line != NULL) {
            entered(c, line, len);
            continue;
        }
        if (lines.failed ||
            (lines.eof && lines.len == 0 && (c->ready || c->peer[0] == '\0') &&
             anser_client_pending(client) == 0)) {
            break;
        }
        if (cli_target_wait(&c->target, room && !lines.eof ? STDIN_FILENO : -1, 1000,
                            &ready, &error) != AN_OK) {
            code = cli_fail_error(&error, "chat");
            break;
        }
        if (ready) {
            cli_lines_read(&lines, STDIN_FILENO);
        }
    }
    cli_lines_fini(&lines);
    return code;
}

static int
run(struct chat *c, const char *to)
{
    struct anser_options options = {.callbacks = {.on_state = on_state,
                                                  .on_message = on_message,
                                                  .on_send = on_send,
                                                  .on_gap = on_gap}};
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    enum anser_err err;
    int code = cli_target_open(&c->target, &options, "chat");

    if (code >= 0) {
        return code;
    }
    cli_catch_signals();
    if (!chat_screen_begin(&c->screen, terminal)) {
        return cli_fail(AN_ERR_IO, "the terminal", NULL);
    }
    chat_screen_prompt(&c->screen, c->target.user, NULL);
    if (to != NULL) {
        open_conversation(c, to);
    }
    code = c->screen.terminal ? talk(c) : talk_plain(c);
    chat_screen_end(&c->screen);
    if (code >= 0) {
        return code;
    }
    err = anser_client_flush(c->target.client, FLUSH_MS);
    if (err != ANSER_OK && anser_client_pending(c->target.client) > 0) {
        return cli_fail((enum an_err)err, "chat", "the last messages may not be sent");
    }
    anser_client_close(c->target.client, CLOSE_MS);
    return c->code;
}

int
cmd_chat(int argc, char **argv)
{
    struct chat *c = calloc(1, sizeof(*c)); /* a line of input is large */
    const char *to = NULL;
    char **args;
    int count, code;

    if (c == NULL) {
        return cli_fail(AN_ERR_NO_MEMORY, "chat", NULL);
    }
    c->target.command = "chat";
    const struct cli_option options[] = {
        {"to", 't', "OTHER", "whom to talk to; /to NAME changes it", &to, NULL},
        CLI_TARGET_OPTIONS(c->target),
    };
    const struct cli_command command_line = {
        .name = "chat",
        .usage = "NAME [--to OTHER]",
        .summary = "Talk in a terminal: history on entry, messages as they come",
        .details = "NAME is you. Marks: · typed, ✓ on the server's disk, ✓✓ on a device "
                   "of the other\nside, ✗ given up. Ctrl-D leaves. When standard input "
                   "is no terminal each of its\nlines is sent, and its end is the end. "
                   "The device is 'chat' unless --device is given.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 1,
        .args_max = 1,
    };
    code = cli_parse(&command_line, argc, argv, &args, &count);
    if (code < 0) {
        c->target.user = args[0];
        code = run(c, to);
    }
    cli_target_close(&c->target);
    free(c);
    return code;
}
