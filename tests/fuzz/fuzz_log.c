/* Fuzzing the readers of the log: opening an engine and the offline check over a segment
 * made of the input. The first byte says how:
 *   even: the rest is the segment behind its header, as it is;
 *   odd: the rest is a run of record bodies, each behind two bytes of length and one of
 *        row count, sealed with good checksums, so that the rows' decoder is reached;
 *   bit 2: the second segment gets what lies behind the middle;
 *   bit 4: the header's first bytes are the input's, too, with a good checksum if the
 *        first is even; bit 8: the first segment is lost (without 2: all); bit 16: a file
 * lies there that is no segment; bit 32: positions begin again in the second segment; bit
 * 64: a sync fails when the engine opens; bit 128: the first record is damaged. Whatever
 * comes in: no crash, and engine and check must agree on the rows whenever both find
 * nothing wrong. */
#include "store/bytes.h"
#include "store/check.h"
#include "store/crc32c.h"
#include "store/engine.h"
#include "store/files_sim.h"
#include "store/record.h"
#include "tests/fuzz/host.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SEGMENT_LEN 16384u
#define DIR         "/fuzz"
#define SPARE       DIR "/log/0000000000000002.seg"
#define FIRST       DIR "/log/0000000000000001.seg"

static size_t
seal_bodies(const uint8_t *data, size_t len, const uint8_t *salt, uint64_t *position,
            uint8_t *out, size_t room)
{
    size_t used = 0;

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
        record_seal(out + used, body_len, row_count, (*position)++, salt);
        used += record_len(body_len);
        data += body_len;
        len -= body_len;
    }
    return used;
}

enum how {
    SEALED = 1,
    SECOND = 2,
    HEADER = 4,
    LOST = 8,
    FOREIGN = 16,
    AGAIN = 32,
    NO_SYNC = 64,
    DAMAGED = 128
};

/* magic[8] format[4] checksum[4] salt[8]; the magic stays when the checksum is made. */
static enum an_err
header_write(struct store_file *file, const uint8_t *data, size_t len)
{
    uint8_t header[24];
    size_t got, from = len > 0 && data[0] % 4 != 3 ? 8 : 0;
    enum an_err err = store_file_read(file, 0, header, sizeof header, &got);

    if (err != AN_OK || len < from) {
        return err;
    }
    memcpy(header + from, data + from, len - from);
    if (from > 0 && data[0] % 2 == 0) {
        put_le32(header + 12, crc32c(crc32c(0, header, 12), header + 16, 8));
    }
    return store_file_write(file, 0, header, sizeof header);
}

/* Overwrites a segment of a fresh store with what the input makes of it. */
static void
plant(struct store_files *files, const char *path, uint8_t how, const uint8_t *data,
      size_t len, uint64_t *position)
{
    uint8_t bytes[SEGMENT_LEN - SEGMENT_HEADER_LEN] = {0};
    uint8_t salt[STORE_SALT_LEN];
    struct store_file *file = NULL;
    size_t got, used, head = (how & HEADER) == 0 ? 0 : len < 24 ? len : 24;

    if (files->ops->open(files, path, STORE_OPEN_WRITE, &file) != AN_OK) {
        return; /* the spare one is not there */
    }
    enum an_err err = store_file_read(file, 16, salt, sizeof salt, &got);
    assert(err == AN_OK);
    err = header_write(file, data, head);
    assert(err == AN_OK);
    data += head;
    len -= head;
    used = len < sizeof bytes ? len : sizeof bytes;
    if ((how & SEALED) == 0) {
        memcpy(bytes, data, used);
    } else {
        used = seal_bodies(data, len, salt, position, bytes, sizeof bytes);
        bytes[RECORD_HEADER_LEN] ^= (how & DAMAGED) != 0;
    }
    err = store_file_write(file, SEGMENT_HEADER_LEN, bytes, used);
    assert(err == AN_OK);
    store_file_close(&file);
}

static void
plant_all(struct files_sim *sim, const uint8_t *data, size_t len)
{
    struct store_files *files = files_sim_table(sim);
    struct store_file *file = NULL;
    uint8_t how = data[0];
    size_t first = (how & SECOND) == 0 ? len - 1 : (len - 1) / 2;
    uint64_t position = 1;

    plant(files, FIRST, how, data + 1, first, &position);
    if ((how & AGAIN) != 0) {
        position = 1;
    }
    if ((how & SECOND) != 0) {
        plant(files, SPARE, how, data + 1 + first, len - 1 - first, &position);
    }
    if ((how & LOST) != 0) {
        (void)files_sim_lose(sim, FIRST);
        if ((how & SECOND) == 0) {
            (void)files_sim_lose(sim, SPARE);
        }
    }
    if ((how & FOREIGN) != 0 &&
        files->ops->open(files, DIR "/log/notes", STORE_OPEN_CREATE, &file) == AN_OK) {
        store_file_close(&file);
    }
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
    plant_all(sim, data, len);
    err = store_check_open(&check, cfg.files, DIR, count_finding, &findings);
    if (err == AN_OK) {
        err = store_check_rows(check, count_row, &checked);
    }
    assert(err == AN_OK);
    store_check_close(check);
    if ((data[0] & NO_SYNC) != 0) {
        files_sim_fail(sim, FILES_SIM_SYNC_FAILS, "log", 1);
    }
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
