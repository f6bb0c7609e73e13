#include "cluster/process.h"
#include "cluster/app_keys.h"
#include "cluster/cert.h"
#include "cluster/data_dir.h"
#include "cluster/group.h"
#include "cluster/node_file.h"
#include "cluster/token_keys.h"
#include "core/control.h"
#include "core/log.h"
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    UNREACHED_MS = 1000, /* for one actor's answer about its connections */
    PATH_ROOM = RUN_DIR_MAX + PLAN_NAME_MAX + 16, /* of a file in the run directory */
    SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
};

struct process {
    struct plan *plan;
    struct group *group;
    struct an_token_keys keys;
    struct an_app_keys app_keys;
    uint16_t host;
    time_t cert_until; /* of the certificate that others see; 0: none */
    char run_dir[RUN_DIR_MAX];
    char control[PATH_ROOM + 8], events[PATH_ROOM + 8];
    uint16_t *names; /* of the plan's processes that this one is; the first is ours */
    int *lock_fds;
    unsigned name_count;
    char *why;
    size_t why_len;
};

static const char *
name_of(const struct process *process, unsigned i)
{
    return process->plan->processes[process->names[i]].name;
}

/* ------------------------------------------------------------------ which actors */

static bool
chosen(const struct plan_actor *const *actors, unsigned count,
       const struct plan_actor *actor)
{
    for (unsigned i = 0; i < count; i++) {
        if (actors[i] == actor) {
            return true;
        }
    }
    return false;
}

static void
add_name(struct process *process, uint16_t name)
{
    for (unsigned i = 0; i < process->name_count; i++) {
        if (process->names[i] == name) {
            return;
        }
    }
    process->names[process->name_count++] = name;
}

/* All of one host, none twice, and with each the others of its process: those would be
 * looked for in here. */
static enum an_err
check_actors(struct process *process, const struct plan_actor *const *actors,
             unsigned count)
{
    const struct plan *plan = process->plan;

    process->host = actors[0]->host;
    for (unsigned i = 0; i < count; i++) {
        const char *role = an_role_name(actors[i]->addr.role);
        const unsigned index = actors[i]->addr.index;

        if (actors[i]->host != process->host) {
            snprintf(process->why, process->why_len,
                     "%s/%u is of host %s, %s/%u of host %s: one process is on one host",
                     an_role_name(actors[0]->addr.role), (unsigned)actors[0]->addr.index,
                     plan->places.hosts[process->host].name, role, index,
                     plan->places.hosts[actors[i]->host].name);
            return AN_ERR_ARGUMENT;
        }
        if (chosen(actors, i, actors[i])) {
            snprintf(process->why, process->why_len, "%s/%u is named twice", role, index);
            return AN_ERR_ARGUMENT;
        }
        for (unsigned k = 0; k < plan->actor_count; k++) {
            const struct plan_actor *other = &plan->actors[k];

            if (other->process == actors[i]->process && !chosen(actors, count, other)) {
                snprintf(process->why, process->why_len,
                         "%s/%u is in process %s together with %s/%u: start both", role,
                         index, plan->processes[other->process].name,
                         an_role_name(other->addr.role), (unsigned)other->addr.index);
                return AN_ERR_ARGUMENT;
            }
        }
        add_name(process, actors[i]->process);
    }
    return AN_OK;
}

/* Several processes of the file in this one: they reach each other here. The others see
 * them where the file has them, on this host. */
static void
merge_places(struct process *process, const struct plan_actor *const *actors,
             unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct an_addr addr = actors[i]->addr;

        process->plan->places.of[addr.role][addr.index].process = process->names[0];
    }
}

/* ------------------------------------------------------------------ files */

static enum an_err
load_key(struct process *process)
{
    const char *path = process->plan->token_key;
    enum an_err err;

    if (path == NULL) {
        snprintf(
            process->why, process->why_len,
            "gates, and apis that listen, need the file's token_key: what logins are "
            "signed with");
        return AN_ERR_CONFIG;
    }
    process->keys.count = 1;
    err = node_key_read(&process->keys.key[0], path, process->why, process->why_len);
    if (err == AN_OK) {
        err = token_keys_load(&process->keys, &process->plan->settings, process->why,
                              process->why_len);
    }
    return err == AN_OK
               ? app_keys_read(&process->app_keys, path, process->why, process->why_len)
               : err;
}

/* PATH_ROOM bytes */
static void
in_run_dir(const struct process *process, unsigned name, const char *suffix, char *out)
{
    snprintf(out, PATH_ROOM, "%s/%s.%s", process->run_dir, name_of(process, name),
             suffix);
}

static enum an_err
take_locks(struct process *process)
{
    char path[PATH_ROOM];

    for (unsigned i = 0; i < process->name_count; i++) {
        enum an_err err;

        in_run_dir(process, i, "lock", path);
        err = lock_hold(path, &process->lock_fds[i], process->why, process->why_len);
        if (err == AN_ERR_LOCKED) {
            snprintf(process->why, process->why_len,
                     "process %s runs already on this host (%s)", name_of(process, i),
                     path);
        }
        if (err != AN_OK) {
            return err;
        }
    }
    return AN_OK;
}

static enum an_err
prepare_files(struct process *process)
{
    enum an_err err =
        plan_run_dir_make(process->plan, process->host, process->run_dir,
                          sizeof(process->run_dir), process->why, process->why_len);
    char path[PATH_ROOM];

    if (err == AN_OK) {
        err = take_locks(process);
    }
    if (err != AN_OK) {
        return err;
    }
    for (unsigned i = 0; i < process->name_count; i++) {
        in_run_dir(process, i, "control", path);
        if (strlen(path) > SOCKET_PATH_MAX) {
            snprintf(process->why, process->why_len,
                     "%s: too long for a socket; choose a shorter `run`", path);
            return AN_ERR_CONFIG;
        }
        /* What a killed one left; links of processes run as one are such too. */
        (void)unlink(path);
        in_run_dir(process, i, "events", path);
        (void)unlink(path);
    }
    return AN_OK;
}

/* Who looks for a process that runs inside this one finds it. */
static enum an_err
link_names(struct process *process)
{
    static const char *const suffixes[] = {"control", "events"};
    char path[PATH_ROOM], target[PLAN_NAME_MAX + 16];

    for (unsigned i = 1; i < process->name_count; i++) {
        for (unsigned k = 0; k < 2; k++) {
            in_run_dir(process, i, suffixes[k], path);
            snprintf(target, sizeof(target), "%s.%s", name_of(process, 0), suffixes[k]);
            if (symlink(target, path) != 0) {
                snprintf(process->why, process->why_len, "%s: %s", path, strerror(errno));
                return AN_ERR_IO;
            }
        }
    }
    return AN_OK;
}

static void
unlink_names(const struct process *process)
{
    char path[PATH_ROOM];

    for (unsigned i = 1; i < process->name_count; i++) {
        if (process->lock_fds[i] >= 0) {
            in_run_dir(process, i, "control", path);
            (void)unlink(path);
            in_run_dir(process, i, "events", path);
            (void)unlink(path);
        }
    }
}

/* ------------------------------------------------------------------ start, stop */

static enum an_err
open_group(struct process *process)
{
    const struct plan *plan = process->plan;
    const struct an_runner_cfg cfg = {.cluster = plan->cluster,
                                      .run_dir = process->run_dir,
                                      .bus = AN_BUS_IPC,
                                      .places = &plan->places,
                                      .process = process->names[0],
                                      .control = process->control,
                                      .events = process->events};
    char path[PATH_ROOM];

    in_run_dir(process, 0, "control", path);
    snprintf(process->control, sizeof(process->control), "ipc://%s", path);
    in_run_dir(process, 0, "events", path);
    snprintf(process->events, sizeof(process->events), "ipc://%s", path);
    return group_open(process->group, &cfg, process->why, process->why_len);
}

void
process_look(const struct process *process)
{
    cert_warn(process->plan, process->cert_until, name_of(process, 0));
}

static enum an_err
start_all(struct process *process, const struct plan_actor *const *actors, unsigned count)
{
    const struct group_cfg cfg = {.plan = process->plan,
                                  .actors = actors,
                                  .actor_count = count,
                                  .keys = &process->keys,
                                  .app_keys = &process->app_keys,
                                  .who = name_of(process, 0)};
    enum an_err err = group_create(&process->group, &cfg, process->why, process->why_len);

    for (unsigned i = 0; err == AN_OK && i < count; i++) {
        if (actors[i]->listen_count > 0) {
            err = load_key(process);
        }
    }
    if (err == AN_OK) {
        err = plan_tls(process->plan, process->host, process->why, process->why_len);
    }
    if (err == AN_OK) {
        err = cert_check(process->plan, process->host, &process->cert_until, process->why,
                         process->why_len);
    }
    if (err == AN_OK) {
        process_look(process);
    }
    if (err == AN_OK) {
        err = prepare_files(process);
    }
    if (err == AN_OK) {
        err = open_group(process);
    }
    if (err == AN_OK) {
        err = link_names(process);
    }
    /* All at once: a gate refuses clients by itself until it has whom to ask, and nobody
     * in here may wait for one who waits for another of us. */
    return err == AN_OK
               ? group_start(process->group, GROUP_ALL, process->why, process->why_len)
               : err;
}

static bool
process_free(struct process *process)
{
    bool ended = group_destroy(process->group);

    if (process->lock_fds != NULL) {
        unlink_names(process);
        for (unsigned i = 0; i < process->name_count; i++) {
            if (process->lock_fds[i] >= 0) {
                close(process->lock_fds[i]);
            }
        }
    }
    sodium_memzero(&process->keys, sizeof(process->keys));
    sodium_memzero(&process->app_keys, sizeof(process->app_keys));
    free(process->lock_fds);
    free(process->names);
    if (ended) {
        free(process); /* else it lends the runner its run directory's name */
    }
    return ended;
}

static struct process *
process_create(struct plan *plan, unsigned count)
{
    struct process *process = calloc(1, sizeof(*process));

    if (process == NULL || sodium_init() < 0) {
        free(process);
        return NULL;
    }
    process->plan = plan;
    process->names = calloc(count, sizeof(uint16_t));
    process->lock_fds = calloc(count, sizeof(int));
    if (process->names == NULL || process->lock_fds == NULL) {
        (void)process_free(process);
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        process->lock_fds[i] = -1;
    }
    return process;
}

enum an_err
process_start(struct process **out, struct plan *plan,
              const struct plan_actor *const *actors, unsigned actor_count, char *why,
              size_t why_len)
{
    struct process *process;
    enum an_err err;

    assert(actor_count > 0);
    snprintf(why, why_len, "out of memory");
    process = process_create(plan, actor_count);
    if (process == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    process->why = why;
    process->why_len = why_len;
    err = check_actors(process, actors, actor_count);
    if (err == AN_OK) {
        merge_places(process, actors, actor_count);
        err = start_all(process, actors, actor_count);
    }
    if (err != AN_OK) {
        if (!process_free(process)) {
            an_log(AN_LOG_ERROR, "run", "%s", why);
            _exit(an_err_exit_code(err));
        }
        return err;
    }
    *out = process;
    return AN_OK;
}

enum an_err
process_await(struct process *process, uint32_t timeout_ms, char *why, size_t why_len)
{
    return group_await(process->group, timeout_ms, why, why_len);
}

/* Adds a name unless it is there. */
static void
add_word(char *out, size_t len, const char *name)
{
    const char *found = strstr(out, name);
    size_t used = strlen(out);

    if (found != NULL && strchr(", ", found[strlen(name)]) != NULL) {
        return; /* also at the end: strchr finds the terminator */
    }
    snprintf(out + used, len - used, "%s%s", used == 0 ? "" : ", ", name);
}

static void
add_unreached(const struct process *process, const char *who, char *out, size_t len)
{
    char words[48], *text = NULL;
    json_t *root = NULL;
    const json_t *peer;
    size_t i;

    snprintf(words, sizeof(words), "%s peers", who);
    if (an_control_ask(&text, process->control, words, UNREACHED_MS) == AN_OK) {
        root = json_loads(text, 0, NULL);
    }
    json_array_foreach(json_object_get(root, "peers"), i, peer)
    {
        const char *name = json_string_value(json_object_get(peer, "to"));

        if (name != NULL && json_is_false(json_object_get(peer, "connected"))) {
            add_word(out, len, name);
        }
    }
    json_decref(root);
    free(text);
}

void
process_unreached(const struct process *process, char *out, size_t len)
{
    const char *who;

    out[0] = '\0';
    for (unsigned i = 0; (who = group_unready(process->group, i)) != NULL; i++) {
        add_unreached(process, who, out, len);
    }
}

const char *
process_name(const struct process *process)
{
    return name_of(process, 0);
}

const char *
process_address(const struct process *process, unsigned index)
{
    return group_address(process->group, index);
}

enum an_err
process_reload(struct process *process, char *why, size_t why_len)
{
    return group_reload(process->group, why, why_len);
}

bool
process_stop(struct process *process)
{
    if (process == NULL) {
        return true;
    }
    group_stop(process->group);
    return process_free(process);
}

void
process_control_url(const struct plan *plan, unsigned process, char *out, size_t len)
{
    char run_dir[RUN_DIR_MAX];

    plan_run_dir(plan, plan->processes[process].host, run_dir, sizeof(run_dir));
    snprintf(out, len, "ipc://%s/%s.control", run_dir, plan->processes[process].name);
}
