/* What is stored of accounts and of devices' sessions: entries become rows, rows answers,
 * and gates are told. The sequencer of the user's slot has decided; this only keeps.
 *
 * Context: the store actor's thread. */
#ifndef AN_ACTORS_STORE_ACCOUNT_H
#define AN_ACTORS_STORE_ACCOUNT_H

#include "actors/store/read.h"

/* account.c: entries. */
bool store_account_fits(const Anser__Bus__AccountEntry *entry, uint32_t slot);
bool store_session_fits(const Anser__Bus__DeviceSessionEntry *entry, uint32_t slot);
/* Bytes of what the entry's texts take in rows, beyond names. */
size_t store_account_bytes(const Anser__Bus__Entry *entry);
/* Rows into the batch, where room was reserved. */
void store_account_build(struct store *store, uint16_t slot,
                         const Anser__Bus__AccountEntry *entry);
void store_session_build(struct store *store, uint16_t slot,
                         const Anser__Bus__DeviceSessionEntry *entry);
/* The first account row, of a user that is made with a password. */
void store_account_build_first(struct store *store, uint16_t slot,
                               const Anser__Bus__UserEntry *entry);
/* It is synced: gates hear of it. */
void store_account_tell(struct store *store, const Anser__Bus__AccountEntry *entry,
                        uint64_t trace);
void store_session_tell(struct store *store, const Anser__Bus__DeviceSessionEntry *entry,
                        uint64_t trace);

/* read_account.c: what login and head queries say of the user's account: two queries,
 * then their answers. device: whose tokens_from counts too; empty: none's. */
AN_MUST_USE enum an_err store_plan_account(struct store_read *read, struct store_ask *ask,
                                           uint64_t user, ProtobufCBinaryData device);
AN_MUST_USE enum an_err store_take_account(struct store_read *read, struct store_ask *ask,
                                           const struct engine_answer *answers,
                                           bool device);
extern const struct store_query_ops STORE_QUERY_ACCOUNT;

#endif
