/* The inside of the gate's door: gate_door.c has the loop and the listeners,
 * gate_door_conn.c the connections. Context: the door's thread. */
#ifndef AN_ACTORS_GATE_DOOR_PRIV_H
#define AN_ACTORS_GATE_DOOR_PRIV_H

#include "actors/gate/gate_door.h"
#include <uv.h>

enum {
    DOOR_READ_BYTES = 64 * 1024,   /* one buffer for all connections */
    DOOR_CLOSE_MS = 2000,          /* last words and a polite end take no longer */
    DOOR_PAUSE_BYTES = 256 * 1024, /* unread output that stops reading a connection */
    DOOR_BACKLOG = 1024,
    DOOR_SPARE_FDS = 64, /* descriptors left to the rest of the process */
    DOOR_ADDRESS_MAX = 80,
    DOOR_INDEX_BITS = 24, /* of a connection id; above it a number that only grows */
};

#define DOOR_NONE UINT32_MAX

/* Counted in tens of thousands: what a connection needs only now and then is allocated
 * then. */
struct door_conn {
    uv_tcp_t tcp; /* first: uv hands it back to us */
    uint64_t id;
    uint8_t *partial; /* of a frame that is not whole yet */
    uint32_t partial_len, partial_cap;
    uint32_t seg_first, seg_last; /* this drain's frames, in door.segs */
    struct door_conn *finish_next,
        **finish_link; /* those that are ending, oldest first */
    uint64_t finish_ms;
    bool finish : 1;   /* CONN_CLOSE came: last words, then the end */
    bool ending : 1;   /* the end is under way: input is thrown away */
    bool bad : 1;      /* its input is no sequence of frames; not read any more */
    bool paused : 1;   /* not read until its output is taken */
    bool touched : 1;  /* in door.touched */
    bool reported : 1; /* the actor believes that output waits */
};

struct door_seg {
    const uint8_t *data;
    uint32_t len, next;
};

struct door_listener {
    uv_tcp_t tcp;
    char address[DOOR_ADDRESS_MAX];
    struct sockaddr_storage at;
    bool waiting; /* one is waiting to be accepted, and more behind it */
    bool open;
};

struct gate_door {
    struct an_door door;
    struct an_door_host host;
    struct gate_door_cfg cfg;
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t turn_timer, finish_timer;
    struct door_listener listeners[GATE_DOOR_LISTEN_MAX];
    unsigned listener_count;
    bool loop_made, started, quitting, full, full_logged;

    struct door_conn **conns; /* by the index in their id; NULL: free */
    uint32_t *free_list;
    uint32_t conn_cap, free_count;
    uint64_t serial;
    uint32_t fd_max;

    struct door_conn *finish_first, **finish_last;
    struct door_seg *segs; /* of this drain */
    uint32_t seg_count, seg_cap;
    struct door_conn **touched; /* connections with segments or an end to begin */
    uint32_t touched_count, touched_cap;
    uint64_t *reports; /* connections whose output waits since the last flush */
    uint32_t report_count, report_cap;
    struct an_msg msg; /* the one that is delivered, again and again */
    struct gate_door_stats stats;
    uint8_t read_buf[DOOR_READ_BYTES];
};

/* To whoever the cfg names. */
void gate_door_log(struct gate_door *door, int level, const char *line);
/* A listener has one to accept. */
void gate_door_accept(struct gate_door *door, struct door_listener *listener);
/* Descriptors may be free again: accepts what waits. */
void gate_door_accept_more(struct gate_door *door);
struct door_conn *gate_door_find(const struct gate_door *door, uint64_t id);
void gate_door_carry(struct an_door *base, const struct an_effect *effect,
                     const uint8_t *bytes);
void gate_door_flush(struct an_door *base);
/* Tells the actor of output that flush could not get rid of. Whether there was any. */
bool gate_door_report(struct gate_door *door);
/* The last words have been given: sends them, then ends, within a bounded time. */
void gate_door_finish(struct gate_door *door, struct door_conn *conn);
/* We end: whoever has been sent all is not waited for any longer. */
void gate_door_kill_told(struct gate_door *door);
/* At once. CONN_CLOSED follows from the loop. */
void gate_door_kill(struct door_conn *conn);

#endif
