/* What the simulator knows of the truth, and the promises it holds the cluster to. Every
 * ack, page and push goes through here the moment a client sees it; the first sight of a
 * message fixes it and every later one must agree. */
#ifndef AN_TESTS_SIM_CHECK_H
#define AN_TESTS_SIM_CHECK_H

#include "proto/client.pb-c.h"
#include "tests/sim/sim_priv.h"

enum {
    SIM_USERS_MAX = 8,
    SIM_CLIENTS_MAX = 24,
};

enum sim_sent_state {
    SIM_SENT_PENDING,
    SIM_SENT_ACKED,
    SIM_SENT_REFUSED, /* for good: it may have been stored once, or never */
};

/* One message as its client wrote it into its journal before sending. */
struct sim_sent {
    uint8_t id[AN_CLIENT_MSG_ID_LEN];
    uint64_t number; /* order of writing, over all clients */
    unsigned from, to, client;
    uint32_t type;
    uint8_t *body;
    size_t len;
    enum sim_sent_state state;
    uint64_t written_us, acked_us; /* acked_us 0: not yet */
    bool acked; /* ever; state may be pending again while it is repeated */
    /* Refused for good because of a clock, whether or not the refusal arrived. */
    bool turned_away;

    unsigned copies; /* sent and not refused with RATE: only these may be stored */

    /* As first seen, by whomever. */
    bool seen;
    uint64_t seq, message_id, time_ms;
    uint64_t inbox_from, inbox_to; /* its numbers in the two inboxes; 0: not seen */
};

struct sim_timeline { /* of messages by number - 1 */
    struct sim_sent **at;
    size_t cap;
    uint64_t max; /* highest number seen */
};

struct sim_check {
    struct sim *sim;
    unsigned users;
    char name[SIM_USERS_MAX][AN_NAME_LEN_MAX + 1];
    struct sim_sent **sent; /* all of them, by number */
    size_t sent_count, sent_cap;
    struct sim_timeline conv[SIM_USERS_MAX][SIM_USERS_MAX]; /* low user, high user */
    struct sim_timeline inbox[SIM_USERS_MAX];
    /* Highest positions: [of the conversation with][by whom]. */
    uint64_t delivered_told[SIM_USERS_MAX][SIM_USERS_MAX];
    uint64_t delivered_acked[SIM_USERS_MAX][SIM_USERS_MAX];
    uint64_t confirm_told[SIM_CLIENTS_MAX];
    uint64_t confirm_acked[SIM_CLIENTS_MAX];
    bool audited[SIM_USERS_MAX][SIM_USERS_MAX]; /* a whole history was read at the end */
    bool inbox_audited[SIM_USERS_MAX];
    uint64_t inbox_head[SIM_USERS_MAX]; /* as the audit found it */
};

struct sim_check *sim_check_create(struct sim *sim, unsigned users);
void sim_check_destroy(struct sim_check *check);
struct sim_timeline *sim_check_conv(struct sim_check *check, unsigned a, unsigned b);
/* A journal entry; body is taken. */
struct sim_sent *sim_check_write(struct sim_check *check, unsigned from, unsigned to,
                                 unsigned client, uint32_t type, uint8_t *body,
                                 size_t len);
void sim_check_ack(struct sim_check *check, struct sim_sent *sent, uint64_t seq,
                   uint64_t message_id, uint64_t time_ms);
/* A sequencer has refused the message of this id for good. */
void sim_check_turned_away(struct sim_check *check,
                           const uint8_t id[AN_CLIENT_MSG_ID_LEN]);
/* A message somebody sees: who, and as number what of its conversation it says. NULL
 * when it broke a promise. */
struct sim_sent *sim_check_message(struct sim_check *check, unsigned viewer,
                                   const Anser__Client__Message *message);
/* Is the sender's inbox on another store than the message? Then it is pushed to its own
 * device too, whose answer did not say its number. */
bool sim_check_crosses(const struct sim_check *check, const struct sim_sent *sent);
void sim_check_inbox(struct sim_check *check, unsigned user, uint64_t inbox_seq,
                     struct sim_sent *sent);
/* Has every device that should know it seen every acked message, up to its number have
 * of its inbox? */
bool sim_check_caught_up(const struct sim_check *check, unsigned user, uint64_t have);
/* After everything settled and was audited. */
void sim_check_end(struct sim_check *check);

#endif
