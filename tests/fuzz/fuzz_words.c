/* Words for inspection: the first byte of the input picks an actor that runs; the lines
 * behind it are asked through the text endpoint's own code, one after the other, and
 * again as words of that actor. Every answer is one line of JSON, or metrics. */
#include "proto/bus.pb-c.h"
#include "tests/fuzz/asked.h"
#include "tests/fuzz/cast.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { LINES_MAX = 16, LINE_MAX_LEN = 2048 };

static void
ask(struct cast *cast, const char *name, const uint8_t *line, size_t len)
{
    Anser__Bus__Inspect inspect = ANSER__BUS__INSPECT__INIT;
    uint8_t text[LINE_MAX_LEN + 32], packed[LINE_MAX_LEN + 32];
    size_t head = (size_t)snprintf((char *)text, 32, "%s/0 ", name);

    cast_words(cast, line, len);
    memcpy(text + head, line, len);
    cast_words(cast, text, head + len);
    inspect.words = (ProtobufCBinaryData){len, text + head};
    cast_request(cast, AN_KIND_INSPECT, AN_ROLE_RUNNER, packed,
                 anser__bus__inspect__pack(&inspect, packed));
    cast_settle(cast);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned role = AN_ROLE_GATE + (len == 0 ? 0u : data[0]) % AN_ROLE_API;
    struct cast *cast = cast_create((enum an_role)role);

    cast_conn(cast, AN_KIND_CONN_OPEN, 1); /* something to show */
    for (unsigned i = 0; i < 5; i++) {
        cast_hop(cast, 7 + i % 2, i < 2 ? 0u : 99u);
    }
    data += len > 0;
    len -= len > 0;
    for (unsigned i = 0; len > 0 && i < LINES_MAX; i++) {
        const uint8_t *end = memchr(data, '\n', len);
        size_t line = end == NULL ? len : (size_t)(end - data);

        if (line <= LINE_MAX_LEN) {
            ask(cast, an_role_name(role), data, line);
        }
        line += end != NULL;
        data += line;
        len -= line;
    }
    cast_settle(cast);
    cast_destroy(cast);
    asked_forget();
    return 0;
}
