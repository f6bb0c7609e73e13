/* Guests: clients of an app with a login policy, who log in and out on several platforms,
 * with good tokens, bad ones and revoked ones, and say nothing else. guests.c is what
 * they do, guests_truth.c what they may be told (login policies, revocations); people.c
 * says when. All is drawn from dice of their own, so what was before is the same with
 * and without them. */
#ifndef AN_TESTS_SIM_GUESTS_H
#define AN_TESTS_SIM_GUESTS_H

#include "core/apps.h"
#include "core/rng.h"
#include "core/token.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"

#define SIM_GUEST_APP "people"

enum {
    SIM_GUESTS_MAX = 16,
    SIM_GUEST_USERS_MAX = 3,
    SIM_GUEST_DEVICES_MAX = 4, /* of a user; two guests may be the same device */
    SIM_GUEST_KEY = SIM_USER_KEY + 100,
};

/* What a guest shows at the door. */
enum guest_token {
    GUEST_TOKEN_GOOD,
    GUEST_TOKEN_OLD,     /* issued before its user's or its device's were revoked */
    GUEST_TOKEN_EXPIRED, /* the rest never was any good */
    GUEST_TOKEN_FORGED,
    GUEST_TOKEN_OTHER_DEVICE,
};

struct sim_guest {
    unsigned index, user, device;
    char device_name[24];
    const char *platform;
    struct an_rng rng;
    enum client_state state;
    uint64_t conn;
    uint64_t connect_after_us, heartbeat_us, asked_us; /* asked: 0: nothing is */
    uint32_t request_next;
    bool leaving; /* it said so */
    /* Of this connection. */
    enum guest_token shown;
    uint64_t shown_issued_ms;
    uint64_t known_from_ms; /* when it was shown, an earlier one was surely void */
    uint16_t refused;       /* its login was, with this; 0: not */
    uint16_t goodbye;       /* 0: none yet */
    /* Its good token; 0: it needs one. */
    uint64_t issued_ms;
    uint64_t minted_us;
    bool fetching;  /* a new one is asked for */
    bool attempted; /* a login with a good token, ever */
    /* In the calm. */
    bool called; /* it is to log in, until it is in or refused for good */
    uint16_t last_goodbye;
    uint16_t last_refused;
};

/* From when tokens are good: of a user, or of a device. */
struct guest_from {
    uint64_t ms;      /* as the newest that was acknowledged says; 0: ever */
    unsigned pending; /* under way: perhaps later */
    bool ever;        /* any was begun: copies may come late */
};

struct sim_guests {
    struct sim *sim;
    const struct an_token_key *key;
    struct an_rng dice;
    enum an_login_policy policy;
    struct sim_guest guest[SIM_GUESTS_MAX];
    unsigned count, users;
    char name[SIM_GUEST_USERS_MAX][24];
    struct guest_from of_user[SIM_GUEST_USERS_MAX];
    struct guest_from of_device[SIM_GUEST_USERS_MAX][SIM_GUEST_DEVICES_MAX];
    uint64_t born_ms; /* the first tokens are of then */
    bool gather;      /* at last they all come, with good tokens, and nobody goes */
    bool still;       /* nobody comes or goes any more, but who was called */
    bool calm;        /* no faults, and none are felt: what happens is foreseen */
    int caller;       /* in the calm, the one whose login tells others to go; -1: none */
    /* Errands from 1 on. */
    struct sim_errand *errand;
    void (*errand_run)(void *ctx, unsigned place);
    void *errand_ctx;
    int fetches[SIM_ERRANDS_MAX]; /* the guest that an errand is for; -1: none */
};

/* errand: SIM_ERRANDS_MAX, the first is not ours; run begins one. */
struct sim_guests *sim_guests_create(struct sim *sim, const struct an_token_key *key,
                                     struct sim_errand *errand,
                                     void (*run)(void *ctx, unsigned place), void *ctx);
void sim_guests_destroy(struct sim_guests *guests);
/* From now on they come and go. */
void sim_guests_start(struct sim_guests *guests);
/* Is it logged in over a connection that stands? */
bool sim_guest_on(const struct sim_guests *guests, const struct sim_guest *guest);
void sim_guest_hang_up(struct sim_guests *guests, struct sim_guest *guest);
/* An errand for it, or (guest -1) for all of the user, or of the device when named. */
void sim_guests_errand(struct sim_guests *guests, enum sim_errand_what what,
                       unsigned user, const char *device, int guest);
/* Takes note of those that are done. Is any left? */
bool sim_guests_errands_left(struct sim_guests *guests);
/* A revocation that the dice choose. */
void sim_guests_revoke(struct sim_guests *guests);

/* guests_truth.c */
/* AN_ERR_REPLACED, AN_ERR_KICKED: what the older of the two is told when the other logs
 * in; AN_OK: both stay. */
enum an_err guest_conflict(const struct sim_guests *guests, const struct sim_guest *older,
                           const struct sim_guest *newer);
/* Before then its tokens are void, as far as was acknowledged. */
uint64_t guest_from_ms(const struct sim_guests *guests, const struct sim_guest *guest);
/* What the end of an errand says of tokens. */
void guest_truth_began(struct sim_guests *guests, const struct sim_errand *errand);
void guest_truth_acked(struct sim_guests *guests, const struct sim_errand *errand);
/* May it be told so? */
void guest_judge_in(struct sim_guests *guests, const struct sim_guest *guest);
void guest_judge_refused(struct sim_guests *guests, const struct sim_guest *guest,
                         uint32_t err);
void guest_judge_goodbye(struct sim_guests *guests, const struct sim_guest *guest,
                         uint32_t err);
/* All has settled: who is on beside whom, and with which tokens? */
void guest_judge_all(struct sim_guests *guests);

#endif
