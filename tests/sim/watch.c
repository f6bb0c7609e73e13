/* What passes on the bus, seen from outside: that no two sequencers ever get an append
 * accepted for a slot with the same epoch, that epochs only rise, and how often slots
 * changed hands. Requests are noted as their sender made them, before anything is
 * planted in them; answers as the store gave them, whether or not they arrive. */
#include "core/topology.h"
#include "proto/bus.pb-c.h"
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stdlib.h>

struct noted_slot {
    uint16_t slot;
    uint64_t epoch;
};

struct noted { /* a request that waits for nothing: answers of the dead count too */
    uint64_t ask;
    unsigned asker;
    uint32_t life; /* of its process */
    size_t count;
    struct noted_slot *slots;
};

struct watched_slot {
    uint64_t accepted;    /* the epoch of the last append that was accepted */
    unsigned accepted_of; /* and whose it was */
    uint32_t accepted_life;
    uint64_t claimed; /* the last epoch given */
    unsigned claimed_by;
    bool claimed_ever;
};

struct sim_watch {
    struct noted *noted; /* appends, by rising ask */
    size_t count, cap;
    struct watched_slot slot[AN_SLOTS];
};

static struct sim_watch *
watch_of(struct sim *sim)
{
    if (sim->watch == NULL) {
        sim->watch = sim_alloc(sizeof(*sim->watch));
    }
    return sim->watch;
}

void
sim_watch_fini(struct sim *sim)
{
    if (sim->watch == NULL) {
        return;
    }
    for (size_t i = 0; i < sim->watch->count; i++) {
        free(sim->watch->noted[i].slots);
    }
    free(sim->watch->noted);
    free(sim->watch);
}

void
sim_watch_request(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
                  const uint8_t *body, size_t len)
{
    struct sim_watch *watch = watch_of(sim);
    Anser__Bus__Append *append;
    struct noted *noted;

    if (kind != AN_KIND_APPEND) {
        return;
    }
    append = anser__bus__append__unpack(NULL, len, body);
    assert(append != NULL);
    watch->noted =
        sim_grow(watch->noted, &watch->cap, watch->count + 1, sizeof(*watch->noted));
    noted = &watch->noted[watch->count++];
    *noted = (struct noted){ask, asker, sim_life(sim, asker), append->n_slots,
                            sim_alloc(append->n_slots * sizeof(*noted->slots))};
    for (size_t i = 0; i < append->n_slots; i++) {
        noted->slots[i] = (struct noted_slot){(uint16_t)append->slots[i]->slot,
                                              append->slots[i]->epoch};
    }
    anser__bus__append__free_unpacked(append, NULL);
}

static const struct noted *
noted_find(const struct sim_watch *watch, uint64_t ask)
{
    size_t low = 0, high = watch->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (watch->noted[middle].ask < ask) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < watch->count && watch->noted[low].ask == ask ? &watch->noted[low] : NULL;
}

/* ------------------------------------------------------------------ appends */

static void
accepted(struct sim *sim, const struct noted *noted, uint16_t slot, uint64_t epoch)
{
    struct watched_slot *w = &watch_of(sim)->slot[slot];

    if (epoch < w->accepted || epoch < w->claimed) {
        sim_fail(
            sim,
            "slot %u: the store accepted an append of epoch %llu from %s/%u after "
            "epoch %llu",
            slot, (unsigned long long)epoch,
            an_role_name(sim->actor[noted->asker].addr.role),
            sim->actor[noted->asker].addr.index,
            (unsigned long long)(w->claimed > w->accepted ? w->claimed : w->accepted));
        return;
    }
    if (epoch == w->accepted &&
        (noted->asker != w->accepted_of || noted->life != w->accepted_life)) {
        sim_fail(sim, "slot %u: two sequencers have appends accepted with epoch %llu",
                 slot, (unsigned long long)epoch);
        return;
    }
    w->accepted = epoch;
    w->accepted_of = noted->asker;
    w->accepted_life = noted->life;
}

static void
appended(struct sim *sim, uint64_t ask, const Anser__Bus__Appended *body)
{
    const struct noted *noted = noted_find(watch_of(sim), ask);

    assert(noted != NULL);
    for (size_t i = 0; i < body->n_slots; i++) {
        const Anser__Bus__AppendedSlot *slot = body->slots[i];
        sim->counts[SIM_SAW_FENCED] += slot->err == AN_ERR_FENCED;
        if (slot->err == AN_OK && i < noted->count) {
            accepted(sim, noted, (uint16_t)slot->slot, noted->slots[i].epoch);
        }
    }
}

/* ------------------------------------------------------------------ claims */

static void
claimed(struct sim *sim, unsigned asker, const Anser__Bus__Claimed *body)
{
    unsigned by = sim->actor[asker].addr.index;
    bool taken = false, back = false;

    for (size_t i = 0; i < body->n_slots; i++) {
        const Anser__Bus__SlotClaim *slot = body->slots[i];
        struct watched_slot *w;
        if (slot->err != AN_OK) {
            continue;
        }
        w = &watch_of(sim)->slot[slot->slot];
        if (slot->epoch <= w->claimed || slot->epoch <= w->accepted) {
            sim_fail(sim, "slot %u: epoch %llu is given to a claim after epoch %llu",
                     slot->slot, (unsigned long long)slot->epoch,
                     (unsigned long long)w->claimed);
            return;
        }
        if (w->claimed_ever && w->claimed_by != by && sim->topology != NULL) {
            bool own = sim->topology->slot_sequencer[slot->slot] == by;
            back = back || own;
            taken = taken || !own;
        }
        w->claimed = slot->epoch;
        w->claimed_by = by;
        w->claimed_ever = true;
    }
    sim->counts[SIM_SAW_TAKEOVER] += taken;
    sim->counts[SIM_SAW_FAILBACK] += back;
}

/* ------------------------------------------------------------------ all */

static void
submitted(struct sim *sim, const Anser__Bus__Submitted *body)
{
    for (size_t i = 0; i < body->n_results; i++) {
        sim->counts[SIM_SAW_MOVED] += body->results[i]->err == AN_ERR_MOVED;
    }
}

void
sim_watch_answer(struct sim *sim, unsigned actor, unsigned asker, uint64_t ask,
                 uint16_t kind, const uint8_t *body, size_t len)
{
    ProtobufCMessage *message;

    (void)actor;
    if (kind != AN_KIND_APPENDED && kind != AN_KIND_CLAIMED &&
        kind != AN_KIND_SUBMITTED) {
        return;
    }
    message = protobuf_c_message_unpack(an_kind_row(kind)->body, NULL, len, body);
    assert(message != NULL);
    if (kind == AN_KIND_APPENDED) {
        appended(sim, ask, (const Anser__Bus__Appended *)message);
    } else if (kind == AN_KIND_CLAIMED) {
        claimed(sim, asker, (const Anser__Bus__Claimed *)message);
    } else {
        submitted(sim, (const Anser__Bus__Submitted *)message);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}
