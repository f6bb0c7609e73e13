/* The sequencer's bounded memories, each against the plainest model of it. */
#include "actors/sequencer/convs.h"
#include "actors/sequencer/dedupe.h"
#include "actors/sequencer/ids.h"
#include "core/rng.h"
#include "proto/bytes.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_seq_table_random_puts_and_removes_match_a_model(void **state)
{
    enum { ENTRIES = 64 };
    struct seq_table table;
    struct an_rng rng;
    bool in[ENTRIES] = {false};
    uint32_t hash[ENTRIES] = {0};

    (void)state;
    an_rng_seed(&rng, 3);
    assert_true(seq_table_init(&table, ENTRIES));
    for (int round = 0; round < 100000; round++) {
        uint32_t e = (uint32_t)an_rng_below(&rng, ENTRIES);

        if (in[e]) {
            seq_table_remove(&table, hash[e], e);
        } else {
            hash[e] = (uint32_t)an_rng_below(&rng, 40) * 3; /* many collisions */
            seq_table_put(&table, hash[e], e);
        }
        in[e] = !in[e];
        e = (uint32_t)an_rng_below(&rng, ENTRIES);
        if (in[e]) {
            uint32_t probe = hash[e], found;

            do {
                found = seq_table_next(&table, hash[e], &probe);
            } while (found != e && found != SEQ_NONE);
            assert_int_equal(found, e);
        }
    }
    seq_table_fini(&table);
}

static struct seq_dedupe_key
key_of(uint64_t n)
{
    struct seq_dedupe_key key = {.sender = 1 + n % 3, .recipient = 9};

    an_put_u64(key.id, (1000 + n) << 16 | 0x7000);
    an_put_u64(key.id + 8, n);
    return key;
}

static void
test_seq_dedupe_never_calls_a_stored_id_new(void **state)
{
    enum { TOTAL = 3000, ROWS = 64, SLOTS = 5 };
    static struct seq_dedupe d;
    static bool known[TOTAL];
    bool drop[AN_SLOTS] = {false};
    struct an_rng rng;

    (void)state;
    an_rng_seed(&rng, 4);
    assert_true(seq_dedupe_init(&d, ROWS, 1));
    for (int round = 0; round < 50000; round++) {
        uint64_t n = an_rng_below(&rng, TOTAL);
        struct seq_dedupe_key key = key_of(n);
        uint16_t slot = (uint16_t)(n % SLOTS);
        struct seq_dedupe_row *row = seq_dedupe_find(&d, &key);

        if (row != NULL) {
            assert_true(known[n]);
            assert_int_equal(row->seq, n);
            if (an_rng_below(&rng, 8) == 0) {
                seq_dedupe_remove(&d, row); /* refused: as if it had never been */
                known[n] = false;
            }
        } else if (seq_id_ms(key.id) > d.watermark_ms[slot]) {
            assert_false(known[n]); /* the promise */
            row = seq_dedupe_add(&d, &key, slot);
            assert_non_null(row);
            row->seq = n;
            known[n] = true;
        } else if (!known[n]) {
            row = seq_dedupe_add(&d, &key, slot); /* the store said: new */
            assert_non_null(row);
            row->seq = n;
            known[n] = true;
        }
        assert_true(d.count <= ROWS);
    }
    drop[2] = true;
    seq_dedupe_drop(&d, drop);
    for (uint64_t n = 0; n < TOTAL; n++) {
        struct seq_dedupe_key key = key_of(n);
        const struct seq_dedupe_row *row = seq_dedupe_find(&d, &key);

        assert_true(row == NULL || row->slot != 2);
    }
    seq_dedupe_fini(&d);
}

static void
test_seq_dedupe_rows_in_flight_are_never_forgotten(void **state)
{
    static struct seq_dedupe d;
    struct seq_cmd *const busy = (struct seq_cmd *)&d; /* any address */
    struct seq_dedupe_key key = key_of(0);

    (void)state;
    assert_true(seq_dedupe_init(&d, 4, 1));
    seq_dedupe_add(&d, &key, 0)->cmd = busy;
    for (uint64_t n = 1; n < 50; n++) {
        struct seq_dedupe_key other = key_of(n);

        assert_non_null(seq_dedupe_add(&d, &other, 0));
    }
    assert_ptr_equal(seq_dedupe_find(&d, &key)->cmd, busy);
    for (uint64_t n = 46; n < 50; n++) {
        struct seq_dedupe_key other = key_of(n);
        struct seq_dedupe_row *row = seq_dedupe_find(&d, &other);

        if (row != NULL) {
            row->cmd = busy;
        }
    }
    key = key_of(60);
    assert_null(seq_dedupe_add(&d, &key, 0));
    seq_dedupe_fini(&d);
}

static void
test_seq_convs_evicts_only_what_is_idle(void **state)
{
    static struct seq_convs c;
    struct an_conv keys[5];
    struct seq_conv *held;

    (void)state;
    assert_true(seq_convs_init(&c, 4, 1));
    for (uint64_t i = 0; i < 5; i++) {
        keys[i] = an_conv_direct(1, 2 + i);
    }
    held = seq_convs_get(&c, &keys[0], 0);
    held->refs = 1;
    for (int round = 0; round < 10; round++) {
        for (size_t i = 1; i < 5; i++) {
            assert_non_null(seq_convs_get(&c, &keys[i], 0));
        }
    }
    assert_ptr_equal(seq_convs_get(&c, &keys[0], 0), held);
    assert_int_equal(c.count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        c.convs[i].refs = 1;
    }
    for (size_t i = 0; i < 5; i++) {
        keys[i] = an_conv_direct(50, 60 + i);
    }
    assert_null(seq_convs_get(&c, &keys[0], 0));
    seq_convs_fini(&c);
}

static void
test_seq_ids_come_once_in_run_order_and_age(void **state)
{
    struct seq_ids ids = {.block = 8};
    struct an_now now = {.mono_ms = 100000};
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    Anser__Bus__IdRun a = ANSER__BUS__ID_RUN__INIT, b = ANSER__BUS__ID_RUN__INIT;
    Anser__Bus__IdRun *list[] = {&a, &b};
    uint64_t id;

    (void)state;
    a.prefix = 1 << 12;
    a.start = 4095;
    a.stride = 3;
    a.count = 2;
    b.prefix = 2 << 12;
    b.count = 5000; /* more than a millisecond has: not believed */
    taken.runs = list;
    taken.n_runs = 2;
    assert_true(seq_ids_low(&ids, now));
    seq_ids_add(&ids, &taken, now);
    assert_int_equal(ids.left, 2);
    assert_true(seq_ids_take(&ids, now, &id));
    assert_int_equal(id, (1 << 12) + 4095);
    assert_true(seq_ids_take(&ids, now, &id));
    assert_int_equal(id, (1 << 12) + 2);
    assert_false(seq_ids_take(&ids, now, &id));
    for (int i = 0; i < 40; i++) {
        seq_ids_add(&ids, &taken, now); /* more runs than are kept */
    }
    assert_int_equal(ids.left, 2 * SEQ_RUNS_MAX);
    assert_false(seq_ids_low(&ids, now));
    now.mono_ms += 6000;
    assert_true(seq_ids_low(&ids, now));
    now.mono_ms += 6000;
    assert_false(seq_ids_take(&ids, now, &id));
    assert_int_equal(ids.left, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seq_table_random_puts_and_removes_match_a_model),
        cmocka_unit_test(test_seq_dedupe_never_calls_a_stored_id_new),
        cmocka_unit_test(test_seq_dedupe_rows_in_flight_are_never_forgotten),
        cmocka_unit_test(test_seq_convs_evicts_only_what_is_idle),
        cmocka_unit_test(test_seq_ids_come_once_in_run_order_and_age),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
