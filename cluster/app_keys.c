#include "cluster/app_keys.h"
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { ID_BYTES = 4, SECRET_BYTES = 32 };

bool
app_keys_add(struct an_app_keys *keys, const char *app)
{
    unsigned char id[ID_BYTES], secret[SECRET_BYTES];
    struct an_app_key *key = &keys->key[keys->count];

    if (keys->count == AN_APP_KEYS_MAX) {
        return false;
    }
    randombytes_buf(id, sizeof(id));
    randombytes_buf(secret, sizeof(secret));
    key->id[0] = 'a';
    sodium_bin2hex(key->id + 1, 2 * sizeof(id) + 1, id, sizeof(id));
    sodium_bin2base64(key->secret, sizeof(key->secret), secret, sizeof(secret),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(key->app, sizeof(key->app), "%s", app);
    sodium_memzero(secret, sizeof(secret));
    keys->count++;
    return true;
}

const struct an_app_key *
app_keys_find(const struct an_app_keys *keys, const char *app)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->key[i].app, app) == 0) {
            return &keys->key[i];
        }
    }
    return NULL;
}

static bool
take_text(const json_t *object, const char *name, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL && text[0] != '\0' &&
           (size_t)snprintf(out, cap, "%s", text) < cap;
}

bool
app_keys_take(struct an_app_keys *keys, const json_t *root)
{
    const json_t *list = json_object_get(root, "app_keys"), *one;
    size_t i;

    keys->count = 0;
    if (json_array_size(list) > AN_APP_KEYS_MAX) {
        return false;
    }
    json_array_foreach(list, i, one)
    {
        struct an_app_key *key = &keys->key[keys->count];

        if (!take_text(one, "id", key->id, sizeof(key->id)) ||
            !take_text(one, "secret", key->secret, sizeof(key->secret)) ||
            !take_text(one, "app", key->app, sizeof(key->app))) {
            return false;
        }
        keys->count++;
    }
    return true;
}

enum an_err
app_keys_read(struct an_app_keys *keys, const char *path, char *why, size_t why_len)
{
    json_error_t where;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    bool whole = root != NULL && app_keys_take(keys, root);

    json_decref(root);
    if (root == NULL) {
        snprintf(why, why_len, "%s:%d: %s", path, where.line, where.text);
        return AN_ERR_IO;
    }
    if (!whole) {
        snprintf(why, why_len, "%s: one of its app_keys has no id, secret or app", path);
        return AN_ERR_CORRUPT;
    }
    return AN_OK;
}

json_t *
app_keys_json(const struct an_app_keys *keys)
{
    json_t *list = json_array();

    for (size_t i = 0; i < keys->count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "id", keys->key[i].id,
                                              "secret", keys->key[i].secret, "app",
                                              keys->key[i].app));
    }
    return list;
}
