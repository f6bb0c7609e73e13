#include "core/actor.h"
#include "core/wire.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct an_msg *
an_msg_create(size_t arena_limit)
{
    struct an_msg *msg = calloc(1, sizeof(*msg));

    if (msg == NULL) {
        return NULL;
    }
    an_arena_init(&msg->arena, arena_limit);
    msg->refs = 1;
    return msg;
}

enum an_err
an_msg_unpack(struct an_msg *msg, const uint8_t *body, size_t len)
{
    const struct an_kind_row *row = an_kind_row(msg->kind);

    if (row == NULL) {
        return AN_ERR_ENVELOPE;
    }
    msg->body = an_wire_unpack(row->body, &msg->arena, body, len);
    if (msg->body == NULL) {
        return msg->arena.total + len > msg->arena.limit ? AN_ERR_NO_MEMORY
                                                         : AN_ERR_ENVELOPE;
    }
    return AN_OK;
}

struct an_msg *
an_msg_hold(struct an_msg *msg)
{
    assert(msg->refs > 0);
    msg->refs++;
    return msg;
}

void
an_msg_release(struct an_msg *msg)
{
    if (msg == NULL) {
        return;
    }
    assert(msg->refs > 0);
    if (--msg->refs > 0) {
        return;
    }
    assert(!msg->request || msg->answered);
    if (msg->recycle != NULL) {
        msg->recycle(msg->owner, msg);
        return;
    }
    an_arena_fini(&msg->arena);
    free(msg);
}

void
an_msg_abandon(struct an_msg *msg)
{
    if (msg != NULL) {
        msg->answered = true;
    }
    an_msg_release(msg);
}

bool
an_msg_expired(const struct an_msg *msg, struct an_now now)
{
    return msg->request && now.mono_ms >= msg->deadline_mono_ms;
}
