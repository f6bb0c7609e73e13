/* DIR/node.json (0600): what a node tells the commands of its own machine, and the one
 * place where its key is kept. Written whole, atomically, at every start.
 *
 *   {"version":1, "cluster":"...", "pid":1, "tcp":"tcp://127.0.0.1:7400",
 *    "control":"ipc://...", "events":"ipc://...", "app":"default",
 *    "key":{"id":"...", "secret":"base64url"},
 *    "noise_key":"base64url, the public half, once it has listened with Noise"}
 *
 * DIR/noise.json (0600): the key of its Noise door, made when it is first listened on:
 *   {"noise":{"public":"base64url", "secret":"base64url"}} */
#ifndef AN_CLUSTER_NODE_FILE_H
#define AN_CLUSTER_NODE_FILE_H

#include "core/app_key.h"
#include "core/err.h"
#include "core/noise.h"
#include "core/token.h"
#include <stdbool.h>
#include <stddef.h>

enum { NODE_URL_MAX = 160, NODE_CLUSTER_LEN = 16 };

struct node_file {
    char cluster[NODE_CLUSTER_LEN + 1]; /* hex */
    long pid;                           /* of the process that wrote it */
    char tcp[NODE_URL_MAX];             /* where a client of this machine connects */
    char control[NODE_URL_MAX];
    char events[NODE_URL_MAX];
    struct an_token_key key;
    struct an_app_keys app_keys;
    char noise[AN_NOISE_TEXT_MAX]; /* public; empty: it never had such a door */
};

/* A fresh cluster id, a fresh key and one of the default app's back end; nothing else
 * set. */
void node_file_make(struct node_file *file);
/* AN_ERR_NOT_FOUND: there is none. AN_ERR_CORRUPT, AN_ERR_IO, with *why. */
AN_MUST_USE enum an_err node_file_read(struct node_file *file, const char *dir, char *why,
                                       size_t why_len);
/* The "key" of a node.json, or of any JSON file with {"key":{"id","secret"}}; a
 * "check" beside them must fit.
 * AN_ERR_NOT_FOUND, AN_ERR_CORRUPT, AN_ERR_IO, with *why. */
AN_MUST_USE enum an_err node_key_read(struct an_token_key *key, const char *path,
                                      char *why, size_t why_len);
/* A fresh key, and a file (0600) for node_key_read with nothing else in it but a fresh
 * key of the default app's back end. Errors as node_file_write. */
void node_key_make(struct an_token_key *key);
AN_MUST_USE enum an_err node_key_write(const struct an_token_key *key, const char *path,
                                       char *why, size_t why_len);
/* A file with a Noise key, whose halves must belong together. AN_ERR_NOT_FOUND,
 * AN_ERR_CORRUPT, AN_ERR_IO, with *why. */
AN_MUST_USE enum an_err node_noise_read(struct an_noise_key *key, const char *path,
                                        char *why, size_t why_len);
/* The same; makes it (0600) where there is none: *made. Errors of node_file_write too. */
AN_MUST_USE enum an_err node_noise_take(struct an_noise_key *key, const char *path,
                                        bool *made, char *why, size_t why_len);
/* Replaces it durably. AN_ERR_IO, AN_ERR_DISK_FULL, AN_ERR_NO_MEMORY, with *why. */
AN_MUST_USE enum an_err node_file_write(const struct node_file *file, const char *dir,
                                        char *why, size_t why_len);
/* Wipes the key. */
void node_file_fini(struct node_file *file);

#endif
