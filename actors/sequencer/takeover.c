/* Slots that another sequencer has. Gates believe the topology, or what they were last
 * told; so commands come here for slots that are not ours. Who may have a slot (its owner
 * by the topology, and the standby) then finds out whether the one it believes to be the
 * owner is there, and takes over when it is not:
 *
 *   believed alive a moment ago     MOVED
 *   otherwise                       Probe; the commands are parked with the peer
 *     OWNED                         MOVED
 *     NONE, another has it          believe that; ask it, not without end
 *     LEFT, NONE (I have it?), dead claim every slot of its that may be ours, then run
 * them
 *
 * Nothing here decides who writes: that is the store's epoch. Two who both find the other
 * gone both claim, and the later claim counts. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>

uint16_t
seq_other_candidate(const struct seq *s, uint16_t slot)
{
    return s->topology->slot_sequencer[slot] == s->index
               ? s->topology->slot_standby[slot]
               : s->topology->slot_sequencer[slot];
}

bool
seq_candidate(const struct seq *s, uint16_t slot)
{
    return s->topology->slot_sequencer[slot] == s->index ||
           s->topology->slot_standby[slot] == s->index;
}

static bool
believed_of(const struct seq *s, uint16_t slot, uint16_t owner)
{
    return !seq_slot_held(&s->slots[slot]) && s->slots[slot].owner == owner &&
           seq_candidate(s, slot);
}

/* ------------------------------------------------------------------ asking the owner */

static void
send_probe(struct seq *s, uint16_t owner, struct an_outbox *out)
{
    Anser__Bus__Probe probe = ANSER__BUS__PROBE__INIT;
    struct an_addr peer = {AN_ROLE_SEQUENCER, owner};
    uint32_t slots[AN_SLOTS];

    assert(owner != s->index && owner < s->peer_count);
    if (s->peers[owner].probing) {
        return; /* what came since is asked when this one has ended */
    }
    probe.slots = slots;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (believed_of(s, slot, owner) && s->slots[slot].probing) {
            s->slots[slot].asked = true;
            slots[probe.n_slots++] = slot;
        }
    }
    if (probe.n_slots == 0) {
        return;
    }
    s->peers[owner].probing = true;
    s->m.probes++;
    an_out_ask(out, peer, AN_KIND_PROBE, &probe.base, AN_PROBE_MS,
               seq_tag(SEQ_TAG_PROBE, owner), 0);
}

/* One question about all that is believed to be its: if it is gone, all are needed. */
static void
begin_probe(struct seq *s, uint16_t owner, struct an_now now, struct an_outbox *out)
{
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        struct seq_slot *own = &s->slots[slot];

        if (believed_of(s, slot, owner) && !own->probing &&
            now.mono_ms >= own->fresh_mono_ms) {
            own->probing = true;
            own->asked = false;
        }
    }
    send_probe(s, owner, out);
}

static void
take(struct seq *s, uint16_t slot, struct an_now now)
{
    s->slots[slot].probing = false;
    seq_slot_claiming(s, slot, SEQ_CLAIM_TAKE, now);
}

/* The owner is ourself, in an earlier life, or not of this topology: nobody to be asked.
 */
static void
take_all(struct seq *s, uint16_t owner, struct an_now now)
{
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (believed_of(s, slot, owner)) {
            take(s, slot, now);
        }
    }
}

static void
moved(struct seq *s, struct seq_cmd *cmd, struct an_now now, struct an_outbox *out)
{
    cmd->owner = s->slots[cmd->slot].owner;
    seq_finish(s, cmd, AN_ERR_MOVED, now, out);
}

void
seq_not_ours(struct seq *s, struct seq_cmd *cmd, struct an_now now, struct an_outbox *out)
{
    struct seq_slot *slot = &s->slots[cmd->slot];

    if (!seq_candidate(s, cmd->slot) || slot->left) {
        moved(s, cmd, now, out);
        return;
    }
    if (s->stopping) {
        seq_finish(s, cmd, AN_ERR_SHUTTING_DOWN, now, out);
        return;
    }
    if (!slot->probing && now.mono_ms < slot->fresh_mono_ms) {
        moved(s, cmd, now, out);
        return;
    }
    if (slot->owner == s->index || slot->owner >= s->peer_count) {
        take_all(s, slot->owner, now);
        seq_run(s, cmd, now, out);
        return;
    }
    if (!slot->probing) {
        begin_probe(s, slot->owner, now, out);
    }
    seq_list_push(&s->peers[slot->owner].parked, cmd);
}

/* ------------------------------------------------------------------ what it says */

static void
believe(struct seq *s, uint16_t number, const struct seq_peer *peer,
        const Anser__Bus__SlotState *state, struct an_now now)
{
    struct seq_slot *slot = &s->slots[number];
    bool itself;

    if (state->holding == ANSER__BUS__HOLDING__HOLDING_OWNED) {
        slot->fresh_mono_ms = now.mono_ms + AN_PROBE_FRESH_MS;
        slot->hops = 0;
        return;
    }
    itself = state->owner == (uint32_t)(peer - s->peers);
    if (state->holding == ANSER__BUS__HOLDING__HOLDING_LEFT || itself ||
        state->owner == s->index || state->owner >= s->peer_count) {
        take(s, number, now);
        return;
    }
    slot->owner = (uint16_t)state->owner;
    if (++slot->hops > SEQ_PROBE_HOPS_MAX) {
        slot->hops = 0; /* whoever asks shall find out there */
        slot->fresh_mono_ms = now.mono_ms + AN_PROBE_FRESH_MS;
    }
}

/* Could the peer not be reached, or does it not answer? Any other error is an answer. */
static bool
gone(enum an_err err)
{
    return err == AN_ERR_UNAVAILABLE || err == AN_ERR_TIMEOUT || err == AN_ERR_CONNECTION;
}

/* While everything starts, a peer that was never reached may only not be connected yet:
 * to take its slots would fence it, and they would stay here. */
static bool
too_early(const struct seq *s, const struct seq_peer *peer, enum an_err err,
          struct an_now now)
{
    return err == AN_ERR_UNAVAILABLE && !peer->reached &&
           now.mono_ms < s->start_mono_ms + AN_CLAIM_PATIENCE_MS;
}

/* The probe is over, and nothing is known: those who wait may ask again. */
static void
forget_probe(struct seq *s, uint32_t index, struct an_now now, struct an_outbox *out)
{
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (believed_of(s, slot, (uint16_t)index)) {
            s->slots[slot].probing = s->slots[slot].asked = false;
        }
    }
    seq_finish_all(s, &s->peers[index].parked, AN_ERR_UNAVAILABLE, now, out);
}

void
seq_probe_answered(struct seq *s, uint32_t index, const struct an_msg *msg,
                   struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Probed *probed = (const Anser__Bus__Probed *)msg->body;
    const Anser__Bus__SlotState *said[AN_SLOTS] = {NULL};
    Anser__Bus__SlotState none = ANSER__BUS__SLOT_STATE__INIT;
    struct seq_peer *peer = &s->peers[index];
    uint32_t taken = 0;

    assert(peer->probing);
    peer->probing = false;
    if (too_early(s, peer, msg->err, now)) {
        forget_probe(s, index, now, out);
        return;
    }
    peer->reached = peer->reached || !gone(msg->err);
    none.holding = gone(msg->err) ? ANSER__BUS__HOLDING__HOLDING_LEFT
                                  : ANSER__BUS__HOLDING__HOLDING_OWNED;
    for (size_t i = 0; msg->err == AN_OK && i < probed->n_slots; i++) {
        if (probed->slots[i]->slot < AN_SLOTS) {
            said[probed->slots[i]->slot] = probed->slots[i];
        }
    }
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        struct seq_slot *own = &s->slots[slot];

        if (!believed_of(s, slot, (uint16_t)index) || !own->probing || !own->asked) {
            continue; /* it was settled otherwise meanwhile, or not asked yet */
        }
        own->probing = own->asked = false;
        if (!s->stopping) {
            believe(s, slot, peer, said[slot] != NULL ? said[slot] : &none, now);
            taken += own->state == SEQ_SLOT_CLAIMING;
        }
    }
    if (taken > 0) {
        an_out_log(out, AN_LOG_WARN, 0, "taking over from=sequencer/%u slots=%u why=%s",
                   (unsigned)index, (unsigned)taken,
                   msg->err == AN_OK ? "left" : an_err_name(msg->err));
    }
    send_probe(s, (uint16_t)index, out);
    seq_run_all(s, &peer->parked, now, out);
}

/* ------------------------------------------------------------------ being asked */

/* Both ask each other: one of them is to have it, and both know which. */
static bool
goes_first(const struct seq *s, uint16_t slot, uint16_t other)
{
    uint16_t first = s->topology->slot_sequencer[slot];

    return first == s->index || (first != other && s->index < other);
}

static void
say(const struct seq *s, uint16_t number, uint16_t to, Anser__Bus__SlotState *state,
    struct an_now now)
{
    const struct seq_slot *slot = &s->slots[number];
    bool patient = now.mono_ms <= slot->since_mono_ms + AN_CLAIM_PATIENCE_MS;

    anser__bus__slot_state__init(state);
    state->slot = number;
    state->owner = slot->owner;
    switch (slot->state) {
    case SEQ_SLOT_OWNED:
        state->holding = ANSER__BUS__HOLDING__HOLDING_OWNED;
        state->owner = s->index;
        return;
    case SEQ_SLOT_CLAIMING:
        state->holding = patient && !s->stopping ? ANSER__BUS__HOLDING__HOLDING_OWNED
                                                 : ANSER__BUS__HOLDING__HOLDING_LEFT;
        state->owner = s->index;
        return;
    case SEQ_SLOT_FOREIGN:
    case SEQ_SLOT_LOST:
        break;
    }
    if (slot->left) {
        state->holding = ANSER__BUS__HOLDING__HOLDING_LEFT;
    } else if (slot->probing && slot->owner == to && !s->stopping &&
               goes_first(s, number, to)) {
        state->holding = ANSER__BUS__HOLDING__HOLDING_OWNED; /* as good as */
        state->owner = s->index;
    }
}

void
seq_probe(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Probe *probe = (const Anser__Bus__Probe *)msg->body;
    Anser__Bus__Probed done = ANSER__BUS__PROBED__INIT;
    struct seq_scratch *x = s->scratch;

    if (probe->n_slots > AN_SLOTS) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    for (size_t i = 0; i < probe->n_slots; i++) {
        if (probe->slots[i] < AN_SLOTS) {
            say(s, (uint16_t)probe->slots[i], msg->from.index, &x->states[done.n_slots],
                now);
            x->state_list[done.n_slots] = &x->states[done.n_slots];
            done.n_slots++;
        }
    }
    done.slots = x->state_list;
    an_out_answer(out, msg, AN_OK, &done.base);
}
