/* An actor, made from the plan's settings and its own lines in the plan. */
#include "actors/gate/gate.h"
#include "actors/gate/gate_door.h"
#include "actors/idgen/idgen.h"
#include "actors/router/router.h"
#include "actors/sequencer/sequencer.h"
#include "actors/store/store.h"
#include "cluster/data_dir.h"
#include "cluster/group_priv.h"
#include "cluster/node_file.h"
#include "core/log.h"
#include "store/files.h"
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORKER_MAX = 1023 };

uint64_t
member_seed(void)
{
    uint64_t value;

    do {
        randombytes_buf(&value, sizeof(value));
    } while (value == 0); /* some are incarnations, which 0 is not */
    return value;
}

/* Nothing may be acknowledged any more, nor tidied up. */
static void
disk_failed(void *who, const char *why)
{
    an_log(AN_LOG_ERROR, who, "the disk broke its word, stopping: %s", why);
    _exit(an_err_exit_code(AN_ERR_IO));
}

void
member_log(void *who, int level, const char *line)
{
    an_log((enum an_log_level)level, who, "%s", line);
}

static enum an_err
make_store(const struct group *group, struct member *member, struct an_actor **out,
           char *why, size_t why_len)
{
    const struct config *config = &group->cfg.plan->settings;
    const struct store_cfg cfg = {
        .index = member->placed->addr.index,
        .topology = &group->cfg.plan->topology,
        .seed = member_seed(),
        .engine = {.kind = strcmp(config->store_engine, "lmdb") == 0 ? ENGINE_LMDB
                                                                     : ENGINE_MEMORY,
                   .dir = member->placed->data,
                   .files = store_files_posix(),
                   .host = {.ctx = member->who, .fatal = disk_failed},
                   .cluster_id = group->cfg.plan->cluster,
                   .overlay_rows_max = config->store_overlay_rows_max,
                   .overlay_bytes_max = config->store_overlay_bytes_max,
                   .log_segment_bytes = config->store_log_segment_bytes,
                   .lmdb_map_bytes = config->store_lmdb_map_bytes},
        .dedupe_window_ms = config->sequencer_dedupe_window_ms,
        .page_items_max = (uint32_t)config->store_page_items_max};
    enum an_err err = data_dir_make(member->placed->data, why, why_len);

    return err == AN_OK ? store_create(out, &cfg, why, why_len) : err;
}

static enum an_err
make_sequencer(const struct group *group, const struct member *member,
               struct an_actor **out)
{
    const struct config *config = &group->cfg.plan->settings;
    const struct sequencer_cfg cfg = {
        .index = member->placed->addr.index,
        .topology = &group->cfg.plan->topology,
        .seed = member_seed(),
        .dedupe_window_ms = config->sequencer_dedupe_window_ms,
        .dedupe_rows_max = (uint32_t)config->sequencer_dedupe_rows_max,
        .convs_max = (uint32_t)config->sequencer_convs_max,
        .pending_bytes_max = (uint32_t)config->sequencer_pending_bytes_max,
        .confirm_delay_ms = (uint32_t)config->sequencer_confirm_delay_ms};

    return sequencer_create(out, &cfg);
}

static enum an_err
make_gate(const struct group *group, const struct member *member, struct an_actor **out)
{
    const struct config *config = &group->cfg.plan->settings;
    struct an_nets unlimited;
    struct gate_cfg cfg = {.index = member->placed->addr.index,
                           .topology = &group->cfg.plan->topology,
                           .seed = member_seed(),
                           .keys = group->cfg.keys,
                           .apps = &config->apps,
                           .conns_max = (uint32_t)config->gate_conns_max,
                           .heartbeat_ms = (uint32_t)config->gate_heartbeat_ms,
                           .idle_ms = (uint32_t)config->gate_idle_ms,
                           .login_timeout_ms = (uint32_t)config->gate_login_timeout_ms,
                           .output_bytes_max = (uint32_t)config->gate_output_bytes_max,
                           .sends_max = (uint32_t)config->gate_sends_max,
                           .address_conns_max = (uint32_t)config->gate_address_conns_max,
                           .rate_burst_s = (uint32_t)config->gate_rate_burst_s,
                           .unlimited = &unlimited};

#define RATE(name, of, command, what)                                                    \
    cfg.name##_per_s = (uint32_t)config->gate_##name##_per_s;
    GATE_RATES(RATE)
#undef RATE
    if (!an_nets_parse(&unlimited, config->gate_unlimited)) {
        return AN_ERR_CONFIG; /* config_take has judged it */
    }
    return gate_create(out, &cfg);
}

static enum an_err
make_idgen(const struct group *group, const struct member *member, struct an_actor **out,
           char *why, size_t why_len)
{
    const struct config *config = &group->cfg.plan->settings;
    const uint64_t worker = config->idgen_worker + member->placed->addr.index;
    const struct idgen_cfg cfg = {.index = member->placed->addr.index,
                                  .topology = &group->cfg.plan->topology,
                                  .seed = member_seed(),
                                  .worker = (uint16_t)worker,
                                  .reserve_ms = (uint32_t)config->idgen_reserve_ms,
                                  .segment = (uint32_t)config->idgen_segment};

    if (worker > WORKER_MAX) {
        snprintf(why, why_len, "%s: its worker number would be %llu, beyond %d",
                 member->who, (unsigned long long)worker, WORKER_MAX);
        return AN_ERR_CONFIG;
    }
    return idgen_create(out, &cfg);
}

static enum an_err
make_router(const struct group *group, const struct member *member, struct an_actor **out)
{
    const struct router_cfg cfg = {
        .index = member->placed->addr.index,
        .topology = &group->cfg.plan->topology,
        .seed = member_seed(),
        .heartbeat_ms = (uint32_t)group->cfg.plan->settings.gate_heartbeat_ms,
        .apps = &group->cfg.plan->settings.apps};

    return router_create(out, &cfg);
}

enum an_err
member_make(const struct group *group, struct member *member, struct an_actor **out,
            char *why, size_t why_len)
{
    snprintf(why, why_len, "%s could not be made", member->who);
    switch (member->placed->addr.role) {
    case AN_ROLE_STORE:
        return make_store(group, member, out, why, why_len);
    case AN_ROLE_IDGEN:
        return make_idgen(group, member, out, why, why_len);
    case AN_ROLE_SEQUENCER:
        return make_sequencer(group, member, out);
    case AN_ROLE_ROUTER:
        return make_router(group, member, out);
    case AN_ROLE_API:
        return member_make_api(group, member, out);
    case AN_ROLE_GATE:
        return make_gate(group, member, out);
    default:
        return AN_ERR_INTERNAL;
    }
}

const char *
member_file(const struct plan *plan, const struct member *member, const char *text,
            char *out)
{
    const char *host = plan->places.host_count == 0
                           ? "%h" /* a single node: as it is written */
                           : plan->places.hosts[member->placed->host].name;

    if (text[0] == '\0') {
        return NULL;
    }
    return plan_expand(text, host, out, AN_PATH_LEN_MAX) ? out : text;
}

enum an_err
member_judge_listen(const struct config *config, const char *url, bool http, char *why,
                    size_t why_len)
{
    struct an_listen listen;
    const char *refusal;

    if (!an_listen_read(&listen, url, http, why, why_len)) {
        return AN_ERR_CONFIG;
    }
    refusal = config_listen_refusal(config, &listen);
    if (refusal != NULL) {
        snprintf(why, why_len, "listen: %s: %s", url, refusal);
        return AN_ERR_CONFIG;
    }
    return AN_OK;
}

/* A secret that others may read is used all the same, and said. */
static void
warn_if_open(const struct member *member, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
        an_log(AN_LOG_WARN, member->who, "%s is open to others (mode %03o): chmod 600 it",
               path, (unsigned)st.st_mode & 0777u);
    }
}

static enum an_err
read_noise_key(const struct plan *plan, const struct member *member,
               struct an_noise_key *key, char *why, size_t why_len)
{
    char text[AN_PATH_LEN_MAX];
    const char *path = member_file(plan, member, plan->settings.gate_noise_key, text);
    enum an_err err = node_noise_read(key, path, why, why_len);

    if (err == AN_ERR_NOT_FOUND) {
        snprintf(why, why_len,
                 "gate.noise_key: %s: there is none; `anser cluster keygen` "
                 "makes it",
                 path);
        return AN_ERR_CONFIG;
    }
    if (err == AN_OK) {
        warn_if_open(member, path);
    }
    return err;
}

enum an_err
member_make_door(const struct group *group, struct member *member, char *why,
                 size_t why_len)
{
    const struct plan *plan = group->cfg.plan;
    const struct config *config = &plan->settings;
    const struct plan_actor *placed = member->placed;
    char cert[AN_PATH_LEN_MAX], key[AN_PATH_LEN_MAX], ca[AN_PATH_LEN_MAX];
    struct an_noise_key noise_key;
    struct an_nets unlimited;
    struct gate_door_cfg cfg = {
        .listen_count = placed->listen_count,
        .handshake_ms = (uint32_t)config->gate_handshake_ms,
        .handshakes_max = (uint32_t)config->gate_handshakes_max,
        .accept_per_s = (uint32_t)config->gate_accept_per_s,
        .accept_burst = (uint32_t)config->gate_accept_burst,
        .tls_cert = member_file(plan, member, config->gate_tls_cert, cert),
        .tls_key = member_file(plan, member, config->gate_tls_key, key),
        .tls_client_ca = member_file(plan, member, config->gate_tls_client_ca, ca),
        .unlimited = &unlimited,
        .origins = config->gate_origins,
        .log = member_log,
        .log_ctx = member->who};
    enum an_err err = AN_OK;

    _Static_assert((int)PLAN_LISTEN_MAX <= (int)GATE_DOOR_LISTEN_MAX,
                   "a door takes them all");
    if (!an_nets_parse(&unlimited, config->gate_unlimited)) {
        return AN_ERR_CONFIG; /* config_take has judged it */
    }
    for (unsigned i = 0; err == AN_OK && i < placed->listen_count; i++) {
        err = member_judge_listen(config, placed->listen[i], false, why, why_len);
        cfg.listen[i] = placed->listen[i];
    }
    if (err == AN_OK && plan_listens_with(placed, AN_COVER_NOISE)) {
        err = read_noise_key(plan, member, &noise_key, why, why_len);
        cfg.noise_key = &noise_key;
    }
    if (err == AN_OK && plan_listens_with(placed, AN_COVER_TLS)) {
        warn_if_open(member, cfg.tls_key);
    }
    if (err == AN_OK) {
        err = gate_door_create(&member->new_door, &cfg, why, why_len);
    }
    an_noise_wipe(&noise_key, sizeof(noise_key));
    return err;
}
