/* What users see and change of themselves, and where the gates are. */
#include "actors/api/api_priv.h"
#include "proto/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ profiles */

/* Others have to read it too, whose readers of JSON may stop earlier than ours. */
static bool
deeper(const json_t *value, unsigned levels)
{
    const char *key;
    json_t *member;
    size_t i;

    if (json_is_object(value) || json_is_array(value)) {
        if (levels == 0) {
            return true;
        }
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
        {
            if (deeper(member, levels - 1)) {
                return true;
            }
        }
        json_array_foreach(value, i, member)
        {
            if (deeper(member, levels - 1)) {
                return true;
            }
        }
    }
    return false;
}

static enum an_err
take_extra(struct api_task *task, const json_t *body)
{
    const json_t *extra = json_object_get(body, "extra");

    if (extra == NULL) {
        return AN_OK;
    }
    if (deeper(extra, AN_PROFILE_EXTRA_DEPTH_MAX)) {
        return api_wrong(task, "extra", "is nested too deep");
    }
    free(task->extra);
    task->extra = json_is_null(extra) ? strdup("")
                                      : json_dumps(extra, JSON_COMPACT | JSON_ENCODE_ANY);
    if (task->extra == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    task->set |= ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_EXTRA;
    if (strlen(task->extra) > AN_PROFILE_EXTRA_LEN_MAX) {
        char rule[64];

        snprintf(rule, sizeof(rule), "has at most %u bytes as JSON",
                 (unsigned)AN_PROFILE_EXTRA_LEN_MAX);
        return api_wrong(task, "extra", rule);
    }
    return AN_OK;
}

enum an_err
api_take_profile(struct api_task *task, const json_t *body)
{
    enum an_err err = api_take_text(task, body, "nick", task->nick, sizeof(task->nick));

    if (err == AN_OK && !an_nick_valid((const uint8_t *)task->nick, strlen(task->nick))) {
        err = api_wrong(task, "nick",
                        "has to be without control characters and what "
                        "turns the direction of text");
    }
    if (err == AN_OK) {
        err = api_take_text(task, body, "avatar", task->avatar, sizeof(task->avatar));
    }
    if (json_object_get(body, "nick") != NULL) {
        task->set |= ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_NICK;
    }
    if (json_object_get(body, "avatar") != NULL) {
        task->set |= ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_AVATAR;
    }
    return err == AN_OK ? take_extra(task, body) : err;
}

void
api_on_profile(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    api_end(run, task, api_profile_json(task, reply->answer));
}

static void
then_changed(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    api_read_account(run, task, api_on_profile_read);
}

void
api_on_profile_read(struct api_run *run, struct api_task *task,
                    const struct api_reply *reply)
{
    if (reply->err != AN_OK) {
        api_end_err(run, task, reply->err);
        return;
    }
    api_on_profile(run, task, reply);
}

void
api_on_profile_change(struct api_run *run, struct api_task *task,
                      const struct api_reply *reply)
{
    enum an_err err = api_take_profile(task, task->body);

    (void)reply;
    if (err == AN_OK && task->set == 0) {
        err = api_wrong(task, "the body", "names none of nick, avatar and extra");
    }
    if (err != AN_OK) {
        api_end_err(run, task, err);
        return;
    }
    api_update_account(run, task, then_changed);
}

/* ------------------------------------------------------------------ devices */

void
api_on_devices(struct api_run *run, struct api_task *task, const struct api_reply *reply)
{
    api_end(run, task, json_pack("{s:o}", "devices", api_devices_json(reply->answer)));
}
