/* Fuzzing what a WebSocket door reads of strangers: the request that opens it, then
 * frames. The first byte says how the rest is cut. Any cut gives the same events, an
 * answer is one of HTTP, a fault ends everything, and a connection between two frames
 * keeps no parser. */
#include "actors/gate/gate_http.h"
#include "actors/gate/gate_ws.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What came out of a stream. */
struct sum {
    uint64_t hash, bytes;
    unsigned wholes, pings, code;
};

static void
add(struct sum *sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum->hash = (sum->hash ^ data[i]) * 0x100000001B3u;
    }
    sum->bytes += len;
}

/* false: nothing is taken any more. */
static bool
take(struct sum *sum, enum gate_ws_event event, const struct gate_ws_got *got)
{
    uint8_t out[GATE_WS_CONTROL_MAX];

    switch (event) {
    case GATE_WS_MORE:
        return true;
    case GATE_WS_WHOLE:
        sum->wholes++;
        add(sum, got->data, got->len);
        return true;
    case GATE_WS_DATA:
        add(sum, got->data, got->len);
        return true;
    case GATE_WS_PING:
        assert(got->len <= GATE_WS_CONTROL_MAX);
        sum->pings++;
        add(sum, got->data, got->len);
        return true;
    case GATE_WS_CLOSE:
    case GATE_WS_FAIL:
        assert(event == GATE_WS_CLOSE || got->text != NULL);
        assert(got->code >= 1000 && got->code <= 4999);
        assert(gate_ws_close(out, got->code, event == GATE_WS_FAIL ? got->text : "") <=
               GATE_WS_CONTROL_MAX);
        sum->code = got->code;
        return false;
    }
    return false;
}

static struct sum
frames(const uint8_t *data, size_t len, size_t step)
{
    struct gate_ws_shared shared = {0};
    struct gate_ws ws = {0};
    struct sum sum = {.hash = 0xCBF29CE484222325u};
    bool goes_on = true;

    for (size_t at = 0; at < len && goes_on; at += step) {
        /* Of its own, so that reading beyond it is seen. */
        size_t part = len - at < step ? len - at : step;
        uint8_t *copy = malloc(part);
        enum gate_ws_event event = GATE_WS_DATA;

        assert(copy != NULL);
        memcpy(copy, data + at, part);
        shared.feed = copy;
        shared.feed_len = part;
        while (goes_on && event != GATE_WS_MORE) {
            struct gate_ws_got got;

            event = gate_ws_next(&ws, &shared, &got);
            goes_on = take(&sum, event, &got);
        }
        assert(!goes_on || shared.feed_len == 0);
        assert(!goes_on || (ws.fed == 0) == (ws.parser == NULL));
        free(copy);
    }
    if (!goes_on) { /* behind the end nothing comes */
        struct gate_ws_got got;

        shared.feed_len = 0;
        assert(gate_ws_next(&ws, &shared, &got) == GATE_WS_MORE);
    }
    gate_ws_fini(&ws);
    gate_ws_shared_fini(&shared);
    return sum;
}

static size_t
request(const uint8_t *data, size_t len)
{
    size_t head = gate_http_head_len(data, len), answer_len = 0;
    char answer[GATE_HTTP_ANSWER_MAX];
    bool open, json;

    if (head == 0 || head > GATE_HTTP_HEAD_MAX) {
        return 0;
    }
    open = gate_http_answer(data, head, "https://a.example, https://b.example", answer,
                            &answer_len, &json);
    assert(answer_len > 0 && answer_len < sizeof(answer));
    assert(strlen(answer) == answer_len);
    assert(strncmp(answer, "HTTP/1.1 ", 9) == 0);
    assert(open == (strncmp(answer + 9, "101 ", 4) == 0));
    return open ? head : 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct sum whole, cut;
    size_t step, head;

    if (len < 2) {
        return 0;
    }
    step = data[0] + 1u;
    head = request(data + 1, len - 1);
    whole = frames(data + 1 + head, len - 1 - head, len);
    cut = frames(data + 1 + head, len - 1 - head, step);
    assert(whole.code == cut.code && whole.wholes == cut.wholes);
    assert(whole.pings == cut.pings);
    /* Of a frame that is refused for its length, how much came before depends on the cut:
     * not when nothing was refused. */
    assert(whole.code != 0 || (whole.hash == cut.hash && whole.bytes == cut.bytes));
    return 0;
}
