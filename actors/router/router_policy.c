#include "actors/router/router_policy.h"
#include <string.h>

enum class { CLASS_OTHER, CLASS_API, CLASS_WEB, CLASS_MOBILE, CLASS_DESKTOP };

static bool
is(struct router_text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static enum class class_of(struct router_text platform) {
    static const struct {const char * name; enum class class;}
classes[] = {{"api", CLASS_API},         {"web", CLASS_WEB},
             {"ios", CLASS_MOBILE},      {"android", CLASS_MOBILE},
             {"windows", CLASS_DESKTOP}, {"mac", CLASS_DESKTOP},
             {"linux", CLASS_DESKTOP}};

for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
    if (is(platform, classes[i].name)) {
        return classes[i].class;
    }
}
return CLASS_OTHER;
}

enum an_login_policy
router_policy_of(const struct an_apps *apps, struct router_text app)
{
    for (size_t i = 0; apps != NULL && i < apps->count; i++) {
        if (is(app, apps->app[i].name)) {
            return apps->app[i].login;
        }
    }
    return AN_LOGIN_MULTI;
}

bool
router_policy_excludes(enum an_login_policy policy, struct router_text one,
                       struct router_text other)
{
    enum class a = class_of(one), b = class_of(other);

    if (a == CLASS_API || b == CLASS_API) {
        return false;
    }
    switch (policy) {
    case AN_LOGIN_SINGLE:
        return true;
    case AN_LOGIN_DOUBLE:
        return a != CLASS_WEB && b != CLASS_WEB;
    case AN_LOGIN_TRIPLE:
        return a == b && (a == CLASS_MOBILE || a == CLASS_DESKTOP);
    case AN_LOGIN_MULTI:
    case AN_LOGIN_POLICY_COUNT:
        break;
    }
    return false;
}
