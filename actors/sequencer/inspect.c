/* Answers to operators: which slots are whose. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* X(STATE, name) */
#define SEQ_SLOT_NAMES(X)                                                                \
    X(FOREIGN, "foreign")                                                                \
    X(CLAIMING, "claiming")                                                              \
    X(OWNED, "owned")                                                                    \
    X(LOST, "lost")

static const char *const names[] = {
#define SEQ_SLOT_NAME(state, name) [SEQ_SLOT_##state] = (name),
    SEQ_SLOT_NAMES(SEQ_SLOT_NAME)};

enum { STATES = sizeof(names) / sizeof(names[0]) };

struct text {
    char *at;
    size_t len, max;
};

static void __attribute__((format(printf, 2, 3)))
put(struct text *text, const char *fmt, ...)
{
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(text->at + text->len, text->max - text->len, fmt, args);
    va_end(args);
    assert(len >= 0 && (size_t)len < text->max - text->len);
    text->len += (size_t)len;
}

static uint16_t
owner_of(const struct seq *s, const struct seq_slot *slot)
{
    return seq_slot_held(slot) ? s->index : slot->owner;
}

static bool
alike(const struct seq *s, const struct seq_slot *a, const struct seq_slot *b)
{
    return a->state == b->state && a->epoch == b->epoch &&
           owner_of(s, a) == owner_of(s, b);
}

static void
put_ranges(const struct seq *s, struct text *text)
{
    size_t first = 0;

    for (size_t i = 1; i <= AN_SLOTS; i++) {
        const struct seq_slot *slot = &s->slots[first];

        if (i < AN_SLOTS && alike(s, slot, &s->slots[i])) {
            continue;
        }
        put(text, "%s{\"first\":%zu,\"last\":%zu,\"state\":\"%s\",\"owner\":%u",
            first == 0 ? "" : ",", first, i - 1, names[slot->state],
            (unsigned)owner_of(s, slot));
        put(text, ",\"epoch\":\"%" PRIu64 "\"}", slot->epoch);
        first = i;
    }
}

static void
put_slots(const struct seq *s, struct text *text)
{
    unsigned counts[STATES] = {0}, probing = 0;
    uint64_t epoch_max = 0;

    for (size_t i = 0; i < AN_SLOTS; i++) {
        counts[s->slots[i].state]++;
        probing += s->slots[i].probing;
        if (s->slots[i].epoch > epoch_max) {
            epoch_max = s->slots[i].epoch;
        }
    }
    put(text, "{");
    for (size_t i = 0; i < STATES; i++) {
        put(text, "\"%s\":%u,", names[i], counts[i]);
    }
    put(text, "\"probing\":%u,\"stopping\":%s,\"epoch_max\":\"%" PRIu64 "\",\"ranges\":[",
        probing, s->stopping ? "true" : "false", epoch_max);
    put_ranges(s, text);
    put(text, "]}");
}

void
seq_inspect(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Inspect *in = (const Anser__Bus__Inspect *)msg->body;
    Anser__Bus__Inspected done = ANSER__BUS__INSPECTED__INIT;
    struct text text = {.at = s->scratch->text, .max = sizeof(s->scratch->text)};

    (void)now;
    if (an_out_help(out, msg,
                    "\"slots\":\"slots by state, and their owners and epochs\"")) {
        return;
    }
    if (in->words.len != 5 || memcmp(in->words.data, "slots", 5) != 0) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    put_slots(s, &text);
    done.json = (ProtobufCBinaryData){text.len, (uint8_t *)text.at};
    an_out_answer(out, msg, AN_OK, &done.base);
}
