/* Who has no certificate of the cluster gets nothing from a bus port, both sides say why
 * nobody is connected, and the port goes on serving. */
#include "proto/bus.pb-c.h"
#include "tests/core/stage.h"
#include "tests/core/toys.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct an_addr sequencer = {AN_ROLE_SEQUENCER, 0};
static struct toy_state *const asker = &toy_states[AN_ROLE_SEQUENCER];
static struct toy_state *const server = &toy_states[AN_ROLE_IDGEN];

/* The asker on host a, the server on host b. */
static struct stage plan, here, there;

static void
ask_on(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__TakeIds take = ANSER__BUS__TAKE_IDS__INIT;

    if (msg->answer && msg->err != AN_OK) {
        an_out_timer(out, now.mono_ms + 5, 1);
    } else {
        take.count = ++toy->next;
        an_out_ask(out, toy_idgen, AN_KIND_TAKE_IDS, &take.base, 5000, take.count, 0);
    }
}

enum { TALK_ASKS = 10 };

/* Like ask_on, but falls silent after TALK_ASKS answers: nothing of it is under way then.
 */
static void
ask_few(struct toy *toy, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    if (toy_count(asker, &asker->errs[AN_OK]) < TALK_ASKS) {
        ask_on(toy, msg, now, out);
    }
}

static void
set_stage(void)
{
    stage_init(&plan, 2);
    stage_put(&plan, AN_ROLE_SEQUENCER, 0, 0, 0);
    stage_put(&plan, AN_ROLE_IDGEN, 0, 1, 1);
    stage_copy(&here, &plan, "a");
    stage_copy(&there, &plan, "b");
}

static struct an_runner *
start(const struct stage *stage, uint16_t process, enum an_role role, toy_step_f *on)
{
    struct an_runner *runner = toys_runner_cfg(
        (struct an_runner_cfg){.places = &stage->places, .process = process});

    toys_add(runner, role, 0, on);
    toys_start(runner, role, 0);
    return runner;
}

/* The right ones get an answer, whatever went before. */
static void
expect_served(void)
{
    struct stage right;
    struct an_runner *runner;
    unsigned before = toy_count(asker, &asker->errs[AN_OK]);

    stage_copy(&right, &plan, "a");
    runner = start(&right, 0, AN_ROLE_SEQUENCER, ask_on);
    toy_await(asker, &asker->errs[AN_OK], before + 10);
    assert_int_equal(an_runner_stop(runner, sequencer, 5000), AN_OK);
    an_runner_destroy(runner);
}

/* ------------------------------------------------------------------ certificates */

/* An asker or a server with wrong papers: both say so, nothing arrives, then the right
 * ones speak (wrong askers only). */
static void
refused(const char *asker_cert, const char *server_cert, const char *said_there)
{
    struct an_runner *one, *two;
    char line[256];

    set_stage();
    stage_copy(&here, &plan, asker_cert);
    stage_copy(&there, &plan, server_cert);
    stage_log_open();
    two = start(&there, 1, AN_ROLE_IDGEN, toy_idle);
    one = start(&here, 0, AN_ROLE_SEQUENCER, ask_on);
    snprintf(line, sizeof(line), "cannot reach idgen/0 at tls+tcp://127.0.0.1:%u",
             (unsigned)plan.of[AN_ROLE_IDGEN][0].port);
    if (said_there != NULL) {
        stage_log_await(said_there);
    }
    stage_log_await(line);
    stage_log_await("a certificate was refused");
    stage_log_close();
    toy_await(asker, &asker->errs[AN_ERR_UNAVAILABLE], 1);
    assert_int_equal(an_runner_stop(one, sequencer, 5000), AN_OK);
    an_runner_destroy(one);
    an_runner_destroy(two);
    assert_int_equal(asker->errs[AN_OK], 0);
    assert_int_equal(server->steps, 1); /* START */
}

static void
test_tls_asker_of_another_ca_refused(void **unused)
{
    (void)unused;
    refused("stranger", "b", "idgen/0 a connection to tls+tcp://127.0.0.1:");
}

static void
test_tls_server_of_another_ca_refused(void **unused)
{
    (void)unused;
    refused("a", "stranger", NULL);
}

static void
test_tls_server_with_the_name_of_another_host_refused(void **unused)
{
    (void)unused;
    refused("a", "c", NULL);
}

static void
test_tls_without_certificate_refused_others_served(void **unused)
{
    struct an_runner *runner;
    nng_tls_config *config;
    nng_socket socket;
    nng_dialer dialer;
    char url[64];

    (void)unused;
    set_stage();
    runner = start(&there, 1, AN_ROLE_IDGEN, toy_serve);
    snprintf(url, sizeof(url), "tls+tcp://127.0.0.1:%u",
             (unsigned)plan.of[AN_ROLE_IDGEN][0].port);
    assert_int_equal(nng_tls_config_alloc(&config, NNG_TLS_MODE_CLIENT), 0);
    assert_int_equal(nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_NONE), 0);
    assert_int_equal(nng_req0_open(&socket), 0);
    assert_int_equal(nng_dialer_create(&dialer, socket, url), 0);
    assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), 0);
    stage_log_open();
    assert_int_not_equal(nng_dialer_start(dialer, 0), 0);
    stage_log_await("a connection to tls+tcp://127.0.0.1:");
    stage_log_await("a certificate was refused");
    stage_log_close();
    nng_close(socket);
    nng_tls_config_free(config);
    expect_served();
    an_runner_destroy(runner);
    assert_int_equal(server->out_of_order, 0);
}

static void
test_tls_files_that_are_none_are_named(void **unused)
{
    struct an_runner_cfg cfg = {
        .cluster = "x", .topology = &toys_topology, .places = &here.places};
    struct an_runner *runner;
    char why[512];

    (void)unused;
    set_stage();
    snprintf(here.places.cert, sizeof(here.places.cert), "%s/none.pem", stage_certs);
    assert_int_equal(an_runner_create(&runner, &cfg, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "none.pem: No such file"));
    snprintf(here.places.cert, sizeof(here.places.cert), "%s/a.key", stage_certs);
    assert_int_equal(an_runner_create(&runner, &cfg, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "a.key"));
    snprintf(here.places.ca, sizeof(here.places.ca), "/dev/null");
    assert_int_equal(an_runner_create(&runner, &cfg, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "/dev/null is empty"));
}

/* ------------------------------------------------------------------ bytes */

static int
dial_port(uint16_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {.tv_sec = TOY_WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

/* Sends them and reads until the other side closes; returns how much came. */
static size_t
talk_bytes(uint16_t port, const void *bytes, size_t len)
{
    char in[4096];
    int fd = dial_port(port);
    size_t got = 0;
    ssize_t n;

    if (send(fd, bytes, len, MSG_NOSIGNAL) >= 0) {
        while ((n = recv(fd, in, sizeof(in), 0)) > 0) {
            got += (size_t)n;
        }
    }
    close(fd);
    return got;
}

static void
test_tls_garbage_on_the_port_others_served(void **unused)
{
    static const uint8_t greeting[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0}; /* NNG's, bare */
    struct an_runner *runner;
    uint16_t port;
    char zeros[5000] = {0};

    (void)unused;
    set_stage();
    port = plan.of[AN_ROLE_IDGEN][0].port;
    stage_log_open();
    runner = start(&there, 1, AN_ROLE_IDGEN, toy_serve);
    talk_bytes(port, greeting, sizeof(greeting));
    talk_bytes(port, zeros, sizeof(zeros));
    talk_bytes(port, "GET / HTTP/1.0\r\n\r\n", 18);
    for (unsigned i = 0; i < 50; i++) { /* connect and leave, with and without a reset */
        struct linger linger = {.l_onoff = (int)(i % 2), .l_linger = 0};
        int fd = dial_port(port);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)),
                         0);
        if (i % 4 > 1) {
            send(fd, greeting, 3, MSG_NOSIGNAL);
        }
        close(fd);
    }
    stage_log_await("a connection to tls+tcp://127.0.0.1:");
    expect_served();
    stage_log_close();
    an_runner_destroy(runner);
    assert_int_equal(server->out_of_order, 0);
}

/* ------------------------------------------------------------------ a recording */

/* Between asker and server; keeps what the first connection's asker said. */
struct relay {
    int listening, in, out;
    uint16_t port, to_port;
    pthread_t thread;
    uint8_t said[65536];
    size_t said_len;
};

static bool
carry(int from, int to, struct relay *keep)
{
    uint8_t bytes[4096];
    ssize_t n = recv(from, bytes, sizeof(bytes), 0);

    if (n <= 0) {
        return false;
    }
    if (keep != NULL && keep->said_len + (size_t)n <= sizeof(keep->said)) {
        memcpy(keep->said + keep->said_len, bytes, (size_t)n);
        keep->said_len += (size_t)n;
    }
    return send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *
relay_main(void *arg)
{
    struct relay *relay = arg;
    struct pollfd fds[2];
    bool open = true;

    relay->in = accept(relay->listening, NULL, NULL);
    relay->out = dial_port(relay->to_port);
    fds[0] = (struct pollfd){.fd = relay->in, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = relay->out, .events = POLLIN};
    while (open && poll(fds, 2, TOY_WAIT_S * 1000) > 0) {
        if (fds[0].revents != 0) {
            open = carry(relay->in, relay->out, relay);
        }
        if (open && fds[1].revents != 0) {
            open = carry(relay->out, relay->in, NULL);
        }
    }
    close(relay->in);
    close(relay->out);
    return NULL;
}

static void
relay_start(struct relay *relay, uint16_t to_port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    relay->to_port = to_port;
    relay->listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(relay->listening, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(relay->listening, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(listen(relay->listening, 8), 0);
    relay->port = ntohs(addr.sin_port);
    assert_int_equal(pthread_create(&relay->thread, NULL, relay_main, relay), 0);
}

static void
test_tls_recorded_conversation_replayed_reaches_nobody(void **unused)
{
    static struct relay relay;
    struct an_runner *one, *two;
    unsigned steps;

    (void)unused;
    set_stage();
    relay = (struct relay){0};
    relay_start(&relay, plan.of[AN_ROLE_IDGEN][0].port);
    two = start(&there, 1, AN_ROLE_IDGEN, toy_serve);
    here.of[AN_ROLE_IDGEN][0].port = relay.port;
    one = start(&here, 0, AN_ROLE_SEQUENCER, ask_few);
    toy_await(asker, &asker->errs[AN_OK], TALK_ASKS);
    assert_int_equal(an_runner_stop(one, sequencer, 5000), AN_OK);
    an_runner_destroy(one);
    pthread_join(relay.thread, NULL);
    close(relay.listening);
    assert_true(relay.said_len > 1000);
    server->last = 0; /* what is counted next is a new asker's */
    steps = toy_count(server, &server->steps);
    talk_bytes(plan.of[AN_ROLE_IDGEN][0].port, relay.said, relay.said_len);
    assert_int_equal(toy_count(server, &server->steps), steps);
    expect_served();
    an_runner_destroy(two);
    assert_int_equal(server->out_of_order, 0);
}

/* ------------------------------------------------------------------ hosts that vanish */

/* Every connection between hosts has the kernel look after it, at both ends, and sends
 * small messages at once. */
static void
test_tls_connections_are_watched_by_the_kernel(void **unused)
{
    struct an_runner *one, *two;
    unsigned watched = 0;

    (void)unused;
    set_stage();
    two = start(&there, 1, AN_ROLE_IDGEN, toy_serve);
    one = start(&here, 0, AN_ROLE_SEQUENCER, ask_on);
    while (watched < 2) { /* the dialing end: when the warden looks next */
        unsigned before = toy_count(asker, &asker->errs[AN_OK]);
        toy_await(asker, &asker->errs[AN_OK], before + 10);
        watched = 0;
        for (int fd = 0; fd < 200; fd++) {
            struct sockaddr_in peer;
            socklen_t len = sizeof(peer), int_len = sizeof(int);
            int timeout = 0, idle = 0, nodelay = 0;

            if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
                peer.sin_family == AF_INET &&
                getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &int_len) == 0 &&
                getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &int_len) == 0 &&
                getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &int_len) == 0) {
                watched += timeout == (int)AN_LINK_DEAD_MS && nodelay != 0 &&
                           idle == (int)AN_LINK_IDLE_MS / 1000;
            }
        }
    }
    assert_int_equal(an_runner_stop(one, sequencer, 5000), AN_OK);
    an_runner_destroy(one);
    an_runner_destroy(two);
}

/* A dial that meets silence is begun anew: the kernel alone would go on for minutes. */
static void
test_tls_dial_that_stands_still_begins_anew(void **unused)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct an_runner *one, *two;
    struct pollfd silent;
    int fds[2];

    (void)unused;
    set_stage();
    addr.sin_port = htons(plan.of[AN_ROLE_IDGEN][0].port);
    silent = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN};
    assert_int_equal(
        setsockopt(silent.fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
    assert_int_equal(bind(silent.fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(silent.fd, 8), 0);
    one = start(&here, 0, AN_ROLE_SEQUENCER, ask_on);
    for (size_t i = 0; i < 2; i++) { /* it comes, and comes again */
        assert_int_equal(poll(&silent, 1, TOY_WAIT_S * 1000), 1);
        fds[i] = accept(silent.fd, NULL, NULL);
    }
    close(silent.fd);
    two = start(&there, 1, AN_ROLE_IDGEN, toy_serve);
    toy_await(asker, &asker->errs[AN_OK], 10);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(an_runner_stop(one, sequencer, 5000), AN_OK);
    an_runner_destroy(one);
    an_runner_destroy(two);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, toys_setup, toys_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_tls_asker_of_another_ca_refused),
        TEST(test_tls_server_of_another_ca_refused),
        TEST(test_tls_server_with_the_name_of_another_host_refused),
        TEST(test_tls_without_certificate_refused_others_served),
        TEST(test_tls_files_that_are_none_are_named),
        TEST(test_tls_garbage_on_the_port_others_served),
        TEST(test_tls_recorded_conversation_replayed_reaches_nobody),
        TEST(test_tls_connections_are_watched_by_the_kernel),
        TEST(test_tls_dial_that_stands_still_begins_anew),
    };
    int failures = cmocka_run_group_tests(tests, stage_certs_make, stage_certs_drop);

    nng_fini();
    return failures;
}
