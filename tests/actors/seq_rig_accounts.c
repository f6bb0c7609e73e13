/* The rig's rows of accounts and devices' sessions, and the commands that change them. */
#include "core/slot.h"
#include "tests/actors/seq_rig.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static ProtobufCMessage *
clone(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(len + 1);
    ProtobufCMessage *out;

    assert(packed != NULL);
    protobuf_c_message_pack(message, packed);
    out = protobuf_c_message_unpack(message->descriptor, NULL, len, packed);
    assert(out != NULL);
    free(packed);
    return out;
}

void
rig_store_account(struct rig *rig, const Anser__Bus__AccountEntry *entry)
{
    size_t i = 0;

    while (i < rig->account_count && rig->accounts[i]->user != entry->user) {
        i++;
    }
    assert(i < 64);
    if (i == rig->account_count) {
        rig->account_count++;
    } else {
        assert(entry->state->version == rig->accounts[i]->state->version + 1);
        anser__bus__account_entry__free_unpacked(rig->accounts[i], NULL);
    }
    rig->accounts[i] = (Anser__Bus__AccountEntry *)clone(&entry->base);
}

static size_t
session_at(const struct rig *rig, uint64_t user, const ProtobufCBinaryData *device)
{
    size_t i = 0;

    while (
        i < rig->session_count &&
        (rig->sessions[i]->user != user ||
         rig->sessions[i]->state->device.len != device->len ||
         memcmp(rig->sessions[i]->state->device.data, device->data, device->len) != 0)) {
        i++;
    }
    return i;
}

void
rig_store_session(struct rig *rig, const Anser__Bus__DeviceSessionEntry *entry)
{
    size_t i = session_at(rig, entry->user, &entry->state->device);

    assert(i < 128);
    if (i == rig->session_count) {
        rig->session_count++;
    } else {
        anser__bus__device_session_entry__free_unpacked(rig->sessions[i], NULL);
    }
    rig->sessions[i] = (Anser__Bus__DeviceSessionEntry *)clone(&entry->base);
    i = entry->forget.len == 0 ? rig->session_count
                               : session_at(rig, entry->user, &entry->forget);
    if (i < rig->session_count) {
        anser__bus__device_session_entry__free_unpacked(rig->sessions[i], NULL);
        rig->sessions[i] = rig->sessions[--rig->session_count];
    }
    if (entry->folded != NULL) {
        rig_store_account(rig, entry->folded);
    }
}

/* The row that a user made with a password begins with. */
void
rig_store_first(struct rig *rig, const Anser__Bus__UserEntry *user)
{
    Anser__Bus__AccountEntry entry = ANSER__BUS__ACCOUNT_ENTRY__INIT;
    Anser__Bus__AccountState state = ANSER__BUS__ACCOUNT_STATE__INIT;
    Anser__Bus__AccountDetails details = ANSER__BUS__ACCOUNT_DETAILS__INIT;

    if (user->password_hash.len > 0) {
        entry.user = user->user;
        entry.state = &state;
        entry.details = &details;
        state.version = 1;
        details.password_hash = user->password_hash;
        rig_store_account(rig, &entry);
    }
}

void
rig_answer_account(struct rig *rig, const Anser__Bus__AccountQuery *q,
                   Anser__Bus__Answer *a)
{
    static Anser__Bus__AccountState state;
    static Anser__Bus__AccountDetails details;
    static Anser__Bus__DeviceState *devices[AN_DEVICE_SESSIONS_MAX];
    const Anser__Bus__AccountEntry *row = rig_account(rig, q->user);

    a->err = AN_ERR_USER_NOT_FOUND;
    for (size_t i = 0; i < rig->user_count; i++) {
        if (rig->users[i].user == q->user) {
            a->err = AN_OK;
        }
    }
    anser__bus__account_state__init(&state);
    anser__bus__account_details__init(&details);
    a->account = row == NULL ? &state : row->state;
    if (row != NULL) {
        details = *row->details;
    }
    details.app = (ProtobufCBinaryData){7, (uint8_t *)(uintptr_t) "default"};
    a->details = &details;
    a->devices = devices;
    for (size_t i = 0; q->devices && i < rig->session_count; i++) {
        if (rig->sessions[i]->user == q->user) {
            assert(a->n_devices < AN_DEVICE_SESSIONS_MAX);
            devices[a->n_devices++] = rig->sessions[i]->state;
        }
    }
}

/* ------------------------------------------------------------------ accounts */

uint64_t
rig_update_account(struct rig *rig, uint64_t user, Anser__Bus__UpdateAccount update)
{
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__Command *list[] = {&command};

    update.user = user;
    command.slot = an_slot_user(user);
    command.what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_ACCOUNT;
    command.update_account = &update;
    return rig_submit(rig, list, 1);
}

uint64_t
rig_update_device(struct rig *rig, uint64_t user, const char *device,
                  Anser__Bus__UpdateDevice update)
{
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__Command *list[] = {&command};

    update.user = user;
    update.device = rig_text(device);
    command.slot = an_slot_user(user);
    command.what_case = ANSER__BUS__COMMAND__WHAT_UPDATE_DEVICE;
    command.update_device = &update;
    return rig_submit(rig, list, 1);
}

uint64_t
rig_register(struct rig *rig, const char *name, uint64_t user, const char *hash)
{
    Anser__Bus__Command command = ANSER__BUS__COMMAND__INIT;
    Anser__Bus__CreateUser create = ANSER__BUS__CREATE_USER__INIT;
    Anser__Bus__Command *list[] = {&command};

    create.app = rig_text("default");
    create.name = rig_text(name);
    create.user = user;
    create.password_hash = rig_text(hash);
    command.slot = an_slot_user(user);
    command.what_case = ANSER__BUS__COMMAND__WHAT_CREATE_USER;
    command.create_user = &create;
    return rig_submit(rig, list, 1);
}

const Anser__Bus__AccountEntry *
rig_account(const struct rig *rig, uint64_t user)
{
    for (size_t i = 0; i < rig->account_count; i++) {
        if (rig->accounts[i]->user == user) {
            return rig->accounts[i];
        }
    }
    return NULL;
}

const Anser__Bus__DeviceState *
rig_session(const struct rig *rig, uint64_t user, const char *device)
{
    ProtobufCBinaryData name = rig_text(device);
    size_t i = session_at(rig, user, &name);

    return i < rig->session_count ? rig->sessions[i]->state : NULL;
}

void
rig_accounts_fini(struct rig *rig)
{
    for (size_t i = 0; i < rig->account_count; i++) {
        anser__bus__account_entry__free_unpacked(rig->accounts[i], NULL);
    }
    for (size_t i = 0; i < rig->session_count; i++) {
        anser__bus__device_session_entry__free_unpacked(rig->sessions[i], NULL);
    }
}

/* ------------------------------------------------------------------ alice, who is 41
 */

int
rig_alice_setup(void **state)
{
    struct rig *rig = malloc(sizeof(*rig));

    rig_init_ready(rig, NULL);
    rig_create_user(rig, "alice", 41);
    rig_pump(rig);
    *state = rig;
    return 0;
}

int
rig_alice_teardown(void **state)
{
    rig_fini(*state);
    free(*state);
    return 0;
}

enum an_err
rig_err(struct rig *rig, uint64_t request)
{
    return (enum an_err)rig_result(rig, request, 0)->err;
}

ProtobufCBinaryData
rig_hash(char letter)
{
    static char hashes[128][AN_REFRESH_HASH_LEN];

    memset(hashes[(unsigned char)letter], letter, AN_REFRESH_HASH_LEN);
    return (ProtobufCBinaryData){letter == 0 ? 0 : AN_REFRESH_HASH_LEN,
                                 (uint8_t *)hashes[(unsigned char)letter]};
}

enum an_err
rig_rotate(struct rig *rig, const char *device, char from, char to)
{
    Anser__Bus__UpdateDevice u = ANSER__BUS__UPDATE_DEVICE__INIT;
    uint64_t request;

    u.set = ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH;
    u.refresh_hash = rig_hash(to);
    u.expect_refresh_hash = rig_hash(from);
    request = rig_update_device(rig, 41, device, u);
    rig_pump(rig);
    return rig_err(rig, request);
}

uint64_t
rig_next_second(const struct rig *rig)
{
    return (harness_now(rig->h).wall_ms / 1000 + 1) * 1000;
}

uint64_t
rig_revoke(struct rig *rig)
{
    Anser__Bus__UpdateAccount u = ANSER__BUS__UPDATE_ACCOUNT__INIT;
    uint64_t request;

    u.set = ANSER__BUS__ACCOUNT_SET__ACCOUNT_SET_REVOKE;
    request = rig_update_account(rig, 41, u);
    rig_pump(rig);
    assert(rig_err(rig, request) == AN_OK);
    return rig_result(rig, request, 0)->time_ms;
}

uint64_t
rig_revoke_device(struct rig *rig, const char *device)
{
    Anser__Bus__UpdateDevice u = ANSER__BUS__UPDATE_DEVICE__INIT;
    uint64_t request;

    u.set = ANSER__BUS__DEVICE_SET__DEVICE_SET_REVOKE |
            ANSER__BUS__DEVICE_SET__DEVICE_SET_REFRESH;
    request = rig_update_device(rig, 41, device, u);
    rig_pump(rig);
    assert(rig_err(rig, request) == AN_OK);
    return rig_result(rig, request, 0)->time_ms;
}

enum an_err
rig_seen(struct rig *rig, const char *device, uint64_t issued_ms)
{
    Anser__Bus__UpdateDevice u = ANSER__BUS__UPDATE_DEVICE__INIT;
    uint64_t request;

    u.set = ANSER__BUS__DEVICE_SET__DEVICE_SET_SEEN |
            ANSER__BUS__DEVICE_SET__DEVICE_SET_PLATFORM;
    u.platform = rig_text("ios");
    u.issued_ms = issued_ms;
    request = rig_update_device(rig, 41, device, u);
    rig_pump(rig);
    return rig_err(rig, request);
}
