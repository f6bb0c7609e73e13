/* One slot's conversations: heads, dedupe rows, messages, positions. Rows come in key
 * order, table by table (c, d, ..., m, ..., v), so each table is joined with what the
 * ones before it left here. */
#include "cluster/check_priv.h"
#include "core/limits.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CONV(c)     (c)->low, (c)->high
#define CONV_FORMAT "conversation %" PRIu64 "-%" PRIu64

static int
compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int
compare_convs(uint64_t low_a, uint64_t high_a, uint64_t low_b, uint64_t high_b)
{
    int order = compare_numbers(low_a, low_b);

    return order != 0 ? order : compare_numbers(high_a, high_b);
}

/* ------------------------------------------------------------------ heads */

static void
keep_names(struct check *check, struct check_conv *conv,
           const Anser__Stored__Conversation *row)
{
    for (size_t i = 0; i < row->n_members && i < 2; i++) {
        ProtobufCBinaryData name = row->members[i]->name;

        if (!check_name(name.data, name.len)) {
            check_here(check, CONV_FORMAT " has a member with a malformed name",
                       CONV(conv));
            continue;
        }
        conv->names[i] = an_arena_dup(&check->slot.names, name.data, name.len);
        conv->name_lens[i] = (uint8_t)name.len;
        if (conv->names[i] == NULL) {
            check->err = AN_ERR_NO_MEMORY;
        }
    }
}

static void
conversation(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Conversation *row =
        check_value(check, &anser__stored__conversation__descriptor);
    struct check_conv *conv =
        check_list_add(check, &check->slot.convs, sizeof(struct check_conv));
    size_t members = key->low == key->high ? 1 : 2;

    if (conv == NULL) {
        return;
    }
    *conv = (struct check_conv){.low = key->low, .high = key->high, .origin = check->at};
    check->totals->conversations++;
    if (row == NULL) {
        return;
    }
    conv->known = true;
    conv->generation = row->generation;
    conv->head = row->head;
    conv->last_time_ms = row->last_time_ms;
    if (row->generation == 0 || row->head == 0) {
        check_here(check, CONV_FORMAT " has a head row without generation or head",
                   CONV(conv));
    }
    if (row->n_members != members || row->members[0]->user != key->low ||
        row->members[members - 1]->user != key->high) {
        check_here(check, CONV_FORMAT " has other members than its key says", CONV(conv));
        return;
    }
    keep_names(check, conv, row);
}

/* The conversation of a later table's row; the walk never goes back. NULL: it has no head
 * row. */
static struct check_conv *
find_conv(struct check_slot *slot, uint64_t low, uint64_t high)
{
    struct check_conv *convs = slot->convs.items;

    while (slot->conv_at < slot->convs.count &&
           compare_convs(convs[slot->conv_at].low, convs[slot->conv_at].high, low, high) <
               0) {
        slot->conv_at++;
    }
    if (slot->conv_at == slot->convs.count || convs[slot->conv_at].low != low ||
        convs[slot->conv_at].high != high) {
        return NULL;
    }
    return &convs[slot->conv_at];
}

const struct check_conv *
check_conv_find(const struct check_slot *slot, uint64_t low, uint64_t high)
{
    const struct check_conv *convs = slot->convs.items;
    size_t first = 0;
    size_t end = slot->convs.count;

    while (first < end) {
        size_t at = first + (end - first) / 2;
        int order = compare_convs(convs[at].low, convs[at].high, low, high);

        if (order == 0) {
            return &convs[at];
        }
        if (order < 0) {
            first = at + 1;
        } else {
            end = at;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ dedupe rows */

static void
dedupe(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Dedupe *row =
        check_value(check, &anser__stored__dedupe__descriptor);
    struct check_dedupe *out;

    check->totals->dedupes++;
    if (row == NULL) {
        return;
    }
    if (key->user != key->low && key->user != key->high) {
        check_here(check, "a dedupe row's sender %" PRIu64 " is not in its " CONV_FORMAT,
                   key->user, CONV(key));
    }
    if (row->seq == 0 || row->body_hash.len != 16) {
        check_here(check, "a dedupe row of " CONV_FORMAT " lacks its seq or hash",
                   CONV(key));
        return;
    }
    out = check_list_add(check, &check->slot.dedupes, sizeof(*out));
    if (out == NULL) {
        return;
    }
    *out = (struct check_dedupe){.low = key->low,
                                 .high = key->high,
                                 .seq = row->seq,
                                 .sender = key->user,
                                 .message_id = row->message_id,
                                 .time_ms = row->time_ms,
                                 .origin = check->at};
    memcpy(out->id, key->id, sizeof(out->id));
}

static int
compare_dedupes(const void *a, const void *b)
{
    const struct check_dedupe *one = a;
    const struct check_dedupe *two = b;
    int order = compare_convs(one->low, one->high, two->low, two->high);

    return order != 0 ? order : compare_numbers(one->seq, two->seq);
}

static void
sort_dedupes(struct check_slot *slot)
{
    if (!slot->dedupes_sorted && slot->dedupes.count > 1) {
        qsort(slot->dedupes.items, slot->dedupes.count, sizeof(struct check_dedupe),
              compare_dedupes);
    }
    slot->dedupes_sorted = true;
}

static uint64_t
id_time_ms(const uint8_t id[16])
{
    uint64_t ms = 0;

    for (unsigned i = 0; i < 6; i++) {
        ms = ms << 8 | id[i];
    }
    return ms;
}

/* Has the message its dedupe row? Marks it. */
static bool
find_dedupe(struct check_slot *slot, const struct check_key *key,
            const Anser__Stored__Message *row)
{
    struct check_dedupe *dedupes = slot->dedupes.items;
    struct check_dedupe want = {.low = key->low, .high = key->high, .seq = key->seq};
    bool found = false;

    sort_dedupes(slot);
    while (slot->dedupe_at < slot->dedupes.count &&
           compare_dedupes(&dedupes[slot->dedupe_at], &want) < 0) {
        slot->dedupe_at++;
    }
    for (size_t i = slot->dedupe_at;
         i < slot->dedupes.count && compare_dedupes(&dedupes[i], &want) == 0; i++) {
        struct check_dedupe *one = &dedupes[i];

        if (one->sender == row->sender && one->message_id == row->message_id &&
            one->time_ms == row->time_ms && row->client_msg_id.len == 16 &&
            memcmp(one->id, row->client_msg_id.data, 16) == 0) {
            one->matched = true;
            found = true;
        }
    }
    return found;
}

static void
dedupes_end(struct check *check)
{
    const struct check_dedupe *dedupes = check->slot.dedupes.items;

    for (size_t i = 0; i < check->slot.dedupes.count; i++) {
        if (!dedupes[i].matched) {
            check_there(check, dedupes[i].origin, false,
                        "a dedupe row points at message %" PRIu64 " of " CONV_FORMAT
                        ", which does not exist with its id",
                        dedupes[i].seq, CONV(&dedupes[i]));
        }
    }
}

/* ------------------------------------------------------------------ messages */

static bool
same_name(ProtobufCBinaryData name, const struct check_conv *conv, unsigned member)
{
    return conv->names[member] == NULL ||
           (name.len == conv->name_lens[member] &&
            memcmp(name.data, conv->names[member], name.len) == 0);
}

static void
check_people(struct check *check, const struct check_key *key,
             const struct check_conv *conv, const Anser__Stored__Message *row)
{
    unsigned sender = row->sender == key->low ? 0 : 1;
    unsigned other = key->low == key->high ? 0 : 1 - sender;

    if (row->sender != key->low && row->sender != key->high) {
        check_here(check,
                   "message %" PRIu64 " of " CONV_FORMAT " is by user %" PRIu64
                   ", who is no member",
                   key->seq, CONV(key), row->sender);
        return;
    }
    if (key->low == key->high) {
        sender = 0;
    }
    if (conv != NULL &&
        (!same_name(row->from, conv, sender) || !same_name(row->to, conv, other))) {
        check_here(check,
                   "message %" PRIu64 " of " CONV_FORMAT
                   " names other people than its members",
                   key->seq, CONV(key));
    }
}

static void
check_form(struct check *check, const struct check_key *key,
           const Anser__Stored__Message *row)
{
    const char *what = NULL;

    if (row->client_msg_id.len != 16 || row->client_msg_id.data[6] >> 4 != 7 ||
        row->client_msg_id.data[8] >> 6 != 2) {
        what = "a client id that is no UUIDv7";
    } else if (row->body.len == 0 || row->body.len > AN_BODY_LEN_MAX) {
        what = "a body of a length that none may have";
    } else if (!check_name(row->from_device.data, row->from_device.len)) {
        what = "a malformed device name";
    } else if (row->message_id == 0 || row->time_ms == 0) {
        what = "no message id or no time";
    }
    if (what != NULL) {
        check_here(check, "message %" PRIu64 " of " CONV_FORMAT " has %s", key->seq,
                   CONV(key), what);
    }
}

static void
check_order(struct check *check, const struct check_key *key, struct check_conv *conv,
            const Anser__Stored__Message *row)
{
    if (key->seq != conv->seen + 1) {
        check_here(check,
                   CONV_FORMAT " lacks messages %" PRIu64 " to %" PRIu64
                               " before this one",
                   CONV(conv), conv->seen + 1, key->seq - 1);
    }
    conv->seen = key->seq;
    if (row != NULL && row->time_ms < conv->seen_time_ms) {
        check_here(check,
                   "message %" PRIu64 " of " CONV_FORMAT
                   " is older than the one before it",
                   key->seq, CONV(conv));
    }
    conv->seen_time_ms = row != NULL ? row->time_ms : conv->seen_time_ms;
}

bool
check_slot_here(const struct check *check, uint16_t slot)
{
    for (size_t i = 0; i < check->cfg->dir_count; i++) {
        if (slot >= check->dirs[i].slot_first && slot <= check->dirs[i].slot_last) {
            return true;
        }
    }
    return false;
}

bool
check_user_here(const struct check *check, uint64_t user)
{
    return check_slot_here(check, check_slot_user(user));
}

static void
message(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Message *row =
        check_value(check, &anser__stored__message__descriptor);
    struct check_conv *conv = find_conv(&check->slot, key->low, key->high);

    check->totals->messages++;
    if (conv == NULL) {
        check_here(check,
                   "message %" PRIu64 " lies in " CONV_FORMAT ", which has no head row",
                   key->seq, CONV(key));
    } else {
        check_order(check, key, conv, row);
    }
    check_join_message(check, key->low, key->high, key->seq);
    check_outgoing_message(check, key->low, key->high, key->seq);
    if (row == NULL) {
        return;
    }
    check_people(check, key, conv, row);
    check_form(check, key, row);
    check_message_id(check, row->message_id);
    if (!find_dedupe(&check->slot, key, row) && row->client_msg_id.len == 16 &&
        id_time_ms(row->client_msg_id.data) >= check->horizon_ms) {
        check_here(check,
                   "message %" PRIu64 " of " CONV_FORMAT
                   " is within the retry window and has no dedupe row of its own",
                   key->seq, CONV(key));
    }
}

static void
convs_end(struct check *check)
{
    const struct check_conv *convs = check->slot.convs.items;

    for (size_t i = 0; i < check->slot.convs.count; i++) {
        const struct check_conv *conv = &convs[i];

        if (!conv->known) {
            continue;
        }
        if (conv->head != conv->seen) {
            check_there(check, conv->origin, false,
                        CONV_FORMAT " has head %" PRIu64
                                    " and its last message is %" PRIu64,
                        CONV(conv), conv->head, conv->seen);
        } else if (conv->last_time_ms != conv->seen_time_ms) {
            check_there(check, conv->origin, false,
                        CONV_FORMAT " has another time in its head than its last message",
                        CONV(conv));
        }
    }
}

/* ------------------------------------------------------------------ the small tables */

static void
delivered(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Delivered *row =
        check_value(check, &anser__stored__delivered__descriptor);
    const struct check_conv *conv;

    if (row == NULL) {
        return;
    }
    conv = find_conv(&check->slot, key->low, key->high);
    if (key->user != key->low && key->user != key->high) {
        check_here(check,
                   "a delivered position of user %" PRIu64 ", who is not in " CONV_FORMAT,
                   key->user, CONV(key));
    } else if (conv == NULL || (conv->known && row->seq > conv->head)) {
        check_here(check,
                   "user %" PRIu64 " has message %" PRIu64 " of " CONV_FORMAT
                   " delivered, which ends at %" PRIu64,
                   key->user, row->seq, CONV(key), conv == NULL ? 0 : conv->head);
    }
}

static void
slot_row(struct check *check)
{
    const Anser__Stored__Slot *row = check_value(check, &anser__stored__slot__descriptor);

    if (row != NULL && (row->epoch == 0 || row->owner > UINT16_MAX)) {
        check_here(check, "the slot's row has epoch 0 or no possible owner");
    }
}

static void
register_row(struct check *check)
{
    const Anser__Stored__Register *row =
        check_value(check, &anser__stored__register__descriptor);

    if (row != NULL && (row->version == 0 || row->value.len == 0 ||
                        row->value.len > AN_REGISTER_LEN_MAX)) {
        check_here(check, "a register has version 0, or a value empty or too long");
    }
}

static void
user(struct check *check, const struct check_key *key)
{
    const Anser__Stored__User *row = check_value(check, &anser__stored__user__descriptor);

    check->totals->users++;
    check_account_user(check, key->user);
    if (row == NULL) {
        return;
    }
    if (!check_name(row->app.data, row->app.len) ||
        !check_name(row->name.data, row->name.len)) {
        check_here(check, "user %" PRIu64 " has a malformed app or name", key->user);
        return;
    }
    if (!check_slot_here(check, check_slot_name(row->app.data, row->app.len,
                                                row->name.data, row->name.len))) {
        return; /* its directory row is on another store */
    }
    check_join_account(check, CHECK_MESSAGES, key->user, row->app.data, row->app.len,
                       row->name.data, row->name.len);
}

static void
directory(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Directory *row =
        check_value(check, &anser__stored__directory__descriptor);

    if (row == NULL) {
        return;
    }
    if (row->user == 0) {
        check_here(check, "a directory row names no user");
        return;
    }
    if (check_user_here(check, row->user)) {
        check_join_account(check, CHECK_ENTRIES, row->user, key->app, key->app_len,
                           key->name, key->name_len);
    }
}

/* ------------------------------------------------------------------ the slot */

void
check_slot_row(struct check *check, const struct check_key *key)
{
    struct check_slot *slot = &check->slot;

    if (!slot->any || slot->number != key->slot) {
        check_slot_end(check);
        slot->any = true;
        slot->number = key->slot;
    }
    switch (key->table) {
    case 'a':
        check_account(check, key);
        break;
    case 'c':
        conversation(check, key);
        break;
    case 'd':
        dedupe(check, key);
        break;
    case 'g':
        check_device(check, key);
        break;
    case 'h':
        check_inbox_head(check, key);
        break;
    case 'i':
        check_inbox_entry(check, key);
        break;
    case 'm':
        message(check, key);
        break;
    case 'n':
        directory(check, key);
        break;
    case 'o':
        check_outgoing_row(check, key);
        break;
    case 'p':
        check_session(check, key);
        break;
    case 's':
        slot_row(check);
        break;
    case 'u':
        user(check, key);
        break;
    case 'v':
        if (!slot->positions) {
            slot->conv_at = 0; /* once more from the first, for this table */
            slot->positions = true;
        }
        delivered(check, key);
        break;
    case 'w':
        check_mark_row(check, key);
        break;
    default: /* 'z': check_key_get knows no others */
        register_row(check);
        break;
    }
}

void
check_slot_end(struct check *check)
{
    struct check_slot *slot = &check->slot;

    convs_end(check);
    dedupes_end(check);
    check_inboxes_end(check);
    check_accounts_end(check);
    slot->convs.count = slot->dedupes.count = 0;
    slot->inboxes.count = slot->devices.count = 0;
    slot->conv_at = slot->dedupe_at = slot->inbox_at = 0;
    slot->dedupes_sorted = false;
    slot->positions = false;
    an_arena_reset(&slot->names);
}

void
check_slot_fini(struct check *check)
{
    free(check->slot.convs.items);
    free(check->slot.dedupes.items);
    free(check->slot.inboxes.items);
    free(check->slot.devices.items);
    free(check->slot.owned.items);
    an_arena_fini(&check->slot.names);
}
