/* anser-sim: runs seeds. */
#include "tests/sim/sim.h"
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OUTAGES_MAX = 32,
    OUTAGE_OPS = 5000, /* so that people talk all the while */
};

struct run {
    struct sim_options options;
    uint64_t first, last;
    bool all_bugs;   /* plant each bug: some seed must catch it, by the right checker */
    bool shrink;     /* the first failure */
    bool first_only; /* stop at the first seed that fails */
    bool all_kinds;  /* fail when a kind of operation or fault never happened */
    unsigned twice;  /* so many of the seeds run a second time */
    const char *regressions;
    char why[512]; /* of the last failure */
    uint64_t counts[SIM_COUNT_COUNT];
    uint64_t trials, failures, events, virtual_ms;
    uint64_t ops, ops_min; /* of clients: all, and of the seed with the fewest */
    struct sim_outage outage[OUTAGES_MAX];
    unsigned outages;
    uint64_t within_ms;                             /* nobody may wait longer there */
    uint64_t settle_ms, settle_sum_ms, settle_seed; /* the longest, all, whose */
};

static void
usage(void)
{
    fputs(
        "usage: anser-sim [--seed N | --seeds A-B] [--ops N] [--verbose] [--calm]\n"
        "                 [--shape one-store | --shape cluster]\n"
        "                 [--twice N] [--all-kinds] [--regressions FILE] [--first]\n"
        "                 [--shrink] [--without KIND,KIND]\n"
        "                 [--bug NAME | --all-bugs]\n"
        "                 [--outage HOW:ROLE]... [--within MS]\n"
        "  --twice N        the first N seeds run twice and must leave the same trace\n"
        "  --all-kinds      fail when some kind of operation or fault never happened\n"
        "  --shrink         make the first failure small: fewer faults, fewer "
        "operations\n"
        "  --without K,K    leave kinds of faults out\n"
        "  --first          stop at the first seed that fails\n"
        "  --regressions F  also the seeds listed in F, each with its shape\n"
        "  --shape S        whatever the seed says\n"
        "  --outage O       one thing goes wrong for 30 s in a calm cluster: HOW:ROLE,\n"
        "                   HOW one of kill, pause, stop, cut, deaf, mute; may come "
        "again;\n"
        "                   all: each HOW and ROLE\n"
        "  --within MS      fail when somebody waits longer in an outage, and need not\n"
        "  --bug NAME       plant a bug\n"
        "  --all-bugs       plant each bug in turn: one of the seeds must catch it\n",
        stderr);
    for (int bug = 1; bug < SIM_BUG_COUNT; bug++) {
        fprintf(stderr, "      bug: %s\n", sim_bug_name((enum sim_bug)bug));
    }
}

static void
replay_print(const struct sim_options *options)
{
    const char *comma = " --without ";

    fprintf(stderr, "replay: build/dev/bin/anser-sim --seed %" PRIu64 " --shape %s",
            options->seed, sim_shape_name(options->shape));
    if (options->ops != 0) {
        fprintf(stderr, " --ops %" PRIu32, options->ops);
    }
    for (int kind = 0; kind < SIM_KIND_COUNT; kind++) {
        if ((options->without >> kind & 1) != 0) {
            fprintf(stderr, "%s%s", comma, sim_kind_name((enum sim_kind)kind));
            comma = ",";
        }
    }
    if (options->bug != SIM_BUG_NONE) {
        fprintf(stderr, " --bug %s", sim_bug_name(options->bug));
    }
    fprintf(stderr, "%s --verbose\n", options->calm ? " --calm" : "");
}

/* The first failure of a run is made small: its trace is that of the small one. */
static void
failed(struct run *run, struct sim_options *options, struct sim_result *result)
{
    fprintf(stderr, "seed %" PRIu64 " FAILED: %s\n", options->seed, result->why);
    if (!options->verbose && run->shrink && run->failures == 1 &&
        options->outage.how == SIM_OUTAGE_NONE) {
        sim_shrink(options, result);
        sim_trial(options, result);
        fprintf(stderr, "shrunk to %" PRIu64 " operations, %" PRIu64 " events: %s\n",
                result->ops, result->events, result->why);
    }
    replay_print(options);
    if (!run->shrink) {
        fputs("made small: the same with --shrink instead of --verbose\n", stderr);
    }
}

static bool
trial(struct run *run, uint64_t seed, bool twice)
{
    struct sim_options options = run->options;
    struct sim_result result, again;

    options.seed = seed;
    options.quiet = run->all_bugs || (run->shrink && !options.verbose);
    sim_trial(&options, &result);
    run->trials++;
    run->events += result.events;
    run->virtual_ms += result.virtual_ms;
    run->ops += result.ops;
    if (run->trials == 1 || result.ops < run->ops_min) {
        run->ops_min = result.ops;
    }
    run->settle_sum_ms += result.settle_ms;
    if (result.settle_ms > run->settle_ms) {
        run->settle_ms = result.settle_ms;
        run->settle_seed = seed;
    }
    for (int i = 0; i < SIM_COUNT_COUNT; i++) {
        run->counts[i] += result.counts[i];
    }
    if (result.ok && twice) {
        sim_trial(&options, &again);
        if (again.hash != result.hash) {
            result.ok = false;
            snprintf(result.why, sizeof(result.why),
                     "not deterministic: %016" PRIx64 " and %016" PRIx64, result.hash,
                     again.hash);
        }
    }
    if (!result.ok) {
        run->failures++;
        memcpy(run->why, result.why, sizeof(run->why));
        if (!run->all_bugs) {
            failed(run, &options, &result);
        }
    } else if (run->first == run->last) {
        printf("seed %" PRIu64 " ok, hash %016" PRIx64 ", %" PRIu64 " events, %" PRIu64
               " virtual ms\n",
               seed, result.hash, result.events, result.virtual_ms);
    }
    return result.ok;
}

static bool
shape_find(const char *name, size_t len, enum sim_shape *out)
{
    for (int shape = 0; shape < SIM_SHAPE_COUNT; shape++) {
        const char *known = sim_shape_name((enum sim_shape)shape);
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            *out = (enum sim_shape)shape;
            return true;
        }
    }
    return false;
}

static bool
regressions(struct run *run)
{
    char line[512];
    bool ok = true;
    enum sim_shape shape = run->options.shape;
    FILE *file = fopen(run->regressions, "r");

    if (file == NULL) {
        perror(run->regressions);
        return false;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end == line) {
            continue;
        }
        end += strspn(end, " ");
        if (!shape_find(end, strcspn(end, " \n"), &run->options.shape)) {
            fprintf(stderr, "%s: no shape in: %s", run->regressions, line);
            ok = false;
            continue;
        }
        ok = trial(run, seed, false) && ok;
    }
    fclose(file);
    run->options.shape = shape;
    return ok;
}

/* Each bug in turn, until a seed shows it in the words of its checker. */
static bool
bugs(struct run *run)
{
    bool ok = true;

    for (int bug = SIM_BUG_NONE + 1; bug < SIM_BUG_COUNT; bug++) {
        const char *name = sim_bug_name((enum sim_bug)bug);
        bool caught = false;
        uint64_t seed;

        run->options.bug = (enum sim_bug)bug;
        run->options.shape = sim_bug_shape((enum sim_bug)bug);
        for (seed = run->first; seed <= run->last && !caught; seed++) {
            caught = !trial(run, seed, false) &&
                     strstr(run->why, sim_bug_words((enum sim_bug)bug)) != NULL;
        }
        if (caught) {
            printf("%-14s caught by seed %" PRIu64 ": %s\n", name, seed - 1, run->why);
        } else {
            printf("%-14s NOT caught\n", name);
        }
        ok = ok && caught;
    }
    return ok;
}

static bool
summary(const struct run *run)
{
    bool ok = true;

    printf("%" PRIu64 " trials, %" PRIu64 " failed, %" PRIu64 " events, %" PRIu64
           " virtual s\n",
           run->trials, run->failures, run->events, run->virtual_ms / 1000);
    printf("%" PRIu64 " client operations, at least %" PRIu64 " a trial\n", run->ops,
           run->ops_min);
    printf("settled after the last fault: mean %" PRIu64 " ms, longest %" PRIu64
           " ms (seed %" PRIu64 ")\n",
           run->settle_sum_ms / (run->trials == 0 ? 1 : run->trials), run->settle_ms,
           run->settle_seed);
    for (int i = 0; i < SIM_COUNT_COUNT; i++) {
        enum sim_count count = (enum sim_count)i;
        bool missing = run->all_kinds && sim_count_must(count, run->options.shape) &&
                       run->counts[i] == 0;
        printf("  %-24s %8" PRIu64 "%s\n", sim_count_name(count), run->counts[i],
               missing ? "  NEVER HAPPENED" : "");
        ok = ok && !missing;
    }
    return ok;
}

static bool
bug_find(struct run *run, const char *name)
{
    for (int bug = 0; bug < SIM_BUG_COUNT; bug++) {
        if (strcmp(sim_bug_name((enum sim_bug)bug), name) == 0) {
            run->options.bug = (enum sim_bug)bug;
            return true;
        }
    }
    return false;
}

static int
wait_order(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

static bool
waits_print(const struct run *run, const char *what, struct sim_waits *waits)
{
    size_t n = waits->count;

    if (n == 0) {
        printf("  %s: nobody", what);
        return true;
    }
    qsort(waits->ms, n, sizeof(*waits->ms), wait_order);
    printf("  %s %6" PRIu32 " %6" PRIu32 " %6" PRIu32 " ms of %5zu", what,
           waits->ms[n / 2], waits->ms[n - 1 - n / 100], waits->ms[n - 1], n);
    return run->within_ms == 0 || waits->ms[n - 1] <= run->within_ms;
}

static bool
outage(struct run *run, struct sim_outage which)
{
    struct sim_waits acks = {0}, sights = {0};
    bool good = true;

    run->options.outage = which;
    run->options.acks = &acks;
    run->options.sights = &sights;
    for (uint64_t seed = run->first; seed <= run->last; seed++) {
        good = trial(run, seed, false) && good;
    }
    printf("%-6s %-10s", sim_outage_name(which.how), sim_outage_role(which.role));
    good = waits_print(run, "to the ack", &acks) && good;
    good = waits_print(run, "from there to a device", &sights) && good;
    printf("%s\n", good ? "" : "  FAILED");
    free(acks.ms);
    free(sights.ms);
    return good;
}

/* Each outage over all seeds. */
static bool
outages(struct run *run)
{
    bool ok = true;

    run->options.shape = SIM_SHAPE_CLUSTER;
    run->options.calm = true;
    run->options.ops = run->options.ops == 0 ? OUTAGE_OPS : run->options.ops;
    printf("median, 99 of 100, longest\n");
    for (unsigned i = 0; i < run->outages; i++) {
        ok = outage(run, run->outage[i]) && ok;
    }
    return ok;
}

/* "all": each way and each role. */
static bool
outage_add(struct run *run, const char *text)
{
    if (strcmp(text, "all") == 0) {
        run->outages = 0;
        for (unsigned how = 1; how < SIM_OUTAGE_COUNT; how++) {
            for (unsigned role = AN_ROLE_GATE; role < AN_ROLE_API; role++) {
                run->outage[run->outages++] =
                    (struct sim_outage){(enum sim_outage_how)how, (enum an_role)role};
            }
        }
        return true;
    }
    if (run->outages == OUTAGES_MAX ||
        !sim_outage_parse(&run->outage[run->outages], text)) {
        return false;
    }
    run->outages++;
    return true;
}

static bool
range(struct run *run, const char *text)
{
    char *end;

    run->first = strtoull(text, &end, 10);
    run->last = run->first;
    if (*end == '-') {
        run->last = strtoull(end + 1, &end, 10);
    }
    return *end == '\0' && run->first <= run->last;
}

/* "kill,pause" */
static bool
without(struct run *run, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        int kind = 0;
        while (kind < SIM_KIND_COUNT &&
               (strlen(sim_kind_name((enum sim_kind)kind)) != len ||
                memcmp(sim_kind_name((enum sim_kind)kind), text, len) != 0)) {
            kind++;
        }
        if (kind == SIM_KIND_COUNT) {
            return false;
        }
        run->options.without |= 1u << kind;
        text += len + (text[len] == ',');
    }
    return true;
}

static bool
argument(struct run *run, int option)
{
    switch (option) {
    case 's':
        return range(run, optarg);
    case 'o':
        run->options.ops = (uint32_t)strtoul(optarg, NULL, 10);
        return true;
    case 'v':
        run->options.verbose = true;
        return true;
    case 'c':
        run->options.calm = true;
        return true;
    case 'h':
        return shape_find(optarg, strlen(optarg), &run->options.shape);
    case 't':
        run->twice = (unsigned)strtoul(optarg, NULL, 10);
        return true;
    case 'a':
        run->all_kinds = true;
        return true;
    case 'k':
        run->shrink = true;
        return true;
    case 'n':
        return without(run, optarg);
    case 'f':
        run->first_only = true;
        return true;
    case 'r':
        run->regressions = optarg;
        return true;
    case 'b':
        return bug_find(run, optarg);
    case 'e':
        run->all_bugs = true;
        return true;
    case 'O':
        return outage_add(run, optarg);
    case 'w':
        run->within_ms = strtoull(optarg, NULL, 10);
        return true;
    default:
        return false;
    }
}

static bool
arguments(struct run *run, int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 's'},
        {"ops", required_argument, NULL, 'o'},
        {"verbose", no_argument, NULL, 'v'},
        {"calm", no_argument, NULL, 'c'},
        {"shape", required_argument, NULL, 'h'},
        {"twice", required_argument, NULL, 't'},
        {"all-kinds", no_argument, NULL, 'a'},
        {"first", no_argument, NULL, 'f'},
        {"shrink", no_argument, NULL, 'k'},
        {"without", required_argument, NULL, 'n'},
        {"regressions", required_argument, NULL, 'r'},
        {"outage", required_argument, NULL, 'O'},
        {"within", required_argument, NULL, 'w'},
        {"bug", required_argument, NULL, 'b'},
        {"all-bugs", no_argument, NULL, 'e'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (!argument(run, option)) {
            return false;
        }
    }
    return optind == argc;
}

int
main(int argc, char **argv)
{
    struct run run = {.first = 1, .last = 1};
    bool ok = true;

    setvbuf(stdout, NULL, _IOLBF, 0);
    /* A sequencer's tables are large and hardly used, and are made at each of its lives:
     * pages from the system need not be cleared. */
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    if (!arguments(&run, argc, argv)) {
        usage();
        return 2;
    }
    if (run.all_bugs) {
        return bugs(&run) ? 0 : 1;
    }
    if (run.outages > 0) {
        return outages(&run) ? 0 : 1;
    }
    for (uint64_t seed = run.first; seed <= run.last; seed++) {
        ok = trial(&run, seed, seed - run.first < run.twice) && ok;
        if (!ok && run.first_only) {
            return 1;
        }
    }
    if (run.regressions != NULL) {
        ok = regressions(&run) && ok;
    }
    if (run.first != run.last || run.all_kinds) {
        ok = summary(&run) && ok;
    }
    return ok ? 0 : 1;
}
