/* Accounts: put if absent, of a user and of a directory row. One command per key is under
 * way at a time; others of the same key run after it. Rare, so a plain list will do. */
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

static bool
same_key(const Anser__Bus__Command *a, const Anser__Bus__Command *b)
{
    if (a->what_case != b->what_case) {
        return false;
    }
    if (a->what_case == ANSER__BUS__COMMAND__WHAT_CREATE_USER) {
        return a->create_user->user == b->create_user->user;
    }
    return bytes_equal(&a->put_directory->app, &b->put_directory->app) &&
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

void
seq_account_answered(struct seq *s, struct seq_cmd *cmd, const Anser__Bus__Answer *answer,
                     enum an_err err, struct an_now now, struct an_outbox *out)
{
    bool put = cmd->in->what_case == ANSER__BUS__COMMAND__WHAT_PUT_DIRECTORY;
    /* After an unknown outcome the row found may be the one this command has put. */
    bool unknown = (cmd->flags & SEQ_CMD_UNKNOWN) != 0;

    if (err == AN_ERR_NOT_FOUND || err == AN_ERR_USER_NOT_FOUND) {
        cmd->user = put ? cmd->in->put_directory->user : cmd->in->create_user->user;
        seq_list_push(&seq_link_of(s, cmd->slot)->ready, cmd);
        return;
    }
    if (err == AN_OK) {
        cmd->user = put ? answer->user : cmd->in->create_user->user;
        if (put ? answer->user != cmd->in->put_directory->user : !unknown) {
            err = AN_ERR_USER_EXISTS;
        }
    }
    seq_finish(s, cmd, err, now, out);
}
