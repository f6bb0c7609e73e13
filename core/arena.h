/* A bump allocator: many small allocations, one reset.
 *
 * Context: one thread at a time. Bounded: an arena never takes more than its limit from
 * the heap; at the limit an allocation returns NULL (protobuf-c then fails the unpack).
 */
#ifndef AN_CORE_ARENA_H
#define AN_CORE_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct an_arena_block;

/* Embedded; fields are private. */
struct an_arena {
    struct an_arena_block *blocks; /* newest first */
    size_t used;                   /* bytes of the newest block in use */
    size_t total;                  /* bytes of all blocks */
    size_t limit;
    bool exhausted; /* an allocation failed since the last reset */
    ProtobufCAllocator pb;
};

/* Takes no memory yet. limit: bytes of heap it may hold. The arena must not be moved
 * afterwards (pb points at it). */
void an_arena_init(struct an_arena *arena, size_t limit);
/* Frees every block. A zeroed arena is fine. */
void an_arena_fini(struct an_arena *arena);
/* Everything allocated is gone; keeps at most one small block for the next round. */
void an_arena_reset(struct an_arena *arena);
/* 16-byte aligned, not zeroed. NULL at the limit or without memory. */
void *an_arena_alloc(struct an_arena *arena, size_t len);
void *an_arena_calloc(struct an_arena *arena, size_t count, size_t size);
/* A copy of len bytes, or NULL. len 0 gives a valid pointer. */
void *an_arena_dup(struct an_arena *arena, const void *data, size_t len);
/* Where an arena stands: what is allocated after it can be taken back at once. */
struct an_arena_mark {
    struct an_arena_block *blocks;
    size_t used;
    bool exhausted;
};
struct an_arena_mark an_arena_mark(const struct an_arena *arena);
/* Everything allocated since the mark is gone; no reset may lie between. */
void an_arena_rewind(struct an_arena *arena, struct an_arena_mark mark);
/* Has an allocation failed since the arena was made or reset? It tells an unpack that
 * ran out of memory from one of damaged bytes. */
bool an_arena_exhausted(const struct an_arena *arena);
/* For protobuf-c's unpack; its free does nothing. Lives as long as the arena. */
ProtobufCAllocator *an_arena_pb(struct an_arena *arena);

#endif
