#include "rig.h"
#include "client/client_priv.h"
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t
rig_mono(void *ctx)
{
    return ((struct rig *)ctx)->now_ms;
}

static uint32_t
rig_below(void *ctx, uint32_t bound)
{
    (void)ctx;
    return bound - 1; /* the longest pause: the tests know it */
}

static void
on_state(void *user, enum anser_state state, const struct anser_error *why)
{
    struct rig *rig = user;

    rig->states[rig->state_count++ % RIG_MAX] = state;
    if (why != NULL) {
        rig->why = *why;
    }
}

static bool
on_message(void *user, const struct anser_message *message)
{
    struct rig *rig = user;
    struct rig_message *m = &rig->messages[rig->message_count];

    if (rig->take == 0) {
        return false;
    }
    rig->take--;
    assert_true(rig->message_count < RIG_MAX);
    m->inbox_seq = message->inbox_seq;
    m->seq = message->seq;
    m->own = message->own;
    m->own_device = message->own_device;
    (void)snprintf(m->from, sizeof(m->from), "%s", message->from);
    (void)snprintf(m->text, sizeof(m->text), "%.*s", (int)message->body_len,
                   (const char *)message->body);
    rig->message_count++;
    return true;
}

static void
on_send(void *user, const struct anser_send *send)
{
    struct rig *rig = user;

    assert_true(rig->send_count < RIG_MAX);
    rig->sends[rig->send_count++] = *send;
}

static void
on_gap(void *user, uint64_t from, uint64_t to, bool reset)
{
    struct rig *rig = user;

    rig->gaps += reset ? 0 : 1;
    rig->resets += reset ? 1 : 0;
    rig->gap_from = from;
    rig->gap_to = to;
}

static char *
on_token(void *user)
{
    struct rig *rig = user;

    rig->tokens++;
    return rig->fresh_token == NULL ? NULL : strdup(rig->fresh_token);
}

static void
on_warning(void *user, const struct anser_error *warning)
{
    (void)warning;
    ((struct rig *)user)->warnings++;
}

void
rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    mock_start(&rig->mock);
    rig->now_ms = 1000000;
    rig->take = SIZE_MAX;
    rig->addresses[0] = rig->mock.url;
    rig->options = (struct anser_options){
        .addresses = rig->addresses,
        .address_count = 1,
        .token = "token",
        .device = "laptop",
        .callbacks = {on_state, on_message, on_send, on_gap, on_token, on_warning},
        .user = rig,
    };
}

void
rig_start(struct rig *rig)
{
    static const struct ac_env virtual_env = {rig_mono, rig_below, NULL};
    struct ac_env env = virtual_env;

    env.ctx = rig;
    assert_int_equal(anser_client_create(&rig->client, &rig->options), ANSER_OK);
    ac_client_set_env(rig->client, &env);
}

void
rig_fini(struct rig *rig)
{
    anser_client_destroy(rig->client);
    rig->client = NULL;
    mock_stop(&rig->mock);
}

void
rig_restart(struct rig *rig)
{
    anser_client_destroy(rig->client);
    mock_close_conns(&rig->mock);
    rig_start(rig);
}

/* One turn of both sides. Waits a real millisecond at most, for the loopback. */
static bool
turn(struct rig *rig)
{
    struct pollfd p[1 + MOCK_CONNS];
    nfds_t count = 0;
    unsigned events;
    bool busy;

    rig->mock.now_ms = rig->now_ms;
    (void)anser_client_process(rig->client);
    busy = mock_step(&rig->mock);
    events = anser_client_events(rig->client);
    if (busy || (anser_client_timeout_ms(rig->client) == 0 && events != 0)) {
        return true;
    }
    p[count++] =
        (struct pollfd){.fd = anser_client_fd(rig->client),
                        .events = (short)(((events & ANSER_READ) != 0 ? POLLIN : 0) |
                                          ((events & ANSER_WRITE) != 0 ? POLLOUT : 0))};
    for (int i = 0; i < MOCK_CONNS; i++) {
        p[count++] = (struct pollfd){.fd = rig->mock.conns[i].fd, .events = POLLIN};
    }
    return poll(p, count, 2) > 0;
}

bool
rig_until(struct rig *rig, bool (*cond)(struct rig *rig))
{
    for (int i = 0; i < 2000; i++) {
        if (cond(rig)) {
            return true;
        }
        (void)turn(rig);
    }
    return cond(rig);
}

void
rig_settle(struct rig *rig)
{
    int quiet = 0;

    for (int i = 0; i < 20000 && quiet < 3; i++) {
        quiet = turn(rig) ? 0 : quiet + 1;
    }
}

void
rig_advance(struct rig *rig, uint64_t ms)
{
    rig->now_ms += ms;
    rig_settle(rig);
}

uint64_t
rig_send(struct rig *rig, const char *to, const char *text)
{
    struct anser_outgoing message = {.to = to, .body = text, .body_len = strlen(text)};
    uint64_t ticket = 0;

    assert_int_equal(anser_client_send(rig->client, &message, &ticket), ANSER_OK);
    return ticket;
}

size_t
rig_told(const struct rig *rig, uint64_t ticket, enum anser_send_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < rig->send_count; i++) {
        count += rig->sends[i].ticket == ticket && rig->sends[i].state == state;
    }
    return count;
}

bool
rig_online(struct rig *rig)
{
    return anser_client_state(rig->client) == ANSER_STATE_ONLINE;
}

bool
rig_closed(struct rig *rig)
{
    return anser_client_state(rig->client) == ANSER_STATE_CLOSED;
}

bool
rig_flushed(struct rig *rig)
{
    return rig_online(rig) && anser_client_flushed(rig->client);
}
