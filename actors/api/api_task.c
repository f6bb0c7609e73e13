/* Tasks and their steps: asking, asking again, and going on with what came. */
#include "actors/api/api_priv.h"
#include "core/limits.h"
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 50, STEP_MS = 3000 };

/* ------------------------------------------------------------------ tags */

static uint64_t
tag_of(const struct api *api, const struct api_task *task)
{
    return (uint64_t)(task - api->tasks) | (uint64_t)task->round << 16;
}

static struct api_task *
task_of(struct api *api, uint64_t tag)
{
    struct api_task *task = &api->tasks[(tag & 0xffff) % AN_API_TASKS_MAX];

    return task->used && tag_of(api, task) == tag ? task : NULL;
}

/* ------------------------------------------------------------------ life */

struct api_task *
api_task_new(struct api_run *run, uint32_t ms)
{
    struct api *api = run->api;

    for (size_t i = 0; i < AN_API_TASKS_MAX; i++) {
        struct api_task *task = &api->tasks[i];

        if (!task->used) {
            uint32_t round = task->round;

            *task = (struct api_task){.used = true, .round = round + 1};
            task->deadline_ms = run->now.mono_ms + ms;
            task->trace = an_rng_next(&api->rng);
            api->in_progress++;
            return task;
        }
    }
    return NULL;
}

void
api_task_abandon(struct api *api, struct api_task *task)
{
    (void)api;
    an_msg_abandon(task->words);
    api_body_free(task->body);
    json_decref(task->answer);
    free(task->extra);
    free(task->content);
    sodium_memzero(task->hash, sizeof(task->hash));
    sodium_memzero(task->verified, sizeof(task->verified));
    sodium_memzero(task->refresh, sizeof(task->refresh));
}

void
api_task_free(struct api *api, struct api_task *task)
{
    if (task->words != NULL) {
        an_msg_release(task->words);
        task->words = NULL;
        api->words_in_progress--;
    }
    api_task_abandon(api, task);
    task->used = false;
    task->round++;
    api->in_progress--;
}

/* ------------------------------------------------------------------ asking */

static void
finish_step(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    api_then_f *then = task->then;

    task->round++; /* what else comes for this step is stale */
    then(run, task, reply);
}

static void
fail_step(struct api_run *run, struct api_task *task, enum an_err err)
{
    const struct api_reply reply = {.err = err};

    finish_step(run, task, &reply);
}

static void
ask(struct api_run *run, struct api_task *task)
{
    task->round++;
    if (run->now.mono_ms >= task->deadline_ms) {
        fail_step(run, task, AN_ERR_TIMEOUT);
        return;
    }
    task->ask(run, task);
}

void
api_step_to(struct api_run *run, struct api_task *task, api_ask_f *first,
            api_then_f *then)
{
    task->ask = first;
    task->then = then;
    task->asked_slot = false;
    ask(run, task);
}

static uint32_t
budget(const struct api_run *run, const struct api_task *task)
{
    uint64_t left = task->deadline_ms - run->now.mono_ms;

    return left < STEP_MS ? (uint32_t)left : STEP_MS;
}

void
api_ask_sequencer(struct api_run *run, struct api_task *task, uint16_t slot,
                  Anser__Bus__Command *command)
{
    Anser__Bus__Submit body = ANSER__BUS__SUBMIT__INIT;

    if (!task->asked_slot) {
        task->owner = run->api->cfg.topology->slot_sequencer[slot];
    }
    task->asked_slot = true;
    task->slot = slot;
    command->slot = slot;
    command->trace = task->trace;
    body.commands = &command;
    body.n_commands = 1;
    an_out_ask(run->out, (struct an_addr){AN_ROLE_SEQUENCER, task->owner}, AN_KIND_SUBMIT,
               &body.base, budget(run, task), tag_of(run->api, task), task->trace);
}

void
api_ask_store(struct api_run *run, struct api_task *task, uint16_t slot,
              Anser__Bus__Query *query)
{
    Anser__Bus__Read body = ANSER__BUS__READ__INIT;

    task->asked_slot = false;
    query->slot = slot;
    body.queries = &query;
    body.n_queries = 1;
    an_out_ask(run->out, an_topology_store(run->api->cfg.topology, slot), AN_KIND_READ,
               &body.base, budget(run, task), tag_of(run->api, task), task->trace);
}

void
api_ask_key(struct api_run *run, struct api_task *task)
{
    Anser__Bus__TakeSegment take = ANSER__BUS__TAKE_SEGMENT__INIT;

    if (!task->asked_slot) {
        task->owner = 0;
    }
    task->asked_slot = true;
    take.name.data = (uint8_t *)(uintptr_t) "user";
    take.name.len = 4;
    take.count = 1;
    an_out_ask(run->out, (struct an_addr){AN_ROLE_IDGEN, task->owner},
               AN_KIND_TAKE_SEGMENT, &take.base, budget(run, task),
               tag_of(run->api, task), task->trace);
}

/* ------------------------------------------------------------------ answers */

/* The one asked is away, stops or cannot serve: the next try asks another. */
static void
ask_another(const struct api_run *run, struct api_task *task, bool idgen)
{
    const struct an_topology *topology = run->api->cfg.topology;

    if (!task->asked_slot) {
        return; /* a store: there is one of a slot */
    }
    if (idgen) {
        task->owner = (uint16_t)((task->owner + 1) % topology->count[AN_ROLE_IDGEN]);
    } else {
        task->owner = an_topology_other(topology, task->slot, task->owner);
    }
}

/* The same step again, a little later. */
static void
retry(struct api_run *run, struct api_task *task)
{
    run->api->count.retries++;
    task->round++;
    an_out_timer(run->out,
                 run->now.mono_ms + RETRY_MS + an_rng_below(&run->api->rng, RETRY_MS),
                 tag_of(run->api, task));
}

static void
submitted(struct api_run *run, struct api_task *task, const struct an_msg *msg)
{
    const Anser__Bus__Submitted *body = (const Anser__Bus__Submitted *)msg->body;
    struct api_reply reply = {0};

    if (body->n_results != 1 || !an_err_known(body->results[0]->err)) {
        fail_step(run, task, AN_ERR_INTERNAL);
        return;
    }
    reply.result = body->results[0];
    reply.err = (enum an_err)reply.result->err;
    if (reply.err == AN_ERR_MOVED &&
        reply.result->owner < run->api->cfg.topology->count[AN_ROLE_SEQUENCER]) {
        task->owner = (uint16_t)reply.result->owner;
    } else if (reply.err == AN_ERR_UNAVAILABLE || reply.err == AN_ERR_SHUTTING_DOWN) {
        ask_another(run, task, false);
    }
    if (an_err_handling(reply.err) == AN_HANDLE_RETRY) {
        retry(run, task);
    } else {
        finish_step(run, task, &reply);
    }
}

static void
read_done(struct api_run *run, struct api_task *task, const struct an_msg *msg)
{
    const Anser__Bus__ReadDone *body = (const Anser__Bus__ReadDone *)msg->body;
    struct api_reply reply = {0};

    if (body->n_answers != 1 || !an_err_known(body->answers[0]->err)) {
        fail_step(run, task, AN_ERR_INTERNAL);
        return;
    }
    reply.answer = body->answers[0];
    reply.err = (enum an_err)reply.answer->err;
    if (an_err_handling(reply.err) == AN_HANDLE_RETRY) {
        retry(run, task);
    } else {
        finish_step(run, task, &reply);
    }
}

void
api_task_answered(struct api_run *run, const struct an_msg *msg)
{
    struct api_task *task = task_of(run->api, msg->tag);
    struct api_reply reply = {.err = AN_OK};

    if (task == NULL) {
        return; /* of a step that was given up */
    }
    if (an_err_handling(msg->err) == AN_HANDLE_RETRY) {
        if (msg->err != AN_ERR_BUSY) {
            ask_another(run, task, msg->kind == AN_KIND_TAKEN_SEGMENT);
        }
        retry(run, task);
    } else if (msg->err != AN_OK || msg->body == NULL) {
        fail_step(run, task, msg->err == AN_OK ? AN_ERR_INTERNAL : msg->err);
    } else if (msg->kind == AN_KIND_SUBMITTED) {
        submitted(run, task, msg);
    } else if (msg->kind == AN_KIND_READ_DONE) {
        read_done(run, task, msg);
    } else if (msg->kind == AN_KIND_TAKEN_SEGMENT) {
        reply.taken = (const Anser__Bus__TakenSegment *)msg->body;
        finish_step(run, task, &reply);
    } else {
        fail_step(run, task, AN_ERR_INTERNAL);
    }
}

void
api_task_timer(struct api_run *run, uint64_t tag)
{
    struct api_task *task = task_of(run->api, tag);

    if (task != NULL) {
        ask(run, task);
    }
}

/* ------------------------------------------------------------------ hashes */

static enum api_hash_class
class_of(const struct api_task *task, bool verify)
{
    return verify            ? API_HASH_CHECK
           : task->registers ? API_HASH_REGISTER
                             : API_HASH_CHANGE;
}

/* Who is known has shown a token or a signature: only anybody's requests have shares. */
static uint64_t
address_of(const struct api *api, const struct api_task *task, enum api_hash_class class)
{
    return class == API_HASH_CHANGE || task->http == NULL
               ? 0
               : api_guess_address(api->guess, task->http->from);
}

/* No address, and no flood of registrations, takes the place of all. */
static bool
hash_fits_in(const struct api *api, enum api_hash_class class, uint64_t address)
{
    unsigned registrations = 0, same = 0;

    for (const struct api_hash_job *job = api->jobs; job != NULL; job = job->next) {
        registrations += job->class == API_HASH_REGISTER;
        same += address != 0 && job->address == address;
    }
    return api->job_count < AN_API_HASHES_MAX && same < AN_API_HASHES_ADDRESS_MAX &&
           (class != API_HASH_REGISTER || registrations < AN_API_HASHES_REGISTER_MAX);
}

/* Of those that wait; NULL: none. */
static struct api_hash_job *
oldest(const struct api *api, enum api_hash_class class)
{
    struct api_hash_job *found = NULL;

    for (struct api_hash_job *job = api->jobs; job != NULL; job = job->next) {
        if (!job->out && job->class == class) {
            found = job;
        }
    }
    return found;
}

/* Checks, of which each address has a share, first. The others by turns: an import has
 * always some that wait, and so has a flood of registrations. */
static struct api_hash_job *
hash_choose(struct api *api)
{
    struct api_hash_job *check = oldest(api, API_HASH_CHECK);
    struct api_hash_job *change = oldest(api, API_HASH_CHANGE);
    struct api_hash_job *registers = oldest(api, API_HASH_REGISTER);

    if (check != NULL) {
        return check;
    }
    if (registers != NULL && (change == NULL || api->turn == API_HASH_REGISTER)) {
        api->turn = API_HASH_CHANGE;
        return registers;
    }
    if (change != NULL) {
        api->turn = API_HASH_REGISTER;
    }
    return change;
}

static void
hash_next(struct api_run *run)
{
    struct api *api = run->api;

    while (api->jobs_out < AN_API_HASHES_OUT_MAX) {
        struct api_hash_job *job = hash_choose(api);

        if (job == NULL) {
            return;
        }
        job->out = true;
        api->jobs_out++;
        an_out_offload(run->out, &job->job);
    }
}

static void
hash_unlink(struct api *api, struct api_hash_job *job)
{
    *job->link = job->next;
    if (job->next != NULL) {
        job->next->link = job->link;
    }
    api->job_count--;
    api->jobs_out -= job->out;
}

void
api_step_hash(struct api_run *run, struct api_task *task, const char *password,
              bool verify, api_then_f *then)
{
    struct api *api = run->api;
    enum api_hash_class class = class_of(task, verify);
    uint64_t address = address_of(api, task, class);
    struct api_hash_job *job;

    task->then = then;
    task->round++;
    if (api->stopping || !hash_fits_in(api, class, address)) {
        fail_step(run, task, AN_ERR_BUSY);
        return;
    }
    job = api_hash_job_create(password, verify ? task->hash : NULL, api->cfg.hash_passes,
                              api->cfg.hash_bytes);
    if (job == NULL) {
        fail_step(run, task, AN_ERR_NO_MEMORY);
        return;
    }
    job->tag = tag_of(api, task);
    job->class = class;
    job->address = address;
    job->next = api->jobs;
    job->link = &api->jobs;
    if (api->jobs != NULL) {
        api->jobs->link = &job->next;
    }
    api->jobs = job;
    api->job_count++;
    hash_next(run);
}

void
api_task_hashed(struct api_run *run, struct an_job *base)
{
    struct api *api = run->api;
    struct api_hash_job *job = (struct api_hash_job *)base;
    struct api_task *task = task_of(api, job->tag);
    struct api_reply reply = {.err = AN_OK, .hash_fits = job->good};

    hash_unlink(api, job);
    hash_next(run);
    if (task != NULL) {
        if (!job->verify) {
            memcpy(task->hash, job->hash, sizeof(task->hash));
            reply.err = job->good ? AN_OK : AN_ERR_NO_MEMORY;
        }
        finish_step(run, task, &reply);
    }
    job->job.done(&job->job);
}

void
api_hashes_stop(struct api *api)
{
    struct api_hash_job *next;

    for (struct api_hash_job *job = api->jobs; job != NULL; job = next) {
        next = job->next;
        if (job->out) {
            atomic_store(&job->cancelled, true);
        } else {
            hash_unlink(api, job);
            api_hash_job_free(job);
        }
    }
}
