/* The simulated bus. Real envelopes and bodies travel as bytes. Between one asker and one
 * mailbox order is kept, as on the real transport; a reset loses what is on its way, and
 * faults drop, double and delay. Every ask ends exactly once at its asker. */
#include "proto/bus.pb-c.h"
#include "proto/envelope.h"
#include "tests/sim/sim_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What a request carries so that its answer finds the way back. */
struct reply_to {
    uint64_t ask;
    uint32_t asker, mailbox;
    uint32_t generation;
};
_Static_assert(sizeof(struct reply_to) <= AN_REPLY_TO_MAX, "it fits the message");

struct packet {
    uint32_t asker, mailbox; /* of the link; the direction is the event's */
    uint32_t generation;
    uint32_t life; /* of the receiver's process when it was sent; 0: do not look */
    uint64_t ask;
    size_t len;
    uint8_t bytes[]; /* envelope, body */
};

/* ------------------------------------------------------------------ asks */

static struct sim_ask *
ask_take(struct sim_link *link, uint64_t id)
{
    for (struct sim_ask **at = &link->asks; *at != NULL; at = &(*at)->next) {
        if ((*at)->id == id) {
            struct sim_ask *ask = *at;
            *at = ask->next;
            link->outstanding--;
            return ask;
        }
    }
    return NULL;
}

/* The end of an ask: its asker hears of it. body NULL: the runner's own word. */
static void
ask_end(struct sim *sim, unsigned asker, unsigned mailbox, struct sim_ask *ask,
        enum an_err err, const uint8_t *body, size_t len)
{
    struct an_msg *msg = sim_msg_create(sim, asker, ask->kind);

    msg->answer = true;
    msg->tag = ask->tag;
    msg->trace = ask->trace;
    msg->err = err;
    msg->from = sim->actor[mailbox].addr;
    if (body != NULL && len > 0) {
        enum an_err bad = an_msg_unpack(msg, body, len);
        if (bad != AN_OK) {
            sim_fail(sim, "an answer %s does not unpack", an_kind_name(ask->kind));
        }
    } else if (err == AN_OK) {
        static const uint8_t nothing;
        if (an_msg_unpack(msg, &nothing, 0) != AN_OK) {
            sim_fail(sim, "an empty %s does not unpack", an_kind_name(ask->kind));
        }
    }
    sim_mix_u64(sim, (uint64_t)err << 16 | ask->kind);
    sim_trace(sim, "%s/%u gets the answer to ask %llu: %s %s",
              an_role_name(sim->actor[asker].addr.role), sim->actor[asker].addr.index,
              (unsigned long long)ask->id, an_kind_name(ask->kind), an_err_name(err));
    sim_describe(sim, msg);
    if (ask->kind == AN_KIND_PROBED) {
        sim_watch_probed(sim, asker, msg);
    } else if (ask->kind == AN_KIND_CLAIMED) {
        sim_watch_granted(sim, asker, msg);
    }
    free(ask);
    sim_mail(sim, asker, msg);
}

static bool
stands_still(const struct sim *sim, unsigned actor)
{
    return sim->now_us < sim->process[sim->actor[actor].process].paused_until_us;
}

struct ask_event {
    uint32_t asker, mailbox;
    uint32_t life;
    enum an_err err;
};

static void ask_over_at(struct sim *sim, unsigned asker, unsigned mailbox, uint64_t id,
                        enum an_err err, uint64_t at_us);

/* The budget ran out, or the runner refused. */
static void
ask_over(struct sim *sim, void *arg, uint64_t id)
{
    struct ask_event event = *(struct ask_event *)arg;
    struct sim_ask *ask;

    free(arg);
    if (sim_life(sim, event.asker) != event.life) {
        return;
    }
    if (stands_still(sim, event.asker)) { /* it looks at its clock when it wakes */
        ask_over_at(sim, event.asker, event.mailbox, id, event.err,
                    sim->process[sim->actor[event.asker].process].paused_until_us);
        return;
    }
    ask = ask_take(&sim->link[event.asker][event.mailbox], id);
    if (ask != NULL) {
        ask_end(sim, event.asker, event.mailbox, ask, event.err, NULL, 0);
    }
}

static void
ask_over_at(struct sim *sim, unsigned asker, unsigned mailbox, uint64_t id,
            enum an_err err, uint64_t at_us)
{
    struct ask_event *event = sim_alloc(sizeof(*event));

    *event = (struct ask_event){asker, mailbox, sim_life(sim, asker), err};
    sim_at(sim, at_us, ask_over, event, id);
}

/* ------------------------------------------------------------------ packets */

static struct packet *
packet_make(struct sim *sim, unsigned sender, const struct an_envelope *env,
            const uint8_t *body, size_t len)
{
    const struct sim_process *process = &sim->process[sim->actor[sender].process];
    uint8_t *altered = NULL;
    struct packet *packet;
    struct an_envelope header = *env;

    if ((sim->options.bug != SIM_BUG_NONE || sim->plan.rewind > 0) && len > 0) {
        altered = sim_alloc(len);
        memcpy(altered, body, len);
        sim_rewind_packet(sim, env->kind, &altered, &len);
        sim_tamper_packet(sim, env->kind, &altered, &len);
        body = altered;
    }
    packet = sim_alloc(sizeof(*packet) + AN_ENVELOPE_LEN + len);
    header.body_len = (uint32_t)len;
    header.from = sim->actor[sender].addr;
    header.cluster = process->cluster;
    header.stores = process->stores;
    an_envelope_put(packet->bytes, &header);
    if (len > 0) {
        memcpy(packet->bytes + AN_ENVELOPE_LEN, body, len);
    }
    packet->len = AN_ENVELOPE_LEN + len;
    sim_mix(sim, packet->bytes, packet->len);
    free(altered);
    return packet;
}

static struct packet *
packet_dup(const struct packet *packet)
{
    struct packet *copy = sim_alloc(sizeof(*packet) + packet->len);

    memcpy(copy, packet, sizeof(*packet) + packet->len);
    return copy;
}

/* When it arrives: after everything sent before it on the same way. 0: never. */
static uint64_t
arrival(struct sim *sim, unsigned from, unsigned to, uint64_t *last_us)
{
    const struct sim_cut *cut =
        sim_cut_from_to(sim, sim->actor[from].process, sim->actor[to].process);
    uint64_t at = sim->now_us + sim->plan.latency_us / 2 +
                  sim_between(sim, 0, sim->plan.latency_us);

    if (sim_chance(sim, sim->plan.delay)) {
        sim->counts[SIM_DELAY]++;
        at += sim_between(sim, 1, an_rng_below(&sim->rng, 10) == 0 ? 8000 : 300) * SIM_MS;
    }
    if (cut != NULL) {
        sim->counts[cut->held ? SIM_CUT_HELD : SIM_CUT_LOST]++;
        if (!cut->held) {
            return 0;
        }
        at = cut->until_us > at ? cut->until_us : at;
    }
    if (at <= *last_us) {
        at = *last_us + 1;
    }
    *last_us = at;
    return at;
}

/* Is the sender of another cluster, or does it know other stores for the slots? */
static bool
is_foreign(const struct sim *sim, const struct packet *packet, unsigned receiver)
{
    const struct sim_process *process = &sim->process[sim->actor[receiver].process];
    struct an_envelope env;
    const char *why;

    return an_envelope_get(&env, packet->bytes, packet->len, &why) &&
           (env.cluster != process->cluster || env.stores != process->stores);
}

/* Envelope and sender as the runner checks them. NULL: refused. */
static struct an_msg *
packet_open(struct sim *sim, const struct packet *packet, unsigned receiver)
{
    struct an_envelope env;
    const char *why;
    const struct an_kind_row *row;
    struct an_msg *msg;

    if (!an_envelope_get(&env, packet->bytes, packet->len, &why)) {
        sim_fail(sim, "a bus message is malformed: %s", why);
        return NULL;
    }
    row = an_kind_row(env.kind);
    if (row == NULL || (row->senders & 1u << env.from.role) == 0 ||
        (row->receiver != AN_ROLE_NONE &&
         row->receiver != sim->actor[receiver].addr.role)) {
        sim_fail(sim, "%s may not send %s to %s", an_role_name(env.from.role),
                 an_kind_name(env.kind), an_role_name(sim->actor[receiver].addr.role));
        return NULL;
    }
    msg = sim_msg_create(sim, receiver, env.kind);
    msg->from = env.from;
    msg->trace = env.trace;
    msg->deadline_mono_ms =
        sim_clock(sim, &sim->process[sim->actor[receiver].process]).mono_ms +
        env.budget_ms;
    if (an_msg_unpack(msg, packet->bytes + AN_ENVELOPE_LEN, env.body_len) != AN_OK) {
        sim_fail(sim, "a body of %s does not unpack", an_kind_name(env.kind));
        an_msg_release(msg);
        return NULL;
    }
    return msg;
}

static void answer_send(struct sim *sim, const struct reply_to *reply,
                        struct packet *packet);

/* Each of the two may be the one that is wrong: both refuse. */
static void
refuse_foreign(struct sim *sim, const struct packet *request,
               const struct reply_to *reply)
{
    struct an_envelope asked, env = {.answer = true, .err = AN_ERR_CLUSTER};
    const char *why;

    if (!an_envelope_get(&asked, request->bytes, request->len, &why)) {
        return;
    }
    sim->counts[SIM_SAW_REFUSED_CLUSTER]++;
    env.kind = an_kind_row(asked.kind)->answer;
    env.trace = asked.trace;
    sim_trace(sim, "%s/%u: the runner refuses ask %llu of another cluster",
              an_role_name(sim->actor[reply->mailbox].addr.role),
              sim->actor[reply->mailbox].addr.index, (unsigned long long)reply->ask);
    answer_send(sim, reply, packet_make(sim, reply->mailbox, &env, NULL, 0));
}

/* The planted bugs of requests. true: it is answered already. */
static bool
twisted(struct sim *sim, const struct packet *packet, struct an_msg *msg)
{
    struct an_envelope env = {.answer = true, .trace = msg->trace};
    struct sim_twist twist = {0};
    struct reply_to reply;
    bool answered = sim_tamper_request(sim, msg->kind, packet->bytes + AN_ENVELOPE_LEN,
                                       packet->len - AN_ENVELOPE_LEN, &twist);

    memcpy(&reply, msg->reply_to, sizeof(reply));
    if (answered) {
        env.kind = an_kind_row(msg->kind)->answer;
        answer_send(
            sim, &reply,
            packet_make(sim, packet->mailbox, &env, twist.answer, twist.answer_len));
        msg->answered = true;
        an_msg_release(msg);
    } else if (twist.again != NULL) {
        struct an_msg *again = sim_msg_create(sim, packet->mailbox, msg->kind);
        if (an_msg_unpack(again, twist.again, twist.again_len) != AN_OK) {
            abort();
        }
        reply.ask = 0;
        memcpy(again->reply_to, &reply, sizeof(reply));
        again->reply_to_len = sizeof(reply);
        again->request = true;
        again->from = msg->from;
        again->deadline_mono_ms = msg->deadline_mono_ms;
        sim_mail(sim, packet->mailbox, msg);
        sim_mail(sim, packet->mailbox, again);
        answered = true;
    }
    free(twist.answer);
    free(twist.again);
    return answered;
}

static void
request_arrives(struct sim *sim, void *arg, uint64_t number)
{
    struct packet *packet = arg;
    unsigned to = packet->mailbox;
    struct reply_to reply;
    struct an_msg *msg;

    (void)number;
    if (!sim_actor_up(sim, to) || packet->life != sim_life(sim, to) ||
        packet->generation != sim->link[packet->asker][to].generation) {
        free(packet);
        return;
    }
    if (stands_still(sim, to)) { /* it takes it from the socket when it wakes */
        sim_at(sim, sim->process[sim->actor[to].process].paused_until_us, request_arrives,
               packet, 0);
        return;
    }
    reply = (struct reply_to){.ask = packet->ask,
                              .asker = packet->asker,
                              .mailbox = to,
                              .generation = packet->generation};
    if (is_foreign(sim, packet, to)) {
        refuse_foreign(sim, packet, &reply);
        free(packet);
        return;
    }
    msg = packet_open(sim, packet, to);
    if (msg == NULL) {
        free(packet);
        return;
    }
    memcpy(msg->reply_to, &reply, sizeof(reply));
    msg->reply_to_len = sizeof(reply);
    msg->request = true;
    sim_trace(sim, "%s/%u receives ask %llu: %s", an_role_name(sim->actor[to].addr.role),
              sim->actor[to].addr.index, (unsigned long long)packet->ask,
              an_kind_name(msg->kind));
    sim_describe(sim, msg);
    if (msg->kind == AN_KIND_HANDOVER) {
        sim_watch_handover(sim, to, msg);
    }
    if (sim->options.bug != SIM_BUG_NONE && twisted(sim, packet, msg)) {
        free(packet);
        return;
    }
    free(packet);
    if (sim->actor[to].queued >= AN_MAILBOX_MSGS_MAX) {
        sim_net_refuse(sim, to, msg, AN_ERR_BUSY);
        an_msg_release(msg);
        return;
    }
    sim_mail(sim, to, msg);
}

static void
answer_arrives(struct sim *sim, void *arg, uint64_t number)
{
    struct packet *packet = arg;
    struct sim_link *link = &sim->link[packet->asker][packet->mailbox];
    struct an_envelope env;
    struct sim_ask *ask;
    const char *why;

    (void)number;
    if (stands_still(sim, packet->asker)) {
        sim_at(sim, sim->process[sim->actor[packet->asker].process].paused_until_us,
               answer_arrives, packet, 0);
        return;
    }
    if (sim_actor_up(sim, packet->asker) && packet->generation == link->generation &&
        packet->life == sim_life(sim, packet->asker) &&
        an_envelope_get(&env, packet->bytes, packet->len, &why)) {
        ask = ask_take(link, packet->ask);
        if (ask != NULL && ask->kind != env.kind) {
            sim_fail(sim, "asked for %s, answered with %s", an_kind_name(ask->kind),
                     an_kind_name(env.kind));
        }
        if (ask != NULL) {
            ask_end(sim, packet->asker, packet->mailbox, ask,
                    env.err == AN_ERR_CLUSTER ? AN_ERR_UNAVAILABLE : (enum an_err)env.err,
                    packet->bytes + AN_ENVELOPE_LEN, env.body_len);
        }
    }
    free(packet);
}

static void
publish_arrives(struct sim *sim, void *arg, uint64_t number)
{
    struct packet *packet = arg;
    struct an_msg *msg;

    (void)number;
    if (stands_still(sim, packet->mailbox)) {
        sim_at(sim, sim->process[sim->actor[packet->mailbox].process].paused_until_us,
               publish_arrives, packet, 0);
        return;
    }
    if (sim_actor_up(sim, packet->mailbox) &&
        packet->life == sim_life(sim, packet->mailbox) &&
        !is_foreign(sim, packet, packet->mailbox)) {
        msg = packet_open(sim, packet, packet->mailbox);
        if (msg != NULL) {
            sim_mail(sim, packet->mailbox, msg);
        }
    }
    free(packet);
}

/* ------------------------------------------------------------------ effects */

/* The request goes out, or does not: the faults. */
static void
request_send(struct sim *sim, struct sim_link *link, struct packet *packet)
{
    uint64_t at = arrival(sim, packet->asker, packet->mailbox, &link->request_last_us);

    if (at == 0) {
        free(packet);
        return;
    }
    if (sim_chance(sim, sim->plan.late_request)) { /* a stray copy, long after */
        sim->counts[SIM_LATE_REQUEST]++;
        sim_at(sim, at + sim_between(sim, 1, 9000) * SIM_MS, request_arrives,
               packet_dup(packet), 0);
    }
    if (sim_chance(sim, sim->plan.drop_request)) {
        sim->counts[SIM_DROP_REQUEST]++;
        free(packet);
        return;
    }
    if (sim_chance(sim, sim->plan.double_request)) {
        sim->counts[SIM_DOUBLE_REQUEST]++;
        sim_at(sim, at, request_arrives, packet_dup(packet), 0);
    }
    sim_at(sim, at, request_arrives, packet, 0);
}

void
sim_net_ask(struct sim *sim, unsigned actor, const struct an_effect *effect,
            const uint8_t *body)
{
    int to = sim_actor_find(sim, effect->to);
    struct an_envelope env = {.kind = effect->kind,
                              .trace = effect->trace,
                              .budget_ms = effect->budget_ms,
                              .from = sim->actor[actor].addr};
    struct sim_link *link;
    struct sim_ask *ask;
    struct packet *packet;

    if (to < 0) {
        sim_fail(sim, "%s is asked of %s/%u, which does not exist",
                 an_kind_name(effect->kind), an_role_name(effect->to.role),
                 effect->to.index);
        return;
    }
    link = &sim->link[actor][to];
    ask = sim_alloc(sizeof(*ask));
    *ask = (struct sim_ask){.id = ++sim->ask_next,
                            .tag = effect->tag,
                            .trace = effect->trace,
                            .next = link->asks,
                            .kind = an_kind_row(effect->kind)->answer};
    link->asks = ask;
    link->outstanding++;
    sim_trace(sim, "%s/%u asks %s of %s/%u, %zu bytes, ask %llu",
              an_role_name(env.from.role), env.from.index, an_kind_name(effect->kind),
              an_role_name(effect->to.role), effect->to.index, effect->len,
              (unsigned long long)ask->id);
    if (link->outstanding > AN_BUS_OUTSTANDING_MAX) {
        ask_over_at(sim, actor, (unsigned)to, ask->id, AN_ERR_BUSY, sim->now_us + 1);
        return;
    }
    if (!sim_actor_up(sim, (unsigned)to) ||
        sim_cut_noticed(sim, sim->actor[actor].process, sim->actor[to].process)) {
        ask_over_at(sim, actor, (unsigned)to, ask->id, AN_ERR_UNAVAILABLE,
                    sim->now_us + sim->plan.latency_us);
        return;
    }
    sim_watch_request(sim, actor, ask->id, effect->kind, body, effect->len);
    packet = packet_make(sim, actor, &env, body, effect->len);
    packet->asker = actor;
    packet->mailbox = (unsigned)to;
    packet->generation = link->generation;
    packet->life = sim_life(sim, (unsigned)to);
    packet->ask = ask->id;
    sim_watch_sent(sim, actor, ask->id, effect->kind, packet->bytes + AN_ENVELOPE_LEN,
                   packet->len - AN_ENVELOPE_LEN);
    ask_over_at(sim, actor, (unsigned)to, ask->id, AN_ERR_TIMEOUT,
                sim->now_us + (uint64_t)effect->budget_ms * SIM_MS);
    request_send(sim, link, packet);
}

static void
answer_send(struct sim *sim, const struct reply_to *reply, struct packet *packet)
{
    struct sim_link *link = &sim->link[reply->asker][reply->mailbox];
    uint64_t at;

    packet->asker = reply->asker;
    packet->mailbox = reply->mailbox;
    packet->generation = reply->generation;
    packet->life = sim_life(sim, reply->asker);
    packet->ask = reply->ask;
    if (sim_chance(sim, sim->plan.drop_answer)) {
        sim->counts[SIM_DROP_ANSWER]++;
        free(packet);
        return;
    }
    at = arrival(sim, reply->mailbox, reply->asker, &link->answer_last_us);
    if (at == 0) {
        free(packet);
        return;
    }
    sim_at(sim, at, answer_arrives, packet, 0);
}

void
sim_net_answer(struct sim *sim, unsigned actor, const struct an_effect *effect,
               const uint8_t *body)
{
    struct an_envelope env = {.answer = true,
                              .kind = effect->kind,
                              .err = (uint16_t)effect->err,
                              .trace = effect->trace,
                              .from = sim->actor[actor].addr};
    struct reply_to reply;

    memcpy(&reply, effect->reply_to, sizeof(reply));
    sim_trace(sim, "%s/%u answers ask %llu: %s %s, %zu bytes",
              an_role_name(env.from.role), env.from.index, (unsigned long long)reply.ask,
              an_kind_name(effect->kind), an_err_name(effect->err), effect->len);
    if (reply.ask == 0) {
        return; /* the operator's */
    }
    if (effect->err == AN_OK) {
        sim_watch_answer(sim, reply.asker, reply.ask, effect->kind, body, effect->len);
    }
    answer_send(sim, &reply, packet_make(sim, actor, &env, body, effect->len));
}

void
sim_net_refuse(struct sim *sim, unsigned actor, struct an_msg *request, enum an_err err)
{
    struct an_envelope env = {.answer = true,
                              .kind = an_kind_row(request->kind)->answer,
                              .err = (uint16_t)err,
                              .trace = request->trace,
                              .from = sim->actor[actor].addr};
    struct reply_to reply;

    memcpy(&reply, request->reply_to, sizeof(reply));
    request->answered = true;
    sim_trace(sim, "%s/%u: the runner refuses ask %llu: %s", an_role_name(env.from.role),
              env.from.index, (unsigned long long)reply.ask, an_err_name(err));
    if (reply.ask != 0) {
        answer_send(sim, &reply, packet_make(sim, actor, &env, NULL, 0));
    }
}

void
sim_net_inspect(struct sim *sim, unsigned actor, const char *words)
{
    struct reply_to reply = {.mailbox = actor};
    Anser__Bus__Inspect inspect = ANSER__BUS__INSPECT__INIT;
    struct an_msg *msg = sim_msg_create(sim, actor, AN_KIND_INSPECT);
    uint8_t body[64];
    size_t len;

    inspect.words = (ProtobufCBinaryData){strlen(words), (uint8_t *)(uintptr_t)words};
    len = anser__bus__inspect__get_packed_size(&inspect);
    assert(len <= sizeof(body));
    anser__bus__inspect__pack(&inspect, body);
    if (an_msg_unpack(msg, body, len) != AN_OK) {
        abort();
    }
    msg->from = (struct an_addr){AN_ROLE_RUNNER, 0};
    msg->deadline_mono_ms = UINT64_MAX;
    memcpy(msg->reply_to, &reply, sizeof(reply));
    msg->reply_to_len = sizeof(reply);
    msg->request = true;
    sim_mail(sim, actor, msg);
}

void
sim_net_publish(struct sim *sim, unsigned actor, const struct an_effect *effect,
                const uint8_t *body)
{
    int to = sim_actor_find(sim, effect->to);
    struct an_envelope env = {.kind = effect->kind, .from = sim->actor[actor].addr};
    struct sim_link *link;
    struct packet *packet;
    uint64_t at;

    if (to < 0 || !sim_actor_up(sim, (unsigned)to)) {
        return; /* nobody subscribes */
    }
    link = &sim->link[actor][to];
    packet = packet_make(sim, actor, &env, body, effect->len);
    packet->asker = actor;
    packet->mailbox = (unsigned)to;
    packet->life = sim_life(sim, (unsigned)to);
    at = arrival(sim, actor, (unsigned)to, &link->publish_last_us);
    if (at == 0) {
        free(packet);
        return;
    }
    if (sim->hints_lost || sim_chance(sim, sim->plan.drop_publish)) {
        sim->counts[SIM_DROP_PUBLISH]++;
        free(packet);
        return;
    }
    if (sim_chance(sim, sim->plan.double_publish)) {
        sim->counts[SIM_DOUBLE_PUBLISH]++;
        sim_at(sim, at + 1, publish_arrives, packet_dup(packet), 0);
    }
    if (sim_chance(sim, sim->plan.reorder_publish)) { /* others overtake it */
        sim->counts[SIM_REORDER_PUBLISH]++;
        at += sim_between(sim, 1, 200) * SIM_MS;
    }
    sim_at(sim, at, publish_arrives, packet, 0);
}

/* ------------------------------------------------------------------ breaking */

/* What is on its way is lost; asks end in TIMEOUT, at once or when their budget is over,
 * whether or not the request was handled. */
static void
link_reset(struct sim *sim, unsigned asker, unsigned mailbox)
{
    struct sim_link *link = &sim->link[asker][mailbox];
    bool at_once = an_rng_below(&sim->rng, 3) > 0;

    link->generation++;
    if (!sim_actor_up(sim, asker) || !at_once) {
        return;
    }
    for (const struct sim_ask *ask = link->asks; ask != NULL; ask = ask->next) {
        ask_over_at(sim, asker, mailbox, ask->id, AN_ERR_TIMEOUT,
                    sim->now_us + sim_between(sim, 1, 2000));
    }
}

void
sim_reset(struct sim *sim, struct an_addr a, struct an_addr b)
{
    int first = sim_actor_find(sim, a);
    int second = sim_actor_find(sim, b);

    assert(first >= 0 && second >= 0);
    link_reset(sim, (unsigned)first, (unsigned)second);
    link_reset(sim, (unsigned)second, (unsigned)first);
}

void
sim_net_processes_reset(struct sim *sim, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < sim->actor_count; i++) {
        for (unsigned j = 0; j < sim->actor_count; j++) {
            if ((sim->actor[i].process == a && sim->actor[j].process == b) ||
                (sim->actor[i].process == b && sim->actor[j].process == a)) {
                link_reset(sim, i, j);
            }
        }
    }
}

static void
asks_drop(struct sim_link *link)
{
    while (link->asks != NULL) {
        struct sim_ask *ask = link->asks;
        link->asks = ask->next;
        free(ask);
    }
    link->outstanding = 0;
}

void
sim_net_process_down(struct sim *sim, unsigned process)
{
    for (unsigned i = 0; i < sim->actor_count; i++) {
        for (unsigned j = 0; j < sim->actor_count; j++) {
            if (sim->actor[i].process == process) {
                asks_drop(&sim->link[i][j]);
                sim->link[i][j].generation++;
            } else if (sim->actor[j].process == process) {
                link_reset(sim, i, j);
            }
        }
    }
}

void
sim_net_fini(struct sim *sim)
{
    for (unsigned i = 0; i < sim->actor_count; i++) {
        for (unsigned j = 0; j < sim->actor_count; j++) {
            asks_drop(&sim->link[i][j]);
        }
    }
}
