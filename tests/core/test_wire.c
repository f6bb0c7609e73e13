/* Packing and unpacking beside protobuf-c's: whatever the message, whatever the bytes,
 * the same comes of both. */
#include "core/wire.h"
#include "proto/bus.pb-c.h"
#include "proto/client.pb-c.h"
#include "proto/kinds.h"
#include "proto/stored.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROUNDS = 80, BYTES_MAX = 1 << 20, KINDS_MAX = 128, ARENA_MAX = 16 << 20 };

/* ------------------------------------------------------------------ chance */

static uint64_t state_of_chance;

static uint64_t
chance(void)
{
    uint64_t z = state_of_chance += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t
below(uint64_t bound)
{
    return chance() % bound;
}

/* Every length of a varint comes. */
static uint64_t
number(void)
{
    return below(4) == 0 ? 0 : chance() >> below(64);
}

/* ------------------------------------------------------------------ messages */

static const ProtobufCMessageDescriptor *kinds[KINDS_MAX];
static size_t kind_count;

/* The message and everything in it, each once. */
static void
note_kind(const ProtobufCMessageDescriptor *kind)
{
    for (size_t i = 0; i < kind_count; i++) {
        if (kinds[i] == kind) {
            return;
        }
    }
    assert_true(kind_count < KINDS_MAX);
    kinds[kind_count++] = kind;
    for (unsigned i = 0; i < kind->n_fields; i++) {
        if (kind->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            note_kind(kind->fields[i].descriptor);
        }
    }
}

static int
note_all(void **state)
{
    (void)state;

    for (unsigned kind = 1; kind < AN_KIND_BUS_COUNT; kind++) {
        note_kind(an_kind_row(kind)->body);
    }
    note_kind(&anser__client__login__descriptor);
    note_kind(&anser__client__login_ok__descriptor);
    note_kind(&anser__client__heartbeat__descriptor);
    note_kind(&anser__client__send__descriptor);
    note_kind(&anser__client__send_ok__descriptor);
    note_kind(&anser__client__confirm__descriptor);
    note_kind(&anser__client__sync_ok__descriptor);
    note_kind(&anser__client__history_ok__descriptor);
    note_kind(&anser__client__receipt__descriptor);
    note_kind(&anser__client__error__descriptor);
    note_kind(&anser__client__goodbye__descriptor);
    note_kind(&anser__stored__conversation__descriptor);
    note_kind(&anser__stored__message__descriptor);
    note_kind(&anser__stored__dedupe__descriptor);
    note_kind(&anser__stored__inbox_entry__descriptor);
    note_kind(&anser__stored__account__descriptor);
    note_kind(&anser__stored__device_session__descriptor);
    note_kind(&anser__stored__outgoing__descriptor);
    return 0;
}

static ProtobufCMessage *make(struct an_arena *arena,
                              const ProtobufCMessageDescriptor *kind, unsigned depth);

static void
fill_one(struct an_arena *arena, const ProtobufCFieldDescriptor *field, void *member,
         unsigned depth)
{
    ProtobufCBinaryData *bytes = member;
    uint8_t *data;

    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)member = make(arena, field->descriptor, depth + 1);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        bytes->len = below(3) == 0 ? 0 : below(below(8) == 0 ? 20000 : 140);
        bytes->data = NULL;
        if (bytes->len > 0) {
            data = an_arena_alloc(arena, bytes->len);
            memset(data, (int)below(256), bytes->len);
            bytes->data = data;
        }
        return;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = (protobuf_c_boolean)below(2);
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM: /* negative ones among them */
        *(uint32_t *)member = (uint32_t)number();
        return;
    default:
        *(uint64_t *)member = number();
    }
}

static size_t
size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(uint32_t);
    default:
        return sizeof(uint64_t);
    }
}

static ProtobufCMessage *
make(struct an_arena *arena, const ProtobufCMessageDescriptor *kind, unsigned depth)
{
    ProtobufCMessage *message = an_arena_alloc(arena, kind->sizeof_message);
    uint8_t *base = (uint8_t *)message;

    kind->message_init(message);
    for (unsigned i = 0; i < kind->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kind->fields[i];
        void *member = base + field->offset;
        size_t size = size_of(field->type), count = below(depth > 1 ? 3 : 5);
        uint8_t *array;

        if (below(4) == 0) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            array = an_arena_alloc(arena, count * size);
            for (size_t k = 0; k < count; k++) {
                fill_one(arena, field, array + k * size, depth);
            }
            memcpy(member, &array, sizeof(array));
            memcpy(base + field->quantifier_offset, &count, sizeof(count));
        } else if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0) {
            fill_one(arena, field, member, depth);
        } else if (below(3) == 0) { /* the last one drawn stays */
            memcpy(base + field->quantifier_offset, &field->id, sizeof(field->id));
            fill_one(arena, field, member, depth);
        }
    }
    return message;
}

/* ------------------------------------------------------------------ the same */

/* What protobuf-c makes of a message, to compare by. The caller frees it. */
static uint8_t *
packed(const ProtobufCMessage *message, size_t *len)
{
    uint8_t *out;

    *len = protobuf_c_message_get_packed_size(message);
    out = malloc(*len + 1);
    assert_int_equal(protobuf_c_message_pack(message, out), *len);
    return out;
}

/* Both unpack it to the same, or both refuse it. */
static void
check_unpack(const ProtobufCMessageDescriptor *kind, const uint8_t *data, size_t len)
{
    struct an_arena ours, theirs;
    uint8_t *exact = malloc(len + 1), *one, *two;
    ProtobufCMessage *got, *expected;
    size_t one_len, two_len;

    memcpy(exact, data, len);
    exact = realloc(exact, len > 0 ? len : 1); /* a sanitizer sees what is read beyond */
    an_arena_init(&ours, ARENA_MAX);
    an_arena_init(&theirs, ARENA_MAX);
    got = an_wire_unpack(kind, &ours, exact, len);
    expected = protobuf_c_message_unpack(kind, an_arena_pb(&theirs), len, exact);
    assert_int_equal(got == NULL, expected == NULL);
    if (got != NULL) {
        assert_ptr_equal(got->descriptor, kind);
        assert_int_equal(protobuf_c_message_check(got),
                         protobuf_c_message_check(expected));
        one = packed(got, &one_len);
        two = packed(expected, &two_len);
        assert_int_equal(one_len, two_len);
        assert_memory_equal(one, two, one_len);
        free(one);
        free(two);
    }
    an_arena_fini(&ours);
    an_arena_fini(&theirs);
    free(exact);
}

static void
test_wire_packs_the_same_bytes(void **state)
{
    uint8_t *room = malloc(BYTES_MAX);
    struct an_arena arena;
    (void)state;

    state_of_chance = 1;
    an_arena_init(&arena, ARENA_MAX);
    for (size_t round = 0; round < ROUNDS * kind_count; round++) {
        ProtobufCMessage *message = make(&arena, kinds[round % kind_count], 0);
        size_t len, got;
        uint8_t *expected = packed(message, &len);

        assert_true(len + 64 < BYTES_MAX);
        got = an_wire_pack(message, room, room + BYTES_MAX);
        assert_int_equal(got, len);
        assert_memory_equal(room + BYTES_MAX - got, expected, len);
        free(expected);
        an_arena_reset(&arena);
    }
    an_arena_fini(&arena);
    free(room);
}

/* Any room below what it needs is refused, and nothing is written before its start. */
static void
test_wire_keeps_to_its_room(void **state)
{
    struct an_arena arena;
    (void)state;

    state_of_chance = 2;
    an_arena_init(&arena, ARENA_MAX);
    for (size_t round = 0; round < ROUNDS * kind_count; round++) {
        ProtobufCMessage *message = make(&arena, kinds[round % kind_count], 0);
        size_t len = protobuf_c_message_get_packed_size(message);
        size_t size = len == 0 ? 0 : below(len);
        uint8_t *room = malloc(size + 1);

        if (len > 0) {
            assert_true(an_wire_pack(message, room, room + size) == AN_WIRE_NO_ROOM);
        }
        free(room);
        an_arena_reset(&arena);
    }
    an_arena_fini(&arena);
}

static void
test_wire_unpacks_what_was_packed(void **state)
{
    struct an_arena arena;
    (void)state;

    state_of_chance = 3;
    an_arena_init(&arena, ARENA_MAX);
    for (size_t round = 0; round < ROUNDS * kind_count; round++) {
        const ProtobufCMessageDescriptor *kind = kinds[round % kind_count];
        size_t len;
        uint8_t *bytes = packed(make(&arena, kind, 0), &len);

        check_unpack(kind, bytes, len);
        free(bytes);
        an_arena_reset(&arena);
    }
    an_arena_fini(&arena);
}

/* Bytes changed, cut off, doubled, swapped; and those of another kind. */
static void
damage(uint8_t *bytes, size_t *len)
{
    size_t at = *len == 0 ? 0 : below(*len), run = *len == 0 ? 0 : below(*len - at) + 1;

    switch (*len == 0 ? 5 : below(5)) {
    case 0:
        bytes[at] = (uint8_t)chance();
        return;
    case 1:
        bytes[at] ^= (uint8_t)(1u << below(8));
        return;
    case 2:
        *len = at;
        return;
    case 3: /* a part of it again, behind the rest */
        memmove(bytes + *len, bytes + at, run);
        *len += run;
        return;
    case 4:
        bytes[at] |= 0x80;
        return;
    default:
        bytes[(*len)++] = (uint8_t)chance();
    }
}

static void
test_wire_unpacks_anything_as_protobuf_c_does(void **state)
{
    struct an_arena arena;
    (void)state;

    state_of_chance = 4;
    an_arena_init(&arena, ARENA_MAX);
    for (size_t round = 0; round < ROUNDS * kind_count * 4; round++) {
        const ProtobufCMessageDescriptor *kind = kinds[round % kind_count];
        ProtobufCMessage *message =
            make(&arena, kinds[below(8) ? round % kind_count : below(kind_count)], 1);
        size_t len = protobuf_c_message_get_packed_size(message);
        uint8_t *bytes = malloc(len * 16 + 16);

        protobuf_c_message_pack(message, bytes);
        for (uint64_t times = below(4) + 1; times > 0; times--) {
            damage(bytes, &len);
        }
        check_unpack(kind, bytes, len);
        free(bytes);
        an_arena_reset(&arena);
    }
    an_arena_fini(&arena);
}

/* Forms that chance hardly finds. */
static void
test_wire_unpacks_odd_forms_as_protobuf_c_does(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } odd[] = {
        {"", 0},
        {"\x08\x80\x00", 3},                                      /* a long zero */
        {"\x88\x00\x01", 3},                                      /* a long tag */
        {"\x88\x80\x00\x01", 4},                                  /* a longer one */
        {"\x88\x80\x80\x80\x80\x00\x01", 7},                      /* too long */
        {"\x88\x80\x80\x80\x70\x01", 6},                          /* with lost bits */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11},     /* all bits */
        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7e", 11},     /* none that stay */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* too long */
        {"\x08\x01\x08\x02", 4},                                  /* twice */
        {"\x10\x01\x08\x02", 4},                                  /* out of order */
        {"\x0a\x80\x80\x80\x80\x00", 6},                          /* a long length */
        {"\x0a\x80\x80\x80\x80\x80\x00", 7},                      /* a longer one */
        {"\x0a\xff\xff\xff\xff\x0f", 6},
        {"\x12\x00\x12\x00\x12\x00", 6},
        {"\x12\x00\x0a\x00\x12\x00", 6},
        {"\x1a\x00\x22\x00", 4}, /* two of a oneof */
        {"\x00\x00", 2},
        {"\x0b\x0c", 2},
        {"\x0d\x01\x02\x03\x04", 5},
        {"\x09\x01\x02\x03\x04\x05\x06\x07\x08", 9},
        {"\xfa\x3f\x01\x01", 4}, /* not known */
    };
    (void)state;

    for (size_t i = 0; i < kind_count; i++) {
        for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
            check_unpack(kinds[i], (const uint8_t *)odd[k].bytes, odd[k].len);
        }
        /* The first field of each in every long form. */
        for (unsigned k = 0; k < kinds[i]->n_fields; k++) {
            for (unsigned wire = 0; wire < 6; wire++) {
                uint8_t bytes[16] = {0};
                memset(bytes, 0x80, 12);
                bytes[0] = (uint8_t)((kinds[i]->fields[k].id << 3 & 0x78) | wire);
                for (size_t len = 1; len < 13; len++) {
                    bytes[len - 1] &= len == 1 ? 0xff : 0x7e;
                    check_unpack(kinds[i], bytes, len);
                    bytes[len - 1] |= len == 1 ? 0 : 0x80;
                }
            }
        }
    }
}

/* Without memory: NULL, and the arena says so. */
static void
test_wire_says_when_memory_is_short(void **state)
{
    Anser__Client__Send send = ANSER__CLIENT__SEND__INIT;
    uint8_t body[3000] = {0}, bytes[4000];
    struct an_arena arena;
    size_t len;
    (void)state;

    send.body = (ProtobufCBinaryData){sizeof(body), body};
    len = an_wire_pack(&send.base, bytes, bytes + sizeof(bytes));
    assert_int_not_equal(len, AN_WIRE_NO_ROOM);
    an_arena_init(&arena, 2000);
    assert_null(an_wire_unpack(&anser__client__send__descriptor, &arena,
                               bytes + sizeof(bytes) - len, len));
    assert_true(an_arena_exhausted(&arena));
    an_arena_fini(&arena);
    an_arena_init(&arena, 8000);
    assert_non_null(an_wire_unpack(&anser__client__send__descriptor, &arena,
                                   bytes + sizeof(bytes) - len, len));
    assert_false(an_arena_exhausted(&arena));
    an_arena_fini(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_packs_the_same_bytes),
        cmocka_unit_test(test_wire_keeps_to_its_room),
        cmocka_unit_test(test_wire_unpacks_what_was_packed),
        cmocka_unit_test(test_wire_unpacks_anything_as_protobuf_c_does),
        cmocka_unit_test(test_wire_unpacks_odd_forms_as_protobuf_c_does),
        cmocka_unit_test(test_wire_says_when_memory_is_short),
    };

    return cmocka_run_group_tests(tests, note_all, NULL);
}
