#include "cluster/plan.h"
#include "cluster/plan_priv.h"
#include "core/token.h"
#include "proto/names.h"
#include <errno.h>
#include <ifaddrs.h>
#include <libgen.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char TOKEN_KEY[] = "keys/token.json";

/* ------------------------------------------------------------------ top keys */

/* A path of the file, made absolute; the default, or NULL, where it says none. */
static enum an_err
read_path(const struct reading *r, struct an_yaml_at at, const char *otherwise,
          char **out)
{
    const char *text = otherwise;
    enum an_err err = an_yaml_there(at) ? an_yaml_text(at, &text) : AN_OK;

    if (err != AN_OK || text == NULL) {
        return err;
    }
    *out = plan_path(r->dir, text);
    return *out == NULL ? AN_ERR_NO_MEMORY : AN_OK;
}

static enum an_err
read_tls(struct reading *r)
{
    static const char *const known[] = {"ca", "cert", "key", NULL};
    struct plan *plan = r->plan;
    struct an_yaml_at tls = an_yaml_find(r->top, "tls");
    char **const to[] = {&plan->tls_ca, &plan->tls_cert, &plan->tls_key};
    enum an_err err;

    if (!an_yaml_there(tls)) {
        return plan->places.host_count == 1
                   ? AN_OK
                   : an_yaml_refuse(r->hosts,
                                    "%u hosts, so there must be "
                                    "tls: {ca, cert, key}",
                                    (unsigned)plan->places.host_count);
    }
    err = an_yaml_map(tls, known);
    for (unsigned i = 0; err == AN_OK && i < 3; i++) {
        struct an_yaml_at at = an_yaml_find(tls, known[i]);
        char path[AN_PATH_LEN_MAX];

        err = an_yaml_there(at) ? read_path(r, at, NULL, to[i])
                                : an_yaml_refuse(at, "missing");
        for (unsigned h = 0; err == AN_OK && h < plan->places.host_count; h++) {
            if (!plan_expand(*to[i], plan->places.hosts[h].name, path, sizeof(path))) {
                err = an_yaml_refuse(at, "a path longer than %d bytes",
                                     AN_PATH_LEN_MAX - 1);
            }
        }
    }
    return err;
}

static enum an_err
read_app(struct reading *r)
{
    struct an_yaml_at at = an_yaml_find(r->top, "app");
    const char *text = AN_APP_DEFAULT;
    enum an_err err = an_yaml_there(at) ? an_yaml_text(at, &text) : AN_OK;

    if (err == AN_OK && !an_name_valid((const uint8_t *)text, strlen(text))) {
        err = an_yaml_refuse(at, "'%.64s' is no name of an app", text);
    }
    return err == AN_OK ? config_set_text(&r->plan->app, text) : err;
}

/* As every path of the file; %h stays until a host is known. */
static enum an_err
place_files(const struct reading *r, struct config *settings)
{
    char **const files[] = {&settings->gate_tls_cert, &settings->gate_tls_key,
                            &settings->gate_tls_client_ca, &settings->gate_noise_key};

    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *path = *files[i][0] == '\0' ? NULL : plan_path(r->dir, *files[i]);

        if (path == NULL && *files[i][0] != '\0') {
            return AN_ERR_NO_MEMORY;
        }
        if (path != NULL) {
            free(*files[i]);
            *files[i] = path;
        }
    }
    for (unsigned i = 0; i < settings->key_count; i++) {
        char *path = plan_path(r->dir, settings->keys[i].file);

        if (path == NULL) {
            return AN_ERR_NO_MEMORY;
        }
        free(settings->keys[i].file);
        settings->keys[i].file = path;
    }
    return AN_OK;
}

static enum an_err
read_settings(struct reading *r)
{
    struct an_yaml_at at = an_yaml_find(r->top, "settings");
    struct plan *plan = r->plan;
    enum an_err err = config_init(&plan->settings);

    if (err == AN_OK && an_yaml_there(at)) {
        err = config_take(&plan->settings, at, true);
    }
    if (err == AN_OK) {
        err = place_files(r, &plan->settings);
    }
    if (err == AN_OK &&
        plan->settings.idgen_worker + plan->topology.count[AN_ROLE_IDGEN] > 1024) {
        at = an_yaml_find(an_yaml_find(at, "idgen"), "worker");
        err = an_yaml_refuse(at, "with %u idgens above it, it is %u at the most",
                             (unsigned)plan->topology.count[AN_ROLE_IDGEN],
                             1024 - (unsigned)plan->topology.count[AN_ROLE_IDGEN]);
    }
    return err;
}

static enum an_err
read_bus_port(struct reading *r)
{
    struct an_yaml_at at = an_yaml_find(r->top, "bus_port");
    uint64_t port = PLAN_BUS_PORT;
    enum an_err err = an_yaml_there(at) ? an_yaml_number(at, 1, 65535, &port) : AN_OK;

    r->bus_port = (uint16_t)port;
    return err;
}

static enum an_err
read_all(struct reading *r)
{
    static const char *const known[] = {"cluster",  "hosts",     "actors", "tls",
                                        "bus_port", "token_key", "app",    "run",
                                        "settings", NULL};
    enum an_err err = an_yaml_map(r->top, known);

    if (err == AN_OK) {
        err = plan_read_name(an_yaml_find(r->top, "cluster"), r->plan->cluster);
    }
    if (err == AN_OK) {
        err = plan_read_hosts(r);
    }
    if (err == AN_OK) {
        err = read_tls(r);
    }
    if (err == AN_OK) {
        err = read_bus_port(r);
    }
    if (err == AN_OK) {
        err = plan_read_actors(r);
    }
    if (err == AN_OK) {
        err = plan_read_places(r);
    }
    if (err == AN_OK) {
        err = read_path(r, an_yaml_find(r->top, "token_key"), TOKEN_KEY,
                        &r->plan->token_key);
    }
    if (err == AN_OK) {
        err = read_app(r);
    }
    if (err == AN_OK) {
        err = read_path(r, an_yaml_find(r->top, "run"), NULL, &r->plan->run_dir);
    }
    if (err == AN_OK) {
        err = read_settings(r);
    }
    return err == AN_OK ? plan_check(r) : err;
}

/* ------------------------------------------------------------------ whole files */

enum an_err
plan_parse(struct plan **out, const char *name, const char *dir, const char *text,
           size_t len, char *why, size_t why_len)
{
    struct reading r = {.plan = calloc(1, sizeof(*r.plan)), .dir = dir};
    struct an_yaml *doc = NULL;
    enum an_err err = r.plan == NULL ? AN_ERR_NO_MEMORY
                                     : an_yaml_parse(&doc, name, text, len, why, why_len);

    if (err == AN_OK) {
        r.top = an_yaml_root(doc);
        r.top.line = 1;
        err = an_yaml_there(r.top) ? read_all(&r) : an_yaml_refuse(r.top, "empty");
    }
    an_yaml_free(doc);
    if (err != AN_OK) {
        plan_free(r.plan);
        return err;
    }
    *out = r.plan;
    return AN_OK;
}

enum an_err
plan_load(struct plan **out, const char *path, char *why, size_t why_len)
{
    char real[PATH_MAX];
    char *text;
    size_t len;
    enum an_err err = an_yaml_file(&text, &len, path, why, why_len);

    if (err != AN_OK) {
        return err;
    }
    if (realpath(path, real) == NULL) {
        snprintf(why, why_len, "%s: %s", path, strerror(errno));
        err = AN_ERR_IO;
    } else {
        err = plan_parse(out, path, dirname(real), text, len, why, why_len);
    }
    free(text);
    return err;
}

void
plan_free(struct plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (unsigned i = 0; i < plan->actor_count; i++) {
        for (unsigned j = 0; j < plan->actors[i].listen_count; j++) {
            free(plan->actors[i].listen[j]);
        }
        free(plan->actors[i].data);
    }
    for (unsigned role = 0; role < AN_ROLE_COUNT; role++) {
        free(plan->places.of[role]);
    }
    free(plan->actors);
    free(plan->processes);
    free(plan->places.hosts);
    free(plan->token_key);
    free(plan->app);
    free(plan->run_dir);
    free(plan->tls_ca);
    free(plan->tls_cert);
    free(plan->tls_key);
    config_fini(&plan->settings);
    free(plan);
}

/* ------------------------------------------------------------------ looking up */

bool
plan_listens_with(const struct plan_actor *gate, enum an_cover cover)
{
    for (unsigned i = 0; i < gate->listen_count; i++) {
        struct an_listen listen;

        if (an_listen_parse(&listen, gate->listen[i]) &&
            an_scheme_cover(listen.scheme) == cover) {
            return true;
        }
    }
    return false;
}

const struct plan_actor *
plan_actor_find(const struct plan *plan, struct an_addr addr)
{
    for (unsigned i = 0; i < plan->actor_count; i++) {
        const struct plan_actor *actor = &plan->actors[i];
        if (actor->addr.role == addr.role && actor->addr.index == addr.index) {
            return actor;
        }
    }
    return NULL;
}

enum an_err
plan_actor_parse(const struct plan *plan, const char *text, const struct plan_actor **out,
                 char *why, size_t why_len)
{
    struct an_addr addr;

    if (!plan_addr_parse(text, &addr)) {
        snprintf(why, why_len, "'%.40s' is no actor: write gate/0", text);
        return AN_ERR_ARGUMENT;
    }
    *out = plan_actor_find(plan, addr);
    if (*out == NULL) {
        snprintf(why, why_len, "the file has no %s", text);
        return AN_ERR_NOT_FOUND;
    }
    return AN_OK;
}

/* Is one of the machine's interfaces at this address? */
static bool
is_here(const struct ifaddrs *list, const struct sockaddr *address)
{
    for (; list != NULL; list = list->ifa_next) {
        const struct sockaddr *one = list->ifa_addr;

        if (one == NULL || one->sa_family != address->sa_family) {
            continue;
        }
        if (one->sa_family == AF_INET &&
            memcmp(&((const struct sockaddr_in *)(const void *)one)->sin_addr,
                   &((const struct sockaddr_in *)(const void *)address)->sin_addr,
                   sizeof(struct in_addr)) == 0) {
            return true;
        }
        if (one->sa_family == AF_INET6 &&
            memcmp(&((const struct sockaddr_in6 *)(const void *)one)->sin6_addr,
                   &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
                   sizeof(struct in6_addr)) == 0) {
            return true;
        }
    }
    return false;
}

static bool
host_is_here(const struct an_host *host, const struct ifaddrs *list)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    bool here = false;

    if (getaddrinfo(host->address, NULL, &hints, &found) != 0) {
        return false;
    }
    for (const struct addrinfo *one = found; one != NULL && !here; one = one->ai_next) {
        here = is_here(list, one->ai_addr);
    }
    freeaddrinfo(found);
    return here;
}

static enum an_err
host_by_address(const struct plan *plan, uint16_t *host, char *why, size_t why_len)
{
    struct ifaddrs *list;
    int found = -1;
    enum an_err err = AN_OK;

    if (getifaddrs(&list) != 0) {
        snprintf(why, why_len, "this machine's addresses: %s", strerror(errno));
        return AN_ERR_IO;
    }
    for (uint16_t i = 0; err == AN_OK && i < plan->places.host_count; i++) {
        if (!host_is_here(&plan->places.hosts[i], list)) {
            continue;
        }
        if (found >= 0) {
            snprintf(why, why_len,
                     "hosts %s and %s both have an address of this machine: name one "
                     "with --host",
                     plan->places.hosts[found].name, plan->places.hosts[i].name);
            err = AN_ERR_CONFIG;
        }
        found = i;
    }
    freeifaddrs(list);
    if (err == AN_OK && found < 0) {
        snprintf(why, why_len,
                 "no host of the file has an address of this machine: name "
                 "one with --host");
        err = AN_ERR_CONFIG;
    }
    *host = (uint16_t)found;
    return err;
}

enum an_err
plan_host(const struct plan *plan, const char *name, uint16_t *host, char *why,
          size_t why_len)
{
    if (name == NULL && plan->places.host_count == 1) {
        *host = 0;
        return AN_OK;
    }
    if (name == NULL) {
        return host_by_address(plan, host, why, why_len);
    }
    for (uint16_t i = 0; i < plan->places.host_count; i++) {
        if (strcmp(plan->places.hosts[i].name, name) == 0) {
            *host = i;
            return AN_OK;
        }
    }
    snprintf(why, why_len, "the file has no host '%.40s'", name);
    return AN_ERR_CONFIG;
}

/* ------------------------------------------------------------------ of one host */

enum an_err
plan_tls(struct plan *plan, uint16_t host, char *why, size_t why_len)
{
    const char *name = plan->places.hosts[host].name;
    const struct {
        const char *from;
        char *to;
    } files[] = {{plan->tls_ca, plan->places.ca},
                 {plan->tls_cert, plan->places.cert},
                 {plan->tls_key, plan->places.key}};

    if (plan->places.host_count == 1) {
        return AN_OK;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!plan_expand(files[i].from, name, files[i].to, AN_PATH_LEN_MAX)) {
            snprintf(why, why_len, "%s: too long", files[i].from);
            return AN_ERR_CONFIG;
        }
        if (access(files[i].to, R_OK) != 0) {
            snprintf(why, why_len, "%s: %s; `anser cluster keygen` makes it", files[i].to,
                     strerror(errno));
            return AN_ERR_CONFIG;
        }
    }
    return AN_OK;
}

void
plan_run_dir(const struct plan *plan, uint16_t host, char *out, size_t len)
{
    const char *name = plan->places.hosts[host].name;

    if (plan->run_dir != NULL) {
        /* plan_check saw that it fits. */
        (void)plan_expand(plan->run_dir, name, out, len);
    } else if (geteuid() == 0) {
        snprintf(out, len, "/run/anser-%s-%s", plan->cluster, name);
    } else {
        snprintf(out, len, "/tmp/anser-%u-%s-%s", (unsigned)geteuid(), plan->cluster,
                 name);
    }
}

enum an_err
plan_run_dir_make(const struct plan *plan, uint16_t host, char *out, size_t len,
                  char *why, size_t why_len)
{
    struct stat st;

    plan_run_dir(plan, host, out, len);
    if (mkdir(out, 0700) != 0 && errno != EEXIST) {
        snprintf(why, why_len, "%s: %s", out, strerror(errno));
        return errno == ENOSPC || errno == EDQUOT ? AN_ERR_DISK_FULL : AN_ERR_IO;
    }
    if (lstat(out, &st) != 0) {
        snprintf(why, why_len, "%s: %s", out, strerror(errno));
        return AN_ERR_IO;
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        snprintf(why, why_len, "%s: %s", out,
                 !S_ISDIR(st.st_mode)     ? "not a directory"
                 : st.st_uid != geteuid() ? "belongs to another user"
                                          : "open to other users; it must be mode 0700");
        return AN_ERR_FORBIDDEN;
    }
    return AN_OK;
}

char *
plan_client_url(const struct an_host *host, const char *listen)
{
    const char *at = strstr(listen, "://"), *port = strrchr(listen, ':');
    bool v6 = strchr(host->address, ':') != NULL;
    char *out = NULL;
    size_t len;

    if (at == NULL || port <= at || strcmp(port, ":0") == 0) {
        return NULL;
    }
    len = (size_t)(port - (at + 3));
    if ((len == 7 && memcmp(at + 3, "0.0.0.0", 7) == 0) ||
        (len == 4 && memcmp(at + 3, "[::]", 4) == 0)) {
        return asprintf(&out, "%.*s%s%s%s%s", (int)(at + 3 - listen), listen,
                        v6 ? "[" : "", host->address, v6 ? "]" : "", port) < 0
                   ? NULL
                   : out;
    }
    return strdup(listen);
}
