/* A gate driven by hand, with users who can be logged in: for the test_gate_*.c files. */
#ifndef AN_TESTS_ACTORS_GATE_KIT_H
#define AN_TESTS_ACTORS_GATE_KIT_H

#include "actors/gate/gate.h"
#include "core/limits.h"
#include "core/slot.h"
#include "core/topology.h"
#include "proto/bus.pb-c.h"
#include "proto/client.pb-c.h"
#include "tests/actors/harness.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#define TEXT(s) ((ProtobufCBinaryData){sizeof(s) - 1, (uint8_t *)(uintptr_t)(s)})

enum { KIT_SEED = 777, KIT_VIEW = 42, ALICE = 1, BOB = 2, CAROL = 3 };

extern struct an_topology kit_topology;
extern struct an_token_keys kit_keys;

ProtobufCBinaryData kit_text(const char *text);
/* "alice", "bob", "carol" are ALICE, BOB, CAROL; others are unknown (0). */
uint64_t kit_user(ProtobufCBinaryData name);
/* A gate whose routers have answered. cfg may be NULL; its topology, keys and seed are
 * the kit's, and one SUBMIT is under way at a time unless it says otherwise. */
struct harness *kit_gate(const struct gate_cfg *cfg);
/* The same before anything was answered. */
struct harness *kit_gate_raw(const struct gate_cfg *cfg);
/* Answers the empty SUBMITs by which a gate finds out that sequencers are there. */
void kit_join(struct harness *h);
/* Answers every ask of the kinds READ (resolve, login, head, account, sync,
 * history) and SESSIONS,
 * until there are none. SUBMITs are left to the test. */
void kit_serve(struct harness *h);
/* READs alone. */
void kit_serve_reads(struct harness *h);
/* What kit_serve tells as a user's inbox head. */
extern uint64_t kit_inbox_head;
/* And as when a device was seen last; a new gate begins with all written down. */
extern uint64_t kit_seen_ms;
extern uint64_t kit_minted_ms; /* so long ago were the tokens made */
/* And as the state of the user's account; a new gate begins with nothing said. */
extern Anser__Bus__AccountState kit_account[4];
void kit_open(struct harness *h, uint64_t conn);
/* Sends Login with a good token; nothing is served. */
void kit_login_send(struct harness *h, uint64_t conn, const char *user,
                    const char *device, bool send_only);
/* Opens and logs in; the LoginOk is taken. */
void kit_login(struct harness *h, uint64_t conn, const char *user, const char *device);
/* A UUIDv7 that ends in n. */
const uint8_t *kit_id(unsigned n);
void kit_send(struct harness *h, uint64_t conn, uint32_t request, const char *to,
              unsigned id, const char *body);
/* The next frame to conn must be this; its body. */
const void *kit_frame(struct harness *h, uint64_t conn, unsigned command, unsigned flags,
                      uint32_t request, const ProtobufCMessageDescriptor *descriptor);
/* The next frame must be an Error with this code; its body. */
const Anser__Client__Error *kit_error(struct harness *h, uint64_t conn, unsigned command,
                                      uint32_t request, enum an_err err);
/* The next must be a Goodbye with this code, and a close. */
void kit_goodbye(struct harness *h, uint64_t conn, enum an_err err);
void kit_no_frame(struct harness *h, uint64_t conn);
/* The SUBMIT under way; NULL when there is none. */
const struct harness_effect *kit_submit(struct harness *h);
/* What it holds; there is one (asserted). */
const Anser__Bus__Submit *kit_submit_of(const struct harness_effect *ask);
/* The n of the kit_id of a Send. */
unsigned kit_number(const Anser__Bus__Command *command);
/* Answers it: OK with seq 1.. for each command, or this error for each. */
void kit_submitted(struct harness *h, const struct harness_effect *ask, enum an_err err);

#endif
