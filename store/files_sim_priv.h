/* Inside of the simulated disk: its contents (files_sim_disk.c) under the file table
 * (files_sim.c). A file is its content now, its content as of the last sync, and the
 * changes between the two; the directory likewise. */
#ifndef AN_STORE_FILES_SIM_PRIV_H
#define AN_STORE_FILES_SIM_PRIV_H

#include "store/files_sim.h"
#include <pthread.h>

/* A file's bytes in pages, which copies share until one of them is written. Most of a
 * log segment is zeros: a page that nobody wrote is not there. */
struct page;
struct bytes {
    struct page **pages; /* NULL: zeros */
    size_t page_room;
    uint64_t len;
};

/* A write, or with data NULL a new length. */
struct change {
    uint64_t offset;
    uint64_t len;
    uint8_t *data;
};

/* A file's content, whatever its name is. */
struct node {
    struct node *next; /* of all nodes */
    struct bytes now;
    struct bytes synced;
    struct change *changes;
    size_t change_count, change_room;
    bool locked;
};

struct name {
    char *path;
    struct node *node;
};

struct names {
    struct name *items;
    size_t count, room;
};

/* path NULL in `from`: created; in `to`: removed; both: renamed. */
struct name_change {
    char *from;
    char *to;
    struct node *node;
};

struct files_sim {
    struct store_files files; /* first: the table points here */
    pthread_mutex_t lock;
    struct node *nodes;
    struct names now;
    struct names synced;
    struct name_change *changes;
    size_t change_count, change_room;
    uint64_t random;
    uint64_t incarnation;
    uint64_t op;
    uint64_t op_cut; /* the power goes with this operation; 0: it stays */
    enum files_sim_fault fault;
    char fault_part[64];
    unsigned fault_count;
    uint64_t room;
    uint64_t now_us;
    size_t open_files;
};

/* Running out of memory is not among the faults simulated: asserts instead. */
void *sim_need(void *memory);
/* The next number of a seeded sequence. */
uint64_t sim_draw(uint64_t *random);

/* Makes *to a copy; its old content goes. */
void sim_bytes_copy(struct bytes *to, const struct bytes *from);
void sim_bytes_fini(struct bytes *bytes);
/* len bytes, all of them within the file. */
void sim_bytes_read(const struct bytes *bytes, uint64_t offset, void *out, size_t len);
void sim_bytes_write(struct bytes *bytes, uint64_t offset, const uint8_t *data,
                     uint64_t len);

/* NULL if there is no such name. */
struct node **sim_names_find(struct names *names, const char *path);
void sim_names_set(struct names *names, const char *path, struct node *node);
void sim_names_remove(struct names *names, const char *path);
void sim_names_clear(struct names *names);
void sim_names_apply(struct names *names, const struct name_change *change);
/* Changes the directory as it is now and remembers the change until a sync. */
void sim_name_changed(struct files_sim *sim, const char *from, const char *to,
                      struct node *node);

/* An empty file without a name; the disk owns it. */
struct node *sim_node_create(struct files_sim *sim);
/* Changes the content as it is now and remembers it. data NULL: a new length. */
void sim_node_change(struct node *node, uint64_t offset, const void *data, uint64_t len);
/* The content after a crash. */
void sim_node_survive(const struct node *node, struct bytes *out, uint64_t *random);
void sim_changes_make(struct bytes *bytes, const struct change *change);
void sim_changes_clear(struct node *node);

#endif
