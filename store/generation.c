/* A skip list over an arena. See generation.h for who may call what.
 *
 * A node holds the first 16 bytes of its key as two numbers, because most comparisons
 * end there and following the pointer to the key would miss the cache. Every put or
 * delete is a node of its own, ordered by key and then newest first: that is what lets
 * readers walk while the writer adds. */
#include "store/generation.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HEIGHT_MAX     12 /* 4^12 rows, far over the overlay's bound */
#define CHUNK_LEN      (256u * 1024u)
#define VERSION_NEWEST UINT64_MAX /* sorts before every version of a key */

struct generation_node {
    uint64_t prefix[2]; /* the key's first 16 bytes, big-endian, zero padded */
    const uint8_t *row; /* as record_put_row wrote it */
    uint64_t version;
    struct generation_node *prepared; /* until commit: the next one to link */
    uint32_t height;
    _Atomic(struct generation_node *) next[];
};

/* Arena: newest chunk first. */
struct chunk {
    struct chunk *older;
    size_t size;
    size_t used;
    _Alignas(16) uint8_t data[];
};

struct mark {
    struct chunk *chunk;
    size_t used;
    size_t bytes;
};

struct generation {
    struct chunk *chunks;
    struct generation_node *head; /* of height HEIGHT_MAX, no row */
    struct generation_node *prepared_first;
    struct generation_node *prepared_last;
    struct mark mark; /* where reserve began */
    bool reserved;
    uint32_t refs;
    size_t rows;
    size_t prepared_rows;
    size_t bytes;
    uint64_t version; /* of the newest linked row */
    uint64_t position;
    uint64_t random;
};

static void *
arena_alloc(struct generation *g, size_t len)
{
    struct chunk *chunk = g->chunks;

    len = (len + 7) & ~(size_t)7;
    if (chunk == NULL || chunk->size - chunk->used < len) {
        size_t size = len > CHUNK_LEN ? len : CHUNK_LEN;
        struct chunk *fresh = malloc(sizeof *fresh + size);
        if (fresh == NULL) {
            return NULL;
        }
        fresh->older = chunk;
        fresh->size = size;
        fresh->used = 0;
        g->chunks = chunk = fresh;
    }
    void *out = chunk->data + chunk->used;
    chunk->used += len;
    g->bytes += len;
    return out;
}

static void
arena_cut(struct generation *g, struct mark mark)
{
    while (g->chunks != mark.chunk) {
        struct chunk *older = g->chunks->older;
        free(g->chunks);
        g->chunks = older;
    }
    if (g->chunks != NULL) {
        g->chunks->used = mark.used;
    }
    g->bytes = mark.bytes;
}

static struct generation_node *
node_alloc(struct generation *g, uint32_t height)
{
    struct generation_node *node =
        arena_alloc(g, sizeof *node + height * sizeof node->next[0]);
    if (node != NULL) {
        node->prepared = NULL;
        node->height = height;
        for (uint32_t i = 0; i < height; i++) {
            atomic_init(&node->next[i], NULL);
        }
    }
    return node;
}

struct generation *
generation_create(void)
{
    struct generation *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return NULL;
    }
    g->refs = 1;
    g->random = 0x9e3779b97f4a7c15u; /* any odd number: heights need no secret */
    g->head = node_alloc(g, HEIGHT_MAX);
    if (g->head == NULL) {
        free(g);
        return NULL;
    }
    return g;
}

struct generation *
generation_ref(struct generation *g)
{
    assert(g->refs > 0);
    g->refs++;
    return g;
}

void
generation_unref(struct generation *g)
{
    if (g == NULL) {
        return;
    }
    assert(g->refs > 0);
    if (--g->refs == 0) {
        arena_cut(g, (struct mark){NULL, 0, 0});
        free(g);
    }
}

uint8_t *
generation_reserve(struct generation *g, size_t len)
{
    assert(!g->reserved);
    g->mark = (struct mark){g->chunks, g->chunks->used, g->bytes};
    uint8_t *out = arena_alloc(g, len);
    g->reserved = out != NULL;
    return out;
}

void
generation_rollback(struct generation *g)
{
    assert(g->reserved);
    arena_cut(g, g->mark);
    g->prepared_first = g->prepared_last = NULL;
    g->prepared_rows = 0;
    g->reserved = false;
}

static void
prefix_of(struct engine_blob key, uint64_t out[2])
{
    uint8_t bytes[16] = {0};

    memcpy(bytes, key.data, key.len < sizeof bytes ? key.len : sizeof bytes);
    for (unsigned half = 0; half < 2; half++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < 8; i++) {
            sum = sum << 8 | bytes[half * 8 + i];
        }
        out[half] = sum;
    }
}

/* Each level holds a quarter of the one below. */
static uint32_t
height_draw(struct generation *g)
{
    uint32_t height = 1;

    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    for (uint64_t bits = g->random; (bits & 3) == 0 && height < HEIGHT_MAX; bits >>= 2) {
        height++;
    }
    return height;
}

enum an_err
generation_prepare(struct generation *g, const uint8_t *body, size_t body_len)
{
    const uint8_t *at = body;

    assert(g->reserved);
    while (at < body + body_len) {
        struct record_row row;
        const uint8_t *start = at;
        bool whole = record_get_row(&at, body + body_len, &row);
        assert(whole);
        struct generation_node *node = node_alloc(g, height_draw(g));
        if (node == NULL) {
            return AN_ERR_NO_MEMORY;
        }
        prefix_of(row.key, node->prefix);
        node->row = start;
        if (g->prepared_last == NULL) {
            g->prepared_first = node;
        } else {
            g->prepared_last->prepared = node;
        }
        g->prepared_last = node;
        g->prepared_rows++;
    }
    return AN_OK;
}

static struct engine_blob
node_key(const struct generation_node *node)
{
    return (struct engine_blob){node->row + RECORD_ROW_HEAD_LEN, node->row[1]};
}

/* A place in the order: a key and a version of it. */
struct place {
    uint64_t prefix[2];
    struct engine_blob key;
    uint64_t version;
};

static int
key_compare(const struct generation_node *node, const struct place *place)
{
    for (unsigned half = 0; half < 2; half++) {
        if (node->prefix[half] != place->prefix[half]) {
            return node->prefix[half] < place->prefix[half] ? -1 : 1;
        }
    }
    struct engine_blob key = node_key(node);
    size_t len = key.len < place->key.len ? key.len : place->key.len;
    int order = len > 16 ? memcmp(key.data + 16, place->key.data + 16, len - 16) : 0;
    if (order != 0) {
        return order;
    }
    return (key.len > place->key.len) - (key.len < place->key.len);
}

/* Does the node come before the place? Newer versions of a key come first. */
static bool
node_before(const struct generation_node *node, const struct place *place)
{
    int order = key_compare(node, place);
    return order < 0 || (order == 0 && node->version > place->version);
}

static struct generation_node *
next_of(const struct generation_node *node, uint32_t level)
{
    /* Pairs with the release in link_node: a node seen is a node filled in. */
    return atomic_load_explicit(&node->next[level], memory_order_acquire);
}

/* The last node before the place, the head if none; before[], when not NULL, receives
 * that of each level. */
static struct generation_node *
find_before(const struct generation *g, const struct place *place,
            struct generation_node **before)
{
    struct generation_node *node = g->head;
    const struct generation_node *known_after = NULL;

    for (uint32_t level = HEIGHT_MAX; level-- > 0;) {
        struct generation_node *next = next_of(node, level);
        /* The node that ended the level above ends this one too: compare it once. */
        while (next != NULL && next != known_after && node_before(next, place)) {
            node = next;
            next = next_of(node, level);
        }
        known_after = next;
        if (before != NULL) {
            before[level] = node;
        }
    }
    return node;
}

static void
link_node(struct generation *g, struct generation_node *node)
{
    struct generation_node *before[HEIGHT_MAX];
    struct place place = {.prefix = {node->prefix[0], node->prefix[1]},
                          .key = node_key(node),
                          .version = node->version};

    find_before(g, &place, before);
    for (uint32_t level = 0; level < node->height; level++) {
        struct generation_node *next = next_of(before[level], level);
        atomic_store_explicit(&node->next[level], next, memory_order_relaxed);
        atomic_store_explicit(&before[level]->next[level], node, memory_order_release);
    }
}

void
generation_commit(struct generation *g, uint64_t position)
{
    assert(g->reserved);
    assert(position > g->position);
    struct generation_node *node = g->prepared_first;
    while (node != NULL) {
        struct generation_node *following = node->prepared;
        node->version = ++g->version;
        link_node(g, node);
        node = following;
    }
    g->rows += g->prepared_rows;
    g->position = position;
    g->prepared_first = g->prepared_last = NULL;
    g->prepared_rows = 0;
    g->reserved = false;
}

size_t
generation_rows(const struct generation *g)
{
    return g->rows;
}

size_t
generation_bytes(const struct generation *g)
{
    return g->bytes;
}

uint64_t
generation_position(const struct generation *g)
{
    return g->position;
}

struct generation_view
generation_view(struct generation *g)
{
    return (struct generation_view){.generation = g, .version = g->version};
}

static struct place
place_of(struct engine_blob key, uint64_t version)
{
    struct place place = {.key = key, .version = version};
    prefix_of(key, place.prefix);
    return place;
}

/* To the first visible node at or behind the given one. */
static void
skip_unseen(struct generation_cursor *cursor, const struct generation_node *node)
{
    while (node != NULL && node->version > cursor->view.version) {
        node = next_of(node, 0);
    }
    cursor->node = node;
}

static void
seek_below(struct generation_cursor *cursor, struct engine_blob key)
{
    const struct generation *g = cursor->view.generation;

    for (;;) {
        struct place end = place_of(key, VERSION_NEWEST);
        const struct generation_node *last = find_before(g, &end, NULL);
        if (last == g->head) {
            cursor->node = NULL;
            return;
        }
        /* That is its key's oldest version; go up to the newest one seen by the view. */
        key = node_key(last);
        struct place place = place_of(key, cursor->view.version);
        /* Between the search and this load a still newer version may have come in. */
        skip_unseen(cursor, next_of(find_before(g, &place, NULL), 0));
        if (cursor->node != NULL && key_compare(cursor->node, &place) == 0) {
            return;
        }
        /* Every version of it is younger than the view: below it, then. */
    }
}

void
generation_seek(struct generation_cursor *cursor, struct engine_blob key, bool reverse)
{
    if (reverse) {
        seek_below(cursor, key);
        return;
    }
    struct place place = place_of(key, cursor->view.version);
    skip_unseen(cursor, next_of(find_before(cursor->view.generation, &place, NULL), 0));
}

void
generation_step(struct generation_cursor *cursor, bool reverse)
{
    const struct generation_node *node = cursor->node;

    if (node == NULL) {
        return;
    }
    struct engine_blob key = node_key(node);
    if (reverse) {
        seek_below(cursor, key);
        return;
    }
    const struct generation_node *next = next_of(node, 0);
    struct place place = place_of(key, 0);
    /* A head that is overwritten with each message has thousands of versions: when the
     * neighbour is one, search for the end of them instead of walking. */
    if (next != NULL && key_compare(next, &place) == 0) {
        next = next_of(find_before(cursor->view.generation, &place, NULL), 0);
    }
    skip_unseen(cursor, next);
}

bool
generation_row(const struct generation_cursor *cursor, struct record_row *out)
{
    if (cursor->node == NULL) {
        return false;
    }
    /* Checked when it was prepared: no end to hold it against here. */
    *out = record_row_trusted(cursor->node->row);
    return true;
}
