/* What guests do, and what they are told. */
#include "tests/sim/guests.h"
#include "proto/names.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS_MAX = 1500,
    HEARTBEAT_MS = 10000,
    ANSWER_MS_MAX = 20000, /* then the connection is given up */
    CLOSE_MS_MAX = 3000,   /* from the last words to the close */
    SECOND_MS = 1000,
    AGE_MS = 60 * SECOND_MS, /* of the first tokens */
    DAY_MS = 24 * 3600 * SECOND_MS,
};

static uint64_t
between(struct an_rng *rng, uint64_t low, uint64_t high)
{
    return low + an_rng_below(rng, high - low + 1);
}

static ProtobufCBinaryData
text(const char *s)
{
    return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

/* ------------------------------------------------------------------ frames out */

static void
ask(struct sim_guests *guests, struct sim_guest *guest, uint16_t command,
    const ProtobufCMessage *body)
{
    size_t len = protobuf_c_message_get_packed_size(body);
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = command,
                             .request = ++guest->request_next,
                             .body_len = (uint32_t)len};
    uint8_t *bytes = sim_alloc(AN_FRAME_HEADER_LEN + len);

    an_frame_put(bytes, &frame);
    protobuf_c_message_pack(body, bytes + AN_FRAME_HEADER_LEN);
    sim_trace(guests->sim, "guest %u sends %s request %u", guest->index,
              an_command_name(command), guest->request_next);
    if (guest->asked_us == 0) {
        guest->asked_us = guests->sim->now_us;
    }
    sim_door_write(guests->sim, guest->conn, bytes, AN_FRAME_HEADER_LEN + len);
    free(bytes);
}

/* The caller frees it. */
static char *
token_make(struct sim_guests *guests, struct sim_guest *guest)
{
    struct an_token_key key = *guests->key;
    uint64_t wall_ms = SIM_WALL_BASE_MS - DAY_MS;
    struct an_token_spec spec = {.app = SIM_GUEST_APP,
                                 .user = guests->name[guest->user],
                                 .issued_ms = guest->shown_issued_ms,
                                 .ttl_ms = 30ull * DAY_MS};
    char *token = NULL;

    if (guest->shown == GUEST_TOKEN_EXPIRED) {
        spec.ttl_ms = AGE_MS;
    } else if (guest->shown == GUEST_TOKEN_FORGED) {
        key.secret[0] ^= 1;
    } else if (guest->shown == GUEST_TOKEN_OTHER_DEVICE) {
        spec.device = "somebody-elses";
    }
    if (an_token_mint_spec(&token, &key, &spec, wall_ms) != AN_OK) {
        sim_fail(guests->sim, "no token for guest %u", guest->index);
    }
    return token;
}

static void
login(struct sim_guests *guests, struct sim_guest *guest)
{
    Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;
    uint64_t from_ms = guest_from_ms(guests, guest);
    char *token;

    guest->known_from_ms = from_ms;
    guest->shown_issued_ms = guest->issued_ms;
    if (guest->shown == GUEST_TOKEN_OLD) {
        guest->shown_issued_ms = from_ms - SECOND_MS;
    }
    token = token_make(guests, guest);
    if (token == NULL) {
        return;
    }
    guest->state = CLIENT_LOGIN;
    guest->attempted = guest->attempted || guest->shown == GUEST_TOKEN_GOOD;
    guests->sim->counts[SIM_GUEST_BAD_TOKEN] += guest->shown >= GUEST_TOKEN_EXPIRED;
    guests->sim->counts[SIM_GUEST_OLD_TOKEN] += guest->shown == GUEST_TOKEN_OLD;
    sim_trace(guests->sim, "guest %u (%s %s on %s) shows token kind %d of %llu",
              guest->index, guests->name[guest->user], guest->device_name,
              guest->platform, (int)guest->shown,
              (unsigned long long)guest->shown_issued_ms);
    login.token = text(token);
    login.device = text(guest->device_name);
    login.platform = text(guest->platform);
    login.client = text("guest/1");
    ask(guests, guest, AN_COMMAND_LOGIN, &login.base);
    free(token);
}

/* ------------------------------------------------------------------ connections */

bool
sim_guest_on(const struct sim_guests *guests, const struct sim_guest *guest)
{
    (void)guests;
    return guest->state == CLIENT_ON && guest->goodbye == 0 && !guest->leaving;
}

static void
away(struct sim_guests *guests, struct sim_guest *guest, uint64_t ms)
{
    guest->state = CLIENT_OFF;
    guest->conn = 0;
    guest->asked_us = 0;
    guest->leaving = false;
    guest->refused = 0;
    guest->goodbye = 0;
    guest->connect_after_us =
        guests->sim->now_us + (guests->gather ? ms / 8 : ms) * SIM_MS;
}

static void
come(struct sim_guests *guests, struct sim_guest *guest)
{
    unsigned gate = (unsigned)an_rng_below(&guest->rng, guests->sim->plan.gates -
                                                            guests->sim->plan.stranger);

    guest->state = CLIENT_CONNECTING;
    guest->asked_us = guests->sim->now_us;
    guest->conn = sim_door_connect(guests->sim, SIM_GUEST + guest->index, gate);
}

void
sim_guest_hang_up(struct sim_guests *guests, struct sim_guest *guest)
{
    sim_door_hang_up(guests->sim, guest->conn);
    away(guests, guest, between(&guest->rng, 10, 5000));
}

void
sim_guest_opened(struct sim *sim, unsigned index, uint64_t conn)
{
    struct sim_guest *guest = &sim->guests->guest[index];

    if (guest->conn == conn) {
        login(sim->guests, guest);
    }
}

void
sim_guest_closed(struct sim *sim, unsigned index, uint64_t conn, bool ended)
{
    struct sim_guest *guest = &sim->guests->guest[index];

    if (guest->conn != conn) {
        return;
    }
    sim_trace(sim, "guest %u: connection %s", index, ended ? "closed" : "broken");
    if (ended && guest->goodbye == 0 && guest->refused == 0 && !guest->leaving) {
        sim_fail(sim, "guest %u is closed without a word", index);
    }
    away(sim->guests, guest,
         between(&guest->rng, 10, guest->goodbye == AN_ERR_KICKED ? 8000 : 3000));
}

/* The close comes behind the last words, unless the connection broke. */
static void
closed_by_now(struct sim *sim, void *arg, uint64_t conn)
{
    (void)arg;
    for (unsigned i = 0; i < sim->guests->count; i++) {
        if (sim->guests->guest[i].conn == conn) {
            sim_fail(sim, "guest %u was told %s, and %d ms later nobody has closed", i,
                     an_err_name(sim->guests->guest[i].goodbye), CLOSE_MS_MAX);
        }
    }
}

/* ------------------------------------------------------------------ frames in */

static void
got_goodbye(struct sim_guests *guests, struct sim_guest *guest, uint32_t code)
{
    struct sim *sim = guests->sim;

    sim_trace(sim, "guest %u: goodbye %s", guest->index, an_err_name(code));
    guest_judge_goodbye(guests, guest, code);
    guest->goodbye = (uint16_t)code;
    guest->last_goodbye = (uint16_t)code;
    sim->counts[SIM_GUEST_KICKED] += code == AN_ERR_KICKED;
    sim->counts[SIM_GUEST_REPLACED] += code == AN_ERR_REPLACED;
    if (code == AN_ERR_TOKEN_REVOKED && guest->state == CLIENT_ON) {
        sim->counts[SIM_GUEST_REVOKED]++;
        guest->issued_ms = 0;
    }
    sim_at(sim, sim->now_us + CLOSE_MS_MAX * SIM_MS, closed_by_now, NULL, guest->conn);
}

static void
got_refusal(struct sim_guests *guests, struct sim_guest *guest, uint32_t code)
{
    sim_trace(guests->sim, "guest %u: refused %s", guest->index, an_err_name(code));
    if (guest->state != CLIENT_LOGIN) {
        return; /* a heartbeat that came too late */
    }
    guest_judge_refused(guests, guest, code);
    guest->refused = (uint16_t)code;
    guest->last_refused = (uint16_t)code;
    if (code == AN_ERR_TOKEN_REVOKED) {
        guests->sim->counts[SIM_GUEST_REFUSED]++;
        guest->issued_ms = guest->shown == GUEST_TOKEN_GOOD ? 0 : guest->issued_ms;
    }
    if (an_err_handling(code) == AN_HANDLE_RETRY) {
        sim_guest_hang_up(guests, guest);
    } else {
        guest->called = false;
    }
}

static void
got_in(struct sim_guests *guests, struct sim_guest *guest)
{
    guest_judge_in(guests, guest);
    guests->sim->counts[SIM_GUEST_LOGIN]++;
    sim_trace(guests->sim, "guest %u is in", guest->index);
    guest->state = CLIENT_ON;
    guest->heartbeat_us = guests->sim->now_us;
    guest->called = false;
}

void
sim_guest_frame(struct sim *sim, unsigned index, uint64_t conn,
                const struct an_frame *frame, const uint8_t *body)
{
    struct sim_guests *guests = sim->guests;
    struct sim_guest *guest = &guests->guest[index];
    bool error = (frame->flags & AN_FRAME_ERROR) != 0;
    Anser__Client__Error *refusal;
    Anser__Client__Goodbye *goodbye;

    if (guest->conn != conn) {
        return;
    }
    if (error) {
        refusal = anser__client__error__unpack(NULL, frame->body_len, body);
        guest->asked_us = 0;
        got_refusal(guests, guest, refusal == NULL ? AN_ERR_INTERNAL : refusal->code);
        if (refusal != NULL) {
            anser__client__error__free_unpacked(refusal, NULL);
        }
    } else if ((frame->flags & AN_FRAME_ANSWER) != 0) {
        guest->asked_us = 0;
        if (frame->command == AN_COMMAND_LOGIN && guest->state == CLIENT_LOGIN) {
            got_in(guests, guest);
        }
    } else if (frame->command == AN_COMMAND_GOODBYE) {
        goodbye = anser__client__goodbye__unpack(NULL, frame->body_len, body);
        got_goodbye(guests, guest, goodbye == NULL ? AN_ERR_INTERNAL : goodbye->code);
        if (goodbye != NULL) {
            anser__client__goodbye__free_unpacked(goodbye, NULL);
        }
    } else {
        sim_fail(sim, "guest %u, to whom nobody writes, is pushed a %s", index,
                 an_command_name(frame->command));
    }
}

/* ------------------------------------------------------------------ errands */

void
sim_guests_errand(struct sim_guests *guests, enum sim_errand_what what, unsigned user,
                  const char *device, int guest)
{
    for (unsigned place = 1; place < SIM_ERRANDS_MAX; place++) {
        struct sim_errand *errand = &guests->errand[place];
        uint32_t serial = errand->serial;

        if (errand->pending || errand->done) {
            continue;
        }
        *errand = (struct sim_errand){.what = what,
                                      .app = SIM_GUEST_APP,
                                      .name = guests->name[user],
                                      .device = device,
                                      .user = SIM_GUEST_KEY + user,
                                      .serial = serial};
        if (guest >= 0) {
            errand->platform = guests->guest[guest].platform;
        }
        for (size_t i = 0; i < sizeof(errand->hash); i++) {
            errand->hash[i] = (uint8_t)an_rng_next(&guests->dice);
        }
        guests->fetches[place] = guest;
        guests->errand_run(guests->errand_ctx, place);
        guest_truth_began(guests, errand);
        return;
    }
    sim_fail(guests->sim, "too many errands");
}

static void
errand_done(struct sim_guests *guests, const struct sim_errand *errand, int fetcher)
{
    sim_trace(guests->sim, "errand %d of %s %s is done: tokens from %llu",
              (int)errand->what, errand->name,
              errand->device == NULL ? "" : errand->device,
              (unsigned long long)errand->time_ms);
    guest_truth_acked(guests, errand);
    if (fetcher >= 0) {
        struct sim_guest *guest = &guests->guest[fetcher];
        guest->fetching = false;
        guest->issued_ms =
            errand->time_ms > guests->born_ms ? errand->time_ms : guests->born_ms;
        guest->minted_us = guests->sim->now_us;
    }
}

bool
sim_guests_errands_left(struct sim_guests *guests)
{
    bool left = false;

    for (unsigned place = 1; place < SIM_ERRANDS_MAX; place++) {
        struct sim_errand *errand = &guests->errand[place];

        if (errand->done) {
            errand->done = false;
            errand_done(guests, errand, guests->fetches[place]);
        }
        left = left || errand->pending;
    }
    return left;
}

void
sim_guests_revoke(struct sim_guests *guests)
{
    unsigned which = (unsigned)an_rng_below(&guests->dice, guests->count);
    bool alone = an_rng_below(&guests->dice, 2) == 0;
    const struct sim_guest *guest = &guests->guest[which];
    const struct guest_from *from = alone ? &guests->of_device[guest->user][guest->device]
                                          : &guests->of_user[guest->user];

    if (from->pending > 0) {
        return; /* which of two was decided first nobody could say */
    }
    guests->sim->counts[SIM_GUEST_REVOKE]++;
    sim_trace(guests->sim, "the tokens of %s %s are revoked", guests->name[guest->user],
              alone ? guest->device_name : "");
    sim_guests_errand(guests, SIM_ERRAND_REVOKE, guest->user,
                      alone ? guest->device_name : NULL, -1);
}

/* ------------------------------------------------------------------ what they do */

/* Has it something to show? If not it asks for a new one, as a login by password does. */
static bool
has_token(struct sim_guests *guests, struct sim_guest *guest)
{
    if (guest->shown == GUEST_TOKEN_OLD) {
        return guest_from_ms(guests, guest) > 0;
    }
    if (guest->shown != GUEST_TOKEN_GOOD || guest->issued_ms > 0) {
        return true;
    }
    if (!guest->fetching && guests->of_device[guest->user][guest->device].pending == 0) {
        guest->fetching = true;
        guests->sim->counts[SIM_GUEST_NEW_TOKEN]++;
        sim_guests_errand(guests, SIM_ERRAND_LOGIN, guest->user, guest->device_name,
                          (int)guest->index);
    }
    return false;
}

static void
operate(struct sim_guests *guests, struct sim_guest *guest)
{
    Anser__Client__Logout logout = ANSER__CLIENT__LOGOUT__INIT;
    uint64_t dice = an_rng_below(&guest->rng, 100);

    if (guests->gather || guest->leaving || guest->goodbye != 0) {
        return;
    }
    if (dice < 3) {
        ask(guests, guest, AN_COMMAND_LOGOUT, &logout.base);
        guest->leaving = true;
    } else if (dice < 7) {
        sim_guest_hang_up(guests, guest);
    }
}

/* In the calm the shown token is whoever's who calls. */
static void
choose_token(struct sim_guests *guests, struct sim_guest *guest)
{
    uint64_t dice = an_rng_below(&guest->rng, 20);

    if (guests->still) {
        return;
    }
    guest->shown = GUEST_TOKEN_GOOD;
    if (guests->gather) {
        return;
    }
    if (dice < 3 && guest_from_ms(guests, guest) > 0) {
        guest->shown = GUEST_TOKEN_OLD;
    } else if (dice >= 17) {
        guest->shown = (enum guest_token)(GUEST_TOKEN_EXPIRED + (dice - 17));
    }
}

static void
step(struct sim_guests *guests, struct sim_guest *guest)
{
    struct sim *sim = guests->sim;
    Anser__Client__Heartbeat heartbeat = ANSER__CLIENT__HEARTBEAT__INIT;

    if (guest->state == CLIENT_OFF) {
        if (guest->connect_after_us <= sim->now_us && (!guests->still || guest->called)) {
            choose_token(guests, guest);
            if (has_token(guests, guest)) {
                come(guests, guest);
            }
        }
        return;
    }
    if (guest->asked_us != 0 &&
        sim->now_us - guest->asked_us > (uint64_t)ANSWER_MS_MAX * SIM_MS) {
        sim_guest_hang_up(guests, guest);
        return;
    }
    if (guest->state != CLIENT_ON) {
        return;
    }
    if (sim->now_us - guest->heartbeat_us > HEARTBEAT_MS * SIM_MS && !guest->leaving) {
        guest->heartbeat_us = sim->now_us;
        ask(guests, guest, AN_COMMAND_HEARTBEAT, &heartbeat.base);
    }
    operate(guests, guest);
}

static void
tick(struct sim *sim, void *arg, uint64_t index)
{
    struct sim_guests *guests = sim->guests;
    struct sim_guest *guest = &guests->guest[index];
    uint64_t ms = guest->called ? 100 : TICK_MS_MAX;

    (void)arg;
    sim_at(sim, sim->now_us + between(&guest->rng, 50, ms) * SIM_MS, tick, NULL, index);
    sim_guests_errands_left(guests);
    step(guests, guest);
}

/* ------------------------------------------------------------------ life */

static void
guest_add(struct sim_guests *guests, unsigned user, unsigned device)
{
    static const char *const platforms[] = {
#define PLATFORM(name) #name,
        AN_PLATFORMS(PLATFORM)
#undef PLATFORM
    };
    struct sim_guest *guest = &guests->guest[guests->count];

    assert(guests->count < SIM_GUESTS_MAX);
    guest->index = guests->count++;
    guest->user = user;
    guest->device = device;
    snprintf(guest->device_name, sizeof(guest->device_name), "guest-%u", device);
    guest->platform = platforms[an_rng_below(&guests->dice, AN_PLATFORM_COUNT)];
    guest->issued_ms = guests->born_ms;
    an_rng_seed(&guest->rng, an_rng_next(&guests->dice));
}

struct sim_guests *
sim_guests_create(struct sim *sim, const struct an_token_key *key,
                  struct sim_errand *errand, void (*run)(void *ctx, unsigned place),
                  void *ctx)
{
    struct sim_guests *guests = sim_alloc(sizeof(*guests));
    uint64_t now_ms = SIM_WALL_BASE_MS + sim->now_us / SIM_MS;

    guests->sim = sim;
    guests->key = key;
    guests->policy = (enum an_login_policy)sim->plan.policy;
    guests->born_ms = (now_ms - AGE_MS) / SECOND_MS * SECOND_MS;
    guests->caller = -1;
    guests->errand = errand;
    guests->errand_run = run;
    guests->errand_ctx = ctx;
    an_rng_seed(&guests->dice, sim->options.seed ^ 0x90e57);
    guests->users = (unsigned)between(&guests->dice, 2, SIM_GUEST_USERS_MAX);
    for (unsigned user = 0; user < guests->users; user++) {
        unsigned devices = (unsigned)between(&guests->dice, 3, SIM_GUEST_DEVICES_MAX);

        snprintf(guests->name[user], sizeof(guests->name[user]), "visitor-%u", user);
        for (unsigned device = 0; device < devices; device++) {
            guest_add(guests, user, device);
        }
        guest_add(guests, user, 0); /* the same device once more */
    }
    sim->guests = guests;
    return guests;
}

void
sim_guests_destroy(struct sim_guests *guests)
{
    free(guests);
}

void
sim_guests_start(struct sim_guests *guests)
{
    for (unsigned i = 0; i < guests->count; i++) {
        uint64_t ms = between(&guests->guest[i].rng, 1, 3000);

        sim_at(guests->sim, guests->sim->now_us + ms * SIM_MS, tick, NULL, i);
    }
}
