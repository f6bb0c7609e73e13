/* The small parts below the engine: checksum, record bytes, generations, both disks. */
#include "tests/store/rig.h"

#include "store/crc32c.h"
#include "store/generation.h"
#include "store/record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
test_crc32c_known_values_and_both_paths(void **state)
{
    (void)state;
    uint8_t bytes[300];

    /* RFC 3720, B.4 */
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37);
        assert_int_equal(crc32c(7, bytes, i), crc32c_portable(7, bytes, i));
        assert_int_equal(crc32c(crc32c(0, bytes, i / 3), bytes + i / 3, i - i / 3),
                         crc32c(0, bytes, i));
    }
}

static void
test_record_rows_come_back(void **state)
{
    (void)state;
    struct engine_row put = rig_row("key", "value");
    struct engine_row del = rig_row("gone", NULL);
    uint8_t body[64];
    struct record_row row;

    uint8_t *end = record_put_row(record_put_row(body, &put), &del);
    size_t len = (size_t)(end - body);
    assert_int_equal(len, record_row_len(&put) + record_row_len(&del));
    assert_true(record_body_valid(body, len, 2));
    assert_false(record_body_valid(body, len, 1));
    assert_false(record_body_valid(body, len, 3));
    for (size_t cut = 0; cut < len; cut++) {
        assert_false(record_body_valid(body, cut, 2));
    }
    const uint8_t *at = body;
    assert_true(record_get_row(&at, end, &row));
    assert_int_equal(row.op, ENGINE_PUT);
    assert_memory_equal(row.key.data + 2, "key", 3);
    assert_memory_equal(row.value.data, "value", 5);
    assert_true(record_get_row(&at, end, &row));
    assert_int_equal(row.op, ENGINE_DELETE);
    assert_ptr_equal(at, end);
}

static void
test_generation_rollback_gives_everything_back(void **state)
{
    (void)state;
    struct generation *g = generation_create();
    struct engine_row put = rig_row("key", "value");
    size_t bytes = generation_bytes(g);

    for (unsigned round = 0; round < 3; round++) {
        for (size_t len = 64; len < 2000000; len *= 3) { /* across chunks */
            uint8_t *room = generation_reserve(g, len);
            assert_non_null(room);
            record_put_row(room, &put);
            assert_int_equal(generation_prepare(g, room, record_row_len(&put)), AN_OK);
            generation_rollback(g);
            assert_int_equal(generation_bytes(g), bytes);
            assert_int_equal(generation_rows(g), 0);
        }
    }
    generation_unref(g);
    generation_unref(NULL);
}

/* A row as it was given to a generation, in the order of giving. */
struct given {
    uint8_t key[48];
    size_t len;
    unsigned number; /* counted from 1; its value too */
};

enum { GIVEN_MAX = 12000, TIMELINES = 700 };

/* Rows as a server writes them: heads overwritten, timelines growing, ids nearly in the
 * order of time, and keys of any kind between. */
static void
given_make(struct given *out, unsigned number, uint32_t random)
{
    unsigned kind = random >> 8 & 7;
    unsigned who = (random >> 11) % TIMELINES;
    static const size_t lens[8] = {11, 11, 19, 19, 28, 20, 44, 0};
    uint8_t key[48] = {0, (uint8_t)(who % 64), (uint8_t) "hhiimcdx"[kind]};

    out->len = lens[kind] != 0 ? lens[kind] : 3 + random % 40;
    key[9] = (uint8_t)(who >> 8);
    key[10] = (uint8_t)who;
    if (kind == 6) { /* by time, not quite in order */
        key[9] = (uint8_t)((number + random % 5) >> 8);
        key[10] = (uint8_t)(number + random % 5);
    } else if (kind == 7) {
        memset(key + 3, (int)(random >> 24), 40);
    } else if (kind == 2 || kind == 3 || kind == 4) {
        key[out->len - 2] = (uint8_t)(number >> 8);
        key[out->len - 1] = (uint8_t)number;
    }
    memcpy(out->key, key, sizeof key);
    out->number = number;
}

static int
given_compare(const void *left, const void *right)
{
    const struct given *a = left;
    const struct given *b = right;
    size_t len = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->key, b->key, len);

    if (order == 0) {
        order = (a->len > b->len) - (a->len < b->len);
    }
    return order != 0 ? order : (a->number < b->number) - (a->number > b->number);
}

/* Gives rows first to last - 1 in records of one to nine rows. */
static void
given_put(struct generation *g, const struct given *rows, unsigned first, unsigned last)
{
    static uint64_t position;

    while (first < last) {
        unsigned count = 1 + rows[first].number % 9;
        count = count < last - first ? count : last - first;
        uint8_t *body = generation_reserve(g, count * (sizeof rows->key + 16));
        assert_non_null(body);
        uint8_t *end = body;
        for (unsigned i = first; i < first + count; i++) {
            const struct engine_row row = {
                .op = ENGINE_PUT,
                .key = {rows[i].key, rows[i].len},
                .value = {(const uint8_t *)&rows[i].number, sizeof rows[i].number}};
            end = record_put_row(end, &row);
        }
        assert_int_equal(generation_prepare(g, body, (size_t)(end - body)), AN_OK);
        generation_commit(g, ++position);
        first += count;
    }
}

/* The view must show, of the sorted rows, each key's newest with a number up to seen. */
static void
given_check(struct generation_view view, const struct given *sorted, unsigned count,
            unsigned seen, bool reverse)
{
    static const uint8_t top[] = {0xff, 0xff};
    struct generation_cursor cursor = {.view = view};
    struct record_row row;

    generation_seek(&cursor, (struct engine_blob){top, reverse ? sizeof top : 0},
                    reverse);
    for (unsigned n = 0; n < count;) {
        const struct given *newest = NULL;
        const struct given *key = &sorted[reverse ? count - 1 - n : n];
        for (; n < count; n++) { /* all versions of it */
            const struct given *at = &sorted[reverse ? count - 1 - n : n];
            if (at->len != key->len || memcmp(at->key, key->key, key->len) != 0) {
                break;
            }
            if (at->number <= seen && (newest == NULL || at->number > newest->number)) {
                newest = at;
            }
        }
        if (newest == NULL) {
            continue;
        }
        assert_true(generation_row(&cursor, &row));
        assert_int_equal(row.key.len, newest->len);
        assert_memory_equal(row.key.data, newest->key, newest->len);
        assert_memory_equal(row.value.data, &newest->number, sizeof newest->number);
        generation_step(&cursor, reverse);
    }
    assert_false(generation_row(&cursor, &row));
}

static void
test_generation_views_agree_with_a_sorted_array(void **state)
{
    (void)state;
    struct generation *g = generation_create();
    struct given *rows = calloc(GIVEN_MAX, sizeof *rows);
    struct generation_view views[4];
    uint32_t random = 99;

    assert_non_null(rows);
    for (unsigned i = 0; i < GIVEN_MAX; i++) {
        random = random * 1664525u + 1013904223u;
        given_make(&rows[i], i + 1, random ^ random >> 15);
    }
    for (unsigned part = 0; part < 4; part++) {
        given_put(g, rows, part * GIVEN_MAX / 4, (part + 1) * GIVEN_MAX / 4);
        views[part] = generation_view(g);
    }
    assert_int_equal(generation_rows(g), GIVEN_MAX);
    qsort(rows, GIVEN_MAX, sizeof *rows, given_compare);
    for (unsigned part = 0; part < 4; part++) {
        unsigned seen = (part + 1) * GIVEN_MAX / 4;
        given_check(views[part], rows, GIVEN_MAX, seen, false);
        given_check(views[part], rows, GIVEN_MAX, seen, true);
    }
    generation_unref(g);
    free(rows);
}

static void
count_entry(void *ctx, const char *name)
{
    (void)name;
    ++*(size_t *)ctx;
}

static void
try_disk(struct store_files *files, const char *dir)
{
    const struct store_files_ops *ops = files->ops;
    char path[128];
    char moved[128];
    char buf[32];
    struct store_file *file = NULL;
    struct store_file *second = NULL;
    size_t got = 0;
    size_t count = 0;
    uint64_t size = 0;

    snprintf(path, sizeof path, "%s/a", dir);
    snprintf(moved, sizeof moved, "%s/b", dir);
    assert_int_equal(ops->open(files, path, STORE_OPEN_READ, &file), AN_ERR_NOT_FOUND);
    assert_int_equal(ops->open(files, path, STORE_OPEN_WRITE, &file), AN_ERR_NOT_FOUND);
    assert_int_equal(ops->open(files, path, STORE_OPEN_CREATE, &file), AN_OK);
    assert_int_equal(ops->preallocate(file, 10000), AN_OK);
    assert_int_equal(store_file_size(file, &size), AN_OK);
    assert_int_equal(size, 10000);
    assert_int_equal(store_file_write(file, 9998, "tail", 4), AN_OK);
    assert_int_equal(store_file_read(file, 9996, buf, sizeof buf, &got), AN_OK);
    assert_int_equal(got, 6);
    assert_memory_equal(buf, "\0\0tail", 6);
    assert_int_equal(store_file_read(file, 20000, buf, sizeof buf, &got), AN_OK);
    assert_int_equal(got, 0);
    assert_int_equal(ops->truncate(file, 3), AN_OK);
    assert_int_equal(store_file_size(file, &size), AN_OK);
    assert_int_equal(size, 3);
    assert_int_equal(store_file_sync(file), AN_OK);
    store_file_close(&file);
    assert_null(file);
    assert_int_equal(ops->rename(files, path, moved), AN_OK);
    assert_int_equal(ops->rename(files, path, moved), AN_ERR_NOT_FOUND);
    assert_int_equal(ops->sync_dir(files, dir), AN_OK);
    assert_int_equal(ops->list(files, dir, count_entry, &count), AN_OK);
    assert_int_equal(count, 1);
    assert_int_equal(ops->lock(files, path, false, &file), AN_ERR_NOT_FOUND);
    assert_int_equal(ops->lock(files, moved, false, &file), AN_OK);
    assert_int_equal(ops->lock(files, moved, false, &second), AN_ERR_LOCKED);
    store_file_close(&file);
    assert_int_equal(ops->lock(files, moved, true, &second), AN_OK);
    store_file_close(&second);
    assert_int_equal(ops->unlink(files, moved), AN_OK);
    assert_int_equal(ops->unlink(files, moved), AN_ERR_NOT_FOUND);
    assert_int_equal(ops->random(files, buf, 8), AN_OK);
}

static void
test_files_posix_keeps_the_contract(void **state)
{
    (void)state;
    char dir[] = "/tmp/anser-files-XXXXXX";

    assert_non_null(mkdtemp(dir));
    try_disk(store_files_posix(), dir);
    assert_int_equal(rmdir(dir), 0);
}

static void
test_files_sim_keeps_the_contract(void **state)
{
    (void)state;
    struct files_sim *sim = files_sim_create(1);

    try_disk(files_sim_table(sim), "/disk");
    files_sim_destroy(sim);
}

/* What is left of the file after a crash with this seed. */
static void
crash_text(uint64_t seed, char out[4096])
{
    struct files_sim *sim = files_sim_create(1);
    struct store_files *files = files_sim_table(sim);
    struct store_file *file = NULL;
    char block[2048];
    size_t got = 0;

    assert_int_equal(files->ops->open(files, "/d/f", STORE_OPEN_CREATE, &file), AN_OK);
    memset(block, 'a', sizeof block);
    assert_int_equal(store_file_write(file, 0, block, sizeof block), AN_OK);
    assert_int_equal(store_file_sync(file), AN_OK);
    assert_int_equal(files->ops->sync_dir(files, "/d"), AN_OK);
    memset(block, 'b', sizeof block);
    assert_int_equal(store_file_write(file, 100, block, sizeof block), AN_OK);
    files_sim_crash(sim, seed);
    assert_int_equal(store_file_read(file, 0, out, 4095, &got), AN_ERR_IO);
    store_file_close(&file);
    assert_int_equal(files->ops->open(files, "/d/f", STORE_OPEN_READ, &file), AN_OK);
    memset(out, 0, 4096);
    assert_int_equal(store_file_read(file, 0, out, 4095, &got), AN_OK);
    store_file_close(&file);
    files_sim_destroy(sim);
}

static void
test_files_sim_crash_is_seeded_and_of_all_kinds(void **state)
{
    (void)state;
    char text[4096];
    char again[4096];
    unsigned whole = 0;
    unsigned none = 0;
    unsigned torn = 0;

    for (uint64_t seed = 0; seed < 100; seed++) {
        crash_text(seed, text);
        crash_text(seed, again);
        assert_string_equal(text, again);
        size_t count = 0;
        for (size_t i = 0; text[i] != '\0'; i++) {
            count += text[i] == 'b';
        }
        assert_memory_equal(text, "aaaa", 4); /* what was synced is untouched */
        whole += count == 2048;
        none += count == 0;
        torn += count > 0 && count < 2048;
    }
    assert_true(whole > 10);
    assert_true(none > 10);
    assert_true(torn > 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_known_values_and_both_paths),
        cmocka_unit_test(test_record_rows_come_back),
        cmocka_unit_test(test_generation_rollback_gives_everything_back),
        cmocka_unit_test(test_generation_views_agree_with_a_sorted_array),
        cmocka_unit_test(test_files_posix_keeps_the_contract),
        cmocka_unit_test(test_files_sim_keeps_the_contract),
        cmocka_unit_test(test_files_sim_crash_is_seeded_and_of_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
