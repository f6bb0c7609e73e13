/* A router driven by hand: gates announce, a store pushes, and what is published to gates
 * is taken. Each function fails the test when the router does not answer.
 *
 * Context: the thread of the test. */
#ifndef AN_TESTS_ACTORS_ROUTER_KIT_H
#define AN_TESTS_ACTORS_ROUTER_KIT_H

#include "actors/router/router.h"
#include "core/limits.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include "tests/actors/harness.h"
#include <stdbool.h>
#include <stdint.h>

#define TEXT(s) ((ProtobufCBinaryData){sizeof(s) - 1, (uint8_t *)(uintptr_t)(s)})

enum { ALICE = 1, BOB = 2, GATE_LIFE = 777 };

struct kit_one { /* a session */
    uint64_t user, conn;
    const char *device;
    uint64_t since_ms; /* of its login, Unix time */
};

extern struct an_topology kit_topology; /* of the newest router */
extern uint64_t kit_number;             /* of the next announcement; 0: none has one */

/* The first of so many, started. The caller destroys it. */
struct harness *kit_routers(uint16_t routers, uint16_t gates);
struct harness *kit_router(uint16_t gates);

/* Announces from a gate; returns the router's number. */
uint64_t kit_announce(struct harness *h, uint16_t gate, uint64_t life, bool complete,
                      const struct kit_one *up, size_t up_count,
                      const struct kit_one *down, size_t down_count);
/* The same of a gate's life GATE_LIFE + gate: one session, or the first, empty list. */
void kit_up(struct harness *h, uint16_t gate, uint64_t user, uint64_t conn,
            const char *device);
void kit_down(struct harness *h, uint16_t gate, uint64_t user, uint64_t conn);
void kit_begin(struct harness *h, uint16_t gate);

/* To the user but for the device; tell: who learns that it waits, 0: nobody. */
void kit_push_full(struct harness *h, uint64_t user, const char *except, uint64_t tell);
void kit_push(struct harness *h, uint64_t user, const char *except);

/* The next batch to this gate, NULL when there is none. */
const Anser__Bus__Deliver *kit_deliver(struct harness *h, uint16_t gate);

#endif
