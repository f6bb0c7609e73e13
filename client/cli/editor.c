#include "client/cli/editor.h"
#include "proto/utf8.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

enum {
    CTRL_A = 1,
    CTRL_B,
    CTRL_C,
    CTRL_D,
    CTRL_E,
    CTRL_F,
    BACKSPACE = 8,
    CTRL_K = 11,
    CTRL_L,
    ENTER,
    CTRL_N,
    CTRL_P = 16,
    CTRL_U = 21,
    CTRL_W = 23,
    ESC = 27,
    DEL = 127
};

/* ------------------------------------------------------------------ characters */

static size_t
char_len(uint8_t first)
{
    return first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

static unsigned
char_width(const uint8_t *at)
{
    static const uint8_t mask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    size_t len = char_len(at[0]);
    wchar_t c = at[0] & mask[len];
    int width;

    for (size_t i = 1; i < len; i++) {
        c = (wchar_t)(c << 6 | (at[i] & 0x3F));
    }
    width = wcwidth(c);
    return width < 0 ? 1 : (unsigned)width;
}

size_t
cli_text_width(const uint8_t *text, size_t len)
{
    size_t width = 0;

    for (size_t i = 0; i < len; i += char_len(text[i])) {
        width += char_width(text + i);
    }
    return width;
}

size_t
cli_text_rows(const uint8_t *text, size_t len, size_t indent, unsigned cols)
{
    size_t rows = 1 + (indent > 0 ? (indent - 1) / cols : 0);
    size_t at = indent - (rows - 1) * cols; /* columns of the last row in use */

    for (size_t i = 0; i < len; i += char_len(text[i])) {
        unsigned width = char_width(text + i);
        if (at + width > cols) {
            rows++;
            at = 0;
        }
        at += width;
    }
    return rows;
}

static size_t
before(const struct cli_editor *e, size_t at)
{
    while (at > 0 && (e->line[--at] & 0xC0) == 0x80) {
    }
    return at;
}

static size_t
behind(const struct cli_editor *e, size_t at)
{
    return at < e->len ? at + char_len(e->line[at]) : at;
}

/* ------------------------------------------------------------------ the terminal */

bool
cli_editor_begin(struct cli_editor *e)
{
    struct termios raw;

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    if (tcgetattr(STDIN_FILENO, &e->saved) != 0) {
        return false;
    }
    raw = e->saved;
    raw.c_iflag &= ~(tcflag_t)(ICRNL | IXON | BRKINT | INPCK | ISTRIP);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    e->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
    return e->raw;
}

void
cli_editor_end(struct cli_editor *e)
{
    if (e->raw) {
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &e->saved);
        e->raw = false;
    }
    for (size_t i = 0; i < e->recall_count; i++) {
        free(e->recall[i]);
    }
    e->recall_count = 0;
}

void
cli_terminal_size(unsigned *cols, unsigned *rows)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;

    *cols = known ? size.ws_col : 80;
    *rows = known && size.ws_row > 0 ? size.ws_row : 24;
}

void
cli_editor_wipe(struct cli_editor *e)
{
    (void)e;
    fputs("\r\x1b[K", stdout);
}

/* The part of the line that fits beside the prompt and shows the cursor. */
void
cli_editor_draw(struct cli_editor *e)
{
    unsigned cols, rows;
    size_t prompt_width = cli_text_width((const uint8_t *)e->prompt, strlen(e->prompt));
    size_t start = e->cursor, end = e->cursor, left = 0, used, room;

    cli_terminal_size(&cols, &rows);
    room = cols > prompt_width + 2 ? cols - prompt_width - 1 : 1;
    while (start > 0) {
        size_t at = before(e, start);
        unsigned width = char_width(e->line + at);
        if (left + width > room) {
            break;
        }
        left += width;
        start = at;
    }
    used = left;
    while (end < e->len && used + char_width(e->line + end) <= room) {
        used += char_width(e->line + end);
        end = behind(e, end);
    }
    printf("\r%s", e->prompt);
    (void)fwrite(e->line + start, 1, end - start, stdout);
    printf("\x1b[K\r\x1b[%zuC", prompt_width + left);
    (void)fflush(stdout);
}

/* ------------------------------------------------------------------ editing */

static void
erase(struct cli_editor *e, size_t from, size_t to)
{
    memmove(e->line + from, e->line + to, e->len - to);
    e->len -= to - from;
    e->cursor = from;
}

static void
insert(struct cli_editor *e, const uint8_t *text, size_t len)
{
    if (e->len + len > sizeof(e->line)) {
        return;
    }
    memmove(e->line + e->cursor + len, e->line + e->cursor, e->len - e->cursor);
    memcpy(e->line + e->cursor, text, len);
    e->len += len;
    e->cursor += len;
}

static size_t
word_start(const struct cli_editor *e)
{
    size_t at = e->cursor;

    while (at > 0 && e->line[at - 1] == ' ') {
        at--;
    }
    while (at > 0 && e->line[at - 1] != ' ') {
        at--;
    }
    return at;
}

static void
recall(struct cli_editor *e, size_t at)
{
    const char *text = at == 0 ? "" : e->recall[at - 1];

    e->recall_at = at;
    e->len = strlen(text);
    memcpy(e->line, text, e->len);
    e->cursor = e->len;
}

void
cli_editor_clear(struct cli_editor *e)
{
    char *copy = e->len > 0 ? strndup((const char *)e->line, e->len) : NULL;

    e->len = e->cursor = e->recall_at = 0;
    if (copy == NULL) {
        return;
    }
    if (e->recall_count == CLI_RECALL_MAX) {
        free(e->recall[--e->recall_count]);
    }
    memmove(e->recall + 1, e->recall, e->recall_count * sizeof(e->recall[0]));
    e->recall[0] = copy;
    e->recall_count++;
}

static void
arrow(struct cli_editor *e, uint8_t final)
{
    switch (final) {
    case 'A':
        if (e->recall_at < e->recall_count) {
            recall(e, e->recall_at + 1);
        }
        break;
    case 'B':
        if (e->recall_at > 0) {
            recall(e, e->recall_at - 1);
        }
        break;
    case 'C':
        e->cursor = behind(e, e->cursor);
        break;
    case 'D':
        e->cursor = before(e, e->cursor);
        break;
    case 'H':
        e->cursor = 0;
        break;
    case 'F':
        e->cursor = e->len;
        break;
    default: /* a key that means nothing here */
        break;
    }
}

static enum cli_typed
control(struct cli_editor *e, uint8_t key)
{
    switch (key) {
    case ENTER:
    case '\n':
        return CLI_TYPED_LINE;
    case CTRL_C:
        if (e->len == 0) {
            return CLI_TYPED_LEAVE;
        }
        erase(e, 0, e->len);
        break;
    case CTRL_D:
        if (e->len == 0) {
            return CLI_TYPED_LEAVE;
        }
        erase(e, e->cursor, behind(e, e->cursor));
        break;
    case BACKSPACE:
    case DEL:
        erase(e, before(e, e->cursor), e->cursor);
        break;
    case CTRL_U:
        erase(e, 0, e->cursor);
        break;
    case CTRL_K:
        e->len = e->cursor;
        break;
    case CTRL_W:
        erase(e, word_start(e), e->cursor);
        break;
    case CTRL_L:
        fputs("\x1b[H\x1b[2J", stdout);
        break;
    case '\t':
        insert(e, (const uint8_t *)" ", 1);
        break;
    default: {
        static const uint8_t keys[] = {CTRL_A, CTRL_B, CTRL_E, CTRL_F, CTRL_N, CTRL_P};
        static const uint8_t finals[] = "HDFCBA";
        for (size_t i = 0; i < sizeof(keys); i++) {
            if (keys[i] == key) {
                arrow(e, finals[i]);
            }
        }
    }
    }
    return CLI_TYPED_MORE;
}

/* ESC [ ... final, or ESC O final; anything else after ESC is dropped with it. */
static void
sequence(struct cli_editor *e, uint8_t byte)
{
    bool introduced = e->pending_len >= 2;

    if (!introduced && (byte == '[' || byte == 'O')) {
        e->pending[e->pending_len++] = byte;
        return;
    }
    if (introduced && byte >= 0x20 && byte < 0x40) { /* a parameter: ESC [ 3 ~ */
        if (e->pending_len < sizeof(e->pending)) {
            e->pending[e->pending_len++] = byte;
        }
        return;
    }
    if (introduced && byte == '~' && e->pending_len > 2 && e->pending[2] == '3') {
        erase(e, e->cursor, behind(e, e->cursor));
    } else if (introduced) {
        arrow(e, byte);
    }
    e->pending_len = 0;
}

static void
text_byte(struct cli_editor *e, uint8_t byte)
{
    if (e->pending_len == 0 && byte >= 0x80 && byte < 0xC2) {
        return; /* no character begins so */
    }
    if (e->pending_len > 0 && (byte & 0xC0) != 0x80) {
        e->pending_len = 0; /* the one before never became whole */
    }
    e->pending[e->pending_len++] = byte;
    if (e->pending_len == char_len(e->pending[0])) {
        if (an_utf8_valid(e->pending, e->pending_len)) {
            insert(e, e->pending, e->pending_len);
        }
        e->pending_len = 0;
    }
}

enum cli_typed
cli_editor_feed(struct cli_editor *e, const uint8_t *data, size_t len, size_t *used)
{
    for (*used = 0; *used < len;) {
        uint8_t byte = data[(*used)++];
        enum cli_typed typed = CLI_TYPED_MORE;

        if (e->pending_len > 0 && e->pending[0] == ESC) {
            sequence(e, byte);
        } else if (byte == ESC) {
            e->pending[0] = ESC;
            e->pending_len = 1;
        } else if (byte < ' ' || byte == DEL) {
            e->pending_len = 0;
            typed = control(e, byte);
        } else {
            text_byte(e, byte);
        }
        if (typed != CLI_TYPED_MORE) {
            return typed;
        }
    }
    return CLI_TYPED_MORE;
}
