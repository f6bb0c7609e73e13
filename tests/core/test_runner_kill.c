/* Processes that are killed and come back, over ipc and between hosts: does the survivor
 * find them again, does it stay whole itself, and does every ask end? The others are this
 * program again, as a child. */
#include "core/control.h"
#include "proto/bus.pb-c.h"
#include "tests/core/stage.h"
#include "tests/core/toys.h"
#include <assert.h>
#include <errno.h>
#include <nng/nng.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    FLOODERS = 2,
    FLOOD_ROUNDS = 8,
    FLOOD_STEPS = 1500,
    PADDING = 2000,
    ASK_MS = 2000
};

static const struct an_addr sequencer = {AN_ROLE_SEQUENCER, 0};
static struct toy_state *const asker = &toy_states[AN_ROLE_SEQUENCER];
static struct toy_state *const server = &toy_states[AN_ROLE_IDGEN];

static uint64_t
mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ actors */

static void
ask(struct toy *toy, struct an_outbox *out, uint32_t budget_ms)
{
    Anser__Bus__TakeIds take = ANSER__BUS__TAKE_IDS__INIT;

    take.count = ++toy->next;
    an_out_ask(out, toy_idgen, AN_KIND_TAKE_IDS, &take.base, budget_ms, take.count, 0);
}

/* One at a time; after an error it waits a little. */
static void
ask_on(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (msg->kind == AN_KIND_START || msg->kind == AN_KIND_TIMER ||
        (msg->answer && msg->err == AN_OK)) {
        ask(toy, out, ASK_MS);
    } else if (msg->answer) {
        an_out_timer(out, now.mono_ms + 2, 1);
    }
}

/* As many as may be, with long answers. */
static void
flood(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    unsigned room = msg->kind == AN_KIND_START ? AN_BUS_OUTSTANDING_MAX : msg->answer;

    (void)now;
    while (room-- > 0) {
        ask(toy, out, 20000);
    }
}

static void
serve(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    Anser__Bus__IdRun run = ANSER__BUS__ID_RUN__INIT;
    Anser__Bus__IdRun *runs[PADDING / 10];

    (void)toy;
    (void)now;
    if (msg->kind != AN_KIND_TAKE_IDS) {
        return;
    }
    run.prefix = 1;
    for (size_t i = 0; i < PADDING / 10; i++) {
        runs[i] = &run;
    }
    taken.runs = runs;
    taken.n_runs = PADDING / 10;
    an_out_answer(out, msg, AN_OK, &taken.base);
}

/* Answers the first request, keeps the others. */
static void
serve_one(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (msg->request && toy->next++ > 0) {
        an_msg_hold(msg)->next = toy->held;
        toy->held = msg;
    } else {
        serve(toy, msg, now, out);
    }
}

/* ------------------------------------------------------------------ children */

/* What a child needs to know; written to a file. */
struct script {
    struct stage stage; /* with the child's certificate */
    char cluster[32], dir[64];
    uint16_t process, index;
    uint8_t role;
    char what[16];
};

static pid_t
spawn_child(struct script *script, const struct stage *plan, const char *cert)
{
    char path[128];
    char *args[] = {(char[]){"test_core_runner_kill"}, (char[]){"child"}, path, NULL};
    FILE *file;
    pid_t pid;

    stage_copy(&script->stage, plan, cert);
    snprintf(script->cluster, sizeof(script->cluster), "%s", toys_cluster());
    snprintf(script->dir, sizeof(script->dir), "%s", toys_dir);
    snprintf(path, sizeof(path), "%s/child-%u-%u", stage_certs, (unsigned)script->process,
             (unsigned)script->index);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(script, sizeof(*script), 1, file), 1);
    fclose(file);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ), 0);
    return pid;
}

static void
kill_child(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int
child(const char *path)
{
    static struct script script;
    struct stage stage;
    struct an_runner *runner;
    FILE *file = fopen(path, "rb");

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (file == NULL || fread(&script, sizeof(script), 1, file) != 1) {
        return 1;
    }
    fclose(file);
    an_topology_single(&toys_topology);
    toys_topology.count[AN_ROLE_SEQUENCER] = FLOODERS + 1;
    for (size_t i = 0; i < AN_ROLE_COUNT; i++) {
        pthread_mutex_init(&toy_states[i].lock, NULL);
        pthread_cond_init(&toy_states[i].changed, NULL);
    }
    memcpy(toys_dir, script.dir, sizeof(toys_dir));
    stage_adopt(&stage, &script.stage);
    runner = toys_runner_cfg((struct an_runner_cfg){
        .cluster = script.cluster, .places = &stage.places, .process = script.process});
    toys_add(runner, script.role, script.index,
             strcmp(script.what, "flood") == 0   ? flood
             : strcmp(script.what, "serve") == 0 ? serve
                                                 : serve_one);
    toys_start(runner, script.role, script.index);
    for (;;) {
        pause();
    }
}

/* ------------------------------------------------------------------ the stage */

/* The survivor is process 0 of host a; others are on its host, or each on host b. */
static struct stage plan, here;

static void
set_stage(uint16_t host_count)
{
    toys_topology.count[AN_ROLE_SEQUENCER] = FLOODERS + 1;
    stage_init(&plan, host_count);
    for (uint16_t i = 0; i <= FLOODERS; i++) {
        stage_put(&plan, AN_ROLE_SEQUENCER, i, i == 0 ? 0 : (uint16_t)(host_count - 1),
                  i == 0 ? 0 : (uint16_t)(10 + i));
    }
}

static struct an_runner *
start_survivor(enum an_role role, toy_step_f *on)
{
    struct an_runner *runner;

    stage_copy(&here, &plan, "a");
    runner = toys_runner_cfg((struct an_runner_cfg){.places = &here.places});
    toys_add(runner, role, 0, on);
    toys_start(runner, role, 0);
    return runner;
}

/* ------------------------------------------------------------------ reached again */

static void
killed_and_back(uint16_t host_count, const char *cert)
{
    struct script script = {.process = 1, .role = AN_ROLE_IDGEN, .what = "serve"};
    const unsigned *ok = &asker->errs[AN_OK];
    const unsigned *away = &asker->errs[AN_ERR_UNAVAILABLE];
    struct an_runner *runner;
    uint64_t worst_ms = 0;
    pid_t pid;

    set_stage(host_count);
    stage_put(&plan, AN_ROLE_IDGEN, 0, (uint16_t)(host_count - 1), 1);
    runner = start_survivor(AN_ROLE_SEQUENCER, ask_on);
    pid = spawn_child(&script, &plan, cert);
    for (unsigned i = 0; i < 5; i++) {
        unsigned before;
        uint64_t since_ms;

        toy_await(asker, ok, toy_count(asker, ok) + 20);
        kill_child(pid);
        before = toy_count(asker, ok);
        toy_await(asker, away, toy_count(asker, away) + 1);
        since_ms = mono_ms();
        pid = spawn_child(&script, &plan, cert);
        toy_await(asker, ok, before + 5);
        since_ms = mono_ms() - since_ms;
        worst_ms = since_ms > worst_ms ? since_ms : worst_ms;
    }
    print_message("reached again after %llu ms at worst, the start of the process "
                  "included\n",
                  (unsigned long long)worst_ms);
    assert_int_equal(an_runner_stop(runner, sequencer, 5000), AN_OK);
    an_runner_destroy(runner);
    kill_child(pid);
}

static void
test_kill_server_reached_again_over_ipc(void **unused)
{
    (void)unused;
    killed_and_back(1, "a");
}

static void
test_kill_server_reached_again_between_hosts(void **unused)
{
    (void)unused;
    killed_and_back(2, "b");
}

/* ------------------------------------------------------------------ asks under way */

/* Until the child holds the second ask: START, and two requests. It may not listen yet.
 */
static void
await_held(void)
{
    struct an_control_from from = {.cluster = toys_cluster(),
                                   .topology = &toys_topology,
                                   .places = &here.places,
                                   .run_dir = toys_dir};
    uint64_t end_ms = mono_ms() + TOY_WAIT_S * 1000;
    bool held = false;

    while (!held) {
        char *text = NULL, why[256] = "";
        enum an_err err = an_control_ask_actor(&text, &from, toy_idgen, "stats",
                                               TOY_WAIT_S * 1000, why, sizeof(why));

        if ((err != AN_OK && err != AN_ERR_UNAVAILABLE) || mono_ms() > end_ms) {
            fail_msg("%s: %s", an_err_name(err), why);
        }
        held = err == AN_OK && strstr(text, "\"steps_total\":3") != NULL;
        free(text);
        (void)poll(NULL, 0, held ? 0 : 5); /* what another process holds is not awaited */
    }
}

/* How an ask ends whose handler gets the signal: always by name. Returns after how long.
 */
static uint64_t
ask_ends(uint16_t host_count, const char *cert, int sig)
{
    struct script script = {.process = 1, .role = AN_ROLE_IDGEN, .what = "one"};
    struct an_runner *runner;
    uint64_t since_ms;
    pid_t pid;

    set_stage(host_count);
    stage_put(&plan, AN_ROLE_IDGEN, 0, (uint16_t)(host_count - 1), 1);
    runner = start_survivor(AN_ROLE_SEQUENCER, ask_on);
    pid = spawn_child(&script, &plan, cert);
    toy_await(asker, &asker->errs[AN_OK], 1);
    await_held();
    since_ms = mono_ms();
    assert_int_equal(kill(pid, sig), 0);
    toy_await(asker, &asker->errs[AN_ERR_TIMEOUT], 1);
    since_ms = mono_ms() - since_ms;
    kill_child(pid);
    assert_int_equal(an_runner_stop(runner, sequencer, 5000), AN_OK);
    an_runner_destroy(runner);
    return since_ms;
}

static void
test_kill_ends_an_ask_under_way_at_once(void **unused)
{
    (void)unused;
    assert_true(ask_ends(1, "a", SIGKILL) < ASK_MS / 2);
    assert_true(ask_ends(2, "b", SIGKILL) < ASK_MS / 2);
}

static void
test_kill_stopped_process_ask_ends_at_its_budget(void **unused)
{
    (void)unused;
    assert_true(ask_ends(1, "a", SIGSTOP) > ASK_MS / 2);
}

/* ------------------------------------------------------------------ staying whole */

/* Peers die in the middle of messages, again and again. */
static void
flooded(uint16_t host_count, const char *cert)
{
    struct an_runner *runner;
    pid_t pids[FLOODERS];

    set_stage(host_count);
    stage_put(&plan, AN_ROLE_IDGEN, 0, 0, 0);
    runner = start_survivor(AN_ROLE_IDGEN, serve);
    for (unsigned round = 0; round < FLOOD_ROUNDS; round++) {
        unsigned before = toy_count(server, &server->steps);
        for (uint16_t i = 0; i < FLOODERS; i++) {
            struct script script = {.process = (uint16_t)(11 + i),
                                    .index = (uint16_t)(1 + i),
                                    .role = AN_ROLE_SEQUENCER,
                                    .what = "flood"};
            pids[i] = spawn_child(&script, &plan, cert);
        }
        toy_await(server, &server->steps, before + FLOOD_STEPS);
        for (size_t i = 0; i < FLOODERS; i++) {
            kill_child(pids[i]);
        }
    }
    an_runner_destroy(runner); /* hangs when NNG closes nothing any more */
}

static void
test_kill_clients_under_load_server_stays_whole_over_ipc(void **unused)
{
    (void)unused;
    flooded(1, "a");
}

static void
test_kill_clients_under_load_server_stays_whole_between_hosts(void **unused)
{
    (void)unused;
    flooded(2, "b");
}

/* Programs that connect and leave, as somebody who is killed while connecting. */
static void
test_kill_connectors_listener_goes_on(void **unused)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct script script = {
        .process = 11, .index = 1, .role = AN_ROLE_SEQUENCER, .what = "flood"};
    struct an_runner *runner;
    pid_t pid;

    (void)unused;
    set_stage(1);
    runner = start_survivor(AN_ROLE_IDGEN, serve);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/idgen-0", toys_dir);
    for (unsigned i = 0; i < 2000; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        int rv = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
        assert_true(rv == 0 || errno == EAGAIN);
        close(fd);
    }
    pid = spawn_child(&script, &plan, "a");
    toy_await(server, &server->steps, 100);
    kill_child(pid);
    an_runner_destroy(runner);
}

/* The killed leave their sockets behind. */
static int
teardown(void **state)
{
    const char *const names[] = {"idgen-0", "sequencer-1", "sequencer-2"};
    char path[128];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", toys_dir, names[i]);
        unlink(path);
    }
    return toys_teardown(state);
}

int
main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, toys_setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_kill_server_reached_again_over_ipc),
        TEST(test_kill_server_reached_again_between_hosts),
        TEST(test_kill_ends_an_ask_under_way_at_once),
        TEST(test_kill_stopped_process_ask_ends_at_its_budget),
        TEST(test_kill_clients_under_load_server_stays_whole_over_ipc),
        TEST(test_kill_clients_under_load_server_stays_whole_between_hosts),
        TEST(test_kill_connectors_listener_goes_on),
    };
    int failures;

    if (argc == 3 && strcmp(argv[1], "child") == 0) {
        return child(argv[2]);
    }
    failures = cmocka_run_group_tests(tests, stage_certs_make, stage_certs_drop);
    nng_fini();
    return failures;
}
