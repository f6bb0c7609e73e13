#include "tests/actors/seq_pair.h"
#include "core/slot.h"
#include <assert.h>

struct an_topology pair_topology;
const struct sequencer_cfg pair_cfg = {.topology = &pair_topology};

void
pair_begin(void)
{
    an_topology_single(&pair_topology);
    pair_topology.count[AN_ROLE_SEQUENCER] = 2;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        pair_topology.slot_sequencer[slot] = slot < PAIR_HALF ? 0 : 1;
        pair_topology.slot_standby[slot] = slot < PAIR_HALF ? 1 : 0;
    }
}

void
pair_ready(struct rig *rig)
{
    rig_init_ready(rig, &pair_cfg);
    harness_advance(rig->h, AN_CLAIM_PATIENCE_MS);
}

uint16_t
pair_slot(uint64_t a, uint64_t b)
{
    struct an_conv conv = an_conv_direct(a, b);

    return an_slot_conv(&conv);
}

uint64_t
pair_user(bool upper, unsigned n)
{
    uint64_t user = 2;

    while ((pair_slot(1, user) >= PAIR_HALF) != upper || n-- > 0) {
        user++;
    }
    return user;
}

uint64_t
pair_send(struct rig *rig, uint64_t recipient, uint64_t id)
{
    return rig_send(rig, &(struct rig_send){.recipient = recipient, .id = id});
}

enum an_err
pair_err(struct rig *rig, uint64_t request)
{
    return (enum an_err)rig_result(rig, request, 0)->err;
}

const struct harness_effect *
pair_take(struct rig *rig, enum an_kind kind)
{
    return harness_take_ask(rig->h, (enum an_role)an_kind_row(kind)->receiver, kind);
}

void
pair_fail(struct rig *rig, const struct harness_effect *ask, enum an_err err)
{
    assert(ask != NULL);
    harness_answer(rig->h, ask, err, NULL);
    harness_drain(rig->h);
}

const Anser__Bus__SlotState *
pair_probe(struct rig *rig, uint32_t slot)
{
    Anser__Bus__Probe probe = ANSER__BUS__PROBE__INIT;
    const Anser__Bus__Probed *done;
    uint64_t request;

    probe.slots = &slot;
    probe.n_slots = 1;
    request = harness_request(rig->h, (struct an_addr){AN_ROLE_SEQUENCER, 1},
                              AN_KIND_PROBE, &probe.base);
    done = harness_body(harness_reply(rig->h, request));
    assert(done->n_slots == 1 && done->slots[0]->slot == slot);
    return done->slots[0];
}

void
pair_answer(struct rig *rig, const struct harness_effect *ask,
            Anser__Bus__Holding holding, uint32_t owner)
{
    static Anser__Bus__SlotState states[AN_SLOTS];
    static Anser__Bus__SlotState *list[AN_SLOTS];
    const Anser__Bus__Probe *probe = harness_body(ask);
    Anser__Bus__Probed done = ANSER__BUS__PROBED__INIT;

    for (size_t i = 0; i < probe->n_slots; i++) {
        anser__bus__slot_state__init(&states[i]);
        states[i].slot = probe->slots[i];
        states[i].holding = holding;
        states[i].owner = owner;
        list[i] = &states[i];
    }
    done.slots = list;
    done.n_slots = probe->n_slots;
    harness_answer(rig->h, ask, AN_OK, &done.base);
    harness_drain(rig->h);
}

bool
pair_moved(struct rig *rig, uint64_t request, uint32_t owner)
{
    return pair_err(rig, request) == AN_ERR_MOVED &&
           rig_result(rig, request, 0)->owner == owner;
}
