/* The engine with real threads for its jobs and the real disk: reads, applies and the
 * preparing of segments run beside the appends. Built once for each engine. */
#include "tests/store/rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READERS 2

struct queue {
    struct an_job *first, *last;
};

/* One thread for the apply lane, two for the read lane, and the queue that brings jobs
 * back to the engine's thread. */
struct pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct queue lanes[AN_LANE_COUNT];
    struct queue ran;
    size_t in_flight;
    bool stopping;
    pthread_t threads[READERS + 1];
};

static void
queue_push(struct queue *queue, struct an_job *job)
{
    job->next = NULL;
    if (queue->first == NULL) {
        queue->first = job;
    } else {
        queue->last->next = job;
    }
    queue->last = job;
}

static struct an_job *
queue_pop(struct queue *queue)
{
    struct an_job *job = queue->first;
    if (job != NULL) {
        queue->first = job->next;
    }
    return job;
}

static void
work(struct pool *pool, enum an_lane lane)
{
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct an_job *job = queue_pop(&pool->lanes[lane]);
        if (job != NULL) {
            pthread_mutex_unlock(&pool->lock);
            job->run(job);
            pthread_mutex_lock(&pool->lock);
            queue_push(&pool->ran, job);
            pthread_cond_broadcast(&pool->changed);
        } else if (pool->stopping) {
            break;
        } else {
            pthread_cond_wait(&pool->changed, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
}

static void *
work_read(void *pool)
{
    work(pool, AN_LANE_READ);
    return NULL;
}

static void *
work_apply(void *pool)
{
    work(pool, AN_LANE_APPLY);
    return NULL;
}

static void
pool_offload(void *ctx, struct an_job *job)
{
    struct pool *pool = ctx;

    pthread_mutex_lock(&pool->lock);
    pool->in_flight++;
    queue_push(&pool->lanes[job->lane], job);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

/* Brings back what has run; with wait, at least one if any is in flight. */
static void
pool_drain(struct pool *pool, bool wait)
{
    pthread_mutex_lock(&pool->lock);
    while (wait && pool->in_flight > 0 && pool->ran.first == NULL) {
        pthread_cond_wait(&pool->changed, &pool->lock);
    }
    struct queue ran = pool->ran;
    pool->ran = (struct queue){0};
    for (struct an_job *job = ran.first; job != NULL; job = job->next) {
        pool->in_flight--;
    }
    pthread_mutex_unlock(&pool->lock);
    for (struct an_job *job; (job = queue_pop(&ran)) != NULL;) {
        job->done(job);
    }
}

static void
pool_start(struct pool *pool)
{
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pthread_create(&pool->threads[0], NULL, work_apply, pool);
    for (size_t i = 1; i <= READERS; i++) {
        pthread_create(&pool->threads[i], NULL, work_read, pool);
    }
}

static void
pool_stop(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i <= READERS; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
}

static void
no_fatal(void *ctx, const char *why)
{
    (void)ctx;
    fail_msg("fatal: %s", why);
}

#define KEYS 12

/* Batch i sets every key to i. */
static int
put_round(struct rig *rig, uint64_t i)
{
    struct engine_row rows[KEYS];
    char value[24];

    snprintf(value, sizeof value, "%llu", (unsigned long long)i);
    for (unsigned k = 0; k < KEYS; k++) {
        char key[4] = {(char)('a' + k), 0};
        rows[k] = rig_row(key, value);
    }
    struct engine_group group = {RIG_SLOT, rig->fence, rows, KEYS};
    return rig_append(rig, &group, 1);
}

struct expectation {
    uint64_t round; /* the last one acknowledged when the read began */
    size_t *done;
};

static void
take_round(void *ctx, enum an_err err, const struct engine_answer *answers, size_t count)
{
    struct expectation *want = ctx;
    char value[24];

    assert_int_equal(err, AN_OK);
    assert_int_equal(count, 1);
    assert_int_equal(answers[0].item_count, want->round == 0 ? 0 : KEYS);
    snprintf(value, sizeof value, "%llu", (unsigned long long)want->round);
    for (size_t i = 0; i < answers[0].item_count; i++) {
        assert_int_equal(answers[0].items[i].value.len, strlen(value));
        assert_memory_equal(answers[0].items[i].value.data, value, strlen(value));
    }
    ++*want->done;
    free(want);
}

static void
begin_read(struct rig *rig, uint64_t round, bool reverse, size_t *done)
{
    struct engine_row low = rig_row("", NULL);
    struct engine_row high = rig_row("zz", NULL);
    struct engine_query query = {
        .first = low.key, .end = high.key, .items_max = 100, .reverse = reverse};
    struct expectation *want = malloc(sizeof *want);

    assert_non_null(want);
    *want = (struct expectation){.round = round, .done = done};
    engine_read(rig->engine, &query, 1, take_round, want);
}

static void
remove_entry(void *ctx, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name);
    (void)store_files_posix()->ops->unlink(store_files_posix(), path);
    rmdir(path);
}

static void
remove_tree(char *dir)
{
    static const char *const parts[] = {"/log", "/memory", "/lmdb", ""};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", dir, parts[i]);
        (void)store_files_posix()->ops->list(store_files_posix(), path, remove_entry,
                                             path);
    }
    rmdir(dir);
}

static void
test_threads_reads_see_whole_batches_while_applies_run(void **state)
{
    (void)state;
    struct rig rig = {0};
    struct pool pool = {0};
    size_t begun = 0;
    size_t done = 0;

    rig_init(&rig, RIG_KIND, 1);
    rig.cfg.files = store_files_posix();
    rig.cfg.host =
        (struct engine_host){.ctx = &pool, .offload = pool_offload, .fatal = no_fatal};
    rig.cfg.log_segment_bytes = 65536;
    pool_start(&pool);
    assert_int_equal(rig_open(&rig), AN_OK);
    for (uint64_t round = 0; round < 3000;) {
        begin_read(&rig, round, round % 3 == 0, &done);
        begun++;
        int err = put_round(&rig, round + 1);
        if (err == AN_ERR_BUSY) {
            pool_drain(&pool, true);
            continue;
        }
        assert_int_equal(err, AN_OK);
        round++;
        if (round % 20 == 0) {
            engine_apply_now(rig.engine);
        }
        engine_tick(rig.engine, round);
        pool_drain(&pool, begun - done > 100);
    }
    while (done < begun || pool.in_flight > 0) {
        pool_drain(&pool, true);
    }
    assert_true(rig_stats(&rig).applies > 3);
    assert_int_equal(rig_stats(&rig).apply_failures, 0);
    rig_close(&rig);

    rig.cfg.host.offload = pool_offload;
    assert_int_equal(rig_open(&rig), AN_OK);
    begin_read(&rig, 3000, false, &done);
    while (done <= begun || pool.in_flight > 0) {
        pool_drain(&pool, true);
    }
    rig_close(&rig);
    pool_stop(&pool);
    remove_tree(rig.dir);
    files_sim_destroy(rig.sim);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_reads_see_whole_batches_while_applies_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
