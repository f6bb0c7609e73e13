/* The planted bugs: the simulator alters what passes, so that a test can show that the
 * checkers see it. (Two more: lying-sync in disk.c,
 * swap-sends in clients.c.) */
#include "proto/bus.pb-c.h"
#include "tests/sim/clients.h"
#include <stdlib.h>
#include <string.h>

static bool
strikes(struct sim *sim)
{
    return an_rng_below(&sim->rng, 4) == 0;
}

/* Replaces the body by the altered message. */
static void
repack(const ProtobufCMessage *message, uint8_t **body, size_t *len)
{
    free(*body);
    *len = protobuf_c_message_get_packed_size(message);
    *body = sim_alloc(*len);
    protobuf_c_message_pack(message, *body);
}

static void
alter_submitted(Anser__Bus__Submitted *submitted)
{
    for (size_t i = 0; i < submitted->n_results; i++) {
        if (submitted->results[i]->message_id != 0) {
            submitted->results[i]->seq++;
        }
    }
}

static void
alter_read(Anser__Bus__Read *read)
{
    for (size_t i = 0; i < read->n_queries; i++) {
        if (read->queries[i]->what_case == ANSER__BUS__QUERY__WHAT_DEDUPE) {
            read->queries[i]->dedupe->client_msg_id.data[15] ^= 1;
        }
    }
}

/* Every claim says that nothing was ever sent, so the store is not even asked. */
static void
alter_claimed(Anser__Bus__Claimed *claimed)
{
    for (size_t i = 0; i < claimed->n_slots; i++) {
        claimed->slots[i]->dedupe_high_ms = 0;
    }
}

/* The same, but only where the slot has just changed hands. */
static void
alter_taken(struct sim *sim, Anser__Bus__Claimed *claimed)
{
    for (size_t i = 0; i < claimed->n_slots; i++) {
        if (sim_watch_is_taken_over(sim, claimed->slots[i]->slot)) {
            claimed->slots[i]->dedupe_high_ms = 0;
        }
    }
}

/* Who has lost a slot shows the store what the one who has it would. */
static void
alter_epochs(struct sim *sim, Anser__Bus__Append *append)
{
    for (size_t i = 0; i < append->n_slots; i++) {
        struct sim_pass pass = sim_watch_pass(sim, append->slots[i]->slot);
        if (append->slots[i]->epoch < pass.epoch) {
            append->slots[i]->epoch = pass.epoch;
            append->incarnation = pass.incarnation;
            append->number = pass.number + 1;
        }
    }
}

/* What is held becomes what is taken. Nobody frees the list: it is packed and goes. */
static void
alter_claim(Anser__Bus__Claim *claim, uint32_t all[AN_SLOTS])
{
    size_t count = 0;

    for (size_t i = 0; i < claim->n_slots && count < AN_SLOTS; i++) {
        all[count++] = claim->slots[i];
    }
    for (size_t i = 0; i < claim->n_held && count < AN_SLOTS; i++) {
        all[count++] = claim->held[i];
    }
    claim->slots = all;
    claim->n_slots = count;
    claim->n_held = 0;
}

static void
alter_append(Anser__Bus__Append *append)
{
    for (size_t i = 0; i < append->n_slots; i++) {
        for (size_t j = 0; j < append->slots[i]->n_entries; j++) {
            Anser__Bus__Entry *entry = append->slots[i]->entries[j];
            if (entry->what_case == ANSER__BUS__ENTRY__WHAT_DEVICE) {
                entry->device->cursor /= 2;
            }
        }
    }
}

static void
alter_accounts(Anser__Bus__ReadDone *done)
{
    for (size_t i = 0; i < done->n_answers; i++) {
        if (done->answers[i]->account != NULL) {
            done->answers[i]->account->forbidden = false;
        }
    }
}

static void
alter(struct sim *sim, uint16_t kind, ProtobufCMessage *message, uint8_t **body,
      size_t *len)
{
    uint32_t all[AN_SLOTS];

    switch (kind) {
    case AN_KIND_SUBMITTED:
        alter_submitted((Anser__Bus__Submitted *)message);
        break;
    case AN_KIND_READ_DONE:
        alter_accounts((Anser__Bus__ReadDone *)message);
        break;
    case AN_KIND_READ:
        alter_read((Anser__Bus__Read *)message);
        break;
    case AN_KIND_CLAIMED:
        if (sim->options.bug == SIM_BUG_FORGET_TAKEN) {
            alter_taken(sim, (Anser__Bus__Claimed *)message);
        } else {
            alter_claimed((Anser__Bus__Claimed *)message);
        }
        break;
    case AN_KIND_APPEND:
        if (sim->options.bug == SIM_BUG_NO_EPOCH) {
            alter_epochs(sim, (Anser__Bus__Append *)message);
        } else {
            alter_append((Anser__Bus__Append *)message);
        }
        break;
    case AN_KIND_CLAIM: {
        Anser__Bus__Claim claim = *(Anser__Bus__Claim *)message;
        alter_claim(&claim, all);
        repack(&claim.base, body, len);
        return;
    }
    default:
        break;
    }
    repack(message, body, len);
}

void
sim_tamper_packet(struct sim *sim, uint16_t kind, uint8_t **body, size_t *len)
{
    static const struct {
        uint16_t kinds[2];
        bool always;
    } bugs[SIM_BUG_COUNT] = {
        [SIM_BUG_SEQ] = {{AN_KIND_SUBMITTED}, false},
        [SIM_BUG_FORGET_RETRY] = {{AN_KIND_READ, AN_KIND_CLAIMED}, true},
        [SIM_BUG_CURSOR_BACK] = {{AN_KIND_APPEND}, false},
        [SIM_BUG_FORGET_TAKEN] = {{AN_KIND_CLAIMED}, true},
        [SIM_BUG_NO_EPOCH] = {{AN_KIND_APPEND}, true},
        [SIM_BUG_STEAL_BACK] = {{AN_KIND_CLAIM}, true},
        [SIM_BUG_PARDON] = {{AN_KIND_READ_DONE}, true},
    };
    enum sim_bug bug = sim->options.bug;
    ProtobufCMessage *message;

    if ((bugs[bug].kinds[0] != kind && bugs[bug].kinds[1] != kind) ||
        (!bugs[bug].always && !strikes(sim))) {
        return;
    }
    message = protobuf_c_message_unpack(an_kind_row(kind)->body, NULL, *len, *body);
    if (message == NULL) {
        return;
    }
    alter(sim, kind, message, body, len);
    protobuf_c_message_free_unpacked(message, NULL);
}

/* The destination says that it has them, and has not even looked. */
static void
answer_unread(const Anser__Bus__Forward *forward, struct sim_twist *twist)
{
    Anser__Bus__Forwarded answer = ANSER__BUS__FORWARDED__INIT;
    Anser__Bus__ForwardedSlot *slots = sim_alloc(forward->n_slots * sizeof(*slots));
    Anser__Bus__ForwardedSlot **list = sim_alloc(forward->n_slots * sizeof(*list));

    for (size_t i = 0; i < forward->n_slots; i++) {
        anser__bus__forwarded_slot__init(&slots[i]);
        slots[i].slot = forward->slots[i]->slot;
        slots[i].mark = forward->slots[i]->first + forward->slots[i]->n_entries - 1;
        list[i] = &slots[i];
    }
    answer.n_slots = forward->n_slots;
    answer.slots = list;
    repack(&answer.base, &twist->answer, &twist->answer_len);
    free(list);
    free(slots);
}

bool
sim_tamper_request(struct sim *sim, uint16_t kind, const uint8_t *body, size_t len,
                   struct sim_twist *twist)
{
    enum sim_bug bug = sim->options.bug;
    Anser__Bus__Forward *forward;

    if (kind != AN_KIND_FORWARD ||
        (bug != SIM_BUG_OUTBOX_EARLY && bug != SIM_BUG_FORWARD_TWICE) || !strikes(sim)) {
        return false;
    }
    forward = anser__bus__forward__unpack(NULL, len, body);
    if (forward == NULL) {
        return false;
    }
    if (bug == SIM_BUG_OUTBOX_EARLY) {
        answer_unread(forward, twist);
    } else {
        for (size_t i = 0; i < forward->n_slots; i++) {
            forward->slots[i]->first += forward->slots[i]->n_entries;
        }
        repack(&forward->base, &twist->again, &twist->again_len);
    }
    anser__bus__forward__free_unpacked(forward, NULL);
    return bug == SIM_BUG_OUTBOX_EARLY;
}

/* Somebody of another user receives the push too. */
static void
leak(struct sim *sim, unsigned client, const uint8_t *body, size_t len)
{
    struct an_frame frame = {.command = AN_COMMAND_EVENT,
                             .codec = AN_CODEC_PROTOBUF,
                             .body_len = (uint32_t)len};
    unsigned other = (client + 3) % sim->clients->count;

    if (strikes(sim) &&
        sim->clients->client[other].user != sim->clients->client[client].user) {
        client_push(sim->clients, &sim->clients->client[other], &frame, body);
    }
}

bool
sim_tamper_frame(struct sim *sim, unsigned client, uint16_t command, uint8_t **body,
                 size_t *len)
{
    if (sim->options.bug == SIM_BUG_SILENCE) {
        return client == 0 && command == AN_COMMAND_SEND;
    }
    if (command != AN_COMMAND_EVENT) {
        return false;
    }
    if (sim->options.bug == SIM_BUG_STRANGER) {
        leak(sim, client, *body, *len);
    } else if (sim->options.bug == SIM_BUG_DOUBLE_ENTRY && strikes(sim)) {
        Anser__Client__Event *event = anser__client__event__unpack(NULL, *len, *body);
        if (event != NULL) {
            event->inbox_seq++;
            repack(&event->base, body, len);
            anser__client__event__free_unpacked(event, NULL);
        }
    }
    return false;
}
