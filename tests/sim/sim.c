/* The simulator's heart: the event queue, the virtual clock, the trace and its hash. */
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_ROW(name, text, must) [SIM_##name] = text,
static const char *const count_names[] = {SIM_OPS(NAME_ROW) SIM_FAULTS(NAME_ROW)
                                              SIM_CLUSTER_COUNTS(NAME_ROW)};
#define MUST_ROW(name, text, must) [SIM_##name] = (must),
static const bool count_musts[] = {SIM_OPS(MUST_ROW) SIM_FAULTS(MUST_ROW)
                                       SIM_CLUSTER_COUNTS(MUST_ROW)};
#define BUG_ROW(name, text, words) [SIM_BUG_##name] = text,
static const char *const bug_names[] = {SIM_BUGS(BUG_ROW)};
#define WORDS_ROW(name, text, words) [SIM_BUG_##name] = words,
static const char *const bug_words[] = {SIM_BUGS(WORDS_ROW)};

const char *
sim_count_name(enum sim_count count)
{
    return count_names[count];
}

bool
sim_count_must(enum sim_count count, enum sim_shape shape)
{
#define CLUSTER_ROW(name, text, must) [SIM_##name] = true,
    static const bool of_cluster[SIM_COUNT_COUNT] = {SIM_CLUSTER_COUNTS(CLUSTER_ROW)};
#undef CLUSTER_ROW

    return count_musts[count] && (!of_cluster[count] || shape != SIM_SHAPE_ONE_STORE);
}

const char *
sim_bug_name(enum sim_bug bug)
{
    return bug_names[bug];
}

const char *
sim_bug_words(enum sim_bug bug)
{
    return bug_words[bug];
}

enum sim_shape
sim_bug_shape(enum sim_bug bug)
{
    return bug < SIM_BUG_FORGET_TAKEN ? SIM_SHAPE_ONE_STORE : SIM_SHAPE_CLUSTER;
}

const char *
sim_shape_name(enum sim_shape shape)
{
    static const char *const names[SIM_SHAPE_COUNT] = {
        [SIM_SHAPE_DRAWN] = "drawn",
        [SIM_SHAPE_ONE_STORE] = "one-store",
        [SIM_SHAPE_CLUSTER] = "cluster",
    };

    return names[shape];
}

void *
sim_alloc(size_t len)
{
    void *memory = calloc(1, len == 0 ? 1 : len);

    if (memory == NULL) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *
sim_grow(void *array, size_t *cap, size_t need, size_t item)
{
    size_t more = *cap == 0 ? 64 : *cap;

    if (need <= *cap) {
        return array;
    }
    while (more < need) {
        more *= 2;
    }
    array = realloc(array, more * item);
    if (array == NULL) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    memset((uint8_t *)array + *cap * item, 0, (more - *cap) * item);
    *cap = more;
    return array;
}

/* ------------------------------------------------------------------ trace */

void
sim_mix(struct sim *sim, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint64_t hash = sim->hash;

    for (; len >= sizeof(uint64_t); len -= sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes, sizeof(word));
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 29;
        bytes += sizeof(word);
    }
    for (size_t i = 0; i < len; i++) { /* FNV-1a */
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    sim->hash = hash;
}

void
sim_mix_u64(struct sim *sim, uint64_t number)
{
    sim->hash = (sim->hash ^ number) * 0x100000001b3u;
    sim->hash ^= sim->hash >> 29;
}

void
sim_trace(struct sim *sim, const char *fmt, ...)
{
    char *line = sim->ring[sim->ring_count++ % SIM_RING_LINES];
    int used = snprintf(line, SIM_LINE_LEN, "%6llu.%03u ",
                        (unsigned long long)(sim->now_us / SIM_MS),
                        (unsigned)(sim->now_us % SIM_MS));
    va_list args;

    va_start(args, fmt);
    vsnprintf(line + used, SIM_LINE_LEN - (size_t)used, fmt, args);
    va_end(args);
    if (sim->options.verbose) {
        fprintf(stderr, "%s\n", line);
    }
}

void
sim_fail(struct sim *sim, const char *fmt, ...)
{
    char why[sizeof(sim->why)];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    sim_trace(sim, "FAILED: %s", why);
    if (!sim->failed) {
        sim->failed = true;
        memcpy(sim->why, why, sizeof(why));
    }
}

bool
sim_failed(const struct sim *sim, const char **why)
{
    *why = sim->why;
    return sim->failed;
}

/* ------------------------------------------------------------------ dice */

bool
sim_chance(struct sim *sim, uint32_t per_10000)
{
    return sim->faults && per_10000 > 0 && an_rng_below(&sim->rng, 10000) < per_10000;
}

uint64_t
sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
    return low + an_rng_below(&sim->rng, high - low + 1);
}

/* ------------------------------------------------------------------ the queue */

static bool
before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void
sim_at(struct sim *sim, uint64_t at_us, sim_event_f *run, void *arg, uint64_t number)
{
    size_t at = sim->heap_count++;
    struct sim_event event = {at_us < sim->now_us ? sim->now_us : at_us, sim->order++,
                              run, arg, number};

    sim->heap = sim_grow(sim->heap, &sim->heap_cap, sim->heap_count, sizeof(event));
    while (at > 0 && before(&event, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = event;
}

static struct sim_event
pop(struct sim *sim)
{
    struct sim_event first = sim->heap[0];
    struct sim_event last = sim->heap[--sim->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= sim->heap_count) {
            break;
        }
        if (child + 1 < sim->heap_count &&
            before(&sim->heap[child + 1], &sim->heap[child])) {
            child++;
        }
        if (!before(&sim->heap[child], &last)) {
            break;
        }
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    sim->heap[at] = last;
    return first;
}

bool
sim_run_until(struct sim *sim, uint64_t until_ms, bool (*done)(void *ctx), void *ctx)
{
    while (!sim->failed) {
        struct sim_event event;

        if (done != NULL && done(ctx)) {
            return true;
        }
        if (sim->heap_count == 0) {
            break;
        }
        if (sim->heap[0].at_us > until_ms * SIM_MS) {
            sim->now_us = until_ms * SIM_MS;
            break;
        }
        event = pop(sim);
        sim->now_us = event.at_us;
        sim->events++;
        sim_mix_u64(sim, event.at_us);
        sim_mix_u64(sim, event.order);
        event.run(sim, event.arg, event.number);
    }
    return !sim->failed && done != NULL && done(ctx);
}

uint64_t
sim_now_ms(const struct sim *sim)
{
    return sim->now_us / SIM_MS;
}

uint64_t
sim_hash(const struct sim *sim)
{
    return sim->hash;
}

/* ------------------------------------------------------------------ life */

struct sim *
sim_create(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof(*sim));

    if (sim == NULL) {
        return NULL;
    }
    sim->ring = calloc(SIM_RING_LINES, sizeof(*sim->ring));
    if (sim->ring == NULL) {
        free(sim);
        return NULL;
    }
    sim->options = *options;
    sim->hash = 0xcbf29ce484222325u;
    sim->plan = (struct sim_plan){.gates = 1,
                                  .routers = 1,
                                  .sequencers = 1,
                                  .stores = 1,
                                  .idgens = 1,
                                  .latency_us = 100};
    sim->bug_left = UINT64_MAX;
    an_rng_seed(&sim->rng, options->seed);
    an_rng_seed(&sim->shape_rng, options->seed * 0x9e3779b97f4a7c15u + 1);
    return sim;
}

void
sim_start(struct sim *sim)
{
    for (unsigned i = 0; i < sim->process_count; i++) {
        sim_process_begin(sim, i, sim_between(sim, 0, 20));
    }
}

void
sim_destroy(struct sim *sim)
{
    if (sim == NULL) {
        return;
    }
    sim->finished = true;
    sim_hosts_fini(sim);
    sim_net_fini(sim);
    sim_door_fini(sim);
    sim_watch_fini(sim);
    for (size_t i = 0; i < sim->heap_count; i++) {
        free(sim->heap[i].arg);
    }
    free(sim->heap);
    free(sim->ring);
    free(sim);
}
