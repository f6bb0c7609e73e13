/* One slot's inboxes: heads, entries, and the devices' cursors in them. */
#include "cluster/check_priv.h"
#include <inttypes.h>

void
check_inbox_head(struct check *check, const struct check_key *key)
{
    const Anser__Stored__InboxHead *row =
        check_value(check, &anser__stored__inbox_head__descriptor);
    struct check_inbox *inbox =
        check_list_add(check, &check->slot.inboxes, sizeof(struct check_inbox));

    check->totals->inboxes++;
    if (inbox == NULL) {
        return;
    }
    *inbox = (struct check_inbox){.user = key->user, .origin = check->at};
    if (row == NULL) {
        return;
    }
    inbox->known = true;
    inbox->head = row->head;
    inbox->first = row->first;
    inbox->seen = row->first - 1;
    if (row->generation == 0 || row->head == 0 || row->first == 0 ||
        row->first > row->head + 1) {
        check_here(check,
                   "the inbox head of user %" PRIu64
                   " has no generation, or first and head that do not fit",
                   key->user);
    }
}

static struct check_inbox *
find_inbox(struct check_slot *slot, uint64_t user)
{
    struct check_inbox *inboxes = slot->inboxes.items;

    while (slot->inbox_at < slot->inboxes.count && inboxes[slot->inbox_at].user < user) {
        slot->inbox_at++;
    }
    return slot->inbox_at < slot->inboxes.count && inboxes[slot->inbox_at].user == user
               ? &inboxes[slot->inbox_at]
               : NULL;
}

static void
check_order(struct check *check, const struct check_key *key, struct check_inbox *inbox)
{
    if (!inbox->known) {
        return;
    }
    if (key->seq != inbox->seen + 1) {
        if (key->seq <= inbox->seen) {
            check_here(check,
                       "entry %" PRIu64 " of user %" PRIu64
                       " lies before the oldest its inbox holds",
                       key->seq, key->user);
            return;
        }
        check_here(check,
                   "the inbox of user %" PRIu64 " lacks entries %" PRIu64 " to %" PRIu64
                   " before this one",
                   key->user, inbox->seen + 1, key->seq - 1);
    }
    inbox->seen = key->seq;
}

void
check_inbox_entry(struct check *check, const struct check_key *key)
{
    const Anser__Stored__InboxEntry *row =
        check_value(check, &anser__stored__inbox_entry__descriptor);
    struct check_inbox *inbox = find_inbox(&check->slot, key->user);
    uint64_t low, high;

    check->totals->entries++;
    if (inbox == NULL) {
        check_here(check,
                   "entry %" PRIu64 " of user %" PRIu64
                   " lies in an inbox without head row",
                   key->seq, key->user);
    } else {
        check_order(check, key, inbox);
    }
    if (row == NULL) {
        return;
    }
    if (!check_conv_get(row->conversation.data, row->conversation.len, &low, &high) ||
        row->seq == 0) {
        check_here(check, "entry %" PRIu64 " of user %" PRIu64 " points at no message",
                   key->seq, key->user);
        return;
    }
    if (key->user != low && key->user != high) {
        check_here(check,
                   "entry %" PRIu64 " of user %" PRIu64
                   " points into conversation %" PRIu64 "-%" PRIu64
                   ", which the user is not in",
                   key->seq, key->user, low, high);
        return;
    }
    if (!check_slot_here(check, check_slot_conv(low, high))) {
        check->totals->elsewhere++;
        return;
    }
    check_join_entry(check, CHECK_ENTRIES, key->user, low, high, row->seq, key->seq);
}

void
check_device(struct check *check, const struct check_key *key)
{
    const Anser__Stored__Device *row =
        check_value(check, &anser__stored__device__descriptor);
    struct check_device *device;

    check->totals->devices++;
    if (row == NULL) {
        return;
    }
    device = check_list_add(check, &check->slot.devices, sizeof(*device));
    if (device != NULL) {
        *device = (struct check_device){
            .user = key->user, .cursor = row->cursor, .origin = check->at};
    }
}

void
check_inboxes_end(struct check *check)
{
    struct check_slot *slot = &check->slot;
    const struct check_inbox *inboxes = slot->inboxes.items;
    const struct check_device *devices = slot->devices.items;

    for (size_t i = 0; i < slot->inboxes.count; i++) {
        if (inboxes[i].known && inboxes[i].seen != inboxes[i].head) {
            check_there(check, inboxes[i].origin, false,
                        "the inbox of user %" PRIu64 " has head %" PRIu64
                        " and its last entry is %" PRIu64,
                        inboxes[i].user, inboxes[i].head, inboxes[i].seen);
        }
    }
    slot->inbox_at = 0; /* once more, for the devices */
    for (size_t i = 0; i < slot->devices.count; i++) {
        const struct check_inbox *inbox = find_inbox(slot, devices[i].user);
        uint64_t head = inbox == NULL ? 0 : inbox->head;

        if (devices[i].cursor > head && (inbox == NULL || inbox->known)) {
            check_there(check, devices[i].origin, false,
                        "a device of user %" PRIu64 " has confirmed entry %" PRIu64
                        " of an inbox that ends at %" PRIu64,
                        devices[i].user, devices[i].cursor, head);
        }
    }
}
