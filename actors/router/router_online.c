#include "actors/router/router_online.h"
#include "core/limits.h"
#include "proto/bus.pb-c.h"

enum { USERS_MAX = 100 };

static ProtobufCBinaryData
text(const struct router_session *s, size_t at, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)(s->text + at)};
}

/* false without memory. */
static bool
put_user(const struct router_table *table, uint64_t user, Anser__Bus__OnlineDone *done,
         struct an_arena *arena)
{
    const struct router_session *s = router_table_online(table, user);
    size_t count = 0;

    for (; s != NULL && count < AN_DEVICES_PER_USER_MAX;
         s = router_table_next(s), count++) {
        Anser__Bus__Session *out = an_arena_alloc(arena, sizeof(*out));

        if (out == NULL) {
            return false;
        }
        anser__bus__session__init(out);
        out->user = s->user;
        out->conn = s->conn;
        out->gate = s->gate;
        out->since_ms = s->since_ms;
        out->device = text(s, 0, s->device_len);
        out->platform = text(s, s->device_len, s->platform_len);
        out->name = text(s, (size_t)s->device_len + s->platform_len, s->name_len);
        done->sessions[done->n_sessions++] = out;
    }
    return true;
}

void
router_online_answer(const struct router_table *table, bool complete,
                     const struct router_live *live, struct an_msg *msg,
                     struct an_outbox *out)
{
    const Anser__Bus__Online *in = (const Anser__Bus__Online *)msg->body;
    Anser__Bus__OnlineDone done = ANSER__BUS__ONLINE_DONE__INIT;

    if (in->n_users > USERS_MAX) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    done.complete = complete;
    done.gates = (uint32_t *)(uintptr_t)live->gates;
    done.n_gates = live->count;
    done.sessions = an_arena_alloc(
        &msg->arena, (in->n_users + 1) * AN_DEVICES_PER_USER_MAX * sizeof(void *));
    for (size_t i = 0; i < in->n_users; i++) {
        if (done.sessions == NULL || !put_user(table, in->users[i], &done, &msg->arena)) {
            an_out_answer(out, msg, AN_ERR_NO_MEMORY, NULL);
            return;
        }
    }
    an_out_answer(out, msg, AN_OK, &done.base);
}
