/* A sequencer with a store and an id generator in memory behind it. The store keeps what
 * was appended and answers questions from it; a test may take the next Append by hand
 * instead, and answer it as it likes. */
#ifndef AN_TESTS_ACTORS_SEQ_RIG_H
#define AN_TESTS_ACTORS_SEQ_RIG_H

#include "actors/sequencer/sequencer.h"
#include "proto/bus.pb-c.h"
#include "proto/rows.h"
#include "tests/actors/harness.h"

enum { RIG_ROWS_MAX = 4096 };

struct rig_message {
    struct an_conv conv;
    uint64_t sender, seq, message_id, time_ms, inbox_seq;
    uint8_t id[16], hash[16];
    char body[32];
};

struct rig_device {
    uint64_t user, cursor;
    char name[65];
};

struct rig_name { /* a directory row, or a user row with an empty name's app */
    uint64_t user;
    char app[65], name[65];
};

struct rig_delivered {
    struct an_conv conv;
    uint64_t member, seq;
};

struct rig {
    struct harness *h;
    struct an_topology topology;
    uint64_t epoch[AN_SLOTS], claimer[AN_SLOTS]; /* claimer: its incarnation */
    uint16_t owner[AN_SLOTS];
    struct rig_message *messages;
    size_t message_count;
    struct rig_device devices[64];
    size_t device_count;
    struct rig_name names[64], users[64];
    size_t name_count, user_count;
    /* Rows as their newest entry says, owned. */
    Anser__Bus__AccountEntry *accounts[64];
    Anser__Bus__DeviceSessionEntry *sessions[128];
    size_t account_count, session_count;
    struct rig_delivered delivered[64];
    size_t delivered_count;
    uint64_t inbox_head, inbox_generation; /* of every user: what devices may confirm */
    uint64_t next_ms;                      /* of ids given out */
    bool no_ids;
    size_t appends, reads;
};

/* Not started: claims and ids are still out. cfg may be NULL. */
void rig_init(struct rig *rig, const struct sequencer_cfg *cfg);
/* And everything answered until READY. */
void rig_init_ready(struct rig *rig, const struct sequencer_cfg *cfg);
/* A new sequencer over the same store, as after a kill. Not ready yet. */
void rig_restart(struct rig *rig, const struct sequencer_cfg *cfg);
void rig_fini(struct rig *rig);

/* Answers what is out: everything; everything but Appends; one kind only. */
void rig_pump(struct rig *rig);
void rig_pump_but_appends(struct rig *rig);
void rig_pump_kind(struct rig *rig, enum an_kind kind);
/* The Append that is out, by hand. rig_store carries it out without answering;
 * rig_answer does both. */
const struct harness_effect *rig_take_append(struct rig *rig);
/* As if sequencer owner had claimed these slots, count from first on. */
void rig_claimed_by(struct rig *rig, uint16_t owner, uint16_t first, uint16_t count);
void rig_store(struct rig *rig, const struct harness_effect *append);
void rig_answer(struct rig *rig, const struct harness_effect *append);
/* Answers every slot of it with this error. */
void rig_refuse(struct rig *rig, const struct harness_effect *append, enum an_err err,
                uint32_t owner);

/* ------------------------------------------------------------------ commands */

struct rig_send {
    uint64_t sender, recipient; /* 0: 1 and 2 */
    uint64_t id;                /* which client_msg_id: any number */
    int64_t id_age_ms;          /* the id's time before now */
    uint64_t after;             /* 0: none */
    int64_t after_age_ms;
    const char *body; /* NULL: "hello" */
    uint32_t type;    /* 0: 1 */
};

/* One Submit of these sends; drained afterwards. Its number. */
uint64_t rig_sends(struct rig *rig, const struct rig_send *sends, size_t count);
uint64_t rig_send(struct rig *rig, const struct rig_send *send);
uint64_t rig_confirm(struct rig *rig, uint64_t user, const char *device, uint64_t seq,
                     uint64_t generation);
uint64_t rig_delivered(struct rig *rig, uint64_t a, uint64_t b, uint64_t member,
                       uint64_t seq);
uint64_t rig_put_directory(struct rig *rig, const char *name, uint64_t user);
uint64_t rig_create_user(struct rig *rig, const char *name, uint64_t user);
/* An UpdateAccount or UpdateDevice, whose user and slot are filled in. */
uint64_t rig_update_account(struct rig *rig, uint64_t user,
                            Anser__Bus__UpdateAccount update);
uint64_t rig_update_device(struct rig *rig, uint64_t user, const char *device,
                           Anser__Bus__UpdateDevice update);
/* A user with a password hash. */
uint64_t rig_register(struct rig *rig, const char *name, uint64_t user, const char *hash);
/* NULL: no such row. */
const Anser__Bus__AccountEntry *rig_account(const struct rig *rig, uint64_t user);
const Anser__Bus__DeviceState *rig_session(const struct rig *rig, uint64_t user,
                                           const char *device);
/* The id bytes that rig_send makes of these. */
void rig_id(const struct rig *rig, uint64_t id, int64_t age_ms, uint8_t out[16]);

/* Result number i of an answered Submit; fails the test when it is not answered. */
const Anser__Bus__Result *rig_result(struct rig *rig, uint64_t request, size_t i);
bool rig_answered(struct rig *rig, uint64_t request);
/* Of the conversation of 1 and 2 unless named. */
size_t rig_stored(const struct rig *rig, uint64_t a, uint64_t b);

/* ------------------------------------------------------------------ alice, who is 41
 */

/* For cmocka: a rig with her. */
int rig_alice_setup(void **state);
int rig_alice_teardown(void **state);
enum an_err rig_err(struct rig *rig, uint64_t request);
/* A hash of 32 bytes: the letter all over. 0: none. */
ProtobufCBinaryData rig_hash(char letter);
/* The device's refresh token becomes that of a letter, if it is that of another. */
enum an_err rig_rotate(struct rig *rig, const char *device, char from, char to);
/* The first whole second that has not begun. */
uint64_t rig_next_second(const struct rig *rig);
/* All her tokens, or a device's with its refresh token; from when others are good. */
uint64_t rig_revoke(struct rig *rig);
uint64_t rig_revoke_device(struct rig *rig, const char *device);
/* A gate says that it logged in with a token of then. */
enum an_err rig_seen(struct rig *rig, const char *device, uint64_t issued_ms);

/* ------------------------------------------------------------------ inside */

/* The text as a field of a message; borrowed. */
ProtobufCBinaryData rig_text(const char *chars);
uint64_t rig_submit(struct rig *rig, Anser__Bus__Command **commands, size_t count);
/* seq_rig_accounts.c */
void rig_store_account(struct rig *rig, const Anser__Bus__AccountEntry *entry);
void rig_store_session(struct rig *rig, const Anser__Bus__DeviceSessionEntry *entry);
void rig_store_first(struct rig *rig, const Anser__Bus__UserEntry *user);
void rig_answer_account(struct rig *rig, const Anser__Bus__AccountQuery *q,
                        Anser__Bus__Answer *a);
void rig_accounts_fini(struct rig *rig);

#endif
