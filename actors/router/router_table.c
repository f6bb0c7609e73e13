#include "actors/router/router_table.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CAP_MIN = 64 };

/* User keys are handed out one after the other by us, so nobody can aim at a bucket. */
static size_t
home(const struct router_table *table, uint64_t user)
{
    uint64_t h = user * 0x9e3779b97f4a7c15u;

    return (size_t)(h ^ h >> 32) & (table->cap - 1);
}

/* Where the user is, or the free place where it belongs. */
static size_t
place(const struct router_table *table, uint64_t user)
{
    size_t i = home(table, user);

    while (table->heads[i] != NULL && table->heads[i]->user != user) {
        i = (i + 1) & (table->cap - 1);
    }
    return i;
}

static bool
grow(struct router_table *table)
{
    struct router_table bigger = *table;

    if (table->cap > 0 && table->users * 10 < table->cap * 7) {
        return true;
    }
    bigger.cap = table->cap == 0 ? CAP_MIN : table->cap * 2;
    bigger.heads = calloc(bigger.cap, sizeof(*bigger.heads));
    if (bigger.heads == NULL) {
        return false;
    }
    for (size_t i = 0; i < table->cap; i++) {
        if (table->heads[i] != NULL) {
            bigger.heads[place(&bigger, table->heads[i]->user)] = table->heads[i];
        }
    }
    free(table->heads);
    *table = bigger;
    return true;
}

void
router_table_fini(struct router_table *table)
{
    for (size_t i = 0; i < table->cap; i++) {
        while (table->heads[i] != NULL) {
            struct router_session *session = table->heads[i];
            table->heads[i] = session->next;
            free(session);
        }
    }
    free(table->heads);
    *table = (struct router_table){0};
}

struct router_session *
router_table_find(const struct router_table *table, uint64_t user)
{
    return table->cap == 0 ? NULL : table->heads[place(table, user)];
}

static const struct router_session *
skip_closing(const struct router_session *session)
{
    while (session != NULL && session->closing) {
        session = session->next;
    }
    return session;
}

const struct router_session *
router_table_online(const struct router_table *table, uint64_t user)
{
    return skip_closing(router_table_find(table, user));
}

const struct router_session *
router_table_next(const struct router_session *session)
{
    return skip_closing(session->next);
}

struct router_session *
router_table_add(struct router_table *table, uint64_t user, uint64_t conn, uint16_t gate,
                 struct router_text device, struct router_text platform,
                 struct router_text name)
{
    struct router_session *session;
    size_t i;

    assert(device.len <= UINT8_MAX && platform.len <= UINT8_MAX && name.len <= UINT8_MAX);
    session = malloc(sizeof(*session) + device.len + platform.len + name.len);
    if (session == NULL || !grow(table)) {
        free(session);
        return NULL;
    }
    *session = (struct router_session){
        .user = user,
        .conn = conn,
        .gate = gate,
        .device_len = (uint8_t)device.len,
        .platform_len = (uint8_t)platform.len,
        .name_len = (uint8_t)name.len,
    };
    if (device.len > 0) {
        memcpy(session->text, device.data, device.len);
    }
    if (platform.len > 0) {
        memcpy(session->text + device.len, platform.data, platform.len);
    }
    if (name.len > 0) {
        memcpy(session->text + device.len + platform.len, name.data, name.len);
    }
    i = place(table, user);
    table->users += table->heads[i] == NULL;
    table->sessions++;
    session->next = table->heads[i];
    table->heads[i] = session;
    return session;
}

/* Closes the gap at i: whatever probed past it moves up (Knuth, 6.4, algorithm R). */
static void
close_gap(struct router_table *table, size_t i)
{
    size_t mask = table->cap - 1;

    for (size_t j = (i + 1) & mask; table->heads[j] != NULL; j = (j + 1) & mask) {
        size_t want = home(table, table->heads[j]->user);

        if (((j - want) & mask) >= ((j - i) & mask)) {
            table->heads[i] = table->heads[j];
            table->heads[j] = NULL;
            i = j;
        }
    }
}

/* Takes one out of the chain at place i. */
static void
remove_at(struct router_table *table, size_t i, struct router_session *session)
{
    struct router_session **link = &table->heads[i];

    while (*link != session) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = session->next;
    table->closing -= session->closing;
    free(session);
    table->sessions--;
    if (table->heads[i] == NULL) {
        table->users--;
        close_gap(table, i);
    }
}

void
router_table_remove(struct router_table *table, struct router_session *session)
{
    remove_at(table, place(table, session->user), session);
}

size_t
router_table_sweep(struct router_table *table, uint16_t gate, uint32_t keep)
{
    size_t before = table->sessions;

    /* Closing a gap moves entries from behind to i, or from the table's start, where they
     * were looked at already: looking at i again misses nobody. */
    for (size_t i = 0; i < table->cap;) {
        struct router_session *session = table->heads[i];

        while (session != NULL && (session->gate != gate || session->mark == keep)) {
            session = session->next;
        }
        if (session == NULL) {
            i++;
        } else {
            remove_at(table, i, session);
        }
    }
    return before - table->sessions;
}
