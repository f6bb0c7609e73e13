/* CAS: durable registers. One at a time, each read, compared, written and synced before
 * the next is looked at: they are few, and so there is nothing to get wrong. */
#include "actors/store/store_priv.h"
#include "core/slot.h"
#include "proto/stored.pb-c.h"
#include <stdlib.h>
#include <string.h>

struct store_cas {
    struct store_write write;
    struct store *store;
    struct store_cas *next_cas;
    uint64_t version; /* once read, and then once written */
    bool begun;
};

static const Anser__Bus__Cas *
body_of(const struct store_cas *cas)
{
    return (const Anser__Bus__Cas *)cas->write.msg->body;
}

/* Takes the first one, whose request is let go of, out of the queue. */
static void
end(struct store *store, struct store_cas *cas)
{
    store->cas_first = cas->next_cas;
    if (store->cas_first == NULL) {
        store->cas_last = NULL;
    }
    store->cas_count--;
    free(cas);
}

static void
answer(struct store *store, struct store_cas *cas, bool swapped,
       ProtobufCBinaryData value)
{
    Anser__Bus__CasDone body = ANSER__BUS__CAS_DONE__INIT;

    body.swapped = swapped;
    body.version = cas->version;
    body.value = value;
    an_out_answer(store->out, cas->write.msg, AN_OK, &body.base);
    an_msg_release(cas->write.msg);
    end(store, cas);
}

static void
refuse(struct store *store, struct store_cas *cas, enum an_err err)
{
    store_refuse(store, cas->write.msg, err);
    an_msg_release(cas->write.msg);
    end(store, cas);
}

static void
cas_build(struct store *store, struct store_write *write)
{
    struct store_cas *cas = (struct store_cas *)write;
    const Anser__Bus__Cas *body = body_of(cas);
    Anser__Stored__Register value = ANSER__STORED__REGISTER__INIT;
    uint16_t slot = (uint16_t)body->slot;

    if (!store_reserve(store, 1, 0, AN_ROW_KEY_MAX + AN_REGISTER_LEN_MAX + 32)) {
        write->failed = AN_ERR_NO_MEMORY;
        return;
    }
    value.version = cas->version + 1;
    value.value = body->value;
    store_batch_put(&store->batch, slot,
                    an_row_register(store_batch_key(&store->batch), slot, body->name.data,
                                    body->name.len),
                    &value.base);
}

static void
cas_finish(struct store *store, struct store_write *write, enum an_err err)
{
    struct store_cas *cas = (struct store_cas *)write;

    if (err == AN_OK) {
        err = write->failed;
    }
    if (err == AN_OK) {
        cas->version++;
        store->counts.swaps++;
        answer(store, cas, true, body_of(cas)->value);
    } else {
        refuse(store, cas, err);
    }
}

/* It is also the first of its own queue, which frees it. */
static void
cas_discard(struct store *store, struct store_write *write)
{
    (void)store;
    (void)write;
}

static const struct store_write_ops CAS_OPS = {cas_build, cas_finish, cas_discard};

static void
compare(struct store *store, struct store_cas *cas, const struct engine_item *item)
{
    const Anser__Bus__Cas *body = body_of(cas);
    ProtobufCBinaryData now = {0};

    if (item != NULL) {
        const Anser__Stored__Register *row = store_decode(
            store, &store->decode, &anser__stored__register__descriptor, item);

        if (row == NULL) {
            refuse(store, cas, store_undecoded(&store->decode));
            return;
        }
        cas->version = row->version;
        now = row->value;
    }
    if (body->value.len > 0 && body->expect_version == cas->version) {
        store_write_add(store, &cas->write);
        return;
    }
    store->counts.swaps_refused += body->value.len > 0;
    answer(store, cas, false, now);
}

static void
register_read(void *ctx, enum an_err err, const struct engine_answer *answers,
              size_t answer_count)
{
    struct store_cas *cas = ctx;
    struct store *store = cas->store;

    (void)answer_count;
    if (err != AN_OK) {
        refuse(store, cas, err);
    } else {
        compare(store, cas, answers[0].item_count > 0 ? answers[0].items : NULL);
    }
}

static void
begin(struct store *store, struct store_cas *cas)
{
    const Anser__Bus__Cas *body = body_of(cas);
    struct engine_query query = {.items_max = 1};
    uint8_t key[AN_ROW_KEY_MAX + 1];
    size_t len =
        an_row_register(key, (uint16_t)body->slot, body->name.data, body->name.len);

    cas->begun = true;
    key[len] = 0;
    query.first = (struct engine_blob){key, len};
    query.end = (struct engine_blob){key, len + 1};
    engine_read(store->engine, &query, 1, register_read, cas);
}

void
store_cas_run(struct store *store)
{
    while (store->cas_first != NULL && !store->cas_first->begun) {
        begin(store, store->cas_first);
    }
}

static enum an_err
check(const struct store *store, const Anser__Bus__Cas *body)
{
    if (!store_owns(store, body->slot)) {
        return AN_ERR_NOT_MINE;
    }
    if (body->name.len == 0 || body->name.len > AN_NAME_LEN_MAX ||
        body->value.len > AN_REGISTER_LEN_MAX ||
        an_slot_register(body->name.data, body->name.len) != body->slot) {
        return AN_ERR_ARGUMENT;
    }
    return store->cas_count >= AN_STORE_WRITES_MAX ? AN_ERR_BUSY : AN_OK;
}

void
store_cas(struct store *store, struct an_msg *msg)
{
    enum an_err err = check(store, (const Anser__Bus__Cas *)msg->body);
    struct store_cas *cas = err == AN_OK ? calloc(1, sizeof(*cas)) : NULL;

    if (cas == NULL) {
        store_refuse(store, msg, err == AN_OK ? AN_ERR_NO_MEMORY : err);
        return;
    }
    cas->write.ops = &CAS_OPS;
    cas->write.msg = an_msg_hold(msg);
    cas->store = store;
    if (store->cas_last != NULL) {
        store->cas_last->next_cas = cas;
    } else {
        store->cas_first = cas;
    }
    store->cas_last = cas;
    store->cas_count++;
}

void
store_cas_fini(struct store *store)
{
    while (store->cas_first != NULL) {
        an_msg_abandon(store->cas_first->write.msg);
        end(store, store->cas_first);
    }
}
