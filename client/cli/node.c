#include "client/cli/node.h"
#include "client/cli/args.h"
#include "cluster/node_file.h"
#include "cluster/plan.h"
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A copy of the string member, or NULL when it is not there. */
static char *
member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? NULL : strdup(text);
}

static bool
take_key(struct an_token_key *key, const json_t *in)
{
    const char *id = json_string_value(json_object_get(in, "id"));
    const char *secret = json_string_value(json_object_get(in, "secret"));
    size_t len = 0;

    if (id == NULL || secret == NULL || strlen(id) > AN_NAME_LEN_MAX) {
        return false;
    }
    memcpy(key->id, id, strlen(id) + 1);
    return sodium_base642bin(key->secret, sizeof(key->secret), secret, strlen(secret),
                             "=", &len, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           len == sizeof(key->secret);
}

enum an_err
cli_node_load(struct cli_node *node, const char *dir)
{
    char path[PATH_MAX];
    json_t *root = NULL;
    json_error_t why;
    enum an_err err = AN_ERR_CONFIG;
    int n = snprintf(path, sizeof(path), "%s/node.json", dir);

    if (n < 0 || (size_t)n >= sizeof(path)) {
        return AN_ERR_ARGUMENT;
    }
    if (access(path, R_OK) != 0) {
        return errno == ENOENT || errno == ENOTDIR ? AN_ERR_CONNECTION : AN_ERR_IO;
    }
    root = json_load_file(path, 0, &why);
    if (root == NULL) {
        return AN_ERR_CONFIG;
    }
    node->tcp[0] = member(root, "tcp");
    node->tcp_count = node->tcp[0] != NULL;
    node->control = member(root, "control");
    node->events = member(root, "events");
    node->app = member(root, "app");
    node->server_key = member(root, "noise_key");
    if (node->app == NULL) {
        node->app = strdup(AN_APP_DEFAULT);
    }
    if (node->tcp_count > 0 && node->app != NULL &&
        take_key(&node->key, json_object_get(root, "key"))) {
        err = AN_OK;
    }
    json_decref(root);
    return err;
}

/* ------------------------------------------------------------------ cluster files */

/* Of this host, or of all others. */
static void
take_gates(struct cli_node *node, const struct plan *plan, uint16_t host, bool own)
{
    for (unsigned i = 0; i < plan->actor_count; i++) {
        const struct plan_actor *actor = &plan->actors[i];
        bool wanted = actor->addr.role == AN_ROLE_GATE && (actor->host == host) == own;

        for (unsigned k = 0; wanted && k < actor->listen_count; k++) {
            char *url =
                plan_client_url(&plan->places.hosts[actor->host], actor->listen[k]);

            /* The library speaks no WebSocket, and no Noise without a key. */
            if (url != NULL && strncmp(url, "ws", 2) != 0 &&
                (strncmp(url, "noise", 5) != 0 || node->server_key != NULL) &&
                node->tcp_count < CLI_ADDRESSES_MAX) {
                node->tcp[node->tcp_count++] = url;
            } else {
                free(url);
            }
        }
    }
}

/* The public half of the gates' key; those of other hosts have the same, or are pinned by
 * hand. Without the file its doors cannot be used from here: that is said then. */
static void
take_server_key(struct cli_node *node, const struct plan *plan, uint16_t host)
{
    const char *file = plan->settings.gate_noise_key;
    char path[AN_PATH_LEN_MAX], why[256];
    struct an_noise_key key;

    if (file[0] != '\0' &&
        plan_expand(file, plan->places.hosts[host == AN_HOST_NONE ? 0 : host].name, path,
                    sizeof(path)) &&
        node_noise_read(&key, path, why, sizeof(why)) == AN_OK) {
        node->server_key = malloc(AN_NOISE_TEXT_MAX);
        if (node->server_key != NULL) {
            an_noise_key_print(key.public, node->server_key);
        }
        an_noise_wipe(&key, sizeof(key));
    }
}

enum an_err
cli_node_load_cluster(struct cli_node *node, const char *file, const char *host,
                      char *why, size_t why_len)
{
    struct plan *plan = NULL;
    uint16_t here = AN_HOST_NONE;
    enum an_err err = plan_load(&plan, file, why, why_len);

    if (err == AN_OK && host != NULL) {
        err = plan_host(plan, host, &here, why, why_len);
    }
    if (err == AN_OK) {
        err = node_key_read(&node->key, plan->token_key, why, why_len);
        err = err == AN_ERR_NOT_FOUND ? AN_ERR_CONFIG : err;
    }
    if (err == AN_OK) {
        node->app = strdup(plan->app == NULL ? AN_APP_DEFAULT : plan->app);
        take_server_key(node, plan, here);
        take_gates(node, plan, here, true);
        take_gates(node, plan, here, false);
        err = node->app == NULL ? AN_ERR_NO_MEMORY : AN_OK;
    }
    if (err == AN_OK && node->tcp_count == 0) {
        snprintf(why, why_len, "%s: no gate listens where a client could find it", file);
        err = AN_ERR_CONFIG;
    }
    plan_free(plan);
    return err;
}

const char *
cli_cluster_file(const char *given, const char *data)
{
    const char *env = getenv("ANSER_CLUSTER");

    if (given != NULL || data != NULL) {
        return given;
    }
    return env != NULL && env[0] != '\0' ? env : NULL;
}

int
cli_node_open(struct cli_node *node, const char *command, const char *cluster,
              const char *host, const char *data)
{
    const char *file = cli_cluster_file(cluster, data), *dir = cli_data_dir(data);
    char why[1024] = "";
    enum an_err err;

    if (file != NULL) {
        err = cli_node_load_cluster(node, file, host, why, sizeof(why));
        return err == AN_OK ? -1 : cli_fail(err, command, why[0] == '\0' ? NULL : why);
    }
    err = cli_node_load(node, dir);
    if (err == AN_OK) {
        return -1;
    }
    if (err == AN_ERR_CONNECTION) {
        snprintf(why, sizeof(why), "no node is running in %s", dir);
    } else {
        snprintf(why, sizeof(why), "%s/node.json: %s", dir, an_err_text(err));
    }
    return cli_fail(err, command, why);
}

/* ------------------------------------------------------------------ the rest */

void
cli_node_fini(struct cli_node *node)
{
    for (size_t i = 0; i < node->tcp_count; i++) {
        free(node->tcp[i]);
    }
    free(node->control);
    free(node->events);
    free(node->app);
    free(node->server_key);
    sodium_memzero(&node->key, sizeof(node->key));
    *node = (struct cli_node){0};
}

enum an_err
cli_node_token(char **out, const struct cli_node *node, const char *user, uint64_t ttl_ms)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return an_token_mint(out, &node->key, node->app, user,
                         (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
                         ttl_ms);
}
