/* The certificate of https://. libmicrohttpd asks for it at every handshake, so that a
 * reload reaches whoever connects next; connections that are there have what they have.
 */
#include "actors/api/api_door_priv.h"
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_LEN_MAX = 256 * 1024, HASH_LEN = 32 };

/* A chain and its key. Handshakes may be using one that another has replaced, and
 * GnuTLS does not say when they are done: all stay until the door ends. A reload of the
 * same files adds none. */
struct api_cert {
    struct api_cert *older;
    gnutls_pcert_st *chain;
    unsigned count;
    gnutls_privkey_t key;
    uint8_t hash[HASH_LEN]; /* of both files */
};

/* libmicrohttpd hands the callback no context. Each of its daemons has one thread, which
 * takes its connections and shakes their hands. */
static _Thread_local struct api_door *thread_door;

void
api_tls_thread(struct api_door *door)
{
    thread_door = door;
}

int
api_tls_choose(gnutls_session_t session, const gnutls_datum_t *issuers, int issuer_count,
               const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
               gnutls_pcert_st **chain, unsigned *count, gnutls_privkey_t *key)
{
    struct api_door *door = thread_door;
    struct api_cert *cert;

    (void)session;
    (void)issuers;
    (void)issuer_count;
    (void)algorithms;
    (void)algorithm_count;
    if (door == NULL) {
        return -1;
    }
    pthread_mutex_lock(&door->lock);
    cert = door->cert;
    pthread_mutex_unlock(&door->lock);
    *chain = cert->chain;
    *count = cert->count;
    *key = cert->key;
    return 0;
}

/* ------------------------------------------------------------------ reading */

static void
cert_free(struct api_cert *cert)
{
    if (cert == NULL) {
        return;
    }
    for (unsigned i = 0; i < cert->count; i++) {
        gnutls_pcert_deinit(&cert->chain[i]);
    }
    gnutls_privkey_deinit(cert->key);
    free(cert->chain);
    free(cert);
}

/* A file's text, to be freed; its end is a NUL. */
static char *
read_pem(const char *path, const char *setting, char *why, size_t why_len)
{
    char *text = calloc(1, PEM_LEN_MAX + 1);
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    size_t len = file == NULL || text == NULL ? 0 : fread(text, 1, PEM_LEN_MAX, file);

    if (path == NULL) {
        snprintf(why, why_len, "%s: missing; https:// needs it", setting);
    } else if (file == NULL) {
        snprintf(why, why_len, "%s: %s: %s", setting, path, strerror(errno));
    } else if (len == 0) {
        snprintf(why, why_len, "%s: %s: nothing can be read", setting, path);
    }
    if (file != NULL) {
        fclose(file);
    }
    if (len == 0) {
        free(text);
        return NULL;
    }
    return text;
}

static int
take_chain(struct api_cert *cert, const gnutls_x509_crt_t *list, unsigned count)
{
    int rv = 0;

    cert->chain = calloc(count, sizeof(*cert->chain));
    if (cert->chain == NULL) {
        return GNUTLS_E_MEMORY_ERROR;
    }
    while (rv >= 0 && cert->count < count) {
        rv = gnutls_pcert_import_x509(&cert->chain[cert->count], list[cert->count], 0);
        cert->count += rv >= 0;
    }
    return rv;
}

/* Is the key that of the first certificate? */
static bool
key_fits(const struct api_cert *cert)
{
    unsigned char own[HASH_LEN], its[HASH_LEN];
    size_t own_len = sizeof(own), its_len = sizeof(its);
    gnutls_pubkey_t public;
    bool fits;

    if (gnutls_pubkey_init(&public) < 0) {
        return false;
    }
    fits =
        gnutls_pubkey_import_privkey(public, cert->key, 0, 0) >= 0 &&
        gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, own, &own_len) >= 0 &&
        gnutls_pubkey_get_key_id(cert->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, its,
                                 &its_len) >= 0 &&
        own_len == its_len && memcmp(own, its, own_len) == 0;
    gnutls_pubkey_deinit(public);
    return fits;
}

static const char *
cert_parse(struct api_cert *cert, char *cert_pem, char *key_pem)
{
    gnutls_datum_t pem = {(unsigned char *)cert_pem, (unsigned)strlen(cert_pem)};
    gnutls_datum_t key = {(unsigned char *)key_pem, (unsigned)strlen(key_pem)};
    gnutls_x509_crt_t *list = NULL;
    unsigned count = 0;
    int rv;

    if (gnutls_privkey_init(&cert->key) < 0) {
        return "no memory";
    }
    rv = gnutls_x509_crt_list_import2(&list, &count, &pem, GNUTLS_X509_FMT_PEM,
                                      GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (rv < 0) {
        return "gate.tls_cert: not the PEM of a certificate and its chain";
    }
    rv = take_chain(cert, list, count);
    for (unsigned i = 0; i < count; i++) {
        gnutls_x509_crt_deinit(list[i]);
    }
    gnutls_free(list);
    if (rv < 0) {
        return "gate.tls_cert: cannot be used";
    }
    if (gnutls_privkey_import_x509_raw(cert->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0) <
        0) {
        return "gate.tls_key: not the PEM of a key";
    }
    return key_fits(cert) ? NULL : "gate.tls_key: not the key of gate.tls_cert";
}

static enum an_err
cert_read(struct api_cert **out, const struct api_door *door, char *why, size_t why_len)
{
    struct api_cert *cert = calloc(1, sizeof(*cert));
    char *cert_pem = read_pem(door->tls_cert, "gate.tls_cert", why, why_len);
    char *key_pem =
        cert_pem == NULL ? NULL : read_pem(door->tls_key, "gate.tls_key", why, why_len);
    const char *wrong = NULL;

    if (cert != NULL && key_pem != NULL) {
        crypto_generichash_state state;

        crypto_generichash_init(&state, NULL, 0, HASH_LEN);
        crypto_generichash_update(&state, (unsigned char *)cert_pem,
                                  strlen(cert_pem) + 1);
        crypto_generichash_update(&state, (unsigned char *)key_pem, strlen(key_pem));
        crypto_generichash_final(&state, cert->hash, HASH_LEN);
        wrong = cert_parse(cert, cert_pem, key_pem);
        sodium_memzero(key_pem, strlen(key_pem));
    }
    if (wrong != NULL) {
        snprintf(why, why_len, "%s", wrong);
    }
    if (cert == NULL || key_pem == NULL || wrong != NULL) {
        cert_free(cert);
        cert = NULL;
    }
    free(cert_pem);
    free(key_pem);
    *out = cert;
    return cert == NULL ? AN_ERR_CONFIG : AN_OK;
}

/* ------------------------------------------------------------------ the door's */

enum an_err
api_tls_init(struct api_door *door, char *why, size_t why_len)
{
    const struct api_door_cfg *cfg = &door->cfg;

    door->tls_cert = cfg->tls_cert == NULL ? NULL : strdup(cfg->tls_cert);
    door->tls_key = cfg->tls_key == NULL ? NULL : strdup(cfg->tls_key);
    return cert_read(&door->cert, door, why, why_len);
}

enum an_err
api_tls_reload(struct api_door *door, char *why, size_t why_len)
{
    struct api_cert *cert;
    enum an_err err;

    if (door->cert == NULL) { /* it speaks no https */
        return AN_OK;
    }
    err = cert_read(&cert, door, why, why_len);
    if (err != AN_OK) {
        return err;
    }
    pthread_mutex_lock(&door->lock);
    if (memcmp(cert->hash, door->cert->hash, HASH_LEN) != 0) {
        cert->older = door->cert;
        door->cert = cert;
        cert = NULL;
    }
    pthread_mutex_unlock(&door->lock);
    cert_free(cert);
    return AN_OK;
}

void
api_tls_fini(struct api_door *door)
{
    while (door->cert != NULL) {
        struct api_cert *cert = door->cert;

        door->cert = cert->older;
        cert_free(cert);
    }
    free(door->tls_cert);
    free(door->tls_key);
}
