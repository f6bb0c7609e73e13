/* Owning slots. Start, an unknown outcome, a slot fenced by a stray claim of our own: all
 * take the same path, a Claim that raises the epochs. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 50, BACKOFF_MAX_MS = 2000 };

static bool
ours(const struct seq *s, const struct seq_link *link, uint16_t slot,
     enum seq_slot_state state)
{
    return s->topology->slot_store[slot] == link->index && s->slots[slot].state == state;
}

void
seq_claim(struct seq *s, struct seq_link *link, struct an_outbox *out)
{
    Anser__Bus__Claim claim = ANSER__BUS__CLAIM__INIT;
    struct an_addr store = {AN_ROLE_STORE, link->index};
    uint32_t slots[AN_SLOTS];

    assert(!link->claiming);
    claim.slots = slots;
    claim.sequencer = s->index;
    claim.incarnation = s->incarnation;
    claim.number = ++s->request_number;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (ours(s, link, slot, SEQ_SLOT_CLAIMING)) {
            slots[claim.n_slots++] = slot;
            s->slots[slot].asked = true;
        }
    }
    link->claimed = claim.n_slots == 0;
    if (link->claimed) {
        return;
    }
    link->claiming = true;
    an_out_ask(out, store, AN_KIND_CLAIM, &claim.base, AN_ASK_MS,
               seq_tag(SEQ_TAG_CLAIM, link->index), 0);
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
    if (!link->claimed && !link->claiming) {
        seq_claim(s, link, out);
    }
}

/* Nobody who waits shall wait for the next attempt. What was in an append may be stored:
 * its sender is told that the outcome is not known. */
static void
claim_failed(struct seq *s, struct seq_link *link, enum an_err err, struct an_now now,
             struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    an_out_log(out, AN_LOG_WARN, 0, "claim failed store=%u err=%s", (unsigned)link->index,
               an_err_name(err));
    if (err != AN_ERR_UNAVAILABLE && err != AN_ERR_BUSY) {
        for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
            if (ours(s, link, slot, SEQ_SLOT_CLAIMING)) {
                s->slots[slot].stray = true; /* it may still be carried out */
            }
        }
    }
    seq_list_init(&rest);
    seq_list_move(&rest, &link->waiting);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        seq_finish(s, cmd,
                   (cmd->flags & SEQ_CMD_UNKNOWN) != 0 ? AN_ERR_TIMEOUT
                                                       : AN_ERR_UNAVAILABLE,
                   now, out);
    }
    later(link, now, out);
}

static void
slot_claimed(struct seq *s, const Anser__Bus__SlotClaim *claim)
{
    struct seq_slot *slot = &s->slots[claim->slot];

    if (claim->err != AN_OK) {
        slot->err = an_err_known(claim->err) ? (enum an_err)claim->err : AN_ERR_INTERNAL;
        return;
    }
    slot->state = SEQ_SLOT_OWNED;
    slot->err = AN_OK;
    slot->epoch = claim->epoch;
    s->dedupe.watermark_ms[claim->slot] = claim->dedupe_high_ms;
}

/* How many of the slots asked for were not granted; are there others, that came to need a
 * claim while this one was out? */
static uint32_t
not_granted(struct seq *s, const struct seq_link *link, bool *unasked)
{
    uint32_t count = 0;

    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (!ours(s, link, slot, SEQ_SLOT_CLAIMING)) {
            continue;
        }
        if (!s->slots[slot].asked) {
            *unasked = true;
            continue;
        }
        if (s->slots[slot].err == AN_OK) {
            s->slots[slot].err = AN_ERR_NOT_MINE; /* the store did not name it */
        }
        count++;
    }
    return count;
}

void
seq_claim_answered(struct seq *s, struct seq_link *link, const struct an_msg *msg,
                   struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Claimed *done = (const Anser__Bus__Claimed *)msg->body;
    uint32_t granted = 0, refused;
    bool unasked = false;

    assert(link->claiming);
    link->claiming = false;
    if (msg->err != AN_OK) {
        claim_failed(s, link, msg->err, now, out);
        return;
    }
    for (size_t i = 0; i < done->n_slots; i++) {
        const Anser__Bus__SlotClaim *claim = done->slots[i];

        if (claim->slot < AN_SLOTS &&
            ours(s, link, (uint16_t)claim->slot, SEQ_SLOT_CLAIMING)) {
            slot_claimed(s, claim);
            granted += claim->err == AN_OK;
        }
    }
    refused = not_granted(s, link, &unasked);
    s->m.claims += granted;
    an_out_event(out, "slot.claim",
                 "{\"sequencer\":%u,\"store\":%u,\"granted\":%u,\"refused\":%u}",
                 (unsigned)s->index, (unsigned)link->index, granted, refused);
    link->claimed = !unasked && refused == 0;
    if (refused > 0) {
        an_out_log(out, AN_LOG_ERROR, 0, "claim refused store=%u slots=%u",
                   (unsigned)link->index, refused);
    }
    if (unasked) {
        seq_claim(s, link, out);
    } else if (refused > 0) {
        later(link, now, out);
    } else {
        link->claim_backoff_ms = 0;
    }
    seq_run_all(s, &link->waiting, now, out);
}

/* ------------------------------------------------------------------ letting go */

void
seq_detach(struct seq *s, struct seq_cmd *cmd)
{
    (void)s;
    if (cmd->conv != NULL) {
        cmd->conv->refs--;
        cmd->conv = NULL;
    }
    cmd->row = NULL; /* the caller drops the slot's rows */
    cmd->position = NULL;
    cmd->flags &= SEQ_CMD_UNKNOWN;
}

static void
detach_all(struct seq *s, struct seq_list *from, struct seq_list *to)
{
    for (struct seq_cmd *cmd = from->head; cmd != NULL; cmd = cmd->next) {
        seq_detach(s, cmd);
    }
    seq_list_move(to, from);
}

static bool
is_account(const struct seq_cmd *cmd)
{
    return cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_CREATE_USER ||
           cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;
}

static void
evacuate_ready(struct seq *s, struct seq_link *link, const bool slots[AN_SLOTS],
               struct seq_list *to)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, &link->ready);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        if (slots[cmd->slot]) {
            seq_detach(s, cmd);
            seq_list_push(to, cmd);
        } else {
            seq_list_push(&link->ready, cmd);
        }
    }
}

/* Those in *to already (from the append, from ready) and those that wait for a read: the
 * latter are in no list. */
static void
evacuate_accounts(struct seq *s, const bool slots[AN_SLOTS], struct seq_list *to)
{
    struct seq_list behind = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&behind);
    for (cmd = to->head; cmd != NULL; cmd = cmd->next) {
        if (is_account(cmd)) {
            seq_account_leave(s, cmd, &behind);
        }
    }
    for (uint32_t i = 0; i < s->account_count;) {
        cmd = s->accounts[i];
        if (slots[cmd->slot]) {
            seq_account_leave(s, cmd, &behind);
            seq_list_push(to, cmd);
        } else {
            i++;
        }
    }
    seq_list_move(to, &behind);
}

static void
evacuate_dirty(struct seq_link *link, const bool slots[AN_SLOTS])
{
    struct seq_position *p = link->dirty;

    link->dirty = NULL;
    link->dirty_tail = &link->dirty;
    while (p != NULL) {
        struct seq_position *next = p->next;

        if (slots[p->slot]) {
            p->dirty = false;
        } else {
            p->next = NULL;
            *link->dirty_tail = p;
            link->dirty_tail = &p->next;
        }
        p = next;
    }
    if (link->dirty == NULL) {
        link->dirty_due_mono_ms = UINT64_MAX;
    }
}

static void
evacuate_caches(struct seq *s, const bool slots[AN_SLOTS], struct seq_list *to)
{
    for (uint32_t i = 0; i < s->convs.cap && s->convs.count > 0; i++) {
        struct seq_conv *conv = &s->convs.convs[i];

        if (conv->used && slots[conv->slot]) {
            detach_all(s, &conv->waiting, to);
            detach_all(s, &conv->delivered[0].waiting, to);
            detach_all(s, &conv->delivered[1].waiting, to);
            seq_convs_drop(&s->convs, conv);
        }
    }
    for (uint32_t i = 0; i < s->devices.cap && s->devices.count > 0; i++) {
        struct seq_device *device = &s->devices.devices[i];

        if (device->used && slots[device->cursor.slot]) {
            detach_all(s, &device->cursor.waiting, to);
            seq_devices_drop(&s->devices, device);
        }
    }
    seq_heads_clear(&s->heads);
}

void
seq_evacuate(struct seq *s, struct seq_link *link, const bool slots[AN_SLOTS],
             struct seq_list *to)
{
    assert(!link->flying);
    seq_reads_drop(s, link, slots);
    evacuate_ready(s, link, slots, to);
    evacuate_accounts(s, slots, to);
    evacuate_dirty(link, slots);
    evacuate_caches(s, slots, to);
    seq_dedupe_drop(&s->dedupe, slots);
}

void
seq_recover(struct seq *s, struct seq_link *link, struct seq_list *first,
            struct an_outbox *out)
{
    bool slots[AN_SLOTS];

    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        slots[slot] = s->topology->slot_store[slot] == link->index;
        if (ours(s, link, slot, SEQ_SLOT_OWNED)) {
            s->slots[slot].state = SEQ_SLOT_CLAIMING;
            s->slots[slot].asked = false;
        }
    }
    seq_evacuate(s, link, slots, first);
    seq_list_move(first, &link->waiting);
    seq_list_move(&link->waiting, first);
    if (!link->claiming) {
        seq_claim(s, link, out);
    }
}
