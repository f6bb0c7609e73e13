/* Whose data a directory holds. The file DIR/identity, text, written once at creation. */
#ifndef AN_STORE_IDENTITY_H
#define AN_STORE_IDENTITY_H

#include "core/limits.h"
#include "store/engine.h"
#include "store/files.h"
#include "store/record.h"

#define IDENTITY_LEN_MAX 512u

struct identity {
    uint32_t format;
    char engine[16]; /* "lmdb" or "memory" */
    char cluster_id[AN_NAME_LEN_MAX + 1];
    uint32_t store_id;
    uint16_t slot_first;
    uint16_t slot_last;
    uint8_t salt[STORE_SALT_LEN];
};

/* AN_ERR_CONFIG if the configuration's values cannot be an identity. The salt stays 0. */
AN_MUST_USE enum an_err identity_from_cfg(struct identity *out,
                                          const struct engine_cfg *cfg);
/* AN_ERR_NOT_FOUND, AN_ERR_CORRUPT (text or checksum damaged). */
AN_MUST_USE enum an_err identity_load(struct identity *out, struct store_files *files,
                                      const char *dir);
/* Durably, by a temporary file and a rename. */
AN_MUST_USE enum an_err identity_save(const struct identity *identity,
                                      struct store_files *files, const char *dir);
/* AN_ERR_CONFIG with a sentence naming dir and both values if they differ; salts are not
 * compared. */
AN_MUST_USE enum an_err identity_compare(const struct identity *found,
                                         const struct identity *wanted, const char *dir,
                                         char *why, size_t why_len);

#endif
