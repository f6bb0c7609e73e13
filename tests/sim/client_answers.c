/* What a simulated client makes of what it is told. */
#include "tests/sim/clients.h"
#include <stdlib.h>
#include <string.h>

/* Unpacked for the length of one handler. */
static void *
open_body(struct sim *sim, const ProtobufCMessageDescriptor *descriptor,
          const struct an_frame *frame, const uint8_t *body)
{
    void *message = protobuf_c_message_unpack(descriptor, NULL, frame->body_len, body);

    if (message == NULL) {
        sim_fail(sim, "the body of a %s is malformed", an_command_name(frame->command));
    }
    return message;
}

/* ------------------------------------------------------------------ answers */

static void
got_login(struct sim_clients *clients, struct sim_client *client,
          const struct request *request, const Anser__Client__LoginOk *ok)
{
    struct sim *sim = clients->sim;

    if (ok->inbox_head < request->known) {
        sim_fail(sim, "login: the inbox head is %llu, entry %llu was seen before",
                 (unsigned long long)ok->inbox_head, (unsigned long long)request->known);
    }
    if (ok->cursor < request->a) {
        sim_fail(sim, "login: the cursor of client %u went back from %llu to %llu",
                 client->index, (unsigned long long)request->a,
                 (unsigned long long)ok->cursor);
    }
    if (ok->cursor > clients->check->confirm_told[client->index]) {
        sim_fail(sim, "login: the cursor of client %u is %llu, more than it confirmed",
                 client->index, (unsigned long long)ok->cursor);
    }
    if (client->generation != 0 && ok->inbox_generation != client->generation) {
        sim_fail(sim, "login: another inbox generation");
    }
    client->state = CLIENT_ON;
    client->on_since_us = sim->now_us;
    client->server_ms = ok->server_time_ms;
    client->server_us = sim->now_us;
    client->head = ok->inbox_head;
    client->generation = ok->inbox_generation;
    client->heartbeat_us = sim->now_us;
}

static void
got_send(struct sim_clients *clients, struct sim_client *client,
         const struct request *request, const Anser__Client__SendOk *ok)
{
    struct letter *letter = request->letter;
    struct sim_sent *sent = letter->sent;

    if (letter->kind == LETTER_CONFLICT || letter->kind == LETTER_UNKNOWN) {
        sim_fail(clients->sim, "a send that must be refused was acked");
        return;
    }
    if (ok->client_msg_id.len != sizeof(letter->id) ||
        memcmp(ok->client_msg_id.data, letter->id, sizeof(letter->id)) != 0) {
        sim_fail(clients->sim, "an ack names another client_msg_id");
        return;
    }
    clients->sim->counts[SIM_GOT_ACK]++;
    sim_check_ack(clients->check, sent, ok->seq, ok->message_id, ok->time_ms);
    if (letter->kind == LETTER_NEW) {
        sim_outage_acked(clients->sim, sent);
    }
    client_letter_done(client, letter);
    if (ok->inbox_seq != 0 && !clients->sim->failed) {
        sim_check_inbox(clients->check, client->user, ok->inbox_seq, sent);
        client_entry(clients, client, ok->inbox_seq, sent);
    }
}

static void
got_confirm(struct sim_clients *clients, struct sim_client *client,
            const struct request *request, const Anser__Client__ConfirmOk *ok)
{
    uint64_t *acked = &clients->check->confirm_acked[client->index];

    if (ok->inbox_seq < request->a || ok->inbox_seq < request->known) {
        sim_fail(clients->sim, "confirm: the cursor of client %u is %llu after %llu",
                 client->index, (unsigned long long)ok->inbox_seq,
                 (unsigned long long)(request->a > request->known ? request->a
                                                                  : request->known));
    }
    if (ok->inbox_seq > clients->check->confirm_told[client->index]) {
        sim_fail(clients->sim, "confirm: the cursor of client %u is %llu, unconfirmed",
                 client->index, (unsigned long long)ok->inbox_seq);
    }
    if (*acked < ok->inbox_seq) {
        *acked = ok->inbox_seq;
    }
}

static void
got_sync(struct sim_clients *clients, struct sim_client *client,
         const struct request *request, const Anser__Client__SyncOk *ok)
{
    struct sim *sim = clients->sim;
    uint64_t last = request->a;

    client->syncing = false;
    if (ok->head < request->known || ok->first > request->a + 1 ||
        (ok->n_events > AN_PAGE_ITEMS_MAX) ||
        (request->b != 0 && ok->n_events > request->b)) {
        sim_fail(sim, "sync after %llu: head %llu first %llu events %zu known %llu",
                 (unsigned long long)request->a, (unsigned long long)ok->head,
                 (unsigned long long)ok->first, ok->n_events,
                 (unsigned long long)request->known);
    }
    for (size_t i = 0; i < ok->n_events && !sim->failed; i++) {
        const Anser__Client__Event *event = ok->events[i];
        struct sim_sent *sent;
        if (event->inbox_seq != last + 1 || event->message == NULL) {
            sim_fail(sim, "sync: entry %llu follows %llu",
                     (unsigned long long)event->inbox_seq, (unsigned long long)last);
            return;
        }
        last = event->inbox_seq;
        sent = sim_check_message(clients->check, client->user, event->message);
        if (sent != NULL) {
            sim_check_inbox(clients->check, client->user, last, sent);
            client_entry(clients, client, last, sent);
        }
    }
    if (ok->completed != (last >= ok->head) || (last == request->a && last < ok->head)) {
        sim_fail(sim, "sync: %s at %llu of %llu", ok->completed ? "complete" : "more",
                 (unsigned long long)last, (unsigned long long)ok->head);
    }
    client->head = ok->head > client->head ? ok->head : client->head;
    client->generation = ok->inbox_generation;
    if (client->audit_waits) {
        client->audit_waits = false;
        client->audit_after = last;
        if (ok->completed) {
            clients->check->inbox_audited[client->user] = true;
            clients->check->inbox_head[client->user] = ok->head;
            client->audit_step++;
            client->audit_after = 0;
        }
    }
}

static void
history_heads(struct sim_clients *clients, struct sim_client *client,
              const struct request *request, const Anser__Client__HistoryOk *ok)
{
    struct sim_check *check = clients->check;
    uint64_t told = check->delivered_told[client->user][request->peer];
    uint64_t own_told = check->delivered_told[request->peer][client->user];

    if (ok->head < request->known) {
        sim_fail(clients->sim,
                 "history of %s and %s: head %llu, seq %llu was seen before",
                 check->name[client->user], check->name[request->peer],
                 (unsigned long long)ok->head, (unsigned long long)request->known);
    }
    if (ok->peer_delivered > told || ok->own_delivered > own_told) {
        sim_fail(clients->sim,
                 "history of %s and %s: delivered %llu and %llu, confirmed %llu and %llu",
                 check->name[client->user], check->name[request->peer],
                 (unsigned long long)ok->own_delivered,
                 (unsigned long long)ok->peer_delivered, (unsigned long long)own_told,
                 (unsigned long long)told);
    }
}

static void
got_history(struct sim_clients *clients, struct sim_client *client,
            const struct request *request, const Anser__Client__HistoryOk *ok)
{
    struct sim *sim = clients->sim;
    bool oldest_first = request->b != 0;
    uint64_t next = oldest_first                               ? request->a + 1
                    : request->a == 0 || request->a > ok->head ? ok->head
                                                               : request->a - 1;

    history_heads(clients, client, request, ok);
    for (size_t i = 0; i < ok->n_messages && !sim->failed; i++) {
        if (ok->messages[i]->seq != next) {
            sim_fail(sim, "history of %s and %s: seq %llu where %llu belongs",
                     clients->check->name[client->user],
                     clients->check->name[request->peer],
                     (unsigned long long)ok->messages[i]->seq, (unsigned long long)next);
            return;
        }
        next = oldest_first ? next + 1 : next - 1;
        sim_check_message(clients->check, client->user, ok->messages[i]);
    }
    if (ok->completed != (oldest_first ? next > ok->head : next == 0)) {
        sim_fail(sim, "history: %s before seq %llu of %llu",
                 ok->completed ? "complete" : "more", (unsigned long long)next,
                 (unsigned long long)ok->head);
    }
    if (client->audit_waits) {
        client->audit_waits = false;
        client->audit_after = next - 1;
        if (ok->completed) {
            clients->check->audited[client->user][request->peer] = true;
            client->audit_step++;
            client->audit_after = 0;
        }
    }
}

static void
got_heartbeat(struct sim_clients *clients, struct sim_client *client,
              const Anser__Client__HeartbeatOk *ok)
{
    Anser__Client__Event *event;

    client->server_ms = ok->server_time_ms;
    client->server_us = clients->sim->now_us;
    if (ok->inbox_head > client->head) {
        client->head = ok->inbox_head;
    }
    if (ok->head_event.len > 0) {
        event =
            anser__client__event__unpack(NULL, ok->head_event.len, ok->head_event.data);
        if (event == NULL || event->message == NULL) {
            sim_fail(clients->sim, "heartbeat: the newest event is malformed");
        } else if (event->message->client_msg_id.len > 0) {
            struct sim_sent *sent =
                sim_check_message(clients->check, client->user, event->message);
            if (sent != NULL) {
                sim_check_inbox(clients->check, client->user, event->inbox_seq, sent);
                client_entry(clients, client, event->inbox_seq, sent);
            }
        }
        if (event != NULL) {
            anser__client__event__free_unpacked(event, NULL);
        }
    }
}

/* ------------------------------------------------------------------ refusals */

/* Anything the protocol allows to come at any time: send the same again later. */
static bool
may_always_come(uint32_t code)
{
    return code == AN_ERR_BUSY || code == AN_ERR_UNAVAILABLE || code == AN_ERR_EXPIRED ||
           code == AN_ERR_DISK_FULL || code == AN_ERR_TIMEOUT ||
           code == AN_ERR_SHUTTING_DOWN || code == AN_ERR_DRAINING ||
           code == AN_ERR_RATE; /* where refused_rate finds it right */
}

/* Somebody was told that he asks too often: does he, and is he told until when? */
static void
refused_rate(struct sim_clients *clients, const struct sim_client *client,
             const struct request *request, const Anser__Client__Error *error)
{
    uint32_t rates = clients->sim->plan.rates;

    clients->sim->counts[SIM_GOT_RATE]++;
    if (rates == 0 || client_modest(clients, client) ||
        (request->command != AN_COMMAND_SEND &&
         request->command != AN_COMMAND_HEARTBEAT)) {
        sim_fail(clients->sim, "%s of client %u is refused with RATE for nothing",
                 an_command_name(request->command), client->index);
    } else if (error->retry_after_ms == 0 || error->retry_after_ms > 1000 / rates + 1) {
        sim_fail(clients->sim, "client %u is told to wait %u ms at %u a second",
                 client->index, error->retry_after_ms, rates);
    }
    if (request->letter != NULL && request->letter->sent != NULL) {
        request->letter->sent->copies--;
    }
}

static void
refused_letter(struct sim_clients *clients, struct sim_client *client,
               struct letter *letter, uint32_t code)
{
    bool clocks = clients->sim->counts[SIM_CLOCK_BACK] > 0 ||
                  clients->sim->counts[SIM_CLOCK_AHEAD] > 0;

    if (may_always_come(code) || code == AN_ERR_ORDER) {
        letter->in_flight = false;
        letter->wait_until_us =
            clients->sim->now_us + client_between(client, 20, 500) * SIM_MS;
        return;
    }
    if ((letter->kind == LETTER_CONFLICT && code == AN_ERR_ID_CONFLICT) ||
        (letter->kind == LETTER_UNKNOWN && code == AN_ERR_USER_NOT_FOUND)) {
        client_letter_done(client, letter);
        return;
    }
    if (clocks && (code == AN_ERR_ID_TIME || code == AN_ERR_ID_EXPIRED)) {
        if (letter->kind == LETTER_NEW) {
            letter->sent->state = SIM_SENT_REFUSED;
        } else if (letter->kind == LETTER_REPEAT) {
            letter->sent->state = SIM_SENT_ACKED;
        }
        client_letter_done(client, letter);
        return;
    }
    sim_fail(clients->sim, "a send of client %u is refused: %s", client->index,
             an_err_name(code));
}

static void
refused(struct sim_clients *clients, struct sim_client *client,
        const struct request *request, const Anser__Client__Error *error)
{
    struct sim *sim = clients->sim;

    sim->counts[SIM_GOT_REFUSAL]++;
    sim_trace(sim, "client %u: %s request %u refused: %s", client->index,
              an_command_name(request->command), request->number,
              an_err_name(error->code));
    if (error->code < 800) {
        clients->refused[error->code]++;
    }
    if (error->retry != (an_err_handling(error->code) == AN_HANDLE_RETRY)) {
        sim_fail(sim, "the error %s says retry=%d", an_err_name(error->code),
                 error->retry);
    }
    if (error->code == AN_ERR_RATE) {
        refused_rate(clients, client, request, error);
    }
    if (request->command == AN_COMMAND_SYNC) {
        client->syncing = false;
    }
    client->audit_waits = false;
    if (request->command == AN_COMMAND_LOGIN && error->code == AN_ERR_USER_FORBIDDEN &&
        client_banned(clients, client)) {
        sim->counts[SIM_GOT_FORBIDDEN]++;
        sim_door_hang_up(sim, client->conn);
        client_lost(clients, client, client_between(client, 3000, 8000));
        return;
    }
    if (request->letter != NULL) {
        refused_letter(clients, client, request->letter, error->code);
    } else if (request->expect != 0) {
        if (error->code != request->expect && error->code != AN_ERR_SHUTTING_DOWN &&
            error->code != AN_ERR_DRAINING && error->code != AN_ERR_RATE &&
            (request->command == AN_COMMAND_SEND || !may_always_come(error->code))) {
            sim_fail(sim, "%s is refused with %s instead of %s",
                     an_command_name(request->command), an_err_name(error->code),
                     an_err_name(request->expect));
        }
    } else if (!may_always_come(error->code)) {
        sim_fail(sim, "%s of client %u is refused: %s", an_command_name(request->command),
                 client->index, an_err_name(error->code));
    } else if (request->command == AN_COMMAND_LOGIN) {
        sim_door_hang_up(sim, client->conn);
        client_lost(clients, client, client_between(client, 100, 1500));
    }
}

/* ------------------------------------------------------------------ dispatch */

static void
answer_ok(struct sim_clients *clients, struct sim_client *client,
          const struct request *request, const ProtobufCMessage *ok)
{
    if (client_banned(clients, client) && clients->sim->now_us > clients->banned_us) {
        sim_fail(clients->sim, "%s of client %u is answered, and its user forbidden",
                 an_command_name(request->command), client->index);
    }
    if (request->expect != 0) {
        sim_fail(clients->sim, "%s of client %u should have been refused: %s",
                 an_command_name(request->command), client->index,
                 an_err_name(request->expect));
        return;
    }
    switch ((enum an_command)request->command) {
    case AN_COMMAND_LOGIN:
        got_login(clients, client, request, (const Anser__Client__LoginOk *)ok);
        break;
    case AN_COMMAND_SEND:
        got_send(clients, client, request, (const Anser__Client__SendOk *)ok);
        break;
    case AN_COMMAND_CONFIRM:
        got_confirm(clients, client, request, (const Anser__Client__ConfirmOk *)ok);
        break;
    case AN_COMMAND_SYNC:
        got_sync(clients, client, request, (const Anser__Client__SyncOk *)ok);
        break;
    case AN_COMMAND_HISTORY:
        got_history(clients, client, request, (const Anser__Client__HistoryOk *)ok);
        break;
    case AN_COMMAND_HEARTBEAT:
        got_heartbeat(clients, client, (const Anser__Client__HeartbeatOk *)ok);
        break;
    case AN_COMMAND_LOGOUT: /* the gate closes */
    case AN_COMMAND_EVENT:
    case AN_COMMAND_RECEIPT:
    case AN_COMMAND_GOODBYE:
        break;
    }
}

static const ProtobufCMessageDescriptor *
answer_body(uint16_t command)
{
#define ANSWER_ROW(number, name, body, answer)                                           \
    if (command == (number)) {                                                           \
        return &anser__client__##answer##__descriptor;                                   \
    }
    AN_COMMANDS(ANSWER_ROW)
#undef ANSWER_ROW
    return NULL;
}

void
client_answer(struct sim_clients *clients, struct sim_client *client,
              const struct an_frame *frame, const uint8_t *body)
{
    struct request *found = client_request_find(client, frame->request);
    struct request request;
    bool error = (frame->flags & AN_FRAME_ERROR) != 0;
    ProtobufCMessage *message;

    if (frame->request == 0 || found == NULL || found->command != frame->command) {
        sim_fail(clients->sim, "an answer to %s request %u, which client %u never made",
                 an_command_name(frame->command), frame->request, client->index);
        return;
    }
    request = *found;
    found->number = 0;
    message =
        open_body(clients->sim,
                  error ? &anser__client__error__descriptor : answer_body(frame->command),
                  frame, body);
    if (message == NULL) {
        return;
    }
    if (error) {
        refused(clients, client, &request, (const Anser__Client__Error *)message);
    } else {
        answer_ok(clients, client, &request, message);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}

/* ------------------------------------------------------------------ pushes */

static void
push_event(struct sim_clients *clients, struct sim_client *client,
           const Anser__Client__Event *event)
{
    struct sim_sent *sent;

    clients->sim->counts[SIM_GOT_EVENT]++;
    if (event->message == NULL) {
        sim_fail(clients->sim, "an event without a message");
        return;
    }
    sent = sim_check_message(clients->check, client->user, event->message);
    if (sent == NULL) {
        return;
    }
    if (sent->client == client->index && sent->from != sent->to &&
        !sim_check_crosses(clients->check, sent)) {
        sim_fail(clients->sim, "client %u is pushed its own message", client->index);
        return;
    }
    sim_check_inbox(clients->check, client->user, event->inbox_seq, sent);
    client_entry(clients, client, event->inbox_seq, sent);
}

static void
push_receipt(struct sim_clients *clients, struct sim_client *client,
             const Anser__Client__Receipt *receipt)
{
    struct sim_check *check = clients->check;

    clients->sim->counts[SIM_GOT_RECEIPT]++;
    for (unsigned peer = 0; peer < check->users; peer++) {
        uint64_t limit = receipt->kind == ANSER__CLIENT__RECEIPT_KIND__RECEIPT_DELIVERED
                             ? check->delivered_told[client->user][peer]
                             : UINT64_MAX;
        if (receipt->peer.len != strlen(check->name[peer]) ||
            memcmp(receipt->peer.data, check->name[peer], receipt->peer.len) != 0) {
            continue;
        }
        if (receipt->seq > limit || receipt->seq == 0) {
            sim_fail(clients->sim, "a receipt says %s has seq %llu, confirmed was %llu",
                     check->name[peer], (unsigned long long)receipt->seq,
                     (unsigned long long)limit);
        }
        return;
    }
    sim_fail(clients->sim, "a receipt names a peer nobody knows");
}

static void
push_goodbye(struct sim_clients *clients, struct sim_client *client,
             const Anser__Client__Goodbye *goodbye)
{
    clients->sim->counts[SIM_GOT_GOODBYE]++;
    sim_trace(clients->sim, "client %u: goodbye %s", client->index,
              an_err_name(goodbye->code));
    if (goodbye->code == AN_ERR_ADDRESS_FULL && clients->sim->plan.rates > 0) {
        clients->sim->counts[SIM_GOT_ADDRESS_FULL]++;
    } else if (goodbye->code == AN_ERR_USER_FORBIDDEN && client_banned(clients, client)) {
        clients->sim->counts[SIM_GOT_FORBIDDEN]++;
    } else if (!may_always_come(goodbye->code) && goodbye->code != AN_ERR_IDLE &&
               goodbye->code != AN_ERR_LOGIN_TIMEOUT &&
               goodbye->code != AN_ERR_SLOW_CONSUMER &&
               goodbye->code != AN_ERR_REPLACED) {
        sim_fail(clients->sim, "client %u is sent away: %s", client->index,
                 an_err_name(goodbye->code));
    }
}

void
client_push(struct sim_clients *clients, struct sim_client *client,
            const struct an_frame *frame, const uint8_t *body)
{
    const ProtobufCMessageDescriptor *descriptor =
        frame->command == AN_COMMAND_EVENT     ? &anser__client__event__descriptor
        : frame->command == AN_COMMAND_RECEIPT ? &anser__client__receipt__descriptor
        : frame->command == AN_COMMAND_GOODBYE ? &anser__client__goodbye__descriptor
                                               : NULL;
    ProtobufCMessage *message;

    if (descriptor == NULL || frame->request != 0) {
        sim_fail(clients->sim, "a push of command %u, request %u", frame->command,
                 frame->request);
        return;
    }
    message = open_body(clients->sim, descriptor, frame, body);
    if (message == NULL) {
        return;
    }
    if (frame->command == AN_COMMAND_EVENT) {
        push_event(clients, client, (const Anser__Client__Event *)message);
    } else if (frame->command == AN_COMMAND_RECEIPT) {
        push_receipt(clients, client, (const Anser__Client__Receipt *)message);
    } else {
        push_goodbye(clients, client, (const Anser__Client__Goodbye *)message);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}
