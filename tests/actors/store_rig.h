/* A store actor on a disk of its own, driven by hand. The engine is named by the build
 * (STORE_RIG_KIND), so every test runs over each of them.
 *
 * Users are numbers; user 7 is called "u7" and sends from device "phone". */
#ifndef AN_TESTS_ACTORS_STORE_RIG_H
#define AN_TESTS_ACTORS_STORE_RIG_H

#include "actors/store/store.h"
#include "proto/bus.pb-c.h"
#include "proto/client.pb-c.h"
#include "proto/rows.h"
#include "store/files_sim.h"
#include "tests/actors/harness.h"

struct store_rig {
    struct harness *h;
    struct an_topology topology;
    struct store_cfg cfg;      /* changed by a test before store_rig_open */
    struct files_sim *sim;     /* the disk of the log */
    char dir[64];              /* of LMDB's file, on the real disk; else empty */
    uint64_t epochs[AN_SLOTS]; /* as last claimed */
    unsigned fatals;
};

/* Only the disk and the configuration. */
struct store_rig *store_rig_create(void);
/* Opens the store and starts it. */
void store_rig_open(struct store_rig *rig);
/* Destroys the actor; the disk stays. */
void store_rig_close(struct store_rig *rig);
void store_rig_destroy(struct store_rig *rig);
/* cmocka's, around a test: a store that is open, in *state. */
int store_rig_setup(void **state);
int store_rig_teardown(void **state);
/* Drains and runs jobs until nothing moves. */
void store_rig_settle(struct store_rig *rig);

/* The text as a field of a message; borrowed. */
ProtobufCBinaryData store_rig_data(const char *text);
bool store_rig_is(ProtobufCBinaryData data, const char *text);
/* That of the conversation of two users. */
uint16_t store_rig_slot(uint64_t a, uint64_t b);
/* Its head; 0 when there is no such conversation. */
uint64_t store_rig_head(struct store_rig *rig, uint64_t a, uint64_t b);
/* One request, answered: the body, or NULL with *err when it was an error. */
const void *store_rig_ask(struct store_rig *rig, enum an_role from, enum an_kind kind,
                          const ProtobufCMessage *body, enum an_err *err);
/* Claims the slot for sequencer/0 and remembers its epoch. */
void store_rig_claim(struct store_rig *rig, uint16_t slot);
/* The same for the conversation of two users. */
void store_rig_claim_pair(struct store_rig *rig, uint64_t a, uint64_t b);

/* A message entry; its client id carries the time and both users and the seq. */
struct store_rig_message {
    Anser__Bus__MessageEntry message;
    Anser__Bus__Entry entry;
    struct an_conv conv;
    uint8_t id[16];
    uint8_t hash[16];
    char from[24], to[24], text[64];
};
void store_rig_message(struct store_rig_message *out, uint64_t from, uint64_t to,
                       uint64_t seq);
/* What it is by: the time of seq in the rig's world. */
uint64_t store_rig_time(uint64_t seq);

/* Appends entries of one slot with its remembered epoch; the slot's result. */
const Anser__Bus__AppendedSlot *store_rig_append(struct store_rig *rig, uint16_t slot,
                                                 Anser__Bus__Entry **entries,
                                                 size_t count);
/* The request alone, not settled: its number. */
uint64_t store_rig_append_begin(struct store_rig *rig, uint16_t slot,
                                Anser__Bus__Entry **entries, size_t count);
/* One message, as above. */
const Anser__Bus__AppendedSlot *store_rig_send(struct store_rig *rig, uint64_t from,
                                               uint64_t to, uint64_t seq);
/* Messages first..last, alternating directions; every one must be taken. */
void store_rig_talk(struct store_rig *rig, uint64_t a, uint64_t b, uint64_t first,
                    uint64_t last);

/* One query's answer. */
const Anser__Bus__Answer *store_rig_query(struct store_rig *rig,
                                          const Anser__Bus__Query *query);
const Anser__Bus__Answer *store_rig_login(struct store_rig *rig, uint64_t user,
                                          const char *device);
/* Unpacked pages, the caller's to free; NULL unless *err is AN_OK. */
Anser__Client__SyncOk *store_rig_sync(struct store_rig *rig, uint64_t user,
                                      uint64_t after, uint32_t limit, uint64_t generation,
                                      enum an_err *err);
/* viewer looks at the conversation of a and b. */
Anser__Client__HistoryOk *store_rig_history(struct store_rig *rig, uint64_t viewer,
                                            uint64_t a, uint64_t b,
                                            const Anser__Bus__HistoryQuery *how,
                                            enum an_err *err);

#endif
