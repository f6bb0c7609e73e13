/* Argon2id, on another thread.
 *
 * Context: made and ended on the actor's thread, run on a lane's. */
#ifndef AN_ACTORS_API_HASH_H
#define AN_ACTORS_API_HASH_H

#include "core/job.h"
#include "core/limits.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { API_PASSWORD_MAX = 256 };

/* The first go before the others, which take turns. */
enum api_hash_class {
    API_HASH_CHECK,    /* somebody waits to be let in */
    API_HASH_CHANGE,   /* of who is known, and of imports */
    API_HASH_REGISTER, /* of anybody */
};

struct api_hash_job {
    struct an_job job; /* first */
    struct api_hash_job *next, **link;
    enum api_hash_class class;
    uint64_t address; /* whose share it is of; 0: nobody's */
    bool out;         /* with the lane */
    uint64_t tag;
    uint64_t passes;
    size_t bytes;
    bool verify, good; /* good: it was made, or it fits */
    atomic_bool cancelled;
    char password[API_PASSWORD_MAX + 1];
    char hash[AN_PASSWORD_HASH_LEN_MAX];
};

/* NULL without memory. hash: what is verified against; NULL: a new one is made. "": of
 * nobody; takes as long, and fits nothing. */
struct api_hash_job *api_hash_job_create(const char *password, const char *hash,
                                         uint64_t passes, size_t bytes);
/* Wipes it. */
void api_hash_job_free(struct api_hash_job *job);

#endif
