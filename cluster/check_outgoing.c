/* Outgoing rows and marks: what the stores of a cluster owe each other.
 *
 * A row's message lies in the same directory. Rows come in the walk behind the messages
 * of the first slot and before those of all others, so what is in the first slot is
 * looked up at once and the rest as its messages come by. */
#include "cluster/check_priv.h"
#include <inttypes.h>
#include <stdlib.h>

enum { ROWS_MAX = 4 * 1024 * 1024 };

/* ------------------------------------------------------------------ rows */

static void
check_number(struct check *check, const struct check_key *key)
{
    if (key->seq == 0) {
        check_here(check, "an outgoing row has number 0");
    } else if (check->outgoing_slot == key->other &&
               key->seq != check->outgoing_number + 1) {
        check_here(check,
                   "outgoing rows %" PRIu64 " to %" PRIu64
                   " for slot %u are missing before this one",
                   check->outgoing_number + 1, key->seq - 1, key->other);
    }
    check->outgoing_slot = key->other;
    check->outgoing_number = key->seq;
}

static bool
check_place(struct check *check, const struct check_key *key)
{
    if (key->slot != check->dir->slot_first) {
        check_here(check, "an outgoing row lies in slot %u and belongs into slot %u",
                   key->slot, check->dir->slot_first);
    }
    if (key->other >= 1024 ||
        (key->other >= check->dir->slot_first && key->other <= check->dir->slot_last)) {
        check_here(check, "an outgoing row is for slot %u, which is of no other store",
                   key->other);
        return false;
    }
    return true;
}

void
check_outgoing_row(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Outgoing *row =
        check_value(check, &anser__stored__outgoing__descriptor);
    struct check_outgoing *out;
    uint64_t low, high;

    check->totals->outgoing++;
    check_number(check, key);
    if (!check_place(check, key) || row == NULL) {
        return;
    }
    if (!check_conv_get(row->conversation.data, row->conversation.len, &low, &high) ||
        row->seq == 0 || (row->user != low && row->user != high) ||
        check_slot_user(row->user) != key->other) {
        check_here(check,
                   "outgoing row %" PRIu64 " for slot %u is for user %" PRIu64
                   ", who is not of that slot and its conversation",
                   key->seq, key->other, row->user);
        return;
    }
    if (check->outgoing.count >= ROWS_MAX) {
        check->outgoing_cut = true;
        return;
    }
    out = check_list_add(check, &check->outgoing, sizeof(*out));
    if (out != NULL) {
        const struct check_conv *conv = check_conv_find(&check->slot, low, high);

        *out = (struct check_outgoing){.low = low,
                                       .high = high,
                                       .seq = row->seq,
                                       .user = row->user,
                                       .number = key->seq,
                                       .origin = check->at,
                                       .slot = (uint16_t)key->other,
                                       .source = check->dir->store_id,
                                       .found = conv != NULL && row->seq <= conv->seen};
        check->outgoing_sorted = false;
    }
}

void
check_mark_row(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Mark *row = check_value(check, &anser__stored__mark__descriptor);
    struct check_mark *out;

    check->totals->marks++;
    if (row == NULL) {
        return;
    }
    if (row->number == 0 || key->other == check->dir->store_id) {
        check_here(check, "the mark of store %u is 0, or that of this store itself",
                   key->other);
        return;
    }
    out = check_list_add(check, &check->marks, sizeof(*out));
    if (out != NULL) {
        *out = (struct check_mark){.number = row->number,
                                   .origin = check->at,
                                   .slot = key->slot,
                                   .source = (uint16_t)key->other};
    }
}

/* ------------------------------------------------------------------ their messages */

static int
compare_rows(const void *a, const void *b)
{
    const struct check_outgoing *one = a;
    const struct check_outgoing *two = b;

    if (one->low != two->low) {
        return one->low < two->low ? -1 : 1;
    }
    if (one->high != two->high) {
        return one->high < two->high ? -1 : 1;
    }
    return (one->seq > two->seq) - (one->seq < two->seq);
}

void
check_outgoing_message(struct check *check, uint64_t low, uint64_t high, uint64_t seq)
{
    struct check_outgoing *rows = check->outgoing.items;
    struct check_outgoing want = {.low = low, .high = high, .seq = seq};
    size_t first = check->outgoing_first;
    size_t end = check->outgoing.count;

    if (first == end) {
        return;
    }
    if (!check->outgoing_sorted) {
        qsort(rows + first, end - first, sizeof(*rows), compare_rows);
        check->outgoing_sorted = true;
    }
    while (first < end) {
        size_t at = first + (end - first) / 2;

        if (compare_rows(&rows[at], &want) < 0) {
            first = at + 1;
        } else {
            end = at;
        }
    }
    for (; first < check->outgoing.count && compare_rows(&rows[first], &want) == 0;
         first++) {
        rows[first].found = true;
    }
}

void
check_outgoing_begin(struct check *check)
{
    check->outgoing_slot = UINT32_MAX;
    if (!check->second) {
        check->outgoing_first = check->outgoing.count;
        check->outgoing_sorted = true;
    }
}

void
check_outgoing_end(struct check *check)
{
    const struct check_outgoing *rows = check->outgoing.items;

    for (size_t i = check->outgoing_first; i < check->outgoing.count; i++) {
        if (!rows[i].found) {
            check_there(check, rows[i].origin, false,
                        "outgoing row %" PRIu64 " for slot %u points at message %" PRIu64
                        " of conversation %" PRIu64 "-%" PRIu64 ", which does not exist",
                        rows[i].number, rows[i].slot, rows[i].seq, rows[i].low,
                        rows[i].high);
        }
    }
}

/* ------------------------------------------------------------------ between stores */

static int
compare_marks(const void *a, const void *b)
{
    const struct check_mark *one = a;
    const struct check_mark *two = b;

    if (one->slot != two->slot) {
        return one->slot < two->slot ? -1 : 1;
    }
    return (one->source > two->source) - (one->source < two->source);
}

static uint64_t
mark_of(const struct check *check, uint16_t slot, uint16_t source)
{
    struct check_mark want = {.slot = slot, .source = source};
    const struct check_mark *found =
        check->marks.count == 0 ? NULL
                                : bsearch(&want, check->marks.items, check->marks.count,
                                          sizeof(want), compare_marks);

    return found == NULL ? 0 : found->number;
}

void
check_outgoing_join(struct check *check)
{
    const struct check_outgoing *rows = check->outgoing.items;

    if (check->marks.count > 1) {
        qsort(check->marks.items, check->marks.count, sizeof(struct check_mark),
              compare_marks);
    }
    for (size_t i = 0; i < check->outgoing.count; i++) {
        const struct check_outgoing *row = &rows[i];

        if (!check_slot_here(check, row->slot) ||
            row->number <= mark_of(check, row->slot, row->source)) {
            continue;
        }
        check->totals->waiting += !check->second;
        check->at = row->origin;
        check_join_entry(check, CHECK_ENTRIES, row->user, row->low, row->high, row->seq,
                         0);
    }
    if (check->outgoing_cut && !check->second) {
        check_there(check, (struct check_origin){0}, true,
                    "there are more outgoing rows than are compared with messages");
    }
}

void
check_outgoing_fini(struct check *check)
{
    free(check->outgoing.items);
    free(check->marks.items);
}
