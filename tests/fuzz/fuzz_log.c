/* Fuzzing the readers of the log: opening an engine and the offline check over a segment
 * made of the input. The first byte says how:
 *   even: the rest is the segment behind its header, as it is;
 *   odd: the rest is a run of record bodies, each behind two bytes of length and one of
 *        row count, sealed with good checksums, so that the rows' decoder is reached.
 * Whatever comes in: no crash, and engine and check must agree on the rows whenever both
 * find nothing wrong. */
#include "store/check.h"
#include "store/engine.h"
#include "store/files_sim.h"
#include "store/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SEGMENT_LEN 16384u
#define DIR         "/fuzz"

static void
offload(void *ctx, struct an_job *job)
{
    (void)ctx;
    job->run(job);
    job->done(job);
}

static void
fatal(void *ctx, const char *why)
{
    (void)ctx;
    (void)why;
    abort(); /* nothing of this disk fails */
}

static size_t
seal_bodies(const uint8_t *data, size_t len, const uint8_t *salt, uint8_t *out,
            size_t room)
{
    size_t used = 0;
    uint64_t position = 1;

    while (len >= 3) {
        size_t body_len = (size_t)data[0] << 8 | data[1];
        uint32_t row_count = data[2];
        data += 3;
        len -= 3;
        body_len = body_len < len ? body_len : len;
        if (record_len(body_len) > room - used) {
            break;
        }
        memcpy(out + used + RECORD_HEADER_LEN, data, body_len);
        record_seal(out + used, body_len, row_count, position++, salt);
        used += record_len(body_len);
        data += body_len;
        len -= body_len;
    }
    return used;
}

/* Overwrites the first segment of a fresh store with what the input makes of it. */
static void
plant(struct store_files *files, const uint8_t *data, size_t len)
{
    uint8_t bytes[SEGMENT_LEN - SEGMENT_HEADER_LEN] = {0};
    uint8_t salt[STORE_SALT_LEN];
    struct store_file *file = NULL;
    size_t got;

    enum an_err err =
        files->ops->open(files, DIR "/log/0000000000000001.seg", STORE_OPEN_WRITE, &file);
    assert(err == AN_OK);
    err = store_file_read(file, 16, salt, sizeof salt, &got);
    assert(err == AN_OK);
    size_t used = len - 1 < sizeof bytes ? len - 1 : sizeof bytes;
    if (data[0] % 2 == 0) {
        memcpy(bytes, data + 1, used);
    } else {
        used = seal_bodies(data + 1, len - 1, salt, bytes, sizeof bytes);
    }
    err = store_file_write(file, SEGMENT_HEADER_LEN, bytes, used);
    assert(err == AN_OK);
    store_file_close(&file);
}

static void
count_finding(void *ctx, const struct store_finding *finding)
{
    (void)finding;
    ++*(size_t *)ctx;
}

static bool
count_row(void *ctx, const struct store_check_row *row)
{
    (void)row;
    ++*(size_t *)ctx;
    return true;
}

static void
count_items(void *ctx, enum an_err err, const struct engine_answer *answers, size_t count)
{
    assert(err == AN_OK);
    assert(count == 1);
    *(size_t *)ctx = answers[0].item_count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct files_sim *sim = files_sim_create(1);
    struct engine *engine = NULL;
    struct store_check *check = NULL;
    size_t findings = 0;
    size_t checked = 0;
    size_t items = 0;
    struct engine_cfg cfg = {.kind = ENGINE_MEMORY,
                             .dir = DIR,
                             .files = files_sim_table(sim),
                             .host = {.offload = offload, .fatal = fatal},
                             .cluster_id = "fuzz",
                             .slot_last = 1023,
                             .log_segment_bytes = SEGMENT_LEN};

    if (len == 0) {
        files_sim_destroy(sim);
        return 0;
    }
    enum an_err err = engine_open(&engine, &cfg, NULL, 0);
    assert(err == AN_OK);
    engine_close(engine);
    plant(cfg.files, data, len);
    err = store_check_open(&check, cfg.files, DIR, count_finding, &findings);
    if (err == AN_OK) {
        err = store_check_rows(check, count_row, &checked);
    }
    assert(err == AN_OK);
    store_check_close(check);
    if (engine_open(&engine, &cfg, NULL, 0) == AN_OK) {
        static const uint8_t end[] = {0xff, 0xff, 0xff};
        struct engine_query all = {
            .first = {end, 0}, .end = {end, sizeof end}, .items_max = 100000};
        engine_read(engine, &all, 1, count_items, &items);
        assert(findings > 0 || items == checked);
        engine_close(engine);
    }
    files_sim_destroy(sim);
    return 0;
}
