#include "core/control.h"
#include "core/runner_nng/priv.h"
#include "proto/bus.pb-c.h"
#include <assert.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ------------------------------------------------------------------ the text endpoint */

static enum an_err
exchange(nng_socket socket, char **out, const char *words, uint32_t timeout_ms)
{
    nng_msg *msg;
    int rv = nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, (nng_duration)timeout_ms);

    if (rv == 0) {
        rv = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    }
    if (rv == 0) {
        rv = nng_send(socket, (void *)(uintptr_t)words, strlen(words), 0);
    }
    if (rv == 0) {
        rv = nng_recvmsg(socket, &msg, 0);
    }
    if (rv != 0) {
        return rv == NNG_ENOMEM ? AN_ERR_NO_MEMORY : AN_ERR_TIMEOUT;
    }
    *out = strndup(nng_msg_body(msg), nng_msg_len(msg));
    nng_msg_free(msg);
    return *out == NULL ? AN_ERR_NO_MEMORY : AN_OK;
}

enum an_err
an_control_ask(char **out, const char *url, const char *words, uint32_t timeout_ms)
{
    nng_socket socket;
    enum an_err err;

    if (nng_req0_open(&socket) != 0) {
        return AN_ERR_NO_MEMORY;
    }
    err = nng_dial(socket, url, NULL, 0) == 0 ? exchange(socket, out, words, timeout_ms)
                                              : AN_ERR_UNAVAILABLE;
    nng_close(socket);
    return err;
}

/* ------------------------------------------------------------------ an actor's mailbox
 */

enum { LOOK_MS = 20, FAULT_PATIENCE_MS = 200 };

/* One connection being made; NNG's callback says when it is up. */
struct dial {
    nng_socket socket;
    nng_dialer dialer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool up;
    char url[URL_LEN];
};

static void
came_up(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct dial *dial = arg;

    (void)pipe;
    (void)event;
    pthread_mutex_lock(&dial->lock);
    dial->up = true;
    pthread_cond_signal(&dial->changed);
    pthread_mutex_unlock(&dial->lock);
}

/* Waits up to ms for the connection. */
static bool
wait_up(struct dial *dial, uint64_t ms)
{
    uint64_t until_ms = clock_mono_ms() + ms;
    struct timespec until = {(time_t)(until_ms / 1000),
                             (long)(until_ms % 1000) * 1000000};
    int rv = 0;
    bool up;

    pthread_mutex_lock(&dial->lock);
    while (!dial->up && rv == 0) {
        rv = pthread_cond_timedwait(&dial->changed, &dial->lock, &until);
    }
    up = dial->up;
    pthread_mutex_unlock(&dial->lock);
    return up;
}

/* Why no connection was made until now; NULL: nothing is known. */
static const char *
dial_fault(const struct dial *dial)
{
    struct faults none = {0}, now;
    const char *why = NULL;
    nng_stat *all;

    if (nng_stats_get(&all) == 0) {
        if (faults_read(all, "dialer", (unsigned)nng_dialer_id(dial->dialer), &now)) {
            why = fault_meaning(faults_newer(&none, &now));
        }
        nng_stats_free(all);
    }
    return why;
}

/* A blocking dial would wait minutes for a host that is gone. What fails is tried again
 * for a moment: who was just started again may not listen yet. */
static enum an_err
wait_dial(struct dial *dial, uint64_t deadline_ms, char *why, size_t why_len)
{
    uint64_t fault_until_ms = clock_mono_ms() + FAULT_PATIENCE_MS;
    const char *fault = NULL;

    while (!wait_up(dial, LOOK_MS)) {
        uint64_t now_ms = clock_mono_ms();
        if (fault == NULL) {
            fault = dial_fault(dial);
        }
        if (now_ms >= deadline_ms || (fault != NULL && now_ms >= fault_until_ms)) {
            snprintf(why, why_len, "%s: %s", dial->url,
                     fault != NULL ? fault : "no answer in time");
            return AN_ERR_UNAVAILABLE;
        }
    }
    return AN_OK;
}

static enum an_err
start_dial(struct dial *dial, const struct an_control_from *from, struct an_addr addr,
           char *why, size_t why_len)
{
    struct an_runner_cfg cfg = {
        .cluster = from->cluster, .run_dir = from->run_dir, .places = from->places};
    uint16_t host = an_place_of(from->places, addr)->host;
    nng_tls_config *config = NULL;
    enum an_err err = AN_OK;
    int rv;

    link_url(&cfg, host == from->host ? REACH_IPC : REACH_TLS, addr, NULL, dial->url);
    rv = nng_pipe_notify(dial->socket, NNG_PIPE_EV_ADD_POST, came_up, dial);
    if (rv == 0) {
        rv = nng_dialer_create(&dial->dialer, dial->socket, dial->url);
    }
    if (rv == 0) {
        rv = nng_dialer_set_ms(dial->dialer, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    }
    if (rv == 0 && host != from->host) {
        err = link_tls(&config, from->places, host, why, why_len);
        rv = err == AN_OK ? link_tls_dialer(dial->dialer, config) : 0;
    }
    if (err == AN_OK && rv == 0) {
        rv = nng_dialer_start(dial->dialer, NNG_FLAG_NONBLOCK);
    }
    if (config != NULL) {
        nng_tls_config_free(config); /* the dialer holds it */
    }
    if (rv != 0) {
        snprintf(why, why_len, "%s: %s", dial->url, nng_strerror(rv));
        return AN_ERR_UNAVAILABLE;
    }
    return err;
}

static nng_msg *
pack_words(const struct an_control_from *from, const char *words, uint32_t budget_ms)
{
    Anser__Bus__Inspect inspect = ANSER__BUS__INSPECT__INIT;
    struct an_envelope env = {.kind = AN_KIND_INSPECT,
                              .budget_ms = budget_ms,
                              .from = {AN_ROLE_RUNNER, 0},
                              .cluster = an_cluster_digest(from->cluster),
                              .stores = an_topology_digest(from->topology)};
    nng_msg *msg;
    uint8_t *data;

    inspect.words = (ProtobufCBinaryData){strlen(words), (uint8_t *)(uintptr_t)words};
    env.body_len = (uint32_t)anser__bus__inspect__get_packed_size(&inspect);
    if (nng_msg_alloc(&msg, AN_ENVELOPE_LEN + env.body_len) != 0) {
        return NULL;
    }
    data = nng_msg_body(msg);
    an_envelope_put(data, &env);
    anser__bus__inspect__pack(&inspect, data + AN_ENVELOPE_LEN);
    return msg;
}

static enum an_err
read_answer(char **out, nng_msg *msg, struct an_addr addr)
{
    const uint8_t *data = nng_msg_body(msg);
    Anser__Bus__Inspected *inspected;
    struct an_envelope env;
    const char *why;

    if (!an_envelope_get(&env, data, nng_msg_len(msg), &why) || !env.answer ||
        env.from.role != addr.role || env.from.index != addr.index) {
        return AN_ERR_ENVELOPE;
    }
    if (env.err != AN_OK) {
        return an_err_known(env.err) ? (enum an_err)env.err : AN_ERR_INTERNAL;
    }
    if (env.kind != AN_KIND_INSPECTED) {
        return AN_ERR_ENVELOPE;
    }
    inspected = anser__bus__inspected__unpack(NULL, env.body_len, data + AN_ENVELOPE_LEN);
    if (inspected == NULL) {
        return AN_ERR_ENVELOPE;
    }
    *out = strndup((const char *)inspected->json.data, inspected->json.len);
    anser__bus__inspected__free_unpacked(inspected, NULL);
    return *out == NULL ? AN_ERR_NO_MEMORY : AN_OK;
}

static enum an_err
ask_dialed(char **out, const struct dial *dial, const struct an_control_from *from,
           struct an_addr addr, const char *words, uint64_t deadline_ms)
{
    uint64_t now_ms = clock_mono_ms();
    uint32_t left_ms = deadline_ms > now_ms ? (uint32_t)(deadline_ms - now_ms) : 1;
    nng_msg *msg = pack_words(from, words, left_ms);
    enum an_err err;
    int rv;

    if (msg == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    rv = nng_socket_set_ms(dial->socket, NNG_OPT_RECVTIMEO, (nng_duration)left_ms);
    if (rv == 0) {
        rv = nng_socket_set_ms(dial->socket, NNG_OPT_SENDTIMEO, (nng_duration)left_ms);
    }
    if (rv == 0) {
        rv = nng_socket_set_ms(dial->socket, NNG_OPT_REQ_RESENDTIME,
                               NNG_DURATION_INFINITE);
    }
    if (rv == 0) {
        rv = nng_sendmsg(dial->socket, msg, 0);
    }
    if (rv != 0) {
        nng_msg_free(msg);
        return AN_ERR_TIMEOUT;
    }
    if (nng_recvmsg(dial->socket, &msg, 0) != 0) {
        return AN_ERR_TIMEOUT;
    }
    err = read_answer(out, msg, addr);
    nng_msg_free(msg);
    return err;
}

enum an_err
an_control_ask_actor(char **out, const struct an_control_from *from, struct an_addr addr,
                     const char *words, uint32_t timeout_ms, char *why, size_t why_len)
{
    uint64_t deadline_ms = clock_mono_ms() + timeout_ms;
    struct dial dial = {0};
    pthread_condattr_t attr;
    enum an_err err;

    snprintf(why, why_len, "no answer");
    if (nng_req0_open(&dial.socket) != 0) {
        return AN_ERR_NO_MEMORY;
    }
    pthread_mutex_init(&dial.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&dial.changed, &attr);
    pthread_condattr_destroy(&attr);
    err = start_dial(&dial, from, addr, why, why_len);
    if (err == AN_OK) {
        err = wait_dial(&dial, deadline_ms, why, why_len);
    }
    if (err == AN_OK) {
        err = ask_dialed(out, &dial, from, addr, words, deadline_ms);
    }
    nng_close(dial.socket);
    pthread_cond_destroy(&dial.changed);
    pthread_mutex_destroy(&dial.lock);
    return err;
}
