/* Where a message was seen: every actor is asked for the hops it remembers, first by what
 * the user knows, then by the traces found with it (a hop before the message had its id
 * knows the trace alone), and by the ids found with a trace. */
#include "client/cli/args.h"
#include "client/cli/ask.h"
#include "client/cli/commands.h"
#include "client/cli/node.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    IDS_MAX = 32,       /* names of the message to ask by */
    HOPS_MAX = 65536,   /* shown */
    ID_LEN = 24,        /* of a name */
    ID_TIME_SHIFT = 22, /* of a message id: ms since the epoch of ids */
};
static const uint64_t id_epoch_ms = 1735689600000ull; /* 2025-01-01 */

struct hop {
    size_t actor; /* index of its question */
    uint64_t time_us, detail;
    char name[32], trace[ID_LEN], message_id[ID_LEN];
};

/* What is known of one actor. */
struct memory {
    enum an_err err; /* not reached */
    char why[256];
    bool off;          /* keeps no hops */
    bool cut;          /* had more than it said */
    uint64_t since_us; /* of its oldest hop, or of its start */
};

struct trace {
    struct cli_asker asker;
    struct cli_question *questions;
    struct memory *memories;
    size_t actor_count;
    char ids[IDS_MAX][ID_LEN]; /* asked by, or to be */
    size_t id_count, id_asked;
    struct hop *hops;
    size_t hop_count, hop_cap;
    bool no_memory;
};

/* ------------------------------------------------------------------ collecting */

static void
want(struct trace *trace, const char *id)
{
    if (strspn(id, "0") == strlen(id)) {
        return; /* none */
    }
    for (size_t i = 0; i < trace->id_count; i++) {
        if (strcmp(trace->ids[i], id) == 0) {
            return;
        }
    }
    if (trace->id_count < IDS_MAX) {
        snprintf(trace->ids[trace->id_count++], ID_LEN, "%s", id);
    }
}

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text == NULL ? "" : text;
}

static bool
known_already(const struct trace *trace, const struct hop *hop)
{
    for (size_t i = 0; i < trace->hop_count; i++) {
        const struct hop *other = &trace->hops[i];

        if (other->actor == hop->actor && other->time_us == hop->time_us &&
            other->detail == hop->detail && strcmp(other->name, hop->name) == 0 &&
            strcmp(other->trace, hop->trace) == 0) {
            return true;
        }
    }
    return false;
}

static void
add_hop(struct trace *trace, const struct hop *hop)
{
    if (trace->hop_count == trace->hop_cap) {
        size_t cap = trace->hop_cap == 0 ? 64 : trace->hop_cap * 2;
        struct hop *hops =
            cap <= HOPS_MAX ? realloc(trace->hops, cap * sizeof(*hops)) : NULL;

        if (hops == NULL) {
            trace->no_memory = true;
            return;
        }
        trace->hops = hops;
        trace->hop_cap = cap;
    }
    trace->hops[trace->hop_count++] = *hop;
}

static void
take_notes(struct trace *trace, size_t actor, const json_t *notes)
{
    const json_t *note;
    size_t i;

    json_array_foreach(notes, i, note)
    {
        const char *name = text_of(note, "hop");
        struct hop hop = {.actor = actor,
                          .time_us = strtoull(text_of(note, "time_us"), NULL, 10),
                          .detail = strtoull(text_of(note, "detail"), NULL, 10)};

        if (strncmp(name, "message.", 8) == 0) {
            name += 8;
        }
        snprintf(hop.name, sizeof(hop.name), "%s", name);
        snprintf(hop.trace, sizeof(hop.trace), "%s", text_of(note, "trace"));
        snprintf(hop.message_id, sizeof(hop.message_id), "%s",
                 text_of(note, "message_id"));
        if (!known_already(trace, &hop)) {
            add_hop(trace, &hop);
        }
        want(trace, hop.trace);
        want(trace, hop.message_id);
    }
}

static void
take_answer(struct trace *trace, size_t actor)
{
    const struct cli_question *question = &trace->questions[actor];
    struct memory *memory = &trace->memories[actor];
    json_t *root = question->err == AN_OK ? json_loads(question->text, 0, NULL) : NULL;

    memory->err = question->err;
    if (question->err == AN_OK && root == NULL) {
        memory->err = AN_ERR_INTERNAL;
    }
    snprintf(memory->why, sizeof(memory->why), "%s",
             question->why[0] != '\0' ? question->why : an_err_text(memory->err));
    if (root != NULL) {
        memory->off = json_is_false(json_object_get(root, "on"));
        memory->cut |= json_is_true(json_object_get(root, "more"));
        memory->since_us = strtoull(text_of(root, "since_us"), NULL, 10);
        take_notes(trace, actor, json_object_get(root, "notes"));
    }
    json_decref(root);
}

/* Asks everybody by the next name; who was not reached is not asked again. */
static void
ask_next(struct trace *trace)
{
    const char *id = trace->ids[trace->id_asked++];

    for (size_t i = 0; i < trace->actor_count; i++) {
        struct cli_question *question = &trace->questions[i];

        question->words[0] = '\0';
        if (trace->memories[i].err == AN_OK) {
            snprintf(question->words, sizeof(question->words), "trace %s", id);
        }
    }
    cli_ask_all(&trace->asker, trace->questions, trace->actor_count);
    for (size_t i = 0; i < trace->actor_count; i++) {
        if (trace->questions[i].words[0] != '\0') {
            take_answer(trace, i);
        }
    }
    cli_answers_free(trace->questions, trace->actor_count);
}

/* Who was started again forgot as well. */
static void
ask_starts(struct trace *trace)
{
    struct timespec now;
    uint64_t now_us;

    clock_gettime(CLOCK_REALTIME, &now);
    now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    for (size_t i = 0; i < trace->actor_count; i++) {
        snprintf(trace->questions[i].words, CLI_WORDS_MAX, "%s",
                 trace->memories[i].err == AN_OK ? "status" : "");
    }
    cli_ask_all(&trace->asker, trace->questions, trace->actor_count);
    for (size_t i = 0; i < trace->actor_count; i++) {
        const struct cli_question *question = &trace->questions[i];
        json_t *root = question->words[0] != '\0' && question->err == AN_OK
                           ? json_loads(question->text, 0, NULL)
                           : NULL;
        uint64_t uptime_us =
            (uint64_t)json_integer_value(json_object_get(root, "uptime_ms")) * 1000;

        if (root != NULL && now_us - uptime_us > trace->memories[i].since_us) {
            trace->memories[i].since_us = now_us - uptime_us;
        }
        json_decref(root);
    }
    cli_answers_free(trace->questions, trace->actor_count);
}

static int
by_time(const void *left, const void *right)
{
    const struct hop *a = left, *b = right;

    if (a->time_us != b->time_us) {
        return a->time_us < b->time_us ? -1 : 1;
    }
    return 0;
}

static enum an_err
collect(struct trace *trace, const char *id)
{
    enum an_err err =
        cli_asker_actors(&trace->asker, &trace->questions, &trace->actor_count);

    if (err != AN_OK) {
        return err;
    }
    trace->memories = calloc(trace->actor_count, sizeof(*trace->memories));
    if (trace->memories == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    want(trace, id);
    while (trace->id_asked < trace->id_count) {
        ask_next(trace);
    }
    ask_starts(trace);
    if (trace->hop_count > 0) {
        qsort(trace->hops, trace->hop_count, sizeof(struct hop), by_time);
    }
    return trace->no_memory ? AN_ERR_NO_MEMORY : AN_OK;
}

/* ------------------------------------------------------------------ showing */

static const char *
actor_name(const struct trace *trace, size_t actor, char out[24])
{
    struct an_addr addr = trace->questions[actor].addr;

    snprintf(out, 24, "%s/%u", an_role_name(addr.role), (unsigned)addr.index);
    return out;
}

static const char *
host_name(const struct trace *trace, size_t actor)
{
    const struct plan *plan = trace->asker.plan;

    return plan == NULL ? "-" : plan->places.hosts[plan->actors[actor].host].name;
}

static const char *
process_of(const struct trace *trace, size_t actor)
{
    const struct plan *plan = trace->asker.plan;

    return plan == NULL ? "-" : plan->processes[plan->actors[actor].process].name;
}

/* When the message was made: of its first hop, else of its id; 0: not known. */
static uint64_t
message_us(const struct trace *trace, const char *id)
{
    uint64_t number;

    if (trace->hop_count > 0) {
        return trace->hops[0].time_us;
    }
    return cli_number(id, UINT64_MAX, &number) && number >> ID_TIME_SHIFT > 0
               ? ((number >> ID_TIME_SHIFT) + id_epoch_ms) * 1000
               : 0;
}

/* Could the actor have seen it, and have forgotten? */
static bool
forgot(const struct trace *trace, size_t actor, uint64_t at_us)
{
    const struct memory *memory = &trace->memories[actor];

    return memory->err == AN_OK && memory->since_us > at_us;
}

static void
format_time(uint64_t us, char out[40])
{
    const time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    char text[24];

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 40, "%s.%06uZ", text, (unsigned)(us % 1000000));
}

static const char *
detail_name(const struct hop *hop)
{
    if (strcmp(hop->name, "order") == 0 || strcmp(hop->name, "commit") == 0) {
        return "seq";
    }
    if (strcmp(hop->name, "forward") == 0 || strcmp(hop->name, "push") == 0) {
        return "user";
    }
    return "conn";
}

static void
print_hops(const struct trace *trace)
{
    char name[24], when[40];

    if (trace->hop_count == 0) {
        return;
    }
    format_time(trace->hops[0].time_us, when);
    printf("first seen %s\n\n", when);
    printf("%10s  %-10s %-14s %-14s %-9s %-28s %s\n", "US", "HOST", "PROCESS", "ACTOR",
           "HOP", "DETAIL", "TRACE");
    for (size_t i = 0; i < trace->hop_count; i++) {
        const struct hop *hop = &trace->hops[i];
        char detail[40];

        snprintf(detail, sizeof(detail), "%s %" PRIu64, detail_name(hop), hop->detail);
        printf("%10" PRIu64 "  %-10s %-14s %-14s %-9s %-28s %s\n",
               hop->time_us - trace->hops[0].time_us, host_name(trace, hop->actor),
               process_of(trace, hop->actor), actor_name(trace, hop->actor, name),
               hop->name, detail, hop->trace);
    }
}

/* Who could know more, and why it does not. */
static void
print_gaps(const struct trace *trace, uint64_t at_us)
{
    char name[24], when[40];

    for (size_t i = 0; i < trace->actor_count; i++) {
        const struct memory *memory = &trace->memories[i];

        (void)actor_name(trace, i, name);
        if (memory->err != AN_OK) {
            printf("%s was not reached: %s\n", name, memory->why);
        } else if (memory->off) {
            printf("%s keeps no hops: trace is off\n", name);
        } else if (forgot(trace, i, at_us)) {
            format_time(memory->since_us, when);
            printf("%s no longer knows what was before %s\n", name, when);
        }
        if (memory->cut) {
            printf("%s had more hops than it said\n", name);
        }
    }
}

static void
set_number(json_t *object, const char *key, uint64_t number)
{
    char text[ID_LEN];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    json_object_set_new(object, key, json_string(text));
}

static json_t *
json_hops(const struct trace *trace)
{
    json_t *hops = json_array();
    char name[24];

    for (size_t i = 0; i < trace->hop_count; i++) {
        const struct hop *hop = &trace->hops[i];
        json_t *one = json_object();

        set_number(one, "us", hop->time_us - trace->hops[0].time_us);
        set_number(one, "time_us", hop->time_us);
        if (trace->asker.plan != NULL) {
            json_object_set_new(one, "host", json_string(host_name(trace, hop->actor)));
            json_object_set_new(one, "process",
                                json_string(process_of(trace, hop->actor)));
        }
        json_object_set_new(one, "actor",
                            json_string(actor_name(trace, hop->actor, name)));
        json_object_set_new(one, "hop", json_string(hop->name));
        set_number(one, detail_name(hop), hop->detail);
        json_object_set_new(one, "trace", json_string(hop->trace));
        json_object_set_new(one, "message_id", json_string(hop->message_id));
        json_array_append_new(hops, one);
    }
    return hops;
}

static void
print_json(const struct trace *trace, const char *id, uint64_t at_us)
{
    json_t *root = json_object(), *unreached = json_array(), *forgotten = json_array(),
           *off = json_array();
    char name[24];

    for (size_t i = 0; i < trace->actor_count; i++) {
        const struct memory *memory = &trace->memories[i];

        (void)actor_name(trace, i, name);
        if (memory->err != AN_OK) {
            json_array_append_new(
                unreached, json_pack("{s:s, s:s}", "actor", name, "why", memory->why));
        } else if (memory->off) {
            json_array_append_new(off, json_string(name));
        } else if (forgot(trace, i, at_us)) {
            json_t *one = json_pack("{s:s}", "actor", name);
            set_number(one, "since_us", memory->since_us);
            json_array_append_new(forgotten, one);
        }
    }
    json_object_set_new(root, "id", json_string(id));
    json_object_set_new(root, "hops", json_hops(trace));
    json_object_set_new(root, "not_reached", unreached);
    json_object_set_new(root, "no_longer_know", forgotten);
    json_object_set_new(root, "off", off);
    json_dumpf(root, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(root);
}

/* ------------------------------------------------------------------ the command */

/* A decimal number, or 16 hexadecimal digits; in lower case, as actors say them. */
static bool
take_id(const char *text, char out[ID_LEN])
{
    size_t len = strlen(text);
    uint64_t number;

    if (cli_number(text, UINT64_MAX, &number)) {
        snprintf(out, ID_LEN, "%.23s", text);
        return number != 0 && len < ID_LEN;
    }
    if (len != 16 || strspn(text, "0123456789abcdefABCDEF") != len) {
        return false;
    }
    for (size_t i = 0; i <= len; i++) {
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
    }
    return true;
}

static int
show(struct trace *trace, const char *id, bool json)
{
    enum an_err err = collect(trace, id);
    uint64_t at_us;

    if (err != AN_OK) {
        return cli_fail(err, "trace", NULL);
    }
    at_us = message_us(trace, id);
    if (json) {
        print_json(trace, id, at_us);
    } else {
        print_hops(trace);
        print_gaps(trace, at_us);
    }
    fflush(stdout);
    return trace->hop_count > 0 ? 0
                                : cli_fail(AN_ERR_NOT_FOUND, id, "no actor knows of it");
}

static void
trace_fini(struct trace *trace)
{
    free(trace->questions);
    free(trace->memories);
    free(trace->hops);
    cli_asker_close(&trace->asker);
}

int
cmd_trace(int argc, char **argv)
{
    const char *data = NULL, *cluster = NULL, *host = NULL;
    bool json = false;
    const struct cli_option options[] = {
        CLI_DATA_OPTION(data),
        CLI_CLUSTER_OPTION(cluster),
        CLI_HOST_OPTION(host),
        {"json", 0, NULL, "one JSON object instead of a table", NULL, &json}};
    const struct cli_command command = {
        .name = "trace",
        .usage = "ID [--data DIR | --cluster FILE [--host NAME]] [--json]",
        .summary = "Shows where a message was seen, with times, across processes",
        .details =
            "ID is a message's id as `anser send` prints it, or a trace of 16 hex "
            "digits\n"
            "from a log line. Every actor remembers its newest 32,768 hops; who no "
            "longer\n"
            "knows, or was not reached, is named. Exit code 5: nobody knows of it.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_min = 1,
        .args_max = 1};
    struct trace trace = {.asker = {.command = "trace"}};
    char **args, id[ID_LEN];
    int count, code = cli_parse(&command, argc, argv, &args, &count);

    if (code >= 0) {
        return code;
    }
    if (!take_id(args[0], id)) {
        return cli_usage("trace", "'%s' is neither a message id nor a trace", args[0]);
    }
    code = cli_asker_open(&trace.asker, cli_cluster_file(cluster, data), host, data);
    if (code < 0) {
        code = show(&trace, id, json);
    }
    trace_fini(&trace);
    return code;
}
