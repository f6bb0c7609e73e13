/* A node's configuration: one table, from which the file's keys, the defaults, the bounds
 * and docs/configuration.md come.
 *
 * Context: read once at start, constant afterwards. */
#ifndef AN_CLUSTER_CONFIG_H
#define AN_CLUSTER_CONFIG_H

#include "cluster/yaml.h"
#include "core/apps.h"
#include "core/err.h"
#include "core/limits.h"
#include "core/listen.h"
#include "core/token.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TEXT(section, key, default, help)
 * CHOICE(section, key, default, choices separated by '|', help)
 * NUMBER(section, key, default, least, most, help)
 * Sections nest once in the file ("gate: {idle_ms: 30000}"); top keys stand alone. */
#define AN_CONFIG_TOP(TEXT, CHOICE, NUMBER)                                              \
    TEXT(top, listen, "tcp://127.0.0.1:7400, ws://127.0.0.1:7402",                       \
         "Where clients connect, one or a list: [Doors](#doors).")                       \
    TEXT(top, data, "./anser-data", "The node's directory; `--data` wins.")              \
    CHOICE(top, bus, "inproc", "inproc|ipc", "What actors of the node speak over.")      \
    CHOICE(top, trace, "on", "on|off", "Actors remember hops for `anser trace`.")
#define AN_CONFIG_LOG(TEXT, CHOICE, NUMBER)                                              \
    CHOICE(log, level, "info", "error|warn|info|debug", "Lines above it are dropped.")   \
    CHOICE(log, format, "text", "text|json", "One line of text, or of JSON, for each.")
#define AN_CONFIG_GATE(TEXT, CHOICE, NUMBER)                                             \
    NUMBER(gate, conns_max, AN_CONNS_MAX, 1, 1000000,                                    \
           "Connections; beyond: TOO_MANY_CONNECTIONS.")                                 \
    NUMBER(gate, heartbeat_ms, AN_HEARTBEAT_MS, 100, 3600000,                            \
           "Clients are told to ping this often.")                                       \
    NUMBER(gate, idle_ms, AN_IDLE_MS, 200, 86400000,                                     \
           "Silent longer: closed. At least twice heartbeat_ms.")                        \
    NUMBER(gate, login_timeout_ms, AN_LOGIN_TIMEOUT_MS, 100, 3600000,                    \
           "Connected but not logged in: closed.")                                       \
    NUMBER(gate, output_bytes_max, AN_CONN_OUTPUT_MAX, AN_PAGE_BYTES_MAX + 65536,        \
           1073741824, "Unread output of a connection; beyond: SLOW_CONSUMER.")          \
    NUMBER(gate, sends_max, AN_CONN_SENDS_MAX, 1, 65536,                                 \
           "Unanswered sends of a connection; beyond: BUSY.")                            \
    NUMBER(gate, user_sends_per_s, AN_USER_SENDS_PER_S, 0, 1000000,                      \
           "Of one user, on all his connections; beyond: RATE. 0: no limit.")            \
    NUMBER(gate, user_syncs_per_s, AN_USER_SYNCS_PER_S, 0, 1000000,                      \
           "The same for `Sync`.")                                                       \
    NUMBER(gate, user_histories_per_s, AN_USER_HISTORIES_PER_S, 0, 1000000,              \
           "The same for `History`.")                                                    \
    NUMBER(gate, user_confirms_per_s, AN_USER_CONFIRMS_PER_S, 0, 1000000,                \
           "The same for `Confirm`.")                                                    \
    NUMBER(gate, user_heartbeats_per_s, AN_USER_HEARTBEATS_PER_S, 0, 1000000,            \
           "The same for `Heartbeat`.")                                                  \
    NUMBER(gate, user_logins_per_s, AN_USER_LOGINS_PER_S, 0, 1000000,                    \
           "The same for `Login`, whose token is good.")                                 \
    NUMBER(gate, address_logins_per_s, AN_ADDRESS_LOGINS_PER_S, 0, 1000000,              \
           "`Login`s from one address, good or not; beyond: RATE. 0: no limit.")         \
    NUMBER(gate, address_requests_per_s, AN_ADDRESS_REQUESTS_PER_S, 0, 10000000,         \
           "All other requests from one address.")                                       \
    NUMBER(gate, rate_burst_s, AN_RATE_BURST_S, 1, 3600,                                 \
           "Of all these, so many seconds' worth may come at once.")                     \
    NUMBER(gate, address_conns_max, AN_ADDRESS_CONNS_MAX, 0, 1000000,                    \
           "Connections of one address (/64 of IPv6); beyond: ADDRESS_FULL. 0: no "      \
           "limit.")                                                                     \
    TEXT(gate, unlimited, "127.0.0.0/8, ::1",                                            \
         "Addresses that the limits of addresses are not for: proxies, networks.")       \
    CHOICE(gate, plain, "loopback", "loopback|anywhere",                                 \
           "Where addresses without TLS or Noise may be.")                               \
    TEXT(gate, tls_cert, "", "PEM file: the certificate, then its chain.")               \
    TEXT(gate, tls_key, "",                                                              \
         "PEM file: its key; said in the log when others may read it.")                  \
    TEXT(gate, tls_client_ca, "",                                                        \
         "PEM file; when given, clients show a certificate of these CAs.")               \
    TEXT(gate, noise_key, "",                                                            \
         "JSON file: the key of `noise://`; \"\": noise.json in `data`, made there.")    \
    NUMBER(gate, handshake_ms, AN_HANDSHAKE_MS, 100, 600000,                             \
           "For TLS, Noise, a WebSocket's opening; then closed.")                        \
    NUMBER(gate, handshakes_max, AN_HANDSHAKES_MAX, 1, 65536,                            \
           "Of them at once; beyond, the oldest is closed.")                             \
    NUMBER(gate, accept_per_s, AN_ACCEPT_PER_S, 0, 1000000,                              \
           "Connections taken; the rest wait. 0: no limit.")                             \
    NUMBER(gate, accept_burst, AN_ACCEPT_BURST, 1, 1000000,                              \
           "Of them at once, after a quiet time.")                                       \
    TEXT(gate, origins, "*",                                                             \
         "Pages that may open a WebSocket, with commas between; `*`: any.")
#define AN_CONFIG_API(TEXT, CHOICE, NUMBER)                                              \
    TEXT(api, listen, "http://127.0.0.1:7480",                                           \
         "Where HTTP is spoken, one or a list; `off`: nowhere. [HTTP](http.md).")        \
    CHOICE(api, plain, "loopback", "loopback|anywhere",                                  \
           "Where http:// addresses may be.")                                            \
    CHOICE(api, register, "open", "open|closed",                                         \
           "Whether people make their own accounts; an app may say otherwise.")          \
    NUMBER(api, token_ms, AN_TOKEN_TTL_MS, 1000, 31536000000,                            \
           "How long a login's token is good.")                                          \
    NUMBER(api, refresh_ms, AN_REFRESH_TTL_MS, 1000, 31536000000,                        \
           "How long a refresh token is good that is not used.")                         \
    TEXT(api, gates, "",                                                                 \
         "Addresses that clients are told, with commas; empty: where gates listen.")     \
    TEXT(api, origins, "",                                                               \
         "Origins of pages elsewhere that may ask, with commas; `*`: any.")              \
    TEXT(api, proxies, "",                                                               \
         "Proxies, with commas: X-Forwarded-For of these is believed.")                  \
    TEXT(api, web, "",                                                                   \
         "Directory of the web page; empty: the one that came with the program.")        \
    NUMBER(api, conns_max, AN_HTTP_CONNS_MAX, 1, 65536,                                  \
           "Connections; beyond, one of the address that has most is closed.")           \
    NUMBER(api, body_len_max, AN_HTTP_BODY_LEN_MAX, 1024, 16777216,                      \
           "Bytes of a request's body; beyond: BODY_TOO_LARGE.")                         \
    NUMBER(api, request_ms, AN_HTTP_REQUEST_MS, 100, 600000,                             \
           "For a whole request to come in; then closed.")                               \
    NUMBER(api, answer_ms, AN_HTTP_ANSWER_MS, 100, 3600000,                              \
           "For answers to be taken, all since nothing was left to take; then closed.")  \
    NUMBER(api, idle_ms, AN_HTTP_IDLE_MS, 100, 3600000,                                  \
           "Between two requests of a connection; then closed.")
#define AN_CONFIG_SEQUENCER(TEXT, CHOICE, NUMBER)                                        \
    NUMBER(sequencer, dedupe_window_ms, AN_DEDUPE_WINDOW_MS, 60000, 2592000000,          \
           "A client_msg_id is remembered this long.")                                   \
    NUMBER(sequencer, dedupe_rows_max, AN_DEDUPE_ROWS_MAX, 1024, 16777216,               \
           "Of them in memory; older ones are asked of the store.")                      \
    NUMBER(sequencer, convs_max, AN_SEQ_CONVS_MAX, 1024, 16777216,                       \
           "Conversations in memory.")                                                   \
    NUMBER(sequencer, pending_bytes_max, AN_SEQ_PENDING_BYTES_MAX, 1048576, 4294967295,  \
           "Commands waiting; beyond: BUSY.")                                            \
    NUMBER(sequencer, confirm_delay_ms, AN_CONFIRM_DELAY_MS, 1, 10000,                   \
           "Confirms wait this long for a message's sync to ride on.")
#define AN_CONFIG_IDGEN(TEXT, CHOICE, NUMBER)                                            \
    NUMBER(idgen, worker, 0, 0, 1023,                                                    \
           "Worker bits of message ids; unique in a cluster.")                           \
    NUMBER(idgen, reserve_ms, AN_ID_RESERVE_MS, 100, 600000,                             \
           "Logical milliseconds reserved at a time.")                                   \
    NUMBER(idgen, segment, AN_ID_SEGMENT, 1, 1048576,                                    \
           "User keys leased at a time; a restart skips the rest.")
#define AN_CONFIG_STORE(TEXT, CHOICE, NUMBER)                                            \
    CHOICE(store, engine, "lmdb", "lmdb|memory",                                         \
           "What lies under the log; memory: log and memory only, for tests.")           \
    NUMBER(store, overlay_rows_max, AN_OVERLAY_ROWS_MAX, 16, 16777216,                   \
           "Rows in memory that make an apply due.")                                     \
    NUMBER(store, overlay_bytes_max, AN_OVERLAY_BYTES_MAX, 65536, 4294967295,            \
           "Or bytes; at four times: BUSY.")                                             \
    NUMBER(store, log_segment_bytes, AN_LOG_SEGMENT_BYTES, 8388608, 4294967295,          \
           "Size of a preallocated log file; one is always spare.")                      \
    NUMBER(store, lmdb_map_bytes, AN_LMDB_MAP_BYTES, 67108864, 17592186044416,           \
           "Address space of the LMDB map, not disk.")                                   \
    NUMBER(store, page_items_max, AN_PAGE_ITEMS_MAX, 1, 1000,                            \
           "Entries of one Sync or History answer.")
#define AN_CONFIG(TEXT, CHOICE, NUMBER)                                                  \
    AN_CONFIG_TOP(TEXT, CHOICE, NUMBER)                                                  \
    AN_CONFIG_LOG(TEXT, CHOICE, NUMBER)                                                  \
    AN_CONFIG_GATE(TEXT, CHOICE, NUMBER)                                                 \
    AN_CONFIG_API(TEXT, CHOICE, NUMBER)                                                  \
    AN_CONFIG_SEQUENCER(TEXT, CHOICE, NUMBER)                                            \
    AN_CONFIG_IDGEN(TEXT, CHOICE, NUMBER)                                                \
    AN_CONFIG_STORE(TEXT, CHOICE, NUMBER)

/* A key of an app's sign-on service, as configured. */
struct config_key {
    char app[AN_NAME_LEN_MAX + 1], id[AN_NAME_LEN_MAX + 1];
    enum an_token_alg alg;
    char issuer[256]; /* "": any */
    char *file;       /* PEM; owned */
};

#define AN_CONFIG_TEXT(section, key, default, help)            char *section##_##key;
#define AN_CONFIG_CHOICE(section, key, default, choices, help) char *section##_##key;
#define AN_CONFIG_NUMBER(section, key, default, least, most, help)                       \
    uint64_t section##_##key;
/* Texts are owned: config_fini. */
struct config {
    AN_CONFIG(AN_CONFIG_TEXT, AN_CONFIG_CHOICE, AN_CONFIG_NUMBER)
    struct an_apps apps;                           /* `apps:`, a list */
    struct config_key keys[AN_TOKEN_KEYS_MAX - 1]; /* of them */
    unsigned key_count;
};
#undef AN_CONFIG_TEXT
#undef AN_CONFIG_CHOICE
#undef AN_CONFIG_NUMBER

/* Every key at its default. AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err config_init(struct config *config);
/* Sets the keys that a YAML file names, over what is there. AN_ERR_CONFIG: *why names
 * file, line and key, and *config may be half set; AN_ERR_IO: it cannot be read. */
AN_MUST_USE enum an_err config_load(struct config *config, const char *path, char *why,
                                    size_t why_len);
/* As config_load, from text; name stands for the file in *why. */
AN_MUST_USE enum an_err config_parse(struct config *config, const char *name,
                                     const char *text, size_t len, char *why,
                                     size_t why_len);
/* Sets the keys of a mapping: a whole configuration, or with settings a cluster file's
 * `settings:`, which has no listen, data and bus. Errors as config_parse. */
AN_MUST_USE enum an_err config_take(struct config *config, struct an_yaml_at map,
                                    bool settings);
/* Replaces one text (a command line option's). AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err config_set_text(char **text, const char *value);
void config_fini(struct config *config);
/* The list under `apps:`, over what is there. AN_ERR_CONFIG. */
AN_MUST_USE enum an_err config_apps_take(struct config *config, struct an_yaml_at list);
/* Whether the api's gates and origins and the gate's origins are what they have to be,
 * where the file names them. AN_ERR_CONFIG. */
AN_MUST_USE enum an_err config_urls_check(const struct config *config,
                                          struct an_yaml_at map);
/* NULL: clients may be let in there. Else what keeps them out: a clear text beyond
 * loopback that nobody asked for, TLS or Noise without its files. */
const char *config_listen_refusal(const struct config *config,
                                  const struct an_listen *listen);
/* The addresses of a list with commas, up to most of them; "off" has none. text is cut up
 * and kept: *out point into it. AN_ERR_CONFIG with *why. */
AN_MUST_USE enum an_err config_split_listen(char *text, char **out, unsigned most,
                                            unsigned *count, char *why, size_t why_len);

#endif
