/* When clients are let in: one of each of those they cannot be served without has
 * answered, and every router has and was heard, or one heartbeat has passed (a router
 * that is away for good must not keep everybody out). What we ask is empty: any answer
 * will do. */
#include "actors/gate/gate_priv.h"

static void
ask_all(struct gate *g, enum an_role role, enum an_kind kind,
        const ProtobufCMessage *body)
{
    for (uint16_t i = 0; i < g->topology->count[role]; i++) {
        an_out_ask(g->out, (struct an_addr){(uint8_t)role, i}, kind, body,
                   AN_GATE_TICK_MS, GATE_TAG(TAG_JOIN, role), an_rng_next(&g->rng));
        g->joining++;
    }
}

static bool
routers_joined(const struct gate *g)
{
    uint16_t count = g->topology->count[AN_ROLE_ROUTER], answered = 0, heard = 0;

    for (uint16_t i = 0; i < count; i++) {
        answered = (uint16_t)(answered + g->links[i].answered);
        heard = (uint16_t)(heard + (g->links[i].answered && g->links[i].heard));
    }
    return heard == count ||
           (answered > 0 && g->now.mono_ms - g->started_ms >= g->heartbeat_ms);
}

static void
say(struct gate *g)
{
    if (g->now.mono_ms - g->said_ms < GATE_JOIN_SAY_MS) {
        return;
    }
    g->said_ms = g->now.mono_ms;
    an_out_log(g->out, AN_LOG_INFO, 0, "no clients yet: waiting for%s%s%s",
               routers_joined(g) ? "" : " routers",
               g->joined_sequencer ? "" : " a sequencer",
               g->joined_store ? "" : " a store");
}

void
gate_join(struct gate *g)
{
    const Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    const Anser__Bus__Read read = ANSER__BUS__READ__INIT;

    if (g->ready || g->stopping) {
        return;
    }
    if (g->said_ms == 0) {
        g->said_ms = g->now.mono_ms;
    }
    say(g);
    gate_router_listen(g);
    if (g->joining == 0) {
        if (!g->joined_sequencer) {
            ask_all(g, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT, &submit.base);
        }
        if (!g->joined_store) {
            ask_all(g, AN_ROLE_STORE, AN_KIND_READ, &read.base);
        }
    }
    an_out_timer(g->out, g->now.mono_ms + GATE_JOIN_RETRY_MS, GATE_TAG(TAG_JOIN, 0));
}

void
gate_join_answered(struct gate *g, const struct an_msg *msg)
{
    bool there = msg->err != AN_ERR_UNAVAILABLE && msg->err != AN_ERR_TIMEOUT;

    g->joining--;
    if (GATE_TAG_N(msg->tag) == AN_ROLE_SEQUENCER) {
        g->joined_sequencer |= there;
    } else {
        g->joined_store |= there;
    }
}

void
gate_joined_if(struct gate *g)
{
    if (!g->ready && g->joined_sequencer && g->joined_store && routers_joined(g)) {
        g->ready = true;
        an_out_ready(g->out);
    }
}
