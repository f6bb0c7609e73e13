#include "core/arena.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MIN = 4096, BLOCK_KEEP_MAX = 65536, ALIGN = 16 };

struct an_arena_block {
    struct an_arena_block *next;
    size_t cap; /* bytes after this header */
};

static const size_t HEADER = (sizeof(struct an_arena_block) + ALIGN - 1) / ALIGN * ALIGN;

static void *
pb_alloc(void *arena, size_t len)
{
    return an_arena_alloc(arena, len);
}

static void
pb_free(void *arena, void *ptr)
{
    (void)arena;
    (void)ptr;
}

void
an_arena_init(struct an_arena *arena, size_t limit)
{
    *arena = (struct an_arena){.limit = limit};
    arena->pb = (ProtobufCAllocator){pb_alloc, pb_free, arena};
}

void
an_arena_fini(struct an_arena *arena)
{
    struct an_arena_block *block = arena->blocks;

    while (block != NULL) {
        struct an_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->blocks = NULL;
    arena->used = 0;
    arena->total = 0;
}

void
an_arena_reset(struct an_arena *arena)
{
    struct an_arena_block *keep = arena->blocks;

    arena->exhausted = false;
    if (keep != NULL && keep->next == NULL && keep->cap <= BLOCK_KEEP_MAX) {
        arena->used = 0;
        return;
    }
    an_arena_fini(arena);
}

/* A fresh block doubles the last one, so a large message costs few of them. */
static int
grow(struct an_arena *arena, size_t need)
{
    size_t cap = arena->blocks == NULL ? BLOCK_MIN : arena->blocks->cap * 2;
    struct an_arena_block *block;

    if (cap < need) {
        cap = need;
    }
    if (arena->total + cap > arena->limit) {
        cap = need;
    }
    if (need > arena->limit || arena->total > arena->limit - need) {
        return 0;
    }
    block = malloc(HEADER + cap);
    if (block == NULL) {
        return 0;
    }
    block->next = arena->blocks;
    block->cap = cap;
    arena->blocks = block;
    arena->used = 0;
    arena->total += cap;
    return 1;
}

void *
an_arena_alloc(struct an_arena *arena, size_t len)
{
    size_t need = (len + ALIGN - 1) / ALIGN * ALIGN;
    char *out;

    if (need < len) {
        arena->exhausted = true;
        return NULL; /* overflow: a length made up by a peer */
    }
    if (need == 0) {
        need = ALIGN;
    }
    if (arena->blocks == NULL || arena->blocks->cap - arena->used < need) {
        if (!grow(arena, need)) {
            arena->exhausted = true;
            return NULL;
        }
    }
    out = (char *)arena->blocks + HEADER + arena->used;
    arena->used += need;
    assert(arena->used <= arena->blocks->cap);
    return out;
}

void *
an_arena_calloc(struct an_arena *arena, size_t count, size_t size)
{
    void *out;

    if (size != 0 && count > SIZE_MAX / size) {
        arena->exhausted = true;
        return NULL;
    }
    out = an_arena_alloc(arena, count * size);
    if (out != NULL) {
        memset(out, 0, count * size);
    }
    return out;
}

void *
an_arena_dup(struct an_arena *arena, const void *data, size_t len)
{
    void *out = an_arena_alloc(arena, len);

    if (out != NULL && len > 0) {
        memcpy(out, data, len);
    }
    return out;
}

struct an_arena_mark
an_arena_mark(const struct an_arena *arena)
{
    return (struct an_arena_mark){arena->blocks, arena->used, arena->exhausted};
}

void
an_arena_rewind(struct an_arena *arena, struct an_arena_mark mark)
{
    while (arena->blocks != mark.blocks) {
        struct an_arena_block *newest = arena->blocks;

        arena->blocks = newest->next;
        arena->total -= newest->cap;
        free(newest);
    }
    arena->used = mark.used;
    arena->exhausted = mark.exhausted;
}

bool
an_arena_exhausted(const struct an_arena *arena)
{
    return arena->exhausted;
}

ProtobufCAllocator *
an_arena_pb(struct an_arena *arena)
{
    return &arena->pb;
}
