/* Where clients connect: what the operator or the cluster's file says, less the gates
 * that a router has not heard of. */
#include "actors/api/api_priv.h"
#include "core/limits.h"
#include <stdio.h>
#include <string.h>

void
api_gates_ask(struct api_run *run)
{
    const struct api_cfg *cfg = &run->api->cfg;
    Anser__Bus__Online online = ANSER__BUS__ONLINE__INIT;

    if (cfg->gates == NULL || cfg->gates->count == 0 || run->api->stopping) {
        return;
    }
    an_out_ask(run->out, (struct an_addr){AN_ROLE_ROUTER, run->api->live_router},
               AN_KIND_ONLINE, &online.base, AN_API_GATES_MS, API_TAG_GATES, 0);
    an_out_timer(run->out, run->now.mono_ms + AN_API_GATES_MS, API_TAG_GATES);
}

void
api_gates_answered(struct api_run *run, const struct an_msg *msg)
{
    const Anser__Bus__OnlineDone *done = (const Anser__Bus__OnlineDone *)msg->body;
    struct api *api = run->api;

    if (msg->err != AN_OK || done == NULL || !done->complete) {
        /* Another knows as much. */
        api->live_router =
            (uint16_t)((api->live_router + 1) % api->cfg.topology->count[AN_ROLE_ROUTER]);
        return;
    }
    memset(api->live, 0, sizeof(api->live));
    for (size_t i = 0; i < done->n_gates; i++) {
        if (done->gates[i] < sizeof(api->live) / sizeof(api->live[0])) {
            api->live[done->gates[i]] = true;
        }
    }
    api->live_ms = run->now.mono_ms;
}

/* Without news of routers for long, all: a client finds out by itself who answers. */
static bool
lives(const struct api_run *run, uint16_t gate)
{
    const struct api *api = run->api;

    return gate >= sizeof(api->live) / sizeof(api->live[0]) || api->live_ms == 0 ||
           run->now.mono_ms - api->live_ms > AN_API_GATES_OLD_MS || api->live[gate];
}

json_t *
api_gates_json(const struct api_run *run, const char *scheme)
{
    const struct api_gates *gates = run->api->cfg.gates;
    json_t *list = json_array();
    size_t len = strlen(scheme);

    for (size_t i = 0; gates != NULL && i < gates->count; i++) {
        const char *url = gates->at[i].url;

        if ((len == 0 || (strncmp(url, scheme, len) == 0 && url[len] == ':')) &&
            lives(run, gates->at[i].gate)) {
            json_array_append_new(list, json_string(url));
        }
    }
    return list;
}

/* "?scheme=wss" */
void
api_on_gates(struct api_run *run, struct api_task *task)
{
    const char *query = strchr(task->http->uri, '?');
    char scheme[16] = "";

    if (query != NULL && (sscanf(query, "?scheme=%15[a-z]", scheme) != 1 ||
                          strlen(query) != strlen("?scheme=") + strlen(scheme))) {
        api_end_err(run, task, api_wrong(task, "the query", "knows scheme=NAME alone"));
        return;
    }
    api_end(run, task, json_pack("{s:o}", "gates", api_gates_json(run, scheme)));
}
