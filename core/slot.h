/* Where things live: the slot of a conversation, a user, a name or a register. The
 * function is part of the stored format: proto/rows.h describes it. Thread safe. */
#ifndef AN_CORE_SLOT_H
#define AN_CORE_SLOT_H

#include "proto/rows.h"
#include <stddef.h>
#include <stdint.h>

#define AN_MARK_LEN 16u

/* 0..AN_SLOTS-1. */
uint16_t an_slot_conv(const struct an_conv *conv);
uint16_t an_slot_user(uint64_t user);
/* app_len and name_len at most AN_NAME_LEN_MAX (asserted). */
uint16_t an_slot_name(const uint8_t *app, size_t app_len, const uint8_t *name,
                      size_t name_len);
/* "NAME@SLOT" (decimal) lives in the slot it names; any other name in one by its hash. */
uint16_t an_slot_register(const uint8_t *name, size_t name_len);
/* Of 16 bytes that are a hash already. */
uint16_t an_slot_mark(const uint8_t mark[AN_MARK_LEN]);

#endif
