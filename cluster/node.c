#include "cluster/node.h"
#include "cluster/app_keys.h"
#include "cluster/data_dir.h"
#include "cluster/group.h"
#include "cluster/node_file.h"
#include "cluster/token_keys.h"
#include "core/log.h"
#include "core/runner_nng.h"
#include "store/files.h"
#include "store/identity.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    READY_MS = 30000, /* for the actors to get ready, and then for the gate */
    ACTORS = 6,
    GATE = 0, /* places in actors */
    API = 5,
};

struct node {
    struct plan plan; /* of one process; its texts are borrowed */
    struct plan_actor actors[ACTORS];
    struct an_token_keys keys;
    struct node_file file;
    struct group *group;
    char data[PATH_MAX];
    char store[PATH_MAX + 8];
    char run_dir[RUN_DIR_MAX];
    char *listen, *listen_http; /* the actors' texts of it */
    char noise_path[PATH_MAX];
    /* Those bound, with a space between. */
    char addresses[PLAN_LISTEN_MAX * NODE_URL_MAX];
    char http[PLAN_LISTEN_MAX * NODE_URL_MAX];
    bool fresh; /* no node.json was there */
    int lock_fd;
    char *why;
    size_t why_len;
};

/* ------------------------------------------------------------------ directories */

/* A store without node.json: neither its cluster's name nor its key may be made anew. */
static enum an_err
refuse_lost_file(struct node *node)
{
    struct identity found = {0};
    enum an_err err = identity_load(&found, store_files_posix(), node->store);

    snprintf(node->why, node->why_len,
             "%s/node.json is missing, but %s holds the messages of cluster %s: put "
             "node.json back from a backup, or choose another --data for a new server",
             node->data, node->store, err == AN_OK ? found.cluster_id : "(not readable)");
    return AN_ERR_CONFIG;
}

/* The key and the cluster's name of an earlier start, or fresh ones. */
static enum an_err
load_file(struct node *node)
{
    char path[PATH_MAX + 24];
    enum an_err err = node_file_read(&node->file, node->data, node->why, node->why_len);

    snprintf(node->store, sizeof(node->store), "%s/store", node->data);
    snprintf(path, sizeof(path), "%s/identity", node->store);
    if (err == AN_ERR_NOT_FOUND && access(path, F_OK) == 0) {
        return refuse_lost_file(node);
    }
    if (err == AN_ERR_NOT_FOUND) {
        node_file_make(&node->file);
        node->fresh = true;
        err = AN_OK;
    } else if (err == AN_OK) {
        run_dir_remove(node->file.control); /* we hold the lock: its owner is dead */
    }
    if (err == AN_OK && node->file.app_keys.count == 0) { /* of before there were any */
        app_keys_add(&node->file.app_keys, AN_APP_DEFAULT);
    }
    node->keys.key[0] = node->file.key;
    node->keys.count = 1;
    return err == AN_OK ? token_keys_load(&node->keys, &node->plan.settings, node->why,
                                          node->why_len)
                        : err;
}

static enum an_err
prepare_dirs(struct node *node)
{
    const char *data = node->plan.settings.top_data;
    enum an_err err = data_dir_hold(data, &node->lock_fd, node->why, node->why_len);

    if (err != AN_OK) {
        return err;
    }
    if (realpath(data, node->data) == NULL) {
        snprintf(node->why, node->why_len, "%s: no such path", data);
        return AN_ERR_IO;
    }
    err = load_file(node);
    if (err == AN_OK) {
        err = run_dir_make(node->run_dir, node->why, node->why_len);
    }
    snprintf(node->file.control, sizeof(node->file.control), "ipc://%s/control",
             node->run_dir);
    snprintf(node->file.events, sizeof(node->file.events), "ipc://%s/events",
             node->run_dir);
    return err;
}

/* What a client on this machine dials: an any-address is not one to dial. */
static void
local_address(const struct an_listen *bound, char out[NODE_URL_MAX])
{
    char url[AN_LISTEN_TEXT_MAX];

    an_listen_print(bound, url, sizeof(url));
    if (an_listen_is_any(bound)) {
        snprintf(out, NODE_URL_MAX, "%s://%s:%u", an_scheme_name(bound->scheme),
                 bound->at.ss_family == AF_INET6 ? "[::1]" : "127.0.0.1",
                 (unsigned)an_listen_port(bound));
    } else {
        snprintf(out, NODE_URL_MAX, "%s", url);
    }
}

/* A door's address for commands of this machine: plain before Noise, whose key they find,
 * before TLS, which they would have to be told a CA for, before WebSocket, which they do
 * not speak. */
static unsigned
ease(const struct an_listen *listen)
{
    static const unsigned covers[] = {
        [AN_COVER_NONE] = 0, [AN_COVER_NOISE] = 1, [AN_COVER_TLS] = 2};

    return 3u * an_scheme_is_web(listen->scheme) +
           covers[an_scheme_cover(listen->scheme)];
}

/* The api's addresses; the group has them behind the gate's. */
static void
write_http(struct node *node, bool bound)
{
    const struct plan_actor *api = &node->actors[API];
    size_t len = 0;

    for (unsigned i = 0; i < api->listen_count; i++) {
        unsigned behind = node->actors[GATE].listen_count;

        len += (size_t)snprintf(
            node->http + len, sizeof(node->http) - len, "%s%s", i == 0 ? "" : " ",
            bound ? group_address(node->group, behind + i) : api->listen[i]);
    }
}

/* bound: as they are; else as they were asked for. */
static enum an_err
write_file(struct node *node, bool bound)
{
    const struct plan_actor *gate = &node->actors[GATE];
    struct an_listen best = {0};
    size_t len = 0;

    for (unsigned i = 0; i < gate->listen_count; i++) {
        const char *url = bound ? group_address(node->group, i) : gate->listen[i];
        struct an_listen listen;
        bool good = an_listen_parse(&listen, url);

        assert(good); /* the group has judged them */
        if (i == 0 || ease(&listen) < ease(&best)) {
            best = listen;
        }
        len += (size_t)snprintf(node->addresses + len, sizeof(node->addresses) - len,
                                "%s%s", i == 0 ? "" : " ", url);
    }
    write_http(node, bound);
    local_address(&best, node->file.tcp);
    node->file.pid = (long)getpid();
    return node_file_write(&node->file, node->data, node->why, node->why_len);
}

/* ------------------------------------------------------------------ the plan */

/* "tcp://127.0.0.1:7400,tls://0.0.0.0:7401" in parts. */
static enum an_err
split_listen(struct node *node, struct plan_actor *actor, char **own, const char *all)
{
    *own = strdup(all);
    return *own == NULL
               ? AN_ERR_NO_MEMORY
               : config_split_listen(*own, actor->listen, PLAN_LISTEN_MAX,
                                     &actor->listen_count, node->why, node->why_len);
}

/* One of each actor, in one process. */
static enum an_err
make_plan(struct node *node, const struct config *config)
{
    static const uint8_t roles[ACTORS] = {AN_ROLE_GATE,      AN_ROLE_ROUTER,
                                          AN_ROLE_SEQUENCER, AN_ROLE_STORE,
                                          AN_ROLE_IDGEN,     AN_ROLE_API};
    enum an_err err;

    node->plan.settings = *config; /* its texts stay the caller's */
    node->plan.actors = node->actors;
    node->plan.actor_count = ACTORS;
    an_topology_single(&node->plan.topology);
    for (unsigned i = 0; i < ACTORS; i++) {
        node->actors[i].addr = (struct an_addr){roles[i], 0};
    }
    node->actors[3].data = node->store;
    node->actors[3].slot_last = AN_SLOTS - 1;
    err = split_listen(node, &node->actors[GATE], &node->listen, config->top_listen);
    if (err == AN_OK && node->actors[GATE].listen_count == 0) {
        snprintf(node->why, node->why_len, "listen: no address");
        err = AN_ERR_CONFIG;
    }
    return err == AN_OK ? split_listen(node, &node->actors[API], &node->listen_http,
                                       config->api_listen)
                        : err;
}

static enum an_err
make_group(struct node *node)
{
    const struct plan_actor *all[ACTORS];
    const struct group_cfg cfg = {.plan = &node->plan,
                                  .actors = all,
                                  .actor_count = ACTORS,
                                  .keys = &node->keys,
                                  .app_keys = &node->file.app_keys,
                                  .who = "node"};

    for (unsigned i = 0; i < ACTORS; i++) {
        all[i] = &node->actors[i];
    }
    return group_create(&node->group, &cfg, node->why, node->why_len);
}

static enum an_err
open_group(struct node *node)
{
    const struct an_runner_cfg cfg = {
        .cluster = node->file.cluster,
        .run_dir = node->run_dir,
        .bus =
            strcmp(node->plan.settings.top_bus, "ipc") == 0 ? AN_BUS_IPC : AN_BUS_INPROC,
        .control = node->file.control,
        .events = node->file.events};

    snprintf(node->plan.cluster, sizeof(node->plan.cluster), "%s", node->file.cluster);
    return group_open(node->group, &cfg, node->why, node->why_len);
}

/* All at once, the gate last: what they ask of each other at the start waits for the
 * connection, and a gate that runs accepts clients. */
static enum an_err
start_group(struct node *node)
{
    enum an_err err = group_start(node->group, GROUP_OTHERS, node->why, node->why_len);

    if (err == AN_OK) {
        err = group_await(node->group, READY_MS, node->why, node->why_len);
    }
    if (err == AN_OK) {
        err = group_start(node->group, GROUP_GATES, node->why, node->why_len);
    }
    return err == AN_OK ? group_await(node->group, READY_MS, node->why, node->why_len)
                        : err;
}

/* ------------------------------------------------------------------ start, stop */

/* DIR/noise.json unless the configuration names another. */
static enum an_err
find_noise(struct node *node)
{
    struct config *settings = &node->plan.settings;
    int len;

    if (settings->gate_noise_key[0] != '\0') {
        return AN_OK;
    }
    len =
        snprintf(node->noise_path, sizeof(node->noise_path), "%s/noise.json", node->data);
    if (len < 0 || (size_t)len >= sizeof(node->noise_path)) {
        snprintf(node->why, node->why_len, "%s: too long", node->data);
        return AN_ERR_CONFIG;
    }
    settings->gate_noise_key = node->noise_path;
    return AN_OK;
}

/* Another key than the one that clients have pinned locks them out: one that is lost is
 * not made anew. */
static enum an_err
take_noise(struct node *node, const char *path)
{
    struct an_noise_key key = {0};
    char *known = node->file.noise, public[AN_NOISE_TEXT_MAX];
    bool made = false;
    enum an_err err;

    if (known[0] != '\0' && access(path, F_OK) != 0 && errno == ENOENT) {
        snprintf(node->why, node->why_len,
                 "%s is missing, but clients may have pinned its key, %s: put it back "
                 "from a backup, or take noise_key out of %s/node.json for a new one",
                 path, known, node->data);
        return AN_ERR_CONFIG;
    }
    err = node_noise_take(&key, path, &made, node->why, node->why_len);
    an_noise_key_print(key.public, public);
    an_noise_wipe(&key, sizeof(key));
    if (err != AN_OK) {
        return err;
    }
    if (known[0] != '\0' && strcmp(known, public) != 0) {
        an_log(AN_LOG_WARN, "node", "the noise key is another than before: was=%s",
               known);
    }
    memcpy(known, public, sizeof(public));
    an_log(AN_LOG_INFO, "node", "noise key %s public=%s", made ? "made" : "kept", public);
    return AN_OK;
}

/* The group judges the address before anything is made, but a key of Noise has to be
 * there by then. */
static enum an_err
prepare_all(struct node *node)
{
    enum an_err err;

    if (!plan_listens_with(&node->actors[0], AN_COVER_NOISE)) {
        err = make_group(node);
        return err == AN_OK ? prepare_dirs(node) : err;
    }
    err = prepare_dirs(node);
    if (err == AN_OK) {
        err = find_noise(node);
    }
    if (err == AN_OK) {
        err = take_noise(node, node->plan.settings.gate_noise_key);
    }
    return err == AN_OK ? make_group(node) : err;
}

static enum an_err
start_all(struct node *node)
{
    enum an_err err = prepare_all(node);

    if (err == AN_OK && node->fresh) {
        /* Before the store takes the cluster's name: a start that ends in between would
         * leave a directory that no later one can own. */
        err = write_file(node, false);
    }
    if (err == AN_OK) {
        err = open_group(node);
    }
    if (err == AN_OK) {
        err = write_file(node, true);
    }
    return err == AN_OK ? start_group(node) : err;
}

static bool
node_free(struct node *node)
{
    bool ended = group_destroy(node->group);

    if (node->run_dir[0] != '\0') {
        run_dir_remove(node->run_dir);
    }
    if (node->lock_fd >= 0) {
        close(node->lock_fd);
    }
    node_file_fini(&node->file);
    sodium_memzero(&node->keys, sizeof(node->keys));
    if (ended) {
        free(node->listen);
        free(node->listen_http);
        free(node); /* else the runner still has its topology */
    }
    return ended;
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
    err = make_plan(node, config);
    if (err == AN_OK) {
        err = start_all(node);
    }
    if (err != AN_OK) {
        if (!node_free(node)) {
            an_log(AN_LOG_ERROR, "node", "%s", why);
            _exit(an_err_exit_code(err));
        }
        return err;
    }
    *out = node;
    return AN_OK;
}

const char *
node_address(const struct node *node)
{
    return node->addresses;
}

const char *
node_http(const struct node *node)
{
    return node->http;
}

const char *
node_data(const struct node *node)
{
    return node->data;
}

enum an_err
node_reload(struct node *node, char *why, size_t why_len)
{
    return group_reload(node->group, why, why_len);
}

bool
node_stop(struct node *node)
{
    if (node == NULL) {
        return true;
    }
    group_stop(node->group);
    return node_free(node);
}
