/* What the sequencer's own files share. A command's way:
 *
 *   submit.c     takes a Submit apart, checks the bound and the form, seq_run()
 *   send.c, position.c, account.c   decide it; questions to the store go through reads.c
 *   batch.c      numbers what is decided, one Append at a time per store
 *   appended.c   what came of it, seq_finish()
 *   claim.c      owns slots; after an unknown outcome claims again and runs all anew
 *   takeover.c   slots that another has: MOVED, or asks whether it is still there
 *   nonces.c     signed requests, each taken once; decided at once
 *   handover.c   stopping: the slots go to their other candidates
 *   evacuate.c   lets go of slots
 *
 * A command is at any time in exactly one place: a list (through next), the flying batch,
 * behind another command (followers), or finished. Commands live in the arena of their
 * held Submit: nothing is allocated for each. */
#ifndef AN_ACTORS_SEQUENCER_PRIV_H
#define AN_ACTORS_SEQUENCER_PRIV_H

#include "actors/sequencer/convs.h"
#include "actors/sequencer/dedupe.h"
#include "actors/sequencer/devices.h"
#include "actors/sequencer/heads.h"
#include "actors/sequencer/ids.h"
#include "actors/sequencer/sequencer.h"
#include "core/log.h"
#include "proto/bus.pb-c.h"

enum {
    SEQ_DEVICES_MAX = 65536,       /* cached cursors */
    SEQ_READS_MAX = 8192,          /* questions waiting to be sent; beyond: BUSY */
    SEQ_READ_ITEMS_MAX = 256,      /* questions of one Read */
    SEQ_READ_ACCOUNTS_MAX = 128,   /* of them about accounts, with all their devices */
    SEQ_READS_FLYING_MAX = 4,      /* Reads out at a store */
    SEQ_ACCOUNTS_MAX = 1024,       /* account commands under way; beyond: BUSY */
    SEQ_POSITIONS_PER_BATCH = 256, /* so that confirms cannot crowd out messages */
    SEQ_COMMAND_COST = 512,        /* bytes a waiting command counts for, with its body */
    SEQ_ATTEMPTS_MAX = 3,          /* runs of one command after a GAP */
    SEQ_RETRY_BUSY_MS = 200,       /* what a refused client is told to wait */
    SEQ_RETRY_UNAVAILABLE_MS = 500,
    SEQ_ID_BLOCK_MAX = 8192, /* ids taken at a time at most */
    SEQ_ID_ASK_MS = 1000,    /* how long sends wait for ids before UNAVAILABLE */
    SEQ_PROBE_HOPS_MAX = 2, /* owners asked one after the other, each named by the last */
    SEQ_HANDOVERS_MAX = 16, /* under way to us; beyond: BUSY */
    SEQ_HANDOVER_MIN_MS = 500, /* what is left for it when finishing took long */
};

/* What a tag is about; the low 32 bits are an index. */
enum seq_tag {
    SEQ_TAG_CLAIM = 1,
    SEQ_TAG_APPEND,
    SEQ_TAG_READ, /* store * SEQ_READS_FLYING_MAX + which */
    SEQ_TAG_IDS,
    SEQ_TAG_POSITIONS,
    SEQ_TAG_PROBE,    /* the peer's index */
    SEQ_TAG_HANDOVER, /* the same */
    SEQ_TAG_STOP,
};

enum seq_cmd_flag {
    SEQ_CMD_ID_NEW = 1,        /* the store does not know the id */
    SEQ_CMD_AFTER_STORED = 2,  /* after_id is on disk */
    SEQ_CMD_AFTER_MISSING = 4, /* the store does not know after_id */
    SEQ_CMD_UNKNOWN = 8,       /* was in an append whose outcome is not known */
};

struct seq_submit {
    struct an_msg *msg;               /* held */
    struct seq_submit *older, *newer; /* all that are held: a list both ways */
    struct seq_cmd *cmds;
    uint32_t count, left;
    bool urgent; /* not only confirms: none of it waits for company */
};

struct seq_cmd {
    struct seq_cmd *next;
    struct seq_submit *submit;
    const Anser__Bus__Command *in;
    uint32_t cost;
    uint16_t slot;
    uint8_t flags, attempts;
    bool finished;

    struct seq_conv *conv;         /* send, delivered: counted in its refs */
    struct seq_dedupe_row *row;    /* send: in flight */
    struct seq_position *position; /* confirm, delivered: waits there */
    struct seq_list followers;     /* get this one's outcome; accounts: run after it */
    uint64_t asked_at;             /* confirm, delivered: reads begun when it came */
    uint8_t body_hash[SEQ_HASH_LEN];

    struct seq_change *change; /* update account, update device: decided */

    enum an_err err;
    uint32_t owner, retry_after_ms;
    uint64_t seq, message_id, time_ms, inbox_seq, user;
};

enum {
    SEQ_CHANGE_TEXT_MAX = AN_PASSWORD_HASH_LEN_MAX + AN_NICK_LEN_MAX + AN_AVATAR_LEN_MAX +
                          AN_PROFILE_EXTRA_LEN_MAX + 3 * AN_NAME_LEN_MAX +
                          2 * AN_REFRESH_HASH_LEN, /* an account's, and a device's */
};

/* Rows as an account command leaves them. */
struct seq_change {
    Anser__Bus__AccountState
        state; /* of the user; of a device's change only if it folds */
    Anser__Bus__AccountDetails details;
    Anser__Bus__DeviceState device;
    ProtobufCBinaryData forget;      /* a device whose row makes room */
    bool folds;                      /* and leaves its time to all without one */
    Anser__Bus__AccountEntry folded; /* that row */
    Anser__Bus__AccountState hint;   /* what gates are told of a device */
    bool tell;                       /* gates have to know */
    enum an_err then;                /* the command's outcome once it is written */
    size_t text_len;
    uint8_t text[SEQ_CHANGE_TEXT_MAX];
};

enum seq_slot_state {
    SEQ_SLOT_FOREIGN,
    SEQ_SLOT_CLAIMING,
    SEQ_SLOT_OWNED,
    SEQ_SLOT_LOST
};

enum seq_claim_how {
    SEQ_CLAIM_OWN,  /* ours by the topology, or by a store put back in time: whoever has
                       it, and until granted */
    SEQ_CLAIM_HELD, /* had it when an outcome was unknown: until granted, or another did
                     */
    SEQ_CLAIM_TAKE, /* of an owner that is gone, for those who ask: one attempt */
};

struct seq_slot {
    enum seq_slot_state state;
    enum seq_claim_how how; /* CLAIMING */
    enum an_err err;        /* CLAIMING: why the store refused */
    bool asked;             /* the Claim, or the Probe, that is out names it */
    bool probing;           /* not ours: commands wait for what its owner says */
    bool left;              /* given to owner at our end */
    uint8_t hops;           /* owners asked without end */
    uint16_t owner;         /* not ours: whom to ask */
    uint64_t epoch;         /* of our newest claim */
    uint64_t since_mono_ms; /* CLAIMING */
    uint64_t held_mono_ms;  /* OWNED: from when nobody else had it */
    uint64_t fresh_mono_ms; /* not ours: until then the owner is believed alive */
};

struct seq_peer {           /* another sequencer */
    bool probing;           /* a Probe is out */
    bool handing;           /* a Handover is out */
    bool reached;           /* it was, in this life */
    struct seq_list parked; /* commands that wait for its answer */
};

enum seq_read_kind {
    SEQ_READ_DROPPED, /* nobody wants the answer any more */
    SEQ_READ_CONV,
    SEQ_READ_HEAD,         /* of a conversation that is in memory */
    SEQ_READ_DEDUPE,       /* of cmd's own id */
    SEQ_READ_DEDUPE_AFTER, /* of cmd's after_id */
    SEQ_READ_DEVICE,
    SEQ_READ_ACCOUNT,
};

struct seq_read {
    enum seq_read_kind kind;
    uint16_t slot;
    struct seq_conv *conv;
    struct seq_device *device;
    struct seq_cmd *cmd;
};

struct seq_read_batch {
    bool flying;
    uint32_t count;
    struct seq_read reads[SEQ_READ_ITEMS_MAX];
};

struct seq_group { /* of the flying batch: one slot's items */
    uint16_t slot;
    uint32_t start, count;
};

struct seq_item {
    uint16_t slot;
    struct seq_cmd *cmd; /* one of these */
    struct seq_position *position;
};

struct seq_link {
    uint16_t index; /* of the store */
    bool claimed;   /* every slot that may be ours is */
    bool claiming;  /* a Claim is out */
    bool claim_timer;
    uint32_t claim_backoff_ms;
    struct seq_list waiting; /* for the claim */
    struct seq_list ready;   /* decided, to be numbered and stored */

    struct seq_position *dirty, **dirty_tail;
    uint64_t dirty_due_mono_ms; /* the earliest */
    bool dirty_timer;

    bool suspect;             /* a slot of it may be another's: to be claimed again */
    bool flying;              /* an Append is out */
    struct seq_item *items;   /* of it, grouped by slot; AN_BATCH_ITEMS_MAX */
    struct seq_group *groups; /* the same */
    uint32_t group_count;
    uint64_t *blocked_mono_ms; /* by store: until then it can note nothing for that one */
    uint64_t any_blocked_mono_ms; /* the latest of them */

    struct seq_read *read_queue; /* SEQ_READS_MAX */
    uint32_t read_count;
    struct seq_read_batch read_batches[SEQ_READS_FLYING_MAX];
};

/* X(field, name, help, counter) */
#define SEQ_METRICS(X)                                                                   \
    X(commands, "commands_total", "Commands received", true)                             \
    X(refused, "refused_total", "Commands answered with an error", true)                 \
    X(busy, "busy_total", "Commands refused: too many wait already", true)               \
    X(messages, "messages_total", "Messages numbered and stored", true)                  \
    X(retries, "retries_total", "Sends answered with an earlier result", true)           \
    X(confirms, "confirms_total", "Confirms and deliveries answered", true)              \
    X(accounts, "accounts_total", "Account commands answered", true)                     \
    X(nonces, "nonces_total", "Signed requests of back ends taken", true)                \
    X(appends, "appends_total", "Batches sent to stores", true)                          \
    X(append_items, "append_items_total", "Entries sent to stores", true)                \
    X(append_errors, "append_errors_total", "Batches to stores that failed whole", true) \
    X(unknown, "append_unknown_total", "Batches to stores of unknown outcome", true)     \
    X(claims, "claims_total", "Claims of slots granted by stores", true)                 \
    X(fenced, "fenced_total", "Slots lost to another sequencer", true)                   \
    X(moved, "moved_total", "Commands sent to another sequencer", true)                  \
    X(probes, "probes_total", "Owners of slots asked whether they are there", true)      \
    X(takeovers, "takeovers_total", "Slots taken over from another sequencer", true)     \
    X(handovers, "handovers_total", "Slots given to another sequencer", true)            \
    X(blocked, "blocked_total", "Sends refused because of a blocked store", true)        \
    X(gaps, "gaps_total", "Slots of batches that a store refused with GAP", true)        \
    X(reads, "reads_total", "Questions asked of stores", true)                           \
    X(dedupe_reads, "dedupe_reads_total", "Questions about client message ids", true)    \
    X(id_waits, "id_waits_total", "Batches cut short for want of message ids", true)     \
    X(pending_bytes, "pending_bytes", "Bytes of commands waiting now", false)            \
    X(pending, "pending", "Commands waiting now", false)

struct seq_metrics {
#define SEQ_METRIC_FIELD(field, name, help, counter) uint64_t field;
    SEQ_METRICS(SEQ_METRIC_FIELD)
};

union seq_body {
    Anser__Bus__MessageEntry message;
    Anser__Bus__DeviceEntry device;
    Anser__Bus__DeliveredEntry delivered;
    Anser__Bus__UserEntry user;
    Anser__Bus__DirectoryEntry directory;
    Anser__Bus__AccountEntry account;
    Anser__Bus__DeviceSessionEntry session;
};

/* Where messages are put together before they are packed into the outbox. */
struct seq_scratch {
    Anser__Bus__Result results[AN_BATCH_ITEMS_MAX];
    Anser__Bus__Result *result_list[AN_BATCH_ITEMS_MAX];
    Anser__Bus__Entry entries[AN_BATCH_ITEMS_MAX];
    Anser__Bus__Entry *entry_list[AN_BATCH_ITEMS_MAX];
    union seq_body bodies[AN_BATCH_ITEMS_MAX];
    Anser__Bus__AppendSlot slots[AN_BATCH_ITEMS_MAX];
    Anser__Bus__AppendSlot *slot_list[AN_BATCH_ITEMS_MAX];
    struct seq_item items[AN_BATCH_ITEMS_MAX]; /* in the order they were collected */
    uint32_t group_of[AN_SLOTS];               /* valid while group_batch is this one */
    uint64_t group_batch[AN_SLOTS];
    uint64_t batch;
    char text[(AN_SLOTS + 4) *
              96]; /* an answer to INSPECT: at most a range for each slot */
    Anser__Bus__SlotState states[AN_SLOTS];
    Anser__Bus__SlotState *state_list[AN_SLOTS];
};

struct seq {
    struct an_actor actor;
    const struct an_topology *topology; /* borrowed */
    uint16_t index;
    uint64_t incarnation, request_number; /* so that stores know a late copy */
    uint64_t dedupe_window_ms;
    uint32_t pending_bytes_max, confirm_delay_ms;
    bool ready, stopping, stopped;
    uint64_t start_mono_ms;
    bool parting;          /* stopping: all is finished, slots are being given away */
    bool heirs;            /* stopping: some of our slots have another candidate */
    bool refusing;         /* stopping: no more is taken on */
    uint64_t stop_mono_ms; /* stopping: no slot is given away after it */
    struct seq_list late;  /* stopping: came while the rest was being finished */
    uint64_t late_count;

    struct seq_slot slots[AN_SLOTS];
    struct seq_link *links;
    uint16_t link_count;
    struct seq_peer *peers; /* by index, our own unused */
    uint16_t peer_count;
    struct an_msg *handovers[SEQ_HANDOVERS_MAX]; /* held until the claim has ended */
    uint32_t handover_count;

    struct seq_dedupe dedupe;
    struct seq_convs convs;
    struct seq_devices devices;
    struct seq_heads heads;
    struct seq_ids ids;
    bool ids_wanted; /* a batch took some or found none */
    uint16_t idgen;  /* the one to ask */
    struct seq_cmd *accounts[SEQ_ACCOUNTS_MAX];
    uint32_t account_count;
    struct seq_nonces *nonces; /* NULL: none was asked about */

    struct seq_submit *submits; /* all that are held, linked by newer */
    struct seq_scratch *scratch;
    struct seq_metrics m;
};

/* ------------------------------------------------------------------ lists */

static inline void
seq_list_init(struct seq_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
}

static inline void
seq_list_push(struct seq_list *list, struct seq_cmd *cmd)
{
    cmd->next = NULL;
    *list->tail = cmd;
    list->tail = &cmd->next;
}

/* NULL when empty. */
static inline struct seq_cmd *
seq_list_pop(struct seq_list *list)
{
    struct seq_cmd *cmd = list->head;

    if (cmd != NULL) {
        list->head = cmd->next;
        if (list->head == NULL) {
            list->tail = &list->head;
        }
    }
    return cmd;
}

/* Puts all of from behind what is in list. */
static inline void
seq_list_move(struct seq_list *list, struct seq_list *from)
{
    if (from->head != NULL) {
        *list->tail = from->head;
        list->tail = from->tail;
        seq_list_init(from);
    }
}

/* ------------------------------------------------------------------ submit.c */

static inline struct seq_link *
seq_link_of(struct seq *s, uint16_t slot)
{
    return &s->links[s->topology->slot_store[slot]];
}

static inline uint64_t
seq_tag(enum seq_tag tag, uint32_t index)
{
    return (uint64_t)tag << 32 | index;
}

static inline bool
seq_slot_held(const struct seq_slot *slot)
{
    return slot->state == SEQ_SLOT_OWNED || slot->state == SEQ_SLOT_CLAIMING;
}

void seq_submit(struct seq *s, struct an_msg *msg, struct an_now now,
                struct an_outbox *out);
/* Decides the command, from the beginning: where its slot stands, then its own rules. */
void seq_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
             struct an_outbox *out);
/* seq_run for each; takes all out of the list first. */
void seq_run_all(struct seq *s, struct seq_list *list, struct an_now now,
                 struct an_outbox *out);
/* The command's end: it lets go of all it points at, its followers get the same outcome,
 * and the Submit is answered when it was the last. */
void seq_finish(struct seq *s, struct seq_cmd *cmd, enum an_err err, struct an_now now,
                struct an_outbox *out);
void seq_finish_all(struct seq *s, struct seq_list *list, enum an_err err,
                    struct an_now now, struct an_outbox *out);

/* ------------------------------------------------------------------ send.c */

enum an_err seq_send_check(const Anser__Bus__Command *in);
void seq_send_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                  struct an_outbox *out);
/* The conversation's commands in order, as far as they can be decided. */
void seq_conv_run(struct seq *s, struct seq_conv *conv, struct an_now now,
                  struct an_outbox *out);
/* Called when the batch is put together: does what it comes after still stand? */
bool seq_send_follows(struct seq *s, const struct seq_cmd *cmd);
void seq_conv_answered(struct seq *s, struct seq_conv *conv,
                       const Anser__Bus__Answer *answer, enum an_err err,
                       struct an_now now, struct an_outbox *out);
void seq_dedupe_answered(struct seq *s, const struct seq_read *read,
                         const Anser__Bus__Answer *answer, enum an_err err,
                         struct an_now now, struct an_outbox *out);
struct an_conv seq_send_conv(const Anser__Bus__SendCommand *send);
/* The names of a conversation that the store did not know yet. */
void seq_conv_learn_names(struct seq_conv *conv, const Anser__Bus__SendCommand *send);

/* ------------------------------------------------------------------ position.c */

enum an_err seq_confirm_check(const Anser__Bus__Command *in);
enum an_err seq_delivered_check(const Anser__Bus__Command *in);
void seq_confirm_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                     struct an_outbox *out);
void seq_delivered_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                       struct an_outbox *out);
/* The conversation is loaded: delivered commands may be judged. */
void seq_delivered_decide(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                          struct an_outbox *out);
void seq_device_answered(struct seq *s, struct seq_device *device,
                         const Anser__Bus__Answer *answer, enum an_err err,
                         struct an_now now, struct an_outbox *out);
/* The head was read again because a delivered command lies above what we know. */
void seq_head_answered(struct seq *s, struct seq_conv *conv,
                       const Anser__Bus__Answer *answer, enum an_err err,
                       struct an_now now, struct an_outbox *out);
/* Looks at every waiting command again. */
void seq_position_judge(struct seq *s, struct seq_position *p, struct an_now now,
                        struct an_outbox *out);
/* The append that carried inflight has ended. */
void seq_position_stored(struct seq *s, struct seq_position *p, enum an_err err,
                         struct an_now now, struct an_outbox *out);

/* ------------------------------------------------------------------ account.c */

enum an_err seq_create_user_check(const Anser__Bus__Command *in);
enum an_err seq_put_directory_check(const Anser__Bus__Command *in);
void seq_account_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                     struct an_outbox *out);
void seq_account_answered(struct seq *s, struct seq_cmd *cmd,
                          const Anser__Bus__Answer *answer, enum an_err err,
                          struct an_now now, struct an_outbox *out);
/* It is finished or run anew: no longer under way. Those behind it go to *behind. */
void seq_account_leave(struct seq *s, struct seq_cmd *cmd, struct seq_list *behind);

/* Is it an account command, and whose? 0: of a name. */
bool seq_is_account(const Anser__Bus__Command *in);
uint64_t seq_account_user(const Anser__Bus__Command *in);

/* ------------------------------------------------------------------ change.c */

enum an_err seq_update_account_check(const Anser__Bus__Command *in);
enum an_err seq_update_device_check(const Anser__Bus__Command *in);
/* The user's rows have been read. *write: they change, as cmd->change says; else the
 * command ends with what is returned. */
AN_MUST_USE enum an_err seq_change_decide(struct seq_cmd *cmd,
                                          const Anser__Bus__Answer *answer,
                                          struct an_now now, bool *write);
void seq_change_fill(Anser__Bus__Entry *entry, union seq_body *body, struct seq_cmd *cmd);

/* ------------------------------------------------------------------ nonces.c */

enum an_err seq_claim_nonce_check(const Anser__Bus__Command *in);
void seq_claim_nonce_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                         struct an_outbox *out);

/* ------------------------------------------------------------------ batch.c */

/* Sends the next batch, if there is one and none is out. */
void seq_batch_act(struct seq *s, struct seq_link *link, struct an_now now,
                   struct an_outbox *out);
/* appended.c */
void seq_batch_answered(struct seq *s, struct seq_link *link, const struct an_msg *msg,
                        struct an_now now, struct an_outbox *out);

/* ------------------------------------------------------------------ claim.c */

/* Asks for every slot of the store that may be ours and is not. */
void seq_claim(struct seq *s, struct seq_link *link, struct an_outbox *out);
/* The same where slots came to need it and nothing is out that has to end first. */
void seq_claim_act(struct seq *s, struct an_outbox *out);
void seq_claim_answered(struct seq *s, struct seq_link *link, const struct an_msg *msg,
                        struct an_now now, struct an_outbox *out);
void seq_claim_timer(struct seq *s, struct seq_link *link, struct an_outbox *out);
/* Begins to claim the slot; seq_claim_act() asks. */
void seq_slot_claiming(struct seq *s, uint16_t slot, enum seq_claim_how how,
                       struct an_now now);
/* Another has claimed it: it is not ours and never claimed back but for who asks. The
 * caller has evacuated it, or will. */
void seq_slot_lost(struct seq *s, uint16_t slot, uint32_t owner, struct an_now now);
/* Something in flight had an unknown outcome: claims the link's slots again, drops what
 * was cached of them, and then runs *first and everything unanswered anew. */
void seq_recover(struct seq *s, struct seq_link *link, struct seq_list *first,
                 struct an_now now, struct an_outbox *out);
/* The same, once no append is out, of links under suspicion. */
void seq_recover_act(struct seq *s, struct an_now now, struct an_outbox *out);
/* Ends those in the list with err; those that may be stored with TIMEOUT. */
void seq_finish_waiting(struct seq *s, struct seq_list *list, enum an_err err,
                        struct an_now now, struct an_outbox *out);

/* ------------------------------------------------------------------ evacuate.c */

/* The command points at nothing any more and may be run from the beginning. */
void seq_detach(struct seq *s, struct seq_cmd *cmd);
/* Moves every command of these slots of the link behind *to, except those still waiting
 * for the claim, and forgets all that is cached of the slots. No append is out. */
void seq_evacuate(struct seq *s, struct seq_link *link, const bool slots[AN_SLOTS],
                  struct seq_list *to);

/* ------------------------------------------------------------------ takeover.c */

/* May this sequencer have the slot, and who else? Our own index: nobody. */
bool seq_candidate(const struct seq *s, uint16_t slot);
uint16_t seq_other_candidate(const struct seq *s, uint16_t slot);
/* Runs a command of a slot that is not ours. */
void seq_not_ours(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                  struct an_outbox *out);
void seq_probe(struct seq *s, struct an_msg *msg, struct an_now now,
               struct an_outbox *out);
void seq_probe_answered(struct seq *s, uint32_t peer, const struct an_msg *msg,
                        struct an_now now, struct an_outbox *out);

/* ------------------------------------------------------------------ handover.c */

void seq_stop(struct seq *s, struct an_now now, struct an_outbox *out);
/* Takes a command on while stopping. */
void seq_late(struct seq *s, struct seq_cmd *cmd, struct an_now now,
              struct an_outbox *out);
void seq_stop_timer(struct seq *s, struct an_now now, struct an_outbox *out);
/* After each drain: goes on with stopping, and answers handovers that have ended. */
void seq_stop_act(struct seq *s, struct an_now now, struct an_outbox *out);
void seq_handover(struct seq *s, struct an_msg *msg, struct an_now now,
                  struct an_outbox *out);
void seq_handover_answered(struct seq *s, uint32_t peer, const struct an_msg *msg,
                           struct an_now now, struct an_outbox *out);

/* ------------------------------------------------------------------ inspect.c */

void seq_inspect(struct seq *s, struct an_msg *msg, struct an_now now,
                 struct an_outbox *out);

/* ------------------------------------------------------------------ reads.c */

/* Asks it with one of the next Reads. false: too many wait; the asker answers BUSY. */
bool seq_read_add(struct seq *s, const struct seq_read *read);
void seq_reads_act(struct seq *s, struct seq_link *link, struct an_outbox *out);
void seq_reads_answered(struct seq *s, uint32_t which, const struct an_msg *msg,
                        struct an_now now, struct an_outbox *out);
/* Answers about these slots will be ignored. */
void seq_reads_drop(struct seq *s, struct seq_link *link, const bool slots[AN_SLOTS]);

#endif
