/* What lies in different slots and has to agree: messages and the inbox entries of their
 * members, user rows and directory rows, message ids and all other message ids.
 *
 * First walk: each side of a join adds or subtracts the hashes of its items in one of
 * 65,536 parts; where the sums are zero both sides said the same. Ids go through a filter
 * that knows almost for certain whether it met one before. Both keep their size. Only
 * when a part does not add up or an id is suspect, a second walk collects the items of
 * those parts and ids and compares them one by one. */
#include "cluster/check_priv.h"
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILTER_BYTES = 64 * 1024 * 1024,
    FILTER_PROBES = 4,
    ITEMS_MAX = 4 * 1024 * 1024,
    SUSPECTS_MAX = 4 * 1024 * 1024,
};

/* Not secret: the items are not chosen by an enemy. */
static void
hash(const void *data, size_t len, uint64_t *a, uint64_t *b)
{
    static const uint8_t keys[2][crypto_shorthash_KEYBYTES] = {"anser check one",
                                                               "anser check two"};

    crypto_shorthash((uint8_t *)a, data, len, keys[0]);
    crypto_shorthash((uint8_t *)b, data, len, keys[1]);
}

enum an_err
check_join_init(struct check *check)
{
    size_t bytes = check->cfg->id_filter_bytes;

    if (bytes == 0) {
        bytes = FILTER_BYTES;
    }
    for (unsigned i = 0; i < CHECK_JOINS; i++) {
        check->parts[i] = calloc(CHECK_PARTS, sizeof(struct check_part));
        if (check->parts[i] == NULL) {
            return AN_ERR_NO_MEMORY;
        }
    }
    check->filter = calloc(1, bytes);
    check->filter_bits = (uint64_t)bytes * 8;
    return check->filter != NULL ? AN_OK : AN_ERR_NO_MEMORY;
}

void
check_join_fini(struct check *check)
{
    for (unsigned i = 0; i < CHECK_JOINS; i++) {
        free(check->parts[i]);
    }
    free(check->filter);
    free(check->items.items);
    free(check->suspects.items);
    free(check->ids.items);
}

/* ------------------------------------------------------------------ joins */

static bool
doubtful(const struct check_part *part)
{
    return part->a != 0 || part->b != 0 || part->count != 0;
}

static void
collect(struct check *check, const struct check_item *item)
{
    struct check_item *out;

    if (check->items.count >= ITEMS_MAX) {
        check->items_cut = true;
        return;
    }
    out = check_list_add(check, &check->items, sizeof(*out));
    if (out != NULL) {
        *out = *item;
        out->origin = check->at;
    }
}

static void
join(struct check *check, struct check_item *item, uint64_t choice)
{
    struct check_part *part = &check->parts[item->what][choice % CHECK_PARTS];

    if (check->second) {
        if (doubtful(part)) {
            collect(check, item);
        }
        return;
    }
    if (item->side > 0) {
        part->a += item->a;
        part->b += item->b;
        part->count++;
    } else {
        part->a -= item->a;
        part->b -= item->b;
        part->count--;
    }
}

void
check_join_entry(struct check *check, enum check_side side, uint64_t user, uint64_t low,
                 uint64_t high, uint64_t seq, uint64_t inbox_seq)
{
    struct check_item item = {.what = CHECK_JOIN_ENTRY,
                              .side = (int8_t)side,
                              .user = user,
                              .low = low,
                              .high = high,
                              .seq = seq,
                              .inbox_seq = inbox_seq};
    uint64_t text[4] = {user, low, high, seq};

    hash(text, sizeof(text), &item.a, &item.b);
    join(check, &item, item.a);
}

void
check_join_message(struct check *check, uint64_t low, uint64_t high, uint64_t seq)
{
    if (check_user_here(check, low)) {
        check_join_entry(check, CHECK_MESSAGES, low, low, high, seq, 0);
    }
    if (high != low && check_user_here(check, high)) {
        check_join_entry(check, CHECK_MESSAGES, high, low, high, seq, 0);
    }
}

void
check_join_account(struct check *check, enum check_side side, uint64_t user,
                   const uint8_t *app, size_t app_len, const uint8_t *name,
                   size_t name_len)
{
    struct check_item item = {
        .what = CHECK_JOIN_ACCOUNT, .side = (int8_t)side, .user = user};
    uint8_t text[8 + 256];
    uint64_t other, unused;
    size_t len = sizeof(user);

    if (app_len + name_len + 1 > 256) {
        return; /* malformed, and said so */
    }
    memcpy(text, &user, sizeof(user));
    memcpy(text + len, app, app_len);
    len += app_len;
    text[len++] = 0;
    memcpy(text + len, name, name_len);
    len += name_len;
    hash(text, len, &item.a, &item.b);
    /* All that is said of one user is in one part. */
    hash(&user, sizeof(user), &other, &unused);
    join(check, &item, other);
}

static int
compare_items(const void *a, const void *b)
{
    const struct check_item *one = a;
    const struct check_item *two = b;

    if (one->what != two->what) {
        return one->what < two->what ? -1 : 1;
    }
    if (one->user != two->user) {
        return one->user < two->user ? -1 : 1;
    }
    if (one->a != two->a) {
        return one->a < two->a ? -1 : 1;
    }
    if (one->b != two->b) {
        return one->b < two->b ? -1 : 1;
    }
    if (one->side != two->side) {
        return one->side > two->side ? -1 : 1; /* messages, users first */
    }
    return (one->inbox_seq > two->inbox_seq) - (one->inbox_seq < two->inbox_seq);
}

/* More than one entry of the same message, an outgoing row that waits among them. */
static void
report_outgoing_twice(struct check *check, const struct check_item *row,
                      const struct check_item *other)
{
    if (other->inbox_seq == 0) {
        check_there(check, other->origin, false,
                    "message %" PRIu64 " of conversation %" PRIu64 "-%" PRIu64
                    " waits twice for the inbox of user %" PRIu64,
                    row->seq, row->low, row->high, row->user);
    } else {
        check_there(check, row->origin, false,
                    "message %" PRIu64 " of conversation %" PRIu64 "-%" PRIu64
                    " waits for the inbox of user %" PRIu64 ", whose entry %" PRIu64
                    " holds it already",
                    row->seq, row->low, row->high, row->user, other->inbox_seq);
    }
}

/* Equal items: how many of each side. */
static void
report_entries(struct check *check, const struct check_item *items, size_t messages,
               size_t entries)
{
    const struct check_item *entry = items + messages;

    if (messages > 0 && entries == 0) {
        check_there(check, items->origin, false,
                    "message %" PRIu64 " of conversation %" PRIu64 "-%" PRIu64
                    " is missing from the inbox of user %" PRIu64,
                    items->seq, items->low, items->high, items->user);
    } else if (messages == 0 && entry->inbox_seq == 0) {
        return; /* an outgoing row of nothing: said already */
    } else if (entries > 1 && entry->inbox_seq == 0) {
        report_outgoing_twice(check, &entry[0], &entry[1]);
    } else if (messages == 0) {
        check_there(check, entry->origin, false,
                    "entry %" PRIu64 " of user %" PRIu64 " points at message %" PRIu64
                    " of conversation %" PRIu64 "-%" PRIu64 ", which does not exist",
                    entry->inbox_seq, entry->user, entry->seq, entry->low, entry->high);
    } else if (entries > 1) {
        check_there(check, entry[1].origin, false,
                    "entry %" PRIu64 " of user %" PRIu64 " repeats message %" PRIu64
                    " of conversation %" PRIu64 "-%" PRIu64 ", which entry %" PRIu64
                    " holds",
                    entry[1].inbox_seq, entry->user, entry->seq, entry->low, entry->high,
                    entry->inbox_seq);
    }
}

/* from: the first item of the same user; to: behind its last. */
static void
report_accounts(struct check *check, const struct check_item *items, size_t users,
                size_t rows, const struct check_item *from, const struct check_item *to)
{
    bool exists = false;

    if (users > 0 && rows > 0) {
        return;
    }
    if (users > 0) {
        check_there(check, items->origin, false,
                    "user %" PRIu64 " has no directory row under the name it bears",
                    items->user);
        return;
    }
    for (; from < to; from++) {
        exists = exists || from->side > 0;
    }
    if (exists) {
        check_there(check, items->origin, false,
                    "a directory row names user %" PRIu64 ", who bears another name",
                    items->user);
    } else {
        check_there(check, items->origin, true,
                    "an account is unfinished: its directory row names user %" PRIu64
                    ", who has no row; adding the user again completes it",
                    items->user);
    }
}

static size_t
same_user(const struct check_item *items, size_t count)
{
    size_t len = 1;

    while (len < count && items[len].what == items[0].what &&
           items[len].user == items[0].user) {
        len++;
    }
    return len;
}

static void
report_user(struct check *check, const struct check_item *items, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t ours = 0;
        size_t len = 0;

        while (i + len < count && items[i + len].a == items[i].a &&
               items[i + len].b == items[i].b) {
            ours += items[i + len].side > 0;
            len++;
        }
        if (items[i].what == CHECK_JOIN_ENTRY) {
            report_entries(check, items + i, ours, len - ours);
        } else {
            report_accounts(check, items + i, ours, len - ours, items, items + count);
        }
        i += len;
    }
}

/* ------------------------------------------------------------------ message ids */

void
check_message_id(struct check *check, uint64_t id)
{
    uint64_t a, b;
    uint64_t *out;
    bool known = true;

    hash(&id, sizeof(id), &a, &b);
    for (unsigned i = 0; i < FILTER_PROBES; i++) {
        uint64_t bit = (a + i * (b | 1)) % check->filter_bits;
        uint64_t mask = (uint64_t)1 << (bit % 64);

        known = known && (check->filter[bit / 64] & mask) != 0;
        check->filter[bit / 64] |= mask;
    }
    if (!known) {
        return;
    }
    if (check->suspects.count >= SUSPECTS_MAX) {
        check->suspects_cut = true;
        return;
    }
    out = check_list_add(check, &check->suspects, sizeof(id));
    if (out != NULL) {
        *out = id;
    }
}

static int
compare_suspects(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a;
    uint64_t two = *(const uint64_t *)b;

    return (one > two) - (one < two);
}

static void
collect_id(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Message *row =
        check_value(check, &anser__stored__message__descriptor);
    struct check_id *out;

    if (row == NULL || check->ids.count >= ITEMS_MAX || check->suspects.count == 0 ||
        bsearch(&row->message_id, check->suspects.items, check->suspects.count,
                sizeof(uint64_t), compare_suspects) == NULL) {
        return;
    }
    out = check_list_add(check, &check->ids, sizeof(*out));
    if (out != NULL) {
        *out = (struct check_id){.id = row->message_id,
                                 .low = key->low,
                                 .high = key->high,
                                 .seq = key->seq,
                                 .origin = check->at};
    }
}

static int
compare_ids(const void *a, const void *b)
{
    const struct check_id *one = a;
    const struct check_id *two = b;

    if (one->id != two->id) {
        return one->id < two->id ? -1 : 1;
    }
    if (one->low != two->low) {
        return one->low < two->low ? -1 : 1;
    }
    if (one->high != two->high) {
        return one->high < two->high ? -1 : 1;
    }
    return (one->seq > two->seq) - (one->seq < two->seq);
}

static void
report_ids(struct check *check)
{
    struct check_id *ids = check->ids.items;

    if (check->ids.count > 1) {
        qsort(ids, check->ids.count, sizeof(*ids), compare_ids);
    }
    for (size_t i = 1; i < check->ids.count; i++) {
        if (ids[i].id == ids[i - 1].id) {
            check_there(check, ids[i].origin, false,
                        "message %" PRIu64 " of conversation %" PRIu64 "-%" PRIu64
                        " has the id %" PRIu64 " of message %" PRIu64
                        " of conversation %" PRIu64 "-%" PRIu64,
                        ids[i].seq, ids[i].low, ids[i].high, ids[i].id, ids[i - 1].seq,
                        ids[i - 1].low, ids[i - 1].high);
        }
    }
}

/* ------------------------------------------------------------------ second walk */

bool
check_join_doubts(struct check *check)
{
    if (check->suspects.count > 0) {
        qsort(check->suspects.items, check->suspects.count, sizeof(uint64_t),
              compare_suspects);
        return true;
    }
    for (unsigned i = 0; i < CHECK_JOINS; i++) {
        for (size_t k = 0; k < CHECK_PARTS; k++) {
            if (doubtful(&check->parts[i][k])) {
                return true;
            }
        }
    }
    return false;
}

static void
message_again(struct check *check, const struct check_key *key)
{
    collect_id(check, key);
    check_join_message(check, key->low, key->high, key->seq);
}

static void
entry_again(struct check *check, const struct check_key *key)
{
    const Anser__Stored__InboxEntry *row =
        check_value(check, &anser__stored__inbox_entry__descriptor);
    uint64_t low, high;

    if (row != NULL &&
        check_conv_get(row->conversation.data, row->conversation.len, &low, &high) &&
        row->seq != 0 && (key->user == low || key->user == high) &&
        check_slot_here(check, check_slot_conv(low, high))) {
        check_join_entry(check, CHECK_ENTRIES, key->user, low, high, row->seq, key->seq);
    }
}

static void
user_again(struct check *check, const struct check_key *key)
{
    const Anser__Stored__User *row = check_value(check, &anser__stored__user__descriptor);

    if (row != NULL && check_name(row->app.data, row->app.len) &&
        check_name(row->name.data, row->name.len) &&
        check_slot_here(check, check_slot_name(row->app.data, row->app.len,
                                               row->name.data, row->name.len))) {
        check_join_account(check, CHECK_MESSAGES, key->user, row->app.data, row->app.len,
                           row->name.data, row->name.len);
    }
}

static void
directory_again(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Directory *row =
        check_value(check, &anser__stored__directory__descriptor);

    if (row != NULL && row->user != 0 && check_user_here(check, row->user)) {
        check_join_account(check, CHECK_ENTRIES, row->user, key->app, key->app_len,
                           key->name, key->name_len);
    }
}

void
check_join_row(struct check *check, const struct check_key *key)
{
    switch (key->table) {
    case 'm':
        message_again(check, key);
        break;
    case 'i':
        entry_again(check, key);
        break;
    case 'u':
        user_again(check, key);
        break;
    case 'n':
        directory_again(check, key);
        break;
    default:
        break;
    }
}

void
check_join_report(struct check *check)
{
    struct check_item *items = check->items.items;
    size_t count = check->items.count;

    if (count > 1) {
        qsort(items, count, sizeof(*items), compare_items);
    }
    for (size_t i = 0; i < count;) {
        size_t len = same_user(items + i, count - i);

        report_user(check, items + i, len);
        i += len;
    }
    report_ids(check);
    if (check->items_cut || check->suspects_cut) {
        check_there(check, (struct check_origin){0}, true,
                    "more is wrong than could be listed one by one; repair and check "
                    "again");
    }
}
