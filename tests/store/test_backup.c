/* A copy of everything while the engine goes on, over each engine and the real disk. */
#include "store/check.h"
#include "store/files.h"
#include "tests/core/tree.h"
#include "tests/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MANY = 40000 }; /* more than two pieces */

struct fixture {
    struct rig rig;
    char top[64], from[80], to[80];
    char why[512];
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    rig_init(&f->rig, RIG_KIND, 1);
    snprintf(f->top, sizeof f->top, "/tmp/anser-backup-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    snprintf(f->from, sizeof f->from, "%s/from", f->top);
    snprintf(f->to, sizeof f->to, "%s/to", f->top);
    f->rig.cfg.files = store_files_posix();
    f->rig.cfg.dir = f->from;
    f->rig.cfg.overlay_rows_max = 1000000;
    assert_int_equal(f->rig.cfg.files->ops->make_dir(f->rig.cfg.files, f->from), AN_OK);
    assert_int_equal(rig_open(&f->rig), AN_OK);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    rig_fini(&f->rig);
    assert_int_equal(tree_remove(f->top), 0);
    free(f);
    return 0;
}

/* Closes what is open and opens the copy instead. */
static void
open_copy(struct fixture *f)
{
    rig_close(&f->rig);
    f->rig.cfg.dir = f->to;
    assert_int_equal(rig_open(&f->rig), AN_OK);
}

static void
no_finding(void *ctx, const struct store_finding *finding)
{
    (void)ctx;
    fail_msg("%s: %s", finding->file, finding->sentence);
}

/* The offline check takes it as it is. Its rows are no messages: only its bytes count. */
static void
check_copy(struct fixture *f)
{
    struct store_check *check = NULL;
    struct store_check_info info;

    assert_int_equal(
        store_check_open(&check, store_files_posix(), f->to, no_finding, NULL), AN_OK);
    store_check_info(check, &info);
    assert_int_equal(info.finding_count, 0);
    assert_int_equal(info.position, 0);
    store_check_close(check);
}

static void
test_backup_holds_base_and_overlay(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(rig_put(&f->rig, "a", "base"), AN_OK);
    assert_int_equal(rig_put(&f->rig, "b", "base"), AN_OK);
    assert_int_equal(rig_put(&f->rig, "c", "base"), AN_OK);
    engine_apply_now(f->rig.engine);
    rig_run_jobs(&f->rig);
    assert_int_equal(rig_put(&f->rig, "b", "over"), AN_OK);
    assert_int_equal(rig_put(&f->rig, "c", NULL), AN_OK);
    assert_int_equal(engine_backup(f->rig.engine, f->to, f->why, sizeof f->why), AN_OK);
    rig_run_jobs(&f->rig);
    assert_false(engine_backup_state(f->rig.engine)->running);
    assert_int_equal(engine_backup_state(f->rig.engine)->err, AN_OK);
    assert_int_equal(engine_backup_state(f->rig.engine)->rows, 2);
    check_copy(f);
    open_copy(f);
    assert_string_equal(rig_query(&f->rig, "", "z", 10, false), "a=base b=over");
    /* And it is a store like any other. */
    assert_int_equal(rig_put(&f->rig, "d", "new"), AN_OK);
    rig_close(&f->rig);
    assert_int_equal(rig_open(&f->rig), AN_OK);
    assert_string_equal(rig_query(&f->rig, "", "z", 10, false), "a=base b=over d=new");
}

static void
put_many(struct fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to;) {
        struct engine_row rows[32];
        struct engine_group group = {
            .slot = RIG_SLOT, .fence = f->rig.fence, .rows = rows};
        char texts[32][16]; /* values are borrowed */

        for (; group.row_count < 32 && i < to; i++) {
            char *text = texts[group.row_count];
            snprintf(text, sizeof texts[0], "%06u", i);
            rows[group.row_count++] = rig_row(text, text);
        }
        assert_int_equal(rig_append(&f->rig, &group, 1), AN_OK);
    }
}

static void
test_backup_is_of_one_moment_while_writes_and_applies_go_on(void **state)
{
    struct fixture *f = *state;
    unsigned pieces = 0;

    put_many(f, 0, MANY / 2);
    engine_apply_now(f->rig.engine);
    rig_run_jobs(&f->rig);
    put_many(f, MANY / 2, MANY);
    f->rig.manual = true;
    assert_int_equal(engine_backup(f->rig.engine, f->to, f->why, sizeof f->why), AN_OK);
    assert_int_equal(rig_put(&f->rig, "000000", "later"), AN_OK);
    engine_apply_now(f->rig.engine);
    while (rig_run_one(&f->rig, AN_LANE_READ)) {
        assert_int_equal(rig_put(&f->rig, "zzz", "later"), AN_OK);
        rig_run_one(&f->rig, AN_LANE_APPLY);
        pieces++;
    }
    rig_run_jobs(&f->rig);
    assert_true(pieces > 2);
    assert_int_equal(engine_backup_state(f->rig.engine)->rows, MANY);
    f->rig.manual = false;
    open_copy(f);
    assert_string_equal(rig_query(&f->rig, "000000", NULL, 1, false), "000000=000000");
    assert_string_equal(rig_query(&f->rig, "039998", "zzzz", 9, false),
                        "039998=039998 039999=039999");
}

static void
test_backup_refuses_what_is_there_and_a_second_one(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(engine_backup(f->rig.engine, f->from, f->why, sizeof f->why),
                     AN_ERR_ARGUMENT);
    assert_non_null(strstr(f->why, "is there already"));
    assert_int_equal(engine_backup(f->rig.engine, "relative", f->why, sizeof f->why),
                     AN_ERR_ARGUMENT);
    f->rig.manual = true;
    assert_int_equal(engine_backup(f->rig.engine, f->to, f->why, sizeof f->why), AN_OK);
    assert_int_equal(engine_backup(f->rig.engine, f->to, f->why, sizeof f->why),
                     AN_ERR_BUSY);
    rig_run_jobs(&f->rig);
    f->rig.manual = false;
}

static void
test_backup_stopped_leaves_no_store_behind(void **state)
{
    struct fixture *f = *state;

    put_many(f, 0, MANY);
    f->rig.manual = true;
    assert_int_equal(engine_backup(f->rig.engine, f->to, f->why, sizeof f->why), AN_OK);
    engine_backup_stop(f->rig.engine);
    rig_run_jobs(&f->rig);
    f->rig.manual = false;
    assert_int_equal(engine_backup_state(f->rig.engine)->err, AN_ERR_SHUTTING_DOWN);
    assert_int_not_equal(access(f->to, F_OK), 0);
    /* What it began is named, and must be removed by hand. */
    assert_non_null(strstr(engine_backup_state(f->rig.engine)->why, ".partial"));
    assert_int_equal(engine_backup(f->rig.engine, f->to, f->why, sizeof f->why),
                     AN_ERR_ARGUMENT);
    assert_non_null(strstr(f->why, "remove it first"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backup_holds_base_and_overlay, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_backup_is_of_one_moment_while_writes_and_applies_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_backup_refuses_what_is_there_and_a_second_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backup_stopped_leaves_no_store_behind, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
