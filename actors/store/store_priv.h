/* The inside of the store actor, shared by its files alone.
 *
 * Everything that changes rows is a write: it waits in one queue until the heads it needs
 * are read, is built into the batch when no append is in flight, and is finished when the
 * engine has answered. So at any moment at most one batch exists between "numbered" and
 * "synced", and a refused one is undone by setting every touched head back.
 *
 * Context: the store actor's thread. */
#ifndef AN_ACTORS_STORE_PRIV_H
#define AN_ACTORS_STORE_PRIV_H

#include "actors/store/batch.h"
#include "actors/store/heads.h"
#include "actors/store/store.h"
#include "core/actor.h"
#include "core/limits.h"
#include "proto/bus.pb-c.h"
#include "proto/bytes.h"
#include "proto/rows.h"
#include "proto/stored.pb-c.h"
#include "store/engine.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, counter, help): what this actor counts itself; the engine's come behind. */
#define STORE_METRICS(X)                                                                 \
    X(requests, true, "Requests received")                                               \
    X(requests_refused, true, "Requests refused before anything was done")               \
    X(batches, true, "Batches written as one log record")                                \
    X(batches_refused, true, "Batches that the engine refused whole")                    \
    X(messages, true, "Messages stored")                                                 \
    X(message_bytes, true, "Bytes of stored message bodies")                             \
    X(inbox_entries, true, "Inbox entries stored")                                       \
    X(cursors, true, "Device cursors stored")                                            \
    X(deliveries, true, "Delivered positions stored")                                    \
    X(users, true, "User rows stored")                                                   \
    X(accounts, true, "Account rows stored")                                             \
    X(device_sessions, true, "Rows of devices' sessions stored")                         \
    X(slots_fenced, true, "Slots of appends refused with FENCED")                        \
    X(slots_gap, true, "Slots of appends refused with GAP")                              \
    X(strays, true, "Claims and appends that came twice or late")                        \
    X(slots_bad, true, "Slots of appends refused as malformed or not of this store")     \
    X(claims, true, "Slots claimed by sequencers")                                       \
    X(swaps, true, "Registers swapped")                                                  \
    X(swaps_refused, true, "Register swaps refused because the version was another")     \
    X(loads, true, "Reads of heads that a write had to wait for")                        \
    X(queries, true, "Queries answered")                                                 \
    X(queries_failed, true, "Queries answered with an error")                            \
    X(pushes, true, "Hints given to routers")                                            \
    X(pushes_dropped, true, "Hints dropped because a router's queue was full")           \
    X(pushes_failed, true, "Hints in requests that a router did not answer")             \
    X(expired_rows, true, "Dedupe rows deleted because they are past the window")        \
    X(outgoing, true, "Outgoing rows stored: inbox entries for users of other stores")   \
    X(outgoing_deleted, true, "Outgoing rows deleted: the other store has the entries")  \
    X(outgoing_reads, true, "Reads of outgoing rows that were not in memory")            \
    X(outgoing_lost, true, "Outgoing entries whose rows are gone: a store was put back") \
    X(forwards, true, "Requests with entries to other stores")                           \
    X(rewinds, true, "Slots whose entries another store wants from before")              \
    X(slots_blocked, true, "Slots of appends refused because another store is behind")   \
    X(forwards_applied, true, "Inbox entries of other stores stored")                    \
    X(forwards_repeated, true, "Inbox entries of other stores that were there already")  \
    X(forwards_rewound, true, "Slots of other stores' requests answered with REWIND")    \
    X(skips, true, "Times that entries of another store were lost and passed over")

#define STORE_METRIC_FIELD(name, counter, help) uint64_t name;
struct store_counts {
    STORE_METRICS(STORE_METRIC_FIELD)
};
#undef STORE_METRIC_FIELD

enum {
    STORE_WORDS_MAX = 1024, /* of an inspection: a path */
    STORE_LINES_MAX = 8,    /* log lines while the engine is opened */
    STORE_LOAD_BYTES_MAX = 16 * 1024 * 1024,
};

enum store_tag {
    STORE_TAG_TICK = 1,
    STORE_TAG_PUSH = 1u << 16,    /* plus the router's index */
    STORE_TAG_FORWARD = 2u << 16, /* plus the other store's, like the next two */
    STORE_TAG_MARKS = 3u << 16,
    STORE_TAG_RETRY = 4u << 16,
};

/* ------------------------------------------------------------------ slots */

struct store_slot {
    uint64_t fence;                         /* of the engine; 0: not of this store */
    uint64_t epoch, next_epoch;             /* as synced, and with the batch */
    uint16_t owner, next_owner;             /* the sequencer that claimed it */
    uint64_t incarnation, next_incarnation; /* of it, when it claimed */
    bool mine;
    uint8_t state; /* enum store_head_state */
    uint64_t load; /* while loading: the number of the load that brings it */
};

/* ------------------------------------------------------------------ writes */

struct store;
struct store_write;

struct store_write_ops {
    /* Adds the write's rows to the batch, or notes why not. Never fails as a whole. */
    void (*build)(struct store *store, struct store_write *write);
    /* The batch with its rows is synced (AN_OK), or was refused, or (failed loads, an
     * expired request) it was never built. Answers, then frees or keeps the write. */
    void (*finish)(struct store *store, struct store_write *write, enum an_err err);
    /* Frees it without an answer: the actor is going. */
    void (*discard)(struct store *store, struct store_write *write);
};

/* First member of every kind of write. */
struct store_write {
    const struct store_write_ops *ops;
    struct store_write *next;
    struct an_msg *msg;  /* the held request; NULL: one of our own */
    uint64_t load_first; /* the loads it waits for, by number; 0: none */
    uint64_t load_last;
    enum an_err failed; /* not AN_OK: one of them failed */
    bool built;
};

struct store_write_list {
    struct store_write *first, *last;
    uint32_t count;
};

/* ------------------------------------------------------------------ loads */

enum store_want_what {
    STORE_WANT_CONVERSATION,
    STORE_WANT_INBOX,
    STORE_WANT_SLOT,
    STORE_WANT_MARK,
};

/* Up to where the entries of a source store were taken into a slot. */
struct store_mark {
    uint64_t mark, next;             /* as synced, and with the batch */
    uint64_t load;                   /* as a slot's */
    struct store_mark *next_touched; /* in the batch */
    uint16_t slot, source;
    uint8_t state; /* enum store_head_state */
    bool touched;
};

struct store_want {
    enum store_want_what what;
    uint16_t slot;
    struct store_head *head; /* pinned by the want; of a conversation or an inbox */
    struct store_mark *mark;
};

struct store_wants {
    struct store_want *items;
    size_t count, cap;
};

/* ------------------------------------------------------------------ pushes */

struct store_push_chunk;

struct store_router {
    struct store_push_chunk *first, *last;
    size_t bytes;   /* waiting */
    uint32_t asked; /* hints in the request in flight; 0: none is */
};

/* ------------------------------------------------------------------ retention */

struct store_retention {
    bool busy;      /* a read or its deletes are under way */
    bool more;      /* the slots in hand hold more to delete */
    uint16_t slot;  /* next to look at */
    uint16_t first; /* slots in hand */
    uint16_t count;
};

/* ------------------------------------------------------------------ the actor */

struct store_cas;
struct store_read;
struct store_outgoing;

/* The newest write request of a sequencer that was taken on. */
struct store_writer {
    uint64_t incarnation, number;
};

struct store {
    struct an_actor actor;
    uint16_t index;
    const struct an_topology *topology;
    uint64_t dedupe_window_ms;
    uint32_t page_items_max;
    uint32_t page_bytes_max;

    struct engine *engine;
    struct engine_host caller_host; /* of our cfg: told when the engine is beyond help */
    /* Valid during a step; outside of one jobs and lines wait for the next. */
    struct an_outbox *out;
    struct an_now now;
    struct an_job *jobs_waiting, *jobs_waiting_last;
    uint32_t jobs_out; /* given to the runner and not back */
    char *lines[STORE_LINES_MAX];
    int line_levels[STORE_LINES_MAX];
    uint32_t line_count;

    bool started, stopping, stopped;
    uint32_t stop_applies; /* begun for the end, so that the next start is short */

    struct store_slot slots[AN_SLOTS];
    struct store_heads convs;
    struct store_heads inboxes;

    struct store_write_list queue;   /* waiting, in order of arrival */
    struct store_write_list writing; /* in the batch */
    struct store_batch batch;
    struct store_head **touched; /* heads with a row to write, conversations or inboxes */
    size_t touched_count, touched_cap;
    bool append_in_flight;
    bool appended; /* since the engine was last ticked */

    struct store_wants wanted;  /* for the next load */
    struct store_wants loading; /* in flight when not empty */
    uint64_t loads_begun, loads_done;
    struct an_arena load_arena;
    struct an_arena decode; /* of one row's value; reset at each use */

    struct store_cas *cas_first, *cas_last; /* the first is being worked on */
    uint32_t cas_count;

    struct store_read *reads_spare;
    uint32_t reads_in_flight;

    struct store_router *routers;
    uint16_t router_count;
    struct store_writer *writers; /* by sequencer */
    uint16_t writer_count;
    struct store_push_chunk *chunks_spare;

    struct store_outgoing *outgoing; /* to other stores; NULL: there are none */
    struct store_mark **marks;       /* by source store; NULL until it forwards */
    uint16_t mark_count;
    struct store_mark *marks_touched;
    size_t marks_touched_count;

    struct store_retention retention;
    struct store_counts counts;
};

/* Where the rows of a table begin within a slot: 3 bytes of key. */
static inline size_t
store_key_table(uint8_t *key, uint32_t slot, char table)
{
    an_put_u16(key, (uint16_t)slot);
    key[2] = (uint8_t)table;
    return 3;
}

static inline bool
store_owns(const struct store *store, uint32_t slot)
{
    return slot < AN_SLOTS && store->slots[slot].mine;
}

/* stray.c: may this Claim or Append be taken on? Refused already when not: a copy of one
 * that was taken on before, an older one that comes late, or one too many. Remembered as
 * the newest of its sequencer. incarnation 0: unnumbered, never stray. */
bool store_write_admit(struct store *store, struct an_msg *msg, uint64_t incarnation,
                       uint64_t number);
/* write.c: the queue, loading and batches. */
void store_write_add(struct store *store, struct store_write *write);
/* Reads what is wanted, builds and writes what is ready. After every drain. */
void store_write_run(struct store *store);
/* Sees to it that the head (pinned by the caller) will be loaded before the write is
 * built. */
AN_MUST_USE enum an_err store_want_head(struct store *store, struct store_write *write,
                                        enum store_want_what what,
                                        struct store_head *head);
AN_MUST_USE enum an_err store_want_slot(struct store *store, struct store_write *write,
                                        uint16_t slot);
AN_MUST_USE enum an_err store_want_mark(struct store *store, struct store_write *write,
                                        struct store_mark *mark);
/* Lists the head for a row of its own in this batch. Room was reserved. */
void store_touch(struct store *store, struct store_head *head);
/* Room in the batch and the touched list. */
bool store_reserve(struct store *store, size_t rows, size_t heads, size_t bytes);
void store_write_fini(struct store *store);

/* load.c */
void store_load_run(struct store *store);
void store_load_fini(struct store *store);

/* append.c, claim.c, cas.c, read.c: requests. Each answers or holds. */
void store_append(struct store *store, struct an_msg *msg);
void store_claim(struct store *store, struct an_msg *msg);
void store_cas(struct store *store, struct an_msg *msg);
void store_cas_run(struct store *store);
void store_cas_fini(struct store *store);
void store_read(struct store *store, struct an_msg *msg);
void store_read_fini(struct store *store);

/* receive.c: from other stores. */
void store_forward(struct store *store, struct an_msg *msg);
void store_marks(struct store *store, struct an_msg *msg);
/* Rows of the marks that the batch moves; false without memory. */
bool store_marks_put(struct store *store);
void store_marks_settle(struct store *store, bool synced);
bool store_receive_init(struct store *store);
void store_receive_fini(struct store *store);

/* outgoing.c, forward*.c: to other stores. The user is of one of them. */
/* Can no entry for the user be noted now? */
bool store_outgoing_blocked(const struct store *store, uint64_t user);
/* Another store has started and asks for marks: if it was not there before, what we had
 * to ask it need not wait for the pause to end. A pause that it asked for itself (BUSY)
 * stays: two that are full would end each other's for ever. */
void store_outgoing_heard(struct store *store, uint16_t index);
/* The stores of which that is so, at most AN_SLOTS of them; their count. */
size_t store_outgoing_list_blocked(const struct store *store, uint32_t *out);
/* The row of an entry for the user, into the batch; its number. Room was reserved. */
uint64_t store_outgoing_put(struct store *store, uint64_t user,
                            const Anser__Bus__MessageEntry *message);
void store_outgoing_settle(struct store *store, bool synced);
/* It is synced: forwards it when its turn comes. */
void store_outgoing_note(struct store *store, uint64_t user, uint64_t number,
                         uint64_t trace, const Anser__Bus__MessageEntry *message);
void store_outgoing_answer(struct store *store, const struct an_msg *msg);
/* Before and after the writes of a drain; about once a second. */
void store_outgoing_gather(struct store *store);
void store_outgoing_run(struct store *store);
void store_outgoing_tick(struct store *store);
void store_outgoing_metrics(const struct store *store, an_metric_f *metric, void *ctx);
/* JSON for operators, into memory to be freed; NULL without. */
char *store_outgoing_describe(const struct store *store);
bool store_outgoing_init(struct store *store, const struct store_cfg *cfg);
void store_outgoing_fini(struct store *store);

/* push.c */
/* A copy of the bytes in the arena; false without memory. */
bool store_copy(struct an_arena *arena, ProtobufCBinaryData *data);
/* inboxes: the sender's and the recipient's as synced, NULL where there is none here. */
void store_push_message(struct store *store, const Anser__Bus__MessageEntry *entry,
                        uint64_t trace, struct store_head *const inboxes[2],
                        const uint64_t inbox_seqs[2]);
/* An entry that another store forwarded. */
void store_push_forwarded(struct store *store, const Anser__Bus__ForwardEntry *entry,
                          const struct store_head *inbox, uint64_t inbox_seq);
void store_push_delivered(struct store *store, const Anser__Bus__DeliveredEntry *entry,
                          uint64_t trace);
/* The user's account has changed: for every gate. */
void store_push_account(struct store *store, uint64_t user,
                        const Anser__Bus__AccountState *state, uint64_t trace);
void store_push_run(struct store *store);
void store_push_done(struct store *store, const struct an_msg *msg);
void store_push_fini(struct store *store);

/* retention.c */
void store_retention_tick(struct store *store);
/* Goes on at once where more is left than one round may take. After every drain. */
void store_retention_run(struct store *store);

/* inspect.c */
void store_inspect(struct store *store, struct an_msg *msg);
void store_metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx);

/* The time in a UUIDv7, Unix ms. */
uint64_t store_id_time_ms(const uint8_t id[16]);
/* Answers a request with an error and counts it. Does not release. */
void store_refuse(struct store *store, struct an_msg *msg, enum an_err err);
/* Unpacks a row's value into the arena; NULL when it is not one or there is no memory
 * for it, logged: store_undecoded() says which. */
void *store_decode(struct store *store, struct an_arena *arena,
                   const ProtobufCMessageDescriptor *descriptor,
                   const struct engine_item *item);
/* Why store_decode into this arena gave NULL just now: AN_ERR_NO_MEMORY, AN_ERR_CORRUPT.
 */
enum an_err store_undecoded(const struct an_arena *arena);

#endif
