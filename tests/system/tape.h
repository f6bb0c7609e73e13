/* The tape: every change that a server makes below one directory, with its bytes, in the
 * order in which it happened, and between them the message marks that left to clients.
 * tests/chaos/tape.py reads it and makes of it what a power cut could have left.
 *
 * ANSER_TAPE names the file, ANSER_TAPE_ROOT the directory; processes of one cluster may
 * share both: whoever learns from another that something was done writes behind it. Calls
 * that change something are made under one lock, so their order on the tape is their
 * order on the disk; a sync is two events, and covers what lies before the first of them.
 */
#ifndef AN_TESTS_SYSTEM_TAPE_H
#define AN_TESTS_SYSTEM_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

void tape_start(void);
/* Around a call on fd that changes its file: false, and no lock held, if it is not ours.
 */
bool tape_lock(int fd);
void tape_unlock(void);
/* Under the lock: fd was opened, and is below the directory or not. */
void tape_lock_names(void);
void tape_opened(int fd, const char *path, int flags);
void tape_closed(int fd);
/* Under the lock: result bytes went to offset; -1: to where the descriptor stood. */
void tape_wrote(int fd, int64_t offset, const struct iovec *iov, int count,
                ssize_t result);
void tape_allocated(int fd, uint64_t end);
void tape_syncing(int fd);
void tape_synced(int fd, int result);
void tape_sent(const uint32_t *marks, size_t count);

#endif
