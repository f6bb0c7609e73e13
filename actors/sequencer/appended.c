/* What an Append came to: acks, refusals, and the two ways back: giving up a slot
 * (FENCED) or claiming everything again (GAP, or the outcome is not known). */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>
#include <inttypes.h>

static void
message_stored(struct seq *s, struct seq_cmd *cmd, uint64_t inbox_seq,
               uint64_t recipient_inbox_seq)
{
    const Anser__Bus__SendCommand *send = cmd->in->send;
    struct seq_dedupe_row *row = cmd->row;

    s->m.messages++;
    cmd->inbox_seq = inbox_seq;
    cmd->conv->head = cmd->seq;
    seq_conv_learn_names(cmd->conv, send);
    row->seq = cmd->seq;
    row->message_id = cmd->message_id;
    row->time_ms = cmd->time_ms;
    row->inbox_seq = inbox_seq;
    row->cmd = NULL;
    cmd->row = NULL;
    seq_heads_learn(&s->heads, send->sender, inbox_seq);
    seq_heads_learn(&s->heads, send->recipient, recipient_inbox_seq);
}

static void
group_stored(struct seq *s, struct seq_link *link, const struct seq_group *g,
             const Anser__Bus__AppendedSlot *answer, struct an_now now,
             struct an_outbox *out)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct seq_item *item = &link->items[g->start + i];

        if (item->position != NULL) {
            seq_position_stored(s, item->position, AN_OK, now, out);
            continue;
        }
        if (item->cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_SEND) {
            message_stored(
                s, item->cmd, i < answer->n_inbox_seqs ? answer->inbox_seqs[i] : 0,
                i < answer->n_recipient_inbox_seqs ? answer->recipient_inbox_seqs[i] : 0);
        }
        seq_finish(s, item->cmd,
                   item->cmd->change != NULL ? item->cmd->change->then : AN_OK, now, out);
    }
}

/* Nothing of the group was written. Takes its numbers back. */
static void
unnumber(struct seq_cmd *cmd)
{
    if (cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_SEND) {
        cmd->conv->assigned = cmd->conv->head;
        cmd->seq = cmd->message_id = cmd->time_ms = 0;
    }
}

static void
group_refused(struct seq *s, struct seq_link *link, const struct seq_group *g,
              enum an_err err, struct an_now now, struct an_outbox *out)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct seq_item *item = &link->items[g->start + i];

        if (item->position != NULL) {
            seq_position_stored(s, item->position, err, now, out);
        } else {
            unnumber(item->cmd);
            seq_finish(s, item->cmd, err, now, out);
        }
    }
}

/* The group's commands will be run from the beginning. Those of a position stay with it:
 * the evacuation that follows finds them there. */
static void
group_again(struct seq *s, struct seq_link *link, const struct seq_group *g,
            uint8_t flags, struct seq_list *to)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct seq_item *item = &link->items[g->start + i];

        if (item->position != NULL) {
            item->position->flying = false;
            for (struct seq_cmd *c = item->position->waiting.head; c != NULL;
                 c = c->next) {
                c->attempts++;
            }
            continue;
        }
        unnumber(item->cmd);
        item->cmd->flags |= flags;
        item->cmd->attempts++;
        seq_detach(s, item->cmd);
        seq_list_push(to, item->cmd);
    }
}

static const Anser__Bus__AppendedSlot *
answer_of(const Anser__Bus__Appended *done, uint32_t hint, uint16_t slot)
{
    if (hint < done->n_slots && done->slots[hint]->slot == slot) {
        return done->slots[hint];
    }
    for (size_t i = 0; i < done->n_slots; i++) {
        if (done->slots[i]->slot == slot) {
            return done->slots[i];
        }
    }
    return NULL;
}

static bool
answer_whole(const struct seq_link *link, const Anser__Bus__Appended *done)
{
    for (uint32_t g = 0; g < link->group_count; g++) {
        if (answer_of(done, g, link->groups[g].slot) == NULL) {
            return false;
        }
    }
    return true;
}

/* What the groups of one answer leave to do. */
struct aftermath {
    bool slots[AN_SLOTS]; /* to be evacuated */
    bool any;
    uint32_t lost; /* to others */
    bool recover;  /* the slot is ours to claim again */
    struct seq_list again;
};

static void
fenced(struct seq *s, const struct seq_group *g, const Anser__Bus__AppendedSlot *answer,
       struct aftermath *after, struct an_now now, struct an_outbox *out)
{
    /* A claim of our own that came late, or a store put back in time: its answer to a
     * claim of what we hold says which. */
    if (answer->owner == s->index || answer->epoch < s->slots[g->slot].epoch) {
        after->recover = true;
        return;
    }
    seq_slot_lost(s, g->slot, answer->owner, now);
    /* Who took this one has taken more, mostly all: better to know now than to be fenced
     * slot by slot, each with a client waiting. */
    seq_link_of(s, g->slot)->suspect = true;
    if (after->lost++ == 0) {
        an_out_log(out, AN_LOG_WARN, 0,
                   "slot lost slot=%u owner=sequencer/%u epoch=%" PRIu64,
                   (unsigned)g->slot, (unsigned)answer->owner, answer->epoch);
    }
}

static void
group_answered(struct seq *s, struct seq_link *link, const struct seq_group *g,
               const Anser__Bus__AppendedSlot *answer, struct aftermath *after,
               struct an_now now, struct an_outbox *out)
{
    enum an_err err =
        an_err_known(answer->err) ? (enum an_err)answer->err : AN_ERR_INTERNAL;

    if (err == AN_OK) {
        group_stored(s, link, g, answer, now, out);
        return;
    }
    if (err != AN_ERR_FENCED && err != AN_ERR_GAP) {
        group_refused(s, link, g, err, now, out);
        return;
    }
    after->slots[g->slot] = true;
    after->any = true;
    if (err == AN_ERR_FENCED) {
        fenced(s, g, answer, after, now, out);
    } else {
        /* Our head is wrong, so may be whatever else is cached: only a claim says from
         * which id on the store must be asked about retries. */
        s->m.gaps++;
        after->recover = true;
        an_out_log(out, AN_LOG_ERROR, 0, "gap slot=%u head=%" PRIu64, (unsigned)g->slot,
                   answer->head);
    }
    group_again(s, link, g, 0, &after->again);
}

/* What has been tried too often is our fault: moves it behind *tired. */
static void
split_tired(struct seq_list *list, struct seq_list *tired)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, list);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        seq_list_push(cmd->attempts >= SEQ_ATTEMPTS_MAX ? tired : list, cmd);
    }
}

/* GAP and FENCED: forgets what was cached, then claims again or runs all anew. */
static void
mend(struct seq *s, struct seq_link *link, struct aftermath *after, struct an_now now,
     struct an_outbox *out)
{
    struct seq_list tired = {.head = NULL};

    seq_list_init(&tired);
    if (after->recover) {
        seq_recover(s, link, &after->again, now, out);
        split_tired(&link->waiting, &tired);
    } else {
        seq_evacuate(s, link, after->slots, &after->again);
        split_tired(&after->again, &tired);
        seq_run_all(s, &after->again, now, out);
    }
    seq_finish_all(s, &tired, AN_ERR_INTERNAL, now, out);
}

/* Was the whole Append surely not carried out? */
static bool
definite(enum an_err err)
{
    switch (an_err_category(err)) {
    case AN_CAT_BUSY:
        return err != AN_ERR_TIMEOUT && err != AN_ERR_CONNECTION;
    case AN_CAT_INVALID:
        return true;
    case AN_CAT_OK:
    case AN_CAT_AUTH:
    case AN_CAT_PERMISSION:
    case AN_CAT_NOT_FOUND:
    case AN_CAT_CONFLICT:
    case AN_CAT_INTERNAL:
        return err == AN_ERR_ENVELOPE;
    }
    return false;
}

static void
outcome_unknown(struct seq *s, struct seq_link *link, enum an_err err, struct an_now now,
                struct an_outbox *out)
{
    struct seq_list first;

    s->m.unknown++;
    an_out_log(out, AN_LOG_WARN, 0, "append outcome unknown store=%u err=%s",
               (unsigned)link->index, an_err_name(err));
    seq_list_init(&first);
    for (uint32_t g = 0; g < link->group_count; g++) {
        group_again(s, link, &link->groups[g], SEQ_CMD_UNKNOWN, &first);
    }
    seq_recover(s, link, &first, now, out);
}

void
seq_batch_answered(struct seq *s, struct seq_link *link, const struct an_msg *msg,
                   struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__Appended *done = (const Anser__Bus__Appended *)msg->body;
    struct aftermath after = {.any = false};

    assert(link->flying);
    link->flying = false;
    if (msg->err != AN_OK) {
        s->m.append_errors++;
        if (!definite(msg->err)) {
            outcome_unknown(s, link, msg->err, now, out);
            return;
        }
        for (uint32_t g = 0; g < link->group_count; g++) {
            group_refused(s, link, &link->groups[g], msg->err, now, out);
        }
        return;
    }
    if (!answer_whole(link, done)) {
        outcome_unknown(s, link, AN_ERR_INTERNAL, now, out);
        return;
    }
    for (size_t i = 0; i < done->n_blocked_stores; i++) {
        if (done->blocked_stores[i] < s->link_count) {
            link->any_blocked_mono_ms = now.mono_ms + AN_BLOCKED_MS;
            link->blocked_mono_ms[done->blocked_stores[i]] = link->any_blocked_mono_ms;
        }
    }
    seq_list_init(&after.again);
    for (uint32_t g = 0; g < link->group_count; g++) {
        const Anser__Bus__AppendedSlot *answer = answer_of(done, g, link->groups[g].slot);

        assert(answer != NULL); /* answer_whole() */
        group_answered(s, link, &link->groups[g], answer, &after, now, out);
    }
    if (after.any) {
        mend(s, link, &after, now, out);
    }
}
