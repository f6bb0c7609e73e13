/* Fuzzing what a Noise door reads of strangers, and what a client reads of whoever
 * answers. The first byte says how the stream is cut, the second which end reads; then
 * steps: honest records, changed, repeated and lost ones, bytes of anybody. Any cut opens
 * the same; what is opened is what was sealed, up to the first step that was not honest.
 */
#include "core/noise_conn.h"
#include "tests/fuzz/input.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { WIRE_MAX = 1 << 18, STEPS_MAX = 64 };

/* What the other end says, and what of it is honest. */
struct wire {
    uint8_t bytes[WIRE_MAX];
    size_t len;
    uint8_t plain[WIRE_MAX]; /* of the honest beginning */
    size_t plain_len;
    size_t last; /* where the last honest record begins */
    bool bent;
};

/* What one reading came to. */
struct sum {
    uint8_t plain[WIRE_MAX];
    size_t plain_len;
    enum an_err err;
    bool open;
};

struct ends {
    struct an_noise_key key;
    struct an_noise_conn reader, writer;
    uint8_t hello[AN_NOISE_HELLO_LEN]; /* of the writer */
};

/* ------------------------------------------------------------------ two ends */

/* The same keys every time; nothing depends on chance. */
static void
fix(struct an_noise_handshake *hs, uint8_t fill)
{
    uint8_t secret[AN_NOISE_KEY_LEN];

    memset(secret, fill, sizeof(secret));
    an_noise_fix_ephemeral(hs, secret);
}

static enum an_err
client_begin(struct an_noise_conn *conn, const struct an_noise_key *key,
             uint8_t hello[AN_NOISE_HELLO_LEN])
{
    uint8_t thrown[AN_NOISE_HELLO_LEN];
    enum an_err err = an_noise_conn_client(conn, key->public, thrown);

    if (err != AN_OK) {
        return err;
    }
    an_noise_client(conn->handshake, key->public, AN_NOISE_PROLOGUE,
                    strlen(AN_NOISE_PROLOGUE));
    fix(conn->handshake, 2);
    hello[0] = 0;
    hello[1] = AN_NOISE_HELLO_EXTRA;
    return an_noise_write(conn->handshake, NULL, 0, hello + AN_NOISE_LENGTH_LEN);
}

/* The writer is through, the reader has its hello still to read. */
static void
ends_init(struct ends *e, bool client_reads)
{
    uint8_t hello[AN_NOISE_HELLO_LEN], none[AN_NOISE_HELLO_LEN];
    struct an_noise_conn *server = client_reads ? &e->writer : &e->reader, shadow;
    struct an_noise_conn *client = client_reads ? &e->reader : &e->writer;
    size_t len;
    enum an_err err;

    memset(e->key.secret, 1, sizeof(e->key.secret));
    an_noise_key_complete(&e->key);
    err = client_begin(client, &e->key, hello);
    assert(err == AN_OK);
    err = an_noise_conn_server(server, &e->key);
    assert(err == AN_OK);
    fix(server->handshake, 3);
    if (client_reads) {
        err = an_noise_shake(server, hello + 2, AN_NOISE_HELLO_EXTRA, e->hello, &len);
        assert(err == AN_OK && len == AN_NOISE_HELLO_LEN);
        return;
    }
    /* Another server of the same keys lets the writer get through. */
    memcpy(e->hello, hello, sizeof(hello));
    err = an_noise_conn_server(&shadow, &e->key);
    assert(err == AN_OK);
    fix(shadow.handshake, 3);
    err = an_noise_shake(&shadow, hello + 2, AN_NOISE_HELLO_EXTRA, none, &len);
    assert(err == AN_OK);
    an_noise_conn_fini(&shadow);
    err = an_noise_shake(client, none + 2, AN_NOISE_HELLO_EXTRA, hello, &len);
    assert(err == AN_OK && len == 0);
}

static void
ends_fini(struct ends *e)
{
    an_noise_conn_fini(&e->reader);
    an_noise_conn_fini(&e->writer);
}

/* ------------------------------------------------------------------ what is said */

static void
put(struct wire *wire, const uint8_t *bytes, size_t len)
{
    if (wire->len + len <= WIRE_MAX) {
        memcpy(wire->bytes + wire->len, bytes, len);
        wire->len += len;
    }
}

/* A record of len bytes, for which there is room; may be larger than those that we
 * write. */
static void
put_record(struct wire *wire, struct an_noise_conn *writer, size_t len, bool kept)
{
    static uint8_t record[AN_NOISE_LENGTH_LEN + AN_NOISE_MESSAGE_MAX];
    uint8_t *piece = record + AN_NOISE_LENGTH_LEN;
    enum an_err err;

    memset(piece, (int)(wire->len & 0xFF), len);
    if (kept && !wire->bent) {
        memcpy(wire->plain + wire->plain_len, piece, len);
        wire->plain_len += len;
    }
    record[0] = (uint8_t)((len + AN_NOISE_TAG_LEN) >> 8);
    record[1] = (uint8_t)(len + AN_NOISE_TAG_LEN);
    err = an_noise_encrypt(&writer->out, piece, len, piece);
    assert(err == AN_OK);
    if (kept) {
        wire->last = wire->len;
        put(wire, record, AN_NOISE_RECORD_EXTRA + len);
    }
}

static void
put_step(struct wire *wire, struct an_noise_conn *writer, struct input *in)
{
    uint8_t what = take(in);
    size_t much = (size_t)take(in) << 8, size = much | take(in), begun = wire->len;
    enum an_err err;

    if (wire->len + 2 * (AN_NOISE_MESSAGE_MAX + AN_NOISE_LENGTH_LEN) > WIRE_MAX) {
        return; /* full */
    }
    switch (what % 6) {
    case 0: /* as we write them */
        if (!wire->bent) {
            memset(wire->plain + wire->plain_len, what, size);
            err = an_noise_seal(writer, wire->plain + wire->plain_len, size,
                                wire->bytes + wire->len);
            assert(err == AN_OK);
            wire->plain_len += size;
            wire->len += an_noise_sealed_len(size);
        }
        return;
    case 1:
        put_record(wire, writer, size % (AN_NOISE_PAYLOAD_MAX + 1), true);
        return;
    case 2: /* changed */
        wire->bent = true;
        put_record(wire, writer, size % 300, true);
        wire->bytes[begun + size % (wire->len - begun)] ^= 0x10;
        return;
    case 3: /* lost */
        wire->bent = true;
        put_record(wire, writer, size % 300, false);
        return;
    case 4: /* said again */
        put(wire, wire->bytes + wire->last, wire->len - wire->last);
        wire->bent = wire->bent || wire->len > begun;
        return;
    default: /* anybody's */
        for (size_t i = 0; i < size % 300; i++) {
            uint8_t byte = take(in);

            put(wire, &byte, 1);
        }
        wire->bent = wire->bent || wire->len > begun;
    }
}

/* ------------------------------------------------------------------ reading */

static void
read_record(struct an_noise_conn *conn, const struct an_noise_piece *in, struct sum *sum)
{
    uint8_t reply[AN_NOISE_HELLO_LEN];
    size_t reply_len;

    if (!an_noise_is_open(conn)) {
        sum->err = an_noise_shake(conn, in->record, in->record_len, reply, &reply_len);
        sum->open = sum->err == AN_OK;
        return;
    }
    assert(sum->plain_len + in->record_len <= WIRE_MAX);
    sum->err =
        an_noise_open(conn, in->record, in->record_len, sum->plain + sum->plain_len);
    if (sum->err == AN_OK) {
        sum->plain_len += in->record_len - AN_NOISE_TAG_LEN;
    }
}

static void
read_all(struct an_noise_conn *conn, const struct wire *wire, size_t step,
         struct sum *sum)
{
    sum->plain_len = 0;
    sum->err = AN_OK;
    sum->open = false;
    for (size_t at = 0; at < wire->len && sum->err == AN_OK; at += step) {
        /* Of its own, so that reading beyond it is seen. */
        size_t part = wire->len - at < step ? wire->len - at : step;
        uint8_t *copy = malloc(part);
        struct an_noise_piece in = {.data = copy, .len = part};

        assert(copy != NULL);
        memcpy(copy, wire->bytes + at, part);
        do {
            sum->err = an_noise_take(conn, &in);
            if (sum->err == AN_OK && in.record != NULL) {
                read_record(conn, &in, sum);
            }
        } while (sum->err == AN_OK && in.record != NULL);
        assert(sum->err != AN_OK || in.len == 0);
        assert(conn->held_cap <= 64 || conn->held_cap <= 2 * (at + part));
        free(copy);
    }
    assert((sum->err == AN_OK) == (conn->why == NULL));
}

static void
key_text(struct input *in)
{
    uint8_t key[AN_NOISE_KEY_LEN], again[AN_NOISE_KEY_LEN];
    char text[80], back[AN_NOISE_TEXT_MAX];
    size_t len = in->len < sizeof(text) - 1 ? in->len : sizeof(text) - 1;

    memcpy(text, in->data, len);
    text[len] = '\0';
    if (an_noise_key_parse(key, text)) {
        an_noise_key_print(key, back);
        assert(an_noise_key_parse(again, back) && memcmp(key, again, sizeof(key)) == 0);
    }
}

/* At the last nonce there is no way on, in either direction. */
static void
exhaust(struct ends *e)
{
    uint8_t message[AN_NOISE_RECORD_EXTRA + 1] = {0}, plain[1] = {0};

    if (!an_noise_is_open(&e->reader)) {
        return;
    }
    e->reader.in.nonce = e->writer.out.nonce = UINT64_MAX;
    assert(an_noise_seal(&e->writer, plain, 1, message) == AN_ERR_FULL);
    assert(an_noise_open(&e->reader, message + 2, 17, plain) == AN_ERR_FULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct wire wire;
    static struct sum whole, cut;
    struct input in = {data, len};
    size_t step = take(&in) + 1u;
    uint8_t mode = take(&in);
    struct ends first, second;

    key_text(&in);
    wire.len = wire.plain_len = wire.last = 0;
    wire.bent = (mode & 2) != 0; /* without a handshake */
    ends_init(&first, (mode & 1) != 0);
    ends_init(&second, (mode & 1) != 0);
    if (!wire.bent) {
        put(&wire, first.hello, sizeof(first.hello));
        wire.last = wire.len;
    }
    if ((mode & 4) != 0) {
        wire.bent = true;
        wire.bytes[take(&in) % sizeof(first.hello)] ^= (uint8_t)(take(&in) | 1);
    }
    for (unsigned i = 0; i < STEPS_MAX && in.len > 0; i++) {
        put_step(&wire, &first.writer, &in);
    }
    read_all(&first.reader, &wire, wire.len + 1, &whole);
    read_all(&second.reader, &wire, step, &cut);
    assert(whole.err == cut.err && whole.open == cut.open);
    assert(whole.plain_len == cut.plain_len);
    assert(memcmp(whole.plain, cut.plain, cut.plain_len) == 0);
    assert(cut.plain_len == wire.plain_len);
    assert(memcmp(cut.plain, wire.plain, cut.plain_len) == 0);
    assert(wire.bent || (cut.err == AN_OK && cut.open));
    exhaust(&first);
    ends_fini(&first);
    ends_fini(&second);
    return 0;
}
