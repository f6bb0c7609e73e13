#include "cluster/token_keys.h"
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

enum { RSA_BITS_MIN = 2048 };

/* The whole file; false when it cannot be read, or is no short text. */
static bool
file_read(const char *path, char out[AN_TOKEN_PEM_MAX])
{
    FILE *file = fopen(path, "r");
    size_t len;

    if (file == NULL) {
        return false;
    }
    len = fread(out, 1, AN_TOKEN_PEM_MAX, file);
    fclose(file);
    if (len == 0 || len == AN_TOKEN_PEM_MAX || memchr(out, 0, len) != NULL) {
        return false;
    }
    out[len] = '\0';
    return true;
}

static bool
is_p256(const EVP_PKEY *key)
{
    char group[32] = "";

    return EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

/* NULL, or what is wrong with the key. */
static const char *
key_wrong(const char *pem, enum an_token_alg alg)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    const char *wrong = NULL;

    if (key == NULL) {
        wrong = "is not the PEM of a public key";
    } else if (alg == AN_TOKEN_RS256 && (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA ||
                                         EVP_PKEY_get_bits(key) < RSA_BITS_MIN)) {
        wrong = "is not an RSA key of 2048 bits or more, as RS256 needs";
    } else if (alg == AN_TOKEN_ES256 &&
               (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || !is_p256(key))) {
        wrong = "is not a key on the curve P-256, as ES256 needs";
    }
    EVP_PKEY_free(key);
    BIO_free(bio);
    return wrong;
}

static enum an_err
key_add(struct an_token_keys *keys, const struct config_key *from, char *why,
        size_t why_len)
{
    struct an_token_key *key = &keys->key[keys->count];
    const char *wrong = NULL;

    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->key[i].id, from->id) == 0) {
            wrong = "has an id that another key has";
        }
    }
    *key = (struct an_token_key){.alg = from->alg};
    memcpy(key->id, from->id, sizeof(key->id));
    memcpy(key->app, from->app, sizeof(key->app));
    memcpy(key->issuer, from->issuer, sizeof(key->issuer));
    if (wrong == NULL && !file_read(from->file, key->pem)) {
        wrong = "cannot be read";
    }
    if (wrong == NULL) {
        wrong = key_wrong(key->pem, from->alg);
    }
    if (wrong != NULL) {
        snprintf(why, why_len, "apps: key %s of %s: %s %s", from->id, from->app,
                 from->file, wrong);
        return AN_ERR_CONFIG;
    }
    keys->count++;
    return AN_OK;
}

enum an_err
token_keys_load(struct an_token_keys *keys, const struct config *config, char *why,
                size_t why_len)
{
    enum an_err err = AN_OK;

    for (unsigned i = 0; err == AN_OK && i < config->key_count; i++) {
        err = key_add(keys, &config->keys[i], why, why_len);
    }
    return err;
}
