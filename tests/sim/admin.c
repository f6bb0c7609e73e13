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
    TAG_ERRAND, /* and its place above ERRAND_SHIFT, its serial above that */
    ASK_MS = 3000,
    ERRAND_SHIFT = 8,
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

/* ------------------------------------------------------------------ errands */

static uint64_t
errand_tag(const struct admin *admin, const struct sim_errand *errand)
{
    uint64_t place = (uint64_t)(errand - admin->cfg.errand);

    return TAG_ERRAND | place << ERRAND_SHIFT | (uint64_t)errand->serial << 32;
}

/* NULL: it was of one that had the place before. */
static struct sim_errand *
errand_of(const struct admin *admin, uint64_t tag)
{
    struct sim_errand *errand =
        &admin->cfg.errand[(tag >> ERRAND_SHIFT) % SIM_ERRANDS_MAX];

    return errand->pending && errand_tag(admin, errand) == tag ? errand : NULL;
}

static uint16_t
errand_slot(const struct sim_errand *errand)
{
    return errand->what == SIM_ERRAND_NAME
               ? an_slot_name((const uint8_t *)errand->app, strlen(errand->app),
                              (const uint8_t *)errand->name, strlen(errand->name))
               : an_slot_user(errand->user);
}

union errand_body {
    Anser__Bus__PutDirectory name;
    Anser__Bus__CreateUser create;
    Anser__Bus__UpdateAccount account;
    Anser__Bus__UpdateDevice device;
};

static void
account_fill(Anser__Bus__Command *command, union errand_body *body,
             const struct sim_errand *errand)
{
    anser__bus__update_account__init(&body->account);
    body->account.user = errand->user;
    body->account.set = errand->what == SIM_ERRAND_FORBID
                            ? ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_FORBIDDEN
                            : ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE;
    body->account.forbidden = errand->forbidden;
    command->what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT;
    command->update_account = &body->account;
}

static void
device_fill(Anser__Bus__Command *command, union errand_body *body,
            const struct sim_errand *errand)
{
    anser__bus__update_device__init(&body->device);
    body->device.user = errand->user;
    body->device.device = text(errand->device);
    body->device.set = ANSER__BUS__DEVICE_SET__DEVICE_SET_REVOKE;
    if (errand->what == SIM_ERRAND_LOGIN) {
        body->device.set = ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM |
                           ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH;
        body->device.platform = text(errand->platform);
        body->device.refresh_hash = (ProtobufCBinaryData){
            sizeof(errand->hash), (uint8_t *)(uintptr_t)errand->hash};
    }
    command->what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE;
    command->update_device = &body->device;
}

static void
errand_fill(Anser__Bus__Command *command, union errand_body *body,
            const struct sim_errand *errand)
{
    if (errand->what == SIM_ERRAND_NAME) {
        anser__bus__put_directory__init(&body->name);
        body->name.app = text(errand->app);
        body->name.name = text(errand->name);
        body->name.user = errand->user;
        command->what_case = ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;
        command->put_directory = &body->name;
    } else if (errand->what == SIM_ERRAND_USER) {
        anser__bus__create_user__init(&body->create);
        body->create.app = text(errand->app);
        body->create.name = text(errand->name);
        body->create.user = errand->user;
        command->what_case = ANSER__BUS__COMMAND__WHAT_CREATE_USER;
        command->create_user = &body->create;
    } else if (errand->device != NULL) {
        device_fill(command, body, errand);
    } else {
        account_fill(command, body, errand);
    }
}

static void
errand_ask(struct admin *admin, const struct sim_errand *errand, struct an_outbox *out)
{
    Anser__Bus__Submit submit = ANSER__BUS__SUBMIT__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT, *commands = &command;
    union errand_body body;

    command.slot = errand_slot(errand);
    errand_fill(&command, &body, errand);
    submit.commands = &commands;
    submit.n_commands = 1;
    an_out_ask(out, (struct an_addr){AN_ROLE_SEQUENCER, errand->owner}, AN_KIND_SUBMIT,
               &submit.base, ASK_MS, errand_tag(admin, errand), 3);
}

static void
errand_answered(struct admin *admin, const struct an_msg *msg, struct an_now now,
                struct an_outbox *out)
{
    const Anser__Bus__Submitted *done = (const Anser__Bus__Submitted *)msg->body;
    struct sim_errand *errand = errand_of(admin, msg->tag);
    uint32_t err = msg->err != AN_OK ? msg->err : done->results[0]->err;

    if (errand == NULL) {
        return;
    }
    if (err == AN_OK || err == AN_ERR_USER_EXISTS) {
        errand->time_ms = done->results[0]->time_ms;
        errand->pending = false;
        errand->done = true;
        return;
    }
    errand->owner =
        err == AN_ERR_MOVED
            ? (uint16_t)done->results[0]->owner
            : an_topology_other(admin->cfg.topology, errand_slot(errand), errand->owner);
    an_out_timer(out, now.mono_ms + RETRY_MS, msg->tag);
}

/* After a start: those that the life before was asked for. */
static void
errands_ask(struct admin *admin, struct an_outbox *out)
{
    for (unsigned i = 0; i < SIM_ERRANDS_MAX; i++) {
        if (admin->cfg.errand[i].pending) {
            errand_ask(admin, &admin->cfg.errand[i], out);
        }
    }
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
    } else if (msg->answer && (uint8_t)msg->tag == TAG_ERRAND) {
        errand_answered(admin, msg, now, out);
    } else if (msg->kind == AN_KIND_TIMER && (uint8_t)msg->tag == TAG_ERRAND) {
        struct sim_errand *errand = errand_of(admin, msg->tag);
        if (errand != NULL) {
            errand_ask(admin, errand, out);
        }
    } else if (msg->answer) {
        census_answered(admin, msg, now, out);
    } else if (msg->kind == AN_KIND_TIMER && msg->tag == TAG_CENSUS) {
        census_ask(admin, out);
    } else {
        admin_ask(admin, out);
        if (msg->kind == AN_KIND_START) {
            errands_ask(admin, out);
        }
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
sim_admin_errand(struct sim *sim, unsigned actor, struct sim_errand *errand,
                 unsigned place, const struct an_topology *topology)
{
    struct an_msg *msg;

    errand->pending = true;
    errand->done = false;
    errand->serial++;
    errand->began_us = sim->now_us;
    errand->owner = topology->slot_sequencer[errand_slot(errand)];
    if (!sim_actor_up(sim, actor)) {
        return; /* its next life begins with them */
    }
    msg = sim_msg_create(sim, actor, AN_KIND_TIMER);
    msg->tag =
        TAG_ERRAND | (uint64_t)place << ERRAND_SHIFT | (uint64_t)errand->serial << 32;
    sim_mail(sim, actor, msg);
}
