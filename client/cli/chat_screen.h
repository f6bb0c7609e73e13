/* What `anser chat` shows: on a terminal, messages above a line being typed, with marks
 * that change as a message travels; otherwise plain lines. */
#ifndef AN_CLIENT_CLI_CHAT_SCREEN_H
#define AN_CLIENT_CLI_CHAT_SCREEN_H

#include "client/anser.h"
#include "client/cli/editor.h"

enum { CHAT_MARKS = 256 };

enum chat_mark {
    CHAT_MARK_NONE,      /* not ours */
    CHAT_MARK_WAITING,   /* typed */
    CHAT_MARK_SENT,      /* on the server's disk */
    CHAT_MARK_DELIVERED, /* on a device of the other side */
    CHAT_MARK_FAILED,
};

/* A line of ours on the screen, whose mark may still change. */
struct chat_line {
    uint64_t ticket;
    uint64_t row; /* counted from the first one printed */
};

struct chat_screen {
    bool terminal;
    struct cli_editor editor;
    unsigned cols;
    uint64_t row; /* where the typed line stands */
    struct chat_line lines[CHAT_MARKS];
    size_t line_count;
};

/* terminal: draw on it; false when it cannot be taken. */
bool chat_screen_begin(struct chat_screen *screen, bool terminal);
void chat_screen_end(struct chat_screen *screen);
/* "NAME → PEER> ", on a narrow terminal "→ PEER> "; peer NULL: nobody yet. */
void chat_screen_prompt(struct chat_screen *screen, const char *name, const char *peer);
/* A message: who says what and when (Unix ms). ticket: of ours, to find it again; 0. */
void chat_screen_message(struct chat_screen *screen, const struct anser_message *message,
                         const char *who, enum chat_mark mark, uint64_t ticket);
/* Changes the mark of one of ours, if it is still on the screen. */
void chat_screen_mark(struct chat_screen *screen, uint64_t ticket, enum chat_mark mark);
/* A remark of the program itself. */
void chat_screen_note(struct chat_screen *screen, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
