#include "actors/sequencer/table.h"
#include <assert.h>
#include <stdlib.h>

bool
seq_table_init(struct seq_table *table, uint32_t entries_max)
{
    uint32_t size = 16;

    while (size < 2 * entries_max) {
        size *= 2;
    }
    /* Large and rarely full: calloc takes pages only when they are written. */
    table->cells = calloc(size, sizeof(*table->cells));
    if (table->cells == NULL) {
        return false;
    }
    table->mask = size - 1;
    return true;
}

void
seq_table_fini(struct seq_table *table)
{
    free(table->cells);
    table->cells = NULL;
}

void
seq_table_put(struct seq_table *table, uint32_t hash, uint32_t entry)
{
    uint32_t i = hash & table->mask;

    while (table->cells[i].entry != 0) {
        i = (i + 1) & table->mask;
    }
    table->cells[i] = (struct seq_cell){hash, entry + 1};
}

void
seq_table_remove(struct seq_table *table, uint32_t hash, uint32_t entry)
{
    struct seq_cell *cells = table->cells;
    uint32_t mask = table->mask;
    uint32_t hole = hash & mask;

    while (cells[hole].entry != entry + 1) {
        assert(cells[hole].entry != 0);
        hole = (hole + 1) & mask;
    }
    /* Close the hole: whatever follows in the run and may stand there moves back. */
    for (uint32_t i = (hole + 1) & mask; cells[i].entry != 0; i = (i + 1) & mask) {
        uint32_t home = cells[i].hash & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            cells[hole] = cells[i];
            hole = i;
        }
    }
    cells[hole].entry = 0;
}
