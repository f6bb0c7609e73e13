/* The gates' doors: client connections as ordered byte ways that may break, break on one
 * side alone, or stop being read. Frames are cut here, as the real door cuts them. */
#include "core/limits.h"
#include "tests/sim/sim_priv.h"
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS_BASE = 10 << 24 };

struct passing {
    uint64_t conn;
    size_t len;
    uint8_t bytes[];
};

static struct sim_conn *
conn_find(struct sim *sim, uint64_t id)
{
    return id == 0 || id > sim->conn_count ? NULL : sim->conn[id - 1];
}

/* One that was: they are kept until the end of the trial. */
static struct sim_conn *
conn_get(struct sim *sim, uint64_t id)
{
    assert(id > 0 && id <= sim->conn_count);
    return sim->conn[id - 1];
}

/* The gate's number for it, from now on. */
static void
number_give(struct sim *sim, struct sim_conn *conn)
{
    struct sim_door *door = &sim->door[conn->gate];

    door->id = sim_grow(door->id, &door->cap, door->count + 1, sizeof(*door->id));
    door->id[door->count++] = conn->id;
    conn->number = door->count;
    sim->counts[SIM_CONN_REUSED] += door->count <= door->given;
}

/* NULL: this life of the gate never had one of that number. */
static struct sim_conn *
number_find(struct sim *sim, unsigned actor, uint64_t number)
{
    const struct sim_door *door = &sim->door[actor];

    return number == 0 || number > door->count ? NULL
                                               : conn_find(sim, door->id[number - 1]);
}

/* Clients of one user share an address, guests have their own. */
static uint32_t
address_of(const struct sim *sim, unsigned client)
{
    return client >= SIM_GUEST ? client : sim_client_user(sim, client);
}

static bool
gate_lives(const struct sim *sim, const struct sim_conn *conn)
{
    return sim_actor_up(sim, conn->gate) && sim_life(sim, conn->gate) == conn->life;
}

static uint64_t
arrival(struct sim *sim, struct sim_conn *conn, enum sim_side side)
{
    uint64_t at = sim->now_us + sim->plan.latency_us + sim_between(sim, 0, 400);

    if (side == SIM_TO_CLIENT) {
        bool slow = sim_chance(sim, sim->plan.conn_slow);

        if (slow && !conn->closing) { /* the close waits for nobody */
            sim->counts[SIM_CONN_SLOW]++;
            conn->slow_until_us = sim->now_us + sim_between(sim, 100, 15000) * SIM_MS;
        }
        if (at < conn->slow_until_us) {
            at = conn->slow_until_us;
        }
    }
    if (at <= conn->last_us[side]) {
        at = conn->last_us[side] + 1;
    }
    conn->last_us[side] = at;
    return at;
}

/* ------------------------------------------------------------------ to the gate */

static struct an_msg *
gate_msg(struct sim *sim, const struct sim_conn *conn, uint16_t kind)
{
    struct an_msg *msg = sim_msg_create(sim, conn->gate, kind);

    msg->conn = conn->number;
    return msg;
}

static void
gate_closed(struct sim *sim, struct sim_conn *conn)
{
    if (conn->gate_open && gate_lives(sim, conn)) {
        sim_mail(sim, conn->gate, gate_msg(sim, conn, AN_KIND_CONN_CLOSED));
    }
    conn->gate_open = false;
}

static void
opened(struct sim *sim, void *arg, uint64_t id)
{
    struct sim_conn *conn = conn_get(sim, id);
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct an_msg *msg;

    (void)arg;
    if (conn->cut || !gate_lives(sim, conn)) {
        return;
    }
    conn->gate_open = true;
    number_give(sim, conn);
    msg = gate_msg(sim, conn, AN_KIND_CONN_OPEN);
    from.sin_addr.s_addr = htonl(ADDRESS_BASE + address_of(sim, conn->client));
    an_address_of(msg->address, (struct sockaddr *)&from);
    sim_mail(sim, conn->gate, msg);
    if (conn->client_open && conn->client >= SIM_GUEST) {
        sim_guest_opened(sim, conn->client - SIM_GUEST, id);
    } else if (conn->client_open) {
        sim_client_opened(sim, conn->client, id);
    }
}

static void
frame_arrives(struct sim *sim, void *arg, uint64_t number)
{
    struct passing *passing = arg;
    struct sim_conn *conn = conn_get(sim, passing->conn);
    struct an_msg *msg;
    enum an_frame_state state;
    uint8_t *body;

    (void)number;
    if (conn->cut || conn->closing || !conn->gate_open || !gate_lives(sim, conn)) {
        free(passing);
        return;
    }
    msg = gate_msg(sim, conn, AN_KIND_CONN_FRAME);
    state = an_frame_get(&msg->frame, passing->bytes, passing->len, AN_FRAME_LEN_MAX);
    if (state == AN_FRAME_OK) {
        body = an_arena_dup(&msg->arena, passing->bytes + AN_FRAME_HEADER_LEN,
                            passing->len - AN_FRAME_HEADER_LEN);
        assert(msg->frame.body_len == passing->len - AN_FRAME_HEADER_LEN);
        msg->frame_body = body;
    } else {
        msg->kind = AN_KIND_CONN_BAD;
        msg->err = AN_ERR_FRAME_MAGIC;
    }
    free(passing);
    sim_mail(sim, conn->gate, msg);
}

static void
hang_up_arrives(struct sim *sim, void *arg, uint64_t id)
{
    struct sim_conn *conn = conn_get(sim, id);

    (void)arg;
    if (!conn->cut) {
        gate_closed(sim, conn);
        conn->cut = true;
    }
}

/* ------------------------------------------------------------------ to the client */

static void
client_closed(struct sim *sim, struct sim_conn *conn)
{
    if (conn->client_open) {
        conn->client_open = false;
        if (conn->client >= SIM_GUEST) {
            sim_guest_closed(sim, conn->client - SIM_GUEST, conn->id, conn->ended);
        } else {
            sim_client_closed(sim, conn->client, conn->id);
        }
    }
}

static void
output_tell(struct sim *sim, struct sim_conn *conn)
{
    struct an_msg *msg;

    if (conn->gate_open && gate_lives(sim, conn)) {
        msg = gate_msg(sim, conn, AN_KIND_CONN_OUTPUT);
        msg->output_bytes = conn->unread;
        sim_mail(sim, conn->gate, msg);
    }
}

static void
client_receives(struct sim *sim, void *arg, uint64_t number)
{
    struct passing *passing = arg;
    struct sim_conn *conn = conn_get(sim, passing->conn);
    struct an_frame frame;

    (void)number;
    if (!conn->cut && conn->client_open) {
        bool was_behind = conn->unread > AN_CONN_OUTPUT_MAX / 8;
        conn->unread -= passing->len;
        if (was_behind) {
            output_tell(sim, conn);
        }
        if (an_frame_get(&frame, passing->bytes, passing->len, UINT32_MAX) !=
                AN_FRAME_OK ||
            frame.body_len != passing->len - AN_FRAME_HEADER_LEN) {
            sim_fail(sim, "the gate sent a malformed frame to client %u", conn->client);
        } else if (conn->client >= SIM_GUEST) {
            sim_guest_frame(sim, conn->client - SIM_GUEST, conn->id, &frame,
                            passing->bytes + AN_FRAME_HEADER_LEN);
        } else {
            sim_client_frame(sim, conn->client, conn->id, &frame,
                             passing->bytes + AN_FRAME_HEADER_LEN);
        }
    }
    free(passing);
}

/* The gate wanted it closed and everything before has been taken. */
static void
close_arrives(struct sim *sim, void *arg, uint64_t id)
{
    struct sim_conn *conn = conn_get(sim, id);

    (void)arg;
    if (!conn->cut) {
        conn->cut = true;
        conn->ended = true;
        client_closed(sim, conn);
        gate_closed(sim, conn);
    }
}

/* ------------------------------------------------------------------ the client's side */

static void
refused(struct sim *sim, void *arg, uint64_t id)
{
    (void)arg;
    client_closed(sim, conn_get(sim, id));
}

uint64_t
sim_door_connect(struct sim *sim, unsigned client, unsigned gate)
{
    int index = sim_actor_find(sim, (struct an_addr){AN_ROLE_GATE, (uint16_t)gate});
    struct sim_conn *conn = sim_alloc(sizeof(*conn));

    assert(index >= 0);
    sim->conn = sim_grow(sim->conn, &sim->conn_cap, sim->conn_count + 1,
                         sizeof(struct sim_conn *));
    sim->conn[sim->conn_count++] = conn;
    conn->id = sim->conn_count;
    conn->gate = (unsigned)index;
    conn->client = client;
    conn->client_open = true;
    conn->life = sim_life(sim, conn->gate);
    if (!sim_actor_up(sim, conn->gate) || !sim->actor[index].ready ||
        sim->process[sim->actor[index].process].stopping) {
        sim_at(sim, sim->now_us + sim_between(sim, 1, 1000), refused, NULL, conn->id);
        return conn->id;
    }
    sim_at(sim, arrival(sim, conn, SIM_TO_GATE), opened, NULL, conn->id);
    return conn->id;
}

void
sim_door_write(struct sim *sim, uint64_t id, const uint8_t *frame, size_t len)
{
    struct sim_conn *conn = conn_find(sim, id);
    struct passing *passing;

    if (conn == NULL || !conn->client_open || conn->cut) {
        return; /* a half-open connection swallows it */
    }
    passing = sim_alloc(sizeof(*passing) + len);
    passing->conn = id;
    passing->len = len;
    memcpy(passing->bytes, frame, len);
    sim_mix(sim, frame, len);
    sim_at(sim, arrival(sim, conn, SIM_TO_GATE), frame_arrives, passing, 0);
}

void
sim_door_hang_up(struct sim *sim, uint64_t id)
{
    struct sim_conn *conn = conn_find(sim, id);

    if (conn == NULL || !conn->client_open) {
        return;
    }
    conn->client_open = false;
    if (!conn->cut) {
        sim_at(sim, arrival(sim, conn, SIM_TO_GATE), hang_up_arrives, NULL, id);
    }
}

/* ------------------------------------------------------------------ the gate's side */

void
sim_door_send(struct sim *sim, unsigned actor, const struct an_effect *effect,
              const uint8_t *frame)
{
    struct sim_conn *conn = number_find(sim, actor, effect->conn);
    struct passing *passing;

    if (conn == NULL) {
        sim_fail(sim, "a gate sends to a connection that was never its own");
        return;
    }
    if (!conn->gate_open || conn->closing) {
        return;
    }
    if (!conn->client_open || conn->cut) {
        return; /* half open: it goes nowhere, and nobody says so yet */
    }
    passing = sim_alloc(sizeof(*passing) + effect->len);
    passing->conn = conn->id;
    passing->len = effect->len;
    memcpy(passing->bytes, frame, effect->len);
    sim_mix(sim, frame, effect->len);
    conn->unread += effect->len;
    if (conn->unread > AN_CONN_OUTPUT_MAX / 8) {
        output_tell(sim, conn);
    }
    sim_at(sim, arrival(sim, conn, SIM_TO_CLIENT), client_receives, passing, 0);
}

void
sim_door_close(struct sim *sim, unsigned actor, uint64_t number)
{
    struct sim_conn *conn = number_find(sim, actor, number);

    if (conn == NULL) {
        sim_fail(sim, "a gate closes a connection that was never its own");
        return;
    }
    if (!conn->gate_open || conn->closing) {
        return;
    }
    conn->closing = true;
    if (conn->cut || !conn->client_open) {
        gate_closed(sim, conn);
        return;
    }
    conn->slow_until_us = conn->slow_until_us > sim->now_us + 2000 * SIM_MS
                              ? sim->now_us + 2000 * SIM_MS
                              : conn->slow_until_us; /* the bounded time */
    sim_at(sim, arrival(sim, conn, SIM_TO_CLIENT), close_arrives, NULL, conn->id);
}

/* ------------------------------------------------------------------ breaking */

void
sim_door_process_down(struct sim *sim, unsigned process)
{
    for (unsigned i = 0; i < sim->actor_count; i++) {
        struct sim_door *door = &sim->door[i];
        if (sim->actor[i].process == process) {
            door->given = door->count > door->given ? door->count : door->given;
            door->count = 0;
        }
    }
    for (size_t i = 0; i < sim->conn_count; i++) {
        struct sim_conn *conn = sim->conn[i];
        if (sim->actor[conn->gate].process != process || sim->finished) {
            continue;
        }
        conn->gate_open = false;
        if (!conn->cut) {
            conn->cut = true;
            sim_at(sim, sim->now_us + sim_between(sim, 1, 2000), refused, NULL, conn->id);
        }
    }
}

static void
half_heard(struct sim *sim, void *arg, uint64_t id)
{
    (void)arg;
    gate_closed(sim, conn_get(sim, id));
}

void
sim_door_fault(struct sim *sim, bool half_open)
{
    size_t open = 0;
    uint64_t pick;

    for (size_t i = 0; i < sim->conn_count; i++) {
        open += !sim->conn[i]->cut && sim->conn[i]->gate_open;
    }
    if (open == 0) {
        return;
    }
    pick = sim_between(sim, 1, open);
    for (size_t i = 0; i < sim->conn_count; i++) {
        struct sim_conn *conn = sim->conn[i];
        if (conn->cut || !conn->gate_open || --pick > 0) {
            continue;
        }
        sim->counts[half_open ? SIM_CONN_HALF : SIM_CONN_DROP]++;
        sim_trace(sim, "connection %llu breaks%s", (unsigned long long)conn->id,
                  half_open ? ", the gate does not hear of it" : "");
        conn->cut = true;
        client_closed(sim, conn);
        if (!half_open) {
            sim_at(sim, sim->now_us + sim_between(sim, 1, 3000) * SIM_MS, half_heard,
                   NULL, conn->id);
        }
        return;
    }
}

void
sim_door_fini(struct sim *sim)
{
    for (size_t i = 0; i < sim->conn_count; i++) {
        free(sim->conn[i]);
    }
    free(sim->conn);
    for (unsigned i = 0; i < SIM_ACTORS_MAX; i++) {
        free(sim->door[i].id);
    }
}
