/* From the first byte of a request to the last of its answer. */
#include "actors/api/api_door_priv.h"
#include "core/limits.h"
#include "core/origins.h"
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------ answers */

struct MHD_Response *
api_response_json(const void *body, size_t len, uint32_t retry_s)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    char text[16];

    if (response == NULL) {
        return NULL;
    }
    (void)MHD_add_response_header(response, "Content-Type", "application/json");
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (retry_s > 0) {
        snprintf(text, sizeof(text), "%u", (unsigned)retry_s);
        (void)MHD_add_response_header(response, "Retry-After", text);
    }
    return response;
}

static const char *const methods[] = {
#define NAME(method) #method,
    AN_HTTP_METHODS(NAME)
#undef NAME
};

void
api_response_allow(struct MHD_Response *response, uint32_t allow)
{
    char text[64] = "";
    size_t len = 0;

    for (unsigned i = 0; i < AN_HTTP_OTHER; i++) {
        if ((allow & 1u << i) != 0 && len < sizeof(text)) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
                                    len == 0 ? "" : ", ", methods[i]);
        }
    }
    if (response != NULL && len > 0) {
        (void)MHD_add_response_header(response, "Allow", text);
    }
}

struct MHD_Response *
api_response_error(enum an_err err)
{
    char json[API_ERROR_JSON_MAX];
    size_t len = api_error_json(err, NULL, json);

    return api_response_json(json, len, api_error_status(err) == 503 ? 1 : 0);
}

/* NULL: it comes from no page, or from one that may not ask. */
static const char *
page_of(const struct exchange *exchange)
{
    const char *origin = MHD_lookup_connection_value(
        exchange->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN);
    const char *list = exchange->door->origins;

    return origin != NULL && list != NULL && an_origins_list(list, origin, strlen(origin))
               ? origin
               : NULL;
}

/* Pages of other origins are let read what they ask for: no cookie speaks for anybody
 * here, so they know no more than what they have a token for. */
static void
let_read(const struct exchange *exchange, struct MHD_Response *response)
{
    const char *origin = page_of(exchange);

    if (exchange->door->origins != NULL && exchange->door->origins[0] != '\0') {
        (void)MHD_add_response_header(response, "Vary", "Origin");
    }
    if (origin != NULL) {
        (void)MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
        (void)MHD_add_response_header(response, "Access-Control-Expose-Headers",
                                      "Retry-After, Allow");
    }
}

/* Once for each request. */
static enum MHD_Result
answer(struct exchange *exchange, unsigned status, struct MHD_Response *response)
{
    enum MHD_Result result;

    if (response == NULL) {
        return MHD_NO;
    }
    let_read(exchange, response);
    api_conn_phase(exchange->conn, HTTP_ANSWERING);
    result = MHD_queue_response(exchange->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
refuse(struct exchange *exchange, enum an_err err)
{
    struct MHD_Response *response = api_response_error(err);

    if (response != NULL && err == AN_ERR_BODY_TOO_LARGE) {
        /* What it still wants to send is not read. */
        (void)MHD_add_response_header(response, "Connection", "close");
    }
    if (err == AN_ERR_METHOD) { /* what the door gives by itself is but read */
        api_response_allow(response, 1u << AN_HTTP_GET | 1u << AN_HTTP_HEAD);
    }
    return answer(exchange, api_error_status(err), response);
}

/* ------------------------------------------------------------------ queues */

void
api_queue_add(struct http_queue *queue, struct exchange *exchange)
{
    exchange->next = NULL;
    *queue->end = exchange;
    queue->end = &exchange->next;
}

struct exchange *
api_queue_take_all(struct http_queue *queue)
{
    struct exchange *all = queue->first;

    queue->first = NULL;
    queue->end = &queue->first;
    return all;
}

/* ------------------------------------------------------------------ reading */

static bool
is_path(const char *uri, const char *path)
{
    size_t len = strlen(path);

    return strncmp(uri, path, len) == 0 && (uri[len] == '\0' || uri[len] == '?');
}

static enum an_http_method
method_of(const char *name)
{
    for (unsigned i = 0; i < AN_HTTP_OTHER; i++) {
        if (strcmp(methods[i], name) == 0) {
            return (enum an_http_method)i;
        }
    }
    return AN_HTTP_OTHER;
}

/* Of several lines of that name the last is left in *cls. */
static enum MHD_Result
forwarded_line(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    const char **last = cls;

    (void)kind;
    if (strcasecmp(name, "X-Forwarded-For") == 0 && value != NULL) {
        *last = value;
    }
    return MHD_YES;
}

/* Of a client behind a proxy of ours; the proxy has added him at the end: of the line, or
 * in a line of its own after those that the client has made up. The connection is his
 * until the request ends. */
static void
name_client(struct exchange *exchange)
{
    struct api_door *door = exchange->door;
    const char *all = NULL, *last;
    struct an_nets one;

    (void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, forwarded_line,
                                    &all);
    last = all == NULL ? NULL : strrchr(all, ',');
    last = last == NULL ? all : last + 1;
    if (last != NULL && an_nets_hold(&door->proxies, exchange->conn->address) &&
        an_nets_parse(&one, last) && one.count == 1) {
        an_address_print(one.net[0].address, exchange->request.from,
                         sizeof(exchange->request.from));
        pthread_mutex_lock(&door->lock);
        api_from_join(exchange->conn, one.net[0].address);
        exchange->lent = true;
        pthread_mutex_unlock(&door->lock);
    }
}

/* What its headers say of the length of its body. */
struct framing {
    unsigned lengths, encodings;
    bool bad;
};

static enum MHD_Result
framing_line(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct framing *framing = cls;

    (void)kind;
    value = value == NULL ? "" : value;
    if (name[strcspn(name, " \t")] != '\0') {
        framing->bad = true; /* others may take it for the name without the space */
    } else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        framing->lengths++;
        framing->bad |= value[0] == '\0' || value[strspn(value, "0123456789")] != '\0';
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        framing->encodings++;
        framing->bad |= strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

/* A proxy before us may see its end elsewhere than we do, and the next request begin
 * there: such a one is not guessed at. */
static bool
framing_clear(struct MHD_Connection *connection)
{
    struct framing framing = {0};

    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, framing_line, &framing);
    return !framing.bad && framing.lengths + framing.encodings <= 1;
}

static enum MHD_Result
refuse_framing(struct exchange *exchange)
{
    static const char why[] = "the headers do not say clearly where the body ends";
    char json[API_ERROR_JSON_MAX];
    size_t len = api_error_json(AN_ERR_ARGUMENT, why, json);
    struct MHD_Response *response = api_response_json(json, len, 0);

    if (response != NULL) {
        (void)MHD_add_response_header(response, "Connection", "close");
    }
    return answer(exchange, api_error_status(AN_ERR_ARGUMENT), response);
}

/* Its headers are here. What announces too much is refused before it comes. */
static enum MHD_Result
headers_in(struct exchange *exchange, const char *method)
{
    struct an_http_request *request = &exchange->request;
    struct MHD_Connection *connection = exchange->connection;
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                                     MHD_HTTP_HEADER_CONTENT_LENGTH);

    exchange->state = EX_READING;
    request->method_name = method;
    request->method = method_of(method);
#define TAKE(field, name)                                                                \
    request->field = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    AN_HTTP_HEADERS(TAKE)
#undef TAKE
    name_client(exchange);
    if (!framing_clear(connection)) {
        return refuse_framing(exchange);
    }
    if (length != NULL && (strlen(length) > 9 || strtoul(length, NULL, 10) >
                                                     exchange->door->cfg.body_len_max)) {
        return refuse(exchange, AN_ERR_BODY_TOO_LARGE);
    }
    return MHD_YES;
}

/* Wipes and frees what has come: there are passwords in it. */
static void
body_free(struct exchange *exchange)
{
    if (exchange->body != NULL) {
        sodium_memzero(exchange->body, exchange->body_cap);
        free(exchange->body);
        api_from_let_go(exchange->conn, exchange->body_cap);
    }
    exchange->body = NULL;
    exchange->body_len = 0;
    exchange->body_cap = 0;
}

/* Room for as many bytes as have come; all requests share a bound, and an address has a
 * part of it. */
static enum an_err
body_grow(struct exchange *exchange, size_t more)
{
    struct api_door *door = exchange->door;
    size_t want = exchange->body_len + more;
    size_t cap = exchange->body_cap == 0 ? 1024 : exchange->body_cap;
    uint8_t *bigger;

    if (want > door->cfg.body_len_max) {
        return AN_ERR_BODY_TOO_LARGE;
    }
    if (want <= exchange->body_cap) {
        return AN_OK;
    }
    while (cap < want) {
        cap *= 2;
    }
    cap = cap < door->cfg.body_len_max ? cap : door->cfg.body_len_max;
    if (!api_from_hold(exchange->conn, cap - exchange->body_cap)) {
        return AN_ERR_BUSY;
    }
    bigger = malloc(cap); /* not realloc: old copies of passwords are wiped */
    if (bigger == NULL) {
        api_from_let_go(exchange->conn, cap - exchange->body_cap);
        return AN_ERR_NO_MEMORY;
    }
    if (exchange->body != NULL) {
        memcpy(bigger, exchange->body, exchange->body_len);
        sodium_memzero(exchange->body, exchange->body_cap);
        free(exchange->body);
    }
    exchange->body = bigger;
    exchange->body_cap = cap;
    return AN_OK;
}

static void
body_in(struct exchange *exchange, const char *data, size_t len)
{
    if (exchange->refused == AN_OK) {
        exchange->refused = body_grow(exchange, len);
    }
    if (exchange->refused != AN_OK) {
        body_free(exchange); /* others have the room while the rest comes */
        return;
    }
    memcpy(exchange->body + exchange->body_len, data, len);
    exchange->body_len += len;
}

/* ------------------------------------------------------------------ away and back */

/* To the actor's thread, or to the errands'. The connection sleeps first: who is quick
 * may wake it at once. No call of libmicrohttpd is made under our lock, as it may call us
 * under its own. False: the door ends. */
static bool
send_away(struct exchange *exchange, bool metrics)
{
    struct api_door *door = exchange->door;
    bool open;

    pthread_mutex_lock(&door->lock);
    open = !door->quitting;
    door->leaving += open;
    pthread_mutex_unlock(&door->lock);
    if (!open) {
        return false;
    }
    MHD_suspend_connection(exchange->connection);
    pthread_mutex_lock(&door->lock);
    door->leaving--;
    exchange->state = EX_AWAY;
    exchange->conn->phase = HTTP_THINKING;
    exchange->away_next = door->away;
    exchange->away_link = &door->away;
    if (door->away != NULL) {
        door->away->away_link = &exchange->away_next;
    }
    door->away = exchange;
    api_queue_add(metrics ? &door->metrics : &door->fresh, exchange);
    pthread_cond_signal(metrics ? &door->errand : &door->wake);
    pthread_mutex_unlock(&door->lock);
    return true;
}

void
api_request_back(struct exchange *exchange, unsigned status,
                 struct MHD_Response *response)
{
    struct api_door *door = exchange->door;
    struct MHD_Connection *connection = exchange->connection;

    pthread_mutex_lock(&door->lock);
    *exchange->away_link = exchange->away_next;
    if (exchange->away_next != NULL) {
        exchange->away_next->away_link = exchange->away_link;
    }
    exchange->status = status;
    exchange->response = response;
    exchange->state = EX_BACK;
    pthread_mutex_unlock(&door->lock);
    MHD_resume_connection(connection);
}

/* A browser asks before it lets a page ask. */
static enum MHD_Result
answer_preflight(struct exchange *exchange)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);

    if (response != NULL) {
        (void)MHD_add_response_header(response, "Access-Control-Allow-Methods",
                                      "GET, POST, PATCH, DELETE");
        (void)MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                      "Authorization, Content-Type");
        (void)MHD_add_response_header(response, "Access-Control-Max-Age", "600");
    }
    return answer(exchange, MHD_HTTP_NO_CONTENT, response);
}

/* It is whole: whose is it? */
static enum MHD_Result
whole(struct exchange *exchange)
{
    struct an_http_request *request = &exchange->request;
    const bool metrics = is_path(request->uri, "/metrics");
    const bool read = request->method == AN_HTTP_GET || request->method == AN_HTTP_HEAD;
    struct MHD_Response *response;
    unsigned status;

    request->body = exchange->body;
    request->body_len = exchange->body_len;
    if (exchange->refused != AN_OK) {
        return refuse(exchange, exchange->refused);
    }
    if (request->method == AN_HTTP_OTHER && page_of(exchange) != NULL &&
        strcmp(request->method_name, MHD_HTTP_METHOD_OPTIONS) == 0) {
        return answer_preflight(exchange);
    }
    if ((metrics && read) || strncmp(request->uri, "/v1/", 4) == 0 ||
        is_path(request->uri, "/healthz")) {
        return send_away(exchange, metrics) ? MHD_YES
                                            : refuse(exchange, AN_ERR_SHUTTING_DOWN);
    }
    if (!read) {
        return refuse(exchange, AN_ERR_METHOD);
    }
    response = api_web_answer(exchange->door, request, exchange->connection, &status);
    return answer(exchange, status, response);
}

/* ------------------------------------------------------------------ the callbacks */

/* The request line is here; path and query are still as they were sent. */
void *
api_request_begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct api_door *door = cls;
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    if (exchange == NULL || info == NULL || info->socket_context == NULL) {
        free(exchange);
        return NULL;
    }
    exchange->uri = strdup(uri);
    if (exchange->uri == NULL) {
        free(exchange);
        return NULL;
    }
    exchange->door = door;
    exchange->conn = info->socket_context;
    exchange->connection = connection;
    exchange->request.uri = exchange->uri;
    memcpy(exchange->request.from, exchange->conn->from, sizeof(exchange->conn->from));
    api_conn_phase(exchange->conn, HTTP_ASKING);
    pthread_mutex_lock(&door->lock);
    exchange->request.id = ++door->serial;
    door->exchange_count++;
    pthread_mutex_unlock(&door->lock);
    return exchange;
}

enum MHD_Result
api_request_on(void *cls, struct MHD_Connection *connection, const char *url,
               const char *method, const char *version, const char *upload,
               size_t *upload_len, void **context)
{
    struct exchange *exchange = *context;
    struct MHD_Response *response;

    (void)cls;
    (void)connection;
    (void)url;
    (void)version;
    if (exchange == NULL) {
        return MHD_NO; /* without memory */
    }
    switch (exchange->state) {
    case EX_NEW:
        return headers_in(exchange, method);
    case EX_READING:
        if (*upload_len > 0) {
            body_in(exchange, upload, *upload_len);
            *upload_len = 0;
            return MHD_YES;
        }
        return whole(exchange);
    case EX_BACK:
        response = exchange->response;
        exchange->response = NULL;
        return answer(exchange, exchange->status, response);
    case EX_AWAY:
        break;
    }
    return MHD_NO;
}

void
api_request_end(void *cls, struct MHD_Connection *connection, void **context,
                enum MHD_RequestTerminationCode code)
{
    struct api_door *door = cls;
    struct exchange *exchange = *context;

    (void)connection;
    (void)code;
    if (exchange == NULL) {
        return;
    }
    *context = NULL;
    api_conn_phase(exchange->conn, HTTP_IDLE);
    body_free(exchange);
    pthread_mutex_lock(&door->lock);
    if (exchange->lent) {
        api_from_leave(exchange->conn);
    }
    door->exchange_count--;
    pthread_cond_signal(&door->wake);
    pthread_mutex_unlock(&door->lock);
    if (exchange->response != NULL) {
        MHD_destroy_response(exchange->response);
    }
    free(exchange->uri);
    free(exchange);
}
