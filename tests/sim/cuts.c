/* Partitions: nothing passes from some processes to others, one way or both, for a moment
 * or for longer than anybody waits. What is sent meanwhile is lost, or held back and
 * delivered late, as a transport does that sends again. After a while both sides may
 * notice: their connections break and asks end at once. */
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stdlib.h>

enum {
    SHORT_MS_MAX = 1500,  /* within every budget */
    LONG_MS_MIN = 6000,   /* above AN_ASK_MS, AN_PROBE_MS, AN_CLAIM_PATIENCE_MS */
    LONG_MS_MAX = 40000,  /* above AN_IDLE_MS and what a client waits */
    NOTICE_MS_MAX = 4000, /* until the connections are known to be broken */
};
_Static_assert(LONG_MS_MIN > AN_ASK_MS && LONG_MS_MIN > AN_CLAIM_PATIENCE_MS,
               "longer than anybody waits");

static bool
is_active(const struct sim *sim, const struct sim_cut *cut)
{
    return cut->until_us > sim->now_us;
}

const struct sim_cut *
sim_cut_from_to(const struct sim *sim, unsigned from, unsigned to)
{
    const struct sim_cut *found = NULL;

    for (unsigned i = 0; i < SIM_CUTS_MAX && from != to; i++) {
        const struct sim_cut *cut = &sim->cut[i];
        if (is_active(sim, cut) && (cut->from & 1u << from) != 0 &&
            (cut->to & 1u << to) != 0 &&
            (found == NULL || found->until_us < cut->until_us)) {
            found = cut;
        }
    }
    return found;
}

bool
sim_cut_noticed(const struct sim *sim, unsigned a, unsigned b)
{
    const struct sim_cut *there = sim_cut_from_to(sim, a, b);
    const struct sim_cut *back = sim_cut_from_to(sim, b, a);

    return (there != NULL && there->noticed) || (back != NULL && back->noticed);
}

static struct sim_cut *
cut_free(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CUTS_MAX; i++) {
        if (!is_active(sim, &sim->cut[i])) {
            return &sim->cut[i];
        }
    }
    return NULL;
}

void
sim_cut(struct sim *sim, uint32_t from, uint32_t to, uint64_t until_us, bool held)
{
    struct sim_cut *cut = cut_free(sim);

    if (cut == NULL) {
        return;
    }
    *cut = (struct sim_cut){.from = from, .to = to, .until_us = until_us, .held = held};
    if (sim->trouble_us < until_us) {
        sim->trouble_us = until_us;
    }
}

/* The transport's own clock ran out on both sides. */
static void
notice(struct sim *sim, void *arg, uint64_t processes)
{
    uint32_t from = (uint32_t)(processes >> 32), to = (uint32_t)processes;
    bool any = false;

    (void)arg;
    for (unsigned i = 0; i < SIM_CUTS_MAX; i++) {
        struct sim_cut *cut = &sim->cut[i];
        if (is_active(sim, cut) && cut->from == from && cut->to == to) {
            cut->noticed = true;
            any = true;
        }
    }
    for (unsigned a = 0; a < sim->process_count && any; a++) {
        for (unsigned b = 0; b < sim->process_count; b++) {
            if ((from & 1u << a) != 0 && (to & 1u << b) != 0 && a != b) {
                sim->counts[SIM_CUT_NOTICED]++;
                sim_net_processes_reset(sim, a, b);
            }
        }
    }
}

static void
hit(struct sim *sim, uint32_t a, uint32_t b, const char *what)
{
    bool both = an_rng_below(&sim->rng, 2) == 0;
    bool is_long = an_rng_below(&sim->rng, 3) == 0;
    bool held = an_rng_below(&sim->rng, 2) == 0;
    uint64_t ms = is_long ? sim_between(sim, LONG_MS_MIN, LONG_MS_MAX)
                          : sim_between(sim, 30, SHORT_MS_MAX);
    uint64_t until_us = sim->now_us + ms * SIM_MS;

    sim->counts[both ? SIM_CUT_BOTH_WAYS : SIM_CUT_ONE_WAY]++;
    sim->counts[SIM_CUT_LONG] += is_long;
    sim_trace(sim, "cut between %s %x and %x, %s, %s, for %llu ms", what, (unsigned)a,
              (unsigned)b, both ? "both ways" : "one way", held ? "held" : "lost",
              (unsigned long long)ms);
    sim_cut(sim, a, b, until_us, held);
    if (both) {
        sim_cut(sim, b, a, until_us, held);
    }
    if (is_long && an_rng_below(&sim->rng, 3) > 0) {
        sim_at(sim, sim->now_us + sim_between(sim, 100, NOTICE_MS_MAX) * SIM_MS, notice,
               NULL, (uint64_t)a << 32 | b);
    }
}

void
sim_cut_hit(struct sim *sim)
{
    unsigned a = (unsigned)an_rng_below(&sim->rng, sim->process_count);
    unsigned b = (unsigned)an_rng_below(&sim->rng, sim->process_count);

    if (a != b) {
        hit(sim, 1u << a, 1u << b, "processes");
    }
}

static uint32_t
host_processes(const struct sim *sim, unsigned host)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < sim->process_count; i++) {
        bits |= sim->process[i].host == host ? 1u << i : 0;
    }
    return bits;
}

void
sim_cut_hit_host(struct sim *sim)
{
    unsigned a = (unsigned)an_rng_below(&sim->rng, SIM_HOSTS_MAX);
    unsigned b =
        (a + 1 + (unsigned)an_rng_below(&sim->rng, SIM_HOSTS_MAX - 1)) % SIM_HOSTS_MAX;
    uint32_t others = host_processes(sim, b);

    if (an_rng_below(&sim->rng, 3) == 0) { /* from everybody */
        others = ~host_processes(sim, a);
    }
    sim->counts[SIM_CUT_HOST]++;
    hit(sim, host_processes(sim, a), others, "hosts");
}
