/* The gate's door through its layers: the same frames over TLS, Noise and WebSocket, in
 * any cut; handshakes that do not come to an end; certificates exchanged meanwhile. A
 * stub is in the actor's place, OpenSSL the client. */
#include "actors/gate/gate_json.h"
#include "actors/gate/gate_ws.h"
#include "core/listen.h"
#include "tests/actors/gate_door_kit.h"
#include "tests/actors/noise_peer.h"
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <time.h>

static char dir[] = "/tmp/anser-door-XXXXXX";
static char cert[64], key[64];
static struct an_noise_key noise_key;

/* ------------------------------------------------------------------ certificates */

/* Signed by itself; each with another number. */
static void
make_pair(long serial, long days)
{
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    FILE *file;

    assert_non_null(pkey);
    assert_non_null(x509);
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), serial);
    X509_gmtime_adj(X509_getm_notBefore(x509), -7 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(x509), days * 86400);
    X509_set_pubkey(x509, pkey);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                               (const unsigned char *)"door", -1, -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(x509));
    assert_true(X509_sign(x509, pkey, EVP_sha256()) > 0);
    file = fopen(cert, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, x509), 1);
    fclose(file);
    file = fopen(key, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(x509);
    EVP_PKEY_free(pkey);
}

static struct stub *
start(const char *scheme, uint32_t handshake_ms, uint32_t handshakes_max)
{
    char url[AN_LISTEN_TEXT_MAX];
    struct gate_door_cfg cfg = {.listen = {url},
                                .listen_count = 1,
                                .handshake_ms = handshake_ms,
                                .handshakes_max = handshakes_max,
                                .tls_cert = cert,
                                .tls_key = key,
                                .noise_key = &noise_key};

    snprintf(url, sizeof(url), "%s://127.0.0.1:0", scheme);
    return stub_start_at(&cfg);
}

/* ------------------------------------------------------------------ a client */

struct peer {
    int fd;
    bool web;
    SSL_CTX *ctx;
    SSL *ssl;
    struct noise_peer *noise;
};

static void
put(struct peer *peer, const void *data, size_t len)
{
    if (peer->noise != NULL) {
        noise_peer_put(peer->noise, data, len);
    } else if (peer->ssl == NULL) {
        door_put(peer->fd, data, len);
    } else {
        assert_int_equal(SSL_write(peer->ssl, data, (int)len), (int)len);
    }
}

static void
get(struct peer *peer, void *data, size_t len)
{
    uint8_t *at = data;

    if (peer->noise != NULL) {
        noise_peer_get(peer->noise, at, len);
        return;
    }
    while (len > 0 && peer->ssl != NULL) {
        int got = SSL_read(peer->ssl, at, (int)len);

        assert_true(got > 0);
        at += got;
        len -= (size_t)got;
    }
    if (len > 0) {
        door_get(peer->fd, at, len);
    }
}

static void
open_web(struct peer *peer)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n";
    /* RFC 6455, 1.3 has this answer to this key. */
    static const char accept[] = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    char head[512] = "";
    size_t len = 0;

    put(peer, request, sizeof(request) - 1);
    while (strstr(head, "\r\n\r\n") == NULL) {
        assert_true(len < sizeof(head) - 1);
        get(peer, head + len++, 1);
    }
    assert_non_null(strstr(head, "HTTP/1.1 101 "));
    assert_non_null(strstr(head, accept));
}

static struct peer
join(const struct stub *s, SSL_SESSION *session)
{
    struct peer peer = {.fd = door_client(s), .web = strncmp(s->url, "ws", 2) == 0};

    if (strncmp(s->url, "tls", 3) == 0 || strncmp(s->url, "wss", 3) == 0) {
        peer.ctx = SSL_CTX_new(TLS_client_method());
        peer.ssl = SSL_new(peer.ctx);
        assert_non_null(peer.ssl);
        SSL_set_fd(peer.ssl, peer.fd);
        if (session != NULL) {
            SSL_set_session(peer.ssl, session);
        }
        assert_int_equal(SSL_connect(peer.ssl), 1);
    }
    if (strncmp(s->url, "noise", 5) == 0) {
        peer.noise = noise_peer_begin(peer.fd, noise_key.public, 1);
        noise_peer_answer(peer.noise);
    }
    if (peer.web) {
        open_web(&peer);
    }
    return peer;
}

static void
vanish(struct peer *peer)
{
    noise_peer_free(peer->noise);
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->ctx);
    close(peer->fd);
}

static void
leave(struct peer *peer)
{
    if (peer->ssl != NULL) {
        SSL_shutdown(peer->ssl);
    }
    vanish(peer);
}

/* A frame of ours, over WebSocket in a masked message of so many fragments. */
static void
put_frame(struct peer *peer, uint16_t command, const void *body, size_t len,
          unsigned parts)
{
    static const uint8_t mask[4] = {9, 8, 7, 6};
    static uint8_t bytes[AN_FRAME_LEN_MAX + 1024], out[AN_FRAME_LEN_MAX + 4096];
    size_t whole = door_frame_make(bytes, command, body, len), at = 0, used = 0;

    if (!peer->web) {
        put(peer, bytes, whole);
        return;
    }
    for (unsigned i = 0; i < parts; i++) {
        size_t take = i + 1 == parts ? whole - at : whole / parts;
        size_t head = gate_ws_header(out + used, i == 0 ? GATE_WS_BINARY : 0, take);

        out[used] = (uint8_t)((out[used] & 0x7F) | (i + 1 == parts ? 0x80 : 0));
        out[used + 1] |= 0x80;
        used += head;
        memcpy(out + used, mask, 4);
        used += 4;
        for (size_t k = 0; k < take; k++) {
            out[used + k] = bytes[at + k] ^ mask[k & 3];
        }
        used += take;
        at += take;
    }
    put(peer, out, used);
}

static size_t
get_ws_header(struct peer *peer, uint8_t *first)
{
    uint8_t head[2], more[8];
    size_t len;

    get(peer, head, 2);
    *first = head[0];
    len = head[1];
    if (len >= 126) {
        size_t count = len == 126 ? 2 : 8;

        get(peer, more, count);
        len = 0;
        for (size_t i = 0; i < count; i++) {
            len = len << 8 | more[i];
        }
    }
    return len;
}

static size_t
get_frame(struct peer *peer, uint16_t command, uint8_t *body, size_t cap)
{
    uint8_t header[AN_FRAME_HEADER_LEN], first;
    struct an_frame frame;
    size_t message = peer->web ? get_ws_header(peer, &first) : 0;

    get(peer, header, sizeof(header));
    assert_int_equal(an_frame_get(&frame, header, sizeof(header), UINT32_MAX),
                     AN_FRAME_OK);
    assert_int_equal(frame.command, command);
    assert_true(frame.body_len <= cap);
    assert_true(!peer->web || message == AN_FRAME_HEADER_LEN + frame.body_len);
    get(peer, body, frame.body_len);
    return frame.body_len;
}

/* ------------------------------------------------------------------ the same frames */

static const char *const schemes[] = {"tcp", "tls", "ws", "wss", "noise"};
enum { SCHEMES = sizeof(schemes) / sizeof(schemes[0]) };

static void
test_door_every_layer_carries_frames_of_any_size(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 126, 4000, 16368, 16384, 40000, 65536};
    static uint8_t body[MUCH_LEN], back[MUCH_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    for (unsigned k = 0; k < SCHEMES; k++) {
        struct stub *s = start(schemes[k], 0, 0);
        struct peer peer = join(s, NULL);

        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            put_frame(&peer, CMD_ECHO, body, sizes[i], i % 4 + 1);
            assert_int_equal(get_frame(&peer, CMD_ECHO, back, sizeof(back)), sizes[i]);
            assert_memory_equal(back, body, sizes[i]);
        }
        leave(&peer);
        door_await(s, &s->closed, 1);
        assert_int_equal(door_read(s, &s->opened), 1);
        stub_stop(s);
    }
}

/* The stub sends the bytes of a Login back as a push: {"push":"LoginOk",...}. */
static void
echo_line(struct peer *peer, char *line, size_t cap)
{
    size_t len = 0;

    do {
        assert_true(len < cap - 1);
        get(peer, line + len, 1);
    } while (line[len++] != '\n');
    line[len] = '\0';
}

static void
test_door_a_brace_begins_lines_of_json(void **state)
{
    static const char first[] =
        "{\"command\":\"Login\",\"body\":{\"token\":\"abc\"}}\r\n\n";
    static const char wrong[] = " {}}\n";
    char line[512];

    (void)state;
    for (unsigned k = 0; k < SCHEMES; k++) {
        struct stub *s;
        struct peer peer;

        if (strncmp(schemes[k], "ws", 2) == 0) {
            continue;
        }
        s = start(schemes[k], 0, 0);
        peer = join(s, NULL);
        for (size_t i = 0; i < sizeof(first) - 1; i++) {
            put(&peer, first + i, 1);
        }
        put(&peer, first, sizeof(first) - 1);
        for (unsigned i = 0; i < 2; i++) {
            echo_line(&peer, line, sizeof(line));
            assert_non_null(
                strstr(line, "{\"push\":\"LoginOk\",\"body\":{\"user\":\"abc\","));
        }
        assert_int_equal(door_read(s, &s->frames), 2);
        put(&peer, wrong, sizeof(wrong) - 1);
        door_await(s, &s->bad, 1);
        assert_int_equal(door_read(s, &s->bad_err), AN_ERR_JSON);
        leave(&peer);
        door_await(s, &s->closed, 1);
        stub_stop(s);
    }
}

/* The stub echoes the mark of a malformed body, which is nothing that JSON could say. */
static void
test_door_a_line_that_cannot_be_made_ends_with_a_goodbye(void **state)
{
    static const char lines[] = "{\"command\":\"Login\",\"body\":{\"token\":\"abc\"}}\n"
                                "{\"command\":\"Login\",\"body\":{\"token\":5}}\n"
                                "{\"command\":\"Login\",\"body\":{\"token\":\"def\"}}\n";
    struct stub *s = start("tcp", 0, 0);
    struct peer peer = join(s, NULL);
    char line[512], rest;

    (void)state;
    put(&peer, lines, sizeof(lines) - 1);
    echo_line(&peer, line, sizeof(line));
    assert_non_null(strstr(line, "\"user\":\"abc\""));
    echo_line(&peer, line, sizeof(line));
    assert_non_null(strstr(line, "{\"push\":\"Goodbye\",\"body\":{\"code\":707,"
                                 "\"name\":\"NO_MEMORY\""));
    assert_int_equal(recv(peer.fd, &rest, 1, 0), 0);
    assert_int_equal(door_read(s, &s->logs), 1);
    leave(&peer);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

static void
test_door_a_line_without_an_end_is_cut_off(void **state)
{
    static char line[GATE_JSON_LEN_MAX + 1];

    (void)state;
    memset(line, ' ', sizeof(line));
    line[0] = '{';
    for (unsigned k = 0; k < 2; k++) {
        struct stub *s = start(schemes[k], 0, 0);
        struct peer peer = join(s, NULL);

        put(&peer, line, sizeof(line) - 1);
        put(&peer, "\n", 1); /* as long as it may be */
        door_await(s, &s->bad, 1);
        assert_int_equal(door_read(s, &s->bad_err), AN_ERR_JSON);
        leave(&peer);
        peer = join(s, NULL);
        put(&peer, line, sizeof(line));
        door_await(s, &s->bad, 2);
        assert_int_equal(door_read(s, &s->bad_err), AN_ERR_FRAME_TOO_LARGE);
        leave(&peer);
        door_await(s, &s->closed, 2);
        stub_stop(s);
    }
}

/* 8 MiB that nobody reads: the door stops to read, counts them, and loses none. */
static void
test_door_every_layer_keeps_output_that_waits(void **state)
{
    static uint8_t body[MUCH_LEN];

    (void)state;
    for (unsigned k = 0; k < SCHEMES; k++) {
        struct stub *s = start(schemes[k], 0, 0);
        struct peer peer = join(s, NULL);

        put_frame(&peer, CMD_MUCH, NULL, 0, 1);
        door_await(s, &s->outputs, 1);
        assert_true(door_read(s, &s->output_max) > 1024 * 1024);
        door_await_turn(s);
        assert_int_equal(door_read(s, &s->stats.read_pauses), 1);
        for (unsigned i = 0; i < MUCH_FRAMES; i++) {
            assert_int_equal(get_frame(&peer, CMD_MUCH, body, sizeof(body)), MUCH_LEN);
            assert_int_equal(body[MUCH_LEN - 1], i);
        }
        put_frame(&peer, CMD_ECHO, "on", 2, 1);
        assert_int_equal(get_frame(&peer, CMD_ECHO, body, sizeof(body)), 2);
        leave(&peer);
        door_await(s, &s->closed, 1);
        stub_stop(s);
    }
}

/* What waits is counted in bytes of frames: a control character that a client left unread
 * is one, though it takes six in JSON. */
static void
test_door_json_that_waits_is_counted_as_frames(void **state)
{
    enum { ESCAPES = 60000, LINES_MAX = 200 };
    static const char head[] = "{\"command\":\"Login\",\"body\":{\"token\":\"";
    static char line[sizeof(head) + 6 * ESCAPES + 8];
    size_t len = sizeof(head) - 1;
    struct stub *s = start("tcp", 0, 0);
    struct peer peer = join(s, NULL);
    unsigned lines = 0;

    (void)state;
    memcpy(line, head, len);
    for (unsigned i = 0; i < ESCAPES; i++, len += 6) {
        memcpy(line + len, "\\u0001", 6);
    }
    memcpy(line + len, "\"}}\n", 4);
    len += 4;
    do {
        assert_true(lines < LINES_MAX);
        put(&peer, line, len);
        door_await(s, &s->frames, ++lines);
        door_await_turn(s);
    } while (door_read(s, &s->stats.read_pauses) == 0);
    door_await_turn(s); /* the report comes behind the flush that stopped reading */
    door_await_turn(s);
    assert_in_range(door_read(s, &s->output_max), AN_CONN_PAUSE_BYTES / 8,
                    AN_CONN_PAUSE_BYTES - 1);
    leave(&peer);
    door_await(s, &s->closed, 1);
    stub_stop(s);
}

/* The last words come, then what each layer says at its end. */
static void
test_door_every_layer_ends_politely(void **state)
{
    uint8_t body[256], first;

    (void)state;
    for (unsigned k = 1; k < SCHEMES; k++) {
        struct stub *s = start(schemes[k], 0, 0);
        struct peer peer = join(s, NULL);

        put_frame(&peer, CMD_END, NULL, 0, 1);
        assert_int_equal(get_frame(&peer, CMD_LAST_WORDS, body, sizeof(body)), 3);
        if (peer.web) {
            assert_int_equal(get_ws_header(&peer, &first), 2);
            assert_int_equal(first, 0x80 | GATE_WS_CLOSE_OP);
            get(&peer, body, 2);
            assert_int_equal(body[0] << 8 | body[1], 1000);
        }
        if (peer.ssl != NULL) {
            assert_int_equal(SSL_read(peer.ssl, body, 1), 0);
            assert_int_equal(SSL_get_error(peer.ssl, 0), SSL_ERROR_ZERO_RETURN);
        }
        door_get_end(peer.fd);
        leave(&peer);
        door_await(s, &s->closed, 1);
        stub_stop(s);
    }
}

/* No word of the actor's brings it about, and no tick of its comes by. */
static void
test_door_a_close_is_answered_at_once(void **state)
{
    static const uint8_t close_frame[] = {0x88, 0x82, 0, 0, 0, 0, 0x0f, 0xa1};
    uint8_t first, code[2];

    (void)state;
    for (unsigned k = 0; k < SCHEMES; k++) {
        struct stub *s;
        struct peer peer;

        if (strncmp(schemes[k], "ws", 2) != 0) {
            continue;
        }
        s = start(schemes[k], 0, 0);
        peer = join(s, NULL);
        door_await(s, &s->opened, 1);
        door_await_turn(s);
        put(&peer, close_frame, sizeof(close_frame));
        assert_int_equal(get_ws_header(&peer, &first), 2);
        get(&peer, code, 2);
        assert_int_equal(code[0] << 8 | code[1], 4001);
        leave(&peer);
        door_await(s, &s->closed, 1);
        stub_stop(s);
    }
}

/* ------------------------------------------------------------------ handshakes */

/* The actor hears of no one who has not come through. */
static void
test_door_slow_handshakes_end_and_nobody_hears(void **state)
{
    (void)state;
    for (unsigned k = 1; k < SCHEMES; k++) {
        struct stub *s = start(schemes[k], 50, 0);
        int silent = door_client(s), begun = door_client(s), left = door_client(s);

        door_put(begun, strcmp(schemes[k], "noise") == 0 ? "\x00\x30" : "\x16\x03", 2);
        close(left);
        door_get_end(silent);
        door_get_end(begun);
        close(silent);
        close(begun);
        stub_stop(s);
    }
}

static void
test_door_oldest_handshake_makes_room(void **state)
{
    (void)state;
    for (unsigned k = 1; k < SCHEMES; k++) {
        struct stub *s = start(schemes[k], 60000, 2);
        int fds[4];
        struct peer peer;

        for (unsigned i = 0; i < 4; i++) {
            fds[i] = door_client(s);
        }
        peer = join(s, NULL);
        for (unsigned i = 0; i < 3; i++) { /* two by others, one by the honest one */
            door_get_end(fds[i]);
        }
        door_await_turn(s);
        assert_int_equal(door_read(s, &s->stats.handshakes_late), 3);
        assert_int_equal(door_read(s, &s->stats.handshakes), 1);
        assert_int_equal(door_read(s, &s->opened), 1);
        for (unsigned i = 0; i < 4; i++) {
            close(fds[i]);
        }
        leave(&peer);
        stub_stop(s); /* also one in the middle of its handshake */
    }
}

static void
test_door_garbage_is_refused_and_counted(void **state)
{
    static uint8_t junk[GATE_WS_MESSAGE_MAX / 64];

    (void)state;
    for (unsigned k = 1; k < SCHEMES; k++) {
        struct stub *s = start(schemes[k], 0, 0);
        int fd = door_client(s);
        char back[4096];

        memset(junk, 'x', sizeof(junk));
        door_put(fd, junk, sizeof(junk));
        while (recv(fd, back, sizeof(back), 0) > 0) {
        }
        close(fd);
        do {
            door_await_turn(s);
        } while (door_read(s, &s->stats.handshakes_failed) == 0);
        assert_int_equal(door_read(s, &s->opened), 0);
        assert_int_equal(door_read(s, &s->closed), 0);
        stub_stop(s);
    }
}

/* The end of one that breaks its layer waits for the flush, and it does not. */
static void
test_door_broken_and_gone_at_once_is_one_end(void **state)
{
    static const uint8_t tls[64] = {0x17, 0x03, 0x03, 0x00, 0x20}, noise[64] = {0, 0x20};
    const struct linger reset = {.l_onoff = 1};

    (void)state;
    for (unsigned k = 1; k < SCHEMES; k++) {
        struct stub *s = start(schemes[k], 0, 0);
        const uint8_t *junk = strcmp(schemes[k], "noise") == 0 ? noise : tls;

        for (unsigned i = 1; i <= 20; i++) {
            struct peer peer = join(s, NULL);

            door_await(s, &s->opened, i);
            setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            door_put(peer.fd, junk, sizeof(tls));
            vanish(&peer);
            door_await(s, &s->closed, i);
        }
        assert_int_equal(door_read(s, &s->opened), 20);
        stub_stop(s);
    }
}

/* ------------------------------------------------------------------ certificates */

static long
serial_of(const struct peer *peer)
{
    X509 *x509 = SSL_get1_peer_certificate(peer->ssl);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(x509));

    X509_free(x509);
    return serial;
}

static void
test_door_reload_changes_new_connections_only(void **state)
{
    struct stub *s = start("tls", 0, 0);
    struct peer before = join(s, NULL), after;
    uint8_t body[8];
    char why[256];
    FILE *file;

    (void)state;
    assert_int_equal(serial_of(&before), 1);
    make_pair(2, 30);
    assert_int_equal(s->door->ops->reload(s->door, why, sizeof(why)), AN_OK);
    after = join(s, NULL);
    assert_int_equal(serial_of(&after), 2);
    put_frame(&before, CMD_ECHO, "old", 3, 1);
    assert_int_equal(get_frame(&before, CMD_ECHO, body, sizeof(body)), 3);
    leave(&after);
    file = fopen(cert, "we");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(s->door->ops->reload(s->door, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "gate.tls_cert: /tmp/anser-door-"));
    after = join(s, NULL);
    assert_int_equal(serial_of(&after), 2);
    leave(&after);
    leave(&before);
    make_pair(1, 30);
    stub_stop(s);
}

static void
test_door_session_is_resumed(void **state)
{
    struct stub *s = start("tls", 0, 0);
    struct peer first = join(s, NULL), second;
    SSL_SESSION *session;
    uint8_t body[8];

    (void)state;
    put_frame(&first, CMD_ECHO, "a", 1, 1);
    assert_int_equal(get_frame(&first, CMD_ECHO, body, sizeof(body)), 1);
    session = SSL_get1_session(first.ssl);
    leave(&first);
    second = join(s, session);
    assert_true(SSL_session_reused(second.ssl));
    SSL_SESSION_free(session);
    door_await(s, &s->opened, 2);
    door_await_turn(s);
    assert_int_equal(door_read(s, &s->stats.tls_full), 1);
    assert_int_equal(door_read(s, &s->stats.tls_resumed), 1);
    leave(&second);
    stub_stop(s);
}

static void
test_door_expired_certificate_is_told(void **state)
{
    struct stub *s;
    char why[256];

    (void)state;
    make_pair(3, -1);
    s = start("tls", 0, 0);
    assert_int_equal(door_read(s, &s->logs), 1);
    make_pair(4, 13); /* soon */
    assert_int_equal(s->door->ops->reload(s->door, why, sizeof(why)), AN_OK);
    assert_int_equal(door_read(s, &s->logs), 2);
    make_pair(1, 15);
    assert_int_equal(s->door->ops->reload(s->door, why, sizeof(why)), AN_OK);
    assert_int_equal(door_read(s, &s->logs), 2);
    stub_stop(s);
}

/* ------------------------------------------------------------------ addresses */

static void
test_listen_says_what_it_read(void **state)
{
    struct an_listen listen;
    char text[AN_LISTEN_TEXT_MAX];

    (void)state;
    assert_true(an_listen_parse(&listen, "wss://[::1]:7403"));
    assert_true(an_listen_is_local(&listen) && !an_listen_is_any(&listen));
    assert_true(an_scheme_cover(listen.scheme) == AN_COVER_TLS &&
                an_scheme_is_web(listen.scheme));
    an_listen_print(&listen, text, sizeof(text));
    assert_string_equal(text, "wss://[::1]:7403");
    assert_true(an_listen_parse(&listen, "ws://0.0.0.0:0"));
    assert_true(!an_listen_is_local(&listen) && an_listen_is_any(&listen));
    assert_true(an_listen_parse(&listen, "tls://localhost:65535"));
    assert_true(an_listen_is_local(&listen) && an_listen_port(&listen) == 65535);
    assert_true(an_listen_parse(&listen, "tcp://127.9.8.7:1") &&
                an_listen_is_local(&listen));
    assert_true(an_listen_parse(&listen, "tcp://[::]:1") && an_listen_is_any(&listen));
    assert_true(an_listen_parse(&listen, "noise://127.0.0.1:7404") &&
                an_scheme_cover(listen.scheme) == AN_COVER_NOISE &&
                !an_scheme_is_web(listen.scheme));
    assert_false(an_listen_parse(&listen, "http://127.0.0.1:80"));
    assert_false(an_listen_parse(&listen, "tls:127.0.0.1:80"));
}

static void
test_listen_refusal_names_the_setting_and_its_forms(void **state)
{
    struct an_listen listen;
    char why[256] = "";

    (void)state;
    assert_true(an_listen_read(&listen, "tcp://[::]:1", false, why, sizeof(why)));
    assert_true(an_listen_read(&listen, "https://[::]:1", true, why, sizeof(why)));
    assert_string_equal(why, "");
    assert_false(an_listen_read(&listen, "http://[::]:1", false, why, sizeof(why)));
    assert_string_equal(why, "listen: 'http://[::]:1' is no tcp://, tls://, noise://, "
                             "ws:// or wss://HOST:PORT (HOST a number, or localhost)");
    assert_false(an_listen_read(&listen, "tcp://[::]:1", true, why, sizeof(why)));
    assert_string_equal(why, "api.listen: 'tcp://[::]:1' is no http:// or "
                             "https://HOST:PORT (HOST a number, or localhost)");
}

static int
make_dir(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL's and libuv's writes to one who has left */
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    make_pair(1, 30);
    an_noise_key_make(&noise_key);
    return 0;
}

static int
remove_dir(void **state)
{
    (void)state;
    unlink(cert);
    unlink(key);
    return rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_door_every_layer_carries_frames_of_any_size),
        cmocka_unit_test(test_door_a_brace_begins_lines_of_json),
        cmocka_unit_test(test_door_a_line_that_cannot_be_made_ends_with_a_goodbye),
        cmocka_unit_test(test_door_a_line_without_an_end_is_cut_off),
        cmocka_unit_test(test_door_every_layer_keeps_output_that_waits),
        cmocka_unit_test(test_door_json_that_waits_is_counted_as_frames),
        cmocka_unit_test(test_door_every_layer_ends_politely),
        cmocka_unit_test(test_door_a_close_is_answered_at_once),
        cmocka_unit_test(test_door_slow_handshakes_end_and_nobody_hears),
        cmocka_unit_test(test_door_oldest_handshake_makes_room),
        cmocka_unit_test(test_door_garbage_is_refused_and_counted),
        cmocka_unit_test(test_door_broken_and_gone_at_once_is_one_end),
        cmocka_unit_test(test_door_reload_changes_new_connections_only),
        cmocka_unit_test(test_door_session_is_resumed),
        cmocka_unit_test(test_door_expired_certificate_is_told),
        cmocka_unit_test(test_listen_says_what_it_read),
        cmocka_unit_test(test_listen_refusal_names_the_setting_and_its_forms),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
