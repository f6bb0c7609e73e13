/* The inside of the api actor, shared by its files.
 *
 * A request is a task: a chain of steps. A step has a function that asks (one command of
 * a sequencer, one query of a store, a key, a hash) and one that goes on with what came
 * of it. What failed in passing is asked again by the same function, so every step may be
 * taken twice. */
#ifndef AN_ACTORS_API_PRIV_H
#define AN_ACTORS_API_PRIV_H

#include "actors/api/api.h"
#include "actors/api/api_guess.h"
#include "actors/api/api_hash.h"
#include "actors/api/api_sign.h"
#include "core/rng.h"
#include "proto/bus.pb-c.h"
#include <jansson.h>

enum {
    API_REFRESH_MAX = 192, /* a refresh token's text */
    API_IMPORT_AT_ONCE = 8,
    API_WORDS_AT_ONCE = 16,
    API_WRONG_MAX = 160, /* bytes of what is wrong with a request */
};

#define API_SYSTEM "system" /* the user whom back ends send as when they name nobody */

struct api;
struct api_task;

/* One step of the actor. */
struct api_run {
    struct api *api;
    struct an_now now;
    struct an_outbox *out;
};

/* What a step brought; the one that was asked for is not NULL when err is AN_OK. */
struct api_reply {
    enum an_err err;
    const Anser__Bus__Result *result; /* also with some errors: USER_EXISTS has a user */
    const Anser__Bus__Answer *answer;
    const Anser__Bus__TakenSegment *taken;
    bool hash_fits; /* of a hash: the password is right */
};

typedef void api_ask_f(struct api_run *run, struct api_task *task);
typedef void api_then_f(struct api_run *run, struct api_task *task,
                        const struct api_reply *reply);

/* A name behind the directory, as one task needs up to two of them. */
struct api_person {
    char name[AN_NAME_LEN_MAX + 1];
    uint64_t key;
};

struct api_task {
    bool used;
    uint32_t round; /* in tags: answers and timers of an earlier step are stale */
    uint64_t trace, deadline_ms; /* on the actor's clock */
    uint64_t tried_ms;           /* when its password was counted as tried */

    /* Who is answered: one of these. */
    struct an_msg *words; /* held */
    const struct an_http_request *http;
    struct api_task *import; /* it is one user of an import */
    size_t import_at;

    /* The step. */
    api_ask_f *ask;
    api_then_f *then;
    bool asked_slot;
    uint16_t slot, owner; /* whom it asks about the slot, and for keys */

    /* What the request says, and what was found. */
    json_t *body; /* NULL: none */
    char
        wrong[API_WRONG_MAX]; /* with it: which member, and what it should be; "": well */
    char app[AN_NAME_LEN_MAX + 1];
    char device[AN_NAME_LEN_MAX + 1], platform[AN_NAME_LEN_MAX + 1];
    struct api_person user, peer;
    char path[AN_NAME_LEN_MAX + 1]; /* the last part of the path, decoded */
    enum an_err judged; /* of the account, kept until the password is known to be right */
    bool existed;       /* making: the name had a key before we came */
    bool registers;     /* anybody may ask that: its hash waits for logins */
    bool has_password;  /* making: hash is the account's */
    char hash[AN_PASSWORD_HASH_LEN_MAX];
    char verified[AN_PASSWORD_HASH_LEN_MAX]; /* what the password shown fits; "": none */
    struct api_hash_job *job;                /* that is out */
    char refresh[API_REFRESH_MAX];
    uint8_t refresh_hash[AN_REFRESH_HASH_LEN], expect_hash[AN_REFRESH_HASH_LEN];
    bool expects;
    uint64_t tokens_from_ms; /* new ones are not issued before */
    uint64_t issued_ms;      /* of the token that was shown */
    uint64_t mints_ms;       /* what one that is made is dated, or later */
    uint64_t ttl_ms;
    uint32_t set; /* bits of UpdateAccount */
    bool forbidden;
    uint64_t muted_until_ms;
    char nick[AN_NICK_LEN_MAX + 1], avatar[AN_AVATAR_LEN_MAX + 1];
    char *extra;         /* JSON; freed with the task */
    uint32_t device_set; /* bits of UpdateDevice */
    json_t *answer;      /* names of devices to clear; the results of an import */
    size_t at, left;     /* in that list; of an import: begun, and not ended */
    bool busy;           /* an import that is beginning some */
    uint8_t *content;    /* of a message; freed with the task */
    size_t content_len;
    uint32_t type;

    /* Where parts of a request that are made of several steps lead. */
    api_then_f *made, *found, *signed_in;
    api_ask_f *taken;            /* a back end's request that nobody made before */
    struct api_signed signature; /* of that */
    uint64_t claimant;
    api_ask_f *cleared;
    uint8_t client_msg_id[AN_CLIENT_MSG_ID_LEN];
};

/* X(name, sentence) */
#define API_COUNTERS(X)                                                                  \
    X(requests, "Requests of command lines and programs over the bus")                   \
    X(http_requests, "Requests over HTTP")                                               \
    X(users_created, "Accounts made or completed")                                       \
    X(users_existed, "Requests for accounts that were there")                            \
    X(refused, "Requests refused: unknown words, bad names, too many at once")           \
    X(failed, "Requests that ended with an error of another actor")                      \
    X(retries, "Requests to other actors that were made again")                          \
    X(logins, "Logins by password")                                                      \
    X(refreshes, "Refresh tokens exchanged")                                             \
    X(passwords_wrong, "Wrong passwords")                                                \
    X(tries_slowed, "Logins refused for a while after wrong passwords")                  \
    X(signatures_refused, "Requests of back ends refused for their signature")           \
    X(messages_sent, "Messages sent for back ends")

/* Who is let in and who is not, for the log. X(name, level, words) */
#define API_EVENTS(X)                                                                    \
    X(SLOWED, INFO, "slowed for wrong passwords")                                        \
    X(REUSED, WARN, "refresh token used twice, its device is revoked")                   \
    X(UNSIGNED, INFO, "signature refused")                                               \
    X(FORBIDDEN, INFO, "user forbidden")                                                 \
    X(ALLOWED, INFO, "user not forbidden any more")                                      \
    X(DELETED, INFO, "user deleted")                                                     \
    X(REVOKED, INFO, "tokens revoked")

#define API_EVENT(name, level, words) API_EVENT_##name,
enum api_event { API_EVENTS(API_EVENT) API_EVENT_COUNT };
#undef API_EVENT

struct api_said {
    uint64_t at_ms;  /* the last line; 0: none yet */
    uint64_t unsaid; /* since then */
};

#define API_COUNTER_FIELD(name, sentence) uint64_t name;
struct api_counters {
    API_COUNTERS(API_COUNTER_FIELD)
};
#undef API_COUNTER_FIELD

struct api {
    struct an_actor actor; /* first */
    struct api_cfg cfg;
    struct an_rng rng;
    uint64_t serial; /* of refresh tokens */
    struct api_task tasks[AN_API_TASKS_MAX];
    uint64_t in_progress, words_in_progress;
    struct api_guess *guess;
    struct api_hash_job *jobs; /* all, the youngest first */
    uint64_t job_count, jobs_out;
    enum api_hash_class turn; /* whose it is, when others than checks wait */
    bool stopping;
    /* Which gates live, as a router said last. */
    bool live[UINT8_MAX + 1];
    uint64_t live_ms; /* 0: none has said yet */
    uint16_t live_router;
    struct api_counters count;
    struct api_said said[API_EVENT_COUNT];
};

/* ------------------------------------------------------------------ api_task.c */

/* NULL: as many as may be. */
struct api_task *api_task_new(struct api_run *run, uint32_t ms);
/* Frees what it has; it was answered. */
void api_task_free(struct api *api, struct api_task *task);
void api_task_abandon(struct api *api, struct api_task *task);
/* Takes a step. */
void api_step_to(struct api_run *run, struct api_task *task, api_ask_f *ask,
                 api_then_f *then);
/* For ask functions. */
void api_ask_sequencer(struct api_run *run, struct api_task *task, uint16_t slot,
                       Anser__Bus__Command *command);
void api_ask_store(struct api_run *run, struct api_task *task, uint16_t slot,
                   Anser__Bus__Query *query);
void api_ask_key(struct api_run *run, struct api_task *task);
/* Answers and timers of the actor. */
void api_task_answered(struct api_run *run, const struct an_msg *msg);
void api_task_timer(struct api_run *run, uint64_t tag);
/* Argon2id elsewhere: of a new password into task->hash, or of one against task->hash.
 * Ends in then; AN_ERR_BUSY when too many wait, of all, of registrations or of those of
 * its address. */
void api_step_hash(struct api_run *run, struct api_task *task, const char *password,
                   bool verify, api_then_f *then);
void api_task_hashed(struct api_run *run, struct an_job *job);
/* The actor stops: those that wait are dropped, those that are out are told. */
void api_hashes_stop(struct api *api);

/* ------------------------------------------------------------------ api_answer.c */

/* The end of a task. body: taken; NULL: {}. */
void api_end(struct api_run *run, struct api_task *task, json_t *body);
void api_end_err(struct api_run *run, struct api_task *task, enum an_err err);
/* The same in other words than the table's (NULL: those), which need no escaping; with
 * Retry-After if retry_s is not 0. Of a request over HTTP. */
void api_end_saying(struct api_run *run, struct api_task *task, enum an_err err,
                    const char *message, uint32_t retry_s);
/* Without a task. */
void api_refuse_http(struct api_run *run, const struct an_http_request *request,
                     enum an_err err, uint32_t retry_s);
/* METHOD; allow: 1 << method for each that the path has. */
void api_refuse_method(struct api_run *run, const struct an_http_request *request,
                       uint32_t allow);
void api_answer_http(struct api_run *run, const struct an_http_request *request,
                     const char *json);
/* What is wrong with the request, for who sent it: "what: rule", both words of ours,
 * plain ASCII without quotes. AN_ERR_ARGUMENT. */
AN_MUST_USE enum an_err api_wrong(struct api_task *task, const char *what,
                                  const char *rule);
/* A member of the body; it may be missing (*out is ""). AN_ERR_ARGUMENT: no text, or
 * longer than len - 1 bytes. It, and those below, leave in the task what is wrong. */
AN_MUST_USE enum an_err api_take_text(struct api_task *task, const json_t *body,
                                      const char *key, char *out, size_t len);
/* The same of a name: AN_ERR_USER_NAME, AN_ERR_DEVICE_NAME (bad) when it is not valid. */
AN_MUST_USE enum an_err api_take_name(struct api_task *task, const json_t *body,
                                      const char *key, const char *otherwise,
                                      enum an_err bad, char out[AN_NAME_LEN_MAX + 1]);
/* The name of the user to be made, into the task: AN_ERR_USER_NAME, too, when it could
 * pass for another's (an_name_new). */
AN_MUST_USE enum an_err api_take_new_user(struct api_task *task, const json_t *body);
/* A platform of the body, or otherwise. False: none of AN_PLATFORMS, and the task has
 * ended with words that name them. */
bool api_take_platform(struct api_run *run, struct api_task *task, const char *otherwise);
/* A password of the body; lives in it. AN_ERR_PASSWORD_LENGTH, AN_ERR_ARGUMENT. */
AN_MUST_USE enum an_err api_take_password(struct api_task *task, const json_t *body,
                                          const char *key, const char **out);
/* Overwrites the passwords and frees. */
void api_body_free(json_t *body);

/* ------------------------------------------------------------------ api_say.c */

/* A line for the log that names the task's address, app and user; of each event at most
 * one a second, with how many there were since the last. more: "", or further
 * " key=value" without secrets. */
void api_say(struct api_run *run, enum api_event event, const struct api_task *task,
             const char *more);
/* The same with the task's device. */
void api_say_device(struct api_run *run, enum api_event event,
                    const struct api_task *task);

/* ------------------------------------------------------------------ api_route.c */

void api_http(struct api_run *run, const struct an_http_request *request);

/* Whether task->app is served here: AN_ERR_APP_UNKNOWN. */
AN_MUST_USE enum an_err api_judge_app(const struct api_run *run,
                                      const struct api_task *task);

/* ------------------------------------------------------------------ api_user.c */

/* Making an account for task->user.name of task->app, with task->hash when has_password;
 * ends in done with AN_OK, USER_EXISTS or another error. */
void api_make_user(struct api_run *run, struct api_task *task, api_then_f *done);
/* From name to key to account: found has an answer with it, for the user with details and
 * devices, or USER_NOT_FOUND. */
void api_find_user(struct api_run *run, struct api_task *task, api_then_f *found);
void api_find_peer(struct api_run *run, struct api_task *task, api_then_f *found);
/* The account of task->user.key. */
void api_read_account(struct api_run *run, struct api_task *task, api_then_f *found);
/* By task->set and what it names. */
void api_update_account(struct api_run *run, struct api_task *task, api_then_f *then);
/* task->device's session; with task->refresh its hash, with expects only if the hash
 * before is the one expected. */
void api_update_device(struct api_run *run, struct api_task *task, uint32_t set,
                       api_then_f *then);
/* Ends the refresh tokens of the devices that were noted; then goes on. */
void api_note_devices(struct api_task *task, const Anser__Bus__Answer *answer);
void api_clear_devices(struct api_run *run, struct api_task *task, api_ask_f *then);
/* Who may not log in or send: USER_DELETED, USER_FORBIDDEN. */
enum an_err api_judge(const Anser__Bus__Answer *answer);
/* NULL: none of that name. */
const Anser__Bus__DeviceState *api_find_device(const Anser__Bus__Answer *answer,
                                               const char *device);
/* From when the device's tokens are good; device NULL: of one without a session, or (not
 * named) of none. */
uint64_t api_tokens_from(const Anser__Bus__Answer *answer,
                         const Anser__Bus__DeviceState *device, bool named);
json_t *api_profile_json(const struct api_task *task, const Anser__Bus__Answer *answer);
json_t *api_devices_json(const Anser__Bus__Answer *answer);

/* ------------------------------------------------------------------ api_profile.c */

/* What of a profile the body names, into task and its set. */
AN_MUST_USE enum an_err api_take_profile(struct api_task *task, const json_t *body);

/* ------------------------------------------------------------------ api_gates.c */

/* Tags that no task has. */
#define API_TAG_GATES UINT64_MAX

/* Asks a router which gates live, and again after a while. Nothing to do without gates.
 */
void api_gates_ask(struct api_run *run);
void api_gates_answered(struct api_run *run, const struct an_msg *msg);
/* The gates that live, of a scheme ("" for all), as JSON. */
json_t *api_gates_json(const struct api_run *run, const char *scheme);

/* ------------------------------------------------------------------ api_session.c */

/* By the Authorization header: found has the account of who asks. */
void api_sign_in(struct api_run *run, struct api_task *task, api_then_f *then);

/* ------------------------------------------------------------------ handlers */

/* Each takes a fresh task, with its body. */
api_ask_f api_on_register, api_on_login, api_on_refresh, api_on_gates;
/* Of who has shown a token; the reply has the account. */
api_then_f api_on_logout, api_on_password, api_on_profile, api_on_profile_change,
    api_on_devices, api_on_device_remove, api_on_profile_read;
/* Of a back end; task->app is its. */
api_ask_f api_on_import, api_on_app_user, api_on_app_change, api_on_app_delete,
    api_on_app_token, api_on_app_revoke, api_on_app_message;
/* One of an import has ended. */
void api_on_import_more(struct api_run *run, struct api_task *import);
/* By words. */
void api_on_words(struct api_run *run, struct an_msg *msg);

#endif
