/* Segments: small numbers in order, leased from a register in steps. A restart skips what
 * was left of its lease; several generators may lease from one register. */
#include "actors/idgen/idgen_priv.h"
#include "proto/bytes.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    SEGMENT_TAKE_MAX = 65536,  /* numbers of one ask */
    SEGMENT_VALUE_LEN = 1 + 8, /* version, next free number */
};

static bool
give_segment(struct idgen *g, struct idgen_segment *s, struct an_msg *msg,
             struct an_outbox *out)
{
    const Anser__Bus__TakeSegment *take = (const Anser__Bus__TakeSegment *)msg->body;
    Anser__Bus__TakenSegment taken = ANSER__BUS__TAKEN_SEGMENT__INIT;

    if (s->end - s->next < take->count) {
        return false;
    }
    taken.first = s->next;
    taken.count = take->count;
    s->next += take->count;
    g->m.segment_numbers += take->count;
    an_out_answer(out, msg, AN_OK, &taken.base);
    return true;
}

static void
lease(struct idgen *g, struct idgen_segment *s, struct an_outbox *out)
{
    const Anser__Bus__TakeSegment *take =
        (const Anser__Bus__TakeSegment *)s->waiting.head->body;
    uint8_t value[SEGMENT_VALUE_LEN] = {IDGEN_VALUE_VERSION};

    if (!idgen_register_idle(&s->reg)) {
        return;
    }
    if (!s->reg.known) {
        idgen_register_read(&s->reg, out);
        return;
    }
    s->proposed = s->durable + (take->count > g->segment ? take->count : g->segment);
    an_put_u64(value + 1, s->proposed);
    idgen_register_swap(&s->reg, value, sizeof(value), out);
}

static void
serve_segment(struct idgen *g, struct idgen_segment *s, struct an_now now,
              struct an_outbox *out)
{
    while (s->waiting.head != NULL) {
        if (an_msg_expired(s->waiting.head, now)) {
            idgen_refuse(g, s->waiting.head, AN_ERR_EXPIRED, out);
        } else if (!give_segment(g, s, s->waiting.head, out)) {
            lease(g, s, out);
            return;
        }
        idgen_queue_pop(&s->waiting);
        g->m.waiting--;
    }
}

static void
answered(struct idgen *g, struct idgen_segment *s, const struct an_msg *msg,
         struct an_now now, struct an_outbox *out)
{
    switch (idgen_register_answered(&s->reg, msg, now, out)) {
    case IDGEN_REGISTER_FAILED:
        g->m.store_errors++;
        idgen_queue_expire(g, &s->waiting, now, out);
        return;
    case IDGEN_REGISTER_SWAPPED:
        g->m.leases++;
        if (s->durable != s->end) {
            s->next = s->durable; /* somebody leased between: skip what was left */
        }
        s->end = s->proposed;
        s->durable = s->proposed;
        break;
    case IDGEN_REGISTER_READ:
    case IDGEN_REGISTER_LOST:
        if (s->reg.value_len == 0) {
            s->durable = 1; /* numbers begin at 1 */
        } else if (s->reg.value_len == SEGMENT_VALUE_LEN &&
                   s->reg.value[0] == IDGEN_VALUE_VERSION) {
            s->durable = an_get_u64(s->reg.value + 1);
        } else {
            idgen_queue_refuse(g, &s->waiting, AN_ERR_CORRUPT, out);
            s->reg.known = false;
        }
        break;
    }
    serve_segment(g, s, now, out);
}

static bool
segment_name_valid(const ProtobufCBinaryData *name)
{
    for (size_t i = 0; i < name->len; i++) {
        uint8_t c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return name->len > 0 && name->len <= IDGEN_SEGMENT_NAME_MAX;
}

/* NULL when there are too many. */
static struct idgen_segment *
segment_of(struct idgen *g, const ProtobufCBinaryData *name)
{
    char full[AN_NAME_LEN_MAX + 1];
    struct idgen_segment *s;

    for (size_t i = 0; i < g->segment_count; i++) {
        s = &g->segments[i];
        if (strlen(s->name) == name->len && memcmp(s->name, name->data, name->len) == 0) {
            return s;
        }
    }
    if (g->segment_count == IDGEN_SEGMENTS_MAX) {
        return NULL;
    }
    s = &g->segments[g->segment_count];
    memcpy(s->name, name->data, name->len);
    snprintf(full, sizeof(full), "idgen/segment/%s", s->name);
    idgen_register_init(&s->reg, g->topology, full, IDGEN_TAG_SEGMENT + g->segment_count);
    idgen_queue_init(&s->waiting);
    g->segment_count++;
    return s;
}

static struct idgen_segment *
segment_at(struct idgen *g, uint64_t tag)
{
    assert(tag >= IDGEN_TAG_SEGMENT && tag - IDGEN_TAG_SEGMENT < g->segment_count);
    return &g->segments[tag - IDGEN_TAG_SEGMENT];
}

void
idgen_segment_answered(struct idgen *g, const struct an_msg *msg, struct an_now now,
                       struct an_outbox *out)
{
    answered(g, segment_at(g, msg->tag), msg, now, out);
}

void
idgen_segment_timer(struct idgen *g, const struct an_msg *msg, struct an_now now,
                    struct an_outbox *out)
{
    struct idgen_segment *s = segment_at(g, msg->tag);

    idgen_register_timer(&s->reg);
    serve_segment(g, s, now, out);
}

void
idgen_segment_take(struct idgen *g, struct an_msg *msg, struct an_now now,
                   struct an_outbox *out)
{
    const Anser__Bus__TakeSegment *take = (const Anser__Bus__TakeSegment *)msg->body;
    struct idgen_segment *s;

    if (take->count == 0 || take->count > SEGMENT_TAKE_MAX ||
        !segment_name_valid(&take->name)) {
        idgen_refuse(g, msg, AN_ERR_ARGUMENT, out);
        return;
    }
    s = segment_of(g, &take->name);
    if (s == NULL) {
        idgen_refuse(g, msg, AN_ERR_FULL, out);
        return;
    }
    idgen_queue_put(&s->waiting, msg);
    g->m.waiting++;
    serve_segment(g, s, now, out);
}
