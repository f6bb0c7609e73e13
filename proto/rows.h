/* Keys of stored rows and of conversations, byte by byte. All integers big-endian, so
 * that key order is numeric order. Every key begins with its slot (2 bytes) and a table
 * letter; values are proto/stored.proto.
 *
 *   'c' conversation head    slot c CONV                                   Conversation
 *   'm' message              slot m CONV seq8                              Message
 *   'v' delivered position   slot v CONV user8                             Delivered
 *   'd' dedupe               slot d client_msg_id16 sender8 CONV           Dedupe
 *   'u' user                 slot u user8                                  User
 *   'h' inbox head           slot h user8                                  InboxHead
 *   'i' inbox entry          slot i user8 seq8                             InboxEntry
 *   'g' device               slot g user8 name                             Device
 *   'a' account              slot a user8                                  Account
 *   'p' device session       slot p user8 name                             DeviceSession
 *   'n' directory            slot n app 0 name                             Directory
 *   's' slot                 slot s                                        Slot
 *   'z' register             slot z name                                   Register
 *   'o' outgoing entry       home o slot2 number8                          Outgoing
 *   'w' mark                 slot w source2                                Mark
 *
 * An outgoing entry waits for the store that owns its user's slot (slot2); home is the
 * first slot of the store that keeps it. A mark says up to which number the entries of a
 * source store (source2) were taken.
 *
 * CONV is a conversation key: 'D' and the two user keys in ascending order (17 bytes).
 * 'G' and the group key (9 bytes) is reserved for groups.
 * A UUIDv7 begins with its time, so dedupe rows are ordered by time within a slot.
 *
 * A slot is SipHash-2-4 with a key of 16 zero bytes, its output read as a little-endian
 * number, modulo 1,024, over: CONV; or 'U' and the user key; or 'N', app, 0, name; or
 * 'Z' and the register's name, unless that names its slot: "NAME@SLOT" (core/slot.h).
 * Fixed for ever. */
#ifndef AN_PROTO_ROWS_H
#define AN_PROTO_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AN_CONV_LEN    17u
#define AN_ROW_KEY_MAX 160u

struct an_conv {
    uint8_t bytes[AN_CONV_LEN];
};

/* The direct conversation of two users; a == b: messages to oneself. */
struct an_conv an_conv_direct(uint64_t a, uint64_t b);
/* false unless the bytes are a well-formed direct conversation key. */
bool an_conv_get(struct an_conv *conv, const uint8_t *data, size_t len);
/* Its users; both the same for messages to oneself. */
void an_conv_users(const struct an_conv *conv, uint64_t *low, uint64_t *high);

/* Every function writes at most AN_ROW_KEY_MAX bytes and returns how many. */
size_t an_row_conversation(uint8_t *out, uint16_t slot, const struct an_conv *conv);
size_t an_row_message(uint8_t *out, uint16_t slot, const struct an_conv *conv,
                      uint64_t seq);
size_t an_row_delivered(uint8_t *out, uint16_t slot, const struct an_conv *conv,
                        uint64_t user);
size_t an_row_dedupe(uint8_t *out, uint16_t slot, const uint8_t client_msg_id[16],
                     uint64_t sender, const struct an_conv *conv);
size_t an_row_user(uint8_t *out, uint16_t slot, uint64_t user);
size_t an_row_inbox_head(uint8_t *out, uint16_t slot, uint64_t user);
size_t an_row_inbox(uint8_t *out, uint16_t slot, uint64_t user, uint64_t seq);
/* name_len, app_len at most AN_NAME_LEN_MAX. */
size_t an_row_device(uint8_t *out, uint16_t slot, uint64_t user, const uint8_t *name,
                     size_t name_len);
size_t an_row_account(uint8_t *out, uint16_t slot, uint64_t user);
size_t an_row_device_session(uint8_t *out, uint16_t slot, uint64_t user,
                             const uint8_t *name, size_t name_len);
size_t an_row_directory(uint8_t *out, uint16_t slot, const uint8_t *app, size_t app_len,
                        const uint8_t *name, size_t name_len);
size_t an_row_slot(uint8_t *out, uint16_t slot);
size_t an_row_outgoing(uint8_t *out, uint16_t home, uint16_t slot, uint64_t number);
size_t an_row_mark(uint8_t *out, uint16_t slot, uint16_t source);
size_t an_row_register(uint8_t *out, uint16_t slot, const uint8_t *name, size_t name_len);

#endif
