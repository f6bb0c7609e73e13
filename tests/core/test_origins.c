#include "core/origins.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static bool
listed(const char *list, const char *origin)
{
    return an_origins_list(list, origin, strlen(origin));
}

static void
test_origins_are_found_whole(void **state)
{
    static const char list[] = " https://a.example,http://b.example:8080 , ,https://c";

    (void)state;
    assert_true(listed(list, "https://a.example"));
    assert_true(listed(list, "http://b.example:8080"));
    assert_true(listed(list, "https://c"));
    assert_false(listed(list, "https://a.example:443"));
    assert_false(listed(list, "https://a.exampl"));
    assert_false(listed(list, "https://a.example.evil"));
    assert_true(listed(list, "HTTPS://A.example"));
    assert_false(listed(list, "https://a.example,http://b.example:8080"));
    assert_false(listed(list, "null"));
    assert_false(listed(list, ""));
    assert_true(an_origins_list(list, "https://cc", 9)); /* no more than it is given */
}

static void
test_origins_star_is_every_one(void **state)
{
    (void)state;
    assert_true(listed("*", "https://a.example"));
    assert_true(listed("https://b.example, *", "null"));
    assert_false(listed("https://*.example", "https://a.example"));
}

static void
test_origins_of_an_empty_list_are_none(void **state)
{
    (void)state;
    assert_false(listed("", "https://a.example"));
    assert_false(listed(" ,", ""));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origins_are_found_whole),
        cmocka_unit_test(test_origins_star_is_every_one),
        cmocka_unit_test(test_origins_of_an_empty_list_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
