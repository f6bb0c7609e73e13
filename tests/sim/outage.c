/* One thing goes wrong in an otherwise calm cluster, for a long time: how long do people
 * wait who need not wait for it? Measured at the clients, in virtual time. */
#include "core/slot.h"
#include "core/topology.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"
#include <assert.h>
#include <string.h>

enum {
    OUTAGE_AFTER_MS = 8000, /* everybody is logged in and talks */
    OUTAGE_MS = 30000,      /* longer than anybody waits */
};

static const char *const hows[SIM_OUTAGE_COUNT] = {
    [SIM_OUTAGE_NONE] = "none", [SIM_OUTAGE_KILL] = "kill", [SIM_OUTAGE_PAUSE] = "pause",
    [SIM_OUTAGE_STOP] = "stop", [SIM_OUTAGE_CUT] = "cut",   [SIM_OUTAGE_DEAF] = "deaf",
    [SIM_OUTAGE_MUTE] = "mute",
};

const char *
sim_outage_name(enum sim_outage_how how)
{
    return hows[how];
}

const char *
sim_outage_role(enum an_role role)
{
    return an_role_name(role);
}

bool
sim_outage_parse(struct sim_outage *outage, const char *text)
{
    for (unsigned how = 1; how < SIM_OUTAGE_COUNT; how++) {
        size_t len = strlen(hows[how]);
        if (strncmp(text, hows[how], len) != 0 || text[len] != ':') {
            continue;
        }
        for (unsigned role = AN_ROLE_GATE; role < AN_ROLE_API; role++) {
            if (strcmp(text + len + 1, an_role_name(role)) == 0) {
                *outage =
                    (struct sim_outage){(enum sim_outage_how)how, (enum an_role)role};
                return true;
            }
        }
    }
    return false;
}

/* The plan of a cluster in which nothing else happens. */
void
sim_outage_plan(struct sim *sim)
{
    struct sim_plan *plan = &sim->plan;

    if (sim->options.outage.how == SIM_OUTAGE_NONE) {
        return;
    }
    assert(plan->cluster && plan->level == 0);
    plan->stores = 2;
    plan->standby = true;
    plan->by_host = plan->owners_differ = plan->stranger = false;
}

static unsigned
victim(const struct sim *sim)
{
    struct an_addr addr = {(uint8_t)sim->options.outage.role, 0};

    return sim->actor[sim_actor_find(sim, addr)].process;
}

static void
begin(struct sim *sim, void *arg, uint64_t number)
{
    unsigned process = victim(sim);
    uint32_t it = 1u << process;
    uint64_t until_us = sim->now_us + OUTAGE_MS * SIM_MS;

    (void)arg;
    (void)number;
    sim_trace(sim, "the outage of %s begins", sim->process[process].name);
    sim->outage_us = sim->now_us;
    switch (sim->options.outage.how) {
    case SIM_OUTAGE_KILL:
        sim_kill(sim, process, false, OUTAGE_MS);
        break;
    case SIM_OUTAGE_PAUSE:
        sim->process[process].paused_until_us = until_us;
        break;
    case SIM_OUTAGE_STOP:
        sim_stop(sim, process);
        break;
    case SIM_OUTAGE_CUT:
        sim_cut(sim, it, ~it, until_us, false);
        sim_cut(sim, ~it, it, until_us, false);
        break;
    case SIM_OUTAGE_DEAF:
        sim_cut(sim, ~it, it, until_us, false);
        break;
    case SIM_OUTAGE_MUTE:
        sim_cut(sim, it, ~it, until_us, false);
        break;
    case SIM_OUTAGE_NONE:
    case SIM_OUTAGE_COUNT:
        break;
    }
    sim->trouble_us = until_us;
}

void
sim_outage_start(struct sim *sim)
{
    if (sim->options.outage.how != SIM_OUTAGE_NONE) {
        sim_at(sim, sim->now_us + OUTAGE_AFTER_MS * SIM_MS, begin, NULL, 0);
    }
}

/* ------------------------------------------------------------------ how long */

static bool
is_away(const struct sim *sim, uint16_t slot)
{
    return sim->options.outage.role == AN_ROLE_STORE &&
           sim->topology->slot_store[slot] == 0;
}

static bool
counts(const struct sim *sim, const struct sim_sent *sent, unsigned user)
{
    uint64_t from = SIM_USER_KEY + sent->from;
    struct an_conv conv = an_conv_direct(from, SIM_USER_KEY + sent->to);

    return sim->options.outage.how != SIM_OUTAGE_NONE &&
           !is_away(sim, an_slot_conv(&conv)) &&
           !is_away(sim, an_slot_user(SIM_USER_KEY + user));
}

/* Did some of the waiting happen in the outage? */
static bool
overlaps(const struct sim *sim, uint64_t from_us)
{
    return sim->outage_us != 0 && from_us < sim->outage_us + OUTAGE_MS * SIM_MS;
}

static void
waited(const struct sim *sim, struct sim_waits *waits, uint64_t from_us)
{
    if (waits != NULL) {
        waits->ms =
            sim_grow(waits->ms, &waits->cap, waits->count + 1, sizeof(*waits->ms));
        waits->ms[waits->count++] = (uint32_t)((sim->now_us - from_us) / SIM_MS);
    }
}

void
sim_outage_acked(struct sim *sim, struct sim_sent *sent)
{
    bool first = sent->acked_us == 0;

    sent->acked_us = sim->now_us;
    if (first && overlaps(sim, sent->written_us) && counts(sim, sent, sent->from)) {
        waited(sim, sim->options.acks, sent->written_us);
        sim_trace(sim, "message %llu waited %llu ms for its ack",
                  (unsigned long long)sent->number,
                  (unsigned long long)(sim->now_us - sent->written_us) / SIM_MS);
    }
}

void
sim_outage_seen(struct sim *sim, const struct sim_sent *sent, unsigned user,
                uint64_t on_since_us)
{
    if (sent->acked_us != 0 && on_since_us < sent->acked_us &&
        overlaps(sim, sent->acked_us) && counts(sim, sent, user)) {
        waited(sim, sim->options.sights, sent->acked_us);
        sim_trace(sim, "message %llu came %llu ms after its ack",
                  (unsigned long long)sent->number,
                  (unsigned long long)(sim->now_us - sent->acked_us) / SIM_MS);
    }
}
