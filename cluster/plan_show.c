#include "cluster/plan_show.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 24, SLOTS_ROOM = AN_SLOTS * 5, URL_ROOM = AN_ADDRESS_MAX + 32 };

static void
name_of(struct an_addr addr, char out[NAME_ROOM])
{
    snprintf(out, NAME_ROOM, "%s/%u", an_role_name(addr.role), (unsigned)addr.index);
}

/* NULL: its role has no slots. */
static const uint16_t *
owners_of(const struct plan *plan, struct an_addr addr)
{
    return addr.role == AN_ROLE_ROUTER      ? plan->topology.slot_router
           : addr.role == AN_ROLE_SEQUENCER ? plan->topology.slot_sequencer
           : addr.role == AN_ROLE_STORE     ? plan->topology.slot_store
                                            : NULL;
}

/* "0-99,200-300" */
static void
slots_of(const uint16_t *owner, uint16_t index, char out[SLOTS_ROOM])
{
    size_t len = 0;

    out[0] = '\0';
    for (unsigned first = 0; first < AN_SLOTS; first++) {
        unsigned last = first;

        if (owner[first] != index) {
            continue;
        }
        while (last + 1 < AN_SLOTS && owner[last + 1] == index) {
            last++;
        }
        len += (size_t)snprintf(out + len, SLOTS_ROOM - len, "%s%u", len == 0 ? "" : ",",
                                first);
        if (last > first) {
            len += (size_t)snprintf(out + len, SLOTS_ROOM - len, "-%u", last);
        }
        first = last;
    }
}

/* The sequencer that takes over for this one; itself: none does. */
static uint16_t
standby_of(const struct plan *plan, uint16_t index)
{
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        if (plan->topology.slot_sequencer[slot] == index) {
            return plan->topology.slot_standby[slot];
        }
    }
    return index;
}

/* ------------------------------------------------------------------ for people */

static void
show_actor(const struct plan *plan, const struct plan_actor *actor, FILE *out)
{
    const struct an_place *place = an_place_of(&plan->places, actor->addr);
    const uint16_t *owner = owners_of(plan, actor->addr);
    char name[NAME_ROOM], port[8] = "-", slots[SLOTS_ROOM];

    name_of(actor->addr, name);
    if (place->port != 0) {
        snprintf(port, sizeof(port), "%u", (unsigned)place->port);
    }
    fprintf(out, "  %-14s %-14s %-6s", plan->processes[actor->process].name, name, port);
    for (unsigned i = 0; i < actor->listen_count; i++) {
        fprintf(out, "%s%s", i == 0 ? " clients " : ", ", actor->listen[i]);
    }
    if (owner != NULL) {
        slots_of(owner, actor->addr.index, slots);
        fprintf(out, " slots %s", slots);
    }
    if (actor->addr.role == AN_ROLE_SEQUENCER) {
        uint16_t standby = standby_of(plan, actor->addr.index);
        if (standby == actor->addr.index) {
            fprintf(out, ", no standby");
        } else {
            fprintf(out, ", standby sequencer/%u", (unsigned)standby);
        }
    }
    if (place->hints != 0) {
        fprintf(out, ", hints for gates %u-%u", (unsigned)place->hints,
                place->hints + plan->topology.count[AN_ROLE_GATE] - 1u);
    }
    if (actor->data != NULL) {
        fprintf(out, ", data %s", actor->data);
    }
    fprintf(out, "\n");
}

enum an_err
plan_show(const struct plan *plan, FILE *out)
{
    const struct an_places *places = &plan->places;
    char dir[PLAN_RUN_DIR_MAX];

    fprintf(out, "cluster %s: %u host%s, %u processes, %u actors\n", plan->cluster,
            (unsigned)places->host_count, places->host_count == 1 ? "" : "s",
            plan->process_count, plan->actor_count);
    fprintf(out, "digest of the name %016llx, of the stores' slots %016llx\n",
            (unsigned long long)an_cluster_digest(plan->cluster),
            (unsigned long long)an_topology_digest(&plan->topology));
    for (uint16_t host = 0; host < places->host_count; host++) {
        plan_run_dir(plan, host, dir, sizeof(dir));
        fprintf(out, "\nhost %s, address %s, sockets in %s\n", places->hosts[host].name,
                places->hosts[host].address, dir);
        fprintf(out, "  %-14s %-14s %s\n", "PROCESS", "ACTOR", "BUS");
        for (unsigned i = 0; i < plan->actor_count; i++) {
            if (plan->actors[i].host == host) {
                show_actor(plan, &plan->actors[i], out);
            }
        }
    }
    return fflush(out) == 0 && ferror(out) == 0 ? AN_OK : AN_ERR_IO;
}

/* ------------------------------------------------------------------ for programs */

/* "tls+tcp://10.0.0.1:7500"; NULL: nobody elsewhere asks there. */
static json_t *
bus_url(const struct plan *plan, uint16_t host, unsigned port)
{
    const char *address = plan->places.hosts[host].address;
    bool six = strchr(address, ':') != NULL;

    return port == 0 ? json_null()
                     : json_sprintf("tls+tcp://%s%s%s:%u", six ? "[" : "", address,
                                    six ? "]" : "", port);
}

static json_t *
hints_json(const struct plan *plan, const struct plan_actor *actor)
{
    const struct an_place *place = an_place_of(&plan->places, actor->addr);
    json_t *list = json_array();

    for (unsigned gate = 0;
         place->hints != 0 && gate < plan->topology.count[AN_ROLE_GATE]; gate++) {
        json_array_append_new(list, bus_url(plan, actor->host, place->hints + gate));
    }
    return list;
}

static json_t *
actor_json(const struct plan *plan, const struct plan_actor *actor)
{
    const struct an_place *place = an_place_of(&plan->places, actor->addr);
    const uint16_t *owner = owners_of(plan, actor->addr);
    char name[NAME_ROOM], slots[SLOTS_ROOM];
    json_t *object, *listen = json_array();

    name_of(actor->addr, name);
    for (unsigned i = 0; i < actor->listen_count; i++) {
        json_array_append_new(listen, json_string(actor->listen[i]));
    }
    object = json_pack("{s:s, s:s, s:s, s:o}", "actor", name, "host",
                       plan->places.hosts[actor->host].name, "process",
                       plan->processes[actor->process].name, "bus",
                       bus_url(plan, actor->host, place->port));
    if (actor->addr.role == AN_ROLE_GATE || actor->listen_count > 0) {
        json_object_set(object, "listen", listen);
    }
    json_decref(listen);
    if (owner != NULL) {
        slots_of(owner, actor->addr.index, slots);
        json_object_set_new(object, "slots", json_string(slots));
    }
    if (actor->addr.role == AN_ROLE_ROUTER) {
        json_object_set_new(object, "hints", hints_json(plan, actor));
    }
    if (actor->addr.role == AN_ROLE_SEQUENCER) {
        uint16_t standby = standby_of(plan, actor->addr.index);
        json_object_set_new(object, "standby",
                            standby == actor->addr.index
                                ? json_null()
                                : json_sprintf("sequencer/%u", (unsigned)standby));
    }
    if (actor->data != NULL) {
        json_object_set_new(object, "data", json_string(actor->data));
    }
    return object;
}

enum an_err
plan_show_json(const struct plan *plan, FILE *out)
{
    json_t *hosts = json_array(), *actors = json_array(), *root;
    char dir[PLAN_RUN_DIR_MAX], *text;

    for (uint16_t i = 0; i < plan->places.host_count; i++) {
        plan_run_dir(plan, i, dir, sizeof(dir));
        json_array_append_new(
            hosts, json_pack("{s:s, s:s, s:s}", "name", plan->places.hosts[i].name,
                             "address", plan->places.hosts[i].address, "run", dir));
    }
    for (unsigned i = 0; i < plan->actor_count; i++) {
        json_array_append_new(actors, actor_json(plan, &plan->actors[i]));
    }
    root = json_pack("{s:s, s:o, s:o}", "cluster", plan->cluster, "hosts", hosts,
                     "actors", actors);
    text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    fprintf(out, "%s\n", text);
    free(text);
    return fflush(out) == 0 && ferror(out) == 0 ? AN_OK : AN_ERR_IO;
}
