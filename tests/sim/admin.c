/* The simulator's own api: makes the users; later asks of every slot whether somebody
 * serves it. */
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
    struct an_addr sequencer; /* to ask next; index as the last MOVED said */
    bool moved;
    uint16_t asked[AN_SLOTS]; /* the slots of the census that is out */
    size_t asked_count;
};

enum {
    RETRY_MS = 200,
    TAG_USERS = 1,
    TAG_CENSUS,
    TAG_BAN,
    ASK_MS = 3000,
    CENSUS_RETRY_MS = 50,
    CENSUS_KEY = 1 << 30, /* users that do not exist, from here on */
};

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
    if (!admin->moved) {
        admin->sequencer =
            an_topology_sequencer(admin->cfg.topology, (uint16_t)command.slot);
    }
    an_out_ask(out, admin->sequencer, AN_KIND_SUBMIT, &submit.base, AN_ASK_MS, TAG_USERS,
               1);
}

static void
admin_answered(struct admin *admin, const struct an_msg *msg, struct an_now now,
               struct an_outbox *out)
{
    const Anser__Bus__Submitted *done = (const Anser__Bus__Submitted *)msg->body;
    const Anser__Bus__Result *result =
        msg->err == AN_OK && done->n_results == 1 ? done->results[0] : NULL;

    admin->moved = result != NULL && result->err == AN_ERR_MOVED;
    if (admin->moved) {
        admin->sequencer.index = (uint16_t)result->owner;
    }
    if (result == NULL || (result->err != AN_OK && result->err != AN_ERR_USER_EXISTS)) {
        an_out_timer(out, now.mono_ms + RETRY_MS, TAG_USERS);
        return;
    }
    admin->user += admin->named;
    admin->named = !admin->named;
    admin_ask(admin, out);
}

/* ------------------------------------------------------------------ the census */

/* Some user of the slot. */
static uint64_t
user_in(struct sim_census *census, uint16_t slot)
{
    for (uint64_t key = CENSUS_KEY; census->user[slot] == 0; key++) {
        uint64_t *user = &census->user[an_slot_user(key)];
        *user = *user == 0 ? key : *user;
    }
    return census->user[slot];
}

/* Of the first slot that is not served yet, and of all that are to be asked of the same
 * sequencer and have the same store. */
static void
census_ask(struct admin *admin, struct an_outbox *out)
{
    const struct an_topology *topology = admin->cfg.topology;
    struct sim_census *census = admin->cfg.census;
    static uint8_t device[] = "census"; /* borrowed by what is packed at once */
    Anser__Bus__ConfirmCommand confirm[AN_SLOTS];
    Anser__Bus__Command command[AN_SLOTS], *list[AN_SLOTS];
    Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    size_t count = 0;

    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        uint16_t first = count == 0 ? slot : admin->asked[0];
        if (census->served[slot] || census->of[slot] != census->of[first] ||
            topology->slot_store[slot] != topology->slot_store[first]) {
            continue;
        }
        anser__bus__confirm_command__init(&confirm[count]);
        confirm[count].user = user_in(census, slot);
        confirm[count].device = (ProtobufCBinaryData){sizeof(device) - 1, device};
        confirm[count].inbox_seq = 1;
        anser__bus__command__init(&command[count]);
        command[count].slot = slot;
        command[count].what_case = ANSER__BUS__COMMAND__WHAT_CONFIRM;
        command[count].confirm = &confirm[count];
        list[count] = &command[count];
        admin->asked[count++] = slot;
    }
    admin->asked_count = count;
    if (count == 0) {
        census->done = true;
        return;
    }
    submit.n_commands = count;
    submit.commands = list;
    an_out_ask(out, (struct an_addr){AN_ROLE_SEQUENCER, census->of[admin->asked[0]]},
               AN_KIND_SUBMIT, &submit.base, ASK_MS, TAG_CENSUS, 2);
}

/* An answer of the one who has the slot; the users do not exist. */
static bool
is_served(uint32_t err)
{
    return err == AN_OK || err == AN_ERR_CURSOR_AHEAD || err == AN_ERR_NOT_FOUND ||
           err == AN_ERR_USER_NOT_FOUND;
}

static void
census_answered(struct admin *admin, const struct an_msg *msg, struct an_now now,
                struct an_outbox *out)
{
    const Anser__Bus__Submitted *done = (const Anser__Bus__Submitted *)msg->body;
    const struct an_topology *topology = admin->cfg.topology;
    struct sim_census *census = admin->cfg.census;
    bool away = false;

    for (size_t i = 0; i < admin->asked_count; i++) {
        uint16_t slot = admin->asked[i];
        uint32_t err = msg->err != AN_OK ? msg->err : done->results[i]->err;

        away = away || !is_served(err);
        census->err[slot] = (uint16_t)err;
        if (is_served(err)) {
            census->served[slot] = true;
            census->count++;
        } else if (err == AN_ERR_MOVED) {
            census->of[slot] = (uint16_t)done->results[i]->owner;
        } else {
            census->of[slot] = census->of[slot] == topology->slot_sequencer[slot]
                                   ? topology->slot_standby[slot]
                                   : topology->slot_sequencer[slot];
        }
    }
    an_out_timer(out, now.mono_ms + (away ? CENSUS_RETRY_MS : 1), TAG_CENSUS);
}

/* ------------------------------------------------------------------ a ban */

static void
ban_ask(struct admin *admin, struct an_outbox *out)
{
    const struct sim_ban *ban = admin->cfg.ban;
    Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT, *commands = &command;
    Anser__Bus__UpdateAccount update = ANSER__BUS__UPDATE_ACCOUNT__INIT;

    update.user = ban->user;
    update.set = ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_FORBIDDEN;
    update.forbidden = ban->forbidden;
    command.slot = an_slot_user(ban->user);
    command.what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT;
    command.update_account = &update;
    submit.commands = &commands;
    submit.n_commands = 1;
    an_out_ask(out, (struct an_addr){AN_ROLE_SEQUENCER, ban->owner}, AN_KIND_SUBMIT,
               &submit.base, ASK_MS, TAG_BAN, 3);
}

static void
ban_answered(struct admin *admin, const struct an_msg *msg, struct an_now now,
             struct an_outbox *out)
{
    const Anser__Bus__Submitted *done = (const Anser__Bus__Submitted *)msg->body;
    const struct an_topology *topology = admin->cfg.topology;
    struct sim_ban *ban = admin->cfg.ban;
    uint16_t slot = an_slot_user(ban->user);
    uint32_t err = msg->err != AN_OK ? msg->err : done->results[0]->err;

    if (err == AN_OK) {
        ban->done = true;
        return;
    }
    ban->owner = err == AN_ERR_MOVED ? (uint16_t)done->results[0]->owner
                                     : an_topology_other(topology, slot, ban->owner);
    an_out_timer(out, now.mono_ms + RETRY_MS, TAG_BAN);
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
    if (msg->answer && msg->tag == TAG_USERS) {
        admin_answered(admin, msg, now, out);
    } else if (msg->answer && msg->tag == TAG_BAN) {
        ban_answered(admin, msg, now, out);
    } else if (msg->kind == AN_KIND_TIMER && msg->tag == TAG_BAN) {
        ban_ask(admin, out);
    } else if (msg->answer) {
        census_answered(admin, msg, now, out);
    } else if (msg->kind == AN_KIND_TIMER && msg->tag == TAG_CENSUS) {
        census_ask(admin, out);
    } else {
        admin_ask(admin, out);
    }
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

void
sim_admin_census(struct sim *sim, unsigned actor, struct sim_census *census,
                 const struct an_topology *topology)
{
    struct an_msg *msg = sim_msg_create(sim, actor, AN_KIND_TIMER);

    memset(census, 0, sizeof(*census));
    memcpy(census->of, topology->slot_sequencer, sizeof(census->of));
    msg->tag = TAG_CENSUS;
    sim_mail(sim, actor, msg);
}

void
sim_admin_ban(struct sim *sim, unsigned actor, struct sim_ban *ban,
              const struct an_topology *topology)
{
    struct an_msg *msg = sim_msg_create(sim, actor, AN_KIND_TIMER);

    ban->done = false;
    ban->owner = topology->slot_sequencer[an_slot_user(ban->user)];
    msg->tag = TAG_BAN;
    sim_mail(sim, actor, msg);
}
