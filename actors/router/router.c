/* The actor: gates and their lists of sessions, who has to go for whom, pushes to gates.
 * What it publishes may be lost; what has to be heard is said again. */
#include "actors/router/router.h"
#include "actors/router/router_batch.h"
#include "actors/router/router_inspect.h"
#include "actors/router/router_online.h"
#include "actors/router/router_policy.h"
#include "actors/router/router_table.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "proto/frame.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TAG_TICK = 1,
    SILENT_SIGNS = AN_GATE_SIGNS - 1, /* a gate that misses so many is gone */
    SAME_TIME_MS = 5000,              /* gates' clocks may differ so much */
    HELD_MSGS_MAX = 64, /* pushes kept for one drain; then what they brought goes out */
};

/* Counters, in the order they are shown. X(name, help) */
#define COUNTERS(X)                                                                      \
    X(pushes, "Requests with pushes from stores")                                        \
    X(push_items, "Pushes from stores: each is for one user")                            \
    X(offline_items, "Pushes to users without a device online")                          \
    X(receipts_stored, "Senders told that the recipient is offline")                     \
    X(closed_again, "Times that a gate was told again to close a session")               \
    X(announcements, "Lists of sessions from gates")                                     \
    X(sessions_up, "Sessions that began")                                                \
    X(sessions_down, "Sessions that ended")                                              \
    X(replaced, "Sessions closed for a newer one of the device, or over the cap")        \
    X(kicked, "Sessions closed by a login policy")                                       \
    X(accounts, "Changed accounts told to gates")                                        \
    X(gates_forgotten, "Gates that fell silent or were started anew")                    \
    X(refused, "Sessions not registered for want of room")

struct gate {             /* as we know it; times are monotonic */
    uint64_t incarnation; /* 0: has not announced its sessions, or is forgotten */
    uint64_t view;        /* what the gate is told as our incarnation */
    uint64_t heard_ms;
    uint64_t closed_ms; /* when what it has to close was last said again */
    uint64_t counted;   /* the incarnation whose newest announcement number is */
    uint64_t number;
    uint64_t former; /* the incarnation that it took the place of; 0: none */
};

struct router {
    struct an_actor actor;
    const struct an_topology *topology;
    const struct an_apps *apps;
    uint16_t index;
    uint32_t heartbeat_ms;
    uint64_t incarnation; /* of this life; the first view of each gate */
    uint64_t started_ms;  /* monotonic */
    uint32_t mark;        /* of the list being applied: sessions that it names have it */
    size_t sessions_max;
    unsigned held;      /* pushes of this drain, which the batch points into */
    struct gate *gates; /* by index */
    uint16_t gate_count;
    struct router_table table;
    struct router_batch batch;
#define FIELD(name, help) uint64_t name;
    struct {
        COUNTERS(FIELD)
    } counted;
#undef FIELD
};

/* ------------------------------------------------------------------ gates */

/* Everything known about the gate is void: another view number makes it announce all. */
static void
gate_forget(struct router *r, uint16_t index)
{
    struct gate *gate = &r->gates[index];

    if (gate->incarnation != 0) {
        r->counted.gates_forgotten++;
    }
    r->counted.sessions_down += router_table_sweep(&r->table, index, ++r->mark);
    gate->incarnation = 0;
    gate->view++;
}

/* May the absence of a session be believed? A router just started has heard of nobody. */
static bool
knows_all(const struct router *r, struct an_now now)
{
    if (now.mono_ms - r->started_ms >= r->heartbeat_ms) {
        return true;
    }
    for (uint16_t i = 0; i < r->gate_count; i++) {
        if (r->gates[i].incarnation == 0) {
            return false;
        }
    }
    return true;
}

/* How often a gate shows that it lives. */
static uint32_t
sign_ms(const struct router *r)
{
    return r->heartbeat_ms < AN_GATE_SIGNS ? 1 : r->heartbeat_ms / AN_GATE_SIGNS;
}

static void
on_timer(struct router *r, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)msg;
    for (uint16_t i = 0; i < r->gate_count; i++) {
        struct gate *gate = &r->gates[i];

        if (gate->incarnation != 0 &&
            now.mono_ms - gate->heard_ms >= SILENT_SIGNS * sign_ms(r)) {
            an_out_log(out, AN_LOG_WARN, 0,
                       "gate is silent, its sessions are forgotten gate=%u", i);
            gate_forget(r, i);
            gate->former = 0; /* or was that one the dead, and this lives? */
        }
    }
    an_out_timer(out, now.mono_ms + sign_ms(r), TAG_TICK);
}

static void
on_start(struct router *r, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)msg;
    r->started_ms = now.mono_ms;
    an_out_timer(out, now.mono_ms + sign_ms(r), TAG_TICK);
    an_out_ready(out);
}

/* ------------------------------------------------------------------ sessions */

static void
close_say(struct router *r, struct router_session *session, struct an_msg *msg,
          struct an_outbox *out)
{
    Anser__Bus__DeliverItem item = ANSER__BUS__DELIVER_ITEM__INIT;

    item.conns = &session->conn;
    item.n_conns = 1;
    item.user = session->user;
    item.close_err = session->close_err;
    item.trace = msg->trace;
    router_batch_add(&r->batch, session->gate, &item, msg, out);
}

/* It is online no more, and kept until its gate says that it is closed: what we publish
 * may be lost, and is said again. */
static void
session_close(struct router *r, struct router_session *session, enum an_err err,
              struct an_msg *msg, struct an_outbox *out)
{
    session->close_err = (uint16_t)err;
    close_say(r, session, msg, out);
    session->closing = true;
    r->table.closing++;
    r->counted.replaced += err == AN_ERR_REPLACED;
    r->counted.kicked += err == AN_ERR_KICKED;
}

/* The gate lives, and may have missed what it has to close. Now and then, since this
 * walks all sessions. */
static void
close_again(struct router *r, uint16_t index, struct an_msg *msg, struct an_now now,
            struct an_outbox *out)
{
    struct gate *gate = &r->gates[index];

    if (r->table.closing == 0) {
        gate->closed_ms = now.mono_ms;
        return;
    }
    if (now.mono_ms - gate->closed_ms < sign_ms(r)) {
        return;
    }
    gate->closed_ms = now.mono_ms;
    for (size_t i = 0; i < r->table.cap; i++) {
        for (struct router_session *s = r->table.heads[i]; s != NULL; s = s->next) {
            if (s->closing && s->gate == index) {
                close_say(r, s, msg, out);
                r->counted.closed_again++;
            }
        }
    }
}

/* Why two of a user's sessions cannot both be; AN_OK: they can. */
static enum an_err
conflict(const struct router *r, const struct router_session *session,
         const Anser__Bus__Session *up)
{
    struct router_text old = {session->text + session->device_len, session->platform_len};
    struct router_text new = {up->platform.data, up->platform.len};
    struct router_text app = {up->app.data, up->app.len};

    if (session->device_len == up->device.len &&
        memcmp(session->text, up->device.data, up->device.len) == 0) {
        return AN_ERR_REPLACED;
    }
    return router_policy_excludes(router_policy_of(r->apps, app), old, new)
               ? AN_ERR_KICKED
               : AN_OK;
}

/* Which of two logged in first nobody knows when they come from complete lists, after we
 * were away: then the logins' times say, of one gate's clock exactly. */
static bool
is_late(const struct router_session *session, uint16_t gate,
        const Anser__Bus__Session *up, bool complete)
{
    uint64_t slack_ms = session->gate == gate ? 0 : SAME_TIME_MS;

    return complete && up->since_ms + slack_ms < session->since_ms;
}

static struct router_session *
session_find(const struct router *r, uint16_t gate, uint64_t user, uint64_t conn)
{
    struct router_session *session = router_table_find(&r->table, user);

    while (session != NULL && (session->gate != gate || session->conn != conn)) {
        session = session->next;
    }
    return session;
}

/* Why the newcomer has to go: somebody who came later is in its place. */
static enum an_err
session_late(const struct router *r, uint16_t gate, const Anser__Bus__Session *up,
             bool complete)
{
    const struct router_session *session = router_table_online(&r->table, up->user);

    for (; session != NULL; session = router_table_next(session)) {
        enum an_err err = conflict(r, session, up);

        if (err != AN_OK && is_late(session, gate, up, complete)) {
            return err;
        }
    }
    return AN_OK;
}

/* Makes room for the newcomer: the same device's older connection goes, and those whom
 * the app's login policy does not have beside it; when the user has too many devices the
 * oldest one does. */
static void
session_room(struct router *r, const Anser__Bus__Session *up, struct an_msg *msg,
             struct an_outbox *out)
{
    struct router_session *oldest = NULL;
    size_t count = 0;

    for (struct router_session *session = router_table_find(&r->table, up->user);
         session != NULL; session = session->next) {
        enum an_err err = session->closing ? AN_OK : conflict(r, session, up);

        if (err != AN_OK) {
            session_close(r, session, err, msg, out);
        } else if (!session->closing) {
            count++;
            oldest = session;
        }
    }
    if (count >= AN_DEVICES_PER_USER_MAX) {
        session_close(r, oldest, AN_ERR_REPLACED, msg, out);
    }
}

static struct router_session *
session_add(struct router *r, uint16_t gate, const Anser__Bus__Session *up)
{
    struct router_session *session = NULL;

    if (r->table.sessions < r->sessions_max) {
        session =
            router_table_add(&r->table, up->user, up->conn, gate,
                             (struct router_text){up->device.data, up->device.len},
                             (struct router_text){up->platform.data, up->platform.len},
                             (struct router_text){up->name.data, up->name.len});
    }
    if (session != NULL) {
        session->since_ms = up->since_ms;
        r->counted.sessions_up++;
    }
    return session;
}

static void
session_up(struct router *r, uint16_t gate, const Anser__Bus__Session *up, bool complete,
           struct an_msg *msg, struct an_outbox *out)
{
    struct router_session *session;
    enum an_err late;

    if (up->user == 0 || up->device.len == 0 || up->device.len > AN_NAME_LEN_MAX ||
        up->platform.len > AN_NAME_LEN_MAX || up->name.len > AN_NAME_LEN_MAX) {
        r->counted.refused++;
        return;
    }
    session = session_find(r, gate, up->user, up->conn);
    if (session == NULL) {
        late = session_late(r, gate, up, complete);
        if (late == AN_OK) {
            session_room(r, up, msg, out);
        }
        session = session_add(r, gate, up);
        if (session != NULL && late != AN_OK) {
            session_close(r, session, late, msg, out);
        }
    }
    if (session == NULL) {
        r->counted.refused++; /* pushes will not find it; heartbeats still heal it */
        return;
    }
    session->mark = r->mark;
}

static void
session_down(struct router *r, uint16_t gate, const Anser__Bus__Session *down)
{
    struct router_session *session = session_find(r, gate, down->user, down->conn);

    if (session != NULL) {
        router_table_remove(&r->table, session);
        r->counted.sessions_down++;
    }
}

static void
sessions_apply(struct router *r, uint16_t index, const Anser__Bus__Sessions *sessions,
               struct an_msg *msg, struct an_outbox *out)
{
    r->mark++;
    for (size_t i = 0; i < sessions->n_down; i++) {
        session_down(r, index, sessions->down[i]);
    }
    for (size_t i = 0; i < sessions->n_up; i++) {
        session_up(r, index, sessions->up[i], sessions->complete, msg, out);
    }
    if (sessions->complete) {
        r->counted.sessions_down += router_table_sweep(&r->table, index, r->mark);
    }
}

static void
say_something(struct an_addr gate, uint64_t incarnation, struct an_outbox *out)
{
    Anser__Bus__Deliver deliver = ANSER__BUS__DELIVER__INIT;

    deliver.incarnation = incarnation;
    an_out_publish(out, gate, AN_KIND_DELIVER, &deliver.base);
}

/* Come behind later ones, of this life or of the next: what it lists and what it leaves
 * out were true once. Which of two lives is the later, their numbers do not say: it is
 * the one heard of later, until it falls silent. */
static bool
is_late_copy(const struct gate *gate, const Anser__Bus__Sessions *sessions)
{
    if (sessions->incarnation == gate->former) {
        return true;
    }
    return gate->counted == sessions->incarnation && sessions->number != 0 &&
           sessions->number <= gate->number;
}

/* Of a life that has not been heard of, or not since it was forgotten. */
static void
gate_begin(struct router *r, uint16_t index, uint64_t incarnation)
{
    struct gate *gate = &r->gates[index];

    if (gate->incarnation != 0) {
        gate_forget(r, index);
    }
    if (gate->counted != incarnation) {
        gate->former = gate->counted;
    }
    gate->incarnation = incarnation;
    r->batch.gates[index].incarnation = incarnation;
}

/* A gate begins each life, and each new view, with its complete list. Anything else from
 * an incarnation we do not know is either late, from a dead gate, or from one that we
 * gave up: nothing is applied, and the answer's number makes a live one announce all. */
static void
on_sessions(struct router *r, struct an_msg *msg, struct an_now now,
            struct an_outbox *out)
{
    const Anser__Bus__Sessions *sessions = (const Anser__Bus__Sessions *)msg->body;
    Anser__Bus__SessionsDone done = ANSER__BUS__SESSIONS_DONE__INIT;
    struct gate *gate;

    if (msg->from.role != AN_ROLE_GATE || msg->from.index >= r->gate_count ||
        sessions->incarnation == 0) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    r->counted.announcements++;
    gate = &r->gates[msg->from.index];
    if (is_late_copy(gate, sessions)) {
        done.router_incarnation = gate->view;
        an_out_answer(out, msg, AN_OK, &done.base);
        return;
    }
    if (gate->incarnation != sessions->incarnation && sessions->complete) {
        gate_begin(r, msg->from.index, sessions->incarnation);
    }
    if (gate->incarnation == sessions->incarnation) {
        gate->counted = sessions->incarnation;
        gate->number = sessions->number;
        gate->heard_ms = now.mono_ms;
        sessions_apply(r, msg->from.index, sessions, msg, out);
        close_again(r, msg->from.index, msg, now, out);
        if (sessions->deaf) {
            say_something(msg->from, sessions->incarnation, out);
        }
    }
    done.router_incarnation = gate->view;
    an_out_answer(out, msg, AN_OK, &done.base);
}

/* ------------------------------------------------------------------ pushes */

/* Who gets it on one gate; the sending device does not. */
static size_t
conns_on_gate(uint64_t conns[AN_DEVICES_PER_USER_MAX],
              const struct router_session *session, uint16_t gate,
              ProtobufCBinaryData except)
{
    size_t count = 0;

    for (; session != NULL && count < AN_DEVICES_PER_USER_MAX;
         session = router_table_next(session)) {
        if (session->gate != gate) {
            continue;
        }
        if (except.len > 0 && session->device_len == except.len &&
            memcmp(session->text, except.data, except.len) == 0) {
            continue;
        }
        conns[count++] = session->conn;
    }
    return count;
}

/* Was an earlier session of the chain on this gate, so that it is served already? */
static bool
gate_seen(const struct router_session *first, const struct router_session *session)
{
    for (; first != session; first = router_table_next(first)) {
        if (first->gate == session->gate) {
            return true;
        }
    }
    return false;
}

static void
event_deliver(const Anser__Bus__DeliverItem *item, uint16_t gate, struct an_outbox *out)
{
    if (out->watched && item->message_id != 0) {
        an_out_event(out, "message.deliver",
                     "{\"trace\":\"%016" PRIx64 "\",\"message_id\":\"%" PRIu64
                     "\",\"user\":\"%" PRIu64 "\",\"command\":\"%s\",\"gate\":%u,"
                     "\"conns\":%zu}",
                     item->trace, item->message_id, item->user,
                     an_command_name(item->command), gate, item->n_conns);
    }
}

/* To every device of the user that is online. */
static void
deliver(struct router *r, const struct router_session *first,
        Anser__Bus__DeliverItem *item, ProtobufCBinaryData except, struct an_msg *msg,
        struct an_outbox *out)
{
    uint64_t conns[AN_DEVICES_PER_USER_MAX];

    for (const struct router_session *s = first; s != NULL; s = router_table_next(s)) {
        if (gate_seen(first, s)) {
            continue;
        }
        item->conns = conns;
        item->n_conns = conns_on_gate(conns, first, s->gate, except);
        if (item->n_conns > 0) {
            event_deliver(item, s->gate, out);
            router_batch_add(&r->batch, s->gate, item, msg, out);
        }
    }
}

/* false: the user has no device online. */
static bool
push_one(struct router *r, const Anser__Bus__PushItem *push, struct an_msg *msg,
         struct an_outbox *out)
{
    const struct router_session *first = router_table_online(&r->table, push->user);
    Anser__Bus__DeliverItem item = ANSER__BUS__DELIVER_ITEM__INIT;

    if (first == NULL) {
        return false;
    }
    item.user = push->user;
    item.command = push->command;
    item.body = push->body;
    item.trace = push->trace;
    item.message_id = push->message_id;
    deliver(r, first, &item, push->except_device, msg, out);
    return true;
}

static void
on_pushed(struct router *r, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)now;
    (void)out;
    router_batch_told(&r->batch, msg->tag);
}

/* The recipient has no device online: the sender learns that the message waits; from the
 * router that knows where he is. */
static void
tell_stored(struct router *r, const Anser__Bus__PushItem *push, struct an_msg *msg,
            struct an_now now, struct an_outbox *out)
{
    Anser__Bus__PushItem told = ANSER__BUS__PUSH_ITEM__INIT;
    uint16_t router;

    if (push->tell_user == 0 || !knows_all(r, now)) {
        return;
    }
    told.user = push->tell_user;
    told.command = AN_COMMAND_RECEIPT;
    told.body = push->tell_body;
    told.trace = push->trace;
    told.message_id = push->message_id;
    router = r->topology->slot_router[an_slot_user(told.user)];
    if (router != r->index) {
        router_batch_tell(&r->batch, router, &told, msg, out);
    } else if (push_one(r, &told, msg, out)) {
        r->counted.receipts_stored++;
    }
}

/* Every gate judges its own connections, also those that no router knows of. */
static void
tell_gates(struct router *r, const Anser__Bus__PushItem *push, struct an_msg *msg,
           struct an_outbox *out)
{
    Anser__Bus__DeliverItem item = ANSER__BUS__DELIVER_ITEM__INIT;

    r->counted.accounts++;
    item.user = push->user;
    item.trace = push->trace;
    item.account = push->account;
    for (uint16_t i = 0; i < r->gate_count; i++) {
        if (r->gates[i].incarnation != 0) {
            router_batch_add(&r->batch, i, &item, msg, out);
        }
    }
}

static void
on_push(struct router *r, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Push *push = (const Anser__Bus__Push *)msg->body;
    Anser__Bus__Pushed pushed = ANSER__BUS__PUSHED__INIT;

    r->counted.pushes++;
    for (size_t i = 0; i < push->n_items; i++) {
        const Anser__Bus__PushItem *item = push->items[i];

        r->counted.push_items++;
        if (item->account != NULL) {
            tell_gates(r, item, msg, out);
            continue;
        }
        if (item->command == AN_COMMAND_EVENT) {
            an_out_hop(out, AN_HOP_PUSH, item->trace, item->message_id, item->user);
        }
        if (!push_one(r, item, msg, out)) {
            r->counted.offline_items++;
            tell_stored(r, item, msg, now, out);
        }
    }
    an_out_answer(out, msg, AN_OK, &pushed.base);
    if (++r->held >= HELD_MSGS_MAX) {
        router_batch_flush(&r->batch, out);
        r->held = 0;
    }
}

/* ------------------------------------------------------------------ who is online */

static void
on_online(struct router *r, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    struct router_live live = {0};

    for (uint16_t i = 0; i < r->gate_count && live.count < ROUTER_LIVE_MAX; i++) {
        if (r->gates[i].incarnation != 0) {
            live.gates[live.count++] = i;
        }
    }
    router_online_answer(&r->table, knows_all(r, now), &live, msg, out);
}

static void
on_inspect(struct router *r, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)now;
    router_inspect(&r->table, msg, out);
}

/* ------------------------------------------------------------------ the actor */

static void
on_stop(struct router *r, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)msg;
    (void)now;
    router_batch_flush(&r->batch, out);
    an_out_stopped(out);
}

typedef void handler_f(struct router *r, struct an_msg *msg, struct an_now now,
                       struct an_outbox *out);

static void
step(struct an_actor *actor, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    static const struct {
        unsigned kind;
        handler_f *handle;
    } handlers[] = {
        {AN_KIND_PUSH, on_push},     {AN_KIND_SESSIONS, on_sessions},
        {AN_KIND_TIMER, on_timer},   {AN_KIND_INSPECT, on_inspect},
        {AN_KIND_START, on_start},   {AN_KIND_STOP, on_stop},
        {AN_KIND_PUSHED, on_pushed}, {AN_KIND_ONLINE, on_online},
    };

    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].kind == msg->kind) {
            handlers[i].handle((struct router *)actor, msg, now, out);
            return;
        }
    }
    assert(!msg->request); /* the bus lets only kinds addressed to a router through */
}

static void
drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    struct router *r = (struct router *)actor;

    (void)now;
    router_batch_flush(&r->batch, out);
    r->held = 0;
}

static void
metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct router *r = (const struct router *)actor;
    uint64_t gates = 0;

    for (uint16_t i = 0; i < r->gate_count; i++) {
        gates += r->gates[i].incarnation != 0;
    }
    metric(ctx, "sessions", "Sessions now: devices online", false,
           r->table.sessions - r->table.closing);
    metric(ctx, "sessions_closing",
           "Sessions that are replaced, not closed by their gate yet", false,
           r->table.closing);
    metric(ctx, "users", "Users with a device online now", false, r->table.users);
    metric(ctx, "gates", "Gates heard of now", false, gates);
#define METRIC(name, help) metric(ctx, #name "_total", help, true, r->counted.name);
    COUNTERS(METRIC)
#undef METRIC
    metric(ctx, "delivers_total", "Batches of pushes published to gates", true,
           r->batch.publishes);
    metric(ctx, "deliver_items_total", "Pushes published to gates", true, r->batch.items);
    metric(ctx, "tells_total", "Receipts passed on to other routers", true,
           r->batch.told);
    metric(ctx, "deliver_dropped_total", "Pushes dropped for want of memory", true,
           r->batch.dropped);
}

static void
destroy(struct an_actor *actor)
{
    struct router *r = (struct router *)actor;

    if (r == NULL) {
        return;
    }
    router_batch_fini(&r->batch);
    router_table_fini(&r->table);
    free(r->gates);
    free(r);
}

enum an_err
router_create(struct an_actor **out, const struct router_cfg *cfg)
{
    static const struct an_actor_ops ops = {
        .role = AN_ROLE_ROUTER,
        .step = step,
        .drained = drained,
        .metrics = metrics,
        .destroy = destroy,
    };
    struct router *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    r->actor.ops = &ops;
    r->topology = cfg->topology;
    r->apps = cfg->apps;
    r->index = cfg->index;
    r->heartbeat_ms = cfg->heartbeat_ms == 0 ? AN_HEARTBEAT_MS : cfg->heartbeat_ms;
    r->incarnation = cfg->seed == 0 ? 1 : cfg->seed;
    r->gate_count = cfg->topology->count[AN_ROLE_GATE];
    r->sessions_max = (size_t)r->gate_count * AN_CONNS_MAX * 4;
    r->gates = calloc(r->gate_count == 0 ? 1 : r->gate_count, sizeof(*r->gates));
    if (r->gates == NULL ||
        router_batch_init(&r->batch, r->gate_count,
                          cfg->topology->count[AN_ROLE_ROUTER]) != AN_OK) {
        destroy(&r->actor);
        return AN_ERR_NO_MEMORY;
    }
    for (uint16_t i = 0; i < r->gate_count; i++) {
        r->gates[i].view = r->incarnation;
    }
    *out = &r->actor;
    return AN_OK;
}
