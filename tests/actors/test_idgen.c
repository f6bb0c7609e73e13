/* The id generator against a register store in memory: uniqueness over kills, clock steps
 * and rivals, waiting, segments. */
#include "actors/idgen/idgen.h"
#include "core/rng.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "tests/actors/harness.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ a register store */

struct cell {
    char name[80];
    uint64_t version;
    uint8_t value[64];
    size_t value_len;
};

struct registers {
    struct cell cells[8];
    size_t count;
};

static struct cell *
cell_of(struct registers *regs, const ProtobufCBinaryData *name)
{
    for (size_t i = 0; i < regs->count; i++) {
        if (strlen(regs->cells[i].name) == name->len &&
            memcmp(regs->cells[i].name, name->data, name->len) == 0) {
            return &regs->cells[i];
        }
    }
    assert_true(regs->count < 8);
    assert_true(name->len < sizeof(regs->cells[0].name));
    memcpy(regs->cells[regs->count].name, name->data, name->len);
    return &regs->cells[regs->count++];
}

/* Does what the ask says; the answer is *done, whose value points into the store. */
static void
apply(struct registers *regs, const struct harness_effect *ask, Anser__Bus__CasDone *done)
{
    const Anser__Bus__Cas *cas = harness_body(ask);
    struct cell *cell = cell_of(regs, &cas->name);

    assert_int_equal(cas->slot, an_slot_register(cas->name.data, cas->name.len));
    anser__bus__cas_done__init(done);
    if (cas->value.len > 0 && cas->expect_version == cell->version) {
        cell->version++;
        cell->value_len = cas->value.len;
        memcpy(cell->value, cas->value.data, cas->value.len);
        done->swapped = true;
    }
    done->version = cell->version;
    done->value = (ProtobufCBinaryData){cell->value_len, cell->value};
}

static bool
pump_one(struct harness *h, struct registers *regs)
{
    const struct harness_effect *ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_CAS);
    Anser__Bus__CasDone done;

    if (ask == NULL) {
        return false;
    }
    apply(regs, ask, &done);
    harness_answer(h, ask, AN_OK, &done.base);
    return true;
}

static void
pump(struct harness *h, struct registers *regs)
{
    while (pump_one(h, regs)) {
    }
}

/* ------------------------------------------------------------------ an instance */

static struct an_topology topology;

static struct harness *
instance(uint64_t seed, uint16_t worker)
{
    struct idgen_cfg cfg = {.topology = &topology, .seed = seed, .worker = worker};
    struct an_actor *actor = NULL;
    struct harness *h;

    assert_int_equal(idgen_create(&actor, &cfg), AN_OK);
    h = harness_create(actor);
    harness_start(h);
    return h;
}

static struct harness *
started(struct registers *regs, uint64_t seed, uint16_t worker)
{
    struct harness *h = instance(seed, worker);

    pump(h, regs);
    assert_non_null(harness_take(h, AN_EFFECT_READY));
    return h;
}

static unsigned
register_slot(uint16_t worker)
{
    struct harness *h = instance(1, worker);
    const struct harness_effect *ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_CAS);
    unsigned slot;

    assert_non_null(ask);
    slot = ((const Anser__Bus__Cas *)harness_body(ask))->slot;
    assert_true(slot < AN_SLOTS);
    harness_destroy(h);
    return slot;
}

/* One store of two, four or eight dies: the others hold registers, whatever their number.
 */
static void
test_idgen_registers_of_workers_lie_apart(void **state)
{
    (void)state;
    for (unsigned stores = 2; stores <= 8; stores *= 2) {
        unsigned seen = 0;
        for (uint16_t worker = 0; worker < stores; worker++) {
            seen |= 1u << register_slot(worker) / (AN_SLOTS / stores);
        }
        assert_int_equal(seen, (1u << stores) - 1);
    }
    assert_int_equal(register_slot(0),
                     an_slot_register((const uint8_t *)"idgen/worker/0", 14));
}

static const struct an_addr seq0 = {AN_ROLE_SEQUENCER, 0};

static uint64_t
ask_ids(struct harness *h, uint32_t count)
{
    Anser__Bus__TakeIds take = ANSER__BUS__TAKE_IDS__INIT;

    take.count = count;
    return harness_request(h, seq0, AN_KIND_TAKE_IDS, &take.base);
}

/* The ids of an answer, into out; how many. */
static size_t
expand(const struct harness_effect *reply, uint64_t *out)
{
    const Anser__Bus__TakenIds *taken = harness_body(reply);
    size_t n = 0;

    for (size_t r = 0; r < taken->n_runs; r++) {
        const Anser__Bus__IdRun *run = taken->runs[r];

        assert_int_equal(run->prefix & 4095, 0);
        assert_int_equal(run->stride & 1, 1);
        for (uint32_t i = 0; i < run->count; i++) {
            out[n++] = run->prefix | ((run->start + i * run->stride) % 4096);
        }
    }
    return n;
}

static enum an_err
reply_err(struct harness *h, uint64_t request)
{
    const struct harness_effect *reply = harness_reply(h, request);

    assert_non_null(reply);
    return reply->e.err;
}

static int
compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static size_t
repeats(uint64_t *ids, size_t count)
{
    size_t n = 0;

    qsort(ids, count, sizeof(*ids), compare);
    for (size_t i = 1; i < count; i++) {
        n += ids[i] == ids[i - 1];
    }
    return n;
}

static uint64_t
id_ms(uint64_t id)
{
    return id >> 22;
}

/* ------------------------------------------------------------------ message ids */

static void
test_idgen_not_reserved_yet_is_not_ready_and_waits(void **state)
{
    struct registers regs = {0};
    struct harness *h = instance(1, 7);
    uint64_t ids[10];
    uint64_t request = ask_ids(h, 10);

    (void)state;
    assert_true(pump_one(h, &regs)); /* the read */
    assert_null(harness_take(h, AN_EFFECT_READY));
    assert_null(harness_reply(h, request));
    assert_true(pump_one(h, &regs)); /* the reservation */
    assert_non_null(harness_take(h, AN_EFFECT_READY));
    assert_int_equal(expand(harness_reply(h, request), ids), 10);
    assert_int_equal(ids[0] >> 12 & 1023, 7);
    assert_int_equal(id_ms(ids[0]), harness_now(h).wall_ms - IDGEN_EPOCH_MS);
    assert_int_equal(repeats(ids, 10), 0);
    harness_destroy(h);
}

static void
test_idgen_i1_ten_million_over_kills_repeats_none(void **state)
{
    enum { TOTAL = 10000000, WORKERS = 4, KILLS = 20 };
    uint64_t *ids = malloc((TOTAL + 16384) * sizeof(*ids));
    struct registers regs = {0};
    struct harness *workers[WORKERS];
    struct an_rng rng;
    size_t n = 0, kills = 0;

    (void)state;
    assert_non_null(ids);
    an_rng_seed(&rng, 42);
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = started(&regs, 100 + i, (uint16_t)i);
    }
    while (n < TOTAL) {
        size_t i = an_rng_below(&rng, WORKERS);
        struct harness *h = workers[i];
        uint64_t request = ask_ids(h, 1 + (uint32_t)an_rng_below(&rng, 16384));

        if (n >= (kills + 1) * (TOTAL / (KILLS + 1))) {
            /* kill -9, perhaps with a reservation on its way; the clock stands still or
             * went back, which is the worst for a successor */
            kills++;
            harness_destroy(h);
            workers[i] = started(&regs, 1000 + kills, (uint16_t)i);
            harness_wall(workers[i], -(int64_t)an_rng_below(&rng, 3600000));
            continue;
        }
        pump(h, &regs);
        n += expand(harness_reply(h, request), ids + n);
        harness_forget(h);
        harness_advance(h, an_rng_below(&rng, 4));
        pump(h, &regs);
    }
    assert_int_equal(kills, KILLS);
    assert_int_equal(repeats(ids, n), 0);
    for (size_t i = 0; i < WORKERS; i++) {
        harness_destroy(workers[i]);
    }
    free(ids);
}

static void
test_idgen_i5_ids_of_one_block_are_never_neighbours(void **state)
{
    enum { BLOCKS = 20000, COUNT = 4 };
    struct registers regs = {0};
    struct harness *h = started(&regs, 5, 0);
    size_t neighbours = 0;

    (void)state;
    for (int i = 0; i < BLOCKS; i++) {
        uint64_t request = ask_ids(h, COUNT), ids[COUNT];

        pump(h, &regs);
        assert_int_equal(expand(harness_reply(h, request), ids), COUNT);
        for (int n = 1; n < COUNT; n++) {
            neighbours += ids[n] == ids[n - 1] + 1 || ids[n] + 1 == ids[n - 1];
        }
        harness_forget(h);
        harness_advance(h, 1);
        pump(h, &regs);
    }
    assert_int_equal(neighbours, 0);
    harness_destroy(h);
}

static void
test_idgen_i1_clock_back_an_hour_time_goes_on(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);
    uint64_t ids[2000];
    size_t n = expand(harness_reply(h, ask_ids(h, 1000)), ids);
    uint64_t before = id_ms(ids[0]);

    (void)state;
    harness_wall(h, -3600000);
    harness_advance(h, 1000);
    pump(h, &regs);
    n += expand(harness_reply(h, ask_ids(h, 1000)), ids + n);
    assert_int_equal(id_ms(ids[1000]), before + 1000);
    assert_int_equal(harness_metric(h, "ahead_ms"), 3600000);
    assert_int_equal(repeats(ids, n), 0);
    harness_destroy(h);
}

static void
test_idgen_i1_restart_with_clock_back_starts_above(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);
    uint64_t last, ids[1];

    (void)state;
    expand(harness_reply(h, ask_ids(h, 1)), ids);
    last = ids[0];
    harness_destroy(h);
    h = instance(1, 0); /* even with the same seed */
    harness_wall(h, -3600000);
    pump(h, &regs);
    expand(harness_reply(h, ask_ids(h, 1)), ids);
    assert_true(id_ms(ids[0]) >= id_ms(last) + AN_ID_RESERVE_MS);
    harness_destroy(h);
}

static void
test_idgen_i1_two_instances_one_worker_first_is_refused(void **state)
{
    struct registers regs = {0};
    struct harness *a = started(&regs, 1, 5);
    struct harness *b = started(&regs, 2, 5);
    uint64_t *ids = malloc(20000 * sizeof(*ids));
    enum an_err err = AN_OK;
    size_t n = 0;

    (void)state;
    assert_non_null(ids);
    for (int i = 0; i < 100 && err == AN_OK; i++) {
        uint64_t ra = ask_ids(a, 100), rb = ask_ids(b, 100);

        pump(a, &regs);
        pump(b, &regs);
        n += expand(harness_reply(b, rb), ids + n);
        err = reply_err(a, ra);
        if (err == AN_OK) {
            n += expand(harness_reply(a, ra), ids + n);
        }
        harness_advance(a, 100);
        harness_advance(b, 100);
    }
    assert_int_equal(err, AN_ERR_WORKER_TAKEN);
    assert_int_equal(reply_err(a, ask_ids(a, 1)), AN_ERR_WORKER_TAKEN);
    assert_int_equal(reply_err(b, ask_ids(b, 1)), AN_OK);
    assert_null(harness_take(a, AN_EFFECT_FAILED)); /* it owned the number once */
    assert_int_equal(repeats(ids, n), 0);
    harness_destroy(a);
    harness_destroy(b);
    free(ids);
}

static void
test_idgen_loses_the_first_claim_fails(void **state)
{
    struct registers regs = {0};
    struct harness *a = instance(1, 5);
    struct harness *b = instance(2, 5);
    uint64_t request = ask_ids(a, 1);

    (void)state;
    assert_true(pump_one(a, &regs)); /* both have read, neither has swapped */
    assert_true(pump_one(b, &regs));
    pump(b, &regs);
    pump(a, &regs);
    assert_int_equal(reply_err(a, request), AN_ERR_WORKER_TAKEN);
    assert_int_equal(harness_take(a, AN_EFFECT_FAILED)->e.err, AN_ERR_WORKER_TAKEN);
    assert_null(harness_take(a, AN_EFFECT_READY));
    assert_non_null(harness_take(b, AN_EFFECT_READY));
    harness_destroy(a);
    harness_destroy(b);
}

static void
test_idgen_reserves_ahead_so_that_takers_do_not_wait(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(reply_err(h, ask_ids(h, 1)), AN_OK); /* before any pumping */
        harness_advance(h, 97);
        pump(h, &regs);
        harness_forget(h);
    }
    assert_true(harness_metric(h, "reservations_total") <= 9);
    harness_destroy(h);
}

static void
test_idgen_idle_reserves_nothing_and_waits_once(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);
    uint64_t reservations, request;

    (void)state;
    for (int i = 0; i < 600; i++) {
        harness_advance(h, 100);
        pump(h, &regs);
    }
    reservations = harness_metric(h, "reservations_total");
    for (int i = 0; i < 600; i++) {
        harness_advance(h, 100);
        pump(h, &regs);
    }
    assert_int_equal(harness_metric(h, "reservations_total"), reservations);
    request = ask_ids(h, 1);
    assert_null(harness_reply(h, request));
    pump(h, &regs);
    assert_int_equal(reply_err(h, request), AN_OK);
    harness_destroy(h);
}

static void
test_idgen_store_timeout_outcome_unknown_is_read_again(void **state)
{
    struct registers regs = {0};
    struct harness *h = instance(1, 0);
    const struct harness_effect *ask;
    Anser__Bus__CasDone done;
    uint64_t request = ask_ids(h, 1), ids[1];

    (void)state;
    assert_true(pump_one(h, &regs));
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_CAS);
    apply(&regs, ask, &done); /* it happened, but nobody says so */
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    assert_null(harness_reply(h, request));
    harness_advance(h, 1000);
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_CAS);
    assert_int_equal(((const Anser__Bus__Cas *)harness_body(ask))->value.len, 0);
    apply(&regs, ask, &done);
    harness_answer(h, ask, AN_OK, &done.base);
    pump(h, &regs);
    assert_int_equal(expand(harness_reply(h, request), ids), 1);
    assert_int_equal(harness_metric(h, "store_errors_total"), 1);
    harness_destroy(h);
}

/* A store restored from a copy knows less than was issued since. */
static void
test_idgen_register_put_back_in_time_repeats_no_id(void **state)
{
    struct registers regs = {0}, copy = regs;
    struct harness *h = started(&regs, 1, 0);
    uint64_t ids[600];
    size_t count = 0;

    (void)state;
    copy = regs;
    for (unsigned i = 0; i < 60; i++) {
        uint64_t request = ask_ids(h, 10);

        if (i == 30) {
            regs = copy;
        } else if (i == 45) {
            regs = (struct registers){0};
        }
        harness_drain(h);
        harness_wall(h, -500); /* logical time goes on all the same */
        harness_advance(h, 500);
        pump(h, &regs);
        count += expand(harness_reply(h, request), ids + count);
    }
    assert_int_equal(count, 600);
    assert_int_equal(repeats(ids, count), 0);
    harness_destroy(h);
}

static void
test_idgen_register_of_an_impossible_time_stops_it(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);

    (void)state;
    harness_destroy(h);
    memset(regs.cells[0].value + 9, 0xff, 8);
    h = instance(2, 0);
    pump(h, &regs);
    assert_non_null(harness_take(h, AN_EFFECT_FAILED));
    harness_destroy(h);
}

static void
test_idgen_expired_ask_is_answered_expired(void **state)
{
    struct harness *h = instance(1, 0);
    struct registers regs = {0};
    uint64_t request = ask_ids(h, 1);

    (void)state;
    harness_advance(h, AN_ASK_MS);
    pump(h, &regs);
    assert_int_equal(reply_err(h, request), AN_ERR_EXPIRED);
    harness_destroy(h);
}

static void
test_idgen_count_out_of_range_is_refused(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);

    (void)state;
    assert_int_equal(reply_err(h, ask_ids(h, 0)), AN_ERR_ARGUMENT);
    assert_int_equal(reply_err(h, ask_ids(h, 16385)), AN_ERR_ARGUMENT);
    harness_destroy(h);
}

static void
test_idgen_too_many_waiting_answers_busy(void **state)
{
    struct harness *h = instance(1, 0);

    (void)state;
    for (int i = 0; i < 1024; i++) {
        ask_ids(h, 1);
    }
    assert_int_equal(reply_err(h, ask_ids(h, 1)), AN_ERR_BUSY);
    harness_destroy(h);
}

static void
test_idgen_stop_refuses_and_stops(void **state)
{
    struct harness *h = instance(1, 0);
    uint64_t request = ask_ids(h, 1);

    (void)state;
    harness_stop(h);
    assert_int_equal(reply_err(h, request), AN_ERR_SHUTTING_DOWN);
    assert_int_equal(reply_err(h, ask_ids(h, 1)), AN_ERR_SHUTTING_DOWN);
    assert_non_null(harness_take(h, AN_EFFECT_STOPPED));
    harness_destroy(h);
}

static void
test_idgen_worker_out_of_range_is_refused(void **state)
{
    struct idgen_cfg cfg = {.topology = &topology, .worker = 1024};
    struct an_actor *actor = NULL;

    (void)state;
    assert_int_equal(idgen_create(&actor, &cfg), AN_ERR_ARGUMENT);
    assert_null(actor);
}

/* One id a second: every low-bit class is equally likely. Chi-square over 256 classes has
 * 255 degrees of freedom: 99.9 % lie below 330.5. */
static void
test_idgen_i4_one_a_second_low_bits_are_uniform(void **state)
{
    enum { COUNT = 25600, CLASSES = 256 };
    static unsigned seen[CLASSES];
    struct registers regs = {0};
    struct harness *h = started(&regs, 12345, 0);
    uint64_t previous = 0, consecutive = 0;
    double chi = 0;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        uint64_t request = ask_ids(h, 1), id;

        pump(h, &regs);
        assert_int_equal(expand(harness_reply(h, request), &id), 1);
        seen[id % CLASSES]++;
        consecutive += id == previous + 1;
        previous = id;
        harness_forget(h);
        harness_advance(h, 1000);
        pump(h, &regs);
    }
    for (int i = 0; i < CLASSES; i++) {
        double off = (double)seen[i] - (double)COUNT / CLASSES;
        chi += off * off / ((double)COUNT / CLASSES);
    }
    assert_true(chi < 330.5);
    assert_true(chi > 190); /* and not suspiciously even: 99.9 % lie above */
    assert_int_equal(consecutive, 0);
    harness_destroy(h);
}

static void
test_idgen_inspect_state_names_the_worker(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 9);

    (void)state;
    assert_non_null(strstr(harness_inspect(h, "state"), "\"worker\":9"));
    assert_null(harness_inspect(h, "nonsense"));
    harness_destroy(h);
}

/* ------------------------------------------------------------------ segments */

static uint64_t
ask_segment(struct harness *h, const char *name, uint32_t count)
{
    Anser__Bus__TakeSegment take = ANSER__BUS__TAKE_SEGMENT__INIT;
    uint8_t *copy = (uint8_t *)strdup(name);
    uint64_t request;

    take.name = (ProtobufCBinaryData){strlen(name), copy};
    take.count = count;
    request = harness_request(h, seq0, AN_KIND_TAKE_SEGMENT, &take.base);
    free(copy);
    return request;
}

static uint64_t
segment_first(struct harness *h, uint64_t request, uint32_t count)
{
    const struct harness_effect *reply = harness_reply(h, request);
    const Anser__Bus__TakenSegment *taken = harness_body(reply);

    assert_int_equal(taken->count, count);
    return taken->first;
}

static void
test_idgen_i2_segments_over_restarts_reuse_none(void **state)
{
    struct registers regs = {0};
    struct an_rng rng;
    uint64_t next = 1, request;

    (void)state;
    an_rng_seed(&rng, 7);
    for (int restart = 0; restart < 20; restart++) {
        struct harness *h = started(&regs, 50 + (uint64_t)restart, 0);

        for (int i = 0; i < 50; i++) {
            uint32_t count = 1 + (uint32_t)an_rng_below(&rng, 100);

            request = ask_segment(h, "user", count);
            pump(h, &regs);
            assert_true(segment_first(h, request, count) >= next);
            next = segment_first(h, request, count) + count;
        }
        ask_segment(h, "user", 200); /* dies with a lease on its way */
        harness_destroy(h);
    }
}

static void
test_idgen_segment_first_number_is_one_and_leases_are_few(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);

    (void)state;
    for (uint64_t i = 1; i <= AN_ID_SEGMENT; i++) {
        uint64_t request = ask_segment(h, "user", 1);

        pump(h, &regs);
        assert_int_equal(segment_first(h, request, 1), i);
    }
    assert_int_equal(harness_metric(h, "segment_leases_total"), 1);
    harness_destroy(h);
}

static void
test_idgen_segment_shared_by_two_generators_overlaps_never(void **state)
{
    struct registers regs = {0};
    struct harness *h[2] = {started(&regs, 1, 0), started(&regs, 2, 1)};
    uint64_t *numbers = malloc(2000 * sizeof(*numbers));

    (void)state;
    assert_non_null(numbers);
    for (size_t i = 0; i < 1000; i++) {
        uint64_t ra = ask_segment(h[0], "user", 1), rb = ask_segment(h[1], "user", 1);

        pump(h[i % 2], &regs);
        pump(h[(i + 1) % 2], &regs);
        numbers[2 * i] = segment_first(h[0], ra, 1);
        numbers[2 * i + 1] = segment_first(h[1], rb, 1);
    }
    assert_int_equal(repeats(numbers, 2000), 0);
    harness_destroy(h[0]);
    harness_destroy(h[1]);
    free(numbers);
}

static void
test_idgen_segment_names_are_apart_checked_and_bounded(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);
    uint64_t a = ask_segment(h, "user", 5), b = ask_segment(h, "group", 5);
    char name[16];

    (void)state;
    pump(h, &regs);
    assert_int_equal(segment_first(h, a, 5), 1);
    assert_int_equal(segment_first(h, b, 5), 1);
    assert_int_equal(reply_err(h, ask_segment(h, "", 1)), AN_ERR_ARGUMENT);
    assert_int_equal(reply_err(h, ask_segment(h, "Us/er", 1)), AN_ERR_ARGUMENT);
    assert_int_equal(reply_err(h, ask_segment(h, "user", 0)), AN_ERR_ARGUMENT);
    for (int i = 0; i < 14; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        ask_segment(h, name, 1);
    }
    assert_int_equal(reply_err(h, ask_segment(h, "one-too-many", 1)), AN_ERR_FULL);
    harness_destroy(h);
}

static void
test_idgen_i2_segment_lease_lost_in_a_timeout_is_skipped(void **state)
{
    struct registers regs = {0};
    struct harness *h = started(&regs, 1, 0);
    uint64_t request = ask_segment(h, "user", 1);
    const struct harness_effect *ask;
    Anser__Bus__CasDone done;

    (void)state;
    assert_true(pump_one(h, &regs));
    ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_CAS);
    apply(&regs, ask, &done);
    harness_answer(h, ask, AN_ERR_TIMEOUT, NULL);
    harness_advance(h, 1000);
    pump(h, &regs);
    assert_int_equal(segment_first(h, request, 1), 1 + AN_ID_SEGMENT);
    harness_destroy(h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idgen_registers_of_workers_lie_apart),
        cmocka_unit_test(test_idgen_not_reserved_yet_is_not_ready_and_waits),
        cmocka_unit_test(test_idgen_i1_ten_million_over_kills_repeats_none),
        cmocka_unit_test(test_idgen_i5_ids_of_one_block_are_never_neighbours),
        cmocka_unit_test(test_idgen_i1_clock_back_an_hour_time_goes_on),
        cmocka_unit_test(test_idgen_i1_restart_with_clock_back_starts_above),
        cmocka_unit_test(test_idgen_i1_two_instances_one_worker_first_is_refused),
        cmocka_unit_test(test_idgen_loses_the_first_claim_fails),
        cmocka_unit_test(test_idgen_reserves_ahead_so_that_takers_do_not_wait),
        cmocka_unit_test(test_idgen_idle_reserves_nothing_and_waits_once),
        cmocka_unit_test(test_idgen_store_timeout_outcome_unknown_is_read_again),
        cmocka_unit_test(test_idgen_register_put_back_in_time_repeats_no_id),
        cmocka_unit_test(test_idgen_register_of_an_impossible_time_stops_it),
        cmocka_unit_test(test_idgen_expired_ask_is_answered_expired),
        cmocka_unit_test(test_idgen_count_out_of_range_is_refused),
        cmocka_unit_test(test_idgen_too_many_waiting_answers_busy),
        cmocka_unit_test(test_idgen_stop_refuses_and_stops),
        cmocka_unit_test(test_idgen_worker_out_of_range_is_refused),
        cmocka_unit_test(test_idgen_i4_one_a_second_low_bits_are_uniform),
        cmocka_unit_test(test_idgen_inspect_state_names_the_worker),
        cmocka_unit_test(test_idgen_i2_segments_over_restarts_reuse_none),
        cmocka_unit_test(test_idgen_segment_first_number_is_one_and_leases_are_few),
        cmocka_unit_test(test_idgen_segment_shared_by_two_generators_overlaps_never),
        cmocka_unit_test(test_idgen_segment_names_are_apart_checked_and_bounded),
        cmocka_unit_test(test_idgen_i2_segment_lease_lost_in_a_timeout_is_skipped),
    };

    an_topology_single(&topology);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
