/* What the server says in JSON when a row is not what it should be. */
#include "actors/gate/gate_json.h"
#include "proto/client.pb-c.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

static ProtobufCBinaryData
bytes_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static json_t *
out_of(uint16_t command, uint8_t flags, const ProtobufCMessage *message)
{
    static uint8_t data[4096];
    struct an_frame frame = {
        .codec = AN_CODEC_PROTOBUF, .command = command, .flags = flags};
    size_t len = 0;
    json_t *root;
    char *text;

    frame.body_len = (uint32_t)protobuf_c_message_get_packed_size(message);
    assert_true(AN_FRAME_HEADER_LEN + frame.body_len <= sizeof(data));
    an_frame_put(data, &frame);
    protobuf_c_message_pack(message, data + AN_FRAME_HEADER_LEN);
    text = gate_json_out(data, AN_FRAME_HEADER_LEN + frame.body_len, &len);
    assert_non_null(text);
    assert_int_equal(strlen(text), len);
    root = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    assert_non_null(root);
    free(text);
    return root;
}

static const char *
member(const json_t *from, const char *name)
{
    return json_string_value(json_object_get(from, name));
}

static const char *const no_text[] = {
    "\xd6\xd0\xce\xc4",    "\xed\xa0\x80", "\xc0\xaf",
    "good, and then \xff", "\xe4\xbd",     "\xf4\x90\x80\x80",
};

static void
test_json_a_text_that_is_none_comes_in_base64(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(no_text) / sizeof(no_text[0]); i++) {
        Anser__Client__Message message = ANSER__CLIENT__MESSAGE__INIT;
        Anser__Client__Event event = ANSER__CLIENT__EVENT__INIT;
        const json_t *said;
        json_t *root;

        message.from = bytes_of("system");
        message.type = 1;
        message.body = bytes_of(no_text[i]);
        event.inbox_seq = 7;
        event.message = &message;
        root = out_of(AN_COMMAND_EVENT, 0, &event.base);
        said = json_object_get(json_object_get(root, "body"), "message");
        assert_string_equal(member(said, "from"), "system");
        assert_null(json_object_get(said, "body"));
        assert_non_null(member(said, "body_base64"));
        assert_true(i != 0 || strcmp(member(said, "body_base64"), "1tDOxA==") == 0);
        json_decref(root);
    }
}

static void
test_json_a_page_with_such_a_row_has_the_others(void **state)
{
    Anser__Client__Message messages[2] = {ANSER__CLIENT__MESSAGE__INIT,
                                          ANSER__CLIENT__MESSAGE__INIT};
    Anser__Client__Event events[2] = {ANSER__CLIENT__EVENT__INIT,
                                      ANSER__CLIENT__EVENT__INIT};
    Anser__Client__Event *list[2] = {&events[0], &events[1]};
    Anser__Client__SyncOk page = ANSER__CLIENT__SYNC_OK__INIT;
    const json_t *said;
    json_t *root;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        messages[i].type = 1;
        messages[i].body = bytes_of(i == 0 ? no_text[0] : "three");
        events[i].inbox_seq = i + 1;
        events[i].message = &messages[i];
    }
    page.n_events = 2;
    page.events = list;
    root = out_of(AN_COMMAND_SYNC, AN_FRAME_ANSWER, &page.base);
    said = json_object_get(json_object_get(root, "body"), "events");
    assert_int_equal(json_array_size(said), 2);
    said = json_object_get(json_array_get(said, 1), "message");
    assert_string_equal(member(said, "body"), "three");
    assert_null(json_object_get(said, "body_base64"));
    json_decref(root);
}

/* Any text: names too. */
static void
test_json_every_text_may_be_bytes(void **state)
{
    Anser__Client__Goodbye goodbye = ANSER__CLIENT__GOODBYE__INIT;
    json_t *root, *said;

    (void)state;
    goodbye.name = bytes_of("\xff");
    goodbye.text = bytes_of("\xe4\xbd\xa0");
    root = out_of(AN_COMMAND_GOODBYE, 0, &goodbye.base);
    said = json_object_get(root, "body");
    assert_null(json_object_get(said, "name"));
    assert_string_equal(member(said, "name_base64"), "/w==");
    assert_string_equal(member(said, "text"), "\xe4\xbd\xa0");
    json_decref(root);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_a_text_that_is_none_comes_in_base64),
        cmocka_unit_test(test_json_a_page_with_such_a_row_has_the_others),
        cmocka_unit_test(test_json_every_text_may_be_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
