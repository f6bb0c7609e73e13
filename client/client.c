/* A client's life: options, process, wait, flush; and what the program may ask of it. */
#include "client/client_priv.h"
#include "proto/names.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t
system_mono_ms(void *ctx)
{
    struct timespec ts;

    (void)ctx;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint32_t
system_below(void *ctx, uint32_t bound)
{
    (void)ctx;
    return randombytes_uniform(bound);
}

void
ac_client_set_env(struct anser_client *client, const struct ac_env *env)
{
    client->env = *env;
    client->now = env->mono_ms(env->ctx);
}

void
ac_uuid7(uint8_t out[ANSER_MSG_ID_LEN], uint64_t unix_ms)
{
    randombytes_buf(out, ANSER_MSG_ID_LEN);
    for (int i = 0; i < 6; i++) {
        out[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
    }
    out[6] = (uint8_t)(0x70 | (out[6] & 0x0F));
    out[8] = (uint8_t)(0x80 | (out[8] & 0x3F));
}

void
ac_warn(struct anser_client *client, unsigned code, const char *text)
{
    struct anser_error warning = ac_error_text(code, text);

    if (client->callbacks.on_warning != NULL) {
        bool before = client->in_callback;
        client->in_callback = true;
        client->callbacks.on_warning(client->user, &warning);
        client->in_callback = before;
    }
}

/* ------------------------------------------------------------------ create */

static enum an_err
take_tls(struct anser_client *client, const struct anser_options *options)
{
    if (options->tls_with != NULL && options->tls_with->tls != NULL) {
        client->tls = options->tls_with->tls;
        client->tls->refs++;
        return AN_OK;
    }
    return ac_tls_create(&client->tls, options);
}

static enum an_err
take_addresses(struct anser_client *client, const struct anser_options *options)
{
    if (options->addresses == NULL || options->address_count == 0 ||
        options->address_count > ANSER_LIMIT_ADDRESSES_MAX) {
        return AN_ERR_ARGUMENT;
    }
    for (size_t i = 0; i < options->address_count; i++) {
        if (options->addresses[i] == NULL ||
            !ac_address_parse(&client->addresses[i], options->addresses[i])) {
            return AN_ERR_ARGUMENT;
        }
    }
    client->address_count = options->address_count;
    for (size_t i = 0; i < client->address_count; i++) {
        if (client->addresses[i].noise &&
            (options->server_key == NULL ||
             !an_noise_key_parse(client->server_key, options->server_key))) {
            return AN_ERR_ARGUMENT;
        }
    }
    for (size_t i = 0; i < client->address_count; i++) {
        if (client->addresses[i].tls) {
            return take_tls(client, options);
        }
    }
    return AN_OK;
}

static enum an_err
take_names(struct anser_client *client, const struct anser_options *options)
{
    const char *platform = options->platform == NULL ? "api" : options->platform;
    size_t device_len = options->device == NULL ? 0 : strlen(options->device);

    if (!an_name_valid((const uint8_t *)options->device, device_len)) {
        return AN_ERR_DEVICE_NAME;
    }
    if (strlen(platform) > AN_NAME_LEN_MAX) {
        return AN_ERR_ARGUMENT;
    }
    memcpy(client->device, options->device, device_len + 1);
    memcpy(client->platform, platform, strlen(platform) + 1);
    client->client_name =
        strdup(options->client_name == NULL ? "libanser" : options->client_name);
    if (client->client_name == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    if (strlen(client->client_name) > AN_NAME_LEN_MAX) {
        client->client_name[AN_NAME_LEN_MAX] = '\0';
    }
    if (options->cursor_path != NULL) {
        client->cursor_path = strdup(options->cursor_path);
        return client->cursor_path == NULL ? AN_ERR_NO_MEMORY : AN_OK;
    }
    return AN_OK;
}

static uint32_t
or_default(uint32_t value, uint32_t fallback)
{
    return value == 0 ? fallback : value;
}

static void
take_numbers(struct anser_client *client, const struct anser_options *o)
{
    client->window = or_default(o->window, ANSER_LIMIT_WINDOW);
    client->pending_max = or_default(o->pending_max, ANSER_LIMIT_PENDING_MAX);
    client->send_attempts_max =
        or_default(o->send_attempts_max, ANSER_LIMIT_SEND_ATTEMPTS_MAX);
    client->send_timeout_ms = or_default(o->send_timeout_ms, ANSER_LIMIT_SEND_TIMEOUT_MS);
    client->backoff_min_ms = or_default(o->backoff_min_ms, ANSER_LIMIT_BACKOFF_MIN_MS);
    client->backoff_max_ms = or_default(o->backoff_max_ms, ANSER_LIMIT_BACKOFF_MAX_MS);
    client->connect_timeout_ms =
        or_default(o->connect_timeout_ms, ANSER_LIMIT_CONNECT_TIMEOUT_MS);
    client->answer_timeout_ms =
        or_default(o->answer_timeout_ms, ANSER_LIMIT_ANSWER_TIMEOUT_MS);
    client->confirm_delay_ms =
        or_default(o->confirm_delay_ms, ANSER_LIMIT_CONFIRM_DELAY_MS);
}

static enum an_err
fill(struct anser_client *client, const struct anser_options *options)
{
    enum an_err err = take_addresses(client, options);

    if (err == AN_OK) {
        err = take_names(client, options);
    }
    if (err == AN_OK && options->token == NULL && options->callbacks.on_token == NULL) {
        err = AN_ERR_ARGUMENT;
    }
    if (err == AN_OK) {
        const char *token = options->token == NULL ? "" : options->token;
        err = (enum an_err)anser_client_set_token(client, token);
    }
    take_numbers(client, options);
    client->send_only = options->send_only;
    client->callbacks = options->callbacks;
    client->user = options->user;
    return err;
}

enum anser_err
anser_client_create(struct anser_client **out, const struct anser_options *options)
{
    static const struct ac_env system_env = {system_mono_ms, system_below, NULL};
    struct anser_client *client;
    enum an_err err;

    if (sodium_init() < 0) {
        return ANSER_ERR_IO;
    }
    client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return ANSER_ERR_NO_MEMORY;
    }
    ac_client_set_env(client, &system_env);
    ac_link_init(&client->link);
    an_arena_init(&client->arena, ANSER_LIMIT_UNPACK_BYTES_MAX);
    client->error = ac_error(AN_OK);
    client->confirm.due = AC_NEVER;
    client->following.check_at = AC_NEVER;
    err = fill(client, options);
    if (err != AN_OK) {
        anser_client_destroy(client);
        return (enum anser_err)err;
    }
    *out = client;
    return ANSER_OK;
}

static void
wipe(char *secret)
{
    if (secret != NULL) {
        sodium_memzero(secret, strlen(secret));
        free(secret);
    }
}

void
anser_client_destroy(struct anser_client *client)
{
    if (client == NULL) {
        return;
    }
    assert(!client->in_callback);
    ac_link_close(&client->link);
    ac_tls_unref(client->tls);
    ac_outgoing_free_all(client);
    ac_inbox_free(client);
    ac_history_free(client);
    ac_follow_free(client);
    ac_conv_free_all(client);
    an_arena_fini(&client->arena);
    wipe(client->token);
    free(client->cursor_path);
    free(client->client_name);
    free(client);
}

enum anser_err
anser_client_set_token(struct anser_client *client, const char *token)
{
    char *copy;

    if (token == NULL || strlen(token) > AN_TOKEN_LEN_MAX) {
        return ANSER_ERR_ARGUMENT;
    }
    copy = strdup(token);
    if (copy == NULL) {
        return ANSER_ERR_NO_MEMORY;
    }
    wipe(client->token);
    client->token = copy;
    return ANSER_OK;
}

/* ------------------------------------------------------------------ process */

static enum anser_err
closed_err(const struct anser_client *client)
{
    if (client->session.phase != AC_CLOSED) {
        return ANSER_OK;
    }
    return client->error.code == 0 ? ANSER_ERR_CONNECTION
                                   : (enum anser_err)client->error.code;
}

enum anser_err
anser_client_process(struct anser_client *client)
{
    if (client->in_callback) {
        return ANSER_ERR_ARGUMENT;
    }
    client->now = client->env.mono_ms(client->env.ctx);
    ac_session_step(client);
    ac_outgoing_expire(client);
    return closed_err(client);
}

int
anser_client_fd(const struct anser_client *client)
{
    return client->link.fd;
}

uint64_t
anser_client_link(const struct anser_client *client)
{
    return client->link.count;
}

unsigned
anser_client_events(const struct anser_client *client)
{
    return ac_link_events(&client->link);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int
anser_client_timeout_ms(const struct anser_client *client)
{
    uint64_t now = client->env.mono_ms(client->env.ctx);
    uint64_t due = ac_session_due(client);

    if (ac_link_holds_input(&client->link)) {
        return 0;
    }
    due = earlier(due, ac_outgoing_due(client));
    if (client->session.phase == AC_ONLINE) {
        due = earlier(due, ac_inbox_due(client));
        due = earlier(due, ac_confirm_due(client));
        due = earlier(due, ac_history_due(client));
    }
    if (due == AC_NEVER) {
        return -1;
    }
    if (due <= now) {
        return 0;
    }
    return due - now > INT32_MAX ? INT32_MAX : (int)(due - now);
}

enum anser_err
anser_client_wait(struct anser_client *client, uint32_t ms)
{
    struct pollfd p = {.fd = client->link.fd};
    unsigned events = anser_client_events(client);
    int timeout = anser_client_timeout_ms(client);

    if (client->in_callback) {
        return ANSER_ERR_ARGUMENT;
    }
    if (client->session.phase == AC_CLOSED) {
        return closed_err(client);
    }
    if (timeout < 0 || (uint32_t)timeout > ms) {
        timeout = ms > INT32_MAX ? INT32_MAX : (int)ms;
    }
    p.events = (short)(((events & ANSER_READ) != 0 ? POLLIN : 0) |
                       ((events & ANSER_WRITE) != 0 ? POLLOUT : 0));
    if (poll(&p, 1, timeout) < 0 && errno == EINTR) {
        return ANSER_OK; /* the program may want to look at what the signal meant */
    }
    return anser_client_process(client);
}

bool
anser_client_flushed(const struct anser_client *client)
{
    return client->sending.count == 0 && (client->send_only || ac_confirm_done(client));
}

enum anser_err
anser_client_flush(struct anser_client *client, uint32_t ms)
{
    uint64_t end = client->env.mono_ms(client->env.ctx) + ms;

    for (;;) {
        uint64_t now = client->env.mono_ms(client->env.ctx);
        enum anser_err err;

        if (anser_client_flushed(client)) {
            return ANSER_OK;
        }
        if (now >= end) {
            return ANSER_ERR_TIMEOUT;
        }
        ac_confirm_hurry(client);
        err = anser_client_wait(client, (uint32_t)(end - now));
        if (err != ANSER_OK) {
            return err;
        }
    }
}

void
anser_client_close(struct anser_client *client, uint32_t ms)
{
    uint64_t end = client->env.mono_ms(client->env.ctx) + ms;
    struct anser_error none = ac_error(AN_OK);
    Anser__Client__Logout logout = ANSER__CLIENT__LOGOUT__INIT;
    uint64_t link = client->link.count;

    if (client->in_callback || client->session.phase == AC_CLOSED) {
        return;
    }
    if (client->session.phase == AC_ONLINE && ms > 0 &&
        ac_session_ask(client, AN_COMMAND_LOGOUT, &logout.base,
                       &client->session.logout_request) == AN_OK) {
        while (client->session.phase == AC_ONLINE && client->link.count == link &&
               client->session.logout_request != 0 &&
               client->env.mono_ms(client->env.ctx) < end) {
            uint64_t left = end - client->env.mono_ms(client->env.ctx);
            (void)anser_client_wait(client, (uint32_t)left);
        }
    }
    client->now = client->env.mono_ms(client->env.ctx);
    ac_session_end(client, &none);
}

/* ------------------------------------------------------------------ questions */

enum anser_state
anser_client_state(const struct anser_client *client)
{
    return client->told_state;
}

const char *
anser_client_user(const struct anser_client *client)
{
    return client->name;
}

struct anser_error
anser_client_error(const struct anser_client *client)
{
    return client->error;
}

uint64_t
anser_client_server_time_ms(const struct anser_client *client)
{
    if (!client->session.server_time_known) {
        return 0;
    }
    return client->env.mono_ms(client->env.ctx) +
           (uint64_t)client->session.server_offset_ms;
}
