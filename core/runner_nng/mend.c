/* Three faults of NNG 1.5.2, mended from outside. Processes of a cluster are killed and
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
 * 3. TLS brings the same NNG_ECLOSED when its connection breaks: it closes its TCP
 * stream, whose waiting receive ends as closed, and this it hands on to whoever asks it
 * next, perhaps for a connection that is being made. The other side is connected then and
 *    sends; here nobody ever reads. Here what waits on a stream is aborted with
 * ECONNRESET before the stream is closed.
 *
 * It works by defining these functions in the program itself: a shared library's calls to
 * its own exported functions, and to libc, find these first. Other versions than 1.5.2
 * are left alone. core.runner_kill fails without it. */
#include "core/runner_nng/priv.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BUCKETS = 256 };

/* A stream and whose calls wait on it: each layer has one aio for either direction. */
struct wait {
    struct wait *next;
    nng_stream *stream;
    nng_aio *recv, *send;
};

struct bucket {
    pthread_mutex_t lock;
    struct wait *first;
};

typedef void stream_f(nng_stream *stream, nng_aio *aio);
typedef void stream_end_f(nng_stream *stream);
typedef ssize_t sendmsg_f(int fd, const struct msghdr *msg, int flags);

/* Set before main(), constant afterwards. */
static stream_f *next_recv, *next_send;
static stream_end_f *next_close, *next_free;
static sendmsg_f *next_sendmsg;
static bool mending;

static struct bucket buckets[BUCKETS];

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
    find_next("nng_stream_close", &next_close, sizeof(next_close));
    find_next("nng_stream_free", &next_free, sizeof(next_free));
    find_next("sendmsg", &next_sendmsg, sizeof(next_sendmsg));
    mending = strcmp(nng_version(), "1.5.2") == 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        pthread_mutex_init(&buckets[i].lock, NULL);
    }
}

/* ------------------------------------------------------------------ who waits */

static struct bucket *
bucket_of(const nng_stream *stream)
{
    return &buckets[((uintptr_t)stream >> 6) % BUCKETS];
}

/* With the bucket's lock held: where the stream's entry hangs, or would. */
static struct wait **
wait_find(struct bucket *bucket, const nng_stream *stream)
{
    struct wait **at = &bucket->first;

    while (*at != NULL && (*at)->stream != stream) {
        at = &(*at)->next;
    }
    return at;
}

/* Out of memory: the fault stays as it was. */
static void
wait_note(nng_stream *stream, nng_aio *recv, nng_aio *send)
{
    struct bucket *bucket = bucket_of(stream);
    struct wait **at, *wait;

    if (!mending) {
        return;
    }
    pthread_mutex_lock(&bucket->lock);
    at = wait_find(bucket, stream);
    wait = *at;
    if (wait == NULL) {
        wait = *at = calloc(1, sizeof(*wait));
    }
    if (wait != NULL) {
        wait->stream = stream;
        wait->recv = recv != NULL ? recv : wait->recv;
        wait->send = send != NULL ? send : wait->send;
    }
    pthread_mutex_unlock(&bucket->lock);
}

/* Takes the stream's entry out; zeros if there is none. */
static struct wait
wait_take(nng_stream *stream)
{
    struct bucket *bucket = bucket_of(stream);
    struct wait **at, *wait, copy = {0};

    pthread_mutex_lock(&bucket->lock);
    at = wait_find(bucket, stream);
    wait = *at;
    if (wait != NULL) {
        copy = *wait;
        *at = wait->next;
    }
    pthread_mutex_unlock(&bucket->lock);
    free(wait);
    return copy;
}

/* ------------------------------------------------------------------ NNG's calls */

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
    wait_note(stream, aio, NULL);
    next_recv(stream, aio);
    end_if_refused(aio);
}

void
nng_stream_send(nng_stream *stream, nng_aio *aio)
{
    wait_note(stream, NULL, aio);
    next_send(stream, aio);
    end_if_refused(aio);
}

/* Who closes a stream still has his aios: they are freed behind it. */
void
nng_stream_close(nng_stream *stream)
{
    struct wait wait = {0};

    if (stream != NULL) {
        wait = wait_take(stream);
    }
    if (wait.recv != NULL) {
        nng_aio_abort(wait.recv, NNG_ECONNRESET);
    }
    if (wait.send != NULL) {
        nng_aio_abort(wait.send, NNG_ECONNRESET);
    }
    next_close(stream);
}

void
nng_stream_free(nng_stream *stream)
{
    if (stream != NULL) {
        (void)wait_take(stream);
    }
    next_free(stream);
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
