#include "cluster/supervisor.h"
#include "cluster/data_dir.h"
#include "core/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    STOP_MS = 30000,        /* for the processes of one turn to end after SIGTERM */
    STOP_STORES_MS = 90000, /* a store applies what it has in memory */
    KILL_MS = 5000,         /* to be gone after SIGKILL; then it is left */
    LINE_MAX_LEN = 4096,    /* of what a process says on stdout */
    ROLES_IN_TURN = 6,
};

static const char WHO[] = "supervisor";
static const uint8_t stop_order[ROLES_IN_TURN] = {AN_ROLE_GATE,      AN_ROLE_API,
                                                  AN_ROLE_SEQUENCER, AN_ROLE_IDGEN,
                                                  AN_ROLE_ROUTER,    AN_ROLE_STORE};

struct child {
    const char *name;
    uint16_t process; /* of the plan */
    unsigned turn;    /* when all stop: of the last of its actors */
    pid_t pid;        /* 0: does not run */
    int out;          /* its stdout; -1: none */
    bool ready;
    uint64_t started_ms, again_ms; /* when it starts again */
    uint32_t pause_ms;             /* before this life */
    char *said;                    /* behind "anser ready" */
    size_t line_len;
    char line[LINE_MAX_LEN];
};

struct supervisor {
    const struct supervisor_cfg *cfg;
    struct child *children;
    struct pollfd *polls; /* the signals first */
    unsigned count;
    int lock_fd, signal_fd;
    sigset_t old_mask;
    bool announced;   /* all were ready once */
    unsigned signals; /* to stop, that came */
    bool killed;      /* one had to be */
};

static uint64_t
mono_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint32_t
supervisor_backoff_ms(uint32_t last_ms, uint64_t alive_ms)
{
    if (last_ms == 0 || alive_ms >= SUPERVISOR_STEADY_MS) {
        return SUPERVISOR_BACKOFF_MIN_MS;
    }
    return last_ms * 2 < SUPERVISOR_BACKOFF_MAX_MS ? last_ms * 2
                                                   : SUPERVISOR_BACKOFF_MAX_MS;
}

/* ------------------------------------------------------------------ starting */

/* In the child: its own process group, so that Ctrl-C reaches the supervisor alone and
 * the order of the stop is its to keep; and no life without it. */
static void
become(const struct supervisor *sup, char **argv, pid_t parent, int out)
{
    int null = open("/dev/null", O_RDONLY);

    (void)setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent) {
        _exit(1); /* it died meanwhile */
    }
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
    }
    if (dup2(out, STDOUT_FILENO) >= 0) {
        (void)sigprocmask(SIG_SETMASK, &sup->old_mask, NULL);
        (void)execv(sup->cfg->program, argv);
    }
    an_log(AN_LOG_ERROR, WHO, "%s: %s", sup->cfg->program, strerror(errno));
    _exit(127);
}

/* PROGRAM run ACTOR... --cluster FILE; NULL without memory. Free it and (*text). */
static char **
make_argv(const struct supervisor *sup, const struct child *child, char **text)
{
    static char words[][12] = {"anser", "run", "--cluster"};
    const struct plan *plan = sup->cfg->plan;
    char **argv = calloc(plan->actor_count + 5, sizeof(char *));
    char *names = calloc(plan->actor_count + 1, 24);
    unsigned count = 0;

    if (argv == NULL || names == NULL) {
        free(argv);
        free(names);
        return NULL;
    }
    argv[count++] = words[0];
    argv[count++] = words[1];
    for (unsigned i = 0; i < plan->actor_count; i++) {
        const struct plan_actor *actor = &plan->actors[i];

        if (actor->process == child->process) {
            snprintf(names + 24 * i, 24, "%s/%u", an_role_name(actor->addr.role),
                     (unsigned)actor->addr.index);
            argv[count++] = names + 24 * i;
        }
    }
    argv[count++] = words[2];
    argv[count] = (char *)(uintptr_t)sup->cfg->file; /* execv's own promise */
    *text = names;
    return argv;
}

static enum an_err
spawn(struct supervisor *sup, struct child *child)
{
    const pid_t parent = getpid();
    char *names = NULL;
    char **argv = make_argv(sup, child, &names);
    int pipe_fds[2];

    if (argv == NULL || pipe2(pipe_fds, O_CLOEXEC) != 0) {
        free(argv);
        free(names);
        return AN_ERR_NO_MEMORY;
    }
    (void)fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    child->pid = fork();
    if (child->pid == 0) {
        become(sup, argv, parent, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    free(argv);
    free(names);
    if (child->pid < 0) {
        child->pid = 0;
        close(pipe_fds[0]);
        return AN_ERR_NO_MEMORY;
    }
    child->out = pipe_fds[0];
    child->line_len = 0;
    child->ready = false;
    child->started_ms = mono_ms();
    an_log(AN_LOG_INFO, WHO, "%s started pid=%ld", child->name, (long)child->pid);
    return AN_OK;
}

static void
again_later(struct child *child, uint64_t alive_ms)
{
    child->pause_ms = supervisor_backoff_ms(child->pause_ms, alive_ms);
    child->again_ms = mono_ms() + child->pause_ms;
}

static void
start_due(struct supervisor *sup)
{
    const uint64_t now_ms = mono_ms();

    for (unsigned i = 0; i < sup->count; i++) {
        struct child *child = &sup->children[i];

        if (child->pid == 0 && now_ms >= child->again_ms && spawn(sup, child) != AN_OK) {
            an_log(AN_LOG_ERROR, WHO, "%s could not be started: %s", child->name,
                   strerror(errno));
            again_later(child, 0);
        }
    }
}

/* ------------------------------------------------------------------ listening */

/* Actors of all, then addresses of all. */
static void
announce(struct supervisor *sup)
{
    static const size_t room = LINE_MAX_LEN;
    char *text = calloc(sup->count + 1, room);
    size_t len = 0;

    if (text == NULL) {
        return; /* the next ready one tries again */
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < sup->count; i++) {
            const char *at = sup->children[i].said;

            while (*(at += strspn(at, " ")) != '\0') {
                size_t word = strcspn(at, " ");

                if ((strstr(at, "://") != NULL && strstr(at, "://") < at + word) ==
                    (pass == 1)) {
                    len += (size_t)snprintf(text + len, (sup->count + 1) * room - len,
                                            "%s%.*s", len == 0 ? "" : " ", (int)word, at);
                }
                at += word;
            }
        }
    }
    sup->announced = true;
    sup->cfg->ready(sup->cfg->ctx, text);
    free(text);
}

static void
line_said(struct supervisor *sup, struct child *child)
{
    static const char prefix[] = "anser ready";
    char *said;

    if (strncmp(child->line, prefix, sizeof(prefix) - 1) != 0) {
        an_log(AN_LOG_INFO, WHO, "%s says: %s", child->name, child->line);
        return;
    }
    said = strdup(child->line + sizeof(prefix) - 1);
    if (said != NULL) {
        free(child->said);
        child->said = said;
        child->ready = true;
        an_log(AN_LOG_INFO, WHO, "%s ready ms=%llu", child->name,
               (unsigned long long)(mono_ms() - child->started_ms));
    }
    for (unsigned i = 0; i < sup->count; i++) {
        if (!sup->children[i].ready) {
            return;
        }
    }
    if (!sup->announced) {
        announce(sup);
    }
}

static void
close_out(struct child *child)
{
    if (child->out >= 0) {
        close(child->out);
        child->out = -1;
    }
}

static void
read_out(struct supervisor *sup, struct child *child)
{
    char part[512];
    ssize_t count = read(child->out, part, sizeof(part));

    if (count <= 0) {
        if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            close_out(child);
        }
        return;
    }
    for (ssize_t i = 0; i < count; i++) {
        if (part[i] == '\n') {
            child->line[child->line_len] = '\0';
            child->line_len = 0;
            line_said(sup, child);
        } else if (child->line_len + 1 < sizeof(child->line)) {
            child->line[child->line_len++] = part[i];
        }
    }
}

/* ------------------------------------------------------------------ dying */

static void
say_end(const struct child *child, int status, bool stopping)
{
    char what[64], next[48] = "";
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;

    if (WIFSIGNALED(status)) {
        snprintf(what, sizeof(what), "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(what, sizeof(what), "exit status %d", WEXITSTATUS(status));
    }
    if (!stopping) {
        snprintf(next, sizeof(next), ", starts again in %u ms", child->pause_ms);
    }
    an_log(stopping && clean ? AN_LOG_INFO : AN_LOG_WARN, WHO, "%s ended: %s%s pid=%ld",
           child->name, what, next, (long)child->pid);
}

static void
reap(struct supervisor *sup)
{
    for (unsigned i = 0; i < sup->count; i++) {
        struct child *child = &sup->children[i];
        int status;

        if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid) {
            continue;
        }
        if (child->out >= 0) {
            read_out(sup, child); /* its last words */
        }
        again_later(child, mono_ms() - child->started_ms);
        say_end(child, status, sup->signals > 0);
        close_out(child);
        child->pid = 0;
        child->ready = false;
    }
}

/* ------------------------------------------------------------------ the loop */

static void
signal_turns(const struct supervisor *sup, unsigned first_turn, unsigned last_turn,
             int number)
{
    for (unsigned i = 0; i < sup->count; i++) {
        const struct child *child = &sup->children[i];

        if (child->pid == 0 || child->turn < first_turn || child->turn > last_turn) {
            continue;
        }
        if (number == SIGKILL) {
            an_log(AN_LOG_ERROR, WHO, "%s does not end: killing it pid=%ld", child->name,
                   (long)child->pid);
        }
        (void)kill(child->pid, number);
    }
}

static void
take_signals(struct supervisor *sup)
{
    struct signalfd_siginfo info;

    while (read(sup->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
            signal_turns(sup, 0, UINT32_MAX, SIGHUP);
        } else if (info.ssi_signo != SIGCHLD) {
            sup->signals++;
            an_log(AN_LOG_INFO, WHO, "stopping signal=%s",
                   info.ssi_signo == SIGINT ? "INT" : "TERM");
        }
    }
    reap(sup);
}

/* Until something happens, or until_ms. */
static void
turn(struct supervisor *sup, uint64_t until_ms)
{
    const uint64_t now_ms = mono_ms();
    uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    int timeout = until_ms == UINT64_MAX ? -1 : left_ms < 60000 ? (int)left_ms : 60000;

    sup->polls[0] = (struct pollfd){.fd = sup->signal_fd, .events = POLLIN};
    for (unsigned i = 0; i < sup->count; i++) {
        sup->polls[i + 1] = (struct pollfd){.fd = sup->children[i].out, .events = POLLIN};
    }
    if (poll(sup->polls, sup->count + 1, timeout) < 0) {
        return;
    }
    for (unsigned i = 0; i < sup->count; i++) {
        if (sup->polls[i + 1].revents != 0) {
            read_out(sup, &sup->children[i]);
        }
    }
    if (sup->polls[0].revents != 0) {
        take_signals(sup);
    }
}

static void
keep_running(struct supervisor *sup)
{
    while (sup->signals == 0) {
        uint64_t next_ms = UINT64_MAX;

        start_due(sup);
        for (unsigned i = 0; i < sup->count; i++) {
            const struct child *child = &sup->children[i];

            if (child->pid == 0 && child->again_ms < next_ms) {
                next_ms = child->again_ms;
            }
        }
        turn(sup, next_ms);
    }
}

/* ------------------------------------------------------------------ stopping */

static bool
any_runs(const struct supervisor *sup, unsigned first_turn, unsigned last_turn)
{
    for (unsigned i = 0; i < sup->count; i++) {
        const struct child *child = &sup->children[i];

        if (child->pid != 0 && child->turn >= first_turn && child->turn <= last_turn) {
            return true;
        }
    }
    return false;
}

static void
kill_turns(struct supervisor *sup, unsigned first_turn, unsigned last_turn)
{
    const uint64_t until_ms = mono_ms() + KILL_MS;

    sup->killed = true;
    signal_turns(sup, first_turn, last_turn, SIGKILL);
    while (any_runs(sup, first_turn, last_turn) && mono_ms() < until_ms) {
        turn(sup, until_ms);
    }
}

static uint32_t
stop_ms(const struct supervisor *sup, unsigned now)
{
    if (sup->cfg->stop_ms != 0) {
        return sup->cfg->stop_ms;
    }
    return stop_order[now] == AN_ROLE_STORE ? STOP_STORES_MS : STOP_MS;
}

static void
stop_all(struct supervisor *sup)
{
    for (unsigned now = 0; now < ROLES_IN_TURN && sup->signals < 2; now++) {
        const uint64_t until_ms = mono_ms() + stop_ms(sup, now);

        signal_turns(sup, now, now, SIGTERM);
        while (any_runs(sup, now, now) && sup->signals < 2 && mono_ms() < until_ms) {
            turn(sup, until_ms);
        }
        if (any_runs(sup, now, now) && sup->signals < 2) {
            kill_turns(sup, now, now);
        }
    }
    if (any_runs(sup, 0, ROLES_IN_TURN)) {
        an_log(AN_LOG_ERROR, WHO, "told twice to stop: killing what still runs");
        kill_turns(sup, 0, ROLES_IN_TURN);
    }
}

/* ------------------------------------------------------------------ before, after */

/* For who finds the lock taken: the holder may be of another host's name, or of another
 * file, when directories were made one by mistake. */
static void
sign_lock(const struct supervisor *sup)
{
    const struct plan *plan = sup->cfg->plan;
    char text[2 * PLAN_NAME_MAX + 32];
    int len = snprintf(text, sizeof(text), "host %s of cluster %s\n",
                       plan->places.hosts[sup->cfg->host].name, plan->cluster);

    if (ftruncate(sup->lock_fd, 0) != 0 ||
        pwrite(sup->lock_fd, text, (size_t)len, 0) != len) {
        an_log(AN_LOG_WARN, WHO, "up.lock: %s", strerror(errno));
    }
}

static void
read_lock(const char *path, char *out, size_t len)
{
    FILE *file = fopen(path, "re");

    if (file == NULL || fgets(out, (int)len, file) == NULL) {
        snprintf(out, len, "this directory");
    }
    out[strcspn(out, "\n")] = '\0';
    if (file != NULL) {
        (void)fclose(file);
    }
}

static enum an_err
hold_host(struct supervisor *sup, char *why, size_t why_len)
{
    char dir[RUN_DIR_MAX], path[RUN_DIR_MAX + 16], holder[2 * PLAN_NAME_MAX + 32];
    enum an_err err =
        plan_run_dir_make(sup->cfg->plan, sup->cfg->host, dir, sizeof(dir), why, why_len);

    if (err != AN_OK) {
        return err;
    }
    snprintf(path, sizeof(path), "%s/up.lock", dir);
    err = lock_hold(path, &sup->lock_fd, why, why_len);
    if (err == AN_OK) {
        sign_lock(sup);
    } else if (err == AN_ERR_LOCKED) {
        read_lock(path, holder, sizeof(holder));
        snprintf(why, why_len, "another `anser cluster up` keeps %s (%s)", holder, path);
    }
    return err;
}

static unsigned
turn_of(const struct plan *plan, uint16_t process)
{
    unsigned last = 0;

    for (unsigned i = 0; i < plan->actor_count; i++) {
        for (unsigned at = 0; at < ROLES_IN_TURN; at++) {
            if (plan->actors[i].process == process &&
                plan->actors[i].addr.role == stop_order[at] && at > last) {
                last = at;
            }
        }
    }
    return last;
}

static enum an_err
make_children(struct supervisor *sup)
{
    const struct plan *plan = sup->cfg->plan;

    sup->children = calloc(plan->process_count + 1, sizeof(struct child));
    sup->polls = calloc(plan->process_count + 1, sizeof(struct pollfd));
    if (sup->children == NULL || sup->polls == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (uint16_t i = 0; i < plan->process_count; i++) {
        struct child *child = &sup->children[sup->count];

        if (plan->processes[i].host == sup->cfg->host) {
            child->name = plan->processes[i].name;
            child->process = i;
            child->turn = turn_of(plan, i);
            child->out = -1;
            sup->count++;
        }
    }
    return AN_OK;
}

static enum an_err
open_signals(struct supervisor *sup)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (isatty(STDERR_FILENO) != 1) {
        sigaddset(&set, SIGHUP); /* not a terminal's end: gates read certificates again */
    }
    if (sigprocmask(SIG_BLOCK, &set, &sup->old_mask) != 0) {
        return AN_ERR_IO;
    }
    sigdelset(&sup->old_mask, SIGINT); /* children take them again */
    sigdelset(&sup->old_mask, SIGTERM);
    if (sigismember(&set, SIGHUP) == 1) {
        sigaddset(&sup->old_mask, SIGHUP); /* one that is starting takes it later */
    }
    sup->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return sup->signal_fd < 0 ? AN_ERR_IO : AN_OK;
}

static void
supervisor_fini(struct supervisor *sup)
{
    for (unsigned i = 0; i < sup->count; i++) {
        close_out(&sup->children[i]);
        free(sup->children[i].said);
    }
    if (sup->signal_fd >= 0) {
        close(sup->signal_fd);
    }
    if (sup->lock_fd >= 0) {
        close(sup->lock_fd);
    }
    free(sup->children);
    free(sup->polls);
}

enum an_err
supervisor_run(const struct supervisor_cfg *cfg, char *why, size_t why_len)
{
    struct supervisor sup = {.cfg = cfg, .lock_fd = -1, .signal_fd = -1};
    enum an_err err;

    snprintf(why, why_len, "out of memory");
    err = make_children(&sup);
    if (err == AN_OK) {
        err = hold_host(&sup, why, why_len);
    }
    if (err == AN_OK) {
        snprintf(why, why_len, "signals cannot be waited for");
        err = open_signals(&sup);
    }
    if (err == AN_OK && sup.count == 0) {
        snprintf(why, why_len, "the file has no actor on host %s",
                 cfg->plan->places.hosts[cfg->host].name);
        err = AN_ERR_CONFIG;
    }
    if (err == AN_OK) {
        keep_running(&sup);
        stop_all(&sup);
        snprintf(why, why_len, "a process had to be killed");
        err = sup.killed ? AN_ERR_TIMEOUT : AN_OK;
    }
    supervisor_fini(&sup);
    return err;
}
