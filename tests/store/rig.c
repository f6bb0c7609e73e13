#include "tests/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
offload(void *ctx, struct an_job *job)
{
    struct rig *rig = ctx;

    if (!rig->manual) {
        job->run(job);
        job->done(job);
        return;
    }
    job->next = NULL;
    if (rig->last == NULL) {
        rig->first = job;
    } else {
        rig->last->next = job;
    }
    rig->last = job;
}

bool
rig_run_one(struct rig *rig, enum an_lane lane)
{
    struct an_job *before = NULL;
    struct an_job *job = rig->first;

    while (job != NULL && job->lane != lane) {
        before = job;
        job = job->next;
    }
    if (job == NULL) {
        return false;
    }
    *(before == NULL ? &rig->first : &before->next) = job->next;
    if (rig->last == job) {
        rig->last = before;
    }
    job->run(job);
    job->done(job);
    return true;
}

unsigned
rig_run_jobs(struct rig *rig)
{
    unsigned count = 0;

    while (rig->first != NULL) {
        rig_run_one(rig, rig->first->lane);
        count++;
    }
    return count;
}

static void
take_log(void *ctx, int level, const char *line)
{
    struct rig *rig = ctx;
    (void)level;
    snprintf(rig->last_log, sizeof rig->last_log, "%s", line);
}

static void
take_fatal(void *ctx, const char *why)
{
    struct rig *rig = ctx;
    (void)why;
    rig->fatal_count++;
}

void
rig_init(struct rig *rig, enum engine_kind kind, uint64_t seed)
{
    *rig = (struct rig){.sim = files_sim_create(seed)};
    assert_non_null(rig->sim);
    snprintf(rig->dir, sizeof rig->dir, "/tmp/anser-store-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    rig->cfg = (struct engine_cfg){
        .kind = kind,
        .dir = rig->dir,
        .files = files_sim_table(rig->sim),
        .host = {rig, offload, take_log, take_fatal},
        .cluster_id = "test",
        .store_id = 3,
        .slot_first = 0,
        .slot_last = 511,
        .overlay_rows_max = 1000,
        .overlay_bytes_max = 1u << 20,
        .log_segment_bytes = 32768,
        .lmdb_map_bytes = 64u << 20,
    };
}

void
rig_fini(struct rig *rig)
{
    char path[96];

    rig_close(rig);
    files_sim_destroy(rig->sim);
    snprintf(path, sizeof path, "%s/lmdb/data.mdb", rig->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/lmdb/lock.mdb", rig->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/lmdb", rig->dir);
    rmdir(path);
    rmdir(rig->dir);
}

enum an_err
rig_open(struct rig *rig)
{
    enum an_err err = engine_open(&rig->engine, &rig->cfg, rig->why, sizeof rig->why);
    if (err == AN_OK && RIG_SLOT >= rig->cfg.slot_first) {
        err = engine_open_slot(rig->engine, RIG_SLOT, &rig->fence);
    }
    return err;
}

int
rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig_init(rig, RIG_KIND, 1);
    assert_int_equal(rig_open(rig), AN_OK);
    *state = rig;
    return 0;
}

int
rig_teardown(void **state)
{
    struct rig *rig = *state;
    rig_fini(rig);
    free(rig);
    return 0;
}

void
rig_close(struct rig *rig)
{
    rig_run_jobs(rig);
    engine_close(rig->engine);
    rig->engine = NULL;
}

void
rig_crash(struct rig *rig, uint64_t seed)
{
    /* What the process still held in memory dies with it: nothing may reach the disk. */
    files_sim_cut_power(rig->sim, 1);
    rig_close(rig);
    files_sim_crash(rig->sim, seed);
}

static struct engine_blob
key_of(const char *text, uint8_t *buf)
{
    size_t len = strlen(text);
    buf[0] = 0;
    buf[1] = RIG_SLOT;
    memcpy(buf + 2, text, len + 1);
    return (struct engine_blob){buf, len + 2};
}

struct engine_row
rig_row(const char *key, const char *value)
{
    static uint8_t ring[64][128];
    static unsigned at;
    uint8_t *buf = ring[at++ % 64];

    return (struct engine_row){
        .op = value != NULL ? ENGINE_PUT : ENGINE_DELETE,
        .key = key_of(key, buf),
        .value = {(const uint8_t *)value, value != NULL ? strlen(value) : 0}};
}

static void
take_append(void *ctx, enum an_err err)
{
    int *out = ctx;
    assert_int_equal(*out, RIG_NO_ANSWER); /* exactly once */
    *out = (int)err;
}

int
rig_append(struct rig *rig, const struct engine_group *groups, size_t group_count)
{
    int out = RIG_NO_ANSWER;
    engine_append(rig->engine, groups, group_count, take_append, &out);
    return out;
}

int
rig_put(struct rig *rig, const char *key, const char *value)
{
    struct engine_row row = rig_row(key, value);
    struct engine_group group = {RIG_SLOT, rig->fence, &row, 1};
    return rig_append(rig, &group, 1);
}

struct query_text {
    char text[8192];
    bool done;
};

static void
take_read(void *ctx, enum an_err err, const struct engine_answer *answers,
          size_t answer_count)
{
    struct query_text *out = ctx;
    size_t len = 0;

    assert_false(out->done);
    out->done = true;
    if (err != AN_OK) {
        snprintf(out->text, sizeof out->text, "%s", an_err_name(err));
        return;
    }
    assert_int_equal(answer_count, 1);
    for (size_t i = 0; i < answers[0].item_count; i++) {
        const struct engine_item *item = &answers[0].items[i];
        len += (size_t)snprintf(out->text + len, sizeof out->text - len, "%s%.*s=%.*s",
                                i > 0 ? " " : "", (int)item->key.len - 2,
                                (const char *)item->key.data + 2, (int)item->value.len,
                                (const char *)item->value.data);
        assert_true(len < sizeof out->text);
    }
    snprintf(out->text + len, sizeof out->text - len, "%s", answers[0].more ? "..." : "");
}

const char *
rig_query(struct rig *rig, const char *first, const char *end, size_t items_max,
          bool reverse)
{
    static struct query_text out;
    uint8_t first_buf[128];
    uint8_t end_buf[128];
    struct engine_query query = {
        .first = key_of(first, first_buf), .items_max = items_max, .reverse = reverse};

    query.end = key_of(end != NULL ? end : first, end_buf);
    query.end.len += end == NULL; /* the zero behind the text */
    out = (struct query_text){.text = ""};
    engine_read(rig->engine, &query, 1, take_read, &out);
    while (!out.done) {
        assert_true(rig_run_one(rig, AN_LANE_READ));
    }
    return out.text;
}

struct engine_stats
rig_stats(struct rig *rig)
{
    struct engine_stats stats;
    engine_stats(rig->engine, &stats);
    return stats;
}

static const char *
number_text(uint64_t i)
{
    static char ring[16][24];
    static unsigned at;
    char *out = ring[at++ % 16];
    snprintf(out, sizeof ring[0], "%llu", (unsigned long long)i);
    return out;
}

static const char *
model_key(uint64_t i, unsigned row)
{
    static char ring[16][8];
    static unsigned at;
    char *out = ring[at++ % 16];
    snprintf(out, sizeof ring[0], "k%02u",
             (unsigned)((i * 7 + row * 11 + i * i) % MODEL_KEYS));
    return out;
}

static bool
model_deletes(uint64_t i, unsigned row)
{
    return (i + row) % 3 == 0;
}

void
model_batch(uint64_t i, struct engine_row rows[MODEL_ROWS])
{
    for (unsigned row = 0; row < MODEL_ROWS - 1; row++) {
        rows[row] = rig_row(model_key(i, row),
                            model_deletes(i, row) ? NULL : number_text(i * 10 + row));
    }
    rows[MODEL_ROWS - 1] = rig_row("n", number_text(i));
}

const char *
model_text(uint64_t n)
{
    static char text[4096];
    uint64_t values[MODEL_KEYS] = {0};
    size_t len = 0;

    for (uint64_t i = 1; i <= n; i++) {
        for (unsigned row = 0; row < MODEL_ROWS - 1; row++) {
            unsigned key = (unsigned)strtoul(model_key(i, row) + 1, NULL, 10);
            values[key] = model_deletes(i, row) ? 0 : i * 10 + row;
        }
    }
    text[0] = '\0';
    for (unsigned key = 0; key < MODEL_KEYS; key++) {
        if (values[key] != 0) {
            len += (size_t)snprintf(text + len, sizeof text - len, "k%02u=%llu ", key,
                                    (unsigned long long)values[key]);
        }
    }
    if (n > 0) {
        snprintf(text + len, sizeof text - len, "n=%llu", (unsigned long long)n);
    }
    return text;
}

uint64_t
model_check(struct rig *rig)
{
    const char *n = rig_query(rig, "n", NULL, 1, false);
    uint64_t count = n[0] == '\0' ? 0 : strtoull(n + 2, NULL, 10);

    assert_string_equal(rig_query(rig, "", "z", 1000, false), model_text(count));
    return count;
}
