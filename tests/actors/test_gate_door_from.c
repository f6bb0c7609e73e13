/* What the connections of one address, and those that have not logged in, may have of the
 * door; and that others do not notice. */
#include "actors/gate/gate_json.h"
#include "gate_door_kit.h"
#include <arpa/inet.h>
#include <netinet/in.h>

enum { LOGIN_MAX = 1000, PIECE = 300 * 1024 };

/* From 127.0.0.HOST. */
static int
client_from(const struct stub *s, unsigned host)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = WAIT_S};

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons((uint16_t)s->port);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static struct stub *
start(const char *url, uint32_t login_len_max, uint32_t handshakes_max,
      const struct an_nets *unlimited)
{
    const struct gate_door_cfg cfg = {.listen = {url},
                                      .listen_count = 1,
                                      .login_len_max = login_len_max,
                                      .handshake_ms = 60000,
                                      .handshakes_max = handshakes_max,
                                      .unlimited = unlimited};

    return stub_start_at(&cfg);
}

static const char beat[] = "{\"command\":\"Logout\",\"request\":1";

/* A whole one, so long. */
static void
put_beat(int fd, size_t len)
{
    static char line[GATE_JSON_LEN_MAX];

    memset(line, ' ', len);
    memcpy(line, beat, strlen(beat));
    line[len - 2] = '}';
    line[len - 1] = '\n';
    door_put(fd, line, len);
}

/* One that does not end. */
static void
put_line(int fd, size_t len)
{
    static char line[GATE_JSON_LEN_MAX];

    memset(line, ' ', sizeof(line));
    line[0] = '{';
    /* Whoever was refused may be gone already. */
    (void)!send(fd, line, len, MSG_NOSIGNAL);
}

/* ------------------------------------------------------------------ before the login */

static void
test_door_before_a_login_little_is_held(void **state)
{
    static uint8_t body[2 * LOGIN_MAX];
    struct stub *s = start("tcp://127.0.0.1:0", LOGIN_MAX, 0, NULL);
    int fds[3] = {door_client(s), door_client(s), door_client(s)};

    (void)state;
    put_line(fds[0], LOGIN_MAX); /* as long as it may be */
    door_await(s, &s->stats.partial_bytes, LOGIN_MAX);
    assert_int_equal(door_read(s, &s->bad), 0);
    door_put(fds[0], " ", 1);
    door_await(s, &s->bad, 1);
    assert_int_equal(door_read(s, &s->bad_err), AN_ERR_FRAME_TOO_LARGE);
    door_put_frame(fds[1], CMD_KEEP, body, LOGIN_MAX);
    door_await(s, &s->bad, 2);
    assert_int_equal(door_read(s, &s->bad_err), AN_ERR_FRAME_TOO_LARGE);
    door_put_frame(fds[2], CMD_KEEP, body, LOGIN_MAX - AN_FRAME_HEADER_LEN);
    door_await(s, &s->frames, 1);
    door_await_turn(s);
    assert_int_equal(door_read(s, &s->bad), 2);
    assert_int_equal(door_read(s, &s->stats.held_refused), 2);
    for (unsigned i = 0; i < 3; i++) {
        close(fds[i]);
    }
    stub_stop(s);
}

/* What follows a Login at once, whatever its size, is not lost while it is judged. */
static void
test_door_what_follows_a_login_waits_for_its_answer(void **state)
{
    static uint8_t body[AN_FRAME_LEN_MAX / 2], frame[AN_FRAME_LEN_MAX];
    static uint8_t back[AN_FRAME_LEN_MAX];
    struct stub *s = start("tcp://127.0.0.1:0", LOGIN_MAX, 0, NULL);
    int fd = door_client(s);
    size_t len;

    (void)state;
    door_put_frame(fd, CMD_KEEP, "x", 1); /* no answer yet */
    len = door_frame_make(frame, CMD_ECHO, body, sizeof(body));
    door_put(fd, frame, LOGIN_MAX + 100);
    door_await(s, &s->stats.partial_bytes, LOGIN_MAX + 100);
    door_put(fd, frame + LOGIN_MAX + 100, len - LOGIN_MAX - 100);
    door_await_turn(s);
    assert_int_equal(door_read(s, &s->frames), 1);
    stub_let_in(s);
    assert_int_equal(door_get_frame(fd, AN_COMMAND_LOGIN, back, sizeof(back)), 0);
    assert_int_equal(door_get_frame(fd, CMD_ECHO, back, sizeof(back)), sizeof(body));
    assert_int_equal(door_read(s, &s->bad), 0);
    close(fd);
    stub_stop(s);
}

/* ------------------------------------------------------------------ of an address */

static void
test_door_an_address_holds_its_share_and_others_go_on(void **state)
{
    enum { MANY = AN_DOOR_HELD_BYTES / AN_DOOR_HELD_SHARE / GATE_JSON_LEN_MAX + 4 };
    struct stub *s = start("tcp://127.0.0.1:0", 0, 0, NULL);
    int fds[MANY], other = client_from(s, 2);

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        fds[i] = client_from(s, 1);
        put_line(fds[i], GATE_JSON_LEN_MAX);
    }
    door_await(s, &s->bad, 4);
    assert_int_equal(door_read(s, &s->bad_err), AN_ERR_BUSY);
    assert_true(door_read(s, &s->stats.partial_bytes) <=
                AN_DOOR_HELD_BYTES / AN_DOOR_HELD_SHARE + MANY * AN_DOOR_HELD_OWN);
    put_beat(other, PIECE);
    door_await(s, &s->frames, 1);
    assert_true(door_read(s, &s->logs) >= 1);
    for (unsigned i = 0; i < MANY; i++) {
        close(fds[i]);
    }
    close(other);
    stub_stop(s);
}

/* Those who have not logged in leave half of it, and what is small needs none of it. */
static void
test_door_all_of_it_is_never_taken_by_strangers(void **state)
{
    enum { MANY = AN_DOOR_HELD_BYTES / 2 / GATE_JSON_LEN_MAX + 4 };
    struct an_nets unlimited;
    struct stub *s;
    int fds[MANY], known, newer;

    (void)state;
    assert_true(an_nets_parse(&unlimited, "127.0.0.0/8"));
    s = start("tcp://127.0.0.1:0", 0, 0, &unlimited);
    known = door_client(s);
    put_beat(known, 100);
    door_await(s, &s->frames, 1);
    stub_let_in(s);
    door_await_turn(s);
    for (unsigned i = 0; i < MANY; i++) {
        fds[i] = door_client(s);
        put_line(fds[i], GATE_JSON_LEN_MAX);
    }
    door_await(s, &s->bad, 2);
    assert_int_equal(door_read(s, &s->bad_err), AN_ERR_BUSY);
    put_beat(known, PIECE);
    door_await(s, &s->frames, 2);
    newer = door_client(s); /* in two pieces */
    door_put(newer, beat, strlen(beat));
    door_await_turn(s);
    door_put(newer, "}\n", 2);
    door_await(s, &s->frames, 3);
    close(newer);
    for (unsigned i = 0; i < MANY; i++) {
        close(fds[i]);
    }
    close(known);
    stub_stop(s);
}

/* ------------------------------------------------------------------ handshakes */

static void
test_door_a_crowd_pushes_out_its_own(void **state)
{
    enum { MAX = 16, CROWD = 60 };
    struct stub *s = start("ws://127.0.0.1:0", 0, MAX, NULL);
    int slow = client_from(s, 2), fds[CROWD];
    char back[12];

    (void)state;
    door_put(slow, "GET / HTTP/1.1\r\n", 16);
    door_await(s, &s->stats.partial_bytes, 16);
    for (unsigned i = 0; i < CROWD; i++) {
        fds[i] = client_from(s, 1);
    }
    door_await(s, &s->stats.handshakes_late, CROWD + 1 - MAX);
    door_put(slow,
             "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             strlen("Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
    door_get(slow, back, sizeof(back));
    assert_memory_equal(back, "HTTP/1.1 101", sizeof(back));
    for (unsigned i = 0; i < CROWD; i++) {
        close(fds[i]);
    }
    close(slow);
    stub_stop(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_door_before_a_login_little_is_held),
        cmocka_unit_test(test_door_what_follows_a_login_waits_for_its_answer),
        cmocka_unit_test(test_door_an_address_holds_its_share_and_others_go_on),
        cmocka_unit_test(test_door_all_of_it_is_never_taken_by_strangers),
        cmocka_unit_test(test_door_a_crowd_pushes_out_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
