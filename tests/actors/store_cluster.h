/* Several store actors, each on a disk of its own, and the bus between them: lossless, or
 * as a test says. Each is a store_rig; slots are shared evenly among them.
 *
 * A conversation's messages are appended at the store that has its slot, by a sequencer
 * that is played here. */
#ifndef AN_TESTS_ACTORS_STORE_CLUSTER_H
#define AN_TESTS_ACTORS_STORE_CLUSTER_H

#include "tests/actors/store_rig.h"

enum { CLUSTER_STORES_MAX = 3, CLUSTER_LATE_MAX = 64 };

enum cluster_fate {
    FATE_GOOD,
    FATE_LOSE,        /* the request never comes; the asker's time runs out */
    FATE_LOSE_ANSWER, /* it comes, its answer does not */
    FATE_DOUBLE,      /* it comes twice */
    FATE_LATE,   /* the asker's time runs out; it comes when cluster_late is called */
    FATE_REFUSE, /* not connected */
    FATE_BUSY,   /* the mailbox is full */
    FATE_FULL,   /* it comes, and the store has no room to answer */
    FATE_ENDING, /* the store is about to stop, and takes nothing more */
};

struct cluster_request {
    struct harness_effect ask; /* its body is below */
    uint16_t from;
    unsigned life; /* of the asker */
    ProtobufCMessage *body;
};

/* All their disks in one table, for reading. */
struct cluster_files {
    struct store_files files;
    struct cluster *c;
};

struct cluster {
    struct cluster_files files;
    struct store_rig *rigs[CLUSTER_STORES_MAX];
    unsigned lives[CLUSTER_STORES_MAX];
    bool up[CLUSTER_STORES_MAX];
    uint16_t count;
    /* What becomes of a request; NULL: FATE_GOOD. */
    enum cluster_fate (*fate)(void *ctx, const struct cluster_request *request);
    void *ctx;
    struct cluster_request late[CLUSTER_LATE_MAX];
    size_t late_count;
    unsigned carried; /* requests between stores */
};

/* Disks and configurations; nothing is open. */
struct cluster *cluster_create(uint16_t stores);
void cluster_destroy(struct cluster *c);
void cluster_open(struct cluster *c, uint16_t store);
void cluster_open_all(struct cluster *c);
/* It is gone, with what it had not answered; its disk stays. */
void cluster_close(struct cluster *c, uint16_t store);
/* Closed: its disk is a new one, as if all was lost. */
void cluster_lose_disk(struct cluster *c, uint16_t store);
/* A table with the directories data0, data1, ... of the stores, which must be closed. */
struct store_files *cluster_files(struct cluster *c);
/* Until nothing moves. */
void cluster_run(struct cluster *c);
/* The same, with time going on in all of them. */
void cluster_advance(struct cluster *c, uint64_t ms);
/* A request that was late comes now. */
void cluster_late(struct cluster *c, size_t which);

/* The n-th user (from 0) whose inbox is on the store. */
uint64_t cluster_user(const struct cluster *c, uint16_t store, unsigned n);
uint16_t cluster_store_of(const struct cluster *c, uint64_t user);
/* Where the conversation of the two is. */
uint16_t cluster_store_of_pair(const struct cluster *c, uint64_t a, uint64_t b);
/* A pair of users of these stores whose conversation is on that one. */
void cluster_pair(const struct cluster *c, uint16_t store_a, uint16_t store_b,
                  uint16_t conv, uint64_t *a, uint64_t *b);
/* Claims the conversation's slot. */
void cluster_claim_pair(struct cluster *c, uint64_t a, uint64_t b);
/* One message; what the append said, or NULL when its store gave no answer. The bus
 * carries nothing meanwhile. */
const Anser__Bus__AppendedSlot *cluster_send(struct cluster *c, uint64_t from,
                                             uint64_t to, uint64_t seq);
/* Messages first..last, alternating directions; all must be taken. */
void cluster_talk(struct cluster *c, uint64_t a, uint64_t b, uint64_t first,
                  uint64_t last);
/* The conversation's head, 0 without one. */
uint64_t cluster_head(struct cluster *c, uint64_t a, uint64_t b);
/* How often the message is in the user's inbox. Inbox seqs are 1.. without a gap, and
 * seqs of each conversation rise (asserted). */
unsigned cluster_entries(struct cluster *c, uint64_t user, uint64_t a, uint64_t b,
                         uint64_t seq);
/* The inbox's head. */
uint64_t cluster_inbox_head(struct cluster *c, uint64_t user);
/* Every message of the pair up to its head is exactly once in both inboxes. */
void cluster_expect_whole(struct cluster *c, uint64_t a, uint64_t b);
uint64_t cluster_metric(struct cluster *c, uint16_t store, const char *name);

#endif
