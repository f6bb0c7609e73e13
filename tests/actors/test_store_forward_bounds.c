/* Inboxes on other stores at the edges: full memory, full disks, requests that do not
 * fit, and stores that were put back in time. */
#include "core/slot.h"
#include "tests/actors/store_cluster.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static int
setup(void **state)
{
    struct cluster *c = cluster_create(2);

    cluster_open_all(c);
    *state = c;
    return 0;
}

static int
teardown(void **state)
{
    cluster_destroy(*state);
    return 0;
}

/* ------------------------------------------------------------------ bounds */

/* More waits than memory may hold: the rest comes back from the disk, in order. */
static void
test_store_forward_reads_back_what_does_not_fit(void **state)
{
    struct cluster *c = cluster_create(2);
    uint64_t a, b, d;
    unsigned n = 0;

    (void)state;
    c->rigs[0]->cfg.outgoing_bytes_max = 20000;
    cluster_open_all(c);
    cluster_pair(c, 0, 1, 0, &a, &b);
    do {
        d = cluster_user(c, 1, n++);
    } while (d == b || cluster_store_of_pair(c, a, d) != 0);
    cluster_claim_pair(c, a, b);
    cluster_claim_pair(c, a, d);
    cluster_close(c, 1);
    for (unsigned i = 0; i < 50; i++) {
        cluster_talk(c, a, b, 1 + 10 * i, 10 + 10 * i);
        cluster_talk(c, a, d, 1 + 3 * i, 3 + 3 * i);
    }
    assert_true(cluster_metric(c, 0, "outgoing_bytes") <= 20000);
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting"), 650);
    cluster_open(c, 1);
    cluster_advance(c, 1500);
    cluster_talk(c, a, b, 501, 510);
    cluster_advance(c, 1500);
    cluster_expect_whole(c, a, b);
    cluster_expect_whole(c, a, d);
    assert_true(cluster_metric(c, 0, "outgoing_reads_total") > 1);
    assert_int_equal(cluster_metric(c, 0, "outgoing_lost_total"), 0);
    assert_int_equal(cluster_metric(c, 1, "forwards_applied_total"), 660);
    cluster_destroy(c);
}

/* ------------------------------------------------------------------ no memory */

/* Rows of this kind do not fit into memory, as often as that. */
static const char *starved;
static unsigned starved_count;

void *__real_an_wire_unpack(const ProtobufCMessageDescriptor *kind,
                            struct an_arena *arena, const uint8_t *data, size_t len);
void *__wrap_an_wire_unpack(const ProtobufCMessageDescriptor *kind,
                            struct an_arena *arena, const uint8_t *data, size_t len);

void *
__wrap_an_wire_unpack(const ProtobufCMessageDescriptor *kind, struct an_arena *arena,
                      const uint8_t *data, size_t len)
{
    if (starved_count > 0 && strcmp(kind->name, starved) == 0) {
        starved_count--;
        assert_null(an_arena_alloc(arena, SIZE_MAX / 2));
        return NULL;
    }
    return __real_an_wire_unpack(kind, arena, data, len);
}

/* A store that has its entries on disk alone, and no memory to read them a few times:
 * they are read again later, and none is passed over. */
static void
forward_starved(const char *kind, unsigned count)
{
    struct cluster *c = cluster_create(2);
    uint64_t a, b, d;
    unsigned n = 0;

    cluster_open_all(c);
    cluster_pair(c, 0, 1, 0, &a, &b);
    do {
        d = cluster_user(c, 1, n++);
    } while (d == b || cluster_store_of_pair(c, a, d) != 0);
    cluster_claim_pair(c, a, b);
    cluster_claim_pair(c, a, d);
    cluster_close(c, 1);
    cluster_talk(c, a, b, 1, 6);
    cluster_talk(c, a, d, 1, 6);
    cluster_close(c, 0);
    cluster_open(c, 0);
    starved = kind;
    starved_count = count;
    cluster_open(c, 1);
    cluster_advance(c, 3000);
    assert_int_equal(starved_count, 0);
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting"), 0);
    assert_int_equal(cluster_metric(c, 0, "outgoing_lost_total"), 0);
    cluster_claim_pair(c, a, b);
    cluster_claim_pair(c, a, d);
    cluster_expect_whole(c, a, b);
    cluster_expect_whole(c, a, d);
    cluster_destroy(c);
}

static void
test_store_forward_no_memory_for_a_message_waits(void **state)
{
    (void)state;
    for (unsigned count = 1; count < 5; count++) {
        forward_starved("anser.stored.Message", count);
    }
}

static void
test_store_forward_no_memory_for_a_row_waits(void **state)
{
    (void)state;
    for (unsigned count = 1; count < 5; count++) {
        forward_starved("anser.stored.Outgoing", count);
    }
}

/* ------------------------------------------------------------------ the bound */

static void
test_store_forward_at_the_bound_refuses_what_needs_it(void **state)
{
    struct cluster *c = cluster_create(2);
    const char *json;
    uint64_t a, b, d, e;

    (void)state;
    c->rigs[0]->cfg.outgoing_rows_max = 20;
    cluster_open_all(c);
    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_pair(c, 0, 0, 0, &d, &e);
    cluster_claim_pair(c, a, b);
    cluster_claim_pair(c, d, e);
    cluster_close(c, 1);
    cluster_talk(c, a, b, 1, 20);
    cluster_run(c);
    assert_int_equal(cluster_send(c, a, b, 21)->err, AN_ERR_UNAVAILABLE);
    assert_int_equal(cluster_head(c, a, b), 20);
    cluster_talk(c, d, e, 1, 10);
    json = harness_inspect(c->rigs[0]->h, "outgoing");
    assert_non_null(json);
    assert_non_null(strstr(json, "{\"store\":\"store/1\",\"known\":true,\"blocked\":true,"
                                 "\"waiting\":\"20\""));
    assert_non_null(strstr(json, "\"error\":\"UNAVAILABLE\""));
    cluster_open(c, 1);
    cluster_advance(c, 1500);
    cluster_talk(c, a, b, 21, 22);
    cluster_run(c);
    cluster_expect_whole(c, a, b);
    json = harness_inspect(c->rigs[0]->h, "outgoing");
    assert_non_null(strstr(json, "\"blocked\":false,\"waiting\":\"0\""));
    assert_non_null(strstr(json, "\"error\":\"OK\""));
    cluster_destroy(c);
}

/* All rows but the newest of a slot go, in time. */
static void
test_store_forward_deletes_rows_that_are_done(void **state)
{
    struct cluster *c = *state;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 300);
    cluster_run(c);
    cluster_advance(c, 2000);
    assert_int_equal(cluster_metric(c, 0, "outgoing_deleted_total"), 299);
    cluster_close(c, 0);
    cluster_open(c, 0);
    cluster_run(c);
    cluster_talk(c, a, b, 301, 310);
    cluster_advance(c, 2000);
    cluster_expect_whole(c, a, b);
    assert_int_equal(cluster_metric(c, 0, "outgoing_deleted_total"), 10);
}

/* ------------------------------------------------------------------ refused records */

/* The disk is full in the middle: the numbers given are taken back, and given again. */
static void
test_store_forward_refused_record_takes_numbers_back(void **state)
{
    struct cluster *c = *state;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 5);
    files_sim_fail(c->rigs[0]->sim, FILES_SIM_WRITE_FULL, "", 1);
    assert_int_equal(cluster_send(c, b, a, 6)->err, AN_ERR_DISK_FULL);
    cluster_run(c);
    cluster_talk(c, a, b, 6, 10);
    cluster_run(c);
    cluster_expect_whole(c, a, b);
    assert_int_equal(cluster_metric(c, 0, "outgoing_lost_total"), 0);
    assert_int_equal(cluster_metric(c, 0, "rewinds_total"), 0);
}

static void
test_store_receive_refused_record_takes_marks_back(void **state)
{
    struct cluster *c = *state;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 5);
    files_sim_fail(c->rigs[1]->sim, FILES_SIM_WRITE_FULL, "", 1);
    cluster_run(c);
    assert_int_equal(cluster_inbox_head(c, b), 0);
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting"), 5);
    cluster_advance(c, 1500);
    cluster_expect_whole(c, a, b);
    assert_int_equal(cluster_metric(c, 1, "forwards_applied_total"), 5);
    assert_int_equal(cluster_metric(c, 1, "forwards_repeated_total"), 0);
}

/* ------------------------------------------------------------------ requests by hand */

struct parcel {
    struct store_rig_message messages[8];
    Anser__Bus__ForwardEntry entries[8];
    Anser__Bus__ForwardEntry *list[8];
    Anser__Bus__ForwardSlot slot;
    Anser__Bus__ForwardSlot *slots[1];
    Anser__Bus__Forward body;
};

/* Entries first.. for user to, messages of the same seqs. */
static void
fill(struct parcel *parcel, uint64_t from, uint64_t to, uint64_t first, unsigned count)
{
    anser__bus__forward__init(&parcel->body);
    anser__bus__forward_slot__init(&parcel->slot);
    for (unsigned i = 0; i < count; i++) {
        store_rig_message(&parcel->messages[i], from, to, first + i);
        anser__bus__forward_entry__init(&parcel->entries[i]);
        parcel->entries[i].user = to;
        parcel->entries[i].message = &parcel->messages[i].message;
        parcel->list[i] = &parcel->entries[i];
    }
    parcel->slot.slot = an_slot_user(to);
    parcel->slot.first = first;
    parcel->slot.entries = parcel->list;
    parcel->slot.n_entries = count;
    parcel->slots[0] = &parcel->slot;
    parcel->body.source = 0;
    parcel->body.slots = parcel->slots;
    parcel->body.n_slots = 1;
}

static uint64_t
begin(struct store_rig *rig, const struct parcel *parcel)
{
    return harness_request(rig->h, (struct an_addr){AN_ROLE_STORE, 0}, AN_KIND_FORWARD,
                           &parcel->body.base);
}

static const Anser__Bus__ForwardedSlot *
ended(struct store_rig *rig, uint64_t id)
{
    const Anser__Bus__Forwarded *body;

    store_rig_settle(rig);
    assert_non_null(harness_reply(rig->h, id));
    assert_int_equal(harness_reply(rig->h, id)->e.err, AN_OK);
    body = harness_body(harness_reply(rig->h, id));
    assert_int_equal(body->n_slots, 1);
    return body->slots[0];
}

static void
expect(struct store_rig *rig, uint64_t id, enum an_err err, uint64_t mark)
{
    assert_int_equal(ended(rig, id)->err, err);
    assert_int_equal(ended(rig, id)->mark, mark);
}

/* Before the store has written any of them: one batch, each judged behind the last. */
static void
test_store_receive_several_requests_in_one_batch(void **state)
{
    struct cluster *c = *state;
    struct store_rig *rig = c->rigs[1];
    uint64_t batches = harness_metric(rig->h, "batches_total");
    struct parcel parcel;
    uint64_t ids[6];
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    fill(&parcel, a, b, 1, 3);
    ids[0] = begin(rig, &parcel);
    ids[1] = begin(rig, &parcel);
    fill(&parcel, a, b, 2, 4);
    ids[2] = begin(rig, &parcel); /* overlaps */
    fill(&parcel, a, b, 7, 2);
    ids[3] = begin(rig, &parcel); /* a hole */
    fill(&parcel, a, b, 6, 2);
    ids[4] = begin(rig, &parcel);
    parcel.slot.first = 10;
    parcel.slot.skip = true;
    ids[5] = begin(rig, &parcel);
    expect(rig, ids[0], AN_OK, 3);
    expect(rig, ids[1], AN_OK, 3);
    expect(rig, ids[2], AN_OK, 5);
    expect(rig, ids[3], AN_ERR_REWIND, 5);
    expect(rig, ids[4], AN_OK, 7);
    expect(rig, ids[5], AN_OK, 11);
    assert_int_equal(harness_metric(rig->h, "batches_total"), batches + 1);
    assert_int_equal(harness_metric(rig->h, "forwards_applied_total"), 9);
    assert_int_equal(harness_metric(rig->h, "forwards_repeated_total"), 5);
    assert_int_equal(harness_metric(rig->h, "forwards_rewound_total"), 1);
    assert_int_equal(harness_metric(rig->h, "skips_total"), 1);
    assert_int_equal(cluster_inbox_head(c, b), 9);
    /* And the mark is what the next life knows. */
    cluster_close(c, 1);
    cluster_open(c, 1);
    fill(&parcel, a, b, 12, 1);
    expect(rig, begin(rig, &parcel), AN_OK, 12);
}

static void
test_store_receive_refuses_what_does_not_fit(void **state)
{
    struct cluster *c = *state;
    struct store_rig *rig = c->rigs[1];
    struct parcel parcel;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    fill(&parcel, b, a, 1, 1); /* a's box is not here */
    assert_int_equal(ended(rig, begin(rig, &parcel))->err, AN_ERR_NOT_MINE);
    fill(&parcel, a, b, 1, 2);
    parcel.slot.slot = an_slot_user(b) == 1023 ? 1022 : 1023;
    assert_int_equal(ended(rig, begin(rig, &parcel))->err, AN_ERR_ARGUMENT);
    fill(&parcel, a, b, 1, 2);
    parcel.messages[1].message.body.len = 0; /* nothing of the slot is taken */
    assert_int_equal(ended(rig, begin(rig, &parcel))->err, AN_ERR_ARGUMENT);
    fill(&parcel, a, b, 1, 1);
    parcel.slot.first = 0;
    assert_int_equal(ended(rig, begin(rig, &parcel))->err, AN_ERR_ARGUMENT);
    fill(&parcel, a, b, 1, 0);
    assert_int_equal(ended(rig, begin(rig, &parcel))->err, AN_ERR_ARGUMENT);
    fill(&parcel, a, b, 1, 1);
    parcel.entries[0].message = NULL;
    assert_int_equal(ended(rig, begin(rig, &parcel))->err, AN_ERR_ARGUMENT);
    assert_int_equal(cluster_inbox_head(c, b), 0);
    fill(&parcel, a, b, 1, 1);
    parcel.body.source = 1; /* not who sends it */
    assert_int_equal(harness_reply(rig->h, begin(rig, &parcel))->e.err, AN_ERR_ARGUMENT);
    fill(&parcel, a, b, 1, 1);
    expect(rig, begin(rig, &parcel), AN_OK, 1);
}

/* ------------------------------------------------------------------ put back in time */

/* The other one lost everything: what is still here is sent again, what is not is passed
 * over, loudly. */
static void
test_store_forward_destination_put_back_is_sent_what_is_left(void **state)
{
    struct cluster *c = *state;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 10);
    cluster_run(c);
    cluster_advance(c, 2000); /* rows 1..9 are deleted */
    cluster_talk(c, a, b, 11, 14);
    cluster_run(c);
    cluster_close(c, 1);
    cluster_lose_disk(c, 1);
    cluster_open(c, 1);
    cluster_talk(c, a, b, 15, 16);
    cluster_advance(c, 500);
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting"), 0);
    assert_int_equal(cluster_metric(c, 0, "rewinds_total"), 1);
    assert_int_equal(cluster_metric(c, 0, "outgoing_lost_total"), 9);
    assert_int_equal(cluster_metric(c, 1, "skips_total"), 1);
    assert_int_equal(cluster_inbox_head(c, b), 7);
    assert_int_equal(cluster_entries(c, b, a, b, 9), 0);
    assert_int_equal(cluster_entries(c, b, a, b, 10), 1);
    assert_int_equal(cluster_entries(c, b, a, b, 16), 1);
    cluster_talk(c, a, b, 17, 18);
    cluster_run(c);
    assert_int_equal(cluster_inbox_head(c, b), 9);
    assert_int_equal(cluster_metric(c, 1, "skips_total"), 1);
}

/* This one was: it goes on above the mark that the other has. */
static void
test_store_forward_source_put_back_goes_on_above_the_mark(void **state)
{
    struct cluster *c = *state;
    struct parcel parcel;
    uint64_t a, b;

    cluster_pair(c, 0, 1, 0, &a, &b);
    cluster_claim_pair(c, a, b);
    cluster_talk(c, a, b, 1, 10);
    cluster_run(c);
    /* What the life before the backup was put back had sent. */
    fill(&parcel, a, b, 11, 5);
    expect(c->rigs[1], begin(c->rigs[1], &parcel), AN_OK, 15);
    cluster_close(c, 0);
    cluster_open(c, 0);
    cluster_advance(c, 2500);
    /* The newest row, too: no hole may follow it. */
    assert_int_equal(cluster_metric(c, 0, "outgoing_deleted_total"), 10);
    cluster_talk(c, a, b, 11, 12);
    cluster_run(c);
    assert_int_equal(cluster_metric(c, 0, "outgoing_waiting"), 0);
    assert_int_equal(cluster_inbox_head(c, b), 17); /* 15 of before, and these two */
    assert_int_equal(cluster_metric(c, 1, "skips_total"), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_forward_reads_back_what_does_not_fit),
        cmocka_unit_test(test_store_forward_no_memory_for_a_message_waits),
        cmocka_unit_test(test_store_forward_no_memory_for_a_row_waits),
        cmocka_unit_test(test_store_forward_at_the_bound_refuses_what_needs_it),
        TEST(test_store_forward_deletes_rows_that_are_done),
        TEST(test_store_forward_refused_record_takes_numbers_back),
        TEST(test_store_receive_refused_record_takes_marks_back),
        TEST(test_store_receive_several_requests_in_one_batch),
        TEST(test_store_receive_refuses_what_does_not_fit),
        TEST(test_store_forward_destination_put_back_is_sent_what_is_left),
        TEST(test_store_forward_source_put_back_goes_on_above_the_mark),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
