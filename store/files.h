/* The file table: everything the engine asks of a disk, so that tests and the cluster
 * simulator can put another disk behind it.
 *
 * Paths are plain strings below the data directory. Errors: AN_ERR_DISK_FULL for a full
 * disk or quota, AN_ERR_NOT_FOUND for a missing file, AN_ERR_LOCKED, AN_ERR_NO_MEMORY,
 * AN_ERR_FULL when there are no descriptors, AN_ERR_IO for the rest. Context: any thread;
 * one file is used by one thread at a time. LMDB does not pass through here: it keeps its
 * own files below the same directory. */
#ifndef AN_STORE_FILES_H
#define AN_STORE_FILES_H

#include "core/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_PATH_LEN_MAX 1024u

struct store_files;

/* An open file; the table's own structure begins with it. */
struct store_file {
    struct store_files *files;
};

enum store_open {
    STORE_OPEN_READ,   /* AN_ERR_NOT_FOUND if missing */
    STORE_OPEN_WRITE,  /* read and write; AN_ERR_NOT_FOUND if missing */
    STORE_OPEN_CREATE, /* read and write; created or cut to nothing */
};

typedef void store_list_fn(void *ctx, const char *name);

struct store_files_ops {
    enum an_err (*open)(struct store_files *files, const char *path, enum store_open how,
                        struct store_file **out);
    void (*close)(struct store_file *file);
    /* Reads up to len bytes; *got is less only at the end of the file. */
    enum an_err (*read)(struct store_file *file, uint64_t offset, void *buf, size_t len,
                        size_t *got);
    /* All of it, or an error after which any part of it may have been written. */
    enum an_err (*write)(struct store_file *file, uint64_t offset, const void *buf,
                         size_t len);
    /* Content and size are on disk afterwards. After a failure nothing is known. */
    enum an_err (*sync)(struct store_file *file);
    /* The file has at least len bytes, and writing below len needs no more space. */
    enum an_err (*preallocate)(struct store_file *file, uint64_t len);
    enum an_err (*truncate)(struct store_file *file, uint64_t len);
    enum an_err (*size)(struct store_file *file, uint64_t *out);
    enum an_err (*rename)(struct store_files *files, const char *from, const char *to);
    enum an_err (*unlink)(struct store_files *files, const char *path);
    /* Fine if it exists. */
    enum an_err (*make_dir)(struct store_files *files, const char *path);
    /* Names of the entries, in no particular order. */
    enum an_err (*list)(struct store_files *files, const char *path, store_list_fn *fn,
                        void *ctx);
    /* Names created, renamed and removed in it are on disk afterwards. After AN_ERR_IO
     * nothing is known; any other error means that it was not tried. */
    enum an_err (*sync_dir)(struct store_files *files, const char *path);
    /* Holds the file exclusively until it is closed or the process ends; creates it
     * unless create is false. */
    enum an_err (*lock)(struct store_files *files, const char *path, bool create,
                        struct store_file **out);
    /* Bytes nobody outside can guess. */
    enum an_err (*random)(struct store_files *files, void *buf, size_t len);
    /* A monotonic clock, for counters only. */
    uint64_t (*now_us)(struct store_files *files);
};

struct store_files {
    const struct store_files_ops *ops;
};

/* The real disk. Has no state; lives as long as the program. */
struct store_files *store_files_posix(void);

/* Closes *file if it is open and nulls it. */
static inline void
store_file_close(struct store_file **file)
{
    if (*file != NULL) {
        (*file)->files->ops->close(*file);
        *file = NULL;
    }
}

static inline enum an_err
store_file_read(struct store_file *file, uint64_t offset, void *buf, size_t len,
                size_t *got)
{
    return file->files->ops->read(file, offset, buf, len, got);
}

static inline enum an_err
store_file_write(struct store_file *file, uint64_t offset, const void *buf, size_t len)
{
    return file->files->ops->write(file, offset, buf, len);
}

static inline enum an_err
store_file_sync(struct store_file *file)
{
    return file->files->ops->sync(file);
}

static inline enum an_err
store_file_size(struct store_file *file, uint64_t *out)
{
    return file->files->ops->size(file, out);
}

#endif
