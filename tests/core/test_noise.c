/* Noise_NK_25519_ChaChaPoly_SHA256: the published vectors, message by message, in both
 * roles; everything that is refused; and its records in any cut. */
#include "core/noise_conn.h"
#include <jansson.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ vectors */

struct bytes {
    uint8_t data[512];
    size_t len;
};

static struct bytes
hex(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    struct bytes out;

    assert_non_null(text);
    assert_int_equal(sodium_hex2bin(out.data, sizeof(out.data), text, strlen(text), NULL,
                                    &out.len, NULL),
                     0);
    return out;
}

/* The two ends of a vector. */
struct ends {
    struct an_noise_key key;
    struct an_noise_handshake client, server;
    struct an_noise_cipher client_in, client_out, server_in, server_out;
    uint8_t client_hash[AN_NOISE_KEY_LEN], server_hash[AN_NOISE_KEY_LEN];
};

static void
ends_init(struct ends *e, const json_t *vector)
{
    struct bytes prologue = hex(vector, "init_prologue"), text;

    text = hex(vector, "resp_static");
    memcpy(e->key.secret, text.data, AN_NOISE_KEY_LEN);
    an_noise_key_complete(&e->key);
    text = hex(vector, "init_remote_static");
    assert_memory_equal(e->key.public, text.data, AN_NOISE_KEY_LEN);
    an_noise_client(&e->client, text.data, prologue.data, prologue.len);
    prologue = hex(vector, "resp_prologue");
    an_noise_server(&e->server, &e->key, prologue.data, prologue.len);
    text = hex(vector, "init_ephemeral");
    an_noise_fix_ephemeral(&e->client, text.data);
    text = hex(vector, "resp_ephemeral");
    an_noise_fix_ephemeral(&e->server, text.data);
}

static void
play_message(struct ends *e, size_t i, const struct bytes *payload,
             const struct bytes *expected)
{
    const bool from_client = i % 2 == 0;
    struct bytes sent, got;

    sent.len = payload->len + (i < 2 ? AN_NOISE_HELLO_EXTRA : AN_NOISE_TAG_LEN);
    assert_int_equal(sent.len, expected->len);
    if (i < 2) {
        struct an_noise_handshake *from = from_client ? &e->client : &e->server;
        struct an_noise_handshake *to = from_client ? &e->server : &e->client;

        assert_int_equal(an_noise_write(from, payload->data, payload->len, sent.data),
                         AN_OK);
        assert_int_equal(an_noise_read(to, expected->data, expected->len, got.data),
                         AN_OK);
        assert_true(an_noise_over(from) == (i == 1) && an_noise_over(to) == (i == 1));
    } else {
        struct an_noise_cipher *from = from_client ? &e->client_out : &e->server_out;
        struct an_noise_cipher *to = from_client ? &e->server_in : &e->client_in;

        assert_int_equal(an_noise_encrypt(from, payload->data, payload->len, sent.data),
                         AN_OK);
        assert_int_equal(an_noise_decrypt(to, expected->data, expected->len, got.data),
                         AN_OK);
    }
    assert_memory_equal(sent.data, expected->data, expected->len);
    assert_memory_equal(got.data, payload->data, payload->len);
}

static void
play_vector(const json_t *vector)
{
    static const uint8_t zeros[sizeof(struct an_noise_handshake)];
    const json_t *messages = json_object_get(vector, "messages"), *message;
    struct ends e;
    size_t i;

    ends_init(&e, vector);
    assert_true(json_array_size(messages) >= 4);
    json_array_foreach(messages, i, message)
    {
        struct bytes payload = hex(message, "payload");
        struct bytes expected = hex(message, "ciphertext");

        play_message(&e, i, &payload, &expected);
        if (i == 1) {
            an_noise_split(&e.client, &e.client_in, &e.client_out, e.client_hash);
            an_noise_split(&e.server, &e.server_in, &e.server_out, e.server_hash);
            assert_memory_equal(&e.client, zeros, sizeof(e.client)); /* wiped */
            assert_memory_equal(&e.server, zeros, sizeof(e.server));
        }
    }
    assert_memory_equal(e.client_hash, e.server_hash, AN_NOISE_KEY_LEN);
    if (json_object_get(vector, "handshake_hash") != NULL) {
        struct bytes expected = hex(vector, "handshake_hash");

        assert_memory_equal(e.client_hash, expected.data, AN_NOISE_KEY_LEN);
    }
}

static void
test_noise_vectors_are_met(void **state)
{
    json_error_t why;
    json_t *root = json_load_file(VECTORS "/noise_nk.json", 0, &why), *vector;
    const json_t *vectors = json_object_get(root, "vectors");
    size_t i;
    (void)state;

    assert_non_null(root);
    assert_int_equal(json_array_size(vectors), 2);
    json_array_foreach(vectors, i, vector)
    {
        assert_string_equal(json_string_value(json_object_get(vector, "protocol_name")),
                            AN_NOISE_PROTOCOL);
        play_vector(vector);
    }
    json_decref(root);
}

/* ------------------------------------------------------------------ what is refused */

/* Points of small order: 0, 1, one of order eight, p - 1, p. */
static const char *const weak[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};

static void
test_noise_weak_key_of_either_side_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
        uint8_t point[32], out[128], none[128];
        struct an_noise_key key;
        struct an_noise_handshake client, server;

        an_noise_key_make(&key);
        sodium_hex2bin(point, sizeof(point), weak[i], 64, NULL, NULL, NULL);
        an_noise_client(&client, point, "p", 1); /* pinned */
        assert_int_equal(an_noise_write(&client, NULL, 0, out), AN_ERR_TLS);
        an_noise_server(&server, &key, "p", 1); /* a client's ephemeral */
        memset(out, 0, sizeof(out));
        memcpy(out, point, sizeof(point));
        assert_int_equal(an_noise_read(&server, out, 48, none), AN_ERR_TLS);
        an_noise_client(&client, key.public, "p", 1); /* the server's */
        assert_int_equal(an_noise_write(&client, NULL, 0, out), AN_OK);
        memset(out, 0, sizeof(out));
        memcpy(out, point, sizeof(point));
        assert_int_equal(an_noise_read(&client, out, 48, none), AN_ERR_TLS);
    }
}

static void
test_noise_other_key_prologue_or_bit_is_refused(void **state)
{
    struct an_noise_key key, other;
    struct an_noise_handshake client, server;
    uint8_t hello[48 + 3], payload[8];
    (void)state;

    an_noise_key_make(&key);
    an_noise_key_make(&other);
    an_noise_client(&client, other.public, "anser/1", 7);
    assert_int_equal(an_noise_write(&client, "abc", 3, hello), AN_OK);
    an_noise_server(&server, &key, "anser/1", 7);
    assert_int_equal(an_noise_read(&server, hello, sizeof(hello), payload), AN_ERR_TLS);
    an_noise_client(&client, key.public, "anser/2", 7);
    assert_int_equal(an_noise_write(&client, "abc", 3, hello), AN_OK);
    an_noise_server(&server, &key, "anser/1", 7);
    assert_int_equal(an_noise_read(&server, hello, sizeof(hello), payload), AN_ERR_TLS);
    an_noise_client(&client, key.public, "anser/1", 7);
    assert_int_equal(an_noise_write(&client, "abc", 3, hello), AN_OK);
    for (unsigned bit = 0; bit < 8 * sizeof(hello); bit++) {
        hello[bit / 8] ^= (uint8_t)(1u << bit % 8);
        an_noise_server(&server, &key, "anser/1", 7);
        /* The high bit of a public key is masked by X25519, but hashed. */
        assert_int_equal(an_noise_read(&server, hello, sizeof(hello), payload),
                         AN_ERR_TLS);
        hello[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    an_noise_server(&server, &key, "anser/1", 7);
    assert_int_equal(an_noise_read(&server, hello, 47, payload), AN_ERR_BODY_MALFORMED);
    an_noise_server(&server, &key, "anser/1", 7);
    assert_int_equal(an_noise_read(&server, hello, sizeof(hello), payload), AN_OK);
    assert_memory_equal(payload, "abc", 3);
}

static void
test_noise_record_changed_lost_or_repeated_is_refused(void **state)
{
    struct an_noise_cipher out = {.key = {1}}, in = {.key = {1}};
    uint8_t first[21], second[21], plain[8];
    (void)state;

    assert_int_equal(an_noise_encrypt(&out, (const uint8_t *)"hello", 5, first), AN_OK);
    assert_int_equal(an_noise_encrypt(&out, (const uint8_t *)"again", 5, second), AN_OK);
    assert_int_equal(an_noise_decrypt(&in, second, 21, plain), AN_ERR_TLS);
    for (unsigned bit = 0; bit < 8 * sizeof(first); bit++) {
        first[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(an_noise_decrypt(&in, first, 21, plain), AN_ERR_TLS);
        first[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(an_noise_decrypt(&in, first, 20, plain), AN_ERR_TLS);
    assert_int_equal(an_noise_decrypt(&in, first, 15, plain), AN_ERR_BODY_MALFORMED);
    assert_int_equal(an_noise_decrypt(&in, first, 21, plain), AN_OK);
    assert_memory_equal(plain, "hello", 5);
    assert_int_equal(an_noise_decrypt(&in, first, 21, plain), AN_ERR_TLS);
}

static void
test_noise_last_nonce_is_never_used(void **state)
{
    struct an_noise_cipher out = {.nonce = UINT64_MAX - 1},
                           in = {.nonce = UINT64_MAX - 1};
    uint8_t message[17], plain[1] = {7};
    (void)state;

    assert_int_equal(an_noise_encrypt(&out, plain, 1, message), AN_OK);
    assert_int_equal(an_noise_decrypt(&in, message, 17, plain), AN_OK);
    assert_int_equal(an_noise_encrypt(&out, plain, 1, message), AN_ERR_FULL);
    assert_int_equal(an_noise_encrypt(&out, plain, 1, message), AN_ERR_FULL);
    assert_int_equal(an_noise_decrypt(&in, message, 17, plain), AN_ERR_FULL);
    assert_true(out.nonce == UINT64_MAX && in.nonce == UINT64_MAX);
}

static void
test_noise_key_is_read_in_every_base64(void **state)
{
    uint8_t key[AN_NOISE_KEY_LEN], back[AN_NOISE_KEY_LEN];
    char text[64];
    static const int variants[] = {1, 3, 5, 7};
    (void)state;

    memset(key, 0xFB, sizeof(key)); /* has both of the letters that differ */
    an_noise_key_print(key, text);
    assert_int_equal(strlen(text), 43);
    for (unsigned i = 0; i < 4; i++) {
        sodium_bin2base64(text, sizeof(text), key, sizeof(key), variants[i]);
        memset(back, 0, sizeof(back));
        assert_true(an_noise_key_parse(back, text));
        assert_memory_equal(back, key, sizeof(key));
    }
    assert_false(an_noise_key_parse(back, ""));
    assert_false(an_noise_key_parse(back, "AAAA"));
    assert_false(an_noise_key_parse(back, "+/-_+/-_+/-_+/-_+/-_+/-_+/-_+/-_+/-_+/-_+/-"));
    sodium_bin2base64(text, sizeof(text), key, sizeof(key), variants[1]);
    text[42] = '\0'; /* 31 bytes and a half */
    assert_false(an_noise_key_parse(back, text));
}

/* ------------------------------------------------------------------ the stream */

static void
pair(struct an_noise_conn *client, struct an_noise_conn *server)
{
    struct an_noise_key key;
    uint8_t hello[AN_NOISE_HELLO_LEN], reply[AN_NOISE_HELLO_LEN];
    size_t len;

    an_noise_key_make(&key);
    assert_int_equal(an_noise_conn_server(server, &key), AN_OK);
    assert_int_equal(an_noise_conn_client(client, key.public, hello), AN_OK);
    assert_int_equal(an_noise_shake(server, hello + 2, 48, reply, &len), AN_OK);
    assert_int_equal(len, AN_NOISE_HELLO_LEN);
    assert_int_equal(an_noise_shake(client, reply + 2, 48, hello, &len), AN_OK);
    assert_int_equal(len, 0);
    assert_true(an_noise_is_open(client) && an_noise_is_open(server));
}

/* Feeds wire in pieces of step bytes; how much of the stream came. */
static size_t
drain(struct an_noise_conn *conn, const uint8_t *wire, size_t len, size_t step,
      uint8_t *out)
{
    size_t sum = 0;

    while (len > 0) {
        size_t take = step < len ? step : len;
        struct an_noise_piece in = {.data = wire, .len = take};

        wire += take;
        len -= take;
        for (;;) {
            assert_int_equal(an_noise_take(conn, &in), AN_OK);
            if (in.record == NULL) {
                break;
            }
            assert_int_equal(an_noise_open(conn, in.record, in.record_len, out + sum),
                             AN_OK);
            sum += in.record_len - AN_NOISE_TAG_LEN;
        }
        assert_int_equal(in.len, 0);
    }
    return sum;
}

static void
test_noise_stream_survives_any_cut(void **state)
{
    static const size_t steps[] = {1, 2, 3, 17, 16402, 65536, 1000000};
    static uint8_t plain[100000], wire[110000], back[110000];
    struct an_noise_conn client, server;
    (void)state;

    for (size_t i = 0; i < sizeof(plain); i++) {
        plain[i] = (uint8_t)(i * 31 + (i >> 8));
    }
    pair(&client, &server);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        size_t len = an_noise_sealed_len(sizeof(plain));

        assert_int_equal(len, sizeof(plain) + 7 * 18);
        assert_int_equal(an_noise_seal(&client, plain, sizeof(plain), wire), AN_OK);
        memset(back, 0, sizeof(back));
        assert_int_equal(drain(&server, wire, len, steps[i], back), sizeof(plain));
        assert_memory_equal(back, plain, sizeof(plain));
        assert_null(server.held); /* between two records nothing is kept */
    }
    an_noise_conn_fini(&client);
    an_noise_conn_fini(&server);
}

static void
test_noise_record_holds_what_came_not_what_was_announced(void **state)
{
    static const uint8_t begin[] = {0xFF, 0xFF, 1, 2, 3};
    struct an_noise_conn client, server;
    struct an_noise_piece in = {.data = begin, .len = sizeof(begin)};
    (void)state;

    pair(&client, &server);
    assert_int_equal(an_noise_take(&server, &in), AN_OK);
    assert_null(in.record);
    assert_true(server.held_cap <= 64);
    an_noise_conn_fini(&client);
    an_noise_conn_fini(&server);
}

static void
test_noise_largest_and_empty_records_are_taken(void **state)
{
    static uint8_t wire[2 + 65535], back[65536], plain[65519];
    struct an_noise_conn client, server;
    (void)state;

    pair(&client, &server);
    memset(plain, 'x', sizeof(plain));
    wire[0] = wire[1] = 0xFF;
    assert_int_equal(an_noise_encrypt(&client.out, plain, sizeof(plain), wire + 2),
                     AN_OK);
    assert_int_equal(drain(&server, wire, sizeof(wire), 1000, back), sizeof(plain));
    assert_memory_equal(back, plain, sizeof(plain));
    wire[0] = 0;
    wire[1] = 16;
    assert_int_equal(an_noise_encrypt(&client.out, plain, 0, wire + 2), AN_OK);
    assert_int_equal(drain(&server, wire, 18, 18, back), 0);
    an_noise_conn_fini(&client);
    an_noise_conn_fini(&server);
}

static void
test_noise_lengths_that_cannot_be_are_refused_at_once(void **state)
{
    static const struct {
        bool open;
        uint8_t bytes[2];
        enum an_err err;
    } cases[] = {{false, {0, 47}, AN_ERR_BODY_MALFORMED},
                 {false, {0, 49}, AN_ERR_FRAME_TOO_LARGE},
                 {false, {0x16, 0x03}, AN_ERR_FRAME_TOO_LARGE}, /* TLS */
                 {true, {0, 15}, AN_ERR_BODY_MALFORMED},
                 {true, {0, 0}, AN_ERR_BODY_MALFORMED}};
    (void)state;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step <= 2; step++) {
            struct an_noise_key key;
            struct an_noise_conn client = {0}, server;
            struct an_noise_piece in = {.data = cases[i].bytes, .len = step};
            enum an_err err;

            an_noise_key_make(&key);
            if (cases[i].open) {
                pair(&client, &server);
            } else {
                assert_int_equal(an_noise_conn_server(&server, &key), AN_OK);
            }
            err = an_noise_take(&server, &in);
            if (step == 1) {
                assert_int_equal(err, AN_OK);
                assert_null(in.record);
                in.len = 1;
                err = an_noise_take(&server, &in);
            }
            assert_int_equal(err, cases[i].err);
            assert_non_null(server.why);
            an_noise_conn_fini(&client);
            an_noise_conn_fini(&server);
        }
    }
}

/* A door of another kind answers: "AN", an HTTP status, a TLS alert. */
static void
test_noise_client_says_that_it_met_no_noise(void **state)
{
    static const char *const answers[] = {"AN\x01\x01", "HTTP/1.1 400", "\x15\x03\x03"};
    struct an_noise_key key;
    (void)state;

    an_noise_key_make(&key);
    for (unsigned i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct an_noise_conn client;
        uint8_t hello[AN_NOISE_HELLO_LEN];
        struct an_noise_piece in = {.data = (const uint8_t *)answers[i],
                                    .len = strlen(answers[i])};

        assert_int_equal(an_noise_conn_client(&client, key.public, hello), AN_OK);
        assert_int_equal(an_noise_take(&client, &in), AN_ERR_BODY_MALFORMED);
        assert_non_null(strstr(client.why, "no Noise"));
        an_noise_conn_fini(&client);
    }
}

/* A client that has another key, a server that is another: each says so. */
static void
test_noise_handshake_with_a_stranger_says_why(void **state)
{
    struct an_noise_key key, other;
    struct an_noise_conn client, server;
    uint8_t hello[AN_NOISE_HELLO_LEN], reply[AN_NOISE_HELLO_LEN];
    size_t len;
    (void)state;

    an_noise_key_make(&key);
    an_noise_key_make(&other);
    assert_int_equal(an_noise_conn_server(&server, &key), AN_OK);
    assert_int_equal(an_noise_conn_client(&client, other.public, hello), AN_OK);
    assert_int_equal(an_noise_shake(&server, hello + 2, 48, reply, &len), AN_ERR_TLS);
    assert_int_equal(len, 0);
    assert_non_null(strstr(server.why, "another key"));
    an_noise_conn_fini(&server);
    memset(reply, 9, sizeof(reply));
    assert_int_equal(an_noise_shake(&client, reply + 2, 48, hello, &len), AN_ERR_TLS);
    assert_non_null(strstr(client.why, "pinned key"));
    an_noise_conn_fini(&client);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise_vectors_are_met),
        cmocka_unit_test(test_noise_weak_key_of_either_side_is_refused),
        cmocka_unit_test(test_noise_other_key_prologue_or_bit_is_refused),
        cmocka_unit_test(test_noise_record_changed_lost_or_repeated_is_refused),
        cmocka_unit_test(test_noise_last_nonce_is_never_used),
        cmocka_unit_test(test_noise_key_is_read_in_every_base64),
        cmocka_unit_test(test_noise_stream_survives_any_cut),
        cmocka_unit_test(test_noise_record_holds_what_came_not_what_was_announced),
        cmocka_unit_test(test_noise_largest_and_empty_records_are_taken),
        cmocka_unit_test(test_noise_lengths_that_cannot_be_are_refused_at_once),
        cmocka_unit_test(test_noise_client_says_that_it_met_no_noise),
        cmocka_unit_test(test_noise_handshake_with_a_stranger_says_why),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
