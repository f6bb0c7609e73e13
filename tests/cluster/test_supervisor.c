/* Does the supervisor start what the file has, start again what died, say so, and stop
 * all in order, also those that do not want to? Its programs here are this very file:
 * real processes, but empty ones. */
#include "cluster/supervisor.h"
#include "core/log.h"
#include "tests/core/stage.h"
#include "tests/core/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 30000, STOP_TEST_MS = 300 };

static char top[64], file[96], why[512];
static struct plan *plan;
static int lines_fd = -1; /* what children and the supervisor's ready callback say */
static pid_t keeper;

static const char text[] = "cluster: test\n"
                           "run: run\n"
                           "hosts: {a: {address: 127.0.0.1}}\n"
                           "actors:\n"
                           "  store/0: {host: a, slots: 0-1023, data: s0}\n"
                           "  gate/0: {host: a, listen: [\"tcp://127.0.0.1:0\"]}\n"
                           "  router/0: {host: a, slots: 0-1023, process: mid}\n"
                           "  sequencer/0: {host: a, slots: 0-1023, process: mid}\n"
                           "  idgen/0: {host: a}\n";

/* ------------------------------------------------------------------ the program */

/* One write: lines of several processes do not mix. */
static void
tell(const char *what, const char *who)
{
    char line[256];
    int fd = open(getenv("TEST_LINES"), O_WRONLY | O_CLOEXEC);
    int len = snprintf(line, sizeof(line), "%s %s %ld\n", what, who, (long)getpid());

    if (fd < 0 || write(fd, line, (size_t)len) != len) {
        _exit(99);
    }
    close(fd);
}

static bool
exists(const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", getenv("TEST_TOP"), name);
    return access(path, F_OK) == 0;
}

/* `run ACTOR... --cluster FILE`, as far as a supervisor can tell. */
static int
play(int argc, char **argv)
{
    sigset_t set;
    int got;

    (void)argc;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    tell("start", argv[2]);
    if (exists("crash") && strcmp(argv[2], "idgen/0") == 0) {
        return 7;
    }
    printf("anser ready");
    for (char **word = argv + 2; strcmp(*word, "--cluster") != 0; word++) {
        printf(" %s", *word);
    }
    printf("%s\n", strcmp(argv[2], "gate/0") == 0 ? " tcp://127.0.0.1:1" : "");
    fflush(stdout);
    do {
        sigwait(&set, &got);
        tell("term", argv[2]);
    } while (exists("stubborn"));
    return 0;
}

/* ------------------------------------------------------------------ the stage */

static int
setup(void **state)
{
    (void)state;
    snprintf(top, sizeof(top), "/tmp/anser-keep-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(file, sizeof(file), "%s/lines", top);
    assert_int_equal(mkfifo(file, 0600), 0);
    setenv("TEST_LINES", file, 1);
    setenv("TEST_TOP", top, 1);
    lines_fd = open(file, O_RDWR | O_CLOEXEC); /* never at its end */
    assert_true(lines_fd >= 0);
    if (plan_parse(&plan, "test.yaml", top, text, sizeof(text) - 1, why, sizeof(why)) !=
        AN_OK) {
        fail_msg("%s", why);
    }
    keeper = 0;
    stage_log_open();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    stage_log_close();
    if (keeper > 0) {
        kill(keeper, SIGKILL);
        waitpid(keeper, NULL, 0);
    }
    close(lines_fd);
    plan_free(plan);
    return tree_remove(top);
}

static void
touch(const char *name)
{
    char path[160];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", top, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void
on_ready(void *ctx, const char *said)
{
    (void)ctx;
    tell("all", said);
}

static struct supervisor_cfg
cfg(void)
{
    return (struct supervisor_cfg){.plan = plan,
                                   .program = "/proc/self/exe",
                                   .file = "test.yaml",
                                   .stop_ms = STOP_TEST_MS,
                                   .ready = on_ready};
}

/* A supervisor in a process of its own; it goes with this one. */
static void
keep(void)
{
    const struct supervisor_cfg own = cfg();
    sigset_t set;

    keeper = fork();
    assert_true(keeper >= 0);
    if (keeper > 0) {
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    _exit(an_err_exit_code(supervisor_run(&own, why, sizeof(why))));
}

/* The next line said. */
static void
next_line(char out[256])
{
    struct pollfd fd = {.fd = lines_fd, .events = POLLIN};
    size_t len = 0;

    while (len < 255 && (len == 0 || out[len - 1] != '\n')) {
        if (poll(&fd, 1, WAIT_MS) != 1 || read(lines_fd, out + len, 1) != 1) {
            out[len] = '\0';
            fail_msg("no line, but: %s", out);
        }
        len++;
    }
    out[len - 1] = '\0';
}

/* Passes lines until one begins so; the pid behind it. */
static pid_t
await_line(const char *begin)
{
    char line[256];

    do {
        next_line(line);
    } while (strncmp(line, begin, strlen(begin)) != 0);
    return (pid_t)strtol(strrchr(line, ' ') + 1, NULL, 10);
}

static int
end_of_keeper(void)
{
    int status;

    assert_int_equal(waitpid(keeper, &status, 0), keeper);
    keeper = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ------------------------------------------------------------------ tests */

static void
test_supervisor_backoff_doubles_up_to_its_bound_and_forgets(void **state)
{
    uint32_t pause = 0, sum = 0;

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        pause = supervisor_backoff_ms(pause, 0);
        sum += pause;
    }
    assert_int_equal(pause, 3200);
    assert_int_equal(sum, 200 + 400 + 800 + 1600 + 3200);
    assert_int_equal(supervisor_backoff_ms(pause, SUPERVISOR_STEADY_MS - 1), 5000);
    assert_int_equal(supervisor_backoff_ms(5000, 0), 5000);
    assert_int_equal(supervisor_backoff_ms(5000, SUPERVISOR_STEADY_MS), 200);
}

static void
test_supervisor_starts_all_and_stops_them_in_order(void **state)
{
    char line[256];

    (void)state;
    keep();
    do {
        next_line(line);
    } while (strncmp(line, "all ", 4) != 0);
    line[strlen("all store/0 gate/0 router/0 sequencer/0 idgen/0 tcp://127.0.0.1:1")] =
        '\0';
    assert_string_equal(
        line, "all store/0 gate/0 router/0 sequencer/0 idgen/0 tcp://127.0.0.1:1");
    kill(keeper, SIGTERM);
    next_line(line);
    assert_int_equal(strncmp(line, "term gate/0", 11), 0);
    next_line(line);
    assert_int_equal(strncmp(line, "term idgen/0", 12), 0);
    next_line(line); /* a router stops behind its sequencer */
    assert_int_equal(strncmp(line, "term router/0", 13), 0);
    next_line(line);
    assert_int_equal(strncmp(line, "term store/0", 12), 0);
    assert_int_equal(end_of_keeper(), 0);
}

static void
test_supervisor_restarts_the_dead_and_says_so(void **state)
{
    pid_t pid;

    (void)state;
    keep();
    pid = await_line("start idgen/0");
    await_line("all ");
    kill(pid, SIGKILL);
    stage_log_await("idgen-0 ended: signal 9 (Killed), starts again in 200 ms");
    assert_true(await_line("start idgen/0") != pid);
    stage_log_await("idgen-0 ready");
    kill(keeper, SIGINT);
    assert_int_equal(end_of_keeper(), 0);
}

/* One that cannot live is tried again and again; the others run. */
static void
test_supervisor_crash_loop_is_seen_and_others_go_on(void **state)
{
    char path[160];

    (void)state;
    touch("crash");
    keep();
    stage_log_await("idgen-0 ended: exit status 7, starts again in 200 ms");
    stage_log_await("idgen-0 ended: exit status 7, starts again in 400 ms");
    snprintf(path, sizeof(path), "%s/crash", top);
    assert_int_equal(unlink(path), 0);
    await_line("all "); /* now it lives, and all the others do */
    kill(keeper, SIGTERM);
    assert_int_equal(end_of_keeper(), 0);
}

static void
test_supervisor_stop_kills_who_does_not_end(void **state)
{
    (void)state;
    touch("stubborn");
    keep();
    await_line("all ");
    kill(keeper, SIGTERM);
    stage_log_await("gate-0 does not end: killing it");
    stage_log_await("store-0 does not end: killing it");
    assert_int_equal(end_of_keeper(), an_err_exit_code(AN_ERR_TIMEOUT));
}

static void
test_supervisor_second_on_the_same_host_is_refused(void **state)
{
    const struct supervisor_cfg own = cfg();

    (void)state;
    keep();
    await_line("all ");
    assert_int_equal(supervisor_run(&own, why, sizeof(why)), AN_ERR_LOCKED);
    assert_non_null(strstr(why, "keeps host a of cluster test ("));
    /* Also who has another name: it is the holder's that is said. */
    snprintf(plan->places.hosts[0].name, sizeof(plan->places.hosts[0].name), "z");
    assert_int_equal(supervisor_run(&own, why, sizeof(why)), AN_ERR_LOCKED);
    assert_non_null(strstr(why, "keeps host a of cluster test ("));
    kill(keeper, SIGTERM);
    assert_int_equal(end_of_keeper(), 0);
}

static void
test_supervisor_killed_takes_its_processes_along(void **state)
{
    (void)state;
    keep();
    await_line("all ");
    kill(keeper, SIGKILL);
    for (unsigned i = 0; i < 4; i++) {
        await_line("term ");
    }
}

int
main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supervisor_backoff_doubles_up_to_its_bound_and_forgets),
        TEST(test_supervisor_starts_all_and_stops_them_in_order),
        TEST(test_supervisor_restarts_the_dead_and_says_so),
        TEST(test_supervisor_crash_loop_is_seen_and_others_go_on),
        TEST(test_supervisor_stop_kills_who_does_not_end),
        TEST(test_supervisor_second_on_the_same_host_is_refused),
        TEST(test_supervisor_killed_takes_its_processes_along),
    };

    if (argc > 2 && strcmp(argv[1], "run") == 0) {
        return play(argc, argv);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
