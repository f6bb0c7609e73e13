/* The inside of the offline check, shared by its files alone. */
#ifndef AN_CLUSTER_CHECK_PRIV_H
#define AN_CLUSTER_CHECK_PRIV_H

#include "cluster/check.h"
#include "core/arena.h"
#include "proto/stored.pb-c.h"

/* Where a row lies; file is an index into the names of struct check. */
struct check_origin {
    uint64_t offset;
    uint32_t file;
};

/* A key taken apart. Pointers are into the key. */
struct check_key {
    uint16_t slot;
    char table;
    uint64_t low, high; /* of the conversation */
    uint64_t user;      /* or the sender of a dedupe row */
    uint64_t seq;
    uint32_t other;    /* slot of an outgoing row's user; source store of a mark */
    const uint8_t *id; /* 16 bytes of a dedupe row */
    const uint8_t *app, *name;
    size_t app_len, name_len;
};

/* Takes it apart. NULL, or what is wrong with it in a few words. */
const char *check_key_get(struct check_key *key, const uint8_t *data, size_t len);
/* The slot that the key's content demands; -1: the content demands none. */
int check_key_slot(const struct check_key *key);
/* A direct conversation's key; false when it is none. */
bool check_conv_get(const uint8_t *data, size_t len, uint64_t *low, uint64_t *high);
uint16_t check_slot_user(uint64_t user);
uint16_t check_slot_conv(uint64_t low, uint64_t high);
uint16_t check_slot_name(const uint8_t *app, size_t app_len, const uint8_t *name,
                         size_t name_len);
/* 1..64 bytes of valid UTF-8 without control characters, space, '/' and '"'. */
bool check_name(const uint8_t *name, size_t len);

/* ------------------------------------------------------------------ vectors */

struct check_list {
    void *items;
    size_t count, room;
};

/* ------------------------------------------------------------------ one slot */

struct check_conv {
    uint64_t low, high;
    uint64_t generation, head, last_time_ms;
    uint64_t seen;         /* seq of the last message met */
    uint64_t seen_time_ms; /* its time */
    const uint8_t *names[2];
    uint8_t name_lens[2];
    bool known; /* its row was met */
    struct check_origin origin;
};

struct check_dedupe {
    uint64_t low, high, seq;
    uint64_t sender, message_id, time_ms;
    uint8_t id[16];
    bool matched;
    struct check_origin origin;
};

struct check_inbox {
    uint64_t user, head, first;
    uint64_t seen; /* seq of the last entry met; first - 1 before */
    bool known;
    struct check_origin origin;
};

struct check_device {
    uint64_t user, cursor;
    struct check_origin origin;
};

struct check_owned { /* an account row, or a device's session: its user must be there */
    uint64_t user;
    const char *what;
    struct check_origin origin;
    bool account;
    uint64_t revocations; /* that it counts */
};

struct check_slot {
    bool any;
    uint16_t number;
    struct check_list convs, dedupes, inboxes, devices, owned;
    size_t owned_at;
    bool owned_sorted;
    size_t conv_at, dedupe_at, inbox_at; /* the walk is in key order: so are these */
    bool dedupes_sorted;
    bool positions; /* the walk has come to the delivered positions */
    struct an_arena names;
};

/* ------------------------------------------------------------------ across slots */

enum { CHECK_PARTS = 65536 };

/* What one side said minus what the other said: all zero when they agree. */
struct check_part {
    uint64_t a, b;
    int64_t count;
};

enum check_join_what { CHECK_JOIN_ENTRY, CHECK_JOIN_ACCOUNT, CHECK_JOINS };
enum check_side { CHECK_MESSAGES = 1, CHECK_ENTRIES = -1 }; /* or users, directory */

/* An item of a join, kept only in the second walk and only where sides disagree. */
struct check_item {
    uint64_t a, b; /* its hash: equal items are equal here */
    uint64_t user, low, high, seq, inbox_seq;
    struct check_origin origin;
    uint8_t what; /* enum check_join_what */
    int8_t side;
};

struct check_id {
    uint64_t id, low, high, seq;
    struct check_origin origin;
};

/* An outgoing row: seq of the conversation's message waits for user, on another store. */
struct check_outgoing {
    uint64_t low, high, seq;
    uint64_t user, number;
    struct check_origin origin;
    uint16_t slot; /* the user's */
    uint16_t source;
    bool found; /* the message is there */
};

struct check_mark {
    uint64_t number;
    struct check_origin origin;
    uint16_t slot, source;
};

struct check_dir {
    const char *name;
    struct store_check *store;
    uint16_t store_id, slot_first, slot_last;
};

/* A file that rows lie in. */
struct check_file {
    char *name;
    const char *dir;
};

struct check {
    const struct an_check_cfg *cfg;
    struct check_dir *dirs;
    const struct check_dir *dir; /* under the walk */
    struct an_check_totals *totals;
    uint64_t horizon_ms; /* ids from here on must have a dedupe row */
    enum an_err err;     /* what ended the walk */
    bool second;         /* the second walk: nothing but collecting */
    uint64_t walked;

    const struct store_check_row *row; /* under the walk */
    struct check_origin at;            /* its origin */
    struct check_file files[64];
    uint32_t file_count;
    struct an_arena decode; /* of one value */
    struct check_slot slot;

    struct check_part *parts[CHECK_JOINS];
    struct check_list items; /* second walk */
    bool items_cut;

    uint64_t *filter; /* of message ids */
    uint64_t filter_bits;
    struct check_list suspects; /* ids that the filter knew already */
    struct check_list ids;      /* second walk: messages with such an id */
    bool suspects_cut;

    struct check_list outgoing; /* rows of every directory */
    size_t outgoing_first;      /* of the one under the walk */
    bool outgoing_sorted;
    bool outgoing_cut;
    uint32_t outgoing_slot; /* slot and number of the row before */
    uint64_t outgoing_number;
    struct check_list marks;
};

/* Room for one more item, zeroed; NULL without memory, noted in err. */
void *check_list_add(struct check *check, struct check_list *list, size_t size);
/* A finding at the row under the walk, or elsewhere. */
void check_here(struct check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void check_there(struct check *check, struct check_origin origin, bool note,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The value of the row under the walk, unpacked until the next; NULL: a finding. */
void *check_value(struct check *check, const ProtobufCMessageDescriptor *descriptor);

/* Is the slot, or the user's inbox, in a directory given? */
bool check_slot_here(const struct check *check, uint16_t slot);
bool check_user_here(const struct check *check, uint64_t user);

/* check_slot.c, check_inbox.c: first walk. */
void check_slot_row(struct check *check, const struct check_key *key);
void check_slot_end(struct check *check);
void check_slot_fini(struct check *check);
void check_inbox_head(struct check *check, const struct check_key *key);
void check_inbox_entry(struct check *check, const struct check_key *key);
void check_device(struct check *check, const struct check_key *key);
void check_inboxes_end(struct check *check);

/* check_account.c: first walk. */
void check_account(struct check *check, const struct check_key *key);
void check_session(struct check *check, const struct check_key *key);
/* A user row; the walk brings them in order, after those of the accounts. */
void check_account_user(struct check *check, uint64_t user);
void check_accounts_end(struct check *check);

/* check_outgoing.c: first walk. */
void check_outgoing_row(struct check *check, const struct check_key *key);
void check_mark_row(struct check *check, const struct check_key *key);
/* A message is there. */
void check_outgoing_message(struct check *check, uint64_t low, uint64_t high,
                            uint64_t seq);
/* A directory begins and ends. */
void check_outgoing_begin(struct check *check);
void check_outgoing_end(struct check *check);
/* After all directories, in both walks: rows above the marks count as entries. */
void check_outgoing_join(struct check *check);
void check_outgoing_fini(struct check *check);
/* The head of a conversation in the slot under the walk; NULL: it has none. */
const struct check_conv *check_conv_find(const struct check_slot *slot, uint64_t low,
                                         uint64_t high);

/* check_join.c: both walks. */
AN_MUST_USE enum an_err check_join_init(struct check *check);
/* A message, for each of its members whose inbox is here. */
void check_join_message(struct check *check, uint64_t low, uint64_t high, uint64_t seq);
/* A message that a member must have, or an entry that points at one; inbox_seq 0: an
 * outgoing row that waits. */
void check_join_entry(struct check *check, enum check_side side, uint64_t user,
                      uint64_t low, uint64_t high, uint64_t seq, uint64_t inbox_seq);
/* A user row, or a directory row. */
void check_join_account(struct check *check, enum check_side side, uint64_t user,
                        const uint8_t *app, size_t app_len, const uint8_t *name,
                        size_t name_len);
void check_message_id(struct check *check, uint64_t id);
/* After the first walk: must there be a second? */
bool check_join_doubts(struct check *check);
/* A row of the second walk. */
void check_join_row(struct check *check, const struct check_key *key);
/* After the second: says what was found. */
void check_join_report(struct check *check);
void check_join_fini(struct check *check);

#endif
