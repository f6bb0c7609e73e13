#include "cluster/node_file.h"
#include "cluster/app_keys.h"
#include "cluster/file.h"
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_MAX_LEN = 4096, VERSION = 1, KEY_ID_BYTES = 4, CHECK_BYTES = 8 };

static const int BASE64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

void
node_key_make(struct an_token_key *key)
{
    unsigned char id[KEY_ID_BYTES];

    *key = (struct an_token_key){.id = "k"};
    randombytes_buf(id, sizeof(id));
    sodium_bin2hex(key->id + 1, 2 * sizeof(id) + 1, id, sizeof(id));
    randombytes_buf(key->secret, sizeof(key->secret));
}

void
node_file_make(struct node_file *file)
{
    unsigned char cluster[NODE_CLUSTER_LEN / 2];

    *file = (struct node_file){0};
    randombytes_buf(cluster, sizeof(cluster));
    sodium_bin2hex(file->cluster, sizeof(file->cluster), cluster, sizeof(cluster));
    node_key_make(&file->key);
    app_keys_add(&file->app_keys, AN_APP_DEFAULT);
}

void
node_file_fini(struct node_file *file)
{
    sodium_memzero(file, sizeof(*file));
}

/* ------------------------------------------------------------------ reading */

/* False: missing, or longer than it may be. */
static bool
take_text(const json_t *object, const char *key, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL && (size_t)snprintf(out, cap, "%s", text) < cap;
}

/* What a key's text says of itself: a key with a flipped bit would be a good key, and
 * every token given out before would be refused without anybody knowing why. */
static void
key_check(const struct an_token_key *key, char out[2 * CHECK_BYTES + 1])
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    crypto_generichash_update(&state, (const unsigned char *)key->id,
                              strlen(key->id) + 1);
    crypto_generichash_update(&state, key->secret, sizeof(key->secret));
    crypto_generichash_final(&state, hash, sizeof(hash));
    sodium_bin2hex(out, 2 * CHECK_BYTES + 1, hash, CHECK_BYTES);
}

/* A key without a check was written by hand. */
static bool
check_fits(const json_t *object, const struct an_token_key *key)
{
    const json_t *found = json_object_get(object, "check");
    char wanted[2 * CHECK_BYTES + 1];

    key_check(key, wanted);
    return found == NULL ||
           (json_is_string(found) && strcmp(json_string_value(found), wanted) == 0);
}

static bool
take_key(const json_t *root, struct an_token_key *key)
{
    const json_t *object = json_object_get(root, "key");
    const char *secret = json_string_value(json_object_get(object, "secret"));
    size_t len = 0;

    return take_text(object, "id", key->id, sizeof(key->id)) && secret != NULL &&
           sodium_base642bin(key->secret, sizeof(key->secret), secret, strlen(secret),
                             NULL, &len, NULL, BASE64) == 0 &&
           len == sizeof(key->secret) && check_fits(object, key);
}

/* The file's JSON; NULL: *err and *why say what is wrong. */
static json_t *
load(const char *path, enum an_err *err, char *why, size_t why_len)
{
    json_error_t where;
    json_t *root;

    if (access(path, F_OK) != 0 && errno == ENOENT) {
        snprintf(why, why_len, "%s: there is none", path);
        *err = AN_ERR_NOT_FOUND;
        return NULL;
    }
    root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        snprintf(why, why_len, "%s:%d: %s", path, where.line, where.text);
        *err = json_error_code(&where) == json_error_cannot_open_file ? AN_ERR_IO
                                                                      : AN_ERR_CORRUPT;
    }
    return root;
}

enum an_err
node_file_read(struct node_file *file, const char *dir, char *why, size_t why_len)
{
    char path[PATH_MAX_LEN];
    enum an_err err;
    json_t *root;
    bool whole;

    snprintf(path, sizeof(path), "%s/node.json", dir);
    root = load(path, &err, why, why_len);
    if (root == NULL) {
        return err;
    }
    *file = (struct node_file){0};
    file->pid = (long)json_integer_value(json_object_get(root, "pid"));
    whole = json_integer_value(json_object_get(root, "version")) == VERSION &&
            take_text(root, "cluster", file->cluster, sizeof(file->cluster)) &&
            take_text(root, "tcp", file->tcp, sizeof(file->tcp)) &&
            take_text(root, "control", file->control, sizeof(file->control)) &&
            take_text(root, "events", file->events, sizeof(file->events)) &&
            take_key(root, &file->key) && app_keys_take(&file->app_keys, root);
    (void)take_text(root, "noise_key", file->noise, sizeof(file->noise));
    json_decref(root);
    if (!whole) {
        snprintf(why, why_len, "%s: not what version %d of it holds", path, VERSION);
        return AN_ERR_CORRUPT;
    }
    return AN_OK;
}

enum an_err
node_key_read(struct an_token_key *key, const char *path, char *why, size_t why_len)
{
    enum an_err err;
    json_t *root = load(path, &err, why, why_len);
    bool whole;

    if (root == NULL && err == AN_ERR_NOT_FOUND) {
        snprintf(why, why_len, "%s: there is none; `anser cluster keygen` makes it",
                 path);
    }
    if (root == NULL) {
        return err;
    }
    whole = take_key(root, key);
    json_decref(root);
    if (!whole) {
        snprintf(why, why_len,
                 "%s: has no key with an id, a secret of 32 bytes and its check", path);
        return AN_ERR_CORRUPT;
    }
    return AN_OK;
}

static bool
take_noise(const json_t *root, struct an_noise_key *key)
{
    const json_t *object = json_object_get(root, "noise");
    const char *secret = json_string_value(json_object_get(object, "secret"));
    const char *public = json_string_value(json_object_get(object, "public"));
    uint8_t wanted[AN_NOISE_KEY_LEN];

    if (secret == NULL || public == NULL || !an_noise_key_parse(key->secret, secret) ||
        !an_noise_key_parse(wanted, public)) {
        return false;
    }
    an_noise_key_complete(key);
    return memcmp(wanted, key->public, sizeof(wanted)) == 0; /* no flipped bit */
}

enum an_err
node_noise_read(struct an_noise_key *key, const char *path, char *why, size_t why_len)
{
    enum an_err err;
    json_t *root = load(path, &err, why, why_len);
    bool whole;

    if (root == NULL) {
        return err;
    }
    whole = take_noise(root, key);
    json_decref(root);
    if (!whole) {
        snprintf(why, why_len, "%s: has no noise key with a secret and its public half",
                 path);
        return AN_ERR_CORRUPT;
    }
    return AN_OK;
}

/* ------------------------------------------------------------------ writing */

static json_t *
key_json(const struct an_token_key *key)
{
    char secret[64], check[2 * CHECK_BYTES + 1];
    json_t *object;

    sodium_bin2base64(secret, sizeof(secret), key->secret, sizeof(key->secret), BASE64);
    key_check(key, check);
    object =
        json_pack("{s:s, s:s, s:s}", "id", key->id, "secret", secret, "check", check);
    sodium_memzero(secret, sizeof(secret));
    return object;
}

static char *
make_text(const struct node_file *file)
{
    json_t *root = json_pack(
        "{s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:o}", "version", VERSION, "cluster",
        file->cluster, "pid", (int)file->pid, "tcp", file->tcp, "control", file->control,
        "events", file->events, "app", AN_APP_DEFAULT, "key", key_json(&file->key),
        "app_keys", app_keys_json(&file->app_keys));
    char *text = NULL;

    if (root != NULL &&
        (file->noise[0] == '\0' ||
         json_object_set_new(root, "noise_key", json_string(file->noise)) == 0)) {
        text = json_dumps(root, JSON_INDENT(2));
    }
    json_decref(root);
    return text;
}

/* Takes the text, which holds a key. */
static enum an_err
write_text(char *text, const char *path, char *why, size_t why_len)
{
    enum an_err err;

    if (text == NULL) {
        snprintf(why, why_len, "out of memory");
        return AN_ERR_NO_MEMORY;
    }
    err = file_replace(path, 0600, text, strlen(text), why, why_len);
    sodium_memzero(text, strlen(text));
    free(text);
    return err;
}

enum an_err
node_file_write(const struct node_file *file, const char *dir, char *why, size_t why_len)
{
    char path[PATH_MAX_LEN];

    snprintf(path, sizeof(path), "%s/node.json", dir);
    return write_text(make_text(file), path, why, why_len);
}

enum an_err
node_key_write(const struct an_token_key *key, const char *path, char *why,
               size_t why_len)
{
    struct an_app_keys *app_keys = calloc(1, sizeof(*app_keys));
    bool made = app_keys != NULL && app_keys_add(app_keys, AN_APP_DEFAULT);
    json_t *root = made ? json_pack("{s:o, s:o}", "key", key_json(key), "app_keys",
                                    app_keys_json(app_keys))
                        : NULL;
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2));

    json_decref(root);
    free(app_keys);
    return write_text(text, path, why, why_len);
}

enum an_err
node_noise_take(struct an_noise_key *key, const char *path, bool *made, char *why,
                size_t why_len)
{
    char secret[AN_NOISE_TEXT_MAX], public[AN_NOISE_TEXT_MAX];
    enum an_err err = node_noise_read(key, path, why, why_len);
    json_t *root;
    char *text;

    *made = err == AN_ERR_NOT_FOUND;
    if (!*made) {
        return err;
    }
    an_noise_key_make(key);
    an_noise_key_print(key->secret, secret);
    an_noise_key_print(key->public, public);
    root = json_pack("{s:{s:s, s:s}}", "noise", "public", public, "secret", secret);
    sodium_memzero(secret, sizeof(secret));
    text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    return write_text(text, path, why, why_len);
}
