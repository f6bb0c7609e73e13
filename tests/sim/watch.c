/* What passes on the bus, seen from outside: that no two sequencers ever get an append
 * accepted for a slot with the same epoch, that epochs only rise, that nobody takes a
 * slot from another without having asked it; and how often what happened. Appends are
 * noted as their sender made them, claims as they are on the wire, before and behind what
 * is planted; answers as the store gave them, whether or not they arrive. */
#include "core/topology.h"
#include "proto/bus.pb-c.h"
#include "tests/sim/check.h"
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct noted_slot {
    uint16_t slot;
    uint64_t epoch; /* of an append */
    bool taken;     /* by a claim that takes it whoever has it */
};

struct noted_send {
    bool is; /* a Send */
    uint8_t id[AN_CLIENT_MSG_ID_LEN];
};

struct noted { /* a request that waits for nothing: answers of the dead count too */
    uint64_t ask;
    unsigned asker;
    uint32_t life; /* of its process */
    uint64_t incarnation;
    size_t count;
    struct noted_slot *slots;
    size_t send_count; /* of a Submit's commands */
    struct noted_send *sends;
};

/* A sequencer may take a slot from another when it starts, when it was asked to, and when
 * the other did not answer it or said that it has let go: until it knows that it has it.
 */
struct licences {
    uint32_t life;
    bool slot[AN_SLOTS];
};

enum { EPOCHS_MAX = 2048 }; /* far above what a trial reaches */

struct watched_slot {
    uint8_t given[EPOCHS_MAX / 8]; /* epochs granted, a bit for each */
    uint64_t accepted;             /* the epoch of the last append that was accepted */
    unsigned accepted_of;          /* and whose it was */
    uint32_t accepted_life;
    uint64_t claimed; /* the highest epoch given */
    unsigned claimed_by;
    uint64_t incarnation; /* of the claimer */
    bool claimed_ever;
};

struct sim_watch {
    struct noted *noted; /* appends, claims and submits, by rising ask */
    size_t count, cap;
    struct licences licences[SIM_ACTORS_MAX]; /* by actor */
    uint64_t number[SIM_ACTORS_MAX];          /* of its newest request */
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
        free(sim->watch->noted[i].sends);
    }
    free(sim->watch->noted);
    free(sim->watch);
}

static struct noted *
note(struct sim *sim, unsigned asker, uint64_t ask, size_t count)
{
    struct sim_watch *watch = watch_of(sim);
    struct noted *noted;

    watch->noted =
        sim_grow(watch->noted, &watch->cap, watch->count + 1, sizeof(*watch->noted));
    noted = &watch->noted[watch->count++];
    *noted = (struct noted){.ask = ask,
                            .asker = asker,
                            .life = sim_life(sim, asker),
                            .count = count,
                            .slots = sim_alloc(count * sizeof(*noted->slots))};
    return noted;
}

static void
note_append(struct sim *sim, unsigned asker, uint64_t ask, const uint8_t *body,
            size_t len)
{
    Anser__Bus__Append *append = anser__bus__append__unpack(NULL, len, body);
    struct noted *noted;

    assert(append != NULL);
    noted = note(sim, asker, ask, append->n_slots);
    sim->watch->number[asker] = append->number;
    for (size_t i = 0; i < append->n_slots; i++) {
        noted->slots[i].slot = (uint16_t)append->slots[i]->slot;
        noted->slots[i].epoch = append->slots[i]->epoch;
    }
    anser__bus__append__free_unpacked(append, NULL);
}

static void
note_claim(struct sim *sim, unsigned asker, uint64_t ask, const uint8_t *body, size_t len)
{
    Anser__Bus__Claim *claim = anser__bus__claim__unpack(NULL, len, body);
    struct noted *noted;

    assert(claim != NULL);
    noted = note(sim, asker, ask, claim->n_slots);
    noted->incarnation = claim->incarnation;
    sim->watch->number[asker] = claim->number;
    for (size_t i = 0; i < claim->n_slots; i++) {
        noted->slots[i].slot = (uint16_t)claim->slots[i];
        noted->slots[i].taken = true;
    }
    anser__bus__claim__free_unpacked(claim, NULL);
}

static void
note_submit(struct sim *sim, unsigned asker, uint64_t ask, const uint8_t *body,
            size_t len)
{
    Anser__Bus__Submit *submit = anser__bus__submit__unpack(NULL, len, body);
    struct noted *noted;

    assert(submit != NULL);
    noted = note(sim, asker, ask, 0);
    noted->send_count = submit->n_commands;
    noted->sends = sim_alloc(submit->n_commands * sizeof(*noted->sends));
    for (size_t i = 0; i < submit->n_commands; i++) {
        const Anser__Bus__Command *command = submit->commands[i];
        struct noted_send *send = &noted->sends[i];

        send->is = command->what_case == ANSER__BUS__COMMAND__WHAT_SEND &&
                   command->send->client_msg_id.len == sizeof(send->id);
        if (send->is) {
            memcpy(send->id, command->send->client_msg_id.data, sizeof(send->id));
        }
    }
    anser__bus__submit__free_unpacked(submit, NULL);
}

void
sim_watch_request(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
                  const uint8_t *body, size_t len)
{
    if (kind == AN_KIND_APPEND) {
        note_append(sim, asker, ask, body, len);
    } else if (kind == AN_KIND_SUBMIT) {
        note_submit(sim, asker, ask, body, len);
    }
}

void
sim_watch_sent(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
               const uint8_t *body, size_t len)
{
    if (kind == AN_KIND_CLAIM) {
        note_claim(sim, asker, ask, body, len);
    }
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
    sim->counts[SIM_SAW_BLOCKED] += body->n_blocked_stores > 0;
    for (size_t i = 0; i < body->n_slots; i++) {
        const Anser__Bus__AppendedSlot *slot = body->slots[i];
        sim->counts[SIM_SAW_FENCED] += slot->err == AN_ERR_FENCED;
        if (slot->err == AN_OK && i < noted->count) {
            accepted(sim, noted, (uint16_t)slot->slot, noted->slots[i].epoch);
        }
    }
}

/* ------------------------------------------------------------------ claims */

static struct licences *
licences_of(struct sim *sim, unsigned actor)
{
    struct licences *licences = &watch_of(sim)->licences[actor];

    if (licences->life != sim_life(sim, actor)) { /* it has started since */
        licences->life = sim_life(sim, actor);
        memset(licences->slot, true, sizeof(licences->slot));
    }
    return licences;
}

void
sim_watch_handover(struct sim *sim, unsigned actor, const struct an_msg *msg)
{
    const Anser__Bus__Handover *body = (const Anser__Bus__Handover *)msg->body;
    struct licences *licences = licences_of(sim, actor);

    for (size_t i = 0; i < body->n_slots; i++) {
        licences->slot[body->slots[i] % AN_SLOTS] = true;
    }
}

void
sim_watch_probed(struct sim *sim, unsigned actor, const struct an_msg *msg)
{
    const Anser__Bus__Probed *body = (const Anser__Bus__Probed *)msg->body;
    struct licences *licences = licences_of(sim, actor);
    bool away = msg->err != AN_OK;

    sim->counts[SIM_SAW_PROBE]++;
    for (size_t i = 0; !away && i < body->n_slots; i++) {
        away = body->slots[i]->holding != ANSER__BUS__HOLDING__HOLDING_OWNED;
    }
    sim->counts[SIM_SAW_PROBE_AWAY] += away;
    if (away) { /* all that is believed to be the other's is claimed together */
        memset(licences->slot, true, sizeof(licences->slot));
    }
}

void
sim_watch_granted(struct sim *sim, unsigned actor, const struct an_msg *msg)
{
    const Anser__Bus__Claimed *body = (const Anser__Bus__Claimed *)msg->body;
    struct licences *licences = licences_of(sim, actor);

    for (size_t i = 0; msg->err == AN_OK && i < body->n_slots; i++) {
        if (body->slots[i]->err == AN_OK) {
            licences->slot[body->slots[i]->slot % AN_SLOTS] = false;
        }
    }
}

static bool
was_taken(const struct noted *noted, uint32_t slot)
{
    for (size_t i = 0; i < noted->count; i++) {
        if (noted->slots[i].slot == slot) {
            return true;
        }
    }
    return false;
}

/* Notes it; has it been given before? */
static bool
is_given(struct watched_slot *w, uint64_t epoch)
{
    uint8_t *byte = &w->given[epoch % EPOCHS_MAX / 8];
    uint8_t bit = (uint8_t)(1u << epoch % 8);
    bool before = (*byte & bit) != 0;

    *byte |= bit;
    return before;
}

static void
slot_claimed(struct sim *sim, unsigned asker, const struct noted *noted,
             const Anser__Bus__SlotClaim *slot)
{
    struct watched_slot *w = &watch_of(sim)->slot[slot->slot];
    struct licences *licences = licences_of(sim, asker);
    unsigned by = sim->actor[asker].addr.index;
    bool of_another = w->claimed_ever && w->claimed_by != by;

    if (is_given(w, slot->epoch)) {
        sim_fail(sim, "slot %u: epoch %llu is given to two claims", slot->slot,
                 (unsigned long long)slot->epoch);
    } else if (slot->epoch < w->claimed) {
        return; /* the answer to a claim waits for a read: a later one went past it */
    } else if (of_another && was_taken(noted, slot->slot) &&
               noted->life == licences->life && !licences->slot[slot->slot]) {
        sim_fail(sim, "sequencer/%u takes slot %u from sequencer/%u, unasked", by,
                 slot->slot, w->claimed_by);
    }
    w->claimed = slot->epoch;
    w->claimed_by = by;
    w->incarnation = noted->incarnation;
    w->claimed_ever = true;
}

static void
claimed(struct sim *sim, unsigned asker, uint64_t ask, const Anser__Bus__Claimed *body)
{
    const struct noted *noted = noted_find(watch_of(sim), ask);
    unsigned by = sim->actor[asker].addr.index;
    bool taken = false, back = false;

    assert(noted != NULL);
    for (size_t i = 0; i < body->n_slots; i++) {
        const Anser__Bus__SlotClaim *slot = body->slots[i];
        const struct watched_slot *w = &watch_of(sim)->slot[slot->slot];
        bool changes = w->claimed_ever && w->claimed_by != by && sim->topology != NULL;
        if (slot->err != AN_OK) {
            sim->counts[SIM_SAW_HELD_REFUSED] += slot->err == AN_ERR_FENCED;
            continue;
        }
        if (changes && sim->topology->slot_sequencer[slot->slot] == by) {
            back = true;
        } else if (changes) {
            taken = true;
        }
        slot_claimed(sim, asker, noted, slot);
    }
    sim->counts[SIM_SAW_TAKEOVER] += taken;
    sim->counts[SIM_SAW_FAILBACK] += back;
}

struct sim_pass
sim_watch_pass(struct sim *sim, uint32_t slot)
{
    const struct watched_slot *w = &watch_of(sim)->slot[slot];
    struct an_addr addr = {AN_ROLE_SEQUENCER, (uint16_t)w->claimed_by};

    return (struct sim_pass){w->claimed, w->incarnation,
                             watch_of(sim)->number[sim_actor_find(sim, addr)]};
}

bool
sim_watch_is_taken_over(struct sim *sim, uint32_t slot)
{
    const struct watched_slot *w = &watch_of(sim)->slot[slot];

    return sim->topology != NULL && w->claimed_ever &&
           w->claimed_by != sim->topology->slot_sequencer[slot];
}

/* ------------------------------------------------------------------ submits */

static void
submitted(struct sim *sim, uint64_t ask, const Anser__Bus__Submitted *body)
{
    const struct noted *noted = noted_find(watch_of(sim), ask);

    assert(noted != NULL);
    for (size_t i = 0; i < body->n_results; i++) {
        uint32_t err = body->results[i]->err;

        sim->counts[SIM_SAW_MOVED] += err == AN_ERR_MOVED;
        if ((err == AN_ERR_ID_TIME || err == AN_ERR_ID_EXPIRED) &&
            i < noted->send_count && noted->sends[i].is && sim->check != NULL) {
            sim_check_turned_away(sim->check, noted->sends[i].id);
        }
    }
}

/* ------------------------------------------------------------------ counted */

static void
handed_over(struct sim *sim, const Anser__Bus__HandedOver *body)
{
    bool any = false;

    for (size_t i = 0; i < body->n_slots; i++) {
        any = any || body->slots[i]->holding == ANSER__BUS__HOLDING__HOLDING_OWNED;
    }
    sim->counts[SIM_SAW_HANDOVER] += any;
}

static void
forwarded(struct sim *sim, const Anser__Bus__Forwarded *body)
{
    for (size_t i = 0; i < body->n_slots; i++) {
        sim->counts[SIM_SAW_FORWARD] += body->slots[i]->err == AN_OK;
        sim->counts[SIM_SAW_REWIND] += body->slots[i]->err == AN_ERR_REWIND;
    }
}

static void
read_done(struct sim *sim, const Anser__Bus__ReadDone *body)
{
    for (size_t i = 0; i < body->n_answers; i++) {
        sim->counts[SIM_SAW_ELSEWHERE] += body->answers[i]->n_elsewhere > 0;
    }
}

/* ------------------------------------------------------------------ all */

static void
judge(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
      const ProtobufCMessage *message)
{
    switch (kind) {
    case AN_KIND_APPENDED:
        appended(sim, ask, (const Anser__Bus__Appended *)message);
        break;
    case AN_KIND_CLAIMED:
        claimed(sim, asker, ask, (const Anser__Bus__Claimed *)message);
        break;
    case AN_KIND_SUBMITTED:
        submitted(sim, ask, (const Anser__Bus__Submitted *)message);
        break;
    case AN_KIND_HANDED_OVER:
        handed_over(sim, (const Anser__Bus__HandedOver *)message);
        break;
    case AN_KIND_FORWARDED:
        forwarded(sim, (const Anser__Bus__Forwarded *)message);
        break;
    case AN_KIND_READ_DONE:
        read_done(sim, (const Anser__Bus__ReadDone *)message);
        break;
    }
}

void
sim_watch_answer(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
                 const uint8_t *body, size_t len)
{
    static const bool watched[AN_KIND_BUS_COUNT] = {
        [AN_KIND_APPENDED] = true,  [AN_KIND_CLAIMED] = true,
        [AN_KIND_SUBMITTED] = true, [AN_KIND_HANDED_OVER] = true,
        [AN_KIND_FORWARDED] = true, [AN_KIND_READ_DONE] = true,
    };
    ProtobufCMessage *message;

    if (!watched[kind] || (kind == AN_KIND_READ_DONE && !sim->plan.cluster)) {
        return;
    }
    message = protobuf_c_message_unpack(an_kind_row(kind)->body, NULL, len, body);
    assert(message != NULL);
    judge(sim, asker, ask, kind, message);
    protobuf_c_message_free_unpacked(message, NULL);
}
