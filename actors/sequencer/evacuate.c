/* Letting go of slots: every command of theirs comes back into one list, to be run from
 * the beginning, and all that was cached of them is forgotten. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>

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
        if (seq_is_account(cmd->in)) {
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
