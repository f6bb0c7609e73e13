#include "tests/fuzz/friends.h"
#include "core/limits.h"
#include "proto/bus.pb-c.h"
#include "proto/kinds.h"
#include <assert.h>
#include <stdlib.h>

/* One of each kind of item is made and pointed at as often as needed; lists are filled by
 * X(ask's list, its count, the answer's item, how it is filled). */
enum { ITEMS_MAX = 4096 };

static size_t
packed(uint8_t **out, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);

    *out = malloc(len + 1);
    assert(*out != NULL);
    return protobuf_c_message_pack(message, *out);
}

static size_t
bounded(size_t count)
{
    return count < ITEMS_MAX ? count : ITEMS_MAX;
}

static size_t
claimed(uint8_t **out, const Anser__Bus__Claim *claim)
{
    static Anser__Bus__SlotClaim items[ITEMS_MAX];
    static Anser__Bus__SlotClaim *list[ITEMS_MAX];
    Anser__Bus__Claimed done = ANSER__BUS__CLAIMED__INIT;

    for (size_t i = 0; i < claim->n_slots + claim->n_held && i < ITEMS_MAX; i++) {
        anser__bus__slot_claim__init(&items[i]);
        items[i].slot =
            i < claim->n_slots ? claim->slots[i] : claim->held[i - claim->n_slots];
        items[i].epoch = 1 + claim->number;
        list[done.n_slots++] = &items[i];
    }
    done.slots = list;
    return packed(out, &done.base);
}

static size_t
appended(uint8_t **out, const Anser__Bus__Append *append)
{
    static Anser__Bus__AppendedSlot items[ITEMS_MAX];
    static Anser__Bus__AppendedSlot *list[ITEMS_MAX];
    static uint64_t seqs[ITEMS_MAX];
    Anser__Bus__Appended done = ANSER__BUS__APPENDED__INIT;

    done.n_slots = bounded(append->n_slots);
    for (size_t i = 0; i < done.n_slots; i++) {
        anser__bus__appended_slot__init(&items[i]);
        items[i].slot = append->slots[i]->slot;
        items[i].n_inbox_seqs = bounded(append->slots[i]->n_entries);
        items[i].inbox_seqs = seqs;
        list[i] = &items[i];
    }
    done.slots = list;
    return packed(out, &done.base);
}

static size_t
read_done(uint8_t **out, const Anser__Bus__Read *read)
{
    static Anser__Bus__Answer items[ITEMS_MAX];
    static Anser__Bus__Answer *list[ITEMS_MAX];
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;

    done.n_answers = bounded(read->n_queries);
    for (size_t i = 0; i < done.n_answers; i++) {
        anser__bus__answer__init(&items[i]);
        items[i].user = 7;
        items[i].inbox_generation = 1;
        items[i].inbox_head = 5;
        list[i] = &items[i];
    }
    done.answers = list;
    return packed(out, &done.base);
}

static size_t
submitted(uint8_t **out, const Anser__Bus__Submit *submit)
{
    static Anser__Bus__Result items[ITEMS_MAX];
    static Anser__Bus__Result *list[ITEMS_MAX];
    Anser__Bus__Submitted done = ANSER__BUS__SUBMITTED__INIT;

    done.n_results = bounded(submit->n_commands);
    for (size_t i = 0; i < done.n_results; i++) {
        anser__bus__result__init(&items[i]);
        items[i].seq = i + 1;
        items[i].user = 7;
        list[i] = &items[i];
    }
    done.results = list;
    return packed(out, &done.base);
}

static size_t
forwarded(uint8_t **out, const Anser__Bus__Forward *forward)
{
    static Anser__Bus__ForwardedSlot items[ITEMS_MAX];
    static Anser__Bus__ForwardedSlot *list[ITEMS_MAX];
    Anser__Bus__Forwarded done = ANSER__BUS__FORWARDED__INIT;

    done.n_slots = bounded(forward->n_slots);
    for (size_t i = 0; i < done.n_slots; i++) {
        anser__bus__forwarded_slot__init(&items[i]);
        items[i].slot = forward->slots[i]->slot;
        items[i].mark = forward->slots[i]->first + forward->slots[i]->n_entries - 1;
        list[i] = &items[i];
    }
    done.slots = list;
    return packed(out, &done.base);
}

/* Of a Probe or a Handover, which look alike: the one asked has them. */
static size_t
held(uint8_t **out, const uint32_t *slots, size_t count, bool handed_over)
{
    static Anser__Bus__SlotState items[ITEMS_MAX];
    static Anser__Bus__SlotState *list[ITEMS_MAX];
    Anser__Bus__Probed probed = ANSER__BUS__PROBED__INIT;
    Anser__Bus__HandedOver handed = ANSER__BUS__HANDED_OVER__INIT;

    for (size_t i = 0; i < bounded(count); i++) {
        anser__bus__slot_state__init(&items[i]);
        items[i].slot = slots[i];
        items[i].holding = ANSER__BUS__HOLDING__HOLDING_OWNED;
        items[i].owner = 1;
        list[i] = &items[i];
    }
    handed.slots = probed.slots = list;
    handed.n_slots = probed.n_slots = bounded(count);
    return packed(out, handed_over ? &handed.base : &probed.base);
}

static size_t
taken_ids(uint8_t **out, const Anser__Bus__TakeIds *take)
{
    Anser__Bus__TakenIds done = ANSER__BUS__TAKEN_IDS__INIT;
    Anser__Bus__IdRun run = ANSER__BUS__ID_RUN__INIT, *runs[] = {&run};

    run.prefix = 1u << 22;
    run.stride = 3;
    run.count = take->count;
    done.runs = runs;
    done.n_runs = 1;
    return packed(out, &done.base);
}

static size_t
cas_done(uint8_t **out, const Anser__Bus__Cas *cas)
{
    Anser__Bus__CasDone done = ANSER__BUS__CAS_DONE__INIT;

    done.swapped = cas->value.len > 0;
    done.version = cas->expect_version + (done.swapped ? 1 : 0);
    done.value = cas->value;
    return packed(out, &done.base);
}

static size_t
taken_segment(uint8_t **out, const Anser__Bus__TakeSegment *take)
{
    Anser__Bus__TakenSegment done = ANSER__BUS__TAKEN_SEGMENT__INIT;

    done.first = 1;
    done.count = take->count;
    return packed(out, &done.base);
}

static size_t
empty(uint8_t **out, unsigned kind)
{
    Anser__Bus__SessionsDone sessions = ANSER__BUS__SESSIONS_DONE__INIT;
    Anser__Bus__Pushed pushed = ANSER__BUS__PUSHED__INIT;
    Anser__Bus__MarksDone marks = ANSER__BUS__MARKS_DONE__INIT;

    sessions.router_incarnation = 1;
    return packed(out, kind == AN_KIND_SESSIONS ? &sessions.base
                       : kind == AN_KIND_PUSH   ? &pushed.base
                                                : &marks.base);
}

size_t
friend_answer(uint8_t **out, unsigned kind, const ProtobufCMessage *ask)
{
    const Anser__Bus__Probe *slots = (const Anser__Bus__Probe *)ask;
    const Anser__Bus__Handover *given = (const Anser__Bus__Handover *)ask;

    switch (kind) {
    case AN_KIND_SUBMIT:
        return submitted(out, (const Anser__Bus__Submit *)ask);
    case AN_KIND_CLAIM:
        return claimed(out, (const Anser__Bus__Claim *)ask);
    case AN_KIND_APPEND:
        return appended(out, (const Anser__Bus__Append *)ask);
    case AN_KIND_READ:
        return read_done(out, (const Anser__Bus__Read *)ask);
    case AN_KIND_CAS:
        return cas_done(out, (const Anser__Bus__Cas *)ask);
    case AN_KIND_TAKE_IDS:
        return taken_ids(out, (const Anser__Bus__TakeIds *)ask);
    case AN_KIND_TAKE_SEGMENT:
        return taken_segment(out, (const Anser__Bus__TakeSegment *)ask);
    case AN_KIND_PROBE:
        return held(out, slots->slots, slots->n_slots, false);
    case AN_KIND_HANDOVER:
        return held(out, given->slots, given->n_slots, true);
    case AN_KIND_FORWARD:
        return forwarded(out, (const Anser__Bus__Forward *)ask);
    default:
        return empty(out, kind);
    }
}
