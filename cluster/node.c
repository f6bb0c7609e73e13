#include "cluster/node.h"
#include "actors/api/api.h"
#include "actors/gate/gate.h"
#include "actors/gate/gate_door.h"
#include "actors/idgen/idgen.h"
#include "actors/router/router.h"
#include "actors/sequencer/sequencer.h"
#include "actors/store/store.h"
#include "cluster/data_dir.h"
#include "cluster/node_file.h"
#include "core/log.h"
#include "core/runner_nng.h"
#include "core/topology.h"
#include "store/files.h"
#include "store/identity.h"
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    READY_MS = 30000, /* for one actor to get ready */
    STOP_MS = 5000,   /* for one actor to finish; the store applies its overlay */
    STOP_STORE_MS = 60000,
};

struct node {
    struct an_topology topology;
    struct an_token_keys keys;
    struct node_file file;
    struct an_runner *runner;
    struct an_door *new_door;   /* made, not yet given to the runner */
    const struct an_door *door; /* the runner's */
    char data[PATH_MAX];
    char run_dir[RUN_DIR_MAX];
    char address[NODE_URL_MAX];
    bool fresh;    /* no node.json was there */
    bool no_store; /* nor was a store made before */
    int lock_fd;
    char *why;
    size_t why_len;
};

static const struct an_addr start_order[] = {{AN_ROLE_STORE, 0},     {AN_ROLE_IDGEN, 0},
                                             {AN_ROLE_SEQUENCER, 0}, {AN_ROLE_ROUTER, 0},
                                             {AN_ROLE_API, 0},       {AN_ROLE_GATE, 0}};
static const struct an_addr stop_order[] = {{AN_ROLE_GATE, 0},      {AN_ROLE_API, 0},
                                            {AN_ROLE_SEQUENCER, 0}, {AN_ROLE_IDGEN, 0},
                                            {AN_ROLE_ROUTER, 0},    {AN_ROLE_STORE, 0}};
enum { ACTORS = sizeof(start_order) / sizeof(start_order[0]) };

static uint64_t
seed(void)
{
    uint64_t value;

    do {
        randombytes_buf(&value, sizeof(value));
    } while (value == 0); /* some are incarnations, which 0 is not */
    return value;
}

static void
log_line(void *who, int level, const char *line)
{
    an_log((enum an_log_level)level, who, "%s", line);
}

static void
note_phase(const char *what, struct timespec *since)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    an_log(AN_LOG_DEBUG, "node", "start: %s us=%lld", what,
           (long long)(now.tv_sec - since->tv_sec) * 1000000 +
               (now.tv_nsec - since->tv_nsec) / 1000);
    *since = now;
}

/* Nothing may be acknowledged any more, nor tidied up. */
static void
disk_failed(void *ctx, const char *why)
{
    (void)ctx;
    an_log(AN_LOG_ERROR, "store/0", "the disk broke its word, stopping: %s", why);
    _exit(an_err_exit_code(AN_ERR_IO));
}

/* ------------------------------------------------------------------ directories */

/* A store without node.json: neither its cluster's name nor its key may be made anew. */
static enum an_err
refuse_lost_file(struct node *node, const char *store_dir)
{
    struct identity found = {0};
    enum an_err err = identity_load(&found, store_files_posix(), store_dir);

    snprintf(node->why, node->why_len,
             "%s/node.json is missing, but %s holds the messages of cluster %s: put "
             "node.json back from a backup, or choose another --data for a new server",
             node->data, store_dir, err == AN_OK ? found.cluster_id : "(not readable)");
    return AN_ERR_CONFIG;
}

/* The key and the cluster's name of an earlier start, or fresh ones. */
static enum an_err
load_file(struct node *node)
{
    char store_dir[PATH_MAX + 8], path[PATH_MAX + 24];
    enum an_err err = node_file_read(&node->file, node->data, node->why, node->why_len);

    snprintf(store_dir, sizeof(store_dir), "%s/store", node->data);
    snprintf(path, sizeof(path), "%s/identity", store_dir);
    node->no_store = access(path, F_OK) != 0;
    if (err == AN_ERR_NOT_FOUND && !node->no_store) {
        return refuse_lost_file(node, store_dir);
    }
    if (err == AN_ERR_NOT_FOUND) {
        node_file_make(&node->file);
        node->fresh = true;
        err = AN_OK;
    } else if (err == AN_OK) {
        run_dir_remove(node->file.control); /* we hold the lock: its owner is dead */
    }
    node->keys.key[0] = node->file.key;
    node->keys.count = 1;
    return err;
}

static enum an_err
prepare_dirs(struct node *node, const struct config *config)
{
    enum an_err err =
        data_dir_hold(config->top_data, &node->lock_fd, node->why, node->why_len);

    if (err != AN_OK) {
        return err;
    }
    if (realpath(config->top_data, node->data) == NULL) {
        snprintf(node->why, node->why_len, "%s: no such path", config->top_data);
        return AN_ERR_IO;
    }
    err = load_file(node);
    if (err == AN_OK) {
        err = run_dir_make(node->run_dir, node->why, node->why_len);
    }
    return err;
}

/* What a client on this machine dials: an any-address is not one to dial. */
static void
local_address(const char *bound, char out[NODE_URL_MAX])
{
    if (strncmp(bound, "tcp://0.0.0.0:", 14) == 0) {
        snprintf(out, NODE_URL_MAX, "tcp://127.0.0.1:%s", bound + 14);
    } else if (strncmp(bound, "tcp://[::]:", 11) == 0) {
        snprintf(out, NODE_URL_MAX, "tcp://[::1]:%s", bound + 11);
    } else {
        snprintf(out, NODE_URL_MAX, "%s", bound);
    }
}

static enum an_err
write_file(struct node *node, const char *address)
{
    snprintf(node->address, sizeof(node->address), "%s", address);
    local_address(node->address, node->file.tcp);
    node->file.pid = (long)getpid();
    return node_file_write(&node->file, node->data, node->why, node->why_len);
}

/* ------------------------------------------------------------------ actors */

static enum an_err
make_store(struct node *node, const struct config *config, struct an_actor **out)
{
    char dir[PATH_MAX + 8];
    struct store_cfg cfg = {
        .topology = &node->topology,
        .seed = seed(),
        .engine = {.kind = strcmp(config->store_engine, "lmdb") == 0 ? ENGINE_LMDB
                                                                     : ENGINE_MEMORY,
                   .dir = dir,
                   .files = store_files_posix(),
                   .host = {.fatal = disk_failed},
                   .cluster_id = node->file.cluster,
                   .overlay_rows_max = config->store_overlay_rows_max,
                   .overlay_bytes_max = config->store_overlay_bytes_max,
                   .log_segment_bytes = config->store_log_segment_bytes,
                   .lmdb_map_bytes = config->store_lmdb_map_bytes},
        .dedupe_window_ms = config->sequencer_dedupe_window_ms,
        .page_items_max = (uint32_t)config->store_page_items_max};
    enum an_err err;

    snprintf(dir, sizeof(dir), "%s/store", node->data);
    err = data_dir_make(dir, node->why, node->why_len);
    return err == AN_OK ? store_create(out, &cfg, node->why, node->why_len) : err;
}

static enum an_err
make_sequencer(struct node *node, const struct config *config, struct an_actor **out)
{
    const struct sequencer_cfg cfg = {
        .topology = &node->topology,
        .seed = seed(),
        .dedupe_window_ms = config->sequencer_dedupe_window_ms,
        .dedupe_rows_max = (uint32_t)config->sequencer_dedupe_rows_max,
        .convs_max = (uint32_t)config->sequencer_convs_max,
        .pending_bytes_max = (uint32_t)config->sequencer_pending_bytes_max,
        .confirm_delay_ms = (uint32_t)config->sequencer_confirm_delay_ms};

    return sequencer_create(out, &cfg);
}

static enum an_err
make_gate(struct node *node, const struct config *config, struct an_actor **out)
{
    const struct gate_cfg cfg = {
        .topology = &node->topology,
        .seed = seed(),
        .keys = &node->keys,
        .conns_max = (uint32_t)config->gate_conns_max,
        .heartbeat_ms = (uint32_t)config->gate_heartbeat_ms,
        .idle_ms = (uint32_t)config->gate_idle_ms,
        .login_timeout_ms = (uint32_t)config->gate_login_timeout_ms,
        .output_bytes_max = (uint32_t)config->gate_output_bytes_max,
        .sends_max = (uint32_t)config->gate_sends_max};

    return gate_create(out, &cfg);
}

static enum an_err
make_idgen(struct node *node, const struct config *config, struct an_actor **out)
{
    const struct idgen_cfg cfg = {.topology = &node->topology,
                                  .seed = seed(),
                                  .worker = (uint16_t)config->idgen_worker,
                                  .reserve_ms = (uint32_t)config->idgen_reserve_ms,
                                  .segment = (uint32_t)config->idgen_segment};

    return idgen_create(out, &cfg);
}

static enum an_err
make_actor(struct node *node, const struct config *config, unsigned role,
           struct an_actor **out)
{
    const struct router_cfg router = {.topology = &node->topology,
                                      .seed = seed(),
                                      .heartbeat_ms =
                                          (uint32_t)config->gate_heartbeat_ms};
    const struct api_cfg api = {.topology = &node->topology, .seed = seed()};

    switch (role) {
    case AN_ROLE_STORE:
        return make_store(node, config, out);
    case AN_ROLE_IDGEN:
        return make_idgen(node, config, out);
    case AN_ROLE_SEQUENCER:
        return make_sequencer(node, config, out);
    case AN_ROLE_ROUTER:
        return router_create(out, &router);
    case AN_ROLE_API:
        return api_create(out, &api);
    case AN_ROLE_GATE:
        return make_gate(node, config, out);
    default:
        return AN_ERR_INTERNAL;
    }
}

/* Judges the listen address: before anything is made on the disk. */
static enum an_err
make_door(struct node *node, const struct config *config)
{
    static char who[] = "gate/0";
    const struct gate_door_cfg cfg = {.listen = {config->top_listen},
                                      .listen_count = 1,
                                      .log = log_line,
                                      .log_ctx = who};

    snprintf(node->why, node->why_len,
             "listen: '%s' is no tcp://HOST:PORT (HOST a number, or localhost)",
             config->top_listen);
    return gate_door_create(&node->new_door, &cfg);
}

static enum an_err
add_actor(struct node *node, const struct config *config, struct an_addr addr)
{
    struct an_door *door = addr.role == AN_ROLE_GATE ? node->new_door : NULL;
    struct an_actor *actor;
    enum an_err err;

    snprintf(node->why, node->why_len, "%s could not be made", an_role_name(addr.role));
    err = make_actor(node, config, addr.role, &actor);
    if (err != AN_OK) {
        return err;
    }
    if (door != NULL) {
        node->new_door = NULL; /* the runner's from here on, also when it fails */
    }
    err = an_runner_add(node->runner, actor, addr.index, door, node->why, node->why_len);
    if (err == AN_OK && door != NULL) {
        node->door = door;
    } else if (err == AN_ERR_CONNECTION && door != NULL) {
        snprintf(node->why, node->why_len, "cannot listen on %s", config->top_listen);
    }
    return err;
}

/* As they start. Before the first store is made the gate comes first: an address that
 * cannot be had then leaves none behind. A store that is there may take its time to open,
 * and clients had better be refused meanwhile than wait. */
static enum an_err
add_actors(struct node *node, const struct config *config, struct timespec *since)
{
    const size_t first = node->no_store ? ACTORS - 1 : 0;
    enum an_err err = AN_OK;

    for (size_t i = 0; err == AN_OK && i < ACTORS; i++) {
        struct an_addr addr = start_order[(first + i) % ACTORS];
        err = add_actor(node, config, addr);
        note_phase(an_role_name(addr.role), since);
    }
    return err;
}

static enum an_err
await_actor(struct node *node, struct an_addr addr)
{
    snprintf(node->why, node->why_len, "%s/%u did not get ready", an_role_name(addr.role),
             (unsigned)addr.index);
    return an_runner_wait_ready(node->runner, addr, READY_MS);
}

/* All at once, the gate last: what they ask of each other at the start waits for the
 * connection, and a gate that runs accepts clients. */
static enum an_err
start_actors(struct node *node)
{
    enum an_err err = AN_OK;

    snprintf(node->why, node->why_len, "an actor could not be started");
    for (size_t i = 0; err == AN_OK && i + 1 < ACTORS; i++) {
        err = an_runner_start(node->runner, start_order[i]);
    }
    for (size_t i = 0; err == AN_OK && i + 1 < ACTORS; i++) {
        err = await_actor(node, start_order[i]);
    }
    if (err == AN_OK) {
        err = an_runner_start(node->runner, start_order[ACTORS - 1]);
    }
    return err == AN_OK ? await_actor(node, start_order[ACTORS - 1]) : err;
}

static enum an_err
start_runner(struct node *node, const struct config *config)
{
    const struct an_runner_cfg cfg = {
        .cluster = node->file.cluster,
        .run_dir = node->run_dir,
        .bus = strcmp(config->top_bus, "ipc") == 0 ? AN_BUS_IPC : AN_BUS_INPROC,
        .topology = &node->topology,
        .control = node->file.control,
        .events = node->file.events};

    snprintf(node->file.control, sizeof(node->file.control), "ipc://%s/control",
             node->run_dir);
    snprintf(node->file.events, sizeof(node->file.events), "ipc://%s/events",
             node->run_dir);
    return an_runner_create(&node->runner, &cfg, node->why, node->why_len);
}

/* ------------------------------------------------------------------ start, stop */

static enum an_err
start_all(struct node *node, const struct config *config)
{
    struct timespec since;
    enum an_err err;

    clock_gettime(CLOCK_MONOTONIC, &since);
    err = make_door(node, config);
    if (err == AN_OK) {
        err = prepare_dirs(node, config);
    }
    note_phase("directories", &since);
    if (err == AN_OK) {
        err = start_runner(node, config);
    }
    note_phase("runner", &since);
    if (err == AN_OK && node->fresh) {
        /* Before the store takes the cluster's name: a start that ends in between would
         * leave a directory that no later one can own. */
        err = write_file(node, config->top_listen);
    }
    if (err == AN_OK) {
        err = add_actors(node, config, &since);
    }
    if (err == AN_OK) {
        err = write_file(node, node->door->ops->address(node->door, 0));
    }
    note_phase("node.json", &since);
    if (err == AN_OK) {
        err = start_actors(node);
    }
    note_phase("actors ready", &since);
    return err;
}

static void
node_free(struct node *node)
{
    if (node->new_door != NULL) {
        node->new_door->ops->destroy(node->new_door);
    }
    an_runner_destroy(node->runner);
    if (node->run_dir[0] != '\0') {
        run_dir_remove(node->run_dir);
    }
    if (node->lock_fd >= 0) {
        close(node->lock_fd);
    }
    node_file_fini(&node->file);
    sodium_memzero(&node->keys, sizeof(node->keys));
    free(node);
}

enum an_err
node_start(struct node **out, const struct config *config, char *why, size_t why_len)
{
    struct node *node = calloc(1, sizeof(*node));
    enum an_err err;

    snprintf(why, why_len, "out of memory");
    if (node == NULL || sodium_init() < 0) {
        free(node);
        return AN_ERR_NO_MEMORY;
    }
    node->lock_fd = -1;
    node->why = why;
    node->why_len = why_len;
    an_topology_single(&node->topology);
    err = start_all(node, config);
    if (err != AN_OK) {
        node_free(node);
        return err;
    }
    *out = node;
    return AN_OK;
}

const char *
node_address(const struct node *node)
{
    return node->address;
}

const char *
node_data(const struct node *node)
{
    return node->data;
}

void
node_stop(struct node *node)
{
    if (node == NULL) {
        return;
    }
    for (size_t i = 0; i < ACTORS; i++) {
        struct an_addr addr = stop_order[i];
        uint32_t timeout_ms = addr.role == AN_ROLE_STORE ? STOP_STORE_MS : STOP_MS;

        if (an_runner_stop(node->runner, addr, timeout_ms) != AN_OK) {
            an_log(AN_LOG_WARN, "node", "%s/%u did not stop in time timeout_ms=%u",
                   an_role_name(addr.role), (unsigned)addr.index, timeout_ms);
        }
    }
    node_free(node);
}
