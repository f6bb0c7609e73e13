/* What guests may be told: the login policies by their table in docs/configuration.md,
 * and revocations by what was acknowledged. */
#include "tests/sim/guests.h"
#include <string.h>

/* ------------------------------------------------------------------ policies */

static bool
among(const char *platform, const char *const *list)
{
    while (*list != NULL && strcmp(*list, platform) != 0) {
        list++;
    }
    return *list != NULL;
}

static bool
policy_parts(enum an_login_policy policy, const char *older, const char *newer)
{
    static const char *const mobile[] = {"ios", "android", NULL};
    static const char *const desktop[] = {"windows", "mac", "linux", NULL};

    if (strcmp(older, "api") == 0 || strcmp(newer, "api") == 0) {
        return false;
    }
    switch (policy) {
    case AN_LOGIN_SINGLE:
        return true;
    case AN_LOGIN_DOUBLE:
        return strcmp(older, "web") != 0 && strcmp(newer, "web") != 0;
    case AN_LOGIN_TRIPLE:
        return (among(older, mobile) && among(newer, mobile)) ||
               (among(older, desktop) && among(newer, desktop));
    case AN_LOGIN_MULTI:
    case AN_LOGIN_POLICY_COUNT:
        break;
    }
    return false;
}

enum an_err
guest_conflict(const struct sim_guests *guests, const struct sim_guest *older,
               const struct sim_guest *newer)
{
    if (older->user != newer->user || older == newer) {
        return AN_OK;
    }
    if (older->device == newer->device) {
        return AN_ERR_REPLACED;
    }
    return policy_parts(guests->policy, older->platform, newer->platform) ? AN_ERR_KICKED
                                                                          : AN_OK;
}

/* Has anybody done what this is the answer to? Its own older connection may still stand
 * at some gate, and be taken for the newer one after a router's restart. */
static bool
has_cause(const struct sim_guests *guests, const struct sim_guest *guest, enum an_err err)
{
    if (guests->calm) {
        return guests->caller >= 0 &&
               guest_conflict(guests, guest, &guests->guest[guests->caller]) == err;
    }
    if (err == AN_ERR_REPLACED) {
        return true;
    }
    for (unsigned i = 0; i < guests->count; i++) {
        const struct sim_guest *other = &guests->guest[i];
        if (other->attempted && guest_conflict(guests, guest, other) == err) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ revocations */

static struct guest_from *
from_of(struct sim_guests *guests, const struct sim_errand *errand)
{
    unsigned user = (unsigned)(errand->user - SIM_GUEST_KEY);

    for (unsigned i = 0; errand->device != NULL && i < guests->count; i++) {
        const struct sim_guest *guest = &guests->guest[i];
        if (guest->user == user && strcmp(guest->device_name, errand->device) == 0) {
            return &guests->of_device[user][guest->device];
        }
    }
    return &guests->of_user[user];
}

uint64_t
guest_from_ms(const struct sim_guests *guests, const struct sim_guest *guest)
{
    uint64_t of_user = guests->of_user[guest->user].ms;
    uint64_t of_device = guests->of_device[guest->user][guest->device].ms;

    return of_user > of_device ? of_user : of_device;
}

static bool
is_token_errand(const struct sim_errand *errand)
{
    return errand->what == SIM_ERRAND_REVOKE || errand->what == SIM_ERRAND_LOGIN;
}

void
guest_truth_began(struct sim_guests *guests, const struct sim_errand *errand)
{
    if (is_token_errand(errand)) {
        struct guest_from *from = from_of(guests, errand);

        from->pending++;
        from->ever = true;
    }
}

/* It is as late as every one before, and later than every token that was there. */
void
guest_truth_acked(struct sim_guests *guests, const struct sim_errand *errand)
{
    struct guest_from *from;

    if (!is_token_errand(errand)) {
        return;
    }
    from = from_of(guests, errand);
    from->pending--;
    if (errand->time_ms < from->ms) {
        sim_fail(guests->sim, "a revocation of %s is forgotten: from %llu, and was %llu",
                 errand->name, (unsigned long long)errand->time_ms,
                 (unsigned long long)from->ms);
    }
    for (unsigned i = 0; i < guests->count && errand->what == SIM_ERRAND_REVOKE; i++) {
        const struct sim_guest *guest = &guests->guest[i];
        bool covered =
            guest->user == errand->user - SIM_GUEST_KEY &&
            (errand->device == NULL || strcmp(errand->device, guest->device_name) == 0);
        if (covered && guest->issued_ms >= errand->time_ms &&
            guest->minted_us < errand->began_us) {
            sim_fail(guests->sim,
                     "a revocation from %llu leaves guest %u a token of %llu",
                     (unsigned long long)errand->time_ms, guest->index,
                     (unsigned long long)guest->issued_ms);
        }
    }
    from->ms = errand->time_ms;
}

/* May a token of then be refused as revoked? While there are faults a copy of an old
 * revocation may still come, and moves the time once more. */
static bool
may_be_revoked(const struct sim_guests *guests, const struct sim_guest *guest)
{
    const struct guest_from *user = &guests->of_user[guest->user];
    const struct guest_from *device = &guests->of_device[guest->user][guest->device];

    return guest->shown_issued_ms < guest_from_ms(guests, guest) || user->pending > 0 ||
           device->pending > 0 || (!guests->calm && (user->ever || device->ever));
}

/* ------------------------------------------------------------------ logins */

void
guest_judge_in(struct sim_guests *guests, const struct sim_guest *guest)
{
    if (guest->shown >= GUEST_TOKEN_EXPIRED) {
        sim_fail(guests->sim, "guest %u is let in with a bad token", guest->index);
    } else if (guest->shown_issued_ms < guest->known_from_ms) {
        sim_fail(guests->sim,
                 "guest %u is let in with a token of %llu, revoked from %llu",
                 guest->index, (unsigned long long)guest->shown_issued_ms,
                 (unsigned long long)guest->known_from_ms);
    }
}

/* What trying again mends. */
static bool
passes(uint32_t err)
{
    return an_err_handling(err) == AN_HANDLE_RETRY;
}

void
guest_judge_refused(struct sim_guests *guests, const struct sim_guest *guest,
                    uint32_t err)
{
    bool right = passes(err);

    switch (guest->shown) {
    case GUEST_TOKEN_GOOD:
    case GUEST_TOKEN_OLD:
        right = right || (err == AN_ERR_TOKEN_REVOKED && may_be_revoked(guests, guest));
        break;
    case GUEST_TOKEN_EXPIRED:
        right = right || err == AN_ERR_TOKEN_EXPIRED;
        break;
    case GUEST_TOKEN_FORGED:
        right = right || err == AN_ERR_TOKEN_INVALID;
        break;
    case GUEST_TOKEN_OTHER_DEVICE:
        right = right || err == AN_ERR_TOKEN_DEVICE;
        break;
    }
    if (!right) {
        sim_fail(guests->sim,
                 "the login of guest %u with token kind %d of %llu is refused: %s",
                 guest->index, (int)guest->shown,
                 (unsigned long long)guest->shown_issued_ms, an_err_name(err));
    }
}

void
guest_judge_goodbye(struct sim_guests *guests, const struct sim_guest *guest,
                    uint32_t err)
{
    bool right;

    switch (err) {
    case AN_ERR_KICKED:
    case AN_ERR_REPLACED:
        right = has_cause(guests, guest, (enum an_err)err);
        break;
    case AN_ERR_TOKEN_REVOKED:
        right = may_be_revoked(guests, guest);
        break;
    case AN_ERR_IDLE:
    case AN_ERR_LOGIN_TIMEOUT:
    case AN_ERR_SLOW_CONSUMER:
        right = !guests->calm;
        break;
    case AN_ERR_ADDRESS_FULL:
        right = guests->sim->plan.rates > 0;
        break;
    default:
        right = passes(err) || err == AN_ERR_SHUTTING_DOWN || err == AN_ERR_DRAINING;
        break;
    }
    if (!right && err != guest->refused) {
        sim_fail(guests->sim, "guest %u is sent away for nothing: %s", guest->index,
                 an_err_name(err));
    }
}

/* ------------------------------------------------------------------ all of them */

void
guest_judge_all(struct sim_guests *guests)
{
    for (unsigned i = 0; i < guests->count; i++) {
        const struct sim_guest *one = &guests->guest[i];
        if (!sim_guest_on(guests, one)) {
            continue;
        }
        if (one->shown_issued_ms < guest_from_ms(guests, one)) {
            sim_fail(guests->sim,
                     "guest %u is still on with a token of %llu, revoked "
                     "from %llu",
                     i, (unsigned long long)one->shown_issued_ms,
                     (unsigned long long)guest_from_ms(guests, one));
        }
        for (unsigned j = i + 1; j < guests->count; j++) {
            const struct sim_guest *other = &guests->guest[j];
            if (one->user != other->user || !sim_guest_on(guests, other)) {
                continue;
            }
            guests->sim->counts[SIM_GUEST_PAIRS]++;
            if (guest_conflict(guests, one, other) != AN_OK) {
                sim_fail(guests->sim,
                         "guests %u and %u of one user are on together: %s and %s", i, j,
                         one->platform, other->platform);
            }
        }
    }
}
