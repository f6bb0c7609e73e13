/* Api: what is not a live connection. Accounts, logins, devices and the applications'
 * back ends over HTTP (docs/http.md; its door is api_door.h), and making an account by
 * words on the node's text endpoint (`anser user add`).
 *
 * Context: one actor, one thread, no locks. */
#ifndef AN_ACTORS_API_H
#define AN_ACTORS_API_H

#include "core/actor.h"
#include "core/app_key.h"
#include "core/apps.h"
#include "core/token.h"
#include "core/topology.h"

enum { API_GATES_MAX = 256, API_URL_MAX = 160 };

/* Where clients connect. */
struct api_gates {
    struct {
        char url[API_URL_MAX];
        uint16_t gate;
    } at[API_GATES_MAX];
    size_t count;
};

/* What never changes; all borrowed. */
struct api_cfg {
    uint16_t index;
    const struct an_topology *topology;
    uint64_t seed;
    const struct an_token_keys *keys;   /* the first signs; NULL: no logins */
    const struct an_app_keys *app_keys; /* NULL: no back end */
    const struct an_apps *apps;         /* that are served; NULL: any */
    const struct api_gates *gates;      /* filled before the actor starts; NULL: none */
    uint8_t secret[32];                 /* random: what refresh tokens are made of */
    bool closed; /* users cannot register themselves, unless their app says otherwise */
    /* 0 means the default of core/limits.h. */
    uint64_t token_ms, refresh_ms;
    /* Of Argon2id; 0: libsodium's for interactive use. */
    uint64_t hash_passes;
    size_t hash_bytes;
};

/* AN_ERR_NO_MEMORY. The caller destroys *out through its ops. */
AN_MUST_USE enum an_err api_create(struct an_actor **out, const struct api_cfg *cfg);

#endif
