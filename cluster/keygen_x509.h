/* The certificates of a cluster, as mbedTLS 2.28 under NNG 1.5 takes them: EC keys on
 * P-256, ECDSA with SHA-256, PEM. Made and judged with OpenSSL.
 *
 * Context: any thread, not two on one pair. */
#ifndef AN_CLUSTER_KEYGEN_X509_H
#define AN_CLUSTER_KEYGEN_X509_H

#include "core/err.h"
#include <stddef.h>

enum {
    X509_CA_DAYS = 20 * 365 + 5, /* replacing it means new files on every host */
    X509_HOST_DAYS = 5 * 365 + 1,
    X509_SKEW_DAYS = 1, /* valid from then: clocks of hosts differ */
    X509_DATE_LEN = 11, /* "2046-11-16" */
    X509_PEM_MAX = 4096,
};

struct evp_pkey_st;
struct x509_st;

/* A private key and the certificate made for it. Zeroed: none. */
struct x509_pair {
    struct evp_pkey_st *key;
    struct x509_st *cert;
};

/* AN_ERR_NO_MEMORY stands for all that OpenSSL can miss here. */
AN_MUST_USE enum an_err x509_make_ca(struct x509_pair *out, const char *cluster);
/* For a client and a server; the host's name is its CN and its only DNS name. */
AN_MUST_USE enum an_err x509_make_host(struct x509_pair *out, const struct x509_pair *ca,
                                       const char *cluster, const char *host);
/* key_path NULL: the certificate alone. AN_ERR_IO, AN_ERR_CORRUPT, with *why. */
AN_MUST_USE enum an_err x509_load(struct x509_pair *out, const char *cert_path,
                                  const char *key_path, char *why, size_t why_len);
/* As PEM; returns the length, 0 without memory. The key's must be wiped. */
size_t x509_cert_pem(const struct x509_pair *pair, char out[X509_PEM_MAX]);
size_t x509_key_pem(const struct x509_pair *pair, char out[X509_PEM_MAX]);
/* What is wrong with a host's pair, in a few words; NULL: nothing. host NULL: ca itself,
 * as a CA. A pair without key: only the certificate is judged. */
const char *x509_flaw(const struct x509_pair *pair, const struct x509_pair *ca,
                      const char *host);
/* The last day that the certificate is valid. */
void x509_until(const struct x509_pair *pair, char out[X509_DATE_LEN]);
/* Wipes the key. Zeroed is fine. */
void x509_fini(struct x509_pair *pair);

#endif
