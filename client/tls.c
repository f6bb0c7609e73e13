/* TLS over the link's socket: chain and name verified, sessions resumed, and in plain
 * words why not. */
#include "client/client_priv.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ the socket */

/* OpenSSL's own would raise SIGPIPE in other people's programs. */
static int
bio_read(BIO *bio, char *to, int len)
{
    const struct ac_link *link = BIO_get_data(bio);
    ssize_t got;

    BIO_clear_retry_flags(bio);
    do {
        got = recv(link->fd, to, (size_t)len, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_read(bio);
    }
    return (int)got;
}

static int
bio_write(BIO *bio, const char *from, int len)
{
    const struct ac_link *link = BIO_get_data(bio);
    ssize_t sent;

    BIO_clear_retry_flags(bio);
    do {
        sent = send(link->fd, from, (size_t)len, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_write(bio);
    }
    return (int)sent;
}

static long
bio_ctrl(BIO *bio, int what, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return what == BIO_CTRL_FLUSH;
}

/* ------------------------------------------------------------------ the client's part */

static void
ticket_drop(struct ac_tls *tls, size_t at)
{
    SSL_SESSION_free(tls->tickets[at].session);
    tls->ticket_count--;
    memmove(tls->tickets + at, tls->tickets + at + 1,
            (tls->ticket_count - at) * sizeof(*tls->tickets));
}

/* Room for one more: most programs have one client, and need one. */
static bool
tickets_reserve(struct ac_tls *tls)
{
    size_t cap = tls->ticket_cap == 0 ? 1 : tls->ticket_cap * 2;
    struct ac_ticket *bigger;

    if (tls->ticket_count < tls->ticket_cap) {
        return true;
    }
    bigger = realloc(tls->tickets, cap * sizeof(*bigger));
    if (bigger == NULL) {
        return false;
    }
    tls->tickets = bigger;
    tls->ticket_cap = cap;
    return true;
}

/* A ticket for the next connection to the same address. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct ac_link *link = SSL_get_app_data(ssl);
    struct ac_tls *tls = link->sessions;
    struct ac_ticket *ticket;

    if (tls->ticket_count == ANSER_LIMIT_TICKETS_MAX) {
        ticket_drop(tls, 0);
    }
    if (!tickets_reserve(tls)) {
        return 0;
    }
    ticket = &tls->tickets[tls->ticket_count++];
    memcpy(ticket->host, link->address->host, sizeof(ticket->host));
    memcpy(ticket->port, link->address->port, sizeof(ticket->port));
    ticket->session = session;
    return 1; /* ours from here on */
}

/* The newest for this address. */
static void
resume(struct ac_tls *tls, SSL *ssl, const struct ac_address *address)
{
    for (size_t i = tls->ticket_count; i-- > 0;) {
        if (strcmp(tls->tickets[i].host, address->host) == 0 &&
            strcmp(tls->tickets[i].port, address->port) == 0) {
            (void)SSL_set_session(ssl, tls->tickets[i].session);
            ticket_drop(tls, i); /* a ticket is used once */
            return;
        }
    }
}

static bool
load(SSL_CTX *ctx, const struct anser_options *options)
{
    bool good = options->ca_file == NULL
                    ? SSL_CTX_set_default_verify_paths(ctx) == 1
                    : SSL_CTX_load_verify_file(ctx, options->ca_file) == 1;

    if (good && options->cert_file != NULL) {
        const char *key =
            options->key_file == NULL ? options->cert_file : options->key_file;

        good = SSL_CTX_use_certificate_chain_file(ctx, options->cert_file) == 1 &&
               SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1;
    }
    return good;
}

static enum an_err
set_up(struct ac_tls *tls, const struct anser_options *options)
{
    tls->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "anser");
    tls->ctx = SSL_CTX_new(TLS_client_method());
    if (tls->method == NULL || tls->ctx == NULL ||
        BIO_meth_set_read(tls->method, bio_read) != 1 ||
        BIO_meth_set_write(tls->method, bio_write) != 1 ||
        BIO_meth_set_ctrl(tls->method, bio_ctrl) != 1 ||
        SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION) != 1) {
        return AN_ERR_NO_MEMORY;
    }
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(tls->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_CLIENT |
                                                 SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(tls->ctx, on_session);
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    ERR_clear_error();
    return load(tls->ctx, options) ? AN_OK : AN_ERR_TLS;
}

enum an_err
ac_tls_create(struct ac_tls **out, const struct anser_options *options)
{
    struct ac_tls *tls = calloc(1, sizeof(*tls));
    enum an_err err;

    if (tls == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    tls->refs = 1;
    err = set_up(tls, options);
    if (err != AN_OK) {
        ac_tls_unref(tls);
        return err;
    }
    *out = tls;
    return AN_OK;
}

void
ac_tls_unref(struct ac_tls *tls)
{
    if (tls == NULL || --tls->refs > 0) {
        return;
    }
    while (tls->ticket_count > 0) {
        ticket_drop(tls, tls->ticket_count - 1);
    }
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->method);
    free(tls->tickets);
    free(tls);
}

/* ------------------------------------------------------------------ a connection */

/* The name that the certificate must have: the address's. */
static bool
expect_name(SSL *ssl, const char *host)
{
    struct in6_addr number;
    char name[TLSEXT_MAXLEN_host_name + 1]; /* OpenSSL's macro casts const away */

    if (inet_pton(AF_INET, host, &number) == 1 ||
        inet_pton(AF_INET6, host, &number) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if ((size_t)snprintf(name, sizeof(name), "%s", host) >= sizeof(name)) {
        return false;
    }
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

enum an_err
ac_tls_begin(struct ac_tls *tls, struct ac_link *link, const struct ac_address *address)
{
    SSL *ssl = SSL_new(tls->ctx);
    BIO *bio = BIO_new(tls->method);

    link->tls = ssl;
    link->sessions = tls;
    link->address = address;
    if (ssl == NULL || bio == NULL) {
        BIO_free(bio);
        return AN_ERR_NO_MEMORY;
    }
    BIO_set_data(bio, link);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, link);
    SSL_set_connect_state(ssl);
    if (!expect_name(ssl, address->host)) {
        return AN_ERR_NO_MEMORY;
    }
    resume(tls, ssl, address);
    return AN_OK;
}

void
ac_tls_end(struct ac_link *link)
{
    if (link->tls != NULL) {
        /* Else its ticket could not be used any more. */
        SSL_set_shutdown(link->tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(link->tls);
    }
    link->tls = NULL;
}

/* What a call that did not succeed means: OK to be tried again later. */
static enum an_err
outcome(struct ac_link *link, int got)
{
    long verdict = SSL_get_verify_result(link->tls);
    const char *reason;

    switch (SSL_get_error(link->tls, got)) {
    case SSL_ERROR_WANT_READ:
        return AN_OK;
    case SSL_ERROR_WANT_WRITE:
        link->want_write = true;
        return AN_OK;
    case SSL_ERROR_SSL:
        break;
    default: /* the end, or the socket's error */
        return AN_ERR_CONNECTION;
    }
    reason = ERR_reason_error_string(ERR_peek_error());
    if (verdict != X509_V_OK) {
        snprintf(link->why, sizeof(link->why), "the server's certificate: %s",
                 X509_verify_cert_error_string(verdict));
    } else {
        snprintf(link->why, sizeof(link->why), "TLS: %s",
                 reason == NULL ? "no reason given" : reason);
    }
    ERR_clear_error();
    return AN_ERR_TLS;
}

enum an_err
ac_tls_handshake(struct ac_link *link)
{
    int got;

    ERR_clear_error();
    link->want_write = false;
    got = SSL_do_handshake(link->tls);
    link->connected = got == 1;
    return got == 1 ? AN_OK : outcome(link, got);
}

enum an_err
ac_tls_read(struct ac_link *link, uint8_t *to, size_t cap, size_t *len)
{
    int got;

    ERR_clear_error();
    got = SSL_read_ex(link->tls, to, cap, len);
    if (got == 1) {
        return AN_OK;
    }
    *len = 0;
    return outcome(link, got);
}

enum an_err
ac_tls_write(struct ac_link *link, const uint8_t *from, size_t len, size_t *wrote)
{
    int got;

    ERR_clear_error();
    got = SSL_write_ex(link->tls, from, len, wrote);
    if (got == 1) {
        return AN_OK;
    }
    *wrote = 0;
    return outcome(link, got);
}
