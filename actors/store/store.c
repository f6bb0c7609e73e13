#include "actors/store/store_priv.h"
#include "core/log.h"
#include "core/wire.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 1000, STOP_APPLIES_MAX = 3 };

static struct store *
of(struct an_actor *actor)
{
    return (struct store *)actor;
}

/* ------------------------------------------------------------------ shared helpers */

uint64_t
store_id_time_ms(const uint8_t id[16])
{
    return an_get_u64(id) >> 16;
}

void
store_refuse(struct store *store, struct an_msg *msg, enum an_err err)
{
    store->counts.requests_refused++;
    an_out_answer(store->out, msg, err, NULL);
}

void *
store_decode(struct store *store, struct an_arena *arena,
             const ProtobufCMessageDescriptor *descriptor, const struct engine_item *item)
{
    void *out;
    char key[2 * 48 + 1] = "";

    if (arena == &store->decode) {
        an_arena_reset(arena);
    }
    out = an_wire_unpack(descriptor, arena, item->value.data, item->value.len);
    if (out != NULL) {
        return out;
    }
    if (an_arena_exhausted(arena)) {
        an_out_log(store->out, AN_LOG_ERROR, 0, "no memory for a stored row row=%s",
                   descriptor->short_name);
        return NULL;
    }
    for (size_t i = 0; i < item->key.len && i < 48; i++) {
        snprintf(key + 2 * i, 3, "%02x", item->key.data[i]);
    }
    an_out_log(store->out, AN_LOG_ERROR, 0, "a stored row is damaged row=%s key=%s",
               descriptor->short_name, key);
    return NULL;
}

enum an_err
store_undecoded(const struct an_arena *arena)
{
    return an_arena_exhausted(arena) ? AN_ERR_NO_MEMORY : AN_ERR_CORRUPT;
}

/* ------------------------------------------------------------------ the engine's host */

static void
host_offload(void *ctx, struct an_job *job)
{
    struct store *store = ctx;

    if (store->out != NULL) {
        store->jobs_out++;
        an_out_offload(store->out, job);
        return;
    }
    /* Opening the engine: there is no outbox yet. */
    job->next = NULL;
    if (store->jobs_waiting_last != NULL) {
        store->jobs_waiting_last->next = job;
    } else {
        store->jobs_waiting = job;
    }
    store->jobs_waiting_last = job;
}

static void
host_log(void *ctx, int level, const char *line)
{
    struct store *store = ctx;

    if (store->out != NULL) {
        an_out_log(store->out, level, 0, "%s", line);
    } else if (store->line_count < STORE_LINES_MAX) {
        store->lines[store->line_count] = strdup(line);
        store->line_levels[store->line_count++] = level;
    }
}

static void
host_fatal(void *ctx, const char *why)
{
    struct store *store = ctx;

    assert(store->caller_host.fatal != NULL);
    store->caller_host.fatal(store->caller_host.ctx, why);
}

static struct an_job *
take_waiting_job(struct store *store)
{
    struct an_job *job = store->jobs_waiting;

    if (job != NULL) {
        store->jobs_waiting = job->next;
        job->next = NULL;
        if (store->jobs_waiting == NULL) {
            store->jobs_waiting_last = NULL;
        }
    }
    return job;
}

/* What happened while the engine was opened. */
static void
flush_waiting(struct store *store)
{
    struct an_job *job;

    for (uint32_t i = 0; i < store->line_count; i++) {
        if (store->lines[i] != NULL) {
            an_out_log(store->out, store->line_levels[i], 0, "%s", store->lines[i]);
        }
        free(store->lines[i]);
    }
    store->line_count = 0;
    while ((job = take_waiting_job(store)) != NULL) {
        host_offload(store, job);
    }
}

/* ------------------------------------------------------------------ starting, stopping
 */

static void
start(struct store *store)
{
    assert(!store->started);
    store->started = true;
    flush_waiting(store);
    an_out_timer(store->out, store->now.mono_ms + TICK_MS, STORE_TAG_TICK);
    an_out_ready(store->out);
}

static void
tick(struct store *store)
{
    if (store->stopped) {
        return;
    }
    engine_tick(store->engine, store->now.mono_ms);
    store_retention_tick(store);
    store_outgoing_tick(store);
    an_out_timer(store->out, store->now.mono_ms + TICK_MS, STORE_TAG_TICK);
}

static bool
idle(const struct store *store)
{
    return store->queue.first == NULL && !store->append_in_flight &&
           store->cas_first == NULL && store->reads_in_flight == 0 &&
           store->jobs_out == 0;
}

/* Everything asked is answered, then what is synced is applied, so that the next start
 * has nothing to replay. If applying fails the log still has it all. */
static void
stop_further(struct store *store)
{
    struct engine_stats stats;

    if (!store->stopping || store->stopped || !idle(store)) {
        return;
    }
    engine_stats(store->engine, &stats);
    if (stats.overlay_rows > 0 && store->stop_applies < STOP_APPLIES_MAX) {
        store->stop_applies++;
        engine_apply_now(store->engine);
        if (store->jobs_out > 0) {
            return;
        }
        engine_stats(store->engine, &stats);
    }
    if (stats.overlay_rows > 0) {
        an_out_log(store->out, AN_LOG_WARN, 0,
                   "stopped with rows in the log alone rows=%llu",
                   (unsigned long long)stats.overlay_rows);
    }
    store->stopped = true;
    an_out_stopped(store->out);
}

/* ------------------------------------------------------------------ dispatch */

static void
job_done(struct store *store, struct an_job *job)
{
    assert(store->jobs_out > 0);
    store->jobs_out--;
    job->done(job);
}

struct handler {
    enum an_kind kind;
    void (*handle)(struct store *store, struct an_msg *msg);
};

/* Requests. All may be refused while stopping, INSPECT too. */
static const struct handler HANDLERS[] = {
    {AN_KIND_APPEND, store_append},   {AN_KIND_READ, store_read},
    {AN_KIND_CLAIM, store_claim},     {AN_KIND_CAS, store_cas},
    {AN_KIND_INSPECT, store_inspect}, {AN_KIND_FORWARD, store_forward},
    {AN_KIND_MARKS, store_marks},
};

static void
request(struct store *store, struct an_msg *msg)
{
    store->counts.requests++;
    if (store->stopping) {
        store_refuse(store, msg, AN_ERR_SHUTTING_DOWN);
        return;
    }
    if (an_msg_expired(msg, store->now)) {
        store_refuse(store, msg, AN_ERR_EXPIRED);
        return;
    }
    for (size_t i = 0; i < sizeof(HANDLERS) / sizeof(HANDLERS[0]); i++) {
        if (HANDLERS[i].kind == msg->kind) {
            HANDLERS[i].handle(store, msg);
            return;
        }
    }
    store_refuse(store, msg, AN_ERR_ENVELOPE);
}

static void
local(struct store *store, struct an_msg *msg)
{
    switch (msg->kind) {
    case AN_KIND_START:
        start(store);
        break;
    case AN_KIND_TIMER:
        if (msg->tag == STORE_TAG_TICK) {
            tick(store);
        }
        break; /* a retry: what follows the step sees to it */
    case AN_KIND_JOB_DONE:
        job_done(store, msg->job);
        break;
    case AN_KIND_STOP:
        store->stopping = true;
        engine_backup_stop(store->engine);
        break;
    default: /* not for a store */
        break;
    }
}

static void
store_step(struct an_actor *actor, struct an_msg *msg, struct an_now now,
           struct an_outbox *out)
{
    struct store *store = of(actor);

    store->now = now;
    store->out = out;
    if (msg->answer && msg->tag >= STORE_TAG_FORWARD) {
        store_outgoing_answer(store, msg);
    } else if (msg->answer) {
        store_push_done(store, msg);
    } else if (msg->request) {
        request(store, msg);
    } else {
        local(store, msg);
    }
    store->out = NULL;
}

static void
store_drained(struct an_actor *actor, struct an_now now, struct an_outbox *out)
{
    struct store *store = of(actor);

    store->now = now;
    store->out = out;
    store_retention_run(store);
    store_outgoing_gather(store);
    store_write_run(store);
    store_outgoing_run(store);
    store_push_run(store);
    if (store->appended) {
        store->appended = false;
        engine_tick(store->engine, now.mono_ms); /* an apply may be due */
    }
    stop_further(store);
    store->out = NULL;
}

/* ------------------------------------------------------------------ life */

/* Jobs that never reached a runner are run here: the engine counts on their end. */
static void
run_waiting_jobs(struct store *store)
{
    struct an_job *job;

    while ((job = take_waiting_job(store)) != NULL) {
        job->run(job);
        job->done(job);
    }
}

static void
store_destroy(struct an_actor *actor)
{
    struct store *store = of(actor);

    if (store->engine != NULL) {
        engine_backup_stop(store->engine);
    }
    run_waiting_jobs(store);
    store_write_fini(store);
    store_cas_fini(store);
    store_load_fini(store);
    store_push_fini(store);
    store_outgoing_fini(store);
    store_receive_fini(store);
    engine_close(store->engine);
    store_read_fini(store);
    store_heads_fini(&store->convs);
    store_heads_fini(&store->inboxes);
    for (uint32_t i = 0; i < store->line_count; i++) {
        free(store->lines[i]);
    }
    free(store->writers);
    free(store);
}

static const struct an_actor_ops OPS = {
    .role = AN_ROLE_STORE,
    .step = store_step,
    .drained = store_drained,
    .metrics = store_metrics,
    .destroy = store_destroy,
};

/* Marks the slots that the topology gives this store; false when there are none. */
static bool
find_slots(struct store *store, struct engine_cfg *engine)
{
    bool any = false;

    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        if (store->topology->slot_store[slot] != store->index) {
            continue;
        }
        store->slots[slot].mine = true;
        engine->slot_first = any ? engine->slot_first : slot;
        engine->slot_last = slot;
        any = true;
    }
    return any;
}

static enum an_err
open_slots(struct store *store, char *why, size_t why_len)
{
    for (uint16_t slot = 0; slot < AN_SLOTS; slot++) {
        enum an_err err;

        if (!store->slots[slot].mine) {
            continue;
        }
        err = engine_open_slot(store->engine, slot, &store->slots[slot].fence);
        if (err != AN_OK) {
            snprintf(why, why_len, "slot %u cannot be opened: %s", slot,
                     an_err_text(err));
            return err;
        }
    }
    return AN_OK;
}

static struct store *
make(const struct store_cfg *cfg)
{
    struct store *store = calloc(1, sizeof(*store));

    if (store == NULL) {
        return NULL;
    }
    store->actor.ops = &OPS;
    store->index = cfg->index;
    store->topology = cfg->topology;
    store->dedupe_window_ms =
        cfg->dedupe_window_ms != 0 ? cfg->dedupe_window_ms : AN_DEDUPE_WINDOW_MS;
    store->page_items_max =
        cfg->page_items_max != 0 ? cfg->page_items_max : AN_PAGE_ITEMS_MAX;
    store->page_bytes_max =
        cfg->page_bytes_max != 0 ? cfg->page_bytes_max : AN_PAGE_BYTES_MAX;
    store->caller_host = cfg->engine.host;
    store_heads_init(&store->convs, AN_STORE_HEADS_MAX);
    store_heads_init(&store->inboxes, AN_STORE_HEADS_MAX);
    an_arena_init(&store->load_arena, STORE_LOAD_BYTES_MAX);
    an_arena_init(&store->decode, STORE_LOAD_BYTES_MAX);
    store->router_count = cfg->topology->count[AN_ROLE_ROUTER];
    store->routers = calloc((size_t)store->router_count + 1, sizeof(*store->routers));
    store->writer_count = cfg->topology->count[AN_ROLE_SEQUENCER];
    store->writers = calloc((size_t)store->writer_count + 1, sizeof(*store->writers));
    if (store->routers == NULL || store->writers == NULL ||
        !store_outgoing_init(store, cfg) || !store_receive_init(store)) {
        store_outgoing_fini(store);
        store_receive_fini(store);
        free(store->routers);
        free(store->writers);
        free(store);
        return NULL;
    }
    return store;
}

enum an_err
store_create(struct an_actor **out, const struct store_cfg *cfg, char *why,
             size_t why_len)
{
    struct store *store = make(cfg);
    struct engine_cfg engine = cfg->engine;
    enum an_err err;

    if (store == NULL) {
        snprintf(why, why_len, "out of memory");
        return AN_ERR_NO_MEMORY;
    }
    engine.store_id = cfg->index;
    engine.host = (struct engine_host){store, host_offload, host_log, host_fatal};
    if (!find_slots(store, &engine)) {
        snprintf(why, why_len, "no slot is placed on store/%u", cfg->index);
        err = AN_ERR_CONFIG;
        goto fail;
    }
    err = engine_open(&store->engine, &engine, why, why_len);
    if (err == AN_OK) {
        err = open_slots(store, why, why_len);
    }
    if (err != AN_OK) {
        goto fail;
    }
    *out = &store->actor;
    return AN_OK;

fail:
    store_destroy(&store->actor);
    return err;
}
