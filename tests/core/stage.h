/* A stage of several processes and hosts for runner tests: places with free ports on
 * 127.0.0.1, certificates made on the spot, and the log to wait for. */
#ifndef AN_TESTS_CORE_STAGE_H
#define AN_TESTS_CORE_STAGE_H

#include "core/places.h"
#include "core/runner_nng.h"

enum { STAGE_HOSTS = 3, STAGE_INDEXES = 4 };

/* Zeroed: of one host and process. Belongs to one runner: its certificates are of one
 * host. */
struct stage {
    struct an_places places;
    struct an_host hosts[STAGE_HOSTS];
    struct an_place of[AN_ROLE_COUNT][STAGE_INDEXES];
};

/* Everybody in process 0 of host "a"; hosts "a", "b", "c" are all 127.0.0.1. */
void stage_init(struct stage *stage, uint16_t host_count);
/* Moves one, with ports that are free now. */
void stage_put(struct stage *stage, enum an_role role, uint16_t index, uint16_t host,
               uint16_t process);
/* The same stage as the host of that index sees it: with its own certificate. */
void stage_copy(struct stage *to, const struct stage *from, const char *cert);
/* Of another process: its pointers point nowhere. */
void stage_adopt(struct stage *to, const struct stage *from);
/* A port of 127.0.0.1 that nobody had a moment ago. */
uint16_t stage_port(void);

/* Makes a directory with ca.pem, a.pem, a.key, b..., c..., and of another CA other.pem,
 * stranger.pem (for the name "b"), stranger.key. cmocka's, around a group. */
int stage_certs_make(void **state);
int stage_certs_drop(void **state);
extern char stage_certs[64];

/* From now on stderr is read here, too. */
void stage_log_open(void);
void stage_log_close(void);
/* Waits for a line that holds the text; what came before it is forgotten. Fails the test
 * when none comes. */
void stage_log_await(const char *text);
/* Has such a line come until now? */
bool stage_log_has(const char *text);

#endif
