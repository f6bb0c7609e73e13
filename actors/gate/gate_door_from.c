/* What the connections of one address have of the door: what is held of theirs until it
 * is whole, and handshakes. Nobody can take all of it from the others. */
#include "actors/gate/gate_door_priv.h"
#include "core/log.h"
#include <assert.h>
#include <stdio.h>

/* ------------------------------------------------------------------ addresses */

bool
gate_from_join(struct gate_door *door, struct door_conn *conn)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    int len = sizeof(peer);

    (void)uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&peer, &len);
    an_address_of(conn->address, (struct sockaddr *)&peer);
    if (an_nets_hold(&door->unlimited, conn->address)) {
        return true;
    }
    conn->from = an_froms_join(&door->froms, conn->address, sizeof(*conn->from));
    return conn->from != NULL;
}

void
gate_from_leave(struct gate_door *door, struct door_conn *conn)
{
    struct door_from *from = conn->from;

    if (from == NULL) {
        return;
    }
    conn->from = NULL;
    assert(from->from.conns > 1 || (from->held_bytes == 0 && from->handshakes == 0));
    an_froms_leave(&door->froms, &from->from);
}

void
gate_from_fini(struct gate_door *door)
{
    an_froms_fini(&door->froms);
}

/* ------------------------------------------------------------------ what is held */

/* A little is everybody's own: however much others hold, a heartbeat in two pieces or the
 * begin of a record finds its place. */
static size_t
shared(size_t cap)
{
    return cap > DOOR_HELD_OWN ? cap - DOOR_HELD_OWN : 0;
}

/* At most one line a second: a flood must not become one of the log. */
static void
say_refused(struct gate_door *door, const struct door_conn *conn, const char *what)
{
    char line[DOOR_LINE_MAX], who[AN_ADDRESS_TEXT_MAX];
    uint64_t now = uv_now(&door->loop);

    door->stats.held_refused++;
    if (door->held_ms != 0 && now - door->held_ms < DOOR_SAY_MS) {
        return;
    }
    door->held_ms = now;
    an_address_print(conn->address, who, sizeof(who));
    snprintf(line, sizeof(line), "refused address=%s what=\"%s\" count=%llu", who, what,
             (unsigned long long)door->stats.held_refused);
    gate_door_log(door, AN_LOG_INFO, line);
}

bool
gate_held_room(struct gate_door *door, const struct door_conn *conn, size_t before,
               size_t after)
{
    size_t more = shared(after) - shared(before);
    /* Whoever has not logged in leaves half of it to those who have. */
    size_t most = conn->known ? DOOR_HELD_BYTES : DOOR_HELD_BYTES / 2;

    if (after <= before || more == 0) {
        return true;
    }
    if (conn->from != NULL &&
        conn->from->held_bytes + more > DOOR_HELD_BYTES / AN_DOOR_HELD_SHARE) {
        say_refused(door, conn, "its address has too much that is not whole");
        return false;
    }
    if (door->held_bytes + more > most) {
        say_refused(door, conn, "too much of all is not whole");
        return false;
    }
    return true;
}

void
gate_held_count(struct gate_door *door, struct door_conn *conn, size_t before,
                size_t after)
{
    size_t more = shared(after) - shared(before); /* may wrap: it comes back in the sum */

    door->stats.partial_bytes += after - before;
    door->held_bytes += more;
    if (conn->from != NULL) {
        conn->from->held_bytes += more;
    }
}

/* ------------------------------------------------------------------ before the login */

bool
gate_door_login_too_large(struct gate_door *door, const struct door_conn *conn,
                          size_t len)
{
    if (conn->known || conn->asked || len <= door->cfg.login_len_max) {
        return false;
    }
    say_refused(door, conn, "larger than a Login, before one");
    return true;
}

/* ------------------------------------------------------------------ handshakes */

/* Who goes when there are too many: the oldest of an address that has more than its
 * share, of the newcomer's own first; the oldest of all when nobody has. */
struct door_conn *
gate_from_victim(const struct gate_door *door, const struct door_conn *conn)
{
    uint32_t share = door->cfg.handshakes_max / AN_HANDSHAKES_SHARE;
    const struct door_from *own = conn->from;
    bool mine = own != NULL && own->handshakes >= share && own->handshakes > 0;

    for (struct door_conn *at = door->shaking.first; at != NULL; at = at->wait_next) {
        if (mine ? at->from == own : at->from != NULL && at->from->handshakes > share) {
            return at;
        }
    }
    return door->shaking.first;
}
