/* The keys of a cluster: a CA, a certificate for each host of the file, the key of login
 * tokens. What is there already is kept.
 *
 * Context: one thread. */
#ifndef AN_CLUSTER_KEYGEN_H
#define AN_CLUSTER_KEYGEN_H

#include "cluster/plan.h"
#include "core/err.h"
#include <stdbool.h>

struct keygen_cfg {
    const struct plan *plan; /* borrowed */
    /* ca.pem, ca.key, HOST.pem, HOST.key and token.json go there; NULL: where the plan
     * has them, ca.key beside its ca. Made (0700) when it is not there. */
    const char *out;
    bool renew; /* hosts' keys and certificates anew; the CA and the token key stay */
    const char *host; /* only this one's; NULL: all hosts' */
    /* A line of what was made or kept. */
    void (*say)(void *ctx, const char *line);
    void *ctx;
};

/* Private keys and the token key are 0600, each file is written whole or not at all. A
 * plan without tls has only a token key. AN_ERR_CONFIG: two files would be one, no such
 * host, or what is there does not fit; AN_ERR_IO, AN_ERR_DISK_FULL, AN_ERR_CORRUPT,
 * AN_ERR_NO_MEMORY; with *why. */
AN_MUST_USE enum an_err keygen(const struct keygen_cfg *cfg, char *why, size_t why_len);

#endif
