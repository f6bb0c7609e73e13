/* `anser history`: a page of a conversation, oldest first. */
#include "client/cli/commands.h"
#include "client/cli/show.h"
#include "client/cli/target.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 20000 };

struct history {
    struct cli_target target;
    bool json, done;
    uint64_t left; /* messages still wanted */
    uint64_t before;
    struct anser_error error;
    /* Pages come newest first and are printed oldest first: they wait here. */
    char **pages;
    size_t page_count;
};

/* Renders a page, oldest message first. NULL without memory. */
static char *
render(const struct history *h, const struct anser_page *page, size_t count)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL) {
        return NULL;
    }
    for (size_t i = count; i > 0; i--) {
        if (h->json) {
            (void)cli_put_json(out, &page->messages[i - 1]);
        } else {
            cli_put_line(out, &page->messages[i - 1]);
        }
    }
    return fclose(out) == 0 ? text : NULL;
}

static void
on_page(void *arg, const struct anser_page *page)
{
    struct history *h = arg;
    size_t count = page->count < h->left ? page->count : (size_t)h->left;
    char **pages;

    h->error = page->error;
    h->done = true;
    if (page->error.code != 0 || count == 0) {
        h->left = 0;
        return;
    }
    pages = realloc(h->pages, (h->page_count + 1) * sizeof(*pages));
    if (pages == NULL) {
        h->left = 0;
        return;
    }
    h->pages = pages;
    h->pages[h->page_count++] = render(h, page, count);
    h->left -= count;
    h->before = page->messages[count - 1].seq;
    if (page->completed) {
        h->left = 0;
    }
}

static int
fetch(struct history *h, const char *with)
{
    uint64_t end = cli_mono_ms() + TIMEOUT_MS;

    while (h->left > 0) {
        struct anser_query query = {.peer = with, .before = h->before};
        struct anser_error error;
        enum an_err err;

        query.limit = h->left > 100 ? 100 : (uint32_t)h->left;
        h->done = false;
        err = (enum an_err)anser_client_history(h->target.client, &query, on_page, h);
        if (err != AN_OK) {
            return cli_fail(err, with, NULL);
        }
        while (!h->done) {
            if (cli_mono_ms() >= end) {
                return cli_fail(AN_ERR_TIMEOUT, "history", NULL);
            }
            if (cli_target_wait(&h->target, -1, 1000, NULL, &error) != AN_OK) {
                return cli_fail_error(&error, "history");
            }
        }
        if (h->error.code != 0) {
            return cli_fail_error(&h->error, with);
        }
    }
    return 0;
}

static int
run(struct history *h, const char *with)
{
    struct anser_options options = {.send_only = true};
    int code = cli_target_open(&h->target, &options, "cli");

    if (code >= 0) {
        return code;
    }
    code = fetch(h, with);
    for (size_t i = h->page_count; i > 0; i--) {
        if (code == 0 && h->pages[i - 1] != NULL) {
            fputs(h->pages[i - 1], stdout);
        }
        free(h->pages[i - 1]);
    }
    free(h->pages);
    if (fflush(stdout) != 0 && code == 0) {
        code = cli_fail(AN_ERR_IO, "standard output", NULL);
    }
    return code;
}

int
cmd_history(int argc, char **argv)
{
    struct history h = {.target = {.command = "history"}};
    const char *with = NULL, *before = NULL, *limit = "20";
    const struct cli_option options[] = {
        CLI_TARGET_USER(h.target),
        {"with", 'w', "OTHER", "whose conversation with you", &with, NULL},
        {"before", 0, "SEQ", "only messages before this one", &before, NULL},
        {"limit", 'n', "N", "at most so many (20)", &limit, NULL},
        {"json", 0, NULL, "one JSON object per line", NULL, &h.json},
        CLI_TARGET_OPTIONS(h.target),
    };
    const struct cli_command command = {
        .name = "history",
        .usage = "--user NAME --with OTHER [--before SEQ] [--limit N] [--json]",
        .summary = "Prints a conversation, oldest first: SEQ FROM TEXT",
        .details = "Of anything but text type and size are printed: [file, 3000 bytes]; "
                   "--json has\nthe bytes.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
    };
    char **args;
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (with == NULL) {
        return cli_usage("history", "whose conversation? --with OTHER");
    }
    if ((before != NULL && !cli_number(before, UINT64_MAX, &h.before)) ||
        !cli_number(limit, 1000000, &h.left) || h.left == 0) {
        return cli_usage("history", "--before and --limit are positive numbers");
    }
    code = run(&h, with);
    cli_target_close(&h.target);
    return code;
}
