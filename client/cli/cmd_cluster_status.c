/* Who of a cluster is up, who has which slots, what is behind. Every actor is asked. */
#include "client/cli/args.h"
#include "client/cli/ask.h"
#include "client/cli/cluster.h"
#include "client/cli/node.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 96, WORDS = 4 };

/* What one actor said. */
struct seen {
    const struct plan_actor *placed;
    bool up, ready, stopped;
    uint64_t uptime_ms;
    const char *version;
    char slots[CELL]; /* that it has */
    char stale[CELL]; /* sequencer: that it believes it has, but was overtaken */
    unsigned stale_count;
    const char *epoch;    /* the highest of them; NULL: none */
    int64_t unapplied;    /* store: rows in memory; -1: not known */
    int64_t outgoing;     /* store: entries that other stores do not have yet; -1 */
    json_t *apart;        /* names of those it is not connected to */
    const char *why_down; /* NULL: up */
    json_t *said[WORDS];
};

struct status {
    struct cli_asker asker;
    struct cli_question *questions; /* WORDS for each actor */
    struct seen *seen;
    size_t count;              /* of actors */
    uint64_t epochs[AN_SLOTS]; /* of each slot the highest that a sequencer has it with */
    uint16_t owners[AN_SLOTS]; /* and how many have it with that */
    unsigned down, unready, apart, lone_slots, shared_slots;
};

static const char *const words[WORDS] = {"status", "peers", "stats", "slots"};
enum { STATUS, PEERS, STATS, SLOTS };

/* ------------------------------------------------------------------ asking */

static bool
wants(struct an_addr addr, unsigned word)
{
    return word == STATUS || word == PEERS ||
           (word == STATS && addr.role == AN_ROLE_STORE) ||
           (word == SLOTS && addr.role == AN_ROLE_SEQUENCER);
}

static enum an_err
ask_all(struct status *status)
{
    const struct plan *plan = status->asker.plan;

    status->count = plan->actor_count;
    status->questions = calloc(status->count * WORDS, sizeof(*status->questions));
    status->seen = calloc(status->count, sizeof(*status->seen));
    if (status->questions == NULL || status->seen == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    /* All of the first word, then all of the second: one who is gone costs one time. */
    for (size_t i = 0; i < status->count; i++) {
        status->questions[i].addr = plan->actors[i].addr;
        snprintf(status->questions[i].words, CLI_WORDS_MAX, "%s", words[STATUS]);
    }
    cli_ask_all(&status->asker, status->questions, status->count);
    for (size_t i = 0; i < status->count; i++) {
        for (unsigned word = STATUS + 1; word < WORDS; word++) {
            struct cli_question *q = &status->questions[word * status->count + i];

            q->addr = plan->actors[i].addr;
            q->err = AN_ERR_UNAVAILABLE;
            if (status->questions[i].err == AN_OK && wants(q->addr, word)) {
                snprintf(q->words, CLI_WORDS_MAX, "%s", words[word]);
            }
        }
    }
    cli_ask_all(&status->asker, status->questions + status->count,
                status->count * (WORDS - 1));
    return AN_OK;
}

/* ------------------------------------------------------------------ understanding */

static int64_t
number(const json_t *value)
{
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
}

static void
take_peers(struct seen *seen)
{
    const json_t *peers = json_object_get(seen->said[PEERS], "peers");
    const json_t *peer;
    size_t i;

    seen->apart = json_array();
    json_array_foreach(peers, i, peer)
    {
        if (!json_is_true(json_object_get(peer, "connected"))) {
            json_array_append(seen->apart, json_object_get(peer, "to"));
        }
    }
}

static void
add_range(char cell[CELL], unsigned first, unsigned last)
{
    size_t len = strlen(cell);

    if (len + 16 > CELL) {
        snprintf(cell + len - (len > 3 ? 3 : 0), 4, "...");
        return;
    }
    snprintf(cell + len, CELL - len, first == last ? "%s%u" : "%s%u-%u",
             len == 0 ? "" : ",", first, last);
}

/* Calls what for each range of slots that this sequencer says are its own. */
static void
each_owned(struct status *status, struct seen *seen,
           void (*what)(struct status *, struct seen *, unsigned first, unsigned last,
                        uint64_t epoch))
{
    const json_t *ranges = json_object_get(seen->said[SLOTS], "ranges");
    const json_t *range;
    size_t i;

    json_array_foreach(ranges, i, range)
    {
        const char *state = json_string_value(json_object_get(range, "state"));
        int64_t first = number(json_object_get(range, "first"));
        int64_t last = number(json_object_get(range, "last"));
        const char *epoch = json_string_value(json_object_get(range, "epoch"));

        if (state != NULL && strcmp(state, "owned") == 0 && first >= 0 && last >= first &&
            last < AN_SLOTS && epoch != NULL) {
            what(status, seen, (unsigned)first, (unsigned)last,
                 strtoull(epoch, NULL, 10));
        }
    }
}

static void
take_owned(struct status *status, struct seen *seen, unsigned first, unsigned last,
           uint64_t epoch)
{
    (void)seen;
    for (unsigned slot = first; slot <= last; slot++) {
        if (epoch > status->epochs[slot] || status->owners[slot] == 0) {
            status->epochs[slot] = epoch;
            status->owners[slot] = 1;
        } else if (epoch == status->epochs[slot]) {
            status->owners[slot]++;
        }
    }
}

/* Those it still has, and the stale ones: who was overtaken learns it at its next append,
 * and until then says that a slot is its own which the store has long given to a higher
 * epoch. */
static void
show_owned(struct status *status, struct seen *seen, unsigned first, unsigned last,
           uint64_t epoch)
{
    while (first <= last) {
        const bool stale = epoch != status->epochs[first];
        unsigned end = first + 1;

        while (end <= last && (epoch != status->epochs[end]) == stale) {
            end++;
        }
        add_range(stale ? seen->stale : seen->slots, first, end - 1);
        seen->stale_count += stale ? end - first : 0;
        first = end;
    }
}

static void
take_store(struct seen *seen)
{
    const json_t *stats = json_object_get(json_object_get(seen->said[STATS], "stats"),
                                          an_role_name(AN_ROLE_STORE));

    seen->unapplied = number(json_object_get(stats, "engine_overlay_rows"));
    seen->outgoing = number(json_object_get(stats, "outgoing_waiting"));
    add_range(seen->slots, seen->placed->slot_first, seen->placed->slot_last);
}

static void
understand(struct status *status, size_t i)
{
    struct seen *seen = &status->seen[i];
    const struct cli_question *first = &status->questions[i];
    const json_t *said;

    for (unsigned word = 0; word < WORDS; word++) {
        const struct cli_question *q = &status->questions[word * status->count + i];

        seen->said[word] = q->err == AN_OK ? json_loads(q->text, 0, NULL) : NULL;
    }
    said = seen->said[STATUS];
    seen->placed = &status->asker.plan->actors[i];
    seen->unapplied = seen->outgoing = -1;
    seen->up = said != NULL;
    seen->why_down = seen->up ? NULL : first->why;
    seen->ready = json_is_true(json_object_get(said, "ready"));
    seen->stopped = json_is_true(json_object_get(said, "stopped"));
    seen->uptime_ms = (uint64_t)json_integer_value(json_object_get(said, "uptime_ms"));
    seen->version = json_string_value(json_object_get(said, "version"));
    take_peers(seen);
    if (seen->placed->addr.role == AN_ROLE_SEQUENCER) {
        seen->epoch = json_string_value(json_object_get(seen->said[SLOTS], "epoch_max"));
        each_owned(status, seen, take_owned);
    } else if (seen->placed->addr.role == AN_ROLE_STORE) {
        take_store(seen);
    }
    status->down += !seen->up;
    status->unready += seen->up && (!seen->ready || seen->stopped);
    status->apart += json_array_size(seen->apart) > 0;
}

static bool
is_well(const struct status *status)
{
    return status->down == 0 && status->unready == 0 && status->apart == 0 &&
           status->lone_slots == 0 && status->shared_slots == 0;
}

/* ------------------------------------------------------------------ showing */

static const char *
state_of(const struct seen *seen)
{
    if (!seen->up) {
        return "DOWN";
    }
    return seen->stopped ? "stopping" : seen->ready ? "ready" : "starting";
}

static const char *
name_of(const struct plan_actor *placed, char out[24])
{
    snprintf(out, 24, "%s/%u", an_role_name(placed->addr.role),
             (unsigned)placed->addr.index);
    return out;
}

/* "42s", "17m", "5h", "12d" */
static const char *
age_of(const struct seen *seen, char out[24])
{
    const uint64_t s = seen->uptime_ms / 1000;

    if (!seen->up) {
        return "-";
    }
    if (s < 120) {
        snprintf(out, 24, "%" PRIu64 "s", s);
    } else if (s < 2 * 3600) {
        snprintf(out, 24, "%" PRIu64 "m", s / 60);
    } else if (s < 2 * 86400) {
        snprintf(out, 24, "%" PRIu64 "h", s / 3600);
    } else {
        snprintf(out, 24, "%" PRIu64 "d", s / 86400);
    }
    return out;
}

/* What an operator reads behind the fixed columns. */
static void
print_notes(const struct seen *seen)
{
    const json_t *to;
    size_t i;

    if (seen->slots[0] != '\0') {
        printf("  slots %s", seen->slots);
    }
    if (seen->stale[0] != '\0') {
        printf("  stale %s", seen->stale);
    }
    if (seen->epoch != NULL) {
        printf("  epoch %s", seen->epoch);
    }
    if (seen->unapplied >= 0) {
        printf("  unapplied %" PRId64, seen->unapplied);
    }
    if (seen->outgoing >= 0) {
        printf("  outgoing %" PRId64, seen->outgoing);
    }
    json_array_foreach(seen->apart, i, to)
    {
        printf("%s%s", i == 0 ? "  not connected: " : ", ", json_string_value(to));
    }
    if (seen->why_down != NULL) {
        printf("  %s", seen->why_down);
    }
}

static void
print_verdict(const struct status *status)
{
    const struct {
        unsigned count;
        const char *what;
    } troubles[] = {{status->down, "down"},
                    {status->unready, "not ready"},
                    {status->apart, "not connected to all"},
                    {status->lone_slots, "slots without a sequencer"},
                    {status->shared_slots, "slots with several"}};
    const char *comma = ":";

    printf("cluster %s: %zu actors", status->asker.plan->cluster, status->count);
    if (is_well(status)) {
        printf(", all is well\n");
        return;
    }
    for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++) {
        if (troubles[i].count > 0) {
            printf("%s %u %s", comma, troubles[i].count, troubles[i].what);
            comma = ",";
        }
    }
    printf("\n");
}

static void
print_table(const struct status *status)
{
    const struct plan *plan = status->asker.plan;
    char name[24], age[24];

    printf("%-14s %-10s %-14s %-9s %5s\n", "ACTOR", "HOST", "PROCESS", "STATE", "UP");
    for (size_t i = 0; i < status->count; i++) {
        const struct seen *seen = &status->seen[i];

        printf("%-14s %-10s %-14s %-9s %5s", name_of(seen->placed, name),
               plan->places.hosts[seen->placed->host].name,
               plan->processes[seen->placed->process].name, state_of(seen),
               age_of(seen, age));
        print_notes(seen);
        printf("\n");
    }
    print_verdict(status);
}

static json_t *
json_of(const struct plan *plan, const struct seen *seen)
{
    char name[24], uptime[24];
    json_t *one = json_object();

    snprintf(uptime, sizeof(uptime), "%" PRIu64, seen->uptime_ms);
    json_object_set_new(one, "actor", json_string(name_of(seen->placed, name)));
    json_object_set_new(one, "host",
                        json_string(plan->places.hosts[seen->placed->host].name));
    json_object_set_new(one, "process",
                        json_string(plan->processes[seen->placed->process].name));
    json_object_set_new(one, "state", json_string(state_of(seen)));
    if (seen->up) {
        json_object_set_new(one, "uptime_ms", json_string(uptime));
        json_object_set_new(one, "version", json_string(seen->version));
        json_object_set(one, "pid", json_object_get(seen->said[STATUS], "pid"));
    } else {
        json_object_set_new(one, "why", json_string(seen->why_down));
    }
    json_object_set(one, "not_connected", seen->apart);
    if (seen->said[SLOTS] != NULL) {
        json_object_set(one, "slots", seen->said[SLOTS]);
        json_object_set_new(one, "stale_slots", json_integer(seen->stale_count));
    }
    if (seen->unapplied >= 0) {
        json_object_set_new(one, "unapplied_rows", json_integer(seen->unapplied));
    }
    if (seen->outgoing >= 0) {
        json_object_set_new(one, "outgoing_rows", json_integer(seen->outgoing));
    }
    return one;
}

static void
print_json(const struct status *status)
{
    json_t *root = json_object(), *actors = json_array();

    for (size_t i = 0; i < status->count; i++) {
        json_array_append_new(actors, json_of(status->asker.plan, &status->seen[i]));
    }
    json_object_set_new(root, "cluster", json_string(status->asker.plan->cluster));
    json_object_set_new(root, "well", json_boolean(is_well(status)));
    json_object_set_new(root, "slots_without_sequencer",
                        json_integer(status->lone_slots));
    json_object_set_new(root, "slots_with_several", json_integer(status->shared_slots));
    json_object_set_new(root, "actors", actors);
    json_dumpf(root, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(root);
}

/* ------------------------------------------------------------------ the command */

static void
status_fini(struct status *status)
{
    for (size_t i = 0; status->seen != NULL && i < status->count; i++) {
        json_decref(status->seen[i].apart);
        for (unsigned word = 0; word < WORDS; word++) {
            json_decref(status->seen[i].said[word]);
        }
    }
    cli_answers_free(status->questions, status->count * WORDS);
    free(status->questions);
    free(status->seen);
    cli_asker_close(&status->asker);
}

static int
show(struct status *status, bool json)
{
    enum an_err err = ask_all(status);

    if (err != AN_OK) {
        return cli_fail(err, status->asker.command, NULL);
    }
    for (size_t i = 0; i < status->count; i++) {
        understand(status, i);
    }
    for (size_t i = 0; i < status->count; i++) {
        each_owned(status, &status->seen[i], show_owned);
    }
    for (size_t i = 0; i < AN_SLOTS; i++) {
        status->lone_slots += status->owners[i] == 0;
        status->shared_slots += status->owners[i] > 1;
    }
    if (json) {
        print_json(status);
    } else {
        print_table(status);
    }
    return is_well(status) ? 0 : an_err_exit_code(AN_ERR_UNAVAILABLE);
}

int
cli_cluster_status(int argc, char **argv)
{
    const char *file = NULL, *host = NULL;
    bool json = false;
    const struct cli_option options[] = {
        CLI_CLUSTER_OPTION(file),
        CLI_HOST_OPTION(host),
        {"json", 0, NULL, "one JSON object instead of a table", NULL, &json}};
    const struct cli_command command = {
        .name = "cluster status",
        .usage = "[FILE] [--host NAME] [--json]",
        .summary = "Asks every actor of the cluster whether it is well",
        .details =
            "Prints for each its state, the slots it has, what is behind (rows a store\n"
            "has not applied yet, entries that other stores do not have yet) and whom "
            "it\n"
            "is not connected to. Exit code 0: all is well; 7: something is not.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .args_max = 1};
    struct status status = {.asker = {.command = "cluster status"}};
    int code = cli_cluster_parse(&command, argc, argv, &file);

    if (code >= 0) {
        return code;
    }
    code = cli_asker_open(&status.asker, file, host, NULL);
    if (code < 0) {
        code = show(&status, json);
    }
    status_fini(&status);
    return code;
}
