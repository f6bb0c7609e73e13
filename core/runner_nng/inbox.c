/* What other threads leave for an instance.
 *
 * An instance sleeps on a semaphore, and is woken when the lock is free again: one woken
 * under the lock, as from a condition variable, would wait for it first, and each of the
 * two would make a system call more. */
#include "core/runner_nng/priv.h"
#include <errno.h>
#include <time.h>

void
inbox_init(struct inbox *inbox)
{
    pthread_mutex_init(&inbox->lock, NULL);
    sem_init(&inbox->wake, 0, 0);
    inbox->tail = &inbox->head;
    inbox->jobs_tail = &inbox->jobs;
}

void
inbox_fini(struct inbox *inbox)
{
    sem_destroy(&inbox->wake);
    pthread_mutex_destroy(&inbox->lock);
}

/* A wake-up costs a system call: only when somebody sleeps. */
static void
unlock_and_wake(struct instance *inst)
{
    struct inbox *inbox = &inst->inbox;
    bool sleeping = inbox->sleeping;

    inbox->sleeping = false;
    pthread_mutex_unlock(&inbox->lock);
    if (!sleeping) {
        return;
    }
    if (inst->door != NULL) {
        inst->door->ops->wake(inst->door);
    } else {
        sem_post(&inbox->wake);
    }
}

bool
inbox_sleep(struct inbox *inbox, uint64_t wait_ms)
{
    uint64_t until_ms = clock_mono_ms() + (wait_ms < UINT32_MAX ? wait_ms : UINT32_MAX);
    struct timespec until = {(time_t)(until_ms / 1000),
                             (long)(until_ms % 1000) * 1000000};
    bool quit, sleeps;
    int rv;

    pthread_mutex_lock(&inbox->lock);
    quit = inbox->quit;
    sleeps = wait_ms > 0 && inbox->head == NULL && inbox->jobs == NULL && !inbox->start &&
             !inbox->stop && !quit;
    inbox->sleeping = sleeps;
    pthread_mutex_unlock(&inbox->lock);
    if (!sleeps) {
        return !quit;
    }
    do {
        rv = sem_clockwait(&inbox->wake, CLOCK_MONOTONIC, &until);
    } while (rv != 0 && errno == EINTR);
    return true; /* its next turn finds why, and says that it does not sleep */
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
    unlock_and_wake(inst);
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
        unlock_and_wake(inst);
    } else {
        pthread_mutex_unlock(&inst->inbox.lock);
    }
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
        unlock_and_wake(inst);
    } else {
        pthread_mutex_unlock(&inst->inbox.lock);
    }
    return room;
}

void
inbox_put_job(struct instance *inst, struct an_job *job)
{
    pthread_mutex_lock(&inst->inbox.lock);
    job->next = NULL;
    *inst->inbox.jobs_tail = job;
    inst->inbox.jobs_tail = &job->next;
    unlock_and_wake(inst);
}

void
inbox_flag(struct instance *inst, bool *flag)
{
    pthread_mutex_lock(&inst->inbox.lock);
    *flag = true;
    unlock_and_wake(inst);
}
