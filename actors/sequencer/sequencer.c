/* The actor: its life, its messages, its ids and its metrics. */
#include "actors/sequencer/sequencer_priv.h"
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ ids */

static void
ask_ids(struct seq *s, struct an_outbox *out)
{
    Anser__Bus__TakeIds take = ANSER__BUS__TAKE_IDS__INIT;
    struct an_addr idgen = {AN_ROLE_IDGEN, s->idgen};

    s->ids.asking = true;
    take.count = s->ids.block;
    an_out_ask(out, idgen, AN_KIND_TAKE_IDS, &take.base, SEQ_ID_ASK_MS,
               seq_tag(SEQ_TAG_IDS, 0), 0);
}

static void
become_ready(struct seq *s, struct an_now now, struct an_outbox *out)
{
    if (s->ready) {
        return;
    }
    for (uint16_t i = 0; i < s->link_count; i++) {
        if (!s->links[i].claimed) {
            return;
        }
    }
    if (!seq_ids_any(&s->ids, now)) {
        if (!s->ids.asking) { /* they have grown old while a store was away */
            ask_ids(s, out);
        }
        return;
    }
    s->ready = true;
    an_out_ready(out);
}

/* Sends that have no id now are refused; nothing else is. */
static void
refuse_sends(struct seq *s, struct seq_link *link, struct an_now now,
             struct an_outbox *out)
{
    struct seq_list rest = {.head = NULL};
    struct seq_cmd *cmd;

    seq_list_init(&rest);
    seq_list_move(&rest, &link->ready);
    while ((cmd = seq_list_pop(&rest)) != NULL) {
        if (cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_SEND) {
            seq_finish(s, cmd, AN_ERR_UNAVAILABLE, now, out);
        } else {
            seq_list_push(&link->ready, cmd);
        }
    }
}

static void
on_taken_ids(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    s->ids.asking = false;
    if (msg->err == AN_OK) {
        seq_ids_add(&s->ids, (const Anser__Bus__TakenIds *)msg->body, now);
    }
    if (msg->err == AN_OK && seq_ids_any(&s->ids, now)) {
        become_ready(s, now, out);
        return;
    } /* an answer without any: to ask again at once would never end */
    an_out_log(out, AN_LOG_WARN, 0, "no message ids from=idgen/%u err=%s",
               (unsigned)s->idgen, an_err_name(msg->err));
    s->idgen = (uint16_t)((s->idgen + 1u) % s->topology->count[AN_ROLE_IDGEN]);
    if (!seq_ids_any(&s->ids, now)) {
        for (uint16_t i = 0; i < s->link_count; i++) {
            refuse_sends(s, &s->links[i], now, out);
        }
    }
    if (!s->ready) {
        an_out_timer(out, now.mono_ms + SEQ_RETRY_BUSY_MS, seq_tag(SEQ_TAG_IDS, 0));
    }
}

/* ------------------------------------------------------------------ messages */

static void
on_start(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)msg;
    s->start_mono_ms = now.mono_ms;
    for (size_t i = 0; i < AN_SLOTS; i++) {
        s->slots[i].since_mono_ms = now.mono_ms;
    }
    for (uint16_t i = 0; i < s->link_count; i++) {
        seq_claim(s, &s->links[i], out);
    }
    ask_ids(s, out);
}

static void
on_stop(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    (void)msg;
    seq_stop(s, now, out);
}

static void
on_claimed(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    seq_claim_answered(s, &s->links[(uint32_t)msg->tag], msg, now, out);
    become_ready(s, now, out);
}

static void
on_appended(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    seq_batch_answered(s, &s->links[(uint32_t)msg->tag], msg, now, out);
}

static void
on_read_done(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    seq_reads_answered(s, (uint32_t)msg->tag, msg, now, out);
}

static void
on_timer(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    uint32_t index = (uint32_t)msg->tag;

    switch ((enum seq_tag)(msg->tag >> 32)) {
    case SEQ_TAG_CLAIM:
        seq_claim_timer(s, &s->links[index], out);
        become_ready(s, now, out);
        return;
    case SEQ_TAG_STOP:
        seq_stop_timer(s, now, out);
        return;
    case SEQ_TAG_POSITIONS:
        s->links[index].dirty_timer = false; /* drained() stores what is due */
        return;
    case SEQ_TAG_IDS:
        if (!s->ids.asking) {
            ask_ids(s, out);
        }
        return;
    case SEQ_TAG_APPEND:
    case SEQ_TAG_READ:
    case SEQ_TAG_PROBE:
    case SEQ_TAG_HANDOVER:
        break;
    }
    assert(0 && "a timer of a tag that sets none");
}

static void
on_probed(struct seq *s, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    seq_probe_answered(s, (uint32_t)msg->tag, msg, now, out);
}

static void
on_handed_over(struct seq *s, struct an_msg *msg, struct an_now now,
               struct an_outbox *out)
{
    seq_handover_answered(s, (uint32_t)msg->tag, msg, now, out);
}

static const struct {
    uint16_t kind;
    void (*handle)(struct seq *s, struct an_msg *msg, struct an_now now,
                   struct an_outbox *out);
} handlers[] = {
    {AN_KIND_SUBMIT, seq_submit},
    {AN_KIND_APPENDED, on_appended},
    {AN_KIND_READ_DONE, on_read_done},
    {AN_KIND_TAKEN_IDS, on_taken_ids},
    {AN_KIND_TIMER, on_timer},
    {AN_KIND_CLAIMED, on_claimed},
    {AN_KIND_START, on_start},
    {AN_KIND_STOP, on_stop},
    {AN_KIND_INSPECT, seq_inspect},
    {AN_KIND_PROBE, seq_probe},
    {AN_KIND_PROBED, on_probed},
    {AN_KIND_HANDOVER, seq_handover},
    {AN_KIND_HANDED_OVER, on_handed_over},
};

static void
seq_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
         struct an_outbox *out)
{
    struct seq *s = (struct seq *)actor;

    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].kind == msg->kind) {
            handlers[i].handle(s, msg, now, out);
            return;
        }
    }
    if (msg->request) {
        s->m.refused++;
        an_out_answer(out, msg, AN_ERR_ENVELOPE, NULL);
    }
}

static void
seq_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    struct seq *s = (struct seq *)actor;

    seq_recover_act(s, now, out);
    seq_claim_act(s, out);
    for (uint16_t i = 0; i < s->link_count; i++) {
        seq_batch_act(s, &s->links[i], now, out);
        seq_reads_act(s, &s->links[i], out); /* the batch may have left questions */
    }
    if (s->ids_wanted && !s->ids.asking && seq_ids_low(&s->ids, now)) {
        if (s->ids.left == 0 && s->ids.block < SEQ_ID_BLOCK_MAX) {
            s->ids.block *= 2; /* a batch used them all: take more at a time */
        }
        ask_ids(s, out);
    }
    s->ids_wanted = false;
    seq_stop_act(s, now, out);
}

static void
seq_metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct seq *s = (const struct seq *)actor;
    uint64_t owned = 0;

#define SEQ_METRIC_EMIT(field, name, help, counter)                                      \
    metric(ctx, name, help, counter, s->m.field);
    SEQ_METRICS(SEQ_METRIC_EMIT)
    for (size_t i = 0; i < AN_SLOTS; i++) {
        owned += s->slots[i].state == SEQ_SLOT_OWNED;
    }
    metric(ctx, "slots_owned", "Slots that this sequencer has now", false, owned);
    metric(ctx, "dedupe_rows", "Client message ids in memory", false, s->dedupe.count);
    metric(ctx, "conversations", "Conversations in memory", false, s->convs.count);
    metric(ctx, "devices", "Device cursors in memory", false, s->devices.count);
    metric(ctx, "ids_left", "Message ids taken and not used yet", false, s->ids.left);
}

/* ------------------------------------------------------------------ life */

static void
seq_destroy(struct an_actor *actor)
{
    struct seq *s = (struct seq *)actor;

    while (s->submits != NULL) {
        struct seq_submit *submit = s->submits;

        s->submits = submit->newer;
        an_msg_abandon(submit->msg);
    }
    for (uint32_t i = 0; i < s->handover_count; i++) {
        an_msg_abandon(s->handovers[i]);
    }
    for (uint16_t i = 0; s->links != NULL && i < s->link_count; i++) {
        free(s->links[i].items);
        free(s->links[i].groups);
        free(s->links[i].read_queue);
        free(s->links[i].blocked_mono_ms);
    }
    free(s->links);
    free(s->peers);
    free(s->scratch);
    free(s->nonces);
    seq_dedupe_fini(&s->dedupe);
    seq_convs_fini(&s->convs);
    seq_devices_fini(&s->devices);
    seq_heads_fini(&s->heads);
    free(s);
}

static const struct an_actor_ops seq_ops = {
    .role = AN_ROLE_SEQUENCER,
    .step = seq_step,
    .drained = seq_drained,
    .metrics = seq_metrics,
    .destroy = seq_destroy,
};

static bool
links_create(struct seq *s)
{
    s->link_count = s->topology->count[AN_ROLE_STORE];
    s->links = calloc(s->link_count, sizeof(*s->links));
    if (s->links == NULL) {
        return false;
    }
    for (uint16_t i = 0; i < s->link_count; i++) {
        struct seq_link *link = &s->links[i];

        link->index = i;
        seq_list_init(&link->waiting);
        seq_list_init(&link->ready);
        link->dirty_tail = &link->dirty;
        link->dirty_due_mono_ms = UINT64_MAX;
        link->items = calloc(AN_BATCH_ITEMS_MAX, sizeof(*link->items));
        link->groups = calloc(AN_BATCH_ITEMS_MAX, sizeof(*link->groups));
        link->read_queue = calloc(SEQ_READS_MAX, sizeof(*link->read_queue));
        link->blocked_mono_ms = calloc(s->link_count, sizeof(*link->blocked_mono_ms));
        if (link->items == NULL || link->groups == NULL || link->read_queue == NULL ||
            link->blocked_mono_ms == NULL) {
            return false;
        }
    }
    return true;
}

static bool
peers_create(struct seq *s)
{
    s->peer_count = s->topology->count[AN_ROLE_SEQUENCER];
    s->peers = calloc(s->peer_count, sizeof(*s->peers));
    for (uint16_t i = 0; s->peers != NULL && i < s->peer_count; i++) {
        seq_list_init(&s->peers[i].parked);
    }
    return s->peers != NULL;
}

static void
slots_init(struct seq *s)
{
    for (uint16_t i = 0; i < AN_SLOTS; i++) {
        s->slots[i].owner = s->topology->slot_sequencer[i];
        s->slots[i].state =
            s->slots[i].owner == s->index ? SEQ_SLOT_CLAIMING : SEQ_SLOT_FOREIGN;
    }
}

static uint32_t
or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

enum an_err
sequencer_create(struct an_actor **out, const struct sequencer_cfg *cfg)
{
    struct seq *s = calloc(1, sizeof(*s));
    bool ok;

    if (s == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    s->actor.ops = &seq_ops;
    s->topology = cfg->topology;
    s->index = cfg->index;
    s->incarnation = cfg->seed != 0 ? cfg->seed : 1;
    s->dedupe_window_ms =
        cfg->dedupe_window_ms != 0 ? cfg->dedupe_window_ms : AN_DEDUPE_WINDOW_MS;
    s->pending_bytes_max = or_default(cfg->pending_bytes_max, AN_SEQ_PENDING_BYTES_MAX);
    s->confirm_delay_ms = or_default(cfg->confirm_delay_ms, AN_CONFIRM_DELAY_MS);
    s->ids.block = AN_ID_BLOCK;
    s->idgen = (uint16_t)(cfg->index % cfg->topology->count[AN_ROLE_IDGEN]);
    slots_init(s);
    s->scratch = calloc(1, sizeof(*s->scratch));
    seq_list_init(&s->late);
    ok = s->scratch != NULL && links_create(s) && peers_create(s) &&
         seq_dedupe_init(&s->dedupe, or_default(cfg->dedupe_rows_max, AN_DEDUPE_ROWS_MAX),
                         cfg->seed) &&
         seq_convs_init(&s->convs, or_default(cfg->convs_max, AN_SEQ_CONVS_MAX),
                        cfg->seed + 1) &&
         seq_devices_init(&s->devices, SEQ_DEVICES_MAX, cfg->seed + 2) &&
         seq_heads_init(&s->heads);
    if (!ok || sodium_init() < 0) {
        seq_destroy(&s->actor);
        return AN_ERR_NO_MEMORY;
    }
    *out = &s->actor;
    return AN_OK;
}
