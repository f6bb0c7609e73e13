#include "tests/core/stage.h"
#include "tests/core/toys.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ places */

uint16_t
stage_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static void
point(struct stage *stage)
{
    stage->places.hosts = stage->hosts;
    for (size_t role = 0; role < AN_ROLE_COUNT; role++) {
        stage->places.of[role] = stage->of[role];
    }
}

void
stage_init(struct stage *stage, uint16_t host_count)
{
    *stage = (struct stage){.places.host_count = host_count};
    point(stage);
    for (size_t i = 0; i < STAGE_HOSTS; i++) {
        snprintf(stage->hosts[i].name, sizeof(stage->hosts[i].name), "%c",
                 (char)('a' + (char)i));
        snprintf(stage->hosts[i].address, sizeof(stage->hosts[i].address), "127.0.0.1");
    }
}

void
stage_put(struct stage *stage, enum an_role role, uint16_t index, uint16_t host,
          uint16_t process)
{
    stage->of[role][index] = (struct an_place){
        .host = host, .process = process, .port = stage_port(), .hints = stage_port()};
}

void
stage_adopt(struct stage *to, const struct stage *from)
{
    *to = *from;
    point(to);
}

void
stage_copy(struct stage *to, const struct stage *from, const char *cert)
{
    stage_adopt(to, from);
    snprintf(to->places.ca, sizeof(to->places.ca), "%s/ca.pem", stage_certs);
    snprintf(to->places.cert, sizeof(to->places.cert), "%s/%s.pem", stage_certs, cert);
    snprintf(to->places.key, sizeof(to->places.key), "%s/%s.key", stage_certs, cert);
}

/* ------------------------------------------------------------------ certificates */

char stage_certs[64];

#define REQ                                                                              \
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "

static int
shell(char *command)
{
    char *args[] = {(char[]){"sh"}, (char[]){"-c"}, command, NULL};
    int status = -1;
    pid_t pid;

    if (posix_spawnp(&pid, "sh", NULL, NULL, args, environ) != 0 ||
        waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return status;
}

/* ca NULL: signed by itself. */
static void
make_cert(const char *ca, const char *name, const char *host)
{
    char command[512], by[64] = "";

    if (ca != NULL) {
        snprintf(by, sizeof(by), "-CA %s.pem -CAkey %s.key", ca, ca);
    }
    snprintf(command, sizeof(command),
             "cd %s && " REQ
             "%s -subj /CN=%s -addext subjectAltName=DNS:%s -keyout %s.key "
             "-out %s.pem 2>/dev/null",
             stage_certs, by, host, host, name, name);
    assert_int_equal(shell(command), 0);
}

int
stage_certs_make(void **state)
{
    (void)state;
    snprintf(stage_certs, sizeof(stage_certs), "/tmp/anser-certs-XXXXXX");
    assert_non_null(mkdtemp(stage_certs));
    make_cert(NULL, "ca", "ca");
    make_cert("ca", "a", "a");
    make_cert("ca", "b", "b");
    make_cert("ca", "c", "c");
    make_cert(NULL, "other", "ca");
    make_cert("other", "stranger", "b");
    return 0;
}

int
stage_certs_drop(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", stage_certs);
    return shell(command);
}

/* ------------------------------------------------------------------ the log */

static int log_read = -1, log_before = -1;
static char log_text[65536];
static size_t log_len;

void
stage_log_open(void)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    log_before = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    log_read = ends[0];
    log_len = 0;
}

void
stage_log_close(void)
{
    dup2(log_before, STDERR_FILENO);
    close(log_before);
    close(log_read);
    log_read = -1;
}

/* One piece more. False: none came in time. */
static bool
read_more(int timeout_ms)
{
    struct pollfd fd = {.fd = log_read, .events = POLLIN};
    ssize_t len;

    if (poll(&fd, 1, timeout_ms) != 1) {
        return false;
    }
    if (log_len > sizeof(log_text) / 2) {
        memmove(log_text, log_text + log_len / 2, log_len - log_len / 2);
        log_len -= log_len / 2;
    }
    len = read(log_read, log_text + log_len, sizeof(log_text) - log_len - 1);
    assert_true(len > 0);
    log_len += (size_t)len;
    log_text[log_len] = '\0';
    return true;
}

bool
stage_log_has(const char *text)
{
    while (read_more(0)) {
    }
    log_text[log_len] = '\0';
    return strstr(log_text, text) != NULL;
}

void
stage_log_await(const char *text)
{
    char *found;

    log_text[log_len] = '\0';
    while ((found = strstr(log_text, text)) == NULL) {
        if (!read_more(TOY_WAIT_S * 1000)) {
            stage_log_close();
            fail_msg("no line with '%s' in: %s", text, log_text);
        }
    }
    found += strlen(text);
    log_len -= (size_t)(found - log_text);
    memmove(log_text, found, log_len + 1);
}
