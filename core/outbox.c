#include "core/actor.h"
#include "core/wire.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
no_memory(void)
{
    fputs("anser: out of memory for an actor's effects\n", stderr);
    abort();
}

static uint8_t *
reserve(struct an_outbox *out, size_t len)
{
    if (out->bytes == NULL || out->bytes_cap - out->bytes_len < len) {
        size_t cap = out->bytes_cap == 0 ? 16384 : out->bytes_cap;
        while (cap - out->bytes_len < len) {
            cap *= 2;
        }
        out->bytes = realloc(out->bytes, cap);
        if (out->bytes == NULL) {
            no_memory();
        }
        out->bytes_cap = cap;
    }
    return out->bytes + out->bytes_len;
}

static struct an_effect *
add(struct an_outbox *out, enum an_effect_type type)
{
    struct an_effect *effect;

    if (out->count == out->cap) {
        size_t cap = out->cap == 0 ? 64 : out->cap * 2;
        out->effects = realloc(out->effects, cap * sizeof(*out->effects));
        if (out->effects == NULL) {
            no_memory();
        }
        out->cap = cap;
    }
    effect = &out->effects[out->count++];
    memset(effect, 0, offsetof(struct an_effect, reply_to));
    effect->type = type;
    effect->offset = out->bytes_len;
    effect->len = 0;
    return effect;
}

static void
add_packed(struct an_outbox *out, struct an_effect *effect, const ProtobufCMessage *body)
{
    size_t len;

    if (body == NULL) {
        return;
    }
    reserve(out, 1);
    len = an_wire_pack(body, out->bytes + out->bytes_len, out->bytes + out->bytes_cap);
    while (len == AN_WIRE_NO_ROOM) {
        reserve(out, out->bytes_cap - out->bytes_len + 1); /* twice as much */
        len =
            an_wire_pack(body, out->bytes + out->bytes_len, out->bytes + out->bytes_cap);
    }
    if (len > 0) {
        memmove(out->bytes + out->bytes_len, out->bytes + out->bytes_cap - len, len);
    }
    out->bytes_len += len;
    effect->len += len;
}

__attribute__((format(printf, 3, 0))) static void
add_text(struct an_outbox *out, struct an_effect *effect, const char *fmt, va_list args)
{
    va_list again;
    int len;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    assert(len >= 0);
    vsnprintf((char *)reserve(out, (size_t)len + 1), (size_t)len + 1, fmt, args);
    out->bytes_len += (size_t)len;
    effect->len += (size_t)len;
}

void
an_outbox_fini(struct an_outbox *out)
{
    free(out->effects);
    free(out->bytes);
    free(out->hops);
    *out = (struct an_outbox){0};
}

void
an_outbox_clear(struct an_outbox *out)
{
    out->count = 0;
    out->bytes_len = 0;
    out->hop_count = 0;
}

void
an_out_hop(struct an_outbox *out, enum an_hop hop, uint64_t trace, uint64_t message_id,
           uint64_t detail)
{
    if (!out->traced) {
        return;
    }
    if (out->hop_count == out->hop_cap) {
        size_t cap = out->hop_cap == 0 ? 64 : out->hop_cap * 2;
        out->hops = realloc(out->hops, cap * sizeof(*out->hops));
        if (out->hops == NULL) {
            no_memory();
        }
        out->hop_cap = cap;
    }
    out->hops[out->hop_count++] =
        (struct an_hop_note){trace, message_id, detail, (uint8_t)hop};
}

void
an_out_ask(struct an_outbox *out, struct an_addr to, enum an_kind kind,
           const ProtobufCMessage *body, uint32_t budget_ms, uint64_t tag, uint64_t trace)
{
    const struct an_kind_row *row = an_kind_row(kind);
    struct an_effect *effect;

    assert(row != NULL && row->answer != AN_KIND_NONE);
    assert(body->descriptor == row->body);
    effect = add(out, AN_EFFECT_ASK);
    effect->to = to;
    effect->kind = (uint16_t)kind;
    effect->budget_ms = budget_ms;
    effect->tag = tag;
    effect->trace = trace;
    add_packed(out, effect, body);
}

void
an_out_answer(struct an_outbox *out, struct an_msg *request, enum an_err err,
              const ProtobufCMessage *body)
{
    const struct an_kind_row *row = an_kind_row(request->kind);
    struct an_effect *effect;

    assert(request->request);
    assert(!request->answered);
    assert(row != NULL && row->answer != AN_KIND_NONE);
    assert(body != NULL || err != AN_OK);
    assert(body == NULL || body->descriptor == an_kind_row(row->answer)->body);
    request->answered = true;
    effect = add(out, AN_EFFECT_ANSWER);
    effect->kind = row->answer;
    effect->err = err;
    effect->trace = request->trace;
    effect->to = request->from;
    effect->reply_to_len = request->reply_to_len;
    memcpy(effect->reply_to, request->reply_to, request->reply_to_len);
    add_packed(out, effect, body);
}

bool
an_out_help(struct an_outbox *out, struct an_msg *request, const char *words)
{
    const Anser__Bus__Inspect *asked = (const Anser__Bus__Inspect *)request->body;
    Anser__Bus__Inspected help = ANSER__BUS__INSPECTED__INIT;
    char json[1024];
    int len;

    if (asked->words.len != 4 || memcmp(asked->words.data, "help", 4) != 0) {
        return false;
    }
    len = snprintf(json, sizeof(json), "{\"words\":{" AN_RUNNER_WORDS ",%s}}", words);
    assert(len > 0 && (size_t)len < sizeof(json));
    help.json = (ProtobufCBinaryData){(size_t)len, (uint8_t *)json};
    an_out_answer(out, request, AN_OK, &help.base);
    return true;
}

void
an_out_publish(struct an_outbox *out, struct an_addr to, enum an_kind kind,
               const ProtobufCMessage *body)
{
    const struct an_kind_row *row = an_kind_row(kind);
    struct an_effect *effect;

    assert(row != NULL && row->answer == AN_KIND_NONE);
    assert(body->descriptor == row->body);
    effect = add(out, AN_EFFECT_PUBLISH);
    effect->to = to;
    effect->kind = (uint16_t)kind;
    add_packed(out, effect, body);
}

void
an_out_timer(struct an_outbox *out, uint64_t at_mono_ms, uint64_t tag)
{
    struct an_effect *effect = add(out, AN_EFFECT_TIMER);

    effect->at_mono_ms = at_mono_ms;
    effect->tag = tag;
}

void
an_out_offload(struct an_outbox *out, struct an_job *job)
{
    add(out, AN_EFFECT_OFFLOAD)->job = job;
}

/* Leaves room for the header, which frame_end writes. */
static struct an_effect *
frame_begin(struct an_outbox *out, uint64_t conn)
{
    struct an_effect *effect = add(out, AN_EFFECT_CONN_SEND);

    effect->conn = conn;
    reserve(out, AN_FRAME_HEADER_LEN);
    out->bytes_len += AN_FRAME_HEADER_LEN;
    effect->len = AN_FRAME_HEADER_LEN;
    return effect;
}

/* The body stands behind the header now. */
static void
frame_end(struct an_outbox *out, const struct an_effect *effect,
          const struct an_frame *frame)
{
    struct an_frame header = *frame;

    header.body_len = (uint32_t)(effect->len - AN_FRAME_HEADER_LEN);
    an_frame_put(out->bytes + effect->offset, &header);
}

void
an_out_conn_send(struct an_outbox *out, uint64_t conn, const struct an_frame *frame,
                 const ProtobufCMessage *body)
{
    struct an_effect *effect = frame_begin(out, conn);

    add_packed(out, effect, body);
    frame_end(out, effect, frame);
}

void
an_out_conn_send_packed(struct an_outbox *out, uint64_t conn,
                        const struct an_frame *frame, const uint8_t *body, size_t len)
{
    struct an_effect *effect = frame_begin(out, conn);

    if (len > 0) {
        memcpy(reserve(out, len), body, len);
    }
    out->bytes_len += len;
    effect->len += len;
    frame_end(out, effect, frame);
}

void
an_out_conn_close(struct an_outbox *out, uint64_t conn)
{
    add(out, AN_EFFECT_CONN_CLOSE)->conn = conn;
}

static struct an_effect *
add_http(struct an_outbox *out, uint64_t id, unsigned status, uint32_t retry_s,
         const char *body, size_t len)
{
    struct an_effect *effect = add(out, AN_EFFECT_HTTP);

    assert(status >= 200 && status <= 599);
    effect->conn = id;
    effect->status = (uint16_t)status;
    effect->retry_s = retry_s;
    if (len > 0) {
        memcpy(reserve(out, len), body, len);
    }
    out->bytes_len += len;
    effect->len = len;
    return effect;
}

void
an_out_http(struct an_outbox *out, uint64_t id, unsigned status, uint32_t retry_s,
            const char *body, size_t len)
{
    (void)add_http(out, id, status, retry_s, body, len);
}

void
an_out_http_allow(struct an_outbox *out, uint64_t id, uint32_t allow, const char *body,
                  size_t len)
{
    add_http(out, id, 405, 0, body, len)->allow = allow;
}

void
an_out_event(struct an_outbox *out, const char *topic, const char *fmt, ...)
{
    struct an_effect *effect;
    size_t len = strlen(topic);
    va_list args;

    if (!out->watched) {
        return;
    }
    effect = add(out, AN_EFFECT_EVENT);
    memcpy(reserve(out, len + 1), topic, len);
    out->bytes[out->bytes_len + len] = ' ';
    out->bytes_len += len + 1;
    effect->len = len + 1;
    va_start(args, fmt);
    add_text(out, effect, fmt, args);
    va_end(args);
}

void
an_out_log(struct an_outbox *out, int level, uint64_t trace, const char *fmt, ...)
{
    struct an_effect *effect = add(out, AN_EFFECT_LOG);
    va_list args;

    effect->level = level;
    effect->trace = trace;
    va_start(args, fmt);
    add_text(out, effect, fmt, args);
    va_end(args);
}

void
an_out_ready(struct an_outbox *out)
{
    add(out, AN_EFFECT_READY);
}

void
an_out_stopped(struct an_outbox *out)
{
    add(out, AN_EFFECT_STOPPED);
}

void
an_out_failed(struct an_outbox *out, enum an_err err, const char *fmt, ...)
{
    struct an_effect *effect = add(out, AN_EFFECT_FAILED);
    va_list args;

    effect->err = err;
    va_start(args, fmt);
    add_text(out, effect, fmt, args);
    va_end(args);
}
