/* Fuzzing how messages are packed and unpacked: the first byte chooses a message of the
 * bus, of clients or of the store, the second how much memory there is, the rest is its
 * bytes. core/wire.h must say of them what protobuf-c says, and pack what came to the
 * same bytes; with little memory it may refuse, and then says why. */
#include "core/wire.h"
#include "proto/client.pb-c.h"
#include "proto/frame.h"
#include "proto/kinds.h"
#include "proto/stored.pb-c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { ARENA_MAX = 16 << 20, ARENA_MIN = 256 };

static const ProtobufCMessageDescriptor *const others[] = {
#define REQUEST(number, command, body, answer)                                           \
    &anser__client__##body##__descriptor, &anser__client__##answer##__descriptor,
#define PUSH(number, command, body) &anser__client__##body##__descriptor,
    AN_COMMANDS(REQUEST) AN_PUSHES(PUSH)
#undef REQUEST
#undef PUSH
        & anser__client__error__descriptor,
    &anser__stored__conversation__descriptor,
    &anser__stored__message__descriptor,
    &anser__stored__dedupe__descriptor,
    &anser__stored__inbox_entry__descriptor,
    &anser__stored__account__descriptor,
    &anser__stored__device_session__descriptor,
    &anser__stored__outgoing__descriptor,
};

static const ProtobufCMessageDescriptor *
kind_of(uint8_t choice)
{
    size_t i = choice % (AN_KIND_BUS_COUNT - 1 + sizeof(others) / sizeof(others[0]));

    return i < AN_KIND_BUS_COUNT - 1 ? an_kind_row((unsigned)i + 1)->body
                                     : others[i - (AN_KIND_BUS_COUNT - 1)];
}

/* As protobuf-c packs it; freed by the caller. */
static uint8_t *
packed(const ProtobufCMessage *message, size_t *len)
{
    uint8_t *out;

    *len = protobuf_c_message_get_packed_size(message);
    out = malloc(*len + 1);
    assert(out != NULL);
    assert(protobuf_c_message_pack(message, out) == *len);
    return out;
}

static void
check_pack(const ProtobufCMessage *message, const uint8_t *expected, size_t len)
{
    struct an_arena arena;
    ProtobufCBinaryData kept;
    /* Its writer wants room for the longest tag and number before each, so more than len
     * may be needed; never less. */
    size_t room = 2 * len + 64;
    uint8_t *out = malloc(room);
    size_t got;

    assert(out != NULL);
    got = an_wire_pack(message, out, out + room);
    assert(got == len || got == AN_WIRE_NO_ROOM);
    assert(got != len || memcmp(out + room - len, expected, len) == 0);
    assert(an_wire_pack_at(message, out, len) == len);
    assert(memcmp(out, expected, len) == 0);
    if (len > 0) {
        assert(an_wire_pack(message, out, out + len - 1) == AN_WIRE_NO_ROOM);
        assert(an_wire_pack_at(message, out, len - 1) == AN_WIRE_NO_ROOM);
    }
    free(out);
    an_arena_init(&arena, ARENA_MAX);
    assert(an_wire_pack_in(message, &arena, &kept));
    assert(kept.len == len && memcmp(kept.data, expected, len) == 0);
    an_arena_fini(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const ProtobufCMessageDescriptor *kind;
    ProtobufCMessage *ours, *theirs;
    struct an_arena arena, other;
    uint8_t *one, *two;
    size_t one_len, two_len;
    bool little;

    if (len < 2) {
        return 0;
    }
    kind = kind_of(data[0]);
    little = data[1] % 4 == 0;
    an_arena_init(&arena, little ? ARENA_MIN + 32u * data[1] : ARENA_MAX);
    an_arena_init(&other, ARENA_MAX);
    ours = an_wire_unpack(kind, &arena, data + 2, len - 2);
    theirs = protobuf_c_message_unpack(kind, an_arena_pb(&other), len - 2, data + 2);
    if (ours == NULL) {
        assert(theirs == NULL || (little && an_arena_exhausted(&arena)));
    } else {
        assert(theirs != NULL);
        one = packed(ours, &one_len);
        two = packed(theirs, &two_len);
        assert(one_len == two_len && memcmp(one, two, one_len) == 0);
        check_pack(ours, one, one_len);
        free(one);
        free(two);
    }
    an_arena_fini(&arena);
    an_arena_fini(&other);
    return 0;
}
