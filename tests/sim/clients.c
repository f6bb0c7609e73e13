#include "tests/sim/clients.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS_MAX = 700,
    HEARTBEAT_MS = 10000,
    LETTERS_MAX = 40,   /* pending of one client; it writes no more meanwhile */
    IN_FLIGHT_MAX = 12, /* but in an outage: who waits there holds up nobody */
    LARGE_ONE_IN = 40,
};

uint64_t
client_between(struct sim_client *client, uint64_t low, uint64_t high)
{
    return low + an_rng_below(&client->rng, high - low + 1);
}

/* ------------------------------------------------------------------ letters */

static struct letter *
letter_add(struct sim_client *client, enum letter_kind kind, struct sim_sent *sent)
{
    struct letter *letter = sim_alloc(sizeof(*letter));
    struct letter **at = &client->letters;

    letter->kind = kind;
    letter->sent = sent;
    if (sent != NULL) {
        memcpy(letter->id, sent->id, sizeof(letter->id));
    }
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = letter;
    return letter;
}

void
client_letter_done(struct sim_client *client, struct letter *letter)
{
    for (struct letter **at = &client->letters; *at != NULL; at = &(*at)->next) {
        if (*at == letter) {
            *at = letter->next;
            free(letter);
            return;
        }
    }
    assert(false); /* done twice */
}

/* A UUIDv7 on the server's clock, as far as the client knows it. */
static void
id_make(const struct sim_clients *clients, struct sim_client *client, uint8_t id[16])
{
    uint64_t ms = client->server_ms + (clients->sim->now_us - client->server_us) / SIM_MS;

    for (unsigned i = 0; i < 6; i++) {
        id[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    for (unsigned i = 6; i < 16; i++) {
        id[i] = (uint8_t)an_rng_next(&client->rng);
    }
    id[6] = (uint8_t)(0x70 | (id[6] & 0x0f));
    id[8] = (uint8_t)(0x80 | (id[8] & 0x3f));
}

static unsigned
letters_count(const struct sim_client *client)
{
    unsigned count = 0;

    for (const struct letter *at = client->letters; at != NULL; at = at->next) {
        count++;
    }
    return count;
}

static void
write_letter(struct sim_clients *clients, struct sim_client *client)
{
    struct sim *sim = clients->sim;
    unsigned to = (unsigned)client_between(client, 0, clients->check->users - 1);
    bool large = client_between(client, 1, LARGE_ONE_IN) == 1;
    size_t len = large ? AN_BODY_LEN_MAX - client_between(client, 0, 2000)
                       : client_between(client, 1, 200);
    uint8_t *body = sim_alloc(len);
    uint32_t type = (uint32_t)client_between(client, 1, 3);
    struct sim_sent *sent;

    for (size_t i = 0; i < len; i++) { /* text must be UTF-8 */
        uint64_t byte = an_rng_next(&client->rng);
        body[i] = type == 1 ? (uint8_t)(' ' + byte % 90) : (uint8_t)byte;
    }
    sent =
        sim_check_write(clients->check, client->user, to, client->index, type, body, len);
    id_make(clients, client, sent->id);
    letter_add(client, LETTER_NEW, sent);
    sim->counts[SIM_OP_SEND]++;
    sim->counts[SIM_OP_SEND_SELF] += to == client->user;
    sim->counts[SIM_OP_SEND_LARGE] += large;
}

/* A message sent before may be sent again, but not from behind another that waits: the
 * order rule goes by the message before, and this one is stored already. */
static bool
waits_to(const struct sim_client *client, unsigned to)
{
    for (const struct letter *at = client->letters; at != NULL; at = at->next) {
        if (at->sent != NULL && at->sent->to == to) {
            return true;
        }
    }
    return false;
}

static void
write_again(struct sim_clients *clients, struct sim_client *client, bool conflict)
{
    struct sim_check *check = clients->check;
    size_t first =
        check->sent_count == 0 ? 0 : client_between(client, 0, check->sent_count - 1);

    for (size_t i = first; i < check->sent_count; i++) {
        struct sim_sent *sent = check->sent[i];
        if (sent->client != client->index || sent->state != SIM_SENT_ACKED ||
            waits_to(client, sent->to)) {
            continue;
        }
        if (conflict) {
            clients->sim->counts[SIM_OP_CONFLICT]++;
            letter_add(client, LETTER_CONFLICT, sent);
        } else {
            clients->sim->counts[SIM_OP_REPEAT]++;
            sent->state = SIM_SENT_PENDING;
            letter_add(client, LETTER_REPEAT, sent);
        }
        return;
    }
}

static void
write_unknown(struct sim_clients *clients, struct sim_client *client)
{
    struct letter *letter = letter_add(client, LETTER_UNKNOWN, NULL);

    id_make(clients, client, letter->id);
    clients->sim->counts[SIM_OP_SEND_UNKNOWN]++;
}

/* The planted bug: the second of two to the same user goes first. */
static void
letters_swap(struct sim_clients *clients, struct sim_client *client)
{
    for (struct letter *a = client->letters; a != NULL; a = a->next) {
        for (struct letter *b = a->next; b != NULL; b = b->next) {
            if (a->attempts == 0 && b->attempts == 0 && a->kind == LETTER_NEW &&
                b->kind == LETTER_NEW && a->sent->to == b->sent->to) {
                client_send_letter(clients, client, b);
                return;
            }
        }
    }
}

/* In order, and in each conversation none before an earlier one that waits. */
static void
letters_flush(struct sim_clients *clients, struct sim_client *client)
{
    bool waits[SIM_USERS_MAX + 1] = {false};
    unsigned in_flight = 0, in_flight_max = IN_FLIGHT_MAX;

    if (clients->sim->options.outage.how != SIM_OUTAGE_NONE) {
        in_flight_max = LETTERS_MAX;
    }
    if (clients->sim->options.bug == SIM_BUG_SWAP_SENDS) {
        letters_swap(clients, client);
    }
    for (struct letter *at = client->letters; at != NULL; at = at->next) {
        in_flight += at->in_flight;
    }
    for (struct letter *at = client->letters; at != NULL; at = at->next) {
        unsigned to = at->sent == NULL ? SIM_USERS_MAX : at->sent->to;
        if (at->in_flight || waits[to]) {
            continue;
        }
        if (at->wait_until_us > clients->sim->now_us || in_flight >= in_flight_max ||
            !client_send_letter(clients, client, at)) {
            waits[to] = true;
            continue;
        }
        in_flight++;
    }
}

/* ------------------------------------------------------------------ connection */

static void
client_connect(struct sim_clients *clients, struct sim_client *client)
{
    const struct sim_plan *plan = &clients->sim->plan;
    unsigned gate = (unsigned)client_between(client, 0, plan->gates - !plan->stranger);

    if (client->silent_gate != 0) { /* the next one, as one who has a list of them */
        gate = client->silent_gate % (plan->gates + plan->stranger);
    }
    client->silent_gate = 0;
    client->gate = gate;
    client->state = CLIENT_CONNECTING;
    client->conn = sim_door_connect(clients->sim, client->index, gate);
}

void
client_lost(struct sim_clients *clients, struct sim_client *client, uint64_t back_off_ms)
{
    client->state = CLIENT_OFF;
    client->conn = 0;
    client->syncing = false;
    client->audit_waits = false;
    client->connect_after_us = clients->sim->now_us + back_off_ms * SIM_MS;
    memset(client->request, 0, sizeof(client->request));
    for (struct letter *at = client->letters; at != NULL; at = at->next) {
        at->in_flight = false;
        at->wait_until_us = 0;
    }
}

static uint64_t
back_off(const struct sim_clients *clients, struct sim_client *client)
{
    return client_between(client, 10, clients->quiet ? 500 : 3000);
}

unsigned
sim_client_user(const struct sim *sim, unsigned index)
{
    return sim->clients->client[index].user;
}

void
sim_client_opened(struct sim *sim, unsigned index, uint64_t conn)
{
    struct sim_client *client = &sim->clients->client[index];

    if (client->conn == conn) {
        client_login(sim->clients, client);
    }
}

void
sim_client_closed(struct sim *sim, unsigned index, uint64_t conn)
{
    struct sim_client *client = &sim->clients->client[index];

    if (client->conn == conn) {
        client_lost(sim->clients, client, back_off(sim->clients, client));
    }
}

void
sim_client_frame(struct sim *sim, unsigned index, uint64_t conn,
                 const struct an_frame *frame, const uint8_t *body)
{
    struct sim_client *client = &sim->clients->client[index];
    uint8_t *altered = NULL;
    size_t len = frame->body_len;
    struct an_frame header = *frame;

    if (client->conn != conn) {
        return; /* the old connection of a device that made a new one */
    }
    if (sim->options.bug != SIM_BUG_NONE) {
        altered = sim_alloc(len);
        memcpy(altered, body, len);
        if (sim_tamper_frame(sim, index, frame->command, &altered, &len)) {
            free(altered);
            return;
        }
        body = altered;
        header.body_len = (uint32_t)len;
    }
    sim_trace(sim, "client %u gets %s%s request %u, %zu bytes", index,
              an_command_name(frame->command),
              (frame->flags & AN_FRAME_ERROR) != 0 ? " error" : "", frame->request, len);
    if ((frame->flags & AN_FRAME_ANSWER) != 0) {
        client_answer(sim->clients, client, &header, body);
    } else {
        client_push(sim->clients, client, &header, body);
    }
    free(altered);
}

/* ------------------------------------------------------------------ the inbox */

void
client_entry(struct sim_clients *clients, struct sim_client *client, uint64_t inbox_seq,
             struct sim_sent *sent)
{
    if (clients->sim->failed) {
        return; /* the number is none, perhaps */
    }
    client->got = sim_grow(client->got, &client->got_cap, inbox_seq, 1);
    if (client->got[inbox_seq - 1] == 0) {
        sim_outage_seen(clients->sim, sent, client->user, client->on_since_us);
    }
    client->got[inbox_seq - 1] = 1;
    if (inbox_seq > client->head) {
        client->head = inbox_seq;
    }
    while (client->have < client->head && client->have < client->got_cap &&
           client->got[client->have] != 0) {
        client->have++;
    }
    for (uint64_t seq = client->confirm_sent; seq < client->have; seq++) {
        const struct sim_sent *entry = clients->check->inbox[client->user].at[seq];
        unsigned peer = entry->from == client->user ? entry->to : entry->from;
        if (client->position[peer] < entry->seq) {
            client->position[peer] = entry->seq;
        }
    }
}

/* The installation is new: what it had is gone, the server's cursor is the truth. */
static void
forget(struct sim_clients *clients, struct sim_client *client)
{
    uint64_t cursor = clients->check->confirm_acked[client->index];

    if (client->have > cursor) {
        memset(client->got + cursor, 0, client->got_cap - cursor);
        client->have = cursor;
        client->confirm_sent =
            client->confirm_sent < cursor ? client->confirm_sent : cursor;
    }
}

/* ------------------------------------------------------------------ what to do next */

static void
read_history(struct sim_clients *clients, struct sim_client *client)
{
    /* One after the other: the order of arguments is the compiler's. */
    uint32_t limit = (uint32_t)client_between(client, 0, 20);
    bool oldest_first = client_between(client, 0, 1) == 0;
    uint64_t after = client_between(client, 0, 10);
    uint64_t before = client_between(client, 0, 20);
    unsigned peer = (unsigned)client_between(client, 0, clients->check->users - 1);

    client_history(clients, client, peer, before, after, oldest_first, limit);
}

static void
operate(struct sim_clients *clients, struct sim_client *client)
{
    uint64_t dice = client_between(client, 0, 99);

    if (clients->sim->options.outage.how != SIM_OUTAGE_NONE && dice >= 89 && dice < 96) {
        dice = 99; /* nobody leaves of his own will while we measure */
    }
    if (client_modest(clients, client) && client->letters != NULL && dice < 89) {
        return;
    }
    if (dice < 45) {
        uint64_t burst =
            client_between(client, 0, 3) == 0 ? client_between(client, 2, 10) : 1;

        burst = client_modest(clients, client) ? 1 : burst;
        while (burst-- > 0 && letters_count(client) < LETTERS_MAX) {
            write_letter(clients, client);
        }
    } else if (dice == 99 && clients->sim->plan.rates > 0 &&
               !client_modest(clients, client)) {
        client_flood(clients, client);
    } else if (dice < 55) {
        read_history(clients, client);
    } else if (dice < 75) {
        client_confirm(clients, client, 0);
    } else if (dice < 77) {
        client_confirm(clients, client, 100000);
    } else if (dice < 82) {
        write_again(clients, client, false);
    } else if (dice < 85) {
        write_again(clients, client, true);
    } else if (dice < 87) {
        write_unknown(clients, client);
    } else if (dice < 89) {
        client_bad_send(clients, client);
    } else if (dice < 91) {
        client_logout(clients, client);
    } else if (dice < 93) {
        clients->sim->counts[SIM_OP_TWIN]++; /* the old connection stays open beside it */
        client_lost(clients, client, 0);
    } else if (dice < 96) {
        sim_door_hang_up(clients->sim, client->conn);
        client_lost(clients, client, back_off(clients, client));
        if (client_between(client, 0, 1) == 0) {
            forget(clients, client);
        }
    } else {
        client_sync(clients, client, client_between(client, 0, client->have));
    }
}

static void
audit(struct sim_clients *clients, struct sim_client *client)
{
    if (client->audit_waits || client->audit_step > clients->check->users) {
        return;
    }
    client->audit_waits = true;
    if (client->audit_step == 0) {
        client_sync(clients, client, client->audit_after);
    } else {
        client_history(clients, client, client->audit_step - 1, 0, client->audit_after,
                       true, 0);
    }
}

/* Half-open connections are noticed by their silence. */
static bool
request_overdue(struct sim_clients *clients, struct sim_client *client)
{
    uint64_t now = clients->sim->now_us;

    for (unsigned i = 0; i < CLIENT_REQUESTS_MAX; i++) {
        const struct request *request = &client->request[i];
        if (request->number == 0 ||
            now - request->at_us < (uint64_t)CLIENT_REQUEST_MS * SIM_MS) {
            continue;
        }
        if (clients->quiet && request->at_us > clients->quiet_us + 20000 * SIM_MS) {
            sim_fail(clients->sim, "%s request %u of client %u is not answered",
                     an_command_name(request->command), request->number, client->index);
        }
        return true;
    }
    return false;
}

static void
keep_up(struct sim_clients *clients, struct sim_client *client)
{
    if (clients->sim->now_us - client->heartbeat_us > HEARTBEAT_MS * SIM_MS) {
        client->heartbeat_us = clients->sim->now_us;
        client_heartbeat(clients, client);
    }
    if (client->head > client->have && !client->syncing && !client->audit_waits) {
        clients->sim->counts[SIM_GOT_HOLE]++;
        client_sync(clients, client, client->have);
    }
    letters_flush(clients, client);
}

static void
tick(struct sim *sim, void *arg, uint64_t index)
{
    struct sim_clients *clients = sim->clients;
    struct sim_client *client = &clients->client[index];

    (void)arg;
    if (clients->gone) {
        return;
    }
    sim_at(sim, sim->now_us + client_between(client, 1, TICK_MS_MAX) * SIM_MS, tick, NULL,
           index);
    if (client->state == CLIENT_OFF && client->connect_after_us <= sim->now_us) {
        client_connect(clients, client);
        return;
    }
    if (client->state != CLIENT_OFF && request_overdue(clients, client)) {
        client->silent_gate = sim->plan.cluster ? client->gate + 1 : 0;
        sim_door_hang_up(sim, client->conn);
        client_lost(clients, client, back_off(clients, client));
        return;
    }
    if (client->state != CLIENT_ON) {
        return;
    }
    if (!clients->quiet) {
        operate(clients, client);
    } else if (clients->audit) {
        audit(clients, client);
    } else if (client->confirm_sent < client->have) {
        client_confirm(clients, client, 0);
    }
    if (client->state == CLIENT_ON) {
        keep_up(clients, client);
    }
}

/* ------------------------------------------------------------------ life */

struct sim_clients *
sim_clients_create(struct sim *sim, struct sim_check *check)
{
    struct sim_clients *clients = sim_alloc(sizeof(*clients));

    clients->sim = sim;
    clients->check = check;
    clients->keys.count = 1;
    memcpy(clients->keys.key[0].id, "k1", 3);
    for (unsigned i = 0; i < AN_TOKEN_KEY_LEN; i++) {
        clients->keys.key[0].secret[i] = (uint8_t)(i * 7 + 1);
    }
    for (unsigned user = 0; user < check->users; user++) {
        uint64_t day = 24ull * 3600 * 1000;
        unsigned devices = (unsigned)sim_between(sim, 1, 3);
        if (an_token_mint(&clients->token[user], &clients->keys.key[0], AN_APP_DEFAULT,
                          check->name[user], SIM_WALL_BASE_MS - 10 * day,
                          30 * day) != AN_OK) {
            sim_fail(sim, "no token for %s", check->name[user]);
        }
        for (unsigned device = 0; device < devices; device++) {
            struct sim_client *client = &clients->client[clients->count];
            client->index = clients->count++;
            client->user = user;
            snprintf(client->device, sizeof(client->device), "device-%u", device);
            an_rng_seed(&client->rng, an_rng_next(&sim->rng));
        }
    }
    sim->clients = clients;
    return clients;
}

void
sim_clients_destroy(struct sim_clients *clients)
{
    if (clients == NULL) {
        return;
    }
    for (unsigned i = 0; i < clients->count; i++) {
        while (clients->client[i].letters != NULL) {
            client_letter_done(&clients->client[i], clients->client[i].letters);
        }
        free(clients->client[i].got);
    }
    for (unsigned i = 0; i < SIM_USERS_MAX; i++) {
        free(clients->token[i]);
    }
    free(clients);
}

void
sim_clients_start(struct sim_clients *clients)
{
    for (unsigned i = 0; i < clients->count; i++) {
        struct sim_client *client = &clients->client[i];
        sim_at(clients->sim,
               clients->sim->now_us + client_between(client, 1, 2000) * SIM_MS, tick,
               NULL, i);
    }
}

void
sim_clients_leave(struct sim_clients *clients)
{
    clients->gone = true;
    for (unsigned i = 0; i < clients->count; i++) {
        sim_door_hang_up(clients->sim, clients->client[i].conn);
        client_lost(clients, &clients->client[i], 0);
    }
}

bool
client_banned(const struct sim_clients *clients, const struct sim_client *client)
{
    return clients->banned == client->user + 1;
}

unsigned
sim_clients_on(const struct sim_clients *clients, unsigned user)
{
    unsigned count = 0;

    for (unsigned i = 0; i < clients->count; i++) {
        count += clients->client[i].user == user && clients->client[i].state == CLIENT_ON;
    }
    return count;
}

bool
sim_clients_settled(const struct sim_clients *clients, char *why, size_t why_len)
{
    for (unsigned i = 0; i < clients->count; i++) {
        const struct sim_client *client = &clients->client[i];
        if (client->state != CLIENT_ON) {
            snprintf(why, why_len, "client %u is not logged in", i);
            return false;
        }
        if (client->letters != NULL) {
            snprintf(why, why_len, "client %u has %u sends undecided", i,
                     letters_count(client));
            return false;
        }
        if (!sim_check_caught_up(clients->check, client->user, client->have)) {
            snprintf(why, why_len, "client %u has its inbox up to %llu of %llu", i,
                     (unsigned long long)client->have,
                     (unsigned long long)clients->check->inbox[client->user].max);
            return false;
        }
    }
    return true;
}

bool
sim_clients_audited(const struct sim_clients *clients)
{
    for (unsigned i = 0; i < clients->count; i++) {
        if (clients->client[i].audit_step <= clients->check->users) {
            return false;
        }
    }
    return true;
}
