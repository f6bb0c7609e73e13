#include "actors/api/api_hash.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(crypto_pwhash_STRBYTES <= AN_PASSWORD_HASH_LEN_MAX, "a hash fits");

static void
run(struct an_job *base)
{
    struct api_hash_job *job = (struct api_hash_job *)base;
    char made[crypto_pwhash_STRBYTES];
    size_t len = strlen(job->password);

    if (atomic_load(&job->cancelled)) {
        return;
    }
    if (job->verify && job->hash[0] != '\0') {
        job->good = crypto_pwhash_str_verify(job->hash, job->password, len) == 0;
        return;
    }
    /* For nobody's password a hash is made too, so that the time says nothing. */
    job->good = crypto_pwhash_str(made, job->password, len, job->passes, job->bytes) == 0;
    if (job->verify) {
        job->good = false;
    } else if (job->good) {
        snprintf(job->hash, sizeof(job->hash), "%s", made);
    }
}

static void
done(struct an_job *job)
{
    api_hash_job_free((struct api_hash_job *)job);
}

struct api_hash_job *
api_hash_job_create(const char *password, const char *hash, uint64_t passes, size_t bytes)
{
    struct api_hash_job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        return NULL;
    }
    job->job = (struct an_job){.run = run, .done = done, .lane = AN_LANE_HASH};
    job->passes = passes != 0 ? passes : crypto_pwhash_OPSLIMIT_INTERACTIVE;
    job->bytes = bytes != 0 ? bytes : crypto_pwhash_MEMLIMIT_INTERACTIVE;
    job->verify = hash != NULL;
    atomic_init(&job->cancelled, false);
    snprintf(job->password, sizeof(job->password), "%s", password);
    if (hash != NULL) {
        snprintf(job->hash, sizeof(job->hash), "%s", hash);
    }
    return job;
}

void
api_hash_job_free(struct api_hash_job *job)
{
    if (job != NULL) {
        sodium_memzero(job, sizeof(*job));
        free(job);
    }
}
