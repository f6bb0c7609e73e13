/* Sessions by user: a hash table (open addressing, linear probing) of short chains.
 * Context: the router actor's thread. */
#ifndef AN_ACTORS_ROUTER_TABLE_H
#define AN_ACTORS_ROUTER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct router_session {
    struct router_session *next; /* of the same user, newest first */
    uint64_t user, conn;
    uint64_t since_ms; /* its login, by its gate's clock */
    uint32_t mark;     /* of the announcement that named it last */
    uint16_t gate;
    uint16_t close_err; /* why its gate was told to close it; 0: it was not */
    bool closing;       /* it was; not online any more */
    uint8_t device_len, platform_len, name_len;
    uint8_t text[]; /* device, platform, name */
};

struct router_table {
    struct router_session **heads; /* NULL: free */
    size_t cap;                    /* 0 or a power of two */
    size_t users, sessions;        /* closing ones included */
    size_t closing;
};

/* A session's texts, borrowed. Lengths at most AN_NAME_LEN_MAX. */
struct router_text {
    const uint8_t *data;
    size_t len;
};

/* Frees every session. A zeroed table is fine. */
void router_table_fini(struct router_table *table);
/* The newest session of the user, closing or not; follow next. */
struct router_session *router_table_find(const struct router_table *table, uint64_t user);
/* The same of those that are not closing; next, of session, or NULL. NULL: offline. */
const struct router_session *router_table_online(const struct router_table *table,
                                                 uint64_t user);
const struct router_session *router_table_next(const struct router_session *session);
/* Adds in front of the user's chain. NULL without memory. */
struct router_session *router_table_add(struct router_table *table, uint64_t user,
                                        uint64_t conn, uint16_t gate,
                                        struct router_text device,
                                        struct router_text platform,
                                        struct router_text name);
/* Takes it out and frees it. */
void router_table_remove(struct router_table *table, struct router_session *session);
/* Removes the gate's sessions whose mark is another than keep. Returns how many. One walk
 * over the table: for a gate's whole announcement or its end, not for single sessions. */
size_t router_table_sweep(struct router_table *table, uint16_t gate, uint32_t keep);

#endif
