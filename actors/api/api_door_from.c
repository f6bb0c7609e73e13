/* What the connections of one address have of the door, places and bytes of bodies:
 * nobody can take all of it from the others. */
#include "actors/api/api_door_priv.h"
#include "core/limits.h"
#include <assert.h>

/* ------------------------------------------------------------------ addresses */

void
api_from_join(struct http_conn *conn, const uint8_t address[AN_ADDRESS_LEN])
{
    assert(conn->of == NULL);
    conn->of = an_froms_join(&conn->door->froms, address, sizeof(*conn->of));
    if (conn->of != NULL) {
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
    assert(from->from.conns > 1 || (from->conns == 0 && from->body_bytes == 0));
    an_froms_leave(&conn->door->froms, &from->from);
}

void
api_from_print(const struct http_conn *conn, char out[AN_ADDRESS_TEXT_MAX])
{
    an_address_print(conn->of == NULL ? conn->address : conn->of->from.network, out,
                     AN_ADDRESS_TEXT_MAX);
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
    char address[AN_ADDRESS_TEXT_MAX] = "";
    uint64_t said = 0;
    bool fits, own;

    pthread_mutex_lock(&door->lock);
    own = from == NULL || from->body_bytes + more <= share_bytes(door);
    fits = own && door->body_bytes + more <= AN_HTTP_BODIES_BYTES_MAX;
    if (!fits) {
        door->count.bodies_refused++;
        said = api_door_due(&door->refused_said);
        api_from_print(conn, address);
    }
    if (fits) {
        door->body_bytes += more;
    }
    if (fits && from != NULL) {
        from->body_bytes += more;
    }
    pthread_mutex_unlock(&door->lock);
    api_door_say(door, "no room for a body", address,
                 own ? "bodies of all have it" : "its address has its share", said);
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
