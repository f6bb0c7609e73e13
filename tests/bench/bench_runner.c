/* What the bus costs: asks a second between two toy actors of one process, as many
 * outstanding as may be, and the price of a noted hop. bench_runner [SECONDS [HOPS]]:
 * HOPS are noted for each ask. */
#include "core/runner_nng.h"
#include "proto/bus.pb-c.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct an_addr server = {AN_ROLE_IDGEN, 0};
static const struct an_addr asker = {AN_ROLE_SEQUENCER, 0};
static unsigned long hops;
static _Atomic unsigned long answers;

static void
ask(struct an_outbox *out)
{
    Anser__Bus__TakeIds take = ANSER__BUS__TAKE_IDS__INIT;

    take.count = 1;
    an_out_ask(out, server, AN_KIND_TAKE_IDS, &take.base, 5000, 1, 1);
}

static void
step(struct an_actor *actor, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    Anser__Bus__TakenIds taken = ANSER__BUS__TAKEN_IDS__INIT;
    unsigned room = msg->kind == AN_KIND_START ? AN_BUS_OUTSTANDING_MAX : msg->answer;

    (void)now;
    if (msg->kind == AN_KIND_START) {
        an_out_ready(out);
    }
    if (msg->kind == AN_KIND_STOP) {
        an_out_stopped(out);
        return;
    }
    if (msg->request) {
        for (unsigned long i = 0; i < hops; i++) {
            an_out_hop(out, AN_HOP_COMMIT, 7, i, 1);
        }
        an_out_answer(out, msg, AN_OK, &taken.base);
    } else if (actor->ops->role == AN_ROLE_SEQUENCER) {
        answers += msg->answer;
        while (room-- > 0) {
            ask(out);
        }
    }
}

static void
drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

static void
destroy(struct an_actor *actor)
{
    (void)actor;
}

static const struct an_actor_ops server_ops = {AN_ROLE_IDGEN, step, drained, NULL,
                                               destroy};
static const struct an_actor_ops asker_ops = {AN_ROLE_SEQUENCER, step, drained, NULL,
                                              destroy};

int
main(int argc, char **argv)
{
    struct an_actor actors[] = {{&server_ops}, {&asker_ops}};
    struct an_topology topology;
    struct an_runner_cfg cfg = {.cluster = "bench", .topology = &topology};
    unsigned long asked = argc > 1 ? strtoul(argv[1], NULL, 10) : 5;
    unsigned long seconds = asked > 0 ? asked : 1;
    struct timespec cpu;
    struct an_runner *runner;
    char why[256];

    hops = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    an_topology_single(&topology);
    if (an_runner_create(&runner, &cfg, why, sizeof(why)) != AN_OK ||
        an_runner_add(runner, &actors[0], 0, NULL, why, sizeof(why)) != AN_OK ||
        an_runner_add(runner, &actors[1], 0, NULL, why, sizeof(why)) != AN_OK ||
        an_runner_start(runner, server) != AN_OK ||
        an_runner_start(runner, asker) != AN_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    (void)poll(NULL, 0, (int)seconds * 1000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    printf("asks/s %lu, CPU %.2f us each\n", answers / seconds,
           ((double)cpu.tv_sec * 1e6 + (double)cpu.tv_nsec / 1e3) / (double)answers);
    if (an_runner_stop(runner, asker, 5000) != AN_OK) {
        return 1;
    }
    an_runner_destroy(runner);
    return 0;
}
