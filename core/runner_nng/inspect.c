/* Inspection with the stock tool: a text endpoint that answers words with JSON, and an
 * endpoint of events, "TOPIC {json}", that costs nothing while nobody listens. */
#include "core/metrics.h"
#include "core/runner_nng/priv.h"
#include "core/text.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/ipc/ipc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUESTIONS = 8, /* asked at the same time */
    REPLY_MAX = 4096,
    SOCKET_MODE = 0600,
};

enum phase { RECEIVING, THINKING, SENDING };

struct question {
    struct parcel parcel;
    struct inspect *inspect;
    nng_ctx ctx;
    nng_aio *aio;
    enum phase phase;
    char words[WORDS_MAX];
    const char *rest; /* behind the actor's name */
};

struct inspect {
    struct an_runner *runner;
    nng_socket rep, pub;
    bool rep_open, pub_open;
    atomic_int watchers;
    struct question questions[QUESTIONS];
};

/* The numbers of all actors, each added on its own thread; the last one answers. */
struct gather {
    pthread_mutex_t lock;
    struct an_metrics *metrics;
    struct question *question;
    size_t waiting;
};

struct gather_part {
    struct parcel parcel;
    struct gather *gather;
};

/* ------------------------------------------------------------------ answers */

/* One answer; the line's end is added here. */
static void
reply(struct question *question, const char *text, size_t len)
{
    nng_msg *msg;

    if (nng_msg_alloc(&msg, 0) != 0 || nng_msg_append(msg, text, len) != 0 ||
        nng_msg_append(msg, "\n", 1) != 0) {
        abort(); /* the asker would wait for ever */
    }
    question->phase = SENDING;
    nng_aio_set_msg(question->aio, msg);
    nng_ctx_send(question->ctx, question->aio);
}

__attribute__((format(printf, 2, 3))) static void
reply_text(struct question *question, const char *fmt, ...)
{
    char text[REPLY_MAX];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    reply(question, text, len < REPLY_MAX ? (size_t)len : REPLY_MAX - 1);
}

static void
reply_error(struct question *question, enum an_err err, const char *text,
            const char *culprit)
{
    char clean[256];

    an_text_escape(clean, sizeof(clean), culprit, strlen(culprit), true);
    reply_text(question, "{\"error\":\"%s\",\"number\":%u,\"text\":\"%s\",\"at\":\"%s\"}",
               an_err_name(err), (unsigned)err, text, clean);
}

static void
reply_help(struct question *question)
{
    reply_text(question,
               "{\"words\":{"
               "\"help\":\"this\","
               "\"actors\":\"the actors of this process\","
               "\"metrics\":\"Prometheus text of every actor\","
               "\"ACTOR status\":\"whether it is ready, since when it runs\","
               "\"ACTOR stats\":\"one actor's counters, e.g. sequencer/0 stats\","
               "\"ACTOR peers\":\"whom it asks or hears, and whether it is connected\","
               "\"ACTOR trace ID\":\"where a message (its id, or its trace) was seen\","
               "\"ACTOR help\":\"what else this actor answers\"}}");
}

static void
reply_actors(struct question *question)
{
    struct an_runner *runner = question->inspect->runner;
    char text[REPLY_MAX];
    size_t len = 0;

    pthread_mutex_lock(&runner->lock);
    for (size_t i = 0; i < runner->instance_count && len < REPLY_MAX - 128; i++) {
        const struct instance *inst = runner->instances[i];
        len += (size_t)snprintf(
            text + len, REPLY_MAX - len,
            "%s{\"actor\":\"%s\",\"ready\":%s,\"stopped\":%s}", len == 0 ? "" : ",",
            inst->who, inst->ready ? "true" : "false", inst->stopped ? "true" : "false");
    }
    pthread_mutex_unlock(&runner->lock);
    text[len] = '\0';
    reply_text(question, "{\"actors\":[%s]}", text);
}

/* ------------------------------------------------------------------ numbers */

static void
gather_end(struct gather *gather)
{
    char *text = an_metrics_prometheus(gather->metrics);

    if (text == NULL) {
        reply_error(gather->question, AN_ERR_NO_MEMORY, "out of memory", "");
    } else {
        /* Its own line's end goes. */
        reply(gather->question, text, strlen(text) - (text[0] != '\0'));
    }
    free(text);
    an_metrics_destroy(gather->metrics);
    pthread_mutex_destroy(&gather->lock);
    free(gather);
}

void
gather_add(struct parcel *parcel, struct instance *inst)
{
    struct gather_part *part = (struct gather_part *)parcel;
    struct gather *gather = part->gather;
    bool last;

    free(part);
    pthread_mutex_lock(&gather->lock);
    if (inst != NULL) {
        instance_metrics(inst, gather->metrics);
    }
    last = --gather->waiting == 0;
    pthread_mutex_unlock(&gather->lock);
    if (last) {
        gather_end(gather);
    }
}

/* Asks all that run. */
static void
gather_start(struct question *question)
{
    struct an_runner *runner = question->inspect->runner;
    struct gather *gather = calloc(1, sizeof(*gather));
    struct gather_part *own = calloc(1, sizeof(*own));

    if (gather == NULL || own == NULL ||
        (gather->metrics = an_metrics_create()) == NULL) {
        free(gather);
        free(own);
        reply_error(question, AN_ERR_NO_MEMORY, "out of memory", "");
        return;
    }
    pthread_mutex_init(&gather->lock, NULL);
    gather->question = question;
    gather->waiting = 1; /* ours: nobody ends it while parts are handed out */
    own->gather = gather;
    pthread_mutex_lock(&runner->lock);
    for (size_t i = 0; i < runner->instance_count; i++) {
        struct instance *inst = runner->instances[i];
        struct gather_part *part;

        if (!inst->started || (inst->door != NULL && inst->stopped)) {
            continue; /* no thread would answer */
        }
        part = calloc(1, sizeof(*part));
        if (part != NULL) {
            part->parcel.type = PARCEL_COLLECT;
            part->gather = gather;
            pthread_mutex_lock(&gather->lock);
            gather->waiting++;
            pthread_mutex_unlock(&gather->lock);
            inbox_put(inst, &part->parcel);
        }
    }
    pthread_mutex_unlock(&runner->lock);
    gather_add(&own->parcel, NULL);
}

/* ------------------------------------------------------------------ words */

const char *
question_words(const struct question *question)
{
    return question->rest;
}

void
question_answer(struct question *question, enum an_err err, const uint8_t *body,
                size_t len)
{
    Anser__Bus__Inspected *inspected = NULL;

    if (err == AN_OK) {
        inspected = anser__bus__inspected__unpack(NULL, len, body);
    }
    if (inspected != NULL) {
        reply(question, (const char *)inspected->json.data, inspected->json.len);
        anser__bus__inspected__free_unpacked(inspected, NULL);
        return;
    }
    reply_error(question, err == AN_OK ? AN_ERR_INTERNAL : err,
                err == AN_ERR_ARGUMENT ? "the actor does not know these words"
                                       : an_err_text(err),
                question->rest);
}

/* "sequencer/0" */
static bool
parse_actor(const char *text, struct an_addr *addr)
{
    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        size_t len = strlen(an_role_name(role));
        char *end;
        unsigned long index;

        if (strncmp(text, an_role_name(role), len) != 0 || text[len] != '/' ||
            text[len + 1] < '0' || text[len + 1] > '9') {
            continue;
        }
        index = strtoul(text + len + 1, &end, 10);
        *addr = (struct an_addr){(uint8_t)role, (uint16_t)index};
        return *end == '\0' && index <= UINT16_MAX;
    }
    return false;
}

/* A door's thread ends with its actor; nobody would answer. */
static bool
has_ended(struct instance *inst)
{
    bool ended;

    pthread_mutex_lock(&inst->runner->lock);
    ended = inst->door != NULL && inst->stopped;
    pthread_mutex_unlock(&inst->runner->lock);
    return ended;
}

static void
ask_actor(struct question *question, char *name, const char *rest)
{
    struct an_addr addr;
    struct instance *inst = NULL;

    if (!parse_actor(name, &addr)) {
        reply_error(question, AN_ERR_ARGUMENT,
                    "neither a word nor an actor; try help or actors", name);
        return;
    }
    inst = runner_find(question->inspect->runner, addr);
    if (inst == NULL || !inst->started) {
        reply_error(question, AN_ERR_NOT_FOUND, "no such actor runs here", name);
        return;
    }
    if (*rest == '\0') {
        reply_error(question, AN_ERR_ARGUMENT, "words are missing; try stats or help",
                    name);
        return;
    }
    if (has_ended(inst)) {
        reply_error(question, AN_ERR_SHUTTING_DOWN, "the actor has stopped", name);
        return;
    }
    question->rest = rest;
    inbox_put(inst, &question->parcel);
}

static void
understand(struct question *question)
{
    char *words = question->words;
    char *space;

    question->phase = THINKING;
    if (strcmp(words, "") == 0 || strcmp(words, "help") == 0) {
        reply_help(question);
    } else if (strcmp(words, "actors") == 0) {
        reply_actors(question);
    } else if (strcmp(words, "metrics") == 0) {
        gather_start(question);
    } else {
        space = strchr(words, ' ');
        if (space != NULL) {
            *space++ = '\0';
        }
        ask_actor(question, words, space == NULL ? "" : space + strspn(space, " "));
    }
}

/* Copies the words, without white space around them. False: too long. */
static bool
take_words(struct question *question, nng_msg *msg)
{
    const char *text = nng_msg_body(msg);
    size_t len = nng_msg_len(msg);

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' ' ||
                       text[len - 1] == '\r' || text[len - 1] == '\0')) {
        len--;
    }
    if (len >= WORDS_MAX) {
        return false;
    }
    memcpy(question->words, text, len);
    question->words[len] = '\0';
    return true;
}

static void
question_receive(struct question *question)
{
    question->phase = RECEIVING;
    nng_ctx_recv(question->ctx, question->aio);
}

static void
question_callback(void *arg)
{
    struct question *question = arg;
    int rv = nng_aio_result(question->aio);
    nng_msg *msg = nng_aio_get_msg(question->aio);
    bool fits;

    nng_aio_set_msg(question->aio, NULL);
    if (question->phase == SENDING) {
        if (rv != 0) {
            nng_msg_free(msg);
        }
        if (rv != NNG_ECLOSED && rv != NNG_ECANCELED) {
            question_receive(question);
        }
        return;
    }
    if (rv != 0) {
        return; /* closed */
    }
    fits = take_words(question, msg);
    nng_msg_free(msg);
    if (fits) {
        understand(question);
    } else {
        reply_error(question, AN_ERR_ARGUMENT, "more words than fit", "");
    }
}

/* ------------------------------------------------------------------ events */

static void
watcher_changed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct inspect *inspect = arg;

    (void)pipe;
    atomic_fetch_add(&inspect->watchers, event == NNG_PIPE_EV_ADD_PRE ? 1 : -1);
}

bool
inspect_watched(const struct inspect *inspect)
{
    return atomic_load_explicit(&inspect->watchers, memory_order_relaxed) > 0;
}

void
inspect_event(struct inspect *inspect, struct instance *inst, const uint8_t *line,
              size_t len)
{
    nng_msg *msg;

    if (!inspect->pub_open || nng_msg_alloc(&msg, len + 1) != 0) {
        return;
    }
    memcpy(nng_msg_body(msg), line, len);
    ((char *)nng_msg_body(msg))[len] = '\n';
    nng_aio_wait(inst->event_aio); /* PUB ends at once */
    nng_aio_set_msg(inst->event_aio, msg);
    nng_send_aio(inspect->pub, inst->event_aio);
}

/* ------------------------------------------------------------------ open, close */

/* Readable by this user alone. */
static int
listen_private(nng_socket socket, const char *url)
{
    nng_listener listener;
    int rv = nng_listener_create(&listener, socket, url);

    if (rv == 0 && strncmp(url, "ipc:", 4) == 0) {
        rv = nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS, SOCKET_MODE);
    }
    return rv != 0 ? rv : nng_listener_start(listener, 0);
}

static int
open_text(struct inspect *inspect, const char *url)
{
    int rv = nng_rep0_open(&inspect->rep);

    if (rv != 0) {
        return rv;
    }
    inspect->rep_open = true;
    rv = nng_socket_set_size(inspect->rep, NNG_OPT_RECVMAXSZ, WORDS_MAX * 4);
    for (size_t i = 0; rv == 0 && i < QUESTIONS; i++) {
        struct question *question = &inspect->questions[i];
        question->parcel.type = PARCEL_WORDS;
        question->inspect = inspect;
        rv = nng_aio_alloc(&question->aio, question_callback, question);
        if (rv == 0) {
            rv = nng_ctx_open(&question->ctx, inspect->rep);
        }
    }
    if (rv == 0) {
        rv = listen_private(inspect->rep, url);
    }
    for (size_t i = 0; rv == 0 && i < QUESTIONS; i++) {
        question_receive(&inspect->questions[i]);
    }
    return rv;
}

static int
open_events(struct inspect *inspect, const char *url)
{
    int rv = nng_pub0_open(&inspect->pub);

    if (rv != 0) {
        return rv;
    }
    inspect->pub_open = true;
    rv = nng_socket_set_int(inspect->pub, NNG_OPT_SENDBUF, NNG_BUFFER);
    if (rv == 0) {
        rv = nng_pipe_notify(inspect->pub, NNG_PIPE_EV_ADD_PRE, watcher_changed, inspect);
    }
    if (rv == 0) {
        rv =
            nng_pipe_notify(inspect->pub, NNG_PIPE_EV_REM_POST, watcher_changed, inspect);
    }
    return rv != 0 ? rv : listen_private(inspect->pub, url);
}

enum an_err
inspect_open(struct inspect **out, struct an_runner *runner, const char *control,
             const char *events, char *why, size_t why_len)
{
    struct inspect *inspect = calloc(1, sizeof(*inspect));
    int rv = 0;

    if (inspect == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    inspect->runner = runner;
    *out = inspect; /* closed by the runner, also after a failure */
    if (control != NULL) {
        snprintf(why, why_len, "cannot listen on %s", control);
        rv = open_text(inspect, control);
    }
    if (rv == 0 && events != NULL) {
        snprintf(why, why_len, "cannot listen on %s", events);
        rv = open_events(inspect, events);
    }
    return nng_to_err(rv);
}

void
inspect_close(struct inspect *inspect)
{
    if (inspect == NULL) {
        return;
    }
    if (inspect->rep_open) {
        nng_close(inspect->rep);
    }
    if (inspect->pub_open) {
        nng_close(inspect->pub);
    }
    for (size_t i = 0; i < QUESTIONS; i++) {
        if (inspect->questions[i].aio != NULL) {
            nng_aio_stop(inspect->questions[i].aio);
            nng_aio_free(inspect->questions[i].aio);
        }
    }
    free(inspect);
}
