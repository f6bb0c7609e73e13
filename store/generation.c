/* A skip list over an arena. See generation.h for who may call what.
 *
 * A node is a key. It holds the key's first 32 bytes as four numbers, because nearly all
 * comparisons end there and following the pointer to the key would miss the cache. Every
 * put or delete is a version of its node, newest first: that is what lets readers walk
 * while the writer adds.
 *
 * Most rows need no search. A head is overwritten with each message, and a timeline grows
 * at its end: the hints know the node of the one and of the other's last row. */
#include "store/generation.h"

#include "store/bytes.h"
#include "store/hints.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HEIGHT_MAX   8 /* 8^8 rows, far over the overlay's bound */
#define CHUNK_LEN    (256u * 1024u)
#define PREFIX_WORDS 4u
#define PREFIX_LEN   (PREFIX_WORDS * 8u)
#define WALK_MAX     4u /* a hint's node is near or useless */

struct generation_version {
    const uint8_t *row; /* as record_put_row wrote it */
    union {
        struct generation_version *older;    /* of the same key */
        struct generation_version *prepared; /* until commit: the next one to link */
    };
    union {
        uint64_t number;
        struct generation_node *of; /* until commit: whose it is; NULL: a node's first */
    };
};

struct generation_node {
    uint64_t prefix[PREFIX_WORDS]; /* the key's first bytes, big-endian, zero padded */
    struct generation_version first;
    _Atomic(struct generation_version *) newest;
    uint32_t height;
    uint32_t hash; /* of its timeline */
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
    struct hints hints;
    struct generation_version *prepared_first;
    struct generation_version *prepared_last;
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
        hints_fini(&g->hints);
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

/* A key, ready to be compared. */
struct place {
    uint64_t prefix[PREFIX_WORDS];
    struct engine_blob key;
};

static struct place
place_of(struct engine_blob key)
{
    struct place place = {.key = key};
    size_t len = key.len < PREFIX_LEN ? key.len : PREFIX_LEN;
    size_t words = len / 8;
    unsigned rest = len % 8;

    for (size_t i = 0; i < words; i++) {
        place.prefix[i] = get_be64(key.data + i * 8);
    }
    if (rest > 0 && words > 0) { /* its last 8 bytes, of which we have some already */
        place.prefix[words] = get_be64(key.data + len - 8) << (64 - rest * 8);
    }
    for (size_t i = 0; words == 0 && i < rest; i++) {
        place.prefix[0] |= (uint64_t)key.data[i] << (56 - i * 8);
    }
    return place;
}

static struct engine_blob
node_key(const struct generation_node *node)
{
    const uint8_t *row = node->first.row; /* every version has the same key */
    return (struct engine_blob){row + RECORD_ROW_HEAD_LEN, row[1]};
}

static int
key_compare(const struct generation_node *node, const struct place *place)
{
    for (unsigned i = 0; i < PREFIX_WORDS; i++) {
        if (node->prefix[i] != place->prefix[i]) {
            return node->prefix[i] < place->prefix[i] ? -1 : 1;
        }
    }
    struct engine_blob key = node_key(node);
    size_t len = key.len < place->key.len ? key.len : place->key.len;
    int order = 0;
    if (len > PREFIX_LEN) {
        order =
            memcmp(key.data + PREFIX_LEN, place->key.data + PREFIX_LEN, len - PREFIX_LEN);
    }
    if (order != 0) {
        return order;
    }
    return (key.len > place->key.len) - (key.len < place->key.len);
}

/* Each level holds an eighth of the one below: most nodes have no tower to link. */
static uint32_t
height_draw(struct generation *g)
{
    uint32_t height = 1;

    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    for (uint64_t bits = g->random; (bits & 7) == 0 && height < HEIGHT_MAX; bits >>= 3) {
        height++;
    }
    return height;
}

static uint64_t
mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

/* The hint under which the last row of a key's timeline is found: the hash of the key
 * without the 8 bytes of its number. Short keys are of heads and count whole. */
static uint32_t
timeline_hash(const struct place *place)
{
    size_t len = place->key.len < 16 ? place->key.len : place->key.len - 8;
    uint64_t hash = len;

    len = len < PREFIX_LEN ? len : PREFIX_LEN;
    for (size_t i = 0; i < len / 8; i++) {
        hash = mix(hash, place->prefix[i]);
    }
    if (len % 8 > 0) {
        hash = mix(hash, place->prefix[len / 8] & ~(UINT64_MAX >> len % 8 * 8));
    }
    return (uint32_t)hash;
}

/* The hint under which the row is found that last came to the slot's table: rows ordered
 * by time follow it, and a timeline's first row is sometimes near. */
static uint32_t
table_hash(const struct place *place)
{
    return (uint32_t)mix(0, place->prefix[0] >> 40);
}

static struct generation_node *
node_of_first(struct generation_version *version)
{
    uint8_t *first = (uint8_t *)version;
    return (void *)(first - offsetof(struct generation_node, first));
}

/* Room for one row: a version of the node there is, or a node. */
static struct generation_version *
version_alloc(struct generation *g, struct engine_blob key)
{
    struct place place = place_of(key);
    uint32_t hash = timeline_hash(&place);
    struct generation_node *node = hints_get(&g->hints, hash);

    if (node != NULL && key_compare(node, &place) == 0) {
        struct generation_version *version = arena_alloc(g, sizeof *version);
        if (version != NULL) {
            version->of = node;
        }
        return version;
    }
    node = node_alloc(g, height_draw(g));
    if (node == NULL) {
        return NULL;
    }
    memcpy(node->prefix, place.prefix, sizeof node->prefix);
    node->hash = hash;
    node->first.of = NULL;
    return &node->first;
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
        struct generation_version *version = version_alloc(g, row.key);
        if (version == NULL) {
            return AN_ERR_NO_MEMORY;
        }
        version->row = start;
        version->prepared = NULL;
        if (g->prepared_last == NULL) {
            g->prepared_first = version;
        } else {
            g->prepared_last->prepared = version;
        }
        g->prepared_last = version;
        g->prepared_rows++;
    }
    return AN_OK;
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
        while (next != NULL && next != known_after && key_compare(next, place) < 0) {
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

/* The last node before the place, if it is the given one or just behind it; else NULL. */
static struct generation_node *
walk_before(struct generation_node *node, const struct place *place)
{
    for (unsigned i = 0; node != NULL && i < WALK_MAX; i++) {
        struct generation_node *next = next_of(node, 0);
        if (next == NULL || key_compare(next, place) >= 0) {
            return node;
        }
        node = next;
    }
    return NULL;
}

static void
push_version(struct generation_node *node, struct generation_version *version)
{
    version->older = atomic_load_explicit(&node->newest, memory_order_relaxed);
    /* Pairs with the acquire in seen_version. */
    atomic_store_explicit(&node->newest, version, memory_order_release);
}

static void
link_node(struct generation_node *node, struct generation_node **before)
{
    node->first.older = NULL;
    atomic_store_explicit(&node->newest, &node->first, memory_order_relaxed);
    for (uint32_t level = 0; level < node->height; level++) {
        struct generation_node *next = next_of(before[level], level);
        atomic_store_explicit(&node->next[level], next, memory_order_relaxed);
        atomic_store_explicit(&before[level]->next[level], node, memory_order_release);
    }
}

/* Links a row that was given a node of its own. Its key may be there nevertheless: from
 * earlier in the same record, or forgotten by the hints. */
static void
place_node(struct generation *g, struct generation_node *node)
{
    struct place place = {.key = node_key(node)};
    struct generation_node *before[HEIGHT_MAX];
    struct generation_node *found = NULL;

    memcpy(place.prefix, node->prefix, sizeof place.prefix);
    struct generation_node *last = hints_get(&g->hints, node->hash);
    int order = last == NULL ? 1 : key_compare(last, &place);
    if (order == 0) {
        push_version(last, &node->first);
        return;
    }
    uint32_t table = table_hash(&place);
    bool by_table = false;
    if (order < 0) {
        found = walk_before(last, &place);
    } else {
        last = hints_get(&g->hints, table);
        if (last != NULL && key_compare(last, &place) < 0) {
            found = walk_before(last, &place);
        }
        by_table = found != NULL;
    }
    before[0] = found;
    if (found == NULL || node->height > 1) {
        find_before(g, &place, before);
    }
    last = next_of(before[0], 0);
    if (last != NULL && key_compare(last, &place) == 0) {
        push_version(last, &node->first);
        hints_put(&g->hints, node->hash, last);
        return;
    }
    link_node(node, before);
    if (order > 0) {
        hints_put(&g->hints, table, node);
    }
    if (!by_table) { /* rows ordered by time need no hint each */
        hints_put(&g->hints, node->hash, node);
    }
}

void
generation_commit(struct generation *g, uint64_t position)
{
    assert(g->reserved);
    assert(position > g->position);
    struct generation_version *version = g->prepared_first;
    while (version != NULL) {
        struct generation_version *following = version->prepared;
        struct generation_node *of = version->of;
        version->number = ++g->version;
        if (of != NULL) {
            push_version(of, version);
        } else {
            place_node(g, node_of_first(version));
        }
        version = following;
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

/* The newest version of the node that the view sees; NULL if all are younger. */
static const struct generation_version *
seen_version(const struct generation_node *node, uint64_t view)
{
    const struct generation_version *version =
        atomic_load_explicit(&node->newest, memory_order_acquire);

    while (version != NULL && version->number > view) {
        version = version->older;
    }
    return version;
}

/* To the first visible node at or behind the given one. */
static void
skip_unseen(struct generation_cursor *cursor, const struct generation_node *node)
{
    cursor->version = NULL;
    while (node != NULL &&
           (cursor->version = seen_version(node, cursor->view.version)) == NULL) {
        node = next_of(node, 0);
    }
    cursor->node = node;
}

static void
seek_below(struct generation_cursor *cursor, struct engine_blob key)
{
    const struct generation *g = cursor->view.generation;

    do {
        struct place place = place_of(key);
        const struct generation_node *last = find_before(g, &place, NULL);
        if (last == g->head) {
            cursor->node = NULL;
            return;
        }
        cursor->node = last;
        cursor->version = seen_version(last, cursor->view.version);
        key = node_key(last);
    } while (cursor->version == NULL); /* younger than the view: below it, then */
}

void
generation_seek(struct generation_cursor *cursor, struct engine_blob key, bool reverse)
{
    if (reverse) {
        seek_below(cursor, key);
        return;
    }
    struct place place = place_of(key);
    skip_unseen(cursor, next_of(find_before(cursor->view.generation, &place, NULL), 0));
}

void
generation_step(struct generation_cursor *cursor, bool reverse)
{
    const struct generation_node *node = cursor->node;

    if (node == NULL) {
        return;
    }
    if (reverse) {
        seek_below(cursor, node_key(node));
    } else {
        skip_unseen(cursor, next_of(node, 0));
    }
}

bool
generation_row(const struct generation_cursor *cursor, struct record_row *out)
{
    if (cursor->node == NULL) {
        return false;
    }
    /* Checked when it was prepared: no end to hold it against here. */
    *out = record_row_trusted(cursor->version->row);
    return true;
}
