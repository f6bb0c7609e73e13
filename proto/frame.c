#include "proto/frame.h"
#include "proto/bytes.h"

enum an_frame_state
an_frame_get(struct an_frame *frame, const uint8_t *data, size_t len,
             uint32_t frame_len_max)
{
    static const uint8_t magic[] = {'A', 'N'};
    uint16_t flags;
    uint32_t body_len;

    for (size_t i = 0; i < sizeof(magic) && i < len; i++) {
        if (data[i] != magic[i]) {
            return AN_FRAME_BAD_MAGIC;
        }
    }
    if (len > 2 && data[2] != AN_FRAME_VERSION) {
        return AN_FRAME_BAD_VERSION;
    }
    if (len < AN_FRAME_HEADER_LEN) {
        return AN_FRAME_MORE;
    }
    flags = an_get_u16(data + 6);
    if ((flags & ~AN_FRAME_FLAGS) != 0) {
        return AN_FRAME_BAD_FLAGS;
    }
    body_len = an_get_u32(data + 12);
    if (body_len > frame_len_max - AN_FRAME_HEADER_LEN) {
        return AN_FRAME_TOO_LARGE;
    }
    *frame = (struct an_frame){
        .codec = data[3],
        .command = an_get_u16(data + 4),
        .flags = flags,
        .request = an_get_u32(data + 8),
        .body_len = body_len,
    };
    return AN_FRAME_OK;
}

void
an_frame_put(uint8_t out[AN_FRAME_HEADER_LEN], const struct an_frame *frame)
{
    out[0] = 'A';
    out[1] = 'N';
    out[2] = AN_FRAME_VERSION;
    out[3] = frame->codec;
    an_put_u16(out + 4, frame->command);
    an_put_u16(out + 6, frame->flags);
    an_put_u32(out + 8, frame->request);
    an_put_u32(out + 12, frame->body_len);
}

const char *
an_command_name(unsigned command)
{
    switch (command) {
#define NAME(number, command, ...)                                                       \
    case number:                                                                         \
        return #command;
        AN_COMMANDS(NAME)
        AN_PUSHES(NAME)
#undef NAME
    }
    return "unknown";
}
