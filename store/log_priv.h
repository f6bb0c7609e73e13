/* Inside of the log, shared by log.c (appending), log_segment.c (files and jobs) and
 * log_replay.c (opening). */
#ifndef AN_STORE_LOG_PRIV_H
#define AN_STORE_LOG_PRIV_H

#include "core/log.h"
#include "store/log.h"

#define LOG_FREE_MAX   2u  /* free segments kept for use again; more are removed */
#define LOG_REMOVE_MAX 16u /* removed by one job */

/* A segment file. Its number is its name; live ones are in number order. */
struct segment {
    uint64_t number;
    uint64_t first; /* position of its first record; 0: none */
    uint64_t last;
    uint64_t used; /* bytes of records and header */
    uint64_t size; /* of the file */
};

struct segment_list {
    struct segment *items;
    size_t count;
    size_t room;
};

/* Makes the spare out of a free segment or of nothing, and removes surplus ones. */
struct spare_job {
    struct an_job job;
    struct store_log *log;
    bool in_flight;
    /* In. Numbers start at 1; 0 is none. */
    uint64_t number; /* of the spare to make */
    uint64_t victim; /* the free segment to rename to it */
    uint64_t remove[LOG_REMOVE_MAX];
    size_t remove_count;
    /* Out. */
    enum an_err err;
    bool renamed;
    bool sync_failed;
    struct store_file *file;
    uint64_t size;
};

struct store_log {
    struct store_log_cfg cfg;
    char dir[STORE_PATH_LEN_MAX];
    uint64_t position; /* of the newest record */
    uint64_t applied;
    struct segment_list live; /* the last one is appended to; never empty once open */
    struct segment_list free; /* applied whole; still under their old names */
    struct store_file *file;  /* of the last live one */
    struct segment spare;     /* number 0: none */
    struct store_file *spare_file;
    struct spare_job spare_job;
    bool dead;
    uint64_t syncs;
    uint64_t sync_us_total;
};

/* Room for one more; so that adding cannot fail when it must not. */
AN_MUST_USE enum an_err segment_list_reserve(struct segment_list *list);
void segment_list_add(struct segment_list *list, struct segment segment);
struct segment segment_list_remove(struct segment_list *list, size_t index);

/* DIR/0000000000000001.seg */
void segment_path(const char *dir, uint64_t number, char out[STORE_PATH_LEN_MAX]);
/* False if the name is not a segment's. */
bool segment_number(const char *name, uint64_t *out);

/* Creates segment `number` under a temporary name, full length, synced, then gives it its
 * name; the directory is not synced. zeroed: also writes every byte once, so that later
 * syncs need not write the file's block map. */
AN_MUST_USE enum an_err segment_create(const struct store_log_cfg *cfg, const char *dir,
                                       uint64_t number, bool zeroed,
                                       struct store_file **out);

/* Logs one line for the operator; level as in core/log.h. */
void store_log_say(const struct store_log *log, int level, const char *line);
/* A sync failed: the log is dead, the host is told. */
void store_log_die(struct store_log *log, const char *why);
#endif
