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

void
sim_tamper_packet(struct sim *sim, uint16_t kind, uint8_t **body, size_t *len)
{
    static const uint16_t kinds[SIM_BUG_COUNT][2] = {
        [SIM_BUG_SEQ] = {AN_KIND_SUBMITTED},
        [SIM_BUG_FORGET_RETRY] = {AN_KIND_READ, AN_KIND_CLAIMED},
        [SIM_BUG_CURSOR_BACK] = {AN_KIND_APPEND},
    };
    enum sim_bug bug = sim->options.bug;
    ProtobufCMessage *message;

    if ((kinds[bug][0] != kind && kinds[bug][1] != kind) ||
        (bug != SIM_BUG_FORGET_RETRY && !strikes(sim))) {
        return;
    }
    message = protobuf_c_message_unpack(an_kind_row(kind)->body, NULL, *len, *body);
    if (message == NULL) {
        return;
    }
    switch (kind) {
    case AN_KIND_SUBMITTED:
        alter_submitted((Anser__Bus__Submitted *)message);
        break;
    case AN_KIND_READ:
        alter_read((Anser__Bus__Read *)message);
        break;
    case AN_KIND_CLAIMED:
        alter_claimed((Anser__Bus__Claimed *)message);
        break;
    case AN_KIND_APPEND:
        alter_append((Anser__Bus__Append *)message);
        break;
    default:
        break;
    }
    repack(message, body, len);
    protobuf_c_message_free_unpacked(message, NULL);
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
