#include "cluster/group.h"
#include "cluster/group_priv.h"
#include "core/log.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STOP_MS = 5000, /* for one actor to finish */
    /* What is in flight gets its answers, then its slots are handed over. */
    STOP_SEQUENCER_MS = AN_ASK_MS + AN_HANDOVER_MS + 1000,
    STOP_STORE_MS = 60000, /* a store applies its overlay */
};

/* Ranks: those that start first are stopped last. A sequencer asks a store and an idgen
 * when it starts, an idgen a store; nobody waits for the others. */
static const uint8_t start_order[] = {AN_ROLE_STORE,  AN_ROLE_IDGEN, AN_ROLE_SEQUENCER,
                                      AN_ROLE_ROUTER, AN_ROLE_API,   AN_ROLE_GATE};
static const uint8_t stop_order[] = {AN_ROLE_GATE,  AN_ROLE_API,    AN_ROLE_SEQUENCER,
                                     AN_ROLE_IDGEN, AN_ROLE_ROUTER, AN_ROLE_STORE};
enum { RANKS = sizeof(start_order) };
_Static_assert(sizeof(stop_order) == RANKS, "all of them");

static void
note_phase(const struct group *group, const char *what, struct timespec *since)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    an_log(AN_LOG_DEBUG, group->cfg.who, "start: %s us=%lld", what,
           (long long)(now.tv_sec - since->tv_sec) * 1000000 +
               (now.tv_nsec - since->tv_nsec) / 1000);
    *since = now;
}

/* ------------------------------------------------------------------ create */

/* The members, in the order they start. */
static void
take_members(struct group *group, const struct group_cfg *cfg)
{
    for (unsigned rank = 0; rank < RANKS; rank++) {
        for (unsigned i = 0; i < cfg->actor_count; i++) {
            const struct plan_actor *placed = cfg->actors[i];
            struct member *member = &group->members[group->member_count];

            if (placed->addr.role == start_order[rank]) {
                member->placed = placed;
                snprintf(member->who, sizeof(member->who), "%s/%u",
                         an_role_name(placed->addr.role), (unsigned)placed->addr.index);
                group->member_count++;
            }
        }
    }
    assert(group->member_count == cfg->actor_count);
}

enum an_err
group_create(struct group **out, const struct group_cfg *cfg, char *why, size_t why_len)
{
    struct group *group = calloc(1, sizeof(*group));
    enum an_err err = AN_OK;

    snprintf(why, why_len, "out of memory");
    if (group == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    group->cfg = *cfg;
    group->cfg.actors = NULL; /* the caller's list may go */
    group->members = calloc(cfg->actor_count + 1, sizeof(struct member));
    if (group->members == NULL) {
        (void)group_destroy(group);
        return AN_ERR_NO_MEMORY;
    }
    take_members(group, cfg);
    for (unsigned i = 0; err == AN_OK && i < group->member_count; i++) {
        if (group->members[i].placed->addr.role == AN_ROLE_GATE) {
            err = member_make_door(group, &group->members[i], why, why_len);
        } else if (group->members[i].placed->listen_count > 0) {
            err = member_make_http(group, &group->members[i], why, why_len);
        }
    }
    if (err != AN_OK) {
        (void)group_destroy(group);
        return err;
    }
    *out = group;
    return AN_OK;
}

/* ------------------------------------------------------------------ open */

static enum an_err
add_member(struct group *group, struct member *member, char *why, size_t why_len)
{
    const uint16_t index = member->placed->addr.index;
    struct an_door *door = member->new_door;
    struct an_actor *actor;
    enum an_err err = member_make(group, member, &actor, why, why_len);

    if (err != AN_OK) {
        return err;
    }
    member->new_door = NULL; /* the runner's from here on, also when it fails */
    err = an_runner_add(group->runner, actor, index, door, why, why_len);
    if (err == AN_OK) {
        member->door = door;
    } else if (err == AN_ERR_CONNECTION && door != NULL &&
               member->placed->listen_count == 1) {
        snprintf(why, why_len, "cannot listen on %s", member->placed->listen[0]);
    }
    return err;
}

static bool
lacks_a_store(const struct group *group)
{
    char path[4096];

    for (unsigned i = 0; i < group->member_count; i++) {
        const char *dir = group->members[i].placed->data;

        if (dir != NULL) {
            snprintf(path, sizeof(path), "%s/identity", dir);
            if (access(path, F_OK) != 0) {
                return true;
            }
        }
    }
    return false;
}

static bool
has_door(const struct member *member)
{
    return member->placed->listen_count > 0;
}

/* As they start. Before a store is made those with doors come first: an address that
 * cannot be had then leaves none behind. A store that is there may take its time to open,
 * and clients had better be refused meanwhile than wait. */
static enum an_err
add_members(struct group *group, struct timespec *since, char *why, size_t why_len)
{
    const bool doors_first = lacks_a_store(group);
    enum an_err err = AN_OK;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; err == AN_OK && i < group->member_count; i++) {
            struct member *member = &group->members[i];

            if ((has_door(member) == doors_first) == (pass == 0)) {
                err = add_member(group, member, why, why_len);
                note_phase(group, member->who, since);
            }
        }
    }
    return err;
}

enum an_err
group_open(struct group *group, const struct an_runner_cfg *cfg, char *why,
           size_t why_len)
{
    struct an_runner_cfg own = *cfg;
    struct timespec since;
    enum an_err err;

    clock_gettime(CLOCK_MONOTONIC, &since);
    snprintf(group->control, sizeof(group->control), "%s",
             cfg->control == NULL ? "" : cfg->control);
    own.topology = &group->cfg.plan->topology;
    own.untraced = strcmp(group->cfg.plan->settings.top_trace, "off") == 0;
    err = an_runner_create(&group->runner, &own, why, why_len);
    note_phase(group, "runner", &since);
    if (err == AN_OK) {
        err = add_members(group, &since, why, why_len);
    }
    if (err == AN_OK) {
        group_note_gates(group);
    }
    return err;
}

const char *
group_address(const struct group *group, unsigned index)
{
    for (unsigned pass = 0; pass < 2; pass++) { /* gates, then apis */
        for (unsigned i = 0; i < group->member_count; i++) {
            const struct member *member = &group->members[i];
            const bool gate = member->placed->addr.role == AN_ROLE_GATE;

            if (member->door == NULL || gate != (pass == 0)) {
                continue;
            }
            if (index < member->placed->listen_count) {
                return member->door->ops->address(member->door, index);
            }
            index -= member->placed->listen_count;
        }
    }
    return NULL;
}

enum an_err
group_reload(struct group *group, char *why, size_t why_len)
{
    enum an_err err = AN_OK;

    for (unsigned i = 0; err == AN_OK && i < group->member_count; i++) {
        const struct member *member = &group->members[i];

        if (member->door != NULL) {
            /* The runner's, lent for reading: reload may be called on any thread. */
            err = member->door->ops->reload(member->door, why, why_len);
        }
    }
    return err;
}

/* ------------------------------------------------------------------ start */

enum an_err
group_start(struct group *group, unsigned roles, char *why, size_t why_len)
{
    enum an_err err = AN_OK;

    for (unsigned i = 0; err == AN_OK && i < group->member_count; i++) {
        struct member *member = &group->members[i];

        if ((roles & 1u << member->placed->addr.role) != 0) {
            assert(!member->started);
            snprintf(why, why_len, "%s could not be started", member->who);
            err = an_runner_start(group->runner, member->placed->addr);
            member->started = err == AN_OK;
        }
    }
    return err;
}

static uint64_t
mono_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *
group_unready(const struct group *group, unsigned index)
{
    for (unsigned i = 0; i < group->member_count; i++) {
        const struct member *member = &group->members[i];

        if (member->started && !member->ready && index-- == 0) {
            return member->who;
        }
    }
    return NULL;
}

/* "sequencer/0, gate/0 did not get ready" */
static void
name_unready(const struct group *group, char *why, size_t why_len)
{
    const char *who;
    size_t len = 0;

    for (unsigned i = 0; (who = group_unready(group, i)) != NULL && len < why_len; i++) {
        len +=
            (size_t)snprintf(why + len, why_len - len, "%s%s", i == 0 ? "" : ", ", who);
    }
    if (len < why_len) {
        snprintf(why + len, why_len - len, " did not get ready");
    }
}

enum an_err
group_await(struct group *group, uint32_t timeout_ms, char *why, size_t why_len)
{
    const uint64_t until_ms = mono_ms() + timeout_ms;
    bool all = true;

    for (unsigned i = 0; i < group->member_count; i++) {
        struct member *member = &group->members[i];
        uint64_t now_ms = mono_ms();

        if (member->started && !member->ready) {
            member->ready =
                an_runner_wait_ready(group->runner, member->placed->addr,
                                     now_ms < until_ms ? (uint32_t)(until_ms - now_ms)
                                                       : 0) == AN_OK;
            all &= member->ready;
        }
    }
    if (!all) {
        name_unready(group, why, why_len);
    }
    return all ? AN_OK : AN_ERR_TIMEOUT;
}

/* ------------------------------------------------------------------ stop */

static uint32_t
stop_ms(unsigned role)
{
    switch (role) {
    case AN_ROLE_STORE:
        return STOP_STORE_MS;
    case AN_ROLE_SEQUENCER:
        return STOP_SEQUENCER_MS;
    default:
        return STOP_MS;
    }
}

void
group_stop(struct group *group)
{
    for (unsigned rank = 0; rank < RANKS; rank++) {
        for (unsigned i = 0; i < group->member_count; i++) {
            const struct member *member = &group->members[i];
            uint32_t timeout_ms = stop_ms(stop_order[rank]);

            if (member->placed->addr.role != stop_order[rank] || !member->started) {
                continue;
            }
            if (an_runner_stop(group->runner, member->placed->addr, timeout_ms) !=
                AN_OK) {
                an_log(AN_LOG_WARN, group->cfg.who,
                       "%s did not stop in time timeout_ms=%u", member->who, timeout_ms);
            }
        }
    }
}

bool
group_destroy(struct group *group)
{
    if (group == NULL) {
        return true;
    }
    for (unsigned i = 0; i < group->member_count; i++) {
        struct an_door *door = group->members[i].new_door;

        if (door != NULL) {
            door->ops->destroy(door);
        }
    }
    if (!an_runner_destroy_within(group->runner, AN_CLOSE_MS)) {
        an_log(AN_LOG_WARN, group->cfg.who,
               "stores are closed, connections are not: left as they are");
        return false;
    }
    free(group->members);
    free(group);
    return true;
}
