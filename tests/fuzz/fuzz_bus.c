/* What actors say to each other: the input is a conversation of one actor with the bus.
 * Its first byte picks the actor; then come acts, a byte each and what it takes:
 *   0, 1  a request (or hint) with a good envelope: kind, sender, body
 *   2     a message as it came, envelope and all: body
 *   3     an answer to one of its asks: which, error, body; with bit 64 the body has an
 *         envelope; an error from 128 on: no answer came, and the error is why
 *   4     the answer that a friend would give: which
 *   5     time passes: tenths of a second
 *   6     a connection comes or goes
 *   7     it is to stop; with bit 64: words, a body
 * A body is two bytes of length and so many bytes. The high bit of an act: what came is
 * acted upon only with the next.
 * All passes the runner's own checks. Whatever comes: no crash, every request is answered
 * once at most, and what the actor sends could be read. */
#include "proto/bytes.h"
#include "tests/fuzz/asked.h"
#include "tests/fuzz/cast.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { ACTS_MAX = 48 };

static struct input
take_body(struct input *in)
{
    size_t len = (size_t)take(in) << 8;
    struct input body;

    len |= take(in);
    len = len < in->len ? len : in->len;
    body = (struct input){in->data, len};
    in->data += len;
    in->len -= len;
    return body;
}

/* Errors as they come: the first ones more often than they stand in the table. */
static enum an_err
error(uint8_t byte)
{
    static const enum an_err errs[] = {AN_OK,
                                       AN_OK,
                                       AN_ERR_BUSY,
                                       AN_ERR_UNAVAILABLE,
                                       AN_ERR_MOVED,
                                       AN_ERR_TIMEOUT,
                                       AN_ERR_FENCED,
                                       AN_ERR_SHUTTING_DOWN,
                                       AN_ERR_GAP,
                                       AN_ERR_NOT_MINE,
                                       AN_ERR_DISK_FULL,
                                       AN_ERR_REWIND,
                                       AN_ERR_CLUSTER,
                                       AN_ERR_NOT_FOUND,
                                       AN_ERR_RESET,
                                       (enum an_err)9999};

    return errs[byte % (sizeof(errs) / sizeof(errs[0]))];
}

static void
request(struct cast *cast, struct input *in)
{
    unsigned kind = take(in), which = take(in);
    struct input body = take_body(in);

    cast_request(cast, kind, which, body.data, body.len);
}

static void
answer(struct cast *cast, bool raw, struct input *in)
{
    unsigned which = take(in);
    uint8_t err = take(in);
    struct input body = take_body(in);

    if (err >= 128) {
        cast_answer_none(cast, which,
                         err % 3 == 0   ? AN_ERR_TIMEOUT
                         : err % 3 == 1 ? AN_ERR_UNAVAILABLE
                                        : AN_ERR_BUSY);
    } else if (raw) {
        cast_answer_raw(cast, which, body.data, body.len);
    } else {
        cast_answer(cast, which, error(err), body.data, body.len);
    }
}

static void
act(struct cast *cast, uint8_t what, struct input *in)
{
    struct input body;

    switch (what % 8) {
    case 2:
        body = take_body(in);
        cast_raw(cast, body.data, body.len, (what & 0x40) == 0);
        return;
    case 3:
        answer(cast, (what & 0x40) != 0, in);
        return;
    case 4:
        cast_befriend(cast, take(in));
        return;
    case 5:
        cast_advance(cast, take(in) * 100u);
        return;
    case 6:
        cast_conn(cast, (what & 0x40) == 0 ? AN_KIND_CONN_OPEN : AN_KIND_CONN_CLOSED,
                  take(in) % 4);
        return;
    case 7:
        if ((what & 0x40) != 0) {
            body = take_body(in);
            cast_words(cast, body.data, body.len);
        } else {
            cast_stop(cast);
        }
        return;
    default:
        request(cast, in);
        return;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t roles[] = {AN_ROLE_GATE,  AN_ROLE_ROUTER, AN_ROLE_SEQUENCER,
                                    AN_ROLE_STORE, AN_ROLE_IDGEN,  AN_ROLE_API};
    struct input in = {data, len};
    struct cast *cast = cast_create(roles[take(&in) % sizeof(roles)]);

    for (unsigned count = 0; in.len > 0 && count < ACTS_MAX; count++) {
        uint8_t what = take(&in);

        act(cast, what, &in);
        if ((what & 0x80) == 0) {
            cast_settle(cast);
        }
    }
    cast_settle(cast);
    cast_destroy(cast);
    asked_forget();
    return 0;
}
