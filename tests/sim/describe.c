/* Words for the trace: what is in the bus messages that matter most. Only when verbose.
 */
#include "proto/bus.pb-c.h"
#include "tests/sim/sim_priv.h"
#include <stdio.h>
#include <string.h>

static unsigned long long
number(uint64_t n)
{
    return (unsigned long long)n;
}

/* The end of an id: enough to tell them apart. */
static void
tail(char out[8], const ProtobufCBinaryData *id)
{
    if (id->len < 3) {
        snprintf(out, 8, "none");
        return;
    }
    snprintf(out, 8, "%02x%02x%02x", id->data[id->len - 3], id->data[id->len - 2],
             id->data[id->len - 1]);
}

static void
submit(struct sim *sim, const Anser__Bus__Submit *body)
{
    char id[8], after[8];

    for (size_t i = 0; i < body->n_commands; i++) {
        const Anser__Bus__Command *command = body->commands[i];
        if (command->what_case == ANSER__BUS__COMMAND__WHAT_SEND) {
            tail(id, &command->send->client_msg_id);
            tail(after, &command->send->after_id);
            sim_trace(sim, "    slot %u: send %s after %s, %llu to %llu", command->slot,
                      id, after, number(command->send->sender),
                      number(command->send->recipient));
        } else if (command->what_case == ANSER__BUS__COMMAND__WHAT_CONFIRM) {
            sim_trace(sim, "    slot %u: confirm of %llu %.*s up to %llu", command->slot,
                      number(command->confirm->user), (int)command->confirm->device.len,
                      (const char *)command->confirm->device.data,
                      number(command->confirm->inbox_seq));
        }
    }
}

static void
submitted(struct sim *sim, const Anser__Bus__Submitted *body)
{
    for (size_t i = 0; i < body->n_results; i++) {
        const Anser__Bus__Result *result = body->results[i];
        sim_trace(sim, "    %s seq %llu id %llu", an_err_name(result->err),
                  number(result->seq), number(result->message_id));
    }
}

static void
append(struct sim *sim, const Anser__Bus__AppendSlot *slot)
{
    char id[8];

    for (size_t i = 0; i < slot->n_entries; i++) {
        const Anser__Bus__Entry *entry = slot->entries[i];
        if (entry->what_case == ANSER__BUS__ENTRY__WHAT_MESSAGE) {
            tail(id, &entry->message->client_msg_id);
            sim_trace(sim, "    slot %u epoch %llu: message %s seq %llu", slot->slot,
                      number(slot->epoch), id, number(entry->message->seq));
        } else if (entry->what_case == ANSER__BUS__ENTRY__WHAT_DEVICE) {
            sim_trace(sim, "    slot %u epoch %llu: cursor of %llu %.*s is %llu",
                      slot->slot, number(slot->epoch), number(entry->device->user),
                      (int)entry->device->device.len,
                      (const char *)entry->device->device.data,
                      number(entry->device->cursor));
        } else if (entry->what_case == ANSER__BUS__ENTRY__WHAT_DELIVERED) {
            sim_trace(sim, "    slot %u epoch %llu: delivered to %llu is %llu",
                      slot->slot, number(slot->epoch), number(entry->delivered->member),
                      number(entry->delivered->seq));
        }
    }
}

static void
appended(struct sim *sim, const Anser__Bus__Appended *body)
{
    for (size_t i = 0; i < body->n_slots; i++) {
        sim_trace(sim, "    slot %u: %s head %llu", body->slots[i]->slot,
                  an_err_name(body->slots[i]->err), number(body->slots[i]->head));
    }
}

static void
claim(struct sim *sim, const Anser__Bus__Claim *body)
{
    sim_trace(sim, "    number %llu: takes %zu slots from %u on, again %zu from %u on",
              number(body->number), body->n_slots,
              body->n_slots == 0 ? 0 : body->slots[0], body->n_held,
              body->n_held == 0 ? 0 : body->held[0]);
}

/* Neighbours with the same outcome on one line. */
static void
claimed(struct sim *sim, const Anser__Bus__Claimed *body)
{
    for (size_t i = 0, first = 0; i < body->n_slots; i++) {
        const Anser__Bus__SlotClaim *slot = body->slots[i];
        const Anser__Bus__SlotClaim *next =
            i + 1 < body->n_slots ? body->slots[i + 1] : NULL;
        if (next != NULL && next->err == slot->err && next->owner == slot->owner &&
            next->epoch == slot->epoch) {
            continue;
        }
        sim_trace(sim, "    slots %u to %u: %s epoch %llu owner %u",
                  body->slots[first]->slot, slot->slot, an_err_name(slot->err),
                  number(slot->epoch), slot->owner);
        first = i + 1;
    }
}

static void
states(struct sim *sim, Anser__Bus__SlotState *const *slots, size_t count)
{
    static const char *const names[] = {"none", "owned", "left"};

    for (size_t i = 0, first = 0; i < count; i++) {
        unsigned holding = (unsigned)slots[i]->holding;
        if (i + 1 < count && slots[i + 1]->holding == slots[i]->holding &&
            slots[i + 1]->owner == slots[i]->owner) {
            continue;
        }
        sim_trace(sim, "    slots %u to %u: %s, owner %u", slots[first]->slot,
                  slots[i]->slot, holding < 3 ? names[holding] : "?", slots[i]->owner);
        first = i + 1;
    }
}

static void
forward(struct sim *sim, const Anser__Bus__Forward *body)
{
    for (size_t i = 0; i < body->n_slots; i++) {
        const Anser__Bus__ForwardSlot *slot = body->slots[i];
        sim_trace(sim, "    from store/%u, slot %u: %zu entries from %llu on%s",
                  body->source, slot->slot, slot->n_entries, number(slot->first),
                  slot->skip ? ", skip" : "");
        for (size_t j = 0; j < slot->n_entries; j++) {
            char id[8];
            tail(id, &slot->entries[j]->message->client_msg_id);
            sim_trace(sim, "        %llu gets message %s seq %llu",
                      number(slot->entries[j]->user), id,
                      number(slot->entries[j]->message->seq));
        }
    }
}

static void
forwarded(struct sim *sim, const Anser__Bus__Forwarded *body)
{
    for (size_t i = 0; i < body->n_slots; i++) {
        sim_trace(sim, "    slot %u: %s mark %llu", body->slots[i]->slot,
                  an_err_name(body->slots[i]->err), number(body->slots[i]->mark));
    }
}

static void
changing_hands(struct sim *sim, const struct an_msg *msg)
{
    if (msg->kind == AN_KIND_CLAIM) {
        claim(sim, (const Anser__Bus__Claim *)msg->body);
    } else if (msg->kind == AN_KIND_CLAIMED) {
        claimed(sim, (const Anser__Bus__Claimed *)msg->body);
    } else if (msg->kind == AN_KIND_PROBED) {
        const Anser__Bus__Probed *body = (const Anser__Bus__Probed *)msg->body;
        states(sim, body->slots, body->n_slots);
    } else if (msg->kind == AN_KIND_HANDED_OVER) {
        const Anser__Bus__HandedOver *body = (const Anser__Bus__HandedOver *)msg->body;
        states(sim, body->slots, body->n_slots);
    } else if (msg->kind == AN_KIND_FORWARD) {
        forward(sim, (const Anser__Bus__Forward *)msg->body);
    } else if (msg->kind == AN_KIND_FORWARDED) {
        forwarded(sim, (const Anser__Bus__Forwarded *)msg->body);
    }
}

void
sim_describe(struct sim *sim, const struct an_msg *msg)
{
    if (!sim->options.verbose || msg->body == NULL) {
        return;
    }
    if (msg->kind == AN_KIND_SUBMIT) {
        submit(sim, (const Anser__Bus__Submit *)msg->body);
    } else if (msg->kind == AN_KIND_SUBMITTED) {
        submitted(sim, (const Anser__Bus__Submitted *)msg->body);
    } else if (msg->kind == AN_KIND_APPEND) {
        const Anser__Bus__Append *body = (const Anser__Bus__Append *)msg->body;
        for (size_t i = 0; i < body->n_slots; i++) {
            append(sim, body->slots[i]);
        }
    } else if (msg->kind == AN_KIND_APPENDED) {
        appended(sim, (const Anser__Bus__Appended *)msg->body);
    } else {
        changing_hands(sim, msg);
    }
}
