/* A line being typed, on a terminal in raw mode, while other lines come in above it.
 *
 * The typed line keeps to one row and scrolls sideways, so that it can be wiped and drawn
 * again in one go whatever arrives. UTF-8 only; widths are those of the C library. One
 * per process (it holds the terminal), one thread. */
#ifndef AN_CLIENT_CLI_EDITOR_H
#define AN_CLIENT_CLI_EDITOR_H

#include "core/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

enum { CLI_LINE_MAX = 65536, CLI_RECALL_MAX = 32 };

struct cli_editor {
    struct termios saved;
    bool raw;
    char prompt[2 * AN_NAME_LEN_MAX + 8];
    uint8_t line[CLI_LINE_MAX];
    size_t len, cursor; /* bytes; the cursor stands on a character's first */
    uint8_t pending[8]; /* a character or key sequence that is not whole */
    size_t pending_len;
    char *recall[CLI_RECALL_MAX];   /* lines entered before, newest first */
    size_t recall_count, recall_at; /* recall_at 0: the line being typed */
};

enum cli_typed {
    CLI_TYPED_MORE,  /* nothing yet */
    CLI_TYPED_LINE,  /* Enter: take the line, then cli_editor_clear() */
    CLI_TYPED_LEAVE, /* Ctrl-D or Ctrl-C on an empty line */
};

/* Takes the terminal on standard input. false when it is none. */
bool cli_editor_begin(struct cli_editor *editor);
/* Gives it back as it was. Harmless when it was not taken. */
void cli_editor_end(struct cli_editor *editor);
/* Digests bytes from the terminal; *used: how many. Stops at a line or at leaving. Does
 * not draw. */
enum cli_typed cli_editor_feed(struct cli_editor *editor, const uint8_t *data, size_t len,
                               size_t *used);
void cli_editor_clear(struct cli_editor *editor); /* remembers the line for recall */
void
cli_editor_wipe(struct cli_editor *editor); /* the row is empty, cursor at its left */
void cli_editor_draw(struct cli_editor *editor);
/* Columns and rows of the terminal; 80 by 24 when it does not say. */
void cli_terminal_size(unsigned *cols, unsigned *rows);
/* Columns that valid UTF-8 takes; no control characters in it. */
size_t cli_text_width(const uint8_t *text, size_t len);
/* Rows that it takes behind indent columns on a terminal of so many: at least one. What
 * is two columns wide does not stand in the last one alone. */
size_t cli_text_rows(const uint8_t *text, size_t len, size_t indent, unsigned cols);

#endif
