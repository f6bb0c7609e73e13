/* The check of stores that owe each other inbox entries: one directory alone, two
 * together, and damage planted between them. */
#include "cluster/check.h"
#include "core/slot.h"
#include "proto/stored.pb-c.h"
#include "tests/actors/store_cluster.h"
#include "tests/cluster/check_plant.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

/* a's inbox and the conversation are on store 0, b's inbox is on store 1; d and e the
 * other way round. Six messages each; store 0 keeps outgoing rows 3 to 6 to store 1,
 * which has taken 4 of them. */
struct world {
    struct cluster *c;
    uint64_t a, b, d, e;
};

struct heard {
    const char *want;
    unsigned findings, wanted;
    bool print;
};

static void
hear(void *ctx, const struct an_check_finding *finding)
{
    struct heard *heard = ctx;

    heard->findings += !finding->note;
    if (heard->want != NULL && strstr(finding->sentence, heard->want) != NULL) {
        heard->wanted++;
        assert_true(strlen(finding->dir) > 0 && strlen(finding->file) > 0);
    }
    if (heard->print) {
        print_message("%s: %s/%s:%llu: %s\n", heard->want, finding->dir, finding->file,
                      (unsigned long long)finding->offset, finding->sentence);
    }
}

static struct an_check_totals
check_some(struct world *world, size_t first, size_t count, struct heard *heard,
           enum an_err err)
{
    static const char *const NAMES[] = {"data0", "data1"};
    struct an_check_cfg cfg = {.dirs = NAMES + first,
                               .dir_count = count,
                               .files = cluster_files(world->c),
                               .wall_ms = store_rig_time(1000),
                               .id_filter_bytes = 64 * 1024,
                               .ctx = heard,
                               .finding = hear};
    struct an_check_totals totals;

    assert_int_equal(an_check_data(&cfg, &totals), err);
    assert_int_equal(totals.findings, heard->findings);
    return totals;
}

static int
setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct cluster *c = cluster_create(2);

    world->c = c;
    cluster_open_all(c);
    cluster_pair(c, 0, 1, 0, &world->a, &world->b);
    cluster_pair(c, 1, 0, 1, &world->d, &world->e);
    cluster_claim_pair(c, world->a, world->b);
    cluster_claim_pair(c, world->d, world->e);
    cluster_talk(c, world->a, world->b, 1, 4);
    cluster_talk(c, world->d, world->e, 1, 6);
    cluster_run(c);
    cluster_advance(c, 2000); /* what is done is deleted */
    cluster_close(c, 1);
    cluster_talk(c, world->a, world->b, 5, 6);
    cluster_run(c);
    cluster_close(c, 0);
    *state = world;
    return 0;
}

static int
teardown(void **state)
{
    struct world *world = *state;

    cluster_destroy(world->c);
    free(world);
    return 0;
}

/* ------------------------------------------------------------------ healthy ones */

static void
test_check_of_stores_finds_nothing_wrong(void **state)
{
    struct world *world = *state;
    struct heard heard = {.print = true};
    struct an_check_totals totals = check_some(world, 0, 2, &heard, AN_OK);

    assert_int_equal(heard.findings, 0);
    assert_int_equal(totals.outgoing, 4); /* 4 to 6, and the newest of the other's */
    assert_int_equal(totals.waiting, 2);
    assert_int_equal(totals.marks, 2);
    assert_int_equal(totals.entries, 6 + 4 + 6 + 6);
    assert_int_equal(totals.elsewhere, 0);
    totals = check_some(world, 0, 1, &heard, AN_OK);
    assert_int_equal(totals.outgoing, 3);
    assert_int_equal(totals.elsewhere, 6);
    totals = check_some(world, 1, 1, &heard, AN_OK);
    assert_int_equal(totals.elsewhere, 4);
    assert_int_equal(totals.marks, 1);
    assert_int_equal(heard.findings, 0);
}

/* A conversation in the very slot of the outgoing rows: its messages come before them. */
static void
test_check_of_stores_knows_messages_of_the_first_slot(void **state)
{
    struct world *world = *state;
    struct heard heard = {.print = true};
    uint64_t b;
    struct an_conv conv;

    for (b = 1;; b++) {
        conv = an_conv_direct(world->a, b);
        if (an_slot_conv(&conv) == 0 && cluster_store_of(world->c, b) == 1) {
            break;
        }
    }
    cluster_open(world->c, 1);
    cluster_open(world->c, 0);
    cluster_run(world->c);
    cluster_claim_pair(world->c, world->a, b);
    cluster_close(world->c, 1);
    cluster_talk(world->c, world->a, b, 1, 3);
    cluster_run(world->c);
    cluster_close(world->c, 0);
    assert_int_equal(check_some(world, 0, 1, &heard, AN_OK).outgoing, 6);
    assert_int_equal(check_some(world, 0, 2, &heard, AN_OK).waiting, 3);
    assert_int_equal(heard.findings, 0);
}

static void
test_check_of_other_clusters_together_is_refused(void **state)
{
    struct world *world = *state;
    struct heard heard = {.want = "different clusters"};

    cluster_lose_disk(world->c, 1);
    world->c->rigs[1]->cfg.engine.cluster_id = "other";
    cluster_open(world->c, 1);
    cluster_close(world->c, 1);
    check_some(world, 0, 2, &heard, AN_ERR_ARGUMENT);
    assert_int_equal(heard.wanted, 1);
}

/* ------------------------------------------------------------------ planted damage */

struct outgoing {
    uint16_t home, slot;
    uint64_t number, user, seq;
};

static void
plant_outgoing(struct world *world, struct outgoing what)
{
    Anser__Stored__Outgoing row = ANSER__STORED__OUTGOING__INIT;
    struct an_conv conv = an_conv_direct(world->a, world->b);
    uint8_t key[AN_ROW_KEY_MAX];

    row.user = what.user;
    row.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    row.seq = what.seq;
    check_plant(world->c->rigs[0], key,
                an_row_outgoing(key, what.home, what.slot, what.number),
                what.user == 0 ? NULL : &row.base);
}

static void
plant_mark(struct world *world, uint16_t source, uint64_t number)
{
    Anser__Stored__Mark row = ANSER__STORED__MARK__INIT;
    uint8_t key[AN_ROW_KEY_MAX];

    row.number = number;
    check_plant(world->c->rigs[1], key, an_row_mark(key, an_slot_user(world->b), source),
                &row.base);
}

static void
plant_hole(struct world *world)
{
    plant_outgoing(world, (struct outgoing){0, an_slot_user(world->b), 5, 0, 0});
}

static void
plant_row_of_nothing(struct world *world)
{
    plant_outgoing(world, (struct outgoing){0, an_slot_user(world->b), 7, world->b, 99});
}

static void
plant_row_of_another_user(struct world *world)
{
    plant_outgoing(world, (struct outgoing){0, an_slot_user(world->b), 7, world->a, 6});
}

static void
plant_row_of_own_slot(struct world *world)
{
    plant_outgoing(world, (struct outgoing){0, an_slot_user(world->a), 1, world->a, 6});
}

static void
plant_row_in_another_slot(struct world *world)
{
    plant_outgoing(world, (struct outgoing){1, an_slot_user(world->b), 7, world->b, 6});
}

static void
plant_row_of_number_0(struct world *world)
{
    uint16_t slot = an_slot_user(world->b) == 1023 ? 1022 : 1023;

    plant_outgoing(world, (struct outgoing){0, slot, 0, world->b, 6});
}

static void
plant_row_that_is_none(struct world *world)
{
    Anser__Stored__Mark row = ANSER__STORED__MARK__INIT;
    uint8_t key[AN_ROW_KEY_MAX];

    row.number = 5; /* a varint where a row has a fixed64 */
    check_plant(world->c->rigs[0], key,
                an_row_outgoing(key, 0, an_slot_user(world->b), 6), &row.base);
}

static void
plant_short_key(struct world *world)
{
    Anser__Stored__Mark row = ANSER__STORED__MARK__INIT;
    const uint8_t key[] = {0, 0, 'o', 3};

    check_plant(world->c->rigs[0], key, sizeof(key), &row.base);
}

static void
plant_mark_0(struct world *world)
{
    plant_mark(world, 0, 0);
}

static void
plant_mark_of_itself(struct world *world)
{
    plant_mark(world, 1, 5);
}

static void
plant_mark_too_low(struct world *world)
{
    plant_mark(world, 0, 3);
}

static void
plant_mark_too_high(struct world *world)
{
    plant_mark(world, 0, 5);
}

static void
plant_lost_rows(struct world *world)
{
    plant_outgoing(world, (struct outgoing){0, an_slot_user(world->b), 6, 0, 0});
}

static void
plant_row_twice(struct world *world)
{
    plant_outgoing(world, (struct outgoing){0, an_slot_user(world->b), 7, world->b, 6});
}

static void
plant_entry(struct world *world, uint64_t inbox_seq, uint64_t seq)
{
    Anser__Stored__InboxEntry row = ANSER__STORED__INBOX_ENTRY__INIT;
    struct an_conv conv = an_conv_direct(world->a, world->b);
    uint8_t key[AN_ROW_KEY_MAX];

    row.conversation = (ProtobufCBinaryData){AN_CONV_LEN, conv.bytes};
    row.seq = seq;
    check_plant(world->c->rigs[1], key,
                an_row_inbox(key, an_slot_user(world->b), world->b, inbox_seq),
                &row.base);
}

static void
plant_entry_of_nothing(struct world *world)
{
    plant_entry(world, 4, 77);
}

static void
plant_entry_twice(struct world *world)
{
    plant_entry(world, 4, 3);
}

struct plant {
    const char *want;
    void (*plant)(struct world *world);
    size_t first, count; /* of the directories checked */
};

static const struct plant PLANTS[] = {
    {"outgoing rows 5 to 5 for slot", plant_hole, 0, 1},
    {"points at message 99 of", plant_row_of_nothing, 0, 1},
    {"who is not of that slot and its conversation", plant_row_of_another_user, 0, 1},
    {"which is of no other store", plant_row_of_own_slot, 0, 1},
    {"an outgoing row lies in slot 1 and belongs into slot 0", plant_row_in_another_slot,
     0, 1},
    {"an outgoing row has number 0", plant_row_of_number_0, 0, 1},
    {"the row's value is not a Outgoing", plant_row_that_is_none, 0, 1},
    {"a length that no such key has", plant_short_key, 0, 1},
    {"the mark of store 0 is 0", plant_mark_0, 1, 1},
    {"or that of this store itself", plant_mark_of_itself, 1, 1},
    {", whose entry 4 holds it already", plant_mark_too_low, 0, 2},
    {"message 5 of", plant_mark_too_high, 0, 2},
    {"message 6 of", plant_lost_rows, 0, 2},
    {"message 6 of", plant_row_twice, 0, 2},
    {"points at message 77 of", plant_entry_of_nothing, 0, 2},
    {", which entry 3 holds", plant_entry_twice, 0, 2},
};

static void
test_check_of_stores_names_planted_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(PLANTS) / sizeof(PLANTS[0]); i++) {
        struct heard heard = {.want = PLANTS[i].want};
        void *world;

        setup(&world);
        PLANTS[i].plant(world);
        check_some(world, PLANTS[i].first, PLANTS[i].count, &heard, AN_OK);
        if (heard.wanted != 1) {
            heard.print = true;
            heard.findings = 0;
            check_some(world, PLANTS[i].first, PLANTS[i].count, &heard, AN_OK);
            fail_msg("not found once: %s", heard.want);
        }
        teardown(&world);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_check_of_stores_finds_nothing_wrong, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_check_of_stores_knows_messages_of_the_first_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_of_other_clusters_together_is_refused,
                                        setup, teardown),
        cmocka_unit_test(test_check_of_stores_names_planted_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
