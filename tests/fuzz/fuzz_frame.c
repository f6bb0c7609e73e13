/* Fuzzing what the gate reads of strangers: the input is a client's byte stream. Each
 * frame's header is judged at every prefix (what was bad stays bad, what was good stays
 * good), put back byte by byte, and its body is unpacked as its command's message within
 * the gate's bound of memory. The same bytes are then read as a bus message. */
#include "core/actor.h"
#include "core/limits.h"
#include "proto/client.pb-c.h"
#include "proto/envelope.h"
#include "proto/names.h"
#include "proto/utf8.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const ProtobufCMessageDescriptor *
descriptor(const struct an_frame *frame)
{
    if ((frame->flags & AN_FRAME_ERROR) != 0) {
        return &anser__client__error__descriptor;
    }
    switch (frame->command) {
#define REQUEST(number, command, body, answer)                                           \
    case number:                                                                         \
        return (frame->flags & AN_FRAME_ANSWER) == 0                                     \
                   ? &anser__client__##body##__descriptor                                \
                   : &anser__client__##answer##__descriptor;
#define PUSH(number, command, body)                                                      \
    case number:                                                                         \
        return &anser__client__##body##__descriptor;
        AN_COMMANDS(REQUEST)
        AN_PUSHES(PUSH)
#undef REQUEST
#undef PUSH
    }
    return NULL;
}

/* What unpacks also packs. (It need not unpack again: protobuf-c keeps an unknown field
 * whose tag is an overlong zero and packs it as a short one, which it refuses.) */
static void
body(const struct an_frame *frame, const uint8_t *data)
{
    const ProtobufCMessageDescriptor *kind = descriptor(frame);
    struct an_arena arena = {0};
    ProtobufCMessage *message = NULL;

    if (kind == NULL) {
        return;
    }
    an_arena_init(&arena, 4u * AN_FRAME_LEN_MAX);
    message = protobuf_c_message_unpack(kind, an_arena_pb(&arena), frame->body_len, data);
    if (message != NULL) {
        size_t packed_len = protobuf_c_message_get_packed_size(message);
        uint8_t *packed = malloc(packed_len + 1);
        assert(packed != NULL);
        assert(protobuf_c_message_pack(message, packed) == packed_len);
        free(packed);
    }
    an_arena_fini(&arena);
}

static enum an_frame_state
judge(struct an_frame *frame, const uint8_t *data, size_t len)
{
    enum an_frame_state whole = an_frame_get(frame, data, len, AN_FRAME_LEN_MAX);
    size_t head = len < AN_FRAME_HEADER_LEN ? len : AN_FRAME_HEADER_LEN;

    for (size_t i = 0; i < head; i++) {
        struct an_frame part;
        enum an_frame_state state = an_frame_get(&part, data, i, AN_FRAME_LEN_MAX);
        assert(state == AN_FRAME_MORE || state == whole);
        assert(state != AN_FRAME_OK);
    }
    return whole;
}

static void
stream(const uint8_t *data, size_t len)
{
    while (len > 0) {
        struct an_frame frame;
        uint8_t header[AN_FRAME_HEADER_LEN];
        if (judge(&frame, data, len) != AN_FRAME_OK) {
            return;
        }
        an_frame_put(header, &frame);
        assert(an_command_name(frame.command)[0] != '\0');
        assert(memcmp(header, data, sizeof(header)) == 0);
        data += AN_FRAME_HEADER_LEN;
        len -= AN_FRAME_HEADER_LEN;
        if (frame.body_len > len) {
            return;
        }
        body(&frame, data);
        data += frame.body_len;
        len -= frame.body_len;
    }
}

static void
bus(const uint8_t *data, size_t len)
{
    struct an_envelope envelope;
    uint8_t header[AN_ENVELOPE_LEN];
    const char *why = NULL;

    if (an_envelope_get(&envelope, data, len, &why)) {
        assert(envelope.body_len == len - AN_ENVELOPE_LEN);
        an_envelope_put(header, &envelope);
        assert(memcmp(header, data, sizeof(header)) == 0);
    } else {
        assert(why != NULL);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    stream(data, len);
    bus(data, len);
    for (unsigned i = 0; i < AN_PLATFORM_COUNT; i++) {
        const char *name = an_platform_name(i);

        assert(an_platform_find((const uint8_t *)name, strlen(name)) == i);
    }
    assert(an_platform_find(data, len) <= AN_PLATFORM_COUNT);
    if (an_name_valid(data, len)) {
        assert(an_utf8_valid(data, len) && len <= AN_NAME_LEN_MAX);
    }
    assert(!an_name_new(data, len) || an_name_valid(data, len));
    assert(!an_nick_valid(data, len) || an_utf8_valid(data, len));
    return 0;
}
