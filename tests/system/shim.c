/* Preloaded into a server by tests/system: records what reaches the log, the store and
 * the clients and in which order, tells the harness what the process was doing when it
 * was killed, and plays a disk that is slow, full or broken.
 *
 * ANSER_SHIM names a file of struct shim_page, mapped by both sides; ANSER_SHIM.events
 * receives one struct shim_event per call of interest, with the message marks found in
 * its bytes behind it. A mark is "ANMK" and three bytes: the harness puts one into each
 * client_msg_id, so an acknowledgement can be matched with the log write that carried it.
 *
 * A write and a sync are recorded after they returned, a send before it begins: what the
 * record shows as too early was too early. tape.h keeps the bytes too, when asked. */
#include "tests/system/tape.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS_MAX = 65536, MARKS_MAX = 4096, MARK_LEN = 7 };

enum kind { KIND_NONE, KIND_LOG, KIND_STORE, KIND_STORE_META, KIND_CLIENT };
enum op { OP_WRITE = 1, OP_SYNC_BEGIN, OP_SYNC_END, OP_SEND };

/* tests/system/shim.py knows this layout. */
struct shim_page {
    /* set by the harness */
    atomic_uint fail_sync;     /* fdatasync and fsync of the log: EIO */
    atomic_uint sync_delay_ms; /* of the log */
    atomic_uint disk_full;     /* ENOSPC, but for zeros: cutting back needs no space */
    atomic_uint read_delay_ms; /* of the log */
    /* set here; frozen as they are by a kill */
    atomic_uint appending; /* a log write has begun whose sync has not returned */
    atomic_uint applying;  /* a page write of the store whose meta page is not written */
    atomic_uint replaying; /* the log was read and not yet synced */
    atomic_uint refused;   /* calls that were made to fail */
};

struct shim_event {
    uint32_t op, kind, fd, tid;
    int32_t result;
    uint32_t marks; /* so many uint32_t follow */
};

static struct shim_page *page;
static int events = -1;
static uint8_t kinds[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The next definition of a libc function. */
#define NEXT(name)                                                                       \
    static __typeof__(&(name)) next;                                                     \
    if (next == NULL) {                                                                  \
        *(void **)&next = dlsym(RTLD_NEXT, #name);                                       \
    }

__attribute__((constructor)) static void
shim_open(void)
{
    const char *path = getenv("ANSER_SHIM");
    char name[4096];
    int fd;

    if (path == NULL) {
        return;
    }
    tape_start();
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    snprintf(name, sizeof(name), "%s.events", path);
    events = (int)syscall(SYS_openat, AT_FDCWD, name,
                          O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        page = map == MAP_FAILED ? NULL : map;
    }
    if (page == NULL || events < 0) {
        fprintf(stderr, "shim: cannot open %s\n", path);
        abort();
    }
}

static enum kind
kind_of(int fd)
{
    return page != NULL && fd >= 0 && fd < FDS_MAX ? kinds[fd] : KIND_NONE;
}

static void
set_kind(int fd, enum kind kind)
{
    if (fd >= 0 && fd < FDS_MAX) {
        kinds[fd] = (uint8_t)kind;
    }
}

/* An Error names the message that it refuses (client.proto: field 6, 16 bytes, of which
 * the mark is the end): that is no acknowledgement. */
static bool
is_refused(const uint8_t *begin, const uint8_t *mark)
{
    return mark - begin >= 11 && mark[-11] == (6 << 3 | 2) && mark[-10] == 16;
}

/* answers: only those that say that a message is stored. */
static size_t
find_marks(const struct iovec *iov, int count, bool answers, uint32_t *marks)
{
    size_t found = 0;

    for (int i = 0; i < count; i++) {
        const uint8_t *at = iov[i].iov_base;
        size_t left = iov[i].iov_len;
        const uint8_t *hit;

        while (left >= MARK_LEN && found < MARKS_MAX &&
               (hit = memmem(at, left - 3, "ANMK", 4)) != NULL) {
            if (!answers || !is_refused(iov[i].iov_base, hit)) {
                marks[found++] = (uint32_t)hit[4] << 16 | (uint32_t)hit[5] << 8 | hit[6];
            }
            left -= (size_t)(hit + 4 - at);
            at = hit + 4;
        }
    }
    return found;
}

static void
record(enum op op, int fd, long result, const struct iovec *iov, int count)
{
    static uint32_t marks[MARKS_MAX];
    struct shim_event event = {.op = op, .kind = kind_of(fd), .fd = (uint32_t)fd};
    struct iovec out[2] = {{&event, sizeof(event)}, {marks, 0}};

    pthread_mutex_lock(&lock);
    event.tid = (uint32_t)syscall(SYS_gettid);
    event.result = (int32_t)result;
    event.marks = (uint32_t)find_marks(iov, count, op == OP_SEND, marks);
    out[1].iov_len = event.marks * sizeof(marks[0]);
    if (syscall(SYS_writev, events, out, 2) < 0) {
        abort();
    }
    if (op == OP_SEND) {
        tape_sent(marks, event.marks);
    }
    pthread_mutex_unlock(&lock);
}

static void
slow_disk(unsigned ms)
{
    if (ms > 0) {
        poll(NULL, 0, (int)ms);
    }
}

static bool
refuse(unsigned when, int why)
{
    if (when == 0) {
        return false;
    }
    page->refused++;
    errno = why;
    return true;
}

/* ------------------------------------------------------------------ files */

/* Ends what tape_lock_names began. */
static int
opened(int fd, const char *path, int flags)
{
    size_t len = strlen(path);
    enum kind kind = KIND_NONE;
    int error = errno;

    tape_opened(fd, path, flags);
    tape_unlock();

    if (len > 4 && strcmp(path + len - 4, ".seg") == 0) {
        kind = KIND_LOG;
    } else if (len > 4 && strcmp(path + len - 4, ".mdb") == 0 &&
               strstr(path, "lock") == NULL) {
        kind = (flags & O_DSYNC) != 0 ? KIND_STORE_META : KIND_STORE;
    }
    set_kind(fd, kind);
    errno = error;
    return fd;
}

static mode_t
mode_of(int flags, va_list args)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                                \
    int name(const char *path, int flags, ...)                                           \
    {                                                                                    \
        NEXT(name)                                                                       \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = mode_of(flags, args);                                              \
        va_end(args);                                                                    \
        tape_lock_names();                                                               \
        return opened(next(path, flags, mode), path, flags);                             \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                              \
    int name(int dir, const char *path, int flags, ...)                                  \
    {                                                                                    \
        NEXT(name)                                                                       \
        va_list args;                                                                    \
        va_start(args, flags);                                                           \
        mode_t mode = mode_of(flags, args);                                              \
        va_end(args);                                                                    \
        tape_lock_names();                                                               \
        return opened(next(dir, path, flags, mode), path, flags);                        \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

int
close(int fd)
{
    NEXT(close)
    set_kind(fd, KIND_NONE);
    if (!tape_lock(fd)) {
        return next(fd);
    }
    tape_closed(fd);
    int result = next(fd);
    tape_unlock();
    return result;
}

static bool
all_zero(const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++) {
        const char *at = iov[i].iov_base;
        if (iov[i].iov_len > 0 &&
            (at[0] != 0 || memcmp(at, at + 1, iov[i].iov_len - 1) != 0)) {
            return false;
        }
    }
    return true;
}

/* What a write to a file or client does before and after the call itself. *taped: the
 * tape's lock is held in between. */
static bool
before_write(int fd, const struct iovec *iov, int count, bool *taped)
{
    enum kind kind = kind_of(fd);

    if (kind == KIND_CLIENT) {
        record(OP_SEND, fd, 0, iov, count);
    } else if (kind != KIND_NONE && page->disk_full != 0 && !all_zero(iov, count)) {
        refuse(1, ENOSPC);
        return false;
    } else if (kind == KIND_LOG) {
        page->appending = 1;
    } else if (kind == KIND_STORE) {
        page->applying = 1;
    }
    *taped = tape_lock(fd);
    return true;
}

static ssize_t
after_write(int fd, ssize_t result, const struct iovec *iov, int count, off_t offset,
            bool taped)
{
    enum kind kind = kind_of(fd);
    int error = errno;

    if (taped) {
        tape_wrote(fd, offset, iov, count, result);
        tape_unlock();
    }

    if (kind == KIND_LOG) {
        record(OP_WRITE, fd, result, iov, count);
    } else if (kind == KIND_STORE_META) {
        page->applying = 0;
    }
    errno = error;
    return result;
}

static struct iovec
one_iov(const void *data, size_t len)
{
    struct iovec iov = {.iov_len = len};

    memcpy(&iov.iov_base, &data, sizeof(data));
    return iov;
}

/* The call between both; the locals of every write below. */
#define WRITE(call, iov, count, offset)                                                  \
    bool taped = false;                                                                  \
    return before_write(fd, iov, count, &taped)                                          \
               ? after_write(fd, call, iov, count, offset, taped)                        \
               : -1;

ssize_t
write(int fd, const void *data, size_t len)
{
    NEXT(write)
    struct iovec iov = one_iov(data, len);
    WRITE(next(fd, data, len), &iov, 1, -1)
}

ssize_t
writev(int fd, const struct iovec *iov,
       int count){NEXT(writev) WRITE(next(fd, iov, count), iov, count, -1)}

#define DEFINE_PWRITE(name, offset_type)                                                 \
    ssize_t name(int fd, const void *data, size_t len, offset_type offset)               \
    {                                                                                    \
        NEXT(name)                                                                       \
        struct iovec iov = one_iov(data, len);                                           \
        WRITE(next(fd, data, len, offset), &iov, 1, offset)                              \
    }
DEFINE_PWRITE(pwrite, off_t) DEFINE_PWRITE(pwrite64, off64_t)

#define DEFINE_PWRITEV(name, offset_type)                                                \
    ssize_t name(int fd, const struct iovec *iov, int count, offset_type offset)         \
    {                                                                                    \
        NEXT(name)                                                                       \
        WRITE(next(fd, iov, count, offset), iov, count, offset)                          \
    }
    DEFINE_PWRITEV(pwritev, off_t) DEFINE_PWRITEV(pwritev64, off64_t)

        static void before_read(int fd)
{
    if (kind_of(fd) == KIND_LOG) {
        page->replaying = 1;
        slow_disk(page->read_delay_ms);
    }
}

ssize_t
read(int fd, void *data, size_t len)
{
    NEXT(read)
    before_read(fd);
    return next(fd, data, len);
}

#define DEFINE_PREAD(name, offset_type)                                                  \
    ssize_t name(int fd, void *data, size_t len, offset_type offset)                     \
    {                                                                                    \
        NEXT(name)                                                                       \
        before_read(fd);                                                                 \
        return next(fd, data, len, offset);                                              \
    }
DEFINE_PREAD(pread, off_t)
DEFINE_PREAD(pread64, off64_t)

#define DEFINE_FALLOCATE(name, offset_type)                                              \
    int name(int fd, offset_type offset, offset_type len)                                \
    {                                                                                    \
        NEXT(name)                                                                       \
        if (kind_of(fd) != KIND_NONE && refuse(page->disk_full, ENOSPC)) {               \
            return ENOSPC; /* posix_fallocate returns its error */                       \
        }                                                                                \
        bool taped = tape_lock(fd);                                                      \
        int result = next(fd, offset, len);                                              \
        if (taped) {                                                                     \
            if (result == 0) {                                                           \
                tape_allocated(fd, (uint64_t)(offset + len));                            \
            }                                                                            \
            tape_unlock();                                                               \
        }                                                                                \
        return result;                                                                   \
    }
DEFINE_FALLOCATE(posix_fallocate, off_t)
DEFINE_FALLOCATE(posix_fallocate64, off64_t)

#define DEFINE_SYNC(name)                                                                \
    int name(int fd)                                                                     \
    {                                                                                    \
        NEXT(name)                                                                       \
        tape_syncing(fd);                                                                \
        if (kind_of(fd) != KIND_LOG) {                                                   \
            int result = next(fd);                                                       \
            int error = errno;                                                           \
            tape_synced(fd, result);                                                     \
            errno = error;                                                               \
            return result;                                                               \
        }                                                                                \
        record(OP_SYNC_BEGIN, fd, 0, NULL, 0);                                           \
        slow_disk(page->sync_delay_ms);                                                  \
        int result = refuse(page->fail_sync, EIO) ? -1 : next(fd);                       \
        int error = errno;                                                               \
        record(OP_SYNC_END, fd, result, NULL, 0);                                        \
        tape_synced(fd, result);                                                         \
        page->appending = 0;                                                             \
        page->replaying = 0;                                                             \
        errno = error;                                                                   \
        return result;                                                                   \
    }
DEFINE_SYNC(fdatasync)
DEFINE_SYNC(fsync)

/* ------------------------------------------------------------------ clients */

static int
accepted(int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);

    if (fd >= 0) {
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
        set_kind(fd, domain == AF_INET || domain == AF_INET6 ? KIND_CLIENT : KIND_NONE);
    }
    return fd;
}

int
accept(int fd, __SOCKADDR_ARG addr, socklen_t *len)
{
    NEXT(accept)
    return accepted(next(fd, addr, len));
}

int
accept4(int fd, __SOCKADDR_ARG addr, socklen_t *len, int flags)
{
    NEXT(accept4)
    return accepted(next(fd, addr, len, flags));
}

ssize_t
send(int fd, const void *data, size_t len, int flags)
{
    NEXT(send)
    struct iovec iov = one_iov(data, len);
    bool taped = false;
    before_write(fd, &iov, 1, &taped);
    return next(fd, data, len, flags);
}

ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
    NEXT(sendmsg)
    bool taped = false;
    before_write(fd, msg->msg_iov, (int)msg->msg_iovlen, &taped);
    return next(fd, msg, flags);
}
