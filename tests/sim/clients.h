/* The simulated clients: several users with several devices each, speaking the client
 * protocol. One client is one installation of a device; what it holds here is its journal
 * on disk, which survives its connections. clients.c decides what a client does next,
 * client_frames.c speaks the protocol. (The real SDK may take client_frames.c's place: it
 * needs sim_door_* below it and sim_check_* beside it.) */
#ifndef AN_TESTS_SIM_CLIENTS_H
#define AN_TESTS_SIM_CLIENTS_H

#include "core/token.h"
#include "tests/sim/check.h"

enum {
    CLIENT_REQUESTS_MAX = 64,
    CLIENT_REQUEST_MS = 20000, /* no answer: the connection is given up */
};

enum client_state { CLIENT_OFF, CLIENT_CONNECTING, CLIENT_LOGIN, CLIENT_ON };

enum letter_kind {
    LETTER_NEW,
    LETTER_REPEAT,   /* acked before: the same result again */
    LETTER_CONFLICT, /* an acked id with another body: ID_CONFLICT */
    LETTER_UNKNOWN,  /* to nobody: USER_NOT_FOUND */
};

/* A Send that waits for its outcome, in sending order. */
struct letter {
    enum letter_kind kind;
    struct sim_sent *sent; /* NULL: to nobody */
    uint8_t id[AN_CLIENT_MSG_ID_LEN];
    bool in_flight;
    unsigned attempts;
    uint64_t wait_until_us;
    struct letter *next;
};

struct request {
    uint32_t number; /* 0: free */
    uint16_t command;
    uint64_t at_us;
    struct letter *letter;
    uint64_t a, b; /* what was asked for */
    unsigned peer;
    uint64_t known;  /* what the answer must not fall behind */
    uint16_t expect; /* this refusal and no other outcome; 0: none */
};

struct sim_client {
    unsigned index, user;
    char device[24];
    struct an_rng rng;
    enum client_state state;
    uint64_t conn, old_conn; /* old_conn: left open beside the new one */
    uint64_t connect_after_us;
    unsigned gate, silent_gate; /* silent_gate: 1 + one that did not answer; 0: none */
    uint32_t request_next;
    struct request request[CLIENT_REQUESTS_MAX];
    struct letter *letters;
    uint64_t server_ms, server_us; /* the server's clock at that virtual time */
    uint64_t heartbeat_us, on_since_us;
    /* The journal. */
    uint8_t *got; /* by inbox seq - 1 */
    size_t got_cap;
    uint64_t have; /* every entry up to here */
    uint64_t head; /* as last heard */
    uint64_t generation;
    uint64_t confirm_sent;
    uint64_t position[SIM_USERS_MAX]; /* highest seq received, by peer */
    bool syncing;
    /* The audit at the end. */
    unsigned audit_step; /* 0: the inbox; then 1 + peer */
    uint64_t audit_after;
    bool audit_waits;
};

struct sim_clients {
    struct sim *sim;
    struct sim_check *check;
    struct sim_client client[SIM_CLIENTS_MAX];
    unsigned count;
    char *token[SIM_USERS_MAX];
    struct an_token_keys keys;
    uint64_t modest_us; /* when the modest user sent last */
    bool quiet;         /* no new operations: what is pending is brought to an end */
    bool audit;
    bool gone; /* none of them does anything more */
    uint64_t quiet_us;
    unsigned banned;       /* user + 1, who is forbidden; 0: nobody */
    uint64_t banned_us;    /* from then on nobody serves him */
    uint16_t refused[800]; /* how often each error came, by number */
};

struct sim_clients *sim_clients_create(struct sim *sim, struct sim_check *check);
void sim_clients_destroy(struct sim_clients *clients);
void sim_clients_start(struct sim_clients *clients);
/* Nothing is pending and every device has all of its inbox. why: who has not. */
bool sim_clients_settled(const struct sim_clients *clients, char *why, size_t why_len);
bool sim_clients_audited(const struct sim_clients *clients);

/* Is it one of the user who is forbidden? */
bool client_banned(const struct sim_clients *clients, const struct sim_client *client);
/* They hang up, and that was all of them. */
void sim_clients_leave(struct sim_clients *clients);
/* How many of the user's are logged in. */
unsigned sim_clients_on(const struct sim_clients *clients, unsigned user);

/* client_frames.c */
void client_login(struct sim_clients *clients, struct sim_client *client);
bool client_send_letter(struct sim_clients *clients, struct sim_client *client,
                        struct letter *letter);
void client_sync(struct sim_clients *clients, struct sim_client *client, uint64_t after);
void client_history(struct sim_clients *clients, struct sim_client *client, unsigned peer,
                    uint64_t before, uint64_t after, bool oldest_first, uint32_t limit);
void client_confirm(struct sim_clients *clients, struct sim_client *client,
                    uint64_t ahead);
void client_heartbeat(struct sim_clients *clients, struct sim_client *client);
/* So many at once that the rest must be refused. */
void client_flood(struct sim_clients *clients, struct sim_client *client);
/* Is it the user who never does anything too often? */
bool client_modest(const struct sim_clients *clients, const struct sim_client *client);
void client_logout(struct sim_clients *clients, struct sim_client *client);
void client_bad_send(struct sim_clients *clients, struct sim_client *client);
/* client_answers.c */
void client_answer(struct sim_clients *clients, struct sim_client *client,
                   const struct an_frame *frame, const uint8_t *body);
void client_push(struct sim_clients *clients, struct sim_client *client,
                 const struct an_frame *frame, const uint8_t *body);
/* clients.c */
void client_lost(struct sim_clients *clients, struct sim_client *client,
                 uint64_t back_off_ms);
void client_letter_done(struct sim_client *client, struct letter *letter);
void client_entry(struct sim_clients *clients, struct sim_client *client,
                  uint64_t inbox_seq, struct sim_sent *sent);
uint64_t client_between(struct sim_client *client, uint64_t low, uint64_t high);
struct request *client_request_find(struct sim_client *client, uint32_t number);

#endif
