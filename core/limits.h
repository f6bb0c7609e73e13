/* Every bound of the system, with its default and its reason. Those an operator may
 * change are defaults of a configuration key (docs/configuration.md); the rest are fixed.
 * Units come last in the name. */
#ifndef AN_CORE_LIMITS_H
#define AN_CORE_LIMITS_H

/* What a client may send. */
#define AN_BODY_LEN_MAX 65536u /* a long text or a small picture */
#define AN_FRAME_LEN_MAX                                                                 \
    (AN_BODY_LEN_MAX + 4096u)         /* the body, its names and its header */
#define AN_NAME_LEN_MAX         64u   /* user, device, platform and app names */
#define AN_TOKEN_LEN_MAX        2048u /* a JWT with room for foreign claims */
#define AN_CLIENT_MSG_ID_LEN    16u   /* a UUIDv7, RFC 9562 */
#define AN_DEVICES_PER_USER_MAX 16u   /* sessions of one user at a router */

/* Accounts. */
#define AN_PASSWORD_HASH_LEN_MAX                                                         \
    128u /* Argon2id as libsodium writes it (crypto_pwhash_STRBYTES) */
#define AN_REFRESH_HASH_LEN        32u   /* BLAKE2b of a refresh token */
#define AN_NICK_LEN_MAX            128u  /* bytes of a name to show */
#define AN_AVATAR_LEN_MAX          512u  /* of a URL */
#define AN_PROFILE_EXTRA_LEN_MAX   2048u /* of what an application keeps beside them */
#define AN_PROFILE_EXTRA_DEPTH_MAX 32u   /* objects and lists in each other there */
#define AN_DEVICE_SESSIONS_MAX     64u   /* devices of a user that are remembered */
#define AN_DEVICE_SEEN_MS                                                                \
    (18u * 3600u * 1000u) /* a login at a gate is written down when the last one that    \
                           * was is so old: otherwise it costs no write */
#define AN_DEVICE_SEEN_SPREAD_MS                                                         \
    (6u * 3600u * 1000u) /* or up to so much older, each device by its hash: those that  \
                          * came together once are not all due together the next day */
#define AN_TOKENS_AHEAD_MS                                                               \
    60000u /* tokens of a time further ahead are refused, and none is issued: more is a  \
            * clock gone wrong */
#define AN_REVOKE_AHEAD_MS                                                               \
    30000u /* so far, revoking again and again moves the time before which tokens are    \
            * refused, a second each time; further only after a login */
#define AN_GATE_NAME_MS                                                                  \
    30000u /* a gate that missed that a user was deleted finds out when it is asked to   \
            * reach him after so long */

/* A connection. */
#define AN_HEARTBEAT_MS     10000u /* clients ping this often; half of idle with slack */
#define AN_IDLE_MS          30000u /* silent longer: closed */
#define AN_LOGIN_TIMEOUT_MS 10000u /* connected but not logged in: closed */
#define AN_HANDSHAKE_MS                                                                  \
    5000u /* TLS, Noise, the request that opens a WebSocket take no longer: a client on  \
           * a bad line needs one or two seconds for its few round trips */
#define AN_HANDSHAKES_MAX                                                                \
    1024u /* at once; beyond, one ends: the oldest of an address that has more than its  \
           * share, else the oldest of all. 40 KB each while they last */
#define AN_HANDSHAKES_SHARE                                                              \
    8u /* an address, /64 of IPv6, has an eighth of them, and more while nobody else     \
        * needs them */
#define AN_DOOR_LOGIN_HELD                                                               \
    (16u * 1024u) /* what a connection sends first is no larger: a Login, every byte of  \
                   * it escaped; beyond: FRAME_TOO_LARGE. What comes behind it waits     \
                   * until it is answered */
#define AN_DOOR_HELD_BYTES                                                               \
    (64u * 1024u * 1024u) /* JSON and records of Noise that are not whole, of all        \
                           * connections of a gate; those not logged in have half of it; \
                           * beyond: BUSY */
#define AN_DOOR_HELD_SHARE                                                               \
    8u /* an address, /64 of IPv6, has an eighth of that; beyond: BUSY */
#define AN_DOOR_HELD_OWN                                                                 \
    8192u /* of a connection that are not counted in it: a request that opens a          \
           * WebSocket, a heartbeat, the begin of a record always have their place */
#define AN_GATE_TICK_MS                                                                  \
    1000u /* idle, login and heartbeat lists are walked this often                       \
           */
#define AN_GATE_SIGNS                                                                    \
    4u /* signs of life of a gate to each router in a heartbeat; a router that has heard \
        * none of the last three believes the gate gone: it knows within a heartbeat */
#define AN_CONN_OUTPUT_MAX                                                               \
    (1024u * 1024u) /* unread output, in bytes of frames whatever form they travel in;   \
                     * beyond: SLOW_CONSUMER, closed */
#define AN_CONN_JSON_GROWTH                                                              \
    8u /* but counted as no less than an eighth of what waits, so memory has a bound: a  \
        * control character takes six bytes in JSON, a page of them must pass */
#define AN_CONN_BAD_LINES_MAX                                                            \
    64u /* lines in a row that are no JSON object; beyond: closed, JSON */
#define AN_CONN_SENDS_MAX 256u /* unanswered Sends of a connection; beyond: BUSY */
#define AN_CONN_ASKS_MAX                                                                 \
    32u /* unanswered requests of a connection other than Sends; beyond: BUSY */
#define AN_CONN_ORDERS_MAX                                                               \
    64u /* conversations of a connection that wait for a refused message to come again;  \
         * beyond: closed, BUSY */
#define AN_CONN_REFUSED_MAX                                                              \
    1024u /* and messages of them: four windows; beyond: closed, BUSY */
#define AN_CONN_HELD_MAX                                                                 \
    255u /* frames of a connection that wait for its login to end; beyond: closed, BUSY  \
          */
#define AN_CONN_PAUSE_BYTES                                                              \
    (256u * 1024u) /* unread output that stops reading a connection, until half of it is \
                    * taken */
#define AN_CONN_CLOSE_MS 2000u /* last words and a polite end take no longer */
#define AN_GATE_SPARE_FDS                                                                \
    64u /* descriptors that accepting leaves to the rest of the process */
#define AN_CONNS_MAX 16384u /* of one gate, under the 20,000 descriptors it may have */
#define AN_GATE_PENDING_BYTES_MAX                                                        \
    (32u * 1024u * 1024u) /* requests under way at a gate; beyond: BUSY */
#define AN_USER_PENDING_SHARE                                                            \
    4u /* of them a user, by all his connections, has at most a fourth of what is free:  \
        * one alone 6.4 MiB (an SDK's window of the largest bodies is 4); whoever        \
        * floods, some is left for others; beyond: BUSY */
#define AN_GATE_NAMES_MAX 65536u /* user names whose keys a gate remembers */
#define AN_GATE_DRAIN_MS                                                                 \
    10000u /* a draining gate sends its clients elsewhere within this time, evenly:      \
            * other gates take them as they come, not all at once */
#define AN_GATE_GRACE_MS                                                                 \
    3000u /* and one that ends waits so long for the answers to what clients sent */
#define AN_GATE_LINGER_MS                                                                \
    200u /* a stopping gate leaves its clients so long to take the last words */
#define AN_GATE_FOLLOW_MS                                                                \
    5000u /* a command older than this is not sent on to another sequencer: with         \
           * AN_ASK_MS it ends before its client's patience (15 s) does */

/* How often. */
#define AN_RATE_BURST_S 10u /* what is allowed in so many seconds may come at once */
#define AN_USER_SENDS_PER_S                                                              \
    1000u /* of one user at a gate, all his connections together; beyond: RATE. Programs \
           * that write fast fit, a flood is a hundredth of what a gate takes */
#define AN_USER_SYNCS_PER_S      200u  /* 20,000 entries: a phone that was away a month */
#define AN_USER_HISTORIES_PER_S  200u  /* the same for pages of conversations */
#define AN_USER_CONFIRMS_PER_S   1000u /* one for each message is wasteful, and fits */
#define AN_USER_HEARTBEATS_PER_S 100u  /* 16 devices need less than two */
#define AN_USER_LOGINS_PER_S     100u  /* 16 devices on a bad network, and programs */
#define AN_ADDRESS_LOGINS_PER_S                                                          \
    100u /* good or not: a company behind one address is back within seconds */
#define AN_ADDRESS_REQUESTS_PER_S                                                        \
    20000u /* of all kinds but logins: what several users at their bounds send */
#define AN_ADDRESS_CONNS_MAX                                                             \
    1024u /* of one address, /64 of IPv6, at a gate; beyond: ADDRESS_FULL. Sixteen such  \
           * fill a gate */
#define AN_GATE_RATED_MAX                                                                \
    65536u /* users and addresses without a connection that a gate remembers until their \
            * buckets are full; beyond, the oldest is forgotten */
#define AN_ACCEPT_PER_S                                                                  \
    2000u /* connections that a gate takes: less than the TLS handshakes a core does, so \
           * that a storm leaves it time for those who are inside; the rest wait */
#define AN_ACCEPT_BURST 500u /* of them at once, after a quiet time */
#define AN_ACCEPT_WAIT_S                                                                 \
    4u /* the backlog holds what is taken in so many seconds: who waits longer has gone  \
        * when its turn comes */

/* Reading. */
#define AN_PAGE_ITEMS_MAX 100u           /* entries of one Sync or History answer */
#define AN_PAGE_BYTES_MAX (512u * 1024u) /* its bytes; at least one entry always fits */

/* HTTP. */
#define AN_HTTP_CONNS_MAX                                                                \
    1024u /* connections of one api; beyond, one of the address that has most ends */
#define AN_HTTP_BODY_LEN_MAX                                                             \
    (512u * 1024u) /* body of a request: a message of 64 KiB, every byte escaped */
#define AN_HTTP_BODIES_BYTES_MAX                                                         \
    (32u * 1024u * 1024u) /* of all requests under way; beyond: BUSY */
#define AN_HTTP_BODIES_SHARE                                                             \
    8u /* an address, /64 of IPv6, has an eighth of that, one body at least; beyond:     \
        * BUSY                                                                           \
        */
#define AN_HTTP_REQUEST_MS 10000u /* for a whole request to come in; then closed */
#define AN_HTTP_IDLE_MS    30000u /* between two requests of a connection; then closed */
#define AN_HTTP_ANSWER_MS                                                                \
    60000u /* for answers to be taken, all since nothing was left to take: a picture of  \
            * the page over a bad line */
#define AN_HTTP_END_MS                                                                   \
    1000u /* an api that ends gives its last answers so long to be taken */
#define AN_METRICS_MS 2000u /* for the numbers of a process's actors, asked by HTTP */
#define AN_HTTP_HEADERS_LEN_MAX                                                          \
    32768u /* a connection's memory: request line, headers, and those of the answer */

#define AN_API_TASKS_MAX  256u   /* requests of an api under way; beyond: BUSY */
#define AN_API_REQUEST_MS 10000u /* for one of them; then TIMEOUT, outcome not known */
#define AN_API_IMPORT_MS  60000u /* for an import: a hundred passwords to hash */
#define AN_API_HASHES_MAX                                                                \
    64u /* passwords waiting to be hashed, some five seconds of them; beyond: BUSY */
#define AN_API_HASHES_ADDRESS_MAX                                                        \
    8u /* of them for one address; beyond: BUSY for that address alone */
#define AN_API_HASHES_REGISTER_MAX                                                       \
    32u /* of them for registrations: there is always room for a login */
#define AN_API_HASHES_OUT_MAX                                                            \
    2u /* of them with the thread that hashes: one, and the next; the others wait where  \
        * a login goes before them */
#define AN_API_GATES_MS 2000u /* an api asks a router this often which gates live */
#define AN_API_GATES_OLD_MS                                                              \
    15000u /* what it heard last is not believed longer: all gates are named then */
#define AN_IMPORT_USERS_MAX 100u /* of one import */
#define AN_SIGN_WINDOW_S                                                                 \
    300u /* how far the time in a signed request may be off: clocks of servers, and a    \
          * queue on the way */
#define AN_TOKEN_TTL_MS                                                                  \
    (3600u * 1000u) /* a login's token: revocation reaches gates anyway */
#define AN_TOKEN_TTL_MAX_MS                                                              \
    (365ull * 24u * 3600u * 1000u) /* the longest that a back end may ask for */
#define AN_REFRESH_GRACE_MS                                                              \
    30000u /* the refresh token before the newest is taken again: an answer was lost */
#define AN_REFRESH_TTL_MS                                                                \
    (30ull * 24u * 3600u * 1000u) /* a refresh token that is not used */

/* Retry. */
#define AN_DEDUPE_WINDOW_MS                                                              \
    (24u * 3600u * 1000u) /* a client_msg_id is remembered this long */
#define AN_DEDUPE_AHEAD_MS                                                               \
    (5u * 60u * 1000u) /* a client's clock may be ahead this far                         \
                        */
#define AN_DEDUPE_ROWS_MAX                                                               \
    262144u /* held in a sequencer's memory; older: asked of the store */

/* The bus. */
#define AN_BUS_OUTSTANDING_MAX                                                           \
    16u /* requests per (peer, socket): NNG drops replies past 64 */
#define AN_BUS_MSG_LEN_MAX  (4u * 1024u * 1024u) /* one envelope and its batch */
#define AN_BATCH_ITEMS_MAX  1024u                /* commands of one batch */
#define AN_BATCH_BYTES_MAX  (1024u * 1024u)      /* a batch is closed at this size */
#define AN_ASK_MS           5000u /* default budget of an ask between actors */
#define AN_MAILBOX_MSGS_MAX 4096u /* queued at an actor; beyond: BUSY */
#define AN_DRAIN_MSGS_MAX   256u  /* steps between two drained calls */
#define AN_PUSH_QUEUE_BYTES_MAX                                                          \
    (8u * 1024u * 1024u) /* hints waiting for a router; beyond: dropped */

#define AN_LINK_IDLE_MS                                                                  \
    2000u /* a connection to another host that is silent so long is probed */
#define AN_LINK_DEAD_MS                                                                  \
    5000u /* and one that gives no sign for so long is cut: as long as an ask waits */
#define AN_CLOSE_MS                                                                      \
    3000u /* a process that has finished waits for NNG to close its connections          \
           */

#define AN_SUBMITS_FLYING_MAX                                                            \
    2u /* of sends, gate to (sequencer, store): one is decided, one is on its way */

/* Slots changing hands. */
#define AN_PROBE_MS       1000u /* a candidate waits this long for the owner's answer */
#define AN_PROBE_FRESH_MS 500u  /* and believes what it said this long */
#define AN_CLAIM_PATIENCE_MS                                                             \
    3000u /* a sequencer that cannot claim for longer counts as gone */
#define AN_HANDOVER_MS                                                                   \
    3000u /* a stopping sequencer waits for the one that takes over                      \
           */

/* Certificates between hosts. */
#define AN_CERT_WARN_DAYS                                                                \
    30u /* left of them: who restarts hosts by the month sees it                         \
         */
#define AN_CERT_LOOK_MS                                                                  \
    (24u * 3600u * 1000u) /* a process looks how many are left this often */

/* Forwarding between stores. */
#define AN_OUTGOING_ROWS_MAX                                                             \
    65536u /* waiting for one store; beyond: what has a member there is refused */
#define AN_OUTGOING_BYTES_MAX                                                            \
    (32u * 1024u * 1024u)   /* of them in memory; the rest is read back from the disk */
#define AN_BLOCKED_MS 1000u /* a sequencer refuses for a blocked store this long */

/* Traces. */
#define AN_TRACE_HOPS 32768u /* kept of each actor; 40 bytes each, as they come */

/* The sequencer. */
#define AN_SEQ_PENDING_BYTES_MAX                                                         \
    (16u * 1024u * 1024u)       /* commands waiting; beyond: BUSY */
#define AN_SEQ_CONVS_MAX 65536u /* conversations cached; the least used are dropped */
#define AN_CONFIRM_DELAY_MS                                                              \
    50u /* confirms wait this long for a message's sync to ride on */

/* Ids. */
#define AN_ID_BLOCK 1024u /* message ids a sequencer takes at a time */
#define AN_ID_RESERVE_MS                                                                 \
    3000u                 /* logical milliseconds an id generator reserves at a time */
#define AN_ID_SEGMENT 64u /* user keys taken at a time; a restart skips the rest */

/* The store. */
#define AN_OVERLAY_ROWS_MAX                                                              \
    262144u /* rows that make an apply due: some 37,000 messages share LMDB's pages, and \
             * four times as many are replayed in half a second */
#define AN_OVERLAY_BYTES_MAX                                                             \
    (64u * 1024u * 1024u)        /* or bytes; rows of 150-byte bodies stay below it,     \
                                  * long bodies do not. At 4x: appends answer BUSY */
#define AN_OVERLAY_AGE_MS 60000u /* or the oldest row's age */
#define AN_LOG_SEGMENT_BYTES                                                             \
    (64u * 1024u * 1024u) /* preallocated; one is always spare                           \
                           */
#define AN_LMDB_MAP_BYTES (64ull * 1024u * 1024u * 1024u) /* address space, not disk */
#define AN_STORE_READERS  2u /* reader threads of one store */
#define AN_STORE_WRITES_MAX                                                              \
    256u /* writes waiting at a store; beyond: BUSY (16 each of 16 sequencers) */
#define AN_STORE_READS_MAX 256u /* read requests at a store; beyond: BUSY */
#define AN_STORE_BATCH_BYTES_MAX                                                         \
    (2u * 1024u * 1024u) /* rows of a log record, plus one request: ~5 ms of disk */
#define AN_STORE_BATCH_ROWS_MAX 16384u /* the same, for small rows */
#define AN_STORE_HEADS_MAX                                                               \
    65536u /* conversation heads, and as many inbox heads, in memory */
#define AN_RETENTION_SLOTS  16u   /* looked at a second: once a minute around */
#define AN_RETENTION_ROWS   64u   /* deleted of each in one log record */
#define AN_REGISTER_LEN_MAX 4096u /* value of a durable register */

/* Placement. */
#define AN_SLOTS 1024u /* stored: every key begins with its slot; never change it */

_Static_assert(AN_FRAME_LEN_MAX > AN_BODY_LEN_MAX, "a frame carries the largest body");
_Static_assert(AN_IDLE_MS >= 2 * AN_HEARTBEAT_MS,
               "one lost heartbeat must not close a link");
_Static_assert(AN_BATCH_BYTES_MAX > AN_FRAME_LEN_MAX, "a batch holds the largest frame");
_Static_assert(AN_BUS_MSG_LEN_MAX >= 2 * AN_BATCH_BYTES_MAX,
               "a batch may overshoot by one command");
_Static_assert(AN_PAGE_BYTES_MAX > AN_FRAME_LEN_MAX, "a page holds the largest message");
_Static_assert(AN_CONN_OUTPUT_MAX > AN_PAGE_BYTES_MAX,
               "a page fits a connection's output");
_Static_assert(AN_CONN_JSON_GROWTH >= 8, "a page of control characters, 6 bytes each");
_Static_assert(AN_BUS_OUTSTANDING_MAX * 4 <= 64,
               "NNG 1.5.2 drops replies past 64 a peer");

#endif
