/* A cluster file, read: which actors there are, on which hosts and in which processes,
 * who has which slots. docs/cluster-file.md has every key.
 *
 * Context: read once at start, constant afterwards. */
#ifndef AN_CLUSTER_PLAN_H
#define AN_CLUSTER_PLAN_H

#include "cluster/config.h"
#include "core/err.h"
#include "core/places.h"
#include "core/topology.h"
#include <stdbool.h>

enum {
    PLAN_NAME_MAX = 32,
    PLAN_LISTEN_MAX = 8, /* addresses of one gate */
    PLAN_ACTORS_MAX = 256,
    PLAN_BUS_PORT = 7500,   /* the first, where the file says none */
    PLAN_RUN_DIR_MAX = 108, /* holds any plan_run_dir */
};

struct plan_process {
    char name[PLAN_NAME_MAX + 1]; /* "front"; an actor alone: "gate-0" */
    uint16_t host;
};

struct plan_actor {
    struct an_addr addr;
    uint16_t host, process;
    char *listen[PLAN_LISTEN_MAX]; /* gate: "tls://0.0.0.0:7401"; api: "http://..." */
    unsigned listen_count;
    char *data;                     /* store: its directory */
    uint16_t slot_first, slot_last; /* store */
};

struct plan {
    char cluster[PLAN_NAME_MAX + 1];
    struct plan_actor *actors; /* in the file's order */
    unsigned actor_count;
    struct plan_process *processes;
    unsigned process_count;
    char *token_key;        /* file with the key of login tokens: {"key":{"id","secret"}};
                               any node.json is one; default keys/token.json */
    char *app;              /* of `anser user add`; default "default" */
    char *run_dir;          /* of this host's sockets; NULL: plan_run_dir() picks one */
    struct config settings; /* the same for every process */
    struct an_topology topology;
    struct an_places places;           /* certificates not filled in: plan_tls() */
    char *tls_ca, *tls_cert, *tls_key; /* with %h for the host's name; NULL: none */
};

/* AN_ERR_CONFIG: *why names file, line and key. AN_ERR_IO, AN_ERR_NO_MEMORY. Relative
 * paths in the file are relative to the file's directory. */
AN_MUST_USE enum an_err plan_load(struct plan **out, const char *path, char *why,
                                  size_t why_len);
/* As plan_load, from text; name stands for the file in *why, dir is what its paths are
 * relative to. */
AN_MUST_USE enum an_err plan_parse(struct plan **out, const char *name, const char *dir,
                                   const char *text, size_t len, char *why,
                                   size_t why_len);
/* text with each %h replaced by the host's name; false when it does not fit. */
bool plan_expand(const char *text, const char *host, char *out, size_t cap);
/* NULL is fine. */
void plan_free(struct plan *plan);

/* Where clients find what a gate listens on: any address of its host is the host's. The
 * caller's to free(). NULL for a port that only the running gate knows, and without
 * memory. */
char *plan_client_url(const struct an_host *host, const char *listen);
/* "gate/0": a role and its number; false: something else. */
bool plan_addr_parse(const char *text, struct an_addr *addr);
/* NULL when the plan has none such. */
const struct plan_actor *plan_actor_find(const struct plan *plan, struct an_addr addr);
/* The actor that an operator names. AN_ERR_ARGUMENT, AN_ERR_NOT_FOUND, with *why. */
AN_MUST_USE enum an_err plan_actor_parse(const struct plan *plan, const char *text,
                                         const struct plan_actor **out, char *why,
                                         size_t why_len);
/* Does it listen on an address that is covered so? */
bool plan_listens_with(const struct plan_actor *gate, enum an_cover cover);
/* This machine's host: by name when not NULL, else the only one, else the one with an
 * address of this machine. AN_ERR_CONFIG with *why. */
AN_MUST_USE enum an_err plan_host(const struct plan *plan, const char *name,
                                  uint16_t *host, char *why, size_t why_len);
/* Fills in places.ca, cert, key for this host, and sees that the files can be read.
 * Nothing to do for a plan of one host. */
AN_MUST_USE enum an_err plan_tls(struct plan *plan, uint16_t host, char *why,
                                 size_t why_len);
/* Where this host's sockets are: the file's `run`, else a directory that follows from
 * cluster and host, so that every command finds it. Not created here. */
void plan_run_dir(const struct plan *plan, uint16_t host, char *out, size_t len);
/* plan_run_dir into *out, and makes it (0700, its parents not) where it is not there.
 * AN_ERR_FORBIDDEN: it is another user's, or open to others; AN_ERR_IO,
 * AN_ERR_DISK_FULL; with *why. */
AN_MUST_USE enum an_err plan_run_dir_make(const struct plan *plan, uint16_t host,
                                          char *out, size_t len, char *why,
                                          size_t why_len);

#endif
