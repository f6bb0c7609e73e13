#include "cluster/cert.h"
#include "cluster/keygen_x509.h"
#include "core/limits.h"
#include "core/log.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { DAY_S = 86400, DATE_LEN = 11 };

/* What is under way for one host. */
struct look {
    const struct an_places *places;
    const char *host;
    struct x509_pair pair;
    X509_STORE *cas;
    STACK_OF(X509) * others; /* behind the certificate in its file */
    time_t until;
    char *why;
    size_t why_len;
};

static enum an_err
refuse(struct look *look, const char *path, const char *flaw)
{
    snprintf(look->why, look->why_len,
             "%s: %s; `anser cluster keygen` checks such files and, with --renew, makes "
             "a host's anew",
             path, flaw);
    return AN_ERR_CONFIG;
}

/* ------------------------------------------------------------------ files */

/* A server may show by whom its certificate is signed, in the same file. */
static enum an_err
load_others(struct look *look)
{
    FILE *file = fopen(look->places->cert, "re");
    X509 *cert;
    bool ok = file != NULL;

    for (bool first = true; ok && (cert = PEM_read_X509(file, NULL, NULL, NULL)) != NULL;
         first = false) {
        if (first || sk_X509_push(look->others, cert) == 0) {
            ok = first;
            X509_free(cert);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    ERR_clear_error();
    return ok ? AN_OK : AN_ERR_NO_MEMORY;
}

static enum an_err
load(struct look *look)
{
    const struct an_places *places = look->places;
    enum an_err err =
        x509_load(&look->pair, places->cert, places->key, look->why, look->why_len);

    if (err != AN_OK) {
        return err == AN_ERR_NO_MEMORY ? err : AN_ERR_CONFIG;
    }
    look->cas = X509_STORE_new();
    look->others = sk_X509_new_null();
    if (look->cas == NULL || look->others == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    if (X509_STORE_load_file(look->cas, places->ca) != 1) {
        return refuse(look, places->ca, "no certificate in PEM");
    }
    /* As mbedTLS does: whoever is in the file is believed. */
    (void)X509_STORE_set_flags(look->cas, X509_V_FLAG_PARTIAL_CHAIN);
    return load_others(look);
}

/* ------------------------------------------------------------------ judging */

static time_t
end_of(const X509 *cert)
{
    struct tm tm = {0};

    (void)ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm);
    return timegm(&tm);
}

static enum an_err
refuse_chain(struct look *look, int error, int depth)
{
    const char *path = depth == 0 ? look->places->cert : look->places->ca;
    char flaw[AN_PATH_LEN_MAX + 32];

    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return refuse(look, path, "it has expired");
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return refuse(look, path, "it is not valid yet; is this machine's clock right?");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        snprintf(flaw, sizeof(flaw), "%s did not sign it", look->places->ca);
        return refuse(look, look->places->cert, flaw);
    default:
        return refuse(look, path, X509_verify_cert_error_string(error));
    }
}

static enum an_err
judge_chain(struct look *look)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    const STACK_OF(X509) * chain;
    enum an_err err = AN_ERR_NO_MEMORY;

    if (ctx != NULL &&
        X509_STORE_CTX_init(ctx, look->cas, look->pair.cert, look->others) == 1) {
        err = AN_OK;
        if (X509_verify_cert(ctx) != 1) {
            err = refuse_chain(look, X509_STORE_CTX_get_error(ctx),
                               X509_STORE_CTX_get_error_depth(ctx));
        }
        chain = X509_STORE_CTX_get0_chain(ctx);
        look->until = end_of(look->pair.cert);
        for (int i = 0; err == AN_OK && i < sk_X509_num(chain); i++) {
            time_t end = end_of(sk_X509_value(chain, i));
            look->until = end < look->until ? end : look->until;
        }
    }
    X509_STORE_CTX_free(ctx);
    return err;
}

static enum an_err
judge(struct look *look)
{
    X509 *cert = look->pair.cert;
    char flaw[AN_HOST_NAME_MAX + 64];

    if (X509_check_private_key(cert, look->pair.key) != 1) {
        snprintf(flaw, sizeof(flaw), "it is not the key of host %s's certificate",
                 look->host);
        return refuse(look, look->places->key, flaw);
    }
    if (X509_check_host(cert, look->host, strlen(look->host), 0, NULL) != 1) {
        snprintf(flaw, sizeof(flaw), "it is for another name than %s", look->host);
        return refuse(look, look->places->cert, flaw);
    }
    return judge_chain(look);
}

enum an_err
cert_check(const struct plan *plan, uint16_t host, time_t *until, char *why,
           size_t why_len)
{
    struct look look = {.places = &plan->places,
                        .host = plan->places.hosts[host].name,
                        .why = why,
                        .why_len = why_len};
    enum an_err err;

    *until = 0;
    if (plan->places.host_count == 1) {
        return AN_OK;
    }
    err = load(&look);
    if (err == AN_OK) {
        err = judge(&look);
    }
    if (err == AN_OK) {
        *until = look.until;
    }
    sk_X509_pop_free(look.others, X509_free);
    X509_STORE_free(look.cas);
    x509_fini(&look.pair);
    ERR_clear_error();
    return err;
}

void
cert_warn(const struct plan *plan, time_t until, const char *who)
{
    char date[DATE_LEN] = "";
    struct timespec now;
    struct tm tm;
    time_t left;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    left = until - now.tv_sec;
    if (until == 0 || left >= (time_t)AN_CERT_WARN_DAYS * DAY_S) {
        return;
    }
    (void)strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&until, &tm));
    an_log(AN_LOG_WARN, who,
           "%s, or its CA, %s on %s: renew it (`anser cluster keygen --renew`) and "
           "restart, or no other host takes a new connection",
           plan->places.cert, left > 0 ? "expires" : "expired", date);
}
