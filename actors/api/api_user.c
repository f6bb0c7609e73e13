/* People: making an account, finding one, changing one. */
#include "actors/api/api_priv.h"
#include "core/log.h"
#include "core/slot.h"
#include <string.h>

static ProtobufCBinaryData
bytes(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static uint16_t
slot_of_name(const struct api_task *task, const char *name)
{
    return an_slot_name((const uint8_t *)task->app, strlen(task->app),
                        (const uint8_t *)name, strlen(name));
}

/* ------------------------------------------------------------------ making one */

/* Three steps in three places: a key from the id generator, the directory row (app, name)
 * -> key at the sequencer of the name's slot, the user row at the sequencer of the key's
 * slot. Each may be repeated, and an account left half made by a crash is completed by
 * the next attempt. */
static void
ask_create(struct api_run *run, struct api_task *task)
{
    Anser__Bus__CreateUser create = ANSER__BUS__CREATE_USER__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;

    create.user = task->user.key;
    create.app = bytes(task->app);
    create.name = bytes(task->user.name);
    if (task->has_password) {
        create.password_hash = bytes(task->hash);
    }
    command.what_case = ANSER__BUS__COMMAND__WHAT_CREATE_USER;
    command.create_user = &create;
    api_ask_sequencer(run, task, an_slot_user(task->user.key), &command);
}

static void
ask_directory(struct api_run *run, struct api_task *task)
{
    Anser__Bus__PutDirectory put = ANSER__BUS__PUT_DIRECTORY__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;

    put.app = bytes(task->app);
    put.name = bytes(task->user.name);
    put.user = task->user.key;
    command.what_case = ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;
    command.put_directory = &put;
    api_ask_sequencer(run, task, slot_of_name(task, task->user.name), &command);
}

static void
made(struct api_run *run, struct api_task *task, enum an_err err)
{
    const struct api_reply reply = {.err = err};

    run->api->count.users_created += err == AN_OK;
    run->api->count.users_existed += err == AN_ERR_USER_EXISTS;
    if (err == AN_OK) {
        an_out_log(run->out, AN_LOG_INFO, task->trace, "user made key=%llu",
                   (unsigned long long)task->user.key);
    }
    task->made(run, task, &reply);
}

static void
then_created(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    /* Made by our own earlier try, unless the name had a key before we came. With a
     * password the sequencer knows better: another may have made it with his. */
    bool ours = reply->err == AN_ERR_USER_EXISTS && !task->existed && !task->has_password;

    made(run, task, ours ? AN_OK : reply->err);
}

static void
then_directory(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err == AN_ERR_USER_EXISTS && reply->result->user != 0) {
        /* Our own key: an earlier try of ours, whose outcome we did not learn. */
        task->existed = reply->result->user != task->user.key;
        task->user.key = reply->result->user;
    } else if (reply->err != AN_OK) {
        made(run, task, reply->err);
        return;
    }
    api_step_to(run, task, ask_create, then_created);
}

static void
then_key(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK || reply->taken->count == 0 || reply->taken->first == 0) {
        made(run, task, reply->err != AN_OK ? reply->err : AN_ERR_INTERNAL);
        return;
    }
    task->user.key = reply->taken->first;
    api_step_to(run, task, ask_directory, then_directory);
}

void
api_make_user(struct api_run *run, struct api_task *task, api_then_f *done)
{
    task->made = done;
    task->existed = false;
    api_step_to(run, task, api_ask_key, then_key);
}

/* ------------------------------------------------------------------ finding one */

static void
ask_key_of(struct api_run *run, struct api_task *task, const char *name)
{
    Anser__Bus__ResolveQuery resolve = ANSER__BUS__RESOLVE_QUERY__INIT;
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;

    resolve.app = bytes(task->app);
    resolve.name = bytes(name);
    query.what_case = ANSER__BUS__QUERY__WHAT_RESOLVE;
    query.resolve = &resolve;
    api_ask_store(run, task, slot_of_name(task, name), &query);
}

static void
ask_account_of(struct api_run *run, struct api_task *task, uint64_t key, bool all)
{
    Anser__Bus__AccountQuery account = ANSER__BUS__ACCOUNT_QUERY__INIT;
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;

    account.user = key;
    account.details = all;
    account.devices = all;
    query.what_case = ANSER__BUS__QUERY__WHAT_ACCOUNT;
    query.account = &account;
    api_ask_store(run, task, an_slot_user(key), &query);
}

static void
ask_user_key(struct api_run *run, struct api_task *task)
{
    ask_key_of(run, task, task->user.name);
}

static void
ask_peer_key(struct api_run *run, struct api_task *task)
{
    ask_key_of(run, task, task->peer.name);
}

static void
ask_user_account(struct api_run *run, struct api_task *task)
{
    ask_account_of(run, task, task->user.key, true);
}

static void
ask_peer_account(struct api_run *run, struct api_task *task)
{
    ask_account_of(run, task, task->peer.key, false);
}

/* The account of who was looked for; without a name of the store's, nobody. */
static void
then_account(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    struct api_reply known = *reply;

    if (reply->err == AN_ERR_NOT_FOUND) {
        known.err = AN_ERR_USER_NOT_FOUND;
    }
    task->found(run, task, &known);
}

static void
then_user_key(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        then_account(run, task, reply);
        return;
    }
    task->user.key = reply->answer->user;
    api_step_to(run, task, ask_user_account, then_account);
}

static void
then_peer_key(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        then_account(run, task, reply);
        return;
    }
    task->peer.key = reply->answer->user;
    api_step_to(run, task, ask_peer_account, then_account);
}

void
api_find_user(struct api_run *run, struct api_task *task, api_then_f *found)
{
    task->found = found;
    api_step_to(run, task, ask_user_key, then_user_key);
}

void
api_find_peer(struct api_run *run, struct api_task *task, api_then_f *found)
{
    task->found = found;
    api_step_to(run, task, ask_peer_key, then_peer_key);
}

void
api_read_account(struct api_run *run, struct api_task *task, api_then_f *found)
{
    task->found = found;
    api_step_to(run, task, ask_user_account, then_account);
}

enum an_err
api_judge(const Anser__Bus__Answer *answer)
{
    if (answer->account != NULL && answer->account->deleted) {
        return AN_ERR_USER_DELETED;
    }
    return answer->account != NULL && answer->account->forbidden ? AN_ERR_USER_FORBIDDEN
                                                                 : AN_OK;
}

const Anser__Bus__DeviceState *
api_find_device(const Anser__Bus__Answer *answer, const char *device)
{
    for (size_t i = 0; i < answer->n_devices; i++) {
        const ProtobufCBinaryData *name = &answer->devices[i]->device;

        if (name->len == strlen(device) && memcmp(name->data, device, name->len) == 0) {
            return answer->devices[i];
        }
    }
    return NULL;
}

uint64_t
api_tokens_from(const Anser__Bus__Answer *answer, const Anser__Bus__DeviceState *device,
                bool named)
{
    const Anser__Bus__AccountState *account = answer->account;
    uint64_t from_ms = account == NULL ? 0 : account->tokens_from_ms;
    uint64_t own_ms = device != NULL             ? device->tokens_from_ms
                      : named && account != NULL ? account->rest_from_ms
                                                 : 0;

    return own_ms > from_ms ? own_ms : from_ms;
}

/* ------------------------------------------------------------------ changing one */

static void
ask_update(struct api_run *run, struct api_task *task)
{
    Anser__Bus__UpdateAccount update = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;

    update.user = task->user.key;
    update.set = task->set;
    update.password_hash = bytes(task->hash);
    update.expect_password_hash = bytes(task->verified);
    update.forbidden = task->forbidden;
    update.muted_until_ms = task->muted_until_ms;
    update.deleted = (task->set & ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_DELETED) != 0;
    update.nick = bytes(task->nick);
    update.avatar = bytes(task->avatar);
    update.extra = bytes(task->extra == NULL ? "" : task->extra);
    command.what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT;
    command.update_account = &update;
    api_ask_sequencer(run, task, an_slot_user(task->user.key), &command);
}

void
api_update_account(struct api_run *run, struct api_task *task, api_then_f *then)
{
    api_step_to(run, task, ask_update, then);
}

/* ------------------------------------------------------------------ devices */

static void
send_device(struct api_run *run, struct api_task *task, Anser__Bus__UpdateDevice *update)
{
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;

    update->user = task->user.key;
    command.what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE;
    command.update_device = update;
    api_ask_sequencer(run, task, an_slot_user(task->user.key), &command);
}

static void
ask_device(struct api_run *run, struct api_task *task)
{
    Anser__Bus__UpdateDevice update = ANSER__BUS__UPDATE_DEVICE__INIT;

    update.device = bytes(task->device);
    update.set = task->device_set;
    update.platform = bytes(task->platform);
    if (task->refresh[0] != '\0') {
        update.refresh_hash =
            (ProtobufCBinaryData){sizeof(task->refresh_hash), task->refresh_hash};
    }
    if (task->expects) {
        update.expect_refresh_hash =
            (ProtobufCBinaryData){sizeof(task->expect_hash), task->expect_hash};
    }
    update.expect_password_hash = bytes(task->verified);
    update.issued_ms = task->mints_ms;
    send_device(run, task, &update);
}

void
api_update_device(struct api_run *run, struct api_task *task, uint32_t set,
                  api_then_f *then)
{
    task->device_set = set;
    api_step_to(run, task, ask_device, then);
}

static void
ask_clear(struct api_run *run, struct api_task *task)
{
    Anser__Bus__UpdateDevice update = ANSER__BUS__UPDATE_DEVICE__INIT;

    update.device = bytes(json_string_value(json_array_get(task->answer, task->at)));
    update.set = ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH;
    send_device(run, task, &update);
}

static void
then_cleared(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
    } else if (++task->at < json_array_size(task->answer)) {
        api_step_to(run, task, ask_clear, then_cleared);
    } else {
        task->cleared(run, task);
    }
}

/* Those that have a refresh token; in *list, as the answer does not stay. */
void
api_note_devices(struct api_task *task, const Anser__Bus__Answer *answer)
{
    json_decref(task->answer);
    task->answer = json_array();
    task->at = 0;
    for (size_t i = 0; i < answer->n_devices; i++) {
        const Anser__Bus__DeviceState *device = answer->devices[i];

        if (device->refresh_hash.len > 0) {
            json_array_append_new(
                task->answer,
                json_stringn((const char *)device->device.data, device->device.len));
        }
    }
}

void
api_clear_devices(struct api_run *run, struct api_task *task, api_ask_f *then)
{
    task->cleared = then;
    if (json_array_size(task->answer) == 0) {
        then(run, task);
        return;
    }
    api_step_to(run, task, ask_clear, then_cleared);
}

/* ------------------------------------------------------------------ as JSON */

static json_t *
text_json(const ProtobufCBinaryData *text)
{
    json_t *made = json_stringn((const char *)text->data, text->len);

    return made != NULL ? made : json_string("");
}

json_t *
api_profile_json(const struct api_task *task, const Anser__Bus__Answer *answer)
{
    const Anser__Bus__AccountDetails *details = answer->details;
    json_t *extra = NULL, *root;

    if (details == NULL) {
        return NULL;
    }
    if (details->extra.len > 0) {
        extra = json_loadb((const char *)details->extra.data, details->extra.len,
                           JSON_DECODE_ANY, NULL);
    }
    root = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:I, s:I}", "user", task->user.name, "app", task->app,
        "nick", text_json(&details->nick), "avatar", text_json(&details->avatar), "extra",
        extra == NULL ? json_null() : extra, "created_ms",
        (json_int_t)details->created_ms, "changed_ms", (json_int_t)details->changed_ms);
    return root;
}

static json_t *
device_json(const Anser__Bus__Answer *answer, const Anser__Bus__DeviceState *device)
{
    uint64_t used_ms =
        device->used_ms > device->seen_ms ? device->used_ms : device->seen_ms;
    bool active =
        device->refresh_hash.len > 0 ||
        (device->seen_ms > 0 && device->seen_ms >= api_tokens_from(answer, device, true));

    return json_pack("{s:o, s:o, s:I, s:I, s:b}", "device", text_json(&device->device),
                     "platform", text_json(&device->platform), "issued_ms",
                     (json_int_t)device->issued_ms, "used_ms", (json_int_t)used_ms,
                     "active", active);
}

json_t *
api_devices_json(const Anser__Bus__Answer *answer)
{
    json_t *list = json_array();

    for (size_t i = 0; i < answer->n_devices; i++) {
        json_array_append_new(list, device_json(answer, answer->devices[i]));
    }
    return list;
}
