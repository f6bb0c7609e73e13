/* An actor of a test's own: one function does what the real one would do to whom the test
 * is about. It starts and stops by itself and has no state but the test's. */
#ifndef AN_TESTS_SIM_PUPPET_H
#define AN_TESTS_SIM_PUPPET_H

#include "core/actor.h"

/* ctx: the test's. Whatever comes, START and STOP too, which need no reply of it. */
typedef void puppet_step_f(void *ctx, struct an_msg *msg, struct an_now now,
                           struct an_outbox *out);

/* Made by sim_alloc, destroyed as any actor is. */
struct an_actor *puppet_create(void *ctx, puppet_step_f *step);

#endif
