/* Words that the runner answers for every actor, whether they come by the text endpoint
 * or over the bus: status, stats, peers, trace. On the instance's thread. */
#include "core/metrics.h"
#include "core/runner_nng/priv.h"
#include "core/text.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Makes a JSON object's members. False: the words are wrong. */
typedef bool words_f(struct instance *inst, const char *rest, FILE *out);

static bool
put_status(struct instance *inst, const char *rest, FILE *out)
{
    bool ready, stopped;

    (void)rest;
    pthread_mutex_lock(&inst->runner->lock);
    ready = inst->ready;
    stopped = inst->stopped;
    pthread_mutex_unlock(&inst->runner->lock);
    fprintf(out,
            "\"ready\":%s,\"stopped\":%s,\"uptime_ms\":%llu,\"pid\":%ld,"
            "\"version\":\"" AN_VERSION "\"",
            ready ? "true" : "false", stopped ? "true" : "false",
            (unsigned long long)(clock_mono_ms() - inst->started_ms), (long)getpid());
    return true;
}

static bool
put_stats(struct instance *inst, const char *rest, FILE *out)
{
    struct an_metrics *metrics = an_metrics_create();
    char *text = NULL;

    (void)rest;
    if (metrics != NULL) {
        instance_metrics(inst, metrics);
        text = an_metrics_json(metrics);
    }
    fprintf(out, "\"stats\":%s", text == NULL ? "null" : text);
    free(text);
    an_metrics_destroy(metrics);
    return true;
}

static void
put_link(FILE *out, const struct link *link, const char *use, unsigned asks)
{
    uint64_t connects = atomic_load(&link->connects);
    uint64_t lost_ms = atomic_load(&link->lost_ms);

    fprintf(out,
            "{\"to\":\"%s/%u\",\"use\":\"%s\",\"url\":\"%s\",\"connected\":%s,"
            "\"asks\":%u,\"reconnects\":%llu,\"lost_ms_ago\":",
            an_role_name(link->to.role), (unsigned)link->to.index, use, link->url,
            atomic_load(&link->pipes) > 0 ? "true" : "false", asks,
            (unsigned long long)(connects > 0 ? connects - 1 : 0));
    if (lost_ms == 0) {
        fputs("null}", out);
    } else {
        fprintf(out, "%llu}", (unsigned long long)(clock_mono_ms() - lost_ms));
    }
}

static bool
put_peers(struct instance *inst, const char *rest, FILE *out)
{
    const char *comma = "";

    (void)rest;
    fputs("\"peers\":[", out);
    for (size_t i = 0; i < inst->peer_count; i++) {
        const struct peer *peer = inst->peers[i];
        unsigned asks = AN_BUS_OUTSTANDING_MAX;

        for (const struct call *call = peer->free; call != NULL; call = call->next_free) {
            asks--;
        }
        fputs(comma, out);
        put_link(out, &peer->link, "asks", asks);
        comma = ",";
    }
    for (size_t i = 0; i < inst->sub.link_count; i++) {
        fputs(comma, out);
        put_link(out, &inst->sub.links[i], "hints", 0);
        comma = ",";
    }
    fputs("]", out);
    return true;
}

static bool
put_trace(struct instance *inst, const char *rest, FILE *out)
{
    fprintf(out, "\"on\":%s,", inst->ring.kept != NULL ? "true" : "false");
    return ring_find(&inst->ring, rest, out);
}

/* Of a gate or an api: its certificates, read again. */
static bool
put_reload(struct instance *inst, const char *rest, FILE *out)
{
    char why[512] = "";

    (void)rest;
    if (inst->door == NULL || inst->door->ops->reload == NULL) {
        return false;
    }
    if (inst->door->ops->reload(inst->door, why, sizeof(why)) == AN_OK) {
        fputs("\"reloaded\":true", out);
    } else {
        fputs("\"reloaded\":false,\"error\":\"", out);
        for (const char *c = why; *c != '\0'; c++) {
            fputc((unsigned char)*c < ' ' || *c == '"' || *c == '\\' ? '?' : *c, out);
        }
        fputc('"', out);
    }
    return true;
}

static const struct {
    const char *word;
    words_f *put;
    bool takes_rest;
} table[] = {
    {"status", put_status, false}, {"stats", put_stats, false},
    {"peers", put_peers, false},   {"trace", put_trace, true},
    {"reload", put_reload, false},
};

static void
answer_json(struct instance *inst, struct an_msg *msg, char *json, size_t len)
{
    Anser__Bus__Inspected inspected = ANSER__BUS__INSPECTED__INIT;

    inspected.json = (ProtobufCBinaryData){len, (uint8_t *)json};
    an_out_answer(&inst->out, msg, AN_OK, &inspected.base);
}

static void
answer_words(struct instance *inst, struct an_msg *msg, words_f *put, const char *rest)
{
    char *json = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&json, &len);
    bool known;

    if (out == NULL) {
        an_out_answer(&inst->out, msg, AN_ERR_NO_MEMORY, NULL);
        return;
    }
    fprintf(out, "{\"actor\":\"%s\",", inst->who);
    known = put(inst, rest, out);
    fputs("}", out);
    if (fclose(out) != 0) {
        an_out_answer(&inst->out, msg, AN_ERR_NO_MEMORY, NULL);
    } else if (!known) {
        an_out_answer(&inst->out, msg, AN_ERR_ARGUMENT, NULL);
    } else {
        answer_json(inst, msg, json, len);
    }
    free(json);
}

bool
words_answer(struct instance *inst, struct an_msg *msg)
{
    const Anser__Bus__Inspect *asked = (const Anser__Bus__Inspect *)msg->body;
    char words[WORDS_MAX];
    char *rest;

    if (asked->words.len >= WORDS_MAX) {
        an_out_answer(&inst->out, msg, AN_ERR_ARGUMENT, NULL);
        return true;
    }
    if (asked->words.len > 0) {
        memcpy(words, asked->words.data, asked->words.len);
    }
    words[asked->words.len] = '\0';
    rest = words + strcspn(words, " ");
    if (*rest != '\0') {
        *rest++ = '\0';
        rest += strspn(rest, " ");
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(words, table[i].word) == 0 && (*rest != '\0') == table[i].takes_rest) {
            answer_words(inst, msg, table[i].put, rest);
            return true;
        }
    }
    return false;
}
