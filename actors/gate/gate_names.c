/* Names never change their key, so an entry is good for ever; the oldest make room. What
 * does not exist is asked for each time: an account may be made at any moment. Whether
 * the user is deleted concerns those who write to him: that is asked anew now and then,
 * for a router's word of it may be lost. */
#include "actors/gate/gate_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t
hash_of(const struct gate *g, const uint8_t *app, size_t app_len, const uint8_t *name,
        size_t name_len)
{
    uint8_t text[2 * AN_NAME_LEN_MAX];

    assert(app_len <= AN_NAME_LEN_MAX);
    assert(name_len <= AN_NAME_LEN_MAX);
    memcpy(text, app, app_len);
    memcpy(text + app_len, name, name_len);
    return an_hash(&g->hash_key, text, app_len + name_len);
}

static struct gate_name *
find(const struct gate_names *names, uint64_t hash, const uint8_t *app, size_t app_len,
     const uint8_t *name, size_t name_len)
{
    struct an_chained *at;

    for (at = an_chains_first(&names->by_text, hash); at != NULL;
         at = an_chains_next(at)) {
        struct gate_name *n = (struct gate_name *)at;

        if (n->app_len == app_len && n->name_len == name_len &&
            memcmp(n->text, app, app_len) == 0 &&
            memcmp(n->text + app_len, name, name_len) == 0) {
            return n;
        }
    }
    return NULL;
}

static void
drop(struct gate_names *names, struct gate_name *n)
{
    an_chains_remove(&names->by_text, &n->chained);
    *(n->older == NULL ? &names->oldest : &n->older->newer) = n->newer;
    *(n->newer == NULL ? &names->newest : &n->newer->older) = n->older;
    free(n);
}

static struct gate_name *
add(struct gate_names *names, uint64_t hash, const uint8_t *app, size_t app_len,
    const uint8_t *name, size_t name_len)
{
    struct gate_name *n;

    if (names->by_text.count >= AN_GATE_NAMES_MAX) {
        if (names->oldest->user == 0 || names->oldest->checking || names->oldest->busy) {
            return NULL; /* being asked for, and so are most of the newer ones */
        }
        drop(names, names->oldest);
    }
    n = calloc(1, sizeof(*n) + app_len + name_len);
    if (n == NULL || !an_chains_add(&names->by_text, &n->chained, hash)) {
        free(n);
        return NULL;
    }
    n->app_len = (uint8_t)app_len;
    n->name_len = (uint8_t)name_len;
    memcpy(n->text, app, app_len);
    memcpy(n->text + app_len, name, name_len);
    n->older = names->newest;
    *(n->older == NULL ? &names->oldest : &n->older->newer) = n;
    names->newest = n;
    return n;
}

/* Is it known whether the op may have this name's user? */
static bool
settled(const struct gate *g, const struct gate_name *n, const struct gate_op *op)
{
    if (n->user == 0) {
        return false;
    }
    return op->what != OP_SEND || (!n->checking && n->checked_ms != 0 &&
                                   g->now.mono_ms - n->checked_ms < AN_GATE_NAME_MS);
}

static void
resolved(struct gate *g, const struct gate_name *n, struct gate_op *op)
{
    op->peer = n->user;
    gate_client_resolved(g, op,
                         op->what == OP_SEND && n->deleted ? AN_ERR_USER_DELETED : AN_OK);
}

/* Those that wait end, or go on, or wait for what is asked next. */
static void
go_on(struct gate *g, struct gate_name *n, enum an_err err)
{
    struct gate_ops waiting = n->waiting;
    struct gate_op *op;

    n->waiting = (struct gate_ops){0};
    n->busy = true; /* what follows may ask for other names, which need room */
    while ((op = gate_ops_pop(&waiting)) != NULL) {
        if (err != AN_OK) {
            gate_client_resolved(g, op, err);
        } else if (settled(g, n, op)) {
            resolved(g, n, op);
        } else {
            gate_ops_push(&n->waiting, op);
        }
    }
    n->busy = false;
}

static void
ask_state(struct gate *g, struct gate_name *n)
{
    struct gate_op *ask;

    if (n->checking || n->user == 0 || n->waiting.first == NULL) {
        return;
    }
    ask = gate_op_create(g, NULL, OP_NAME, 0, NULL, 0, NULL, 0);
    if (ask == NULL) {
        go_on(g, n, AN_ERR_BUSY);
        return;
    }
    n->checking = true;
    ask->u.name = n;
    ask->slot = an_slot_user(n->user);
    gate_read(g, ask);
}

void
gate_name_resolve(struct gate *g, struct gate_op *op, const uint8_t *app, size_t app_len)
{
    uint64_t hash = hash_of(g, app, app_len, op->data, op->peer_len);
    struct gate_name *n = find(&g->names, hash, app, app_len, op->data, op->peer_len);
    struct gate_op *ask;

    if (n != NULL && settled(g, n, op)) {
        resolved(g, n, op);
        return;
    }
    if (n != NULL) {
        gate_ops_push(&n->waiting, op);
        ask_state(g, n);
        return;
    }
    ask = gate_op_create(g, NULL, OP_RESOLVE, 0, NULL, 0, NULL, 0);
    n = ask == NULL ? NULL : add(&g->names, hash, app, app_len, op->data, op->peer_len);
    if (n == NULL) {
        if (ask != NULL) {
            gate_op_free(g, ask);
        }
        gate_client_resolved(g, op, AN_ERR_BUSY);
        return;
    }
    gate_ops_push(&n->waiting, op);
    ask->u.name = n;
    ask->slot = an_slot_name(app, app_len, op->data, op->peer_len);
    g->counted.names_asked++;
    gate_read(g, ask);
}

void
gate_name_read(struct gate *g, struct gate_op *ask, enum an_err err, uint64_t user)
{
    struct gate_name *n = ask->u.name;
    struct gate_ops waiting;
    struct gate_op *op;

    assert(n->user == 0);
    gate_op_free(g, ask);
    if (err == AN_OK && user == 0) {
        err = AN_ERR_INTERNAL;
    }
    if (err == AN_OK) {
        n->user = user;
        go_on(g, n, AN_OK);
        ask_state(g, n);
        return;
    }
    waiting = n->waiting;
    n->waiting = (struct gate_ops){0};
    drop(&g->names, n);
    while ((op = gate_ops_pop(&waiting)) != NULL) {
        gate_client_resolved(g, op,
                             err == AN_ERR_NOT_FOUND ? AN_ERR_USER_NOT_FOUND : err);
    }
}

static void
state_put(struct gate_name *n, const Anser__Bus__AccountState *state, uint64_t now_ms)
{
    /* An answer may be older than a hint that came before it. */
    if (state->version >= n->version) {
        n->version = state->version;
        n->deleted = state->deleted;
    }
    n->checked_ms = now_ms == 0 ? 1 : now_ms;
}

void
gate_name_state(struct gate *g, struct gate_op *ask, enum an_err err,
                const Anser__Bus__Answer *answer)
{
    struct gate_name *n = ask->u.name;

    gate_op_free(g, ask);
    n->checking = false;
    if (err == AN_OK && answer->account == NULL) {
        err = AN_ERR_INTERNAL;
    }
    if (err == AN_OK) {
        state_put(n, answer->account, g->now.mono_ms);
    }
    go_on(g, n, err);
}

/* Names are looked for by name; users of whom a router speaks are few. */
void
gate_names_changed(struct gate *g, uint64_t user, const Anser__Bus__AccountState *state)
{
    for (struct gate_name *n = g->names.oldest; n != NULL; n = n->newer) {
        if (n->user == user && n->checked_ms != 0) {
            state_put(n, state, n->checked_ms);
        }
    }
}

void
gate_names_fini(struct gate *g)
{
    while (g->names.oldest != NULL) {
        struct gate_name *n = g->names.oldest;
        struct gate_op *op;

        while ((op = gate_ops_pop(&n->waiting)) != NULL) {
            gate_op_free(g, op);
        }
        g->names.oldest = n->newer;
        free(n);
    }
    an_chains_fini(&g->names.by_text);
    g->names = (struct gate_names){0};
}
