/* Is what a scraper reads valid Prometheus text, and JSON what a person asked for? */
#include "core/metrics.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_metrics_prometheus_names_help_and_type_once(void **state)
{
    struct an_metrics *metrics = an_metrics_create();
    char *text;

    (void)state;
    an_metrics_add(metrics, "store", "store/0", "users", "Users.", false, 7);
    an_metrics_add(metrics, "gate", "gate/1", "sends_total", "Sends.", true, 2);
    an_metrics_add(metrics, "gate", "gate/0", "sends_total", "Sends.", true,
                   18446744073709551615ull);
    text = an_metrics_prometheus(metrics);
    assert_string_equal(text,
                        "# HELP anser_gate_sends_total Sends.\n"
                        "# TYPE anser_gate_sends_total counter\n"
                        "anser_gate_sends_total{actor=\"gate/0\"} 18446744073709551615\n"
                        "anser_gate_sends_total{actor=\"gate/1\"} 2\n"
                        "# HELP anser_store_users Users.\n"
                        "# TYPE anser_store_users gauge\n"
                        "anser_store_users{actor=\"store/0\"} 7\n");
    free(text);
    an_metrics_destroy(metrics);
}

static void
test_metrics_counter_without_suffix_gets_it(void **state)
{
    struct an_metrics *metrics = an_metrics_create();
    char *text;

    (void)state;
    an_metrics_add(metrics, "gate", "gate/0", "sends", "Sends.", true, 1);
    an_metrics_add(metrics, "gate", "gate/0", "total", "A gauge of that name.", false, 2);
    text = an_metrics_prometheus(metrics);
    assert_non_null(strstr(text, "\nanser_gate_sends_total{actor=\"gate/0\"} 1\n"));
    assert_non_null(strstr(text, "\nanser_gate_total{actor=\"gate/0\"} 2\n"));
    free(text);
    an_metrics_destroy(metrics);
}

static void
test_metrics_time_is_seconds_to_prometheus_and_as_counted_in_json(void **state)
{
    struct an_metrics *metrics = an_metrics_create();
    char *text;

    (void)state;
    an_metrics_add(metrics, "idgen", "idgen/0", "ahead_ms", "Ahead", false, 12034);
    an_metrics_add(metrics, "store", "store/0", "sync_us", "Time", true, 3000042);
    an_metrics_add(metrics, "store", "store/0", "gauge_us_total", "A gauge", false, 5);
    an_metrics_add(metrics, "store", "store/0", "_us", "No name", false, 6);
    an_metrics_add(metrics, "store", "store/0", "most_us", "All", true, UINT64_MAX);
    text = an_metrics_prometheus(metrics);
    assert_non_null(strstr(text,
                           "# HELP anser_idgen_ahead_seconds Ahead\n"
                           "# TYPE anser_idgen_ahead_seconds gauge\n"
                           "anser_idgen_ahead_seconds{actor=\"idgen/0\"} 12.034\n"));
    assert_non_null(strstr(text, "# TYPE anser_store_sync_seconds_total counter\n"
                                 "anser_store_sync_seconds_total{actor=\"store/0\"} "
                                 "3.000042\n"));
    assert_non_null(strstr(text, "\nanser_store_gauge_us_total{actor=\"store/0\"} 5\n"));
    assert_non_null(strstr(text, "\nanser_store__us{actor=\"store/0\"} 6\n"));
    assert_non_null(strstr(text, "} 18446744073709.551615\n"));
    free(text);
    text = an_metrics_json(metrics);
    assert_non_null(strstr(text, "\"ahead_ms\":12034"));
    assert_non_null(strstr(text, "\"sync_us_total\":3000042"));
    free(text);
    an_metrics_destroy(metrics);
}

static void
test_metrics_json_keeps_the_actors_order(void **state)
{
    struct an_metrics *metrics = an_metrics_create();
    char *text;

    (void)state;
    an_metrics_add(metrics, "store", "store/0", "zebras", "Z.", false, 1);
    an_metrics_add(metrics, "runner", "store/0", "steps_total", "Steps.", true, 3);
    an_metrics_add(metrics, "store", "store/0", "apples", "A.", false, 2);
    text = an_metrics_json(metrics);
    assert_string_equal(
        text, "{\"runner\":{\"steps_total\":3},\"store\":{\"zebras\":1,\"apples\":2}}");
    free(text);
    an_metrics_destroy(metrics);
}

static void
test_metrics_none_is_empty_text(void **state)
{
    struct an_metrics *metrics = an_metrics_create();
    char *text = an_metrics_prometheus(metrics), *json = an_metrics_json(metrics);

    (void)state;
    assert_string_equal(text, "");
    assert_string_equal(json, "{}");
    free(text);
    free(json);
    an_metrics_destroy(metrics);
    an_metrics_destroy(NULL);
}

static void
test_metrics_thousand_rows_are_all_there(void **state)
{
    struct an_metrics *metrics = an_metrics_create();
    char *text;
    size_t lines = 0;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        an_metrics_add(metrics, "gate", "gate/0", i % 2 == 0 ? "a" : "b", "H.", false, i);
    }
    text = an_metrics_prometheus(metrics);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, 1004);
    free(text);
    an_metrics_destroy(metrics);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_prometheus_names_help_and_type_once),
        cmocka_unit_test(test_metrics_counter_without_suffix_gets_it),
        cmocka_unit_test(
            test_metrics_time_is_seconds_to_prometheus_and_as_counted_in_json),
        cmocka_unit_test(test_metrics_json_keeps_the_actors_order),
        cmocka_unit_test(test_metrics_none_is_empty_text),
        cmocka_unit_test(test_metrics_thousand_rows_are_all_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
