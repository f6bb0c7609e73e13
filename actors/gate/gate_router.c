/* Sessions told to routers, and deliveries from them. One announcement at a time to each
 * router, so that they arrive in order; what changes meanwhile goes with the next. After
 * an announcement whose outcome is not known, everything is announced. */
#include "actors/gate/gate_priv.h"
#include "proto/names.h"
#include <stdlib.h>
#include <string.h>

static struct gate_link *
link_of(struct gate *g, uint64_t user)
{
    return &g->links[g->topology->slot_router[an_slot_user(user)]];
}

/* ------------------------------------------------------------------ what to tell */

/* A router that is away does not keep its users out: they are announced when it is back,
 * and until then their heartbeats bring what no push does. */
static void
go_on(struct gate *g, struct gate_op *login)
{
    login->conn->listed = login->conn->state == CONN_LOGIN;
    gate_login_announced(g, login);
}

void
gate_router_up(struct gate *g, struct gate_op *login)
{
    struct gate_link *link = link_of(g, login->peer);

    if (link->retry_ms == 0) {
        gate_ops_push(&link->ups, login);
        return;
    }
    link->all = true;
    go_on(g, login);
}

static void
down_add(struct gate_link *link, uint64_t user, uint64_t conn)
{
    if (link->down_count == link->down_cap && link->down_cap < GATE_DOWNS_MAX) {
        size_t cap = link->down_cap == 0 ? 16 : link->down_cap * 2;
        struct gate_down *downs = realloc(link->downs, cap * sizeof(*downs));

        if (downs != NULL) {
            link->downs = downs;
            link->down_cap = cap;
        }
    }
    if (link->down_count == link->down_cap) {
        link->all = true;
    } else {
        link->downs[link->down_count++] = (struct gate_down){user, conn};
    }
}

void
gate_router_down(struct gate *g, struct gate_conn *c)
{
    if (c->listed) {
        c->listed = false;
        down_add(link_of(g, c->user), c->user, c->id);
    }
}

static Anser__Bus__Session *
put_session(struct an_arena *arena, const struct gate_conn *c)
{
    Anser__Bus__Session *s = an_arena_alloc(arena, sizeof(*s));
    const char *platform = an_platform_name(c->platform);

    if (s == NULL) {
        return NULL;
    }
    anser__bus__session__init(s);
    s->user = c->user;
    s->conn = c->id;
    s->since_ms = c->since_ms;
    s->name = (ProtobufCBinaryData){c->user_len, c->text};
    s->device = (ProtobufCBinaryData){c->device_len, c->text + c->user_len};
    s->app = (ProtobufCBinaryData){c->app_len, c->text + c->user_len + c->device_len};
    s->platform = (ProtobufCBinaryData){strlen(platform), (uint8_t *)(uintptr_t)platform};
    return s;
}

/* Every session of this router, those whose login is being announced included. */
static bool
put_all(struct gate *g, const struct gate_link *link, Anser__Bus__Sessions *sessions)
{
    sessions->complete = true;
    sessions->up = an_arena_alloc(&g->scratch, (g->conns.count + 1) * sizeof(void *));
    if (sessions->up == NULL) {
        return false;
    }
    for (const struct gate_conn *c = gate_conn_walk(g, NULL); c != NULL;
         c = gate_conn_walk(g, c)) {
        if (!c->listed || link_of(g, c->user) != link) {
            continue;
        }
        sessions->up[sessions->n_up] = put_session(&g->scratch, c);
        if (sessions->up[sessions->n_up++] == NULL) {
            return false;
        }
    }
    return true;
}

static bool
put_changes(struct gate *g, const struct gate_link *link, Anser__Bus__Sessions *sessions)
{
    size_t ups = 0;

    for (const struct gate_op *op = link->told.first; op != NULL; op = op->next) {
        ups++;
    }
    sessions->up = an_arena_alloc(&g->scratch, (ups + 1) * sizeof(void *));
    sessions->down = an_arena_alloc(&g->scratch, (link->down_count + 1) * sizeof(void *));
    if (sessions->up == NULL || sessions->down == NULL) {
        return false;
    }
    for (const struct gate_op *op = link->told.first; op != NULL; op = op->next) {
        if (!op->conn->listed) {
            continue; /* closed meanwhile */
        }
        sessions->up[sessions->n_up] = put_session(&g->scratch, op->conn);
        if (sessions->up[sessions->n_up++] == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < link->down_count; i++) {
        Anser__Bus__Session *s = an_arena_alloc(&g->scratch, sizeof(*s));

        if (s == NULL) {
            return false;
        }
        anser__bus__session__init(s);
        s->user = link->downs[i].user;
        s->conn = link->downs[i].conn;
        sessions->down[sessions->n_down++] = s;
    }
    return true;
}

/* ------------------------------------------------------------------ telling */

/* Logins to announce become part of the announcement, unless their client has gone. At
 * most a batch of them, so that an announcement has a bound. */
static void
take_ups(struct gate *g, struct gate_link *link)
{
    for (size_t i = 0; i < AN_BATCH_ITEMS_MAX && link->ups.first != NULL; i++) {
        struct gate_op *op = gate_ops_pop(&link->ups);

        if (op->conn->state != CONN_LOGIN) {
            gate_op_free(g, op);
            continue;
        }
        op->conn->listed = true;
        gate_ops_push(&link->told, op);
    }
}

static void
fail_told(struct gate *g, struct gate_link *link, enum an_err err)
{
    struct gate_ops told = link->told;
    struct gate_op *op;

    link->told = (struct gate_ops){0};
    while ((op = gate_ops_pop(&told)) != NULL) {
        op->conn->listed = false; /* the complete list that follows is without it */
        gate_op_fail(g, op, err, 0);
    }
}

static void
announce(struct gate *g, uint16_t index)
{
    struct gate_link *link = &g->links[index];
    Anser__Bus__Sessions sessions = ANSER__BUS__SESSIONS__INIT;

    take_ups(g, link);
    sessions.incarnation = g->incarnation;
    sessions.router_incarnation = link->view;
    sessions.deaf = !link->heard;
    sessions.number = ++link->number;
    if (!(link->all ? put_all(g, link, &sessions) : put_changes(g, link, &sessions))) {
        an_arena_reset(&g->scratch);
        link->all = true;
        fail_told(g, link, AN_ERR_BUSY);
        return;
    }
    an_out_ask(g->out, (struct an_addr){AN_ROLE_ROUTER, index}, AN_KIND_SESSIONS,
               &sessions.base, AN_ASK_MS, GATE_TAG(TAG_LINK, index),
               an_rng_next(&g->rng));
    an_arena_reset(&g->scratch);
    link->flying = true;
    link->flying_all = link->all;
    link->all = false;
    link->down_count = 0;
    link->sent_ms = g->now.mono_ms;
    g->counted.announces++;
}

void
gate_router_drained(struct gate *g)
{
    for (uint16_t i = 0; i < g->topology->count[AN_ROLE_ROUTER]; i++) {
        const struct gate_link *link = &g->links[i];

        if (!link->flying && !link->retry_armed &&
            (link->all || link->ups.first != NULL || link->down_count > 0)) {
            announce(g, i);
        }
    }
}

/* Each router gets its signs of life in time. */
void
gate_router_tick(struct gate *g)
{
    for (uint16_t i = 0; i < g->topology->count[AN_ROLE_ROUTER]; i++) {
        const struct gate_link *link = &g->links[i];

        if (!link->flying && !link->retry_armed &&
            g->now.mono_ms - link->sent_ms >= g->heartbeat_ms / AN_GATE_SIGNS) {
            announce(g, i);
        }
    }
}

/* A router answers before what it publishes finds its way to us: a push that comes
 * meanwhile would be seen with the next heartbeat only. */
void
gate_router_listen(struct gate *g)
{
    for (uint16_t i = 0; i < g->topology->count[AN_ROLE_ROUTER]; i++) {
        const struct gate_link *link = &g->links[i];

        if (link->answered && !link->heard && !link->flying && !link->retry_armed) {
            announce(g, i);
        }
    }
}

void
gate_router_retry(struct gate *g, uint64_t index)
{
    g->links[index].retry_armed = false; /* drained announces */
}

/* Not told, or nobody knows: all of it again, after a pause that grows. */
static void
failed(struct gate *g, uint64_t index)
{
    struct gate_link *link = &g->links[index];
    struct gate_ops told = link->told, ups = link->ups;
    struct gate_op *op;

    link->all = true;
    link->retry_armed = true;
    link->retry_ms = link->retry_ms == 0 ? GATE_LINK_RETRY_MIN_MS : link->retry_ms * 2;
    if (link->retry_ms > GATE_LINK_RETRY_MAX_MS) {
        link->retry_ms = GATE_LINK_RETRY_MAX_MS;
    }
    an_out_timer(g->out, g->now.mono_ms + link->retry_ms, GATE_TAG(TAG_LINK, index));
    link->told = link->ups = (struct gate_ops){0};
    while ((op = gate_ops_pop(&told)) != NULL || (op = gate_ops_pop(&ups)) != NULL) {
        go_on(g, op);
    }
}

void
gate_router_done(struct gate *g, const struct an_msg *msg)
{
    const Anser__Bus__SessionsDone *done = (const Anser__Bus__SessionsDone *)msg->body;
    uint64_t index = GATE_TAG_N(msg->tag);
    struct gate_link *link = &g->links[index];
    struct gate_op *op;
    struct gate_ops told;

    link->flying = false;
    if (msg->err != AN_OK) {
        failed(g, index);
        return;
    }
    link->answered = true;
    link->retry_ms = 0;
    if (!link->flying_all && done->router_incarnation != link->view) {
        /* It does not hold what it held: these logins go again with all the others. */
        link->view = done->router_incarnation;
        link->all = true;
        if (link->told.first != NULL) {
            link->told.last->next = link->ups.first;
            link->ups.first = link->told.first;
            if (link->ups.last == NULL) {
                link->ups.last = link->told.last;
            }
            link->told = (struct gate_ops){0};
        }
        return;
    }
    link->view = done->router_incarnation;
    told = link->told;
    link->told = (struct gate_ops){0};
    while ((op = gate_ops_pop(&told)) != NULL) {
        gate_login_announced(g, op);
    }
}

/* ------------------------------------------------------------------ deliveries */

static void
deliver_one(struct gate *g, uint64_t conn, const Anser__Bus__DeliverItem *item)
{
    struct gate_conn *c = gate_conn_find(g, conn);

    if (c == NULL) { /* the route is stale, or its end is on its way already */
        down_add(link_of(g, item->user), item->user, conn);
    }
    if (c == NULL || c->user != item->user ||
        (c->state != CONN_READY && c->state != CONN_LOGIN)) {
        g->counted.deliver_stale++;
        return;
    }
    if (item->close_err != 0) {
        if (an_err_known(item->close_err)) {
            gate_conn_goodbye(g, c, (enum an_err)item->close_err);
        }
        return;
    }
    if (c->state == CONN_LOGIN) {
        /* Not before LoginOk. Perhaps its head was read before this was stored. */
        c->pushed_early = true;
        return;
    }
    g->counted.deliver_frames++;
    if (item->command == AN_COMMAND_EVENT) {
        an_out_hop(g->out, AN_HOP_DELIVER, item->trace, item->message_id, conn);
    }
    gate_conn_send_packed(g, c, item->command, 0, 0, item->body.data, item->body.len);
}

void
gate_router_deliver(struct gate *g, const struct an_msg *msg)
{
    const Anser__Bus__Deliver *deliver = (const Anser__Bus__Deliver *)msg->body;

    g->counted.delivers++;
    if (deliver->incarnation != g->incarnation) {
        g->counted.deliver_stale += deliver->n_items;
        return; /* meant for an earlier life of ours: its connection numbers are not ours
                 */
    }
    if (msg->from.role == AN_ROLE_ROUTER &&
        msg->from.index < g->topology->count[AN_ROLE_ROUTER]) {
        g->links[msg->from.index].heard = true;
    }
    for (size_t i = 0; i < deliver->n_items; i++) {
        const Anser__Bus__DeliverItem *item = deliver->items[i];

        if (item->account != NULL) {
            gate_account_changed(g, item->user, item->account);
            continue;
        }
        if (item->close_err == 0 && item->command != AN_COMMAND_EVENT &&
            item->command != AN_COMMAND_RECEIPT) {
            continue;
        }
        for (size_t j = 0; j < item->n_conns; j++) {
            deliver_one(g, item->conns[j], item);
        }
    }
}

void
gate_router_fini(struct gate *g)
{
    for (uint16_t i = 0; g->links != NULL && i < g->topology->count[AN_ROLE_ROUTER];
         i++) {
        struct gate_link *link = &g->links[i];
        struct gate_op *op;

        while ((op = gate_ops_pop(&link->ups)) != NULL) {
            gate_op_free(g, op);
        }
        while ((op = gate_ops_pop(&link->told)) != NULL) {
            gate_op_free(g, op);
        }
        free(link->downs);
    }
    free(g->links);
}
