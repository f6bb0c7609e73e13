/* An engine on a simulated disk, driven by hand, and a model to hold it against. */
#ifndef AN_TESTS_STORE_RIG_H
#define AN_TESTS_STORE_RIG_H

#include "store/engine.h"
#include "store/files_sim.h"

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Which engine the battery runs over comes from the build: one program each. */
#ifndef RIG_KIND
#define RIG_KIND ENGINE_MEMORY
#endif

struct rig {
    struct engine_cfg cfg;
    struct files_sim *sim; /* the log's disk, and all of the memory engine's */
    struct engine *engine;
    char dir[64]; /* real, for LMDB's files */
    char why[512];
    char last_log[1024];
    struct an_job *first; /* jobs waiting, in manual mode */
    struct an_job *last;
    bool manual; /* jobs wait for rig_run_jobs; otherwise they run at once */
    unsigned fatal_count;
    uint64_t fence; /* of slot 7 */
};

#define RIG_SLOT 7

/* A fresh disk and directory, small segments and bounds; nothing opened. */
void rig_init(struct rig *rig, enum engine_kind kind, uint64_t seed);
void rig_fini(struct rig *rig);
/* Opens the engine and slot 7. */
enum an_err rig_open(struct rig *rig);
/* cmocka's, around a test: an engine of RIG_KIND that is open, in *state. */
int rig_setup(void **state);
int rig_teardown(void **state);
/* Closes the engine; runs waiting jobs first. */
void rig_close(struct rig *rig);
/* Power cut: what is unsynced is lost as the seed says; the engine is gone. */
void rig_crash(struct rig *rig, uint64_t seed);
/* Runs jobs until none waits; returns how many. */
unsigned rig_run_jobs(struct rig *rig);
/* Runs the oldest waiting job of a lane; false if there is none. */
bool rig_run_one(struct rig *rig, enum an_lane lane);

/* One batch of one row in slot 7; key and value are text. value NULL: delete.
 * RIG_NO_ANSWER when the completion did not come. */
#define RIG_NO_ANSWER 9999
int rig_put(struct rig *rig, const char *key, const char *value);
int rig_append(struct rig *rig, const struct engine_group *groups, size_t group_count);
/* A row of slot 7 out of text; buffers are borrowed from a ring of 64. */
struct engine_row rig_row(const char *key, const char *value);

/* What a query found, as text: "key=value key=value" and "..." when there is more, or the
 * error's name. Runs jobs until the answer is there. first and end are text keys of slot
 * 7; end NULL: only the key `first`. */
const char *rig_query(struct rig *rig, const char *first, const char *end,
                      size_t items_max, bool reverse);
struct engine_stats rig_stats(struct rig *rig);

/* The model's workload: batch i is a fixed function of i over 24 keys; key "n" says i. */
#define MODEL_KEYS 24
#define MODEL_ROWS 4
void model_batch(uint64_t i, struct engine_row rows[MODEL_ROWS]);
/* What a query of everything gives after batches 1 to n. */
const char *model_text(uint64_t n);
/* Reads everything, finds out how many batches are in it, and holds that against the
 * model; returns the number. */
uint64_t model_check(struct rig *rig);

#endif
