/* The identity file. */
#include "store/identity.h"

#include "store/crc32c.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum an_err
identity_from_cfg(struct identity *out, const struct engine_cfg *cfg)
{
    size_t len = strlen(cfg->cluster_id);

    if (len == 0 || len > AN_NAME_LEN_MAX || cfg->slot_first > cfg->slot_last ||
        cfg->slot_last >= AN_SLOTS) {
        return AN_ERR_CONFIG;
    }
    for (size_t i = 0; i < len; i++) {
        if (cfg->cluster_id[i] <= ' ' || cfg->cluster_id[i] > '~') {
            return AN_ERR_CONFIG;
        }
    }
    *out = (struct identity){.format = STORE_FORMAT,
                             .store_id = cfg->store_id,
                             .slot_first = cfg->slot_first,
                             .slot_last = cfg->slot_last};
    snprintf(out->engine, sizeof out->engine, "%s",
             cfg->kind == ENGINE_LMDB ? "lmdb" : "memory");
    snprintf(out->cluster_id, sizeof out->cluster_id, "%s", cfg->cluster_id);
    return AN_OK;
}

static uint64_t
salt_number(const uint8_t salt[STORE_SALT_LEN])
{
    uint64_t number = 0;

    for (size_t i = 0; i < STORE_SALT_LEN; i++) {
        number = number << 8 | salt[i];
    }
    return number;
}

/* All of the text before its checksum line; returns its length. */
static size_t
format_text(const struct identity *identity, char out[IDENTITY_LEN_MAX])
{
    int len = snprintf(out, IDENTITY_LEN_MAX,
                       "anser store %" PRIu32 "\nengine %s\ncluster %s\nstore %" PRIu32
                       "\nslots %u-%u\nsalt %016" PRIx64 "\n",
                       identity->format, identity->engine, identity->cluster_id,
                       identity->store_id, identity->slot_first, identity->slot_last,
                       salt_number(identity->salt));
    return (size_t)len;
}

static size_t
format_whole(const struct identity *identity, char out[IDENTITY_LEN_MAX])
{
    size_t len = format_text(identity, out);
    int more = snprintf(out + len, IDENTITY_LEN_MAX - len, "crc32c %08" PRIx32 "\n",
                        crc32c(0, out, len));
    return len + (size_t)more;
}

enum an_err
identity_load(struct identity *out, struct store_files *files, const char *dir)
{
    char path[STORE_PATH_LEN_MAX + 16];
    char text[IDENTITY_LEN_MAX + 1] = {0};
    char again[IDENTITY_LEN_MAX];
    struct store_file *file = NULL;
    struct identity found = {0};
    uint64_t salt = 0;
    size_t len = 0;

    snprintf(path, sizeof path, "%s/identity", dir);
    enum an_err err = files->ops->open(files, path, STORE_OPEN_READ, &file);
    if (err != AN_OK) {
        return err;
    }
    err = store_file_read(file, 0, text, IDENTITY_LEN_MAX, &len);
    store_file_close(&file);
    if (err != AN_OK) {
        return err;
    }
    if (sscanf(text,
               "anser store %" SCNu32 " engine %15s cluster %64s store %" SCNu32
               " slots %" SCNu16 "-%" SCNu16 " salt %" SCNx64,
               &found.format, found.engine, found.cluster_id, &found.store_id,
               &found.slot_first, &found.slot_last, &salt) != 7) {
        return AN_ERR_CORRUPT;
    }
    for (size_t i = 0; i < STORE_SALT_LEN; i++) {
        found.salt[i] = (uint8_t)(salt >> 8 * (STORE_SALT_LEN - 1 - i));
    }
    /* What was understood, written again, must be what was there, checksum included. */
    if (format_whole(&found, again) != len || memcmp(text, again, len) != 0) {
        return AN_ERR_CORRUPT;
    }
    *out = found;
    return AN_OK;
}

enum an_err
identity_save(const struct identity *identity, struct store_files *files, const char *dir)
{
    char path[STORE_PATH_LEN_MAX + 16];
    char temp[STORE_PATH_LEN_MAX + 16];
    char text[IDENTITY_LEN_MAX];
    struct store_file *file = NULL;
    size_t len = format_whole(identity, text);

    snprintf(path, sizeof path, "%s/identity", dir);
    snprintf(temp, sizeof temp, "%s/identity.tmp", dir);
    enum an_err err = files->ops->open(files, temp, STORE_OPEN_CREATE, &file);
    if (err == AN_OK) {
        err = store_file_write(file, 0, text, len);
    }
    if (err == AN_OK) {
        err = store_file_sync(file);
    }
    store_file_close(&file);
    if (err == AN_OK) {
        err = files->ops->rename(files, temp, path);
    }
    if (err == AN_OK) {
        err = files->ops->sync_dir(files, dir);
    }
    return err;
}

enum an_err
identity_compare(const struct identity *found, const struct identity *wanted,
                 const char *dir, char *why, size_t why_len)
{
    char left[IDENTITY_LEN_MAX];
    char right[IDENTITY_LEN_MAX];

    if (found->format == wanted->format && strcmp(found->engine, wanted->engine) == 0 &&
        strcmp(found->cluster_id, wanted->cluster_id) == 0 &&
        found->store_id == wanted->store_id && found->slot_first == wanted->slot_first &&
        found->slot_last == wanted->slot_last) {
        return AN_OK;
    }
    snprintf(left, sizeof left,
             "format %" PRIu32 " engine %s cluster %s store %" PRIu32 " slots %u-%u",
             found->format, found->engine, found->cluster_id, found->store_id,
             found->slot_first, found->slot_last);
    snprintf(right, sizeof right,
             "format %" PRIu32 " engine %s cluster %s store %" PRIu32 " slots %u-%u",
             wanted->format, wanted->engine, wanted->cluster_id, wanted->store_id,
             wanted->slot_first, wanted->slot_last);
    if (why != NULL) {
        snprintf(why, why_len, "%s belongs to (%s), not to (%s)", dir, left, right);
    }
    return AN_ERR_CONFIG;
}
