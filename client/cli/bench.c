#include "client/cli/bench.h"
#include "client/cli/serve.h"
#include "client/cli/target.h"
#include "core/control.h"
#include "core/limits.h"
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    ONLINE_MS = 60000, /* for all to log in */
    DRAIN_MS = 20000,  /* for what is under way at the end */
    LOGINS_AT_ONCE = 64,
    CONTROL_MS = 10000,
    TURN_US = 10000,      /* with nothing due */
    QUIET_MS = 500,       /* so long nothing came: that was all */
    CATCH_UP_MS = 300000, /* for what was sent to the users before */
};

struct bench_user {
    struct bench *bench;
    size_t index;
    char name[32];
    char partner[32];
};

/* ------------------------------------------------------------------ figures */

struct figures {
    FILE *out;
    bool json, first;
    char *text;
    size_t len;
};

static void
figures_begin(struct figures *f, bool json, const char *mode)
{
    *f = (struct figures){.json = json};
    f->out = open_memstream(&f->text, &f->len);
    if (f->out != NULL) {
        fprintf(f->out, json ? "{\"mode\":\"%s\"" : "mode=%s", mode);
    }
}

static void
figure(struct figures *f, const char *name, double value, int digits)
{
    if (f->out != NULL) {
        fprintf(f->out, f->json ? ",\"%s\":%.*f" : " %s=%.*f", name, digits, value);
    }
}

static int
figures_end(struct figures *f)
{
    bool ok = f->out != NULL && fclose(f->out) == 0;

    if (ok) {
        printf("%s%s\n", f->text, f->json ? "}" : "");
    }
    free(f->text);
    return ok && fflush(stdout) == 0 ? 0 : cli_fail(AN_ERR_IO, "standard output", NULL);
}

/* ------------------------------------------------------------------ messages */

static uint64_t
now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* false when the client's queue is full: then it is counted as shed. */
static bool
send_one(struct bench_user *user, uint64_t due_us)
{
    struct bench *b = user->bench;
    struct anser_outgoing message = {.to = user->partner,
                                     .type = ANSER_TEXT,
                                     .body = b->body,
                                     .body_len = b->size,
                                     .tag = (void *)(uintptr_t)due_us};
    char head[BENCH_HEAD_LEN + 1];

    (void)snprintf(head, sizeof(head), "%016" PRIx64 "%s", due_us, b->run);
    memcpy(b->body, head, BENCH_HEAD_LEN);
    if (anser_client_send(b->pool.clients[user->index].client, &message, NULL) !=
        ANSER_OK) {
        b->shed++;
        return false;
    }
    b->sent_all++;
    return true;
}

static void
send_next(struct bench_user *user)
{
    struct bench *b = user->bench;

    if (b->sending && b->budget > 0 && send_one(user, now_us())) {
        b->budget -= b->budget == UINT64_MAX ? 0 : 1;
    }
}

static void
on_send(void *arg, const struct anser_send *send)
{
    struct bench_user *user = arg;
    struct bench *b = user->bench;

    if (send->state == ANSER_SEND_SENT) {
        b->acked_all++;
        if (b->measuring) {
            b->acked++;
            histogram_add(&b->ack, now_us() - (uint64_t)(uintptr_t)send->tag);
        }
        send_next(user);
    } else if (send->state == ANSER_SEND_FAILED) {
        b->failed++;
        b->last_failure = send->error.code;
    }
}

static bool
on_message(void *arg, const struct anser_message *message)
{
    struct bench_user *user = arg;
    struct bench *b = user->bench;
    char due[17] = {0};

    if (message->own || message->body_len < BENCH_HEAD_LEN ||
        memcmp(message->body + 16, b->run, 8) != 0) {
        b->earlier_ms = cli_mono_ms();
        return true;
    }
    b->delivered_all++;
    if (b->measuring) {
        memcpy(due, message->body, 16);
        b->delivered++;
        histogram_add(&b->push, now_us() - strtoull(due, NULL, 16));
    }
    return true;
}

/* ------------------------------------------------------------------ users */

static void
on_warning(void *arg, const struct anser_error *warning)
{
    struct bench_user *user = arg;

    fprintf(stderr, "anser: bench: %s: %s (%s)\n", user->name, warning->text,
            warning->name);
}

static enum an_err
open_client(struct bench *b, size_t at, const char *device, bool send_only)
{
    struct bench_user *user = &b->users[at % b->user_count];
    const char *addresses[CLI_ADDRESSES_MAX];
    struct anser_options options = {.addresses = addresses,
                                    .address_count = b->node.tcp_count,
                                    .device = device,
                                    .client_name = "anser-bench",
                                    .send_only = send_only,
                                    .window = (uint32_t)b->window,
                                    .pending_max = (uint32_t)b->window + 1024,
                                    .user = user};
    struct anser_client *client = NULL;
    char *token = NULL;
    enum an_err err = cli_node_token(&token, &b->node, user->name, 24 * 3600 * 1000);

    for (size_t i = 0; i < b->node.tcp_count; i++) { /* each gate gets its share */
        addresses[i] = b->node.tcp[(at + i) % b->node.tcp_count];
    }
    options.token = token;
    cli_target_tls(&options, NULL, NULL, NULL);
    options.server_key = b->node.server_key;
    options.tls_with = b->tickets;
    options.callbacks.on_send = on_send;
    options.callbacks.on_message = on_message;
    options.callbacks.on_warning = on_warning;
    if (err == AN_OK && b->tickets == NULL) {
        err = (enum an_err)anser_client_create(&b->tickets, &options);
        options.tls_with = b->tickets;
    }
    if (err == AN_OK) {
        err = (enum an_err)anser_client_create(&client, &options);
    }
    free(token);
    if (err == AN_OK) {
        pool_put(&b->pool, at, client);
    }
    return err;
}

/* Through the running server; who is there already stays. */
static int
make_users(struct bench *b, const char *cluster, const char *host, const char *data)
{
    char why[512];
    int code;

    if (b->users_exist) {
        return -1;
    }
    b->asker.command = "bench";
    code = cli_asker_open(&b->asker, cli_cluster_file(cluster, data), host, data);
    for (size_t i = 0; code < 0 && i < b->user_count; i++) {
        enum an_err err =
            cli_user_add(&b->asker, b->users[i].name, b->node.app, why, sizeof(why));

        if (err != AN_OK && err != AN_ERR_USER_EXISTS) {
            code = cli_fail(err, "user-add", why[0] == '\0' ? NULL : why);
        }
    }
    cli_asker_close(&b->asker);
    return code;
}

static enum an_err
name_users(struct bench *b)
{
    b->users = calloc(b->user_count, sizeof(*b->users));
    b->body = malloc(b->size);
    if (b->users == NULL || b->body == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    memset(b->body, '.', b->size);
    for (size_t i = 0; i < b->user_count; i++) {
        struct bench_user *user = &b->users[i];
        user->bench = b;
        user->index = i;
        (void)snprintf(user->name, sizeof(user->name), "bench%05zu", i);
        (void)snprintf(user->partner, sizeof(user->partner), "bench%05zu", i ^ 1);
    }
    return AN_OK;
}

/* -1, or the exit code: one could not log in, or not all did in time. */
static int
await_online(struct bench *b, size_t want)
{
    uint64_t end = cli_mono_ms() + ONLINE_MS;

    while (pool_online(&b->pool) < want) {
        for (size_t i = 0; i < b->pool.count; i++) {
            struct anser_client *client = b->pool.clients[i].client;
            if (client != NULL && anser_client_state(client) == ANSER_STATE_CLOSED) {
                struct anser_error error = anser_client_error(client);
                return cli_fail_error(&error, "bench: login");
            }
        }
        if (cli_mono_ms() >= end || cli_interrupted()) {
            return cli_fail(AN_ERR_TIMEOUT, "bench", "not all users could log in");
        }
        pool_turn(&b->pool, TURN_US);
    }
    return -1;
}

static int
open_all(struct bench *b, const char *device, bool send_only)
{
    for (size_t i = 0; i < b->user_count; i++) {
        enum an_err err = open_client(b, i, device, send_only);
        if (err != AN_OK) {
            return cli_fail(err, "bench", NULL);
        }
    }
    return await_online(b, b->user_count);
}

/* A message to users who come after a while would wait behind all that was sent to them
 * before, and its latency be theirs: they fetch that first. */
static int
open_caught_up(struct bench *b)
{
    int code = open_all(b, "bench", false);
    uint64_t end = cli_mono_ms() + CATCH_UP_MS;

    if (code >= 0) {
        return code;
    }
    b->earlier_ms = cli_mono_ms();
    while (cli_mono_ms() - b->earlier_ms < QUIET_MS && !cli_interrupted()) {
        if (cli_mono_ms() >= end) {
            return cli_fail(AN_ERR_TIMEOUT, "bench",
                            "earlier messages come without an end");
        }
        pool_turn(&b->pool, TURN_US);
    }
    return -1;
}

/* ------------------------------------------------------------------ modes */

static void
run_for(struct bench *b, uint64_t seconds)
{
    uint64_t end = cli_mono_ms() + seconds * 1000;

    while (cli_mono_ms() < end && !cli_interrupted()) {
        pool_turn(&b->pool, TURN_US);
    }
}

static void
drain(struct bench *b)
{
    uint64_t end = cli_mono_ms() + DRAIN_MS;

    b->sending = false;
    while (cli_mono_ms() < end && b->acked_all + b->failed < b->sent_all &&
           !cli_interrupted()) {
        pool_turn(&b->pool, TURN_US);
    }
}

static void
start_loop(struct bench *b)
{
    b->sending = true;
    for (size_t i = 0; i < b->user_count; i++) {
        for (uint64_t w = 0; w < b->window; w++) {
            send_next(&b->users[i]);
        }
        pool_process(&b->pool, i);
    }
}

static void
put_latency(struct figures *f, const char *name, const struct histogram *h)
{
    static const struct {
        const char *name;
        double fraction;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}};
    char key[32];

    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(key, sizeof(key), "%s%s_us", name, quantiles[i].name);
        figure(f, key, (double)histogram_quantile(h, quantiles[i].fraction), 0);
    }
}

static double
own_cpu_s(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* latency: which one p50_us is. */
static int
report(struct bench *b, const char *mode, double seconds, double cpu_s,
       const struct histogram *latency)
{
    struct figures f;

    figures_begin(&f, b->json, mode);
    figure(&f, "users", (double)b->user_count, 0);
    figure(&f, "window", (double)b->window, 0);
    figure(&f, "size", (double)b->size, 0);
    figure(&f, "seconds", seconds, 2);
    figure(&f, "acked/s", (double)b->acked / seconds, 0);
    figure(&f, "delivered/s", (double)b->delivered / seconds, 0);
    put_latency(&f, "", latency);
    put_latency(&f, "ack_", &b->ack);
    put_latency(&f, "push_", &b->push);
    figure(&f, "acked", (double)b->acked, 0);
    figure(&f, "delivered", (double)b->delivered, 0);
    figure(&f, "failed", (double)b->failed, 0);
    figure(&f, "shed", (double)b->shed, 0);
    figure(&f, "load_cores", cpu_s / seconds, 2);
    if (b->failed > 0) {
        fprintf(stderr, "anser: bench: %" PRIu64 " messages failed, the last with %s\n",
                b->failed, anser_err_name(b->last_failure));
    }
    return figures_end(&f);
}

static int
closed_loop(struct bench *b)
{
    uint64_t began;
    double cpu;
    int code = open_caught_up(b);

    if (code >= 0) {
        return code;
    }
    b->budget = UINT64_MAX;
    start_loop(b);
    run_for(b, b->warm_s);
    b->measuring = true;
    began = now_us();
    cpu = own_cpu_s();
    run_for(b, b->time_s);
    b->measuring = false;
    cpu = own_cpu_s() - cpu;
    began = now_us() - began;
    drain(b);
    return report(b, "closed", (double)began / 1e6, cpu, &b->ack);
}

/* A message is due every 1/rate seconds whatever became of those before it, and its
 * latency counts from then: a server that stalls cannot hide it. */
static void
open_loop_for(struct bench *b, uint64_t seconds, uint64_t *number)
{
    uint64_t began = now_us(), sent = 0, total = b->rate * seconds;

    while (sent < total && !cli_interrupted()) {
        uint64_t now = now_us();
        uint64_t due = began + sent * 1000000 / b->rate;

        for (; due <= now && sent < total; due = began + ++sent * 1000000 / b->rate) {
            struct bench_user *user = &b->users[(*number)++ % b->user_count];
            (void)send_one(user, due);
            pool_process(&b->pool, user->index);
        }
        now = now_us();
        pool_turn(&b->pool, due > now ? due - now : 0);
    }
}

static int
open_loop(struct bench *b)
{
    uint64_t number = 0, end;
    double cpu;
    int code = open_caught_up(b);

    if (code >= 0) {
        return code;
    }
    open_loop_for(b, b->warm_s, &number);
    b->measuring = true;
    cpu = own_cpu_s();
    open_loop_for(b, b->time_s, &number);
    cpu = own_cpu_s() - cpu;
    drain(b);
    end = cli_mono_ms() + DRAIN_MS; /* those that come late count most */
    while (b->delivered_all < b->acked_all && cli_mono_ms() < end && !cli_interrupted()) {
        pool_turn(&b->pool, TURN_US);
    }
    b->measuring = false;
    return report(b, "open", (double)b->time_s, cpu, &b->push);
}

/* Sends exactly count messages from every user, nobody receiving. */
static int
send_exactly(struct bench *b, uint64_t count, double *seconds)
{
    uint64_t began, end;
    int code = open_all(b, "bench-fill", true);

    if (code >= 0) {
        return code;
    }
    b->budget = count;
    b->measuring = true;
    began = now_us();
    start_loop(b);
    end = cli_mono_ms() + 3600 * 1000;
    while (b->acked_all + b->failed < count && cli_mono_ms() < end &&
           !cli_interrupted()) {
        pool_turn(&b->pool, TURN_US);
    }
    *seconds = (double)(now_us() - began) / 1e6;
    b->measuring = false;
    b->sending = false;
    return -1;
}

static int
fill(struct bench *b)
{
    double seconds = 0, cpu = own_cpu_s();
    int code = send_exactly(b, b->fill, &seconds);

    return code >= 0 ? code : report(b, "fill", seconds, own_cpu_s() - cpu, &b->ack);
}

static int
offline(struct bench *b)
{
    struct figures f;
    double accept_s = 0, drain_s;
    uint64_t began, end;
    int code = send_exactly(b, b->offline, &accept_s);

    if (code >= 0) {
        return code;
    }
    for (size_t i = 0; i < b->pool.count; i++) {
        pool_drop(&b->pool, i);
    }
    b->measuring = true;
    began = now_us();
    code = open_all(b, b->run, false); /* a device never seen: the whole inbox */
    if (code >= 0) {
        return code;
    }
    end = cli_mono_ms() + 600 * 1000;
    while (b->delivered < b->acked && cli_mono_ms() < end && !cli_interrupted()) {
        pool_turn(&b->pool, TURN_US);
    }
    drain_s = (double)(now_us() - began) / 1e6;
    figures_begin(&f, b->json, "offline");
    figure(&f, "users", (double)b->user_count, 0);
    figure(&f, "size", (double)b->size, 0);
    figure(&f, "acked/s", (double)b->acked / accept_s, 0);
    figure(&f, "drained/s", (double)b->delivered / drain_s, 0);
    figure(&f, "acked", (double)b->acked, 0);
    figure(&f, "delivered", (double)b->delivered, 0);
    figure(&f, "failed", (double)b->failed, 0);
    return figures_end(&f);
}

/* Proportional set size of a process in KiB; 0 when it cannot be read. */
static double
memory_kib(uint64_t pid)
{
    char path[64], line[256];
    unsigned long kib = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%" PRIu64 "/smaps_rollup", pid);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "Pss: %lu", &kib) == 1) {
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (double)kib;
}

/* Connections of an idle crowd: each user with as many devices as it may have. */
static int
idle(struct bench *b)
{
    struct figures f;
    double before = memory_kib(b->pid), after;
    uint64_t began = now_us();
    char device[32];
    int code;

    for (size_t i = 0; i < b->idle; i++) {
        enum an_err err;
        (void)snprintf(device, sizeof(device), "idle%zu", i / b->user_count);
        err = open_client(b, i, device, false);
        if (err != AN_OK) {
            return cli_fail(err, "bench", NULL);
        }
        if (i % LOGINS_AT_ONCE == LOGINS_AT_ONCE - 1) {
            code = await_online(b, i + 1);
            if (code >= 0) {
                return code;
            }
        }
    }
    code = await_online(b, b->idle);
    if (code >= 0) {
        return code;
    }
    began = now_us() - began;
    run_for(b, b->time_s);
    after = memory_kib(b->pid);
    figures_begin(&f, b->json, "idle");
    figure(&f, "connections", (double)b->idle, 0);
    figure(&f, "online", (double)pool_online(&b->pool), 0);
    figure(&f, "logins/s", (double)b->idle * 1e6 / (double)began, 0);
    if (b->pid != 0) {
        figure(&f, "kib", after, 0);
        figure(&f, "kib_per_connection", (after - before) / (double)b->idle, 2);
    }
    return figures_end(&f);
}

/* Connect, log in, leave; so many at once. */
static int
logins(struct bench *b)
{
    struct figures f;
    uint64_t done = 0, started = 0, began = now_us(), seconds_us;

    while (done < b->logins && !cli_interrupted()) {
        for (size_t i = 0; i < b->pool.count; i++) {
            struct anser_client *client = b->pool.clients[i].client;
            enum anser_state state =
                client == NULL ? ANSER_STATE_CLOSED : anser_client_state(client);
            if (client != NULL && state == ANSER_STATE_ONLINE) {
                done++;
                pool_drop(&b->pool, i);
                client = NULL;
            } else if (client != NULL && state == ANSER_STATE_CLOSED) {
                struct anser_error error = anser_client_error(client);
                return cli_fail_error(&error, "bench: login");
            }
            if (client == NULL && started < b->logins) {
                enum an_err err = open_client(b, i, "login", true);
                if (err != AN_OK) {
                    return cli_fail(err, "bench", NULL);
                }
                started++;
            }
        }
        pool_turn(&b->pool, TURN_US);
    }
    seconds_us = now_us() - began;
    figures_begin(&f, b->json, "logins");
    figure(&f, "logins", (double)done, 0);
    figure(&f, "logins/s", (double)done * 1e6 / (double)seconds_us, 0);
    return figures_end(&f);
}

/* ------------------------------------------------------------------ running */

static int
choose(struct bench *b)
{
    if (b->fill > 0) {
        return fill(b);
    }
    if (b->offline > 0) {
        return offline(b);
    }
    if (b->idle > 0) {
        return idle(b);
    }
    if (b->logins > 0) {
        return logins(b);
    }
    return b->rate > 0 ? open_loop(b) : closed_loop(b);
}

static size_t
slots_needed(const struct bench *b)
{
    if (b->idle > 0) {
        return b->idle;
    }
    if (b->logins > 0) {
        return b->logins < LOGINS_AT_ONCE ? b->logins : LOGINS_AT_ONCE;
    }
    return b->user_count;
}

int
bench_run(struct bench *b, const char *cluster, const char *host, const char *data)
{
    enum an_err err;
    int code = cli_node_open(&b->node, "bench", cluster, host, data);

    if (code >= 0) {
        return code;
    }
    cli_serve_descriptors();
    if (b->idle > 0) {
        b->user_count = (b->idle + AN_DEVICES_PER_USER_MAX - 1) / AN_DEVICES_PER_USER_MAX;
    }
    (void)snprintf(b->run, sizeof(b->run), "%08x", randombytes_random());
    err = name_users(b);
    if (err == AN_OK) {
        err = pool_init(&b->pool, slots_needed(b));
    }
    if (err != AN_OK) {
        return cli_fail(err, "bench", NULL);
    }
    cli_catch_signals();
    code = make_users(b, cluster, host, data);
    return code >= 0 ? code : choose(b);
}
