/* The disk of one store: store/files_sim.h behind a table of our own, which counts what
 * an operation costs, puts each into the trace hash, and notices when the power is gone
 * or the process already dead. */
#include "store/files_sim.h"
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    WRITE_US = 8,
    SYNC_US_MIN = 60,
    SYNC_US_MAX = 2500,
    CUT_OPS_MAX = 40, /* the power goes within so many changes */
};

struct sim_disk {
    struct store_files table; /* first */
    struct files_sim *under;
    struct sim *sim;
    unsigned actor;
    bool frozen;
};

struct disk_file {
    struct store_file base; /* first */
    struct store_file *under;
    bool log; /* of the log: what the bug lying-sync lies about */
};

static struct sim_disk *
disk_of(struct store_files *files)
{
    return (struct sim_disk *)files;
}

static struct disk_file *
file_of(struct store_file *file)
{
    return (struct disk_file *)file;
}

static bool
has_power(const struct sim_disk *disk)
{
    uint64_t changes;

    return files_sim_power(disk->under, &changes);
}

/* Notes one operation. false: the process is dead, nothing reaches the disk. */
static bool
note(struct sim_disk *disk, char op, uint64_t a, uint64_t b)
{
    if (disk->frozen) {
        return false;
    }
    sim_mix_u64(disk->sim, (uint64_t)(uint8_t)op << 56 ^ a << 24 ^ b);
    return true;
}

static enum an_err
after(struct sim_disk *disk, enum an_err err)
{
    if (err == AN_ERR_IO && !has_power(disk)) {
        disk->sim->counts[SIM_DISK_CUT] +=
            !disk->sim->process[disk->sim->actor[disk->actor].process].doomed;
        sim_trace(disk->sim, "the power is gone in the middle of a disk operation");
        sim_process_doom(disk->sim, disk->sim->actor[disk->actor].process, true);
    }
    disk->sim->counts[SIM_DISK_FULL] += err == AN_ERR_DISK_FULL;
    sim_mix_u64(disk->sim, err);
    return err;
}

static enum an_err
disk_open(struct store_files *files, const char *path, enum store_open how,
          struct store_file **out)
{
    struct sim_disk *disk = disk_of(files);
    struct store_files *under = files_sim_table(disk->under);
    struct disk_file *file;
    enum an_err err;

    if (!note(disk, 'o', strlen(path), how)) {
        return AN_ERR_IO;
    }
    file = sim_alloc(sizeof(*file));
    file->base.files = files;
    file->log = strstr(path, "/log/") != NULL;
    err = after(disk, under->ops->open(under, path, how, &file->under));
    if (err != AN_OK) {
        free(file);
        return err;
    }
    *out = &file->base;
    return AN_OK;
}

static void
disk_close(struct store_file *file)
{
    store_file_close(&file_of(file)->under);
    free(file);
}

static enum an_err
disk_read(struct store_file *file, uint64_t offset, void *buf, size_t len, size_t *got)
{
    struct sim_disk *disk = disk_of(file->files);

    if (!note(disk, 'r', offset, len)) {
        return AN_ERR_IO;
    }
    return after(disk, store_file_read(file_of(file)->under, offset, buf, len, got));
}

static enum an_err
disk_write(struct store_file *file, uint64_t offset, const void *buf, size_t len)
{
    struct sim_disk *disk = disk_of(file->files);

    if (!note(disk, 'w', offset, len)) {
        return AN_ERR_IO;
    }
    sim_mix(disk->sim, buf, len);
    disk->sim->actor[disk->actor].disk_us += WRITE_US;
    return after(disk, store_file_write(file_of(file)->under, offset, buf, len));
}

static enum an_err
disk_sync(struct store_file *file)
{
    struct sim_disk *disk = disk_of(file->files);
    enum an_err err;

    if (!note(disk, 's', 0, 0)) {
        return AN_ERR_IO;
    }
    disk->sim->actor[disk->actor].disk_us +=
        sim_between(disk->sim, SYNC_US_MIN, SYNC_US_MAX);
    if (disk->sim->options.bug == SIM_BUG_LYING_SYNC && file_of(file)->log &&
        an_rng_below(&disk->sim->rng, 2) == 0) {
        return AN_OK;
    }
    err = after(disk, store_file_sync(file_of(file)->under));
    if (err == AN_ERR_IO && has_power(disk)) {
        sim_trace(disk->sim, "a sync fails");
        disk->sim->counts[SIM_SYNC_FAIL]++;
    }
    return err;
}

static enum an_err
disk_preallocate(struct store_file *file, uint64_t len)
{
    struct sim_disk *disk = disk_of(file->files);
    struct store_file *under = file_of(file)->under;

    if (!note(disk, 'p', len, 0)) {
        return AN_ERR_IO;
    }
    return after(disk, under->files->ops->preallocate(under, len));
}

static enum an_err
disk_truncate(struct store_file *file, uint64_t len)
{
    struct sim_disk *disk = disk_of(file->files);
    struct store_file *under = file_of(file)->under;

    if (!note(disk, 't', len, 0)) {
        return AN_ERR_IO;
    }
    return after(disk, under->files->ops->truncate(under, len));
}

static enum an_err
disk_size(struct store_file *file, uint64_t *out)
{
    struct sim_disk *disk = disk_of(file->files);

    if (!note(disk, 'z', 0, 0)) {
        return AN_ERR_IO;
    }
    return after(disk, store_file_size(file_of(file)->under, out));
}

static enum an_err
disk_rename(struct store_files *files, const char *from, const char *to)
{
    struct sim_disk *disk = disk_of(files);
    struct store_files *under = files_sim_table(disk->under);

    if (!note(disk, 'm', strlen(from), strlen(to))) {
        return AN_ERR_IO;
    }
    return after(disk, under->ops->rename(under, from, to));
}

static enum an_err
disk_unlink(struct store_files *files, const char *path)
{
    struct sim_disk *disk = disk_of(files);
    struct store_files *under = files_sim_table(disk->under);

    if (!note(disk, 'u', strlen(path), 0)) {
        return AN_ERR_IO;
    }
    return after(disk, under->ops->unlink(under, path));
}

static enum an_err
disk_make_dir(struct store_files *files, const char *path)
{
    struct sim_disk *disk = disk_of(files);
    struct store_files *under = files_sim_table(disk->under);

    if (!note(disk, 'd', strlen(path), 0)) {
        return AN_ERR_IO;
    }
    return after(disk, under->ops->make_dir(under, path));
}

static enum an_err
disk_list(struct store_files *files, const char *path, store_list_fn *fn, void *ctx)
{
    struct sim_disk *disk = disk_of(files);
    struct store_files *under = files_sim_table(disk->under);

    if (!note(disk, 'l', strlen(path), 0)) {
        return AN_ERR_IO;
    }
    return after(disk, under->ops->list(under, path, fn, ctx));
}

static enum an_err
disk_sync_dir(struct store_files *files, const char *path)
{
    struct sim_disk *disk = disk_of(files);
    struct store_files *under = files_sim_table(disk->under);

    if (!note(disk, 'y', strlen(path), 0)) {
        return AN_ERR_IO;
    }
    disk->sim->actor[disk->actor].disk_us +=
        sim_between(disk->sim, SYNC_US_MIN, SYNC_US_MAX);
    return after(disk, under->ops->sync_dir(under, path));
}

static enum an_err
disk_lock(struct store_files *files, const char *path, bool create,
          struct store_file **out)
{
    struct sim_disk *disk = disk_of(files);
    struct store_files *under = files_sim_table(disk->under);
    struct disk_file *file;
    enum an_err err;

    if (!note(disk, 'k', strlen(path), create)) {
        return AN_ERR_IO;
    }
    file = sim_alloc(sizeof(*file));
    file->base.files = files;
    err = after(disk, under->ops->lock(under, path, create, &file->under));
    if (err != AN_OK) {
        free(file);
        return err;
    }
    *out = &file->base;
    return AN_OK;
}

static enum an_err
disk_random(struct store_files *files, void *buf, size_t len)
{
    struct sim_disk *disk = disk_of(files);
    uint8_t *out = buf;

    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)an_rng_next(&disk->sim->rng);
    }
    return AN_OK;
}

static uint64_t
disk_now_us(struct store_files *files)
{
    return disk_of(files)->sim->now_us;
}

static const struct store_files_ops ops = {
    .open = disk_open,
    .close = disk_close,
    .read = disk_read,
    .write = disk_write,
    .sync = disk_sync,
    .preallocate = disk_preallocate,
    .truncate = disk_truncate,
    .size = disk_size,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .make_dir = disk_make_dir,
    .list = disk_list,
    .sync_dir = disk_sync_dir,
    .lock = disk_lock,
    .random = disk_random,
    .now_us = disk_now_us,
};

/* ------------------------------------------------------------------ for hosts, faults */

struct sim_disk *
sim_disk_create(struct sim *sim, unsigned actor)
{
    struct sim_disk *disk = sim_alloc(sizeof(*disk));

    disk->table.ops = &ops;
    disk->sim = sim;
    disk->actor = actor;
    disk->under = files_sim_create(an_rng_next(&sim->rng));
    if (disk->under == NULL) {
        abort();
    }
    return disk;
}

void
sim_disk_destroy(struct sim_disk *disk)
{
    if (disk != NULL) {
        files_sim_destroy(disk->under);
        free(disk);
    }
}

struct store_files *
sim_disk_files(struct sim_disk *disk)
{
    return &disk->table;
}

void
sim_disk_freeze(struct sim_disk *disk)
{
    disk->frozen = true;
}

void
sim_disk_thaw(struct sim_disk *disk, bool power)
{
    disk->frozen = false;
    if (power || !has_power(disk)) {
        files_sim_crash(disk->under, an_rng_next(&disk->sim->rng));
    }
}

void
sim_disk_fail_sync(struct sim_disk *disk)
{
    files_sim_fail(disk->under, FILES_SIM_SYNC_FAILS, "", 1);
}

void
sim_disk_cut(struct sim_disk *disk)
{
    uint64_t at;

    files_sim_power(disk->under, &at);
    files_sim_cut_power(disk->under, at + sim_between(disk->sim, 1, CUT_OPS_MAX));
}

void
sim_disk_set_full(struct sim_disk *disk, bool full)
{
    files_sim_set_room(disk->under, full ? 1 : 0);
    if (full) {
        files_sim_fail(disk->under, FILES_SIM_WRITE_FULL, "",
                       (unsigned)sim_between(disk->sim, 0, 20));
    }
}

void
sim_disk_heal(struct sim_disk *disk)
{
    files_sim_set_room(disk->under, 0);
    files_sim_cut_power(disk->under, 0);
    files_sim_fail(disk->under, FILES_SIM_NONE, "", 0);
}
