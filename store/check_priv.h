/* Inside of the offline check: check.c (directory, base, merging) and check_log.c. */
#ifndef AN_STORE_CHECK_PRIV_H
#define AN_STORE_CHECK_PRIV_H

#include "store/base.h"
#include "store/check.h"
#include "store/identity.h"

#define CHECK_NAME_LEN 32u /* "log/0000000000000001.seg" */

/* A segment in memory; let go unless rows point into it. */
struct check_segment {
    uint64_t number;
    char name[CHECK_NAME_LEN];
    uint8_t *bytes;
    size_t len;
};

/* A whole record, wherever it was found. */
struct check_record {
    uint64_t position;
    size_t segment;
    size_t offset;
    size_t body_len;
    uint32_t row_count;
};

/* A row of the log above the base. */
struct check_row {
    struct engine_blob key;
    struct engine_blob value;
    bool deleted;
    uint64_t order; /* of appending */
    size_t segment;
    size_t offset;
};

struct check_vector {
    void *items;
    size_t count, room;
};

struct store_check {
    struct store_files *files;
    char dir[STORE_PATH_LEN_MAX];
    store_finding_fn *fn;
    void *ctx;
    uint64_t finding_count;
    struct identity identity;
    struct store_file *lock;
    struct base *base;
    uint64_t applied;
    uint64_t position;
    uint64_t log_records;
    struct check_vector segments; /* struct check_segment, by number */
    struct check_vector records;  /* struct check_record, by position */
    struct check_vector rows;     /* struct check_row, by key, newest first */
};

__attribute__((format(printf, 4, 5))) void check_report(struct store_check *check,
                                                        const char *file, uint64_t offset,
                                                        const char *format, ...);
/* Room for one more at the end, zeroed; NULL without memory. */
void *check_vector_add(struct check_vector *vector, size_t size);
/* A key this store may hold? Reports what is wrong with it. */
bool check_key(struct store_check *check, struct engine_blob key, const char *file,
               uint64_t offset);
/* Reads all segments, verifies them, and leaves the rows above check->applied sorted. */
AN_MUST_USE enum an_err check_log(struct store_check *check);

#endif
