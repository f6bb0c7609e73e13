#include "actors/api/api_door_priv.h"
#include "core/limits.h"
#include "core/log.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t
api_door_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void
api_door_log(struct api_door *door, int level, const char *line)
{
    if (door->cfg.log != NULL) {
        door->cfg.log(door->cfg.log_ctx, level, line);
    }
}

uint64_t
api_door_due(struct http_said *said)
{
    uint64_t now_ms = api_door_now_ms(), count = ++said->unsaid;

    if (said->at_ms != 0 && now_ms - said->at_ms < DOOR_SAY_MS) {
        return 0;
    }
    said->at_ms = now_ms;
    said->unsaid = 0;
    return count;
}

void
api_door_say(struct api_door *door, const char *words, const char *address,
             const char *what, uint64_t count)
{
    char line[DOOR_LINE_MAX];

    if (count == 0) {
        return;
    }
    snprintf(line, sizeof(line), "%s address=%s%s%s%s count=%llu", words, address,
             what == NULL ? "" : " what=\"", what == NULL ? "" : what,
             what == NULL ? "" : "\"", (unsigned long long)count);
    api_door_log(door, AN_LOG_INFO, line);
}

/* What clients do wrong is no operator's business; what keeps the door from starting is.
 */
__attribute__((format(printf, 2, 0))) static void
on_log(void *cls, const char *fmt, va_list args)
{
    struct api_door *door = cls;
    char line[DOOR_LINE_MAX];

    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\n")] = '\0';
    api_door_log(door, AN_LOG_DEBUG, line);
}

/* ------------------------------------------------------------------ listening */

static bool
bind_at(struct http_listener *listener)
{
    struct an_listen bound = {.scheme = listener->at.scheme};
    const struct sockaddr *at = (const struct sockaddr *)&listener->at.at;
    socklen_t len = at->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                              : sizeof(struct sockaddr_in);
    socklen_t got = sizeof(bound.at);
    int on = 1;

    listener->fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0 ||
        setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(listener->fd, at, len) != 0 || listen(listener->fd, DOOR_BACKLOG) != 0 ||
        getsockname(listener->fd, (struct sockaddr *)&bound.at, &got) != 0) {
        return false;
    }
    an_listen_print(&bound, listener->address, sizeof(listener->address));
    return true;
}

static bool
serve_at(struct api_door *door, struct http_listener *listener)
{
    const bool secret = an_scheme_cover(listener->at.scheme) == AN_COVER_TLS;
    const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)api_tls_choose},
        {MHD_OPTION_HTTPS_PRIORITIES, 0,
         (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_ERROR_LOG | (secret ? MHD_USE_TLS : 0u);

    listener->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, api_request_on, door, MHD_OPTION_EXTERNAL_LOGGER, on_log,
        door, MHD_OPTION_LISTEN_SOCKET, listener->fd, MHD_OPTION_URI_LOG_CALLBACK,
        api_request_begin, door, MHD_OPTION_NOTIFY_COMPLETED, api_request_end, door,
        MHD_OPTION_NOTIFY_CONNECTION, api_conn_notify, door, MHD_OPTION_CONNECTION_LIMIT,
        door->cfg.conns_max + DOOR_SPARE_CONNS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)AN_HTTP_HEADERS_LEN_MAX, MHD_OPTION_ARRAY, secret ? tls : none,
        MHD_OPTION_END);
    return listener->daemon != NULL;
}

static void
close_listeners(struct an_door *base)
{
    struct api_door *door = (struct api_door *)base;

    for (unsigned i = 0; i < door->listener_count; i++) {
        struct http_listener *listener = &door->listeners[i];

        if (listener->daemon != NULL && !listener->quiet) {
            listener->quiet = true;
            (void)MHD_quiesce_daemon(listener->daemon);
        }
    }
}

static const char *
address(const struct an_door *base, unsigned index)
{
    const struct api_door *door = (const struct api_door *)base;

    return index < door->listener_count ? door->listeners[index].address : NULL;
}

/* ------------------------------------------------------------------ errands */

static struct MHD_Response *
metrics_response(const char *text)
{
    struct MHD_Response *response;

    if (text == NULL) {
        return api_response_error(AN_ERR_UNAVAILABLE);
    }
    response = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                               MHD_RESPMEM_MUST_COPY);
    if (response != NULL) {
        (void)MHD_add_response_header(response, "Content-Type",
                                      "text/plain; version=0.0.4; charset=utf-8");
    }
    return response;
}

/* What takes its time and needs no actor: nobody else waits for it. One answer for all
 * who asked meanwhile. */
static void *
errands_main(void *arg)
{
    struct api_door *door = arg;
    struct exchange *all;

    pthread_setname_np(pthread_self(), "http-errands");
    pthread_mutex_lock(&door->lock);
    while (!door->quitting) {
        all = api_queue_take_all(&door->metrics);
        if (all == NULL) {
            pthread_cond_wait(&door->errand, &door->lock);
            continue;
        }
        pthread_mutex_unlock(&door->lock);
        {
            char *text = door->cfg.metrics == NULL
                             ? NULL
                             : door->cfg.metrics(door->cfg.metrics_ctx);

            while (all != NULL) {
                struct exchange *next = all->next;

                api_request_back(all, text == NULL ? 503 : 200, metrics_response(text));
                all = next;
            }
            free(text);
        }
        pthread_mutex_lock(&door->lock);
    }
    pthread_mutex_unlock(&door->lock);
    return NULL;
}

/* ------------------------------------------------------------------ the loop */

static enum an_err
start(struct an_door *base, const struct an_door_host *host)
{
    struct api_door *door = (struct api_door *)base;

    door->host = *host;
    for (unsigned i = 0; i < door->listener_count; i++) {
        char line[DOOR_LINE_MAX];

        if (!bind_at(&door->listeners[i]) || !serve_at(door, &door->listeners[i])) {
            snprintf(line, sizeof(line), "cannot listen: %s", strerror(errno));
            api_door_log(door, AN_LOG_ERROR, line);
            return AN_ERR_CONNECTION;
        }
    }
    if (pthread_create(&door->errands, NULL, errands_main, door) != 0) {
        return AN_ERR_NO_MEMORY;
    }
    door->has_errands = true;
    return AN_OK;
}

static void
deliver(struct api_door *door, struct exchange *exchange)
{
    door->msg.kind = AN_KIND_HTTP;
    door->msg.http = &exchange->request;
    door->msg.refs = 1;
    door->host.deliver(door->host.ctx, &door->msg);
    assert(door->msg.refs == 1); /* borrowed: nobody holds it */
}

/* Waits for requests, a wake, the actor's next timer and the next look at deadlines. */
static struct exchange *
await(struct api_door *door, uint64_t wait_ms)
{
    struct exchange *all;
    uint64_t until_ms;
    struct timespec until;
    int rv = 0;

    pthread_mutex_lock(&door->lock);
    if (door->conn_count > 0 && wait_ms > DOOR_TICK_MS) {
        wait_ms = DOOR_TICK_MS;
    }
    until_ms = api_door_now_ms() + (wait_ms < UINT32_MAX ? wait_ms : UINT32_MAX);
    until =
        (struct timespec){(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
    while (rv == 0 && wait_ms > 0 && !door->woken && !door->quitting &&
           door->fresh.first == NULL) {
        rv = pthread_cond_timedwait(&door->wake, &door->lock, &until);
    }
    door->woken = false;
    all = api_queue_take_all(&door->fresh);
    pthread_mutex_unlock(&door->lock);
    return all;
}

static bool
is_quitting(struct api_door *door)
{
    bool quitting;

    pthread_mutex_lock(&door->lock);
    quitting = door->quitting;
    pthread_mutex_unlock(&door->lock);
    return quitting;
}

static void
run(struct an_door *base)
{
    struct api_door *door = (struct api_door *)base;
    uint64_t wait_ms = door->host.turn(door->host.ctx), swept_ms = 0;

    while (!is_quitting(door)) {
        struct exchange *all = await(door, wait_ms);

        while (all != NULL) {
            struct exchange *next = all->next; /* the answer may come at once */

            deliver(door, all);
            all = next;
        }
        if (api_door_now_ms() - swept_ms >= DOOR_TICK_MS) {
            swept_ms = api_door_now_ms();
            api_conn_sweep(door);
        }
        wait_ms = door->host.turn(door->host.ctx);
    }
}

static void
wake(struct an_door *base)
{
    struct api_door *door = (struct api_door *)base;

    pthread_mutex_lock(&door->lock);
    door->woken = true;
    pthread_cond_signal(&door->wake);
    pthread_mutex_unlock(&door->lock);
}

static void
carry(struct an_door *base, const struct an_effect *effect, const uint8_t *bytes)
{
    struct api_door *door = (struct api_door *)base;
    struct exchange *exchange;

    if (effect->type != AN_EFFECT_HTTP) {
        return;
    }
    pthread_mutex_lock(&door->lock);
    exchange = door->away;
    while (exchange != NULL && exchange->request.id != effect->conn) {
        exchange = exchange->away_next;
    }
    pthread_mutex_unlock(&door->lock);
    if (exchange != NULL) {
        struct MHD_Response *response =
            api_response_json(bytes, effect->len, effect->retry_s);

        api_response_allow(response, effect->allow);
        api_request_back(exchange, effect->status, response);
    }
}

static void
flush(struct an_door *base)
{
    (void)base; /* each answer is on its way already */
}

static enum an_err
reload(struct an_door *base, char *why, size_t why_len)
{
    return api_tls_reload((struct api_door *)base, why, why_len);
}

static void
metrics(const struct an_door *base, an_metric_f *metric, void *ctx)
{
    struct api_door *door = (struct api_door *)(uintptr_t)base; /* for its lock */
    struct http_counters count;
    uint32_t conns;
    size_t body_bytes;

    pthread_mutex_lock(&door->lock);
    count = door->count;
    conns = door->conn_count - door->cut_count;
    body_bytes = door->body_bytes;
    pthread_mutex_unlock(&door->lock);
#define METRIC(name, sentence) metric(ctx, #name "_total", sentence, true, count.name);
    API_DOOR_COUNTERS(METRIC)
#undef METRIC
    metric(ctx, "conns", "HTTP connections now", false, conns);
    metric(ctx, "body_bytes", "Bytes held for bodies of HTTP requests now", false,
           body_bytes);
}

/* ------------------------------------------------------------------ the end */

static void
quit(struct an_door *base)
{
    struct api_door *door = (struct api_door *)base;

    pthread_mutex_lock(&door->lock);
    door->quitting = true;
    pthread_cond_broadcast(&door->wake);
    pthread_cond_broadcast(&door->errand);
    pthread_mutex_unlock(&door->lock);
}

/* Whom nobody will answer any more. */
static void
answer_left(struct api_door *door)
{
    for (;;) {
        struct exchange *exchange;

        pthread_mutex_lock(&door->lock);
        exchange = door->away;
        pthread_mutex_unlock(&door->lock);
        if (exchange == NULL) {
            return;
        }
        api_request_back(exchange, 503, api_response_error(AN_ERR_SHUTTING_DOWN));
    }
}

/* libmicrohttpd ends only when none of its connections sleeps. Last answers get a bounded
 * time to be taken. */
static void
end_all(struct api_door *door)
{
    uint64_t until_ms = api_door_now_ms() + AN_HTTP_END_MS;
    struct timespec until = {(time_t)(until_ms / 1000),
                             (long)(until_ms % 1000) * 1000000};
    bool late = false;

    if (door->has_errands) {
        pthread_join(door->errands, NULL);
    }
    for (;;) {
        bool done;

        answer_left(door);
        pthread_mutex_lock(&door->lock);
        if (!late && door->exchange_count > 0) {
            late = pthread_cond_timedwait(&door->wake, &door->lock, &until) != 0;
        }
        done = door->leaving == 0 && door->away == NULL &&
               (late || door->exchange_count == 0);
        pthread_mutex_unlock(&door->lock);
        if (done) {
            break;
        }
    }
    for (unsigned i = 0; i < door->listener_count; i++) {
        struct http_listener *listener = &door->listeners[i];

        if (listener->daemon != NULL) {
            MHD_stop_daemon(listener->daemon);
        }
        if (listener->fd >= 0 && (listener->daemon == NULL || listener->quiet)) {
            close(listener->fd);
        }
    }
}

static void
destroy(struct an_door *base)
{
    struct api_door *door = (struct api_door *)base;

    if (door == NULL) {
        return;
    }
    quit(base);
    end_all(door);
    assert(door->conns == NULL);
    an_froms_fini(&door->froms);
    pthread_mutex_destroy(&door->lock);
    pthread_cond_destroy(&door->wake);
    pthread_cond_destroy(&door->errand);
    if (door->web_fd >= 0) {
        close(door->web_fd);
    }
    api_tls_fini(door);
    free(door->origins);
    free(door);
}

/* ------------------------------------------------------------------ create */

static enum an_err
take_listeners(struct api_door *door, char *why, size_t why_len)
{
    const struct api_door_cfg *cfg = &door->cfg;
    bool secret = false;

    if (cfg->listen_count > API_DOOR_LISTEN_MAX) {
        snprintf(why, why_len, "more than %u addresses to listen on",
                 API_DOOR_LISTEN_MAX);
        return AN_ERR_CONFIG;
    }
    for (unsigned i = 0; i < cfg->listen_count; i++) {
        struct an_listen *at = &door->listeners[i].at;

        if (!an_listen_read(at, cfg->listen[i], true, why, why_len)) {
            return AN_ERR_CONFIG;
        }
        secret = secret || an_scheme_cover(at->scheme) == AN_COVER_TLS;
    }
    door->listener_count = cfg->listen_count;
    return secret ? api_tls_init(door, why, why_len) : AN_OK;
}

static void
defaults(struct api_door_cfg *cfg)
{
#define DEFAULT(field, value) cfg->field = cfg->field == 0 ? (value) : cfg->field
    DEFAULT(conns_max, AN_HTTP_CONNS_MAX);
    DEFAULT(body_len_max, AN_HTTP_BODY_LEN_MAX);
    DEFAULT(request_ms, AN_HTTP_REQUEST_MS);
    DEFAULT(answer_ms, AN_HTTP_ANSWER_MS);
    DEFAULT(idle_ms, AN_HTTP_IDLE_MS);
#undef DEFAULT
}

static void
init(struct api_door *door, const struct api_door_cfg *cfg)
{
    pthread_condattr_t mono;

    door->cfg = *cfg;
    defaults(&door->cfg);
    door->fresh.end = &door->fresh.first;
    door->metrics.end = &door->metrics.first;
    for (unsigned i = 0; i < API_DOOR_LISTEN_MAX; i++) {
        door->listeners[i].fd = -1;
    }
    randombytes_buf(&door->froms.hash_key, sizeof(door->froms.hash_key));
    pthread_mutex_init(&door->lock, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&door->wake, &mono);
    pthread_cond_init(&door->errand, &mono);
    pthread_condattr_destroy(&mono);
    door->web_fd =
        cfg->web == NULL ? -1 : open(cfg->web, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

enum an_err
api_door_create(struct an_door **out, const struct api_door_cfg *cfg, char *why,
                size_t why_len)
{
    static const struct an_door_ops ops = {
        .start = start,
        .address = address,
        .run = run,
        .wake = wake,
        .carry = carry,
        .flush = flush,
        .reload = reload,
        .metrics = metrics,
        .close_listeners = close_listeners,
        .quit = quit,
        .destroy = destroy,
    };
    struct api_door *door = calloc(1, sizeof(*door));
    enum an_err err = AN_OK;

    snprintf(why, why_len, "out of memory");
    if (door == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    door->door.ops = &ops;
    init(door, cfg);
    if (cfg->web != NULL && door->web_fd < 0) {
        snprintf(why, why_len, "api.web: %s: %s", cfg->web, strerror(errno));
        err = AN_ERR_CONFIG;
    }
    if (err == AN_OK && cfg->origins != NULL) {
        door->origins = strdup(cfg->origins);
        err = door->origins == NULL ? AN_ERR_NO_MEMORY : AN_OK;
    }
    if (err == AN_OK && cfg->proxies != NULL &&
        !an_nets_parse(&door->proxies, cfg->proxies)) {
        snprintf(why, why_len, "api.proxies: not addresses with commas between: %s",
                 cfg->proxies);
        err = AN_ERR_CONFIG;
    }
    if (err == AN_OK) {
        err = take_listeners(door, why, why_len);
    }
    if (err != AN_OK) {
        destroy(&door->door);
        return err;
    }
    *out = &door->door;
    return AN_OK;
}
