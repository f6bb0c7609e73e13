/* What a simulated client sends. */
#include "tests/sim/clients.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MODEST_MS = 5000 };

static ProtobufCBinaryData
text(const char *s)
{
    return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

struct request *
client_request_find(struct sim_client *client, uint32_t number)
{
    for (unsigned i = 0; i < CLIENT_REQUESTS_MAX; i++) {
        if (client->request[i].number == number) {
            return &client->request[i];
        }
    }
    return NULL;
}

static void
frame_write(struct sim_clients *clients, struct sim_client *client, uint16_t command,
            uint32_t number, const uint8_t *body, size_t len)
{
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = command,
                             .request = number,
                             .body_len = (uint32_t)len};
    uint8_t *bytes = sim_alloc(AN_FRAME_HEADER_LEN + len);

    an_frame_put(bytes, &frame);
    if (len > 0) {
        memcpy(bytes + AN_FRAME_HEADER_LEN, body, len);
    }
    sim_trace(clients->sim, "client %u sends %s request %u, %zu bytes", client->index,
              an_command_name(command), number, len);
    sim_door_write(clients->sim, client->conn, bytes, AN_FRAME_HEADER_LEN + len);
    free(bytes);
}

/* NULL: too many are unanswered already. */
static struct request *
ask(struct sim_clients *clients, struct sim_client *client, uint16_t command,
    const ProtobufCMessage *body)
{
    struct request *request = client_request_find(client, 0);
    size_t len = protobuf_c_message_get_packed_size(body);
    uint8_t *packed;

    if (request == NULL) {
        return NULL;
    }
    packed = sim_alloc(len);
    protobuf_c_message_pack(body, packed);
    *request = (struct request){.number = ++client->request_next,
                                .command = command,
                                .at_us = clients->sim->now_us};
    frame_write(clients, client, command, request->number, packed, len);
    free(packed);
    return request;
}

void
client_login(struct sim_clients *clients, struct sim_client *client)
{
    Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;
    struct request *request;

    login.token = text(clients->token[client->user]);
    login.device = text(client->device);
    login.platform = text("linux");
    login.client = text("sim/1");
    clients->sim->counts[SIM_OP_LOGIN]++;
    request = ask(clients, client, AN_COMMAND_LOGIN, &login.base);
    assert(request != NULL);
    request->known = clients->check->inbox[client->user].max;
    request->a = clients->check->confirm_acked[client->index];
    client->state = CLIENT_LOGIN;
}

bool
client_modest(const struct sim_clients *clients, const struct sim_client *client)
{
    return clients->sim->plan.rates > 0 && client->user == SIM_MODEST;
}

/* The modest user's Sends are so far apart that no pause of a gate can gather too many.
 */
static bool
may_send(struct sim_clients *clients, const struct sim_client *client)
{
    if (!client_modest(clients, client)) {
        return true;
    }
    if (clients->modest_us != 0 &&
        clients->sim->now_us - clients->modest_us < MODEST_MS * SIM_MS) {
        return false;
    }
    clients->modest_us = clients->sim->now_us;
    return true;
}

static size_t
letter_body(struct sim_clients *clients, const struct letter *letter,
            Anser__Client__Send *send)
{
    static uint8_t other[] = "another body under the same id";
    static uint8_t hello[] = "is anybody there?";
    const struct sim_sent *sent = letter->sent;

    send->client_msg_id =
        (ProtobufCBinaryData){sizeof(letter->id), (uint8_t *)(uintptr_t)letter->id};
    if (letter->kind == LETTER_UNKNOWN) {
        send->to = text("nobody");
        send->type = 1;
        send->body = (ProtobufCBinaryData){sizeof(hello) - 1, hello};
    } else {
        send->to = text(clients->check->name[sent->to]);
        send->type = sent->type;
        send->body = (ProtobufCBinaryData){sent->len, sent->body};
    }
    if (letter->kind == LETTER_CONFLICT) {
        send->type = 1;
        send->body = (ProtobufCBinaryData){sizeof(other) - 1, other};
    }
    return send->body.len;
}

bool
client_send_letter(struct sim_clients *clients, struct sim_client *client,
                   struct letter *letter)
{
    Anser__Client__Send send = ANSER__CLIENT__SEND__INIT;
    struct request *request;

    if (!may_send(clients, client)) {
        return false;
    }
    letter_body(clients, letter, &send);
    request = ask(clients, client, AN_COMMAND_SEND, &send.base);
    if (request == NULL) {
        return false;
    }
    request->letter = letter;
    letter->in_flight = true;
    if (letter->sent != NULL) {
        letter->sent->copies++;
        sim_trace(clients->sim,
                  "client %u: that was message %llu to %s, id ..%02x%02x%02x",
                  client->index, (unsigned long long)letter->sent->number,
                  clients->check->name[letter->sent->to], letter->id[13], letter->id[14],
                  letter->id[15]);
    }
    if (letter->attempts++ > 0) {
        clients->sim->counts[SIM_OP_RESEND]++;
    }
    return true;
}

void
client_bad_send(struct sim_clients *clients, struct sim_client *client)
{
    static uint8_t broken[] = "\xc3\x28 not UTF-8";
    Anser__Client__Send send = ANSER__CLIENT__SEND__INIT;
    uint8_t id[AN_CLIENT_MSG_ID_LEN] = {[6] = 0x70, [8] = 0x80};
    uint16_t expect;
    struct request *request;

    send.to = text(clients->check->name[0]);
    send.client_msg_id = (ProtobufCBinaryData){sizeof(id), id};
    send.type = 1;
    send.body = (ProtobufCBinaryData){sizeof(broken) - 1, broken};
    switch (client_between(client, 0, 2)) {
    case 0:
        expect = AN_ERR_UTF8;
        break;
    case 1:
        send.body.len = 0;
        expect = AN_ERR_BODY_EMPTY;
        break;
    default:
        send.client_msg_id.len = 3;
        send.body.len = 1;
        broken[0] = 'x';
        expect = AN_ERR_ARGUMENT;
        break;
    }
    if (!may_send(clients, client)) {
        broken[0] = 0xc3;
        return;
    }
    clients->sim->counts[SIM_OP_BAD_BODY]++;
    request = ask(clients, client, AN_COMMAND_SEND, &send.base);
    broken[0] = 0xc3;
    if (request != NULL) {
        request->expect = expect;
    }
}

void
client_sync(struct sim_clients *clients, struct sim_client *client, uint64_t after)
{
    Anser__Client__Sync sync = ANSER__CLIENT__SYNC__INIT;
    struct request *request;

    sync.after = after;
    sync.limit =
        client_between(client, 0, 1) == 0 ? 0 : (uint32_t)client_between(client, 1, 30);
    sync.inbox_generation = client->generation;
    request = ask(clients, client, AN_COMMAND_SYNC, &sync.base);
    if (request != NULL) {
        clients->sim->counts[SIM_OP_SYNC]++;
        request->a = after;
        request->b = sync.limit;
        request->known = clients->check->inbox[client->user].max;
        client->syncing = true;
    }
}

void
client_history(struct sim_clients *clients, struct sim_client *client, unsigned peer,
               uint64_t before, uint64_t after, bool oldest_first, uint32_t limit)
{
    Anser__Client__History history = ANSER__CLIENT__HISTORY__INIT;
    struct request *request;

    history.peer = text(clients->check->name[peer]);
    history.before = before;
    history.after = after;
    history.oldest_first = oldest_first;
    history.limit = limit;
    request = ask(clients, client, AN_COMMAND_HISTORY, &history.base);
    if (request != NULL) {
        clients->sim->counts[SIM_OP_HISTORY]++;
        request->peer = peer;
        request->a = oldest_first ? after : before;
        request->b = oldest_first;
        request->known = sim_check_conv(clients->check, client->user, peer)->max;
    }
}

static size_t
positions(struct sim_clients *clients, struct sim_client *client,
          Anser__Client__Position *position, Anser__Client__Position **list)
{
    size_t count = 0;

    for (unsigned peer = 0; peer < clients->check->users; peer++) {
        uint64_t *told = &clients->check->delivered_told[peer][client->user];
        if (client->position[peer] == 0) {
            continue;
        }
        anser__client__position__init(&position[count]);
        position[count].peer = text(clients->check->name[peer]);
        position[count].seq = client->position[peer];
        list[count] = &position[count];
        count++;
        if (*told < client->position[peer]) {
            *told = client->position[peer];
        }
    }
    return count;
}

void
client_confirm(struct sim_clients *clients, struct sim_client *client, uint64_t ahead)
{
    Anser__Client__Confirm confirm = ANSER__CLIENT__CONFIRM__INIT;
    Anser__Client__Position position[SIM_USERS_MAX];
    Anser__Client__Position *list[SIM_USERS_MAX];
    uint64_t *told = &clients->check->confirm_told[client->index];
    struct request *request;

    confirm.inbox_seq = client->have + ahead;
    confirm.inbox_generation = client->generation;
    if (ahead == 0) {
        confirm.n_delivered = positions(clients, client, position, list);
        confirm.delivered = list;
        if (*told < confirm.inbox_seq) {
            *told = confirm.inbox_seq;
        }
    }
    request = ask(clients, client, AN_COMMAND_CONFIRM, &confirm.base);
    if (request != NULL) {
        clients->sim->counts[SIM_OP_CONFIRM]++;
        request->a = confirm.inbox_seq;
        request->known = clients->check->confirm_acked[client->index];
        request->expect = ahead == 0 ? 0 : AN_ERR_CURSOR_AHEAD;
        client->confirm_sent = client->have;
    }
}

void
client_heartbeat(struct sim_clients *clients, struct sim_client *client)
{
    Anser__Client__Heartbeat heartbeat = ANSER__CLIENT__HEARTBEAT__INIT;

    if (ask(clients, client, AN_COMMAND_HEARTBEAT, &heartbeat.base) != NULL) {
        clients->sim->counts[SIM_OP_HEARTBEAT]++;
    }
}

void
client_flood(struct sim_clients *clients, struct sim_client *client)
{
    clients->sim->counts[SIM_OP_FLOOD]++;
    for (unsigned i = 0; i < CLIENT_REQUESTS_MAX; i++) {
        client_heartbeat(clients, client);
    }
}

void
client_logout(struct sim_clients *clients, struct sim_client *client)
{
    Anser__Client__Logout logout = ANSER__CLIENT__LOGOUT__INIT;

    if (ask(clients, client, AN_COMMAND_LOGOUT, &logout.base) != NULL) {
        clients->sim->counts[SIM_OP_LOGOUT]++;
    }
}
