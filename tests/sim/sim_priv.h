/* The inside of the simulator, shared by its own files alone. */
#ifndef AN_TESTS_SIM_PRIV_H
#define AN_TESTS_SIM_PRIV_H

#include "core/limits.h"
#include "core/rng.h"
#include "tests/sim/sim.h"

enum {
    SIM_PROCESSES_MAX = 16,
    SIM_ACTORS_MAX = 16,
    SIM_HOSTS_MAX = 3,
    SIM_CUTS_MAX = 16, /* at the same time */
    SIM_RING_LINES = 600,
    SIM_LINE_LEN = 200,
    SIM_RATE_BURST_S = 5,
    SIM_ADDRESS_CONNS_MAX = 3,
    SIM_MODEST = 0, /* this user never does anything too often */
    SIM_GUEST = 64, /* clients from here on are guests (guests.h) */
    SIM_NEAR_MS = 10000,
    SIM_MS = 1000, /* virtual time is counted in microseconds */
};
#define SIM_WALL_BASE_MS 1763712000000ull /* 2025-11-21T08:00:00Z */

/* ------------------------------------------------------------------ events */

/* Runs at its time; owns arg, one block of malloc or NULL. */
typedef void sim_event_f(struct sim *sim, void *arg, uint64_t number);

struct sim_event {
    uint64_t at_us;
    uint64_t order; /* of those at the same time: first planned, first run */
    sim_event_f *run;
    void *arg;
    uint64_t number;
};

/* ------------------------------------------------------------------ processes */

struct sim_disk;

struct sim_process {
    char name[32];
    unsigned host;
    uint64_t cluster, stores; /* digests in what it sends, and that it asks for */
    bool up;
    bool stopping;
    bool doomed; /* its disk failed or cut off: dies when the current step is over */
    bool doomed_power;
    uint32_t life; /* raised at every start and end; events of another life are void */
    uint64_t boot_us;
    uint64_t mono_base_ms;
    int64_t wall_offset_ms;
    int64_t mono_ppm, wall_ppm; /* how much faster than time its clocks run */
    uint64_t paused_until_us;
    unsigned start_failures;
};

struct sim_job {
    struct an_job *job;
    unsigned actor;
    uint32_t life;
    bool ran;
    struct sim_job *next;
};

struct sim_actor {
    struct an_addr addr;
    unsigned process;
    sim_make_f *make;
    void *ctx;
    struct an_actor *actor; /* NULL while its process is down */
    struct an_outbox out;
    struct an_msg *head, *tail; /* the mailbox */
    size_t queued;
    bool planned; /* a wake is on its way, or effects are about to leave */
    bool ready;
    bool stopped;
    struct sim_job *jobs; /* offloaded, done() not called yet */
    uint64_t apply_free_us, hash_free_us;
    struct an_msg **live; /* every message that was not released yet */
    size_t live_count, live_cap;
    struct sim_disk *disk; /* of a store; NULL otherwise */
    uint64_t disk_us;      /* what the current steps cost on the disk */
};

/* ------------------------------------------------------------------ the network */

struct sim_ask {
    uint64_t id;
    uint64_t tag;
    uint64_t trace;
    uint16_t kind; /* of the answer */
    struct sim_ask *next;
};

/* One asker's connection to one mailbox. */
struct sim_link {
    uint32_t generation; /* raised by a reset */
    uint64_t request_last_us, answer_last_us, publish_last_us;
    struct sim_ask *asks;
    unsigned outstanding;
};

/* Nothing passes from some processes to others. Both: two of them. */
struct sim_cut {
    uint32_t from, to; /* bits of processes */
    uint64_t until_us; /* over; those before now are free */
    bool held;         /* what is sent arrives when it is over, else it is lost */
    bool noticed;      /* connections are known to be broken, by now */
};

/* ------------------------------------------------------------------ faults */

/* What a seed does to its cluster. Chances are per 10,000, gaps are means in virtual ms
 * between two of a kind (0: never). */
struct sim_plan {
    unsigned level; /* 0 calm .. 3 hostile */
    bool single;    /* one process for all actors, as on a laptop */
    bool cluster;   /* three hosts; what follows up to by_host is of that alone */
    unsigned stores, idgens;
    bool standby;         /* sequencers stand by for each other */
    unsigned slots_dealt; /* how slots lie across sequencers and stores */
    bool owners_differ;   /* processes do not agree whose some slots are */
    bool stranger;        /* a gate that knows other stores for the slots */
    bool by_host;         /* a process for each host, not for each actor */
    uint32_t part_gap, part_host_gap, pause_long_gap, handover_gap, host_gap, drain_gap;
    unsigned gates, routers, sequencers;
    uint32_t latency_us;
    uint32_t drop_request, drop_answer, double_request, late_request, delay;
    uint32_t drop_publish, double_publish, reorder_publish, conn_slow;
    uint32_t reset_gap, kill_gap, kill_all_gap, power_gap, stop_gap, pause_gap;
    uint32_t conn_gap, conn_half_gap, sync_gap, cut_gap, full_gap, clock_gap;
    uint32_t rates;     /* Sends and Heartbeats that a user may a second; 0: no limits */
    uint32_t drift_ppm; /* clocks are off by at most this, each host's in its own way */
    uint32_t rewind;    /* what stores forward to each other */
    uint32_t people;    /* for so many virtual s guests come and go; 0: none */
    unsigned policy;    /* enum an_login_policy of their app */
    bool clocks_near;   /* jumps lead no further than SIM_NEAR_MS from the truth */
};

/* ------------------------------------------------------------------ connections */

enum sim_side { SIM_TO_GATE, SIM_TO_CLIENT };

struct sim_conn {
    uint64_t id;
    uint64_t number; /* as the gate knows it; its next life gives the same ones again */
    unsigned gate;   /* index into actors */
    uint32_t life;   /* of the gate's process */
    unsigned client;
    bool client_open; /* the client believes in it */
    bool gate_open;   /* so does the gate */
    bool cut;         /* nothing passes any more, in either direction */
    bool closing;     /* the gate closes after what it sent */
    bool ended;       /* and has: nothing broke before */
    uint64_t last_us[2];
    uint64_t unread; /* bytes the gate sent and the client has not taken */
    uint64_t slow_until_us;
};

/* The connections of a gate's life, by their numbers. */
struct sim_door {
    uint64_t *id;
    size_t count, cap;
    size_t given; /* the most that a life had */
};

struct sim_clients;
struct sim_guests;
struct sim_check;
struct sim_watch;
struct an_topology;

struct sim {
    struct sim_options options;
    struct an_rng rng;
    struct sim_plan plan;
    bool faults;     /* may happen now */
    bool hints_lost; /* every publish, now */
    bool failed;
    bool finished; /* being destroyed: nothing is carried out */
    char why[512];

    uint64_t now_us;
    uint64_t order;
    uint64_t events;
    uint64_t hash;
    struct an_rng shape_rng; /* so that what is drawn of a cluster moves nothing else */
    struct sim_event *heap;
    size_t heap_count, heap_cap;

    struct sim_process process[SIM_PROCESSES_MAX];
    unsigned process_count;
    struct sim_actor actor[SIM_ACTORS_MAX];
    unsigned actor_count;
    struct sim_link link[SIM_ACTORS_MAX][SIM_ACTORS_MAX]; /* asker, mailbox */
    uint64_t ask_next;
    struct sim_cut cut[SIM_CUTS_MAX];
    uint64_t trouble_us;                /* no pause or cut lasts longer than this */
    const struct an_topology *topology; /* as it is meant; NULL without Anser */
    struct sim_watch *watch;
    uint64_t outage_us; /* when it began; 0: not yet */

    struct sim_conn **conn; /* by id - 1 */
    size_t conn_count, conn_cap;
    struct sim_door door[SIM_ACTORS_MAX]; /* of the actors that are gates */
    struct sim_clients *clients;
    struct sim_guests *guests; /* NULL: none yet */
    struct sim_check *check;   /* NULL: not of people who write */

    uint64_t counts[SIM_COUNT_COUNT];
    char (*ring)[SIM_LINE_LEN];
    uint64_t ring_count;
    /* Answers to requests over HTTP; NULL: there is no door. */
    void (*http)(struct sim *sim, const struct an_effect *effect, const uint8_t *body);
    void *http_ctx;
    uint64_t bug_left; /* how often the planted bug may still strike */
};

/* sim.c */
void sim_at(struct sim *sim, uint64_t at_us, sim_event_f *run, void *arg,
            uint64_t number);
void sim_trace(struct sim *sim, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void sim_mix(struct sim *sim, const void *data, size_t len); /* into the hash */
void sim_mix_u64(struct sim *sim, uint64_t number);
/* The first failure stops the run; later ones are only traced. */
void sim_fail(struct sim *sim, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool sim_chance(struct sim *sim, uint32_t per_10000); /* false while faults are off */
uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high); /* both inclusive */
/* malloc that cannot fail (the trial stops). */
void *sim_alloc(size_t len);
void *sim_grow(void *array, size_t *cap, size_t need, size_t item);

/* hosts.c */
int sim_actor_find(const struct sim *sim, struct an_addr addr); /* -1: none */
struct an_now sim_clock(const struct sim *sim, const struct sim_process *process);
/* When the process's monotonic clock will have reached that. */
uint64_t sim_clock_at_us(const struct sim_process *process, uint64_t mono_ms);
uint32_t sim_life(const struct sim *sim, unsigned actor);
bool sim_actor_up(const struct sim *sim, unsigned actor);
/* A message that lives until the actor releases it. */
struct an_msg *sim_msg_create(struct sim *sim, unsigned actor, uint16_t kind);
void sim_mail(struct sim *sim, unsigned actor, struct an_msg *msg);
void sim_process_begin(struct sim *sim, unsigned process, uint64_t in_ms);
void sim_stop(struct sim *sim, unsigned process); /* cleanly; it starts again */
void sim_hosts_fini(struct sim *sim);
void sim_process_doom(struct sim *sim, unsigned process, bool power);
/* hosts_effects.c */
void sim_carry_out(struct sim *sim, unsigned actor);
void sim_jobs_finish(struct sim *sim, unsigned actor);
/* net.c */
void sim_net_ask(struct sim *sim, unsigned actor, const struct an_effect *effect,
                 const uint8_t *body);
void sim_net_answer(struct sim *sim, unsigned actor, const struct an_effect *effect,
                    const uint8_t *body);
void sim_net_publish(struct sim *sim, unsigned actor, const struct an_effect *effect,
                     const uint8_t *body);
/* The runner's own answer to a request the actor never saw. */
void sim_net_refuse(struct sim *sim, unsigned actor, struct an_msg *request,
                    enum an_err err);
void sim_net_process_down(struct sim *sim, unsigned process);
/* Every connection between the two processes breaks. */
void sim_net_processes_reset(struct sim *sim, unsigned a, unsigned b);
/* Words for INSPECT, from the operator; nobody reads the answer. */
void sim_net_inspect(struct sim *sim, unsigned actor, const char *words);
void sim_net_fini(struct sim *sim);
/* door.c */
uint64_t sim_door_connect(struct sim *sim, unsigned client, unsigned gate);
void sim_door_write(struct sim *sim, uint64_t conn, const uint8_t *frame, size_t len);
void sim_door_hang_up(struct sim *sim, uint64_t conn); /* by the client */
void sim_door_send(struct sim *sim, unsigned actor, const struct an_effect *effect,
                   const uint8_t *frame);
void sim_door_close(struct sim *sim, unsigned actor, uint64_t conn);
void sim_door_process_down(struct sim *sim, unsigned process);
void sim_door_fault(struct sim *sim, bool half_open);
void sim_door_fini(struct sim *sim);
/* cuts.c */
/* Nothing passes from the first processes to the second (bits) until then. */
void sim_cut(struct sim *sim, uint32_t from, uint32_t to, uint64_t until_us, bool held);
/* NULL: messages pass. */
const struct sim_cut *sim_cut_from_to(const struct sim *sim, unsigned from, unsigned to);
/* Is the connection between them known to be broken? */
bool sim_cut_noticed(const struct sim *sim, unsigned a, unsigned b);
void sim_cut_hit(struct sim *sim);      /* some two processes */
void sim_cut_hit_host(struct sim *sim); /* some two hosts */
/* watch.c: what passes on the bus, judged and counted. */
/* As the actor asked; then as it is on the wire. */
void sim_watch_request(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
                       const uint8_t *body, size_t len);
void sim_watch_sent(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
                    const uint8_t *body, size_t len);
void sim_watch_answer(struct sim *sim, unsigned asker, uint64_t ask, uint16_t kind,
                      const uint8_t *body, size_t len);
/* As the actor receives them: a request HANDOVER, the end of an ask PROBE, CLAIM. */
void sim_watch_handover(struct sim *sim, unsigned actor, const struct an_msg *msg);
void sim_watch_probed(struct sim *sim, unsigned actor, const struct an_msg *msg);
void sim_watch_granted(struct sim *sim, unsigned actor, const struct an_msg *msg);
/* What the one who has the slot shows the store; its number is of its last request. */
struct sim_pass {
    uint64_t epoch, incarnation, number;
};
struct sim_pass sim_watch_pass(struct sim *sim, uint32_t slot);
/* Is the newest claim another's than the owner's? */
bool sim_watch_is_taken_over(struct sim *sim, uint32_t slot);
void sim_watch_fini(struct sim *sim);
/* outage.c */
struct sim_sent;
void sim_outage_plan(struct sim *sim);
void sim_outage_start(struct sim *sim);
void sim_outage_acked(struct sim *sim, struct sim_sent *sent);
/* on_since: when the device that sees it logged in. */
void sim_outage_seen(struct sim *sim, const struct sim_sent *sent, unsigned user,
                     uint64_t on_since_us);
/* faults.c */
void sim_plan_draw(struct sim *sim);
void sim_faults_start(struct sim *sim);
void sim_faults_end(struct sim *sim);
/* Gives each host clocks of its own. */
void sim_clocks_draw(struct sim *sim);
/* rewind.c: what passes between stores as after one was put back in time. May replace
 * the body, as sim_tamper_packet does. */
void sim_rewind_packet(struct sim *sim, uint16_t kind, uint8_t **body, size_t *len);
/* tamper.c: the planted bugs. May alter the body (same or other length, sim_alloc'd). */
void sim_tamper_packet(struct sim *sim, uint16_t kind, uint8_t **body, size_t *len);
/* A request about to be handled. true: it is not; *answer_len bytes of *answer (malloc)
 * are to be its answer. *again: a second one (malloc) is handled after it. */
struct sim_twist {
    uint8_t *answer, *again;
    size_t answer_len, again_len;
};
bool sim_tamper_request(struct sim *sim, uint16_t kind, const uint8_t *body, size_t len,
                        struct sim_twist *twist);
bool sim_tamper_frame(struct sim *sim, unsigned client, uint16_t command, uint8_t **body,
                      size_t *len);
/* describe.c */
void sim_describe(struct sim *sim, const struct an_msg *msg);
/* disk.c */
struct store_files;
struct sim_disk *sim_disk_create(struct sim *sim, unsigned actor);
void sim_disk_destroy(struct sim_disk *disk);
struct store_files *sim_disk_files(struct sim_disk *disk);
void sim_disk_freeze(struct sim_disk *disk); /* its process is dead: nothing is written */
void sim_disk_thaw(struct sim_disk *disk, bool power);
void sim_disk_fail_sync(struct sim_disk *disk);
void sim_disk_cut(struct sim_disk *disk); /* the power goes within the next operations */
void sim_disk_set_full(struct sim_disk *disk, bool full);
void sim_disk_heal(struct sim_disk *disk);
/* clients.c */
/* Clients of one user share an address. */
unsigned sim_client_user(const struct sim *sim, unsigned client);
void sim_client_opened(struct sim *sim, unsigned client, uint64_t conn);
void sim_client_frame(struct sim *sim, unsigned client, uint64_t conn,
                      const struct an_frame *frame, const uint8_t *body);
void sim_client_closed(struct sim *sim, unsigned client, uint64_t conn);
/* guests.c: the same for those from SIM_GUEST on. */
void sim_guest_opened(struct sim *sim, unsigned guest, uint64_t conn);
void sim_guest_frame(struct sim *sim, unsigned guest, uint64_t conn,
                     const struct an_frame *frame, const uint8_t *body);
void sim_guest_closed(struct sim *sim, unsigned guest, uint64_t conn, bool ended);

#endif
