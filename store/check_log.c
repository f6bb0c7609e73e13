/* The check's own reading of the log. Where replay follows the chain of records and stops
 * at its end, this looks at every place of every segment for whole records, and then asks
 * whether what it found is what a sound log would hold. The checksum is the portable one,
 * the fields are taken apart here. */
#include "store/check_priv.h"

#include "store/crc32c.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From docs/storage.md, not from the writer. */
enum {
    SEGMENT_BODY = 4096,
    HEAD = 24,
    PLACE = 8,
    ROW_HEAD = 6,
};

static uint64_t
little(const uint8_t *at, unsigned len)
{
    uint64_t sum = 0;

    while (len-- > 0) {
        sum = sum * 256 + at[len];
    }
    return sum;
}

static struct check_segment *
segment_at(struct store_check *check, size_t i)
{
    return (struct check_segment *)check->segments.items + i;
}

static struct check_record *
record_of(struct store_check *check, size_t i)
{
    return (struct check_record *)check->records.items + i;
}

static void
note_name(void *ctx, const char *name)
{
    struct store_check *check = ctx;
    char *end;
    uint64_t number = strtoull(name, &end, 16);

    if (end - name != 16 || strcmp(end, ".seg") != 0) {
        if (strstr(name, ".tmp") == NULL) {
            check_report(check, "log", 0, "a file that is no segment: %s", name);
        }
        return;
    }
    struct check_segment *segment = check_vector_add(&check->segments, sizeof *segment);
    if (segment != NULL) {
        segment->number = number;
        snprintf(segment->name, sizeof segment->name, "log/%.16s.seg", name);
    }
}

static int
segment_compare(const void *left, const void *right)
{
    uint64_t a = ((const struct check_segment *)left)->number;
    uint64_t b = ((const struct check_segment *)right)->number;
    return (a > b) - (a < b);
}

static int
record_compare(const void *left, const void *right)
{
    uint64_t a = ((const struct check_record *)left)->position;
    uint64_t b = ((const struct check_record *)right)->position;
    return (a > b) - (a < b);
}

/* By key, and of one key the newest first. */
static int
row_compare(const void *left, const void *right)
{
    const struct check_row *a = left;
    const struct check_row *b = right;
    int order = blob_compare(a->key, b->key);
    return order != 0 ? order : (a->order < b->order) - (a->order > b->order);
}

static enum an_err
segment_read(struct store_check *check, struct check_segment *segment)
{
    char path[STORE_PATH_LEN_MAX + CHECK_NAME_LEN + 1];
    struct store_file *file = NULL;
    uint64_t size = 0;

    snprintf(path, sizeof path, "%s/%s", check->dir, segment->name);
    enum an_err err = check->files->ops->open(check->files, path, STORE_OPEN_READ, &file);
    if (err == AN_OK) {
        err = store_file_size(file, &size);
    }
    if (err == AN_OK) {
        segment->bytes = malloc(size + 1);
        err = segment->bytes == NULL
                  ? AN_ERR_NO_MEMORY
                  : store_file_read(file, 0, segment->bytes, size, &segment->len);
    }
    store_file_close(&file);
    return err;
}

static void
check_segment_head(struct store_check *check, const struct check_segment *segment)
{
    const uint8_t *at = segment->bytes;
    const uint8_t *salt = check->identity.salt;

    if (segment->len < SEGMENT_BODY || memcmp(at, "ANSRLOG\n", 8) != 0) {
        check_report(check, segment->name, 0, "the segment's header is damaged");
    } else if (little(at + 8, 4) != 1) {
        check_report(check, segment->name, 8, "the segment's format is %" PRIu64,
                     little(at + 8, 4));
    } else if (memcmp(at + 16, salt, 8) != 0) {
        check_report(check, segment->name, 16, "the segment is another store's");
    } else if (little(at + 12, 4) !=
               crc32c_portable(crc32c_portable(0, at, 12), salt, 8)) {
        check_report(check, segment->name, 12, "the header's checksum is wrong");
    }
}

/* Is there a whole record at this place? */
static bool
record_here(const struct store_check *check, const struct check_segment *segment,
            size_t offset, struct check_record *out)
{
    const uint8_t *at = segment->bytes + offset;

    if (segment->len - offset < HEAD || memcmp(at, "ANR1", 4) != 0) {
        return false;
    }
    uint64_t body_len = little(at + 8, 4);
    if (body_len > segment->len - offset - HEAD) {
        return false;
    }
    uint32_t crc = crc32c_portable(0, check->identity.salt, 8);
    if (crc32c_portable(crc, at + 8, 16 + (size_t)body_len) != little(at + 4, 4)) {
        return false;
    }
    *out = (struct check_record){.position = little(at + 16, 8),
                                 .offset = offset,
                                 .body_len = (size_t)body_len,
                                 .row_count = (uint32_t)little(at + 12, 4)};
    return true;
}

static size_t
record_end(const struct check_record *record)
{
    return (record->offset + HEAD + record->body_len + PLACE - 1) / PLACE * PLACE;
}

/* Finds every whole record of the segment. Those at its beginning must follow each other;
 * behind them only older ones may be left, from the segment's earlier life. */
static enum an_err
segment_scan(struct store_check *check, size_t i)
{
    const struct check_segment *segment = segment_at(check, i);
    struct check_record last = {0};
    size_t end = SEGMENT_BODY;
    bool broken = false;

    for (size_t offset = SEGMENT_BODY; offset + HEAD <= segment->len;) {
        struct check_record found;
        if (!record_here(check, segment, offset, &found)) {
            offset += PLACE;
            continue;
        }
        found.segment = i;
        bool follows =
            offset == end && (end == SEGMENT_BODY || found.position == last.position + 1);
        if (follows) {
            last = found;
            end = record_end(&found);
        } else if (found.position > last.position && last.position != 0 && !broken) {
            broken = true;
            check_report(check, segment->name, end,
                         "record %" PRIu64 " is damaged or missing, but record %" PRIu64
                         " follows at byte %zu",
                         last.position + 1, found.position, offset);
        }
        struct check_record *record = check_vector_add(&check->records, sizeof *record);
        if (record == NULL) {
            return AN_ERR_NO_MEMORY;
        }
        *record = found;
        offset = record_end(&found);
    }
    return AN_OK;
}

/* Which records, by index, are the log above the base? They must reach down to it. */
static size_t
find_run(struct store_check *check)
{
    size_t first = check->records.count;

    if (first == 0) {
        check->position = 0;
    } else {
        check->position = record_of(check, first - 1)->position;
        first--;
        while (first > 0 && record_of(check, first)->position > check->applied + 1 &&
               record_of(check, first - 1)->position ==
                   record_of(check, first)->position - 1) {
            first--;
        }
    }
    if (check->position < check->applied) {
        check_report(check, "log", 0,
                     "the log ends at record %" PRIu64
                     ", but the base holds up to %" PRIu64,
                     check->position, check->applied);
        return check->records.count;
    }
    const struct check_record *record =
        check->records.count > 0 ? record_of(check, first) : NULL;
    if (record != NULL && record->position > check->applied + 1) {
        uint64_t above = first > 0 ? record_of(check, first - 1)->position : 0;
        above = above > check->applied ? above : check->applied;
        check_report(check, segment_at(check, record->segment)->name, record->offset,
                     "records %" PRIu64 " to %" PRIu64 " are damaged or missing before "
                     "record %" PRIu64,
                     above + 1, record->position - 1, record->position);
    }
    /* Below the break there may be more above the base: show them all the same. */
    while (first > 0 && record_of(check, first - 1)->position > check->applied) {
        first--;
    }
    while (first < check->records.count &&
           record_of(check, first)->position <= check->applied) {
        first++;
    }
    return first;
}

static enum an_err
record_rows(struct store_check *check, const struct check_record *record)
{
    const struct check_segment *segment = segment_at(check, record->segment);
    size_t at = record->offset + HEAD;
    size_t end = at + record->body_len;

    for (uint32_t i = 0; i < record->row_count; i++) {
        const uint8_t *row = segment->bytes + at;
        if (end - at < ROW_HEAD || (row[0] != 1 && row[0] != 2)) {
            check_report(check, segment->name, at, "row %" PRIu32 " is malformed", i);
            return AN_OK;
        }
        size_t key_len = row[1];
        size_t value_len = (size_t)little(row + 2, 4);
        if (key_len + value_len > end - at - ROW_HEAD || (row[0] == 2 && value_len > 0)) {
            check_report(check, segment->name, at, "row %" PRIu32 " is malformed", i);
            return AN_OK;
        }
        struct check_row *out = check_vector_add(&check->rows, sizeof *out);
        if (out == NULL) {
            return AN_ERR_NO_MEMORY;
        }
        *out = (struct check_row){.key = {row + ROW_HEAD, key_len},
                                  .value = {row + ROW_HEAD + key_len, value_len},
                                  .deleted = row[0] == 2,
                                  .order = check->rows.count,
                                  .segment = record->segment,
                                  .offset = at};
        (void)check_key(check, out->key, segment->name, at);
        at += ROW_HEAD + key_len + value_len;
    }
    if (at != end) {
        check_report(check, segment->name, at, "the record is longer than its rows");
    }
    return AN_OK;
}

static void
check_numbers(struct store_check *check)
{
    for (size_t i = 1; i < check->records.count; i++) {
        const struct check_record *record = record_of(check, i);
        if (record->position == record_of(check, i - 1)->position) {
            check_report(check, segment_at(check, record->segment)->name, record->offset,
                         "record %" PRIu64 " is there twice", record->position);
        }
    }
}

enum an_err
check_log(struct store_check *check)
{
    char path[STORE_PATH_LEN_MAX + 8];

    snprintf(path, sizeof path, "%s/log", check->dir);
    enum an_err err = check->files->ops->list(check->files, path, note_name, check);
    if (err != AN_OK || check->segments.count == 0) {
        check_report(check, "log", 0, "there are no segments");
        return err == AN_ERR_NO_MEMORY ? err : AN_OK;
    }
    qsort(check->segments.items, check->segments.count, sizeof(struct check_segment),
          segment_compare);
    for (size_t i = 0; i < check->segments.count; i++) {
        struct check_segment *segment = segment_at(check, i);
        err = segment_read(check, segment);
        if (err != AN_OK) {
            check_report(check, segment->name, 0, "cannot be read: %s", an_err_text(err));
            return err;
        }
        check_segment_head(check, segment);
        err = segment_scan(check, i);
        if (err != AN_OK) {
            return err;
        }
    }
    if (check->records.count > 0) {
        qsort(check->records.items, check->records.count, sizeof(struct check_record),
              record_compare);
    }
    check_numbers(check);
    for (size_t i = find_run(check); i < check->records.count; i++) {
        check->log_records++;
        err = record_rows(check, record_of(check, i));
        if (err != AN_OK) {
            return err;
        }
    }
    if (check->rows.count > 0) {
        qsort(check->rows.items, check->rows.count, sizeof(struct check_row),
              row_compare);
    }
    return AN_OK;
}
