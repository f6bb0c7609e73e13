/* The offline check: silent on sound directories, exact on damaged ones. Built once for
 * each engine (RIG_KIND). */
#include "tests/store/rig.h"

#include "store/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct findings {
    unsigned count;
    char first[768];
};

static void
take_finding(void *ctx, const struct store_finding *finding)
{
    struct findings *out = ctx;

    if (out->count++ == 0) {
        snprintf(out->first, sizeof out->first, "%s %llu %s", finding->file,
                 (unsigned long long)finding->offset, finding->sentence);
    }
}

struct walk {
    char text[4096];
    size_t len;
    unsigned from_log, from_base;
};

static bool
take_row(void *ctx, const struct store_check_row *row)
{
    struct walk *out = ctx;

    out->len += (size_t)snprintf(out->text + out->len, sizeof out->text - out->len,
                                 "%s%.*s=%.*s", out->len > 0 ? " " : "",
                                 (int)row->key.len - 2, (const char *)row->key.data + 2,
                                 (int)row->value.len, (const char *)row->value.data);
    bool log = strncmp(row->file, "log/", 4) == 0;
    out->from_log += log;
    out->from_base += !log;
    assert_true(row->offset > 0);
    return true;
}

static void
put_models(struct rig *rig, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        struct engine_row rows[MODEL_ROWS];
        struct engine_group group = {RIG_SLOT, rig->fence, rows, MODEL_ROWS};
        model_batch(i, rows);
        assert_int_equal(rig_append(rig, &group, 1), AN_OK);
    }
}

static enum an_err
run_check(struct rig *rig, struct findings *findings, struct walk *walk)
{
    struct store_check *check = NULL;

    *findings = (struct findings){0};
    *walk = (struct walk){0};
    enum an_err err =
        store_check_open(&check, rig->cfg.files, rig->dir, take_finding, findings);
    if (err == AN_OK) {
        err = store_check_rows(check, take_row, walk);
    }
    store_check_close(check);
    return err;
}

static void
test_check_sound_directory_is_silent_and_whole(void **state)
{
    struct rig *rig = *state;
    struct findings findings;
    struct walk walk;

    for (uint64_t n = 0; n < 900; n += 60) {
        put_models(rig, n + 1, n + 40);
        if (n % 120 == 0) {
            engine_apply_now(rig->engine);
        }
        put_models(rig, n + 41, n + 60);
        rig_crash(rig, n);
        assert_int_equal(run_check(rig, &findings, &walk), AN_OK);
        if (findings.count > 0) {
            fail_msg("%s", findings.first);
        }
        assert_string_equal(walk.text, model_text(n + 60));
        assert_true(walk.from_log > 0);
        assert_int_equal(rig_open(rig), AN_OK);
        assert_int_equal(model_check(rig), n + 60);
    }
    engine_apply_now(rig->engine);
    rig_close(rig);
    assert_int_equal(run_check(rig, &findings, &walk), AN_OK);
    assert_int_equal(findings.count, 0);
    assert_int_equal(walk.from_log, 0);
    assert_string_equal(walk.text, model_text(900));
}

static void
test_check_running_node_is_refused(void **state)
{
    struct rig *rig = *state;
    struct findings findings;
    struct walk walk;

    assert_int_equal(run_check(rig, &findings, &walk), AN_ERR_LOCKED);
}

static void
test_check_no_directory_is_not_found(void **state)
{
    struct rig *rig = *state;
    struct store_check *check = NULL;
    struct findings findings = {0};

    assert_int_equal(store_check_open(&check, rig->cfg.files, "/nowhere/at/all",
                                      take_finding, &findings),
                     AN_ERR_NOT_FOUND);
}

static void
test_check_damaged_record_is_named(void **state)
{
    struct rig *rig = *state;
    struct findings findings;
    struct walk walk;
    char path[128];

    put_models(rig, 1, 20);
    rig_close(rig);
    snprintf(path, sizeof path, "%s/log/%016x.seg", rig->dir, 1u);
    assert_true(files_sim_flip(rig->sim, path, 4096 + 30, 4));
    assert_int_equal(run_check(rig, &findings, &walk), AN_OK);
    assert_int_equal(findings.count, 1);
    assert_non_null(strstr(findings.first, "records 1 to 1 are damaged or missing"));
    assert_true(files_sim_flip(rig->sim, path, 4096 + 30, 4));
    assert_true(files_sim_flip(rig->sim, path, 4096 + 300, 4));
    assert_int_equal(run_check(rig, &findings, &walk), AN_OK);
    assert_non_null(strstr(findings.first, "log/0000000000000001.seg 4"));
    assert_non_null(strstr(findings.first, "is damaged or missing, but record"));
}

static void
test_check_damaged_headers_are_named(void **state)
{
    struct rig *rig = *state;
    struct findings findings;
    struct walk walk;
    char path[128];

    put_models(rig, 1, 3);
    rig_close(rig);
    snprintf(path, sizeof path, "%s/log/%016x.seg", rig->dir, 1u);
    for (unsigned at = 0; at < 24; at++) {
        assert_true(files_sim_flip(rig->sim, path, at, at % 8));
        assert_int_equal(run_check(rig, &findings, &walk), AN_OK);
        assert_int_equal(findings.count, 1);
        assert_true(files_sim_flip(rig->sim, path, at, at % 8));
    }
    snprintf(path, sizeof path, "%s/identity", rig->dir);
    assert_true(files_sim_flip(rig->sim, path, 30, 1));
    assert_int_equal(run_check(rig, &findings, &walk), AN_ERR_CORRUPT);
    assert_non_null(strstr(findings.first, "identity 0"));
}

static void
test_check_log_below_base_is_named(void **state)
{
    struct rig *rig = *state;
    struct findings findings;
    struct walk walk;
    char path[128];

    put_models(rig, 1, 20);
    engine_apply_now(rig->engine);
    rig_close(rig);
    snprintf(path, sizeof path, "%s/log/%016x.seg", rig->dir, 1u);
    assert_true(files_sim_lose(rig->sim, path));
    assert_int_equal(run_check(rig, &findings, &walk), AN_OK);
    assert_non_null(strstr(findings.first, "but the base holds up to 20"));
    assert_string_equal(walk.text, model_text(20));
}

static void
test_check_foreign_slot_is_named(void **state)
{
    struct rig *rig = *state;
    struct findings findings;
    struct walk walk;
    char path[128];
    struct store_file *file = NULL;
    struct store_files *files = rig->cfg.files;

    put_models(rig, 1, 3);
    engine_apply_now(rig->engine);
    put_models(rig, 4, 5);
    rig_close(rig);
    /* The same rows under an identity that owns another slot. */
    snprintf(path, sizeof path, "%s/identity", rig->dir);
    rig->cfg.slot_first = 100;
    char text[512] = {0};
    size_t got;
    assert_int_equal(files->ops->open(files, path, STORE_OPEN_READ, &file), AN_OK);
    assert_int_equal(store_file_read(file, 0, text, sizeof text - 1, &got), AN_OK);
    store_file_close(&file);
    struct rig other = {0};
    rig_init(&other, RIG_KIND, 1); /* the same seed: the same salt */
    other.cfg.slot_first = 100;
    assert_int_equal(rig_open(&other), AN_OK);
    rig_close(&other);
    char other_path[128];
    snprintf(other_path, sizeof other_path, "%s/identity", other.dir);
    struct store_files *other_files = other.cfg.files;
    assert_int_equal(
        other_files->ops->open(other_files, other_path, STORE_OPEN_READ, &file), AN_OK);
    assert_int_equal(store_file_read(file, 0, text, sizeof text - 1, &got), AN_OK);
    store_file_close(&file);
    assert_int_equal(files->ops->open(files, path, STORE_OPEN_CREATE, &file), AN_OK);
    assert_int_equal(store_file_write(file, 0, text, got), AN_OK);
    store_file_close(&file);
    assert_int_equal(run_check(rig, &findings, &walk), AN_OK);
    assert_true(findings.count > 8); /* rows of the log and rows of the base */
    assert_non_null(strstr(findings.first, "slot 7, which is not this store's"));
    rig_fini(&other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_check_sound_directory_is_silent_and_whole),
        T(test_check_running_node_is_refused),
        T(test_check_no_directory_is_not_found),
        T(test_check_damaged_record_is_named),
        T(test_check_damaged_headers_are_named),
        T(test_check_log_below_base_is_named),
        T(test_check_foreign_slot_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
