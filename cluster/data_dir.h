/* A node's directories: the data directory, held by one process at a time, and the short
 * run directory for sockets (an ipc:// path longer than about 107 bytes fails). */
#ifndef AN_CLUSTER_DATA_DIR_H
#define AN_CLUSTER_DATA_DIR_H

#include "core/err.h"
#include <stddef.h>

enum { RUN_DIR_MAX = 80 };

/* Creates it (0700) when it is not there, parents not, and holds DIR/lock until the
 * process ends or *fd is closed. AN_ERR_LOCKED: another process holds it; AN_ERR_IO,
 * AN_ERR_DISK_FULL; with *why. */
AN_MUST_USE enum an_err data_dir_hold(const char *dir, int *fd, char *why,
                                      size_t why_len);
/* Holds the file, made when it is not there, until the process ends or *fd is closed; not
 * inherited by programs. AN_ERR_LOCKED, AN_ERR_IO, AN_ERR_DISK_FULL, with *why. */
AN_MUST_USE enum an_err lock_hold(const char *path, int *fd, char *why, size_t why_len);
/* Makes DIR/NAME (0700) unless it is there. AN_ERR_IO, AN_ERR_DISK_FULL, with *why. */
AN_MUST_USE enum an_err data_dir_make(const char *path, char *why, size_t why_len);
/* A fresh directory (0700) under $XDG_RUNTIME_DIR, or /tmp. AN_ERR_IO, with *why. */
AN_MUST_USE enum an_err run_dir_make(char out[RUN_DIR_MAX], char *why, size_t why_len);
/* Removes a run directory and the sockets in it; touches nothing that does not look like
 * one of ours. url: an address in it, from a node.json; or the directory itself. */
void run_dir_remove(const char *url);

#endif
