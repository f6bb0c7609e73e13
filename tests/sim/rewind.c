/* What two stores say to each other after one of them was put back in time, without its
 * being so: a request whose entries begin behind a hole, which the destination must
 * refuse with REWIND; and a destination that says it has fewer entries than it has, which
 * the source must send again. Whatever is lost in truth then (unit tests put stores back)
 * is still there here, so nothing may be missing or come twice. */
#include "proto/bus.pb-c.h"
#include "tests/sim/sim_priv.h"
#include <stdlib.h>
#include <string.h>

enum {
    HOLE = 1000000, /* above every number that a trial gives */
    BACK_MAX = 20,  /* entries */
};

static bool
make_hole(struct sim *sim, Anser__Bus__Forward *forward)
{
    bool any = false;

    for (size_t i = 0; i < forward->n_slots; i++) {
        /* One that says "skip" is believed. */
        if (!forward->slots[i]->skip && sim_chance(sim, sim->plan.rewind)) {
            forward->slots[i]->first += HOLE;
            sim->counts[SIM_REWIND_HOLE]++;
            any = true;
        }
    }
    return any;
}

static bool
set_back(struct sim *sim, Anser__Bus__Forwarded *forwarded)
{
    bool any = false;

    for (size_t i = 0; i < forwarded->n_slots; i++) {
        Anser__Bus__ForwardedSlot *slot = forwarded->slots[i];
        uint64_t back;

        if (slot->err != AN_OK || slot->mark == 0 || !sim_chance(sim, sim->plan.rewind)) {
            continue;
        }
        back = sim_between(sim, 1, BACK_MAX);
        slot->err = AN_ERR_REWIND;
        slot->mark -= back < slot->mark ? back : slot->mark;
        sim->counts[SIM_REWIND_MARK]++;
        any = true;
    }
    return any;
}

void
sim_rewind_packet(struct sim *sim, uint16_t kind, uint8_t **body, size_t *len)
{
    ProtobufCMessage *message;
    bool any;

    if (sim->plan.rewind == 0 || !sim->faults ||
        (kind != AN_KIND_FORWARD && kind != AN_KIND_FORWARDED)) {
        return;
    }
    message = protobuf_c_message_unpack(an_kind_row(kind)->body, NULL, *len, *body);
    if (message == NULL) {
        return;
    }
    any = kind == AN_KIND_FORWARD ? make_hole(sim, (Anser__Bus__Forward *)message)
                                  : set_back(sim, (Anser__Bus__Forwarded *)message);
    if (any) {
        free(*body);
        *len = protobuf_c_message_get_packed_size(message);
        *body = sim_alloc(*len);
        protobuf_c_message_pack(message, *body);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}
