/* What an application's back end asks: its users, their tokens, messages. */
#include "actors/api/api_priv.h"
#include "core/limits.h"
#include "core/slot.h"
#include "proto/names.h"
#include "proto/rows.h"
#include "proto/utf8.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 1 /* type of a message of text */ };

static void
then_done(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
    } else {
        api_end(run, task, NULL);
    }
}

/* ------------------------------------------------------------------ one user */

static json_t *
user_json(const struct api_task *task, const Anser__Bus__Answer *answer)
{
    const Anser__Bus__AccountState *state = answer->account;
    json_t *root = api_profile_json(task, answer);

    if (root == NULL) {
        return NULL;
    }
    json_object_set_new(root, "forbidden",
                        json_boolean(state != NULL && state->forbidden));
    json_object_set_new(root, "deleted", json_boolean(state != NULL && state->deleted));
    json_object_set_new(root, "muted_until_ms",
                        json_integer(state == NULL ? 0
                                     : state->muted_until_ms > INT64_MAX
                                         ? -1
                                         : (json_int_t)state->muted_until_ms));
    json_object_set_new(root, "has_password",
                        json_boolean(answer->details->password_hash.len > 0));
    json_object_set_new(root, "devices", api_devices_json(answer));
    return root;
}

static void
then_user(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    api_end(run, task, user_json(task, reply->answer));
}

/* The user that the path names. */
static bool
take_user(struct api_run *run, struct api_task *task)
{
    if (!an_name_valid((const uint8_t *)task->path, strlen(task->path))) {
        api_end_err(run, task, AN_ERR_USER_NAME);
        return false;
    }
    snprintf(task->user.name, sizeof(task->user.name), "%s", task->path);
    return true;
}

void
api_on_app_user(struct api_run *run, struct api_task *task)
{
    if (take_user(run, task)) {
        api_find_user(run, task, then_user);
    }
}

/* ------------------------------------------------------------------ change, delete */

/* By a back end, or by an operator's words. */
static void
say_changed(struct api_run *run, const struct api_task *task)
{
    if ((task->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_FORBIDDEN) != 0) {
        api_say(run, task->forbidden ? API_EVENT_FORBIDDEN : API_EVENT_ALLOWED, task, "");
    }
    if ((task->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_DELETED) != 0) {
        api_say(run, API_EVENT_DELETED, task, "");
    } else if ((task->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE) != 0) {
        api_say(run, API_EVENT_REVOKED, task, "");
    }
}

static void
then_updated(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    say_changed(run, task);
    api_read_account(run, task, then_user);
}

static void
after_cleared(struct api_run *run, struct api_task *task)
{
    api_read_account(run, task, then_user);
}

static void
then_updated_clear(struct api_run *run, struct api_task *task,
                   const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    say_changed(run, task);
    api_clear_devices(run, task, after_cleared);
}

static void
update(struct api_run *run, struct api_task *task)
{
    bool revokes = (task->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE) != 0;

    api_update_account(run, task, revokes ? then_updated_clear : then_updated);
}

static void
then_change_hashed(struct api_run *run, struct api_task *task,
                   const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    task->set |= ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_PASSWORD |
                 ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE;
    update(run, task);
}

static void
then_change_found(struct api_run *run, struct api_task *task,
                  const struct api_reply *reply)
{
    const char *password;
    enum an_err err = reply->err;

    if (err == AN_OK && reply->answer->account != NULL &&
        reply->answer->account->deleted) {
        err = AN_ERR_USER_DELETED;
    }
    if (err == AN_OK && json_object_get(task->body, "password") != NULL) {
        err = api_take_password(task, task->body, "password", &password);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_note_devices(task, reply->answer);
    if (json_object_get(task->body, "password") != NULL) {
        api_step_hash(run, task, password, false, then_change_hashed);
    } else {
        update(run, task);
    }
}

/* {"muted_until_ms": N} or {"mute_s": N}; 0: no more, -1: without end. */
static enum an_err
take_mute(const struct api_run *run, struct api_task *task)
{
    const json_t *until = json_object_get(task->body, "muted_until_ms");
    const json_t *seconds = json_object_get(task->body, "mute_s");
    const json_t *value = until != NULL ? until : seconds;
    json_int_t number = json_integer_value(value);

    if (value == NULL) {
        return AN_OK;
    }
    if (!json_is_integer(value) || number < -1 || number > INT64_MAX / 2000 ||
        (until != NULL && seconds != NULL)) {
        return api_wrong(task, until != NULL ? "muted_until_ms" : "mute_s",
                         "has to be a number, -1 without end, 0 for no more; one of "
                         "muted_until_ms and mute_s");
    }
    task->set |= ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_MUTED;
    task->muted_until_ms = number == -1    ? UINT64_MAX
                           : number == 0   ? 0
                           : until != NULL ? (uint64_t)number
                                           : run->now.wall_ms + 1000 * (uint64_t)number;
    return AN_OK;
}

static enum an_err
take_change(const struct api_run *run, struct api_task *task)
{
    const json_t *forbidden = json_object_get(task->body, "forbidden");
    enum an_err err = api_take_profile(task, task->body);

    if (err == AN_OK && forbidden != NULL) {
        err = json_is_boolean(forbidden)
                  ? AN_OK
                  : api_wrong(task, "forbidden", "has to be true or false");
        task->set |= ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_FORBIDDEN;
        task->forbidden = json_is_true(forbidden);
    }
    if (err == AN_OK) {
        err = take_mute(run, task);
    }
    if (err == AN_OK && task->set == 0 &&
        json_object_get(task->body, "password") == NULL) {
        err = api_wrong(task, "the body", "names nothing to change");
    }
    return err;
}

void
api_on_app_change(struct api_run *run, struct api_task *task)
{
    enum an_err err;

    if (!take_user(run, task)) {
        return;
    }
    err = take_change(run, task);
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_find_user(run, task, then_change_found);
}

static void
after_deleted(struct api_run *run, struct api_task *task)
{
    api_end(run, task, NULL);
}

static void
then_deleted(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    say_changed(run, task);
    api_clear_devices(run, task, after_deleted);
}

/* Of a user with tokens to revoke, or to be deleted: task->set says which. */
static void
then_end_found(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    api_note_devices(task, reply->answer);
    task->set |= ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE;
    api_update_account(run, task, then_deleted);
}

void
api_on_app_delete(struct api_run *run, struct api_task *task)
{
    if (take_user(run, task)) {
        task->set = ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_DELETED;
        api_find_user(run, task, then_end_found);
    }
}

/* ------------------------------------------------------------------ tokens */

static enum an_err
take_token(struct api_task *task)
{
    const json_t *ttl = json_object_get(task->body, "expires_in");
    enum an_err err =
        api_take_name(task, task->body, "user", NULL, AN_ERR_USER_NAME, task->user.name);

    if (err == AN_OK && json_object_get(task->body, "device") != NULL) {
        err = api_take_name(task, task->body, "device", NULL, AN_ERR_DEVICE_NAME,
                            task->device);
    }
    if (err == AN_OK && ttl != NULL) {
        json_int_t seconds = json_integer_value(ttl);

        if (!json_is_integer(ttl) || seconds < 1 ||
            (uint64_t)seconds > AN_TOKEN_TTL_MAX_MS / 1000) {
            char rule[64];

            snprintf(rule, sizeof(rule), "has to be seconds, from 1 to %llu",
                     (unsigned long long)AN_TOKEN_TTL_MAX_MS / 1000);
            return api_wrong(task, "expires_in", rule);
        }
        task->ttl_ms = 1000 * (uint64_t)seconds;
    }
    return err;
}

static void
then_token_found(struct api_run *run, struct api_task *task,
                 const struct api_reply *reply)
{
    const struct api_cfg *cfg = &run->api->cfg;
    struct an_token_spec spec = {.app = task->app, .user = task->user.name};
    const Anser__Bus__DeviceState *device;
    enum an_err err = reply->err == AN_OK ? api_judge(reply->answer) : reply->err;
    char *token = NULL;

    spec.ttl_ms = task->ttl_ms != 0 ? task->ttl_ms : cfg->token_ms;
    spec.device = task->device[0] == '\0' ? NULL : task->device;
    spec.platform = task->platform[0] == '\0' ? NULL : task->platform;
    if (err == AN_OK) {
        device = api_find_device(reply->answer, task->device);
        spec.issued_ms = api_tokens_from(reply->answer, device, true);
        err = cfg->keys == NULL ? AN_ERR_NOT_SUPPORTED
                                : an_token_mint_spec(&token, &cfg->keys->key[0], &spec,
                                                     run->now.wall_ms);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_end(run, task,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "user", task->user.name, "app",
                      task->app, "token", token, "expires_in",
                      (json_int_t)(spec.ttl_ms / 1000), "expires_ms",
                      (json_int_t)(run->now.wall_ms + spec.ttl_ms), "gates",
                      api_gates_json(run, "")));
    sodium_memzero(token, strlen(token));
    free(token);
}

void
api_on_app_token(struct api_run *run, struct api_task *task)
{
    enum an_err err = take_token(task);

    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    if (api_take_platform(run, task, "")) {
        api_find_user(run, task, then_token_found);
    }
}

static void
then_device_revoked(struct api_run *run, struct api_task *task,
                    const struct api_reply *reply)
{
    if (reply->err == AN_OK) {
        api_say_device(run, API_EVENT_REVOKED, task);
    }
    then_done(run, task, reply);
}

/* Of one device; its session is made where there was none, so that the time is kept. */
static void
then_revoke_device(struct api_run *run, struct api_task *task,
                   const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    api_update_device(run, task,
                      ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH |
                          ANSER__BUS__DEVICE_SET__DEVICE_SET_REVOKE,
                      then_device_revoked);
}

void
api_on_app_revoke(struct api_run *run, struct api_task *task)
{
    enum an_err err = take_token(task);

    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_find_user(run, task,
                  task->device[0] != '\0' ? then_revoke_device : then_end_found);
}

/* ------------------------------------------------------------------ import */

static void
then_import_profile(struct api_run *run, struct api_task *task,
                    const struct api_reply *reply)
{
    then_done(run, task, reply);
}

static void
then_imported(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK || task->set == 0) {
        then_done(run, task, reply);
        return;
    }
    api_update_account(run, task, then_import_profile);
}

static void
then_import_hashed(struct api_run *run, struct api_task *task,
                   const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    task->has_password = true;
    api_make_user(run, task, then_imported);
}

static void
then_import_found(struct api_run *run, struct api_task *task,
                  const struct api_reply *reply)
{
    const json_t *one =
        json_array_get(json_object_get(task->import->body, "users"), task->import_at);
    const char *password;

    if (reply->err != AN_ERR_USER_NOT_FOUND) {
        api_end_err(run, task, reply->err == AN_OK ? AN_ERR_USER_EXISTS : reply->err);
    } else if (json_object_get(one, "password") == NULL) {
        api_make_user(run, task, then_imported);
    } else if (api_take_password(task, one, "password", &password) == AN_OK) {
        api_step_hash(run, task, password, false, then_import_hashed);
    } else {
        api_end_err(run, task, AN_ERR_PASSWORD_LENGTH);
    }
}

static void
import_one(struct api_run *run, struct api_task *task, const json_t *one)
{
    const char *password;
    enum an_err err = json_is_object(one)
                          ? api_take_new_user(task, one)
                          : api_wrong(task, "the user", "has to be an object");

    if (err == AN_OK && json_object_get(one, "password") != NULL) {
        err = api_take_password(task, one, "password", &password);
    }
    if (err == AN_OK) {
        err = api_take_profile(task, one);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_find_user(run, task, then_import_found);
}

static void
end_import(struct api_run *run, struct api_task *import)
{
    json_t *results = import->answer;
    json_int_t good = 0;
    const json_t *one;
    size_t i;

    json_array_foreach(results, i, one)
    {
        good += json_is_true(json_object_get(one, "ok"));
    }
    import->answer = NULL;
    api_end(run, import,
            json_pack("{s:I, s:I, s:o}", "created", good, "failed",
                      (json_int_t)json_array_size(results) - good, "results", results));
}

/* As many at once as may be; the last one that ends ends the import. One that fails at
 * once comes back here: the loop of the first call goes on, the others return. */
void
api_on_import_more(struct api_run *run, struct api_task *import)
{
    const json_t *users = json_object_get(import->body, "users");

    if (import->busy) {
        return;
    }
    import->busy = true;
    while (import->at < json_array_size(users) && import->left < API_IMPORT_AT_ONCE) {
        uint64_t left_ms = import->deadline_ms - run->now.mono_ms;
        struct api_task *task = run->now.mono_ms < import->deadline_ms
                                    ? api_task_new(run, (uint32_t)left_ms)
                                    : NULL;
        const json_t *one = json_array_get(users, import->at);

        if (task == NULL && import->left > 0) {
            break; /* when one ends there is room */
        }
        if (task == NULL) {
            json_array_set_new(import->answer, import->at++,
                               json_pack("{s:b, s:{s:i, s:s}}", "ok", 0, "error", "code",
                                         AN_ERR_BUSY, "name", an_err_name(AN_ERR_BUSY)));
            continue;
        }
        task->import = import;
        task->import_at = import->at++;
        snprintf(task->app, sizeof(task->app), "%s", import->app);
        import->left++;
        import_one(run, task, one);
    }
    import->busy = false;
    if (import->left == 0 && import->at == json_array_size(users)) {
        end_import(run, import);
    }
}

void
api_on_import(struct api_run *run, struct api_task *task)
{
    const json_t *users = json_object_get(task->body, "users");

    if (!json_is_array(users) || json_array_size(users) == 0 ||
        json_array_size(users) > AN_IMPORT_USERS_MAX) {
        char rule[64];

        snprintf(rule, sizeof(rule), "has to be a list of 1 to %u users",
                 (unsigned)AN_IMPORT_USERS_MAX);
        api_end_err(run, task, api_wrong(task, "users", rule));
        return;
    }
    task->answer = json_array();
    for (size_t i = 0; i < json_array_size(users); i++) {
        json_array_append_new(task->answer, json_null());
    }
    api_on_import_more(run, task);
}

/* ------------------------------------------------------------------ messages */

static void
then_sent(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    char id[24];

    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    run->api->count.messages_sent++;
    snprintf(id, sizeof(id), "%llu", (unsigned long long)reply->result->message_id);
    api_end(run, task,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "from", task->user.name, "to",
                      task->peer.name, "message_id", id, "seq",
                      (json_int_t)reply->result->seq, "time_ms",
                      (json_int_t)reply->result->time_ms, "client_msg_id", task->hash));
}

static void
ask_send(struct api_run *run, struct api_task *task)
{
    const struct an_conv conv = an_conv_direct(task->user.key, task->peer.key);
    Anser__Bus__SendCommand send = ANSER__BUS__SEND_COMMAND__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;

    send.sender = task->user.key;
    send.recipient = task->peer.key;
    send.from =
        (ProtobufCBinaryData){strlen(task->user.name), (uint8_t *)task->user.name};
    send.to = (ProtobufCBinaryData){strlen(task->peer.name), (uint8_t *)task->peer.name};
    send.device = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "api"};
    send.client_msg_id =
        (ProtobufCBinaryData){sizeof(task->client_msg_id), task->client_msg_id};
    send.type = task->type;
    send.body = (ProtobufCBinaryData){task->content_len, task->content};
    command.what_case = ANSER__BUS__COMMAND__WHAT_SEND;
    command.send = &send;
    api_ask_sequencer(run, task, an_slot_conv(&conv), &command);
}

static void
then_peer_found(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    enum an_err err = reply->err;

    if (err == AN_OK && reply->answer->account != NULL &&
        reply->answer->account->deleted) {
        err = AN_ERR_USER_DELETED;
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_step_to(run, task, ask_send, then_sent);
}

static void
then_system_made(struct api_run *run, struct api_task *task,
                 const struct api_reply *reply)
{
    if (reply->err != AN_OK && reply->err != AN_ERR_USER_EXISTS) {
        api_end_err(run, task, reply->err);
        return;
    }
    api_find_peer(run, task, then_peer_found);
}

static void
then_sender_found(struct api_run *run, struct api_task *task,
                  const struct api_reply *reply)
{
    const bool system = strcmp(task->user.name, API_SYSTEM) == 0;
    enum an_err err = reply->err == AN_OK ? api_judge(reply->answer) : reply->err;

    if (reply->err == AN_ERR_USER_NOT_FOUND && system) {
        api_make_user(run, task, then_system_made); /* the first message of it */
        return;
    }
    if (err == AN_OK && reply->answer->account != NULL &&
        reply->answer->account->muted_until_ms > run->now.wall_ms) {
        err = AN_ERR_MUTED;
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_find_peer(run, task, then_peer_found);
}

/* "text", or "body" in base64. */
static enum an_err
take_content(struct api_task *task)
{
    const json_t *text = json_object_get(task->body, "text");
    const json_t *body = json_object_get(task->body, "body");
    const json_t *type = json_object_get(task->body, "type");
    const json_t *content = text != NULL ? text : body;
    size_t len = json_string_length(content);

    task->type = type == NULL ? TEXT : (uint32_t)json_integer_value(type);
    if (!json_is_string(content) || (text != NULL && body != NULL)) {
        return api_wrong(task, "the body", "has to have one of text and body, as a text");
    }
    if (type != NULL && (!json_is_integer(type) || json_integer_value(type) < 1 ||
                         json_integer_value(type) > UINT16_MAX)) {
        return api_wrong(task, "type", "has to be a number from 1 to 65535");
    }
    task->content = malloc(len + 1);
    if (task->content == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    if (text != NULL) {
        memcpy(task->content, json_string_value(text), len);
        task->content_len = len;
    } else if (sodium_base642bin(task->content, len + 1, json_string_value(body), len,
                                 NULL, &task->content_len, NULL,
                                 sodium_base64_VARIANT_ORIGINAL) != 0) {
        return api_wrong(task, "body", "has to be base64");
    }
    if (task->type == TEXT && !an_utf8_valid(task->content, task->content_len)) {
        (void)!api_wrong(task, "body", "has to be UTF-8 where the type is 1, text");
        return AN_ERR_UTF8;
    }
    return task->content_len == 0                ? AN_ERR_BODY_EMPTY
           : task->content_len > AN_BODY_LEN_MAX ? AN_ERR_BODY_TOO_LARGE
                                                 : AN_OK;
}

static void
uuid_make(struct api_run *run, uint8_t out[AN_CLIENT_MSG_ID_LEN])
{
    uint64_t low = an_rng_next(&run->api->rng), high = an_rng_next(&run->api->rng);

    memcpy(out, &high, sizeof(high));
    memcpy(out + 8, &low, sizeof(low));
    for (unsigned i = 0; i < 6; i++) {
        out[i] = (uint8_t)(run->now.wall_ms >> (8 * (5 - i)));
    }
    out[6] = (uint8_t)(0x70 | (out[6] & 0x0f));
    out[8] = (uint8_t)(0x80 | (out[8] & 0x3f));
}

/* 32 hex digits, with the dashes of a UUID or without; the caller's, for trying again.
 * Its text is kept in task->hash. */
static enum an_err
take_id(struct api_run *run, struct api_task *task)
{
    char text[40];
    size_t len = 0;
    enum an_err err =
        api_take_text(task, task->body, "client_msg_id", text, sizeof(text));

    if (err == AN_OK && text[0] == '\0') {
        uuid_make(run, task->client_msg_id);
    } else if (err == AN_OK &&
               (sodium_hex2bin(task->client_msg_id, sizeof(task->client_msg_id), text,
                               strlen(text), "-", &len, NULL) != 0 ||
                len != sizeof(task->client_msg_id) || task->client_msg_id[6] >> 4 != 7)) {
        err = api_wrong(task, "client_msg_id", "has to be a UUIDv7, 32 hex digits");
    }
    sodium_bin2hex(task->hash, sizeof(task->hash), task->client_msg_id,
                   sizeof(task->client_msg_id));
    return err;
}

void
api_on_app_message(struct api_run *run, struct api_task *task)
{
    enum an_err err = api_take_name(task, task->body, "from", API_SYSTEM,
                                    AN_ERR_USER_NAME, task->user.name);

    if (err == AN_OK) {
        err = api_take_name(task, task->body, "to", NULL, AN_ERR_USER_NAME,
                            task->peer.name);
    }
    if (err == AN_OK) {
        err = take_content(task);
    }
    if (err == AN_OK) {
        err = take_id(run, task);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_find_user(run, task, then_sender_found);
}
