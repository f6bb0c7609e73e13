/* What a host shows to the others, looked at before it is shown: a process that starts
 * with files that nobody takes would wait for its peers for ever.
 *
 * Context: any thread. */
#ifndef AN_CLUSTER_CERT_H
#define AN_CLUSTER_CERT_H

#include "cluster/plan.h"
#include "core/err.h"
#include <time.h>

/* The files that plan_tls() filled in: does the key fit the certificate, is that for the
 * host's name, is it good now, by way of a CA of `ca`? Further certificates behind it in
 * its file, and several CAs, are fine. *until: when the first of the chain expires; 0 for
 * a plan of one host, which shows nothing. AN_ERR_CONFIG with *why naming the file,
 * AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err cert_check(const struct plan *plan, uint16_t host, time_t *until,
                                   char *why, size_t why_len);
/* A warning in the log when less than AN_CERT_WARN_DAYS are left. who: log lines' name.
 */
void cert_warn(const struct plan *plan, time_t until, const char *who);

#endif
