/* What became of recent client_msg_ids: a bounded memory over the store's dedupe rows.
 *
 * A row is in flight (cmd set: decided, not yet on disk) or stored. At the bound the
 * oldest stored row makes room and its slot's watermark rises to the row's id time:
 * an id above the watermark that is not here was never stored; below it, ask the store.
 */
#ifndef AN_ACTORS_SEQUENCER_DEDUPE_H
#define AN_ACTORS_SEQUENCER_DEDUPE_H

#include "actors/sequencer/table.h"
#include "core/hash.h"
#include "core/limits.h"

#define SEQ_HASH_LEN 16u

struct seq_cmd;

struct seq_dedupe_key {
    uint8_t id[AN_CLIENT_MSG_ID_LEN];
    uint64_t sender;
    uint64_t recipient; /* with the sender: the conversation */
};

struct seq_dedupe_row {
    struct seq_dedupe_key key;
    uint8_t body_hash[SEQ_HASH_LEN];
    uint64_t seq, message_id, time_ms, inbox_seq; /* of a stored one */
    struct seq_cmd *cmd;                          /* in flight; NULL: stored */
    uint32_t hash;
    uint32_t older, newer; /* of all rows by age; free rows: newer is the next free */
    uint16_t slot;
    bool used;
};

struct seq_dedupe {
    struct seq_table table;
    struct seq_dedupe_row *rows;
    uint32_t cap, count;
    uint32_t oldest, newest, free;
    struct an_hash_key hash_key;
    uint64_t watermark_ms[AN_SLOTS];
};

/* hash_seed: so that clients cannot choose colliding ids. false without memory. */
bool seq_dedupe_init(struct seq_dedupe *d, uint32_t rows_max, uint64_t hash_seed);
void seq_dedupe_fini(struct seq_dedupe *d);
/* NULL when it is not here. Valid until the row is removed. */
struct seq_dedupe_row *seq_dedupe_find(const struct seq_dedupe *d,
                                       const struct seq_dedupe_key *key);
/* A new row; the caller fills in the rest. NULL when every row is in flight. */
struct seq_dedupe_row *seq_dedupe_add(struct seq_dedupe *d,
                                      const struct seq_dedupe_key *key, uint16_t slot);
/* As if the id had never been seen. */
void seq_dedupe_remove(struct seq_dedupe *d, struct seq_dedupe_row *row);
/* Forgets these slots whole; their watermarks are the caller's to set. */
void seq_dedupe_drop(struct seq_dedupe *d, const bool slots[AN_SLOTS]);
/* The time in a UUIDv7's first 48 bits. */
uint64_t seq_id_ms(const uint8_t id[AN_CLIENT_MSG_ID_LEN]);

#endif
