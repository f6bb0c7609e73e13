#include "actors/store/entry.h"
#include "actors/store/account.h"
#include "core/slot.h"
#include "proto/bytes.h"
#include "proto/stored.pb-c.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* Rows of a message that are its own: message, dedupe, two inbox entries (an outgoing
 * one in place of each that is elsewhere). Its heads are
 * written once per batch. */
enum { MESSAGE_ROWS = 4, SMALL_VALUE = 128, OTHER_ROWS = 3 };

/* ------------------------------------------------------------------ form */

static bool
name_fits(ProtobufCBinaryData name)
{
    return name.len > 0 && name.len <= AN_NAME_LEN_MAX;
}

bool
store_message_fits(const Anser__Bus__MessageEntry *message)
{
    struct an_conv conv;
    struct an_conv direct = an_conv_direct(message->sender, message->recipient);

    return an_conv_get(&conv, message->conversation.data, message->conversation.len) &&
           memcmp(conv.bytes, direct.bytes, AN_CONV_LEN) == 0 && message->sender != 0 &&
           message->recipient != 0 && message->seq > 0 && name_fits(message->from) &&
           name_fits(message->to) && name_fits(message->device) &&
           message->client_msg_id.len == AN_CLIENT_MSG_ID_LEN && message->body.len > 0 &&
           message->body.len <= AN_BODY_LEN_MAX;
}

static bool
message_fits(const Anser__Bus__MessageEntry *entry, uint32_t slot)
{
    struct an_conv conv;

    if (!store_message_fits(entry) || entry->body_hash.len != 16) {
        return false;
    }
    memcpy(conv.bytes, entry->conversation.data, AN_CONV_LEN);
    return an_slot_conv(&conv) == slot;
}

static bool
delivered_fits(const Anser__Bus__DeliveredEntry *entry, uint32_t slot)
{
    struct an_conv conv;
    uint64_t low, high;

    if (!an_conv_get(&conv, entry->conversation.data, entry->conversation.len) ||
        an_slot_conv(&conv) != slot || entry->seq == 0 ||
        entry->member_name.len > AN_NAME_LEN_MAX) {
        return false;
    }
    an_conv_users(&conv, &low, &high);
    return (entry->member == low || entry->member == high) &&
           (entry->peer == 0 || entry->peer == low || entry->peer == high);
}

bool
store_entry_fits(const Anser__Bus__Entry *entry, uint32_t slot)
{
    switch (entry->what_case) {
    case ANSER__BUS__ENTRY__WHAT_MESSAGE:
        return message_fits(entry->message, slot);
    case ANSER__BUS__ENTRY__WHAT_DEVICE:
        return entry->device->user != 0 && an_slot_user(entry->device->user) == slot &&
               name_fits(entry->device->device);
    case ANSER__BUS__ENTRY__WHAT_DELIVERED:
        return delivered_fits(entry->delivered, slot);
    case ANSER__BUS__ENTRY__WHAT_USER:
        return entry->user->user != 0 && an_slot_user(entry->user->user) == slot &&
               name_fits(entry->user->app) && name_fits(entry->user->name) &&
               entry->user->password_hash.len <= AN_PASSWORD_HASH_LEN_MAX;
    case ANSER__BUS__ENTRY__WHAT_DIRECTORY:
        return entry->directory->user != 0 && name_fits(entry->directory->app) &&
               name_fits(entry->directory->name) &&
               an_slot_name(entry->directory->app.data, entry->directory->app.len,
                            entry->directory->name.data,
                            entry->directory->name.len) == slot;
    case ANSER__BUS__ENTRY__WHAT_ACCOUNT:
        return store_account_fits(entry->account, slot);
    case ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION:
        return store_session_fits(entry->device_session, slot);
    case ANSER__BUS__ENTRY__WHAT__NOT_SET:
    case _ANSER__BUS__ENTRY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

/* ------------------------------------------------------------------ heads */

static enum an_err
need_conv(struct store *store, struct store_write *write, struct store_entry *own,
          ProtobufCBinaryData key, uint16_t slot)
{
    struct an_conv conv;
    uint64_t low, high;

    memcpy(conv.bytes, key.data, AN_CONV_LEN);
    an_conv_users(&conv, &low, &high);
    own->conv = store_heads_pin(&store->convs, low, high);
    if (own->conv == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    own->conv->slot = slot;
    return store_want_head(store, write, STORE_WANT_CONVERSATION, own->conv);
}

enum an_err
store_inbox_need(struct store *store, struct store_write *write, struct store_head **out,
                 uint64_t user)
{
    struct store_head *head;

    if (store->outgoing != NULL && !store_owns(store, an_slot_user(user))) {
        return AN_OK;
    }
    head = store_heads_pin(&store->inboxes, user, 0);
    if (head == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    *out = head;
    if (head->state == STORE_HEAD_UNKNOWN) {
        head->slot = an_slot_user(user);
    }
    return store_want_head(store, write, STORE_WANT_INBOX, head);
}

/* The boxes of a message's sender and, where that is another, of its recipient. */
static enum an_err
need_inboxes(struct store *store, struct store_write *write, struct store_entry *own,
             const Anser__Bus__MessageEntry *message)
{
    enum an_err err = store_inbox_need(store, write, &own->inbox[0], message->sender);

    own->elsewhere[0] = err == AN_OK && own->inbox[0] == NULL;
    if (err != AN_OK || message->recipient == message->sender) {
        return err;
    }
    err = store_inbox_need(store, write, &own->inbox[1], message->recipient);
    own->elsewhere[1] = err == AN_OK && own->inbox[1] == NULL;
    return err;
}

enum an_err
store_entry_need(struct store *store, struct store_write *write, struct store_entry *own,
                 const Anser__Bus__Entry *entry, uint16_t slot)
{
    enum an_err err;

    switch (entry->what_case) {
    case ANSER__BUS__ENTRY__WHAT_MESSAGE:
        err = need_conv(store, write, own, entry->message->conversation, slot);
        return err == AN_OK ? need_inboxes(store, write, own, entry->message) : err;
    case ANSER__BUS__ENTRY__WHAT_DEVICE:
        return store_inbox_need(store, write, &own->inbox[0], entry->device->user);
    case ANSER__BUS__ENTRY__WHAT_DELIVERED:
        return need_conv(store, write, own, entry->delivered->conversation, slot);
    case ANSER__BUS__ENTRY__WHAT_USER:
    case ANSER__BUS__ENTRY__WHAT_DIRECTORY:
    case ANSER__BUS__ENTRY__WHAT_ACCOUNT:
    case ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION:
    case ANSER__BUS__ENTRY__WHAT__NOT_SET:
    case _ANSER__BUS__ENTRY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return AN_OK;
}

void
store_entry_release(struct store *store, struct store_entry *own)
{
    if (own->conv != NULL) {
        store_heads_unpin(&store->convs, own->conv);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (own->inbox[i] != NULL) {
            store_heads_unpin(&store->inboxes, own->inbox[i]);
        }
    }
    *own = (struct store_entry){0};
}

/* ------------------------------------------------------------------ checking */

static enum an_err
check_message(const struct store *store, const Anser__Bus__MessageEntry *entry,
              const struct store_entry *own)
{
    struct store_head *conv = own->conv;

    if (entry->seq != conv->checked_head + 1) {
        return AN_ERR_GAP;
    }
    if (entry->time_ms < conv->checked_mark) {
        return AN_ERR_ARGUMENT; /* time goes back: the sequencer's bug, not a race */
    }
    if ((own->elsewhere[0] && store_outgoing_blocked(store, entry->sender)) ||
        (own->elsewhere[1] && store_outgoing_blocked(store, entry->recipient))) {
        return AN_ERR_UNAVAILABLE;
    }
    conv->checked_head++;
    conv->checked_mark = entry->time_ms;
    return AN_OK;
}

enum an_err
store_entry_check(const struct store *store, const Anser__Bus__Entry *entry,
                  struct store_entry *own)
{
    switch (entry->what_case) {
    case ANSER__BUS__ENTRY__WHAT_MESSAGE:
        return check_message(store, entry->message, own);
    case ANSER__BUS__ENTRY__WHAT_DEVICE:
        return entry->device->cursor > own->inbox[0]->next_head ? AN_ERR_CURSOR_AHEAD
                                                                : AN_OK;
    case ANSER__BUS__ENTRY__WHAT_DELIVERED:
        return entry->delivered->seq > own->conv->checked_head ? AN_ERR_CURSOR_AHEAD
                                                               : AN_OK;
    case ANSER__BUS__ENTRY__WHAT_USER:
    case ANSER__BUS__ENTRY__WHAT_DIRECTORY:
    case ANSER__BUS__ENTRY__WHAT_ACCOUNT:
    case ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION:
    case ANSER__BUS__ENTRY__WHAT__NOT_SET:
    case _ANSER__BUS__ENTRY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return AN_OK;
}

void
store_entry_uncheck(struct store_entry *own)
{
    if (own->conv != NULL) {
        own->conv->checked_head = own->conv->next_head;
        own->conv->checked_mark = own->conv->next_mark;
    }
}

/* ------------------------------------------------------------------ building */

void
store_inbox_put(struct store *store, struct store_head *inbox,
                const Anser__Bus__MessageEntry *entry)
{
    Anser__Stored__InboxEntry value = ANSER__STORED__INBOX_ENTRY__INIT;

    if (inbox->next_generation == 0) {
        inbox->next_generation = store->now.wall_ms;
        inbox->next_mark = 1;
    }
    inbox->next_head++;
    store_touch(store, inbox);
    value.conversation = entry->conversation;
    value.seq = entry->seq;
    store_batch_put(&store->batch, inbox->slot,
                    an_row_inbox(store_batch_key(&store->batch), inbox->slot,
                                 inbox->key[0], inbox->next_head),
                    &value.base);
}

static void
put_message(struct store *store, const struct store_head *head,
            const struct an_conv *conv, const Anser__Bus__MessageEntry *entry)
{
    Anser__Stored__Message value = ANSER__STORED__MESSAGE__INIT;

    value.message_id = entry->message_id;
    value.time_ms = entry->time_ms;
    value.sender = entry->sender;
    value.from = entry->from;
    value.to = entry->to;
    value.from_device = entry->device;
    value.client_msg_id = entry->client_msg_id;
    value.type = entry->type;
    value.body = entry->body;
    store_batch_put(
        &store->batch, head->slot,
        an_row_message(store_batch_key(&store->batch), head->slot, conv, entry->seq),
        &value.base);
}

static void
put_dedupe(struct store *store, const struct store_head *head, const struct an_conv *conv,
           const Anser__Bus__MessageEntry *entry, uint64_t inbox_seq)
{
    Anser__Stored__Dedupe value = ANSER__STORED__DEDUPE__INIT;

    value.seq = entry->seq;
    value.message_id = entry->message_id;
    value.time_ms = entry->time_ms;
    value.body_hash = entry->body_hash;
    value.inbox_seq = inbox_seq;
    store_batch_put(&store->batch, head->slot,
                    an_row_dedupe(store_batch_key(&store->batch), head->slot,
                                  entry->client_msg_id.data, entry->sender, conv),
                    &value.base);
}

static void
build_message(struct store *store, const Anser__Bus__MessageEntry *entry,
              struct store_entry *own)
{
    struct store_head *head = own->conv;
    struct an_conv conv;

    memcpy(conv.bytes, entry->conversation.data, AN_CONV_LEN);
    if (head->next_generation == 0) {
        head->next_generation = store->now.wall_ms;
    }
    head->next_head = entry->seq;
    head->next_mark = entry->time_ms;
    head->newest = entry;
    store_touch(store, head);
    put_message(store, head, &conv, entry);
    /* The sender's box first. */
    for (unsigned i = 0; i < 2; i++) {
        if (own->inbox[i] != NULL) {
            store_inbox_put(store, own->inbox[i], entry);
            own->inbox_seq[i] = own->inbox[i]->next_head;
        } else if (own->elsewhere[i]) {
            own->outgoing[i] = store_outgoing_put(
                store, i == 0 ? entry->sender : entry->recipient, entry);
        }
    }
    put_dedupe(store, head, &conv, entry, own->inbox_seq[0]);
}

static void
build_device(struct store *store, uint16_t slot, const Anser__Bus__DeviceEntry *entry)
{
    Anser__Stored__Device value = ANSER__STORED__DEVICE__INIT;

    value.cursor = entry->cursor;
    value.confirmed_ms = entry->confirmed_ms;
    store_batch_put(&store->batch, slot,
                    an_row_device(store_batch_key(&store->batch), slot, entry->user,
                                  entry->device.data, entry->device.len),
                    &value.base);
}

static void
build_delivered(struct store *store, uint16_t slot,
                const Anser__Bus__DeliveredEntry *entry)
{
    Anser__Stored__Delivered value = ANSER__STORED__DELIVERED__INIT;
    struct an_conv conv;

    memcpy(conv.bytes, entry->conversation.data, AN_CONV_LEN);
    value.seq = entry->seq;
    store_batch_put(
        &store->batch, slot,
        an_row_delivered(store_batch_key(&store->batch), slot, &conv, entry->member),
        &value.base);
}

static void
build_user(struct store *store, uint16_t slot, const Anser__Bus__UserEntry *entry)
{
    Anser__Stored__User value = ANSER__STORED__USER__INIT;

    value.app = entry->app;
    value.name = entry->name;
    value.created_ms = entry->created_ms;
    store_batch_put(&store->batch, slot,
                    an_row_user(store_batch_key(&store->batch), slot, entry->user),
                    &value.base);
    store_account_build_first(store, slot, entry);
}

static void
build_directory(struct store *store, uint16_t slot,
                const Anser__Bus__DirectoryEntry *entry)
{
    Anser__Stored__Directory value = ANSER__STORED__DIRECTORY__INIT;

    value.user = entry->user;
    store_batch_put(&store->batch, slot,
                    an_row_directory(store_batch_key(&store->batch), slot,
                                     entry->app.data, entry->app.len, entry->name.data,
                                     entry->name.len),
                    &value.base);
}

void
store_entry_build(struct store *store, uint16_t slot, const Anser__Bus__Entry *entry,
                  struct store_entry *own)
{
    switch (entry->what_case) {
    case ANSER__BUS__ENTRY__WHAT_MESSAGE:
        build_message(store, entry->message, own);
        break;
    case ANSER__BUS__ENTRY__WHAT_DEVICE:
        build_device(store, slot, entry->device);
        break;
    case ANSER__BUS__ENTRY__WHAT_DELIVERED:
        build_delivered(store, slot, entry->delivered);
        break;
    case ANSER__BUS__ENTRY__WHAT_USER:
        build_user(store, slot, entry->user);
        break;
    case ANSER__BUS__ENTRY__WHAT_DIRECTORY:
        build_directory(store, slot, entry->directory);
        break;
    case ANSER__BUS__ENTRY__WHAT_ACCOUNT:
        store_account_build(store, slot, entry->account);
        break;
    case ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION:
        store_session_build(store, slot, entry->device_session);
        break;
    case ANSER__BUS__ENTRY__WHAT__NOT_SET:
    case _ANSER__BUS__ENTRY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
}

void
store_entry_room(const Anser__Bus__Entry *entry, struct store_room *room)
{
    if (entry->what_case == ANSER__BUS__ENTRY__WHAT_MESSAGE) {
        room->rows += MESSAGE_ROWS;
        room->heads += 3;
        room->bytes += MESSAGE_ROWS * (AN_ROW_KEY_MAX + SMALL_VALUE) +
                       entry->message->body.len + 3 * AN_NAME_LEN_MAX;
    } else {
        room->rows += OTHER_ROWS;
        room->bytes += OTHER_ROWS * (AN_ROW_KEY_MAX + SMALL_VALUE + 2 * AN_NAME_LEN_MAX) +
                       store_account_bytes(entry);
    }
}

/* ------------------------------------------------------------------ after the sync */

static void
tell_message(struct store *store, const Anser__Bus__Entry *entry,
             const struct store_entry *own)
{
    const Anser__Bus__MessageEntry *message = entry->message;

    store->counts.messages++;
    store->counts.message_bytes += message->body.len;
    store->counts.inbox_entries += own->inbox[0] != NULL;
    store->counts.inbox_entries += own->inbox[1] != NULL;
    an_out_hop(store->out, AN_HOP_COMMIT, entry->trace, message->message_id,
               message->seq);
    if (store->out->watched) {
        an_out_event(
            store->out, "message.commit",
            "{\"trace\":\"%016" PRIx64 "\",\"message_id\":\"%" PRIu64
            "\",\"client_msg_id\":\"%016" PRIx64 "%016" PRIx64
            "\",\"slot\":%u,\"seq\":\"%" PRIu64 "\",\"inbox_seq\":\"%" PRIu64 "\"}",
            entry->trace, message->message_id, an_get_u64(message->client_msg_id.data),
            an_get_u64(message->client_msg_id.data + 8), own->conv->slot, message->seq,
            own->inbox_seq[0]);
    }
    store_push_message(store, message, entry->trace, own->inbox, own->inbox_seq);
    for (unsigned i = 0; i < 2; i++) {
        if (own->elsewhere[i]) {
            store_outgoing_note(store, i == 0 ? message->sender : message->recipient,
                                own->outgoing[i], entry->trace, message);
        }
    }
}

void
store_entry_tell(struct store *store, const Anser__Bus__Entry *entry,
                 const struct store_entry *own)
{
    switch (entry->what_case) {
    case ANSER__BUS__ENTRY__WHAT_MESSAGE:
        tell_message(store, entry, own);
        break;
    case ANSER__BUS__ENTRY__WHAT_DEVICE:
        store->counts.cursors++;
        break;
    case ANSER__BUS__ENTRY__WHAT_DELIVERED:
        store->counts.deliveries++;
        store_push_delivered(store, entry->delivered, entry->trace);
        break;
    case ANSER__BUS__ENTRY__WHAT_USER:
        store->counts.users++;
        break;
    case ANSER__BUS__ENTRY__WHAT_ACCOUNT:
        store_account_tell(store, entry->account, entry->trace);
        break;
    case ANSER__BUS__ENTRY__WHAT_DEVICE_SESSION:
        store_session_tell(store, entry->device_session, entry->trace);
        break;
    case ANSER__BUS__ENTRY__WHAT_DIRECTORY:
    case ANSER__BUS__ENTRY__WHAT__NOT_SET:
    case _ANSER__BUS__ENTRY__WHAT__CASE_IS_INT_SIZE:
        break;
    }
}
