#include "tests/sim/check.h"
#include "core/slot.h"
#include "core/topology.h"
#include "tests/sim/admin.h"
#include <stdlib.h>
#include <string.h>

struct sim_check *
sim_check_create(struct sim *sim, unsigned users)
{
    static const char *const names[SIM_USERS_MAX] = {"alice", "bob",   "鸿雁",  "dora",
                                                     "émile", "frank", "grace", "heidi"};
    struct sim_check *check = sim_alloc(sizeof(*check));

    check->sim = sim;
    sim->check = check;
    check->users = users;
    for (unsigned i = 0; i < users; i++) {
        memcpy(check->name[i], names[i], strlen(names[i]) + 1);
    }
    return check;
}

void
sim_check_destroy(struct sim_check *check)
{
    if (check == NULL) {
        return;
    }
    for (size_t i = 0; i < check->sent_count; i++) {
        free(check->sent[i]->body);
        free(check->sent[i]);
    }
    for (unsigned i = 0; i < SIM_USERS_MAX; i++) {
        free(check->inbox[i].at);
        for (unsigned j = 0; j < SIM_USERS_MAX; j++) {
            free(check->conv[i][j].at);
        }
    }
    free(check->sent);
    free(check);
}

struct sim_timeline *
sim_check_conv(struct sim_check *check, unsigned a, unsigned b)
{
    return a < b ? &check->conv[a][b] : &check->conv[b][a];
}

static struct sim_sent **
timeline_at(struct sim_timeline *timeline, uint64_t seq)
{
    timeline->at = sim_grow(timeline->at, &timeline->cap, seq, sizeof(struct sim_sent *));
    if (seq > timeline->max) {
        timeline->max = seq;
    }
    return &timeline->at[seq - 1];
}

struct sim_sent *
sim_check_write(struct sim_check *check, unsigned from, unsigned to, unsigned client,
                uint32_t type, uint8_t *body, size_t len)
{
    struct sim_sent *sent = sim_alloc(sizeof(*sent));

    sent->number = check->sent_count;
    sent->from = from;
    sent->to = to;
    sent->client = client;
    sent->type = type;
    sent->body = body;
    sent->len = len;
    sent->written_us = check->sim->now_us;
    check->sent = sim_grow(check->sent, &check->sent_cap, check->sent_count + 1,
                           sizeof(struct sim_sent *));
    check->sent[check->sent_count++] = sent;
    return sent;
}

/* ------------------------------------------------------------------ first sight */

enum { SEQ_MAX = 1000000 }; /* far above what a trial sends */

/* Fixes a message's place, or compares it with the place it has. */
static bool
place(struct sim_check *check, struct sim_sent *sent, uint64_t seq, uint64_t message_id,
      uint64_t time_ms, const char *where)
{
    struct sim_timeline *conv = sim_check_conv(check, sent->from, sent->to);
    struct sim_sent **at;

    if (seq == 0 || seq > SEQ_MAX || message_id == 0) {
        sim_fail(check->sim, "%s: message %llu has seq %llu, id %llu", where,
                 (unsigned long long)sent->number, (unsigned long long)seq,
                 (unsigned long long)message_id);
        return false;
    }
    if (sent->seen) {
        if (sent->seq == seq && sent->message_id == message_id &&
            sent->time_ms == time_ms) {
            return true;
        }
        sim_fail(check->sim,
                 "%s: message %llu was seq %llu id %llx time %llu, now seq %llu id %llx "
                 "time %llu",
                 where, (unsigned long long)sent->number, (unsigned long long)sent->seq,
                 (unsigned long long)sent->message_id, (unsigned long long)sent->time_ms,
                 (unsigned long long)seq, (unsigned long long)message_id,
                 (unsigned long long)time_ms);
        return false;
    }
    at = timeline_at(conv, seq);
    if (*at != NULL) {
        sim_fail(check->sim, "%s: %s and %s: seq %llu belongs to messages %llu and %llu",
                 where, check->name[sent->from], check->name[sent->to],
                 (unsigned long long)seq, (unsigned long long)(*at)->number,
                 (unsigned long long)sent->number);
        return false;
    }
    for (size_t i = 0; i < check->sent_count; i++) {
        if (check->sent[i]->seen && check->sent[i]->message_id == message_id) {
            sim_fail(check->sim, "%s: messages %zu and %llu share the id %llx", where, i,
                     (unsigned long long)sent->number, (unsigned long long)message_id);
            return false;
        }
    }
    sim_trace(check->sim, "%s: message %llu has seq %llu with %s and %s", where,
              (unsigned long long)sent->number, (unsigned long long)seq,
              check->name[sent->from], check->name[sent->to]);
    *at = sent;
    sent->seen = true;
    sent->seq = seq;
    sent->message_id = message_id;
    sent->time_ms = time_ms;
    return true;
}

void
sim_check_ack(struct sim_check *check, struct sim_sent *sent, uint64_t seq,
              uint64_t message_id, uint64_t time_ms)
{
    if (place(check, sent, seq, message_id, time_ms, "ack")) {
        sent->acked = true;
        sent->state = SIM_SENT_ACKED;
    }
}

static int
user_find(const struct sim_check *check, const ProtobufCBinaryData *name)
{
    for (unsigned i = 0; i < check->users; i++) {
        if (name->len == strlen(check->name[i]) &&
            memcmp(name->data, check->name[i], name->len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static struct sim_sent *
sent_find(const struct sim_check *check, const Anser__Client__Message *message, int from,
          int to)
{
    for (size_t i = 0; i < check->sent_count; i++) {
        struct sim_sent *sent = check->sent[i];
        if ((int)sent->from == from && (int)sent->to == to &&
            message->client_msg_id.len == sizeof(sent->id) &&
            memcmp(message->client_msg_id.data, sent->id, sizeof(sent->id)) == 0) {
            return sent;
        }
    }
    return NULL;
}

void
sim_check_turned_away(struct sim_check *check, const uint8_t id[AN_CLIENT_MSG_ID_LEN])
{
    for (size_t i = 0; i < check->sent_count; i++) {
        if (memcmp(check->sent[i]->id, id, AN_CLIENT_MSG_ID_LEN) == 0) {
            check->sent[i]->turned_away = true;
        }
    }
}

struct sim_sent *
sim_check_message(struct sim_check *check, unsigned viewer,
                  const Anser__Client__Message *message)
{
    int from = user_find(check, &message->from);
    int to = user_find(check, &message->to);
    struct sim_sent *sent;

    if (from < 0 || to < 0) {
        sim_fail(check->sim, "%s sees a message of somebody unknown",
                 check->name[viewer]);
        return NULL;
    }
    if ((int)viewer != from && (int)viewer != to) {
        sim_fail(check->sim, "%s sees a message from %s to %s", check->name[viewer],
                 check->name[from], check->name[to]);
        return NULL;
    }
    sent = sent_find(check, message, from, to);
    if (sent == NULL) {
        sim_fail(check->sim, "%s sees a message from %s to %s that nobody wrote",
                 check->name[viewer], check->name[from], check->name[to]);
        return NULL;
    }
    if (message->type != sent->type || message->body.len != sent->len ||
        memcmp(message->body.data, sent->body, sent->len) != 0) {
        sim_fail(check->sim, "message %llu comes with another body",
                 (unsigned long long)sent->number);
        return NULL;
    }
    if (sent->copies == 0) {
        sim_fail(check->sim, "message %llu is there, and was refused with RATE",
                 (unsigned long long)sent->number);
        return NULL;
    }
    if (!place(check, sent, message->seq, message->message_id, message->time_ms,
               "sight")) {
        return NULL;
    }
    return sent;
}

bool
sim_check_crosses(const struct sim_check *check, const struct sim_sent *sent)
{
    const struct an_topology *topology = check->sim->topology;
    uint64_t from = SIM_USER_KEY + sent->from;
    struct an_conv conv = an_conv_direct(from, SIM_USER_KEY + sent->to);

    return topology->slot_store[an_slot_user(from)] !=
           topology->slot_store[an_slot_conv(&conv)];
}

void
sim_check_inbox(struct sim_check *check, unsigned user, uint64_t inbox_seq,
                struct sim_sent *sent)
{
    uint64_t *mine = user == sent->to ? &sent->inbox_to : &sent->inbox_from;
    struct sim_sent **at;

    if (inbox_seq == 0 || inbox_seq > SEQ_MAX) {
        sim_fail(check->sim, "an inbox entry of %s has number %llu", check->name[user],
                 (unsigned long long)inbox_seq);
        return;
    }
    at = timeline_at(&check->inbox[user], inbox_seq);
    if (*at != NULL && *at != sent) {
        sim_fail(check->sim, "inbox entry %llu of %s was message %llu and is now %llu",
                 (unsigned long long)inbox_seq, check->name[user],
                 (unsigned long long)(*at)->number, (unsigned long long)sent->number);
        return;
    }
    if (*mine != 0 && *mine != inbox_seq) {
        sim_fail(check->sim, "message %llu is in the inbox of %s as %llu and as %llu",
                 (unsigned long long)sent->number, check->name[user],
                 (unsigned long long)*mine, (unsigned long long)inbox_seq);
        return;
    }
    *at = sent;
    *mine = inbox_seq;
}

bool
sim_check_caught_up(const struct sim_check *check, unsigned user, uint64_t have)
{
    if (have < check->inbox[user].max) {
        return false;
    }
    for (size_t i = 0; i < check->sent_count; i++) {
        const struct sim_sent *sent = check->sent[i];
        if (!sent->acked && !sent->seen) {
            continue;
        }
        if ((sent->to == user && (sent->inbox_to == 0 || sent->inbox_to > have)) ||
            (sent->from == user && sent->to != user &&
             (sent->inbox_from == 0 || sent->inbox_from > have))) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ at the end */

static void
end_conv(struct sim_check *check, unsigned a, unsigned b)
{
    struct sim_timeline *conv = &check->conv[a][b];
    uint64_t *last = sim_alloc(SIM_CLIENTS_MAX * sizeof(uint64_t));

    for (uint64_t seq = 1; seq <= conv->max && !check->sim->failed; seq++) {
        const struct sim_sent *sent = conv->at[seq - 1];
        if (sent == NULL) {
            sim_fail(check->sim, "%s and %s: nothing has seq %llu", check->name[a],
                     check->name[b], (unsigned long long)seq);
            break;
        }
        if (seq > 1 && conv->at[seq - 2]->time_ms > sent->time_ms) {
            sim_fail(check->sim, "%s and %s: time goes back at seq %llu", check->name[a],
                     check->name[b], (unsigned long long)seq);
        }
        /* ID_TIME, then a stray copy got through; or its sender, to whom the refusal did
         * not come, sent it again when the clock had. It was over before. */
        if (sent->state == SIM_SENT_REFUSED || sent->turned_away) {
            continue;
        }
        if (sent->number + 1 <= last[sent->client]) {
            sim_fail(check->sim,
                     "%s and %s: message %llu of client %u comes after its message %llu",
                     check->name[a], check->name[b], (unsigned long long)sent->number,
                     sent->client, (unsigned long long)last[sent->client] - 1);
        }
        last[sent->client] = sent->number + 1;
    }
    free(last);
}

static void
end_inbox(struct sim_check *check, unsigned user)
{
    const struct sim_timeline *inbox = &check->inbox[user];
    uint64_t last[SIM_USERS_MAX] = {0};

    if (inbox->max != check->inbox_head[user]) {
        sim_fail(check->sim, "the inbox of %s ends at %llu, entry %llu was seen",
                 check->name[user], (unsigned long long)check->inbox_head[user],
                 (unsigned long long)inbox->max);
    }
    for (uint64_t seq = 1; seq <= inbox->max && !check->sim->failed; seq++) {
        const struct sim_sent *sent = inbox->at[seq - 1];
        unsigned peer;
        if (sent == NULL) {
            sim_fail(check->sim, "the inbox of %s has nothing at %llu", check->name[user],
                     (unsigned long long)seq);
            return;
        }
        peer = sent->from == user ? sent->to : sent->from;
        if (sent->seq <= last[peer]) {
            sim_fail(check->sim, "the inbox of %s names seq %llu with %s after seq %llu",
                     check->name[user], (unsigned long long)sent->seq, check->name[peer],
                     (unsigned long long)last[peer]);
        }
        last[peer] = sent->seq;
    }
}

void
sim_check_end(struct sim_check *check)
{
    for (unsigned a = 0; a < check->users; a++) {
        for (unsigned b = a; b < check->users; b++) {
            end_conv(check, a, b);
        }
        end_inbox(check, a);
    }
    for (size_t i = 0; i < check->sent_count && !check->sim->failed; i++) {
        const struct sim_sent *sent = check->sent[i];
        if (sent->state == SIM_SENT_PENDING) {
            sim_fail(check->sim, "message %zu was never decided", i);
        }
        if (sent->seen && sent->inbox_to == 0) {
            sim_fail(check->sim, "message %zu is not in the inbox of %s", i,
                     check->name[sent->to]);
        }
        if (sent->seen && sent->from != sent->to && sent->inbox_from == 0) {
            sim_fail(check->sim, "message %zu is not in the inbox of its sender", i);
        }
    }
}
