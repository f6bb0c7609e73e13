/* Noise_NK_25519_ChaChaPoly_SHA256 of the Noise Protocol Framework, revision 34, to the
 * letter, on libsodium's primitives: a secure channel to a server whose public key is
 * known beforehand, for clients without a certificate store.
 *
 *   <- s            the client has the server's static key
 *   ...
 *   -> e, es
 *   <- e, ee        an_noise_split
 *
 * This file knows messages; noise_conn.h has how they travel. Whatever holds a key is
 * wiped when it is done with: by the function that ends its use, or by the caller with
 * an_noise_wipe.
 *
 * Context: pure functions, but for the randomness of an ephemeral key; thread safe. */
#ifndef AN_CORE_NOISE_H
#define AN_CORE_NOISE_H

#include "core/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AN_NOISE_PROTOCOL "Noise_NK_25519_ChaChaPoly_SHA256"

enum {
    AN_NOISE_KEY_LEN = 32, /* of every key, and of a hash */
    AN_NOISE_TAG_LEN = 16,
    AN_NOISE_MESSAGE_MAX = 65535,
    AN_NOISE_PAYLOAD_MAX = AN_NOISE_MESSAGE_MAX - AN_NOISE_TAG_LEN,
    AN_NOISE_HELLO_EXTRA = AN_NOISE_KEY_LEN + AN_NOISE_TAG_LEN, /* beside its payload */
    AN_NOISE_TEXT_MAX = 44, /* a key in base64, with its NUL */
};

/* A static key pair. */
struct an_noise_key {
    uint8_t secret[AN_NOISE_KEY_LEN], public[AN_NOISE_KEY_LEN];
};

/* One direction. The nonce UINT64_MAX is never used. */
struct an_noise_cipher {
    uint8_t key[AN_NOISE_KEY_LEN];
    uint64_t nonce;
};

struct an_noise_handshake {
    const struct an_noise_key *own; /* the server's, borrowed; NULL: a client */
    uint8_t pinned[AN_NOISE_KEY_LEN];
    uint8_t ephemeral[AN_NOISE_KEY_LEN], remote[AN_NOISE_KEY_LEN];
    uint8_t chain[AN_NOISE_KEY_LEN], hash[AN_NOISE_KEY_LEN];
    struct an_noise_cipher cipher;
    bool fixed; /* the ephemeral key is a test's */
    uint8_t step;
};

/* A fresh pair. */
void an_noise_key_make(struct an_noise_key *key);
/* The public half of a secret one. */
void an_noise_key_complete(struct an_noise_key *key);
/* Base64 of 32 bytes, URL-safe, 43 characters and a NUL. */
void an_noise_key_print(const uint8_t key[AN_NOISE_KEY_LEN], char out[AN_NOISE_TEXT_MAX]);
/* Base64, standard or URL-safe, padded or not. false: it is none of 32 bytes. */
bool an_noise_key_parse(uint8_t key[AN_NOISE_KEY_LEN], const char *text);

/* The server's end; own is borrowed until the handshake is over. */
void an_noise_server(struct an_noise_handshake *hs, const struct an_noise_key *own,
                     const void *prologue, size_t prologue_len);
/* The client's end, which believes this public key. */
void an_noise_client(struct an_noise_handshake *hs,
                     const uint8_t pinned[AN_NOISE_KEY_LEN], const void *prologue,
                     size_t prologue_len);
/* For test vectors: this ephemeral secret instead of a random one. */
void an_noise_fix_ephemeral(struct an_noise_handshake *hs,
                            const uint8_t secret[AN_NOISE_KEY_LEN]);
/* The client writes first, the server second. out has room for len and
 * AN_NOISE_HELLO_EXTRA more, in all AN_NOISE_MESSAGE_MAX at the most. AN_ERR_TLS: the
 * other side's key is of low order, so that anybody would know the secret. */
AN_MUST_USE enum an_err an_noise_write(struct an_noise_handshake *hs, const void *payload,
                                       size_t len, uint8_t *out);
/* The other side's message. payload has room for len minus AN_NOISE_HELLO_EXTRA.
 * AN_ERR_BODY_MALFORMED: it has no such length; AN_ERR_TLS: it is not for this key, was
 * changed, or carries a key of low order. The handshake is of no use after an error. */
AN_MUST_USE enum an_err an_noise_read(struct an_noise_handshake *hs,
                                      const uint8_t *message, size_t len,
                                      uint8_t *payload);
/* Have both messages gone? */
bool an_noise_over(const struct an_noise_handshake *hs);
/* After both: the two directions, and (unless NULL) the hash that names this channel.
 * Wipes *hs. */
void an_noise_split(struct an_noise_handshake *hs, struct an_noise_cipher *in,
                    struct an_noise_cipher *out, uint8_t hash[AN_NOISE_KEY_LEN]);

/* out: len + AN_NOISE_TAG_LEN bytes; may be plain. AN_ERR_FULL: no nonce is left. */
AN_MUST_USE enum an_err an_noise_encrypt(struct an_noise_cipher *cipher,
                                         const uint8_t *plain, size_t len, uint8_t *out);
/* out: len - AN_NOISE_TAG_LEN bytes; may be message. AN_ERR_BODY_MALFORMED: shorter than
 * a tag; AN_ERR_TLS: changed, lost, doubled or out of order; AN_ERR_FULL. */
AN_MUST_USE enum an_err an_noise_decrypt(struct an_noise_cipher *cipher,
                                         const uint8_t *message, size_t len,
                                         uint8_t *out);
/* Overwrites what the compiler must not optimise away. */
void an_noise_wipe(void *secret, size_t len);

#endif
