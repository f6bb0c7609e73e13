/* In whose turn a batch is filled. Users take turns in a pipe, and a user's connections
 * take turns in his: one command each. So who floods gets no more than a user's share,
 * whatever the number of his connections, and does not hold up his own others. */
#include "actors/gate/gate_priv.h"
#include <assert.h>
#include <stdlib.h>

/* What a user has waiting in one pipe: the lanes of his connections. */
struct gate_turn {
    struct gate_seat seat; /* first: in the pipe's round */
    struct gate_turn *next_of_user;
    struct gate_pipe *pipe;
    struct gate_rated *user;
    struct gate_round lanes;
};

/* What one connection has waiting in it. */
struct gate_lane {
    struct gate_seat seat; /* first: in the turn's round */
    struct gate_lane *next_of_conn;
    struct gate_turn *turn;
    struct gate_conn *conn;
    struct gate_ops ops;
};

static void
round_push(struct gate_round *round, struct gate_seat *seat)
{
    seat->next = NULL;
    *(round->last == NULL ? &round->first : &round->last->next) = seat;
    round->last = seat;
}

static struct gate_seat *
round_pop(struct gate_round *round)
{
    struct gate_seat *seat = round->first;

    if (seat != NULL) {
        round->first = seat->next;
        if (round->first == NULL) {
            round->last = NULL;
        }
    }
    return seat;
}

/* Takes back what was pushed last. */
static void
round_unpush(struct gate_round *round)
{
    struct gate_seat **link = &round->first, *before = NULL;

    while (*link != round->last) {
        before = *link;
        link = &before->next;
    }
    *link = NULL;
    round->last = before;
}

/* ------------------------------------------------------------------ turns and lanes */

static struct gate_turn *
turn_get(struct gate_rated *user, struct gate_pipe *pipe)
{
    struct gate_turn *turn = user->turns;

    while (turn != NULL && turn->pipe != pipe) {
        turn = turn->next_of_user;
    }
    if (turn == NULL) {
        turn = calloc(1, sizeof(*turn));
        if (turn != NULL) {
            turn->pipe = pipe;
            turn->user = user;
            turn->next_of_user = user->turns;
            user->turns = turn;
            round_push(&pipe->turns, &turn->seat);
        }
    }
    return turn;
}

static struct gate_lane *
lane_get(struct gate_conn *c, struct gate_turn *turn)
{
    struct gate_lane *lane = c->lanes;

    while (lane != NULL && lane->turn != turn) {
        lane = lane->next_of_conn;
    }
    if (lane == NULL) {
        lane = calloc(1, sizeof(*lane));
        if (lane != NULL) {
            lane->turn = turn;
            lane->conn = c;
            lane->next_of_conn = c->lanes;
            c->lanes = lane;
            round_push(&turn->lanes, &lane->seat);
        }
    }
    return lane;
}

/* Empty and out of the round. */
static void
lane_free(struct gate_lane *lane)
{
    struct gate_lane **link = &lane->conn->lanes;

    while (*link != lane) {
        link = &(*link)->next_of_conn;
    }
    *link = lane->next_of_conn;
    free(lane);
}

static void
turn_free(struct gate_turn *turn)
{
    struct gate_turn **link = &turn->user->turns;

    while (*link != turn) {
        link = &(*link)->next_of_user;
    }
    *link = turn->next_of_user;
    free(turn);
}

/* ------------------------------------------------------------------ commands */

/* Batches under way end in any order: a Send that was sent on goes before the later ones
 * of its connection. */
static void
lane_push(struct gate_lane *lane, struct gate_op *op)
{
    struct gate_op **link = &lane->ops.first;

    if (op->what != OP_SEND || op->hops == 0) {
        gate_ops_push(&lane->ops, op);
        return;
    }
    while (*link != NULL && (*link)->u.send.order < op->u.send.order) {
        link = &(*link)->next;
    }
    op->next = *link;
    *link = op;
    if (op->next == NULL) {
        lane->ops.last = op;
    }
}

bool
gate_lane_push(struct gate_pipe *pipe, struct gate_op *op)
{
    struct gate_turn *turn = turn_get(op->conn->of_user, pipe);
    struct gate_lane *lane = turn == NULL ? NULL : lane_get(op->conn, turn);

    if (lane == NULL) {
        if (turn != NULL && turn->lanes.first == NULL) { /* no memory: a turn just made */
            round_unpush(&pipe->turns);
            turn_free(turn);
        }
        return false;
    }
    lane_push(lane, op);
    return true;
}

struct gate_op *
gate_lane_pop(struct gate_pipe *pipe)
{
    struct gate_op *op = NULL;

    while (op == NULL && pipe->turns.first != NULL) {
        struct gate_turn *turn = (struct gate_turn *)round_pop(&pipe->turns);
        struct gate_lane *lane = (struct gate_lane *)round_pop(&turn->lanes);

        if (lane != NULL) {
            op = gate_ops_pop(&lane->ops);
            assert(op != NULL);
            if (lane->ops.first != NULL) {
                round_push(&turn->lanes, &lane->seat);
            } else {
                lane_free(lane);
            }
        }
        if (turn->lanes.first != NULL) {
            round_push(&pipe->turns, &turn->seat);
        } else {
            turn_free(turn);
        }
    }
    return op;
}
