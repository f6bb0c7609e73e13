/* The actor: what comes to whom, its tick, its metrics; and ops, the requests of clients
 * from their frames to their answers. */
#include "actors/gate/gate_priv.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MIN_MS = 10,
    FRAME_ARENA_MAX = 1024 * 1024, /* a body whose unpacked form is larger is bad */
    SCRATCH_ARENA_MAX = 16 * 1024 * 1024, /* all sessions in one announcement */
};

/* ------------------------------------------------------------------ small things */

const char *
gate_json_name(char *out, const uint8_t *name, size_t len)
{
    size_t at = 0;

    /* Names hold neither control characters nor quotes (proto/names.h). */
    for (size_t i = 0; i < len && i < AN_NAME_LEN_MAX; i++) {
        if (name[i] == '\\') {
            out[at++] = '\\';
        }
        out[at++] = (char)name[i];
    }
    out[at] = 0;
    return out;
}

const char *
gate_json_id(char *out, const uint8_t id[AN_CLIENT_MSG_ID_LEN])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < AN_CLIENT_MSG_ID_LEN; i++) {
        out[2 * i] = digits[id[i] >> 4];
        out[2 * i + 1] = digits[id[i] & 15];
    }
    out[2 * AN_CLIENT_MSG_ID_LEN] = 0;
    return out;
}

/* Who owns what inside is nothing a client can act on: it may try again. */
enum an_err
gate_client_err(unsigned err)
{
    if (!an_err_known(err)) {
        return AN_ERR_INTERNAL;
    }
    if (an_err_category(err) == AN_CAT_INTERNAL &&
        an_err_handling(err) == AN_HANDLE_RETRY) {
        return AN_ERR_UNAVAILABLE;
    }
    return (enum an_err)err;
}

/* ------------------------------------------------------------------ ops */

void
gate_ops_push(struct gate_ops *ops, struct gate_op *op)
{
    op->next = NULL;
    *(ops->last == NULL ? &ops->first : &ops->last->next) = op;
    ops->last = op;
}

struct gate_op *
gate_ops_pop(struct gate_ops *ops)
{
    struct gate_op *op = ops->first;

    if (op != NULL) {
        ops->first = op->next;
        if (ops->first == NULL) {
            ops->last = NULL;
        }
        op->next = NULL;
    }
    return op;
}

/* Those that count against a connection's bound of requests. */
static bool
is_ask(unsigned what)
{
    return what == OP_LOGIN || what == OP_HEARTBEAT || what == OP_CONFIRM ||
           what == OP_SYNC || what == OP_HISTORY;
}

/* Whoever has much must leave room for others, the more the less there is: so there is
 * always some left. */
static bool
has_room(const struct gate *g, const struct gate_conn *c, size_t bytes)
{
    size_t left = AN_GATE_PENDING_BYTES_MAX - g->op_bytes;
    size_t held = c == NULL ? 0 : c->of_user == NULL ? c->op_bytes : c->of_user->op_bytes;

    return bytes <= left && (c == NULL || held + bytes <= left / AN_USER_PENDING_SHARE);
}

static void
count_bytes(struct gate *g, struct gate_conn *c, size_t bytes)
{
    g->op_bytes += bytes;
    if (c != NULL) {
        c->op_bytes += (uint32_t)bytes;
        if (c->of_user != NULL) {
            c->of_user->op_bytes += (uint32_t)bytes;
        }
    }
}

bool
gate_op_grow(struct gate *g, struct gate_op *op, size_t bytes)
{
    if (bytes > AN_GATE_PENDING_BYTES_MAX - g->op_bytes) {
        return false;
    }
    count_bytes(g, op->conn, bytes);
    op->bytes += (uint32_t)bytes;
    return true;
}

struct gate_op *
gate_op_create(struct gate *g, struct gate_conn *c, enum gate_what what, uint32_t request,
               const void *peer, size_t peer_len, const void *body, size_t body_len)
{
    size_t bytes = sizeof(struct gate_op) + peer_len + body_len;
    struct gate_op *op;

    if (!has_room(g, c, bytes) || (is_ask(what) && c->ask_count >= GATE_ASKS_MAX)) {
        return NULL;
    }
    op = malloc(bytes);
    if (op == NULL) {
        return NULL;
    }
    memset(op, 0, sizeof(*op));
    op->what = (uint8_t)what;
    op->conn = c;
    op->request = request;
    op->bytes = (uint32_t)bytes;
    op->since_ms = (uint32_t)g->now.mono_ms;
    op->trace = an_rng_next(&g->rng);
    op->peer_len = (uint8_t)peer_len;
    if (peer_len > 0) {
        memcpy(op->data, peer, peer_len);
    }
    if (body_len > 0) {
        memcpy(op->data + peer_len, body, body_len);
    }
    count_bytes(g, c, bytes);
    g->op_count++;
    if (c != NULL) {
        c->ops++;
        c->ask_count = (uint8_t)(c->ask_count + is_ask(what));
    }
    return op;
}

static void
send_unlink(struct gate_op *op)
{
    struct gate_conn *c = op->conn;

    if (op->u.send.older != NULL) {
        op->u.send.older->u.send.newer = op->u.send.newer;
    }
    *(op->u.send.newer == NULL ? &c->sends : &op->u.send.newer->u.send.older) =
        op->u.send.older;
    c->send_count--;
    c->again_count = (uint16_t)(c->again_count - op->u.send.again);
}

void
gate_op_free(struct gate *g, struct gate_op *op)
{
    struct gate_conn *c = op->conn;

    if (op->what == OP_SEND) {
        send_unlink(op);
    }
    if (op->what == OP_CONFIRM || op->what == OP_DELIVERED) {
        if (--op->u.confirm.all->left == 0) {
            free(op->u.confirm.all);
        }
    }
    if (op->what == OP_SYNC) {
        gate_fetch_free(op->u.page.fetch);
    }
    g->op_bytes -= op->bytes;
    g->op_count--;
    if (c != NULL) {
        c->ops--;
        c->op_bytes -= op->bytes;
        if (c->of_user != NULL) {
            c->of_user->op_bytes -= op->bytes;
        }
        c->ask_count = (uint8_t)(c->ask_count - is_ask(op->what));
        gate_conn_unref(g, c);
    }
    free(op);
}

void
gate_op_fail(struct gate *g, struct gate_op *op, enum an_err err, uint32_t retry_after_ms)
{
    struct gate_conn *c = op->conn;

    switch ((enum gate_what)op->what) {
    case OP_LOGIN:
        gate_login_failed(g, c, op->request, err, retry_after_ms);
        break;
    case OP_SEND:
        g->counted.sends_failed++;
        gate_conn_error(g, c, AN_COMMAND_SEND, op->request, err, retry_after_ms,
                        op->u.send.id);
        gate_order_refused(g, op, err);
        gate_left_if(g, c);
        break;
    case OP_CONFIRM:
    case OP_DELIVERED:
        if (op->u.confirm.all->err == AN_OK) {
            op->u.confirm.all->err = err;
            op->u.confirm.all->retry_after_ms = retry_after_ms;
        }
        gate_confirm_part(g, op);
        return;
    case OP_SYNC:
    case OP_HISTORY:
        gate_conn_error(g, c, op->what == OP_SYNC ? AN_COMMAND_SYNC : AN_COMMAND_HISTORY,
                        op->request, err, retry_after_ms, NULL);
        c->page_flying = false;
        gate_client_pages(g, c);
        break;
    case OP_SEEN:
        gate_account_noted(g, op, err);
        return;
    case OP_HEARTBEAT:
    case OP_RESOLVE:
    case OP_NAME:
    case OP_ACCOUNT:
    case OP_FETCH:
    case OP_HELD:
        assert(false); /* end otherwise */
    }
    gate_op_free(g, op);
}

struct gate_batch *
gate_batch_create(struct gate *g, unsigned what, size_t count)
{
    struct gate_batch *batch = malloc(sizeof(*batch) + count * sizeof(struct gate_op *));

    if (batch == NULL) {
        return NULL;
    }
    batch->pipe = NULL;
    batch->store = 0;
    batch->tag = GATE_TAG(what, ++g->next_tag);
    batch->count = count;
    batch->next = g->batches;
    g->batches = batch;
    return batch;
}

struct gate_batch *
gate_batch_take(struct gate *g, uint64_t tag)
{
    struct gate_batch **link = &g->batches;
    struct gate_batch *batch;

    while (*link != NULL && (*link)->tag != tag) {
        link = &(*link)->next;
    }
    batch = *link;
    if (batch != NULL) {
        *link = batch->next;
    }
    return batch;
}

/* ------------------------------------------------------------------ handlers */

static void
on_start(struct gate *g, struct an_msg *msg)
{
    (void)msg;
    g->started_ms = g->now.mono_ms;
    an_out_timer(g->out, g->now.mono_ms + g->tick_ms, GATE_TAG(TAG_TICK, 0));
    gate_join(g);
}

static void
on_timer(struct gate *g, struct an_msg *msg)
{
    switch (GATE_TAG_WHAT(msg->tag)) {
    case TAG_TICK:
        gate_conn_walk_old(g);
        gate_rate_tick(g);
        gate_router_tick(g);
        gate_account_tick(g);
        an_out_timer(g->out, g->now.mono_ms + g->tick_ms, GATE_TAG(TAG_TICK, 0));
        break;
    case TAG_HEADS:
        gate_heads_due(g);
        break;
    case TAG_LINK:
        gate_router_retry(g, GATE_TAG_N(msg->tag));
        break;
    case TAG_JOIN:
        gate_join(g);
        break;
    case TAG_LEAVE:
        gate_leave_due(g);
        break;
    }
}

static void
on_stop(struct gate *g, struct an_msg *msg)
{
    (void)msg;
    gate_stop(g);
}

static void
on_conn_open(struct gate *g, struct an_msg *msg)
{
    gate_conn_open(g, msg->conn, msg->address);
}

static void
on_conn_frame(struct gate *g, struct an_msg *msg)
{
    struct gate_conn *c = gate_conn_find(g, msg->conn);

    if (c != NULL) {
        gate_client_frame(g, c, msg);
    }
}

static void
on_conn_bad(struct gate *g, struct an_msg *msg)
{
    struct gate_conn *c = gate_conn_find(g, msg->conn);

    if (c == NULL) {
        return;
    }
    if (msg->err == AN_ERR_JSON) { /* that line alone: the door goes on with the next */
        gate_client_bad_line(g, c);
        return;
    }
    g->counted.closed_bad++;
    gate_conn_goodbye(g, c, msg->err);
}

static void
on_conn_output(struct gate *g, struct an_msg *msg)
{
    gate_conn_output(g, msg->conn, msg->output_bytes);
}

static void
on_conn_closed(struct gate *g, struct an_msg *msg)
{
    gate_conn_closed(g, msg->conn);
}

static void
on_submitted(struct gate *g, struct an_msg *msg)
{
    if (GATE_TAG_WHAT(msg->tag) == TAG_JOIN) {
        gate_join_answered(g, msg);
    } else {
        gate_submit_done(g, msg);
    }
}

static void
on_read_done(struct gate *g, struct an_msg *msg)
{
    if (GATE_TAG_WHAT(msg->tag) == TAG_JOIN) {
        gate_join_answered(g, msg);
    } else {
        gate_read_done(g, msg);
    }
}

static void
on_sessions_done(struct gate *g, struct an_msg *msg)
{
    gate_router_done(g, msg);
}

static void
on_deliver(struct gate *g, struct an_msg *msg)
{
    gate_router_deliver(g, msg);
}

static void
on_inspect(struct gate *g, struct an_msg *msg)
{
    gate_inspect(g, msg);
}

/* ------------------------------------------------------------------ the actor */

typedef void handler_f(struct gate *g, struct an_msg *msg);

static void
step(struct an_actor *actor, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    static const struct {
        unsigned kind;
        handler_f *handle;
    } handlers[] = {
        {AN_KIND_CONN_FRAME, on_conn_frame},
        {AN_KIND_SUBMITTED, on_submitted},
        {AN_KIND_DELIVER, on_deliver},
        {AN_KIND_READ_DONE, on_read_done},
        {AN_KIND_CONN_OUTPUT, on_conn_output},
        {AN_KIND_SESSIONS_DONE, on_sessions_done},
        {AN_KIND_CONN_OPEN, on_conn_open},
        {AN_KIND_CONN_CLOSED, on_conn_closed},
        {AN_KIND_CONN_BAD, on_conn_bad},
        {AN_KIND_TIMER, on_timer},
        {AN_KIND_INSPECT, on_inspect},
        {AN_KIND_START, on_start},
        {AN_KIND_STOP, on_stop},
    };
    struct gate *g = (struct gate *)actor;

    g->now = now;
    g->out = out;
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].kind == msg->kind) {
            handlers[i].handle(g, msg);
            return;
        }
    }
    assert(!msg->request); /* the bus lets only kinds addressed to a gate through */
}

static void
drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    struct gate *g = (struct gate *)actor;

    g->now = now;
    g->out = out;
    gate_submit_drained(g);
    gate_read_drained(g);
    gate_router_drained(g);
    gate_joined_if(g);
    gate_stopped_if(g);
    g->drains++;
}

static void
metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct gate *g = (const struct gate *)actor;

    metric(ctx, "conns", "Connections open now", false, g->conns.count);
    metric(ctx, "draining", "1 while clients are asked to connect elsewhere", false,
           g->draining);
    metric(ctx, "requests", "Requests of clients under way now", false, g->op_count);
    metric(ctx, "request_bytes", "Bytes of memory of requests under way", false,
           g->op_bytes);
    metric(ctx, "names", "User names whose keys are in memory", false,
           g->names.by_text.count);
#define METRIC(name, help) metric(ctx, #name "_total", help, true, g->counted.name);
    GATE_COUNTERS(METRIC)
#undef METRIC
    metric(ctx, "rated", "Users and addresses whose requests are counted", false,
           g->rates.chains.count);
#define OF_USER    "user"
#define OF_ADDRESS "address"
#define METRIC(name, of, command, what)                                                  \
    metric(ctx, "over_" #name "_total",                                                  \
           what " refused with RATE: too many of one " OF_##of, true,                    \
           g->counted.over_##name);
    GATE_RATES(METRIC)
#undef METRIC
#undef OF_ADDRESS
#undef OF_USER
}

static void
ops_free(struct gate *g, struct gate_ops *ops)
{
    struct gate_op *op;

    while ((op = gate_ops_pop(ops)) != NULL) {
        gate_op_free(g, op);
    }
}

static void
destroy(struct an_actor *actor)
{
    struct gate *g = (struct gate *)actor;

    if (g == NULL) {
        return;
    }
    while (g->batches != NULL) {
        struct gate_batch *batch = g->batches;

        for (size_t i = 0; i < batch->count; i++) {
            gate_op_free(g, batch->ops[i]);
        }
        g->batches = batch->next;
        free(batch);
    }
    gate_submit_fini(g);
    for (uint16_t i = 0; g->stores != NULL && i < g->topology->count[AN_ROLE_STORE];
         i++) {
        ops_free(g, &g->stores[i].ops);
    }
    while (g->fetches != NULL) {
        gate_op_free(g, g->fetches->op);
    }
    ops_free(g, &g->heads);
    gate_router_fini(g);
    gate_names_fini(g);
    gate_conn_table_fini(g);
    gate_rate_fini(g);
    assert(g->op_count == 0);
    an_arena_fini(&g->frame);
    an_arena_fini(&g->scratch);
    free(g->stores);
    free(g->owner);
    free(g);
}

static uint32_t
or_default(uint32_t value, uint32_t otherwise)
{
    return value == 0 ? otherwise : value;
}

static void
limits_fill(struct gate *g, const struct gate_cfg *cfg)
{
    g->conns_max = or_default(cfg->conns_max, AN_CONNS_MAX);
    g->heartbeat_ms = or_default(cfg->heartbeat_ms, AN_HEARTBEAT_MS);
    g->tick_ms = g->heartbeat_ms / (2 * AN_GATE_SIGNS);
    g->tick_ms = g->tick_ms > AN_GATE_TICK_MS ? AN_GATE_TICK_MS
                 : g->tick_ms < TICK_MIN_MS   ? TICK_MIN_MS
                                              : g->tick_ms;
    g->idle_ms = or_default(cfg->idle_ms, AN_IDLE_MS);
    g->login_timeout_ms = or_default(cfg->login_timeout_ms, AN_LOGIN_TIMEOUT_MS);
    g->output_bytes_max = or_default(cfg->output_bytes_max, AN_CONN_OUTPUT_MAX);
    g->sends_max = or_default(cfg->sends_max, AN_CONN_SENDS_MAX);
    g->submits_flying_max = or_default(cfg->submits_flying_max, AN_SUBMITS_FLYING_MAX);
    if (g->sends_max > UINT16_MAX) {
        g->sends_max = UINT16_MAX;
    }
}

enum an_err
gate_create(struct an_actor **out, const struct gate_cfg *cfg)
{
    static const struct an_actor_ops ops = {
        .role = AN_ROLE_GATE,
        .step = step,
        .drained = drained,
        .metrics = metrics,
        .destroy = destroy,
    };
    const struct an_topology *topology = cfg->topology;
    struct gate *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    g->actor.ops = &ops;
    g->topology = topology;
    g->keys = cfg->keys;
    g->apps = cfg->apps;
    g->index = cfg->index;
    g->incarnation = cfg->seed == 0 ? 1 : cfg->seed;
    limits_fill(g, cfg);
    gate_rate_init(g, cfg);
    an_rng_seed(&g->rng, cfg->seed);
    an_hash_seed(&g->hash_key, cfg->seed);
    g->opening.newer = g->opening.older = &g->opening;
    g->active.newer = g->active.older = &g->active;
    g->checked.checked_newer = g->checked.checked_older = &g->checked;
    an_arena_init(&g->frame, FRAME_ARENA_MAX);
    an_arena_init(&g->scratch, SCRATCH_ARENA_MAX);
    g->links = calloc(topology->count[AN_ROLE_ROUTER], sizeof(*g->links));
    g->stores = calloc(topology->count[AN_ROLE_STORE], sizeof(*g->stores));
    g->owner = calloc(AN_SLOTS, sizeof(*g->owner));
    if (g->links == NULL || g->stores == NULL || g->owner == NULL) {
        destroy(&g->actor);
        return AN_ERR_NO_MEMORY;
    }
    memcpy(g->owner, topology->slot_sequencer, AN_SLOTS * sizeof(*g->owner));
    for (uint16_t i = 0; i < topology->count[AN_ROLE_ROUTER]; i++) {
        g->links[i].all = true;
    }
    *out = &g->actor;
    return AN_OK;
}
