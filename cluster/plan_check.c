/* Where the actors of a cluster file are, and whether they get in each other's way. */
#include "cluster/plan_priv.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------ ports */

/* Mailboxes are bus_port + position in the file; behind them, for each router, a socket
 * for each gate. One numbering for all hosts: some may share an address. */
static enum an_err
number_ports(struct reading *r)
{
    struct plan *plan = r->plan;
    const uint16_t *count = plan->topology.count;
    unsigned hints = r->bus_port + plan->actor_count;
    unsigned end = hints + (unsigned)count[AN_ROLE_ROUTER] * count[AN_ROLE_GATE];
    struct an_yaml_at at = an_yaml_find(r->top, "bus_port");

    if (plan->places.host_count == 1) {
        return AN_OK;
    }
    if (end > 65536) {
        return an_yaml_refuse(at, "%u ports from %u on, but 65535 is the last",
                              end - r->bus_port, (unsigned)r->bus_port);
    }
    for (unsigned i = 0; i < plan->actor_count; i++) {
        struct an_addr addr = plan->actors[i].addr;
        struct an_place *place = &plan->places.of[addr.role][addr.index];

        place->port = (uint16_t)(r->bus_port + i);
        if (addr.role == AN_ROLE_ROUTER) {
            place->hints = (uint16_t)(hints + addr.index * count[AN_ROLE_GATE]);
        }
    }
    return AN_OK;
}

enum an_err
plan_read_places(struct reading *r)
{
    struct plan *plan = r->plan;

    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        if (plan->topology.count[role] > 0) {
            plan->places.of[role] =
                calloc(plan->topology.count[role], sizeof(struct an_place));
            if (plan->places.of[role] == NULL) {
                return AN_ERR_NO_MEMORY;
            }
        }
    }
    for (unsigned i = 0; i < plan->actor_count; i++) {
        const struct plan_actor *actor = &plan->actors[i];

        plan->places.of[actor->addr.role][actor->addr.index] =
            (struct an_place){.host = actor->host, .process = actor->process};
    }
    return number_ports(r);
}

/* ------------------------------------------------------------------ collisions */

static enum an_err
check_data(struct reading *r, unsigned i, unsigned j)
{
    const struct plan_actor *a = &r->plan->actors[i], *b = &r->plan->actors[j];

    if (a->data == NULL || b->data == NULL || a->host != b->host ||
        strcmp(a->data, b->data) != 0) {
        return AN_OK;
    }
    return an_yaml_refuse(an_yaml_find(plan_actor_at(r, j), "data"), "%s is %s's already",
                          b->data, plan_actor_name(r, i));
}

/* Of a gate or an api: it was read before. */
static struct an_listen
listen_of(const char *url)
{
    struct an_listen listen;
    bool good = an_listen_parse(&listen, url) || an_listen_parse_http(&listen, url);

    assert(good);
    return listen;
}

static unsigned
port_of(const char *url)
{
    struct an_listen listen = listen_of(url);

    return an_listen_port(&listen);
}

/* Port 0 is the system's choice: it collides with nothing. */
static bool
same_address(const char *first, const char *second)
{
    struct an_listen a = listen_of(first), b = listen_of(second);

    if (an_listen_port(&a) == 0 || an_listen_port(&a) != an_listen_port(&b)) {
        return false;
    }
    return memcmp(&a.at, &b.at, sizeof(a.at)) == 0 || an_listen_is_any(&a) ||
           an_listen_is_any(&b);
}

/* May clients be let in there? */
static enum an_err
check_doors(struct reading *r, unsigned gate)
{
    const struct plan_actor *actor = &r->plan->actors[gate];

    for (unsigned i = 0; i < actor->listen_count; i++) {
        struct an_listen listen = listen_of(actor->listen[i]);
        const char *refusal = config_listen_refusal(&r->plan->settings, &listen);

        if (refusal != NULL) {
            return an_yaml_refuse(an_yaml_find(plan_actor_at(r, gate), "listen"),
                                  "%s: %s (under settings)", actor->listen[i], refusal);
        }
    }
    return AN_OK;
}

static enum an_err
check_listen(struct reading *r, unsigned i, unsigned j)
{
    const struct plan_actor *a = &r->plan->actors[i], *b = &r->plan->actors[j];

    for (unsigned k = 0; a->host == b->host && k < a->listen_count; k++) {
        for (unsigned l = i == j ? k + 1 : 0; l < b->listen_count; l++) {
            if (same_address(a->listen[k], b->listen[l])) {
                return an_yaml_refuse(an_yaml_find(plan_actor_at(r, j), "listen"),
                                      "%s listens on port %u of host %s already",
                                      plan_actor_name(r, i), port_of(b->listen[l]),
                                      r->plan->places.hosts[b->host].name);
            }
        }
    }
    return AN_OK;
}

/* A door's port must not be one of the bus on its host. */
static enum an_err
check_bus_port(struct reading *r, unsigned gate, unsigned i)
{
    const struct plan *plan = r->plan;
    const struct plan_actor *a = &plan->actors[gate], *b = &plan->actors[i];
    const struct an_place *place = an_place_of(&plan->places, b->addr);
    unsigned gates = place->hints == 0 ? 0 : plan->topology.count[AN_ROLE_GATE];

    for (unsigned k = 0; a->host == b->host && k < a->listen_count; k++) {
        unsigned port = port_of(a->listen[k]);

        if (port != 0 && (port == place->port ||
                          (port >= place->hints && port < place->hints + gates))) {
            return an_yaml_refuse(an_yaml_find(plan_actor_at(r, gate), "listen"),
                                  "port %u is %s's on the bus", port,
                                  plan_actor_name(r, i));
        }
    }
    return AN_OK;
}

/* ------------------------------------------------------------------ sockets */

/* Of what a process puts into the run directory: "/router-0-gate-1", "/front.control". */
static size_t
longest_socket(const struct plan *plan)
{
    size_t most = 0;
    char name[PLAN_NAME_MAX + 32];

    for (unsigned i = 0; i < plan->actor_count; i++) {
        struct an_addr addr = plan->actors[i].addr;
        size_t len = (size_t)snprintf(name, sizeof(name), "/%s-%u",
                                      an_role_name(addr.role), (unsigned)addr.index);

        if (addr.role == AN_ROLE_ROUTER) {
            len += (size_t)snprintf(name, sizeof(name), "-gate-%u",
                                    plan->topology.count[AN_ROLE_GATE] - 1u);
        }
        most = len > most ? len : most;
    }
    for (unsigned i = 0; i < plan->process_count; i++) {
        size_t len = strlen("/") + strlen(plan->processes[i].name) + strlen(".control");
        most = len > most ? len : most;
    }
    return most;
}

/* Hosts of one address are one machine: each needs a directory for itself. */
static enum an_err
check_run(struct reading *r)
{
    const struct an_places *places = &r->plan->places;

    for (uint16_t i = 0; r->plan->run_dir != NULL && i < places->host_count; i++) {
        for (uint16_t j = 0; j < i; j++) {
            const struct an_host *a = &places->hosts[j], *b = &places->hosts[i];

            if (strcasecmp(a->address, b->address) == 0 &&
                strstr(r->plan->run_dir, "%h") == NULL) {
                return an_yaml_refuse(an_yaml_find(r->top, "run"),
                                      "hosts %s and %s share the address %s, so each "
                                      "needs a directory of its own: write %%h in it",
                                      a->name, b->name, b->address);
            }
        }
    }
    return AN_OK;
}

static enum an_err
check_sockets(struct reading *r)
{
    const struct plan *plan = r->plan;
    struct an_yaml_at at = an_yaml_find(r->top, "run");
    size_t longest = longest_socket(plan);
    char dir[PLAN_RUN_DIR_MAX];

    for (uint16_t i = 0; i < plan->places.host_count; i++) {
        const char *host = plan->places.hosts[i].name;
        bool fits = true;

        if (plan->run_dir != NULL) {
            fits = plan_expand(plan->run_dir, host, dir, sizeof(dir));
        } else { /* the longest that plan_run_dir may choose */
            snprintf(dir, sizeof(dir), "/tmp/anser-%u-%s-%s", UINT32_MAX, plan->cluster,
                     host);
        }
        if (!fits || strlen(dir) + longest > SOCKET_PATH_MAX) {
            return an_yaml_refuse(at,
                                  "the sockets' directory is at most %zu bytes long, "
                                  "that of host %s is not: name a shorter one",
                                  (size_t)SOCKET_PATH_MAX - longest, host);
        }
    }
    return AN_OK;
}

enum an_err
plan_check(struct reading *r)
{
    enum an_err err = check_sockets(r);

    if (err == AN_OK) {
        err = check_run(r);
    }
    for (unsigned i = 0; err == AN_OK && i < r->plan->actor_count; i++) {
        err = check_listen(r, i, i);
        for (unsigned j = 0; err == AN_OK && j < r->plan->actor_count; j++) {
            err = check_bus_port(r, i, j);
            if (err == AN_OK && j > i) {
                err = check_data(r, i, j);
            }
            if (err == AN_OK && j > i) {
                err = check_listen(r, i, j);
            }
        }
    }
    for (unsigned i = 0; err == AN_OK && i < r->plan->actor_count; i++) {
        err = check_doors(r, i);
    }
    return err;
}
