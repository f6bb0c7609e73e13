#include "tests/actors/store_cluster.h"
#include "core/slot.h"
#include "proto/bytes.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ life */

static const char *const DIRS[CLUSTER_STORES_MAX] = {"data0", "data1", "data2"};

static struct store_rig *
make_rig(uint16_t index, uint16_t stores)
{
    struct store_rig *rig = store_rig_create();
    struct an_topology *topology = &rig->topology;

    rig->cfg.index = index;
    rig->cfg.engine.dir = DIRS[index];
    topology->count[AN_ROLE_STORE] = stores;
    for (unsigned slot = 0; slot < AN_SLOTS; slot++) {
        topology->slot_store[slot] = (uint16_t)(slot * stores / AN_SLOTS);
    }
    return rig;
}

struct cluster *
cluster_create(uint16_t stores)
{
    struct cluster *c = calloc(1, sizeof(*c));

    assert(c != NULL);
    assert(stores <= CLUSTER_STORES_MAX);
    c->count = stores;
    for (uint16_t i = 0; i < stores; i++) {
        c->rigs[i] = make_rig(i, stores);
    }
    return c;
}

void
cluster_lose_disk(struct cluster *c, uint16_t store)
{
    assert(!c->up[store]);
    store_rig_destroy(c->rigs[store]);
    c->rigs[store] = make_rig(store, c->count);
}

static void
drop_late(struct cluster *c, size_t which)
{
    protobuf_c_message_free_unpacked(c->late[which].body, NULL);
    c->late[which] = c->late[--c->late_count];
}

void
cluster_destroy(struct cluster *c)
{
    while (c->late_count > 0) {
        drop_late(c, 0);
    }
    for (uint16_t i = 0; i < c->count; i++) {
        if (c->up[i]) {
            cluster_close(c, i);
        }
        store_rig_destroy(c->rigs[i]);
    }
    free(c);
}

void
cluster_open(struct cluster *c, uint16_t store)
{
    assert(!c->up[store]);
    store_rig_open(c->rigs[store]);
    c->up[store] = true;
}

void
cluster_open_all(struct cluster *c)
{
    for (uint16_t i = 0; i < c->count; i++) {
        cluster_open(c, i);
    }
    cluster_run(c);
}

void
cluster_close(struct cluster *c, uint16_t store)
{
    assert(c->up[store]);
    store_rig_close(c->rigs[store]);
    c->up[store] = false;
    c->lives[store]++;
}

/* ------------------------------------------------------------------ all disks */

static struct store_files *
disk_of(struct store_files *files, const char *path)
{
    struct cluster *c = ((struct cluster_files *)files)->c;
    unsigned store = (unsigned)path[4] - '0';

    assert(store < c->count);
    return files_sim_table(c->rigs[store]->sim);
}

static enum an_err
disks_open(struct store_files *files, const char *path, enum store_open how,
           struct store_file **out)
{
    struct store_files *disk = disk_of(files, path);

    return disk->ops->open(disk, path, how, out);
}

static enum an_err
disks_list(struct store_files *files, const char *path, store_list_fn *fn, void *ctx)
{
    struct store_files *disk = disk_of(files, path);

    return disk->ops->list(disk, path, fn, ctx);
}

static enum an_err
disks_lock(struct store_files *files, const char *path, bool create,
           struct store_file **out)
{
    struct store_files *disk = disk_of(files, path);

    return disk->ops->lock(disk, path, create, out);
}

static const struct store_files_ops DISKS = {
    .open = disks_open, .list = disks_list, .lock = disks_lock};

struct store_files *
cluster_files(struct cluster *c)
{
    c->files = (struct cluster_files){{&DISKS}, c};
    return &c->files.files;
}

/* ------------------------------------------------------------------ the bus */

static void
answer(struct cluster *c, const struct cluster_request *request, enum an_err err,
       const ProtobufCMessage *body)
{
    if (c->up[request->from] && c->lives[request->from] == request->life) {
        harness_answer(c->rigs[request->from]->h, &request->ask, err,
                       err == AN_OK ? body : NULL);
    }
}

/* It comes; what it was answered, NULL when the store is silent. */
static const struct harness_effect *
deliver(struct cluster *c, const struct cluster_request *request)
{
    struct store_rig *rig = c->rigs[request->ask.e.to.index];
    struct an_addr from = {AN_ROLE_STORE, request->from};
    uint64_t id =
        harness_request(rig->h, from, (enum an_kind)request->ask.e.kind, request->body);

    store_rig_settle(rig);
    return harness_reply(rig->h, id);
}

static void
carry_good(struct cluster *c, const struct cluster_request *request, bool answered)
{
    const struct harness_effect *reply = deliver(c, request);

    if (reply == NULL || !answered) {
        answer(c, request, AN_ERR_TIMEOUT, NULL);
    } else {
        answer(c, request, reply->e.err, reply->body);
    }
}

static void
carry(struct cluster *c, struct cluster_request *request)
{
    enum cluster_fate fate = c->fate == NULL ? FATE_GOOD : c->fate(c->ctx, request);

    c->carried++;
    if (!c->up[request->ask.e.to.index]) {
        fate = FATE_REFUSE;
    }
    switch (fate) {
    case FATE_DOUBLE:
        deliver(c, request);
        carry_good(c, request, true);
        break;
    case FATE_GOOD:
        carry_good(c, request, true);
        break;
    case FATE_LOSE_ANSWER:
        carry_good(c, request, false);
        break;
    case FATE_LOSE:
        answer(c, request, AN_ERR_TIMEOUT, NULL);
        break;
    case FATE_LATE:
        answer(c, request, AN_ERR_TIMEOUT, NULL);
        if (c->late_count < CLUSTER_LATE_MAX) {
            c->late[c->late_count++] = *request;
            return;
        }
        break;
    case FATE_REFUSE:
        answer(c, request, AN_ERR_UNAVAILABLE, NULL);
        break;
    case FATE_FULL:
        deliver(c, request);
        answer(c, request, AN_ERR_BUSY, NULL);
        break;
    case FATE_ENDING:
        answer(c, request, AN_ERR_SHUTTING_DOWN, NULL);
        break;
    case FATE_BUSY:
        answer(c, request, AN_ERR_BUSY, NULL);
        break;
    }
    protobuf_c_message_free_unpacked(request->body, NULL);
}

void
cluster_late(struct cluster *c, size_t which)
{
    if (c->up[c->late[which].ask.e.to.index]) {
        deliver(c, &c->late[which]);
    }
    drop_late(c, which);
}

static bool
take(struct cluster *c, uint16_t from, enum an_kind kind, struct cluster_request *out)
{
    const struct harness_effect *ask =
        harness_take_ask(c->rigs[from]->h, AN_ROLE_STORE, kind);

    if (ask == NULL) {
        return false;
    }
    *out = (struct cluster_request){.ask = *ask, .from = from, .life = c->lives[from]};
    out->body =
        protobuf_c_message_unpack(ask->body->descriptor, NULL, ask->e.len, ask->bytes);
    out->ask.body = NULL;
    out->ask.bytes = NULL;
    assert(out->body != NULL);
    return true;
}

static void
answer_pushes(struct store_rig *rig)
{
    const struct harness_effect *ask;

    while ((ask = harness_take_ask(rig->h, AN_ROLE_ROUTER, AN_KIND_PUSH)) != NULL) {
        Anser__Bus__Pushed done = ANSER__BUS__PUSHED__INIT;

        harness_answer(rig->h, ask, AN_OK, &done.base);
    }
}

void
cluster_run(struct cluster *c)
{
    struct cluster_request request;
    bool moved;

    do {
        moved = false;
        for (uint16_t i = 0; i < c->count; i++) {
            if (!c->up[i]) {
                continue;
            }
            store_rig_settle(c->rigs[i]);
            answer_pushes(c->rigs[i]);
            while (take(c, i, AN_KIND_MARKS, &request) ||
                   take(c, i, AN_KIND_FORWARD, &request)) {
                carry(c, &request);
                moved = true;
            }
            while (harness_take(c->rigs[i]->h, AN_EFFECT_LOG) != NULL) {
            }
            harness_forget(c->rigs[i]->h);
        }
    } while (moved);
}

void
cluster_advance(struct cluster *c, uint64_t ms)
{
    while (ms > 0) {
        uint64_t some = ms < 50 ? ms : 50;

        for (uint16_t i = 0; i < c->count; i++) {
            if (c->up[i]) {
                harness_advance(c->rigs[i]->h, some);
            }
        }
        cluster_run(c);
        ms -= some;
    }
}

/* ------------------------------------------------------------------ who is where */

uint16_t
cluster_store_of(const struct cluster *c, uint64_t user)
{
    return c->rigs[0]->topology.slot_store[an_slot_user(user)];
}

uint16_t
cluster_store_of_pair(const struct cluster *c, uint64_t a, uint64_t b)
{
    struct an_conv conv = an_conv_direct(a, b);

    return c->rigs[0]->topology.slot_store[an_slot_conv(&conv)];
}

uint64_t
cluster_user(const struct cluster *c, uint16_t store, unsigned n)
{
    for (uint64_t user = 1;; user++) {
        if (cluster_store_of(c, user) == store && n-- == 0) {
            return user;
        }
    }
}

void
cluster_pair(const struct cluster *c, uint16_t store_a, uint16_t store_b, uint16_t conv,
             uint64_t *a, uint64_t *b)
{
    *a = cluster_user(c, store_a, 0);
    for (unsigned n = 1;; n++) {
        *b = cluster_user(c, store_b, n);
        if (cluster_store_of_pair(c, *a, *b) == conv) {
            return;
        }
    }
}

void
cluster_claim_pair(struct cluster *c, uint64_t a, uint64_t b)
{
    store_rig_claim_pair(c->rigs[cluster_store_of_pair(c, a, b)], a, b);
}

/* ------------------------------------------------------------------ messages */

const Anser__Bus__AppendedSlot *
cluster_send(struct cluster *c, uint64_t from, uint64_t to, uint64_t seq)
{
    struct store_rig *rig = c->rigs[cluster_store_of_pair(c, from, to)];
    struct store_rig_message message;
    Anser__Bus__Entry *entry = &message.entry;
    const struct harness_effect *reply;
    uint64_t id;

    store_rig_message(&message, from, to, seq);
    id = store_rig_append_begin(rig, an_slot_conv(&message.conv), &entry, 1);
    store_rig_settle(rig);
    reply = harness_reply(rig->h, id);
    if (reply == NULL || reply->e.err != AN_OK) {
        return NULL;
    }
    return ((const Anser__Bus__Appended *)harness_body(reply))->slots[0];
}

void
cluster_talk(struct cluster *c, uint64_t a, uint64_t b, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        const Anser__Bus__AppendedSlot *slot =
            seq % 2 == 1 ? cluster_send(c, a, b, seq) : cluster_send(c, b, a, seq);

        assert(slot != NULL);
        assert(slot->err == AN_OK);
    }
}

uint64_t
cluster_head(struct cluster *c, uint64_t a, uint64_t b)
{
    return store_rig_head(c->rigs[cluster_store_of_pair(c, a, b)], a, b);
}

/* ------------------------------------------------------------------ inboxes */

struct page {
    Anser__Client__SyncOk *body;
    const Anser__Bus__Answer *answered;
};

static struct page
read_page(struct cluster *c, uint64_t user, uint64_t after)
{
    Anser__Bus__Query query = ANSER__BUS__QUERY__INIT;
    Anser__Bus__SyncQuery sync = ANSER__BUS__SYNC_QUERY__INIT;
    struct page page;

    sync.user = user;
    sync.after = after;
    query.slot = an_slot_user(user);
    query.what_case = ANSER__BUS__QUERY__WHAT_SYNC;
    query.sync = &sync;
    page.answered = store_rig_query(c->rigs[cluster_store_of(c, user)], &query);
    assert(page.answered->err == AN_OK);
    page.body = anser__client__sync_ok__unpack(NULL, page.answered->client_body.len,
                                               page.answered->client_body.data);
    assert(page.body != NULL);
    return page;
}

/* Is the message there, or said to be elsewhere? Which conversation's it is comes from
 * its names, or from what is said. */
static uint64_t
event_seq(const struct page *page, size_t at, const struct an_conv *wanted)
{
    const Anser__Client__Message *message = page->body->events[at]->message;
    const Anser__Bus__Elsewhere *elsewhere = NULL;
    unsigned long long from, to;
    char names[2][24] = {"", ""};
    struct an_conv conv;

    for (size_t i = 0; i < page->answered->n_elsewhere; i++) {
        if (page->answered->elsewhere[i]->event == at) {
            elsewhere = page->answered->elsewhere[i];
        }
    }
    assert((message == NULL) == (elsewhere != NULL));
    if (message == NULL) {
        return memcmp(elsewhere->conversation.data, wanted->bytes, AN_CONV_LEN) == 0
                   ? elsewhere->seq
                   : 0;
    }
    memcpy(names[0], message->from.data, message->from.len);
    memcpy(names[1], message->to.data, message->to.len);
    sscanf(names[0], "u%llu", &from);
    sscanf(names[1], "u%llu", &to);
    conv = an_conv_direct(from, to);
    return memcmp(conv.bytes, wanted->bytes, AN_CONV_LEN) == 0 ? message->seq : 0;
}

unsigned
cluster_entries(struct cluster *c, uint64_t user, uint64_t a, uint64_t b, uint64_t seq)
{
    struct an_conv conv = an_conv_direct(a, b);
    uint64_t after = 0;
    uint64_t last = 0;
    unsigned found = 0;
    bool completed = false;

    while (!completed) {
        struct page page = read_page(c, user, after);

        for (size_t i = 0; i < page.body->n_events; i++) {
            uint64_t own = event_seq(&page, i, &conv);

            assert(page.body->events[i]->inbox_seq == ++after);
            assert(own == 0 || own > last);
            last = own != 0 ? own : last;
            found += own == seq;
        }
        completed = page.body->completed;
        assert(completed || page.body->n_events > 0);
        anser__client__sync_ok__free_unpacked(page.body, NULL);
    }
    return found;
}

uint64_t
cluster_inbox_head(struct cluster *c, uint64_t user)
{
    struct page page = read_page(c, user, 0);
    uint64_t head = page.body->head;

    anser__client__sync_ok__free_unpacked(page.body, NULL);
    return head;
}

/* In one walk through the inbox: seqs 1..head, each once, in order. */
static void
expect_inbox(struct cluster *c, uint64_t user, const struct an_conv *conv, uint64_t head)
{
    uint64_t after = 0;
    uint64_t last = 0;
    bool completed = false;

    while (!completed) {
        struct page page = read_page(c, user, after);

        for (size_t i = 0; i < page.body->n_events; i++) {
            uint64_t own = event_seq(&page, i, conv);

            assert(page.body->events[i]->inbox_seq == ++after);
            assert(own == 0 || own == last + 1);
            last += own != 0;
        }
        completed = page.body->completed;
        assert(completed || page.body->n_events > 0);
        anser__client__sync_ok__free_unpacked(page.body, NULL);
    }
    assert(last == head);
}

void
cluster_expect_whole(struct cluster *c, uint64_t a, uint64_t b)
{
    struct an_conv conv = an_conv_direct(a, b);
    uint64_t head = cluster_head(c, a, b);

    expect_inbox(c, a, &conv, head);
    expect_inbox(c, b, &conv, head);
}

uint64_t
cluster_metric(struct cluster *c, uint16_t store, const char *name)
{
    return harness_metric(c->rigs[store]->h, name);
}
