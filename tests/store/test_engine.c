/* The battery every engine must pass: appending, fencing, reading. Built once for each
 * engine (RIG_KIND). */
#include "tests/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
test_engine_append_is_read_at_once(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_put(rig, "a", "1"), AN_OK);
    assert_int_equal(rig_put(rig, "b", ""), AN_OK);
    assert_string_equal(rig_query(rig, "a", NULL, 1, false), "a=1");
    assert_string_equal(rig_query(rig, "", "z", 10, false), "a=1 b=");
    assert_string_equal(rig_query(rig, "c", NULL, 1, false), "");
}

static void
test_engine_read_merges_overlay_over_base(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_put(rig, "a", "base"), AN_OK);
    assert_int_equal(rig_put(rig, "b", "base"), AN_OK);
    assert_int_equal(rig_put(rig, "d", "base"), AN_OK);
    engine_apply_now(rig->engine);
    assert_int_equal(rig_stats(rig).overlay_rows, 0);
    assert_int_equal(rig_put(rig, "b", NULL), AN_OK);
    assert_int_equal(rig_put(rig, "c", "over"), AN_OK);
    assert_int_equal(rig_put(rig, "d", "over"), AN_OK);
    assert_string_equal(rig_query(rig, "", "z", 10, false), "a=base c=over d=over");
    assert_string_equal(rig_query(rig, "", "z", 10, true), "d=over c=over a=base");
    assert_string_equal(rig_query(rig, "b", NULL, 1, false), "");
    assert_string_equal(rig_query(rig, "b", "d", 10, false), "c=over");
    assert_string_equal(rig_query(rig, "a", "d", 10, true), "c=over a=base");
    engine_apply_now(rig->engine);
    assert_string_equal(rig_query(rig, "", "z", 10, true), "d=over c=over a=base");
}

static void
test_engine_read_limits_say_more(void **state)
{
    struct rig *rig = *state;

    for (int i = 0; i < 9; i++) {
        char key[2] = {(char)('a' + i), 0};
        assert_int_equal(rig_put(rig, key, "v"), AN_OK);
        if (i == 4) {
            engine_apply_now(rig->engine);
        }
    }
    assert_string_equal(rig_query(rig, "b", "z", 3, false), "b=v c=v d=v...");
    assert_string_equal(rig_query(rig, "b", "e", 3, false), "b=v c=v d=v");
    assert_string_equal(rig_query(rig, "", "z", 2, true), "i=v h=v...");
    assert_string_equal(rig_query(rig, "x", "b", 2, true), "");
}

struct sizes {
    size_t counts[2];
    bool more[2];
    bool done;
};

static void
take_sizes(void *ctx, enum an_err err, const struct engine_answer *answers, size_t count)
{
    struct sizes *out = ctx;

    assert_int_equal(err, AN_OK);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < 2; i++) {
        out->counts[i] = answers[i].item_count;
        out->more[i] = answers[i].more;
    }
    out->done = true;
}

static void
test_engine_read_bytes_max_lets_first_item_through(void **state)
{
    struct rig *rig = *state;
    struct engine_row low = rig_row("a", NULL);
    struct engine_row high = rig_row("z", NULL);
    struct engine_query queries[2] = {
        {.first = low.key, .end = high.key, .items_max = 10, .bytes_max = 1},
        {.first = low.key, .end = high.key, .items_max = 10, .bytes_max = 10},
    };
    struct sizes out = {0};

    assert_int_equal(rig_put(rig, "a", "12"), AN_OK);
    assert_int_equal(rig_put(rig, "b", "12"), AN_OK);
    assert_int_equal(rig_put(rig, "c", "12"), AN_OK);
    engine_read(rig->engine, queries, 2, take_sizes, &out);
    rig_run_jobs(rig);
    assert_true(out.done);
    assert_int_equal(out.counts[0], 1);
    assert_int_equal(out.counts[1], 2);
    assert_true(out.more[0] && out.more[1]);
}

static void
test_engine_read_overlay_alone_completes_in_the_call(void **state)
{
    struct rig *rig = *state;

    rig->manual = true;
    assert_int_equal(rig_put(rig, "a", "1"), AN_OK);
    assert_int_equal(rig_put(rig, "b", NULL), AN_OK);
    rig_run_jobs(rig);
    assert_string_equal(rig_query(rig, "a", NULL, 1, false), "a=1");
    assert_string_equal(rig_query(rig, "b", NULL, 1, false), "");
    assert_int_equal(rig_stats(rig).reads_overlay_only, 2);
    assert_string_equal(rig_query(rig, "c", NULL, 1, false), "");
    assert_int_equal(rig_stats(rig).reads_overlay_only, 2);
}

struct late_read {
    struct rig *rig;
    char text[256];
    bool done;
};

static void
take_late(void *ctx, enum an_err err, const struct engine_answer *answers, size_t count)
{
    struct late_read *out = ctx;
    size_t len = 0;

    assert_int_equal(err, AN_OK);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < answers[i].item_count; j++) {
            const struct engine_item *item = &answers[i].items[j];
            len += (size_t)snprintf(out->text + len, sizeof out->text - len, "%.*s ",
                                    (int)item->value.len, (const char *)item->value.data);
        }
    }
    out->done = true;
}

/* A read that begins, is overtaken by appends and whole applies, and only then runs. */
static void
test_engine_read_sees_the_moment_it_began(void **state)
{
    struct rig *rig = *state;
    struct late_read out = {.rig = rig};
    struct engine_row low = rig_row("", NULL);
    struct engine_row high = rig_row("z", NULL);
    struct engine_query query = {.first = low.key, .end = high.key, .items_max = 10};

    assert_int_equal(rig_put(rig, "a", "a1"), AN_OK);
    engine_apply_now(rig->engine);
    assert_int_equal(rig_put(rig, "b", "b1"), AN_OK);
    rig->manual = true;
    engine_read(rig->engine, &query, 1, take_late, &out);
    assert_int_equal(rig_put(rig, "a", NULL), AN_OK);
    assert_int_equal(rig_put(rig, "b", "b2"), AN_OK);
    assert_int_equal(rig_put(rig, "c", "c2"), AN_OK);
    engine_apply_now(rig->engine);
    while (rig_run_one(rig, AN_LANE_APPLY)) {
    }
    assert_int_equal(rig_stats(rig).overlay_rows, 0);
    assert_int_equal(rig_put(rig, "d", "d3"), AN_OK);
    assert_false(out.done);
    rig_run_jobs(rig);
    assert_true(out.done);
    assert_string_equal(out.text, "a1 b1 ");
    assert_string_equal(rig_query(rig, "", "z", 9, false), "b=b2 c=c2 d=d3");
}

static void
test_engine_read_while_an_apply_waits_and_runs(void **state)
{
    struct rig *rig = *state;

    rig->manual = true;
    assert_int_equal(rig_put(rig, "a", "1"), AN_OK);
    engine_apply_now(rig->engine);
    assert_int_equal(rig_put(rig, "b", "2"), AN_OK);
    assert_string_equal(rig_query(rig, "", "z", 9, false), "a=1 b=2");
    assert_int_equal(rig_stats(rig).overlay_generations, 2);
    rig_run_jobs(rig);
    assert_int_equal(rig_stats(rig).overlay_generations, 1);
    assert_string_equal(rig_query(rig, "", "z", 9, false), "a=1 b=2");
}

static void
test_engine_fence_stale_or_unknown_refuses_the_whole_batch(void **state)
{
    struct rig *rig = *state;
    struct engine_row row = rig_row("a", "1");
    uint8_t other_key[3] = {0, 8, 'x'};
    struct engine_row other = {ENGINE_PUT, {other_key, 3}, {other_key, 1}};
    uint64_t fence8;
    uint64_t newer;

    assert_int_equal(engine_open_slot(rig->engine, 8, &fence8), AN_OK);
    struct engine_group groups[2] = {{8, fence8, &other, 1},
                                     {RIG_SLOT, rig->fence + 99, &row, 1}};
    assert_int_equal(rig_append(rig, groups, 2), AN_ERR_FENCED);
    groups[1].fence = fence8; /* valid, but of another slot */
    assert_int_equal(rig_append(rig, groups, 2), AN_ERR_FENCED);
    assert_int_equal(engine_open_slot(rig->engine, RIG_SLOT, &newer), AN_OK);
    groups[1].fence = rig->fence;
    assert_int_equal(rig_append(rig, groups, 2), AN_ERR_FENCED);
    assert_int_equal(rig_stats(rig).refused_fenced, 3);
    assert_int_equal(rig_stats(rig).appends, 0);
    assert_string_equal(rig_query(rig, "", "z", 9, false), "");
    groups[1].fence = newer;
    assert_int_equal(rig_append(rig, groups, 2), AN_OK);
    assert_string_equal(rig_query(rig, "", "z", 9, false), "a=1");
    assert_int_equal(engine_open_slot(rig->engine, 512, &newer), AN_ERR_NOT_MINE);
}

static void
test_engine_same_key_in_one_batch_keeps_the_last(void **state)
{
    struct rig *rig = *state;
    struct engine_row rows[4] = {rig_row("a", "1"), rig_row("b", "1"), rig_row("a", NULL),
                                 rig_row("b", "2")};
    struct engine_group group = {RIG_SLOT, rig->fence, rows, 4};

    assert_int_equal(rig_append(rig, &group, 1), AN_OK);
    assert_string_equal(rig_query(rig, "", "z", 9, false), "b=2");
    engine_apply_now(rig->engine);
    assert_string_equal(rig_query(rig, "", "z", 9, false), "b=2");
}

static void
test_engine_apply_starts_by_rows_bytes_or_age(void **state)
{
    struct rig *rig = *state;
    static char large[65536];

    rig->manual = true;
    memset(large, 'x', 10000);
    assert_int_equal(rig_put(rig, "a", "1"), AN_OK);
    engine_tick(rig->engine, 1000);
    rig_run_jobs(rig);
    assert_int_equal(rig_stats(rig).applies, 0);
    engine_tick(rig->engine, 61000); /* its oldest row is a minute old */
    rig_run_jobs(rig);
    assert_int_equal(rig_stats(rig).applies, 1);
    for (int i = 0; i < 105; i++) { /* a megabyte */
        assert_int_equal(rig_put(rig, "a", large), AN_OK);
        while (rig_run_one(rig, AN_LANE_APPLY)) {
        }
    }
    engine_tick(rig->engine, 61001);
    rig_run_jobs(rig);
    assert_int_equal(rig_stats(rig).applies, 2);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rig_put(rig, "b", "2"), AN_OK);
    }
    engine_tick(rig->engine, 61002);
    rig_run_jobs(rig);
    assert_int_equal(rig_stats(rig).applies, 3);
    assert_int_equal(rig_stats(rig).overlay_rows, 0);
}

static void
test_engine_overlay_full_answers_busy_until_applied(void **state)
{
    struct rig *rig = *state;
    int err = AN_OK;
    int count = 0;

    rig->manual = true;
    while ((err = rig_put(rig, "a", "1")) == AN_OK) {
        count++;
        /* Segments are prepared, but no apply is started. */
        while (rig_run_one(rig, AN_LANE_APPLY)) {
        }
        assert_true(count <= 4000);
    }
    assert_int_equal(err, AN_ERR_BUSY);
    assert_int_equal(count, 4000);
    assert_int_equal(rig_stats(rig).refused_busy, 1);
    engine_tick(rig->engine, 5);
    rig_run_jobs(rig);
    assert_int_equal(rig_put(rig, "a", "2"), AN_OK);
    assert_string_equal(rig_query(rig, "a", NULL, 1, false), "a=2");
}

static void
test_engine_batch_longer_than_a_segment_is_refused(void **state)
{
    struct rig *rig = *state;
    static char large[40000];

    memset(large, 'x', sizeof large - 1);
    assert_int_equal(rig_put(rig, "a", large), AN_ERR_ARGUMENT);
    assert_string_equal(rig_query(rig, "", "z", 9, false), "");
    assert_int_equal(rig_put(rig, "a", "1"), AN_OK);
}

/* Thousands of versions of few keys, applied now and then, against a plain array. */
static void
test_engine_random_reads_agree_with_a_model(void **state)
{
    struct rig *rig = *state;
    char values[64][16] = {{0}};
    uint32_t random = 12345;

    for (unsigned step = 0; step < 4000; step++) {
        random = random * 1664525u + 1013904223u;
        unsigned at = random >> 26;
        char key[4] = {(char)('a' + at / 8), (char)('a' + at % 8), 0, 0};
        if ((random >> 20 & 3) == 0) {
            values[at][0] = '\0';
            assert_int_equal(rig_put(rig, key, NULL), AN_OK);
        } else {
            snprintf(values[at], sizeof values[at], "%u", step);
            assert_int_equal(rig_put(rig, key, values[at]), AN_OK);
        }
        if ((random >> 12 & 127) == 0) {
            engine_apply_now(rig->engine);
        }
        if ((random >> 8 & 7) != 0) {
            continue;
        }
        char want[2048] = "";
        size_t len = 0;
        bool reverse = random & 64;
        for (unsigned i = 0; i < 64; i++) {
            unsigned k = reverse ? 63 - i : i;
            if ((reverse ? k < at : k >= at) && values[k][0] != '\0') {
                len += (size_t)snprintf(want + len, sizeof want - len, "%s%c%c=%s",
                                        len > 0 ? " " : "", 'a' + k / 8, 'a' + k % 8,
                                        values[k]);
            }
        }
        const char *got = reverse ? rig_query(rig, "", key, 100, true)
                                  : rig_query(rig, key, "z", 100, false);
        assert_string_equal(got, want);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_engine_append_is_read_at_once),
        T(test_engine_read_merges_overlay_over_base),
        T(test_engine_read_limits_say_more),
        T(test_engine_read_bytes_max_lets_first_item_through),
        T(test_engine_read_overlay_alone_completes_in_the_call),
        T(test_engine_read_sees_the_moment_it_began),
        T(test_engine_read_while_an_apply_waits_and_runs),
        T(test_engine_fence_stale_or_unknown_refuses_the_whole_batch),
        T(test_engine_same_key_in_one_batch_keeps_the_last),
        T(test_engine_apply_starts_by_rows_bytes_or_age),
        T(test_engine_overlay_full_answers_busy_until_applied),
        T(test_engine_batch_longer_than_a_segment_is_refused),
        T(test_engine_random_reads_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
