/* Queries to stores, many in one READ: what gathered while others were under way. */
#include "actors/gate/gate_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

void
gate_read(struct gate *g, struct gate_op *op)
{
    gate_ops_push(&g->stores[g->topology->slot_store[op->slot]].ops, op);
}

/* ------------------------------------------------------------------ asking */

static ProtobufCBinaryData
bytes(const void *data, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
}

/* All kinds of query, so that one allocation serves each. */
struct query {
    Anser__Bus__Query base;
    union {
        Anser__Bus__ResolveQuery resolve;
        Anser__Bus__LoginQuery login;
        Anser__Bus__SyncQuery sync;
        Anser__Bus__HistoryQuery history;
        Anser__Bus__HeadQuery head;
        Anser__Bus__MessageQuery message;
        Anser__Bus__AccountQuery account;
    } u;
    struct an_conv conv;
};

static void
put_resolve(struct query *q, const struct gate_op *op)
{
    const struct gate_name *name = op->u.name;

    anser__bus__resolve_query__init(&q->u.resolve);
    q->u.resolve.app = bytes(name->text, name->app_len);
    q->u.resolve.name = bytes(name->text + name->app_len, name->name_len);
    q->base.what_case = ANSER__BUS__QUERY__WHAT_RESOLVE;
    q->base.resolve = &q->u.resolve;
}

static void
put_login(struct query *q, const struct gate_op *op)
{
    anser__bus__login_query__init(&q->u.login);
    q->u.login.user = op->peer;
    q->u.login.device = bytes(op->conn->text + op->conn->user_len, op->conn->device_len);
    q->base.what_case = ANSER__BUS__QUERY__WHAT_LOGIN;
    q->base.login = &q->u.login;
}

static void
put_head(struct query *q, const struct gate_op *op)
{
    anser__bus__head_query__init(&q->u.head);
    q->u.head.user = op->conn->user;
    q->u.head.device = bytes(op->conn->text + op->conn->user_len, op->conn->device_len);
    q->base.what_case = ANSER__BUS__QUERY__WHAT_HEAD;
    q->base.head = &q->u.head;
}

static void
put_sync(struct query *q, const struct gate_op *op)
{
    anser__bus__sync_query__init(&q->u.sync);
    q->u.sync.user = op->conn->user;
    q->u.sync.after = op->u.page.after;
    q->u.sync.limit = op->u.page.limit;
    q->u.sync.inbox_generation = op->u.page.generation;
    q->base.what_case = ANSER__BUS__QUERY__WHAT_SYNC;
    q->base.sync = &q->u.sync;
}

static void
put_history(struct query *q, const struct gate_op *op)
{
    q->conv = an_conv_direct(op->conn->user, op->peer);
    anser__bus__history_query__init(&q->u.history);
    q->u.history.conversation = bytes(q->conv.bytes, AN_CONV_LEN);
    q->u.history.viewer = op->conn->user;
    q->u.history.peer = op->peer;
    q->u.history.before = op->u.page.before;
    q->u.history.after = op->u.page.after;
    q->u.history.oldest_first = op->u.page.oldest_first;
    q->u.history.limit = op->u.page.limit;
    q->base.what_case = ANSER__BUS__QUERY__WHAT_HISTORY;
    q->base.history = &q->u.history;
}

static void
put_message(struct query *q, const struct gate_op *op)
{
    anser__bus__message_query__init(&q->u.message);
    gate_fetch_query(op, &q->u.message);
    q->base.what_case = ANSER__BUS__QUERY__WHAT_MESSAGE;
    q->base.message = &q->u.message;
}

static void
put_account(struct query *q, const struct gate_op *op)
{
    anser__bus__account_query__init(&q->u.account);
    q->u.account.user = op->u.name->user;
    q->base.what_case = ANSER__BUS__QUERY__WHAT_ACCOUNT;
    q->base.account = &q->u.account;
}

typedef void put_f(struct query *q, const struct gate_op *op);

static Anser__Bus__Query *
put_query(struct an_arena *arena, const struct gate_op *op)
{
    static put_f *const puts[] = {
        [OP_LOGIN] = put_login,     [OP_HEARTBEAT] = put_head,  [OP_SYNC] = put_sync,
        [OP_HISTORY] = put_history, [OP_RESOLVE] = put_resolve, [OP_FETCH] = put_message,
        [OP_NAME] = put_account,    [OP_ACCOUNT] = put_head,
    };
    struct query *q = an_arena_alloc(arena, sizeof(*q));

    if (q == NULL) {
        return NULL;
    }
    anser__bus__query__init(&q->base);
    q->base.slot = op->slot;
    assert(puts[op->what] != NULL);
    puts[op->what](q, op);
    return &q->base;
}

static bool
ask(struct gate *g, struct gate_batch *batch)
{
    Anser__Bus__Read read = ANSER__BUS__READ__INIT;

    read.queries = an_arena_alloc(&g->scratch, batch->count * sizeof(void *));
    if (read.queries == NULL) {
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        read.queries[i] = put_query(&g->scratch, batch->ops[i]);
        if (read.queries[i] == NULL) {
            return false;
        }
    }
    read.n_queries = batch->count;
    an_out_ask(g->out, (struct an_addr){AN_ROLE_STORE, batch->store}, AN_KIND_READ,
               &read.base, AN_ASK_MS, batch->tag, batch->ops[0]->trace);
    return true;
}

/* ------------------------------------------------------------------ answers */

void
gate_page_done(struct gate *g, struct gate_op *op, const uint8_t *body, size_t len)
{
    struct gate_conn *c = op->conn;

    gate_conn_send_packed(g, c,
                          op->what == OP_SYNC ? AN_COMMAND_SYNC : AN_COMMAND_HISTORY,
                          AN_FRAME_ANSWER, op->request, body, len);
    c->page_flying = false;
    gate_client_pages(g, c);
    gate_op_free(g, op);
}

static void
read_failed(struct gate *g, struct gate_op *op, enum an_err err)
{
    if (op->what == OP_RESOLVE) {
        gate_name_read(g, op, err, 0);
    } else if (op->what == OP_FETCH) {
        gate_fetch_read(g, op, err, NULL);
    } else if (op->what == OP_NAME) {
        gate_name_state(g, op, err, NULL);
    } else if (op->what == OP_ACCOUNT) {
        gate_account_read(g, op, NULL);
    } else if (op->what == OP_HEARTBEAT) {
        gate_heartbeat_read(g, op, NULL);
    } else {
        gate_op_fail(
            g, op,
            op->what == OP_LOGIN && err == AN_ERR_NOT_FOUND ? AN_ERR_USER_NOT_FOUND : err,
            0);
    }
}

static void
read_one(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *answer)
{
    if (answer->err != AN_OK) {
        read_failed(g, op, gate_client_err(answer->err));
        return;
    }
    switch ((enum gate_what)op->what) {
    case OP_RESOLVE:
        gate_name_read(g, op, AN_OK, answer->user);
        return;
    case OP_NAME:
        gate_name_state(g, op, AN_OK, answer);
        return;
    case OP_ACCOUNT:
        gate_account_read(g, op, answer);
        return;
    case OP_LOGIN:
        gate_login_read(g, op, answer);
        return;
    case OP_HEARTBEAT:
        gate_heartbeat_read(g, op, answer);
        return;
    case OP_SYNC:
    case OP_HISTORY:
        if (answer->n_elsewhere > 0) {
            gate_fetch(g, op, answer);
        } else {
            gate_page_done(g, op, answer->client_body.data, answer->client_body.len);
        }
        return;
    case OP_FETCH:
        gate_fetch_read(g, op, AN_OK, answer);
        return;
    case OP_SEND:
    case OP_CONFIRM:
    case OP_DELIVERED:
    case OP_SEEN:
    case OP_HELD:
        break; /* never asked of stores */
    }
    assert(false);
}

/* The other side did not keep to the contract, or there is no memory to ask with. */
static void
fail_all(struct gate *g, struct gate_batch *batch, enum an_err err)
{
    for (size_t i = 0; i < batch->count; i++) {
        read_failed(g, batch->ops[i], err);
    }
}

void
gate_read_done(struct gate *g, const struct an_msg *msg)
{
    const Anser__Bus__ReadDone *done = (const Anser__Bus__ReadDone *)msg->body;
    struct gate_batch *batch = gate_batch_take(g, msg->tag);

    if (batch == NULL) {
        return;
    }
    g->stores[batch->store].flying--;
    if (msg->err != AN_OK || done->n_answers != batch->count) {
        fail_all(g, batch,
                 msg->err == AN_OK ? AN_ERR_INTERNAL : gate_client_err(msg->err));
        free(batch);
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        read_one(g, batch->ops[i], done->answers[i]);
    }
    free(batch);
}

/* ------------------------------------------------------------------ batches */

/* How much its answer may be. */
static size_t
read_bytes(const struct gate_op *op)
{
    if (op->what == OP_SYNC || op->what == OP_HISTORY) {
        return AN_PAGE_BYTES_MAX;
    }
    return op->what == OP_FETCH ? AN_FRAME_LEN_MAX : 0;
}

static void
read_some(struct gate *g, uint16_t index)
{
    struct gate_store *store = &g->stores[index];
    struct gate_op *ops[AN_BATCH_ITEMS_MAX];
    size_t count = 0, size = 0, fetches = 0;
    struct gate_batch *batch;

    while (count < AN_BATCH_ITEMS_MAX && store->ops.first != NULL &&
           size + read_bytes(store->ops.first) <= GATE_READ_BYTES_MAX &&
           (store->ops.first->what != OP_FETCH || fetches < GATE_FETCHES_MAX)) {
        ops[count] = gate_ops_pop(&store->ops);
        size += read_bytes(ops[count]);
        fetches += ops[count++]->what == OP_FETCH;
    }
    batch = gate_batch_create(g, TAG_READ, count);
    if (batch == NULL) {
        for (size_t i = 0; i < count; i++) {
            read_failed(g, ops[i], AN_ERR_BUSY);
        }
        return;
    }
    memcpy(batch->ops, ops, count * sizeof(struct gate_op *));
    batch->store = index;
    if (!ask(g, batch)) {
        gate_batch_take(g, batch->tag);
        fail_all(g, batch, AN_ERR_BUSY);
        free(batch);
    } else {
        store->flying++;
        g->counted.reads++;
        g->counted.read_queries += count;
    }
    an_arena_reset(&g->scratch);
}

void
gate_read_drained(struct gate *g)
{
    for (uint16_t i = 0; i < g->topology->count[AN_ROLE_STORE]; i++) {
        while (g->stores[i].ops.first != NULL &&
               g->stores[i].flying < GATE_READS_FLYING_MAX) {
            read_some(g, i);
        }
    }
}
