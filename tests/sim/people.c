/* Guests in the same world, when the clients have left it: they come and go while faults
 * happen and tokens are revoked; then nobody moves and what stands is judged; then, in
 * the calm, one login or revocation after the other, of which all that follows is
 * foreseen. docs/testing.md. */
#include "tests/sim/trial.h"
#include <stdio.h>

enum {
    ERRANDS_MS_MAX = 60000,
    SETTLE_MS_MAX = 120000,
    HEAL_MS = 15000, /* a heartbeat and a quarter, and a little: whatever was lost */
    CALL_MS_MAX = 30000,
    WORD_MS = 2000, /* a login's or a revocation's consequences, with every word heard */
    REVOKE_MS_MIN = 1000,
    REVOKE_MS_MAX = 8000,
    GATHER_MS = 5000,
    STEPS = 14,
    SECOND_MS = 1000,
};

static bool
errands_done(void *ctx)
{
    return !sim_guests_errands_left(((struct sim_trial *)ctx)->guests);
}

static void
errand_run(void *ctx, unsigned place)
{
    struct sim_trial *trial = ctx;

    sim_admin_errand(trial->sim, trial->admin_actor, &trial->errand[place], place,
                     trial->sim->topology);
}

static void
wait_ms(struct sim *sim, uint64_t ms)
{
    sim_run_until(sim, sim_now_ms(sim) + ms, NULL, NULL);
}

static void
errands_wait(struct sim_trial *trial, const char *what)
{
    struct sim *sim = trial->sim;

    if (!sim_run_until(sim, sim_now_ms(sim) + ERRANDS_MS_MAX, errands_done, trial) &&
        !sim->failed) {
        sim_fail(sim, "%s: not done in %d s", what, ERRANDS_MS_MAX / 1000);
    }
}

/* ------------------------------------------------------------------ before */

/* From here on clocks differ by little, and no more by the hour: when a token was issued
 * is a matter of clocks. */
static void
clocks_set(struct sim *sim)
{
    sim->plan.clocks_near = true;
    for (unsigned i = 0; i < sim->process_count; i++) {
        sim->process[i].wall_offset_ms = 0;
        sim->process[i].wall_ppm = 0;
    }
}

static void
users_make(struct sim_trial *trial)
{
    for (unsigned user = 0; user < trial->guests->users; user++) {
        sim_guests_errand(trial->guests, SIM_ERRAND_NAME, user, NULL, -1);
        sim_guests_errand(trial->guests, SIM_ERRAND_USER, user, NULL, -1);
    }
    errands_wait(trial, "the guests' accounts");
}

/* ------------------------------------------------------------------ under faults */

static void
revoke(struct sim *sim, void *arg, uint64_t number)
{
    uint64_t ms;

    (void)arg;
    (void)number;
    if (sim->guests->still) {
        return;
    }
    sim_guests_revoke(sim->guests);
    ms = REVOKE_MS_MIN + an_rng_below(&sim->guests->dice, REVOKE_MS_MAX);
    sim_at(sim, sim->now_us + ms * SIM_MS, revoke, NULL, 0);
}

static bool
settled(void *ctx)
{
    char why[128];

    return errands_done(ctx) && sim_trial_ready(ctx, why, sizeof(why));
}

static void
settle(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    uint64_t from_us = sim->trouble_us > sim->now_us ? sim->trouble_us : sim->now_us;
    char why[128] = "a revocation is not done";

    wait_ms(sim, from_us / SIM_MS - sim_now_ms(sim));
    if (!sim_run_until(sim, sim_now_ms(sim) + SETTLE_MS_MAX, settled, trial) &&
        !sim->failed) {
        sim_trial_ready(trial, why, sizeof(why));
        sim_fail(sim, "guests: not settled %d s after the last fault: %s",
                 SETTLE_MS_MAX / 1000, why);
    }
}

/* The admin is up, and nobody has anything on the way. */
static void
come_and_go(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    struct sim_guests *guests = trial->guests;

    sim_faults_start(sim);
    sim_guests_start(guests);
    sim_at(sim, sim->now_us + REVOKE_MS_MIN * SIM_MS, revoke, NULL, 0);
    wait_ms(sim, sim->plan.people * SECOND_MS);
    guests->gather = true;
    wait_ms(sim, GATHER_MS);
    sim_faults_end(sim);
    guests->still = true;
    if (!sim->failed) {
        settle(trial);
    }
    wait_ms(sim, HEAL_MS);
    if (!sim->failed) {
        guest_judge_all(guests);
    }
}

/* ------------------------------------------------------------------ in the calm */

struct standing {
    bool on[SIM_GUESTS_MAX];
    enum an_err then[SIM_GUESTS_MAX]; /* what each is to be told; AN_OK: nothing */
};

static void
standing_take(const struct sim_guests *guests, struct standing *standing)
{
    for (unsigned i = 0; i < guests->count; i++) {
        standing->on[i] = sim_guest_on(guests, &guests->guest[i]);
    }
}

/* What has become of those who were on. */
static void
standing_judge(struct sim_guests *guests, const struct standing *was,
               const struct sim_guest *newcomer)
{
    for (unsigned i = 0; i < guests->count && !guests->sim->failed; i++) {
        const struct sim_guest *guest = &guests->guest[i];
        bool on = sim_guest_on(guests, guest);
        enum an_err then = AN_OK;

        if (!was->on[i] || guest == newcomer) {
            continue;
        }
        if (newcomer != NULL) {
            then = guest_conflict(guests, guest, newcomer);
        }
        if (guest->shown_issued_ms < guest_from_ms(guests, guest)) {
            then = AN_ERR_TOKEN_REVOKED;
        }
        if (on != (then == AN_OK)) {
            sim_fail(guests->sim, "guest %u is %s, and was to be told %s", i,
                     on ? "on" : "gone", an_err_name(then));
        } else if (!on && guest->last_goodbye != then && then != AN_ERR_TOKEN_REVOKED) {
            sim_fail(guests->sim, "guest %u was told %s instead of %s", i,
                     an_err_name(guest->last_goodbye), an_err_name(then));
        }
    }
}

static bool
answered(void *ctx)
{
    const struct sim_guests *guests = ((struct sim_trial *)ctx)->guests;

    for (unsigned i = 0; i < guests->count; i++) {
        if (guests->guest[i].called) {
            return false;
        }
    }
    return true;
}

/* Somebody who is not on; else somebody goes. */
static struct sim_guest *
caller_choose(struct sim_trial *trial)
{
    struct sim_guests *guests = trial->guests;
    unsigned first = (unsigned)an_rng_below(&guests->dice, guests->count);

    for (unsigned i = 0; i < guests->count; i++) {
        struct sim_guest *guest = &guests->guest[(first + i) % guests->count];
        if (guest->state == CLIENT_OFF) {
            return guest;
        }
    }
    sim_guest_hang_up(guests, &guests->guest[first]);
    wait_ms(trial->sim, WORD_MS);
    return &guests->guest[first];
}

static void
call_choose(struct sim_guests *guests, struct sim_guest *guest)
{
    uint64_t dice = an_rng_below(&guests->dice, 10);

    guest->shown = GUEST_TOKEN_GOOD;
    if (guest->issued_ms < guest_from_ms(guests, guest)) {
        guest->issued_ms = 0; /* it asks for a new one before */
    }
    if (dice < 2 && guest_from_ms(guests, guest) > 0) {
        guest->shown = GUEST_TOKEN_OLD;
    } else if (dice >= 8) {
        guest->shown =
            (enum guest_token)(GUEST_TOKEN_EXPIRED + an_rng_below(&guests->dice, 3));
    }
}

/* Also when those who have to go for it do not hear of it at first. */
static void
calm_login(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    struct sim_guests *guests = trial->guests;
    struct sim_guest *guest = caller_choose(trial);
    bool unheard = an_rng_below(&guests->dice, 3) == 0;
    struct standing was;
    bool in;

    call_choose(guests, guest);
    standing_take(guests, &was);
    sim->hints_lost = unheard;
    guests->caller = guest->shown == GUEST_TOKEN_GOOD ? (int)guest->index : -1;
    guest->last_refused = 0;
    guest->connect_after_us = 0;
    guest->called = true;
    sim_trace(sim, "guest %u is called", guest->index);
    if (!sim_run_until(sim, sim_now_ms(sim) + CALL_MS_MAX, answered, trial)) {
        sim_fail(sim, "guest %u has no answer to its login in %d s", guest->index,
                 CALL_MS_MAX / 1000);
    }
    wait_ms(sim, WORD_MS);
    sim->hints_lost = false;
    wait_ms(sim, unheard ? HEAL_MS : 0); /* who did not hear it is told again */
    in = sim_guest_on(guests, guest);
    if (!sim->failed && in != (guest->shown == GUEST_TOKEN_GOOD)) {
        sim_fail(sim, "guest %u with token kind %d is %s: %s", guest->index,
                 (int)guest->shown, in ? "on" : "not on",
                 an_err_name(guest->last_refused));
    }
    standing_judge(guests, &was, guests->caller >= 0 ? guest : NULL);
    guests->caller = -1;
}

/* Also when no gate hears of it but by asking. */
static void
calm_revocation(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    struct sim_guests *guests = trial->guests;
    bool unheard = an_rng_below(&guests->dice, 2) == 0;
    struct standing was;

    standing_take(guests, &was);
    sim->hints_lost = unheard;
    sim_guests_revoke(guests);
    errands_wait(trial, "a revocation in the calm");
    wait_ms(sim, unheard ? HEAL_MS : WORD_MS);
    sim->hints_lost = false;
    standing_judge(guests, &was, NULL);
}

static void
calm(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;
    struct sim_guests *guests = trial->guests;

    guests->calm = true;
    for (unsigned i = 0; i < guests->count; i++) {
        guests->guest[i].issued_ms = 0; /* a copy may have moved the time since */
    }
    for (unsigned i = 0; i < STEPS && !sim->failed; i++) {
        sim->counts[SIM_GUEST_STEPS]++;
        if (an_rng_below(&guests->dice, 5) == 0) {
            calm_revocation(trial);
        } else {
            calm_login(trial);
        }
    }
}

void
sim_people(struct sim_trial *trial)
{
    struct sim *sim = trial->sim;

    if (sim->options.bug != SIM_BUG_NONE) {
        return; /* none of them is of theirs */
    }
    sim_clients_leave(trial->clients);
    sim->hints_lost = false;
    clocks_set(sim);
    trial->guests = sim_guests_create(sim, &trial->clients->keys.key[0], trial->errand,
                                      errand_run, trial);
    trial->errand[0].done = false;
    users_make(trial);
    if (!sim->failed) {
        come_and_go(trial);
    }
    if (!sim->failed && an_rng_below(&trial->guests->dice, 2) == 0) {
        sim_trial_power_cut(trial); /* what was acknowledged is on disk */
        settle(trial);
    }
    if (!sim->failed) {
        calm(trial);
    }
}
