/* Seeded chaos around one sequencer: lost answers, stray appends and claims that arrive
 * late, refusals, kills. Clients send in order with a window, and send again what was
 * refused for now. In the end every message is stored exactly once, in its sender's
 * order, and every ack told the truth. */
#include "core/rng.h"
#include "proto/bytes.h"
#include "tests/actors/seq_rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CLIENTS = 5, MESSAGES = 12, WINDOW = 4, STRAYS = 8, STEPS_MAX = 20000 };

struct outgoing {
    uint64_t wall_ms; /* its id's time; 0: not sent yet */
    uint64_t request; /* 0: not out */
    uint64_t acked_seq, acked_id;
};

struct client {
    uint64_t user, peer;
    size_t done; /* all below are acked */
    struct outgoing out[MESSAGES];
};

struct chaos {
    struct rig rig;
    struct an_rng rng;
    struct client clients[CLIENTS];
    const struct harness_effect *strays[STRAYS]; /* timed out, perhaps yet to arrive */
    size_t stray_count;
    struct sequencer_cfg cfg;
    unsigned kills;
};

static bool
chance(struct chaos *c, unsigned percent)
{
    return an_rng_below(&c->rng, 100) < percent;
}

/* ------------------------------------------------------------------ clients */

static uint64_t
number_of(const struct client *client, size_t i)
{
    return client->user * 1000 + i + 1;
}

static void
send_one(struct chaos *c, struct client *client, size_t i)
{
    struct outgoing *out = &client->out[i];
    uint64_t now = harness_now(c->rig.h).wall_ms;
    struct rig_send send = {
        .sender = client->user, .recipient = client->peer, .id = number_of(client, i)};

    if (out->wall_ms == 0) {
        out->wall_ms = now - an_rng_below(&c->rng, 20);
    }
    send.id_age_ms = (int64_t)(now - out->wall_ms);
    if (i > client->done) { /* the newest unanswered one before it */
        send.after = number_of(client, i - 1);
        send.after_age_ms = (int64_t)(now - client->out[i - 1].wall_ms);
    }
    out->request = rig_send(&c->rig, &send);
}

/* From the first that was refused for now, all are sent again in order: what a gate and a
 * client do together. */
static void
again_from(struct client *client, size_t first)
{
    for (size_t i = first; i < MESSAGES; i++) {
        if (client->out[i].acked_seq == 0) {
            client->out[i].request = 0;
        }
    }
}

static void
look_at_answers(struct chaos *c, struct client *client)
{
    for (size_t i = client->done; i < MESSAGES && i < client->done + WINDOW; i++) {
        struct outgoing *out = &client->out[i];
        const Anser__Bus__Result *r;

        if (out->request == 0 || out->acked_seq != 0 ||
            !rig_answered(&c->rig, out->request)) {
            continue;
        }
        r = rig_result(&c->rig, out->request, 0);
        if (r->err == AN_OK) {
            out->acked_seq = r->seq;
            out->acked_id = r->message_id;
        } else {
            if (an_err_handling(r->err) != AN_HANDLE_RETRY) {
                fprintf(stderr, "refused for good: %s\n", an_err_name(r->err));
                fail();
            }
            again_from(client, i);
            break;
        }
    }
    while (client->done < MESSAGES && client->out[client->done].acked_seq != 0) {
        client->done++;
    }
}

static void
act(struct chaos *c, struct client *client)
{
    look_at_answers(c, client);
    for (size_t i = client->done; i < MESSAGES && i < client->done + WINDOW; i++) {
        if (client->out[i].acked_seq == 0 && client->out[i].request == 0) {
            send_one(c, client, i);
            if (chance(c, 15)) {
                send_one(c, client, i); /* on two connections at once */
            }
            if (chance(c, 50)) {
                return;
            }
        }
    }
}

/* ------------------------------------------------------------------ the other side */

static void
keep_stray(struct chaos *c, const struct harness_effect *append)
{
    if (c->stray_count < STRAYS) {
        c->strays[c->stray_count++] = append;
    }
}

static void
answer_append(struct chaos *c)
{
    const struct harness_effect *append = rig_take_append(&c->rig);
    struct rig *rig = &c->rig;

    if (append == NULL) {
        return;
    }
    switch (an_rng_below(&c->rng, 12)) {
    case 0:
        rig_store(rig, append); /* on disk, and nobody says so */
        harness_answer(rig->h, append, AN_ERR_TIMEOUT, NULL);
        harness_drain(rig->h);
        return;
    case 1:
        keep_stray(c, append);
        harness_answer(rig->h, append, AN_ERR_CONNECTION, NULL);
        harness_drain(rig->h);
        return;
    case 2:
        rig_refuse(rig, append, AN_ERR_DISK_FULL, 0);
        return;
    case 3:
        harness_answer(rig->h, append, AN_ERR_UNAVAILABLE, NULL);
        harness_drain(rig->h);
        return;
    default:
        rig_answer(rig, append);
        return;
    }
}

static void
answer_claim(struct chaos *c)
{
    const struct harness_effect *claim;
    const Anser__Bus__Claim *body;

    if (!chance(c, 25)) {
        rig_pump_kind(&c->rig, AN_KIND_CLAIM);
        return;
    }
    claim = harness_take_ask(c->rig.h, AN_ROLE_STORE, AN_KIND_CLAIM);
    if (claim == NULL) {
        return;
    }
    body = harness_body(claim);
    for (size_t i = 0; chance(c, 50) && i < body->n_slots; i++) {
        c->rig.epoch[body->slots[i]]++; /* carried out, or some of it, unheard */
    }
    harness_answer(c->rig.h, claim, AN_ERR_TIMEOUT, NULL);
    harness_drain(c->rig.h);
}

static void
answer_read(struct chaos *c)
{
    const struct harness_effect *read;

    if (!chance(c, 5)) {
        rig_pump_kind(&c->rig, AN_KIND_READ);
        return;
    }
    read = harness_take_ask(c->rig.h, AN_ROLE_STORE, AN_KIND_READ);
    if (read != NULL) {
        harness_answer(c->rig.h, read, AN_ERR_TIMEOUT, NULL);
        harness_drain(c->rig.h);
    }
}

static void
kill_and_start(struct chaos *c)
{
    c->kills++;
    c->stray_count = 0; /* their bytes died with the harness */
    for (size_t i = 0; i < CLIENTS; i++) {
        again_from(&c->clients[i], c->clients[i].done);
    }
    rig_restart(&c->rig, &c->cfg);
}

static void
one_step(struct chaos *c)
{
    switch (an_rng_below(&c->rng, 10)) {
    case 0:
        answer_claim(c);
        break;
    case 1:
        answer_read(c);
        break;
    case 2:
    case 3:
        answer_append(c);
        break;
    case 4:
        rig_pump_kind(&c->rig, AN_KIND_TAKE_IDS);
        break;
    case 5:
        harness_advance(c->rig.h, an_rng_below(&c->rng, 60));
        break;
    case 6:
        if (c->stray_count > 0 && chance(c, 50)) {
            rig_store(&c->rig, c->strays[--c->stray_count]); /* fenced, unless early */
        } else if (chance(c, 2)) {
            kill_and_start(c);
        }
        break;
    default:
        act(c, &c->clients[an_rng_below(&c->rng, CLIENTS)]);
        break;
    }
}

static bool
all_done(const struct chaos *c)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        if (c->clients[i].done < MESSAGES) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ the verdict */

static const struct rig_message *
stored(const struct chaos *c, const struct client *client, size_t i, size_t *count)
{
    const struct rig_message *found = NULL;
    uint8_t tail[8];

    *count = 0;
    an_put_u64(tail, 0x8000000000000000u | number_of(client, i));
    for (size_t m = 0; m < c->rig.message_count; m++) {
        const struct rig_message *row = &c->rig.messages[m];

        if (row->sender == client->user && memcmp(row->id + 8, tail, 8) == 0) {
            found = row;
            ++*count;
        }
    }
    return found;
}

static bool
right(const struct chaos *c)
{
    for (size_t k = 0; k < CLIENTS; k++) {
        const struct client *client = &c->clients[k];
        uint64_t last_seq = 0;

        for (size_t i = 0; i < MESSAGES; i++) {
            size_t count;
            const struct rig_message *row = stored(c, client, i, &count);

            if (count != 1 || row->seq <= last_seq ||
                row->seq != client->out[i].acked_seq ||
                row->message_id != client->out[i].acked_id) {
                return false;
            }
            last_seq = row->seq;
        }
    }
    return true;
}

static void
run(uint64_t seed, unsigned *kills)
{
    struct chaos c = {.cfg = {.dedupe_rows_max = 16, .convs_max = 4}};
    size_t steps = 0;

    an_rng_seed(&c.rng, seed);
    for (size_t i = 0; i < CLIENTS; i++) {
        c.clients[i].user = 1 + i % 3; /* two clients write to one conversation */
        c.clients[i].user += i >= 3 ? 10 : 0;
        c.clients[i].peer = i == 1 ? 1 : i == 0 ? 2 : 20 + i;
    }
    rig_init(&c.rig, &c.cfg);
    while (!all_done(&c) && steps++ < STEPS_MAX) {
        one_step(&c);
    }
    if (!all_done(&c) || !right(&c)) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed,
                all_done(&c) ? "wrong" : "not finished");
        fail();
    }
    *kills += c.kills;
    rig_fini(&c.rig);
}

static void
test_sequencer_under_faults_stores_each_message_once_in_order(void **state)
{
    const char *one = getenv("SEED");
    unsigned kills = 0;

    (void)state;
    if (one != NULL) {
        run(strtoull(one, NULL, 10), &kills);
        return;
    }
    for (uint64_t seed = 1; seed <= 60; seed++) {
        run(seed, &kills);
    }
    assert_true(kills > 20); /* else the test tests less than it says */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequencer_under_faults_stores_each_message_once_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
