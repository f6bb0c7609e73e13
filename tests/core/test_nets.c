#include "core/bucket.h"
#include "core/nets.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static void
address(uint8_t out[AN_ADDRESS_LEN], const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        an_address_of(out, (struct sockaddr *)&in);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
        an_address_of(out, (struct sockaddr *)&in6);
    }
}

static bool
holds(const char *nets, const char *text)
{
    uint8_t at[AN_ADDRESS_LEN];
    struct an_nets parsed;

    address(at, text);
    assert_true(an_nets_parse(&parsed, nets));
    return an_nets_hold(&parsed, at);
}

static void
test_nets_hold_what_is_in_them(void **state)
{
    (void)state;
    assert_false(holds("", "127.0.0.1"));
    assert_true(holds("127.0.0.0/8, ::1", "127.3.2.1"));
    assert_true(holds("127.0.0.0/8, ::1", "::1"));
    assert_true(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
    assert_false(holds("127.0.0.0/8,::1", "128.0.0.1"));
    assert_false(holds("127.0.0.0/8,::1", "::2"));
    assert_true(holds("192.0.2.7", "192.0.2.7"));
    assert_false(holds("192.0.2.7", "192.0.2.6"));
    assert_true(holds("192.0.2.64/26", "192.0.2.127"));
    assert_false(holds("192.0.2.64/26", "192.0.2.128"));
    assert_true(holds("0.0.0.0/0", "8.8.8.8"));
    assert_false(holds("0.0.0.0/0", "2001:db8::1"));
    assert_true(holds("::/0", "8.8.8.8"));
    assert_true(holds("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(holds("2001:db8::/33", "2001:db8:8000::1"));
}

static void
test_nets_that_are_none_are_refused(void **state)
{
    static const char *const wrong[] = {
        "localhost",  "127.0.0.1/33", "::1/129",    "127.0.0.1/",  "127.0.0.1/-1",
        "127.0.0/24", "127.0.0.1/8x", "1.2.3.4/ 8", "1.2.3.4;::1", "/8"};
    char many[AN_NETS_MAX * 8 + 16];
    struct an_nets nets;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (an_nets_parse(&nets, wrong[i])) {
            fail_msg("taken: %s", wrong[i]);
        }
    }
    for (unsigned i = 0; i < AN_NETS_MAX; i++) {
        snprintf(many + 8 * (size_t)i, sizeof(many) - 8 * (size_t)i, "1.2.3.4 ");
    }
    assert_true(an_nets_parse(&nets, many));
    snprintf(many + 8 * (size_t)AN_NETS_MAX, 4, "::1");
    assert_false(an_nets_parse(&nets, many));
}

static void
test_address_is_printed_as_people_write_it(void **state)
{
    static const char *const texts[] = {"127.0.0.1", "::1", "2001:db8::1"};
    char out[AN_ADDRESS_TEXT_MAX];
    uint8_t at[AN_ADDRESS_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        address(at, texts[i]);
        an_address_print(at, out, sizeof(out));
        assert_string_equal(out, texts[i]);
    }
    address(at, "127.0.0.1");
    assert_true(an_address_is_v4(at));
    address(at, "::1");
    assert_false(an_address_is_v4(at));
}

/* How many can be taken at this moment. */
static unsigned
taken(struct an_bucket *bucket, const struct an_rate *rate, uint64_t now_ms)
{
    unsigned count = 0;

    while (count < 1000 && an_bucket_wait_ms(bucket, rate, now_ms) == 0) {
        an_bucket_take(bucket, rate, now_ms);
        count++;
    }
    return count;
}

static void
test_bucket_gives_its_burst_then_its_rate(void **state)
{
    struct an_rate rate = an_rate_of(10, 30);
    struct an_bucket bucket = {0};
    uint64_t now_ms = 5000;

    (void)state;
    assert_int_equal(taken(&bucket, &rate, now_ms), 30);
    assert_int_equal(an_bucket_wait_ms(&bucket, &rate, now_ms), 100);
    assert_int_equal(an_bucket_wait_ms(&bucket, &rate, now_ms + 99), 1);
    assert_int_equal(taken(&bucket, &rate, now_ms + 100), 1);
    assert_int_equal(taken(&bucket, &rate, now_ms + 600), 5);
    assert_int_equal(taken(&bucket, &rate, now_ms + 60000), 30);
}

static void
test_bucket_without_a_rate_gives_always(void **state)
{
    struct an_rate none = an_rate_of(0, 5), one = an_rate_of(1, 0);
    struct an_bucket bucket = {0};

    (void)state;
    assert_int_equal(taken(&bucket, &none, 1), 1000);
    bucket.full_ns = 0;
    assert_int_equal(taken(&bucket, &one, 1), 1);
    assert_int_equal(an_bucket_wait_ms(&bucket, &one, 1), 1000);
}

/* More than one a millisecond: nothing is lost to the clock's steps. */
static void
test_bucket_finer_than_the_clock(void **state)
{
    struct an_rate rate = an_rate_of(3000, 3);
    struct an_bucket bucket = {0};
    unsigned count = 0;

    (void)state;
    for (uint64_t now_ms = 1000; now_ms < 2000; now_ms++) {
        count += taken(&bucket, &rate, now_ms);
    }
    assert_in_range(count, 2998, 3003);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets_hold_what_is_in_them),
        cmocka_unit_test(test_nets_that_are_none_are_refused),
        cmocka_unit_test(test_address_is_printed_as_people_write_it),
        cmocka_unit_test(test_bucket_gives_its_burst_then_its_rate),
        cmocka_unit_test(test_bucket_without_a_rate_gives_always),
        cmocka_unit_test(test_bucket_finer_than_the_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
