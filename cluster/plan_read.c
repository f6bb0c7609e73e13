/* Hosts and actors of a cluster file, and how they fit together. */
#include "cluster/plan_priv.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOBODY = UINT16_MAX, HOSTS_MAX = 64 };

static const char LETTERS[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* ------------------------------------------------------------------ names */

/* The name of a cluster, host or process: it becomes part of paths, certificates and log
 * lines. A cluster's also has to be one that data directories record. */
static enum an_err
take_name(struct an_yaml_at at, const char *text, char out[PLAN_NAME_MAX + 1])
{
    if (strlen(text) > PLAN_NAME_MAX) {
        return an_yaml_refuse(at, "'%.40s' is longer than %d bytes", text, PLAN_NAME_MAX);
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (strchr(LETTERS, *c) == NULL && (c == text || strchr("-_.", *c) == NULL)) {
            return an_yaml_refuse(
                at, "'%.40s': a name has letters, digits and, but not first, - _ .",
                text);
        }
    }
    snprintf(out, PLAN_NAME_MAX + 1, "%s", text);
    return AN_OK;
}

enum an_err
plan_read_name(struct an_yaml_at at, char out[PLAN_NAME_MAX + 1])
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    return err == AN_OK ? take_name(at, text, out) : err;
}

bool
plan_addr_parse(const char *text, struct an_addr *addr)
{
    const char *slash = strchr(text, '/');
    unsigned index = 0;

    if (slash == NULL || slash[1] == '\0' || strlen(slash + 1) > 4 ||
        strspn(slash + 1, "0123456789") != strlen(slash + 1) ||
        (slash[1] == '0' && slash[2] != '\0')) {
        return false;
    }
    for (const char *c = slash + 1; *c != '\0'; c++) {
        index = index * 10 + (unsigned)(*c - '0');
    }
    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        const char *name = an_role_name(role);
        if (strlen(name) == (size_t)(slash - text) &&
            memcmp(name, text, strlen(name)) == 0) {
            *addr = (struct an_addr){(uint8_t)role, (uint16_t)index};
            return true;
        }
    }
    return false;
}

struct an_yaml_at
plan_actor_at(const struct reading *r, unsigned actor)
{
    struct an_yaml_at at = an_yaml_nth(r->actors, actor);

    at.in = "";
    return at;
}

const char *
plan_actor_name(const struct reading *r, unsigned actor)
{
    return plan_actor_at(r, actor).key;
}

char *
plan_path(const char *dir, const char *path)
{
    size_t len = strlen(dir) + strlen(path) + 3, used = 0;
    char *whole = malloc(len), *out = whole;

    if (whole == NULL) {
        return NULL;
    }
    snprintf(whole, len, "%s%s%s", path[0] == '/' ? "" : dir, path[0] == '/' ? "" : "/",
             path);
    /* "a//b", "a/./b" and "a/" are one place. ".." is left: links may lead elsewhere. */
    for (const char *from = whole; *from != '\0'; from++) {
        if (from[0] == '/' && (from[1] == '/' || from[1] == '\0')) {
            continue;
        }
        if (from[0] == '/' && from[1] == '.' && (from[2] == '/' || from[2] == '\0')) {
            from++;
            continue;
        }
        out[used++] = *from;
    }
    if (used == 0) {
        out[used++] = '/';
    }
    out[used] = '\0';
    return whole;
}

bool
plan_expand(const char *text, const char *host, char *out, size_t cap)
{
    size_t used = 0;

    for (; *text != '\0'; text++) {
        bool mark = text[0] == '%' && text[1] == 'h';
        size_t len = mark ? strlen(host) : 1;

        if (used + len >= cap) {
            return false;
        }
        memcpy(out + used, mark ? host : text, len);
        used += len;
        text += mark;
    }
    out[used] = '\0';
    return true;
}

/* ------------------------------------------------------------------ hosts */

static enum an_err
read_address(struct an_yaml_at at, struct an_host *host)
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    if (err != AN_OK) {
        return err;
    }
    if (strlen(text) > AN_ADDRESS_MAX) {
        return an_yaml_refuse(at, "longer than %d bytes", AN_ADDRESS_MAX);
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (strchr(LETTERS, *c) == NULL && strchr("-_.:%", *c) == NULL) {
            return an_yaml_refuse(at, "'%.64s' is no address and no name; no port, no []",
                                  text);
        }
    }
    if (strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0) {
        return an_yaml_refuse(at, "other hosts cannot reach %s", text);
    }
    snprintf(host->address, sizeof(host->address), "%s", text);
    return AN_OK;
}

static enum an_err
read_host(struct an_yaml_at at, struct an_host *host)
{
    static const char *const known[] = {"address", NULL};
    enum an_err err = take_name(at, at.key, host->name);

    _Static_assert((int)PLAN_NAME_MAX == (int)AN_HOST_NAME_MAX, "one length of names");
    if (err == AN_OK) {
        err = an_yaml_map(at, known);
    }
    return err == AN_OK ? read_address(an_yaml_find(at, "address"), host) : err;
}

enum an_err
plan_read_hosts(struct reading *r)
{
    struct an_places *places = &r->plan->places;
    enum an_err err;
    unsigned count;

    r->hosts = an_yaml_find(r->top, "hosts");
    if (!an_yaml_there(r->hosts)) {
        return an_yaml_refuse(r->hosts, "missing");
    }
    err = an_yaml_map(r->hosts, NULL);
    count = an_yaml_count(r->hosts);
    if (err != AN_OK) {
        return err;
    }
    if (count == 0 || count > HOSTS_MAX) {
        return an_yaml_refuse(r->hosts, "%u hosts; there are 1 to %d", count, HOSTS_MAX);
    }
    places->hosts = calloc(count, sizeof(*places->hosts));
    if (places->hosts == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    places->host_count = (uint16_t)count;
    for (unsigned i = 0; err == AN_OK && i < count; i++) {
        err = read_host(an_yaml_nth(r->hosts, i), &places->hosts[i]);
    }
    return err;
}

static enum an_err
find_host(struct reading *r, struct an_yaml_at at, uint16_t *host)
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    for (uint16_t i = 0; err == AN_OK && i < r->plan->places.host_count; i++) {
        if (strcmp(r->plan->places.hosts[i].name, text) == 0) {
            *host = i;
            return AN_OK;
        }
    }
    return err == AN_OK ? an_yaml_refuse(at, "no host '%.40s' under hosts", text) : err;
}

/* ------------------------------------------------------------------ slots */

/* One number of at most four digits; *text moves behind it. */
static bool
take_slot(const char **text, uint16_t *slot)
{
    size_t digits = strspn(*text, "0123456789");
    unsigned value = 0;

    if (digits == 0 || digits > 4) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (unsigned)((*text)[i] - '0');
    }
    *text += digits;
    *slot = (uint16_t)value;
    return true;
}

/* "7" or "0-99", up to a comma or the end; *text moves behind it. */
static enum an_err
take_range(struct an_yaml_at at, const char **text, uint16_t *first, uint16_t *last)
{
    const char *range = *text;
    int len = (int)strcspn(range, ",");
    bool good = take_slot(text, first);

    len = len < 40 ? len : 40; /* of it in a sentence */
    *last = *first;
    if (good && **text == '-') {
        (*text)++;
        good = take_slot(text, last);
    }
    if (!good || (**text != '\0' && **text != ',')) {
        return an_yaml_refuse(
            at, "'%.*s' is no range: write slots as 0-99,200-300, within 0-%u", len,
            range, AN_SLOTS - 1);
    }
    if (*first >= AN_SLOTS || *last >= AN_SLOTS) {
        return an_yaml_refuse(at, "'%.*s': slot %u is the last", len, range,
                              AN_SLOTS - 1);
    }
    return *last >= *first
               ? AN_OK
               : an_yaml_refuse(at, "'%.*s' ends before it begins", len, range);
}

/* owner[first..last] = the actor, if nobody has one of them. */
static enum an_err
give_slots(struct an_yaml_at at, const struct plan_actor *actor, uint16_t *owner,
           unsigned first, unsigned last)
{
    for (unsigned slot = first; slot <= last; slot++) {
        if (owner[slot] != NOBODY) {
            return an_yaml_refuse(at, "slot %u is %s/%u's already", slot,
                                  an_role_name(actor->addr.role), (unsigned)owner[slot]);
        }
        owner[slot] = actor->addr.index;
    }
    return AN_OK;
}

/* "0-99,200-300,512" */
static enum an_err
read_ranges(struct an_yaml_at at, struct plan_actor *actor, uint16_t *owner,
            unsigned *ranges)
{
    const char *text;
    enum an_err err = an_yaml_text(at, &text);

    while (err == AN_OK) {
        uint16_t first = 0, last = 0;

        err = take_range(at, &text, &first, &last);
        if (err == AN_OK) {
            err = give_slots(at, actor, owner, first, last);
        }
        actor->slot_first = first;
        actor->slot_last = last;
        (*ranges)++;
        if (*text == '\0') {
            break;
        }
        text++;
        text += strspn(text, " ");
    }
    return err;
}

static uint16_t *
owners_of(struct an_topology *topology, unsigned role)
{
    switch (role) {
    case AN_ROLE_SEQUENCER:
        return topology->slot_sequencer;
    case AN_ROLE_STORE:
        return topology->slot_store;
    case AN_ROLE_ROUTER:
        return topology->slot_router;
    default:
        return NULL;
    }
}

static enum an_err
read_slots(struct reading *r, struct an_yaml_at map, struct plan_actor *actor)
{
    uint16_t *owner = owners_of(&r->plan->topology, actor->addr.role);
    struct an_yaml_at at = an_yaml_find(map, "slots");
    enum an_err err = AN_OK;
    unsigned ranges = 0;

    if (owner == NULL) {
        return AN_OK;
    }
    if (!an_yaml_is_list(at)) {
        err = read_ranges(at, actor, owner, &ranges);
    }
    for (unsigned i = 0; err == AN_OK && i < an_yaml_count(at); i++) {
        err = read_ranges(an_yaml_nth(at, i), actor, owner, &ranges);
    }
    if (err == AN_OK && ranges == 0) {
        err = an_yaml_refuse(at, "at least one slot");
    }
    if (err == AN_OK && actor->addr.role == AN_ROLE_STORE && ranges != 1) {
        err = an_yaml_refuse(at, "a store has one range of slots");
    }
    return err;
}

static enum an_err
check_covered(struct reading *r, unsigned role)
{
    const uint16_t *owner = owners_of(&r->plan->topology, role);
    unsigned first = 0, last;

    while (first < AN_SLOTS && owner[first] != NOBODY) {
        first++;
    }
    if (first == AN_SLOTS) {
        return AN_OK;
    }
    for (last = first; last + 1 < AN_SLOTS && owner[last + 1] == NOBODY; last++) {
    }
    if (first == last) {
        return an_yaml_refuse(r->actors, "no %s has slot %u", an_role_name(role), first);
    }
    return an_yaml_refuse(r->actors, "no %s has slots %u-%u", an_role_name(role), first,
                          last);
}

/* ------------------------------------------------------------------ actors */

static enum an_err
read_process(struct reading *r, struct an_yaml_at at, struct plan_actor *actor)
{
    struct plan *plan = r->plan;
    char name[PLAN_NAME_MAX + 1];
    enum an_err err = AN_OK;
    unsigned i = 0;

    snprintf(name, sizeof(name), "%s-%u", an_role_name(actor->addr.role),
             (unsigned)actor->addr.index);
    if (an_yaml_there(at)) {
        err = plan_read_name(at, name);
    }
    if (err == AN_OK && strcmp(name, "up") == 0) { /* up.lock is the supervisor's */
        err = an_yaml_refuse(at, "'up' is taken: choose another name");
    }
    if (err != AN_OK) {
        return err;
    }
    while (i < plan->process_count && strcmp(plan->processes[i].name, name) != 0) {
        i++;
    }
    if (i == plan->process_count) {
        snprintf(plan->processes[i].name, sizeof(name), "%s", name);
        plan->processes[i].host = actor->host;
        plan->process_count++;
    } else if (plan->processes[i].host != actor->host) {
        return an_yaml_refuse(at, "process '%s' is on host %s already", name,
                              plan->places.hosts[plan->processes[i].host].name);
    }
    actor->process = (uint16_t)i;
    return AN_OK;
}

/* Of a gate; an api may have none. */
static enum an_err
read_listen(struct an_yaml_at map, struct plan_actor *actor)
{
    const bool http = actor->addr.role == AN_ROLE_API;
    struct an_yaml_at at = an_yaml_find(map, "listen");
    unsigned count = an_yaml_count(at);
    enum an_err err;

    if (!an_yaml_there(at) && http) {
        return AN_OK;
    }
    if (!an_yaml_there(at)) {
        return an_yaml_refuse(at, "missing: where clients connect, "
                                  "[tcp://0.0.0.0:7400]");
    }
    err = an_yaml_list(at);
    if (err == AN_OK && (count == 0 || count > PLAN_LISTEN_MAX)) {
        err =
            an_yaml_refuse(at, "%u addresses; there are 1 to %d", count, PLAN_LISTEN_MAX);
    }
    for (unsigned i = 0; err == AN_OK && i < count; i++) {
        struct an_listen listen;
        const char *text;

        err = an_yaml_text(an_yaml_nth(at, i), &text);
        if (err == AN_OK &&
            !(http ? an_listen_parse_http : an_listen_parse)(&listen, text)) {
            err = an_yaml_refuse(an_yaml_nth(at, i),
                                 "'%.60s' is not %s with a numeric host or localhost",
                                 text, http ? AN_LISTEN_HTTP_FORMS : AN_LISTEN_FORMS);
        }
        if (err == AN_OK) {
            err = config_set_text(&actor->listen[i], text);
            actor->listen_count = i + 1;
        }
    }
    return err;
}

static enum an_err
read_data(struct reading *r, struct an_yaml_at map, struct plan_actor *actor)
{
    struct an_yaml_at at = an_yaml_find(map, "data");
    const char *text;
    enum an_err err;

    if (!an_yaml_there(at)) {
        return an_yaml_refuse(at, "missing: the store's directory");
    }
    err = an_yaml_text(at, &text);
    if (err == AN_OK) {
        actor->data = plan_path(r->dir, text);
        err = actor->data == NULL ? AN_ERR_NO_MEMORY : AN_OK;
    }
    return err;
}

static const char *const *
keys_of(unsigned role)
{
    static const char *const gate[] = {"host", "process", "listen", NULL};
    static const char *const router[] = {"host", "process", "slots", NULL};
    static const char *const sequencer[] = {"host", "process", "slots", "standby", NULL};
    static const char *const store[] = {"host", "process", "slots", "data", NULL};
    static const char *const idgen[] = {"host", "process", NULL};

    if (role == AN_ROLE_API) {
        return gate; /* the same keys */
    }
    return role == AN_ROLE_GATE        ? gate
           : role == AN_ROLE_ROUTER    ? router
           : role == AN_ROLE_SEQUENCER ? sequencer
           : role == AN_ROLE_STORE     ? store
                                       : idgen;
}

static enum an_err
read_actor(struct reading *r, struct an_yaml_at at, struct plan_actor *actor)
{
    enum an_err err = AN_OK;

    if (!plan_addr_parse(at.key, &actor->addr)) {
        return an_yaml_refuse(at, "no actor: gate/0, router/0, sequencer/0, store/0, "
                                  "idgen/0 and api/0 are");
    }
    err = an_yaml_map(at, keys_of(actor->addr.role));
    if (err == AN_OK) {
        err = find_host(r, an_yaml_find(at, "host"), &actor->host);
    }
    if (err == AN_OK) {
        err = read_process(r, an_yaml_find(at, "process"), actor);
    }
    if (err == AN_OK) {
        err = read_slots(r, at, actor);
    }
    if (err == AN_OK &&
        (actor->addr.role == AN_ROLE_GATE || actor->addr.role == AN_ROLE_API)) {
        err = read_listen(at, actor);
    }
    if (err == AN_OK && actor->addr.role == AN_ROLE_STORE) {
        err = read_data(r, at, actor);
    }
    return err;
}

/* Indices of each role from 0 without a gap; of all but api at least one. */
static enum an_err
count_actors(struct reading *r)
{
    struct plan *plan = r->plan;

    for (unsigned i = 0; i < plan->actor_count; i++) {
        plan->topology.count[plan->actors[i].addr.role]++;
    }
    for (unsigned i = 0; i < plan->actor_count; i++) {
        const struct plan_actor *actor = &plan->actors[i];
        struct an_addr below = {actor->addr.role, (uint16_t)(actor->addr.index - 1)};

        if (actor->addr.index > 0 && plan_actor_find(plan, below) == NULL) {
            return an_yaml_refuse(plan_actor_at(r, i),
                                  "there is no %s/%u; numbers go "
                                  "from 0 without a gap",
                                  an_role_name(below.role), (unsigned)below.index);
        }
    }
    for (unsigned role = AN_ROLE_GATE; role < AN_ROLE_API; role++) {
        if (plan->topology.count[role] == 0) {
            return an_yaml_refuse(r->actors, "no %s/0", an_role_name(role));
        }
    }
    return AN_OK;
}

/* A sequencer's standby, once every sequencer is known; without one its slots have none
 * but the owner. */
static enum an_err
read_standby(struct reading *r, unsigned i)
{
    struct an_topology *topology = &r->plan->topology;
    struct an_addr self = r->plan->actors[i].addr, standby = self;
    struct an_yaml_at at = an_yaml_find(plan_actor_at(r, i), "standby");
    const char *text;
    enum an_err err = AN_OK;

    if (an_yaml_there(at)) {
        err = an_yaml_text(at, &text);
        if (err == AN_OK &&
            (!plan_addr_parse(text, &standby) || standby.role != AN_ROLE_SEQUENCER ||
             standby.index >= topology->count[AN_ROLE_SEQUENCER])) {
            err = an_yaml_refuse(at, "'%.40s' is no sequencer of this file", text);
        } else if (err == AN_OK && standby.index == self.index) {
            err = an_yaml_refuse(at, "a sequencer is not its own standby");
        }
    }
    for (unsigned slot = 0; err == AN_OK && slot < AN_SLOTS; slot++) {
        if (topology->slot_sequencer[slot] == self.index) {
            topology->slot_standby[slot] = standby.index;
        }
    }
    return err;
}

static enum an_err
make_room(struct reading *r)
{
    struct plan *plan = r->plan;
    unsigned count = an_yaml_count(r->actors);

    if (count == 0 || count > PLAN_ACTORS_MAX) {
        return an_yaml_refuse(r->actors, "%u actors; there are 1 to %d", count,
                              PLAN_ACTORS_MAX);
    }
    plan->actors = calloc(count, sizeof(*plan->actors));
    plan->processes = calloc(count, sizeof(*plan->processes));
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        plan->topology.slot_sequencer[slot] = NOBODY;
        plan->topology.slot_store[slot] = NOBODY;
        plan->topology.slot_router[slot] = NOBODY;
    }
    if (plan->actors == NULL || plan->processes == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    plan->actor_count = count;
    return AN_OK;
}

enum an_err
plan_read_actors(struct reading *r)
{
    struct plan *plan = r->plan;
    enum an_err err;

    r->actors = an_yaml_find(r->top, "actors");
    if (!an_yaml_there(r->actors)) {
        return an_yaml_refuse(r->actors, "missing");
    }
    err = an_yaml_map(r->actors, NULL);
    if (err == AN_OK) {
        err = make_room(r);
    }
    for (unsigned i = 0; err == AN_OK && i < plan->actor_count; i++) {
        err = read_actor(r, plan_actor_at(r, i), &plan->actors[i]);
    }
    if (err == AN_OK) {
        err = count_actors(r);
    }
    for (unsigned role = AN_ROLE_ROUTER; err == AN_OK && role <= AN_ROLE_STORE; role++) {
        err = check_covered(r, role);
    }
    for (unsigned i = 0; err == AN_OK && i < plan->actor_count; i++) {
        if (plan->actors[i].addr.role == AN_ROLE_SEQUENCER) {
            err = read_standby(r, i);
        }
    }
    return err;
}
