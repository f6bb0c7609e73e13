/* Fuzzing the JSON form: the input as a client's message (what becomes of it is one frame
 * that unpacks, or is marked as malformed), then as a frame of the server's (what becomes
 * of it is JSON). */
#include "actors/gate/gate_json.h"
#include "core/limits.h"
#include "proto/client.pb-c.h"
#include "proto/utf8.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
request(const uint8_t *data, size_t len)
{
    struct an_arena arena = {0};
    const uint8_t *out;
    struct an_frame frame;
    size_t out_len = 0;

    an_arena_init(&arena, GATE_JSON_MEMORY_MAX);
    out = gate_json_in(&arena, (const char *)data, len, &out_len);
    if (out != NULL) {
        assert(an_frame_get(&frame, out, out_len, UINT32_MAX) == AN_FRAME_OK);
        assert(out_len == AN_FRAME_HEADER_LEN + frame.body_len);
        assert(frame.flags == 0 && frame.codec == AN_CODEC_PROTOBUF);
        if (frame.command == AN_COMMAND_SEND &&
            (frame.body_len != 1 || out[AN_FRAME_HEADER_LEN] != 0xFF)) {
            Anser__Client__Send *send = anser__client__send__unpack(
                NULL, frame.body_len, out + AN_FRAME_HEADER_LEN);

            assert(send != NULL);
            assert(send->to.len == 0 || an_utf8_valid(send->to.data, send->to.len));
            anser__client__send__free_unpacked(send, NULL);
        }
    }
    an_arena_fini(&arena);
}

static void
answer(const uint8_t *data, size_t len)
{
    struct an_frame frame;
    size_t text_len = 0;
    json_t *root;
    char *text;

    if (an_frame_get(&frame, data, len, UINT32_MAX) != AN_FRAME_OK ||
        frame.body_len != len - AN_FRAME_HEADER_LEN) {
        return;
    }
    text = gate_json_out(data, len, &text_len);
    if (text != NULL) {
        root = json_loadb(text, text_len, JSON_ALLOW_NUL, NULL);
        assert(json_is_object(root));
        json_decref(root);
    }
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    request(data, len);
    answer(data, len);
    return 0;
}
