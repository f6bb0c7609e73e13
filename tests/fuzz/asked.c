#include "tests/fuzz/asked.h"
#include <nng/nng.h>

/* What it would give to NNG comes here instead. */
static void answered(nng_aio *aio, nng_msg *msg);
static void sent(nng_ctx ctx, nng_aio *aio);
#define nng_aio_set_msg answered
#define nng_ctx_send    sent
#include "core/runner_nng/inspect.c" /* NOLINT */

#include <jansson.h>

enum { ASKED_MAX = 256 };

static struct inspect inspection;
static struct question *waiting[ASKED_MAX];
static unsigned waiting_count;

/* The answer to question is one line; a JSON value unless it is metrics, whose lines
 * begin with a name. */
static void
answered(nng_aio *aio, nng_msg *msg)
{
    const char *text = msg == NULL ? NULL : nng_msg_body(msg);
    size_t len = msg == NULL ? 0 : nng_msg_len(msg);
    json_error_t error;
    json_t *json;

    (void)aio;
    if (msg == NULL) {
        return;
    }
    assert(len >= 2 && text[len - 1] == '\n');
    if (text[0] != '#') {
        json = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        assert(json != NULL);
        json_decref(json);
    }
    nng_msg_free(msg);
}

static void
sent(nng_ctx ctx, nng_aio *aio)
{
    (void)ctx;
    (void)aio;
}

static void
forget(unsigned i)
{
    free(waiting[i]);
    waiting[i] = waiting[--waiting_count];
}

void
asked_words(struct an_runner *runner, const uint8_t *words, size_t len)
{
    struct question *question = calloc(1, sizeof(*question));
    nng_msg *msg = NULL;
    bool fits;

    for (unsigned i = waiting_count; i-- > 0;) {
        if (waiting[i]->phase == SENDING) {
            forget(i);
        }
    }
    if (waiting_count == ASKED_MAX || question == NULL || nng_msg_alloc(&msg, len) != 0) {
        free(question);
        return;
    }
    if (len > 0) {
        memcpy(nng_msg_body(msg), words, len);
    }
    inspection.runner = runner;
    question->parcel.type = PARCEL_WORDS;
    question->inspect = &inspection;
    waiting[waiting_count++] = question;
    fits = take_words(question, msg);
    nng_msg_free(msg);
    if (fits) {
        understand(question);
    } else {
        reply_error(question, AN_ERR_ARGUMENT, "more words than fit", "");
    }
}

unsigned
asked_forget(void)
{
    unsigned left = 0;

    while (waiting_count > 0) {
        left += waiting[0]->phase != SENDING;
        forget(0);
    }
    return left;
}
