/* Fuzzing lines of JSON as a door collects them: the first byte says how the rest is cut.
 * Any cut gives the same frames and the same complaints, nothing is longer than it may
 * be, and nothing stays held behind a line's end. */
#include "actors/gate/gate_door_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What came of a stream. */
struct sum {
    uint64_t hash;
    unsigned frames, bad_lines;
    enum an_err bad;
};

static struct sum *sum;

/* ------------------------------------------------------------------ the rest of a door
 */

void
gate_door_frames_in(struct gate_door *door, struct door_conn *conn, const uint8_t *data,
                    size_t len)
{
    struct an_frame frame;

    (void)door;
    (void)conn;
    assert(an_frame_get(&frame, data, len, UINT32_MAX) == AN_FRAME_OK);
    assert(len == AN_FRAME_HEADER_LEN + frame.body_len);
    sum->frames++;
    for (size_t i = 0; i < len; i++) {
        sum->hash = (sum->hash ^ data[i]) * 0x100000001B3u;
    }
}

void
gate_door_deliver(struct gate_door *door, struct door_conn *conn, enum an_kind kind)
{
    (void)conn;
    assert(kind == AN_KIND_CONN_BAD && door->msg.err == AN_ERR_JSON);
    door->msg.err = AN_OK;
    sum->bad_lines++;
}

void
gate_door_bad(struct gate_door *door, struct door_conn *conn, enum an_err err)
{
    (void)door;
    assert(!conn->bad);
    conn->bad = true;
    sum->bad = err;
}

void
gate_door_log(struct gate_door *door, int level, const char *line)
{
    (void)door;
    (void)level;
    (void)line;
}

uint8_t *
gate_door_scratch(struct door_scratch *scratch, size_t more)
{
    assert(scratch->len + more <= scratch->cap);
    return scratch->data + scratch->len;
}

/* ------------------------------------------------------------------ streams */

/* Padded: behind so many spaces that the longest line is near. */
static struct sum
stream(struct gate_door *door, const uint8_t *data, size_t len, size_t step, bool padded)
{
    static uint8_t spaces[GATE_JSON_LEN_MAX - 8];
    struct door_conn conn = {.known = true};
    struct sum result = {.hash = 0xCBF29CE484222325u};

    sum = &result;
    if (!gate_lines_begin(&conn)) {
        abort();
    }
    if (padded) {
        memset(spaces, ' ', sizeof(spaces));
        gate_lines_in(door, &conn, spaces, sizeof(spaces));
    }
    for (size_t at = 0; at < len && !conn.bad; at += step) {
        /* Of its own, so that reading beyond it is seen. */
        size_t part = len - at < step ? len - at : step;
        uint8_t *copy = malloc(part);

        assert(copy != NULL);
        memcpy(copy, data + at, part);
        gate_lines_in(door, &conn, copy, part);
        assert(conn.lines->len <= GATE_JSON_LEN_MAX);
        assert(conn.bad || copy[part - 1] != '\n' || conn.lines->cap == 0);
        assert(door->stats.partial_bytes == conn.lines->cap);
        free(copy);
    }
    gate_lines_free(door, &conn);
    assert(door->held_bytes == 0 && door->stats.partial_bytes == 0);
    sum = NULL;
    return result;
}

/* As a frame of the server's: one line. */
static void
answer(const uint8_t *data, size_t len)
{
    static uint8_t room[1024 * 1024];
    struct door_scratch all = {.data = room, .cap = sizeof(room)};
    struct an_frame frame;

    if (an_frame_get(&frame, data, len, UINT32_MAX) != AN_FRAME_OK ||
        frame.body_len != len - AN_FRAME_HEADER_LEN || len > sizeof(room) / 8) {
        return;
    }
    if (gate_lines_put(&all, data, len)) {
        assert(all.len > 2 && room[0] == '{' && room[all.len - 2] == '}');
        assert(memchr(room, '\n', all.len) == room + all.len - 1);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct gate_door door;
    struct sum whole, cut;

    if (len < 2) {
        return 0;
    }
    an_arena_init(&door.arena, GATE_JSON_MEMORY_MAX);
    whole = stream(&door, data + 1, len - 1, len, data[0] == UINT8_MAX);
    cut = stream(&door, data + 1, len - 1, data[0] % 128 + 1u, data[0] == UINT8_MAX);
    assert(whole.frames == cut.frames && whole.hash == cut.hash);
    assert(whole.bad_lines == cut.bad_lines && whole.bad == cut.bad);
    assert(door.stats.bad_lines == whole.bad_lines + cut.bad_lines);
    door.stats.bad_lines = 0;
    an_arena_fini(&door.arena);
    answer(data, len);
    return 0;
}
