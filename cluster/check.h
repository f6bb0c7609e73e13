/* Offline verification of what a data directory says: after store/check.h has judged the
 * bytes, this judges the rows. Every invariant that the store actor keeps is checked by
 * code that shares nothing with it: keys are taken apart here, slots computed here.
 *
 * What is verified:
 *   keys       known table, right length, the slot that its content demands
 *   messages   seqs 1..head without gap, head row as the last message says, sender and
 *              names are the members', time never back, form, ids unique in the directory
 *   retries    every message within the window has its dedupe row and the other way round
 *   inboxes    seqs first..head without gap; exactly one entry per message and member;
 *              every entry points at a message of a conversation its user is in
 *   positions  delivered at most the conversation's head, cursors at most the inbox's
 *   accounts   user row and directory row name each other
 *   outgoing   numbers of each destination slot without gap, each at a message whose
 *              user is its member and of another store; marks well-formed
 *   slots, registers: well-formed
 *
 * A directory that is one of several stores of a cluster refers to others. Alone, what
 * lies elsewhere is counted and not found fault with. Together (dirs) they are verified
 * as one: a message has an entry in the inbox of each member, or an outgoing row above
 * the mark of the store that has that inbox, and never both.
 *
 * Memory, whatever the directory's size: 64 MiB for the ids (fewer when asked), 4 MiB for
 * what is joined across slots, and per slot about 160 bytes for each of its
 * conversations, dedupe rows, inboxes and devices; 64 bytes for each outgoing row. Only
 * when something is wrong a second walk collects the rows concerned, at most 4 million of
 * them.
 *
 * Context: one thread; nothing else may have the directory open. */
#ifndef AN_CLUSTER_CHECK_H
#define AN_CLUSTER_CHECK_H

#include "core/err.h"
#include "store/check.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct an_check_finding {
    const char *dir;  /* as given */
    const char *file; /* relative to it */
    uint64_t offset;
    const char *sentence;
    bool note; /* worth knowing, but allowed: not counted as a finding */
};

struct an_check_totals {
    uint64_t rows;
    uint64_t conversations, messages, inboxes, entries, dedupes, devices, users;
    uint64_t outgoing, marks;
    uint64_t elsewhere; /* entries whose message is in no directory given */
    uint64_t waiting;   /* outgoing rows above the mark of a directory given */
    uint64_t findings;  /* of bytes and rows */
    uint64_t notes;
    const char *dir; /* the directory at work when an error ended it */
};

struct an_check_cfg {
    const char *const *dirs; /* of stores of one cluster */
    size_t dir_count;
    struct store_files *files; /* borrowed */
    uint64_t wall_ms;          /* now: which messages are within the window */
    uint64_t dedupe_window_ms; /* 0: AN_DEDUPE_WINDOW_MS */
    size_t id_filter_bytes;    /* 0: 64 MiB; a power of two */
    void *ctx;                 /* of both callbacks */
    /* Strings are borrowed until it returns. */
    void (*finding)(void *ctx, const struct an_check_finding *finding);
    /* Every 65,536 rows: how many were walked, of both walks. May be NULL. */
    void (*progress)(void *ctx, uint64_t rows);
};

/* AN_OK when everything could be read, whatever was found: see totals->findings. The
 * errors of store_check_open, AN_ERR_ARGUMENT when directories are of different clusters
 * or have the same slots (a finding says so), or AN_ERR_NO_MEMORY. *totals is written in
 * any case. */
AN_MUST_USE enum an_err an_check_data(const struct an_check_cfg *cfg,
                                      struct an_check_totals *totals);

#endif
