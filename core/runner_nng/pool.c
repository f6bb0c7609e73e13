#include "core/runner_nng/priv.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { HUMBLE_NICE = 10 };

struct pool_entry {
    struct pool_entry *next;
    struct instance *inst;
    struct an_job *job;
};

static struct pool_entry *
lane_take(struct lane *lane)
{
    struct pool_entry *entry;

    pthread_mutex_lock(&lane->lock);
    while (lane->head == NULL && !lane->quit) {
        pthread_cond_wait(&lane->wake, &lane->lock);
    }
    entry = lane->head;
    if (entry != NULL) {
        lane->head = entry->next;
        if (lane->head == NULL) {
            lane->tail = &lane->head;
        }
    }
    pthread_mutex_unlock(&lane->lock);
    return entry;
}

static void *
lane_main(void *arg)
{
    struct lane *lane = arg;
    struct pool_entry *entry;

    pthread_setname_np(pthread_self(), "lane");
    if (lane->humble) {
        /* Linux has it for each thread: who computes for long gives way to who serves. */
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), HUMBLE_NICE);
    }
    while ((entry = lane_take(lane)) != NULL) {
        entry->job->run(entry->job);
        inbox_put_job(entry->inst, entry->job);
        free(entry);
    }
    return NULL;
}

static enum an_err
lane_start(struct lane *lane, unsigned count)
{
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->wake, NULL);
    lane->tail = &lane->head;
    lane->threads = calloc(count, sizeof(*lane->threads));
    if (lane->threads == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < count; i++) {
        if (pthread_create(&lane->threads[i], NULL, lane_main, lane) != 0) {
            return AN_ERR_NO_MEMORY;
        }
        lane->count++;
    }
    return AN_OK;
}

enum an_err
pool_start(struct pool *pool, unsigned readers)
{
    pool->lanes[AN_LANE_HASH].humble = true;

    enum an_err err = lane_start(&pool->lanes[AN_LANE_READ], readers);

    if (err == AN_OK) {
        err = lane_start(&pool->lanes[AN_LANE_APPLY], 1);
    }
    return err == AN_OK ? lane_start(&pool->lanes[AN_LANE_HASH], 1) : err;
}

void
pool_offload(struct pool *pool, struct instance *inst, struct an_job *job)
{
    struct lane *lane = &pool->lanes[job->lane];
    struct pool_entry *entry = malloc(sizeof(*entry));

    assert(job->lane < AN_LANE_COUNT);
    if (entry == NULL) {
        fputs("anser: out of memory for a job\n", stderr);
        abort();
    }
    *entry = (struct pool_entry){NULL, inst, job};
    pthread_mutex_lock(&lane->lock);
    *lane->tail = entry;
    lane->tail = &entry->next;
    pthread_cond_signal(&lane->wake);
    pthread_mutex_unlock(&lane->lock);
}

static void
lane_stop(struct lane *lane)
{
    if (lane->threads == NULL) {
        return; /* never started */
    }
    pthread_mutex_lock(&lane->lock);
    lane->quit = true;
    pthread_cond_broadcast(&lane->wake);
    pthread_mutex_unlock(&lane->lock);
    for (unsigned i = 0; i < lane->count; i++) {
        pthread_join(lane->threads[i], NULL);
    }
    free(lane->threads);
    pthread_cond_destroy(&lane->wake);
    pthread_mutex_destroy(&lane->lock);
}

void
pool_stop(struct pool *pool)
{
    lane_stop(&pool->lanes[AN_LANE_READ]);
    lane_stop(&pool->lanes[AN_LANE_APPLY]);
    lane_stop(&pool->lanes[AN_LANE_HASH]);
}
