/* Where a client command connects, and as whom: the same options everywhere. */
#ifndef AN_CLIENT_CLI_TARGET_H
#define AN_CLIENT_CLI_TARGET_H

#include "client/anser.h"
#include "client/cli/args.h"
#include "client/cli/node.h"

/* First member of a command's state, which is what the callbacks get as user. Zero it. */
struct cli_target {
    const char *command; /* for error lines */
    const char *data, *cluster, *host, *server, *token, *user, *device;
    const char *ca, *cert, *key; /* of TLS; NULL: $ANSER_CA, none */
    const char *server_key;      /* of Noise; NULL: the node's */
    struct cli_node node;        /* unless server is given */
    struct anser_client *client;
    bool was_online;
    uint64_t began_ms;
};

/* Rows of a struct cli_option table. */
#define CLI_TARGET_OPTIONS(t)                                                            \
    {"data",    0,   "DIR", "the node's directory ($ANSER_DATA, else ./anser-data)",     \
     &(t).data, NULL},                                                                   \
        CLI_CLUSTER_OPTION((t).cluster), CLI_HOST_OPTION((t).host),                      \
        {"server",    0,   "URL", "tcp://, tls:// or noise://HOST:PORT; with --token",   \
         &(t).server, NULL},                                                             \
        {"ca",    0,                                                                     \
         "FILE",  "whom to believe with tls:// ($ANSER_CA, else the system's)",          \
         &(t).ca, NULL},                                                                 \
        {"cert",    0,   "FILE", "your certificate, where the server wants one",         \
         &(t).cert, NULL},                                                               \
        {"key", 0, "FILE", "its key", &(t).key, NULL},                                   \
        {"server-key",    0,   "KEY", "the server's public key, with noise://",          \
         &(t).server_key, NULL},                                                         \
        {"token",    0,   "T", "log in with this token; @FILE reads it from a file",     \
         &(t).token, NULL},                                                              \
    {                                                                                    \
        "device", 0, "NAME", "the device; each has its own place in the inbox",          \
            &(t).device, NULL                                                            \
    }
#define CLI_TARGET_USER(t)                                                               \
    {                                                                                    \
        "user", 'u', "NAME", "who you are (not needed with --token)", &(t).user, NULL    \
    }

/* Makes the client. options: callbacks and what the command wants; addresses, token,
 * device (device_default unless given) and user pointer are filled in here. -1, or the
 * exit code after naming the error. */
int cli_target_open(struct cli_target *target, struct anser_options *options,
                    const char *device_default);
/* Whom to believe, and whom to show: as given, else $ANSER_CA. */
void cli_target_tls(struct anser_options *options, const char *ca, const char *cert,
                    const char *key);
void cli_target_close(struct cli_target *target);
/* Waits for the client, for fd to be readable (fd -1: not) or ms, and processes. *ready
 * (may be NULL): fd has something. Not AN_OK: the client is closed, or a server that was
 * never reached is given up: what to say is in *error. */
AN_MUST_USE enum an_err cli_target_wait(struct cli_target *target, int fd, uint32_t ms,
                                        bool *ready, struct anser_error *error);
/* "anser: WHAT: REASON (NAME)"; returns the exit code. */
int cli_fail_error(const struct anser_error *error, const char *what);
uint64_t cli_mono_ms(void);
/* Set by SIGINT and SIGTERM after cli_catch_signals(). */
void cli_catch_signals(void);
bool cli_interrupted(void);

#endif
