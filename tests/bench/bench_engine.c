/* How fast the engine appends while it applies to LMDB: messages a second at several
 * batch sizes, each in rounds, the median printed. A message is five rows and some 360
 * bytes, as a send writes them: the message, two inbox entries, a dedupe row and a head.
 *
 * usage: bench_engine DIR [SECONDS-PER-ROUND] [ROUNDS] [OVERLAY-ROWS]
 * DIR must exist on the disk to be measured; what is in it stays, so that a second run
 * measures a store that is not empty. Two threads: this one appends, one runs jobs. */
#include "store/engine.h"
#include "store/files.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ROWS        5
#define USERS       10000u
#define BATCH_MAX   512u
#define ROUNDS_MAX  21u
#define LATENCY_MAX 2000000u

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct an_job *waiting, *waiting_last, *ran;
    size_t in_flight;
    bool stopping;
};

static void *
work(void *ctx)
{
    struct jobs *jobs = ctx;

    pthread_mutex_lock(&jobs->lock);
    while (!jobs->stopping) {
        struct an_job *job = jobs->waiting;
        if (job == NULL) {
            pthread_cond_wait(&jobs->changed, &jobs->lock);
            continue;
        }
        jobs->waiting = job->next;
        pthread_mutex_unlock(&jobs->lock);
        job->run(job);
        pthread_mutex_lock(&jobs->lock);
        job->next = jobs->ran;
        jobs->ran = job;
        pthread_cond_broadcast(&jobs->changed);
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

static void
offload(void *ctx, struct an_job *job)
{
    struct jobs *jobs = ctx;

    pthread_mutex_lock(&jobs->lock);
    job->next = NULL;
    if (jobs->waiting == NULL) {
        jobs->waiting = job;
    } else {
        jobs->waiting_last->next = job;
    }
    jobs->waiting_last = job;
    jobs->in_flight++;
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->lock);
}

static void
drain(struct jobs *jobs, bool wait)
{
    pthread_mutex_lock(&jobs->lock);
    while (wait && jobs->in_flight > 0 && jobs->ran == NULL) {
        pthread_cond_wait(&jobs->changed, &jobs->lock);
    }
    struct an_job *ran = jobs->ran;
    jobs->ran = NULL;
    for (struct an_job *job = ran; job != NULL; job = job->next) {
        jobs->in_flight--;
    }
    pthread_mutex_unlock(&jobs->lock);
    while (ran != NULL) {
        struct an_job *job = ran;
        ran = ran->next;
        job->done(job);
    }
}

static void
say(void *ctx, int level, const char *line)
{
    (void)ctx;
    fprintf(stderr, "%d %s\n", level, line);
}

static void
fatal(void *ctx, const char *why)
{
    (void)ctx;
    fprintf(stderr, "fatal: %s\n", why);
    abort();
}

static void
take(void *ctx, enum an_err err)
{
    *(enum an_err *)ctx = err;
}

static void
put_be(uint8_t *out, uint64_t value, unsigned len)
{
    while (len-- > 0) {
        out[len] = (uint8_t)value;
        value >>= 8;
    }
}

static uint32_t seqs[USERS];
static uint64_t random_state = 88172645463325252u;

/* Fills five rows of message n; keys go to buf, 5 x 32 bytes. */
static void
message_rows(uint64_t n, uint8_t *buf, struct engine_row *rows)
{
    static const uint8_t body[190];
    static const size_t value_lens[ROWS] = {190, 24, 24, 18, 24};

    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    uint64_t from = random_state % USERS;
    uint64_t to = (random_state >> 32) % USERS;
    const uint64_t owners[ROWS] = {from, from, to, from, from};
    const uint64_t seconds[ROWS] = {++seqs[from], seqs[from], seqs[to]++ + (1u << 24), n,
                                    0};
    for (unsigned i = 0; i < ROWS; i++) {
        uint8_t *key = buf + i * 32;
        put_be(key, owners[i] % 512, 2);
        key[2] = (uint8_t)(i == 2 ? 1 : i);
        put_be(key + 3, i == 3 ? seconds[i] : owners[i], 8);
        put_be(key + 11, i == 3 ? owners[i] : seconds[i], 8);
        rows[i] = (struct engine_row){
            .op = ENGINE_PUT, .key = {key, 19}, .value = {body, value_lens[i]}};
    }
}

static int
double_compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

struct bench {
    struct engine *engine;
    struct jobs jobs;
    uint64_t fences[512];
    uint64_t sent;
    double *latencies_us;
    size_t latency_count;
};

/* One batch, a group for each message; waits while the engine says busy. */
static void
append_batch(struct bench *b, size_t batch)
{
    static uint8_t keys[BATCH_MAX][ROWS * 32];
    static struct engine_row rows[BATCH_MAX][ROWS];
    static struct engine_group groups[BATCH_MAX * ROWS];
    size_t count = 0;
    enum an_err err = AN_ERR_BUSY;

    for (size_t i = 0; i < batch; i++) {
        message_rows(++b->sent, keys[i], rows[i]);
        for (unsigned r = 0; r < ROWS; r++) {
            uint16_t slot =
                (uint16_t)(rows[i][r].key.data[0] << 8 | rows[i][r].key.data[1]);
            groups[count++] =
                (struct engine_group){slot, b->fences[slot], &rows[i][r], 1};
        }
    }
    while (err == AN_ERR_BUSY) {
        engine_append(b->engine, groups, count, take, &err);
        engine_tick(b->engine,
                    store_files_posix()->ops->now_us(store_files_posix()) / 1000);
        drain(&b->jobs, err == AN_ERR_BUSY);
    }
    assert(err == AN_OK);
}

/* Messages a second over one round. */
static double
run_round(struct bench *b, size_t batch, uint64_t round_us)
{
    struct store_files *files = store_files_posix();
    uint64_t start_us = files->ops->now_us(files);
    uint64_t now_us = start_us;
    uint64_t count = 0;

    while (now_us - start_us < round_us) {
        append_batch(b, batch);
        count += batch;
        uint64_t then_us = files->ops->now_us(files);
        if (b->latency_count < LATENCY_MAX) {
            b->latencies_us[b->latency_count++] = (double)(then_us - now_us);
        }
        now_us = then_us;
    }
    return (double)count * 1e6 / (double)(now_us - start_us);
}

static void
report(struct bench *b, size_t batch, double *rates, size_t rounds, double cpu_us)
{
    struct engine_stats stats;
    size_t n = b->latency_count;

    engine_stats(b->engine, &stats);
    qsort(rates, rounds, sizeof *rates, double_compare);
    qsort(b->latencies_us, n, sizeof *b->latencies_us, double_compare);
    printf(
        "batch %3zu  %8.0f msgs/s (%.0f to %.0f)  append p50 %.0f p99 %.0f max %.0f us  "
        "cpu %.2f us/msg  backlog %llu rows  base %llu MB\n",
        batch, rates[rounds / 2], rates[0], rates[rounds - 1], b->latencies_us[n / 2],
        b->latencies_us[n * 99 / 100], b->latencies_us[n - 1], cpu_us,
        (unsigned long long)stats.overlay_rows,
        (unsigned long long)stats.base_bytes >> 20);
}

/* Of both threads, LMDB included. */
static double
cpu_used_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void
open_store(struct bench *b, const char *dir, size_t overlay_rows_max)
{
    struct engine_cfg cfg = {.kind = ENGINE_LMDB,
                             .dir = dir,
                             .files = store_files_posix(),
                             .host = {&b->jobs, offload, say, fatal},
                             .cluster_id = "bench",
                             .slot_last = 511,
                             .overlay_rows_max = overlay_rows_max};
    char why[512];

    enum an_err err = engine_open(&b->engine, &cfg, why, sizeof why);
    if (err != AN_OK) {
        fprintf(stderr, "%s: %s\n", an_err_name(err), why);
        exit(1);
    }
    for (uint16_t slot = 0; slot < 512; slot++) {
        err = engine_open_slot(b->engine, slot, &b->fences[slot]);
        assert(err == AN_OK);
    }
}

int
main(int argc, char **argv)
{
    static const size_t batches[] = {1, 64, 512};
    static struct bench b = {
        .jobs = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}};
    double rates[ROUNDS_MAX];
    pthread_t thread;

    if (argc < 2) {
        fprintf(stderr,
                "usage: bench_engine DIR [SECONDS-PER-ROUND] [ROUNDS] [OVERLAY-ROWS]\n");
        return 2;
    }
    uint64_t round_us = (argc > 2 ? strtoul(argv[2], NULL, 10) : 5) * 1000000u;
    size_t rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 5;
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    b.latencies_us = calloc(LATENCY_MAX, sizeof *b.latencies_us);
    assert(b.latencies_us != NULL);
    pthread_create(&thread, NULL, work, &b.jobs);
    open_store(&b, argv[1], argc > 4 ? strtoul(argv[4], NULL, 10) : 0);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        double cpu_us = cpu_used_us();
        uint64_t sent = b.sent;
        b.latency_count = 0;
        for (size_t round = 0; round < rounds; round++) {
            rates[round] = run_round(&b, batches[i], round_us);
        }
        report(&b, batches[i], rates, rounds,
               (cpu_used_us() - cpu_us) / (double)(b.sent - sent));
    }
    while (b.jobs.in_flight > 0) {
        drain(&b.jobs, true);
    }
    engine_close(b.engine);
    pthread_mutex_lock(&b.jobs.lock);
    b.jobs.stopping = true;
    pthread_cond_broadcast(&b.jobs.changed);
    pthread_mutex_unlock(&b.jobs.lock);
    pthread_join(thread, NULL);
    free(b.latencies_us);
    return 0;
}
