#include "actors/router/router_policy.h"
#include <string.h>

enum form { FORM_OTHER, FORM_API, FORM_WEB, FORM_MOBILE, FORM_DESKTOP };

static bool
is(struct router_text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static enum form
form_of(struct router_text platform)
{
    static const struct {
        const char *name;
        enum form form;
    } forms[] = {{"api", FORM_API},         {"web", FORM_WEB},
                 {"ios", FORM_MOBILE},      {"android", FORM_MOBILE},
                 {"windows", FORM_DESKTOP}, {"mac", FORM_DESKTOP},
                 {"linux", FORM_DESKTOP}};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (is(platform, forms[i].name)) {
            return forms[i].form;
        }
    }
    return FORM_OTHER;
}

enum an_login_policy
router_policy_of(const struct an_apps *apps, struct router_text app)
{
    const struct an_app *found = an_apps_find(apps, app.data, app.len);

    return found == NULL ? AN_LOGIN_MULTI : found->login;
}

bool
router_policy_excludes(enum an_login_policy policy, struct router_text one,
                       struct router_text other)
{
    enum form a = form_of(one), b = form_of(other);

    if (a == FORM_API || b == FORM_API) {
        return false;
    }
    switch (policy) {
    case AN_LOGIN_SINGLE:
        return true;
    case AN_LOGIN_DOUBLE:
        return a != FORM_WEB && b != FORM_WEB;
    case AN_LOGIN_TRIPLE:
        return a == b && (a == FORM_MOBILE || a == FORM_DESKTOP);
    case AN_LOGIN_MULTI:
    case AN_LOGIN_POLICY_COUNT:
        break;
    }
    return false;
}
