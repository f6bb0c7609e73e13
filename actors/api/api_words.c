/* Requests by words, of an operator on the node's text endpoint or the bus: what an
 * application's back end may ask over HTTP, by the same handlers. */
#include "actors/api/api_priv.h"
#include "core/limits.h"
#include "proto/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 512, MUTE_MAX_S = 10 * 366 * 24 * 3600 };

/* X(word, handler, what it needs, what follows NAME, help) */
#define WORDS(X)                                                                         \
    X(add, on_add, body_none, "[APP]", "make an account")                                \
    X(show, api_on_app_user, body_none, "[APP]", "say what an account is")               \
    X(forbid, api_on_app_change, body_forbid, "[APP]", "no login any more")              \
    X(unforbid, api_on_app_change, body_unforbid, "[APP]", "login again")                \
    X(mute, api_on_app_change, body_mute, "[APP [SECONDS]]", "no sending any more")      \
    X(unmute, api_on_app_change, body_unmute, "[APP]", "sending again")                  \
    X(delete, api_on_app_delete, body_none, "[APP]", "gone for all")                     \
    X(revoke, api_on_app_revoke, body_revoke, "[APP [DEVICE]]",                          \
      "every token, or a device's, ends now")

/* What HTTP would have as body, into task->body. more: the last word, or NULL. */
typedef enum an_err body_f(struct api_task *task, const char *more);

static void
refuse(struct api_run *run, struct an_msg *msg, enum an_err err)
{
    run->api->count.refused++;
    an_out_answer(run->out, msg, err, NULL);
}

static enum an_err
put(struct api_task *task, json_t *body, const char *more)
{
    task->body = body;
    if (more != NULL) {
        return AN_ERR_ARGUMENT;
    }
    return body == NULL ? AN_ERR_NO_MEMORY : AN_OK;
}

static enum an_err
body_none(struct api_task *task, const char *more)
{
    (void)task;
    return more == NULL ? AN_OK : AN_ERR_ARGUMENT;
}

static enum an_err
body_forbid(struct api_task *task, const char *more)
{
    return put(task, json_pack("{s:b}", "forbidden", 1), more);
}

static enum an_err
body_unforbid(struct api_task *task, const char *more)
{
    return put(task, json_pack("{s:b}", "forbidden", 0), more);
}

static enum an_err
body_unmute(struct api_task *task, const char *more)
{
    return put(task, json_pack("{s:i}", "mute_s", 0), more);
}

static enum an_err
body_mute(struct api_task *task, const char *more)
{
    char *end = NULL;
    long seconds = more == NULL ? -1 : strtol(more, &end, 10);

    if (more != NULL && (*end != '\0' || seconds < 1 || seconds > MUTE_MAX_S)) {
        return AN_ERR_ARGUMENT;
    }
    return put(task, json_pack("{s:I}", "mute_s", (json_int_t)seconds), NULL);
}

static enum an_err
body_revoke(struct api_task *task, const char *more)
{
    json_t *body = json_pack("{s:s}", "user", task->user.name);

    if (more != NULL) {
        json_object_set_new(body, "device", json_string(more));
    }
    return put(task, body, NULL);
}

static void
then_added(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
    } else {
        api_end(run, task, NULL);
    }
}

static void
on_add(struct api_run *run, struct api_task *task)
{
    const char *name = task->user.name;

    if (!an_name_new((const uint8_t *)name, strlen(name))) {
        api_end_err(run, task, AN_ERR_USER_NAME);
        return;
    }
    api_make_user(run, task, then_added);
}

struct word {
    const char *name;
    api_ask_f *handle;
    body_f *body;
};

static const struct word *
word_find(const char *text)
{
#define ROW(word, handle, body, more, help) {"user-" #word, handle, body},
    static const struct word words[] = {WORDS(ROW)};
#undef ROW

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i].name, text) == 0) {
            return &words[i];
        }
    }
    return NULL;
}

static void
begin(struct api_run *run, struct an_msg *msg, const struct word *word, const char *name,
      const char *app, const char *more)
{
    struct api_task *task;
    uint64_t left_ms = msg->deadline_mono_ms - run->now.mono_ms;
    enum an_err err;

    if (!an_name_valid((const uint8_t *)name, strlen(name)) ||
        !an_name_valid((const uint8_t *)app, strlen(app))) {
        refuse(run, msg, AN_ERR_USER_NAME);
        return;
    }
    task = run->api->words_in_progress < API_WORDS_AT_ONCE
               ? api_task_new(run, left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX)
               : NULL;
    if (task == NULL) {
        refuse(run, msg, AN_ERR_BUSY);
        return;
    }
    snprintf(task->user.name, sizeof(task->user.name), "%s", name);
    snprintf(task->path, sizeof(task->path), "%s", name);
    snprintf(task->app, sizeof(task->app), "%s", app);
    err = api_judge_app(run, task);
    task->words = an_msg_hold(msg);
    task->trace = msg->trace;
    run->api->words_in_progress++;
    if (err == AN_OK) {
        err = word->body(task, more);
    }
    if (err != AN_OK) {
        refuse(run, msg, err);
        api_task_free(run->api, task);
        return;
    }
    word->handle(run, task);
}

void
api_on_words(struct api_run *run, struct an_msg *msg)
{
#define HELP(word, handle, body, more, help)                                             \
    ",\"user-" #word " NAME " more "\":\"" help "\""
    static const char help[] = WORDS(HELP);
#undef HELP
    const Anser__Bus__Inspect *body = (const Anser__Bus__Inspect *)msg->body;
    const struct word *word;
    char text[TEXT_MAX];
    char *first, *name, *app, *more, *at = NULL;

    run->api->count.requests++;
    if (an_out_help(run->out, msg, help + 1)) {
        return;
    }
    if (body->words.len == 0 || body->words.len >= sizeof(text) ||
        memchr(body->words.data, '\0', body->words.len) != NULL) {
        refuse(run, msg, AN_ERR_ARGUMENT);
        return;
    }
    memcpy(text, body->words.data, body->words.len);
    text[body->words.len] = '\0';
    first = strtok_r(text, " ", &at);
    name = strtok_r(NULL, " ", &at);
    app = strtok_r(NULL, " ", &at);
    more = strtok_r(NULL, " ", &at);
    word = first == NULL ? NULL : word_find(first);
    if (word == NULL || name == NULL || strtok_r(NULL, " ", &at) != NULL) {
        refuse(run, msg, AN_ERR_ARGUMENT);
        return;
    }
    begin(run, msg, word, name, app == NULL ? AN_APP_DEFAULT : app, more);
}
