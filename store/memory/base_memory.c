/* The base for tests and simulation: a sorted array of rows, never changed once it is
 * published. An apply merges the old array with the new rows into a new one, writes the
 * whole of it to a file, and publishes it; views hold the array they began with.
 *
 * Writing everything at each apply is quadratic and only good for small stores, but it
 * makes this base as durable as LMDB through the same file table the log uses: the
 * simulated disk can crash it, and the log is recycled exactly as it is over LMDB.
 *
 * The file, memory/base: magic[8] position[8] rows[8], per row key length[4],
 * value length[4], key, value, and at the end CRC-32C[4] of all before it; little-endian.
 * It is replaced whole by a rename. */
#include "store/base.h"

#include "store/bytes.h"
#include "store/crc32c.h"
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_HEAD_LEN 24u
#define ROW_HEAD_LEN  8u
#define VIEWS_MAX     512u

static const char magic[8] = {'A', 'N', 'S', 'R', 'M', 'E', 'M', '1'};

/* The rows are pointers into `bytes`, which is the file's content. */
struct image {
    size_t refs; /* under the base's lock */
    uint64_t position;
    struct base_row *rows;
    size_t count;
    uint8_t *bytes;
    size_t len;
};

struct memory_base {
    struct base base;
    struct store_files *files;
    char dir[STORE_PATH_LEN_MAX];
    pthread_mutex_t lock; /* guards image and every image's refs */
    struct image *image;
    size_t views;
    _Atomic uint64_t bytes;
};

struct memory_view {
    struct base_view view;
    struct image *image;
    size_t at; /* count: at the end */
};

static struct memory_base *
memory_of(struct base *base)
{
    return (struct memory_base *)(void *)base;
}

static void
image_free(struct image *image)
{
    if (image != NULL) {
        free(image->rows);
        free(image->bytes);
        free(image);
    }
}

static struct image *
image_take(struct memory_base *m)
{
    pthread_mutex_lock(&m->lock);
    struct image *image = m->image;
    image->refs++;
    pthread_mutex_unlock(&m->lock);
    return image;
}

static void
image_drop(struct memory_base *m, struct image *image)
{
    pthread_mutex_lock(&m->lock);
    bool last = --image->refs == 0;
    pthread_mutex_unlock(&m->lock);
    if (last) {
        image_free(image);
    }
}

/* Index of the first row with a key >= key. */
static size_t
image_find(const struct image *image, struct engine_blob key)
{
    size_t low = 0;
    size_t high = image->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (blob_compare(image->rows[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool
image_grow(struct image *image, size_t *row_room, size_t *byte_room, size_t len)
{
    if (image->count == *row_room) {
        *row_room = *row_room == 0 ? 64 : *row_room * 2;
        struct base_row *rows = realloc(image->rows, *row_room * sizeof *rows);
        if (rows == NULL) {
            return false;
        }
        image->rows = rows;
    }
    if (image->len + len > *byte_room) {
        *byte_room = (image->len + len) * 2;
        uint8_t *bytes = realloc(image->bytes, *byte_room);
        if (bytes == NULL) {
            return false;
        }
        image->bytes = bytes;
    }
    return true;
}

static void
image_put(struct image *image, const struct base_row *row)
{
    uint8_t *out = image->bytes + image->len;

    put_le32(out, (uint32_t)row->key.len);
    put_le32(out + 4, (uint32_t)row->value.len);
    memcpy(out + ROW_HEAD_LEN, row->key.data, row->key.len);
    if (row->value.len > 0) {
        memcpy(out + ROW_HEAD_LEN + row->key.len, row->value.data, row->value.len);
    }
    image->len += ROW_HEAD_LEN + row->key.len + row->value.len;
    image->count++;
}

/* Sets the rows' pointers; false if the bytes are not count whole rows in key order. */
static bool
image_index(struct image *image, size_t end)
{
    size_t at = FILE_HEAD_LEN;

    for (size_t i = 0; i < image->count; i++) {
        if (end - at < ROW_HEAD_LEN) {
            return false;
        }
        size_t key_len = get_le32(image->bytes + at);
        size_t value_len = get_le32(image->bytes + at + 4);
        at += ROW_HEAD_LEN;
        if (key_len > end - at || value_len > end - at - key_len) {
            return false;
        }
        image->rows[i] =
            (struct base_row){.key = {image->bytes + at, key_len},
                              .value = {image->bytes + at + key_len, value_len}};
        at += key_len + value_len;
        if (i > 0 && blob_compare(image->rows[i - 1].key, image->rows[i].key) >= 0) {
            return false;
        }
    }
    return at == end;
}

/* A new image: the old one with the feed's rows over it. NULL without memory. */
static struct image *
image_merge(const struct image *old, struct base_feed *feed, uint64_t position)
{
    struct image *image = calloc(1, sizeof *image);
    size_t row_room = 0;
    size_t byte_room = 0;
    size_t at = 0;
    struct base_row row;

    if (image == NULL || !image_grow(image, &row_room, &byte_room, FILE_HEAD_LEN)) {
        goto out;
    }
    image->len = FILE_HEAD_LEN;
    bool more = feed->next(feed, &row);
    while (more || at < old->count) {
        int order = !more              ? 1
                    : at == old->count ? -1
                                       : blob_compare(row.key, old->rows[at].key);
        const struct base_row *from = order > 0 ? &old->rows[at] : &row;
        if (order > 0 || !row.deleted) {
            size_t len = ROW_HEAD_LEN + from->key.len + from->value.len + 4;
            if (!image_grow(image, &row_room, &byte_room, len)) {
                goto out;
            }
            image_put(image, from);
        }
        at += order >= 0;
        more = order > 0 ? more : feed->next(feed, &row);
    }
    if (!image_grow(image, &row_room, &byte_room, 4)) {
        goto out;
    }
    image->position = position;
    memcpy(image->bytes, magic, sizeof magic);
    put_le64(image->bytes + 8, position);
    put_le64(image->bytes + 16, image->count);
    bool whole = image_index(image, image->len);
    assert(whole);
    put_le32(image->bytes + image->len, crc32c(0, image->bytes, image->len));
    image->len += 4;
    return image;
out:
    image_free(image);
    return NULL;
}

static enum an_err
image_save(struct memory_base *m, const struct image *image)
{
    const struct store_files_ops *ops = m->files->ops;
    char path[STORE_PATH_LEN_MAX + 8];
    char temp[STORE_PATH_LEN_MAX + 16];
    struct store_file *file = NULL;

    snprintf(path, sizeof path, "%s/base", m->dir);
    snprintf(temp, sizeof temp, "%s/base.tmp", m->dir);
    enum an_err err = ops->open(m->files, temp, STORE_OPEN_CREATE, &file);
    if (err == AN_OK) {
        err = store_file_write(file, 0, image->bytes, image->len);
    }
    if (err == AN_OK) {
        err = store_file_sync(file);
    }
    store_file_close(&file);
    if (err == AN_OK) {
        err = ops->rename(m->files, temp, path);
    }
    if (err == AN_OK) {
        err = ops->sync_dir(m->files, m->dir);
    }
    return err;
}

/* An empty image if there is no file. */
static enum an_err
image_load(struct memory_base *m, const struct base_cfg *cfg, struct image **out)
{
    char path[STORE_PATH_LEN_MAX + 8];
    struct store_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;

    struct image *image = calloc(1, sizeof *image);
    if (image == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    snprintf(path, sizeof path, "%s/base", m->dir);
    enum an_err err = m->files->ops->open(m->files, path, STORE_OPEN_READ, &file);
    if (err == AN_ERR_NOT_FOUND) {
        *out = image;
        return AN_OK;
    }
    if (err != AN_OK || (err = store_file_size(file, &size)) != AN_OK) {
        goto out;
    }
    err = AN_ERR_NO_MEMORY;
    image->bytes = malloc(size + 1);
    if (image->bytes == NULL) {
        goto out;
    }
    err = store_file_read(file, 0, image->bytes, size, &got);
    if (err != AN_OK) {
        goto out;
    }
    err = AN_ERR_CORRUPT;
    if (got < FILE_HEAD_LEN + 4 || memcmp(image->bytes, magic, sizeof magic) != 0 ||
        get_le32(image->bytes + got - 4) != crc32c(0, image->bytes, got - 4)) {
        goto out;
    }
    image->len = got;
    image->position = get_le64(image->bytes + 8);
    image->count = get_le64(image->bytes + 16);
    image->rows = calloc(image->count + 1, sizeof *image->rows);
    if (image->rows != NULL && image_index(image, got - 4)) {
        *out = image;
        image = NULL;
        err = AN_OK;
    }
out:
    if (err != AN_OK && cfg->why != NULL) {
        snprintf(cfg->why, cfg->why_len, "%s: the file is damaged or unreadable", path);
    }
    store_file_close(&file);
    image_free(image);
    return err;
}

static void
memory_close(struct base *base)
{
    struct memory_base *m = memory_of(base);

    assert(m->views == 0);
    image_free(m->image);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static uint64_t
memory_position(const struct base *base)
{
    const struct memory_base *m = (const struct memory_base *)(const void *)base;
    return m->image->position;
}

static uint64_t
memory_bytes(const struct base *base)
{
    const struct memory_base *m = (const struct memory_base *)(const void *)base;
    return atomic_load(&m->bytes);
}

static enum an_err
memory_apply(struct base *base, struct base_feed *feed, uint64_t position)
{
    struct memory_base *m = memory_of(base);
    struct image *old = image_take(m);
    struct image *image = image_merge(old, feed, position);
    enum an_err err = image == NULL ? AN_ERR_NO_MEMORY : image_save(m, image);

    image_drop(m, old);
    if (err != AN_OK) {
        image_free(image);
        return err;
    }
    image->refs = 1;
    pthread_mutex_lock(&m->lock);
    struct image *before = m->image;
    m->image = image;
    pthread_mutex_unlock(&m->lock);
    atomic_store(&m->bytes, image->len);
    image_drop(m, before);
    return AN_OK;
}

static enum an_err
memory_view_open(struct base *base, struct base_view **out)
{
    struct memory_base *m = memory_of(base);
    struct memory_view *view = calloc(1, sizeof *view);

    if (view == NULL || m->views == VIEWS_MAX) {
        free(view);
        return view == NULL ? AN_ERR_NO_MEMORY : AN_ERR_BUSY;
    }
    m->views++;
    view->view.base = base;
    view->image = image_take(m);
    *out = &view->view;
    return AN_OK;
}

static void
memory_view_close(struct base_view *view)
{
    struct memory_base *m = memory_of(view->base);

    m->views--;
    image_drop(m, ((struct memory_view *)(void *)view)->image);
    free(view);
}

static enum an_err
row_at(struct memory_view *v, struct base_row *out)
{
    if (v->at >= v->image->count) {
        return AN_ERR_NOT_FOUND;
    }
    *out = v->image->rows[v->at];
    return AN_OK;
}

static enum an_err
memory_seek(struct base_view *view, struct engine_blob key, bool reverse,
            struct base_row *out)
{
    struct memory_view *v = (struct memory_view *)(void *)view;

    v->at = image_find(v->image, key);
    if (reverse) {
        v->at = v->at > 0 ? v->at - 1 : v->image->count;
    }
    return row_at(v, out);
}

static enum an_err
memory_step(struct base_view *view, bool reverse, struct base_row *out)
{
    struct memory_view *v = (struct memory_view *)(void *)view;

    if (v->at < v->image->count) {
        v->at = !reverse ? v->at + 1 : v->at > 0 ? v->at - 1 : v->image->count;
    }
    return row_at(v, out);
}

static void
memory_origin(const struct base_view *view, const char **name, uint64_t *offset)
{
    const struct memory_view *v = (const struct memory_view *)(const void *)view;

    assert(v->at < v->image->count);
    *name = "memory/base";
    *offset = (uint64_t)(v->image->rows[v->at].key.data - v->image->bytes) - ROW_HEAD_LEN;
}

static const struct base_ops memory_ops = {
    .close = memory_close,
    .position = memory_position,
    .bytes = memory_bytes,
    .apply = memory_apply,
    .view_open = memory_view_open,
    .view_close = memory_view_close,
    .seek = memory_seek,
    .step = memory_step,
    .origin = memory_origin,
};

enum an_err
base_memory_open(struct base **out, const struct base_cfg *cfg)
{
    struct memory_base *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    m->base.ops = &memory_ops;
    m->files = cfg->files;
    snprintf(m->dir, sizeof m->dir, "%s/memory", cfg->dir);
    pthread_mutex_init(&m->lock, NULL);
    enum an_err err = AN_OK;
    if (!cfg->read_only) {
        err = cfg->files->ops->make_dir(cfg->files, m->dir);
    }
    if (err == AN_OK) {
        err = image_load(m, cfg, &m->image);
    }
    if (err != AN_OK) {
        memory_close(&m->base);
        return err;
    }
    m->image->refs = 1;
    atomic_store(&m->bytes, m->image->len);
    *out = &m->base;
    return AN_OK;
}
