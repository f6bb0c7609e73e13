/* Receiving: order, holes, repetitions, pages, pauses, confirms, the cursor file. */
#include "rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void
fill(struct rig *rig, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "m%u", i + 1);
        mock_deliver(&rig->mock, "bob", "alice", i + 1, text);
    }
}

/* Everything from first on was handed over once, in order. */
static void
assert_in_order(const struct rig *rig, uint64_t first, size_t count)
{
    assert_int_equal(rig->message_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rig->messages[i].inbox_seq, first + i);
    }
}

static void
test_inbox_backlog_comes_in_pages_and_is_confirmed(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    fill(&rig, 250);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    assert_in_order(&rig, 1, 250);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SYNC), 3);
    rig_advance(&rig, 50);
    assert_true(rig_until(&rig, rig_flushed));
    assert_int_equal(rig.mock.cursor, 250);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_CONFIRM), 1); /* one for all */
    rig_fini(&rig);
}

static void
test_inbox_r10_pushes_out_of_order_are_handed_over_in_order_once(void **state)
{
    static struct rig rig;
    static const uint64_t pushes[] = {1, 3, 3, 2, 1, 5, 4, 2};
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig.mock.page = 0; /* Sync brings nothing: the pushes alone must do */
    fill(&rig, 5);
    for (size_t i = 0; i < sizeof(pushes) / sizeof(pushes[0]); i++) {
        mock_push(&rig.mock, pushes[i]);
    }
    rig_settle(&rig);
    assert_in_order(&rig, 1, 5);
    rig_fini(&rig);
}

static void
test_inbox_r10_hole_is_asked_for(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    fill(&rig, 4);
    mock_push(&rig.mock, 1);
    rig_settle(&rig);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SYNC), 0);
    mock_push(&rig.mock, 4); /* 2 and 3 were lost */
    rig_settle(&rig);
    assert_in_order(&rig, 1, 4);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SYNC), 1);
    assert_int_equal(mock_nth(&rig.mock, AN_COMMAND_SYNC, 0)->seq, 1);
    rig_fini(&rig);
}

static void
test_inbox_lost_last_push_is_healed_by_the_heartbeat(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    fill(&rig, 2);
    rig_settle(&rig);
    assert_int_equal(rig.message_count, 0);
    rig_advance(&rig, 10000);
    assert_in_order(&rig, 1, 2);
    rig_fini(&rig);
}

static void
test_inbox_own_messages_fill_their_places(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.mock.own_inbox = true;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_send(&rig, "bob", "one");
    rig_send(&rig, "bob", "two");
    rig_settle(&rig);
    mock_deliver(&rig.mock, "bob", "alice", 3, "answer");
    mock_push(&rig.mock, 0);
    rig_settle(&rig);
    assert_in_order(&rig, 3, 1);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SYNC), 0);
    rig_advance(&rig, 50);
    rig_settle(&rig);
    assert_int_equal(rig.mock.cursor, 3);
    rig_fini(&rig);
}

/* The sender's inbox is on another store than the message: SendOk names no entry, and it
 * comes as an Event, after or before. The program hears of the message once. */
static void
event_of_own(struct rig *rig, uint64_t inbox_seq, uint64_t seq, const uint8_t *id)
{
    Anser__Client__Event event = ANSER__CLIENT__EVENT__INIT;
    Anser__Client__Message message = ANSER__CLIENT__MESSAGE__INIT;

    event.inbox_seq = inbox_seq;
    event.inbox_generation = rig->mock.generation;
    event.message = &message;
    message.message_id = 1000 + seq;
    message.seq = seq;
    message.from = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "alice"};
    message.to = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "bob"};
    message.from_device.data = (uint8_t *)(uintptr_t)rig->options.device;
    message.from_device.len = strlen(rig->options.device);
    message.client_msg_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)id};
    message.type = 1;
    message.body = (ProtobufCBinaryData){3, (uint8_t *)(uintptr_t) "own"};
    mock_frame(mock_conn(&rig->mock), AN_COMMAND_EVENT, 0, 0, &event.base);
    rig_settle(rig);
}

static bool
leave_sends(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
            const uint8_t *body)
{
    (void)mock;
    (void)conn;
    (void)body;
    return frame->command == AN_COMMAND_SEND;
}

static void
test_inbox_own_message_as_event_is_told_once(void **state)
{
    static struct rig rig;
    uint8_t foreign[16] = {1};
    (void)state;

    rig_init(&rig);
    rig.mock.generation = 7;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_send(&rig, "bob", "one");
    rig_send(&rig, "bob", "two");
    rig_settle(&rig);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_SENT), 1);
    event_of_own(&rig, 1, 1, mock_nth(&rig.mock, AN_COMMAND_SEND, 0)->id);
    event_of_own(&rig, 2, 2, mock_nth(&rig.mock, AN_COMMAND_SEND, 1)->id);
    assert_int_equal(rig.message_count, 0);
    /* Overtakes the answer. */
    rig.mock.on_frame = leave_sends;
    rig_send(&rig, "bob", "three");
    rig_settle(&rig);
    event_of_own(&rig, 3, 3, mock_nth(&rig.mock, AN_COMMAND_SEND, 2)->id);
    assert_int_equal(rig.message_count, 0);
    /* An earlier run's, whose answer nobody saw. */
    event_of_own(&rig, 4, 4, foreign);
    assert_int_equal(rig.message_count, 1);
    assert_true(rig.messages[0].own_device);
    assert_int_equal(rig.messages[0].inbox_seq, 4);
    rig_fini(&rig);
}

static void
note_event(struct rig *rig, uint64_t seq, const uint8_t id[16])
{
    Anser__Client__Event event = ANSER__CLIENT__EVENT__INIT;
    Anser__Client__Message message = ANSER__CLIENT__MESSAGE__INIT;

    event.inbox_seq = seq;
    event.inbox_generation = 7;
    event.message = &message;
    message.seq = seq;
    message.message_id = 1;
    message.from = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "alice"};
    message.to = message.from;
    message.from_device = (ProtobufCBinaryData){
        strlen(rig->options.device), (uint8_t *)(uintptr_t)rig->options.device};
    message.client_msg_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)id};
    message.type = 1;
    message.body = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "note"};
    mock_frame(mock_conn(&rig->mock), AN_COMMAND_EVENT, 0, 0, &event.base);
    rig_settle(rig);
}

/* The answer may name its entry: it comes as an Event all the same, and is handed out. */
static void
test_inbox_note_to_oneself_is_handed_out(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.mock.generation = 7;
    rig.mock.own_inbox = true;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_send(&rig, "alice", "note");
    rig_settle(&rig);
    assert_int_equal(rig_told(&rig, 1, ANSER_SEND_SENT), 1);
    assert_int_equal(rig.message_count, 0);
    note_event(&rig, 1, mock_nth(&rig.mock, AN_COMMAND_SEND, 0)->id);
    assert_int_equal(rig.message_count, 1);
    assert_true(rig.messages[0].own_device);
    note_event(&rig, 1, mock_nth(&rig.mock, AN_COMMAND_SEND, 0)->id); /* twice: once */
    assert_int_equal(rig.message_count, 1);
    /* Overtakes the answer. */
    rig.mock.on_frame = leave_sends;
    rig_send(&rig, "alice", "note");
    rig_settle(&rig);
    note_event(&rig, 2, mock_nth(&rig.mock, AN_COMMAND_SEND, 1)->id);
    assert_int_equal(rig.message_count, 2);
    assert_in_order(&rig, 1, 2);
    rig_fini(&rig);
}

/* An empty inbox has no generation yet; the first entries are this device's own, of which
 * only numbers are told. What the first event says then is no other inbox. */
static void
test_inbox_own_messages_before_the_generation_is_known_are_no_reset(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.mock.own_inbox = true;
    rig.mock.generation = 0;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_send(&rig, "bob", "one");
    rig_settle(&rig);
    rig.mock.generation = 7;
    mock_deliver(&rig.mock, "bob", "alice", 2, "answer");
    mock_push(&rig.mock, 0);
    rig_settle(&rig);
    assert_int_equal(rig.gaps, 0);
    assert_in_order(&rig, 2, 1);
    rig_fini(&rig);
}

static void
test_inbox_echo_from_another_device_is_flagged(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    mock_deliver(&rig.mock, "alice", "bob", 1, "from my phone");
    mock_push(&rig.mock, 0);
    rig_settle(&rig);
    assert_int_equal(rig.message_count, 1);
    assert_true(rig.messages[0].own);
    assert_false(rig.messages[0].own_device);
    rig_fini(&rig);
}

static void
test_inbox_refused_message_pauses_and_comes_again(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.take = 2;
    fill(&rig, 600); /* more than is held back */
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    rig_advance(&rig, 60);
    assert_in_order(&rig, 1, 2);
    assert_int_equal(rig.mock.cursor, 2); /* exactly what was taken */
    rig.take = SIZE_MAX;
    anser_client_resume(rig.client);
    rig_settle(&rig);
    assert_in_order(&rig, 1, 600);
    rig_fini(&rig);
}

static void
test_inbox_trimmed_entries_are_told_as_a_gap(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    fill(&rig, 10);
    rig.mock.first = 6;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    assert_int_equal(rig.gaps, 1);
    assert_int_equal(rig.gap_from, 1);
    assert_int_equal(rig.gap_to, 5);
    assert_in_order(&rig, 6, 5);
    rig_fini(&rig);
}

static void
test_inbox_another_generation_begins_anew(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    fill(&rig, 5);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    rig_advance(&rig, 60);
    for (size_t i = 0; i < rig.mock.event_count; i++) {
        free(rig.mock.events[i].data);
    }
    rig.mock.event_count = 0; /* an older backup was put back */
    rig.mock.head = 0;
    rig.mock.generation = 9;
    rig.mock.cursor = 0;
    rig.message_count = 0;
    fill(&rig, 2);
    mock_push(&rig.mock, 2);
    rig_settle(&rig);
    rig_advance(&rig, 1000);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    assert_int_equal(rig.resets, 1);
    assert_in_order(&rig, 1, 2);
    rig_fini(&rig);
}

static char folder[] = "/tmp/anser-cursor-XXXXXX";
static char cursor_path[64];

static int
make_folder(void **state)
{
    (void)state;
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 7);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(cursor_path, sizeof(cursor_path), "%s/cursor", folder);
    return 0;
}

static int
drop_folder(void **state)
{
    (void)state;
    (void)unlink(cursor_path);
    return rmdir(folder);
}

static bool
swallow_confirms(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
                 const uint8_t *body)
{
    (void)mock;
    (void)conn;
    (void)body;
    return frame->command == AN_COMMAND_CONFIRM;
}

/* The server never hears of the confirms: the file alone must prevent the repetition. */
static void
test_inbox_q2_cursor_file_makes_a_restart_repeat_nothing(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.options.cursor_path = cursor_path;
    rig.mock.on_frame = swallow_confirms;
    fill(&rig, 5);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    rig_advance(&rig, 60);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_CONFIRM), 1);
    assert_int_equal(rig.mock.cursor, 0);
    rig.mock.on_frame = NULL;
    rig_restart(&rig);
    mock_deliver(&rig.mock, "bob", "alice", 6, "new");
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    rig_advance(&rig, 60);
    assert_in_order(&rig, 1, 6); /* each once over both runs */
    assert_int_equal(rig.mock.cursor, 6);
    assert_int_equal(rig.warnings, 0);
    rig_fini(&rig);
}

static void
test_inbox_damaged_cursor_file_is_ignored_with_a_warning(void **state)
{
    static struct rig rig;
    FILE *file;
    (void)state;

    rig_init(&rig);
    rig.options.cursor_path = cursor_path;
    fill(&rig, 3);
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    rig_advance(&rig, 60);
    file = fopen(cursor_path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -8, SEEK_END), 0);
    assert_int_not_equal(fputc('!', file), EOF);
    assert_int_equal(fclose(file), 0);
    rig.mock.cursor = 2;
    rig.message_count = 0;
    rig_restart(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    assert_int_equal(rig.warnings, 1);
    assert_in_order(&rig, 3, 1); /* from the server's cursor */
    rig_fini(&rig);
}

static void
test_inbox_server_ahead_of_the_file_wins(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.options.cursor_path = cursor_path;
    fill(&rig, 5);
    rig.take = 2;
    rig_start(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    rig_advance(&rig, 60);
    rig.mock.cursor = 4;
    rig.message_count = 0;
    rig.take = SIZE_MAX;
    rig_restart(&rig);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    assert_in_order(&rig, 5, 1);
    rig_fini(&rig);
}

static bool
busy_once(struct mock *mock, struct mock_conn *conn, const struct an_frame *frame,
          const uint8_t *body)
{
    (void)body;
    if (frame->command != AN_COMMAND_CONFIRM && frame->command != AN_COMMAND_SYNC &&
        frame->command != AN_COMMAND_HISTORY) {
        return false;
    }
    if ((mock->counter & 1u << frame->command) != 0) {
        return false;
    }
    mock->counter |= 1u << frame->command;
    mock_refuse(conn, frame, AN_ERR_BUSY, 2000);
    return true;
}

static void
count_page(void *arg, const struct anser_page *page)
{
    assert_int_equal(page->error.code, ANSER_OK);
    assert_string_equal(page->peer, "bob");
    ++*(unsigned *)arg;
}

static void
test_inbox_busy_sync_confirm_and_history_are_asked_again(void **state)
{
    static struct rig rig;
    struct anser_query query = {.peer = "bob"};
    unsigned pages = 0;
    (void)state;

    rig_init(&rig);
    rig.mock.on_frame = busy_once;
    fill(&rig, 2);
    rig_start(&rig);
    assert_int_equal(anser_client_history(rig.client, &query, count_page, &pages),
                     ANSER_OK);
    assert_true(rig_until(&rig, rig_online));
    rig_settle(&rig);
    rig_advance(&rig, 1999);
    assert_int_equal(rig.message_count, 0);
    assert_int_equal(pages, 0);
    rig_advance(&rig, 1);
    assert_in_order(&rig, 1, 2);
    assert_int_equal(pages, 1);
    rig_advance(&rig, 50);
    rig_advance(&rig, 2000);
    assert_int_equal(rig.mock.cursor, 2);
    rig_fini(&rig);
}

static void
test_inbox_send_only_client_receives_and_confirms_nothing(void **state)
{
    static struct rig rig;
    (void)state;

    rig_init(&rig);
    rig.options.send_only = true;
    fill(&rig, 3);
    rig_start(&rig);
    rig_send(&rig, "bob", "x");
    assert_true(rig_until(&rig, rig_flushed));
    rig_advance(&rig, 10000);
    assert_int_equal(rig.message_count, 0);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_SYNC), 0);
    assert_int_equal(mock_seen(&rig.mock, AN_COMMAND_CONFIRM), 0);
    rig_fini(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inbox_backlog_comes_in_pages_and_is_confirmed),
        cmocka_unit_test(
            test_inbox_r10_pushes_out_of_order_are_handed_over_in_order_once),
        cmocka_unit_test(test_inbox_r10_hole_is_asked_for),
        cmocka_unit_test(test_inbox_lost_last_push_is_healed_by_the_heartbeat),
        cmocka_unit_test(test_inbox_own_messages_fill_their_places),
        cmocka_unit_test(test_inbox_own_message_as_event_is_told_once),
        cmocka_unit_test(test_inbox_note_to_oneself_is_handed_out),
        cmocka_unit_test(
            test_inbox_own_messages_before_the_generation_is_known_are_no_reset),
        cmocka_unit_test(test_inbox_echo_from_another_device_is_flagged),
        cmocka_unit_test(test_inbox_refused_message_pauses_and_comes_again),
        cmocka_unit_test(test_inbox_trimmed_entries_are_told_as_a_gap),
        cmocka_unit_test(test_inbox_another_generation_begins_anew),
        cmocka_unit_test_setup_teardown(
            test_inbox_q2_cursor_file_makes_a_restart_repeat_nothing, make_folder,
            drop_folder),
        cmocka_unit_test_setup_teardown(
            test_inbox_damaged_cursor_file_is_ignored_with_a_warning, make_folder,
            drop_folder),
        cmocka_unit_test_setup_teardown(test_inbox_server_ahead_of_the_file_wins,
                                        make_folder, drop_folder),
        cmocka_unit_test(test_inbox_busy_sync_confirm_and_history_are_asked_again),
        cmocka_unit_test(test_inbox_send_only_client_receives_and_confirms_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
