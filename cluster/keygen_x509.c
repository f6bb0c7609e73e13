#include "cluster/keygen_x509.h"
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SERIAL_BITS = 127, NAME_ROOM = 128, VERSION_3 = 2 };

/* ------------------------------------------------------------------ making */

static bool
add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;
    bool ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = extension != NULL && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool
add_name(X509_NAME *name, const char *field, const char *text)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                      (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool
set_serial(X509 *cert)
{
    BIGNUM *number = BN_new();
    bool ok = number != NULL &&
              BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;

    BN_free(number);
    return ok;
}

/* A key, and a certificate with all but issuer, extensions and signature. */
static bool
begin(struct x509_pair *pair, const char *cluster, const char *name, int days)
{
    X509_NAME *subject;

    pair->key = EVP_EC_gen("P-256");
    pair->cert = X509_new();
    if (pair->key == NULL || pair->cert == NULL) {
        return false;
    }
    subject = X509_get_subject_name(pair->cert);
    return X509_set_version(pair->cert, VERSION_3) == 1 && set_serial(pair->cert) &&
           X509_time_adj_ex(X509_getm_notBefore(pair->cert), -X509_SKEW_DAYS, 0, NULL) !=
               NULL &&
           X509_time_adj_ex(X509_getm_notAfter(pair->cert), days, 0, NULL) != NULL &&
           X509_set_pubkey(pair->cert, pair->key) == 1 &&
           add_name(subject, "O", cluster) && add_name(subject, "CN", name);
}

static bool
sign(struct x509_pair *pair, const struct x509_pair *ca)
{
    return X509_set_issuer_name(pair->cert, X509_get_subject_name(ca->cert)) == 1 &&
           X509_sign(pair->cert, ca->key, EVP_sha256()) > 0;
}

static enum an_err
finish(struct x509_pair *out, struct x509_pair *pair, bool ok)
{
    ERR_clear_error();
    if (!ok) {
        x509_fini(pair);
        return AN_ERR_NO_MEMORY;
    }
    *out = *pair;
    return AN_OK;
}

enum an_err
x509_make_ca(struct x509_pair *out, const char *cluster)
{
    struct x509_pair pair = {0};
    char name[NAME_ROOM];
    bool ok;

    snprintf(name, sizeof(name), "anser cluster %s", cluster);
    ok = begin(&pair, cluster, name, X509_CA_DAYS) &&
         add_extension(pair.cert, pair.cert, NID_basic_constraints,
                       "critical,CA:TRUE,pathlen:0") &&
         add_extension(pair.cert, pair.cert, NID_key_usage,
                       "critical,keyCertSign,cRLSign") &&
         add_extension(pair.cert, pair.cert, NID_subject_key_identifier, "hash") &&
         sign(&pair, &pair);
    return finish(out, &pair, ok);
}

enum an_err
x509_make_host(struct x509_pair *out, const struct x509_pair *ca, const char *cluster,
               const char *host)
{
    struct x509_pair pair = {0};
    char names[NAME_ROOM];
    bool ok;

    snprintf(names, sizeof(names), "DNS:%s", host);
    ok = begin(&pair, cluster, host, X509_HOST_DAYS) &&
         add_extension(pair.cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(pair.cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
         add_extension(pair.cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
         add_extension(pair.cert, ca->cert, NID_subject_alt_name, names) &&
         add_extension(pair.cert, ca->cert, NID_subject_key_identifier, "hash") &&
         add_extension(pair.cert, ca->cert, NID_authority_key_identifier, "keyid") &&
         sign(&pair, ca);
    return finish(out, &pair, ok);
}

/* ------------------------------------------------------------------ files */

static FILE *
open_pem(const char *path, char *why, size_t why_len)
{
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        snprintf(why, why_len, "%s: %s", path, strerror(errno));
    }
    return file;
}

/* No key of ours has a passphrase, and no terminal is asked for one. */
static int
no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

enum an_err
x509_load(struct x509_pair *out, const char *cert_path, const char *key_path, char *why,
          size_t why_len)
{
    struct x509_pair pair = {0};
    FILE *file = open_pem(cert_path, why, why_len);
    enum an_err err = file == NULL ? AN_ERR_IO : AN_OK;

    if (err == AN_OK) {
        pair.cert = PEM_read_X509(file, NULL, no_passphrase, NULL);
        if (pair.cert == NULL) {
            snprintf(why, why_len, "%s: no certificate in PEM", cert_path);
            err = AN_ERR_CORRUPT;
        }
        fclose(file);
    }
    if (err == AN_OK && key_path != NULL) {
        file = open_pem(key_path, why, why_len);
        err = file == NULL ? AN_ERR_IO : AN_OK;
    }
    if (err == AN_OK && key_path != NULL) {
        pair.key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
        if (pair.key == NULL) {
            snprintf(why, why_len, "%s: no private key in PEM", key_path);
            err = AN_ERR_CORRUPT;
        }
        fclose(file);
    }
    ERR_clear_error();
    if (err != AN_OK) {
        x509_fini(&pair);
        return err;
    }
    *out = pair;
    return AN_OK;
}

/* Takes what the memory BIO holds. */
static size_t
take_pem(BIO *bio, bool ok, char out[X509_PEM_MAX])
{
    char *data = NULL;
    long len = ok ? BIO_get_mem_data(bio, &data) : 0;
    bool fits = len > 0 && len < X509_PEM_MAX;

    if (fits) {
        memcpy(out, data, (size_t)len);
        out[len] = '\0';
    }
    BIO_free(bio);
    return fits ? (size_t)len : 0;
}

size_t
x509_cert_pem(const struct x509_pair *pair, char out[X509_PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());

    return take_pem(bio, bio != NULL && PEM_write_bio_X509(bio, pair->cert) == 1, out);
}

size_t
x509_key_pem(const struct x509_pair *pair, char out[X509_PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_secmem());
    bool ok = bio != NULL &&
              PEM_write_bio_PrivateKey(bio, pair->key, NULL, NULL, 0, NULL, NULL) == 1;

    return take_pem(bio, ok, out);
}

void
x509_fini(struct x509_pair *pair)
{
    EVP_PKEY_free(pair->key); /* OpenSSL wipes it */
    X509_free(pair->cert);
    *pair = (struct x509_pair){0};
}

/* ------------------------------------------------------------------ judging */

static bool
signed_by(X509 *cert, X509 *ca)
{
    EVP_PKEY *key = X509_get0_pubkey(ca);

    return key != NULL && X509_verify(cert, key) == 1;
}

const char *
x509_flaw(const struct x509_pair *pair, const struct x509_pair *ca, const char *host)
{
    const char *flaw = NULL;

    if (X509_cmp_current_time(X509_get0_notAfter(pair->cert)) <= 0) {
        flaw = "it has expired";
    } else if (X509_cmp_current_time(X509_get0_notBefore(pair->cert)) > 0) {
        flaw = "it is not valid yet";
    } else if (pair->key != NULL && X509_check_private_key(pair->cert, pair->key) != 1) {
        flaw = "the key is another one's";
    } else if (!signed_by(pair->cert, ca->cert)) {
        flaw = "this CA did not sign it";
    } else if (host == NULL && X509_check_ca(pair->cert) != 1) {
        flaw = "it is no CA";
    } else if (host != NULL &&
               X509_check_host(pair->cert, host, strlen(host), 0, NULL) != 1) {
        flaw = "it is for another name";
    }
    ERR_clear_error();
    return flaw;
}

void
x509_until(const struct x509_pair *pair, char out[X509_DATE_LEN])
{
    struct tm tm = {0};

    (void)ASN1_TIME_to_tm(X509_get0_notAfter(pair->cert), &tm);
    if (strftime(out, X509_DATE_LEN, "%Y-%m-%d", &tm) == 0) {
        out[0] = '\0';
    }
}
