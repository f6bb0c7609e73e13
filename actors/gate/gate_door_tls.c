/* TLS of client connections. OpenSSL never sees a socket: one BIO for all connections
 * hands it what came (feed) and takes what it wants written (sealed), so an idle
 * connection costs its SSL object and no buffer.
 *
 * Settings are those that Mozilla calls intermediate, without DHE: TLS 1.2 and 1.3,
 * forward secrecy, authenticated ciphers. Sessions are resumed by tickets, so that the
 * server keeps none; their key lives as long as the context: until the next reload. */
#include "actors/gate/gate_door_priv.h"
#include "core/log.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static char groups[] = "X25519:P-256:P-384"; /* OpenSSL's macro casts const away */

/* Why the last call failed, in OpenSSL's words. Empties its queue. */
static const char *
reason(void)
{
    unsigned long err = ERR_peek_error();
    const char *text = ERR_reason_error_string(err);

    ERR_clear_error();
    return text != NULL ? text : err == 0 ? "the connection ended" : "no reason given";
}

/* ------------------------------------------------------------------ the BIO */

static int
bio_read(BIO *bio, char *to, int len)
{
    struct door_tls *tls = BIO_get_data(bio);
    size_t take = tls->feed_len < (size_t)len ? tls->feed_len : (size_t)len;

    BIO_clear_retry_flags(bio);
    if (take == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, tls->feed, take);
    tls->feed += take;
    tls->feed_len -= take;
    return (int)take;
}

static int
bio_write(BIO *bio, const char *from, int len)
{
    struct door_tls *tls = BIO_get_data(bio);
    uint8_t *to = gate_door_scratch(&tls->sealed, (size_t)len);

    BIO_clear_retry_flags(bio);
    if (to == NULL) {
        return -1;
    }
    memcpy(to, from, (size_t)len);
    tls->sealed.len += (size_t)len;
    return len;
}

static long
bio_ctrl(BIO *bio, int what, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return what == BIO_CTRL_FLUSH;
}

static bool
bio_make(struct door_tls *tls)
{
    tls->bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "door");
    if (tls->bio_method == NULL || !BIO_meth_set_read(tls->bio_method, bio_read) ||
        !BIO_meth_set_write(tls->bio_method, bio_write) ||
        !BIO_meth_set_ctrl(tls->bio_method, bio_ctrl)) {
        return false;
    }
    tls->bio = BIO_new(tls->bio_method);
    if (tls->bio == NULL) {
        return false;
    }
    BIO_set_data(tls->bio, tls);
    BIO_set_init(tls->bio, 1);
    return true;
}

/* ------------------------------------------------------------------ files */

static enum an_err
refuse(const char *key, const char *path, const char *text, char *why, size_t why_len)
{
    snprintf(why, why_len, "gate.%s: %s: %s", key, path, text);
    return AN_ERR_CONFIG;
}

static enum an_err
readable(const char *key, const char *path, char *why, size_t why_len)
{
    if (path == NULL || path[0] == '\0') {
        snprintf(why, why_len, "gate.%s: missing: what listens with TLS needs it", key);
        return AN_ERR_CONFIG;
    }
    if (access(path, R_OK) != 0) {
        return refuse(key, path, strerror(errno), why, why_len);
    }
    return AN_OK;
}

static enum an_err
load_pair(SSL_CTX *ctx, const struct door_tls *tls, char *why, size_t why_len)
{
    enum an_err err = readable("tls_cert", tls->cert, why, why_len);

    if (err == AN_OK) {
        err = readable("tls_key", tls->key, why, why_len);
    }
    if (err != AN_OK) {
        return err;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, tls->cert) != 1) {
        return refuse("tls_cert", tls->cert, reason(), why, why_len);
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, tls->key, SSL_FILETYPE_PEM) != 1) {
        /* Among others: the key of another certificate. */
        return refuse("tls_key", tls->key, reason(), why, why_len);
    }
    return AN_OK;
}

/* Who shows no certificate of theirs is not let in. */
static enum an_err
load_client_ca(SSL_CTX *ctx, const struct door_tls *tls, char *why, size_t why_len)
{
    STACK_OF(X509_NAME) * names;
    enum an_err err;

    if (tls->client_ca == NULL || tls->client_ca[0] == '\0') {
        return AN_OK;
    }
    err = readable("tls_client_ca", tls->client_ca, why, why_len);
    if (err != AN_OK) {
        return err;
    }
    names = SSL_load_client_CA_file(tls->client_ca);
    if (names == NULL || SSL_CTX_load_verify_file(ctx, tls->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return refuse("tls_client_ca", tls->client_ca, reason(), why, why_len);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return AN_OK;
}

static bool
set_up(SSL_CTX *ctx)
{
    static const unsigned char name[] = "anser";

    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    /* The chain is what the file has: not looked for anew at every handshake. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, ciphers) == 1 &&
           SSL_CTX_set1_groups_list(ctx, groups) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
           SSL_CTX_set_session_id_context(ctx, name, sizeof(name) - 1) == 1;
}

static enum an_err
load(SSL_CTX **out, const struct door_tls *tls, char *why, size_t why_len)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    enum an_err err = AN_OK;

    ERR_clear_error();
    if (ctx == NULL || !set_up(ctx)) {
        SSL_CTX_free(ctx);
        snprintf(why, why_len, "TLS: %s", reason());
        return AN_ERR_INTERNAL;
    }
    err = load_pair(ctx, tls, why, why_len);
    if (err == AN_OK) {
        err = load_client_ca(ctx, tls, why, why_len);
    }
    if (err != AN_OK) {
        SSL_CTX_free(ctx);
        return err;
    }
    *out = ctx;
    return AN_OK;
}

bool
gate_tls_expires(struct door_tls *tls, int *level, char *out, size_t len)
{
    ASN1_TIME *soon = X509_gmtime_adj(NULL, (long)DOOR_CERT_WARN_DAYS * 86400);
    const ASN1_TIME *end;
    bool expired, told;
    struct tm tm;

    pthread_mutex_lock(&tls->mutex);
    end = X509_get0_notAfter(SSL_CTX_get0_certificate(tls->ctx));
    expired = X509_cmp_current_time(end) < 0;
    told = soon != NULL && ASN1_TIME_compare(end, soon) < 0 &&
           ASN1_TIME_to_tm(end, &tm) == 1;
    pthread_mutex_unlock(&tls->mutex);
    ASN1_TIME_free(soon);
    if (told) {
        *level = expired ? AN_LOG_ERROR : AN_LOG_WARN;
        snprintf(out, len, "gate.tls_cert: %s %s on %04d-%02d-%02d%s", tls->cert,
                 expired ? "expired" : "expires", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday, expired ? ": clients refuse it" : "");
    }
    return told;
}

static bool
copy(char **to, const char *from)
{
    *to = from == NULL ? NULL : strdup(from);
    return from == NULL || *to != NULL;
}

enum an_err
gate_tls_init(struct door_tls *tls, const struct gate_door_cfg *cfg, char *why,
              size_t why_len)
{
    if (pthread_mutex_init(&tls->mutex, NULL) != 0) {
        return AN_ERR_NO_MEMORY;
    }
    if (!copy(&tls->cert, cfg->tls_cert) || !copy(&tls->key, cfg->tls_key) ||
        !copy(&tls->client_ca, cfg->tls_client_ca) || !bio_make(tls)) {
        return AN_ERR_NO_MEMORY;
    }
    return load(&tls->ctx, tls, why, why_len);
}

void
gate_tls_fini(struct door_tls *tls)
{
    SSL_CTX_free(tls->ctx);
    BIO_free(tls->bio);
    BIO_meth_free(tls->bio_method);
    free(tls->cert);
    free(tls->key);
    free(tls->client_ca);
    free(tls->sealed.data);
}

enum an_err
gate_tls_reload(struct door_tls *tls, char *why, size_t why_len)
{
    SSL_CTX *ctx, *old;
    enum an_err err = load(&ctx, tls, why, why_len);

    if (err != AN_OK) {
        return err;
    }
    pthread_mutex_lock(&tls->mutex);
    old = tls->ctx;
    tls->ctx = ctx;
    pthread_mutex_unlock(&tls->mutex);
    SSL_CTX_free(old); /* connections that came by it hold it */
    return AN_OK;
}

/* ------------------------------------------------------------------ a connection */

SSL *
gate_tls_accept(struct door_tls *tls)
{
    SSL *ssl;

    pthread_mutex_lock(&tls->mutex);
    ssl = SSL_new(tls->ctx);
    pthread_mutex_unlock(&tls->mutex);
    if (ssl != NULL) {
        BIO_up_ref(tls->bio); /* one for reading and writing together */
        SSL_set_bio(ssl, tls->bio, tls->bio);
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

/* What OpenSSL has left for the client: a step of the handshake, an alert. */
static bool
emit(struct gate_door *door, struct door_conn *conn)
{
    struct door_scratch *sealed = &door->tls.sealed;
    bool good =
        sealed->len == 0 || gate_door_write(door, conn, sealed->data, sealed->len);

    gate_door_scratch_clear(sealed);
    return good;
}

/* The handshake went through in this call or before. */
static void
established(struct gate_door *door, struct door_conn *conn)
{
    if (conn->tls_done || !SSL_is_init_finished(conn->tls)) {
        return;
    }
    conn->tls_done = true;
    if (SSL_session_reused(conn->tls)) {
        door->stats.tls_resumed++;
    } else {
        door->stats.tls_full++;
    }
    if (conn->ws == NULL) {
        gate_door_open(door, conn);
    }
}

void
gate_tls_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
            size_t len)
{
    struct door_tls *tls = &door->tls;

    while (door_reading(conn)) {
        int got, err;

        /* What is delivered may use OpenSSL for other connections. */
        tls->feed = data;
        tls->feed_len = len;
        ERR_clear_error();
        got = SSL_read(conn->tls, tls->plain, sizeof(tls->plain));
        err = SSL_get_error(conn->tls, got);
        data = tls->feed;
        len = tls->feed_len;
        tls->feed_len = 0;
        if (!emit(door, conn)) {
            gate_door_kill(conn);
            return;
        }
        established(door, conn);
        if (got > 0) {
            gate_door_layer_in(door, conn, tls->plain, (size_t)got);
        } else if (err == SSL_ERROR_ZERO_RETURN) {
            gate_door_kill(conn); /* a client that ends has left */
        } else if (err == SSL_ERROR_WANT_READ) {
            return; /* all taken */
        } else {
            /* No TLS, or none that we take: the alert that says so is on its way. */
            gate_door_break_off(door, conn, "TLS", reason());
        }
    }
}

bool
gate_tls_out(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
             size_t len)
{
    while (len > 0) {
        int take = len < DOOR_RECORD_BYTES ? (int)len : DOOR_RECORD_BYTES;

        ERR_clear_error();
        /* The BIO takes everything, so this is all or an error. */
        if (SSL_write(conn->tls, data, take) != take) {
            gate_door_scratch_clear(&door->tls.sealed);
            conn->broken = true;
            return false;
        }
        data += take;
        len -= (size_t)take;
    }
    return emit(door, conn);
}

void
gate_tls_bye(struct gate_door *door, struct door_conn *conn)
{
    if (conn->tls == NULL || !conn->tls_done || conn->broken) {
        return;
    }
    ERR_clear_error();
    (void)SSL_shutdown(conn->tls);
    if (!emit(door, conn)) {
        gate_door_kill(conn);
    }
}
