#include "actors/store/heads.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256, TABLE_MIN = 512 };

void
store_heads_init(struct store_heads *heads, uint32_t max)
{
    assert(max > 0);
    *heads = (struct store_heads){.max = max};
}

void
store_heads_fini(struct store_heads *heads)
{
    for (uint32_t i = 0; i < heads->chunk_count; i++) {
        free(heads->chunks[i]);
    }
    free(heads->chunks);
    free(heads->table);
    *heads = (struct store_heads){.max = heads->max};
}

/* Numbers begin at 1, so that 0 can mean none. */
static struct store_head *
at(const struct store_heads *heads, uint32_t number)
{
    assert(number > 0 && number <= heads->made);
    return &heads->chunks[(number - 1) / CHUNK][(number - 1) % CHUNK];
}

/* The finalizer of splitmix64 over both words: keys are numbers given out in a row. */
static uint64_t
hash(uint64_t a, uint64_t b)
{
    uint64_t x = a + b * 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint32_t
place(const struct store_heads *heads, const struct store_head *head)
{
    return (uint32_t)hash(head->key[0], head->key[1]) & (heads->table_len - 1);
}

/* The position of the key in the table, or of the hole where it belongs. */
static uint32_t
probe(const struct store_heads *heads, uint64_t a, uint64_t b)
{
    uint32_t mask = heads->table_len - 1;
    uint32_t i = (uint32_t)hash(a, b) & mask;

    while (heads->table[i] != 0) {
        const struct store_head *head = at(heads, heads->table[i]);

        if (head->key[0] == a && head->key[1] == b) {
            break;
        }
        i = (i + 1) & mask;
    }
    return i;
}

/* At most half full, so that probes stay short. */
static bool
grow_table(struct store_heads *heads)
{
    uint32_t len = heads->table_len == 0 ? TABLE_MIN : heads->table_len * 2;
    uint32_t *old = heads->table;
    uint32_t old_len = heads->table_len;
    uint32_t *table = calloc(len, sizeof(*table));

    if (table == NULL) {
        return false;
    }
    heads->table = table;
    heads->table_len = len;
    for (uint32_t i = 0; i < old_len; i++) {
        if (old[i] != 0) {
            const struct store_head *head = at(heads, old[i]);

            table[probe(heads, head->key[0], head->key[1])] = old[i];
        }
    }
    free(old);
    return true;
}

static bool
grow_pool(struct store_heads *heads)
{
    struct store_head **chunks =
        realloc(heads->chunks, (heads->chunk_count + 1) * sizeof(*chunks));
    struct store_head *chunk;

    if (chunks == NULL) {
        return false;
    }
    heads->chunks = chunks;
    chunk = calloc(CHUNK, sizeof(*chunk));
    if (chunk == NULL) {
        return false;
    }
    chunks[heads->chunk_count++] = chunk;
    for (uint32_t i = CHUNK; i > 0; i--) {
        chunk[i - 1].index = heads->made + i;
        chunk[i - 1].older = heads->spare;
        heads->spare = heads->made + i;
    }
    heads->made += CHUNK;
    return true;
}

static void
list_add(struct store_heads *heads, struct store_head *head)
{
    head->newer = 0;
    head->older = heads->newest;
    if (heads->newest != 0) {
        at(heads, heads->newest)->newer = head->index;
    } else {
        heads->oldest = head->index;
    }
    heads->newest = head->index;
}

static void
list_remove(struct store_heads *heads, struct store_head *head)
{
    if (head->newer != 0) {
        at(heads, head->newer)->older = head->older;
    } else {
        heads->newest = head->older;
    }
    if (head->older != 0) {
        at(heads, head->older)->newer = head->newer;
    } else {
        heads->oldest = head->newer;
    }
}

/* Closes the hole at i: later ones of the same run move up, so no tombstones. */
static void
table_remove(struct store_heads *heads, uint32_t i)
{
    uint32_t mask = heads->table_len - 1;
    uint32_t j = i;

    for (;;) {
        uint32_t home;

        j = (j + 1) & mask;
        if (heads->table[j] == 0) {
            break;
        }
        home = place(heads, at(heads, heads->table[j]));
        if (((j - home) & mask) >= ((j - i) & mask)) {
            heads->table[i] = heads->table[j];
            i = j;
        }
    }
    heads->table[i] = 0;
}

static void
evict(struct store_heads *heads)
{
    struct store_head *head = at(heads, heads->oldest);

    assert(head->pins == 0);
    assert(!head->touched);
    table_remove(heads, probe(heads, head->key[0], head->key[1]));
    list_remove(heads, head);
    head->older = heads->spare;
    heads->spare = head->index;
    heads->count--;
    heads->evictions++;
}

static struct store_head *
make(struct store_heads *heads, uint64_t a, uint64_t b)
{
    struct store_head *head;
    uint32_t number;

    if (heads->count >= heads->max && heads->oldest != 0) {
        evict(heads);
    }
    if ((heads->count + 1) * 2 > heads->table_len && !grow_table(heads)) {
        return NULL;
    }
    if (heads->spare == 0 && !grow_pool(heads)) {
        return NULL;
    }
    number = heads->spare;
    head = at(heads, number);
    heads->spare = head->older;
    *head = (struct store_head){.key = {a, b}, .index = number, .pins = 1};
    heads->table[probe(heads, a, b)] = number;
    heads->count++;
    return head;
}

struct store_head *
store_heads_pin(struct store_heads *heads, uint64_t a, uint64_t b)
{
    struct store_head *head;
    uint32_t number = 0;

    if (heads->table_len > 0) {
        number = heads->table[probe(heads, a, b)];
    }
    if (number == 0) {
        heads->misses++;
        return make(heads, a, b);
    }
    heads->hits++;
    head = at(heads, number);
    if (head->pins++ == 0) {
        list_remove(heads, head);
    }
    return head;
}

void
store_heads_pin_again(struct store_head *head)
{
    assert(head->pins > 0);
    head->pins++;
}

void
store_heads_unpin(struct store_heads *heads, struct store_head *head)
{
    assert(head->pins > 0);
    if (--head->pins == 0) {
        list_add(heads, head);
        /* A burst of pins may have made more than the bound. */
        if (heads->count > heads->max) {
            evict(heads);
        }
    }
}

const struct store_head *
store_heads_peek(const struct store_heads *heads, uint64_t a, uint64_t b)
{
    const struct store_head *head;
    uint32_t number;

    if (heads->table_len == 0) {
        return NULL;
    }
    number = heads->table[probe(heads, a, b)];
    if (number == 0) {
        return NULL;
    }
    head = at(heads, number);
    return head->state == STORE_HEAD_LOADED ? head : NULL;
}
