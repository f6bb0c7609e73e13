#include "tests/cluster/check_plant.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

struct jobs {
    struct an_job *first;
};

static void
offload(void *ctx, struct an_job *job)
{
    struct jobs *jobs = ctx;

    job->next = jobs->first;
    jobs->first = job;
}

static void
run_jobs(struct jobs *jobs)
{
    while (jobs->first != NULL) {
        struct an_job *job = jobs->first;

        jobs->first = job->next;
        job->run(job);
        job->done(job);
    }
}

static void
appended(void *ctx, enum an_err err)
{
    *(enum an_err *)ctx = err;
}

/* As the store itself does. */
static void
slots_of(const struct store_rig *rig, struct engine_cfg *cfg)
{
    bool any = false;

    cfg->store_id = rig->cfg.index;
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (rig->topology.slot_store[slot] == rig->cfg.index) {
            cfg->slot_first = any ? cfg->slot_first : slot;
            cfg->slot_last = slot;
            any = true;
        }
    }
}

void
check_plant(struct store_rig *rig, const uint8_t *key, size_t key_len,
            const ProtobufCMessage *value)
{
    struct jobs jobs = {0};
    struct engine_cfg cfg = rig->cfg.engine;
    struct engine *engine = NULL;
    uint8_t bytes[4096];
    struct engine_row row = {.op = value == NULL ? ENGINE_DELETE : ENGINE_PUT,
                             .key = {key, key_len}};
    struct engine_group group = {
        .slot = (uint16_t)(key[0] << 8 | key[1]), .rows = &row, .row_count = 1};
    enum an_err err = AN_ERR_INTERNAL;

    slots_of(rig, &cfg);
    cfg.host = (struct engine_host){.ctx = &jobs, .offload = offload};
    if (value != NULL) {
        assert_true(protobuf_c_message_get_packed_size(value) <= sizeof(bytes));
        row.value = (struct engine_blob){bytes, protobuf_c_message_pack(value, bytes)};
    }
    assert_int_equal(engine_open(&engine, &cfg, NULL, 0), AN_OK);
    assert_int_equal(engine_open_slot(engine, group.slot, &group.fence), AN_OK);
    run_jobs(&jobs);
    engine_append(engine, &group, 1, appended, &err);
    run_jobs(&jobs);
    assert_int_equal(err, AN_OK);
    engine_close(engine);
}
