/* Accounts: put if absent, of a user and of a directory row; changes of a user that is
 * there (change.c). One command per user or name is under way at a time; others of the
 * same run after it. Rare, so a plain list will do. */
#include "actors/sequencer/sequencer_priv.h"
#include "core/slot.h"
#include <assert.h>
#include <string.h>

static bool
name_ok(const ProtobufCBinaryData *name)
{
    return name->len > 0 && name->len <= AN_NAME_LEN_MAX;
}

enum an_err
seq_create_user_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__CreateUser *create = in->create_user;

    return create->user != 0 && name_ok(&create->app) && name_ok(&create->name) &&
                   create->password_hash.len <= AN_PASSWORD_HASH_LEN_MAX &&
                   an_slot_user(create->user) == in->slot
               ? AN_OK
               : AN_ERR_ARGUMENT;
}

enum an_err
seq_put_directory_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__PutDirectory *put = in->put_directory;

    return put->user != 0 && name_ok(&put->app) && name_ok(&put->name) &&
                   an_slot_name(put->app.data, put->app.len, put->name.data,
                                put->name.len) == in->slot
               ? AN_OK
               : AN_ERR_ARGUMENT;
}

static bool
bytes_equal(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

bool
seq_is_account(const Anser__Bus__Command *in)
{
    return in->what_case == ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY ||
           seq_account_user(in) != 0;
}

uint64_t
seq_account_user(const Anser__Bus__Command *in)
{
    switch ((int)in->what_case) {
    case ANSER__BUS__COMMAND__WHAT_CREATE_USER:
        return in->create_user->user;
    case ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT:
        return in->update_account->user;
    case ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE:
        return in->update_device->user;
    default:
        return 0;
    }
}

static bool
same_key(const Anser__Bus__Command *a, const Anser__Bus__Command *b)
{
    uint64_t user = seq_account_user(a);

    if (user != 0) {
        return user == seq_account_user(b);
    }
    return b->what_case == ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY &&
           bytes_equal(&a->put_directory->app, &b->put_directory->app) &&
           bytes_equal(&a->put_directory->name, &b->put_directory->name);
}

void
seq_account_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                struct an_outbox *out)
{
    struct seq_read read = {.kind = SEQ_READ_ACCOUNT, .slot = cmd->slot, .cmd = cmd};

    for (uint32_t i = 0; i < s->account_count; i++) {
        if (same_key(s->accounts[i]->in, cmd->in)) {
            seq_list_push(&s->accounts[i]->followers, cmd);
            return;
        }
    }
    if (s->account_count == SEQ_ACCOUNTS_MAX || !seq_read_add(s, &read)) {
        s->m.busy++;
        seq_finish(s, cmd, AN_ERR_BUSY, now, out);
        return;
    }
    s->accounts[s->account_count++] = cmd;
}

void
seq_account_leave(struct seq *s, struct seq_cmd *cmd, struct seq_list *behind)
{
    for (uint32_t i = 0; i < s->account_count; i++) {
        if (s->accounts[i] == cmd) {
            memmove(&s->accounts[i], &s->accounts[i + 1],
                    (--s->account_count - i) * sizeof(struct seq_cmd *));
            break;
        }
    }
    seq_list_move(behind, &cmd->followers);
}

/* Is the user that was found the one that this command makes? After an unknown outcome it
 * may be; with a password, which is salted, its hash tells for certain. */
static bool
made_before(const struct seq_cmd *cmd, const Anser__Bus__Answer *answer)
{
    const Anser__Bus__CreateUser *create = cmd->in->create_user;

    if (create->password_hash.len > 0) {
        return answer->details != NULL &&
               bytes_equal(&answer->details->password_hash, &create->password_hash);
    }
    return (cmd->flags & SEQ_CMD_UNKNOWN) != 0;
}

/* Put if absent. */
static void
put_answered(struct seq *s, struct seq_cmd *cmd, const Anser__Bus__Answer *answer,
             enum an_err err, struct an_now now, struct an_outbox *out)
{
    bool put = cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;

    if (err == AN_ERR_NOT_FOUND || err == AN_ERR_USER_NOT_FOUND) {
        cmd->user = put ? cmd->in->put_directory->user : cmd->in->create_user->user;
        seq_list_push(&seq_link_of(s, cmd->slot)->ready, cmd);
        return;
    }
    if (err == AN_OK) {
        cmd->user = put ? answer->user : cmd->in->create_user->user;
        if (put ? answer->user != cmd->in->put_directory->user
                : !made_before(cmd, answer)) {
            err = AN_ERR_USER_EXISTS;
        }
    }
    seq_finish(s, cmd, err, now, out);
}

void
seq_account_answered(struct seq *s, struct seq_cmd *cmd, const Anser__Bus__Answer *answer,
                     enum an_err err, struct an_now now, struct an_outbox *out)
{
    bool write = false;

    if (cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_CREATE_USER ||
        cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY) {
        put_answered(s, cmd, answer, err, now, out);
        return;
    }
    if (err == AN_OK) {
        err = seq_change_decide(cmd, answer, now, &write);
    }
    if (write) {
        seq_list_push(&seq_link_of(s, cmd->slot)->ready, cmd);
    } else {
        seq_finish(s, cmd, err, now, out);
    }
}
