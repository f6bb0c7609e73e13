/* Whole small files, durably. */
#ifndef AN_CLUSTER_FILE_H
#define AN_CLUSTER_FILE_H

#include "core/err.h"
#include <stddef.h>
#include <sys/types.h>

/* Puts len bytes at path, mode 0600 or what is given, whole or not at all: into PATH.new
 * first, synced, renamed, the directory synced. AN_ERR_IO, AN_ERR_DISK_FULL, with *why.
 */
AN_MUST_USE enum an_err file_replace(const char *path, mode_t mode, const void *data,
                                     size_t len, char *why, size_t why_len);

/* Makes sure that the name itself is on disk: syncs the directory that holds it. 0, or -1
 * with errno. */
int file_sync_name(const char *path);

#endif
