/* Inside of the engine, shared by engine.c (opening, appending), engine_read.c and
 * engine_apply.c. */
#ifndef AN_STORE_ENGINE_PRIV_H
#define AN_STORE_ENGINE_PRIV_H

#include "core/limits.h"
#include "core/log.h"
#include "store/base.h"
#include "store/engine.h"
#include "store/generation.h"
#include "store/identity.h"
#include "store/log.h"
#include "store/merge.h"

#define OVERLAY_REFUSE_FACTOR 4u    /* appends answer BUSY at so many times the bound */
#define APPLY_RETRY_MS        1000u /* after a failed apply: no hurry, nothing is lost */

struct apply_job {
    struct an_job job;
    struct engine *engine;
    /* In. */
    struct merge merge;
    size_t generation_count; /* of the oldest closed ones */
    uint64_t position;
    /* Out. */
    enum an_err err;
    uint64_t rows;
    uint64_t us;
};

struct engine {
    struct engine_cfg cfg;
    char dir[STORE_PATH_LEN_MAX];
    struct identity identity;
    struct store_file *lock;
    struct base *base;
    struct store_log *log;

    struct generation *active;
    struct generation *closed[GENERATIONS_MAX]; /* oldest first */
    size_t closed_count;

    uint64_t fences[AN_SLOTS]; /* the valid one of each slot; 0: none given out */
    uint64_t fence_last;
    bool appending;

    bool applying;
    bool apply_failed; /* the last one; due again at apply_retry_ms */
    uint64_t apply_retry_ms;
    struct apply_job apply;

    uint64_t mono_ms;   /* of the last tick */
    uint64_t oldest_ms; /* tick that first saw the rows now in active; 0: none seen */
    size_t reads_in_flight;
    struct engine_backup backup;
    struct backup_job *backup_job; /* while it runs */
    struct engine_stats stats;
};

/* Of all generations together. */
size_t overlay_rows(const struct engine *engine);
/* Memory of all generations together. */
size_t overlay_bytes(const struct engine *engine);
/* The views of all generations, newest first; returns how many. Takes no references. */
size_t overlay_views(struct engine *engine, struct generation_view out[MERGE_VIEWS_MAX]);

__attribute__((format(printf, 3, 4))) void engine_say(const struct engine *engine,
                                                      int level, const char *format, ...);

#endif
