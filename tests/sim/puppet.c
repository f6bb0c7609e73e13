#include "tests/sim/puppet.h"
#include "tests/sim/sim_priv.h"
#include <stdlib.h>

struct puppet {
    struct an_actor actor;
    puppet_step_f *step;
    void *ctx;
};

static void
step(struct an_actor *actor, struct an_msg *msg, struct an_now now, struct an_outbox *out)
{
    struct puppet *puppet = (struct puppet *)actor;

    puppet->step(puppet->ctx, msg, now, out);
    if (msg->kind == AN_KIND_START) {
        an_out_ready(out);
    } else if (msg->kind == AN_KIND_STOP) {
        an_out_stopped(out);
    }
}

static void
drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    (void)actor;
    (void)now;
    (void)out;
}

static void
destroy(struct an_actor *actor)
{
    free(actor);
}

struct an_actor *
puppet_create(void *ctx, puppet_step_f *step_f)
{
    static const struct an_actor_ops ops = {
        .step = step, .drained = drained, .destroy = destroy};
    struct puppet *puppet = sim_alloc(sizeof(*puppet));

    *puppet = (struct puppet){{&ops}, step_f, ctx};
    return &puppet->actor;
}
