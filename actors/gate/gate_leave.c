/* Clients are sent away: when an operator drains the gate, a few at a time, so that the
 * gates they go to are not stormed; when the gate stops, all at once. What a client sent
 * before is answered first. */
#include "actors/gate/gate_priv.h"

/* Takes no more Sends; its Goodbye comes behind the last answer. */
static void
leave(struct gate *g, struct gate_conn *c)
{
    if (c->state == CONN_READY && c->send_count > 0) {
        c->leaving = true;
    } else {
        gate_conn_goodbye(g, c, g->leave_err);
    }
}

void
gate_left_if(struct gate *g, struct gate_conn *c)
{
    if (c->leaving && c->send_count == 1) {
        gate_conn_goodbye(g, c, g->leave_err);
    }
}

static void
arm(struct gate *g)
{
    if (!g->leave_armed) {
        g->leave_armed = true;
        an_out_timer(g->out, g->now.mono_ms + GATE_LEAVE_STEP_MS, GATE_TAG(TAG_LEAVE, 0));
    }
}

/* force: also those whose Sends are not answered. */
static void
leave_all(struct gate *g, bool force)
{
    /* Nothing leaves the table before the door says so. */
    for (struct gate_conn *c = gate_conn_walk(g, NULL); c != NULL;
         c = gate_conn_walk(g, c)) {
        if (force) {
            gate_conn_goodbye(g, c, g->leave_err);
        } else if (c->state != CONN_CLOSING) {
            leave(g, c);
        }
    }
}

/* So many of those who are logged in have been told by now, the longest silent first. */
static void
leave_some(struct gate *g, size_t target)
{
    struct gate_conn *c = g->active.newer;

    while (c != &g->active && g->leave_told < target) {
        struct gate_conn *next = c->newer;

        if (!c->leaving) {
            g->leave_told++;
            leave(g, c);
        }
        c = next;
    }
}

void
gate_drain(struct gate *g, uint64_t spread_ms)
{
    if (g->draining || g->stopping) {
        return;
    }
    g->draining = true;
    g->leave_err = AN_ERR_DRAINING;
    g->leave_ms = g->now.mono_ms;
    g->leave_spread_ms = spread_ms;
    while (g->opening.newer != &g->opening) {
        gate_conn_goodbye(g, g->opening.newer, g->leave_err);
    }
    g->leave_total = g->conns.count - g->closing_count;
    g->leave_told = 0;
    an_out_log(g->out, AN_LOG_INFO, 0, "draining connections=%zu over_ms=%llu",
               g->leave_total, (unsigned long long)spread_ms);
    arm(g);
}

void
gate_undrain(struct gate *g)
{
    if (g->draining) {
        g->draining = false;
        an_out_log(g->out, AN_LOG_INFO, 0, "draining no more connections=%zu",
                   g->conns.count - g->closing_count);
    }
}

static void
drain_step(struct gate *g)
{
    uint64_t passed_ms = g->now.mono_ms - g->leave_ms;

    if (passed_ms >= g->leave_spread_ms) {
        leave_all(g, passed_ms >= g->leave_spread_ms + AN_GATE_GRACE_MS);
    } else {
        leave_some(g, (size_t)(g->leave_total * passed_ms / g->leave_spread_ms) + 1);
    }
    if (g->conns.count > g->closing_count) {
        arm(g);
    } else {
        an_out_log(g->out, AN_LOG_INFO, 0, "drained after_ms=%llu",
                   (unsigned long long)passed_ms);
    }
}

void
gate_stop(struct gate *g)
{
    g->stopping = true;
    g->draining = false;
    g->leave_err = AN_ERR_SHUTTING_DOWN;
    g->leave_ms = g->now.mono_ms;
    leave_all(g, false);
    arm(g);
}

void
gate_leave_due(struct gate *g)
{
    g->leave_armed = false;
    if (g->draining) {
        drain_step(g);
    } else if (g->stopping && !g->stopped) {
        leave_all(g, g->now.mono_ms - g->leave_ms >= AN_GATE_GRACE_MS);
        arm(g);
    }
}

/* A client that does not close its end does not hold the stop. */
void
gate_stopped_if(struct gate *g)
{
    if (g->stopping && !g->stopped &&
        (g->conns.count == 0 || (g->conns.count == g->closing_count &&
                                 g->now.mono_ms - g->goodbye_ms >= AN_GATE_LINGER_MS))) {
        g->stopped = true;
        an_out_stopped(g->out);
    }
}
