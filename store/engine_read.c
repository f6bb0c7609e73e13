/* Reads. The moment a read sees is fixed on the store's thread: a view of the base and
 * views of the generations, taken together. An apply that completes later changes
 * neither; one that completed already, but whose generations are still here, is merely
 * seen twice. */
#include "store/engine_priv.h"

#include "core/arena.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define READS_MAX      512u                   /* in flight; beyond: BUSY */
#define READ_BYTES_MAX (256u * 1024u * 1024u) /* copied by one read */

struct answer_items {
    struct engine_item *items;
    size_t room;
};

struct read_job {
    struct an_job job;
    struct engine *engine;
    engine_read_done *done;
    void *ctx;
    struct an_arena arena; /* the queries' keys, then the rows found */
    struct engine_query *queries;
    struct engine_answer *answers;
    struct answer_items *items;
    size_t query_count;
    struct merge merge;
    enum an_err err;
    size_t item_count;
};

/* Is it for one key: [key, key 0)? */
static bool
one_key(const struct engine_query *query)
{
    return query->end.len == query->first.len + 1 &&
           query->end.data[query->first.len] == 0 &&
           memcmp(query->first.data, query->end.data, query->first.len) == 0;
}

/* The newest word of the overlay on a key; false if it has none. */
static bool
overlay_lookup(const struct generation_view *views, size_t view_count,
               struct engine_blob key, struct record_row *out)
{
    for (size_t i = 0; i < view_count; i++) {
        struct generation_cursor cursor = {.view = views[i]};
        generation_seek(&cursor, key, false);
        if (generation_row(&cursor, out) && blob_compare(out->key, key) == 0) {
            return true;
        }
    }
    return false;
}

#define QUICK_QUERIES_MAX 8u

/* Answers from memory alone, without copying, when that is possible. */
static bool
read_quickly(struct engine *engine, const struct engine_query *queries,
             size_t query_count, engine_read_done *done, void *ctx)
{
    struct generation_view views[MERGE_VIEWS_MAX];
    struct engine_item items[QUICK_QUERIES_MAX];
    struct engine_answer answers[QUICK_QUERIES_MAX];

    if (query_count > QUICK_QUERIES_MAX) {
        return false;
    }
    size_t view_count = overlay_views(engine, views);
    for (size_t i = 0; i < query_count; i++) {
        struct record_row row;
        if (!one_key(&queries[i]) ||
            !overlay_lookup(views, view_count, queries[i].first, &row)) {
            return false;
        }
        items[i] = (struct engine_item){.key = row.key, .value = row.value};
        answers[i] = (struct engine_answer){.items = &items[i],
                                            .item_count = row.op == ENGINE_PUT};
    }
    engine->stats.reads_overlay_only++;
    for (size_t i = 0; i < query_count; i++) {
        engine->stats.read_items += answers[i].item_count;
    }
    /* The callback may append, which may only add to the active generation, or tick,
     * which may drop closed ones: they stay while it looks. */
    for (size_t i = 0; i < view_count; i++) {
        generation_ref(views[i].generation);
    }
    done(ctx, AN_OK, answers, query_count);
    for (size_t i = 0; i < view_count; i++) {
        generation_unref(views[i].generation);
    }
    return true;
}

static bool
item_copy(struct read_job *job, size_t index, const struct base_row *row)
{
    struct answer_items *items = &job->items[index];
    struct engine_answer *answer = &job->answers[index];

    if (answer->item_count == items->room) {
        size_t room = items->room == 0 ? 16 : items->room * 2;
        struct engine_item *grown = realloc(items->items, room * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        items->items = grown;
        items->room = room;
        answer->items = grown;
    }
    uint8_t *bytes = an_arena_alloc(&job->arena, row->key.len + row->value.len);
    if (bytes == NULL) {
        return false;
    }
    memcpy(bytes, row->key.data, row->key.len);
    if (row->value.len > 0) {
        memcpy(bytes + row->key.len, row->value.data, row->value.len);
    }
    items->items[answer->item_count++] = (struct engine_item){
        .key = {bytes, row->key.len}, .value = {bytes + row->key.len, row->value.len}};
    return true;
}

static enum an_err
answer_query(struct read_job *job, size_t index)
{
    const struct engine_query *query = &job->queries[index];
    struct engine_answer *answer = &job->answers[index];
    size_t bytes = 0;
    struct base_row row;

    if (blob_compare(query->first, query->end) >= 0) {
        return AN_OK;
    }
    enum an_err err = merge_seek(&job->merge, query->reverse ? query->end : query->first,
                                 query->reverse);
    while (err == AN_OK && (err = merge_next(&job->merge, &row)) == AN_OK) {
        bool inside = query->reverse ? blob_compare(row.key, query->first) >= 0
                                     : blob_compare(row.key, query->end) < 0;
        if (!inside) {
            break;
        }
        if (row.deleted) {
            continue;
        }
        bytes += row.key.len + row.value.len;
        bool fits = query->bytes_max == 0 || bytes <= query->bytes_max;
        if (answer->item_count == query->items_max || (answer->item_count > 0 && !fits)) {
            answer->more = true;
            break;
        }
        if (!item_copy(job, index, &row)) {
            return AN_ERR_NO_MEMORY;
        }
    }
    job->item_count += answer->item_count;
    return err == AN_ERR_NOT_FOUND ? AN_OK : err;
}

/* Pool thread: owns the job, and with it the views. */
static void
read_run(struct an_job *an_job)
{
    struct read_job *job = (struct read_job *)(void *)an_job;

    for (size_t i = 0; i < job->query_count && job->err == AN_OK; i++) {
        job->err = answer_query(job, i);
    }
}

static void
read_free(struct read_job *job)
{
    if (job->items != NULL) {
        for (size_t i = 0; i < job->query_count; i++) {
            free(job->items[i].items);
        }
    }
    free(job->items);
    free(job->answers);
    an_arena_fini(&job->arena);
    free(job);
}

static void
read_done(struct an_job *an_job)
{
    struct read_job *job = (struct read_job *)(void *)an_job;
    struct engine *engine = job->engine;

    engine->base->ops->view_close(job->merge.base);
    for (size_t i = 0; i < job->merge.cursor_count; i++) {
        generation_unref(job->merge.cursors[i].view.generation);
    }
    engine->reads_in_flight--;
    engine->stats.read_items += job->item_count;
    bool good = job->err == AN_OK;
    job->done(job->ctx, job->err, good ? job->answers : NULL,
              good ? job->query_count : 0);
    read_free(job);
}

static bool
blob_copy(struct read_job *job, struct engine_blob *blob)
{
    blob->data = an_arena_dup(&job->arena, blob->data, blob->len);
    return blob->data != NULL;
}

/* NULL without memory. */
static struct read_job *
read_create(struct engine *engine, const struct engine_query *queries, size_t query_count)
{
    struct read_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    an_arena_init(&job->arena, READ_BYTES_MAX);
    job->job = (struct an_job){.run = read_run, .done = read_done, .lane = AN_LANE_READ};
    job->engine = engine;
    job->query_count = query_count;
    job->queries = an_arena_calloc(&job->arena, query_count, sizeof *queries);
    job->answers = calloc(query_count + 1, sizeof *job->answers);
    job->items = calloc(query_count + 1, sizeof *job->items);
    bool whole = job->queries != NULL && job->answers != NULL && job->items != NULL;
    for (size_t i = 0; whole && i < query_count; i++) {
        job->queries[i] = queries[i];
        whole = blob_copy(job, &job->queries[i].first) &&
                blob_copy(job, &job->queries[i].end);
    }
    if (!whole) {
        read_free(job);
        return NULL;
    }
    return job;
}

/* Fixes the moment the read sees. */
static enum an_err
read_take_views(struct read_job *job)
{
    struct engine *engine = job->engine;
    struct generation_view views[MERGE_VIEWS_MAX];

    if (engine->reads_in_flight == READS_MAX) {
        return AN_ERR_BUSY;
    }
    enum an_err err = engine->base->ops->view_open(engine->base, &job->merge.base);
    if (err != AN_OK) {
        return err;
    }
    job->merge.cursor_count = overlay_views(engine, views);
    for (size_t i = 0; i < job->merge.cursor_count; i++) {
        generation_ref(views[i].generation);
        job->merge.cursors[i].view = views[i];
    }
    engine->reads_in_flight++;
    return AN_OK;
}

void
engine_read(struct engine *engine, const struct engine_query *queries, size_t query_count,
            engine_read_done *done, void *ctx)
{
    engine->stats.reads++;
    for (size_t i = 0; i < query_count; i++) {
        assert(queries[i].items_max > 0);
    }
    if (read_quickly(engine, queries, query_count, done, ctx)) {
        return;
    }
    struct read_job *job = read_create(engine, queries, query_count);
    enum an_err err = job == NULL ? AN_ERR_NO_MEMORY : read_take_views(job);
    if (err != AN_OK) {
        if (job != NULL) {
            read_free(job);
        }
        done(ctx, err, NULL, 0);
        return;
    }
    job->done = done;
    job->ctx = ctx;
    engine->cfg.host.offload(engine->cfg.host.ctx, &job->job);
}
