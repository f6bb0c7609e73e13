/* The file table over the real disk. */
#include "store/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct posix_file {
    struct store_file file;
    int fd;
};

/* The one place where errno becomes one of ours. */
static enum an_err
err_from_errno(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT:
        return AN_ERR_DISK_FULL;
    case ENOENT:
        return AN_ERR_NOT_FOUND;
    case EWOULDBLOCK:
        return AN_ERR_LOCKED;
    case EMFILE:
    case ENFILE:
        return AN_ERR_FULL;
    case ENOMEM:
        return AN_ERR_NO_MEMORY;
    default:
        return AN_ERR_IO;
    }
}

static int
fd_of(const struct store_file *file)
{
    return ((const struct posix_file *)(const void *)file)->fd;
}

static enum an_err
wrap(struct store_files *files, int fd, struct store_file **out)
{
    if (fd < 0) {
        return err_from_errno(errno);
    }
    struct posix_file *file = malloc(sizeof *file);
    if (file == NULL) {
        close(fd);
        return AN_ERR_NO_MEMORY;
    }
    *file = (struct posix_file){.file = {.files = files}, .fd = fd};
    *out = &file->file;
    return AN_OK;
}

static enum an_err
posix_open(struct store_files *files, const char *path, enum store_open how,
           struct store_file **out)
{
    static const int flags[] = {
        [STORE_OPEN_READ] = O_RDONLY,
        [STORE_OPEN_WRITE] = O_RDWR,
        [STORE_OPEN_CREATE] = O_RDWR | O_CREAT | O_TRUNC,
    };
    return wrap(files, open(path, flags[how] | O_CLOEXEC, 0600), out);
}

static void
posix_close(struct store_file *file)
{
    close(fd_of(file));
    free(file);
}

static enum an_err
posix_read(struct store_file *file, uint64_t offset, void *buf, size_t len, size_t *got)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n =
            pread(fd_of(file), (char *)buf + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_from_errno(errno);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *got = done;
    return AN_OK;
}

static enum an_err
posix_write(struct store_file *file, uint64_t offset, const void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pwrite(fd_of(file), (const char *)buf + done, len - done,
                           (off_t)(offset + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? err_from_errno(errno) : AN_ERR_IO;
        }
        done += (size_t)n;
    }
    return AN_OK;
}

static enum an_err
posix_sync(struct store_file *file)
{
    /* Not repeated on any error, EINTR included: the kernel may have dropped the pages
     * and would call the second attempt a success. */
    return fdatasync(fd_of(file)) == 0 ? AN_OK : AN_ERR_IO;
}

static enum an_err
posix_preallocate(struct store_file *file, uint64_t len)
{
    int code = 0;

    do {
        code = posix_fallocate(fd_of(file), 0, (off_t)len);
    } while (code == EINTR);
    return code == 0 ? AN_OK : err_from_errno(code);
}

static enum an_err
posix_truncate(struct store_file *file, uint64_t len)
{
    return ftruncate(fd_of(file), (off_t)len) == 0 ? AN_OK : err_from_errno(errno);
}

static enum an_err
posix_size(struct store_file *file, uint64_t *out)
{
    struct stat st;

    if (fstat(fd_of(file), &st) != 0) {
        return err_from_errno(errno);
    }
    *out = (uint64_t)st.st_size;
    return AN_OK;
}

static enum an_err
posix_rename(struct store_files *files, const char *from, const char *to)
{
    (void)files;
    return rename(from, to) == 0 ? AN_OK : err_from_errno(errno);
}

static enum an_err
posix_unlink(struct store_files *files, const char *path)
{
    (void)files;
    return unlink(path) == 0 ? AN_OK : err_from_errno(errno);
}

static enum an_err
posix_make_dir(struct store_files *files, const char *path)
{
    (void)files;
    return mkdir(path, 0700) == 0 || errno == EEXIST ? AN_OK : err_from_errno(errno);
}

static enum an_err
posix_list(struct store_files *files, const char *path, store_list_fn *fn, void *ctx)
{
    (void)files;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return err_from_errno(errno);
    }
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0) {
        if (entry->d_name[0] != '.') {
            fn(ctx, entry->d_name);
        }
    }
    enum an_err err = errno == 0 ? AN_OK : err_from_errno(errno);
    closedir(dir);
    return err;
}

static enum an_err
posix_sync_dir(struct store_files *files, const char *path)
{
    (void)files;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    enum an_err err = fsync(fd) == 0 ? AN_OK : AN_ERR_IO;
    close(fd);
    return err;
}

static enum an_err
posix_lock(struct store_files *files, const char *path, bool create,
           struct store_file **out)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int code = errno;
        close(fd);
        return err_from_errno(code);
    }
    return wrap(files, fd, out);
}

static enum an_err
posix_random(struct store_files *files, void *buf, size_t len)
{
    (void)files;
    return getrandom(buf, len, 0) == (ssize_t)len ? AN_OK : AN_ERR_IO;
}

static uint64_t
posix_now_us(struct store_files *files)
{
    (void)files;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static const struct store_files_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .preallocate = posix_preallocate,
    .truncate = posix_truncate,
    .size = posix_size,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .make_dir = posix_make_dir,
    .list = posix_list,
    .sync_dir = posix_sync_dir,
    .lock = posix_lock,
    .random = posix_random,
    .now_us = posix_now_us,
};

struct store_files *
store_files_posix(void)
{
    /* Never written through: the table is constant, the type is the interface's. */
    static struct store_files posix = {.ops = &posix_ops};
    return &posix;
}
