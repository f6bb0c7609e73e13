/* One process of a cluster: some actors of its file, as `anser run` starts them.
 *
 * In the host's run directory, which all its processes share:
 *   PROCESS.control, PROCESS.events   the endpoints that docs/debugging.md explains
 *   PROCESS.lock                      held while the process runs
 *   ROLE-N ...                        the actors' own sockets
 * PROCESS is the name that the file gives, else ROLE-N of the one actor in it.
 *
 * Context: one thread, the program's first; block the signals that end the program
 * before process_start, so that no other thread takes them. */
#ifndef AN_CLUSTER_PROCESS_H
#define AN_CLUSTER_PROCESS_H

#include "cluster/plan.h"

struct process;

/* Opens, binds and starts these actors of the plan, all of one host; of every process of
 * the file all or none. Several processes may run as one: their actors then reach each
 * other directly, for which plan->places is changed here. Does not wait for other
 * processes: process_await does. The plan stays the caller's and is borrowed until
 * process_stop.
 *
 * On an error nothing is left running (or NNG does not end, and this process with it,
 * after a log line) and *why is one sentence: AN_ERR_ARGUMENT (not
 * these together), AN_ERR_LOCKED (such a process or store runs), AN_ERR_CONFIG (also: no
 * other host would take our certificate), AN_ERR_IO, AN_ERR_DISK_FULL, AN_ERR_CORRUPT,
 * AN_ERR_CONNECTION (an address cannot be had), AN_ERR_NO_MEMORY. An actor that cannot go
 * on later, or a disk whose sync failed, ends the process with the error's exit code
 * after a log line. */
AN_MUST_USE enum an_err process_start(struct process **out, struct plan *plan,
                                      const struct plan_actor *const *actors,
                                      unsigned actor_count, char *why, size_t why_len);
/* Waits until every actor is ready. AN_ERR_TIMEOUT: *why says who is not. May be called
 * again. */
AN_MUST_USE enum an_err process_await(struct process *process, uint32_t timeout_ms,
                                      char *why, size_t why_len);
/* Whom those that are not ready ask and do not reach: "store/0, idgen/0"; empty: nobody
 * is known. Asks the process's own endpoint: at most a second for each. */
void process_unreached(const struct process *process, char *out, size_t len);
/* As in the log: of several processes run as one, the first's. */
const char *process_name(const struct process *process);
/* Where its gates listen, "tcp://HOST:PORT" with the real port; NULL beyond the last. */
const char *process_address(const struct process *process, unsigned index);
/* For once a day (AN_CERT_LOOK_MS): warns in the log of a certificate that soon expires;
 * process_start does so too. */
void process_look(const struct process *process);
/* Certificates read again: as group_reload. */
AN_MUST_USE enum an_err process_reload(struct process *process, char *why,
                                       size_t why_len);
/* Finishes what is in flight, hands slots over, applies and closes stores; each actor has
 * a bounded time. NULL is fine. False: all is on disk, but NNG does not end: the plan
 * stays borrowed, and the process must end with _exit(). It was logged. */
AN_MUST_USE bool process_stop(struct process *process);

/* "RUN_DIR/NAME.control" of a process of the plan, as a URL; also for those who ask. */
void process_control_url(const struct plan *plan, unsigned process, char *out,
                         size_t len);

#endif
