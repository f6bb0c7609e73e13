/* What the connections of one address have of the door, places and bytes of bodies:
 * nobody can take all of it from the others. */
#include "actors/api/api_door_priv.h"
#include "core/limits.h"
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ addresses */

void
api_froms_init(struct http_froms *all)
{
    randombytes_buf(&all->hash_key, sizeof(all->hash_key));
}

void
api_froms_fini(struct http_froms *all)
{
    assert(all->chains.count == 0);
    an_chains_fini(&all->chains);
}

/* NULL without memory. */
static struct http_from *
find_or_add(struct http_froms *all, const uint8_t key[AN_ADDRESS_LEN])
{
    uint64_t hash = an_hash(&all->hash_key, key, AN_ADDRESS_LEN);
    struct an_chained *at = an_chains_first(&all->chains, hash);
    struct http_from *from;

    while (at != NULL &&
           memcmp(((struct http_from *)at)->key, key, AN_ADDRESS_LEN) != 0) {
        at = an_chains_next(at);
    }
    if (at != NULL) {
        return (struct http_from *)at;
    }
    from = calloc(1, sizeof(*from));
    if (from == NULL || !an_chains_add(&all->chains, &from->chained, hash)) {
        free(from);
        return NULL;
    }
    memcpy(from->key, key, AN_ADDRESS_LEN);
    return from;
}

void
api_from_join(struct http_conn *conn, const uint8_t address[AN_ADDRESS_LEN])
{
    uint8_t key[AN_ADDRESS_LEN];

    assert(conn->of == NULL);
    memcpy(key, address, sizeof(key));
    an_address_network(key);
    conn->of = find_or_add(&conn->door->froms, key);
    if (conn->of != NULL) {
        conn->of->refs++;
        conn->of->conns += !conn->cut;
    }
}

void
api_from_leave(struct http_conn *conn)
{
    struct http_from *from = conn->of;

    if (from == NULL) {
        return;
    }
    conn->of = NULL;
    from->conns -= !conn->cut;
    if (--from->refs > 0) {
        return;
    }
    assert(from->conns == 0 && from->body_bytes == 0);
    an_chains_remove(&conn->door->froms.chains, &from->chained);
    free(from);
}

/* ------------------------------------------------------------------ bodies */

/* The largest body that is allowed always fits: of one who sends but that one. */
static size_t
share_bytes(const struct api_door *door)
{
    size_t share = AN_HTTP_BODIES_BYTES_MAX / AN_HTTP_BODIES_SHARE;

    return share > door->cfg.body_len_max ? share : door->cfg.body_len_max;
}

bool
api_from_hold(struct http_conn *conn, size_t more)
{
    struct api_door *door = conn->door;
    struct http_from *from = conn->of;
    bool fits;

    pthread_mutex_lock(&door->lock);
    fits = door->body_bytes + more <= AN_HTTP_BODIES_BYTES_MAX &&
           (from == NULL || from->body_bytes + more <= share_bytes(door));
    if (fits) {
        door->body_bytes += more;
    }
    if (fits && from != NULL) {
        from->body_bytes += more;
    }
    pthread_mutex_unlock(&door->lock);
    return fits;
}

void
api_from_let_go(struct http_conn *conn, size_t bytes)
{
    struct api_door *door = conn->door;

    pthread_mutex_lock(&door->lock);
    door->body_bytes -= bytes;
    if (conn->of != NULL) {
        conn->of->body_bytes -= bytes;
    }
    pthread_mutex_unlock(&door->lock);
}

/* ------------------------------------------------------------------ places */

/* Who costs least to lose is first. A cut one of ours that thinks frees its place only
 * when it has thought, so the newcomer goes before. */
static unsigned
rank(const struct http_conn *conn, const struct http_conn *newcomer)
{
    static const unsigned ranks[] = {
        [HTTP_IDLE] = 0, [HTTP_ASKING] = 1, [HTTP_ANSWERING] = 2, [HTTP_THINKING] = 4};

    return conn == newcomer ? 3 : ranks[conn->phase];
}

/* Does a make room before b? */
static bool
before(const struct http_conn *a, const struct http_conn *b,
       const struct http_conn *newcomer)
{
    uint32_t a_conns = a->of == NULL ? 1 : a->of->conns;
    uint32_t b_conns = b->of == NULL ? 1 : b->of->conns;
    unsigned a_rank = rank(a, newcomer), b_rank = rank(b, newcomer);

    if (a_conns != b_conns) {
        return a_conns > b_conns;
    }
    return a_rank != b_rank ? a_rank < b_rank : a->since_ms <= b->since_ms;
}

/* One of the address that has most: whoever fills the door does so at his own cost. */
struct http_conn *
api_from_victim(const struct api_door *door, const struct http_conn *newcomer)
{
    struct http_conn *victim = NULL;

    for (struct http_conn *conn = door->conns; conn != NULL; conn = conn->next) {
        if (!conn->cut && (victim == NULL || before(conn, victim, newcomer))) {
            victim = conn;
        }
    }
    return victim;
}
