/* What other threads leave for an instance. */
#include "core/runner_nng/priv.h"
#include <time.h>

void
inbox_init(struct inbox *inbox)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&inbox->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&inbox->wake, &attr);
    pthread_condattr_destroy(&attr);
    inbox->tail = &inbox->head;
    inbox->jobs_tail = &inbox->jobs;
}

void
inbox_fini(struct inbox *inbox)
{
    pthread_cond_destroy(&inbox->wake);
    pthread_mutex_destroy(&inbox->lock);
}

/* With the lock held. A wake-up costs a system call: only when somebody sleeps. */
static void
wake(struct instance *inst)
{
    if (!inst->inbox.sleeping) {
        return;
    }
    inst->inbox.sleeping = false;
    if (inst->door != NULL) {
        inst->door->ops->wake(inst->door);
    } else {
        pthread_cond_signal(&inst->inbox.wake);
    }
}

static void
append(struct inbox *inbox, struct parcel *parcel)
{
    parcel->next = NULL;
    *inbox->tail = parcel;
    inbox->tail = &parcel->next;
}

void
inbox_put(struct instance *inst, struct parcel *parcel)
{
    pthread_mutex_lock(&inst->inbox.lock);
    append(&inst->inbox, parcel);
    wake(inst);
    pthread_mutex_unlock(&inst->inbox.lock);
}

bool
inbox_put_request(struct instance *inst, struct parcel *parcel)
{
    bool room;

    pthread_mutex_lock(&inst->inbox.lock);
    room = inst->inbox.requests < inst->runner->cfg.mailbox_msgs_max;
    if (room) {
        inst->inbox.requests++;
        append(&inst->inbox, parcel);
        wake(inst);
    }
    pthread_mutex_unlock(&inst->inbox.lock);
    return room;
}

bool
inbox_put_hint(struct instance *inst, struct parcel *parcel, size_t bytes)
{
    bool room;

    pthread_mutex_lock(&inst->inbox.lock);
    room = inst->inbox.hint_bytes + bytes <= AN_PUSH_QUEUE_BYTES_MAX;
    if (room) {
        inst->inbox.hint_bytes += bytes;
        append(&inst->inbox, parcel);
        wake(inst);
    }
    pthread_mutex_unlock(&inst->inbox.lock);
    return room;
}

void
inbox_put_job(struct instance *inst, struct an_job *job)
{
    pthread_mutex_lock(&inst->inbox.lock);
    job->next = NULL;
    *inst->inbox.jobs_tail = job;
    inst->inbox.jobs_tail = &job->next;
    wake(inst);
    pthread_mutex_unlock(&inst->inbox.lock);
}

void
inbox_flag(struct instance *inst, bool *flag)
{
    pthread_mutex_lock(&inst->inbox.lock);
    *flag = true;
    wake(inst);
    pthread_mutex_unlock(&inst->inbox.lock);
}
