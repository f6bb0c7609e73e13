/* Guessing passwords: the real api actor over toys of everything else, for virtual half
 * hours. Guessers at some addresses try passwords of people who log in from elsewhere.
 * How many guesses were answered is judged by the rule of docs/http.md, and the owner
 * must get in. All that the real actor keeps of it is in memory, so each life of it
 * counts for itself. */
#ifndef AN_TESTS_SIM_GUESS_H
#define AN_TESTS_SIM_GUESS_H

#include "core/http.h"
#include "core/rng.h"
#include "core/topology.h"
#include "tests/sim/sim_priv.h"

enum {
    GUESS_OWNERS = 3,
    GUESS_GUESSERS_MAX = 4,
    GUESS_PEOPLE_MAX = GUESS_OWNERS + GUESS_GUESSERS_MAX,
    GUESS_REQUESTS_MAX = 96,
    GUESS_BURST = 6,
};

/* Wrong passwords that were answered as such: when they were sent, and answered. */
struct guess_run {
    uint64_t *sent, *answered; /* us, each in rising order */
    size_t count, sent_cap, answered_cap;
    uint64_t tried_us; /* the last try, of whatever outcome */
};

enum guess_manner { GUESS_PATIENT, GUESS_HASTY, GUESS_BURSTS, GUESS_MANNERS };

/* The first are owners, each of the account of the same number; the others guess, and
 * have an account of their own. */
struct guess_person {
    bool owner;
    unsigned account; /* its own */
    enum guess_manner manner;
    bool v6;         /* any address of a network */
    bool own_too;    /* logs in rightly in between */
    unsigned flying; /* requests */
    uint64_t wait_until_us;
    unsigned typos;                             /* an owner's, before the right one */
    uint64_t in_us;                             /* its last right login */
    struct guess_run all, at[GUESS_PEOPLE_MAX]; /* by account */
};

struct guess_request {
    struct an_http_request http;
    bool used;
    char body[160];
    unsigned person, account;
    bool right;
    uint64_t sent_us;
    uint32_t life; /* of the api */
};

struct guess {
    struct sim *sim;
    struct an_topology topology;
    struct an_rng dice;
    unsigned api; /* which actor */
    uint32_t life;
    struct guess_person person[GUESS_PEOPLE_MAX];
    unsigned people;
    struct guess_request request[GUESS_REQUESTS_MAX];
    uint64_t next_id;
    uint32_t unwell; /* chances per 10,000 that the toy store cannot be asked */
    /* What happened. */
    unsigned wrong, slowed, in, passing, longest;
};

/* Faults and manners drawn from the seed. */
struct sim *guess_begin(struct guess *g, uint64_t seed, bool verbose);
void guess_end(struct guess *g);
/* They begin. */
void guess_start(struct guess *g);
/* Has every owner been let in since? */
bool guess_owners_in(const struct guess *g, uint64_t since_us);

#endif
