#include "cluster/config.h"
#include "proto/names.h"
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

enum an_err
config_apps_take(struct an_apps *apps, struct an_yaml_at list)
{
    static const char *const known[] = {"name", "login", NULL};
    enum an_err err = an_yaml_list(list);

    apps->count = 0;
    for (unsigned i = 0; err == AN_OK && i < an_yaml_count(list); i++) {
        struct an_yaml_at at = an_yaml_nth(list, i);
        struct an_app *app = &apps->app[apps->count];

        if (apps->count == AN_APPS_MAX) {
            return an_yaml_refuse(at, "more than %u", AN_APPS_MAX);
        }
        *app = (struct an_app){.login = AN_LOGIN_MULTI};
        err = an_yaml_map(at, known);
        if (err == AN_OK) {
            err = take_name(apps, app, an_yaml_find(at, "name"));
        }
        if (err == AN_OK && an_yaml_there(an_yaml_find(at, "login"))) {
            err = take_login(app, an_yaml_find(at, "login"));
        }
        apps->count++;
    }
    return err;
}
