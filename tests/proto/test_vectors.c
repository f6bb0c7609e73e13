/* tests/vectors/frames.json, in both directions: what it describes packs to exactly its
 * bytes, and its bytes unpack to exactly what it describes. Every command, answer and
 * push is there.
 *
 *   test_proto_vectors --write    fills in the bytes: once, for a new vector. Bytes that
 *                                 are published never change. */
#include "core/err.h"
#include "json_message.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char path[] = VECTORS "/frames.json";

static const ProtobufCMessageDescriptor *
kind_of(unsigned command, unsigned flags)
{
    if ((flags & AN_FRAME_ERROR) != 0) {
        return &anser__client__error__descriptor;
    }
    switch (command << 1 | (flags & AN_FRAME_ANSWER)) {
#define REQUEST(number, name, body, answer)                                              \
    case (number) << 1:                                                                  \
        return &anser__client__##body##__descriptor;                                     \
    case (number) << 1 | 1:                                                              \
        return &anser__client__##answer##__descriptor;
#define PUSH(number, name, body)                                                         \
    case (number) << 1:                                                                  \
        return &anser__client__##body##__descriptor;
        AN_COMMANDS(REQUEST)
        AN_PUSHES(PUSH)
#undef REQUEST
#undef PUSH
    default:
        return NULL;
    }
}

static unsigned
integer(const json_t *vector, const char *name)
{
    return (unsigned)json_integer_value(json_object_get(vector, name));
}

/* The frame that a vector describes, in hexadecimal; from malloc(). */
static char *
frame_of(const json_t *vector)
{
    struct an_frame frame = {.codec = AN_CODEC_PROTOBUF,
                             .command = (uint16_t)integer(vector, "command"),
                             .flags = (uint16_t)integer(vector, "flags"),
                             .request = integer(vector, "request")};
    const ProtobufCMessageDescriptor *kind = kind_of(frame.command, frame.flags);
    uint8_t header[AN_FRAME_HEADER_LEN];
    uint8_t *body;
    size_t len = 0;
    char *hex;

    assert_non_null(kind);
    body = json_pack_message(json_object_get(vector, "body"), kind, &len);
    assert_non_null(body);
    frame.body_len = (uint32_t)len;
    an_frame_put(header, &frame);
    hex = malloc(2 * (sizeof(header) + len) + 1);
    assert_non_null(hex);
    for (size_t i = 0; i < sizeof(header) + len; i++) {
        uint8_t byte = i < sizeof(header) ? header[i] : body[i - sizeof(header)];
        (void)snprintf(hex + 2 * i, 3, "%02x", byte);
    }
    free(body);
    return hex;
}

static json_t *
load(void)
{
    json_error_t why;
    json_t *vectors = json_load_file(path, 0, &why);

    if (vectors == NULL) {
        fail_msg("%s:%d: %s", path, why.line, why.text);
    }
    return vectors;
}

static void
test_vectors_descriptions_pack_to_their_bytes(void **state)
{
    json_t *vectors = load(), *vector;
    size_t i;
    (void)state;

    json_array_foreach(vectors, i, vector)
    {
        char *hex = frame_of(vector);
        assert_string_equal(hex, json_string_value(json_object_get(vector, "hex")));
        free(hex);
    }
    json_decref(vectors);
}

static size_t
unhex(uint8_t *out, size_t cap, const char *hex)
{
    size_t len = strlen(hex) / 2;

    assert_true(len <= cap);
    for (size_t i = 0; i < len; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return len;
}

static void
test_vectors_bytes_unpack_to_their_descriptions(void **state)
{
    json_t *vectors = load(), *vector;
    size_t i;
    (void)state;

    json_array_foreach(vectors, i, vector)
    {
        uint8_t bytes[4096];
        size_t len = unhex(bytes, sizeof(bytes),
                           json_string_value(json_object_get(vector, "hex")));
        struct an_frame frame;
        json_t *body;
        assert_int_equal(an_frame_get(&frame, bytes, len, sizeof(bytes)), AN_FRAME_OK);
        assert_int_equal(frame.command, integer(vector, "command"));
        assert_int_equal(frame.flags, integer(vector, "flags"));
        assert_int_equal(frame.request, integer(vector, "request"));
        assert_int_equal(frame.body_len, len - AN_FRAME_HEADER_LEN);
        body = json_of_message(bytes + AN_FRAME_HEADER_LEN, frame.body_len,
                               kind_of(frame.command, frame.flags));
        assert_non_null(body);
        if (!json_equal(body, json_object_get(vector, "body"))) {
            fail_msg("%s: %s", json_string_value(json_object_get(vector, "name")),
                     json_dumps(body, 0));
        }
        json_decref(body);
    }
    json_decref(vectors);
}

static bool
covered(const json_t *vectors, unsigned command, unsigned flags)
{
    size_t i;
    json_t *vector;

    json_array_foreach(vectors, i, vector)
    {
        if (integer(vector, "command") == command && integer(vector, "flags") == flags) {
            return true;
        }
    }
    return false;
}

static void
test_vectors_every_command_answer_and_push_is_there(void **state)
{
    json_t *vectors = load();
    (void)state;

#define REQUEST(number, name, body, answer)                                              \
    assert_true(covered(vectors, number, 0));                                            \
    assert_true(covered(vectors, number, AN_FRAME_ANSWER));
#define PUSH(number, name, body) assert_true(covered(vectors, number, 0));
    AN_COMMANDS(REQUEST)
    AN_PUSHES(PUSH)
#undef REQUEST
#undef PUSH
    assert_true(covered(vectors, AN_COMMAND_SEND, AN_FRAME_ANSWER | AN_FRAME_ERROR));
    json_decref(vectors);
}

/* A client of today reads what a server of tomorrow adds. */
static void
test_vectors_unknown_fields_are_passed_over(void **state)
{
    static const uint8_t more[] = {0x0a, 1,    'b',  0x10, 7, 0x18, 1,   0x98,
                                   6,    0x63, 0xa2, 6,    3, 'x',  'y', 'z'};
    Anser__Client__Receipt *in;
    (void)state;

    in = anser__client__receipt__unpack(NULL, sizeof(more), more);
    assert_non_null(in);
    assert_int_equal(in->seq, 7);
    anser__client__receipt__free_unpacked(in, NULL);
}

static int
write_bytes(void)
{
    json_t *vectors = load(), *vector;
    size_t i;

    json_array_foreach(vectors, i, vector)
    {
        char *hex = frame_of(vector);
        json_object_set_new(vector, "hex", json_string(hex));
        free(hex);
    }
    return json_dump_file(vectors, path, JSON_INDENT(2)) == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_descriptions_pack_to_their_bytes),
        cmocka_unit_test(test_vectors_bytes_unpack_to_their_descriptions),
        cmocka_unit_test(test_vectors_every_command_answer_and_push_is_there),
        cmocka_unit_test(test_vectors_unknown_fields_are_passed_over),
    };
    if (argc > 1 && strcmp(argv[1], "--write") == 0) {
        return write_bytes();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
