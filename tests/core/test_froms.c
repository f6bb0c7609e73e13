#include "core/froms.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

struct share {
    struct an_from from; /* first */
    unsigned things;
};

/* So many of the next allocations fail. */
static unsigned starved_count;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *
__wrap_calloc(size_t count, size_t size)
{
    if (starved_count > 0) {
        starved_count--;
        return NULL;
    }
    return __real_calloc(count, size);
}

static struct share *
join(struct an_froms *froms, const char *text)
{
    struct an_nets nets;

    assert_true(an_nets_parse(&nets, text));
    return an_froms_join(froms, nets.net[0].address, sizeof(struct share));
}

static void
connections_of_an_address_share(void **state)
{
    struct an_froms froms = {0};
    struct share *one = join(&froms, "192.0.2.1"), *other = join(&froms, "192.0.2.2");

    (void)state;
    assert_ptr_not_equal(one, other);
    one->things = 7;
    assert_ptr_equal(join(&froms, "192.0.2.1"), one);
    assert_int_equal(one->from.conns, 2);
    an_froms_leave(&froms, &one->from);
    assert_int_equal(one->from.conns, 1);
    assert_int_equal(one->things, 7);
    an_froms_leave(&froms, &one->from);
    an_froms_leave(&froms, &other->from);
    an_froms_fini(&froms);
}

static void
the_last_one_takes_all_with_it(void **state)
{
    struct an_froms froms = {0};
    struct share *share = join(&froms, "192.0.2.1");

    (void)state;
    share->things = 7;
    an_froms_leave(&froms, &share->from);
    assert_int_equal(froms.chains.count, 0);
    share = join(&froms, "192.0.2.1");
    assert_int_equal(share->things, 0);
    an_froms_leave(&froms, &share->from);
    an_froms_fini(&froms);
}

static void
a_network_of_ipv6_is_one(void **state)
{
    struct an_froms froms = {0};
    struct share *one = join(&froms, "2001:db8::1");
    struct share *far = join(&froms, "2001:db8:0:1::1");

    (void)state;
    assert_ptr_equal(join(&froms, "2001:db8::ffff:2"), one);
    assert_ptr_not_equal(far, one);
    an_froms_leave(&froms, &one->from);
    an_froms_leave(&froms, &one->from);
    an_froms_leave(&froms, &far->from);
    an_froms_fini(&froms);
}

static void
without_memory_nothing_is_counted(void **state)
{
    struct an_froms froms = {0};
    struct share *share;

    (void)state;
    starved_count = 1;
    assert_null(join(&froms, "192.0.2.1"));
    starved_count = 0;
    assert_int_equal(froms.chains.count, 0);
    share = join(&froms, "192.0.2.1");
    assert_int_equal(share->from.conns, 1);
    an_froms_leave(&froms, &share->from);
    an_froms_fini(&froms);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_of_an_address_share),
        cmocka_unit_test(the_last_one_takes_all_with_it),
        cmocka_unit_test(a_network_of_ipv6_is_one),
        cmocka_unit_test(without_memory_nothing_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
