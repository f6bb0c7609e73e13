/* Asks actors for words, all at once: those of a cluster over the bus, wherever they are,
 * or those of a single node through its text endpoint. */
#ifndef AN_CLIENT_CLI_ASK_H
#define AN_CLIENT_CLI_ASK_H

#include "cluster/plan.h"
#include <stddef.h>

enum { CLI_WORDS_MAX = 256, CLI_ASK_MS = 3000 };

struct cli_asker {
    const char *command; /* for error lines */
    struct plan *plan;   /* NULL: a single node */
    uint16_t host;       /* this one, AN_HOST_NONE, of the plan */
    char run_dir[AN_PATH_LEN_MAX];
    char *control; /* of a single node */
};

/* One question to one actor. The first two members are the asker's. */
struct cli_question {
    struct an_addr addr;
    char words[CLI_WORDS_MAX];
    uint32_t ms; /* to wait at most; 0: CLI_ASK_MS */
    enum an_err err;
    char *text;    /* one JSON value, when err is AN_OK; cli_answers_free */
    char why[256]; /* otherwise, one sentence or empty */
};

/* By cluster file, or when it is NULL by the data directory of a single node. host: which
 * of the file's hosts this is, NULL: found by address. -1, or the exit code after naming
 * the error. Zero it first. */
int cli_asker_open(struct cli_asker *asker, const char *cluster, const char *host,
                   const char *data);
/* A zeroed one is fine. */
void cli_asker_close(struct cli_asker *asker);
/* Every actor there is, in order; *out from malloc(), words are empty. AN_ERR_NO_MEMORY.
 */
AN_MUST_USE enum an_err cli_asker_actors(const struct cli_asker *asker,
                                         struct cli_question **out, size_t *count);
/* Fills in the answers; returns after CLI_ASK_MS and a little at the latest for each 16
 * that do not answer. A question without words is left alone. */
void cli_ask_all(const struct cli_asker *asker, struct cli_question *questions,
                 size_t count);
/* Of count questions; not the array. */
void cli_answers_free(struct cli_question *questions, size_t count);
/* Says words to whichever api answers; *text: its JSON, to be freed, may be NULL when not
 * wanted. Errors with *why (one sentence, or empty). */
AN_MUST_USE enum an_err cli_api_ask(const struct cli_asker *asker, const char *words,
                                    char **text, char *why, size_t why_len);
/* Makes an account, through whichever api answers. AN_ERR_USER_EXISTS, or what went
 * wrong, with *why (one sentence, or empty). */
AN_MUST_USE enum an_err cli_user_add(const struct cli_asker *asker, const char *name,
                                     const char *app, char *why, size_t why_len);

#endif
