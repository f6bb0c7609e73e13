/* Two sequencers, standby of each other, over a rig: the one under test is sequencer 0,
 * which has the lower half of the slots; the other is played by the test. */
#ifndef AN_TESTS_ACTORS_SEQ_PAIR_H
#define AN_TESTS_ACTORS_SEQ_PAIR_H

#include "tests/actors/seq_rig.h"

enum { PAIR_HALF = AN_SLOTS / 2 };

/* Filled by pair_begin(); tests change it before they begin. */
extern struct an_topology pair_topology;
extern const struct sequencer_cfg pair_cfg;

void pair_begin(void);
/* Of the conversation of two users. */
uint16_t pair_slot(uint64_t a, uint64_t b);
/* The n-th user whose conversation with user 1 lies in this half. */
uint64_t pair_user(bool upper, unsigned n);
/* rig_init_ready with pair_cfg, some time ago: its peers have had time to connect. */
void pair_ready(struct rig *rig);
/* A send of user 1. */
uint64_t pair_send(struct rig *rig, uint64_t recipient, uint64_t id);
enum an_err pair_err(struct rig *rig, uint64_t request);
/* The oldest of this kind that is out, to a store or a sequencer; NULL: none. */
const struct harness_effect *pair_take(struct rig *rig, enum an_kind kind);
void pair_fail(struct rig *rig, const struct harness_effect *ask, enum an_err err);
/* Answers a Probe for every slot asked about alike. */
void pair_answer(struct rig *rig, const struct harness_effect *ask,
                 Anser__Bus__Holding holding, uint32_t owner);
bool pair_moved(struct rig *rig, uint64_t request, uint32_t owner);
/* What the sequencer says to a Probe of sequencer 1 about one slot. */
const Anser__Bus__SlotState *pair_probe(struct rig *rig, uint32_t slot);

#endif
