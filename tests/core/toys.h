/* Toy actors on a real runner: what the runner's tests stand on. One state for each role;
 * it outlives the actor and is what a test looks at. */
#ifndef AN_TESTS_CORE_TOYS_H
#define AN_TESTS_CORE_TOYS_H

#include "core/runner_nng.h"
#include <pthread.h>

enum {
    TOY_WAIT_S = 20,
    TOY_HANG_S = 60, /* one test, and the end of NNG after the last: then abort */
};

struct toy;
typedef void toy_step_f(struct toy *toy, struct an_msg *msg, struct an_now now,
                        struct an_outbox *out);

struct toy {
    struct an_actor actor; /* first */
    struct an_actor_ops ops;
    toy_step_f *on;
    struct toy_state *state;
    struct an_msg *held; /* by its thread alone */
    unsigned next;
};

struct toy_state {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned steps, answers, out_of_order, held, hints, jobs, timers;
    unsigned errs[1024];
    uint64_t tags[64];
    unsigned tag_count;
    uint32_t last;
    bool gate_closed; /* steps wait */
    bool on_pool;
    pthread_t thread;
    enum an_err failed;
};

extern struct toy_state toy_states[AN_ROLE_COUNT];
extern enum an_bus toys_bus;
extern char toys_dir[64];
extern struct an_topology toys_topology;
/* The cluster's name: another one in each test, so that none meets another's sockets. */
const char *toys_cluster(void);
extern const struct an_addr toy_idgen;

/* Counts under the state's lock and wakes whoever awaits. */
void toy_note(struct toy_state *state, unsigned *counter);
/* What it is now. */
unsigned toy_count(struct toy_state *state, const unsigned *counter);
/* Fails the test when the counter is not there in TOY_WAIT_S. */
void toy_await(struct toy_state *state, const unsigned *counter, unsigned at_least);
/* Closed: steps of a server behind the gate stand still. */
void toy_set_closed(struct toy_state *state, bool closed);
/* cmocka's, around each test: fresh states, a fresh run directory; empty at the end. */
int toys_setup(void **state);
int toys_teardown(void **state);
/* A runner on this test's addresses. */
struct an_runner *toys_runner(void);
struct an_runner *toys_runner_cfg(struct an_runner_cfg cfg);
/* An actor that does what `on` says with every message. */
struct an_actor *toy_create(enum an_role role, toy_step_f *on);
void toys_add(struct an_runner *runner, enum an_role role, uint16_t index,
              toy_step_f *on);
/* Starts it and waits until it is ready. */
void toys_start(struct an_runner *runner, enum an_role role, uint16_t index);
/* An asker (sequencer/0) and a server (idgen/0), both running. */
struct an_runner *toys_pair(toy_step_f *asker, toy_step_f *server);
/* Answers TAKE_IDS; counts out_of_order when sequencer/0's do not count up. */
void toy_serve(struct toy *toy, struct an_msg *msg, struct an_now now,
               struct an_outbox *out);
void toy_idle(struct toy *toy, struct an_msg *msg, struct an_now now,
              struct an_outbox *out);

#endif
