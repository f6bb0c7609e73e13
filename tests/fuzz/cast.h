/* One pure actor behind the runner's own checks of what comes over the bus and through
 * the text endpoint, without sockets, threads or clocks: what fuzz_bus and fuzz_words
 * drive. Whom it asks is played here: friends answer as they should, or the input answers
 * for them. The cluster has two of each actor and ours is index 0, with the lower half of
 * the slots. */
#ifndef AN_TESTS_FUZZ_CAST_H
#define AN_TESTS_FUZZ_CAST_H

#include "core/runner_nng/priv.h"

struct store_files;
struct cast;

/* Started; all it asked at first was answered. */
struct cast *cast_create(enum an_role role);
/* The same on a disk of the caller's; NULL: the store could not be opened. */
struct cast *cast_create_store(struct store_files *files, const char *dir);
/* As at a crash; then nothing may be left. */
void cast_destroy(struct cast *cast);

/* A whole message as it came: a request, or else a hint. */
void cast_raw(struct cast *cast, const uint8_t *data, size_t len, bool request);
/* A request (or hint, when its kind is one) with a good envelope, of a sender that may
 * send it: the which-th of those. */
void cast_request(struct cast *cast, unsigned kind, unsigned which, const uint8_t *body,
                  size_t len);
/* The which-th ask that is out ends with this answer. Nothing when none is. */
void cast_answer(struct cast *cast, unsigned which, enum an_err err, const uint8_t *body,
                 size_t len);
/* The same with an answer as it came, envelope and all. */
void cast_answer_raw(struct cast *cast, unsigned which, const uint8_t *data, size_t len);
/* The same; no answer came: err says why. */
void cast_answer_none(struct cast *cast, unsigned which, enum an_err err);
/* The same; as a friend would. */
void cast_befriend(struct cast *cast, unsigned which);
/* How many asks are out. */
unsigned cast_asks(const struct cast *cast);
/* Words through the text endpoint, the actor named first. */
void cast_words(struct cast *cast, const uint8_t *words, size_t len);
/* A message was seen here, for the word "trace". */
void cast_hop(struct cast *cast, uint64_t trace, uint64_t message_id);
/* A connection of a gate. */
void cast_conn(struct cast *cast, enum an_kind kind, uint64_t conn);
/* Fires timers that fall due. */
void cast_advance(struct cast *cast, uint64_t ms);
void cast_stop(struct cast *cast);
/* Acts upon what came, runs its jobs, and takes its effects, until there are no more. */
void cast_settle(struct cast *cast);

#endif
