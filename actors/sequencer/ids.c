#include "actors/sequencer/ids.h"
#include "core/limits.h"

enum {
    ID_AGE_MAX_MS = 10000,
    ID_AGE_LOW_MS = 5000, /* fetch the next ones before these are thrown away */
    ID_PER_MS = 4096,
};

static void
drop_first(struct seq_ids *ids)
{
    struct seq_id_run *run = &ids->runs[ids->first];

    ids->left -= run->count - run->used;
    ids->first = (ids->first + 1) % SEQ_RUNS_MAX;
    ids->run_count--;
}

bool
seq_ids_any(struct seq_ids *ids, struct an_now now)
{
    while (ids->run_count > 0) {
        struct seq_id_run *run = &ids->runs[ids->first];

        if (run->used < run->count && now.mono_ms - run->taken_mono_ms <= ID_AGE_MAX_MS) {
            return true;
        }
        drop_first(ids);
    }
    return false;
}

bool
seq_ids_take(struct seq_ids *ids, struct an_now now, uint64_t *id)
{
    struct seq_id_run *run;

    if (!seq_ids_any(ids, now)) {
        return false;
    }
    run = &ids->runs[ids->first];
    *id = run->prefix | ((run->start + run->used * run->stride) % ID_PER_MS);
    run->used++;
    ids->left--;
    return true;
}

bool
seq_ids_low(const struct seq_ids *ids, struct an_now now)
{
    if (ids->left <= ids->block / 2) {
        return true;
    }
    return now.mono_ms - ids->runs[ids->first].taken_mono_ms > ID_AGE_LOW_MS;
}

void
seq_ids_add(struct seq_ids *ids, const Anser__Bus__TakenIds *taken, struct an_now now)
{
    for (size_t i = 0; i < taken->n_runs && ids->run_count < SEQ_RUNS_MAX; i++) {
        const Anser__Bus__IdRun *in = taken->runs[i];
        uint32_t at = (ids->first + ids->run_count) % SEQ_RUNS_MAX;

        if (in->count == 0 || in->count > ID_PER_MS) {
            continue;
        }
        ids->runs[at] = (struct seq_id_run){.prefix = in->prefix,
                                            .start = in->start % ID_PER_MS,
                                            .stride = in->stride % ID_PER_MS,
                                            .count = in->count,
                                            .taken_mono_ms = now.mono_ms};
        ids->run_count++;
        ids->left += in->count;
    }
}
