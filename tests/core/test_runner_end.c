/* Does a runner end within a bound when NNG does not? */
#include "core/runner_nng/priv.h"
#include "tests/core/stage.h"
#include "tests/core/toys.h"
#include <nng/protocol/reqrep0/req.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cmocka.h>

static struct toy_state *const store = &toy_states[AN_ROLE_STORE];
static void (*toy_destroy)(struct an_actor *actor);

/* The actor's end is seen. */
static void
count_destroy(struct an_actor *actor)
{
    toy_destroy(actor);
    toy_note(store, &store->jobs);
}

static struct an_runner *
runner_with_store(void)
{
    struct an_runner *runner = toys_runner();
    struct an_actor *actor = toy_create(AN_ROLE_STORE, toy_idle);
    char why[256];

    toy_destroy = ((struct toy *)actor)->ops.destroy;
    ((struct toy *)actor)->ops.destroy = count_destroy;
    assert_int_equal(an_runner_add(runner, actor, 0, NULL, why, sizeof(why)), AN_OK);
    toys_start(runner, AN_ROLE_STORE, 0);
    return runner;
}

/* NNG's thread that takes connections apart stands still while the test says so. */
static void
stand_still(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    (void)pipe;
    (void)arg;
    pthread_mutex_lock(&store->lock);
    if (event == NNG_PIPE_EV_ADD_POST) {
        store->held++;
        pthread_cond_broadcast(&store->changed);
    }
    while (event == NNG_PIPE_EV_REM_POST && store->gate_closed) {
        pthread_cond_wait(&store->changed, &store->lock);
    }
    pthread_mutex_unlock(&store->lock);
}

static void
test_end_bounded_when_connections_do_not_close(void **unused)
{
    struct an_runner *runner = runner_with_store();
    nng_socket mailbox = runner->instances[0]->mailbox.socket, socket;
    char event[1024];
    char url[128];
    int watch = inotify_init1(IN_CLOEXEC);

    (void)unused;
    snprintf(url, sizeof(url), "ipc://%s/store-0", toys_dir);
    nng_pipe_notify(mailbox, NNG_PIPE_EV_ADD_POST, stand_still, NULL);
    nng_pipe_notify(mailbox, NNG_PIPE_EV_REM_POST, stand_still, NULL);
    assert_int_equal(nng_req0_open(&socket), 0);
    assert_int_equal(nng_dial(socket, url, NULL, 0), 0);
    toy_await(store, &store->held, 1);
    toy_set_closed(store, true);
    assert_false(an_runner_destroy_within(runner, 100));
    assert_int_equal(store->jobs, 1); /* the actor is gone, its files are closed */
    assert_true(inotify_add_watch(watch, toys_dir, IN_DELETE) >= 0);
    toy_set_closed(store, false);
    nng_close(socket);
    if (access(url + strlen("ipc://"), F_OK) == 0) {
        assert_true(read(watch, event, sizeof(event)) > 0); /* now it closes */
    }
    close(watch);
}

static void
test_end_within_the_bound_is_whole(void **unused)
{
    struct an_runner *runner = runner_with_store();

    (void)unused;
    assert_true(an_runner_destroy_within(runner, TOY_WAIT_S * 1000));
    assert_int_equal(store->jobs, 1);
    assert_true(an_runner_destroy_within(NULL, 0));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, toys_setup, toys_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_end_bounded_when_connections_do_not_close),
        TEST(test_end_within_the_bound_is_whole),
    };
    int failures;

    toys_bus = AN_BUS_IPC;
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    nng_fini();
    return failures;
}
