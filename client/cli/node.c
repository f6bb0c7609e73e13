#include "client/cli/node.h"
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
    node->tcp = member(root, "tcp");
    node->control = member(root, "control");
    node->events = member(root, "events");
    node->app = member(root, "app");
    if (node->app == NULL) {
        node->app = strdup(AN_APP_DEFAULT);
    }
    if (node->tcp != NULL && node->app != NULL &&
        take_key(&node->key, json_object_get(root, "key"))) {
        err = AN_OK;
    }
    json_decref(root);
    return err;
}

void
cli_node_fini(struct cli_node *node)
{
    free(node->tcp);
    free(node->control);
    free(node->events);
    free(node->app);
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
