/* The base over LMDB, the only file that speaks to it.
 *
 * DIR/lmdb holds two named databases: "rows", keys and values as they were appended, each
 * value with the CRC-32C of key and value behind it, and "meta", with "format" and
 * "position" as 4 and 8 little-endian bytes. LMDB keeps no checksums: without ours a bit
 * that flipped on the disk would be handed to people as what somebody wrote. Flags are
 * LMDB's defaults, which make a commit durable, and MDB_NOTLS, so that a read transaction
 * can be begun on the store's thread and walked in a job. Read transactions are reset and
 * kept for the next view: beginning anew would take a slot in the reader table each time.
 */
#include "store/base.h"

#include "store/bytes.h"
#include "store/crc32c.h"
#include "store/record.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VIEWS_MAX 512u
/* 2: rows carry checksums. Nothing of format 1 was ever released. */
#define LMDB_FORMAT 2u
#define ROW_CRC_LEN 4u
/* A view each, the offline tools of the same host, and slack. */
#define READERS_MAX (VIEWS_MAX + 64u)

struct lmdb_view {
    struct base_view view;
    struct lmdb_view *next; /* in the pool */
    MDB_txn *txn;
    MDB_cursor *cursor;
};

struct lmdb_base {
    struct base base;
    MDB_env *env;
    MDB_dbi rows;
    MDB_dbi meta;
    size_t page_len;
    uint64_t position; /* at opening */
    struct lmdb_view *pool;
    size_t views; /* open ones and pooled ones */
    _Atomic uint64_t bytes;
};

/* A write transaction that remembers its first error and does nothing after it. */
struct write_txn {
    MDB_txn *txn;
    int rc;
};

/* The one place where LMDB's errors become ours. */
static enum an_err
err_from_lmdb(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return AN_OK;
    case MDB_NOTFOUND:
        return AN_ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return AN_ERR_DISK_FULL;
    case MDB_READERS_FULL:
        return AN_ERR_BUSY;
    case ENOMEM:
        return AN_ERR_NO_MEMORY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return AN_ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return AN_ERR_CONFIG;
    default:
        return AN_ERR_IO;
    }
}

static struct lmdb_base *
lmdb_of(struct base *base)
{
    return (struct lmdb_base *)(void *)base;
}

static MDB_val
val_of(struct engine_blob blob)
{
    /* LMDB's type is not const, but it writes to neither keys nor values. */
    union {
        const void *in;
        void *out;
    } data = {.in = blob.data};
    return (MDB_val){.mv_size = blob.len, .mv_data = data.out};
}

static struct engine_blob
blob_of(MDB_val val)
{
    return (struct engine_blob){.data = val.mv_data, .len = val.mv_size};
}

static struct write_txn
write_begin(struct lmdb_base *l)
{
    struct write_txn txn = {0};
    txn.rc = mdb_txn_begin(l->env, NULL, 0, &txn.txn);
    return txn;
}

static void
write_put(struct write_txn *txn, MDB_dbi dbi, struct engine_blob key,
          struct engine_blob value)
{
    MDB_val mdb_key = val_of(key);
    MDB_val mdb_value = val_of(value);

    if (txn->rc == 0) {
        txn->rc = mdb_put(txn->txn, dbi, &mdb_key, &mdb_value, 0);
    }
}

static uint32_t
row_crc(struct engine_blob key, struct engine_blob value)
{
    return crc32c(crc32c(0, key.data, key.len), value.data, value.len);
}

/* A row and its checksum, copied once: straight into LMDB's page. */
static void
write_row(struct write_txn *txn, MDB_dbi rows, struct engine_blob key,
          struct engine_blob value)
{
    MDB_val mdb_key = val_of(key);
    MDB_val room = {.mv_size = value.len + ROW_CRC_LEN};

    if (txn->rc != 0) {
        return;
    }
    txn->rc = mdb_put(txn->txn, rows, &mdb_key, &room, MDB_RESERVE);
    if (txn->rc == 0) {
        if (value.len > 0) {
            memcpy(room.mv_data, value.data, value.len);
        }
        put_le32((uint8_t *)room.mv_data + value.len, row_crc(key, value));
    }
}

static void
write_delete(struct write_txn *txn, MDB_dbi dbi, struct engine_blob key)
{
    MDB_val mdb_key = val_of(key);

    if (txn->rc == 0) {
        int rc = mdb_del(txn->txn, dbi, &mdb_key, NULL);
        txn->rc = rc == MDB_NOTFOUND ? 0 : rc; /* gone is what was asked for */
    }
}

static void
write_meta(struct write_txn *txn, MDB_dbi meta, const char *name, uint64_t value,
           size_t len)
{
    uint8_t bytes[8];

    put_le64(bytes, value);
    write_put(txn, meta, (struct engine_blob){(const uint8_t *)name, strlen(name)},
              (struct engine_blob){bytes, len});
}

/* Commits if nothing failed; aborts otherwise. */
static enum an_err
write_end(struct write_txn *txn)
{
    if (txn->rc == 0) {
        txn->rc = mdb_txn_commit(txn->txn);
    } else if (txn->txn != NULL) {
        mdb_txn_abort(txn->txn);
    }
    return err_from_lmdb(txn->rc);
}

static void
note_bytes(struct lmdb_base *l)
{
    MDB_envinfo info;

    if (mdb_env_info(l->env, &info) == 0) {
        atomic_store(&l->bytes, (info.me_last_pgno + 1) * l->page_len);
    }
}

static void
lmdb_close(struct base *base)
{
    struct lmdb_base *l = lmdb_of(base);

    while (l->pool != NULL) {
        struct lmdb_view *view = l->pool;
        l->pool = view->next;
        mdb_cursor_close(view->cursor);
        mdb_txn_abort(view->txn);
        free(view);
        l->views--;
    }
    assert(l->views == 0);
    if (l->env != NULL) {
        mdb_env_close(l->env);
    }
    free(l);
}

static uint64_t
lmdb_position(const struct base *base)
{
    return ((const struct lmdb_base *)(const void *)base)->position;
}

static uint64_t
lmdb_bytes(const struct base *base)
{
    return atomic_load(&((const struct lmdb_base *)(const void *)base)->bytes);
}

static enum an_err
lmdb_apply(struct base *base, struct base_feed *feed, uint64_t position)
{
    struct lmdb_base *l = lmdb_of(base);
    struct write_txn txn = write_begin(l);
    struct base_row row;

    while (txn.rc == 0 && feed->next(feed, &row)) {
        if (row.deleted) {
            write_delete(&txn, l->rows, row.key);
        } else {
            write_row(&txn, l->rows, row.key, row.value);
        }
    }
    write_meta(&txn, l->meta, "position", position, 8);
    enum an_err err = write_end(&txn);
    if (err == AN_OK) {
        note_bytes(l);
    }
    return err;
}

static enum an_err
view_create(struct lmdb_base *l, struct lmdb_view **out)
{
    if (l->views == VIEWS_MAX) {
        return AN_ERR_BUSY;
    }
    struct lmdb_view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &view->txn);
    if (rc == 0) {
        rc = mdb_cursor_open(view->txn, l->rows, &view->cursor);
        if (rc != 0) {
            mdb_txn_abort(view->txn);
        }
    }
    if (rc != 0) {
        free(view);
        return err_from_lmdb(rc);
    }
    view->view.base = &l->base;
    l->views++;
    *out = view;
    return AN_OK;
}

static enum an_err
lmdb_view_open(struct base *base, struct base_view **out)
{
    struct lmdb_base *l = lmdb_of(base);
    struct lmdb_view *view = l->pool;

    if (view == NULL) {
        enum an_err err = view_create(l, &view);
        if (err != AN_OK) {
            return err;
        }
    } else {
        int rc = mdb_txn_renew(view->txn);
        if (rc == 0) {
            rc = mdb_cursor_renew(view->txn, view->cursor);
            if (rc != 0) {
                mdb_txn_reset(view->txn);
            }
        }
        if (rc != 0) {
            return err_from_lmdb(rc);
        }
        l->pool = view->next;
    }
    *out = &view->view;
    return AN_OK;
}

static void
lmdb_view_close(struct base_view *base_view)
{
    struct lmdb_view *view = (struct lmdb_view *)(void *)base_view;
    struct lmdb_base *l = lmdb_of(base_view->base);

    mdb_txn_reset(view->txn);
    view->next = l->pool;
    l->pool = view;
}

/* AN_ERR_CORRUPT with a key in *out: the cursor stands on a row whose checksum is wrong.
 */
static enum an_err
cursor_get(struct base_view *base_view, MDB_val key, MDB_cursor_op op,
           struct base_row *out)
{
    struct lmdb_view *view = (struct lmdb_view *)(void *)base_view;
    MDB_val value;

    *out = (struct base_row){0};
    int rc = mdb_cursor_get(view->cursor, &key, &value, op);
    if (rc != 0) {
        return err_from_lmdb(rc);
    }
    out->key = blob_of(key);
    if (value.mv_size < ROW_CRC_LEN) {
        return AN_ERR_CORRUPT;
    }
    value.mv_size -= ROW_CRC_LEN;
    out->value = blob_of(value);
    const uint8_t *crc = out->value.data + out->value.len;
    return get_le32(crc) == row_crc(out->key, out->value) ? AN_OK : AN_ERR_CORRUPT;
}

/* Puts the cursor on the first key at or above the wanted one (*at false: there is none),
 * and says whether there is one below it. The way there led over keys in branch pages,
 * which have no checksum: a bit that flipped in one sends the search to a wrong leaf. So
 * both neighbours are looked at. */
static int
find(MDB_cursor *cursor, struct engine_blob wanted, bool *at, bool *below)
{
    MDB_val key = val_of(wanted);
    MDB_val value;

    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    *at = rc == 0;
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    if (*at && blob_compare(blob_of(key), wanted) < 0) {
        return MDB_CORRUPTED;
    }
    rc = mdb_cursor_get(cursor, &key, &value, *at ? MDB_PREV : MDB_LAST);
    *below = rc == 0;
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    return *below && blob_compare(blob_of(key), wanted) >= 0 ? MDB_CORRUPTED : 0;
}

static enum an_err
lmdb_seek(struct base_view *base_view, struct engine_blob key, bool reverse,
          struct base_row *out)
{
    struct lmdb_view *view = (struct lmdb_view *)(void *)base_view;
    MDB_val none = {0};
    bool at = false;
    bool below = false;

    *out = (struct base_row){0};
    if (key.len == 0) { /* LMDB has no empty keys and refuses to look for one */
        return reverse ? AN_ERR_NOT_FOUND : cursor_get(base_view, none, MDB_FIRST, out);
    }
    int rc = find(view->cursor, key, &at, &below);
    if (rc != 0) {
        return err_from_lmdb(rc);
    }
    if (reverse) { /* the cursor stands on it */
        return below ? cursor_get(base_view, none, MDB_GET_CURRENT, out)
                     : AN_ERR_NOT_FOUND;
    }
    if (!at) {
        return AN_ERR_NOT_FOUND;
    }
    return cursor_get(base_view, none, below ? MDB_NEXT : MDB_FIRST, out);
}

static enum an_err
lmdb_step(struct base_view *base_view, bool reverse, struct base_row *out)
{
    struct lmdb_view *view = (struct lmdb_view *)(void *)base_view;
    MDB_val before = {0};
    MDB_val none = {0};
    MDB_val value;

    int rc = mdb_cursor_get(view->cursor, &before, &value, MDB_GET_CURRENT);
    if (rc != 0) {
        *out = (struct base_row){0};
        return err_from_lmdb(rc);
    }
    enum an_err err = cursor_get(base_view, none, reverse ? MDB_PREV : MDB_NEXT, out);
    if (out->key.data != NULL) {
        int order = blob_compare(blob_of(before), out->key);
        if (reverse ? order <= 0 : order >= 0) { /* a page that is not the next one */
            *out = (struct base_row){0};
            return AN_ERR_CORRUPT;
        }
    }
    return err;
}

/* Keys lie on leaf pages, and a page begins with its own number, which is its place in
 * the file: so a pointer into the map can be traced back without knowing the map. */
static void
lmdb_origin(const struct base_view *base_view, const char **name, uint64_t *offset)
{
    const struct lmdb_view *view = (const struct lmdb_view *)(const void *)base_view;
    const struct lmdb_base *l = (const struct lmdb_base *)(const void *)base_view->base;
    MDB_val key = {0};
    MDB_val value;
    size_t page_number = 0;

    *name = "lmdb/data.mdb";
    *offset = 0;
    if (mdb_cursor_get(view->cursor, &key, &value, MDB_GET_CURRENT) == 0) {
        const uint8_t *at = key.mv_data;
        size_t inside = (uintptr_t)at & (l->page_len - 1);
        memcpy(&page_number, at - inside, sizeof page_number);
        *offset = (uint64_t)page_number * l->page_len + inside;
    }
}

static const struct base_ops lmdb_ops = {
    .close = lmdb_close,
    .position = lmdb_position,
    .bytes = lmdb_bytes,
    .apply = lmdb_apply,
    .view_open = lmdb_view_open,
    .view_close = lmdb_view_close,
    .seek = lmdb_seek,
    .step = lmdb_step,
    .origin = lmdb_origin,
};

static int
open_env(struct lmdb_base *l, const struct base_cfg *cfg, const char *path,
         unsigned flags)
{
    MDB_envinfo info;
    MDB_stat stat;

    int rc = mdb_env_create(&l->env);
    if (rc != 0) {
        return rc;
    }
    if ((rc = mdb_env_set_mapsize(l->env, cfg->map_bytes)) != 0 ||
        (rc = mdb_env_set_maxdbs(l->env, 2)) != 0 ||
        (rc = mdb_env_set_maxreaders(l->env, READERS_MAX)) != 0) {
        return rc;
    }
    if ((rc = mdb_env_open(l->env, path, MDB_NOTLS | flags, 0600)) != 0 ||
        (rc = mdb_env_stat(l->env, &stat)) != 0 ||
        (rc = mdb_env_info(l->env, &info)) != 0) {
        return rc;
    }
    l->page_len = stat.ms_psize;
    note_bytes(l);
    return 0;
}

static int
get_meta(MDB_txn *txn, MDB_dbi meta, const char *name, uint64_t *out)
{
    MDB_val key = val_of((struct engine_blob){(const uint8_t *)name, strlen(name)});
    MDB_val value;
    uint8_t bytes[8] = {0};

    int rc = mdb_get(txn, meta, &key, &value);
    if (rc == 0 && value.mv_size > sizeof bytes) {
        return MDB_CORRUPTED;
    }
    if (rc == 0) {
        memcpy(bytes, value.mv_data, value.mv_size);
        *out = get_le64(bytes);
    }
    return rc;
}

/* Opens the two databases; makes them the first time. */
static int
open_databases(struct lmdb_base *l, bool read_only)
{
    unsigned create = read_only ? 0 : MDB_CREATE;
    MDB_txn *txn;
    uint64_t format = 0;

    int rc = mdb_txn_begin(l->env, NULL, read_only ? MDB_RDONLY : 0, &txn);
    if (rc != 0) {
        return rc;
    }
    if ((rc = mdb_dbi_open(txn, "rows", create, &l->rows)) != 0 ||
        (rc = mdb_dbi_open(txn, "meta", create, &l->meta)) != 0) {
        goto out;
    }
    rc = get_meta(txn, l->meta, "format", &format);
    if (rc == MDB_NOTFOUND && !read_only) {
        struct write_txn write = {.txn = txn};
        write_meta(&write, l->meta, "format", LMDB_FORMAT, 4);
        write_meta(&write, l->meta, "position", 0, 8);
        rc = write.rc;
    } else if (rc == 0) {
        rc = format == LMDB_FORMAT ? get_meta(txn, l->meta, "position", &l->position)
                                   : MDB_VERSION_MISMATCH;
    }
out:
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* LMDB syncs what is in its file, and not the name of it: a power cut could leave a store
 * whose log was recycled without the base that its rows went to. */
static int
sync_names(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int rc = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

/* The first time: made whole under another name and named when it is on disk. A power cut
 * while LMDB writes the first pages of a file leaves what it never opens again. */
static int
make_file(const struct base_cfg *cfg, const char *path)
{
    char name[STORE_PATH_LEN_MAX + 32], made[STORE_PATH_LEN_MAX + 32];
    struct lmdb_base l = {0};

    snprintf(name, sizeof name, "%s/data.mdb", path);
    snprintf(made, sizeof made, "%s/data.new", path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return errno;
    }
    if (access(name, F_OK) == 0) {
        return 0;
    }
    if (unlink(made) != 0 && errno != ENOENT) {
        return errno;
    }
    int rc = open_env(&l, cfg, made, MDB_NOSUBDIR | MDB_NOLOCK);
    if (rc == 0) {
        rc = open_databases(&l, false);
    }
    if (l.env != NULL) {
        mdb_env_close(l.env);
    }
    if (rc == 0 && rename(made, name) != 0) {
        rc = errno;
    }
    return rc;
}

enum an_err
base_lmdb_open(struct base **out, const struct base_cfg *cfg)
{
    char path[STORE_PATH_LEN_MAX + 8];

    struct lmdb_base *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    l->base.ops = &lmdb_ops;
    snprintf(path, sizeof path, "%s/lmdb", cfg->dir);
    /* Not through the file table: LMDB's files are real whatever the log's are. */
    int rc = cfg->read_only ? 0 : make_file(cfg, path);
    if (rc == 0) {
        /* Read-only: whoever asks holds the directory's own lock already. */
        rc = open_env(l, cfg, path, cfg->read_only ? MDB_RDONLY | MDB_NOLOCK : 0);
    }
    if (rc == 0) {
        rc = open_databases(l, cfg->read_only);
    }
    if (rc == 0 && !cfg->read_only) {
        rc = sync_names(path);
    }
    if (rc != 0) {
        if (cfg->why != NULL) {
            snprintf(cfg->why, cfg->why_len, "%s/data.mdb: %s", path, mdb_strerror(rc));
        }
        lmdb_close(&l->base);
        return rc == MDB_NOTFOUND ? AN_ERR_CORRUPT : err_from_lmdb(rc);
    }
    *out = &l->base;
    return AN_OK;
}
