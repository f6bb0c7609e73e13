#include "actors/gate/gate_priv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 256, SHOWN_MAX = 64, DRAIN_MS_MAX = 3600 * 1000 };

static const char *
state_name(unsigned state)
{
    static const char *const names[] = {"new", "login", "ready", "closing", "gone"};

    return names[state];
}

static size_t
put_conn(char *out, size_t cap, const struct gate *g, const struct gate_conn *c)
{
    char user[2 * AN_NAME_LEN_MAX + 1], device[2 * AN_NAME_LEN_MAX + 1];
    char address[AN_ADDRESS_TEXT_MAX];
    const uint8_t *text = c->text == NULL ? (const uint8_t *)"" : c->text; /* no login */
    int len;

    an_address_print(c->address, address, sizeof(address));
    len = snprintf(
        out, cap,
        "{\"conn\":\"%" PRIu64
        "\",\"address\":\"%s\",\"state\":\"%s\",\"user\":\"%s\",\"device\":\"%s\","
        "\"silent_ms\":%" PRIu64 ",\"output\":%" PRIu32 ",\"sends\":%u}",
        c->id, address, state_name(c->state), gate_json_name(user, text, c->user_len),
        gate_json_name(device, text + c->user_len, c->device_len),
        g->now.mono_ms - c->active_ms, c->output, c->send_count);

    return len < 0 || (size_t)len >= cap ? 0 : (size_t)len;
}

static void
answer(struct gate *g, struct an_msg *msg, const char *json, size_t len)
{
    Anser__Bus__Inspected inspected = ANSER__BUS__INSPECTED__INIT;

    inspected.json = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)json};
    an_out_answer(g->out, msg, AN_OK, &inspected.base);
}

static bool
called(const struct gate_conn *c, const char *user)
{
    return user == NULL || (c->text != NULL && strlen(user) == c->user_len &&
                            memcmp(c->text, user, c->user_len) == 0);
}

/* The first so many connections, of one user or of all. */
static void
conns(struct gate *g, struct an_msg *msg, const char *user)
{
    const size_t cap = SHOWN_MAX * 640 + 128;
    size_t at, shown = 0;
    char *json = malloc(cap);

    if (json == NULL) {
        an_out_answer(g->out, msg, AN_ERR_NO_MEMORY, NULL);
        return;
    }
    at = (size_t)snprintf(json, cap, "{\"count\":%zu,\"conns\":[", g->conns.count);
    for (const struct gate_conn *c = gate_conn_walk(g, NULL);
         c != NULL && shown < SHOWN_MAX; c = gate_conn_walk(g, c)) {
        if (called(c, user)) {
            if (shown++ > 0) {
                json[at++] = ',';
            }
            at += put_conn(json + at, cap - at - 4, g, c);
        }
    }
    memcpy(json + at, "]}", 3);
    answer(g, msg, json, at + 2);
    free(json);
}

static void
say_drain(struct gate *g, struct an_msg *msg)
{
    char json[128];
    int len = snprintf(json, sizeof(json),
                       "{\"draining\":%s,\"connections\":%zu,\"over_ms\":%" PRIu64 "}",
                       g->draining ? "true" : "false", g->conns.count - g->closing_count,
                       g->draining ? g->leave_spread_ms : 0);

    answer(g, msg, json, (size_t)len);
}

static void
drain(struct gate *g, struct an_msg *msg, const char *ms)
{
    char *end = NULL;
    unsigned long value = ms == NULL ? AN_GATE_DRAIN_MS : strtoul(ms, &end, 10);

    if (value == 0 || value > DRAIN_MS_MAX || (end != NULL && *end != '\0')) {
        an_out_answer(g->out, msg, AN_ERR_ARGUMENT, NULL);
    } else if (g->stopping) {
        an_out_answer(g->out, msg, AN_ERR_SHUTTING_DOWN, NULL);
    } else {
        gate_drain(g, value);
        say_drain(g, msg);
    }
}

void
gate_inspect(struct gate *g, struct an_msg *msg)
{
    const Anser__Bus__Inspect *inspect = (const Anser__Bus__Inspect *)msg->body;
    char text[WORDS_MAX], *word, *value, *more, *at = NULL;

    if (an_out_help(g->out, msg,
                    "\"conns [USER]\":\"connections with user, device, state\","
                    "\"reload\":\"its certificates, read again\","
                    "\"drain [MS]\":\"ask the clients to connect elsewhere, let nobody "
                    "in\",\"undrain\":\"let clients in again\"")) {
        return;
    }
    if (inspect->words.len == 0 || inspect->words.len >= sizeof(text) ||
        memchr(inspect->words.data, '\0', inspect->words.len) != NULL) {
        an_out_answer(g->out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    memcpy(text, inspect->words.data, inspect->words.len);
    text[inspect->words.len] = '\0';
    word = strtok_r(text, " ", &at);
    value = strtok_r(NULL, " ", &at);
    more = strtok_r(NULL, " ", &at);
    if (word != NULL && strcmp(word, "conns") == 0 && more == NULL) {
        conns(g, msg, value);
    } else if (word != NULL && strcmp(word, "drain") == 0 && more == NULL) {
        drain(g, msg, value);
    } else if (word != NULL && strcmp(word, "undrain") == 0 && value == NULL) {
        gate_undrain(g);
        say_drain(g, msg);
    } else {
        an_out_answer(g->out, msg, AN_ERR_ARGUMENT, NULL);
    }
}
