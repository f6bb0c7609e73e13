/* Inbox entries for users of other stores: the sending side.
 *
 * A message with a member elsewhere adds an outgoing row to its own log record, numbered
 * without gaps for each destination slot. After the sync the entries are forwarded, one
 * request in flight for each store, from memory as long as they fit there and from their
 * rows otherwise. The destination's mark says up to where it has them; rows below it are
 * deleted, all but the newest of a slot, from which a start knows the numbers.
 *
 *   outgoing.c        numbers, rows, marks, what waits in memory
 *   forward.c         requests and their answers
 *   forward_read.c    entries read back from their rows
 *   forward_start.c   the numbers at the start, and deleting rows
 *
 * Context: the store actor's thread. There is none of it in a store that is alone. */
#ifndef AN_ACTORS_STORE_OUTGOING_H
#define AN_ACTORS_STORE_OUTGOING_H

#include "actors/store/store_priv.h"

enum {
    STORE_FORWARD_READ_ROWS = 128, /* rows of one read back: at most 8 MiB of bodies */
    STORE_FORWARD_DELETES = 1024,  /* rows deleted in one log record */
    STORE_FORWARD_RETRY_MS = 20,   /* the first pause after a failure; doubles */
    STORE_FORWARD_RETRY_MAX_MS = 1000,
};

/* Towards a slot of another store. Numbers of entries; 0: none yet. */
struct store_outgoing_slot {
    uint64_t last, next;   /* newest given: as synced, and with the batch */
    uint64_t memory;       /* from here on they wait in memory, if there are any */
    uint64_t sent;         /* newest in the request in flight or one before it */
    uint64_t mark;         /* newest that the destination is known to have */
    uint64_t gone;         /* rows up to here are deleted, or are being */
    uint64_t held_mono_ms; /* left out until then: the destination refused them */
    uint16_t store;
    bool skip;    /* what lies between mark and the next to send is lost */
    bool touched; /* in the batch */
};

struct store_outgoing_entry {
    uint64_t number;
    Anser__Bus__ForwardEntry *forward;
    uint16_t slot;
};

/* Entries in the order they were synced. */
struct store_outgoing_chunk {
    struct store_outgoing_chunk *next;
    struct an_arena arena; /* of the entries and all they point at */
    struct store_outgoing_entry entries[AN_BATCH_ITEMS_MAX];
    size_t count;
    size_t bytes;
    uint64_t oldest_ms; /* time of its oldest message */
};

/* A row on its way back from the disk. */
struct store_forward_row {
    uint64_t number, user, seq;
    struct an_conv conv;
    uint16_t slot;
};

/* Another store. */
struct store_peer {
    struct store *store;
    uint16_t index;
    bool marks; /* it has said how far it got */
    bool known; /* and so numbers can be given */
    bool asked; /* a request is in flight: MARKS, or FORWARD once known */
    bool disk;  /* some slot has entries that are not in memory */
    bool reading;
    uint32_t retry_ms;      /* the pause after the next failure */
    uint64_t retry_mono_ms; /* nothing is asked before */
    enum an_err error;      /* of the last request that failed; AN_OK since */

    struct store_outgoing_chunk *first, *last; /* in memory, not asked yet */
    size_t bytes;                              /* of them */
    uint64_t waiting;                          /* entries above the marks */
    uint64_t forwarded;                        /* since the start */

    struct store_outgoing_chunk *flying; /* asked until it is answered */
    Anser__Bus__ForwardEntry *list[AN_BATCH_ITEMS_MAX];
    Anser__Bus__ForwardSlot slots[AN_BATCH_ITEMS_MAX];
    Anser__Bus__ForwardSlot *slot_list[AN_BATCH_ITEMS_MAX];
    size_t slot_count;

    struct store_forward_row rows[STORE_FORWARD_READ_ROWS]; /* being read back */
    size_t row_count;
    struct {
        uint16_t slot;
        uint64_t end; /* in memory from here on, when the read began */
    } ranges[STORE_FORWARD_READ_ROWS];
    size_t range_count;
    uint16_t read_slot; /* where the next read begins */
};

struct store_outgoing {
    struct store_outgoing_slot slots[AN_SLOTS];
    uint16_t touched[AN_SLOTS];
    size_t touched_count;
    uint64_t rows_max;       /* waiting for one store */
    size_t bytes_max;        /* of them in memory */
    uint16_t home;           /* first slot of this store: where its rows are */
    bool tail, tail_reading; /* the numbers of its rows are known */
    uint64_t tail_mono_ms;   /* not read again before */
    bool deleting;
    uint64_t deletable;       /* about how many rows wait to be deleted */
    struct store_peer *peers; /* by index; that of this store is not used */
    uint16_t peer_count;
    struct store_outgoing_chunk *spare;
};

/* ------------------------------------------------------------------ outgoing.c */

/* An empty one; NULL without memory. */
struct store_outgoing_chunk *store_outgoing_chunk_take(struct store_outgoing *outgoing);
/* NULL is fine. */
void store_outgoing_chunk_give(struct store_outgoing *outgoing,
                               struct store_outgoing_chunk *chunk);
/* An entry in the chunk's memory; the message's fields stay where they are. false when
 * the chunk has no more room. */
bool store_outgoing_chunk_add(struct store_outgoing_chunk *chunk, uint16_t slot,
                              uint64_t number, Anser__Bus__ForwardEntry *forward);
/* What it takes in memory, and about as much on the bus. */
size_t store_outgoing_entry_bytes(const Anser__Bus__MessageEntry *message);
/* The destination has said how far it is. */
void store_outgoing_set_mark(struct store *store, uint16_t slot, uint64_t mark);
/* Up to where rows of the slot may go. */
uint64_t store_outgoing_deletable(const struct store_outgoing_slot *slot);
void store_outgoing_failed(struct store *store, struct store_peer *peer, enum an_err err);

/* ------------------------------------------------------------------ the others */

/* Takes what follows what was sent out of the chunk, makes the request of it and has it
 * flying; gives the chunk back when nothing of it follows. */
void store_forward_prepare(struct store *store, struct store_peer *peer,
                           struct store_outgoing_chunk *chunk);
/* Begins to read back what is not in memory; false when there is no such thing now. */
bool store_forward_read(struct store *store, struct store_peer *peer);
void store_forward_ask(struct store *store, struct store_peer *peer);
/* Reads the numbers of the rows, when that was not done yet. */
void store_forward_load_tail(struct store *store);
void store_forward_ask_marks(struct store *store, struct store_peer *peer);
void store_forward_take_marks(struct store *store, struct store_peer *peer,
                              const Anser__Bus__MarksDone *body);
/* true: from now on numbers can be given for this store. */
bool store_forward_begin(struct store *store, struct store_peer *peer);
/* Queues a write that deletes a bounded number of rows that may go, if there are any. */
void store_forward_delete(struct store *store);

#endif
