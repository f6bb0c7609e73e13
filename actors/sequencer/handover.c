/* Stopping, and taking over from one that stops. What was taken on is brought to its end
 * first; commands that come meanwhile wait (the other candidate would be told that we
 * still have the slots). Then each slot's other candidate is asked to claim it, and those
 * that waited are sent there. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>

/* ------------------------------------------------------------------ giving away */

static bool
heir_of(const struct seq *s, uint16_t slot)
{
    return seq_candidate(s, slot) && seq_slot_held(&s->slots[slot]) &&
           seq_other_candidate(s, slot) != s->index;
}

void
seq_stop(struct seq *s, struct an_now now, struct an_outbox *out)
{
    s->stopping = true;
    s->stop_mono_ms = now.mono_ms + AN_HANDOVER_MS;
    for (uint16_t i = 0; i < s->link_count; i++) {
        struct seq_link *link = &s->links[i];

        seq_finish_waiting(s, &link->waiting, AN_ERR_SHUTTING_DOWN, now, out);
        if (link->dirty != NULL) {
            link->dirty_due_mono_ms = now.mono_ms;
        }
    }
    for (uint16_t i = 0; i < s->peer_count; i++) {
        seq_finish_all(s, &s->peers[i].parked, AN_ERR_SHUTTING_DOWN, now, out);
    }
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        s->heirs |= heir_of(s, slot);
    }
    s->refusing = !s->heirs;
    if (s->heirs) {
        an_out_timer(out, s->stop_mono_ms, seq_tag(SEQ_TAG_STOP, 0));
    }
}

void
seq_late(struct seq *s, struct seq_cmd *cmd, struct an_now now, struct an_outbox *out)
{
    if (s->parting) {
        seq_run(s, cmd, now, out);
        return;
    }
    seq_list_push(&s->late, cmd);
    s->late_count++;
}

/* Finishing takes too long for those who came since. */
void
seq_stop_timer(struct seq *s, struct an_now now, struct an_outbox *out)
{
    s->late_count = 0;
    s->refusing = true;
    seq_finish_all(s, &s->late, AN_ERR_SHUTTING_DOWN, now, out);
}

static void
give(struct seq *s, uint16_t heir, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__Handover handover = ANSER__BUS__HANDOVER__INIT;
    struct an_addr peer = {AN_ROLE_SEQUENCER, heir};
    uint32_t slots[AN_SLOTS], budget = SEQ_HANDOVER_MIN_MS;

    handover.slots = slots;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        struct seq_slot *own = &s->slots[slot];

        if (!heir_of(s, slot) || seq_other_candidate(s, slot) != heir) {
            continue;
        }
        if (own->state == SEQ_SLOT_OWNED) {
            slots[handover.n_slots++] = slot;
        }
        own->state = SEQ_SLOT_LOST;
        own->owner = heir;
        own->left = true;
    }
    if (handover.n_slots == 0) {
        return;
    }
    if (s->stop_mono_ms > now.mono_ms + budget) {
        budget = (uint32_t)(s->stop_mono_ms - now.mono_ms);
    }
    s->peers[heir].handing = true;
    an_out_ask(out, peer, AN_KIND_HANDOVER, &handover.base, budget,
               seq_tag(SEQ_TAG_HANDOVER, heir), 0);
}

void
seq_handover_answered(struct seq *s, uint32_t index, const struct an_msg *msg,
                      struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__HandedOver *done = (const Anser__Bus__HandedOver *)msg->body;
    uint32_t taken = 0;

    (void)now;
    assert(s->peers[index].handing);
    s->peers[index].handing = false;
    for (size_t i = 0; msg->err == AN_OK && i < done->n_slots; i++) {
        taken += done->slots[i]->holding == ANSER__BUS__HOLDING__HOLDING_OWNED;
    }
    s->m.handovers += taken;
    an_out_log(out, AN_LOG_INFO, 0, "slots given to=sequencer/%u slots=%u err=%s",
               (unsigned)index, (unsigned)taken, an_err_name(msg->err));
}

static bool
in_flight(const struct seq *s)
{
    for (uint16_t i = 0; i < s->link_count; i++) {
        if (s->links[i].claiming) {
            return true; /* it would fence the one who is given the slots */
        }
    }
    return false;
}

static void
part(struct seq *s, struct an_now now, struct an_outbox *out)
{
    s->parting = true;
    for (uint16_t i = 0; i < s->peer_count; i++) {
        give(s, i, now, out);
    }
    s->late_count = 0;
    seq_run_all(s, &s->late, now, out);
}

static bool
handing(const struct seq *s)
{
    for (uint16_t i = 0; i < s->peer_count; i++) {
        if (s->peers[i].handing) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ being given */

static void
answer_handover(struct seq *s, struct an_msg *msg, struct an_outbox *out)
{
    const Anser__Bus__Handover *in = (const Anser__Bus__Handover *)msg->body;
    Anser__Bus__HandedOver done = ANSER__BUS__HANDED_OVER__INIT;
    struct seq_scratch *x = s->scratch;

    for (size_t i = 0; i < in->n_slots; i++) {
        const struct seq_slot *slot = &s->slots[in->slots[i]];
        Anser__Bus__SlotState *state = &x->states[i];

        anser__bus__slot_state__init(state);
        state->slot = in->slots[i];
        state->owner = slot->owner;
        if (slot->state == SEQ_SLOT_OWNED) {
            state->holding = ANSER__BUS__HOLDING__HOLDING_OWNED;
            state->owner = s->index;
        }
        x->state_list[i] = state;
    }
    done.slots = x->state_list;
    done.n_slots = in->n_slots;
    an_out_answer(out, msg, AN_OK, &done.base);
}

/* Has the claim ended for all of its slots? */
static bool
ended(const struct seq *s, const struct an_msg *msg)
{
    const Anser__Bus__Handover *in = (const Anser__Bus__Handover *)msg->body;

    for (size_t i = 0; i < in->n_slots; i++) {
        if (s->slots[in->slots[i]].state == SEQ_SLOT_CLAIMING) {
            return false;
        }
    }
    return true;
}

static void
answer_handovers(struct seq *s, struct an_now now, struct an_outbox *out)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->handover_count; i++) {
        struct an_msg *msg = s->handovers[i];

        if (!ended(s, msg) && !s->stopping && !an_msg_expired(msg, now)) {
            s->handovers[kept++] = msg;
            continue;
        }
        answer_handover(s, msg, out);
        an_msg_release(msg);
    }
    s->handover_count = kept;
}

/* The giver's word counts, whomever we believed to be the owner. */
void
seq_handover(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Handover *in = (const Anser__Bus__Handover *)msg->body;
    bool ok = in->n_slots <= AN_SLOTS;

    for (size_t i = 0; ok && i < in->n_slots; i++) {
        ok = in->slots[i] < AN_SLOTS;
    }
    if (!ok || s->handover_count == SEQ_HANDOVERS_MAX) {
        an_out_answer(out, msg, ok ? AN_ERR_BUSY : AN_ERR_ARGUMENT, NULL);
        return;
    }
    for (size_t i = 0; !s->stopping && i < in->n_slots; i++) {
        struct seq_slot *slot = &s->slots[in->slots[i]];

        if (seq_candidate(s, (uint16_t)in->slots[i]) && !seq_slot_held(slot)) {
            slot->owner = msg->from.index;
            seq_slot_claiming(s, (uint16_t)in->slots[i], SEQ_CLAIM_TAKE, now);
        }
    }
    s->handovers[s->handover_count++] = an_msg_hold(msg);
    for (uint16_t i = 0; i < s->peer_count; i++) {
        seq_run_all(s, &s->peers[i].parked, now, out); /* they wait for the claim now */
    }
}

void
seq_stop_act(struct seq *s, struct an_now now, struct an_outbox *out)
{
    answer_handovers(s, now, out);
    if (!s->stopping || s->stopped) {
        return;
    }
    if (!s->parting && s->m.pending == s->late_count && !(s->heirs && in_flight(s))) {
        part(s, now, out);
    }
    if (s->parting && s->m.pending == 0 && !handing(s)) {
        s->stopped = true;
        an_out_stopped(out);
    }
}
