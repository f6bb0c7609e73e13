#include "cluster/keygen.h"
#include "cluster/file.h"
#include "cluster/keygen_x509.h"
#include "cluster/node_file.h"
#include "cluster/plan_priv.h"
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_LEN = PATH_MAX + 128 };

struct keys {
    const struct keygen_cfg *cfg;
    struct x509_pair ca; /* its key may be missing: then only judging is possible */
    char ca_path[PATH_MAX], ca_key[PATH_MAX];
    char *why;
    size_t why_len;
};

struct host_paths {
    char cert[PATH_MAX], key[PATH_MAX];
};

static bool
is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

__attribute__((format(printf, 2, 3))) static void
say(const struct keys *keys, const char *fmt, ...)
{
    char line[LINE_MAX_LEN];
    va_list args;

    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (keys->cfg->say != NULL) {
        keys->cfg->say(keys->cfg->ctx, line);
    }
}

/* ------------------------------------------------------------------ paths */

/* "keys/ca.pem" to "keys/ca.key" */
static bool
key_beside(const char *cert, char out[PATH_MAX])
{
    size_t len = strlen(cert);
    const char *slash = strrchr(cert, '/'), *dot = strrchr(cert, '.');

    if (dot != NULL && (slash == NULL || dot > slash + 1)) {
        len = (size_t)(dot - cert);
    }
    return snprintf(out, PATH_MAX, "%.*s.key", (int)len, cert) < PATH_MAX;
}

static bool
find_ca(struct keys *keys)
{
    const struct keygen_cfg *cfg = keys->cfg;
    bool fits =
        cfg->out != NULL
            ? snprintf(keys->ca_path, PATH_MAX, "%s/ca.pem", cfg->out) < PATH_MAX
            : snprintf(keys->ca_path, PATH_MAX, "%s", cfg->plan->tls_ca) < PATH_MAX;

    return fits && key_beside(keys->ca_path, keys->ca_key);
}

static bool
find_host(const struct keys *keys, const char *host, struct host_paths *paths)
{
    const struct keygen_cfg *cfg = keys->cfg;

    if (cfg->out != NULL) {
        return snprintf(paths->cert, PATH_MAX, "%s/%s.pem", cfg->out, host) < PATH_MAX &&
               snprintf(paths->key, PATH_MAX, "%s/%s.key", cfg->out, host) < PATH_MAX;
    }
    return plan_expand(cfg->plan->tls_cert, host, paths->cert, PATH_MAX) &&
           plan_expand(cfg->plan->tls_key, host, paths->key, PATH_MAX);
}

static bool
same(const char *path, const struct host_paths *paths)
{
    return strcmp(path, paths->cert) == 0 || strcmp(path, paths->key) == 0;
}

/* No file of this host may be the CA's, the other of its two, or a former host's. */
static enum an_err
check_paths(struct keys *keys, uint16_t host, const struct host_paths *paths)
{
    const struct an_host *hosts = keys->cfg->plan->places.hosts;

    if (strcmp(paths->cert, paths->key) == 0 || same(keys->ca_path, paths) ||
        same(keys->ca_key, paths)) {
        snprintf(keys->why, keys->why_len, "host %s: %s would be two files",
                 hosts[host].name,
                 same(keys->ca_path, paths)  ? keys->ca_path
                 : same(keys->ca_key, paths) ? keys->ca_key
                                             : paths->key);
        return AN_ERR_CONFIG;
    }
    for (uint16_t i = 0; i < host; i++) {
        struct host_paths other;

        if (find_host(keys, hosts[i].name, &other) &&
            (same(other.cert, paths) || same(other.key, paths))) {
            snprintf(keys->why, keys->why_len,
                     "hosts %s and %s would have one file, %s: write %%h in tls, or "
                     "choose a directory with --out",
                     hosts[i].name, hosts[host].name,
                     same(other.cert, paths) ? other.cert : other.key);
            return AN_ERR_CONFIG;
        }
    }
    return AN_OK;
}

static enum an_err
check_all(struct keys *keys)
{
    const struct an_places *places = &keys->cfg->plan->places;
    enum an_err err = AN_OK;

    if (!find_ca(keys)) {
        snprintf(keys->why, keys->why_len, "the CA's files' names are too long");
        return AN_ERR_CONFIG;
    }
    for (uint16_t i = 0; err == AN_OK && i < places->host_count; i++) {
        struct host_paths paths;

        if (!find_host(keys, places->hosts[i].name, &paths)) {
            snprintf(keys->why, keys->why_len, "host %s: its files' names are too long",
                     places->hosts[i].name);
            return AN_ERR_CONFIG;
        }
        err = check_paths(keys, i, &paths);
    }
    return err;
}

/* ------------------------------------------------------------------ files */

/* A private file that was kept, and others may read. */
static void
warn_open(const struct keys *keys, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
        say(keys, "warning: %s is open to others (mode %03o): chmod 600 it", path,
            (unsigned)st.st_mode & 0777u);
    }
}

/* The directories above a file, 0700 where they are missing. */
static enum an_err
make_parents(struct keys *keys, const char *path)
{
    char dir[PATH_MAX];

    snprintf(dir, sizeof(dir), "%s", path);
    for (char *at = strchr(dir + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
            snprintf(keys->why, keys->why_len, "%s: %s", dir, strerror(errno));
            return AN_ERR_IO;
        }
        *at = '/';
    }
    return AN_OK;
}

/* The key first: a certificate that is there has its key. */
static enum an_err
save_pair(struct keys *keys, const struct x509_pair *pair, const char *cert_path,
          const char *key_path)
{
    char pem[X509_PEM_MAX];
    size_t len = x509_key_pem(pair, pem);
    enum an_err err = make_parents(keys, key_path);

    if (err == AN_OK) {
        err = make_parents(keys, cert_path);
    }
    if (err == AN_OK && len == 0) {
        err = AN_ERR_NO_MEMORY;
    }
    if (err == AN_OK) {
        err = file_replace(key_path, 0600, pem, len, keys->why, keys->why_len);
    }
    sodium_memzero(pem, sizeof(pem));
    if (err != AN_OK) {
        return err;
    }
    len = x509_cert_pem(pair, pem);
    return len == 0 ? AN_ERR_NO_MEMORY
                    : file_replace(cert_path, 0644, pem, len, keys->why, keys->why_len);
}

/* ------------------------------------------------------------------ CA, hosts, token */

static enum an_err
take_ca(struct keys *keys)
{
    const char *flaw;
    char until[X509_DATE_LEN];
    bool has_key = is_there(keys->ca_key), made = false;
    enum an_err err;

    if (is_there(keys->ca_path)) {
        err = x509_load(&keys->ca, keys->ca_path, has_key ? keys->ca_key : NULL,
                        keys->why, keys->why_len);
    } else if (has_key) {
        snprintf(keys->why, keys->why_len,
                 "%s is there but %s is not: put it back, or take the key away for a new "
                 "CA",
                 keys->ca_key, keys->ca_path);
        return AN_ERR_CONFIG;
    } else {
        made = true;
        err = x509_make_ca(&keys->ca, keys->cfg->plan->cluster);
        if (err == AN_OK) {
            err = save_pair(keys, &keys->ca, keys->ca_path, keys->ca_key);
        }
    }
    if (err != AN_OK) {
        return err;
    }
    flaw = x509_flaw(&keys->ca, &keys->ca, NULL);
    if (flaw != NULL) {
        snprintf(keys->why, keys->why_len, "%s: %s", keys->ca_path, flaw);
        return AN_ERR_CONFIG;
    }
    x509_until(&keys->ca, until);
    say(keys, "%s %s, the CA of cluster %s, good until %s", made ? "made" : "kept",
        keys->ca_path, keys->cfg->plan->cluster, until);
    if (made) {
        say(keys, "made %s, which only keygen needs: keep it safe, give it to no host",
            keys->ca_key);
    }
    warn_open(keys, keys->ca_key);
    return AN_OK;
}

/* What is there of a host: judged, not touched. */
static enum an_err
keep_host(struct keys *keys, const char *host, const struct host_paths *paths)
{
    struct x509_pair pair = {0};
    char until[X509_DATE_LEN];
    const char *flaw;
    enum an_err err = x509_load(&pair, paths->cert, paths->key, keys->why, keys->why_len);

    if (err != AN_OK) {
        return err;
    }
    flaw = x509_flaw(&pair, &keys->ca, host);
    x509_until(&pair, until);
    x509_fini(&pair);
    if (flaw != NULL) {
        snprintf(keys->why, keys->why_len, "%s: %s; --renew --host %s makes it anew",
                 paths->cert, flaw, host);
        return AN_ERR_CONFIG;
    }
    say(keys, "kept %s and its key, good until %s", paths->cert, until);
    warn_open(keys, paths->key);
    return AN_OK;
}

static enum an_err
make_host(struct keys *keys, const char *host, const struct host_paths *paths)
{
    struct x509_pair pair = {0};
    char until[X509_DATE_LEN];
    enum an_err err;

    if (keys->ca.key == NULL) {
        snprintf(keys->why, keys->why_len,
                 "host %s needs a certificate, and there is no %s to sign it with: run "
                 "this where that is",
                 host, keys->ca_key);
        return AN_ERR_CONFIG;
    }
    err = x509_make_host(&pair, &keys->ca, keys->cfg->plan->cluster, host);
    if (err == AN_OK) {
        err = save_pair(keys, &pair, paths->cert, paths->key);
    }
    if (err == AN_OK) {
        x509_until(&pair, until);
        say(keys, "made %s and its key, good until %s", paths->cert, until);
    }
    x509_fini(&pair);
    return err;
}

static enum an_err
take_host(struct keys *keys, uint16_t index)
{
    const char *host = keys->cfg->plan->places.hosts[index].name;
    struct host_paths paths;
    bool cert, key;

    (void)find_host(keys, host, &paths); /* check_all saw that they fit */
    cert = is_there(paths.cert);
    key = is_there(paths.key);
    if (keys->cfg->renew || (!cert && !key)) {
        return make_host(keys, host, &paths);
    }
    if (cert != key) {
        snprintf(
            keys->why, keys->why_len,
            "%s is there but %s is not: put it back, or --renew --host %s makes both "
            "anew",
            cert ? paths.cert : paths.key, cert ? paths.key : paths.cert, host);
        return AN_ERR_CONFIG;
    }
    return keep_host(keys, host, &paths);
}

static enum an_err
take_token(struct keys *keys)
{
    const struct keygen_cfg *cfg = keys->cfg;
    struct an_token_key key;
    char path[PATH_MAX];
    bool made,
        fits = cfg->out != NULL
                   ? snprintf(path, PATH_MAX, "%s/token.json", cfg->out) < PATH_MAX
                   : snprintf(path, PATH_MAX, "%s", cfg->plan->token_key) < PATH_MAX;
    enum an_err err;

    if (!fits) {
        snprintf(keys->why, keys->why_len, "the token key's name is too long");
        return AN_ERR_CONFIG;
    }
    made = !is_there(path);
    if (!made) {
        err = node_key_read(&key, path, keys->why, keys->why_len);
    } else {
        node_key_make(&key);
        err = make_parents(keys, path);
        if (err == AN_OK) {
            err = node_key_write(&key, path, keys->why, keys->why_len);
        }
    }
    sodium_memzero(&key, sizeof(key));
    if (err == AN_OK) {
        say(keys, "%s %s, the key of login tokens", made ? "made" : "kept", path);
        warn_open(keys, path);
    }
    return err;
}

/* One for all gates, unless the path has %h. */
static enum an_err
take_noise(struct keys *keys, const char *host)
{
    const struct keygen_cfg *cfg = keys->cfg;
    const char *name = cfg->plan->settings.gate_noise_key;
    const bool each = strstr(name, "%h") != NULL;
    char path[PATH_MAX], public[AN_NOISE_TEXT_MAX];
    struct an_noise_key key;
    bool made;
    enum an_err err;

    if (cfg->out == NULL ? !plan_expand(name, host, path, sizeof(path))
                         : snprintf(path, sizeof(path), "%s/%s%snoise.json", cfg->out,
                                    each ? host : "", each ? "-" : "") >= PATH_MAX) {
        snprintf(keys->why, keys->why_len, "the noise key's name is too long");
        return AN_ERR_CONFIG;
    }
    err = make_parents(keys, path);
    if (err == AN_OK) {
        err = node_noise_take(&key, path, &made, keys->why, keys->why_len);
    }
    if (err == AN_OK) {
        an_noise_key_print(key.public, public);
        say(keys, "%s %s, the gates' noise key; clients pin %s", made ? "made" : "kept",
            path, public);
        warn_open(keys, path);
    }
    an_noise_wipe(&key, sizeof(key));
    return err;
}

static enum an_err
take_all_noise(struct keys *keys, uint16_t only)
{
    const struct plan *plan = keys->cfg->plan;
    const bool each = strstr(plan->settings.gate_noise_key, "%h") != NULL;
    enum an_err err = AN_OK;

    if (plan->settings.gate_noise_key[0] == '\0') {
        return AN_OK;
    }
    if (!each) {
        return take_noise(keys, "");
    }
    for (uint16_t i = 0; err == AN_OK && i < plan->places.host_count; i++) {
        if (keys->cfg->host == NULL || i == only) {
            err = take_noise(keys, plan->places.hosts[i].name);
        }
    }
    return err;
}

enum an_err
keygen(const struct keygen_cfg *cfg, char *why, size_t why_len)
{
    struct keys keys = {.cfg = cfg, .why = why, .why_len = why_len};
    const struct plan *plan = cfg->plan;
    enum an_err err = AN_OK;
    uint16_t only = 0;

    if (cfg->host != NULL) {
        err = plan_host(plan, cfg->host, &only, why, why_len);
    }
    if (err == AN_OK && plan->tls_ca != NULL) {
        err = check_all(&keys);
        err = err == AN_OK ? take_ca(&keys) : err;
    }
    for (uint16_t i = 0; plan->tls_ca != NULL && i < plan->places.host_count; i++) {
        if (err == AN_OK && (cfg->host == NULL || i == only)) {
            err = take_host(&keys, i);
        }
    }
    if (err == AN_OK) {
        err = take_token(&keys);
    }
    if (err == AN_OK) {
        err = take_all_noise(&keys, only);
    }
    x509_fini(&keys.ca);
    return err;
}
