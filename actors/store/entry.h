/* One entry of an append: what it touches, whether it fits, its rows, and who is told.
 *
 * Context: the store actor's thread. */
#ifndef AN_ACTORS_STORE_ENTRY_H
#define AN_ACTORS_STORE_ENTRY_H

#include "actors/store/store_priv.h"

/* What an entry touches. All zero: nothing. */
struct store_entry {
    struct store_head *conv; /* pinned */
    /* Pinned: the sender's (or a device's user's) and the recipient's; NULL when it is on
     * another store, or the same. */
    struct store_head *inbox[2];
    uint64_t inbox_seq[2]; /* numbers a message was given in them */
    bool elsewhere[2];     /* that inbox is on another store */
    uint64_t outgoing[2];  /* and the number its entry has on the way there */
};

/* What rows will need. */
struct store_room {
    size_t rows, heads, bytes;
};

/* Is it well-formed and does it belong into the slot? */
bool store_entry_fits(const Anser__Bus__Entry *entry, uint32_t slot);
/* Pins the heads of an entry that fits and has them loaded before the write is built.
 * What was pinned is to be released also after an error. */
AN_MUST_USE enum an_err store_entry_need(struct store *store, struct store_write *write,
                                         struct store_entry *own,
                                         const Anser__Bus__Entry *entry, uint16_t slot);
void store_entry_release(struct store *store, struct store_entry *own);
/* Does it fit behind the heads as they will be? GAP, CURSOR_AHEAD, ARGUMENT; UNAVAILABLE
 * when it has to be noted for a store that is behind. Counts it as there for the entries
 * that are checked next; store_entry_uncheck takes that back. */
AN_MUST_USE enum an_err store_entry_check(const struct store *store,
                                          const Anser__Bus__Entry *entry,
                                          struct store_entry *own);
/* Is the message well-formed, whatever its slot, retry id and hash? */
bool store_message_fits(const Anser__Bus__MessageEntry *message);
/* Pins the user's inbox, if it is of this store (else *out stays), and has it loaded. */
AN_MUST_USE enum an_err store_inbox_need(struct store *store, struct store_write *write,
                                         struct store_head **out, uint64_t user);
/* The row of an inbox entry and its number, the head's next. Room was reserved. */
void store_inbox_put(struct store *store, struct store_head *inbox,
                     const Anser__Bus__MessageEntry *entry);
void store_entry_uncheck(struct store_entry *own);
/* Adds what store_entry_build will need. */
void store_entry_room(const Anser__Bus__Entry *entry, struct store_room *room);
/* Rows into the batch, numbers into the heads' next face and into own. Cannot fail. */
void store_entry_build(struct store *store, uint16_t slot, const Anser__Bus__Entry *entry,
                       struct store_entry *own);
/* It is synced: counts, events and hints to routers. */
void store_entry_tell(struct store *store, const Anser__Bus__Entry *entry,
                      const struct store_entry *own);

#endif
