/* Login policies (core/apps.h): whom a newcomer tells to go.
 *
 * Pure; thread safe. */
#ifndef AN_ACTORS_ROUTER_POLICY_H
#define AN_ACTORS_ROUTER_POLICY_H

#include "actors/router/router_table.h"
#include "core/apps.h"
#include <stdbool.h>

/* Of the app, which need not be configured. apps may be NULL. */
enum an_login_policy router_policy_of(const struct an_apps *apps, struct router_text app);
/* May two devices of one user not be online at once? They are different devices; whoever
 * logged in first then goes. The same both ways round. */
bool router_policy_excludes(enum an_login_policy policy, struct router_text one,
                            struct router_text other);

#endif
