/* What lies on the simulated disk, and what of it survives a crash. */
#include "store/files_sim_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_LEN 512u
#define PAGE_LEN   4096u

void *
sim_need(void *memory)
{
    assert(memory != NULL);
    return memory;
}

uint64_t
sim_draw(uint64_t *random)
{
    uint64_t z = (*random += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ------------------------------------------------------------------ bytes */

struct page {
    unsigned refs; /* files that hold it; all of one disk, which is locked */
    uint8_t data[PAGE_LEN];
};

static size_t
pages_of(uint64_t len)
{
    return (size_t)((len + PAGE_LEN - 1) / PAGE_LEN);
}

static void
page_drop(struct page **at)
{
    if (*at != NULL && --(*at)->refs == 0) {
        free(*at);
    }
    *at = NULL;
}

/* The page, this file's alone. */
static struct page *
page_own(struct page **at)
{
    struct page *own = *at;

    if (own != NULL && own->refs == 1) {
        return own;
    }
    own = sim_need(*at == NULL ? calloc(1, sizeof *own) : malloc(sizeof *own));
    if (*at != NULL) {
        memcpy(own->data, (*at)->data, PAGE_LEN);
        page_drop(at);
    }
    own->refs = 1;
    *at = own;
    return own;
}

/* What is cut off is zeros when the file grows again. */
static void
bytes_resize(struct bytes *bytes, uint64_t len)
{
    size_t count = pages_of(len);

    for (size_t i = count; i < pages_of(bytes->len); i++) {
        page_drop(&bytes->pages[i]);
    }
    if (len < bytes->len && len % PAGE_LEN != 0 && bytes->pages[count - 1] != NULL) {
        memset(page_own(&bytes->pages[count - 1])->data + len % PAGE_LEN, 0,
               PAGE_LEN - len % PAGE_LEN);
    }
    if (count > bytes->page_room) {
        bytes->pages = sim_need(realloc(bytes->pages, count * sizeof(struct page *)));
        memset(bytes->pages + bytes->page_room, 0,
               (count - bytes->page_room) * sizeof(struct page *));
        bytes->page_room = count;
    }
    bytes->len = len;
}

static bool
all_zero(const uint8_t *data, size_t len)
{
    return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

void
sim_bytes_write(struct bytes *bytes, uint64_t offset, const uint8_t *data, uint64_t len)
{
    uint64_t end = offset + len;

    if (end > bytes->len) {
        bytes_resize(bytes, end);
    }
    while (offset < end) {
        struct page **page = &bytes->pages[offset / PAGE_LEN];
        size_t at = (size_t)(offset % PAGE_LEN);
        size_t part =
            end - offset < PAGE_LEN - at ? (size_t)(end - offset) : PAGE_LEN - at;

        if (*page != NULL || !all_zero(data, part)) {
            memcpy(page_own(page)->data + at, data, part);
        }
        offset += part;
        data += part;
    }
}

void
sim_bytes_read(const struct bytes *bytes, uint64_t offset, void *out, size_t len)
{
    uint8_t *to = out;

    assert(offset + len <= bytes->len);
    while (len > 0) {
        const struct page *page = bytes->pages[offset / PAGE_LEN];
        size_t at = (size_t)(offset % PAGE_LEN);
        size_t part = len < PAGE_LEN - at ? len : PAGE_LEN - at;

        if (page == NULL) {
            memset(to, 0, part);
        } else {
            memcpy(to, page->data + at, part);
        }
        offset += part;
        to += part;
        len -= part;
    }
}

void
sim_bytes_fini(struct bytes *bytes)
{
    bytes_resize(bytes, 0);
    free(bytes->pages);
    *bytes = (struct bytes){0};
}

void
sim_bytes_copy(struct bytes *to, const struct bytes *from)
{
    bytes_resize(to, 0);
    bytes_resize(to, from->len);
    for (size_t i = 0; i < pages_of(from->len); i++) {
        to->pages[i] = from->pages[i];
        if (to->pages[i] != NULL) {
            to->pages[i]->refs++;
        }
    }
}

/* ------------------------------------------------------------------ names */

struct node **
sim_names_find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].path, path) == 0) {
            return &names->items[i].node;
        }
    }
    return NULL;
}

void
sim_names_remove(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].path, path) == 0) {
            free(names->items[i].path);
            names->items[i] = names->items[--names->count];
            return;
        }
    }
}

void
sim_names_set(struct names *names, const char *path, struct node *node)
{
    struct node **found = sim_names_find(names, path);
    if (found != NULL) {
        *found = node;
        return;
    }
    if (names->count == names->room) {
        names->room = names->room * 2 + 8;
        names->items =
            sim_need(realloc(names->items, names->room * sizeof *names->items));
    }
    names->items[names->count++] = (struct name){sim_need(strdup(path)), node};
}

void
sim_names_clear(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i].path);
    }
    free(names->items);
    *names = (struct names){0};
}

void
sim_names_apply(struct names *names, const struct name_change *change)
{
    if (change->from != NULL) {
        sim_names_remove(names, change->from);
    }
    if (change->to != NULL) {
        sim_names_set(names, change->to, change->node);
    }
}

void
sim_name_changed(struct files_sim *sim, const char *from, const char *to,
                 struct node *node)
{
    if (sim->change_count == sim->change_room) {
        sim->change_room = sim->change_room * 2 + 8;
        sim->changes =
            sim_need(realloc(sim->changes, sim->change_room * sizeof *sim->changes));
    }
    struct name_change change = {.from = from != NULL ? sim_need(strdup(from)) : NULL,
                                 .to = to != NULL ? sim_need(strdup(to)) : NULL,
                                 .node = node};
    sim->changes[sim->change_count++] = change;
    sim_names_apply(&sim->now, &change);
}

/* ------------------------------------------------------------------ files */

struct node *
sim_node_create(struct files_sim *sim)
{
    struct node *node = sim_need(calloc(1, sizeof *node));
    node->next = sim->nodes;
    sim->nodes = node;
    return node;
}

void
sim_changes_clear(struct node *node)
{
    for (size_t i = 0; i < node->change_count; i++) {
        free(node->changes[i].data);
    }
    node->change_count = 0;
}

/* data NULL: a new length. */
void
sim_node_change(struct node *node, uint64_t offset, const void *data, uint64_t len)
{
    if (node->change_count == node->change_room) {
        node->change_room = node->change_room * 2 + 8;
        node->changes =
            sim_need(realloc(node->changes, node->change_room * sizeof *node->changes));
    }
    struct change change = {.offset = offset, .len = len};
    if (data == NULL) {
        bytes_resize(&node->now, len);
    } else {
        change.data = sim_need(malloc(len + 1));
        memcpy(change.data, data, len);
        sim_bytes_write(&node->now, offset, data, len);
    }
    node->changes[node->change_count++] = change;
}

void
sim_changes_make(struct bytes *bytes, const struct change *change)
{
    if (change->data == NULL) {
        bytes_resize(bytes, change->len);
    } else {
        sim_bytes_write(bytes, change->offset, change->data, change->len);
    }
}

/* Some of the write's sectors reached the disk. Its length did. */
static void
write_sectors(struct bytes *bytes, const struct change *change, uint64_t *random)
{
    uint64_t end = change->offset + change->len;

    if (end > bytes->len) {
        bytes_resize(bytes, end);
    }
    for (uint64_t at = change->offset; at < end;) {
        uint64_t next = (at / SECTOR_LEN + 1) * SECTOR_LEN;
        next = next < end ? next : end;
        if (sim_draw(random) % 2 == 0) {
            sim_bytes_write(bytes, at, change->data + (at - change->offset), next - at);
        }
        at = next;
    }
}

/* The content after a crash, in place of what was synced. */
void
sim_node_survive(const struct node *node, struct bytes *out, uint64_t *random)
{
    sim_bytes_copy(out, &node->synced);
    for (size_t i = 0; i < node->change_count; i++) {
        const struct change *change = &node->changes[i];
        struct change part = *change;
        switch (sim_draw(random) % 4) {
        case 0:
            break;
        case 1:
            sim_changes_make(out, change);
            break;
        case 2:
            if (change->data != NULL) {
                write_sectors(out, change, random);
            }
            break;
        case 3:
            if (change->data != NULL && change->len > 0) {
                part.len = sim_draw(random) % change->len;
                sim_changes_make(out, &part);
            }
            break;
        }
    }
}
