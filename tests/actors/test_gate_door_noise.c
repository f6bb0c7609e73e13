/* What the gate's Noise door refuses, counts and says; records of any size and cut. */
#include "tests/actors/gate_door_kit.h"
#include "tests/actors/noise_peer.h"
#include <sodium.h>

static struct an_noise_key key;

static struct stub *
start(void)
{
    struct gate_door_cfg cfg = {
        .listen = {"noise://127.0.0.1:0"}, .listen_count = 1, .noise_key = &key};

    return stub_start_at(&cfg);
}

static struct noise_peer *
join(const struct stub *s)
{
    struct noise_peer *peer = noise_peer_begin(door_client(s), key.public, 7);

    noise_peer_answer(peer);
    return peer;
}

static void
leave(struct noise_peer *peer)
{
    close(peer->fd);
    noise_peer_free(peer);
}

static void
get_echo(struct noise_peer *peer, size_t len)
{
    static uint8_t bytes[AN_FRAME_LEN_MAX];
    struct an_frame frame;

    noise_peer_get(peer, bytes, AN_FRAME_HEADER_LEN + len);
    assert_int_equal(an_frame_get(&frame, bytes, AN_FRAME_HEADER_LEN + len, UINT32_MAX),
                     AN_FRAME_OK);
    assert_int_equal(frame.command, CMD_ECHO);
    assert_int_equal(frame.body_len, len);
}

static void
await_stat(struct stub *s, const uint64_t *stat, uint64_t value)
{
    do {
        door_await_turn(s);
    } while (door_read(s, stat) < value);
    assert_int_equal(door_read(s, stat), value);
}

static void
test_door_noise_with_another_key_or_a_weak_one_is_refused_and_logged(void **state)
{
    struct stub *s = start();
    struct an_noise_key other;
    uint8_t weak[AN_NOISE_HELLO_LEN] = {0, AN_NOISE_HELLO_EXTRA};
    struct noise_peer *peer;
    int fd;

    (void)state;
    an_noise_key_make(&other);
    peer = noise_peer_begin(door_client(s), other.public, AN_NOISE_HELLO_LEN);
    door_get_end(peer->fd);
    leave(peer);
    await_stat(s, &s->stats.handshakes_failed, 1);
    assert_int_equal(door_read(s, &s->logs), 1);
    fd = door_client(s);
    door_put(fd, weak, sizeof(weak)); /* the point 0 */
    door_get_end(fd);
    close(fd);
    await_stat(s, &s->stats.handshakes_failed, 2);
    assert_int_equal(door_read(s, &s->opened), 0);
    assert_int_equal(door_read(s, &s->stats.noise_full), 0);
    stub_stop(s);
}

/* A record with one bit changed, one that comes again, one that is none: each ends it. */
static void
test_door_noise_changed_repeated_or_short_record_ends_it(void **state)
{
    struct stub *s = start();

    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        struct noise_peer *peer = join(s);
        uint8_t frame[64], sealed[128];
        size_t len = door_frame_make(frame, CMD_ECHO, "a", 1);

        assert_int_equal(an_noise_seal(&peer->conn, frame, len, sealed), AN_OK);
        if (i == 1) {
            sealed[2 + len / 2] ^= 1;
        } else if (i == 2) {
            door_put(peer->fd, sealed, an_noise_sealed_len(len));
            get_echo(peer, 1);
        } else {
            sealed[0] = 0;
            sealed[1] = AN_NOISE_TAG_LEN - 1;
        }
        door_put(peer->fd, sealed, an_noise_sealed_len(len));
        door_get_end(peer->fd);
        leave(peer);
        door_await(s, &s->closed, i);
        await_stat(s, &s->stats.broken, i);
    }
    assert_int_equal(door_read(s, &s->frames), 1);
    assert_int_equal(door_read(s, &s->stats.noise_full), 3);
    stub_stop(s);
}

/* One byte at a time, also in the length; and the largest record that there is. What is
 * held of one that is not whole is counted, and given back. */
static void
test_door_noise_records_of_any_size_and_cut(void **state)
{
    static uint8_t much[AN_NOISE_MESSAGE_MAX + 2], body[AN_FRAME_LEN_MAX];
    struct stub *s = start();
    struct noise_peer *peer = join(s);
    uint8_t frame[64], sealed[128];
    size_t len = door_frame_make(frame, CMD_ECHO, "a", 1);

    (void)state;
    assert_int_equal(an_noise_seal(&peer->conn, frame, len, sealed), AN_OK);
    for (size_t i = 0; i < an_noise_sealed_len(len); i++) {
        door_put(peer->fd, sealed + i, 1);
        door_await_turn(s);
    }
    get_echo(peer, 1);
    much[0] = much[1] = 0xFF;
    len = door_frame_make(much + 2, CMD_ECHO, body,
                          AN_NOISE_PAYLOAD_MAX - AN_FRAME_HEADER_LEN);
    assert_int_equal(len, AN_NOISE_PAYLOAD_MAX);
    assert_int_equal(an_noise_encrypt(&peer->conn.out, much + 2, len, much + 2), AN_OK);
    door_put(peer->fd, much, 1000);
    do {
        door_await_turn(s);
    } while (door_read(s, &s->stats.partial_bytes) < 1000);
    door_put(peer->fd, much + 1000, sizeof(much) - 1000);
    get_echo(peer, AN_NOISE_PAYLOAD_MAX - AN_FRAME_HEADER_LEN);
    door_await_turn(s);
    assert_int_equal(door_read(s, &s->stats.partial_bytes), 0);
    leave(peer);
    stub_stop(s);
}

static void
test_door_noise_without_a_key_is_no_door(void **state)
{
    struct gate_door_cfg cfg = {.listen = {"noise://127.0.0.1:0"}, .listen_count = 1};
    struct an_door *door;
    char why[256];

    (void)state;
    assert_int_equal(gate_door_create(&door, &cfg, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "gate.noise_key"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_door_noise_with_another_key_or_a_weak_one_is_refused_and_logged),
        cmocka_unit_test(test_door_noise_changed_repeated_or_short_record_ends_it),
        cmocka_unit_test(test_door_noise_records_of_any_size_and_cut),
        cmocka_unit_test(test_door_noise_without_a_key_is_no_door),
    };

    if (sodium_init() < 0) {
        return 1;
    }
    an_noise_key_make(&key);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
