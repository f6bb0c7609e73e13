/* Two faults of NNG 1.5.2, mended from outside. Processes of a cluster are killed and
 * come back; without this file one kill in some ten stops the survivors for good.
 *
 * 1. A connection's close that meets the moment between two parts of a message (its
 *    length was read, its body was not yet asked for; or part of it was written) never
 *    ends: nng_stream_recv() and nng_stream_send() on an aio that is closed already do
 *    nothing at all, the message's aio waits for ever, and NNG's one thread that takes
 *    closed connections apart waits for it. After that nothing is closed and nobody is
 *    dialed again in the whole process. Here such a call ends its aio, as it should; with
 *    ECONNRESET, because of 2.
 *
 * 2. EPIPE while a connection is being made (the other side went between connect and the
 *    first bytes) becomes NNG_ECLOSED, which a listener and a dialer take for their own
 *    close: the listener never accepts again, the dialer never dials again. One program
 *    that connects and leaves is enough, over TLS one that leaves between the handshake
 *    and the first bytes. Here EPIPE is said as ECONNRESET, which both take as what it
 *    is.
 *
 * It works by defining the three functions in the program itself: a shared library's
 * calls to its own exported functions, and to libc, find these first. Other versions than
 * 1.5.2 are left alone. core.runner_kill fails without it. */
#include "core/runner_nng/priv.h"
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

typedef void stream_f(nng_stream *stream, nng_aio *aio);
typedef ssize_t sendmsg_f(int fd, const struct msghdr *msg, int flags);

/* Set before main(), constant afterwards. */
static stream_f *next_recv, *next_send;
static sendmsg_f *next_sendmsg;
static bool mending;

static void
find_next(const char *name, void *function, size_t len)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    memcpy(function, &symbol, len);
}

__attribute__((constructor)) static void
find_all(void)
{
    find_next("nng_stream_recv", &next_recv, sizeof(next_recv));
    find_next("nng_stream_send", &next_send, sizeof(next_send));
    find_next("sendmsg", &next_sendmsg, sizeof(next_sendmsg));
    mending = strcmp(nng_version(), "1.5.2") == 0;
}

/* NNG_ECANCELED right after the call: nni_aio_begin() found the aio closed and did no
 * more. (What was begun and cancelled meanwhile says NNG_ECLOSED: only nng_aio_stop()
 * says NNG_ECANCELED, and that comes when nobody calls these any more.) */
static void
end_if_refused(nng_aio *aio)
{
    if (mending && nng_aio_result(aio) == NNG_ECANCELED) {
        nng_aio_finish(aio, NNG_ECONNRESET);
    }
}

void
nng_stream_recv(nng_stream *stream, nng_aio *aio)
{
    next_recv(stream, aio);
    end_if_refused(aio);
}

void
nng_stream_send(nng_stream *stream, nng_aio *aio)
{
    next_send(stream, aio);
    end_if_refused(aio);
}

ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
    ssize_t rv = next_sendmsg(fd, msg, flags);

    if (rv < 0 && errno == EPIPE && mending) {
        errno = ECONNRESET;
    }
    return rv;
}

bool
nng_is_mended(void)
{
    return mending;
}
