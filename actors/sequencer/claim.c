/* Owning slots. Start, an unknown outcome, a slot whose owner is gone: all take the same
 * path, a Claim that raises the epochs. They differ in how long they try:
 *
 * - Our own slots at START, until granted: that is the fail-back, once for each life.
 * - Slots held when an outcome became unknown, until granted or another has claimed them.
 *   The store decides which, by our incarnation.
 * - Slots taken over for those who ask, once. Whoever waits is told UNAVAILABLE and the
 *   slot is not ours again, even if the topology says so: were we to go on, the claim
 *   could come through much later and fence one who has served the slot since. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 2000 };

static bool
claiming(const struct seq *s, const struct seq_link *link, uint16_t slot)
{
    return s->topology->slot_store[slot] == link->index &&
           s->slots[slot].state == SEQ_SLOT_CLAIMING;
}

void
seq_claim(struct seq *s, struct seq_link *link, struct an_outbox *out)
{
    Anser__Bus__Claim claim = ANSER__BUS__CLAIM__INIT;
    struct an_addr store = {AN_ROLE_STORE, link->index};
    uint32_t slots[AN_SLOTS], held[AN_SLOTS];

    assert(!link->claiming);
    claim.slots = slots;
    claim.held = held;
    claim.sequencer = s->index;
    claim.incarnation = s->incarnation;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (!claiming(s, link, slot)) {
            continue;
        }
        if (s->slots[slot].how == SEQ_CLAIM_HELD) {
            held[claim.n_held++] = slot;
        } else {
            slots[claim.n_slots++] = slot;
        }
        s->slots[slot].asked = true;
    }
    link->claimed = claim.n_slots + claim.n_held == 0;
    if (link->claimed) {
        return;
    }
    claim.number = ++s->request_number;
    link->claiming = true;
    an_out_ask(out, store, AN_KIND_CLAIM, &claim.base, AN_ASK_MS,
               seq_tag(SEQ_TAG_CLAIM, link->index), 0);
}

void
seq_claim_act(struct seq *s, struct an_outbox *out)
{
    for (uint16_t i = 0; i < s->link_count; i++) {
        struct seq_link *link = &s->links[i];

        /* While stopping only for those who still wait. */
        if (!link->claimed && !link->claiming && !link->claim_timer &&
            (!s->stopping || link->waiting.head != NULL)) {
            seq_claim(s, link, out);
        }
    }
}

void
seq_slot_claiming(struct seq *s, uint16_t slot, enum seq_claim_how how, struct an_now now)
{
    struct seq_slot *own = &s->slots[slot];

    assert(own->state != SEQ_SLOT_CLAIMING);
    own->state = SEQ_SLOT_CLAIMING;
    own->how = how;
    own->err = AN_OK;
    own->asked = own->probing = false;
    own->hops = 0;
    own->since_mono_ms = now.mono_ms;
    seq_link_of(s, slot)->claimed = false;
}

static void
later(struct seq_link *link, struct an_now now, struct an_outbox *out)
{
    if (link->claim_timer) {
        return;
    }
    if (link->claim_backoff_ms == 0) {
        link->claim_backoff_ms = BACKOFF_FIRST_MS;
    }
    link->claim_timer = true;
    an_out_timer(out, now.mono_ms + link->claim_backoff_ms,
                 seq_tag(SEQ_TAG_CLAIM, link->index));
    link->claim_backoff_ms *= 2;
    if (link->claim_backoff_ms > BACKOFF_MAX_MS) {
        link->claim_backoff_ms = BACKOFF_MAX_MS;
    }
}

void
seq_claim_timer(struct seq *s, struct seq_link *link, struct an_outbox *out)
{
    link->claim_timer = false;
    if (!link->claimed && !link->claiming &&
        (!s->stopping || link->waiting.head != NULL)) {
        seq_claim(s, link, out);
    }
}

void
seq_finish_waiting(struct seq *s, struct seq_list *list, enum an_err err,
                   struct an_now now, struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, list);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        seq_finish(s, cmd, (cmd->flags & SEQ_CMD_UNKNOWN) != 0 ? AN_ERR_TIMEOUT : err,
                   now, out);
    }
}

/* Slots that were to be taken over and could not be are their owner's as before. all:
 * also those of which the store has not said anything. */
static void
fall_back(struct seq *s, const struct seq_link *link, bool all)
{
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        struct seq_slot *own = &s->slots[slot];

        if (claiming(s, link, slot) && own->how == SEQ_CLAIM_TAKE &&
            (all || own->err != AN_OK)) {
            own->state = SEQ_SLOT_FOREIGN;
            own->asked = false;
            own->err = AN_OK;
        }
    }
}

/* No attempt will do better. With the only store there is nothing to serve: who started
 * it learns why now, and not when the time for getting ready is over. */
static void
claim_damaged(struct seq *s, const struct seq_link *link, struct an_outbox *out)
{
    static const char words[] =
        "refuses the claim of its slots: a row of theirs is damaged; `anser check` says "
        "which";

    if (!s->ready && s->link_count == 1) {
        an_out_failed(out, AN_ERR_CORRUPT, "store/%u %s", (unsigned)link->index, words);
        return;
    }
    an_out_log(out, AN_LOG_ERROR, 0, "store/%u %s", (unsigned)link->index, words);
}

/* Nobody who waits shall wait for the next attempt. What was in an append may be stored:
 * its sender is told that the outcome is not known. */
static void
claim_failed(struct seq *s, struct seq_link *link, enum an_err err, struct an_now now,
             struct an_outbox *out)
{
    an_out_log(out, AN_LOG_WARN, 0, "claim failed store=%u err=%s", (unsigned)link->index,
               an_err_name(err));
    if (err == AN_ERR_CORRUPT) {
        claim_damaged(s, link, out);
    }
    fall_back(s, link, true);
    seq_finish_waiting(s, &link->waiting, AN_ERR_UNAVAILABLE, now, out);
    later(link, now, out);
}

void
seq_slot_lost(struct seq *s, uint16_t slot, uint32_t owner, struct an_now now)
{
    struct seq_slot *own = &s->slots[slot];

    own->state = SEQ_SLOT_LOST;
    own->owner = (uint16_t)owner;
    own->fresh_mono_ms = now.mono_ms + AN_PROBE_FRESH_MS; /* it has claimed just now */
    s->m.fenced++;
}

static void
slot_claimed(struct seq *s, const Anser__Bus__SlotClaim *claim, struct an_now now)
{
    struct seq_slot *slot = &s->slots[claim->slot];

    if (claim->err == AN_ERR_FENCED && slot->how == SEQ_CLAIM_HELD) {
        if (claim->epoch < slot->epoch) {
            /* A lower epoch than ours fences nobody: the store was put back in time. */
            slot->how = SEQ_CLAIM_OWN;
            slot->asked = false;
        } else {
            seq_slot_lost(s, (uint16_t)claim->slot, claim->owner, now);
        }
        return;
    }
    if (claim->err != AN_OK) {
        slot->err = an_err_known(claim->err) ? (enum an_err)claim->err : AN_ERR_INTERNAL;
        return;
    }
    s->m.takeovers += slot->how == SEQ_CLAIM_TAKE;
    if (slot->how != SEQ_CLAIM_HELD) { /* another may have had it until now */
        slot->held_mono_ms = now.mono_ms;
    }
    slot->state = SEQ_SLOT_OWNED;
    slot->err = AN_OK;
    slot->epoch = claim->epoch;
    s->dedupe.watermark_ms[claim->slot] = claim->dedupe_high_ms;
}

/* How many of the slots asked for were not granted? Others came to need a claim while
 * this one was out. */
static uint32_t
not_granted(struct seq *s, const struct seq_link *link)
{
    uint32_t count = 0;

    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (!claiming(s, link, slot) || !s->slots[slot].asked) {
            continue;
        }
        if (s->slots[slot].err == AN_OK) {
            s->slots[slot].err = AN_ERR_NOT_MINE; /* the store did not name it */
        }
        count++;
    }
    return count;
}

static bool
any_claiming(const struct seq *s, const struct seq_link *link)
{
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (claiming(s, link, slot)) {
            return true;
        }
    }
    return false;
}

struct claim_counts {
    uint32_t granted, refused, lost;
};

static void
count_claim(struct seq *s, const struct seq_link *link, const Anser__Bus__Claimed *done,
            struct claim_counts *counts, struct an_now now)
{
    for (size_t i = 0; i < done->n_slots; i++) {
        const Anser__Bus__SlotClaim *claim = done->slots[i];

        if (claim->slot < AN_SLOTS && claiming(s, link, (uint16_t)claim->slot) &&
            s->slots[claim->slot].asked) {
            slot_claimed(s, claim, now);
            counts->granted += s->slots[claim->slot].state == SEQ_SLOT_OWNED;
            counts->lost += s->slots[claim->slot].state == SEQ_SLOT_LOST;
        }
    }
    counts->refused = not_granted(s, link);
    s->m.claims += counts->granted;
}

void
seq_claim_answered(struct seq *s, struct seq_link *link, const struct an_msg *msg,
                   struct an_now now, struct an_outbox *out)
{
    struct claim_counts counts = {0};

    assert(link->claiming);
    link->claiming = false;
    if (msg->err != AN_OK) {
        claim_failed(s, link, msg->err, now, out);
        return;
    }
    count_claim(s, link, (const Anser__Bus__Claimed *)msg->body, &counts, now);
    an_out_event(out, "slot.claim",
                 "{\"sequencer\":%u,\"store\":%u,\"granted\":%u,\"refused\":%u,"
                 "\"lost\":%u}",
                 (unsigned)s->index, (unsigned)link->index, counts.granted,
                 counts.refused, counts.lost);
    if (counts.refused > 0) {
        an_out_log(out, AN_LOG_ERROR, 0, "claim refused store=%u slots=%u",
                   (unsigned)link->index, counts.refused);
    }
    if (counts.lost > 0) {
        an_out_log(out, AN_LOG_WARN, 0, "slots lost store=%u slots=%u",
                   (unsigned)link->index, counts.lost);
    }
    seq_run_all(s, &link->waiting, now, out);
    fall_back(s, link, false); /* after those who wait have learned why */
    if (counts.refused > 0) {
        later(link, now, out);
        return;
    }
    link->claim_backoff_ms = 0;
    link->claimed = !any_claiming(s, link); /* drained() claims the others */
}

/* ------------------------------------------------------------------ claiming again */

void
seq_recover(struct seq *s, struct seq_link *link, struct seq_list *first,
            struct an_now now, struct an_outbox *out)
{
    bool slots[AN_SLOTS];

    link->suspect = false;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        slots[slot] = s->topology->slot_store[slot] == link->index;
        if (slots[slot] && s->slots[slot].state == SEQ_SLOT_OWNED) {
            seq_slot_claiming(s, slot, SEQ_CLAIM_HELD, now);
        }
    }
    seq_evacuate(s, link, slots, first);
    seq_list_move(first, &link->waiting);
    seq_list_move(&link->waiting, first);
    if (!link->claiming) {
        seq_claim(s, link, out);
    }
}

void
seq_recover_act(struct seq *s, struct an_now now, struct an_outbox *out)
{
    for (uint16_t i = 0; i < s->link_count; i++) {
        struct seq_link *link = &s->links[i];
        struct seq_list none = {.head = NULL};

        if (link->suspect && !link->flying) {
            seq_list_init(&none);
            seq_recover(s, link, &none, now, out);
        }
    }
}
