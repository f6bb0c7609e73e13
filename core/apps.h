/* The applications that a server serves, as configured (docs/configuration.md, `apps:`).
 * Users of one never see those of another. `default` is always there; another one that is
 * not configured is unknown: APP_UNKNOWN at gates and apis.
 *
 * Context: read once at start, constant afterwards. */
#ifndef AN_CORE_APPS_H
#define AN_CORE_APPS_H

#include "core/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AN_APPS_MAX 64u

/* Who is told to go when a user logs in on another device. X(NAME, word) */
#define AN_LOGIN_POLICIES(X)                                                             \
    X(MULTI, multi)   /* nobody */                                                       \
    X(SINGLE, single) /* every other device */                                           \
    X(DOUBLE, double) /* every other but web: one device and any number of web */        \
    X(TRIPLE, triple) /* the other mobile, the other desktop */

#define AN_LOGIN_POLICY_ENUM(NAME, word) AN_LOGIN_##NAME,
enum an_login_policy { AN_LOGIN_POLICIES(AN_LOGIN_POLICY_ENUM) AN_LOGIN_POLICY_COUNT };
#undef AN_LOGIN_POLICY_ENUM

/* May people make their own accounts? */
enum an_register { AN_REGISTER_AS_API, AN_REGISTER_OPEN, AN_REGISTER_CLOSED };

struct an_app {
    char name[AN_NAME_LEN_MAX + 1];
    enum an_login_policy login;
    enum an_register registers; /* AS_API: what api.register says */
};

struct an_apps {
    struct an_app app[AN_APPS_MAX];
    size_t count;
};

/* NULL: unknown. apps NULL: nothing was configured, and every app is as `default`. */
const struct an_app *an_apps_find(const struct an_apps *apps, const void *name,
                                  size_t len);

#endif
