/* The mended faults of NNG, each by itself: what a call says when its stream is closed
 * under it. (core.runner_kill and core.runner_tls show what they did to processes.) */
#include "core/runner_nng/priv.h"
#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Both ends of a TCP connection on loopback. */
struct pair {
    nng_stream_listener *listener;
    nng_stream_dialer *dialer;
    nng_stream *here, *there;
};

static struct pair pair;

static nng_aio *
new_aio(void)
{
    nng_aio *aio;

    assert_int_equal(nng_aio_alloc(&aio, NULL, NULL), 0);
    nng_aio_set_timeout(aio, 20000);
    return aio;
}

static int
setup(void **state)
{
    nng_aio *dial = new_aio(), *accept = new_aio();
    char url[64];
    int port;

    (void)state;
    pair = (struct pair){0};
    assert_int_equal(nng_stream_listener_alloc(&pair.listener, "tcp://127.0.0.1:0"), 0);
    assert_int_equal(nng_stream_listener_listen(pair.listener), 0);
    assert_int_equal(
        nng_stream_listener_get_int(pair.listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port);
    assert_int_equal(nng_stream_dialer_alloc(&pair.dialer, url), 0);
    nng_stream_listener_accept(pair.listener, accept);
    nng_stream_dialer_dial(pair.dialer, dial);
    nng_aio_wait(dial);
    nng_aio_wait(accept);
    assert_int_equal(nng_aio_result(dial), 0);
    assert_int_equal(nng_aio_result(accept), 0);
    pair.here = nng_aio_get_output(dial, 0);
    pair.there = nng_aio_get_output(accept, 0);
    nng_aio_free(dial);
    nng_aio_free(accept);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    nng_stream_free(pair.here);
    nng_stream_free(pair.there);
    nng_stream_dialer_free(pair.dialer);
    nng_stream_listener_free(pair.listener);
    return 0;
}

static void
receive(nng_stream *stream, nng_aio *aio)
{
    static char bytes[16];
    nng_iov iov = {.iov_buf = bytes, .iov_len = sizeof(bytes)};

    assert_int_equal(nng_aio_set_iov(aio, 1, &iov), 0);
    nng_stream_recv(stream, aio);
}

static void
need_mending(void)
{
    if (!nng_is_mended()) {
        skip(); /* another NNG: not looked at */
    }
}

/* As closed it would end the listener or dialer that is making the connection. */
static void
test_mend_stream_closed_receive_ends_as_reset(void **state)
{
    nng_aio *aio = new_aio();

    (void)state;
    need_mending();
    receive(pair.here, aio);
    nng_stream_close(pair.here);
    nng_aio_wait(aio);
    assert_int_equal(nng_aio_result(aio), NNG_ECONNRESET);
    nng_aio_free(aio);
}

/* Every receive is forgotten with its stream: the aio may be gone by then. */
static void
test_mend_aio_freed_before_the_stream_is_not_touched(void **state)
{
    nng_aio *aio = new_aio();

    (void)state;
    need_mending();
    receive(pair.here, aio);
    nng_stream_close(pair.here);
    nng_aio_wait(aio);
    nng_aio_free(aio);
    nng_stream_close(pair.here);
}

/* NNG does nothing at all: the one who waits would wait for ever. */
static void
test_mend_receive_on_a_stopped_aio_ends_as_reset(void **state)
{
    nng_aio *aio = new_aio();

    (void)state;
    need_mending();
    nng_aio_stop(aio);
    receive(pair.here, aio);
    nng_aio_wait(aio);
    assert_int_equal(nng_aio_result(aio), NNG_ECONNRESET);
    nng_aio_free(aio);
}

/* Who closes nothing gets what was sent. */
static void
test_mend_bytes_pass(void **state)
{
    nng_aio *in = new_aio(), *out = new_aio();
    char word[] = "goose";
    nng_iov iov = {.iov_buf = word, .iov_len = 5};

    (void)state;
    receive(pair.there, in);
    assert_int_equal(nng_aio_set_iov(out, 1, &iov), 0);
    nng_stream_send(pair.here, out);
    nng_aio_wait(out);
    nng_aio_wait(in);
    assert_int_equal(nng_aio_result(out), 0);
    assert_int_equal(nng_aio_result(in), 0);
    assert_int_equal(nng_aio_count(in), 5);
    nng_aio_free(in);
    nng_aio_free(out);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_mend_stream_closed_receive_ends_as_reset),
        TEST(test_mend_aio_freed_before_the_stream_is_not_touched),
        TEST(test_mend_receive_on_a_stopped_aio_ends_as_reset),
        TEST(test_mend_bytes_pass),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);

    nng_fini();
    return failures;
}
