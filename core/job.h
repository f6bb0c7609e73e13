/* Slow work that must not hold up an actor's thread: reads, background applies, hashing.
 *
 * An actor hands a job to its runner (an_out_offload, or an engine's host). The runner
 * calls run() once on a pool thread of the job's lane, then brings the job back to the
 * actor's own thread as an AN_KIND_JOB_DONE message, whose handler calls done().
 * Between the two the job belongs to the runner. The simulator runs jobs as steps in
 * seeded order, so run() may touch only what the job owns and what is thread safe. */
#ifndef AN_CORE_JOB_H
#define AN_CORE_JOB_H

enum an_lane {
    AN_LANE_READ,  /* short: a page of rows */
    AN_LANE_APPLY, /* long, one at a time: an LMDB transaction, preparing a log segment */
    AN_LANE_HASH, /* long and only computing: passwords; one at a time, behind all else */
    AN_LANE_COUNT,
};

/* Embed it; find the whole by offsetof. Bounded by whoever offloads. */
struct an_job {
    void (*run)(struct an_job *job); /* pool thread */
    void (*done)(
        struct an_job *job); /* actor's thread; frees the job if it is to be freed */
    enum an_lane lane;
    struct an_job *next; /* the holder's, for its queue */
};

#endif
