/* The gate's door with real sockets on loopback and a stub in the actor's place: bytes in
 * any cut become the same frames, broken streams end in clear words, and a client that
 * does not read or does not leave costs a bounded time and memory.
 *
 * The door runs in a thread; the test is the client, and waits for what it expects. */
#include "core/bucket.h"
#include "tests/actors/gate_door_kit.h"
#include <sys/resource.h>
#include <sys/time.h>

/* C1 */
static void
test_door_single_bytes_make_frames(void **state)
{
    struct stub *s = stub_start(0);
    uint8_t bytes[256], body[64];
    int fd = door_client(s);
    size_t len = door_frame_make(bytes, CMD_ECHO, "any byte \0\xff\n here", 17);

    (void)state;
    len += door_frame_make(bytes + len, CMD_ECHO, NULL, 0);
    len += door_frame_make(bytes + len, CMD_ECHO, "x", 1);
    for (size_t i = 0; i < len; i++) {
        door_put(fd, bytes + i, 1);
    }
    assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), 17);
    assert_memory_equal(body, "any byte \0\xff\n here", 17);
    assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), 0);
    assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), 1);
    assert_int_equal(door_read(s, &s->frames), 3);
    close(fd);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

/* C1 */
static void
test_door_glued_frames_are_cut(void **state)
{
    enum { COUNT = 5000 };
    struct stub *s = stub_start(0);
    uint8_t *bytes = malloc(COUNT * 40), body[64];
    int fd = door_client(s);
    size_t len = 0;

    (void)state;
    assert_non_null(bytes);
    for (unsigned i = 0; i < COUNT; i++) {
        char text[16];
        len += door_frame_make(bytes + len, CMD_ECHO, text,
                               (size_t)snprintf(text, sizeof(text), "frame %u", i));
    }
    door_put(fd, bytes, len);
    for (unsigned i = 0; i < COUNT; i++) {
        char text[16];
        size_t want = (size_t)snprintf(text, sizeof(text), "frame %u", i);

        assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), want);
        assert_memory_equal(body, text, want);
    }
    door_await_turn(s);
    assert_true(door_read(s, &s->stats.writes) <
                COUNT / 4); /* one write for many frames */
    free(bytes);
    close(fd);
    stub_stop(s);
}

/* Every cut of two frames in two pieces. */
static void
test_door_any_cut_makes_same_frames(void **state)
{
    struct stub *s = stub_start(0);
    uint8_t bytes[128], body[64];
    int fd = door_client(s);
    size_t len = door_frame_make(bytes, CMD_ECHO, "first", 5);

    (void)state;
    len += door_frame_make(bytes + len, CMD_ECHO, "second", 6);
    for (size_t cut = 1; cut < len; cut++) {
        door_put(fd, bytes, cut);
        door_await(s, &s->stats.bytes_in, (cut - 1) * len + cut);
        door_put(fd, bytes + cut, len - cut);
        assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), 5);
        assert_memory_equal(body, "first", 5);
        assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), 6);
        assert_memory_equal(body, "second", 6);
    }
    close(fd);
    stub_stop(s);
}

/* C2 */
static void
test_door_largest_frame_passes(void **state)
{
    enum { LEN = AN_FRAME_LEN_MAX - AN_FRAME_HEADER_LEN };
    struct stub *s = stub_start(0);
    uint8_t *body = malloc(LEN), *back = malloc(LEN);
    int fd = door_client(s);

    (void)state;
    assert_non_null(body);
    assert_non_null(back);
    for (size_t i = 0; i < LEN; i++) {
        body[i] = (uint8_t)(i * 31);
    }
    for (int i = 0; i < 5; i++) {
        door_put_frame(fd, CMD_ECHO, body, LEN);
        assert_int_equal(door_get_frame(fd, CMD_ECHO, back, LEN), LEN);
        assert_memory_equal(body, back, LEN);
    }
    door_await_turn(s);
    assert_int_equal(door_read(s, &s->stats.partial_bytes), 0);
    free(body);
    free(back);
    close(fd);
    stub_stop(s);
}

/* Sends the bytes after a good frame; the stream must be judged, and its end be polite.
 */
static void
expect_bad(const uint8_t *bytes, size_t len, enum an_err err)
{
    struct stub *s = stub_start(0);
    uint8_t body[8];
    int fd = door_client(s);

    door_put_frame(fd, CMD_ECHO, "good", 4);
    assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), 4);
    door_put(fd, bytes, len);
    assert_int_equal(door_get_frame(fd, CMD_LAST_WORDS, body, sizeof(body)), 3);
    assert_memory_equal(body, "bad", 3);
    door_get_end(fd);
    assert_int_equal(door_read(s, &s->bad), 1);
    assert_string_equal(an_err_name((unsigned)door_read(s, &s->bad_err)),
                        an_err_name(err));
    assert_int_equal(door_read(s, &s->frames), 1);
    close(fd);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

/* C1, C2 */
static void
test_door_bad_headers_end_the_stream(void **state)
{
    uint8_t good[AN_FRAME_HEADER_LEN], bytes[AN_FRAME_HEADER_LEN];

    (void)state;
    door_frame_make(good, CMD_ECHO, NULL, 0);
    expect_bad((const uint8_t *)"G", 1, AN_ERR_FRAME_MAGIC); /* the first byte will do */
    expect_bad((const uint8_t *)"AB", 2, AN_ERR_FRAME_MAGIC);
    memcpy(bytes, good, sizeof(bytes));
    bytes[2] = 9;
    expect_bad(bytes, sizeof(bytes), AN_ERR_FRAME_VERSION);
    expect_bad(bytes, 3, AN_ERR_FRAME_VERSION);
    memcpy(bytes, good, sizeof(bytes));
    bytes[7] = 0x40;
    expect_bad(bytes, sizeof(bytes), AN_ERR_FRAME_FLAGS);
    memcpy(bytes, good, sizeof(bytes));
    memset(bytes + 12, 0xff, 4);
    expect_bad(bytes, sizeof(bytes), AN_ERR_FRAME_TOO_LARGE);
}

/* What follows the bad header lies unread in the socket: a plain close would reset the
 * connection, and the reset would overtake the last words. */
static void
test_door_last_words_survive_a_flood(void **state)
{
    struct stub *s = stub_start(500);
    static uint8_t garbage[512 * 1024];
    uint8_t body[8];
    int fd = door_client(s);

    (void)state;
    memset(garbage, 'G', sizeof(garbage));
    door_put(fd, garbage, sizeof(garbage));
    assert_int_equal(door_get_frame(fd, CMD_LAST_WORDS, body, sizeof(body)), 3);
    door_get_end(fd);
    close(fd);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

static void
test_door_announced_length_takes_no_memory(void **state)
{
    struct stub *s = stub_start(0);
    struct an_frame frame = {.codec = 1, .command = CMD_KEEP, .body_len = 60000};
    uint8_t bytes[AN_FRAME_HEADER_LEN + 10] = {0};
    int fd = door_client(s);

    (void)state;
    an_frame_put(bytes, &frame);
    door_put(fd, bytes, sizeof(bytes));
    door_await(s, &s->stats.partial_bytes, 1);
    assert_true(door_read(s, &s->stats.partial_bytes) <= 64);
    assert_int_equal(door_read(s, &s->frames), 0);
    close(fd);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

static void
test_door_half_close_ends_the_connection(void **state)
{
    struct stub *s = stub_start(0);
    int fd = door_client(s);

    (void)state;
    door_put_frame(fd, CMD_KEEP, "x", 1);
    shutdown(fd, SHUT_WR);
    door_await(s, &s->closed, 1);
    assert_int_equal(door_read(s, &s->frames), 1);
    door_get_end(fd);
    close(fd);
    stub_stop(s);
}

static void
test_door_reset_by_client_is_an_end(void **state)
{
    struct stub *s = stub_start(0);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    int fd = door_client(s);

    (void)state;
    door_put_frame(fd, CMD_KEEP, "x", 1);
    door_await(s, &s->frames, 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

static void
test_door_close_sends_last_words_then_end(void **state)
{
    struct stub *s = stub_start(0);
    uint8_t body[8];
    int fd = door_client(s);

    (void)state;
    door_put_frame(fd, CMD_END, NULL, 0);
    door_put_frame(fd, CMD_ECHO, "late", 4); /* after the end: not looked at, no answer */
    assert_int_equal(door_get_frame(fd, CMD_LAST_WORDS, body, sizeof(body)), 3);
    door_get_end(fd);
    close(fd);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

/* C11 */
static void
test_door_unread_output_reported_then_drained(void **state)
{
    struct stub *s = stub_start(0);
    uint8_t *body = malloc(MUCH_LEN);
    int fd = door_client(s);

    (void)state;
    assert_non_null(body);
    door_put_frame(fd, CMD_MUCH, NULL, 0);
    door_put_frame(fd, CMD_MUCH, NULL, 0);
    door_await(s, &s->output_max, 1024 * 1024);
    assert_true(door_read(s, &s->stats.output_bytes) > 0);
    assert_true(door_read(s, &s->stats.read_pauses) > 0);
    for (unsigned i = 0; i < 2 * MUCH_FRAMES; i++) {
        assert_int_equal(door_get_frame(fd, CMD_MUCH, body, MUCH_LEN), MUCH_LEN);
        assert_int_equal(body[0], i % MUCH_FRAMES);
        assert_int_equal(body[MUCH_LEN - 1], i % MUCH_FRAMES);
    }
    door_put_frame(fd, CMD_ECHO, "again", 5); /* it is read again */
    assert_int_equal(door_get_frame(fd, CMD_ECHO, body, MUCH_LEN), 5);
    door_await_turn(s);
    assert_int_equal(door_read(s, &s->output), 0);
    assert_int_equal(door_read(s, &s->stats.output_bytes), 0);
    free(body);
    close(fd);
    stub_stop(s);
}

/* A flood of requests whose answers nobody reads fills the sockets, not our memory. */
static void
test_door_flood_without_reading_is_held_back(void **state)
{
    struct stub *s = stub_start(200);
    static uint8_t body[60000];
    struct timeval wait = {.tv_usec = 300000};
    uint8_t *bytes = malloc(sizeof(body) + AN_FRAME_HEADER_LEN);
    size_t len, sent = 0;
    int fd = door_client(s);
    ssize_t n;

    (void)state;
    assert_non_null(bytes);
    len = door_frame_make(bytes, CMD_ECHO, body, sizeof(body));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    while (sent < 256u * 1024 * 1024) {
        n = send(fd, bytes + sent % len, len - sent % len, MSG_NOSIGNAL);
        if (n <= 0) {
            break; /* the door does not read any more */
        }
        sent += (size_t)n;
    }
    assert_true(sent < 64u * 1024 * 1024);
    door_await_turn(s);
    /* What one round of reading may bring on top of what stops it. */
    assert_true(door_read(s, &s->stats.output_bytes) < 4u * 1024 * 1024);
    free(bytes);
    close(fd);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

static void
test_door_never_reading_client_cannot_hold_the_end(void **state)
{
    struct stub *s = stub_start(100);
    uint8_t bytes[3 * AN_FRAME_HEADER_LEN];
    uint8_t *rest = malloc(MUCH_LEN);
    uint64_t got = 0;
    int fd = door_client(s);
    ssize_t n;

    (void)state;
    assert_non_null(rest);
    door_frame_make(bytes, CMD_MUCH, NULL, 0);
    door_frame_make(bytes + AN_FRAME_HEADER_LEN, CMD_MUCH, NULL, 0);
    door_frame_make(bytes + 2 * AN_FRAME_HEADER_LEN, CMD_END, NULL, 0);
    door_put(fd, bytes, sizeof(bytes));
    door_await(s, &s->closed, 1); /* though we neither read nor leave */
    while ((n = recv(fd, rest, MUCH_LEN, 0)) > 0) {
        got += (uint64_t)n;
    }
    assert_true(got < 2 * MUCH_FRAMES * MUCH_LEN); /* so some was stuck indeed */
    free(rest);
    close(fd);
    stub_stop(s);
}

static void
test_door_never_leaving_client_is_left(void **state)
{
    struct stub *s = stub_start(100);
    uint8_t body[8];
    int fd = door_client(s);

    (void)state;
    door_put_frame(fd, CMD_END, NULL, 0);
    assert_int_equal(door_get_frame(fd, CMD_LAST_WORDS, body, sizeof(body)), 3);
    door_get_end(fd);
    door_await(s, &s->closed, 1); /* it heard the end and stays: its socket goes anyway */
    close(fd);
    stub_stop(s);
}

static void
test_door_many_connections(void **state)
{
    enum { COUNT = 300 };
    struct stub *s = stub_start(0);
    int fds[COUNT];
    uint8_t body[16];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            fds[i] = door_client(s);
        }
        for (int i = 0; i < COUNT; i++) {
            door_put_frame(fds[i], CMD_ECHO, &i, sizeof(i));
        }
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(door_get_frame(fds[i], CMD_ECHO, body, sizeof(body)),
                             sizeof(i));
            assert_memory_equal(body, &i, sizeof(i));
            close(fds[i]);
        }
        door_await(s, &s->closed, (uint64_t)(round + 1) * COUNT);
    }
    assert_int_equal(door_read(s, &s->opened), 3 * COUNT);
    assert_true(door_read(s, &s->ids_grow)); /* never used again */
    stub_stop(s);
}

static void
test_door_out_of_descriptors_pauses_accepting(void **state)
{
    enum { COUNT = 40 };
    struct rlimit was, low;
    struct stub *s;
    int fds[COUNT], probe = dup(0);
    uint8_t body[8];
    uint64_t in_time;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    low = was;
    low.rlim_cur = (rlim_t)probe + 64 + 40; /* clients here take every other one */
    close(probe);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    s = stub_start(0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = door_client(s);
        door_put_frame(fds[i], CMD_ECHO, "here", 4);
    }
    door_await(s, &s->stats.accept_pauses, 1);
    door_await_turn(s);
    in_time = door_read(s, &s->opened);
    assert_true(in_time > 0 && in_time < COUNT);
    assert_int_equal(door_read(s, &s->logs), 1);
    for (int i = 0; i < COUNT; i++) { /* each one gone lets another in */
        assert_int_equal(door_get_frame(fds[i], CMD_ECHO, body, sizeof(body)), 4);
        close(fds[i]);
    }
    door_await(s, &s->closed, COUNT);
    assert_int_equal(door_read(s, &s->opened), COUNT);
    stub_stop(s);
}

/* They wait until it is their turn, none is turned away, and nobody inside waits. */
static void
test_door_accepts_no_faster_than_it_may(void **state)
{
    enum { BURST = 5, PER_S = 40, COUNT = 25 };
    const struct gate_door_cfg cfg = {.listen = {"tcp://127.0.0.1:0"},
                                      .listen_count = 1,
                                      .accept_per_s = PER_S,
                                      .accept_burst = BURST};
    struct stub *s = stub_start_at(&cfg);
    struct timespec from, to;
    int fds[COUNT];
    uint8_t body[8];
    double took_s;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = door_client(s);
        door_put_frame(fds[i], CMD_ECHO, "here", 4);
    }
    door_await(s, &s->opened, BURST);
    door_put_frame(fds[0], CMD_ECHO, "more", 4);
    assert_int_equal(door_get_frame(fds[0], CMD_ECHO, body, sizeof(body)), 4);
    assert_int_equal(door_get_frame(fds[0], CMD_ECHO, body, sizeof(body)), 4);
    door_await(s, &s->opened, COUNT);
    clock_gettime(CLOCK_MONOTONIC, &to);
    took_s = (double)(to.tv_sec - from.tv_sec) +
             (double)(to.tv_nsec - from.tv_nsec) / AN_BUCKET_S_NS;
    assert_true(took_s > 0.9 * (COUNT - BURST) / PER_S);
    assert_true(door_read(s, &s->stats.accept_waits) > 0);
    for (int i = 0; i < COUNT; i++) {
        close(fds[i]);
    }
    door_await(s, &s->closed, COUNT);
    assert_int_equal(door_read(s, &s->logs), 1);
    stub_stop(s);
}

static void
test_door_turn_comes_when_asked_for(void **state)
{
    struct stub *s = stub_start(0);

    (void)state;
    door_await(s, &s->turns, 1); /* the first of all */
    pthread_mutex_lock(&s->mutex);
    s->want_ms = 5;
    pthread_mutex_unlock(&s->mutex);
    s->door->ops->wake(s->door);
    door_await(s, &s->turns, 10); /* by the clock alone */
    stub_stop(s);
}

static void
test_door_quit_ends_open_connections(void **state)
{
    struct stub *s = stub_start(1000 * 1000); /* nobody waits that long for them */
    int fd = door_client(s), silent = door_client(s);
    uint8_t body[8];

    (void)state;
    door_put_frame(fd, CMD_ECHO, "here", 4);
    assert_int_equal(door_get_frame(fd, CMD_ECHO, body, sizeof(body)), 4);
    door_await(s, &s->opened, 2);
    stub_stop(s); /* asserts that nobody is left */
    door_get_end(fd);
    close(fd);
    close(silent);
}

static void
test_door_bad_addresses_refused(void **state)
{
    static const char *const bad[] = {
        "",           "127.0.0.1:1",       "udp://127.0.0.1:1", "tcp://127.0.0.1",
        "tcp://:1",   "tcp://127.0.0.1:",  "tcp://nowhere:1",   "tcp://127.0.0.1:65536",
        "tcp://[::1", "tcp://127.0.0.1:x", "tcp://127.0.0.1:1x"};
    struct an_door *door = NULL;
    char why[256];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct gate_door_cfg cfg = {.listen = {bad[i]}, .listen_count = 1};
        assert_int_equal(gate_door_create(&door, &cfg, why, sizeof(why)), AN_ERR_CONFIG);
    }
    assert_null(door);
}

static void
test_door_address_in_use_refused(void **state)
{
    struct stub *s = stub_start(0);
    struct gate_door_cfg cfg = {.listen = {s->url}, .listen_count = 1};
    struct an_door_host host = {0};
    struct an_door *second = NULL;
    char why[256];

    (void)state;
    assert_int_equal(gate_door_create(&second, &cfg, why, sizeof(why)), AN_OK);
    assert_int_equal(second->ops->start(second, &host), AN_ERR_CONNECTION);
    second->ops->destroy(second);
    stub_stop(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_door_single_bytes_make_frames),
        cmocka_unit_test(test_door_glued_frames_are_cut),
        cmocka_unit_test(test_door_any_cut_makes_same_frames),
        cmocka_unit_test(test_door_largest_frame_passes),
        cmocka_unit_test(test_door_bad_headers_end_the_stream),
        cmocka_unit_test(test_door_last_words_survive_a_flood),
        cmocka_unit_test(test_door_announced_length_takes_no_memory),
        cmocka_unit_test(test_door_half_close_ends_the_connection),
        cmocka_unit_test(test_door_reset_by_client_is_an_end),
        cmocka_unit_test(test_door_close_sends_last_words_then_end),
        cmocka_unit_test(test_door_unread_output_reported_then_drained),
        cmocka_unit_test(test_door_flood_without_reading_is_held_back),
        cmocka_unit_test(test_door_never_reading_client_cannot_hold_the_end),
        cmocka_unit_test(test_door_never_leaving_client_is_left),
        cmocka_unit_test(test_door_many_connections),
        cmocka_unit_test(test_door_out_of_descriptors_pauses_accepting),
        cmocka_unit_test(test_door_accepts_no_faster_than_it_may),
        cmocka_unit_test(test_door_turn_comes_when_asked_for),
        cmocka_unit_test(test_door_quit_ends_open_connections),
        cmocka_unit_test(test_door_bad_addresses_refused),
        cmocka_unit_test(test_door_address_in_use_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
