/* Fuzzing the files that an operator writes: the input is a cluster file. What is refused
 * is refused with the file and a line in one line of text; what is taken is whole, every
 * index in its bounds, and can be shown. */
#include "cluster/plan.h"
#include "cluster/plan_show.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char NAME[] = "f.yaml:";

static void
check_why(enum an_err err, const char *why)
{
    assert(err == AN_ERR_CONFIG);
    assert(strncmp(why, NAME, sizeof(NAME) - 1) == 0);
    assert(why[sizeof(NAME) - 1] >= '0' && why[sizeof(NAME) - 1] <= '9');
    for (; *why != '\0'; why++) {
        assert((unsigned char)*why >= 0x20 && *why != 0x7f);
    }
}

static void
check_topology(const struct an_topology *topology)
{
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        assert(topology->slot_sequencer[slot] < topology->count[AN_ROLE_SEQUENCER]);
        assert(topology->slot_standby[slot] < topology->count[AN_ROLE_SEQUENCER]);
        assert(topology->slot_store[slot] < topology->count[AN_ROLE_STORE]);
        assert(topology->slot_router[slot] < topology->count[AN_ROLE_ROUTER]);
    }
}

static void
check_actors(const struct plan *plan)
{
    unsigned count = 0;

    for (unsigned role = 0; role < AN_ROLE_COUNT; role++) {
        count += plan->topology.count[role];
    }
    assert(count == plan->actor_count && plan->actor_count <= PLAN_ACTORS_MAX);
    for (unsigned i = 0; i < plan->actor_count; i++) {
        const struct plan_actor *actor = &plan->actors[i];
        const struct an_place *place = an_place_of(&plan->places, actor->addr);

        assert(actor->addr.index < plan->topology.count[actor->addr.role]);
        assert(plan_actor_find(plan, actor->addr) == actor);
        assert(place->host == actor->host && place->process == actor->process);
        assert(actor->process < plan->process_count);
        assert(plan->processes[actor->process].host == actor->host);
        assert(actor->host < plan->places.host_count);
        assert((place->port == 0) == (plan->places.host_count == 1));
        assert((actor->listen_count > 0) == (actor->addr.role == AN_ROLE_GATE));
        assert((actor->data != NULL) == (actor->addr.role == AN_ROLE_STORE));
        assert(actor->data == NULL || actor->data[0] == '/');
    }
}

static void
show(const struct plan *plan)
{
    static FILE *nowhere;
    char dir[PLAN_RUN_DIR_MAX];

    if (nowhere == NULL) {
        nowhere = fopen("/dev/null", "we");
    }
    assert(nowhere != NULL);
    assert(plan_show(plan, nowhere) == AN_OK);
    assert(plan_show_json(plan, nowhere) == AN_OK);
    for (uint16_t host = 0; host < plan->places.host_count; host++) {
        plan_run_dir(plan, host, dir, sizeof(dir));
        assert(dir[0] == '/');
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct plan *plan = NULL;
    char why[512] = "";
    enum an_err err =
        plan_parse(&plan, "f.yaml", "/d", (const char *)data, len, why, sizeof(why));

    if (err == AN_OK) {
        check_topology(&plan->topology);
        check_actors(plan);
        show(plan);
        plan_free(plan);
    } else {
        check_why(err, why);
    }
    return 0;
}
