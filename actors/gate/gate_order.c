/* The order of Sends to a conversation.
 *
 * After a retryable refusal the later messages to that conversation are refused until
 * the refused one is sent again: else a retry would land behind them. All that were
 * refused are remembered, in order: a client may not have heard of a refusal yet when the
 * one before it is sent again, and what it sends meanwhile must not slip in between. */
#include "actors/gate/gate_priv.h"
#include <stdlib.h>
#include <string.h>

struct gate_refused {
    uint64_t number;
    uint8_t id[AN_CLIENT_MSG_ID_LEN];
};

struct gate_order {
    struct gate_order *next;
    struct gate_refused *refused; /* by number; never empty */
    size_t count, cap;
    uint8_t to_len;
    uint8_t to[];
};

static bool
same(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static struct gate_order **
order_find(struct gate_conn *c, const uint8_t *to, size_t to_len)
{
    struct gate_order **link = &c->orders;

    while (*link != NULL && !same((*link)->to, (*link)->to_len, to, to_len)) {
        link = &(*link)->next;
    }
    return link;
}

static void
order_drop(struct gate_order **link)
{
    struct gate_order *order = *link;

    *link = order->next;
    free(order->refused);
    free(order);
}

void
gate_order_drop(struct gate_conn *c)
{
    while (c->orders != NULL) {
        order_drop(&c->orders);
    }
}

/* Where the id stands; count when it is not there. */
static size_t
refused_find(const struct gate_order *order, const uint8_t *id)
{
    size_t i = 0;

    while (i < order->count &&
           memcmp(order->refused[i].id, id, AN_CLIENT_MSG_ID_LEN) != 0) {
        i++;
    }
    return i;
}

static void
refused_remove(struct gate_conn *c, struct gate_order **link, size_t i)
{
    struct gate_order *order = *link;

    order->count--;
    memmove(&order->refused[i], &order->refused[i + 1],
            (order->count - i) * sizeof(*order->refused));
    c->refused_count--;
    if (order->count == 0) {
        order_drop(link);
    }
}

/* May this one go now? If it is the one waited for, it keeps its place among those
 * refused after it, and the next one is waited for. */
bool
gate_order_admits(struct gate *g, struct gate_conn *c, const Anser__Client__Send *send,
                  uint64_t *number)
{
    struct gate_order **link = order_find(c, send->to.data, send->to.len);
    size_t i = *link == NULL ? 0 : refused_find(*link, send->client_msg_id.data);

    if (*link == NULL || i == (*link)->count) {
        *number = ++g->next_order;
        return *link == NULL;
    }
    *number = (*link)->refused[i].number;
    if (i > 0) {
        return false;
    }
    refused_remove(c, link, 0);
    return true;
}

static struct gate_order *
order_create(struct gate_conn *c, const uint8_t *to, size_t to_len)
{
    struct gate_order *order;
    size_t count = 0;

    for (order = c->orders; order != NULL; order = order->next) {
        count++;
    }
    order = count < GATE_ORDERS_MAX ? calloc(1, sizeof(*order) + to_len) : NULL;
    if (order != NULL) {
        order->to_len = (uint8_t)to_len;
        memcpy(order->to, to, to_len);
        order->next = c->orders;
        c->orders = order;
    }
    return order;
}

/* false without memory or at the bound. */
static bool
refused_add(struct gate_conn *c, struct gate_order *order, const uint8_t *id,
            uint64_t number)
{
    size_t i = order->count;

    if (c->refused_count >= GATE_REFUSED_MAX) {
        return false;
    }
    if (order->count == order->cap) {
        size_t cap = order->cap == 0 ? 4 : order->cap * 2;
        struct gate_refused *more = realloc(order->refused, cap * sizeof(*more));
        if (more == NULL) {
            return false;
        }
        order->refused = more;
        order->cap = cap;
    }
    while (i > 0 && order->refused[i - 1].number > number) {
        order->refused[i] = order->refused[i - 1];
        i--;
    }
    order->refused[i].number = number;
    memcpy(order->refused[i].id, id, AN_CLIENT_MSG_ID_LEN);
    order->count++;
    c->refused_count++;
    return true;
}

void
gate_order_refuse(struct gate *g, struct gate_conn *c, const uint8_t *to, size_t to_len,
                  const uint8_t *id, uint64_t number)
{
    struct gate_order **link = order_find(c, to, to_len);
    struct gate_order *order = *link;
    size_t i;

    if (c->state != CONN_READY) {
        return;
    }
    if (order != NULL && (i = refused_find(order, id)) < order->count) {
        if (order->refused[i].number <= number) {
            return;
        }
        refused_remove(c, link, i); /* it belongs further ahead */
        order = *order_find(c, to, to_len);
    }
    if (order == NULL) {
        order = order_create(c, to, to_len);
    }
    if (order == NULL || !refused_add(c, order, id, number)) {
        gate_conn_goodbye(g, c, AN_ERR_BUSY); /* we could not keep the promise of order */
    }
}

void
gate_order_refused(struct gate *g, struct gate_op *op, enum an_err err)
{
    if (an_err_handling(err) == AN_HANDLE_RETRY) {
        gate_order_refuse(g, op->conn, op->data, op->peer_len, op->u.send.id,
                          op->u.send.order);
    }
}

void
gate_order_accepted(struct gate_op *op)
{
    struct gate_order **link = order_find(op->conn, op->data, op->peer_len);
    size_t i = *link == NULL ? 0 : refused_find(*link, op->u.send.id);

    if (*link != NULL && i < (*link)->count) {
        refused_remove(op->conn, link, i); /* a second copy of it made it */
    }
}

/* The last of the unanswered ones to the same conversation that come before it in sending
 * order; the sequencer takes this one only behind it. Sending order, not arrival: one
 * that was refused and is sent again still comes before what followed it. */
void
gate_order_after(struct gate_op *op)
{
    const struct gate_op *last = NULL;
    bool sorted = op->conn->again_count == 0; /* then the first found is the last sent */

    for (const struct gate_op *at = op->u.send.older; at != NULL; at = at->u.send.older) {
        if (at->u.send.order < op->u.send.order &&
            (last == NULL || at->u.send.order > last->u.send.order) &&
            same(at->data, at->peer_len, op->data, op->peer_len) &&
            memcmp(at->u.send.id, op->u.send.id, AN_CLIENT_MSG_ID_LEN) != 0) {
            last = at;
            if (sorted) {
                break;
            }
        }
    }
    if (last != NULL) {
        op->u.send.has_after = true;
        memcpy(op->u.send.after, last->u.send.id, AN_CLIENT_MSG_ID_LEN);
    }
}
