/* The file table over the simulated disk, and the controls tests have. */
#include "store/files_sim_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_file {
    struct store_file file;
    struct files_sim *sim;
    struct node *node;
    char *path;
    uint64_t incarnation;
    bool holds_lock;
};

static uint64_t
room_used(const struct files_sim *sim)
{
    uint64_t used = 0;

    for (size_t i = 0; i < sim->now.count; i++) {
        used += sim->now.items[i].node->now.len;
    }
    return used;
}

static bool
room_for(const struct files_sim *sim, const struct node *node, uint64_t len)
{
    return sim->room == 0 || len <= node->now.len ||
           room_used(sim) + (len - node->now.len) <= sim->room;
}

static bool
fault_strikes(struct files_sim *sim, enum files_sim_fault fault, const char *path)
{
    if (sim->fault != fault || sim->fault_count == 0 ||
        strstr(path, sim->fault_part) == NULL) {
        return false;
    }
    sim->fault_count--;
    return true;
}

/* Enters an operation, one that changes something or not. */
static void
enter(struct files_sim *sim, bool changes)
{
    pthread_mutex_lock(&sim->lock);
    sim->op += changes;
}

static bool
is_off(const struct files_sim *sim)
{
    return sim->op_cut != 0 && sim->op > sim->op_cut;
}

static enum an_err
leave(struct files_sim *sim, enum an_err err)
{
    pthread_mutex_unlock(&sim->lock);
    return err;
}

static struct files_sim *
sim_of(struct store_files *files)
{
    return (struct files_sim *)(void *)files;
}

static struct sim_file *
file_of(struct store_file *file)
{
    return (struct sim_file *)(void *)file;
}

static bool
is_dead(const struct sim_file *file)
{
    return file->incarnation != file->sim->incarnation || is_off(file->sim);
}

static void
file_create(struct files_sim *sim, struct node *node, const char *path, bool holds_lock,
            struct store_file **out)
{
    struct sim_file *file = sim_need(calloc(1, sizeof *file));
    *file = (struct sim_file){.file = {.files = &sim->files},
                              .sim = sim,
                              .node = node,
                              .path = sim_need(strdup(path)),
                              .incarnation = sim->incarnation,
                              .holds_lock = holds_lock};
    sim->open_files++;
    *out = &file->file;
}

static enum an_err
sim_open(struct store_files *files, const char *path, enum store_open how,
         struct store_file **out)
{
    struct files_sim *sim = sim_of(files);

    enter(sim, how == STORE_OPEN_CREATE);
    if (is_off(sim)) {
        return leave(sim, AN_ERR_IO);
    }
    struct node **found = sim_names_find(&sim->now, path);
    if (found == NULL && how != STORE_OPEN_CREATE) {
        return leave(sim, AN_ERR_NOT_FOUND);
    }
    struct node *node = found != NULL ? *found : sim_node_create(sim);
    if (found == NULL) {
        sim_name_changed(sim, NULL, path, node);
    } else if (how == STORE_OPEN_CREATE) {
        sim_node_change(node, 0, NULL, 0);
    }
    file_create(sim, node, path, false, out);
    return leave(sim, AN_OK);
}

static void
sim_close(struct store_file *store_file)
{
    struct sim_file *file = file_of(store_file);
    struct files_sim *sim = file->sim;

    enter(sim, false);
    if (file->holds_lock && file->incarnation == sim->incarnation) {
        file->node->locked = false;
    }
    sim->open_files--;
    leave(sim, AN_OK);
    free(file->path);
    free(file);
}

static enum an_err
sim_read(struct store_file *store_file, uint64_t offset, void *buf, size_t len,
         size_t *got)
{
    struct sim_file *file = file_of(store_file);

    enter(file->sim, false);
    if (is_dead(file)) {
        return leave(file->sim, AN_ERR_IO);
    }
    const struct bytes *now = &file->node->now;
    uint64_t rest = offset < now->len ? now->len - offset : 0;
    *got = len < rest ? len : (size_t)rest;
    if (*got > 0) {
        sim_bytes_read(now, offset, buf, *got);
    }
    return leave(file->sim, AN_OK);
}

static enum an_err
sim_write(struct store_file *store_file, uint64_t offset, const void *buf, size_t len)
{
    struct sim_file *file = file_of(store_file);
    struct files_sim *sim = file->sim;

    enter(sim, true);
    if (is_dead(file)) {
        return leave(sim, AN_ERR_IO);
    }
    if (!room_for(sim, file->node, offset + len)) {
        return leave(sim, AN_ERR_DISK_FULL);
    }
    if (fault_strikes(sim, FILES_SIM_WRITE_FULL, file->path)) {
        sim_node_change(file->node, offset, buf, sim_draw(&sim->random) % (len + 1));
        return leave(sim, AN_ERR_DISK_FULL);
    }
    sim_node_change(file->node, offset, buf, len);
    bool fails =
        fault_strikes(sim, FILES_SIM_WRITE_FAILS, file->path) || sim->op == sim->op_cut;
    return leave(sim, fails ? AN_ERR_IO : AN_OK);
}

static enum an_err
sim_sync(struct store_file *store_file)
{
    struct sim_file *file = file_of(store_file);

    enter(file->sim, true);
    /* The power going during a sync may leave any part of it done: as if not begun. */
    if (is_dead(file) || file->sim->op == file->sim->op_cut ||
        fault_strikes(file->sim, FILES_SIM_SYNC_FAILS, file->path)) {
        return leave(file->sim, AN_ERR_IO);
    }
    for (size_t i = 0; i < file->node->change_count; i++) {
        sim_changes_make(&file->node->synced, &file->node->changes[i]);
    }
    sim_changes_clear(file->node);
    return leave(file->sim, AN_OK);
}

static enum an_err
sim_preallocate(struct store_file *store_file, uint64_t len)
{
    struct sim_file *file = file_of(store_file);

    enter(file->sim, true);
    if (is_dead(file)) {
        return leave(file->sim, AN_ERR_IO);
    }
    if (!room_for(file->sim, file->node, len)) {
        return leave(file->sim, AN_ERR_DISK_FULL);
    }
    if (len > file->node->now.len) {
        sim_node_change(file->node, 0, NULL, len);
    }
    return leave(file->sim, AN_OK);
}

static enum an_err
sim_truncate(struct store_file *store_file, uint64_t len)
{
    struct sim_file *file = file_of(store_file);

    enter(file->sim, true);
    if (is_dead(file)) {
        return leave(file->sim, AN_ERR_IO);
    }
    sim_node_change(file->node, 0, NULL, len);
    return leave(file->sim, AN_OK);
}

static enum an_err
sim_size(struct store_file *store_file, uint64_t *out)
{
    struct sim_file *file = file_of(store_file);

    enter(file->sim, false);
    if (is_dead(file)) {
        return leave(file->sim, AN_ERR_IO);
    }
    *out = file->node->now.len;
    return leave(file->sim, AN_OK);
}

static enum an_err
sim_rename(struct store_files *files, const char *from, const char *to)
{
    struct files_sim *sim = sim_of(files);

    enter(sim, true);
    if (is_off(sim)) {
        return leave(sim, AN_ERR_IO);
    }
    struct node **found = sim_names_find(&sim->now, from);
    if (found == NULL) {
        return leave(sim, AN_ERR_NOT_FOUND);
    }
    if (fault_strikes(sim, FILES_SIM_RENAME_FAILS, from)) {
        return leave(sim, AN_ERR_IO);
    }
    sim_name_changed(sim, from, to, *found);
    return leave(sim, AN_OK);
}

static enum an_err
sim_unlink(struct store_files *files, const char *path)
{
    struct files_sim *sim = sim_of(files);

    enter(sim, true);
    if (is_off(sim)) {
        return leave(sim, AN_ERR_IO);
    }
    struct node **found = sim_names_find(&sim->now, path);
    if (found == NULL) {
        return leave(sim, AN_ERR_NOT_FOUND);
    }
    sim_name_changed(sim, path, NULL, *found);
    return leave(sim, AN_OK);
}

static enum an_err
sim_make_dir(struct store_files *files, const char *path)
{
    (void)files;
    (void)path;
    return AN_OK;
}

static const char *
name_inside(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    bool inside = strncmp(path, dir, len) == 0 && path[len] == '/' &&
                  strchr(path + len + 1, '/') == NULL;
    return inside ? path + len + 1 : NULL;
}

static enum an_err
sim_list(struct store_files *files, const char *path, store_list_fn *fn, void *ctx)
{
    struct files_sim *sim = sim_of(files);

    /* The callback may change the directory: it is given a copy's names. */
    enter(sim, false);
    size_t count = sim->now.count;
    char **names = sim_need(calloc(count + 1, sizeof *names));
    for (size_t i = 0; i < count; i++) {
        const char *name = name_inside(sim->now.items[i].path, path);
        names[i] = name != NULL ? sim_need(strdup(name)) : NULL;
    }
    leave(sim, AN_OK);
    for (size_t i = 0; i < count; i++) {
        if (names[i] != NULL) {
            fn(ctx, names[i]);
        }
        free(names[i]);
    }
    free(names);
    return AN_OK;
}

static bool
change_inside(const struct name_change *change, const char *dir)
{
    return name_inside(change->to != NULL ? change->to : change->from, dir) != NULL;
}

static enum an_err
sim_sync_dir(struct store_files *files, const char *path)
{
    struct files_sim *sim = sim_of(files);
    size_t kept = 0;

    enter(sim, true);
    if (is_off(sim) || sim->op == sim->op_cut ||
        fault_strikes(sim, FILES_SIM_SYNC_FAILS, path)) {
        return leave(sim, AN_ERR_IO);
    }
    if (fault_strikes(sim, FILES_SIM_DIR_BUSY, path)) {
        return leave(sim, AN_ERR_FULL);
    }
    for (size_t i = 0; i < sim->change_count; i++) {
        struct name_change change = sim->changes[i];
        if (!change_inside(&change, path)) {
            sim->changes[kept++] = change;
            continue;
        }
        sim_names_apply(&sim->synced, &change);
        free(change.from);
        free(change.to);
    }
    sim->change_count = kept;
    return leave(sim, AN_OK);
}

static enum an_err
sim_lock(struct store_files *files, const char *path, bool create,
         struct store_file **out)
{
    struct files_sim *sim = sim_of(files);

    enter(sim, true);
    if (is_off(sim)) {
        return leave(sim, AN_ERR_IO);
    }
    struct node **found = sim_names_find(&sim->now, path);
    if (found == NULL && !create) {
        return leave(sim, AN_ERR_NOT_FOUND);
    }
    struct node *node = found != NULL ? *found : sim_node_create(sim);
    if (found == NULL) {
        sim_name_changed(sim, NULL, path, node);
    }
    if (node->locked) {
        return leave(sim, AN_ERR_LOCKED);
    }
    node->locked = true;
    file_create(sim, node, path, true, out);
    return leave(sim, AN_OK);
}

static enum an_err
sim_random(struct store_files *files, void *buf, size_t len)
{
    struct files_sim *sim = sim_of(files);

    enter(sim, false);
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)buf)[i] = (uint8_t)sim_draw(&sim->random);
    }
    return leave(sim, AN_OK);
}

static uint64_t
sim_now_us(struct store_files *files)
{
    struct files_sim *sim = sim_of(files);

    enter(sim, false);
    uint64_t now_us = sim->now_us;
    leave(sim, AN_OK);
    return now_us;
}

static const struct store_files_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .preallocate = sim_preallocate,
    .truncate = sim_truncate,
    .size = sim_size,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .make_dir = sim_make_dir,
    .list = sim_list,
    .sync_dir = sim_sync_dir,
    .lock = sim_lock,
    .random = sim_random,
    .now_us = sim_now_us,
};

struct files_sim *
files_sim_create(uint64_t seed)
{
    struct files_sim *sim = calloc(1, sizeof *sim);
    if (sim != NULL) {
        sim->files.ops = &sim_ops;
        sim->random = seed;
        pthread_mutex_init(&sim->lock, NULL);
    }
    return sim;
}

static void
name_changes_clear(struct files_sim *sim)
{
    for (size_t i = 0; i < sim->change_count; i++) {
        free(sim->changes[i].from);
        free(sim->changes[i].to);
    }
    sim->change_count = 0;
}

void
files_sim_destroy(struct files_sim *sim)
{
    if (sim == NULL) {
        return;
    }
    assert(sim->open_files == 0);
    while (sim->nodes != NULL) {
        struct node *node = sim->nodes;
        sim->nodes = node->next;
        sim_changes_clear(node);
        free(node->changes);
        sim_bytes_fini(&node->now);
        sim_bytes_fini(&node->synced);
        free(node);
    }
    name_changes_clear(sim);
    free(sim->changes);
    sim_names_clear(&sim->now);
    sim_names_clear(&sim->synced);
    pthread_mutex_destroy(&sim->lock);
    free(sim);
}

struct store_files *
files_sim_table(struct files_sim *sim)
{
    return &sim->files;
}

/* Another disk, as this one will be after the crash. */
static struct files_sim *
after_crash(struct files_sim *sim, uint64_t seed)
{
    struct files_sim *after = sim_need(files_sim_create(seed));
    uint64_t random = seed;
    struct names names = {0};

    for (size_t i = 0; i < sim->synced.count; i++) {
        sim_names_set(&names, sim->synced.items[i].path, sim->synced.items[i].node);
    }
    size_t survive = sim_draw(&random) % (sim->change_count + 1);
    for (size_t i = 0; i < survive; i++) {
        sim_names_apply(&names, &sim->changes[i]);
    }
    for (size_t i = 0; i < names.count; i++) {
        struct node *node = sim_node_create(after);
        sim_node_survive(names.items[i].node, &node->synced, &random);
        sim_bytes_copy(&node->now, &node->synced);
        sim_names_set(&after->now, names.items[i].path, node);
        sim_names_set(&after->synced, names.items[i].path, node);
    }
    after->random = sim_draw(&random);
    sim_names_clear(&names);
    return after;
}

void
files_sim_crash(struct files_sim *sim, uint64_t seed)
{
    enter(sim, false);
    struct files_sim *after = after_crash(sim, seed);
    /* The two disks change places, and the old contents go. */
    struct files_sim old = *sim;
    sim->nodes = after->nodes;
    sim->now = after->now;
    sim->synced = after->synced;
    sim->changes = after->changes;
    sim->change_count = after->change_count;
    sim->change_room = after->change_room;
    sim->random = after->random;
    sim->incarnation++;
    sim->fault = FILES_SIM_NONE;
    sim->op_cut = 0;
    after->nodes = old.nodes;
    after->now = old.now;
    after->synced = old.synced;
    after->changes = old.changes;
    after->change_count = old.change_count;
    after->change_room = old.change_room;
    files_sim_destroy(after); /* its pages are still shared */
    leave(sim, AN_OK);
}

void
files_sim_cut_power(struct files_sim *sim, uint64_t op)
{
    enter(sim, false);
    sim->op_cut = op;
    leave(sim, AN_OK);
}

bool
files_sim_power(struct files_sim *sim, uint64_t *ops)
{
    enter(sim, false);
    *ops = sim->op;
    bool on = sim->op_cut == 0 || sim->op < sim->op_cut;
    leave(sim, AN_OK);
    return on;
}

void
files_sim_fail(struct files_sim *sim, enum files_sim_fault fault, const char *part,
               unsigned count)
{
    enter(sim, false);
    sim->fault = fault;
    snprintf(sim->fault_part, sizeof sim->fault_part, "%s", part);
    sim->fault_count = count;
    leave(sim, AN_OK);
}

void
files_sim_set_room(struct files_sim *sim, uint64_t bytes)
{
    enter(sim, false);
    sim->room = bytes;
    leave(sim, AN_OK);
}

static void
flip(struct bytes *bytes, uint64_t offset, unsigned bit)
{
    uint8_t byte;

    if (offset < bytes->len) {
        sim_bytes_read(bytes, offset, &byte, 1);
        byte ^= (uint8_t)(1u << bit);
        sim_bytes_write(bytes, offset, &byte, 1);
    }
}

bool
files_sim_flip(struct files_sim *sim, const char *path, uint64_t offset, unsigned bit)
{
    enter(sim, false);
    struct node **found = sim_names_find(&sim->now, path);
    bool there = found != NULL && offset < (*found)->now.len;
    if (there) {
        flip(&(*found)->now, offset, bit);
        flip(&(*found)->synced, offset, bit);
    }
    leave(sim, AN_OK);
    return there;
}

bool
files_sim_lose(struct files_sim *sim, const char *path)
{
    enter(sim, false);
    bool there = sim_names_find(&sim->now, path) != NULL;
    sim_names_remove(&sim->now, path);
    sim_names_remove(&sim->synced, path);
    leave(sim, AN_OK);
    return there;
}

void
files_sim_set_now_us(struct files_sim *sim, uint64_t now_us)
{
    enter(sim, false);
    sim->now_us = now_us;
    leave(sim, AN_OK);
}
