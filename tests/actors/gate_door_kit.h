/* The gate's door in a thread with a stub in the actor's place, and a blocking client:
 * for the test_gate_door*.c files. */
#ifndef AN_TESTS_ACTORS_GATE_DOOR_KIT_H
#define AN_TESTS_ACTORS_GATE_DOOR_KIT_H

#include "actors/gate/gate_door.h"
#include "core/limits.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

/* What the stub does with a frame, by its command. */
enum { CMD_ECHO = 1, CMD_KEEP = 2, CMD_MUCH = 3, CMD_END = 4, CMD_LAST_WORDS = 66 };
enum { WAIT_S = 20, MUCH_FRAMES = 128, MUCH_LEN = 65536 };

struct stub {
    struct an_door *door;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct an_outbox out;
    char url[80];
    int port;

    uint64_t opened, frames, bad, closed, turns, body_bytes;
    uint64_t last_conn, ids_seen;
    uint64_t bad_err;
    uint64_t output, output_max, outputs;
    uint64_t logs;
    struct gate_door_stats stats;
    bool quit, let_in;
    uint64_t ids_grow;
    uint64_t want_ms;
    unsigned steps; /* in this turn */
};

/* Listens on a port of the system's choice and runs. close_ms 0: the default. */
struct stub *stub_start(uint32_t close_ms);
/* The same with one address and whatever the cfg says. */
struct stub *stub_start_at(const struct gate_door_cfg *cfg);
/* Answers the Login of the last that sent something. */
void stub_let_in(struct stub *s);
/* Quits, and asserts that nothing is left behind. */
void stub_stop(struct stub *s);
/* Waits until the counter, one of s's, has reached the value. */
void door_await(struct stub *s, const uint64_t *counter, uint64_t value);
/* One of s's counters, now. */
uint64_t door_read(struct stub *s, const uint64_t *counter);
/* Waits for a turn that began after now, so that s->stats is fresh. */
void door_await_turn(struct stub *s);
/* A connected socket; whatever blocks on it fails after WAIT_S. */
int door_client(const struct stub *s);
/* Writes all. */
void door_put(int fd, const void *data, size_t len);
/* Header and body into out; how many bytes. */
size_t door_frame_make(uint8_t *out, uint16_t command, const void *body, size_t len);
/* One frame in one write. */
void door_put_frame(int fd, uint16_t command, const void *body, size_t len);
/* Reads exactly so much. */
void door_get(int fd, void *data, size_t len);
/* One frame of this command, whole; its body's length. */
size_t door_get_frame(int fd, uint16_t command, uint8_t *body, size_t cap);
/* The next thing to read is the end. */
void door_get_end(int fd);

#endif
