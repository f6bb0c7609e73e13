/* What an operator may see: numbers, and on request a slot or a timeline's head. */
#include "actors/store/store_priv.h"
#include "core/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* X(field, counter, name, help): the engine's numbers under their names here. */
#define ENGINE_METRICS(X)                                                                \
    X(appends, true, "log_records", "Log records written and synced")                    \
    X(append_rows, true, "log_rows", "Rows in written log records")                      \
    X(append_bytes, true, "log_bytes", "Bytes of written log records")                   \
    X(syncs, true, "syncs", "Syncs of the log")                                          \
    X(sync_us_total, true, "sync_us", "Time spent in syncs of the log")                  \
    X(reads, true, "reads", "Reads asked of the engine")                                 \
    X(reads_overlay_only, true, "reads_overlay", "Reads that memory alone could answer") \
    X(read_items, true, "read_rows", "Rows that reads returned")                         \
    X(applies, true, "applies", "Background applies of the log to the base")             \
    X(apply_rows, true, "apply_rows", "Rows applied to the base")                        \
    X(apply_us_total, true, "apply_us", "Time spent in applies")                         \
    X(apply_failures, true, "apply_failures", "Applies that failed")                     \
    X(replayed_records, true, "replayed_records", "Log records replayed at the start")   \
    X(refused_full, true, "refused_full", "Appends refused because the disk is full")    \
    X(refused_busy, true, "refused_busy", "Appends refused because applies are behind")  \
    X(overlay_rows, false, "overlay_rows", "Rows in memory, not applied yet")            \
    X(overlay_bytes, false, "overlay_bytes", "Bytes in memory, not applied yet")         \
    X(overlay_generations, false, "overlay_generations",                                 \
      "Generations of rows in memory")                                                   \
    X(log_segments, false, "log_segments", "Log segments on disk")                       \
    X(log_bytes, false, "log_unapplied_bytes", "Bytes of log not applied yet")           \
    X(base_bytes, false, "base_bytes", "Bytes of the base on disk")

/* A counter's name ends in "_total" wherever it is printed. */
static void
tell(an_metric_f *metric, void *ctx, const char *name, const char *help, bool counter,
     uint64_t value)
{
    char full[64];

    snprintf(full, sizeof(full), "%s%s", name, counter ? "_total" : "");
    metric(ctx, full, help, counter, value);
}

void
store_metrics(const struct an_actor *actor, an_metric_f *metric, void *ctx)
{
    const struct store *store = (const struct store *)actor;
    struct engine_stats stats;

#define TELL(name, counter, help)                                                        \
    tell(metric, ctx, #name, help, counter, store->counts.name);
    STORE_METRICS(TELL)
#undef TELL
    tell(metric, ctx, "heads_cached", "Heads of conversations and inboxes in memory",
         false, store->convs.count + store->inboxes.count);
    tell(metric, ctx, "heads_evicted", "Heads that made room for others", true,
         store->convs.evictions + store->inboxes.evictions);
    tell(metric, ctx, "writes_waiting", "Requests waiting to be written", false,
         store->queue.count);
    tell(metric, ctx, "reads_in_flight", "Read requests not answered yet", false,
         store->reads_in_flight);
    store_outgoing_metrics(store, metric, ctx);
    engine_stats(store->engine, &stats);
#define TELL(field, counter, name, help)                                                 \
    tell(metric, ctx, "engine_" name, help, counter, stats.field);
    ENGINE_METRICS(TELL)
#undef TELL
}

static const char *
state_name(unsigned state)
{
    static const char *const NAMES[] = {"unknown", "loading", "loaded"};

    return state < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[state] : "?";
}

/* "slot N", "conversation A B", "timeline KEY": what this actor holds in memory. */
static int
describe(const struct store *store, const char *words, char *json, size_t len)
{
    const struct store_head *head;
    uint64_t a, b;
    unsigned slot;

    if (sscanf(words, "slot %u", &slot) == 1 && slot < AN_SLOTS) {
        const struct store_slot *own = &store->slots[slot];

        return snprintf(json, len,
                        "{\"slot\":%u,\"mine\":%s,\"state\":\"%s\",\"epoch\":\"%" PRIu64
                        "\",\"owner\":\"sequencer/%u\"}",
                        slot, own->mine ? "true" : "false", state_name(own->state),
                        own->epoch, own->owner);
    }
    if (sscanf(words, "conversation %" SCNu64 " %" SCNu64, &a, &b) == 2) {
        head = store_heads_peek(&store->convs, a < b ? a : b, a < b ? b : a);
    } else if (sscanf(words, "timeline %" SCNu64, &a) == 1) {
        head = store_heads_peek(&store->inboxes, a, 0);
    } else {
        return -1;
    }
    if (head == NULL) {
        return snprintf(json, len, "{\"cached\":false}");
    }
    return snprintf(json, len,
                    "{\"cached\":true,\"slot\":%u,\"generation\":\"%" PRIu64
                    "\",\"head\":\"%" PRIu64 "\"}",
                    head->slot, head->generation, head->head);
}

/* Begins a copy of everything to a path, or says how it goes. Room for a path in which
 * every byte is escaped. */
static void
backup(struct store *store, struct an_msg *msg, const char *path)
{
    Anser__Bus__Inspected answer = ANSER__BUS__INSPECTED__INIT;
    const struct engine_backup *state = engine_backup_state(store->engine);
    char why[512], dir[2 * STORE_WORDS_MAX], reason[1024];
    char json[sizeof(dir) + sizeof(reason) + 256];
    enum an_err err = AN_OK;
    int len;

    if (path[0] != '\0') {
        err = engine_backup(store->engine, path, why, sizeof(why));
    } else {
        err = state->err;
        snprintf(why, sizeof(why), "%s", state->why);
        path = state->dir;
    }
    an_text_escape(dir, sizeof(dir), path, strlen(path), true);
    an_text_escape(reason, sizeof(reason), why, err == AN_OK ? 0 : strlen(why), true);
    len = snprintf(json, sizeof(json),
                   "{\"dir\":\"%s\",\"running\":%s,\"rows\":\"%" PRIu64
                   "\",\"error\":\"%s\",\"why\":\"%s\"}",
                   dir, state->running ? "true" : "false", state->rows,
                   err == AN_OK ? "" : an_err_name(err), reason);
    answer.json.data = (uint8_t *)json;
    answer.json.len = (size_t)len;
    an_out_answer(store->out, msg, AN_OK, &answer.base);
}

static void
inspect_outgoing(struct store *store, struct an_msg *msg)
{
    Anser__Bus__Inspected answer = ANSER__BUS__INSPECTED__INIT;
    char *json = store_outgoing_describe(store);

    if (json == NULL) {
        an_out_answer(store->out, msg, AN_ERR_NO_MEMORY, NULL);
        return;
    }
    answer.json = (ProtobufCBinaryData){strlen(json), (uint8_t *)json};
    an_out_answer(store->out, msg, AN_OK, &answer.base);
    free(json);
}

void
store_inspect(struct store *store, struct an_msg *msg)
{
    const Anser__Bus__Inspect *body = (const Anser__Bus__Inspect *)msg->body;
    Anser__Bus__Inspected answer = ANSER__BUS__INSPECTED__INIT;
    char words[STORE_WORDS_MAX];
    char json[256];
    int len = -1;

    if (an_out_help(store->out, msg,
                    "\"slot N\":\"whose slot N is\","
                    "\"outgoing\":\"inbox entries that wait for other stores\","
                    "\"conversation KEY KEY\":\"its head, if in memory\","
                    "\"timeline KEY\":\"the same of a user's inbox\","
                    "\"backup\":\"how the last copy went\","
                    "\"backup DIR\":\"begins a copy to a new directory\"")) {
        return;
    }
    if (body->words.len > 0 && body->words.len < sizeof(words)) {
        memcpy(words, body->words.data, body->words.len);
        words[body->words.len] = '\0';
        if (strcmp(words, "backup") == 0 || strncmp(words, "backup ", 7) == 0) {
            backup(store, msg, words + (words[6] == ' ' ? 7 : 6));
            return;
        }
        if (strcmp(words, "outgoing") == 0) {
            inspect_outgoing(store, msg);
            return;
        }
        len = describe(store, words, json, sizeof(json));
    }
    if (len < 0) {
        an_out_answer(store->out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    answer.json.data = (uint8_t *)json;
    answer.json.len = (size_t)len;
    an_out_answer(store->out, msg, AN_OK, &answer.base);
}
