/* Names and order follow section 5 of the specification. */
#include "core/noise.h"
#include <assert.h>
#include <sodium.h>
#include <string.h>

enum {
    HASH_LEN = crypto_hash_sha256_BYTES,
    NONCE_LEN = crypto_aead_chacha20poly1305_ietf_NPUBBYTES,
};

_Static_assert(crypto_hash_sha256_BYTES == AN_NOISE_KEY_LEN, "SHA-256");
_Static_assert(crypto_scalarmult_BYTES == AN_NOISE_KEY_LEN, "X25519");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == AN_NOISE_TAG_LEN, "Poly1305");
_Static_assert(sizeof(AN_NOISE_PROTOCOL) - 1 == AN_NOISE_KEY_LEN,
               "the name is its own hash");

void
an_noise_wipe(void *secret, size_t len)
{
    sodium_memzero(secret, len);
}

/* ------------------------------------------------------------------ keys */

void
an_noise_key_make(struct an_noise_key *key)
{
    randombytes_buf(key->secret, sizeof(key->secret));
    an_noise_key_complete(key);
}

void
an_noise_key_complete(struct an_noise_key *key)
{
    (void)crypto_scalarmult_base(key->public, key->secret);
}

void
an_noise_key_print(const uint8_t key[AN_NOISE_KEY_LEN], char out[AN_NOISE_TEXT_MAX])
{
    sodium_bin2base64(out, AN_NOISE_TEXT_MAX, key, AN_NOISE_KEY_LEN,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool
an_noise_key_parse(uint8_t key[AN_NOISE_KEY_LEN], const char *text)
{
    static const int variants[] = {
        sodium_base64_VARIANT_URLSAFE_NO_PADDING, sodium_base64_VARIANT_URLSAFE,
        sodium_base64_VARIANT_ORIGINAL_NO_PADDING, sodium_base64_VARIANT_ORIGINAL};

    for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        size_t len = 0;

        if (sodium_base642bin(key, AN_NOISE_KEY_LEN, text, strlen(text), NULL, &len, NULL,
                              variants[i]) == 0 &&
            len == AN_NOISE_KEY_LEN) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ CipherState */

/* 32 bits of zeros, then the counter, its low byte first. */
static void
nonce_make(uint8_t out[NONCE_LEN], uint64_t count)
{
    memset(out, 0, NONCE_LEN);
    for (unsigned i = 0; i < 8; i++) {
        out[4 + i] = (uint8_t)(count >> (8 * i));
    }
}

static enum an_err
encrypt(struct an_noise_cipher *cipher, const uint8_t *ad, size_t ad_len,
        const uint8_t *plain, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_LEN];

    assert(len <= AN_NOISE_PAYLOAD_MAX);
    if (cipher->nonce == UINT64_MAX) {
        return AN_ERR_FULL;
    }
    nonce_make(nonce, cipher->nonce++);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, ad, ad_len,
                                                    NULL, nonce, cipher->key);
    return AN_OK;
}

static enum an_err
decrypt(struct an_noise_cipher *cipher, const uint8_t *ad, size_t ad_len,
        const uint8_t *message, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_LEN];

    if (len < AN_NOISE_TAG_LEN || len > AN_NOISE_MESSAGE_MAX) {
        return AN_ERR_BODY_MALFORMED;
    }
    if (cipher->nonce == UINT64_MAX) {
        return AN_ERR_FULL;
    }
    nonce_make(nonce, cipher->nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, message, len, ad,
                                                  ad_len, nonce, cipher->key) != 0) {
        return AN_ERR_TLS; /* and the nonce stays */
    }
    cipher->nonce++;
    return AN_OK;
}

enum an_err
an_noise_encrypt(struct an_noise_cipher *cipher, const uint8_t *plain, size_t len,
                 uint8_t *out)
{
    return encrypt(cipher, NULL, 0, plain, len, out);
}

enum an_err
an_noise_decrypt(struct an_noise_cipher *cipher, const uint8_t *message, size_t len,
                 uint8_t *out)
{
    return decrypt(cipher, NULL, 0, message, len, out);
}

/* ------------------------------------------------------------------ SymmetricState */

static void
hmac(uint8_t out[HASH_LEN], const uint8_t key[HASH_LEN], const void *data, size_t len,
     uint8_t last)
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key, HASH_LEN);
    crypto_auth_hmacsha256_update(&state, data, len);
    crypto_auth_hmacsha256_update(&state, &last, last == 0 ? 0 : 1);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof(state));
}

/* HKDF with two outputs. chain may be first. */
static void
hkdf(uint8_t first[HASH_LEN], uint8_t second[HASH_LEN], const uint8_t chain[HASH_LEN],
     const uint8_t *input, size_t len)
{
    uint8_t temp[HASH_LEN];

    hmac(temp, chain, input, len, 0);
    hmac(first, temp, NULL, 0, 1);
    hmac(second, temp, first, HASH_LEN, 2);
    sodium_memzero(temp, sizeof(temp));
}

static void
mix_hash(struct an_noise_handshake *hs, const void *data, size_t len)
{
    crypto_hash_sha256_state state;

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, hs->hash, sizeof(hs->hash));
    crypto_hash_sha256_update(&state, data, len);
    crypto_hash_sha256_final(&state, hs->hash);
}

/* MixKey(DH(secret, public)). A public key of low order would make the secret known to
 * all: libsodium sees that it is all zeros. */
static enum an_err
mix_dh(struct an_noise_handshake *hs, const uint8_t secret[AN_NOISE_KEY_LEN],
       const uint8_t public[AN_NOISE_KEY_LEN])
{
    uint8_t shared[AN_NOISE_KEY_LEN];
    int rv = crypto_scalarmult(shared, secret, public);

    if (rv == 0) {
        hkdf(hs->chain, hs->cipher.key, hs->chain, shared, sizeof(shared));
        hs->cipher.nonce = 0;
    }
    sodium_memzero(shared, sizeof(shared));
    return rv == 0 ? AN_OK : AN_ERR_TLS;
}

/* ------------------------------------------------------------------ HandshakeState */

static void
initialize(struct an_noise_handshake *hs, const void *prologue, size_t len,
           const uint8_t server[AN_NOISE_KEY_LEN])
{
    memcpy(hs->hash, AN_NOISE_PROTOCOL, HASH_LEN);
    memcpy(hs->chain, hs->hash, HASH_LEN);
    mix_hash(hs, prologue, len);
    mix_hash(hs, server, AN_NOISE_KEY_LEN);
}

void
an_noise_server(struct an_noise_handshake *hs, const struct an_noise_key *own,
                const void *prologue, size_t prologue_len)
{
    *hs = (struct an_noise_handshake){.own = own};
    initialize(hs, prologue, prologue_len, own->public);
}

void
an_noise_client(struct an_noise_handshake *hs, const uint8_t pinned[AN_NOISE_KEY_LEN],
                const void *prologue, size_t prologue_len)
{
    *hs = (struct an_noise_handshake){0};
    memcpy(hs->pinned, pinned, sizeof(hs->pinned));
    initialize(hs, prologue, prologue_len, hs->pinned);
}

void
an_noise_fix_ephemeral(struct an_noise_handshake *hs,
                       const uint8_t secret[AN_NOISE_KEY_LEN])
{
    memcpy(hs->ephemeral, secret, sizeof(hs->ephemeral));
    hs->fixed = true;
}

/* es of the first message, ee of the second: each side with what it has. */
static enum an_err
mix_step(struct an_noise_handshake *hs)
{
    if (hs->step == 1) {
        return mix_dh(hs, hs->ephemeral, hs->remote);
    }
    return hs->own == NULL ? mix_dh(hs, hs->ephemeral, hs->pinned)
                           : mix_dh(hs, hs->own->secret, hs->remote);
}

enum an_err
an_noise_write(struct an_noise_handshake *hs, const void *payload, size_t len,
               uint8_t *out)
{
    enum an_err err;

    assert(hs->step == (hs->own == NULL ? 0 : 1)); /* our turn */
    assert(len <= AN_NOISE_MESSAGE_MAX - AN_NOISE_HELLO_EXTRA);
    if (!hs->fixed) {
        randombytes_buf(hs->ephemeral, sizeof(hs->ephemeral));
    }
    (void)crypto_scalarmult_base(out, hs->ephemeral);
    mix_hash(hs, out, AN_NOISE_KEY_LEN);
    err = mix_step(hs);
    out += AN_NOISE_KEY_LEN;
    if (err == AN_OK) {
        err = encrypt(&hs->cipher, hs->hash, HASH_LEN, payload, len, out);
    }
    if (err == AN_OK) {
        mix_hash(hs, out, len + AN_NOISE_TAG_LEN);
        hs->step++;
    }
    return err;
}

enum an_err
an_noise_read(struct an_noise_handshake *hs, const uint8_t *message, size_t len,
              uint8_t *payload)
{
    enum an_err err;

    assert(hs->step == (hs->own == NULL ? 1 : 0)); /* the other side's turn */
    if (len < AN_NOISE_HELLO_EXTRA || len > AN_NOISE_MESSAGE_MAX) {
        return AN_ERR_BODY_MALFORMED;
    }
    memcpy(hs->remote, message, sizeof(hs->remote));
    mix_hash(hs, message, AN_NOISE_KEY_LEN);
    err = mix_step(hs);
    message += AN_NOISE_KEY_LEN;
    len -= AN_NOISE_KEY_LEN;
    if (err == AN_OK) {
        err = decrypt(&hs->cipher, hs->hash, HASH_LEN, message, len, payload);
    }
    if (err == AN_OK) {
        mix_hash(hs, message, len);
        hs->step++;
    }
    return err;
}

bool
an_noise_over(const struct an_noise_handshake *hs)
{
    return hs->step == 2;
}

void
an_noise_split(struct an_noise_handshake *hs, struct an_noise_cipher *in,
               struct an_noise_cipher *out, uint8_t hash[AN_NOISE_KEY_LEN])
{
    struct an_noise_cipher *client = hs->own == NULL ? out : in;
    struct an_noise_cipher *server = hs->own == NULL ? in : out;

    assert(an_noise_over(hs));
    hkdf(client->key, server->key, hs->chain, NULL, 0);
    client->nonce = server->nonce = 0;
    if (hash != NULL) {
        memcpy(hash, hs->hash, HASH_LEN);
    }
    sodium_memzero(hs, sizeof(*hs));
}
