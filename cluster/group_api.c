/* The api of a group, with what it is handed: keys, gates, a door of HTTP. */
#include "actors/api/api.h"
#include "actors/api/api_door.h"
#include "cluster/group_priv.h"
#include "core/control.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ gates */

static void
add_gate(struct group *group, uint16_t gate, const char *url)
{
    struct api_gates *gates = &group->gates;

    if (gates->count < API_GATES_MAX && strlen(url) < API_URL_MAX) {
        gates->at[gates->count].gate = gate;
        snprintf(gates->at[gates->count++].url, API_URL_MAX, "%s", url);
    }
}

static const struct member *
member_of(const struct group *group, const struct plan_actor *actor)
{
    for (unsigned i = 0; i < group->member_count; i++) {
        if (group->members[i].placed == actor && group->members[i].door != NULL) {
            return &group->members[i];
        }
    }
    return NULL;
}

/* Of this process as they are bound, of others as the file has them; any address of a
 * host is what the file calls the host. */
static void
add_gates_of(struct group *group, const struct plan_actor *actor)
{
    const struct plan *plan = group->cfg.plan;
    const struct member *member = member_of(group, actor);

    for (unsigned k = 0; k < actor->listen_count; k++) {
        const char *listen = member != NULL ? member->door->ops->address(member->door, k)
                                            : actor->listen[k];
        char *url = plan->places.host_count == 0
                        ? strdup(listen)
                        : plan_client_url(&plan->places.hosts[actor->host], listen);

        if (url != NULL) {
            add_gate(group, actor->addr.index, url);
        }
        free(url);
    }
}

void
group_note_gates(struct group *group)
{
    const struct plan *plan = group->cfg.plan;
    char *all = strdup(plan->settings.api_gates), *rest, *one;

    one = all == NULL ? NULL : strtok_r(all, ", ", &rest);
    for (; one != NULL; one = strtok_r(NULL, ", ", &rest)) {
        add_gate(group, UINT16_MAX, one); /* an operator's word, of no gate we know */
    }
    free(all);
    if (group->gates.count > 0) {
        return;
    }
    for (unsigned i = 0; i < plan->actor_count; i++) {
        if (plan->actors[i].addr.role == AN_ROLE_GATE) {
            add_gates_of(group, &plan->actors[i]);
        }
    }
}

/* ------------------------------------------------------------------ the actor */

enum an_err
member_make_api(const struct group *group, const struct member *member,
                struct an_actor **out)
{
    const struct config *config = &group->cfg.plan->settings;
    struct api_cfg cfg = {.index = member->placed->addr.index,
                          .topology = &group->cfg.plan->topology,
                          .seed = member_seed(),
                          .keys = group->cfg.keys,
                          .app_keys = group->cfg.app_keys,
                          .apps = &config->apps,
                          .gates = &group->gates,
                          .closed = strcmp(config->api_register, "closed") == 0,
                          .token_ms = config->api_token_ms,
                          .refresh_ms = config->api_refresh_ms};
    enum an_err err;

    randombytes_buf(cfg.secret, sizeof(cfg.secret));
    err = api_create(out, &cfg);
    sodium_memzero(cfg.secret, sizeof(cfg.secret));
    return err;
}

/* ------------------------------------------------------------------ HTTP */

/* The process's numbers, as its text endpoint gives them. Blocks; a door asks it on a
 * thread that nobody waits for. */
static char *
read_metrics(void *ctx)
{
    const struct group *group = ctx;
    char *text = NULL;

    if (an_control_ask(&text, group->control, "metrics", AN_METRICS_MS) != AN_OK) {
        return NULL;
    }
    return text;
}

/* Where the web page is when nobody says: beside the program as it was installed, or in
 * the sources it was built from. False: nowhere. */
static bool
find_web(char out[AN_PATH_LEN_MAX])
{
    char program[AN_PATH_LEN_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char *slash;

    if (len > 0) {
        program[len] = '\0';
        slash = strrchr(program, '/');
        if (slash != NULL &&
            (size_t)snprintf(out, AN_PATH_LEN_MAX, "%.*s/../share/anser/web",
                             (int)(slash - program), program) < AN_PATH_LEN_MAX &&
            access(out, R_OK | X_OK) == 0) {
            return true;
        }
    }
    snprintf(out, AN_PATH_LEN_MAX, "%s", AN_WEB_DIST);
    return access(out, R_OK | X_OK) == 0;
}

enum an_err
member_make_http(struct group *group, struct member *member, char *why, size_t why_len)
{
    const struct plan *plan = group->cfg.plan;
    const struct config *config = &plan->settings;
    const struct plan_actor *placed = member->placed;
    char cert[AN_PATH_LEN_MAX], key[AN_PATH_LEN_MAX], web[AN_PATH_LEN_MAX];
    struct api_door_cfg cfg = {
        .listen_count = placed->listen_count,
        .conns_max = (uint32_t)config->api_conns_max,
        .body_len_max = (uint32_t)config->api_body_len_max,
        .request_ms = (uint32_t)config->api_request_ms,
        .answer_ms = (uint32_t)config->api_answer_ms,
        .idle_ms = (uint32_t)config->api_idle_ms,
        .tls_cert = member_file(plan, member, config->gate_tls_cert, cert),
        .tls_key = member_file(plan, member, config->gate_tls_key, key),
        .web = member_file(plan, member, config->api_web, web),
        .origins = config->api_origins,
        .proxies = config->api_proxies,
        .metrics = read_metrics,
        .metrics_ctx = group,
        .log = member_log,
        .log_ctx = member->who};

    _Static_assert((int)PLAN_LISTEN_MAX <= (int)API_DOOR_LISTEN_MAX,
                   "a door takes them all");
    for (unsigned i = 0; i < placed->listen_count; i++) {
        enum an_err err =
            member_judge_listen(config, placed->listen[i], true, why, why_len);

        if (err != AN_OK) {
            return err;
        }
        cfg.listen[i] = placed->listen[i];
    }
    if (cfg.web == NULL && find_web(web)) {
        cfg.web = web;
    }
    return api_door_create(&member->new_door, &cfg, why, why_len);
}
