#include "tests/system/tape.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FDS_MAX = 65536, PARTS_MAX = 1024 };

/* tests/chaos/tape.py knows these and the layout. */
enum op {
    TAPE_START = 1, /* a process began: no descriptor is open */
    TAPE_OPEN,      /* a: flags; path */
    TAPE_CLOSE,
    TAPE_WRITE, /* a: offset; bytes */
    TAPE_ZEROS, /* a: offset, b: length */
    TAPE_TRUNCATE,
    TAPE_ALLOCATE,
    TAPE_RENAME, /* two paths */
    TAPE_UNLINK,
    TAPE_MKDIR,
    TAPE_SYNCING,
    TAPE_SYNCED, /* a: result */
    TAPE_SENT    /* marks, 4 bytes each */
};

struct tape_event {
    uint32_t op;
    int32_t fd;
    uint64_t a, b;
    uint32_t len, len_2; /* so many bytes follow */
    uint32_t pid;        /* several processes may write one tape */
    uint32_t unused;
};

static int tape = -1;
static char root[PATH_MAX];
static size_t root_len;
static uint8_t ours[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(name)                                                                       \
    static __typeof__(&(name)) next;                                                     \
    if (next == NULL) {                                                                  \
        *(void **)&next = dlsym(RTLD_NEXT, #name);                                       \
    }

/* One call for all of an event: another process's is before it or behind it. */
static void
put(struct tape_event *e, const struct iovec *rest, int count)
{
    struct iovec iov[PARTS_MAX];
    size_t len = sizeof *e;

    if (count >= PARTS_MAX) {
        abort();
    }
    e->pid = (uint32_t)getpid();
    iov[0] = (struct iovec){e, sizeof *e};
    for (int i = 0; i < count; i++) {
        iov[i + 1] = rest[i];
        len += rest[i].iov_len;
    }
    if (syscall(SYS_writev, tape, iov, count + 1) != (long)len) {
        abort();
    }
}

static struct iovec
text(const char *path)
{
    struct iovec iov = {.iov_len = path != NULL ? strlen(path) : 0};

    memcpy(&iov.iov_base, &path, sizeof path);
    return iov;
}

static void
event(enum op op, int fd, uint64_t a, const char *path, const char *path_2)
{
    struct tape_event e = {.op = op, .fd = fd, .a = a};
    struct iovec texts[2] = {text(path), text(path_2)};

    e.len = (uint32_t)texts[0].iov_len;
    e.len_2 = (uint32_t)texts[1].iov_len;
    put(&e, texts, 2);
}

void
tape_start(void)
{
    const char *path = getenv("ANSER_TAPE");
    const char *below = getenv("ANSER_TAPE_ROOT");

    if (path == NULL || below == NULL) {
        return;
    }
    root_len = (size_t)snprintf(root, sizeof root, "%s", below);
    tape = (int)syscall(SYS_openat, AT_FDCWD, path,
                        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (tape < 0 || root_len >= sizeof root) {
        fprintf(stderr, "tape: cannot open %s\n", path);
        abort();
    }
    event(TAPE_START, 0, 0, NULL, NULL);
}

static bool
below_root(const char *path)
{
    return tape >= 0 && strncmp(path, root, root_len) == 0 &&
           (path[root_len] == '/' || path[root_len] == 0);
}

bool
tape_lock(int fd)
{
    if (tape < 0 || fd < 0 || fd >= FDS_MAX || !ours[fd]) {
        return false;
    }
    pthread_mutex_lock(&lock);
    return true;
}

void
tape_lock_names(void)
{
    pthread_mutex_lock(&lock);
}

void
tape_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void
tape_opened(int fd, const char *path, int flags)
{
    if (fd < 0 || fd >= FDS_MAX) {
        return;
    }
    ours[fd] = below_root(path);
    if (ours[fd]) {
        event(TAPE_OPEN, fd, (uint64_t)flags, path, NULL);
    }
}

void
tape_closed(int fd)
{
    ours[fd] = 0;
    event(TAPE_CLOSE, fd, 0, NULL, NULL);
}

static bool
is_zero(const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++) {
        const char *at = iov[i].iov_base;
        size_t len = iov[i].iov_len;
        if (len > 0 && (at[0] != 0 || memcmp(at, at + 1, len - 1) != 0)) {
            return false;
        }
    }
    return true;
}

void
tape_wrote(int fd, int64_t offset, const struct iovec *iov, int count, ssize_t result)
{
    if (result <= 0) {
        return;
    }
    size_t left = (size_t)result;
    if (offset < 0) {
        offset = lseek(fd, 0, SEEK_CUR) - result;
    }
    struct tape_event e = {.op = TAPE_WRITE, .fd = fd, .a = (uint64_t)offset};
    if (is_zero(iov, count)) {
        e.op = TAPE_ZEROS;
        e.b = left;
        put(&e, NULL, 0);
        return;
    }
    struct iovec parts[PARTS_MAX];
    int used = 0;
    e.len = (uint32_t)left;
    for (; used < count && used < PARTS_MAX && left > 0; used++) {
        parts[used] = iov[used];
        if (parts[used].iov_len > left) {
            parts[used].iov_len = left;
        }
        left -= parts[used].iov_len;
    }
    put(&e, parts, used);
}

void
tape_allocated(int fd, uint64_t end)
{
    event(TAPE_ALLOCATE, fd, end, NULL, NULL);
}

/* Not around the sync itself: others go on writing meanwhile. */
void
tape_syncing(int fd)
{
    if (tape_lock(fd)) {
        event(TAPE_SYNCING, fd, 0, NULL, NULL);
        tape_unlock();
    }
}

void
tape_synced(int fd, int result)
{
    if (tape_lock(fd)) {
        event(TAPE_SYNCED, fd, (uint64_t)(int64_t)result, NULL, NULL);
        tape_unlock();
    }
}

void
tape_sent(const uint32_t *marks, size_t count)
{
    if (tape < 0 || count == 0) {
        return;
    }
    struct tape_event e = {.op = TAPE_SENT, .len = (uint32_t)(count * sizeof *marks)};
    struct iovec iov = {.iov_len = e.len};
    memcpy(&iov.iov_base, &marks, sizeof marks);
    pthread_mutex_lock(&lock);
    put(&e, &iov, 1);
    pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------ names and sizes */

#define DEFINE_TRUNCATE(name, offset_type)                                               \
    int name(int fd, offset_type len)                                                    \
    {                                                                                    \
        NEXT(name)                                                                       \
        if (!tape_lock(fd)) {                                                            \
            return next(fd, len);                                                        \
        }                                                                                \
        int result = next(fd, len);                                                      \
        int error = errno;                                                               \
        if (result == 0) {                                                               \
            event(TAPE_TRUNCATE, fd, (uint64_t)len, NULL, NULL);                         \
        }                                                                                \
        tape_unlock();                                                                   \
        errno = error;                                                                   \
        return result;                                                                   \
    }
DEFINE_TRUNCATE(ftruncate, off_t)
DEFINE_TRUNCATE(ftruncate64, off64_t)

static int
named(enum op op, int result, const char *path, const char *path_2)
{
    int error = errno;

    if (result == 0 && below_root(path)) {
        event(op, 0, 0, path, path_2);
    }
    tape_unlock();
    errno = error;
    return result;
}

int
rename(const char *from, const char *to)
{
    NEXT(rename)
    tape_lock_names();
    return named(TAPE_RENAME, next(from, to), from, to);
}

int
unlink(const char *path)
{
    NEXT(unlink)
    tape_lock_names();
    return named(TAPE_UNLINK, next(path), path, NULL);
}

int
mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir)
    tape_lock_names();
    return named(TAPE_MKDIR, next(path, mode), path, NULL);
}
