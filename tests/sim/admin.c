#include "tests/sim/admin.h"
#include "core/slot.h"
#include "core/token.h"
#include "proto/bus.pb-c.h"
#include <stdlib.h>
#include <string.h>

struct admin {
    struct an_actor actor;
    struct sim_admin_cfg cfg;
    unsigned user;
    bool named; /* the directory has the user's name; the account is next */
    bool ready;
};

enum { RETRY_MS = 200 };

static ProtobufCBinaryData
text(const char *s)
{
    return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static void
admin_ask(struct admin *admin, struct an_outbox *out)
{
    Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__Command *commands[] = {&command};
    Anser__Bus__PutDirectory put = ANSER__BUS__PUT_DIRECTORY__INIT;
    Anser__Bus__CreateUser create = ANSER__BUS__CREATE_USER__INIT;
    uint64_t key = SIM_USER_KEY + admin->user;
    ProtobufCBinaryData app = text(AN_APP_DEFAULT);
    ProtobufCBinaryData name;

    if (admin->user == admin->cfg.check->users) {
        if (!admin->ready) {
            admin->ready = true;
            an_out_ready(out);
        }
        return;
    }
    name = text(admin->cfg.check->name[admin->user]);
    submit.n_commands = 1;
    submit.commands = commands;
    if (admin->named) {
        create.app = app;
        create.name = name;
        create.user = key;
        command.slot = an_slot_user(key);
        command.what_case = ANSER__BUS__COMMAND__WHAT_CREATE_USER;
        command.create_user = &create;
    } else {
        put.app = app;
        put.name = name;
        put.user = key;
        command.slot = an_slot_name(app.data, app.len, name.data, name.len);
        command.what_case = ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;
        command.put_directory = &put;
    }
    an_out_ask(out, an_topology_sequencer(admin->cfg.topology, (uint16_t)command.slot),
               AN_KIND_SUBMIT, &submit.base, AN_ASK_MS, 1, 1);
}

static bool
admin_accepted(const struct an_msg *msg)
{
    const Anser__Bus__Submitted *done = (const Anser__Bus__Submitted *)msg->body;

    return msg->err == AN_OK && done != NULL && done->n_results == 1 &&
           (done->results[0]->err == AN_OK ||
            done->results[0]->err == AN_ERR_USER_EXISTS);
}

static void
admin_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
           struct an_outbox *out)
{
    struct admin *admin = (struct admin *)actor;

    if (msg->kind == AN_KIND_STOP) {
        an_out_stopped(out);
        return;
    }
    if (msg->answer && !admin_accepted(msg)) {
        an_out_timer(out, now.mono_ms + RETRY_MS, 0);
        return;
    }
    if (msg->answer) {
        admin->user += admin->named;
        admin->named = !admin->named;
    }
    admin_ask(admin, out);
}

static void
admin_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

static void
admin_destroy(struct an_actor *actor)
{
    free(actor);
}

static const struct an_actor_ops ops = {.role = AN_ROLE_API,
                                        .step = admin_step,
                                        .drained = admin_drained,
                                        .destroy = admin_destroy};

struct an_actor *
sim_admin_make(void *ctx, struct an_addr addr, uint64_t seed, char *why, size_t why_len)
{
    struct admin *admin = sim_alloc(sizeof(*admin));

    (void)addr;
    (void)seed;
    (void)why;
    (void)why_len;
    admin->actor.ops = &ops;
    admin->cfg = *(const struct sim_admin_cfg *)ctx;
    return &admin->actor;
}
