#include "client/cli/serve.h"
#include "core/log.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void
cli_serve_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    if (isatty(STDERR_FILENO) != 1) {
        sigaddset(set, SIGHUP); /* of a terminal it means that it is gone: the end */
    }
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

static void
do_reload(cli_reload_f *reload, void *arg)
{
    char why[512] = "";

    if (reload(arg, why, sizeof(why)) == AN_OK) {
        an_log(AN_LOG_INFO, "reload", "certificates read again signal=HUP");
    } else {
        an_log(AN_LOG_ERROR, "reload", "%s: the old certificate stays", why);
    }
}

int
cli_serve_wait(const sigset_t *set, uint32_t timeout_ms, cli_reload_f *reload, void *arg)
{
    struct timespec limit = {(time_t)(timeout_ms / 1000),
                             (long)(timeout_ms % 1000) * 1000000};
    int got;

    do {
        got = -1;
        if (timeout_ms == UINT32_MAX) {
            (void)sigwait(set, &got);
        } else {
            got = sigtimedwait(set, NULL, &limit);
        }
        if (got == SIGHUP) {
            do_reload(reload, arg);
        }
    } while (got == SIGHUP || (got < 0 && errno == EINTR));
    return got < 0 ? 0 : got;
}

const char *
cli_serve_signal_name(int number)
{
    return number == SIGINT ? "INT" : "TERM";
}

void
cli_serve_descriptors(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}
