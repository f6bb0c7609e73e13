#include "tests/actors/gate_kit.h"

struct an_topology kit_topology;
struct an_token_keys kit_keys = {.count = 1, .key = {{.id = "k1", .secret = "secret"}}};
uint64_t kit_inbox_head, kit_seen_ms, kit_minted_ms;
Anser__Bus__AccountState kit_account[4];

ProtobufCBinaryData
kit_text(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

uint64_t
kit_user(ProtobufCBinaryData name)
{
    static const char *const names[] = {"", "alice", "bob", "carol"};

    for (uint64_t i = 1; i < 4; i++) {
        if (name.len == strlen(names[i]) && memcmp(name.data, names[i], name.len) == 0) {
            return i;
        }
    }
    return 0;
}

struct harness *
kit_gate_raw(const struct gate_cfg *cfg)
{
    struct gate_cfg mine = cfg == NULL ? (struct gate_cfg){0} : *cfg;
    struct an_actor *actor;
    struct harness *h;

    if (cfg == NULL || cfg->topology == NULL) {
        an_topology_single(&kit_topology);
    }
    mine.topology = &kit_topology;
    mine.keys = &kit_keys;
    mine.seed = KIT_SEED;
    if (mine.submits_flying_max == 0) {
        mine.submits_flying_max = 1; /* tests see one batch after the other */
    }
    kit_inbox_head = 0;
    kit_minted_ms = 0;
    kit_seen_ms = UINT64_MAX; /* no device has to be written down */
    for (size_t i = 0; i < sizeof(kit_account) / sizeof(kit_account[0]); i++) {
        anser__bus__account_state__init(&kit_account[i]);
    }
    assert_int_equal(gate_create(&actor, &mine), AN_OK);
    h = harness_create(actor);
    harness_start(h);
    harness_drain(h);
    return h;
}

struct harness *
kit_gate(const struct gate_cfg *cfg)
{
    struct harness *h = kit_gate_raw(cfg);

    kit_join(h);
    kit_serve(h);
    assert_non_null(harness_take(h, AN_EFFECT_READY));
    return h;
}

void
kit_join(struct harness *h)
{
    const struct harness_effect *ask;

    while ((ask = kit_submit(h)) != NULL) {
        const Anser__Bus__Submit *submit = harness_body(ask);

        assert_int_equal(submit->n_commands, 0);
        harness_answer(h, ask, AN_ERR_ARGUMENT, NULL);
    }
}

static void
answer_query(const Anser__Bus__Query *query, Anser__Bus__Answer *a)
{
    static const Anser__Bus__Answer init = ANSER__BUS__ANSWER__INIT;

    *a = init;
    switch (query->what_case) {
    case ANSER__BUS__QUERY__WHAT_RESOLVE:
        assert_int_equal(query->slot,
                         an_slot_name(query->resolve->app.data, query->resolve->app.len,
                                      query->resolve->name.data,
                                      query->resolve->name.len));
        a->user = kit_user(query->resolve->name);
        a->err = a->user == 0 ? AN_ERR_NOT_FOUND : AN_OK;
        break;
    case ANSER__BUS__QUERY__WHAT_LOGIN:
        assert_int_equal(query->slot, an_slot_user(query->login->user));
        a->inbox_generation = 5;
        a->inbox_first = 1;
        a->inbox_head = kit_inbox_head;
        a->cursor = 2;
        a->account = &kit_account[query->login->user];
        a->device_seen_ms = kit_seen_ms;
        break;
    case ANSER__BUS__QUERY__WHAT_HEAD:
        assert_int_equal(query->slot, an_slot_user(query->head->user));
        a->inbox_generation = 5;
        a->inbox_head = kit_inbox_head;
        a->head_event = TEXT("head event");
        a->account = &kit_account[query->head->user];
        a->device_seen_ms = kit_seen_ms;
        break;
    case ANSER__BUS__QUERY__WHAT_ACCOUNT:
        assert_int_equal(query->slot, an_slot_user(query->account->user));
        a->account = &kit_account[query->account->user];
        break;
    case ANSER__BUS__QUERY__WHAT_SYNC:
        a->client_body = TEXT("sync page");
        break;
    case ANSER__BUS__QUERY__WHAT_HISTORY:
        a->client_body = TEXT("history page");
        break;
    default:
        fail();
    }
}

static bool
serve_read(struct harness *h)
{
    const struct harness_effect *ask = harness_take_ask(h, AN_ROLE_STORE, AN_KIND_READ);
    Anser__Bus__ReadDone done = ANSER__BUS__READ_DONE__INIT;
    const Anser__Bus__Read *read;
    Anser__Bus__Answer *rows, **answers;

    if (ask == NULL) {
        return false;
    }
    read = harness_body(ask);
    rows = calloc(read->n_queries, sizeof(*rows));
    answers = calloc(read->n_queries, sizeof(*answers));
    assert_non_null(rows);
    assert_non_null(answers);
    for (size_t i = 0; i < read->n_queries; i++) {
        answer_query(read->queries[i], &rows[i]);
        answers[i] = &rows[i];
    }
    done.answers = answers;
    done.n_answers = read->n_queries;
    harness_answer(h, ask, AN_OK, &done.base);
    free(rows);
    free(answers);
    return true;
}

static bool
serve_sessions(struct harness *h)
{
    const struct harness_effect *ask =
        harness_take_ask(h, AN_ROLE_ROUTER, AN_KIND_SESSIONS);
    Anser__Bus__SessionsDone done = ANSER__BUS__SESSIONS_DONE__INIT;
    Anser__Bus__Deliver sign = ANSER__BUS__DELIVER__INIT;
    const Anser__Bus__Sessions *sessions;

    if (ask == NULL) {
        return false;
    }
    sessions = harness_body(ask);
    if (sessions->deaf) {
        sign.incarnation = sessions->incarnation;
        harness_publish(h, (struct an_addr){AN_ROLE_ROUTER, ask->e.to.index},
                        AN_KIND_DELIVER, &sign.base);
    }
    done.router_incarnation = KIT_VIEW;
    harness_answer(h, ask, AN_OK, &done.base);
    return true;
}

void
kit_serve(struct harness *h)
{
    harness_drain(h);
    while (serve_read(h) || serve_sessions(h)) {
        harness_drain(h);
    }
}

void
kit_serve_reads(struct harness *h)
{
    harness_drain(h);
    while (serve_read(h)) {
        harness_drain(h);
    }
}

void
kit_open(struct harness *h, uint64_t conn)
{
    harness_conn(h, AN_KIND_CONN_OPEN, conn);
}

void
kit_login_send(struct harness *h, uint64_t conn, const char *user, const char *device,
               bool send_only)
{
    Anser__Client__Login login = ANSER__CLIENT__LOGIN__INIT;
    char *token = NULL;

    assert_int_equal(an_token_mint(&token, &kit_keys.key[0], AN_APP_DEFAULT, user,
                                   harness_now(h).wall_ms - kit_minted_ms, 3600000),
                     AN_OK);
    login.token = kit_text(token);
    login.device = kit_text(device);
    login.send_only = send_only;
    harness_conn_frame(h, conn, AN_COMMAND_LOGIN, 1, &login.base);
    free(token);
}

void
kit_login(struct harness *h, uint64_t conn, const char *user, const char *device)
{
    kit_open(h, conn);
    kit_login_send(h, conn, user, device, false);
    kit_serve(h);
    kit_frame(h, conn, AN_COMMAND_LOGIN, AN_FRAME_ANSWER, 1,
              &anser__client__login_ok__descriptor);
}

const uint8_t *
kit_id(unsigned n)
{
    static uint8_t ids[16][AN_CLIENT_MSG_ID_LEN];
    static unsigned next;
    uint8_t *id = ids[next++ % 16];

    memcpy(id, "\x01\x93\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x00", 16);
    id[14] = (uint8_t)(n >> 8);
    id[15] = (uint8_t)n;
    return id;
}

void
kit_send(struct harness *h, uint64_t conn, uint32_t request, const char *to, unsigned id,
         const char *body)
{
    Anser__Client__Send send = ANSER__CLIENT__SEND__INIT;

    send.to = kit_text(to);
    send.client_msg_id.data = (uint8_t *)(uintptr_t)kit_id(id);
    send.client_msg_id.len = AN_CLIENT_MSG_ID_LEN;
    send.type = 1;
    send.body = kit_text(body);
    send.trace = 0xabc;
    harness_conn_frame(h, conn, AN_COMMAND_SEND, request, &send.base);
}

const void *
kit_frame(struct harness *h, uint64_t conn, unsigned command, unsigned flags,
          uint32_t request, const ProtobufCMessageDescriptor *descriptor)
{
    const struct harness_effect *effect = harness_take_frame(h, conn);

    assert_non_null(effect);
    assert_string_equal(an_command_name(effect->frame.command), an_command_name(command));
    assert_int_equal(effect->frame.flags, flags);
    assert_int_equal(effect->frame.request, request);
    return harness_frame_body(h, effect, descriptor);
}

const Anser__Client__Error *
kit_error(struct harness *h, uint64_t conn, unsigned command, uint32_t request,
          enum an_err err)
{
    const Anser__Client__Error *error =
        kit_frame(h, conn, command, AN_FRAME_ANSWER | AN_FRAME_ERROR, request,
                  &anser__client__error__descriptor);

    assert_string_equal(an_err_name(error->code), an_err_name(err));
    assert_int_equal(error->name.len, strlen(an_err_name(err)));
    assert_memory_equal(error->name.data, an_err_name(err), error->name.len);
    assert_int_equal(error->retry, an_err_handling(err) == AN_HANDLE_RETRY);
    return error;
}

void
kit_goodbye(struct harness *h, uint64_t conn, enum an_err err)
{
    const Anser__Client__Goodbye *goodbye =
        kit_frame(h, conn, AN_COMMAND_GOODBYE, 0, 0, &anser__client__goodbye__descriptor);
    const struct harness_effect *close = harness_take(h, AN_EFFECT_CONN_CLOSE);

    assert_string_equal(an_err_name(goodbye->code), an_err_name(err));
    assert_non_null(close);
    assert_int_equal(close->e.conn, conn);
}

void
kit_no_frame(struct harness *h, uint64_t conn)
{
    assert_null(harness_take_frame(h, conn));
}

const struct harness_effect *
kit_submit(struct harness *h)
{
    return harness_take_ask(h, AN_ROLE_SEQUENCER, AN_KIND_SUBMIT);
}

void
kit_submitted(struct harness *h, const struct harness_effect *ask, enum an_err err)
{
    const Anser__Bus__Submit *submit = harness_body(ask);
    Anser__Bus__Submitted submitted = ANSER__BUS__SUBMITTED__INIT;
    Anser__Bus__Result *rows = calloc(submit->n_commands, sizeof(*rows));
    Anser__Bus__Result **results = calloc(submit->n_commands, sizeof(*results));

    assert_non_null(rows);
    assert_non_null(results);
    for (size_t i = 0; i < submit->n_commands; i++) {
        anser__bus__result__init(&rows[i]);
        rows[i].err = err;
        rows[i].seq = i + 1;
        rows[i].message_id = 1000 + i;
        rows[i].time_ms = 5000;
        rows[i].inbox_seq = 70 + i;
        results[i] = &rows[i];
    }
    submitted.results = results;
    submitted.n_results = submit->n_commands;
    harness_answer(h, ask, AN_OK, &submitted.base);
    free(rows);
    free(results);
}

const Anser__Bus__Submit *
kit_submit_of(const struct harness_effect *ask)
{
    assert_non_null(ask);
    return harness_body(ask);
}

unsigned
kit_number(const Anser__Bus__Command *command)
{
    assert_int_equal(command->what_case, ANSER__BUS__COMMAND__WHAT_SEND);
    return command->send->client_msg_id.data[15];
}
