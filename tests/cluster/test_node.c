/* Does a node start, hold its directory, keep its key, clean up after a dead one, and say
 * clearly why it cannot start? Real actors on a real disk, in this process. */
#include "cluster/node.h"
#include "cluster/node_file.h"
#include "core/control.h"
#include "core/log.h"
#include "tests/core/tree.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[64], data[96], why[1024];
static struct config config;

static int
setup(void **state)
{
    (void)state;
    snprintf(top, sizeof(top), "/tmp/anser-node-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(data, sizeof(data), "%s/data", top);
    setenv("XDG_RUNTIME_DIR", top, 1);
    assert_int_equal(config_init(&config), AN_OK);
    assert_int_equal(config_set_text(&config.top_data, data), AN_OK);
    assert_int_equal(config_set_text(&config.top_listen, "tcp://127.0.0.1:0"), AN_OK);
    assert_int_equal(config_set_text(&config.api_listen, "http://127.0.0.1:0"), AN_OK);
    config.store_log_segment_bytes = 8388608;
    an_log_setup(AN_LOG_ERROR, false);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    config_fini(&config);
    return tree_remove(top);
}

static struct node *
start(void)
{
    struct node *node;
    enum an_err err = node_start(&node, &config, why, sizeof(why));

    if (err != AN_OK) {
        fail_msg("%s: %s", an_err_name(err), why);
    }
    return node;
}

static void
stop(struct node *node)
{
    assert_true(node_stop(node));
}

static unsigned
mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static struct node_file
read_file(void)
{
    struct node_file file;

    assert_int_equal(node_file_read(&file, data, why, sizeof(why)), AN_OK);
    return file;
}

static void
expect_words(const char *url, const char *words, const char *part)
{
    char *text = NULL;

    assert_int_equal(an_control_ask(&text, url, words, 10000), AN_OK);
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' answered: %s", words, text);
    }
    free(text);
}

static void
test_node_start_makes_private_files_and_serves(void **state)
{
    struct node *node = start();
    struct node_file file = read_file();
    char path[192];

    (void)state;
    assert_string_equal(node_data(node), data);
    assert_string_equal(file.tcp, node_address(node));
    assert_int_equal(file.pid, getpid());
    assert_int_equal(mode_of(data), 0700);
    snprintf(path, sizeof(path), "%s/node.json", data);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(mode_of(file.control + strlen("ipc://")), 0600);
    assert_int_equal(mode_of(file.events + strlen("ipc://")), 0600);
    expect_words(file.control, "api/0 user-add alice", "\"user\":\"alice\"");
    expect_words(file.control, "api/0 user-add alice", "\"error\":\"USER_EXISTS\"");
    expect_words(file.control, "metrics", "anser_store_users_total{actor=\"store/0\"} ");
    stop(node);
    assert_int_equal(access(file.control + strlen("ipc://"), F_OK), -1);
    node_file_fini(&file);
}

static void
test_node_restart_keeps_key_users_and_cluster(void **state)
{
    struct node *node = start();
    struct node_file before = read_file(), after;

    (void)state;
    expect_words(before.control, "api/0 user-add alice", "\"user\":\"alice\"");
    stop(node);
    node = start();
    after = read_file();
    assert_string_equal(before.cluster, after.cluster);
    assert_memory_equal(&before.key, &after.key, sizeof(before.key));
    expect_words(after.control, "api/0 user-add alice", "\"error\":\"USER_EXISTS\"");
    stop(node);
}

static void
test_node_over_ipc_serves_the_same(void **state)
{
    struct node_file file;
    struct node *node;

    (void)state;
    assert_int_equal(config_set_text(&config.top_bus, "ipc"), AN_OK);
    node = start();
    file = read_file();
    expect_words(file.control, "api/0 user-add alice", "\"user\":\"alice\"");
    stop(node);
}

static void
test_node_second_on_the_same_data_locked(void **state)
{
    struct node *node = start(), *second;

    (void)state;
    assert_int_equal(node_start(&second, &config, why, sizeof(why)), AN_ERR_LOCKED);
    assert_non_null(strstr(why, data));
    stop(node);
    stop(start()); /* and the lock is given back */
}

static void
test_node_address_taken_is_named(void **state)
{
    struct node *node = start(), *second;
    char other[96];

    (void)state;
    snprintf(other, sizeof(other), "%s/other", top);
    assert_int_equal(config_set_text(&config.top_data, other), AN_OK);
    assert_int_equal(config_set_text(&config.top_listen, node_address(node)), AN_OK);
    assert_int_equal(node_start(&second, &config, why, sizeof(why)), AN_ERR_CONNECTION);
    assert_non_null(strstr(why, node_address(node)));
    snprintf(other, sizeof(other), "%s/other/store", top);
    assert_int_equal(access(other, F_OK), -1); /* nothing of size is left behind */
    stop(node);
}

/* The store's directory and node.json name the same cluster, however early a start ended.
 */
static void
test_node_start_that_failed_can_be_repeated(void **state)
{
    struct node *node = start(), *second;
    char other[96];

    (void)state;
    snprintf(other, sizeof(other), "%s/other", top);
    assert_int_equal(config_set_text(&config.top_data, other), AN_OK);
    assert_int_equal(config_set_text(&config.top_listen, node_address(node)), AN_OK);
    assert_int_equal(node_start(&second, &config, why, sizeof(why)), AN_ERR_CONNECTION);
    stop(node);
    stop(start());
}

static void
test_node_bad_listen_is_named_and_leaves_nothing(void **state)
{
    struct node *node;

    (void)state;
    assert_int_equal(config_set_text(&config.top_listen, "udp://here"), AN_OK);
    assert_int_equal(node_start(&node, &config, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, "udp://here"));
    assert_int_equal(access(data, F_OK), -1);
}

static void
test_node_data_that_cannot_be_made_is_named(void **state)
{
    struct node *node;

    (void)state;
    assert_int_equal(config_set_text(&config.top_data, "/proc/no/such/place"), AN_OK);
    assert_int_equal(node_start(&node, &config, why, sizeof(why)), AN_ERR_IO);
    assert_non_null(strstr(why, "/proc/no/such/place"));
}

static void
test_node_damaged_node_json_is_named_not_replaced(void **state)
{
    struct node *node = start();
    char path[192];
    FILE *file;

    (void)state;
    stop(node);
    snprintf(path, sizeof(path), "%s/node.json", data);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs("{\"version\":1,", file);
    fclose(file);
    assert_int_equal(node_start(&node, &config, why, sizeof(why)), AN_ERR_CORRUPT);
    assert_non_null(strstr(why, "node.json"));
}

/* Takes the whole of a small file. */
static size_t
read_text(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "re");

    assert_non_null(file);
    size_t len = fread(out, 1, cap, file);
    fclose(file);
    assert_true(len > 0 && len < cap);
    return len;
}

/* A key file with one bit flipped is refused, or holds the same key. */
static void
test_node_key_with_a_flipped_bit_is_never_used(void **state)
{
    struct an_token_key key, found;
    char path[192], text[1024];
    size_t len, refused = 0;

    (void)state;
    snprintf(path, sizeof(path), "%s/token.json", top);
    node_key_make(&key);
    assert_int_equal(node_key_write(&key, path, why, sizeof(why)), AN_OK);
    len = read_text(path, text, sizeof(text));
    for (size_t bit = 0; bit < 8 * len; bit++) {
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        text[bit / 8] ^= (char)(1 << bit % 8);
        fwrite(text, 1, len, file);
        fclose(file);
        text[bit / 8] ^= (char)(1 << bit % 8);
        if (node_key_read(&found, path, why, sizeof(why)) != AN_OK) {
            assert_non_null(strstr(why, "token.json"));
            refused++;
            continue;
        }
        assert_string_equal(found.id, key.id);
        assert_memory_equal(found.secret, key.secret, sizeof(key.secret));
    }
    assert_true(refused > 8 * 43); /* the secret's own characters alone */
}

static void
test_node_noise_key_is_private_and_kept(void **state)
{
    struct node *node;
    struct node_file before, after;
    struct an_noise_key key;
    char path[192], text[AN_NOISE_TEXT_MAX], kept[192];

    (void)state;
    snprintf(path, sizeof(path), "%s/noise.json", data);
    snprintf(kept, sizeof(kept), "%s/kept.json", top);
    stop(start()); /* without such a door there is no key */
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(config_set_text(&config.top_listen, "noise://127.0.0.1:0"), AN_OK);
    node = start();
    before = read_file();
    assert_int_equal(strncmp(before.tcp, "noise://127.0.0.1:", 18), 0);
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(node_noise_read(&key, path, why, sizeof(why)), AN_OK);
    an_noise_key_print(key.public, text);
    assert_string_equal(before.noise, text);
    stop(node);
    stop(start());
    after = read_file();
    assert_string_equal(before.noise, after.noise);
    /* Lost, it is not made anew behind the backs of those who have pinned it. */
    assert_int_equal(rename(path, kept), 0);
    assert_int_equal(node_start(&node, &config, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, before.noise));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rename(kept, path), 0);
    stop(start());
}

static void
test_node_noise_key_with_a_flipped_bit_is_never_used(void **state)
{
    struct an_noise_key key, found;
    char path[192], text[1024];
    size_t len, refused = 0;
    bool made;

    (void)state;
    snprintf(path, sizeof(path), "%s/noise.json", top);
    assert_int_equal(node_noise_take(&key, path, &made, why, sizeof(why)), AN_OK);
    assert_true(made);
    len = read_text(path, text, sizeof(text));
    for (size_t bit = 0; bit < 8 * len; bit++) {
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        text[bit / 8] ^= (char)(1 << bit % 8);
        fwrite(text, 1, len, file);
        fclose(file);
        text[bit / 8] ^= (char)(1 << bit % 8);
        if (node_noise_take(&found, path, &made, why, sizeof(why)) != AN_OK) {
            assert_non_null(strstr(why, "noise.json"));
            refused++;
            continue;
        }
        assert_false(made);
        assert_memory_equal(found.public, key.public, sizeof(key.public));
    }
    assert_true(refused > 8 * 80); /* the characters of both halves alone */
}

static void
test_node_lost_node_json_says_what_to_put_back(void **state)
{
    struct node *node = start();
    struct node_file file = read_file();
    char path[192], kept[192];

    (void)state;
    stop(node);
    snprintf(path, sizeof(path), "%s/node.json", data);
    snprintf(kept, sizeof(kept), "%s/kept.json", top);
    assert_int_equal(rename(path, kept), 0);
    assert_int_equal(node_start(&node, &config, why, sizeof(why)), AN_ERR_CONFIG);
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, file.cluster));
    assert_non_null(strstr(why, "backup"));
    assert_int_equal(access(path, F_OK), -1); /* no other one took its place */
    assert_int_equal(rename(kept, path), 0);
    stop(start());
    node_file_fini(&file);
}

/* What a killed node leaves is cleaned by the next start; a stranger's is not. */
static void
test_node_start_removes_a_dead_ones_sockets(void **state)
{
    struct node *node = start();
    struct node_file file = read_file();
    char stale[96], keep[128];
    FILE *made;

    (void)state;
    stop(node);
    snprintf(stale, sizeof(stale), "%s/anser-abcdef", top);
    assert_int_equal(mkdir(stale, 0700), 0);
    snprintf(file.control, sizeof(file.control), "ipc://%s/control", stale);
    assert_int_equal(node_file_write(&file, data, why, sizeof(why)), AN_OK);
    stop(start());
    assert_int_equal(access(stale, F_OK), -1);
    assert_int_equal(mkdir(stale, 0700), 0); /* with a plain file in it: not ours */
    snprintf(keep, sizeof(keep), "%s/letter", stale);
    made = fopen(keep, "we");
    assert_non_null(made);
    fclose(made);
    assert_int_equal(node_file_write(&file, data, why, sizeof(why)), AN_OK);
    stop(start());
    assert_int_equal(access(keep, F_OK), 0);
    node_file_fini(&file);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_node_start_makes_private_files_and_serves),
        TEST(test_node_restart_keeps_key_users_and_cluster),
        TEST(test_node_over_ipc_serves_the_same),
        TEST(test_node_second_on_the_same_data_locked),
        TEST(test_node_address_taken_is_named),
        TEST(test_node_start_that_failed_can_be_repeated),
        TEST(test_node_bad_listen_is_named_and_leaves_nothing),
        TEST(test_node_data_that_cannot_be_made_is_named),
        TEST(test_node_damaged_node_json_is_named_not_replaced),
        TEST(test_node_key_with_a_flipped_bit_is_never_used),
        TEST(test_node_noise_key_is_private_and_kept),
        TEST(test_node_noise_key_with_a_flipped_bit_is_never_used),
        TEST(test_node_lost_node_json_says_what_to_put_back),
        TEST(test_node_start_removes_a_dead_ones_sockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
