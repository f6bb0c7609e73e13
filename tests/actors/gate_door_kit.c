#include "tests/actors/gate_door_kit.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <time.h>

static void
out_frame(struct stub *s, uint64_t conn, uint16_t command, const uint8_t *body,
          size_t len)
{
    struct an_frame frame = {.codec = 1, .command = command};

    an_out_conn_send_packed(&s->out, conn, &frame, body, len);
}

static void
stub_frame(struct stub *s, const struct an_msg *msg)
{
    static uint8_t much[MUCH_LEN];

    s->frames++;
    s->body_bytes += msg->frame.body_len;
    s->last_conn = msg->conn;
    if (msg->frame.command == CMD_ECHO) {
        out_frame(s, msg->conn, CMD_ECHO, msg->frame_body, msg->frame.body_len);
    } else if (msg->frame.command == CMD_MUCH) {
        for (unsigned i = 0; i < MUCH_FRAMES; i++) {
            memset(much, (int)i, sizeof(much));
            out_frame(s, msg->conn, CMD_MUCH, much, sizeof(much));
        }
    } else if (msg->frame.command == CMD_END) {
        out_frame(s, msg->conn, CMD_LAST_WORDS, (const uint8_t *)"bye", 3);
        an_out_conn_close(&s->out, msg->conn);
    }
}

static void
stub_deliver(void *ctx, struct an_msg *msg)
{
    struct stub *s = ctx;

    pthread_mutex_lock(&s->mutex);
    s->steps++;
    switch (msg->kind) {
    case AN_KIND_CONN_OPEN:
        s->opened++;
        s->ids_grow = s->ids_grow && msg->conn > s->ids_seen;
        s->ids_seen = msg->conn;
        s->last_conn = msg->conn;
        break;
    case AN_KIND_CONN_FRAME:
        stub_frame(s, msg);
        break;
    case AN_KIND_CONN_BAD:
        s->bad++;
        s->bad_err = msg->err;
        out_frame(s, msg->conn, CMD_LAST_WORDS, (const uint8_t *)"bad", 3);
        an_out_conn_close(&s->out, msg->conn);
        break;
    case AN_KIND_CONN_OUTPUT:
        s->outputs++;
        s->output = msg->output_bytes;
        s->output_max = s->output > s->output_max ? s->output : s->output_max;
        break;
    case AN_KIND_CONN_CLOSED:
        s->closed++;
        break;
    default:
        abort();
    }
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

static uint64_t
stub_turn(void *ctx)
{
    const struct an_frame login = {
        .codec = 1, .command = AN_COMMAND_LOGIN, .flags = AN_FRAME_ANSWER};
    struct stub *s = ctx;
    uint64_t wait_ms;

    pthread_mutex_lock(&s->mutex);
    s->turns++;
    if (s->let_in) {
        s->let_in = false;
        s->steps++;
        an_out_conn_send_packed(&s->out, s->last_conn, &login, NULL, 0);
    }
    for (size_t i = 0; i < s->out.count; i++) {
        const struct an_effect *effect = &s->out.effects[i];
        s->door->ops->carry(s->door, effect, s->out.bytes + effect->offset);
    }
    if (s->steps > 0) { /* as the runner: nothing was delivered, nothing is flushed */
        s->door->ops->flush(s->door);
    }
    s->steps = 0;
    an_outbox_clear(&s->out);
    gate_door_stats(s->door, &s->stats);
    if (s->quit) {
        s->door->ops->quit(s->door);
    }
    wait_ms = s->want_ms;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    return wait_ms;
}

static void
stub_log(void *ctx, int level, const char *line)
{
    struct stub *s = ctx;

    (void)level;
    (void)line;
    pthread_mutex_lock(&s->mutex);
    s->logs++;
    pthread_mutex_unlock(&s->mutex);
}

static void *
stub_main(void *arg)
{
    struct stub *s = arg;

    s->door->ops->run(s->door);
    return NULL;
}

struct stub *
stub_start(uint32_t close_ms)
{
    const struct gate_door_cfg cfg = {
        .listen = {"tcp://127.0.0.1:0"}, .listen_count = 1, .close_ms = close_ms};

    return stub_start_at(&cfg);
}

struct stub *
stub_start_at(const struct gate_door_cfg *given)
{
    struct stub *s = calloc(1, sizeof(*s));
    struct gate_door_cfg cfg = *given;
    struct an_door_host host = {.ctx = s, .deliver = stub_deliver, .turn = stub_turn};
    pthread_mutexattr_t attr;
    char why[256];

    assert_non_null(s);
    if (cfg.login_len_max == 0) {
        cfg.login_len_max = UINT32_MAX; /* the stub lets everybody in */
    }
    cfg.log = stub_log;
    cfg.log_ctx = s;
    s->want_ms = UINT64_MAX;
    s->ids_grow = 1;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE); /* flush may log */
    pthread_mutex_init(&s->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    pthread_cond_init(&s->cond, NULL);
    assert_int_equal(gate_door_create(&s->door, &cfg, why, sizeof(why)), AN_OK);
    assert_int_equal(s->door->ops->start(s->door, &host), AN_OK);
    snprintf(s->url, sizeof(s->url), "%s", s->door->ops->address(s->door, 0));
    assert_null(s->door->ops->address(s->door, 1));
    assert_int_equal(sscanf(s->url, "%*[a-z]://127.0.0.1:%d", &s->port), 1);
    assert_true(s->port > 0);
    assert_int_equal(pthread_create(&s->thread, NULL, stub_main, s), 0);
    return s;
}

void
stub_let_in(struct stub *s)
{
    pthread_mutex_lock(&s->mutex);
    s->let_in = true;
    pthread_mutex_unlock(&s->mutex);
    s->door->ops->wake(s->door);
}

void
stub_stop(struct stub *s)
{
    pthread_mutex_lock(&s->mutex);
    s->quit = true;
    pthread_mutex_unlock(&s->mutex);
    s->door->ops->wake(s->door);
    pthread_join(s->thread, NULL);
    gate_door_stats(s->door, &s->stats);
    assert_int_equal(s->stats.conns, 0);
    assert_int_equal(s->stats.partial_bytes, 0);
    assert_int_equal(s->stats.accepted, s->stats.closed);
    s->door->ops->destroy(s->door);
    an_outbox_fini(&s->out);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->cond);
    free(s);
}

uint64_t
door_read(struct stub *s, const uint64_t *counter)
{
    uint64_t value;

    pthread_mutex_lock(&s->mutex);
    value = *counter;
    pthread_mutex_unlock(&s->mutex);
    return value;
}

/* Waits until the counter has reached the value. */
void
door_await(struct stub *s, const uint64_t *counter, uint64_t value)
{
    struct timespec until;
    int err = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&s->mutex);
    while (*counter < value && err == 0) {
        err = pthread_cond_timedwait(&s->cond, &s->mutex, &until);
    }
    pthread_mutex_unlock(&s->mutex);
    assert_true(door_read(s, counter) >= value);
}

/* Waits for a turn that began after now, so that s->stats is fresh. */
void
door_await_turn(struct stub *s)
{
    uint64_t turns;

    pthread_mutex_lock(&s->mutex);
    turns = s->turns;
    pthread_mutex_unlock(&s->mutex);
    s->door->ops->wake(s->door);
    door_await(s, &s->turns, turns + 1);
}

/* ------------------------------------------------------------------ the client */

int
door_client(const struct stub *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    struct timeval wait = {.tv_sec = WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    assert_true(fd >= 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

void
door_put(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

size_t
door_frame_make(uint8_t *out, uint16_t command, const void *body, size_t len)
{
    struct an_frame frame = {.codec = 1, .command = command, .body_len = (uint32_t)len};

    an_frame_put(out, &frame);
    if (len > 0) {
        memcpy(out + AN_FRAME_HEADER_LEN, body, len);
    }
    return AN_FRAME_HEADER_LEN + len;
}

void
door_put_frame(int fd, uint16_t command, const void *body, size_t len)
{
    uint8_t *bytes = malloc(AN_FRAME_HEADER_LEN + len);

    assert_non_null(bytes);
    door_put(fd, bytes, door_frame_make(bytes, command, body, len));
    free(bytes);
}

void
door_get(int fd, void *data, size_t len)
{
    assert_int_equal(recv(fd, data, len, MSG_WAITALL), (ssize_t)len);
}

/* One frame, whole; its body's length. */
size_t
door_get_frame(int fd, uint16_t command, uint8_t *body, size_t cap)
{
    uint8_t header[AN_FRAME_HEADER_LEN];
    struct an_frame frame;

    door_get(fd, header, sizeof(header));
    assert_int_equal(an_frame_get(&frame, header, sizeof(header), AN_FRAME_LEN_MAX),
                     AN_FRAME_OK);
    assert_int_equal(frame.command, command);
    assert_true(frame.body_len <= cap);
    if (frame.body_len > 0) {
        door_get(fd, body, frame.body_len);
    }
    return frame.body_len;
}

void
door_get_end(int fd)
{
    uint8_t byte;

    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}
