/* Keys of applications' sign-on services: the public halves, from PEM files. */
#ifndef AN_CLUSTER_TOKEN_KEYS_H
#define AN_CLUSTER_TOKEN_KEYS_H

#include "cluster/config.h"
#include "core/token.h"

/* Adds those that are configured to what is there. AN_ERR_CONFIG: a file is not there, or
 * not the public key of its algorithm, or an id comes twice; *why names it. */
AN_MUST_USE enum an_err token_keys_load(struct an_token_keys *keys,
                                        const struct config *config, char *why,
                                        size_t why_len);

#endif
