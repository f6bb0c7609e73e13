/* Sessions: register, login, refresh, logout, password; and who shows a token. */
#include "actors/api/api_priv.h"
#include "core/limits.h"
#include "core/log.h"
#include "proto/names.h"
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SECRET_LEN = 32 };

static const char BEARER[] = "Bearer ";
static const int BASE64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

static void
copy_text(char *out, size_t len, const ProtobufCBinaryData *from)
{
    snprintf(out, len, "%.*s", (int)from->len, (const char *)from->data);
}

/* ------------------------------------------------------------------ refresh tokens */

/* "r1.KEY.DEVICE.SECRET": whose it is stands in it, so that it can be asked for. Only its
 * hash is stored. */
static void
refresh_hash(const char *token, uint8_t out[AN_REFRESH_HASH_LEN])
{
    crypto_generichash(out, AN_REFRESH_HASH_LEN, (const unsigned char *)token,
                       strlen(token), NULL, 0);
}

/* From the actor's random key and a number that is never used again: nobody without the
 * key can say the next. */
static void
refresh_make(struct api *api, struct api_task *task)
{
    uint8_t secret[SECRET_LEN];
    char secret_text[48], device_text[92];

    api->serial++;
    crypto_generichash(secret, sizeof(secret), (const unsigned char *)&api->serial,
                       sizeof(api->serial), api->cfg.secret, sizeof(api->cfg.secret));
    sodium_bin2base64(secret_text, sizeof(secret_text), secret, sizeof(secret), BASE64);
    sodium_bin2base64(device_text, sizeof(device_text),
                      (const unsigned char *)task->device, strlen(task->device), BASE64);
    snprintf(task->refresh, sizeof(task->refresh), "r1.%016llx.%s.%s",
             (unsigned long long)task->user.key, device_text, secret_text);
    refresh_hash(task->refresh, task->refresh_hash);
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(secret_text, sizeof(secret_text));
}

/* Whose it says it is. */
static bool
refresh_read(const char *token, struct api_task *task)
{
    const char *device = token + 3 + 16 + 1;
    size_t len = 0;
    char key[17];

    if (strncmp(token, "r1.", 3) != 0 || strlen(token) < 24 || token[19] != '.') {
        return false;
    }
    memcpy(key, token + 3, 16);
    key[16] = '\0';
    if (strspn(key, "0123456789abcdef") != 16) {
        return false;
    }
    task->user.key = strtoull(key, NULL, 16);
    if (sodium_base642bin((unsigned char *)task->device, AN_NAME_LEN_MAX, device,
                          strcspn(device, "."), NULL, &len, NULL, BASE64) != 0) {
        return false;
    }
    task->device[len] = '\0';
    return an_name_valid((const uint8_t *)task->device, strlen(task->device)) &&
           strlen(task->device) == len;
}

/* ------------------------------------------------------------------ the end of a login
 */

static void
end_grant(struct api_run *run, struct api_task *task)
{
    const struct api_cfg *cfg = &run->api->cfg;
    const struct an_token_spec spec = {
        .app = task->app,
        .user = task->user.name,
        .device = task->device,
        .platform = task->platform[0] == '\0' ? NULL : task->platform,
        .issued_ms = task->tokens_from_ms,
        .ttl_ms = cfg->token_ms};
    char *token = NULL, scheme[16] = "";
    enum an_err err =
        cfg->keys == NULL || cfg->keys->count == 0
            ? AN_ERR_NOT_SUPPORTED
            : an_token_mint_spec(&token, &cfg->keys->key[0], &spec, task->mints_ms);

    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    (void)!api_take_text(task, task->body, "scheme", scheme, sizeof(scheme));
    api_end(run, task,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:o}", "user",
                      task->user.name, "app", task->app, "device", task->device,
                      "platform", task->platform, "token", token, "expires_in",
                      (json_int_t)(cfg->token_ms / 1000), "expires_ms",
                      (json_int_t)(task->mints_ms + cfg->token_ms), "refresh_token",
                      task->refresh, "refresh_expires_in",
                      (json_int_t)(cfg->refresh_ms / 1000), "gates",
                      api_gates_json(run, scheme)));
    sodium_memzero(token, strlen(token));
    free(token);
}

static void
then_granted(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err == AN_ERR_REFRESH_REUSED) {
        api_say_device(run, API_EVENT_REUSED, task);
    }
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    if (reply->result->time_ms > task->tokens_from_ms) { /* revoked meanwhile */
        task->tokens_from_ms = reply->result->time_ms;
    }
    end_grant(run, task);
}

/* Tokens that are issued now are good from now on, or from when the last revocation ends.
 */
static void
note_tokens_from(struct api_task *task, const Anser__Bus__Answer *answer)
{
    const Anser__Bus__DeviceState *device = api_find_device(answer, task->device);

    task->tokens_from_ms = api_tokens_from(answer, device, task->device[0] != '\0');
}

/* The date is said first, and kept: what revokes the token has to reach it, whatever the
 * sequencer's clock says. */
static void
grant(struct api_run *run, struct api_task *task)
{
    task->mints_ms = run->now.wall_ms;
    refresh_make(run->api, task);
    api_update_device(run, task,
                      ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH |
                          (task->platform[0] != '\0'
                               ? ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM
                               : 0u),
                      then_granted);
}

/* ------------------------------------------------------------------ register */

static void
then_registered(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    api_end(run, task,
            json_pack("{s:s, s:s}", "user", task->user.name, "app", task->app));
}

static void
then_register_hashed(struct api_run *run, struct api_task *task,
                     const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    task->has_password = true;
    api_make_user(run, task, then_registered);
}

/* Before a hash is made: it costs more than to look. */
static void
then_register_found(struct api_run *run, struct api_task *task,
                    const struct api_reply *reply)
{
    const char *password;
    enum an_err err = api_take_password(task, task->body, "password", &password);

    if (reply->err == AN_OK) {
        run->api->count.users_existed++;
        err = AN_ERR_USER_EXISTS;
    } else if (reply->err != AN_ERR_USER_NOT_FOUND && reply->err != AN_ERR_NOT_FOUND) {
        err = reply->err;
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_step_hash(run, task, password, false, then_register_hashed);
}

static enum an_err
take_account(const struct api_run *run, struct api_task *task)
{
    enum an_err err = api_take_name(task, task->body, "app", AN_APP_DEFAULT,
                                    AN_ERR_USER_NAME, task->app);

    if (err == AN_OK) {
        err = api_judge_app(run, task);
    }
    return err == AN_OK ? api_take_name(task, task->body, "user", NULL, AN_ERR_USER_NAME,
                                        task->user.name)
                        : err;
}

/* May nobody make an account of his own in this app? */
static bool
closed(const struct api_run *run, const struct api_task *task)
{
    const struct api_cfg *cfg = &run->api->cfg;
    const struct an_app *app = an_apps_find(cfg->apps, task->app, strlen(task->app));

    return app == NULL || app->registers == AN_REGISTER_AS_API
               ? cfg->closed
               : app->registers == AN_REGISTER_CLOSED;
}

void
api_on_register(struct api_run *run, struct api_task *task)
{
    const char *password;
    enum an_err err = take_account(run, task);

    if (err == AN_OK && closed(run, task)) {
        api_end_saying(run, task, AN_ERR_FORBIDDEN,
                       "registration is closed: nobody makes his own account in this app",
                       0);
        return;
    }
    if (err == AN_OK) {
        err = api_take_new_user(task, task->body);
    }
    if (err == AN_OK) {
        err = api_take_password(task, task->body, "password", &password);
    }
    if (err == AN_OK && strcmp(task->user.name, API_SYSTEM) == 0) {
        err = AN_ERR_USER_NAME;
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    task->registers = true;
    api_find_user(run, task, then_register_found);
}

/* ------------------------------------------------------------------ login */

static void
say_slowed(struct api_run *run, const struct api_task *task, uint64_t wait_ms,
           bool address)
{
    char more[64];

    snprintf(more, sizeof(more), " what=%s wait_s=%llu", address ? "address" : "account",
             (unsigned long long)((wait_ms + 999) / 1000));
    api_say(run, API_EVENT_SLOWED, task, more);
}

/* Too many wrong ones: it is answered, and over. */
static bool
slowed(struct api_run *run, struct api_task *task)
{
    uint64_t wait_ms = api_guess_try(run->api->guess, task->app, task->user.name,
                                     task->http->from, run->now.mono_ms);
    bool address;

    task->tried_ms = run->now.mono_ms;
    if (wait_ms == 0) {
        return false;
    }
    run->api->count.tries_slowed++;
    (void)api_guess_wait(run->api->guess, task->app, task->user.name, task->http->from,
                         run->now.mono_ms, &address);
    say_slowed(run, task, wait_ms, address);
    api_refuse_http(run, task->http, AN_ERR_TOO_MANY_TRIES,
                    (uint32_t)((wait_ms + 999) / 1000));
    api_task_free(run->api, task);
    return true;
}

/* A password that did not fit leaves its try counted. */
static void
login_failed(struct api_run *run, struct api_task *task, enum an_err err)
{
    if (err == AN_ERR_PASSWORD_WRONG) {
        bool address;
        uint64_t wait_ms = api_guess_wait(run->api->guess, task->app, task->user.name,
                                          task->http->from, run->now.mono_ms, &address);

        run->api->count.passwords_wrong++;
        if (wait_ms > 0) { /* who then waits as told is never refused */
            say_slowed(run, task, wait_ms, address);
        }
    } else {
        api_guess_pass(run->api->guess, task->app, task->user.name, task->http->from,
                       task->tried_ms, false);
    }
    api_end_err(run, task, err);
}

static void
then_login_verified(struct api_run *run, struct api_task *task,
                    const struct api_reply *reply)
{
    enum an_err err = reply->err;

    if (err == AN_OK && !reply->hash_fits) {
        err = AN_ERR_PASSWORD_WRONG;
    }
    if (err == AN_OK) {
        snprintf(task->verified, sizeof(task->verified), "%s", task->hash);
        api_guess_pass(run->api->guess, task->app, task->user.name, task->http->from,
                       task->tried_ms, true);
        run->api->count.logins++;
        if (task->judged != AN_OK) { /* said to the owner alone */
            api_end_err(run, task, task->judged);
            return;
        }
        grant(run, task);
        return;
    }
    login_failed(run, task, err);
}

static void
then_login_found(struct api_run *run, struct api_task *task,
                 const struct api_reply *reply)
{
    const char *password;
    enum an_err err = api_take_password(task, task->body, "password", &password);

    if (err != AN_OK || (reply->err != AN_OK && reply->err != AN_ERR_USER_NOT_FOUND)) {
        login_failed(run, task, err != AN_OK ? err : reply->err);
        return;
    }
    /* Who is not there, or has no password, takes as long and is as wrong. */
    task->hash[0] = '\0';
    if (reply->err == AN_OK) {
        const Anser__Bus__AccountDetails *details = reply->answer->details;

        if (details != NULL && details->password_hash.len < sizeof(task->hash)) {
            copy_text(task->hash, sizeof(task->hash), &details->password_hash);
        }
        task->judged = api_judge(reply->answer);
        note_tokens_from(task, reply->answer);
    }
    api_step_hash(run, task, password, true, then_login_verified);
}

static void
name_device(struct api_run *run, struct api_task *task)
{
    if (task->device[0] == '\0') {
        snprintf(task->device, sizeof(task->device), "d-%016llx",
                 (unsigned long long)an_rng_next(&run->api->rng));
    }
}

void
api_on_login(struct api_run *run, struct api_task *task)
{
    char device[AN_NAME_LEN_MAX + 1];
    const char *password;
    enum an_err err = take_account(run, task);

    if (err == AN_OK) {
        err = api_take_password(task, task->body, "password", &password);
        /* A length that none has is a wrong one. */
        err = err == AN_ERR_PASSWORD_LENGTH ? AN_ERR_PASSWORD_WRONG : err;
    }
    if (err == AN_OK) {
        name_device(run, task); /* what it is called when the client does not say */
        snprintf(device, sizeof(device), "%s", task->device);
        err = api_take_name(task, task->body, "device", device, AN_ERR_DEVICE_NAME,
                            task->device);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    /* Not `api`, which login policies leave out: that has to be said. */
    if (api_take_platform(run, task, "web") && !slowed(run, task)) {
        api_find_user(run, task, then_login_found);
    }
}

/* ------------------------------------------------------------------ refresh */

/* The device has the token that was shown, or had it last. */
static bool
refresh_of(const struct api_task *task, const Anser__Bus__DeviceState *device)
{
    const ProtobufCBinaryData *now = &device->refresh_hash,
                              *last = &device->previous_hash;
    const size_t len = sizeof(task->expect_hash);

    return (now->len == len && sodium_memcmp(now->data, task->expect_hash, len) == 0) ||
           (last->len == len && sodium_memcmp(last->data, task->expect_hash, len) == 0);
}

/* It is judged whether it may be used at all; whether it is the newest one, the sequencer
 * decides, as two may come with it at once. */
static enum an_err
judge_refresh(struct api_run *run, struct api_task *task,
              const Anser__Bus__Answer *answer)
{
    const Anser__Bus__DeviceState *device = api_find_device(answer, task->device);
    enum an_err err = api_judge(answer);

    if (err != AN_OK) { /* said to the owner alone */
        return device != NULL && refresh_of(task, device) ? err : AN_ERR_REFRESH_INVALID;
    }
    if (device == NULL || answer->details == NULL) {
        return AN_ERR_REFRESH_INVALID;
    }
    /* Of before a revocation; of the same second it was cleared itself. */
    if (answer->account != NULL &&
        device->used_ms + 1000 <= answer->account->tokens_from_ms) {
        return AN_ERR_REFRESH_INVALID;
    }
    return device->used_ms + run->api->cfg.refresh_ms < run->now.wall_ms
               ? AN_ERR_REFRESH_INVALID
               : AN_OK;
}

static void
then_refresh_found(struct api_run *run, struct api_task *task,
                   const struct api_reply *reply)
{
    bool nobody = reply->err == AN_ERR_USER_NOT_FOUND || reply->err == AN_ERR_ARGUMENT;
    enum an_err err = nobody                ? AN_ERR_REFRESH_INVALID
                      : reply->err != AN_OK ? reply->err
                                            : judge_refresh(run, task, reply->answer);

    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    copy_text(task->app, sizeof(task->app), &reply->answer->details->app);
    copy_text(task->user.name, sizeof(task->user.name), &reply->answer->name);
    copy_text(task->platform, sizeof(task->platform),
              &api_find_device(reply->answer, task->device)->platform);
    note_tokens_from(task, reply->answer);
    err = api_judge_app(run, task);
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    run->api->count.refreshes++;
    grant(run, task);
}

void
api_on_refresh(struct api_run *run, struct api_task *task)
{
    char token[API_REFRESH_MAX], device[AN_NAME_LEN_MAX + 1];
    enum an_err err =
        api_take_text(task, task->body, "refresh_token", token, sizeof(token));

    if (err == AN_OK && token[0] == '\0') {
        err = api_wrong(task, "refresh_token", "is missing");
    }
    if (err == AN_OK && !refresh_read(token, task)) {
        err = AN_ERR_REFRESH_INVALID;
    }
    if (err == AN_OK) {
        err = api_take_name(task, task->body, "device", task->device, AN_ERR_DEVICE_NAME,
                            device);
    }
    if (err == AN_OK && strcmp(device, task->device) != 0) {
        err = AN_ERR_REFRESH_INVALID;
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    refresh_hash(token, task->expect_hash);
    task->expects = true;
    sodium_memzero(token, sizeof(token));
    api_read_account(run, task, then_refresh_found);
}

/* ------------------------------------------------------------------ who shows a token */

static void
then_signed_in(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    enum an_err err = reply->err;

    if (err == AN_OK) {
        note_tokens_from(task, reply->answer);
        err = task->issued_ms < task->tokens_from_ms ? AN_ERR_TOKEN_REVOKED
                                                     : api_judge(reply->answer);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    task->tokens_from_ms = 0;
    task->signed_in(run, task, reply);
}

void
api_sign_in(struct api_run *run, struct api_task *task, api_then_f *then)
{
    const char *header = task->http->authorization;
    struct an_token_claims claims;
    enum an_err err = AN_ERR_LOGIN_REQUIRED;

    if (header != NULL && strncasecmp(header, BEARER, strlen(BEARER)) == 0 &&
        run->api->cfg.keys != NULL) {
        header += strlen(BEARER);
        err = an_token_verify(&claims, run->api->cfg.keys, (const uint8_t *)header,
                              strlen(header), run->now.wall_ms);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    snprintf(task->app, sizeof(task->app), "%.*s", (int)claims.app_len,
             (const char *)claims.app);
    snprintf(task->user.name, sizeof(task->user.name), "%.*s", (int)claims.user_len,
             (const char *)claims.user);
    snprintf(task->device, sizeof(task->device), "%.*s", (int)claims.device_len,
             (const char *)claims.device);
    snprintf(task->platform, sizeof(task->platform), "%.*s", (int)claims.platform_len,
             (const char *)claims.platform);
    task->issued_ms = claims.issued_ms;
    task->signed_in = then;
    err = api_judge_app(run, task);
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_find_user(run, task, then_signed_in);
}

/* ------------------------------------------------------------------ logout */

static void
then_ended(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
    } else {
        api_end(run, task, NULL);
    }
}

/* The device's tokens and its link end. */
static void
end_device(struct api_run *run, struct api_task *task)
{
    task->refresh[0] = '\0';
    api_update_device(run, task,
                      ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH |
                          ANSER__BUS__DEVICE_SET__DEVICE_SET_REVOKE,
                      then_ended);
}

void
api_on_logout(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    (void)reply;
    if (task->device[0] == '\0') { /* a token of no device: it just expires */
        api_end_err(run, task, AN_ERR_TOKEN_DEVICE);
        return;
    }
    end_device(run, task);
}

void
api_on_device_remove(struct api_run *run, struct api_task *task,
                     const struct api_reply *reply)
{
    if (api_find_device(reply->answer, task->path) == NULL) {
        api_end_err(run, task, AN_ERR_NOT_FOUND);
        return;
    }
    snprintf(task->device, sizeof(task->device), "%s", task->path);
    end_device(run, task);
}

/* ------------------------------------------------------------------ password */

static void
after_password(struct api_run *run, struct api_task *task)
{
    if (task->device[0] == '\0') {
        name_device(run, task);
    }
    grant(run, task);
}

static void
then_password_set(struct api_run *run, struct api_task *task,
                  const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    snprintf(task->verified, sizeof(task->verified), "%s", task->hash);
    api_clear_devices(run, task, after_password);
}

static void
then_password_hashed(struct api_run *run, struct api_task *task,
                     const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    task->set = ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_PASSWORD |
                ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE;
    api_update_account(run, task, then_password_set);
}

static void
then_password_verified(struct api_run *run, struct api_task *task,
                       const struct api_reply *reply)
{
    const char *password;
    enum an_err err = reply->err;

    if (err == AN_OK && !reply->hash_fits) {
        login_failed(run, task, AN_ERR_PASSWORD_WRONG);
        return;
    }
    api_guess_pass(run->api->guess, task->app, task->user.name, task->http->from,
                   task->tried_ms, err == AN_OK);
    if (err == AN_OK) {
        snprintf(task->verified, sizeof(task->verified), "%s", task->hash);
        err = api_take_password(task, task->body, "password", &password);
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_step_hash(run, task, password, false, then_password_hashed);
}

void
api_on_password(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    const Anser__Bus__AccountDetails *details = reply->answer->details;
    const char *password;
    enum an_err err = api_take_password(task, task->body, "password", &password);

    if (err == AN_OK) {
        err = api_take_password(task, task->body, "old_password", &password);
        err = err == AN_ERR_PASSWORD_LENGTH ? AN_ERR_PASSWORD_WRONG : err;
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    if (slowed(run, task)) {
        return;
    }
    if (details != NULL && details->password_hash.len < sizeof(task->hash)) {
        copy_text(task->hash, sizeof(task->hash), &details->password_hash);
    }
    api_note_devices(task, reply->answer);
    api_step_hash(run, task, password, true, then_password_verified);
}
