/* What the commands that serve share: signals, the log, waiting. */
#ifndef AN_CLIENT_CLI_SERVE_H
#define AN_CLIENT_CLI_SERVE_H

#include "cluster/config.h"
#include "core/err.h"
#include <signal.h>
#include <stdint.h>

/* SIGINT and SIGTERM, and SIGHUP unless a terminal is told errors, wait to be asked for.
 * Before any thread: the others then never take
 * them. */
void cli_serve_signals(sigset_t *set);
/* By the configuration's log section. Before any thread. */
void cli_serve_log(const struct config *config);
typedef enum an_err cli_reload_f(void *arg, char *why, size_t why_len);
/* The signal that came, 0: none within timeout_ms; UINT32_MAX: waits for ever. SIGHUP is
 * dealt with here: reload is called. */
int cli_serve_wait(const sigset_t *set, uint32_t timeout_ms, cli_reload_f *reload,
                   void *arg);
/* "INT", "TERM". */
const char *cli_serve_signal_name(int number);

/* As many descriptors as the hard limit allows: shells give 1024, and a gate takes one
 * for each connection. */
void cli_serve_descriptors(void);

#endif
