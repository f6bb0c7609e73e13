/* Keys of applications' back ends, in node.json or the token key's file of a cluster:
 *
 *   "app_keys": [{"id":"a1b2c3d4", "secret":"base64url", "app":"default"}, ...]
 *
 * Context: any thread. */
#ifndef AN_CLUSTER_APP_KEYS_H
#define AN_CLUSTER_APP_KEYS_H

#include "core/app_key.h"
#include "core/err.h"
#include <jansson.h>
#include <stdbool.h>

/* Adds a fresh one; false: there are as many as may be. */
bool app_keys_add(struct an_app_keys *keys, const char *app);
/* The first of an app; NULL. */
const struct an_app_key *app_keys_find(const struct an_app_keys *keys, const char *app);
/* Those of a file's JSON; none is fine. False: one is not whole. */
bool app_keys_take(struct an_app_keys *keys, const json_t *root);
/* Those of a file. AN_ERR_IO, AN_ERR_CORRUPT, with *why. */
AN_MUST_USE enum an_err app_keys_read(struct an_app_keys *keys, const char *path,
                                      char *why, size_t why_len);
/* For the file. NULL without memory. */
json_t *app_keys_json(const struct an_app_keys *keys);

#endif
