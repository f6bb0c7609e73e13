#include "client/cli/serve.h"
#include "core/log.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

void
cli_serve_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void
cli_serve_log(const struct config *config)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (unsigned level = 0; level < sizeof(names) / sizeof(names[0]); level++) {
        if (strcmp(config->log_level, names[level]) == 0) {
            an_log_setup((enum an_log_level)level,
                         strcmp(config->log_format, "json") == 0);
        }
    }
}

int
cli_serve_wait(const sigset_t *set, uint32_t timeout_ms)
{
    struct timespec limit = {(time_t)(timeout_ms / 1000),
                             (long)(timeout_ms % 1000) * 1000000};
    int got = -1;

    do {
        if (timeout_ms == UINT32_MAX) {
            (void)sigwait(set, &got);
        } else {
            got = sigtimedwait(set, NULL, &limit);
        }
    } while (got < 0 && errno == EINTR);
    return got < 0 ? 0 : got;
}

const char *
cli_serve_signal_name(int number)
{
    return number == SIGINT ? "INT" : "TERM";
}
