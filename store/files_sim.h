/* A simulated disk behind the file table: it forgets what was not synced, tears writes,
 * fails syncs and runs full, all from one seed. For tests and the cluster simulator.
 *
 * What survives a crash: everything synced; of each later write, in the order they were
 * made, nothing, all, some of its 512-byte sectors, or its first so many bytes; of the
 * names created, renamed and removed since their directory was synced, the first so many.
 * Each choice is drawn from the crash's seed. Files open at a crash answer AN_ERR_IO from
 * then on and must still be closed; locks are gone.
 *
 * Context: any thread, one call at a time inside (a lock). Directories exist by
 * themselves. */
#ifndef AN_STORE_FILES_SIM_H
#define AN_STORE_FILES_SIM_H

#include "store/files.h"

struct files_sim;

/* NULL without memory. */
struct files_sim *files_sim_create(uint64_t seed);
/* Every file must have been closed. NULL is fine. */
void files_sim_destroy(struct files_sim *sim);
/* The table to hand to an engine; lives as long as the disk. */
struct store_files *files_sim_table(struct files_sim *sim);

/* The power went: only what survives is left, and the power is back. */
void files_sim_crash(struct files_sim *sim, uint64_t seed);
/* The power goes with changing operation number `op` (files_sim_power counts them): it
 * fails with AN_ERR_IO, done in part or not at all, and so does all that follows, until
 * files_sim_crash. 0: not any more. */
void files_sim_cut_power(struct files_sim *sim, uint64_t op);
/* Is it on? Also says how many changing operations there have been. */
bool files_sim_power(struct files_sim *sim, uint64_t *ops);

enum files_sim_fault {
    FILES_SIM_NONE,
    FILES_SIM_SYNC_FAILS,   /* AN_ERR_IO; what was to be synced stays unsynced */
    FILES_SIM_WRITE_FULL,   /* AN_ERR_DISK_FULL after part of the write was made */
    FILES_SIM_WRITE_FAILS,  /* AN_ERR_IO after all of the write was made */
    FILES_SIM_RENAME_FAILS, /* AN_ERR_IO, not renamed */
    FILES_SIM_DIR_BUSY,     /* a directory is not synced for want of descriptors */
};
/* The fault befalls the next `count` operations of its kind on paths that contain
 * `part`. */
void files_sim_fail(struct files_sim *sim, enum files_sim_fault fault, const char *part,
                    unsigned count);
/* Bytes that all files together may have; preallocated ones count. 0: no bound. */
void files_sim_set_room(struct files_sim *sim, uint64_t bytes);
/* Flips one bit of what lies on the disk; false if the file has no such byte. */
bool files_sim_flip(struct files_sim *sim, const char *path, uint64_t offset,
                    unsigned bit);
/* Cuts a file out of the directory as if it had never been; false if there is none. */
bool files_sim_lose(struct files_sim *sim, const char *path);
/* What the counters' clock says; it stands still otherwise. */
void files_sim_set_now_us(struct files_sim *sim, uint64_t now_us);

#endif
