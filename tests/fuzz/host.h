/* What an engine asks of its host, for targets that run one alone: jobs are done at once,
 * and nothing fails for good. */
#ifndef AN_TESTS_FUZZ_HOST_H
#define AN_TESTS_FUZZ_HOST_H

#include "core/job.h"
#include <stdlib.h>

static inline void
offload(void *ctx, struct an_job *job)
{
    (void)ctx;
    job->run(job);
    job->done(job);
}

static inline void
fatal(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
    abort(); /* nothing of this disk fails */
}

#endif
