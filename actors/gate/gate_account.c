/* What an account's state means here: who is let in, who may stay, who may send, who can
 * be written to. The state comes with every login and heartbeat; a hint from the router
 * brings it sooner, within moments of the change. Whoever sends no heartbeats is asked
 * about all the same, so a lost hint is healed for everybody. */
#include "actors/gate/gate_priv.h"
#include "core/hash.h"
#include "core/token.h"
#include <string.h>

/* A client whose heartbeats are on time is asked about by them alone. */
enum { LATE_PART = 4 };

enum an_err
gate_account_judge(const struct gate_conn *c, const Anser__Bus__AccountState *state)
{
    if (state->deleted) {
        return AN_ERR_USER_DELETED;
    }
    if (state->forbidden) {
        return AN_ERR_USER_FORBIDDEN;
    }
    return c->issued_ms < state->tokens_from_ms ? AN_ERR_TOKEN_REVOKED : AN_OK;
}

/* Answers and hints may overtake each other: the newer state stays. */
static void
learn(struct gate_conn *c, const Anser__Bus__AccountState *state)
{
    if (state->version >= c->account_version) {
        c->account_version = state->version;
        c->muted_until_ms = state->muted_until_ms;
    }
}

enum an_err
gate_account_login(struct gate *g, struct gate_conn *c, const Anser__Bus__Answer *answer)
{
    enum an_err err = AN_OK;

    c->checked_ms = g->now.mono_ms;
    if (answer->account != NULL) {
        err = gate_account_judge(c, answer->account);
        learn(c, answer->account);
    }
    return err;
}

void
gate_account_seen(struct gate *g, struct gate_conn *c, const Anser__Bus__Answer *answer)
{
    enum an_err err;

    if (c->state != CONN_READY) {
        return;
    }
    err = gate_account_login(g, c, answer);
    gate_account_heard(g, c);
    if (err != AN_OK) {
        g->counted.closed_account++;
        gate_conn_goodbye(g, c, err);
        return;
    }
    gate_account_note(g, c, answer);
}

/* ------------------------------------------------------------------ devices */

/* After how long it is written down again. */
static uint64_t
seen_again_ms(const struct gate *g, const struct gate_conn *c)
{
    uint64_t words[] = {c->user,
                        an_hash(&g->hash_key, c->text + c->user_len, c->device_len)};

    return AN_DEVICE_SEEN_MS +
           an_hash(&g->hash_key, words, sizeof(words)) % (AN_DEVICE_SEEN_SPREAD_MS + 1);
}

/* The user sees his devices, and can end each: so the first login of one is written down,
 * and then when the last that was is about a day old. A token dated later than that, and
 * by some clock ahead of now, is told of too: the sequencer sees to it that a revocation
 * reaches it. No login waits for it; what could not be written is seen with the next
 * heartbeat. */
void
gate_account_note(struct gate *g, struct gate_conn *c, const Anser__Bus__Answer *answer)
{
    uint64_t seen_ms = answer->device_seen_ms, now_ms = g->now.wall_ms;
    bool lately = (seen_ms > now_ms || now_ms - seen_ms < seen_again_ms(g, c)) &&
                  (c->issued_ms <= seen_ms ||
                   c->issued_ms + (uint64_t)AN_TOKEN_LEEWAY_S * 1000 <= now_ms);
    struct gate_op *op;

    if (answer->account == NULL || c->noting ||
        (lately && seen_ms >= answer->account->tokens_from_ms) ||
        (c->noted && g->now.mono_ms - c->noted_ms < seen_again_ms(g, c))) {
        return;
    }
    op = gate_op_create(g, c, OP_SEEN, 0, NULL, 0, NULL, 0);
    if (op != NULL) {
        c->noting = true;
        op->slot = an_slot_user(c->user);
        gate_submit(g, op);
    }
}

void
gate_account_noted(struct gate *g, struct gate_op *op, enum an_err err)
{
    struct gate_conn *c = op->conn;

    c->noting = false;
    if (err == AN_OK || an_err_handling(err) != AN_HANDLE_RETRY) {
        c->noted = true;
        c->noted_ms = g->now.mono_ms;
    }
    g->counted.devices_noted += err == AN_OK;
    gate_op_free(g, op);
}

bool
gate_account_muted(const struct gate *g, const struct gate_conn *c)
{
    return g->now.wall_ms < c->muted_until_ms;
}

/* ------------------------------------------------------------------ hints */

static bool
is_device(const struct gate_conn *c, ProtobufCBinaryData device)
{
    return c->device_len == device.len &&
           memcmp(c->text + c->user_len, device.data, device.len) == 0;
}

static void
changed_for(struct gate *g, struct gate_conn *c, const Anser__Bus__AccountState *state)
{
    enum an_err err;

    if (c->state == CONN_LOGIN) {
        c->pushed_early = true; /* what its login reads may be older: it reads again */
        return;
    }
    if (c->state != CONN_READY ||
        (state->device.len > 0 ? !is_device(c, state->device)
                               : state->version < c->account_version)) {
        return;
    }
    err = gate_account_judge(c, state);
    if (err != AN_OK) {
        g->counted.closed_account++;
        gate_conn_goodbye(g, c, err);
    } else if (state->device.len == 0) {
        learn(c, state);
    }
}

/* Rare, so a walk over all connections will do; those of which no router knows, for they
 * only send, are among them. */
void
gate_account_changed(struct gate *g, uint64_t user, const Anser__Bus__AccountState *state)
{
    g->counted.account_hints++;
    for (struct gate_conn *c = gate_conn_walk(g, NULL); c != NULL;
         c = gate_conn_walk(g, c)) {
        if (c->user == user && c->text != NULL) {
            changed_for(g, c, state);
        }
    }
    if (state->device.len == 0) {
        gate_names_changed(g, user, state);
    }
}

/* ------------------------------------------------------------------ without hints */

static void
ask(struct gate *g, struct gate_conn *c)
{
    struct gate_op *op = gate_op_create(g, c, OP_ACCOUNT, 0, NULL, 0, NULL, 0);

    if (op == NULL) {
        return; /* the next tick tries again */
    }
    c->checking = true;
    op->slot = an_slot_user(c->user);
    gate_read(g, op);
}

void
gate_account_gone(struct gate_conn *c)
{
    if (c->checked_newer != NULL) {
        c->checked_newer->checked_older = c->checked_older;
        c->checked_older->checked_newer = c->checked_newer;
        c->checked_newer = c->checked_older = NULL;
    }
}

void
gate_account_heard(struct gate *g, struct gate_conn *c)
{
    gate_account_gone(c);
    c->checked_newer = &g->checked;
    c->checked_older = g->checked.checked_older;
    g->checked.checked_older->checked_newer = c;
    g->checked.checked_older = c;
}

/* Those that are due stand first; nobody looks at the others. */
void
gate_account_tick(struct gate *g)
{
    uint64_t late_ms = g->heartbeat_ms + g->heartbeat_ms / LATE_PART;
    struct gate_conn *c = g->checked.checked_newer, *next;

    for (; c != &g->checked && g->now.mono_ms - c->checked_ms >= late_ms; c = next) {
        next = c->checked_newer;
        if (!c->checking) {
            ask(g, c);
        }
    }
}

/* answer: NULL when the store could not be asked. */
void
gate_account_read(struct gate *g, struct gate_op *op, const Anser__Bus__Answer *answer)
{
    struct gate_conn *c = op->conn;

    c->checking = false;
    if (answer != NULL) {
        gate_account_seen(g, c, answer);
    }
    gate_op_free(g, op);
}
