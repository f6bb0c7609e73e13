/* The battery every engine must pass: power cuts, broken disks, damage. Built once for
 * each engine (RIG_KIND). */
#include "tests/store/rig.h"

#include "store/record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
put_model(struct rig *rig, uint64_t i)
{
    struct engine_row rows[MODEL_ROWS];
    struct engine_group group = {RIG_SLOT, rig->fence, rows, MODEL_ROWS};

    model_batch(i, rows);
    return rig_append(rig, &group, 1);
}

static void
put_models(struct rig *rig, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        assert_int_equal(put_model(rig, i), AN_OK);
    }
}

static void
segment_file(const struct rig *rig, unsigned number, char out[128])
{
    snprintf(out, 128, "%s/log/%016x.seg", rig->dir, number);
}

static void
test_recovery_reopened_engine_has_everything(void **state)
{
    struct rig *rig = *state;

    for (uint64_t round = 0; round < 6; round++) {
        put_models(rig, round * 10 + 1, round * 10 + 5);
        if (round % 2 == 1) {
            engine_apply_now(rig->engine);
        }
        put_models(rig, round * 10 + 6, round * 10 + 10);
        rig_close(rig);
        assert_int_equal(rig_open(rig), AN_OK);
        assert_int_equal(rig_stats(rig).replayed_records, round % 2 == 1 ? 5
                                                          : round == 0   ? 10
                                                                         : 15);
        assert_int_equal(model_check(rig), round * 10 + 10);
    }
}

/* One life on a disk whose power goes at changing operation `cut`; how many batches were
 * acknowledged. Jobs wait and run at fixed places, so that segments are prepared and
 * recycled, and applies run, between appends. */
static uint64_t
live_until(struct rig *rig, uint64_t cut, uint64_t from, uint64_t to)
{
    uint64_t ops;
    uint64_t acked = from - 1;

    files_sim_cut_power(rig->sim, cut);
    if (rig->engine == NULL && rig_open(rig) != AN_OK) {
        return acked;
    }
    for (uint64_t i = from; i <= to && files_sim_power(rig->sim, &ops); i++) {
        int err = put_model(rig, i);
        if (err == AN_ERR_BUSY) {
            rig_run_jobs(rig);
            i--;
            continue;
        }
        if (err != AN_OK) {
            break;
        }
        acked = i;
        if (i % 9 == 4) {
            engine_apply_now(rig->engine);
        }
        if (i % 9 == 7) {
            rig_run_jobs(rig);
        }
    }
    return acked;
}

/* The power cut at each changing operation of a life that spans several segments, then
 * again in the life after it. Every acknowledged batch is there, at most the one that was
 * under way is there beyond them, and never a part of one. */
static void
test_recovery_power_cut_at_every_operation(void **state)
{
    (void)state;
    struct rig whole = {0};
    uint64_t ops;

    rig_init(&whole, RIG_KIND, 1);
    whole.manual = true;
    whole.cfg.log_segment_bytes = 8192;
    assert_int_equal(live_until(&whole, 0, 1, 120), 120);
    files_sim_power(whole.sim, &ops);
    assert_true(ops > 250);
    rig_fini(&whole);

    for (uint64_t cut = 1; cut <= ops; cut++) {
        struct rig rig = {0};
        rig_init(&rig, RIG_KIND, cut);
        rig.manual = true;
        rig.cfg.log_segment_bytes = 8192;
        uint64_t acked = live_until(&rig, cut, 1, 120);
        for (uint64_t life = 0; life < 2; life++) {
            rig_crash(&rig, cut * 7 + life);
            if (rig_open(&rig) != AN_OK) {
                fail_msg("cut %d life %d: %s", (int)cut, (int)life, rig.why);
            }
            uint64_t found = model_check(&rig);
            assert_true(found >= acked && found <= acked + 1);
            assert_int_equal(model_check(&rig), found);
            uint64_t now;
            files_sim_power(rig.sim, &now);
            acked = live_until(&rig, now + 3 + cut % 29, found + 1, found + 20);
        }
        rig_fini(&rig);
    }
}

static void
test_recovery_failed_sync_is_fatal_and_never_answered(void **state)
{
    struct rig *rig = *state;

    put_models(rig, 1, 3);
    files_sim_fail(rig->sim, FILES_SIM_SYNC_FAILS, ".seg", 1);
    assert_int_equal(put_model(rig, 4), RIG_NO_ANSWER);
    assert_int_equal(rig->fatal_count, 1);
    /* The disk would do it now, but its word is worth nothing any more. */
    assert_int_equal(put_model(rig, 5), RIG_NO_ANSWER);
    assert_int_equal(rig->fatal_count, 2);
    assert_int_equal(model_check(rig), 3);
    rig_crash(rig, 5);
    assert_int_equal(rig_open(rig), AN_OK);
    uint64_t found = model_check(rig);
    assert_true(found == 3 || found == 4);
}

/* A process is killed between write and sync; its successor finds the record in the page
 * cache and serves it; only then the power goes. What was read must not vanish. */
static void
test_recovery_replayed_record_survives_a_later_power_cut(void **state)
{
    struct rig *rig = *state;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t n = model_check(rig);
        files_sim_fail(rig->sim, FILES_SIM_SYNC_FAILS, ".seg", 1);
        assert_int_equal(put_model(rig, n + 1), RIG_NO_ANSWER);
        rig_close(rig);
        assert_int_equal(rig_open(rig), AN_OK);
        assert_int_equal(model_check(rig), n + 1);
        rig_crash(rig, seed);
        assert_int_equal(rig_open(rig), AN_OK);
        assert_int_equal(model_check(rig), n + 1);
    }
}

static void
refused_write_leaves_nothing(struct rig *rig, enum files_sim_fault fault, int want)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t n = model_check(rig);
        files_sim_fail(rig->sim, fault, ".seg", 1);
        assert_int_equal(put_model(rig, n + 1), want);
        assert_int_equal(model_check(rig), n);
        if (seed % 2 == 0) {
            rig_crash(rig, seed);
            assert_int_equal(rig_open(rig), AN_OK);
            assert_int_equal(model_check(rig), n);
        }
        assert_int_equal(put_model(rig, n + 1), AN_OK);
        assert_int_equal(model_check(rig), n + 1);
    }
    assert_int_equal(rig->fatal_count, 0);
}

static void
test_recovery_disk_full_in_a_write_leaves_nothing(void **state)
{
    refused_write_leaves_nothing(*state, FILES_SIM_WRITE_FULL, AN_ERR_DISK_FULL);
}

/* The worse case: the disk took all of the record and then said no. */
static void
test_recovery_write_error_leaves_nothing(void **state)
{
    refused_write_leaves_nothing(*state, FILES_SIM_WRITE_FAILS, AN_ERR_IO);
}

static void
test_recovery_full_disk_refuses_and_works_again_with_room(void **state)
{
    struct rig *rig = *state;
    uint64_t n = 0;
    int err;

    files_sim_set_room(rig->sim, 70000); /* two segments and a little */
    while ((err = put_model(rig, n + 1)) == AN_OK) {
        n++;
    }
    assert_int_equal(err, AN_ERR_DISK_FULL);
    assert_true(rig_stats(rig).refused_full > 0);
    assert_int_equal(put_model(rig, n + 1), AN_ERR_DISK_FULL);
    assert_int_equal(model_check(rig), n);
    files_sim_set_room(rig->sim, 0);
    assert_int_equal(put_model(rig, n + 1), AN_OK);
    rig_crash(rig, 3);
    assert_int_equal(rig_open(rig), AN_OK);
    assert_int_equal(model_check(rig), n + 1);
    assert_int_equal(rig->fatal_count, 0);
}

/* Out of descriptors: the directory cannot even be opened to be synced. Nothing is wrong
 * with the disk, so nothing dies; appends may be refused for a while. */
static void
test_recovery_no_descriptors_is_no_disaster(void **state)
{
    struct rig *rig = *state;
    uint64_t n = 0;
    unsigned refused = 0;

    rig->manual = true;
    for (unsigned step = 0; step < 4000; step++) {
        if (step % 1000 == 100) {
            files_sim_fail(rig->sim, FILES_SIM_DIR_BUSY, "/log", 1000);
        } else if (step % 1000 == 900) {
            files_sim_fail(rig->sim, FILES_SIM_NONE, "", 0);
        }
        int err = put_model(rig, n + 1);
        assert_true(err == AN_OK || err == AN_ERR_FULL || err == AN_ERR_BUSY);
        n += err == AN_OK;
        refused += err != AN_OK;
        if (step % 40 == 0) {
            engine_apply_now(rig->engine);
        }
        if (step % 7 == 0) {
            rig_run_jobs(rig);
        }
        assert_int_equal(rig->fatal_count, 0);
        if (step % 630 == 629) {
            rig_crash(rig, step);
            rig->fatal_count = 0; /* waiting jobs saw the power go */
            assert_int_equal(rig_open(rig), AN_OK);
            assert_int_equal(model_check(rig), n);
        }
    }
    assert_true(refused > 0);
    assert_true(n > 1000);
    assert_int_equal(model_check(rig), n);
}

static void
count_entry(void *ctx, const char *name)
{
    (void)name;
    ++*(size_t *)ctx;
}

static void
test_recovery_segments_are_recycled(void **state)
{
    struct rig *rig = *state;
    char dir[128];

    snprintf(dir, sizeof dir, "%s/log", rig->dir);
    for (uint64_t n = 0; n < 4000; n += 40) {
        put_models(rig, n + 1, n + 40);
        engine_apply_now(rig->engine);
        size_t files = 0;
        rig->cfg.files->ops->list(rig->cfg.files, dir, count_entry, &files);
        assert_true(files <= 5); /* current, spare, two free, one on its way */
        if (n % 1000 == 0) {
            rig_crash(rig, n);
            assert_int_equal(rig_open(rig), AN_OK);
            assert_int_equal(model_check(rig), n + 40);
        }
    }
    assert_int_equal(rig_stats(rig).log_segments, 1);
    assert_int_equal(rig_stats(rig).log_bytes, 0);
}

/* Records of one length: in a recycled segment an old record begins exactly where the new
 * ones end, whole and with a good checksum. Only its position says that it is old. */
static void
test_recovery_old_records_of_a_recycled_segment_stay_dead(void **state)
{
    struct rig *rig = *state;
    char value[16];

    for (unsigned i = 0; i < 3000; i++) {
        snprintf(value, sizeof value, "%08u", i);
        assert_int_equal(rig_put(rig, "a", value), AN_OK);
        if (i % 50 == 0) {
            engine_apply_now(rig->engine);
        }
        if (i % 97 == 0) {
            rig_crash(rig, i);
            assert_int_equal(rig_open(rig), AN_OK);
            assert_string_equal(rig_query(rig, "a", NULL, 1, false) + 2, value);
        }
    }
}

/* Offsets of the records of segment 1, and its end. */
static size_t
record_offsets(struct rig *rig, uint64_t *out, size_t room)
{
    char path[128];
    struct store_file *file = NULL;
    uint8_t head[RECORD_HEADER_LEN];
    struct record_head record;
    size_t got;
    size_t count = 0;
    uint64_t offset = SEGMENT_HEADER_LEN;

    segment_file(rig, 1, path);
    struct store_files *files = rig->cfg.files;
    assert_int_equal(files->ops->open(files, path, STORE_OPEN_READ, &file), AN_OK);
    for (;;) {
        assert_int_equal(store_file_read(file, offset, head, sizeof head, &got), AN_OK);
        assert_true(count < room);
        out[count++] = offset;
        if (got < sizeof head || !record_get_head(head, &record)) {
            break;
        }
        offset += record_len(record.body_len);
    }
    store_file_close(&file);
    return count;
}

static void
test_recovery_flipped_bit_is_refused_and_named(void **state)
{
    struct rig *rig = *state;
    uint64_t offsets[16];
    char path[128];
    char place[128];

    put_models(rig, 1, 5);
    rig_close(rig);
    segment_file(rig, 1, path);
    assert_int_equal(record_offsets(rig, offsets, 16), 6);
    for (size_t record = 0; record < 4; record++) {
        for (uint64_t at = offsets[record]; at < offsets[record + 1]; at++) {
            unsigned bit = (unsigned)(at % 8);
            assert_true(files_sim_flip(rig->sim, path, at, bit));
            enum an_err err = rig_open(rig);
            if (err == AN_OK) { /* only padding is not under the checksum */
                assert_true(offsets[record + 1] - at < RECORD_ALIGN);
                rig_close(rig);
            } else {
                assert_int_equal(err, AN_ERR_CORRUPT);
                snprintf(place, sizeof place,
                         "0001.seg at byte %u:", (unsigned)offsets[record]);
                assert_non_null(strstr(rig->why, place));
            }
            assert_true(files_sim_flip(rig->sim, path, at, bit));
        }
    }
    assert_int_equal(rig_open(rig), AN_OK);
    assert_int_equal(model_check(rig), 5);
}

/* The newest record damaged looks like a torn append, and is dropped: what the engine
 * cannot tell apart it does not pretend to. */
static void
test_recovery_torn_last_record_is_dropped(void **state)
{
    struct rig *rig = *state;
    uint64_t offsets[16];
    char path[128];

    put_models(rig, 1, 5);
    rig_close(rig);
    segment_file(rig, 1, path);
    record_offsets(rig, offsets, 16);
    assert_true(files_sim_flip(rig->sim, path, offsets[4] + 40, 0));
    assert_int_equal(rig_open(rig), AN_OK);
    assert_int_equal(model_check(rig), 4);
    put_models(rig, 5, 6);
    rig_crash(rig, 1);
    assert_int_equal(rig_open(rig), AN_OK);
    assert_int_equal(model_check(rig), 6);
}

static void
test_recovery_damage_before_a_later_segment_is_refused(void **state)
{
    struct rig *rig = *state;
    uint64_t offsets[1024];
    char path[128];

    put_models(rig, 1, 600);
    rig_close(rig);
    segment_file(rig, 1, path);
    size_t count = record_offsets(rig, offsets, 1024);
    /* The last record of segment 1; segment 2 holds later ones. */
    assert_true(files_sim_flip(rig->sim, path, offsets[count - 2] + 30, 3));
    assert_int_equal(rig_open(rig), AN_ERR_CORRUPT);
    assert_non_null(strstr(rig->why, "0001.seg at byte"));
    assert_non_null(strstr(rig->why, "0002.seg"));
    assert_true(files_sim_flip(rig->sim, path, offsets[count - 2] + 30, 3));
    /* And a whole segment gone. */
    segment_file(rig, 2, path);
    assert_true(files_sim_lose(rig->sim, path));
    assert_int_equal(rig_open(rig), AN_ERR_CORRUPT);
    assert_non_null(strstr(rig->why, "0002.seg: the file is missing"));
}

static void
test_recovery_lost_log_or_identity_is_refused(void **state)
{
    struct rig *rig = *state;
    char path[128];

    put_models(rig, 1, 5);
    engine_apply_now(rig->engine);
    rig_close(rig);
    snprintf(path, sizeof path, "%s/identity", rig->dir);
    assert_true(files_sim_flip(rig->sim, path, 20, 1));
    assert_int_equal(rig_open(rig), AN_ERR_CORRUPT);
    assert_non_null(strstr(rig->why, "identity"));
    assert_true(files_sim_flip(rig->sim, path, 20, 1));
    segment_file(rig, 1, path);
    assert_true(files_sim_flip(rig->sim, path, 17, 1));
    assert_int_equal(rig_open(rig), AN_ERR_CORRUPT);
    assert_non_null(strstr(rig->why, "at byte 0"));
    assert_true(files_sim_lose(rig->sim, path));
    assert_int_equal(rig_open(rig), AN_ERR_CORRUPT); /* only the spare is left */
    assert_non_null(strstr(rig->why, "the base already holds"));
    snprintf(path, sizeof path, "%s/identity", rig->dir);
    assert_true(files_sim_lose(rig->sim, path));
    assert_int_equal(rig_open(rig), AN_ERR_CORRUPT);
}

static void
test_recovery_identity_mismatch_names_both(void **state)
{
    struct rig *rig = *state;
    struct engine_cfg cfg = rig->cfg;

    rig_close(rig);
    rig->cfg.cluster_id = "other";
    assert_int_equal(rig_open(rig), AN_ERR_CONFIG);
    assert_non_null(strstr(rig->last_log, "cluster test"));
    assert_non_null(strstr(rig->last_log, "cluster other"));
    rig->cfg = cfg;
    rig->cfg.store_id = 4;
    assert_int_equal(rig_open(rig), AN_ERR_CONFIG);
    rig->cfg = cfg;
    rig->cfg.slot_last = 510;
    assert_int_equal(rig_open(rig), AN_ERR_CONFIG);
    rig->cfg = cfg;
    rig->cfg.kind = cfg.kind == ENGINE_LMDB ? ENGINE_MEMORY : ENGINE_LMDB;
    assert_int_equal(rig_open(rig), AN_ERR_CONFIG);
    rig->cfg = cfg;
    rig->cfg.cluster_id = "two words";
    assert_int_equal(rig_open(rig), AN_ERR_CONFIG);
    rig->cfg = cfg;
    assert_int_equal(rig_open(rig), AN_OK);
}

static void
test_recovery_second_opener_is_locked_out(void **state)
{
    struct rig *rig = *state;
    struct engine *second = NULL;
    char why[256];

    assert_int_equal(engine_open(&second, &rig->cfg, why, sizeof why), AN_ERR_LOCKED);
    assert_null(second);
    assert_non_null(strstr(why, "lock"));
}

/* The base cannot take rows for a while; the log and memory keep them. */
static void
test_recovery_failed_apply_loses_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t n = 0;

    rig_close(rig);
    rig->cfg.lmdb_map_bytes = 24 * 4096; /* too small for what follows */
    rig->cfg.overlay_rows_max = 200;
    assert_int_equal(rig_open(rig), AN_OK);
    files_sim_fail(rig->sim, FILES_SIM_RENAME_FAILS, "memory/", 1000000);
    static char large[25001];
    memset(large, 'x', 25000);
    for (unsigned i = 0; i < 10; i++) {
        char key[8];
        snprintf(key, sizeof key, "zz%u", i);
        large[2500 * (i + 1)] = '\0'; /* values of growing length */
        assert_int_equal(rig_put(rig, key, large), AN_OK);
        large[2500 * (i + 1)] = 'x';
        put_models(rig, n + 1, n + 10);
        n += 10;
        engine_tick(rig->engine, 1000 * i);
        engine_apply_now(rig->engine);
    }
    assert_true(rig_stats(rig).apply_failures > 0);
    assert_non_null(strstr(rig->last_log, "tried again"));
    assert_true(rig_stats(rig).overlay_rows > 0);
    assert_int_equal(model_check(rig), n);
    uint64_t failures = rig_stats(rig).apply_failures;
    engine_tick(rig->engine, 9500); /* too early for another try */
    assert_int_equal(rig_stats(rig).apply_failures, failures);
    engine_tick(rig->engine, 20000);
    assert_int_equal(rig_stats(rig).apply_failures, failures + 1);

    files_sim_fail(rig->sim, FILES_SIM_NONE, "", 0);
    rig_crash(rig, 4);
    rig->cfg.lmdb_map_bytes = 64u << 20;
    assert_int_equal(rig_open(rig), AN_OK);
    assert_int_equal(model_check(rig), n);
    engine_apply_now(rig->engine);
    assert_int_equal(rig_stats(rig).overlay_rows, 0);
    assert_int_equal(model_check(rig), n);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_recovery_reopened_engine_has_everything),
        T(test_recovery_power_cut_at_every_operation),
        T(test_recovery_failed_sync_is_fatal_and_never_answered),
        T(test_recovery_replayed_record_survives_a_later_power_cut),
        T(test_recovery_old_records_of_a_recycled_segment_stay_dead),
        T(test_recovery_disk_full_in_a_write_leaves_nothing),
        T(test_recovery_write_error_leaves_nothing),
        T(test_recovery_full_disk_refuses_and_works_again_with_room),
        T(test_recovery_no_descriptors_is_no_disaster),
        T(test_recovery_segments_are_recycled),
        T(test_recovery_flipped_bit_is_refused_and_named),
        T(test_recovery_torn_last_record_is_dropped),
        T(test_recovery_damage_before_a_later_segment_is_refused),
        T(test_recovery_lost_log_or_identity_is_refused),
        T(test_recovery_identity_mismatch_names_both),
        T(test_recovery_second_opener_is_locked_out),
        T(test_recovery_failed_apply_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
