/* Bodies in, answers out. */
#include "actors/api/api_error.h"
#include "actors/api/api_priv.h"
#include "core/log.h"
#include "core/text.h"
#include "proto/names.h"
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSWORD_MIN = 8, WORDS_JSON_MAX = 1024, RETRY_S = 1 };
static_assert(AN_NAME_LEN_MAX == 64, "AN_NAME_RULE says so");

/* ------------------------------------------------------------------ bodies */

enum an_err
api_wrong(struct api_task *task, const char *what, const char *rule)
{
    snprintf(task->wrong, sizeof(task->wrong), "%s: %s", what, rule);
    return AN_ERR_ARGUMENT;
}

enum an_err
api_take_text(struct api_task *task, const json_t *body, const char *key, char *out,
              size_t len)
{
    const json_t *value = json_object_get(body, key);
    size_t got = json_string_length(value);

    out[0] = '\0';
    if (value == NULL || json_is_null(value)) {
        return AN_OK;
    }
    if (!json_is_string(value) || got >= len || strlen(json_string_value(value)) != got) {
        char rule[64];

        snprintf(rule, sizeof(rule), "has to be a text of at most %zu bytes", len - 1);
        return api_wrong(task, key, rule);
    }
    memcpy(out, json_string_value(value), got + 1);
    return AN_OK;
}

enum an_err
api_take_name(struct api_task *task, const json_t *body, const char *key,
              const char *otherwise, enum an_err bad, char out[AN_NAME_LEN_MAX + 1])
{
    enum an_err err = api_take_text(task, body, key, out, AN_NAME_LEN_MAX + 1);

    if (err == AN_OK && out[0] == '\0' && otherwise != NULL) {
        snprintf(out, AN_NAME_LEN_MAX + 1, "%s", otherwise);
    }
    if (err == AN_OK && json_object_get(body, key) == NULL && out[0] == '\0') {
        return api_wrong(task, key, "is missing");
    }
    if (err != AN_OK || !an_name_valid((const uint8_t *)out, strlen(out))) {
        (void)!api_wrong(task, key, AN_NAME_RULE);
        return bad;
    }
    return AN_OK;
}

enum an_err
api_take_new_user(struct api_task *task, const json_t *body)
{
    char *name = task->user.name;
    enum an_err err = api_take_name(task, body, "user", NULL, AN_ERR_USER_NAME, name);

    if (err == AN_OK && !an_name_new((const uint8_t *)name, strlen(name))) {
        (void)!api_wrong(task, "user", AN_NAME_NEW_RULE);
        err = AN_ERR_USER_NAME;
    }
    return err;
}

enum an_err
api_take_password(struct api_task *task, const json_t *body, const char *key,
                  const char **out)
{
    const json_t *value = json_object_get(body, key);
    size_t len = json_string_length(value);

    if (!json_is_string(value)) {
        return api_wrong(task, key, value == NULL ? "is missing" : "has to be a text");
    }
    if (len < PASSWORD_MIN || len > API_PASSWORD_MAX ||
        strlen(json_string_value(value)) != len) {
        return AN_ERR_PASSWORD_LENGTH;
    }
    *out = json_string_value(value);
    return AN_OK;
}

static void
wipe(const json_t *object)
{
    static const char *const keys[] = {"password", "old_password", "refresh_token"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const json_t *value = json_object_get(object, keys[i]);

        if (json_is_string(value)) {
            sodium_memzero((void *)(uintptr_t)json_string_value(value),
                           json_string_length(value));
        }
    }
}

void
api_body_free(json_t *body)
{
    const json_t *one;
    size_t i;

    if (body == NULL) {
        return;
    }
    wipe(body);
    json_array_foreach(json_object_get(body, "users"), i, one)
    {
        wipe(one);
    }
    json_decref(body);
}

/* ------------------------------------------------------------------ answers */

static void
refuse_saying(struct api_run *run, const struct an_http_request *request, enum an_err err,
              const char *message, uint32_t retry_s)
{
    char json[API_ERROR_JSON_MAX];
    size_t len = api_error_json(err, message, json);
    unsigned status = api_error_status(err);

    if (retry_s == 0 && status == 503) {
        retry_s = RETRY_S;
    }
    an_out_http(run->out, request->id, status, retry_s, json, len);
}

void
api_refuse_http(struct api_run *run, const struct an_http_request *request,
                enum an_err err, uint32_t retry_s)
{
    refuse_saying(run, request, err, NULL, retry_s);
}

void
api_refuse_method(struct api_run *run, const struct an_http_request *request,
                  uint32_t allow)
{
    char json[API_ERROR_JSON_MAX];
    size_t len = api_error_json(AN_ERR_METHOD, NULL, json);

    an_out_http_allow(run->out, request->id, allow, json, len);
}

void
api_answer_http(struct api_run *run, const struct an_http_request *request,
                const char *json)
{
    an_out_http(run->out, request->id, 200, 0, json, strlen(json));
}

/* What was wrong with the request itself, if that is why it ends; else NULL. */
static const char *
wrong_of(const struct api_task *task, enum an_err err)
{
    return an_err_category(err) == AN_CAT_INVALID && task->wrong[0] != '\0' ? task->wrong
                                                                            : NULL;
}

/* One of an import: its line in the results, then the next. */
static void
end_imported(struct api_run *run, struct api_task *task, enum an_err err)
{
    struct api_task *import = task->import;
    const char *wrong = wrong_of(task, err);
    json_t *line = json_pack("{s:s, s:b}", "user", task->user.name, "ok", err == AN_OK);

    if (err != AN_OK) {
        json_object_set_new(line, "error",
                            json_pack("{s:i, s:s, s:s}", "code", (int)err, "name",
                                      an_err_name(err), "message",
                                      wrong == NULL ? an_err_text(err) : wrong));
    }
    json_array_set_new(import->answer, task->import_at, line);
    api_task_free(run->api, task);
    import->left--;
    api_on_import_more(run, import);
}

/* body: NULL when there is no more to say than who it is. */
static void
end_words(struct api_run *run, struct api_task *task, const json_t *body)
{
    Anser__Bus__Inspected done = ANSER__BUS__INSPECTED__INIT;
    char json[WORDS_JSON_MAX], name[2 * AN_NAME_LEN_MAX + 1],
        app[2 * AN_NAME_LEN_MAX + 1];

    if (body != NULL) {
        char *text = json_dumps(body, JSON_COMPACT);

        done.json.data = (uint8_t *)text;
        done.json.len = text == NULL ? 0 : strlen(text);
        an_out_answer(run->out, task->words, text == NULL ? AN_ERR_NO_MEMORY : AN_OK,
                      text == NULL ? NULL : &done.base);
        free(text);
        return;
    }
    an_text_escape(name, sizeof(name), task->user.name, strlen(task->user.name), true);
    an_text_escape(app, sizeof(app), task->app, strlen(task->app), true);
    snprintf(json, sizeof(json), "{\"user\":\"%s\",\"app\":\"%s\",\"key\":\"%llu\"}",
             name, app, (unsigned long long)task->user.key);
    done.json.data = (uint8_t *)json;
    done.json.len = strlen(json);
    an_out_answer(run->out, task->words, AN_OK, &done.base);
}

void
api_end(struct api_run *run, struct api_task *task, json_t *body)
{
    char *text;

    if (task->import != NULL) {
        json_decref(body);
        end_imported(run, task, AN_OK);
        return;
    }
    if (task->words != NULL) {
        end_words(run, task, body);
        json_decref(body);
    } else {
        text = body == NULL ? strdup("{}") : json_dumps(body, JSON_COMPACT);
        json_decref(body);
        if (text == NULL) {
            api_refuse_http(run, task->http, AN_ERR_NO_MEMORY, 0);
        } else {
            api_answer_http(run, task->http, text);
            sodium_memzero(text, strlen(text));
            free(text);
        }
    }
    api_task_free(run->api, task);
}

void
api_end_err(struct api_run *run, struct api_task *task, enum an_err err)
{
    assert(err != AN_OK);
    if (task->import != NULL) {
        end_imported(run, task, err);
        return;
    }
    run->api->count.failed +=
        err != AN_ERR_USER_EXISTS && an_err_category(err) >= AN_CAT_BUSY;
    if (task->words != NULL) {
        an_out_answer(run->out, task->words, err, NULL);
    } else {
        refuse_saying(run, task->http, err, wrong_of(task, err), 0);
    }
    api_task_free(run->api, task);
}

void
api_end_saying(struct api_run *run, struct api_task *task, enum an_err err,
               const char *message, uint32_t retry_s)
{
    assert(err != AN_OK && task->import == NULL && task->words == NULL);
    run->api->count.failed += an_err_category(err) >= AN_CAT_BUSY;
    refuse_saying(run, task->http, err, message, retry_s);
    api_task_free(run->api, task);
}

bool
api_take_platform(struct api_run *run, struct api_task *task, const char *otherwise)
{
#define WORD(name) " " #name
    static const char rule[] = "has to be one of" AN_PLATFORMS(WORD);
#undef WORD
    enum an_err err = api_take_text(task, task->body, "platform", task->platform,
                                    sizeof(task->platform));

    if (err == AN_OK && task->platform[0] == '\0') {
        snprintf(task->platform, sizeof(task->platform), "%s", otherwise);
    } else if (err != AN_OK ||
               an_platform_find((const uint8_t *)task->platform,
                                strlen(task->platform)) == AN_PLATFORM_COUNT) {
        api_end_err(run, task, api_wrong(task, "platform", rule));
        return false;
    }
    return true;
}
