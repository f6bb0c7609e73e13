/* Connections of the api's door, and how long each may take for what is waited for. A
 * client that trickles bytes is as late as one that sends none. */
#include "actors/api/api_door_priv.h"
#include "core/limits.h"
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* ------------------------------------------------------------------ deadlines */

static uint64_t
patience_ms(const struct api_door *door, enum http_phase phase)
{
    switch (phase) {
    case HTTP_ASKING:
        return door->cfg.request_ms;
    case HTTP_ANSWERING:
        return door->cfg.answer_ms;
    case HTTP_IDLE:
        return door->cfg.idle_ms;
    case HTTP_THINKING:
        break; /* the actor's deadlines hold */
    }
    return UINT64_MAX;
}

/* Under the lock, so the socket is open: libmicrohttpd tells us before it closes one. */
static void
cut(struct http_conn *conn)
{
    if (!conn->cut) {
        conn->cut = true;
        conn->door->cut_count++;
        if (conn->of != NULL) {
            conn->of->conns--;
        }
        (void)shutdown(conn->fd, SHUT_RDWR);
    }
}

void
api_conn_sweep(struct api_door *door)
{
    uint64_t now_ms = api_door_now_ms();

    pthread_mutex_lock(&door->lock);
    for (struct http_conn *conn = door->conns; conn != NULL; conn = conn->next) {
        uint64_t before_ms = conn->phase == HTTP_ANSWERING ? conn->answered_ms : 0;

        if (now_ms - conn->since_ms + before_ms > patience_ms(door, conn->phase)) {
            cut(conn);
        }
    }
    pthread_mutex_unlock(&door->lock);
}

/* Nothing that was sent is on its way to the client any more: a client who waits for an
 * answer before he asks again has always got there. */
static bool
all_taken(const struct http_conn *conn)
{
    int left = 0;

    return ioctl(conn->fd, SIOCOUTQ, &left) == 0 && left == 0;
}

/* Requests sent ahead do not renew the time that answers have: who never takes the last
 * byte of them is at its end some time. */
void
api_conn_phase(struct http_conn *conn, enum http_phase phase)
{
    uint64_t now_ms = api_door_now_ms();

    pthread_mutex_lock(&conn->door->lock);
    if (conn->phase == HTTP_ANSWERING) {
        conn->answered_ms += now_ms - conn->since_ms;
    }
    if (phase == HTTP_ASKING && all_taken(conn)) {
        conn->answered_ms = 0;
    }
    conn->phase = phase;
    conn->since_ms = now_ms;
    pthread_mutex_unlock(&conn->door->lock);
}

/* ------------------------------------------------------------------ open, closed */

static void
name_peer(struct http_conn *conn, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    if (info != NULL && info->client_addr != NULL) {
        an_address_of(conn->address, info->client_addr);
    }
    an_address_print(conn->address, conn->from, sizeof(conn->from));
}

/* A proxy's connection is its client's while he asks (name_client), else nobody's. Under
 * the lock. Returns who has to go, NULL: nobody. */
static struct http_conn *
enter(struct api_door *door, struct http_conn *conn)
{

    conn->next = door->conns;
    conn->link = &door->conns;
    if (door->conns != NULL) {
        door->conns->link = &conn->next;
    }
    door->conns = conn;
    if (!an_nets_hold(&door->proxies, conn->address)) {
        api_from_join(conn, conn->address);
    }
    if (++door->conn_count - door->cut_count <= door->cfg.conns_max) {
        return NULL;
    }
    return api_from_victim(door, conn);
}

/* Under the lock. How many a line is due for; 0: none. */
static uint64_t
evict(struct api_door *door, struct http_conn *victim, char address[AN_ADDRESS_TEXT_MAX])
{
    if (victim == NULL) {
        return 0;
    }
    api_from_print(victim, address);
    cut(victim);
    door->count.conns_evicted++;
    return api_door_due(&door->evicted_said);
}

static void
opened(struct api_door *door, struct MHD_Connection *connection, void **context)
{
    struct http_conn *conn = calloc(1, sizeof(*conn));
    char address[AN_ADDRESS_TEXT_MAX] = "";
    uint64_t said;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    *context = conn;
    if (conn == NULL || info == NULL) {
        free(conn);
        *context = NULL; /* its requests are refused */
        return;
    }
    conn->door = door;
    conn->fd = info->connect_fd;
    conn->since_ms = api_door_now_ms();
    name_peer(conn, connection);
    pthread_mutex_lock(&door->lock);
    said = evict(door, enter(door, conn), address);
    if (door->conn_count == 1) {
        door->woken = true; /* there are deadlines to look at again */
        pthread_cond_signal(&door->wake);
    }
    pthread_mutex_unlock(&door->lock);
    api_door_say(door, "full, a connection made room", address, NULL, said);
}

static void
closed(struct api_door *door, struct http_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    pthread_mutex_lock(&door->lock);
    *conn->link = conn->next;
    if (conn->next != NULL) {
        conn->next->link = conn->link;
    }
    door->conn_count--;
    door->cut_count -= conn->cut;
    api_from_leave(conn);
    pthread_mutex_unlock(&door->lock);
    free(conn);
}

void
api_conn_notify(void *cls, struct MHD_Connection *connection, void **context,
                enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        api_tls_thread(cls);
        opened(cls, connection, context);
    } else {
        closed(cls, *context);
        *context = NULL;
    }
}
