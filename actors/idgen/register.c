#include "actors/idgen/register.h"
#include "core/log.h"
#include "core/slot.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 20, BACKOFF_MAX_MS = 1000 };

void
idgen_register_init(struct idgen_register *reg, const struct an_topology *topology,
                    const char *name, uint64_t tag)
{
    size_t len = strlen(name);

    assert(len <= AN_NAME_LEN_MAX);
    *reg = (struct idgen_register){.tag = tag, .backoff_ms = BACKOFF_FIRST_MS};
    memcpy(reg->name, name, len + 1);
    reg->slot = an_slot_register((const uint8_t *)name, len);
    reg->store = an_topology_store(topology, reg->slot);
}

bool
idgen_register_idle(const struct idgen_register *reg)
{
    return !reg->asking && !reg->waiting;
}

static void
ask(struct idgen_register *reg, uint8_t *value, size_t len, struct an_outbox *out)
{
    Anser__Bus__Cas cas = ANSER__BUS__CAS__INIT;

    assert(idgen_register_idle(reg));
    cas.slot = reg->slot;
    cas.name = (ProtobufCBinaryData){strlen(reg->name), (uint8_t *)reg->name};
    cas.expect_version = reg->version;
    cas.value = (ProtobufCBinaryData){len, value};
    reg->asking = true;
    reg->swapping = len > 0;
    an_out_ask(out, reg->store, AN_KIND_CAS, &cas.base, AN_ASK_MS, reg->tag, 0);
}

void
idgen_register_read(struct idgen_register *reg, struct an_outbox *out)
{
    ask(reg, NULL, 0, out);
}

void
idgen_register_swap(struct idgen_register *reg, const uint8_t *value, size_t len,
                    struct an_outbox *out)
{
    uint8_t copy[IDGEN_VALUE_MAX];

    assert(reg->known);
    assert(len > 0 && len <= sizeof(copy));
    memcpy(copy, value, len);
    ask(reg, copy, len, out);
}

static enum idgen_register_result
failed(struct idgen_register *reg, enum an_err err, struct an_now now,
       struct an_outbox *out)
{
    reg->known = false;
    reg->waiting = true;
    an_out_log(out, AN_LOG_WARN, 0, "register %s not reachable err=%s retry_ms=%u",
               reg->name, an_err_name(err), reg->backoff_ms);
    an_out_timer(out, now.mono_ms + reg->backoff_ms, reg->tag);
    reg->backoff_ms *= 2;
    if (reg->backoff_ms > BACKOFF_MAX_MS) {
        reg->backoff_ms = BACKOFF_MAX_MS;
    }
    return IDGEN_REGISTER_FAILED;
}

enum idgen_register_result
idgen_register_answered(struct idgen_register *reg, const struct an_msg *msg,
                        struct an_now now, struct an_outbox *out)
{
    const Anser__Bus__CasDone *done = (const Anser__Bus__CasDone *)msg->body;
    bool swapping = reg->swapping;

    assert(reg->asking);
    reg->asking = false;
    if (msg->err != AN_OK) {
        return failed(reg, msg->err, now, out);
    }
    if (done->value.len > IDGEN_VALUE_MAX) {
        return failed(reg, AN_ERR_CORRUPT, now, out);
    }
    reg->known = true;
    reg->version = done->version;
    reg->backoff_ms = BACKOFF_FIRST_MS;
    if (swapping && done->swapped) {
        return IDGEN_REGISTER_SWAPPED;
    }
    reg->value_len = done->value.len;
    if (done->value.len > 0) {
        memcpy(reg->value, done->value.data, done->value.len);
    }
    return swapping ? IDGEN_REGISTER_LOST : IDGEN_REGISTER_READ;
}

void
idgen_register_timer(struct idgen_register *reg)
{
    reg->waiting = false;
}
