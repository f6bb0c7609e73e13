/* When clients are let in: every sequencer and store has said that it is ready, and every
 * router has answered and was heard. Who is away for good must not keep everybody out:
 * once one of each has answered, the other sequencers and stores are waited for as long
 * as one of these questions may take, and the routers until one heartbeat after our
 * start. Longer would keep a gate closed most of the time where hosts die all the time.
 *
 * What we ask of sequencers and stores is empty. BUSY: not ready yet, what a client sends
 * could be refused. */
#include "actors/gate/gate_priv.h"
#include <stdlib.h>

static void
needed_add(struct gate *g, enum an_role role)
{
    for (uint16_t i = 0; i < g->topology->count[role]; i++) {
        g->needed[g->needed_count++].addr = (struct an_addr){(uint8_t)role, i};
    }
}

bool
gate_join_init(struct gate *g)
{
    const uint16_t *count = g->topology->count;

    g->needed = calloc((size_t)count[AN_ROLE_SEQUENCER] + count[AN_ROLE_STORE],
                       sizeof(*g->needed));
    if (g->needed == NULL) {
        return false;
    }
    needed_add(g, AN_ROLE_SEQUENCER);
    needed_add(g, AN_ROLE_STORE);
    return true;
}

void
gate_join_fini(struct gate *g)
{
    free(g->needed);
}

/* ------------------------------------------------------------------ are they ready */

static bool
all_ready(const struct gate *g, enum an_role role)
{
    for (size_t i = 0; i < g->needed_count; i++) {
        if (g->needed[i].addr.role == role && !g->needed[i].ready) {
            return false;
        }
    }
    return true;
}

static bool
any_there(const struct gate *g, enum an_role role)
{
    for (size_t i = 0; i < g->needed_count; i++) {
        if (g->needed[i].addr.role == role && g->needed[i].there) {
            return true;
        }
    }
    return false;
}

static bool
needed_joined(const struct gate *g)
{
    return (all_ready(g, AN_ROLE_SEQUENCER) && all_ready(g, AN_ROLE_STORE)) ||
           (g->some_ms != 0 && g->now.mono_ms - g->some_ms >= AN_GATE_TICK_MS);
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

/* ------------------------------------------------------------------ asking */

static void
say(struct gate *g)
{
    if (g->now.mono_ms - g->said_ms < GATE_JOIN_SAY_MS) {
        return;
    }
    g->said_ms = g->now.mono_ms;
    an_out_log(g->out, AN_LOG_INFO, 0, "no clients yet: waiting for%s%s%s",
               routers_joined(g) ? "" : " routers",
               all_ready(g, AN_ROLE_SEQUENCER) ? "" : " sequencers",
               all_ready(g, AN_ROLE_STORE) ? "" : " stores");
}

static void
ask(struct gate *g, size_t index)
{
    const Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    const Anser__Bus__Read read = ANSER__BUS__READ__INIT;
    struct gate_needed *needed = &g->needed[index];
    bool store = needed->addr.role == AN_ROLE_STORE;

    if (needed->ready || needed->asked) {
        return;
    }
    needed->asked = true;
    an_out_ask(g->out, needed->addr, store ? AN_KIND_READ : AN_KIND_SUBMIT,
               store ? &read.base : &submit.base, AN_GATE_TICK_MS,
               GATE_TAG(TAG_JOIN, index), an_rng_next(&g->rng));
}

void
gate_join(struct gate *g)
{
    if (g->ready || g->stopping) {
        return;
    }
    if (g->said_ms == 0) {
        g->said_ms = g->now.mono_ms;
    }
    say(g);
    gate_router_listen(g);
    for (size_t i = 0; i < g->needed_count; i++) {
        ask(g, i);
    }
    an_out_timer(g->out, g->now.mono_ms + GATE_JOIN_RETRY_MS, GATE_TAG(TAG_JOIN, 0));
}

void
gate_join_answered(struct gate *g, const struct an_msg *msg)
{
    struct gate_needed *needed = &g->needed[GATE_TAG_N(msg->tag)];

    needed->asked = false;
    needed->there |= msg->err != AN_ERR_UNAVAILABLE && msg->err != AN_ERR_TIMEOUT;
    /* A sequencer has no better word for it than that there is nothing to do. */
    needed->ready |= msg->err == AN_OK || msg->err == AN_ERR_ARGUMENT;
    if (g->some_ms == 0 && any_there(g, AN_ROLE_SEQUENCER) &&
        any_there(g, AN_ROLE_STORE)) {
        g->some_ms = g->now.mono_ms;
    }
}

void
gate_joined_if(struct gate *g)
{
    if (!g->ready && needed_joined(g) && routers_joined(g)) {
        g->ready = true;
        an_out_ready(g->out);
    }
}
