#include "cluster/config.h"
#include "proto/names.h"
#include <stdlib.h>
#include <string.h>

static enum an_err
take_login(struct an_app *app, struct an_yaml_at at)
{
#define WORD(NAME, word) [AN_LOGIN_##NAME] = #word,
    static const char *const words[] = {AN_LOGIN_POLICIES(WORD)};
#undef WORD
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    if (err != AN_OK) {
        return err;
    }
    for (unsigned i = 0; i < AN_LOGIN_POLICY_COUNT; i++) {
        if (strcmp(text, words[i]) == 0) {
            app->login = (enum an_login_policy)i;
            return AN_OK;
        }
    }
    return an_yaml_refuse(at, "'%.40s' is none of single|double|triple|multi", text);
}

static enum an_err
take_register(struct an_app *app, struct an_yaml_at at)
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    if (err != AN_OK) {
        return err;
    }
    if (strcmp(text, "open") != 0 && strcmp(text, "closed") != 0) {
        return an_yaml_refuse(at, "'%.40s' is none of open|closed", text);
    }
    app->registers = text[0] == 'o' ? AN_REGISTER_OPEN : AN_REGISTER_CLOSED;
    return AN_OK;
}

static enum an_err
take_name(const struct an_apps *apps, struct an_app *app, struct an_yaml_at at)
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    if (err != AN_OK) {
        return err;
    }
    if (strlen(text) > AN_NAME_LEN_MAX ||
        !an_name_valid((const uint8_t *)text, strlen(text))) {
        return an_yaml_refuse(at, "'%.40s' is no name", text);
    }
    for (size_t i = 0; i < apps->count; i++) {
        if (strcmp(apps->app[i].name, text) == 0) {
            return an_yaml_refuse(at, "'%.40s' is there already", text);
        }
    }
    memcpy(app->name, text, strlen(text) + 1);
    return AN_OK;
}

static enum an_err
take_alg(struct config_key *key, struct an_yaml_at at)
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    for (unsigned i = AN_TOKEN_RS256; err == AN_OK && i < AN_TOKEN_ALG_COUNT; i++) {
        if (strcmp(text, an_token_alg_name((enum an_token_alg)i)) == 0) {
            key->alg = (enum an_token_alg)i;
            return AN_OK;
        }
    }
    return err != AN_OK ? err
                        : an_yaml_refuse(at, "'%.40s' is none of RS256|ES256", text);
}

static enum an_err
take_text(char *out, size_t cap, struct an_yaml_at at)
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    if (err == AN_OK && strlen(text) >= cap) {
        err = an_yaml_refuse(at, "longer than %zu bytes", cap - 1);
    }
    if (err == AN_OK) {
        memcpy(out, text, strlen(text) + 1);
    }
    return err;
}

static enum an_err
take_key(struct config *config, const struct an_app *app, struct an_yaml_at at)
{
    static const char *const known[] = {"id", "alg", "issuer", "file", NULL};
    struct config_key *key = &config->keys[config->key_count];
    const char *file;
    enum an_err err = an_yaml_map(at, known);

    if (config->key_count == AN_TOKEN_KEYS_MAX - 1) {
        return an_yaml_refuse(at, "more than %u keys in all", AN_TOKEN_KEYS_MAX - 1);
    }
    *key = (struct config_key){0};
    memcpy(key->app, app->name, sizeof(key->app));
    if (err == AN_OK) {
        err = take_text(key->id, sizeof(key->id), an_yaml_find(at, "id"));
    }
    if (err == AN_OK) {
        err = take_alg(key, an_yaml_find(at, "alg"));
    }
    if (err == AN_OK && an_yaml_there(an_yaml_find(at, "issuer"))) {
        err = take_text(key->issuer, sizeof(key->issuer), an_yaml_find(at, "issuer"));
    }
    if (err == AN_OK) {
        err = an_yaml_text(an_yaml_find(at, "file"), &file);
    }
    if (err == AN_OK) {
        key->file = strdup(file);
        err = key->file == NULL ? AN_ERR_NO_MEMORY : AN_OK;
    }
    config->key_count += err == AN_OK;
    return err;
}

static enum an_err
take_keys(struct config *config, const struct an_app *app, struct an_yaml_at list)
{
    enum an_err err = an_yaml_list(list);

    for (unsigned i = 0; err == AN_OK && i < an_yaml_count(list); i++) {
        err = take_key(config, app, an_yaml_nth(list, i));
    }
    return err;
}

static enum an_err
take_app(struct config *config, struct an_app *app, struct an_yaml_at at)
{
    static const char *const known[] = {"name", "login", "register", "keys", NULL};
    enum an_err err = an_yaml_map(at, known);

    if (err == AN_OK) {
        err = take_name(&config->apps, app, an_yaml_find(at, "name"));
    }
    if (err == AN_OK && an_yaml_there(an_yaml_find(at, "login"))) {
        err = take_login(app, an_yaml_find(at, "login"));
    }
    if (err == AN_OK && an_yaml_there(an_yaml_find(at, "register"))) {
        err = take_register(app, an_yaml_find(at, "register"));
    }
    if (err == AN_OK && an_yaml_there(an_yaml_find(at, "keys"))) {
        err = take_keys(config, app, an_yaml_find(at, "keys"));
    }
    return err;
}

enum an_err
config_apps_take(struct config *config, struct an_yaml_at list)
{
    struct an_apps *apps = &config->apps;
    enum an_err err = an_yaml_list(list);

    apps->count = 0;
    for (unsigned i = 0; err == AN_OK && i < an_yaml_count(list); i++) {
        struct an_app *app = &apps->app[apps->count];

        if (apps->count == AN_APPS_MAX) {
            return an_yaml_refuse(an_yaml_nth(list, i), "more than %u", AN_APPS_MAX);
        }
        *app = (struct an_app){.login = AN_LOGIN_MULTI};
        err = take_app(config, app, an_yaml_nth(list, i));
        apps->count++;
    }
    return err;
}
