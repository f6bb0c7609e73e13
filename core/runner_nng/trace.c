/* Where messages were seen: a ring of the newest hops for each instance, with wall time,
 * filled after its turns and read by the words "trace ID". On the instance's thread. */
#include "core/runner_nng/priv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    NOTES_MAX = 256, /* of one answer */
    TRACES_MAX = 16, /* of one message id: a message asked to be sent again has several */
    TRACE_DIGITS = 16,
};

_Static_assert((AN_TRACE_HOPS & (AN_TRACE_HOPS - 1)) == 0, "the ring's index is masked");

#define HOP_TOPIC(hop, topic) topic,
static const char *const topics[] = {AN_HOPS(HOP_TOPIC)};
#undef HOP_TOPIC

bool
ring_open(struct ring *ring)
{
    /* Never written, never in memory: an idle actor's ring costs nothing. */
    ring->kept = calloc(AN_TRACE_HOPS, sizeof(*ring->kept));
    return ring->kept != NULL;
}

void
ring_close(struct ring *ring)
{
    free(ring->kept);
    *ring = (struct ring){0};
}

void
ring_add(struct ring *ring, const struct an_hop_note *notes, size_t count)
{
    struct timespec t;
    uint64_t now_us;

    clock_gettime(CLOCK_REALTIME, &t);
    now_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    for (size_t i = 0; i < count; i++) {
        ring->kept[ring->total++ & (AN_TRACE_HOPS - 1)] =
            (struct kept_hop){notes[i], now_us};
    }
}

/* ------------------------------------------------------------------ reading */

/* What is asked for: a message id, and every trace it was seen with; or a trace. */
struct wanted {
    uint64_t message_id; /* 0: none */
    uint64_t traces[TRACES_MAX];
    size_t trace_count;
};

static uint64_t
oldest(const struct ring *ring)
{
    return ring->total > AN_TRACE_HOPS ? ring->total - AN_TRACE_HOPS : 0;
}

static const struct kept_hop *
at(const struct ring *ring, uint64_t index)
{
    return &ring->kept[index & (AN_TRACE_HOPS - 1)];
}

static bool
want_trace(struct wanted *wanted, uint64_t trace)
{
    for (size_t i = 0; i < wanted->trace_count; i++) {
        if (wanted->traces[i] == trace) {
            return true;
        }
    }
    return false;
}

/* Hops before the id was given carry the trace alone. */
static void
learn_traces(const struct ring *ring, struct wanted *wanted)
{
    for (uint64_t i = oldest(ring); i < ring->total; i++) {
        const struct an_hop_note *note = &at(ring, i)->note;
        if (note->message_id == wanted->message_id && note->trace != 0 &&
            wanted->trace_count < TRACES_MAX && !want_trace(wanted, note->trace)) {
            wanted->traces[wanted->trace_count++] = note->trace;
        }
    }
}

/* A number of decimal digits is a message id, 16 hexadecimal ones are a trace; what could
 * be both is looked for as both. */
static bool
parse_wanted(const char *text, struct wanted *wanted)
{
    size_t len = strlen(text);
    char *end;

    if (len > 0 && strspn(text, "0123456789") == len) {
        wanted->message_id = strtoull(text, &end, 10);
    }
    if (len == TRACE_DIGITS && strspn(text, "0123456789abcdefABCDEF") == len) {
        wanted->traces[wanted->trace_count++] = strtoull(text, &end, 16);
    }
    return wanted->message_id != 0 || wanted->trace_count > 0;
}

static void
put_note(FILE *out, const struct kept_hop *kept, bool first)
{
    const struct an_hop_note *note = &kept->note;

    fprintf(out,
            "%s{\"hop\":\"%s\",\"time_us\":\"%llu\",\"trace\":\"%016llx\","
            "\"message_id\":\"%llu\",\"detail\":\"%llu\"}",
            first ? "" : ",", note->hop < AN_HOP_COUNT ? topics[note->hop] : "unknown",
            (unsigned long long)kept->time_us, (unsigned long long)note->trace,
            (unsigned long long)note->message_id, (unsigned long long)note->detail);
}

bool
ring_find(const struct ring *ring, const char *id, FILE *out)
{
    struct wanted wanted = {0};
    size_t found = 0;

    if (!parse_wanted(id, &wanted)) {
        return false;
    }
    fputs("\"notes\":[", out);
    if (wanted.message_id != 0) {
        learn_traces(ring, &wanted);
    }
    for (uint64_t i = oldest(ring); i < ring->total && found < NOTES_MAX; i++) {
        const struct kept_hop *kept = at(ring, i);
        if ((wanted.message_id != 0 && kept->note.message_id == wanted.message_id) ||
            want_trace(&wanted, kept->note.trace)) {
            put_note(out, kept, found++ == 0);
        }
    }
    fprintf(out, "],\"more\":%s,", found == NOTES_MAX ? "true" : "false");
    if (ring->total > AN_TRACE_HOPS) {
        fprintf(out, "\"since_us\":\"%llu\"",
                (unsigned long long)at(ring, oldest(ring))->time_us);
    } else {
        fputs("\"since_us\":null", out);
    }
    return true;
}
