#include "client/cli/chat_screen.h"
#include "client/cli/show.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const marks[] = {"  ", "· ", "✓ ", "✓✓", "✗ "};
enum { MARK_COLUMN = 6, PAD = MARK_COLUMN + 3 };

bool
chat_screen_begin(struct chat_screen *s, bool terminal)
{
    unsigned rows;

    s->terminal = terminal && cli_editor_begin(&s->editor);
    cli_terminal_size(&s->cols, &rows);
    return s->terminal || !terminal;
}

void
chat_screen_end(struct chat_screen *s)
{
    if (s->terminal) {
        cli_editor_wipe(&s->editor);
        (void)fflush(stdout);
        cli_editor_end(&s->editor);
        s->terminal = false;
    }
}

void
chat_screen_prompt(struct chat_screen *s, const char *name, const char *peer)
{
    char *prompt = s->editor.prompt;
    const size_t cap = sizeof(s->editor.prompt);

    (void)snprintf(prompt, cap, "%s%s%s> ", name, peer == NULL ? "" : " → ",
                   peer == NULL ? "" : peer);
    if (peer != NULL &&
        cli_text_width((const uint8_t *)prompt, strlen(prompt)) > s->cols / 2) {
        (void)snprintf(prompt, cap, "→ %s> ", peer);
    }
    if (s->terminal) {
        cli_editor_draw(&s->editor);
    }
}

/* After a resize the terminal has wrapped all anew: what stood where is not known. */
static void
check_size(struct chat_screen *s)
{
    unsigned cols, rows;

    cli_terminal_size(&cols, &rows);
    if (cols != s->cols) {
        s->cols = cols;
        s->line_count = 0;
    }
}

/* Prints what may hold line feeds; each further line is indented. Counts rows. */
static void
put_rows(struct chat_screen *s, const char *text, size_t len)
{
    const char *end = text + len;
    bool first = true;

    while (text <= end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t part = (size_t)((stop == NULL ? end : stop) - text);
        int indent = first ? 0 : PAD;

        printf("%*s%.*s\n", indent, "", (int)part, text);
        s->row += cli_text_rows((const uint8_t *)text, part, (size_t)indent, s->cols);
        text += part + 1;
        first = false;
    }
}

static void
put_block(struct chat_screen *s, const char *text, size_t len)
{
    check_size(s);
    cli_editor_wipe(&s->editor);
    put_rows(s, text, len);
    cli_editor_draw(&s->editor);
}

/* A body for people: lines stay lines, all else that is not printable is escaped. */
static void
put_body(FILE *out, const struct anser_message *m)
{
    const uint8_t *at = m->body, *end = m->body + m->body_len;

    if (m->type != ANSER_TEXT) {
        cli_put_other(out, m);
        return;
    }
    while (at < end) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        cli_put_plain(out, at, (size_t)((stop == NULL ? end : stop) - at));
        if (stop == NULL) {
            break;
        }
        putc('\n', out);
        at = stop + 1;
    }
}

static void
remember(struct chat_screen *s, uint64_t ticket)
{
    s->lines[s->line_count++ % CHAT_MARKS] =
        (struct chat_line){.ticket = ticket, .row = s->row};
}

void
chat_screen_message(struct chat_screen *s, const struct anser_message *m, const char *who,
                    enum chat_mark mark, uint64_t ticket)
{
    time_t when = (time_t)(m->time_ms / 1000);
    char clock[8] = "--:--";
    struct tm tm;
    char *text = NULL;
    size_t len = 0;
    FILE *out;

    if (!s->terminal) {
        if (ticket == 0) { /* what was typed need not be repeated */
            cli_put_line(stdout, m);
            (void)fflush(stdout);
        }
        return;
    }
    out = open_memstream(&text, &len);
    if (out == NULL) {
        return;
    }
    if (m->time_ms != 0 && localtime_r(&when, &tm) != NULL) {
        (void)strftime(clock, sizeof(clock), "%H:%M", &tm);
    }
    fprintf(out, "%s %s %s: ", clock, marks[mark], who);
    put_body(out, m);
    if (fclose(out) == 0) {
        check_size(s);
        if (ticket != 0) {
            remember(s, ticket);
        }
        put_block(s, text, len);
    }
    free(text);
}

void
chat_screen_mark(struct chat_screen *s, uint64_t ticket, enum chat_mark mark)
{
    unsigned cols, rows;

    check_size(s);
    cli_terminal_size(&cols, &rows);
    for (size_t i = 0; s->terminal && i < s->line_count && i < CHAT_MARKS; i++) {
        uint64_t up = s->row - s->lines[i].row;
        if (s->lines[i].ticket == ticket && up > 0 && up < rows) {
            printf("\r\x1b[%" PRIu64 "A\x1b[%dC%s\r\x1b[%" PRIu64 "B", up, MARK_COLUMN,
                   marks[mark], up);
            cli_editor_draw(&s->editor);
            return;
        }
    }
}

void
chat_screen_note(struct chat_screen *s, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (s->terminal) {
        char line[520];
        int n = snprintf(line, sizeof(line), "-- %s", text);
        put_block(s, line, n < 0 ? 0 : (size_t)n);
    } else {
        fprintf(stderr, "anser: chat: %s\n", text);
    }
}
