/* What a client may send: the input is a byte stream, cut into frames as the door does,
 * and every frame goes to a pure gate: over a connection that has not logged in, over
 * one that has, and over one that is about to. Stores, sequencers and routers are played
 * by this file; how they answer is picked by the frame's request number. After each input
 * nothing may be left.
 */
#include "actors/gate/gate.h"
#include "core/limits.h"
#include "core/topology.h"
#include "proto/bus.pb-c.h"
#include "proto/client.pb-c.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { WALL_S = 1795219200, USER = 7, FRAMES_MAX = 64, SERVE_MAX = 64 };

static struct an_topology topology;
static struct an_token_keys keys = {.count = 1, .key = {{.id = "k1", .secret = "s"}}};
static char *token;

struct run {
    struct an_actor *gate;
    struct an_outbox out;
    struct an_now now;
    uint64_t next_conn, stranger, known, comer;
    uint32_t pick; /* how the others answer */
};

/* ------------------------------------------------------------------ feeding */

static void
step(struct run *r, struct an_msg *msg)
{
    r->gate->ops->step(r->gate, msg, r->now, &r->out);
}

static void
conn_msg(struct run *r, enum an_kind kind, uint64_t conn, enum an_err err)
{
    struct an_msg msg = {.kind = (uint16_t)kind, .conn = conn, .err = err, .refs = 1};

    step(r, &msg);
}

static void
frame_msg(struct run *r, uint64_t conn, const struct an_frame *frame, const uint8_t *body)
{
    struct an_msg msg = {.kind = AN_KIND_CONN_FRAME, .conn = conn, .refs = 1};

    msg.frame = *frame;
    msg.frame_body = body;
    step(r, &msg);
}

static void
answer(struct run *r, const struct an_effect *ask, enum an_err err,
       const ProtobufCMessage *body)
{
    struct an_msg msg = {.answer = true, .err = err, .tag = ask->tag, .refs = 1};

    msg.kind = an_kind_row(ask->kind)->answer;
    msg.from = ask->to;
    msg.body = body;
    step(r, &msg);
}

/* ------------------------------------------------------------------ the others */

static void
serve_read(struct run *r, const struct an_effect *ask, const Anser__Bus__Read *read)
{
    static uint8_t page[100];
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    Anser__Bus__Answer *rows = calloc(read->n_queries, sizeof(*rows));
    Anser__Bus__Answer **answers = calloc(read->n_queries, sizeof(*answers));

    assert(rows != NULL && answers != NULL);
    for (size_t i = 0; i < read->n_queries; i++) {
        bool resolve = read->queries[i]->what_case == ANSER__BUS__QUERY__WHAT_RESOLVE;

        anser__bus__answer__init(&rows[i]);
        rows[i].user = USER;
        rows[i].inbox_head = r->pick;
        rows[i].client_body = (ProtobufCBinaryData){sizeof(page), page};
        rows[i].err = r->pick % 5 == 1   ? AN_ERR_NOT_FOUND
                      : r->pick % 5 == 2 ? AN_ERR_NOT_MINE
                                         : AN_OK;
        if (resolve && read->queries[i]->resolve->name.len == 5) {
            rows[i].err = AN_OK; /* the login of ours */
        }
        answers[i] = &rows[i];
    }
    done.answers = answers;
    done.n_answers = r->pick % 7 == 3 ? read->n_queries - 1 : read->n_queries;
    answer(r, ask, AN_OK, &done.base);
    free(rows);
    free(answers);
}

static void
serve_submit(struct run *r, const struct an_effect *ask, const Anser__Bus__Submit *submit)
{
    static const enum an_err errs[] = {
        AN_OK, AN_OK, AN_ERR_BUSY, AN_ERR_ORDER, AN_ERR_ID_EXPIRED, AN_ERR_MOVED};
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result *rows = calloc(submit->n_commands, sizeof(*rows));
    Anser__Bus__Result **results = calloc(submit->n_commands, sizeof(*results));

    assert(rows != NULL && results != NULL);
    for (size_t i = 0; i < submit->n_commands; i++) {
        anser__bus__result__init(&rows[i]);
        rows[i].err = errs[(r->pick + i) % (sizeof(errs) / sizeof(errs[0]))];
        rows[i].seq = i + 1;
        results[i] = &rows[i];
    }
    submitted.results = results;
    submitted.n_results = submit->n_commands;
    if (r->pick % 11 == 10) {
        answer(r, ask, AN_ERR_TIMEOUT, NULL);
    } else {
        answer(r, ask, AN_OK, &submitted.base);
    }
    free(rows);
    free(results);
}

static void
serve_sessions(struct run *r, const struct an_effect *ask,
               const Anser__Bus__Sessions *sessions)
{
    Anser__Bus__SessionsDone done = ANSER__BUS__SESSIONS_DONE__INIT;
    Anser__Bus__Deliver sign = ANSER__BUS__DELIVER__INIT;
    struct an_msg hint = {
        .kind = AN_KIND_DELIVER, .from = ask->to, .refs = 1, .body = &sign.base};

    if (sessions->deaf) {
        sign.incarnation = sessions->incarnation;
        step(r, &hint);
    }

    done.router_incarnation = 1;
    answer(r, ask, AN_OK, &done.base);
}

static void
serve_ask(struct run *r, const struct an_effect *ask, const uint8_t *bytes)
{
    ProtobufCMessage *body =
        protobuf_c_message_unpack(an_kind_row(ask->kind)->body, NULL, ask->len, bytes);

    assert(body != NULL);
    if (ask->kind == AN_KIND_READ) {
        serve_read(r, ask, (const Anser__Bus__Read *)body);
    } else if (ask->kind == AN_KIND_SUBMIT) {
        serve_submit(r, ask, (const Anser__Bus__Submit *)body);
    } else {
        assert(ask->kind == AN_KIND_SESSIONS);
        serve_sessions(r, ask, (const Anser__Bus__Sessions *)body);
    }
    protobuf_c_message_free_unpacked(body, NULL);
}

/* Every frame out must be one that a client could read. */
static void
check_frame(const struct an_effect *effect, const uint8_t *bytes)
{
    struct an_frame frame;

    assert(an_frame_get(&frame, bytes, effect->len, AN_BUS_MSG_LEN_MAX) == AN_FRAME_OK);
    assert(frame.body_len + AN_FRAME_HEADER_LEN == effect->len);
}

/* Carries out what the gate wants until it wants nothing. */
static void
serve(struct run *r)
{
    for (unsigned round = 0; round < SERVE_MAX; round++) {
        struct an_outbox out;

        r->gate->ops->drained(r->gate, r->now, &r->out);
        if (r->out.count == 0) {
            return;
        }
        out = r->out;
        r->out = (struct an_outbox){.watched = true};
        for (size_t i = 0; i < out.count; i++) {
            const struct an_effect *effect = &out.effects[i];

            if (effect->type == AN_EFFECT_ASK) {
                serve_ask(r, effect, out.bytes + effect->offset);
            } else if (effect->type == AN_EFFECT_CONN_SEND) {
                check_frame(effect, out.bytes + effect->offset);
            } else if (effect->type == AN_EFFECT_CONN_CLOSE) {
                conn_msg(r, AN_KIND_CONN_CLOSED, effect->conn, AN_OK);
                r->stranger = r->stranger == effect->conn ? 0 : r->stranger;
                r->known = r->known == effect->conn ? 0 : r->known;
                r->comer = r->comer == effect->conn ? 0 : r->comer;
            } else if (effect->type == AN_EFFECT_TIMER) {
                struct an_msg msg = {
                    .kind = AN_KIND_TIMER, .tag = effect->tag, .refs = 1};

                /* Heads are due at once; the tick would go on for ever. */
                if (effect->at_mono_ms - r->now.mono_ms < AN_GATE_TICK_MS) {
                    step(r, &msg);
                }
            }
        }
        an_outbox_fini(&out);
    }
}

/* ------------------------------------------------------------------ connections */

static uint64_t
conn_open(struct run *r)
{
    uint64_t conn = ++r->next_conn;

    conn_msg(r, AN_KIND_CONN_OPEN, conn, AN_OK);
    return conn;
}

static uint64_t
conn_login_begin(struct run *r)
{
    Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;
    struct an_frame frame = {.codec = 1, .command = AN_COMMAND_LOGIN};
    uint64_t conn = conn_open(r);
    uint8_t body[AN_TOKEN_LEN_MAX];

    login.token = (ProtobufCBinaryData){strlen(token), (uint8_t *)token};
    login.device = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "d"};
    frame.body_len = (uint32_t)anser__client__login__get_packed_size(&login);
    assert(frame.body_len <= sizeof(body));
    anser__client__login__pack(&login, body);
    r->pick = 0;
    frame_msg(r, conn, &frame, body);
    return conn;
}

static uint64_t
conn_login(struct run *r)
{
    r->known = conn_login_begin(r);
    serve(r);
    return r->known;
}

static void
feed(struct run *r, const struct an_frame *frame, const uint8_t *body)
{
    if (r->stranger == 0) {
        r->stranger = conn_open(r);
    }
    if (r->known == 0) {
        r->known = conn_login(r);
    }
    r->pick = frame->request;
    frame_msg(r, r->stranger, frame, body);
    frame_msg(r, r->known, frame, body);
    if (r->comer == 0) {
        r->comer = conn_login_begin(r);
        r->pick = frame->request;
    }
    frame_msg(r, r->comer, frame, body); /* behind its Login, before LoginOk */
    if (frame->request % 3 != 0) {
        serve(r); /* else it piles up with the next */
    }
}

static void
feed_stream(struct run *r, const uint8_t *data, size_t len)
{
    static const enum an_err errs[] = {
        [AN_FRAME_BAD_MAGIC] = AN_ERR_FRAME_MAGIC,
        [AN_FRAME_BAD_VERSION] = AN_ERR_FRAME_VERSION,
        [AN_FRAME_BAD_FLAGS] = AN_ERR_FRAME_FLAGS,
        [AN_FRAME_TOO_LARGE] = AN_ERR_FRAME_TOO_LARGE,
    };

    for (unsigned count = 0; len > 0 && count < FRAMES_MAX; count++) {
        struct an_frame frame;
        enum an_frame_state state = an_frame_get(&frame, data, len, AN_FRAME_LEN_MAX);

        if (state == AN_FRAME_MORE) {
            return;
        }
        if (state != AN_FRAME_OK) {
            conn_msg(r, AN_KIND_CONN_BAD, r->known, errs[state]);
            return;
        }
        if (len - AN_FRAME_HEADER_LEN < frame.body_len) {
            return;
        }
        feed(r, &frame, data + AN_FRAME_HEADER_LEN);
        data += AN_FRAME_HEADER_LEN + frame.body_len;
        len -= AN_FRAME_HEADER_LEN + frame.body_len;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct gate_cfg cfg = {.topology = &topology, .keys = &keys, .seed = 1};
    struct run r = {.now = {1000, WALL_S * 1000ull}, .out = {.watched = true}};
    struct an_msg start = {.kind = AN_KIND_START, .refs = 1};

    if (token == NULL) {
        an_topology_single(&topology);
        if (an_token_mint(&token, &keys.key[0], AN_APP_DEFAULT, "alice", r.now.wall_ms,
                          1000000) != AN_OK) {
            abort();
        }
    }
    if (gate_create(&r.gate, &cfg) != AN_OK) {
        abort();
    }
    step(&r, &start);
    serve(&r);
    r.stranger = conn_open(&r);
    r.known = conn_login(&r);
    assert(r.known != 0);
    feed_stream(&r, data, len);
    serve(&r);
    r.gate->ops->destroy(r.gate); /* asserts that no request is left behind */
    an_outbox_fini(&r.out);
    return 0;
}
