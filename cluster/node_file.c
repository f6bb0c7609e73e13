#include "cluster/node_file.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_MAX_LEN = 4096, VERSION = 1, KEY_ID_BYTES = 4 };

static const int BASE64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

void
node_file_make(struct node_file *file)
{
    unsigned char cluster[NODE_CLUSTER_LEN / 2], id[KEY_ID_BYTES];

    *file = (struct node_file){0};
    randombytes_buf(cluster, sizeof(cluster));
    sodium_bin2hex(file->cluster, sizeof(file->cluster), cluster, sizeof(cluster));
    randombytes_buf(id, sizeof(id));
    file->key.id[0] = 'k';
    sodium_bin2hex(file->key.id + 1, 2 * sizeof(id) + 1, id, sizeof(id));
    randombytes_buf(file->key.secret, sizeof(file->key.secret));
}

void
node_file_fini(struct node_file *file)
{
    sodium_memzero(file, sizeof(*file));
}

/* ------------------------------------------------------------------ reading */

/* False: missing, or longer than it may be. */
static bool
take_text(const json_t *object, const char *key, char *out, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL && (size_t)snprintf(out, cap, "%s", text) < cap;
}

static bool
take_key(const json_t *root, struct an_token_key *key)
{
    const json_t *object = json_object_get(root, "key");
    const char *secret = json_string_value(json_object_get(object, "secret"));
    size_t len = 0;

    return take_text(object, "id", key->id, sizeof(key->id)) && secret != NULL &&
           sodium_base642bin(key->secret, sizeof(key->secret), secret, strlen(secret),
                             NULL, &len, NULL, BASE64) == 0 &&
           len == sizeof(key->secret);
}

/* The file's JSON; NULL: *err and *why say what is wrong. */
static json_t *
load(const char *path, enum an_err *err, char *why, size_t why_len)
{
    json_error_t where;
    json_t *root;

    if (access(path, F_OK) != 0 && errno == ENOENT) {
        snprintf(why, why_len, "%s: there is none", path);
        *err = AN_ERR_NOT_FOUND;
        return NULL;
    }
    root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        snprintf(why, why_len, "%s:%d: %s", path, where.line, where.text);
        *err = json_error_code(&where) == json_error_cannot_open_file ? AN_ERR_IO
                                                                      : AN_ERR_CORRUPT;
    }
    return root;
}

enum an_err
node_file_read(struct node_file *file, const char *dir, char *why, size_t why_len)
{
    char path[PATH_MAX_LEN];
    enum an_err err;
    json_t *root;
    bool whole;

    snprintf(path, sizeof(path), "%s/node.json", dir);
    root = load(path, &err, why, why_len);
    if (root == NULL) {
        return err;
    }
    *file = (struct node_file){0};
    file->pid = (long)json_integer_value(json_object_get(root, "pid"));
    whole = json_integer_value(json_object_get(root, "version")) == VERSION &&
            take_text(root, "cluster", file->cluster, sizeof(file->cluster)) &&
            take_text(root, "tcp", file->tcp, sizeof(file->tcp)) &&
            take_text(root, "control", file->control, sizeof(file->control)) &&
            take_text(root, "events", file->events, sizeof(file->events)) &&
            take_key(root, &file->key);
    json_decref(root);
    if (!whole) {
        snprintf(why, why_len, "%s: not what version %d of it holds", path, VERSION);
        return AN_ERR_CORRUPT;
    }
    return AN_OK;
}

enum an_err
node_key_read(struct an_token_key *key, const char *path, char *why, size_t why_len)
{
    enum an_err err;
    json_t *root = load(path, &err, why, why_len);
    bool whole;

    if (root == NULL) {
        return err;
    }
    whole = take_key(root, key);
    json_decref(root);
    if (!whole) {
        snprintf(why, why_len, "%s: has no key with an id and a secret of 32 bytes",
                 path);
        return AN_ERR_CORRUPT;
    }
    return AN_OK;
}

/* ------------------------------------------------------------------ writing */

static char *
make_text(const struct node_file *file)
{
    char secret[64];
    char *text;
    json_t *root;

    sodium_bin2base64(secret, sizeof(secret), file->key.secret, sizeof(file->key.secret),
                      BASE64);
    root = json_pack("{s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:{s:s, s:s}}", "version",
                     VERSION, "cluster", file->cluster, "pid", (int)file->pid, "tcp",
                     file->tcp, "control", file->control, "events", file->events, "app",
                     AN_APP_DEFAULT, "key", "id", file->key.id, "secret", secret);
    text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    sodium_memzero(secret, sizeof(secret));
    return text;
}

static int
write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, text, len);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return -1;
        }
        text += count;
        len -= (size_t)count;
    }
    return 0;
}

static int
sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rv = fd < 0 ? -1 : fsync(fd);

    if (fd >= 0) {
        close(fd);
    }
    return rv;
}

enum an_err
node_file_write(const struct node_file *file, const char *dir, char *why, size_t why_len)
{
    char path[PATH_MAX_LEN], fresh[PATH_MAX_LEN];
    char *text = make_text(file);
    int fd = -1, rv = -1;

    if (text == NULL) {
        snprintf(why, why_len, "out of memory");
        return AN_ERR_NO_MEMORY;
    }
    snprintf(path, sizeof(path), "%s/node.json", dir);
    snprintf(fresh, sizeof(fresh), "%s/node.json.new", dir);
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && write_all(fd, text, strlen(text)) == 0 && fsync(fd) == 0 &&
        rename(fresh, path) == 0 && sync_dir(dir) == 0) {
        rv = 0;
    }
    if (rv != 0) {
        snprintf(why, why_len, "%s: %s", fresh, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    sodium_memzero(text, strlen(text));
    free(text);
    return rv == 0 ? AN_OK : errno == ENOSPC ? AN_ERR_DISK_FULL : AN_ERR_IO;
}
