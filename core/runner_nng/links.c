/* Who is reached how. Without places everybody is in this process or behind its run
 * directory's sockets, as cfg.bus says. With them: the same process over inproc, the same
 * host over ipc, another host over tls+tcp, where both sides show a certificate of the
 * cluster's CA and the one who dials wants to see the name of the host it means. */
#include "core/runner_nng/priv.h"
#include <assert.h>
#include <errno.h>
#include <nng/transport/ipc/ipc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEM_LEN_MAX = 256 * 1024, SOCKET_MODE = 0600 };

/* A dialer's configuration holds the name it wants to see, so there is one for each host.
 */
struct tls {
    nng_tls_config *server;
    nng_tls_config **clients; /* by host */
    size_t count;
};

/* ------------------------------------------------------------------ certificates */

struct pem {
    char *ca, *cert, *key;
};

/* Terminated; NULL with *why. */
static char *
read_pem(const char *path, char *why, size_t why_len)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t len;

    if (file == NULL) {
        snprintf(why, why_len, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    text = calloc(1, PEM_LEN_MAX + 1);
    len = text == NULL ? 0 : fread(text, 1, PEM_LEN_MAX, file);
    if (text != NULL && (len == 0 || len == PEM_LEN_MAX)) {
        snprintf(why, why_len, "%s is %s", path, len == 0 ? "empty" : "too long");
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

static void
pem_free(struct pem *pem)
{
    free(pem->ca);
    free(pem->cert);
    if (pem->key != NULL) {
        sodium_memzero(pem->key, strlen(pem->key));
    }
    free(pem->key);
}

/* One side's configuration: its own certificate, and the CA that the other's must have.
 * host: the name to see on the other side; NULL: of a server. */
static enum an_err
make_config(nng_tls_config **out, const struct an_places *places, const struct pem *pem,
            const char *host, char *why, size_t why_len)
{
    int rv = nng_tls_config_alloc(out, host == NULL ? NNG_TLS_MODE_SERVER
                                                    : NNG_TLS_MODE_CLIENT);

    if (rv != 0) {
        *out = NULL;
        snprintf(why, why_len, "no TLS: %s", nng_strerror(rv));
        return AN_ERR_CONFIG;
    }
    rv = nng_tls_config_auth_mode(*out, NNG_TLS_AUTH_MODE_REQUIRED);
    if (rv == 0 && host != NULL) {
        rv = nng_tls_config_server_name(*out, host);
    }
    if (rv == 0 && (rv = nng_tls_config_ca_chain(*out, pem->ca, NULL)) != 0) {
        snprintf(why, why_len, "%s holds no certificate that can be read: %s", places->ca,
                 nng_strerror(rv));
        return AN_ERR_CONFIG;
    }
    if (rv == 0 && (rv = nng_tls_config_own_cert(*out, pem->cert, pem->key, NULL)) != 0) {
        snprintf(why, why_len, "%s or %s cannot be used: %s", places->cert, places->key,
                 nng_strerror(rv));
        return AN_ERR_CONFIG;
    }
    return nng_to_err(rv);
}

static enum an_err
read_pems(struct pem *pem, const struct an_places *places, char *why, size_t why_len)
{
    pem->ca = read_pem(places->ca, why, why_len);
    pem->cert = pem->ca == NULL ? NULL : read_pem(places->cert, why, why_len);
    pem->key = pem->cert == NULL ? NULL : read_pem(places->key, why, why_len);
    return pem->key == NULL ? AN_ERR_CONFIG : AN_OK;
}

enum an_err
link_tls(nng_tls_config **out, const struct an_places *places, uint16_t host, char *why,
         size_t why_len)
{
    struct pem pem = {0};
    enum an_err err = read_pems(&pem, places, why, why_len);

    *out = NULL;
    if (err == AN_OK) {
        err = make_config(out, places, &pem, places->hosts[host].name, why, why_len);
    }
    if (err != AN_OK && *out != NULL) {
        nng_tls_config_free(*out);
        *out = NULL;
    }
    pem_free(&pem);
    return err;
}

static enum an_err
make_configs(struct tls *tls, const struct an_places *places, char *why, size_t why_len)
{
    struct pem pem = {0};
    enum an_err err = read_pems(&pem, places, why, why_len);

    if (err == AN_OK) {
        err = make_config(&tls->server, places, &pem, NULL, why, why_len);
    }
    while (err == AN_OK && tls->count < places->host_count) {
        err = make_config(&tls->clients[tls->count], places, &pem,
                          places->hosts[tls->count].name, why, why_len);
        tls->count++;
    }
    pem_free(&pem);
    return err;
}

static uint16_t
own_host(const struct an_runner *runner)
{
    const struct an_runner_cfg *cfg = &runner->cfg;

    for (unsigned role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        for (uint16_t i = 0; i < cfg->topology->count[role]; i++) {
            if (cfg->places->of[role][i].process == cfg->process) {
                return cfg->places->of[role][i].host;
            }
        }
    }
    return HOST_NONE;
}

enum an_err
links_open(struct an_runner *runner, char *why, size_t why_len)
{
    const struct an_places *places = runner->cfg.places;

    runner->host = HOST_NONE;
    if (places == NULL) {
        return AN_OK;
    }
    runner->host = own_host(runner);
    if (runner->host == HOST_NONE) {
        snprintf(why, why_len, "no actor has its place in process %u",
                 (unsigned)runner->cfg.process);
        return AN_ERR_CONFIG;
    }
    if (places->host_count < 2) {
        return AN_OK;
    }
    runner->tls = calloc(1, sizeof(*runner->tls));
    if (runner->tls != NULL) {
        runner->tls->clients = calloc(places->host_count, sizeof(nng_tls_config *));
    }
    if (runner->tls == NULL || runner->tls->clients == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    return make_configs(runner->tls, places, why, why_len);
}

void
links_close(struct an_runner *runner)
{
    struct tls *tls = runner->tls;

    if (tls == NULL) {
        return;
    }
    if (tls->server != NULL) {
        nng_tls_config_free(tls->server);
    }
    for (size_t i = 0; i < tls->count; i++) {
        if (tls->clients[i] != NULL) {
            nng_tls_config_free(tls->clients[i]);
        }
    }
    free(tls->clients);
    free(tls);
    runner->tls = NULL;
}

/* ------------------------------------------------------------------ addresses */

static enum reach
reach_of(const struct an_runner *runner, struct an_addr addr)
{
    const struct an_place *place;

    if (runner->cfg.places == NULL) {
        return runner->cfg.bus == AN_BUS_IPC ? REACH_IPC : REACH_INPROC;
    }
    place = an_place_of(runner->cfg.places, addr);
    if (place->process == runner->cfg.process) {
        return REACH_INPROC;
    }
    return place->host == runner->host ? REACH_IPC : REACH_TLS;
}

static void
tls_url(const struct an_places *places, struct an_addr addr, const uint16_t *gate,
        char out[URL_LEN])
{
    const struct an_place *place = an_place_of(places, addr);
    const char *address = places->hosts[place->host].address;
    unsigned port = gate == NULL ? place->port : place->hints + (unsigned)*gate;
    bool bare_v6 = strchr(address, ':') != NULL && address[0] != '[';

    snprintf(out, URL_LEN, bare_v6 ? "tls+tcp://[%s]:%u" : "tls+tcp://%s:%u", address,
             port);
}

void
link_url(const struct an_runner_cfg *cfg, enum reach reach, struct an_addr addr,
         const uint16_t *gate, char out[URL_LEN])
{
    char hints[24] = "";

    if (gate != NULL) {
        snprintf(hints, sizeof(hints), "-gate-%u", (unsigned)*gate);
    }
    if (reach == REACH_TLS) {
        tls_url(cfg->places, addr, gate, out);
    } else if (reach == REACH_IPC) {
        snprintf(out, URL_LEN, "ipc://%s/%s-%u%s", cfg->run_dir, an_role_name(addr.role),
                 (unsigned)addr.index, hints);
    } else {
        snprintf(out, URL_LEN, "inproc://anser-%s-%s-%u%s", cfg->cluster,
                 an_role_name(addr.role), (unsigned)addr.index, hints);
    }
}

bool
may_ask(unsigned from, unsigned to)
{
    for (unsigned kind = 1; kind < AN_KIND_BUS_COUNT; kind++) {
        const struct an_kind_row *row = an_kind_row(kind);
        if (row->answer != AN_KIND_NONE && row->receiver == to &&
            (row->senders & 1u << from) != 0) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ dialing */

/* For the link whose dialer made it; what a dialer brings that was replaced meanwhile is
 * closed by NNG, and not counted. */
static void
pipe_came(struct link *link, nng_pipe pipe)
{
    unsigned dialer = (unsigned)nng_dialer_id(nng_pipe_dialer(pipe));

    while (link != NULL && atomic_load(&link->dialer) != dialer) {
        link = link->next;
    }
    for (size_t i = 0; link != NULL && i < LINK_PIPES_MAX; i++) {
        unsigned none = 0;

        if (atomic_compare_exchange_strong(&link->pipe[i], &none,
                                           (unsigned)nng_pipe_id(pipe))) {
            atomic_fetch_add(&link->connects, 1);
            atomic_fetch_add(&link->pipes, 1);
            if (link->reach == REACH_TLS) {
                atomic_fetch_add(&link->runner->fresh, 1);
            }
            return;
        }
    }
}

/* By its own number: the dialer that made it may have been replaced. */
static void
pipe_went(struct link *link, nng_pipe pipe)
{
    unsigned id = (unsigned)nng_pipe_id(pipe);

    for (; link != NULL; link = link->next) {
        for (size_t i = 0; i < LINK_PIPES_MAX; i++) {
            if (atomic_load(&link->pipe[i]) == id) {
                atomic_store(&link->lost_ms, clock_mono_ms());
                atomic_fetch_sub(&link->pipes, 1);
                atomic_store(&link->pipe[i], 0);
                return;
            }
        }
    }
}

/* ADD_PRE and REM_POST come in pairs; ADD_POST does not come for a refused pipe. */
static void
pipe_changed(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    if (event == NNG_PIPE_EV_ADD_PRE) {
        pipe_came(arg, pipe);
    } else {
        pipe_went(arg, pipe);
    }
}

/* NNG leaves Nagle's algorithm on and keepalive off. */
int
link_tls_dialer(nng_dialer dialer, nng_tls_config *config)
{
    int rv = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config);

    if (rv == 0) {
        rv = nng_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true);
    }
    if (rv == 0) {
        rv = nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
    }
    return rv;
}

static int
link_start(struct link *link)
{
    nng_dialer dialer;
    int rv = nng_dialer_create(&dialer, link->socket, link->url);

    if (rv == 0) {
        atomic_store(&link->dialer, (unsigned)nng_dialer_id(dialer));
        rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    }
    if (rv == 0) {
        rv = nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    }
    if (rv == 0 && link->reach == REACH_TLS) {
        rv = link_tls_dialer(dialer, link->runner->tls->clients[link->host]);
    }
    return rv != 0 ? rv : nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
}

void
link_restart(struct link *link)
{
    nng_dialer old = {.id = atomic_load(&link->dialer)};

    link->faults = (struct faults){0};
    nng_dialer_close(old);
    if (link_start(link) != 0) {
        an_log(AN_LOG_ERROR, link->inst->who, "cannot dial %s", link->url);
    }
}

int
link_dial(struct link *link, struct instance *inst, nng_socket socket, struct an_addr to,
          const uint16_t *gate, struct link *first)
{
    struct an_runner *runner = inst->runner;
    const struct an_places *places = runner->cfg.places;
    int rv = 0;

    link->runner = runner;
    link->inst = inst;
    link->to = to;
    link->reach = reach_of(runner, to);
    link->host = places == NULL ? HOST_NONE : an_place_of(places, to)->host;
    link->socket = socket;
    link_url(&runner->cfg, link->reach, to, gate, link->url);
    if (first == link) {
        rv = nng_pipe_notify(socket, NNG_PIPE_EV_ADD_PRE, pipe_changed, link);
        if (rv == 0) {
            rv = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, pipe_changed, link);
        }
    }
    return rv != 0 ? rv : link_start(link);
}

/* ------------------------------------------------------------------ listening */

static int
ear_options(const struct an_runner *runner, struct ear *ear)
{
    int rv;

    if (ear->reach == REACH_IPC) {
        return nng_listener_set_int(ear->listener, NNG_OPT_IPC_PERMISSIONS, SOCKET_MODE);
    }
    if (ear->reach == REACH_INPROC) {
        return 0;
    }
    rv = nng_listener_set_ptr(ear->listener, NNG_OPT_TLS_CONFIG, runner->tls->server);
    if (rv == 0) {
        rv = nng_listener_set_bool(ear->listener, NNG_OPT_TCP_NODELAY, true);
    }
    if (rv == 0) {
        rv = nng_listener_set_bool(ear->listener, NNG_OPT_TCP_KEEPALIVE, true);
    }
    return rv;
}

static uint16_t
url_port(const char *url)
{
    return (uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10);
}

static int
ear_open(struct instance *inst, nng_socket socket, const uint16_t *gate, enum reach reach,
         struct ear *ear, char *why, size_t why_len)
{
    int rv;

    ear->reach = reach;
    link_url(&inst->runner->cfg, reach, inst->addr, gate, ear->url);
    rv = nng_listener_create(&ear->listener, socket, ear->url);
    if (rv == 0) {
        rv = ear_options(inst->runner, ear);
    }
    if (rv == 0) {
        rv = nng_listener_start(ear->listener, 0);
    }
    if (rv != 0) {
        snprintf(why, why_len, "cannot listen on %s: %s", ear->url, nng_strerror(rv));
    } else if (reach == REACH_TLS) {
        links_watch_host(url_port(ear->url));
    }
    return rv;
}

/* How the others look for this instance's mailbox: bits of 1 << reach. Commands of this
 * host come over ipc, those of other hosts over TLS. */
static unsigned
askers(const struct instance *inst)
{
    const struct an_runner *runner = inst->runner;
    const struct an_topology *topology = runner->cfg.topology;
    const struct an_places *places = runner->cfg.places;
    unsigned bits = 1u << REACH_IPC;

    if (places == NULL) {
        return 1u << reach_of(runner, inst->addr);
    }
    if (places->host_count > 1 && an_place_of(places, inst->addr)->port != 0) {
        bits |= 1u << REACH_TLS;
    }
    for (uint8_t role = AN_ROLE_GATE; role <= AN_ROLE_API; role++) {
        for (uint16_t i = 0; may_ask(role, inst->addr.role) && i < topology->count[role];
             i++) {
            bits |= 1u << reach_of(runner, (struct an_addr){role, i});
        }
    }
    return bits;
}

int
links_listen(struct instance *inst, nng_socket socket, const uint16_t *gate,
             struct ear ears[EARS_MAX], char *why, size_t why_len)
{
    unsigned bits;
    size_t count = 0;
    int rv = 0;

    if (gate == NULL) {
        bits = askers(inst);
    } else {
        bits = 1u << reach_of(inst->runner, (struct an_addr){AN_ROLE_GATE, *gate});
    }
    for (unsigned reach = 0; reach < REACH_COUNT && rv == 0; reach++) {
        if ((bits & 1u << reach) != 0) {
            rv = ear_open(inst, socket, gate, (enum reach)reach, &ears[count++], why,
                          why_len);
        }
    }
    return rv;
}
