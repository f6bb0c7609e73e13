#include "client/cli/target.h"
#include "core/noise.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    REACH_MS = 3000,            /* a server never reached by then is given up */
    TOKEN_TTL_MS = 3600 * 1000, /* minted for oneself; a longer run gets another */
};

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void
cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler =
                                   on_signal}; /* no restart: poll must return */

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool
cli_interrupted(void)
{
    return interrupted != 0;
}

uint64_t
cli_mono_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int
cli_fail_error(const struct anser_error *error, const char *what)
{
    static const int codes[] = {0, 3, 4, 5, 6, 7, 8, 9};

    fprintf(stderr, "anser: %s: %s (%s)\n", what, error->text, error->name);
    return error->code == 0 ? an_err_exit_code(AN_ERR_INTERNAL) : codes[error->category];
}

/* ------------------------------------------------------------------ tokens */

static char *
read_token_file(const char *path)
{
    char buf[AN_TOKEN_LEN_MAX + 2];
    FILE *file = fopen(path, "re");
    size_t len;

    if (file == NULL) {
        return NULL;
    }
    len = fread(buf, 1, sizeof(buf) - 1, file);
    (void)fclose(file);
    while (len > 0 && (buf[len - 1] == '\n' || buf[len - 1] == '\r')) {
        len--;
    }
    buf[len] = '\0';
    return strdup(buf);
}

static char *
make_token(const struct cli_target *target, enum an_err *err)
{
    char *token = NULL;

    *err = AN_OK;
    if (target->token != NULL) {
        token = target->token[0] == '@' ? read_token_file(target->token + 1)
                                        : strdup(target->token);
        *err = token == NULL ? AN_ERR_IO : AN_OK;
        return token;
    }
    *err = cli_node_token(&token, &target->node, target->user, TOKEN_TTL_MS);
    return token;
}

static char *
on_token(void *user)
{
    enum an_err err;

    return make_token(user, &err);
}

static void
on_warning(void *user, const struct anser_error *warning)
{
    struct cli_target *target = user;

    fprintf(stderr, "anser: %s: warning: %s (%s)\n", target->command, warning->text,
            warning->name);
}

/* ------------------------------------------------------------------ opening */

/* Whom to connect to: addresses has room for CLI_ADDRESSES_MAX. */
static int
find_server(struct cli_target *target, const char **addresses, size_t *count)
{
    int code;

    if (target->server != NULL) {
        if (target->token == NULL) {
            return cli_usage(target->command, "--server needs --token");
        }
        addresses[0] = target->server;
        *count = 1;
        return -1;
    }
    if (target->user == NULL && target->token == NULL) {
        return cli_usage(target->command, "who are you? --user NAME");
    }
    code = cli_node_open(&target->node, target->command, target->cluster, target->host,
                         target->data);
    for (size_t i = 0; i < target->node.tcp_count; i++) {
        addresses[i] = target->node.tcp[i];
    }
    *count = target->node.tcp_count;
    return code;
}

void
cli_target_tls(struct anser_options *options, const char *ca, const char *cert,
               const char *key)
{
    const char *env = getenv("ANSER_CA");

    options->ca_file = ca != NULL ? ca : env != NULL && env[0] != '\0' ? env : NULL;
    options->cert_file = cert;
    options->key_file = key;
}

/* Which of the files of TLS cannot be used. */
static int
fail_tls(const struct anser_options *options)
{
    const char *const files[] = {options->ca_file, options->cert_file, options->key_file};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i] != NULL && access(files[i], R_OK) != 0) {
            return cli_fail(AN_ERR_IO, files[i], strerror(errno));
        }
    }
    return cli_fail(AN_ERR_TLS, options->ca_file == NULL ? "TLS" : options->ca_file,
                    options->cert_file == NULL
                        ? "no certificate in PEM is in there"
                        : "no certificate in PEM, or certificate and key do not match");
}

static int
fail_noise(const char *address, const char *key)
{
    uint8_t raw[AN_NOISE_KEY_LEN];

    if (key == NULL) {
        return cli_fail(AN_ERR_ARGUMENT, address,
                        "with noise:// there must be --server-key, which `anser noise "
                        "key` prints on the server");
    }
    return cli_fail(AN_ERR_ARGUMENT, an_noise_key_parse(raw, key) ? address : key,
                    an_noise_key_parse(raw, key)
                        ? "it is no noise://HOST:PORT"
                        : "it is no key of 32 bytes in base64 (43 characters)");
}

int
cli_target_open(struct cli_target *target, struct anser_options *options,
                const char *device_default)
{
    const char *addresses[CLI_ADDRESSES_MAX];
    size_t count = 0;
    char *token = NULL;
    enum an_err err;
    int code = find_server(target, addresses, &count);

    if (code >= 0) {
        return code;
    }
    token = make_token(target, &err);
    if (token == NULL) {
        return cli_fail(err, target->token != NULL ? target->token : target->user, NULL);
    }
    options->addresses = addresses;
    options->address_count = count;
    options->token = token;
    cli_target_tls(options, target->ca, target->cert, target->key);
    options->server_key =
        target->server_key != NULL ? target->server_key : target->node.server_key;
    options->device = target->device != NULL ? target->device : device_default;
    options->client_name = "anser-cli " AN_VERSION;
    options->user = target;
    options->callbacks.on_token = on_token;
    if (options->callbacks.on_warning == NULL) {
        options->callbacks.on_warning = on_warning;
    }
    err = (enum an_err)anser_client_create(&target->client, options);
    sodium_memzero(token, strlen(token));
    free(token);
    if (err == AN_ERR_TLS) {
        return fail_tls(options);
    }
    if (err == AN_ERR_ARGUMENT && strncmp(addresses[0], "noise", 5) == 0) {
        return fail_noise(addresses[0], options->server_key);
    }
    if (err == AN_ERR_ARGUMENT && strncmp(addresses[0], "ws", 2) == 0) {
        return cli_fail(err, addresses[0],
                        "commands speak no WebSocket: a gate needs a tcp://, tls:// "
                        "or noise:// address for them");
    }
    if (err != AN_OK) {
        return cli_fail(err, err == AN_ERR_DEVICE_NAME ? options->device : addresses[0],
                        NULL);
    }
    target->began_ms = cli_mono_ms();
    return -1;
}

void
cli_target_close(struct cli_target *target)
{
    anser_client_destroy(target->client);
    target->client = NULL;
    cli_node_fini(&target->node);
}

/* ------------------------------------------------------------------ waiting */

/* Puts what was tried before the reason: before the first login nothing else says it. */
static void
say_what(const struct cli_target *target, struct anser_error *error)
{
    char text[sizeof(error->text)];

    if (target->was_online) {
        return;
    }
    if (error->code == ANSER_ERR_CONNECTION) {
        (void)snprintf(text, sizeof(text), "no server answers at %.80s%s",
                       target->server != NULL ? target->server : target->node.tcp[0],
                       target->node.tcp_count > 1 ? " or the others" : "");
    } else if (error->code == ANSER_ERR_TLS) {
        (void)snprintf(text, sizeof(text), "%.60s: %.90s",
                       target->server != NULL ? target->server : target->node.tcp[0],
                       error->text);
    } else if (target->user != NULL && target->token == NULL) {
        (void)snprintf(text, sizeof(text), "login as %.64s: %.80s", target->user,
                       error->text);
    } else {
        (void)snprintf(text, sizeof(text), "login: %.100s", error->text);
    }
    memcpy(error->text, text, sizeof(text));
}

static bool
unreachable(struct cli_target *target, struct anser_error *error)
{
    if (anser_client_state(target->client) == ANSER_STATE_ONLINE) {
        target->was_online = true;
    }
    *error = anser_client_error(target->client);
    if (target->was_online ||
        (error->code != ANSER_ERR_TLS && cli_mono_ms() - target->began_ms < REACH_MS)) {
        return false;
    }
    if (error->code == 0) {
        error->code = ANSER_ERR_TIMEOUT;
        error->category = anser_err_category(error->code);
        (void)snprintf(error->name, sizeof(error->name), "%s",
                       anser_err_name(error->code));
        (void)snprintf(error->text, sizeof(error->text), "%s",
                       anser_err_text(error->code));
    }
    return true;
}

enum an_err
cli_target_wait(struct cli_target *target, int fd, uint32_t ms, bool *ready,
                struct anser_error *error)
{
    struct anser_client *client = target->client;
    unsigned events = anser_client_events(client);
    int timeout = anser_client_timeout_ms(client);
    struct pollfd p[2] = {{.fd = anser_client_fd(client)}, {.fd = fd, .events = POLLIN}};
    enum anser_err err;

    p[0].events = (short)(((events & ANSER_READ) != 0 ? POLLIN : 0) |
                          ((events & ANSER_WRITE) != 0 ? POLLOUT : 0));
    if (timeout < 0 || (uint32_t)timeout > ms) {
        timeout = (int)ms;
    }
    if (poll(p, 2, timeout) < 0) {
        p[1].revents = 0;
    }
    if (ready != NULL) {
        *ready = p[1].revents != 0;
    }
    err = anser_client_process(client);
    if (err != ANSER_OK) {
        *error = anser_client_error(client);
    } else if (unreachable(target, error)) {
        err = ANSER_ERR_CONNECTION;
    }
    if (err != ANSER_OK) {
        say_what(target, error);
    }
    return (enum an_err)err;
}
