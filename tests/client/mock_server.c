#include "mock_server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { IN_CAP = 1 << 20 };

static ProtobufCBinaryData
bytes(const char *text)
{
    union { /* protobuf-c's bytes are not const; packing only reads them */
        const char *in;
        uint8_t *out;
    } u = {.in = text};

    return (ProtobufCBinaryData){strlen(text), u.out};
}

void
mock_start(struct mock *mock)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof(addr);

    memset(mock, 0, sizeof(*mock));
    for (int i = 0; i < MOCK_CONNS; i++) {
        mock->conns[i].fd = -1;
    }
    mock->user = "alice";
    mock->server_time_ms = 1800000000000u;
    mock->generation = 7;
    mock->first = 1;
    mock->heartbeat_ms = 10000;
    mock->sends_max = 256;
    mock->body_len_max = 65536;
    mock->page = 100;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    mock->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(mock->listen_fd >= 0);
    assert_int_equal(bind(mock->listen_fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(mock->listen_fd, 16), 0);
    assert_int_equal(getsockname(mock->listen_fd, (struct sockaddr *)&addr, &len), 0);
    mock->port = ntohs(addr.sin_port);
    (void)snprintf(mock->url, sizeof(mock->url), "tcp://127.0.0.1:%u", mock->port);
}

static void
conn_close(struct mock_conn *conn)
{
    if (conn->fd >= 0) {
        close(conn->fd);
    }
    free(conn->in);
    *conn = (struct mock_conn){.fd = -1};
}

void
mock_close_conns(struct mock *mock)
{
    for (int i = 0; i < MOCK_CONNS; i++) {
        conn_close(&mock->conns[i]);
    }
}

void
mock_stop(struct mock *mock)
{
    mock_close_conns(mock);
    if (mock->listen_fd >= 0) {
        close(mock->listen_fd);
    }
    for (size_t i = 0; i < mock->event_count; i++) {
        free(mock->events[i].data);
    }
    mock->event_count = 0;
    mock->listen_fd = -1;
}

struct mock_conn *
mock_conn(struct mock *mock)
{
    struct mock_conn *best = NULL;

    for (int i = 0; i < MOCK_CONNS; i++) {
        if (mock->conns[i].fd >= 0 &&
            (best == NULL || mock->conns[i].number > best->number)) {
            best = &mock->conns[i];
        }
    }
    assert_non_null(best);
    return best;
}

/* ------------------------------------------------------------------ writing */

void
mock_raw(struct mock_conn *conn, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = send(conn->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = conn->fd, .events = POLLOUT};
            assert_true(poll(&p, 1, 5000) > 0);
            continue;
        }
        if (n < 0) {
            return; /* the client has gone: its business */
        }
        at += n;
        len -= (size_t)n;
    }
}

void
mock_frame(struct mock_conn *conn, uint16_t command, uint16_t flags, uint32_t request,
           const ProtobufCMessage *body)
{
    size_t len = protobuf_c_message_get_packed_size(body);
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = command,
                             .flags = flags,
                             .request = request,
                             .body_len = (uint32_t)len};
    uint8_t *out = malloc(AN_FRAME_HEADER_LEN + len);

    assert_non_null(out);
    an_frame_put(out, &frame);
    (void)protobuf_c_message_pack(body, out + AN_FRAME_HEADER_LEN);
    mock_raw(conn, out, AN_FRAME_HEADER_LEN + len);
    free(out);
}

void
mock_answer(struct mock_conn *conn, const struct an_frame *to,
            const ProtobufCMessage *body)
{
    mock_frame(conn, to->command, AN_FRAME_ANSWER, to->request, body);
}

void
mock_refuse(struct mock_conn *conn, const struct an_frame *to, enum an_err err,
            uint32_t retry_after_ms)
{
    Anser__Client__Error error = ANSER__CLIENT__ERROR__INIT;

    error.code = (uint32_t)err;
    error.name = bytes(an_err_name(err));
    error.text = bytes(an_err_text(err));
    error.retry = an_err_handling(err) == AN_HANDLE_RETRY;
    error.retry_after_ms = retry_after_ms;
    mock_frame(conn, to->command, AN_FRAME_ANSWER | AN_FRAME_ERROR, to->request,
               &error.base);
}

void
mock_goodbye(struct mock_conn *conn, enum an_err err, bool retry, uint32_t retry_after_ms)
{
    Anser__Client__Goodbye bye = ANSER__CLIENT__GOODBYE__INIT;

    bye.code = (uint32_t)err;
    bye.name = bytes(an_err_name(err));
    bye.text = bytes(an_err_text(err));
    bye.retry = retry;
    bye.retry_after_ms = retry_after_ms;
    mock_frame(conn, AN_COMMAND_GOODBYE, 0, 0, &bye.base);
    conn_close(conn);
}

uint64_t
mock_deliver(struct mock *mock, const char *from, const char *to, uint64_t seq,
             const char *text)
{
    Anser__Client__Event event = ANSER__CLIENT__EVENT__INIT;
    Anser__Client__Message message = ANSER__CLIENT__MESSAGE__INIT;
    struct mock_event *at = &mock->events[mock->event_count++];

    assert_true(mock->event_count <= MOCK_EVENTS);
    event.inbox_seq = ++mock->head;
    event.inbox_generation = mock->generation;
    event.message = &message;
    message.message_id = 1000 + event.inbox_seq;
    message.seq = seq;
    message.time_ms = mock->server_time_ms;
    message.from = bytes(from);
    message.to = bytes(to);
    message.from_device = bytes("d");
    message.type = 1;
    message.body = bytes(text);
    at->seq = event.inbox_seq;
    at->len = protobuf_c_message_get_packed_size(&event.base);
    at->data = malloc(at->len);
    assert_non_null(at->data);
    (void)protobuf_c_message_pack(&event.base, at->data);
    return event.inbox_seq;
}

void
mock_push(struct mock *mock, uint64_t inbox_seq)
{
    for (size_t i = 0; i < mock->event_count; i++) {
        struct mock_event *event = &mock->events[i];
        struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                                 .command = AN_COMMAND_EVENT,
                                 .body_len = (uint32_t)event->len};
        uint8_t header[AN_FRAME_HEADER_LEN];

        if (event->seq == (inbox_seq == 0 ? mock->head : inbox_seq)) {
            an_frame_put(header, &frame);
            mock_raw(mock_conn(mock), header, sizeof(header));
            mock_raw(mock_conn(mock), event->data, event->len);
        }
    }
}

void
mock_receipt(struct mock *mock, const char *peer, uint64_t seq,
             Anser__Client__ReceiptKind kind)
{
    Anser__Client__Receipt receipt = ANSER__CLIENT__RECEIPT__INIT;

    receipt.peer = bytes(peer);
    receipt.seq = seq;
    receipt.kind = kind;
    mock_frame(mock_conn(mock), AN_COMMAND_RECEIPT, 0, 0, &receipt.base);
}

/* ------------------------------------------------------------------ behaviour */

static void
do_login(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame)
{
    Anser__Client__LoginOk ok = ANSER__CLIENT__LOGIN_OK__INIT;

    ok.user = bytes(mock->user);
    ok.server_time_ms = mock->server_time_ms;
    ok.inbox_generation = mock->generation;
    ok.inbox_first = mock->first;
    ok.inbox_head = mock->head;
    ok.cursor = mock->cursor;
    ok.heartbeat_ms = mock->heartbeat_ms;
    ok.idle_ms = 30000;
    ok.body_len_max = mock->body_len_max;
    ok.frame_len_max = 69632;
    ok.sends_max = mock->sends_max;
    mock_answer(conn, frame, &ok.base);
}

static void
do_send(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
        const Anser__Client__Send *send)
{
    Anser__Client__SendOk ok = ANSER__CLIENT__SEND_OK__INIT;
    size_t i = 0;

    while (i < mock->id_count && memcmp(mock->ids[i].id, send->client_msg_id.data, 16)) {
        i++;
    }
    if (i == mock->id_count) {
        assert_true(++mock->id_count <= MOCK_IDS);
        memcpy(mock->ids[i].id, send->client_msg_id.data, 16);
        mock->ids[i].seq = i + 1;
        mock->ids[i].inbox_seq = mock->own_inbox ? ++mock->head : 0;
    }
    ok.client_msg_id = send->client_msg_id;
    ok.seq = mock->ids[i].seq;
    ok.message_id = 5000 + ok.seq;
    ok.time_ms = mock->server_time_ms;
    ok.inbox_seq = mock->ids[i].inbox_seq;
    mock_answer(conn, frame, &ok.base);
}

static void
do_sync(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
        const Anser__Client__Sync *sync)
{
    Anser__Client__SyncOk ok = ANSER__CLIENT__SYNC_OK__INIT;
    Anser__Client__Event *events[MOCK_EVENTS];

    for (size_t i = 0; i < mock->event_count && ok.n_events < mock->page; i++) {
        struct mock_event *event = &mock->events[i];
        if (event->seq > sync->after && event->seq >= mock->first) {
            events[ok.n_events++] =
                anser__client__event__unpack(NULL, event->len, event->data);
        }
    }
    ok.events = events;
    ok.head = mock->head;
    ok.first = mock->first;
    ok.inbox_generation = mock->generation;
    ok.completed = ok.n_events == 0 || events[ok.n_events - 1]->inbox_seq == mock->head;
    mock_answer(conn, frame, &ok.base);
    for (size_t i = 0; i < ok.n_events; i++) {
        anser__client__event__free_unpacked(events[i], NULL);
    }
}

static void
do_confirm(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
           const Anser__Client__Confirm *confirm)
{
    Anser__Client__ConfirmOk ok = ANSER__CLIENT__CONFIRM_OK__INIT;

    if (confirm->inbox_seq > mock->cursor) {
        mock->cursor = confirm->inbox_seq;
    }
    ok.inbox_seq = mock->cursor;
    mock_answer(conn, frame, &ok.base);
}

static void
do_history(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame)
{
    Anser__Client__HistoryOk ok = ANSER__CLIENT__HISTORY_OK__INIT;

    ok.completed = true;
    ok.peer_delivered = mock->peer_delivered;
    ok.head = mock->id_count;
    mock_answer(conn, frame, &ok.base);
}

static void
do_heartbeat(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame)
{
    Anser__Client__HeartbeatOk ok = ANSER__CLIENT__HEARTBEAT_OK__INIT;

    ok.server_time_ms = mock->server_time_ms;
    ok.inbox_generation = mock->generation;
    ok.inbox_head = mock->head;
    mock_answer(conn, frame, &ok.base);
}

static void
note(struct mock *mock, const struct mock_conn *conn, const struct an_frame *frame,
     const ProtobufCMessage *body)
{
    struct mock_seen *seen = &mock->seen[mock->seen_count++];
    ProtobufCBinaryData text = {0};

    assert_true(mock->seen_count <= MOCK_LOG);
    seen->conn = conn->number;
    seen->command = frame->command;
    seen->request = frame->request;
    seen->at_ms = mock->now_ms;
    if (frame->command == AN_COMMAND_SEND) {
        const Anser__Client__Send *send = (const void *)body;
        assert_int_equal(send->client_msg_id.len, 16);
        memcpy(seen->id, send->client_msg_id.data, 16);
        text = send->body;
    } else if (frame->command == AN_COMMAND_LOGIN) {
        text = ((const Anser__Client__Login *)(const void *)body)->token;
    } else if (frame->command == AN_COMMAND_CONFIRM) {
        seen->seq = ((const Anser__Client__Confirm *)(const void *)body)->inbox_seq;
    } else if (frame->command == AN_COMMAND_SYNC) {
        seen->seq = ((const Anser__Client__Sync *)(const void *)body)->after;
    }
    if (text.len > 0) {
        size_t len = text.len < sizeof(seen->text) ? text.len : sizeof(seen->text) - 1;
        memcpy(seen->text, text.data, len);
    }
}

static void
behave(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
       const void *body)
{
    Anser__Client__LogoutOk bye = ANSER__CLIENT__LOGOUT_OK__INIT;

    switch (frame->command) {
    case AN_COMMAND_LOGIN:
        do_login(mock, conn, frame);
        break;
    case AN_COMMAND_SEND:
        do_send(mock, conn, frame, body);
        break;
    case AN_COMMAND_SYNC:
        do_sync(mock, conn, frame, body);
        break;
    case AN_COMMAND_CONFIRM:
        do_confirm(mock, conn, frame, body);
        break;
    case AN_COMMAND_HISTORY:
        do_history(mock, conn, frame);
        break;
    case AN_COMMAND_HEARTBEAT:
        do_heartbeat(mock, conn, frame);
        break;
    case AN_COMMAND_LOGOUT:
        mock_answer(conn, frame, &bye.base);
        break;
    default:
        fail_msg("the client sent command %u", frame->command);
    }
}

static const ProtobufCMessageDescriptor *
kind_of(uint16_t command)
{
    switch (command) {
#define KIND(number, name, body, answer)                                                 \
    case number:                                                                         \
        return &anser__client__##body##__descriptor;
        AN_COMMANDS(KIND)
#undef KIND
    default:
        return NULL;
    }
}

/* ------------------------------------------------------------------ reading */

static void
handle(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
       const uint8_t *body)
{
    const ProtobufCMessageDescriptor *kind = kind_of(frame->command);
    ProtobufCMessage *in;

    assert_non_null(kind);
    in = protobuf_c_message_unpack(kind, NULL, frame->body_len, body);
    assert_non_null(in);
    note(mock, conn, frame, in);
    if (mock->on_frame == NULL || !mock->on_frame(mock, conn, frame, body)) {
        behave(mock, conn, frame, in);
    }
    protobuf_c_message_free_unpacked(in, NULL);
}

static void
take_frames(struct mock *mock, struct mock_conn *conn)
{
    struct an_frame frame;

    while (conn->fd >= 0 && conn->in_len >= AN_FRAME_HEADER_LEN) {
        size_t len;
        uint8_t *body;

        assert_int_equal(an_frame_get(&frame, conn->in, conn->in_len, 69632),
                         AN_FRAME_OK);
        len = AN_FRAME_HEADER_LEN + frame.body_len;
        if (conn->in_len < len) {
            return;
        }
        body = malloc(frame.body_len + 1u);
        assert_non_null(body);
        memcpy(body, conn->in + AN_FRAME_HEADER_LEN, frame.body_len);
        conn->in_len -= len;
        memmove(conn->in, conn->in + len, conn->in_len);
        handle(mock, conn, &frame, body);
        free(body);
    }
}

static bool
conn_step(struct mock *mock, struct mock_conn *conn)
{
    ssize_t n = recv(conn->fd, conn->in + conn->in_len, IN_CAP - conn->in_len, 0);

    if (n < 0 && errno == EAGAIN) {
        return false;
    }
    if (n <= 0) {
        conn_close(conn);
        return true;
    }
    conn->in_len += (size_t)n;
    take_frames(mock, conn);
    return true;
}

static bool
accept_one(struct mock *mock)
{
    int one = 1;
    int fd = accept4(mock->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        return false;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    for (int i = 0; i < MOCK_CONNS; i++) {
        if (mock->conns[i].fd < 0) {
            mock->conns[i].fd = fd;
            mock->conns[i].number = ++mock->accepted;
            mock->conns[i].in = malloc(IN_CAP);
            assert_non_null(mock->conns[i].in);
            return true;
        }
    }
    fail_msg("too many connections");
    return false;
}

bool
mock_step(struct mock *mock)
{
    bool busy = mock->listen_fd >= 0 && accept_one(mock);

    for (int i = 0; i < MOCK_CONNS; i++) {
        if (mock->conns[i].fd >= 0) {
            busy = conn_step(mock, &mock->conns[i]) || busy;
        }
    }
    return busy;
}

size_t
mock_seen(const struct mock *mock, uint16_t command)
{
    size_t count = 0;

    for (size_t i = 0; i < mock->seen_count; i++) {
        count += mock->seen[i].command == command ? 1 : 0;
    }
    return count;
}

const struct mock_seen *
mock_nth(const struct mock *mock, uint16_t command, size_t n)
{
    for (size_t i = 0; i < mock->seen_count; i++) {
        if (mock->seen[i].command == command && n-- == 0) {
            return &mock->seen[i];
        }
    }
    fail_msg("%s was not seen that often", an_command_name(command));
    return NULL;
}
