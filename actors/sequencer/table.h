/* An open-addressing index from a hash to entries that live elsewhere (their number).
 * Linear probing, no tombstones: removal shifts the run back. Never grows: its room is
 * fixed at twice the entries, so that probes stay short. */
#ifndef AN_ACTORS_SEQUENCER_TABLE_H
#define AN_ACTORS_SEQUENCER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEQ_NONE UINT32_MAX

struct seq_cell {
    uint32_t hash;
    uint32_t entry; /* plus one; 0: free, so that untouched memory is a free cell */
};

struct seq_table {
    struct seq_cell *cells;
    uint32_t mask;
};

/* false without memory. */
bool seq_table_init(struct seq_table *table, uint32_t entries_max);
void seq_table_fini(struct seq_table *table);
/* There must be room: no more than entries_max are in it. */
void seq_table_put(struct seq_table *table, uint32_t hash, uint32_t entry);
/* The pair must be in it (asserted). */
void seq_table_remove(struct seq_table *table, uint32_t hash, uint32_t entry);

/* Walks the entries of one hash:
 *   for (p = hash; (e = seq_table_next(table, hash, &p)) != SEQ_NONE;) ... */
static inline uint32_t
seq_table_next(const struct seq_table *table, uint32_t hash, uint32_t *probe)
{
    for (;;) {
        const struct seq_cell *cell = &table->cells[*probe & table->mask];

        if (cell->entry == 0) {
            return SEQ_NONE;
        }
        ++*probe;
        if (cell->hash == hash) {
            return cell->entry - 1;
        }
    }
}

#endif
