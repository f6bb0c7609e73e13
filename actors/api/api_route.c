/* What is asked over HTTP, and which function answers it. */
#include "actors/api/api_openapi.h"
#include "actors/api/api_priv.h"
#include "core/hash.h"
#include "core/limits.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum who { ANYBODY, USER, APP };

static api_ask_f on_health, on_openapi;

/* X(who may ask, method, path, handler of a task, handler of an account, has a body)
 * A path that ends in a star has one more part. */
#define ROUTES(X)                                                                        \
    X(ANYBODY, GET, "/healthz", on_health, NULL, false)                                  \
    X(ANYBODY, GET, "/v1/openapi.json", on_openapi, NULL, false)                         \
    X(ANYBODY, POST, "/v1/register", api_on_register, NULL, true)                        \
    X(ANYBODY, POST, "/v1/login", api_on_login, NULL, true)                              \
    X(ANYBODY, POST, "/v1/refresh", api_on_refresh, NULL, true)                          \
    X(ANYBODY, GET, "/v1/gates", api_on_gates, NULL, false)                              \
    X(USER, POST, "/v1/logout", NULL, api_on_logout, false)                              \
    X(USER, POST, "/v1/password", NULL, api_on_password, true)                           \
    X(USER, GET, "/v1/profile", NULL, api_on_profile, false)                             \
    X(USER, PATCH, "/v1/profile", NULL, api_on_profile_change, true)                     \
    X(USER, GET, "/v1/devices", NULL, api_on_devices, false)                             \
    X(USER, DELETE, "/v1/devices/*", NULL, api_on_device_remove, false)                  \
    X(APP, POST, "/v1/app/users:import", api_on_import, NULL, true)                      \
    X(APP, GET, "/v1/app/users/*", api_on_app_user, NULL, false)                         \
    X(APP, PATCH, "/v1/app/users/*", api_on_app_change, NULL, true)                      \
    X(APP, DELETE, "/v1/app/users/*", api_on_app_delete, NULL, false)                    \
    X(APP, POST, "/v1/app/tokens", api_on_app_token, NULL, true)                         \
    X(APP, POST, "/v1/app/tokens:revoke", api_on_app_revoke, NULL, true)                 \
    X(APP, POST, "/v1/app/messages", api_on_app_message, NULL, true)

struct route {
    enum who who;
    enum an_http_method method;
    const char *path;
    api_ask_f *begin;
    api_then_f *known;
    bool body;
};

#define ROW(who, method, path, begin, known, body)                                       \
    {who, AN_HTTP_##method, path, begin, known, body},
static const struct route routes[] = {ROUTES(ROW)};
#undef ROW
enum { ROUTES_COUNT = sizeof(routes) / sizeof(routes[0]) };

static void
end_text(struct api_run *run, struct api_task *task, const char *json)
{
    api_answer_http(run, task->http, json);
    api_task_free(run->api, task);
}

static void
on_health(struct api_run *run, struct api_task *task)
{
    end_text(run, task, "{\"ok\":true}\n");
}

static void
on_openapi(struct api_run *run, struct api_task *task)
{
    end_text(run, task, api_openapi);
}

/* ------------------------------------------------------------------ paths */

static int
hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A part of a path, percent signs undone. False: it is no text of that length. */
static bool
decode(const char *from, size_t len, char *out, size_t out_len)
{
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)from[i];

        if (c == '%') {
            if (i + 2 >= len) {
                return false;
            }
            c = hex_value(from[i + 1]) < 0 || hex_value(from[i + 2]) < 0
                    ? 0
                    : hex_value(from[i + 1]) * 16 + hex_value(from[i + 2]);
            i += 2;
        }
        if (c == 0 || used + 1 >= out_len) {
            return false;
        }
        out[used++] = (char)c;
    }
    out[used] = '\0';
    return used > 0;
}

/* Does the path fit, and what is its last part? */
static bool
fits(const struct route *route, const char *uri, size_t len, const char **part)
{
    size_t own = strlen(route->path);

    if (route->path[own - 1] != '*') {
        return len == own && memcmp(uri, route->path, len) == 0;
    }
    *part = uri + own - 1;
    return len > own - 1 && memcmp(uri, route->path, own - 1) == 0 &&
           memchr(*part, '/', len - (own - 1)) == NULL;
}

/* Bits, 1 << method: a GET is asked by HEAD, too. */
static uint32_t
methods_of(const struct route *route)
{
    return 1u << route->method | (route->method == AN_HTTP_GET ? 1u << AN_HTTP_HEAD : 0u);
}

/* NULL: *allow has the methods of the path; 0: there is no such. */
static const struct route *
find(const struct an_http_request *request, const char **part, uint32_t *allow)
{
    size_t len = strcspn(request->uri, "?");

    *allow = 0;
    for (size_t i = 0; i < ROUTES_COUNT; i++) {
        if (fits(&routes[i], request->uri, len, part)) {
            if ((methods_of(&routes[i]) & 1u << request->method) != 0) {
                return &routes[i];
            }
            *allow |= methods_of(&routes[i]);
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ bodies */

static bool
is_json(const char *type)
{
    static const char json[] = "application/json";

    return type != NULL && strncasecmp(type, json, strlen(json)) == 0 &&
           strchr("; ", type[strlen(json)]) != NULL; /* also at its end */
}

static enum an_err
take_body(const struct an_http_request *request, struct api_task *task)
{
    char rule[64] = "has to be an object";
    json_error_t error;

    if (!is_json(request->content_type)) {
        return AN_ERR_CONTENT_TYPE;
    }
    task->body = json_loadb((const char *)request->body, request->body_len,
                            JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(task->body)) {
        return AN_OK;
    }
    if (request->body_len == 0) {
        snprintf(rule, sizeof(rule), "is empty");
    } else if (task->body ==
               NULL) { /* where, but not what stands there: it may be a password */
        snprintf(rule, sizeof(rule), "is not JSON at line %d, column %d", error.line,
                 error.column);
    }
    (void)!api_wrong(task, "the body", rule);
    return AN_ERR_JSON;
}

/* ------------------------------------------------------------------ who asks */

enum an_err
api_judge_app(const struct api_run *run, const struct api_task *task)
{
    return an_apps_find(run->api->cfg.apps, task->app, strlen(task->app)) == NULL
               ? AN_ERR_APP_UNKNOWN
               : AN_OK;
}

/* ------------------------------------------------------------------ back ends */

/* Of all apis one sequencer remembers a request, so that none takes it again. */
static void
ask_claim(struct api_run *run, struct api_task *task)
{
    Anser__Bus__ClaimNonce claim = ANSER__BUS__CLAIM_NONCE__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    struct an_hash_key of_all_apis;

    an_hash_seed(&of_all_apis, 0);
    claim.mark = (ProtobufCBinaryData){AN_MARK_LEN, task->signature.mark};
    claim.at_s = task->signature.at_s;
    claim.claimant = task->claimant;
    claim.app = (uint32_t)an_hash(&of_all_apis, task->app, strlen(task->app));
    command.what_case = ANSER__BUS__COMMAND__WHAT_CLAIM_NONCE;
    command.claim_nonce = &claim;
    api_ask_sequencer(run, task, an_slot_mark(task->signature.mark), &command);
}

/* With whose key, if that is one of ours: the others' may be somebody's secret. */
static void
say_unsigned(struct api_run *run, struct api_task *task, enum an_err err)
{
    const struct an_app_key *key = task->signature.key;
    char more[sizeof(key->id) + 64];

    if (key != NULL) {
        snprintf(task->app, sizeof(task->app), "%s", key->app);
    }
    snprintf(more, sizeof(more), " key=%s err=%s", key == NULL ? "-" : key->id,
             an_err_name(err));
    run->api->count.signatures_refused++;
    api_say(run, API_EVENT_UNSIGNED, task, more);
}

static void
then_claimed(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    static const char words[] = "the request was signed before the server that remembers "
                                "such requests started; sign it anew";

    if (reply->err == AN_OK) {
        task->taken(run, task);
        return;
    }
    if (an_err_category(reply->err) == AN_CAT_AUTH) {
        say_unsigned(run, task, reply->err);
    }
    if (reply->err == AN_ERR_SIGNATURE_EXPIRED) {
        api_end_saying(run, task, reply->err, words,
                       (reply->result->retry_after_ms + 999) / 1000);
    } else {
        api_end_err(run, task, reply->err);
    }
}

static void
begin_signed(struct api_run *run, struct api_task *task, api_ask_f *then)
{
    enum an_err err = api_sign_check(run->api->cfg.app_keys, task->http, run->now.wall_ms,
                                     &task->signature);

    if (err != AN_OK) {
        say_unsigned(run, task, err);
        api_end_err(run, task, err);
        return;
    }
    snprintf(task->app, sizeof(task->app), "%s", task->signature.key->app);
    err = api_judge_app(run, task);
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    task->taken = then;
    task->claimant = an_rng_next(&run->api->rng) | 1;
    api_step_to(run, task, ask_claim, then_claimed);
}

static void
begin(struct api_run *run, struct api_task *task, const struct route *route)
{
    switch (route->who) {
    case ANYBODY:
        route->begin(run, task);
        return;
    case USER:
        api_sign_in(run, task, route->known);
        return;
    case APP:
        begin_signed(run, task, route->begin);
        return;
    }
}

static void
dispatch(struct api_run *run, const struct an_http_request *request,
         const struct route *route, const char *part)
{
    const uint32_t ms =
        route->begin == api_on_import ? AN_API_IMPORT_MS : AN_API_REQUEST_MS;
    struct api_task *task = api_task_new(run, ms);
    enum an_err err = AN_OK;

    if (task == NULL) {
        run->api->count.refused++;
        api_refuse_http(run, request, AN_ERR_BUSY, 0);
        return;
    }
    task->http = request;
    if (part != NULL &&
        !decode(part, strcspn(part, "?"), task->path, sizeof(task->path))) {
        err = api_wrong(task, "the path", "its last part is no name");
    }
    if (err == AN_OK && route->body) {
        err = take_body(request, task);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    begin(run, task, route);
}

void
api_http(struct api_run *run, const struct an_http_request *request)
{
    const char *part = NULL;
    const struct route *route;
    uint32_t allow;

    run->api->count.http_requests++;
    if (run->api->stopping) {
        api_refuse_http(run, request, AN_ERR_SHUTTING_DOWN, 0);
        return;
    }
    route = find(request, &part, &allow);
    if (route == NULL && allow != 0) {
        api_refuse_method(run, request, allow);
        return;
    }
    if (route == NULL) {
        api_refuse_http(run, request, AN_ERR_NOT_FOUND, 0);
        return;
    }
    dispatch(run, request, route, strchr(route->path, '*') == NULL ? NULL : part);
}
