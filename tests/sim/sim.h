/* The deterministic simulator: a whole cluster, its clients, its network, its disks and
 * its clocks in one thread, on a virtual clock, out of one seed. The actors are the same
 * object code that runs under the NNG runner (core/actor.h).
 *
 * Two layers. The lower one runs any actors: sim_create, sim_process_add, sim_actor_add,
 * sim_run_until. The upper one, sim_trial, builds Anser, lets simulated users talk
 * through it while faults happen, and checks every promise. docs/testing.md explains how
 * to replay a seed and how to add a fault or a checker.
 *
 * Context: one thread. Nothing here reads a clock, an address or a random device: the
 * same seed gives the same trace, and sim_result.hash says so. */
#ifndef AN_TESTS_SIM_H
#define AN_TESTS_SIM_H

#include "core/actor.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a trial builds. Drawn: the seed decides. */
enum sim_shape {
    SIM_SHAPE_DRAWN,
    SIM_SHAPE_ONE_STORE, /* one process, or one for each actor; one store */
    SIM_SHAPE_CLUSTER,   /* three hosts, two of everything, standbys */
    SIM_SHAPE_COUNT,
};

/* "one-store"; NULL: no such shape. */
const char *sim_shape_name(enum sim_shape shape);

/* What is counted: X(NAME, name, must). must: the run over all ordinary seeds fails when
 * it never happened, because then nothing was tested there. */
#define SIM_OPS(X)                                                                       \
    X(OP_LOGIN, "op.login", true)                                                        \
    X(OP_SEND, "op.send", true)                                                          \
    X(OP_SEND_SELF, "op.send_self", true)                                                \
    X(OP_SEND_LARGE, "op.send_large", true)                                              \
    X(OP_SEND_UNKNOWN, "op.send_unknown", true)                                          \
    X(OP_RESEND, "op.resend", true)                                                      \
    X(OP_REPEAT, "op.repeat_acked", true)                                                \
    X(OP_CONFLICT, "op.send_conflict", true)                                             \
    X(OP_SYNC, "op.sync", true)                                                          \
    X(OP_HISTORY, "op.history", true)                                                    \
    X(OP_CONFIRM, "op.confirm", true)                                                    \
    X(OP_HEARTBEAT, "op.heartbeat", true)                                                \
    X(OP_LOGOUT, "op.logout", true)                                                      \
    X(OP_TWIN, "op.second_connection", true)                                             \
    X(OP_BAD_BODY, "op.bad_body", true)                                                  \
    X(GOT_ACK, "got.ack", true)                                                          \
    X(GOT_EVENT, "got.event", true)                                                      \
    X(GOT_HOLE, "got.hole", true)                                                        \
    X(GOT_RECEIPT, "got.receipt", true)                                                  \
    X(GOT_REFUSAL, "got.refusal", true)                                                  \
    X(GOT_GOODBYE, "got.goodbye", true)                                                  \
    X(OP_FLOOD, "op.flood", true)                                                        \
    X(GOT_RATE, "got.rate", true)                                                        \
    X(GOT_ADDRESS_FULL, "got.address_full", true)                                        \
    X(GOT_FORBIDDEN, "got.forbidden", true)                                              \
    X(HINTS_LOST, "fault.account_hints_lost", true)                                      \
    X(GUEST_LOGIN, "guest.login", true)                                                  \
    X(GUEST_BAD_TOKEN, "guest.bad_token", true) /* of whatever kind */                   \
    X(GUEST_OLD_TOKEN, "guest.old_token", true) /* issued before it was revoked */       \
    X(GUEST_KICKED, "guest.kicked", true)                                                \
    X(GUEST_REPLACED, "guest.replaced", true)                                            \
    X(GUEST_REVOKED, "guest.revoked", true) /* a live one is sent away */                \
    X(GUEST_REFUSED, "guest.refused_as_revoked", true)                                   \
    X(GUEST_NEW_TOKEN, "guest.new_token", true)                                          \
    X(GUEST_REVOKE, "guest.revocation", true)                                            \
    X(GUEST_PAIRS, "guest.pairs_judged", true) /* live at the same time, when settled */ \
    X(GUEST_STEPS, "guest.calm_steps", true)

#define SIM_FAULTS(X)                                                                    \
    X(DROP_REQUEST, "fault.drop_request", true)                                          \
    X(DROP_ANSWER, "fault.drop_answer", true)                                            \
    X(DOUBLE_REQUEST, "fault.double_request", true)                                      \
    X(LATE_REQUEST, "fault.late_request", true)                                          \
    X(DELAY, "fault.delay", true)                                                        \
    X(RESET, "fault.reset", true)                                                        \
    X(DROP_PUBLISH, "fault.drop_publish", true)                                          \
    X(DOUBLE_PUBLISH, "fault.double_publish", true)                                      \
    X(REORDER_PUBLISH, "fault.reorder_publish", true)                                    \
    X(KILL, "fault.kill", true)                                                          \
    X(KILL_ALL, "fault.kill_all", true)                                                  \
    X(POWER, "fault.power_cut", true)                                                    \
    X(STOP, "fault.clean_stop", true)                                                    \
    X(PAUSE, "fault.pause", true)                                                        \
    X(CONN_DROP, "fault.conn_drop", true)                                                \
    X(CONN_HALF, "fault.conn_half_open", true)                                           \
    X(CONN_SLOW, "fault.conn_slow", true)                                                \
    X(CONN_REUSED, "fault.conn_number_reused", true)                                     \
    X(SYNC_FAIL, "fault.sync_fail", true)                                                \
    X(DISK_CUT, "fault.disk_cut", true)                                                  \
    X(DISK_FULL, "fault.disk_full", true)                                                \
    X(CLOCK_BACK, "fault.clock_back", true)                                              \
    X(CLOCK_AHEAD, "fault.clock_ahead", true)                                            \
    X(CLOCK_DRIFT, "fault.clock_drift", true) /* lives with a clock that is not exact */ \
    X(CLOCK_APART, "fault.clock_apart", true) /* one that was off by 100 ms at its end   \
                                               */

/* The same of seeds with a cluster of three hosts. */
#define SIM_CLUSTER_COUNTS(X)                                                            \
    X(SAW_TAKEOVER, "saw.takeover", true) /* a candidate claimed a slot of another */    \
    X(SAW_FAILBACK, "saw.failback", true) /* its owner claimed it back */                \
    X(SAW_HANDOVER, "saw.handover", true) /* a stopping one's, accepted */               \
    X(SAW_FENCED, "saw.fenced", true)                                                    \
    X(SAW_HELD_REFUSED, "saw.held_claim_refused", true)                                  \
    X(SAW_PROBE, "saw.probe", true)                                                      \
    X(SAW_PROBE_AWAY, "saw.probe_of_absent", true)                                       \
    X(SAW_FORWARD, "saw.forward", true)                                                  \
    X(SAW_REWIND, "saw.rewind", true)                                                    \
    X(SAW_BLOCKED, "saw.blocked_store", true)                                            \
    X(SAW_ELSEWHERE, "saw.sync_across_stores", true)                                     \
    X(SAW_MOVED, "saw.moved", true)                                                      \
    X(SAW_REFUSED_CLUSTER, "saw.other_cluster_refused", true)                            \
    X(SAW_CENSUS, "saw.slot_served", true)                                               \
    X(CUT_ONE_WAY, "fault.cut_one_way", true)                                            \
    X(CUT_BOTH_WAYS, "fault.cut_both_ways", true)                                        \
    X(CUT_HOST, "fault.cut_host", true)                                                  \
    X(CUT_LONG, "fault.cut_long", true)                                                  \
    X(CUT_LOST, "fault.cut_message_lost", true)                                          \
    X(CUT_HELD, "fault.cut_message_held", true)                                          \
    X(CUT_NOTICED, "fault.cut_noticed", true)                                            \
    X(PAUSE_LONG, "fault.pause_long", true)                                              \
    X(STOP_SEQUENCER, "fault.stop_sequencer", true)                                      \
    X(HOST_DOWN, "fault.host_down", true)                                                \
    X(GATE_DRAINED, "fault.gate_drained", true)                                          \
    X(OWNERS_DIFFER, "fault.owners_differ", true)                                        \
    X(REWIND_HOLE, "fault.rewind_hole", true) /* entries that begin behind a hole */     \
    X(REWIND_MARK, "fault.rewind_mark", true) /* a store that says it has fewer */

/* What a plan can leave out: X(field of struct sim_plan, name). */
#define SIM_KINDS(X)                                                                     \
    X(drop_request, "drop-request")                                                      \
    X(drop_answer, "drop-answer")                                                        \
    X(double_request, "double-request")                                                  \
    X(late_request, "late-request")                                                      \
    X(delay, "delay")                                                                    \
    X(drop_publish, "drop-publish")                                                      \
    X(double_publish, "double-publish")                                                  \
    X(reorder_publish, "reorder-publish")                                                \
    X(conn_slow, "conn-slow")                                                            \
    X(reset_gap, "reset")                                                                \
    X(kill_gap, "kill")                                                                  \
    X(kill_all_gap, "kill-all")                                                          \
    X(power_gap, "power-cut")                                                            \
    X(stop_gap, "stop")                                                                  \
    X(pause_gap, "pause")                                                                \
    X(conn_gap, "conn-drop")                                                             \
    X(conn_half_gap, "conn-half-open")                                                   \
    X(sync_gap, "sync-fail")                                                             \
    X(cut_gap, "disk-cut")                                                               \
    X(full_gap, "disk-full")                                                             \
    X(clock_gap, "clock")                                                                \
    X(drift_ppm, "drift")                                                                \
    X(rewind, "rewind")                                                                  \
    X(part_gap, "cut")                                                                   \
    X(part_host_gap, "cut-host")                                                         \
    X(pause_long_gap, "pause-long")                                                      \
    X(handover_gap, "stop-sequencer")                                                    \
    X(host_gap, "host-down")                                                             \
    X(drain_gap, "drain")                                                                \
    X(rates, "rates")                                                                    \
    X(people, "people")

#define SIM_KIND_ENUM(field, name) SIM_KIND_##field,
enum sim_kind { SIM_KINDS(SIM_KIND_ENUM) SIM_KIND_COUNT };
#undef SIM_KIND_ENUM

const char *sim_kind_name(enum sim_kind kind);

#define SIM_COUNT_ENUM(name, text, must) SIM_##name,
enum sim_count {
    SIM_OPS(SIM_COUNT_ENUM) SIM_FAULTS(SIM_COUNT_ENUM) SIM_CLUSTER_COUNTS(SIM_COUNT_ENUM)
        SIM_COUNT_COUNT
};
#undef SIM_COUNT_ENUM

const char *sim_count_name(enum sim_count count);
/* In a run over seeds of which some (all: SIM_SHAPE_DRAWN) have that shape. */
bool sim_count_must(enum sim_count count, enum sim_shape shape);

/* Bugs that the simulator itself plants, to show that the checkers see them:
 * X(NAME, name, words of the checker that is to see it). */
#define SIM_BUGS(X)                                                                      \
    X(NONE, "none", "")                                                                  \
    X(LYING_SYNC, "lying-sync", "was seen before") /* acks leave before the sync */      \
    X(SEQ, "seq", "belongs to messages")           /* an ack names another number */     \
    X(DOUBLE_ENTRY, "double-entry", "inbox entry") /* a push comes under another one */  \
    X(FORGET_RETRY, "forget-retry", "was seq")     /* the store forgets what was sent */ \
    X(SWAP_SENDS, "swap-sends", "comes after its") /* two sends change places */         \
    X(CURSOR_BACK, "cursor-back", "the cursor of") /* a confirmed cursor moves back */   \
    X(STRANGER, "stranger", "sees a message from") /* a push reaches an outsider */      \
    X(SILENCE, "silence", "is not answered")       /* a send is never answered */        \
    X(FORGET_TAKEN, "forget-at-takeover", "was seq") /* ids sent, when a slot changes */ \
    X(NO_EPOCH, "no-epoch", "after epoch") /* appends pass whatever theirs is */         \
    X(OUTBOX_EARLY, "outbox-early", "its inbox up to") /* rows go, nothing was synced */ \
    X(FORWARD_TWICE, "forward-twice", "is in the inbox of") /* under new numbers */      \
    X(STEAL_BACK, "steal-back", "unasked") /* a held claim takes whoever has it */       \
    X(PARDON, "pardon", "and its user forbidden") /* stores say that nobody is */

#define SIM_BUG_ENUM(name, text, words) SIM_BUG_##name,
enum sim_bug { SIM_BUGS(SIM_BUG_ENUM) SIM_BUG_COUNT };
#undef SIM_BUG_ENUM

const char *sim_bug_name(enum sim_bug bug);
const char *sim_bug_words(enum sim_bug bug);
/* What a trial has to build for it to matter. */
enum sim_shape sim_bug_shape(enum sim_bug bug);

/* What happens to the first actor of a role, for half a minute; nothing else does. */
enum sim_outage_how {
    SIM_OUTAGE_NONE,
    SIM_OUTAGE_KILL,
    SIM_OUTAGE_PAUSE,
    SIM_OUTAGE_STOP, /* cleanly; it starts again at once */
    SIM_OUTAGE_CUT,  /* from all others */
    SIM_OUTAGE_DEAF, /* nothing reaches it */
    SIM_OUTAGE_MUTE, /* nothing that it sends arrives */
    SIM_OUTAGE_COUNT,
};

struct sim_outage {
    enum sim_outage_how how;
    enum an_role role;
};

/* How long each of many waited, in virtual ms. */
struct sim_waits {
    uint32_t *ms;
    size_t count, cap;
};

const char *sim_outage_name(enum sim_outage_how how);
const char *sim_outage_role(enum an_role role);
/* "kill:sequencer". false: there is no such outage. */
bool sim_outage_parse(struct sim_outage *outage, const char *text);

struct sim_options {
    uint64_t seed;
    enum sim_shape shape;
    uint32_t ops;             /* client operations before faults stop; 0: 2,000 */
    bool verbose;             /* every trace line to stderr as it happens */
    bool quiet;               /* nothing on stderr when it fails */
    bool calm;                /* no faults, whatever the seed says */
    uint32_t without;         /* bits of enum sim_kind: the seed's faults but these */
    enum sim_bug bug;         /* planted */
    struct sim_outage outage; /* with calm and a cluster */
    /* With an outage, of those who need not wait for what is away (NULL: nobody asks):
     * from writing a message to its ack, and from there to a device that was there. */
    struct sim_waits *acks, *sights;
};

struct sim_result {
    bool ok;
    char why[512]; /* the first broken promise */
    uint64_t hash; /* over events, messages, answers and disk operations */
    uint64_t events;
    uint64_t ops; /* of clients */
    uint64_t virtual_ms;
    uint64_t settle_ms; /* from the end of the last fault until all had settled */
    uint64_t counts[SIM_COUNT_COUNT];
};

/* A trial has failed. Tries the same seed with fewer operations and fewer kinds of faults
 * and leaves in options the least that still breaks the same promise; *result is of that.
 * Some tens of trials. */
void sim_shrink(struct sim_options *options, struct sim_result *result);

/* One whole trial of Anser. On failure the last trace lines went to stderr. */
void sim_trial(const struct sim_options *options, struct sim_result *result);

/* ------------------------------------------------------------------ the lower layer */

struct sim;

/* Makes one life of an actor; called at each start of its process. NULL: it cannot start
 * now (why says so) and the process tries again later. */
typedef struct an_actor *sim_make_f(void *ctx, struct an_addr addr, uint64_t seed,
                                    char *why, size_t why_len);

/* No faults unless sim_plan_draw was called. NULL without memory. */
struct sim *sim_create(const struct sim_options *options);
void sim_destroy(struct sim *sim);
/* A failure unit with its own clocks, on host 0. Starts when sim_start is called. */
unsigned sim_process_add(struct sim *sim, const char *name);
void sim_actor_add(struct sim *sim, unsigned process, struct an_addr addr,
                   sim_make_f *make, void *ctx);
void sim_start(struct sim *sim);
/* Until done(ctx) is true, nothing is left to happen, a checker failed or the virtual
 * clock reached until_ms. done may be NULL. Returns whether done became true. */
bool sim_run_until(struct sim *sim, uint64_t until_ms, bool (*done)(void *ctx),
                   void *ctx);
uint64_t sim_now_ms(const struct sim *sim);
uint64_t sim_hash(const struct sim *sim);
bool sim_failed(const struct sim *sim, const char **why);
/* The process dies at once; power: unsynced writes of its disks are lost or torn. It
 * starts again after restart_ms. */
void sim_kill(struct sim *sim, unsigned process, bool power, uint64_t restart_ms);
/* Every connection between two actors breaks: what is on its way is lost. */
void sim_reset(struct sim *sim, struct an_addr a, struct an_addr b);

#endif
