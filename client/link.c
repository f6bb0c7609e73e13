/* One non-blocking TCP socket and its two buffers; knows bytes, not frames. */
#include "client/client_priv.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool
port_valid(const char *port)
{
    unsigned value = 0;
    size_t len = strlen(port);

    if (len == 0 || len > 5) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (port[i] < '0' || port[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(port[i] - '0');
    }
    return value >= 1 && value <= 65535;
}

bool
ac_address_parse(struct ac_address *address, const char *text)
{
    const char *host, *host_end, *colon;

    address->tls = strncmp(text, "tls://", 6) == 0;
    address->noise = strncmp(text, "noise://", 8) == 0;
    if (!address->tls && !address->noise && strncmp(text, "tcp://", 6) != 0) {
        return false;
    }
    host = strstr(text, "://") + 3;
    colon = strrchr(host, ':');
    host_end = colon;
    if (colon == NULL || !port_valid(colon + 1)) {
        return false;
    }
    if (*host == '[') {
        host++;
        host_end--;
        if (host_end < host || *host_end != ']') {
            return false;
        }
    }
    if (host_end == host || (size_t)(host_end - host) >= sizeof(address->host)) {
        return false;
    }
    memcpy(address->host, host, (size_t)(host_end - host));
    address->host[host_end - host] = '\0';
    memcpy(address->port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

/* ------------------------------------------------------------------ buffers */

static void
buffer_free(struct ac_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct ac_buffer){0};
}

bool
ac_buffer_reserve(struct ac_buffer *buffer, size_t len)
{
    size_t cap = buffer->cap;
    uint8_t *data;

    if (buffer->start > 0 && buffer->start + buffer->len + len > cap) {
        memmove(buffer->data, buffer->data + buffer->start, buffer->len);
        buffer->start = 0;
    }
    if (buffer->start + buffer->len + len <= cap) {
        return true;
    }
    cap = cap == 0 ? 1024 : cap;
    while (cap < buffer->len + len) {
        cap *= 2;
    }
    data = realloc(buffer->data, cap);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->cap = cap;
    return true;
}

void
ac_buffer_eat(struct ac_buffer *buffer, size_t len)
{
    assert(len <= buffer->len);
    buffer->start += len;
    buffer->len -= len;
    if (buffer->len == 0) {
        buffer->start = 0;
    }
}

uint8_t *
ac_link_put(struct ac_link *link, size_t len)
{
    struct ac_buffer *out = &link->out;
    uint8_t *at;

    if (!ac_buffer_reserve(out, len)) {
        return NULL;
    }
    at = out->data + out->start + out->len;
    out->len += len;
    return at;
}

/* ------------------------------------------------------------------ the socket */

void
ac_link_init(struct ac_link *link)
{
    *link = (struct ac_link){.fd = -1};
}

void
ac_link_close(struct ac_link *link)
{
    ac_tls_end(link);
    ac_noise_end(link);
    if (link->fd >= 0) {
        close(link->fd);
    }
    link->fd = -1;
    link->connected = false;
    link->socket_up = false;
    link->want_write = false;
    buffer_free(&link->in);
    buffer_free(&link->out);
}

enum an_err
ac_link_open(struct ac_link *link, const struct sockaddr *to, socklen_t len)
{
    int one = 1;

    assert(link->fd < 0);
    link->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        return AN_ERR_CONNECTION;
    }
    link->count++;
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(link->fd, to, len) != 0 && errno != EINPROGRESS && errno != EINTR) {
        ac_link_close(link);
        return AN_ERR_CONNECTION;
    }
    return AN_OK;
}

static enum an_err
handshake(struct ac_link *link)
{
    return link->noise != NULL ? ac_noise_handshake(link) : ac_tls_handshake(link);
}

enum an_err
ac_link_check(struct ac_link *link)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int err = 0;
    socklen_t err_len = sizeof(err);

    if (link->socket_up) {
        return handshake(link);
    }
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &err, &err_len) != 0 || err != 0) {
        return AN_ERR_CONNECTION;
    }
    if (getpeername(link->fd, (struct sockaddr *)&peer, &len) == 0) {
        link->socket_up = true;
        link->connected = link->tls == NULL && link->noise == NULL;
        return link->connected ? AN_OK : handshake(link);
    }
    return errno == ENOTCONN ? AN_OK : AN_ERR_CONNECTION;
}

unsigned
ac_link_events(const struct ac_link *link)
{
    if (link->fd < 0) {
        return 0;
    }
    if (!link->socket_up) {
        return ANSER_WRITE;
    }
    if (!link->connected) {
        return link->want_write ? ANSER_WRITE : ANSER_READ;
    }
    return ANSER_READ |
           (link->out.len > 0 || ac_noise_wants_write(link) ? ANSER_WRITE : 0u);
}

bool
ac_link_holds_input(const struct ac_link *link)
{
    return link->tls != NULL && link->connected && SSL_pending(link->tls) > 0;
}

enum an_err
ac_link_recv(struct ac_link *link, uint8_t *to, size_t cap, size_t *len)
{
    ssize_t got;

    *len = 0;
    do {
        got = recv(link->fd, to, cap, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? AN_OK : AN_ERR_CONNECTION;
    }
    *len = (size_t)got;
    return got == 0 ? AN_ERR_CONNECTION : AN_OK;
}

enum an_err
ac_link_read(struct ac_link *link, bool *more)
{
    struct ac_buffer *in = &link->in;
    size_t want = ANSER_LIMIT_READ_BYTES, got;
    enum an_err err;

    *more = false;
    if (link->noise != NULL) {
        return ac_noise_read(link, more);
    }
    if (in->cap == 0) {
        want = 4096; /* an idle connection reads small answers into a small buffer */
    }
    if (!ac_buffer_reserve(in, want)) {
        return AN_ERR_NO_MEMORY;
    }
    want = in->cap - in->start - in->len;
    if (link->tls != NULL) {
        err = ac_tls_read(link, in->data + in->start + in->len, want, &got);
        in->len += got;
        *more = got > 0; /* a record at a time */
        return err;
    }
    err = ac_link_recv(link, in->data + in->start + in->len, want, &got);
    in->len += got;
    *more = got == want;
    return err;
}

enum an_err
ac_link_send(struct ac_link *link, struct ac_buffer *from)
{
    while (from->len > 0) {
        ssize_t sent = send(link->fd, from->data + from->start, from->len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK ? AN_OK : AN_ERR_CONNECTION;
        }
        ac_buffer_eat(from, (size_t)sent);
    }
    if (from->cap > ANSER_LIMIT_READ_BYTES) {
        buffer_free(from); /* a burst is over: an idle connection holds little */
    }
    return AN_OK;
}

static enum an_err
write_tls(struct ac_link *link)
{
    struct ac_buffer *out = &link->out;
    size_t wrote = 1;
    enum an_err err = AN_OK;

    while (err == AN_OK && out->len > 0 && wrote > 0) {
        err = ac_tls_write(link, out->data + out->start, out->len, &wrote);
        ac_buffer_eat(out, wrote);
    }
    return err;
}

enum an_err
ac_link_write(struct ac_link *link)
{
    enum an_err err = AN_OK;

    if (link->noise != NULL) {
        err = ac_noise_write(link);
    } else if (link->tls != NULL) {
        err = write_tls(link);
    }
    if (err != AN_OK ||
        (link->out.len > 0 && (link->noise != NULL || link->tls != NULL))) {
        return err; /* what is left waits for room */
    }
    return ac_link_send(link, &link->out);
}
