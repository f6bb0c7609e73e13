/* The load generator behind `anser bench`: users in pairs, all in one thread. */
#ifndef AN_CLIENT_CLI_BENCH_H
#define AN_CLIENT_CLI_BENCH_H

#include "client/cli/ask.h"
#include "client/cli/bench_pool.h"
#include "client/cli/histogram.h"
#include "client/cli/node.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BENCH_USERS_MAX = 100000,
    BENCH_HEAD_LEN = 24, /* of a body: due time and run, in hexadecimal */
};

struct bench_user;

/* Zero it, fill the first part. */
struct bench {
    /* What is asked for. A mode's number above 0 chooses it. */
    uint64_t user_count, window, size, rate, fill, offline, idle, logins, pid, warm_s,
        time_s;
    bool json, users_exist;

    struct cli_node node;
    struct cli_asker asker;
    struct pool pool;
    struct anser_client *tickets; /* never connects: keeps TLS sessions for the others */
    struct bench_user *users;

    char run[9]; /* tells this run's messages from older ones */
    char *body;
    bool sending; /* the closed loop goes on */
    bool measuring;
    uint64_t budget; /* sends still to be made; UINT64_MAX: no end */
    uint64_t acked, delivered, failed, shed;
    uint64_t acked_all, delivered_all, sent_all;
    uint64_t earlier_ms; /* when the last message that is not of this run came */
    unsigned last_failure;
    struct histogram ack, push;
};

/* Makes the users, runs the mode, prints its figures. The exit code; an error was named
 * on stderr. */
int bench_run(struct bench *bench, const char *cluster, const char *host,
              const char *data);

#endif
