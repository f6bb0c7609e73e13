/* Hints: a router publishes, a gate listens. PUB copies to every subscriber and filters
 * at the far end, so there is one socket for each (router, gate). May drop: the inbox is
 * the truth. */
#include "core/runner_nng/priv.h"
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdlib.h>

static enum an_err
pub_open(struct pubsub *pub, struct instance *inst, uint16_t gate, char *why,
         size_t why_len)
{
    int rv = nng_pub0_open(&pub->socket);

    pub->inst = inst;
    if (rv != 0) {
        return nng_to_err(rv);
    }
    pub->open = true;
    rv = nng_socket_set_int(pub->socket, NNG_OPT_SENDBUF, NNG_BUFFER);
    if (rv == 0) {
        /* No callback: PUB takes or drops a message at once. */
        rv = nng_aio_alloc(&pub->aio, NULL, NULL);
    }
    if (rv == 0) {
        rv = links_listen(inst, pub->socket, &gate, pub->ears, why, why_len);
    }
    return nng_to_err(rv);
}

enum an_err
pubs_open(struct instance *inst, char *why, size_t why_len)
{
    uint16_t gates = inst->runner->cfg.topology->count[AN_ROLE_GATE];
    enum an_err err = AN_OK;

    inst->pubs = calloc(gates + 1u, sizeof(*inst->pubs));
    if (inst->pubs == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (uint16_t gate = 0; gate < gates && err == AN_OK; gate++) {
        err = pub_open(&inst->pubs[gate], inst, gate, why, why_len);
        inst->pub_count++;
    }
    return err;
}

void
pubs_publish(struct instance *inst, const struct an_effect *effect, const uint8_t *body)
{
    struct an_envelope env = {
        .kind = effect->kind, .from = inst->addr, .body_len = (uint32_t)effect->len};
    struct pubsub *pub;
    nng_msg *msg = NULL;

    if (effect->to.role == AN_ROLE_GATE && effect->to.index < inst->pub_count &&
        effect->len <= AN_BUS_MSG_LEN_MAX - AN_ENVELOPE_LEN) {
        msg = bus_msg(inst->runner, &env, body);
    }
    if (msg == NULL) {
        atomic_fetch_add(&inst->counters.hints_dropped, 1);
        return;
    }
    pub = &inst->pubs[effect->to.index];
    if (!local_publish(pub, msg)) {
        nng_aio_wait(pub->aio);
        nng_aio_set_msg(pub->aio, msg);
        nng_send_aio(pub->socket, pub->aio);
    }
    atomic_fetch_add(&inst->counters.hints_published, 1);
}

void
hint_put(struct instance *inst, nng_msg *msg)
{
    struct hint *hint = malloc(sizeof(*hint));

    if (hint != NULL) {
        *hint = (struct hint){.parcel.type = PARCEL_PUBLISHED, .msg = msg};
    }
    if (hint == NULL || !inbox_put_hint(inst, &hint->parcel, nng_msg_len(msg))) {
        atomic_fetch_add(&inst->counters.hints_dropped, 1);
        nng_msg_free(msg);
        free(hint);
    }
}

static void
sub_callback(void *arg)
{
    struct pubsub *sub = arg;

    if (nng_aio_result(sub->aio) == NNG_ECLOSED ||
        nng_aio_result(sub->aio) == NNG_ECANCELED) {
        return;
    }
    if (nng_aio_result(sub->aio) == 0) {
        hint_put(sub->inst, nng_aio_get_msg(sub->aio));
    }
    nng_recv_aio(sub->socket, sub->aio);
}

static int
sub_options(struct pubsub *sub)
{
    int rv = nng_socket_set(sub->socket, NNG_OPT_SUB_SUBSCRIBE, "", 0);

    if (rv == 0) {
        rv = nng_socket_set_int(sub->socket, NNG_OPT_RECVBUF, NNG_BUFFER);
    }
    if (rv == 0) {
        rv = nng_socket_set_size(sub->socket, NNG_OPT_RECVMAXSZ, AN_BUS_MSG_LEN_MAX);
    }
    if (rv == 0) {
        rv = nng_socket_set_ms(sub->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    }
    if (rv == 0) {
        rv = nng_socket_set_ms(sub->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    }
    if (rv == 0) {
        rv = nng_aio_alloc(&sub->aio, sub_callback, sub);
    }
    return rv;
}

enum an_err
sub_open(struct instance *inst)
{
    const struct an_topology *topology = inst->runner->cfg.topology;
    struct pubsub *sub = &inst->sub;
    int rv = nng_sub0_open(&sub->socket);

    sub->inst = inst;
    if (rv != 0) {
        return nng_to_err(rv);
    }
    sub->open = true;
    sub->links = calloc(topology->count[AN_ROLE_ROUTER] + 1u, sizeof(*sub->links));
    rv = sub->links == NULL ? NNG_ENOMEM : sub_options(sub);
    for (uint16_t i = 0; rv == 0 && i < topology->count[AN_ROLE_ROUTER]; i++) {
        struct link *link = &sub->links[sub->link_count++];
        link->next = i + 1 < topology->count[AN_ROLE_ROUTER] ? link + 1 : NULL;
        rv = link_dial(link, inst, sub->socket, (struct an_addr){AN_ROLE_ROUTER, i},
                       &inst->addr.index, sub->links);
    }
    if (rv == 0) {
        nng_recv_aio(sub->socket, sub->aio);
    }
    return nng_to_err(rv);
}

static void
one_close(struct pubsub *one)
{
    if (one->open) {
        nng_close(one->socket);
    }
    if (one->aio != NULL) {
        nng_aio_stop(one->aio);
        nng_aio_free(one->aio);
    }
}

void
pubsub_close(struct instance *inst)
{
    for (size_t i = 0; i < inst->pub_count; i++) {
        one_close(&inst->pubs[i]);
    }
    free(inst->pubs);
    inst->pubs = NULL;
    inst->pub_count = 0;
    one_close(&inst->sub);
    free(inst->sub.links);
    inst->sub = (struct pubsub){0};
}
