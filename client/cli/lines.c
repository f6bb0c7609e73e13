#include "client/cli/lines.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_LEN = 65536 };

void
cli_lines_read(struct cli_lines *lines, int fd)
{
    ssize_t got;

    if (lines->start > 0) {
        memmove(lines->data, lines->data + lines->start, lines->len);
        lines->start = 0;
    }
    if (lines->cap - lines->len < READ_LEN) {
        size_t cap = lines->cap + 2 * READ_LEN;
        uint8_t *data = realloc(lines->data, cap);
        if (data == NULL) {
            lines->failed = true;
            return;
        }
        lines->data = data;
        lines->cap = cap;
    }
    got = read(fd, lines->data + lines->len, READ_LEN);
    if (got == 0) {
        lines->eof = true;
    } else if (got > 0) {
        lines->len += (size_t)got;
    } else if (errno != EINTR && errno != EAGAIN) {
        lines->failed = true;
    }
}

static const uint8_t *
take(struct cli_lines *lines, size_t len, size_t skip)
{
    const uint8_t *at = lines->data + lines->start;

    lines->start += len + skip;
    lines->len -= len + skip;
    return at;
}

const uint8_t *
cli_lines_next(struct cli_lines *lines, size_t len_max, size_t *len)
{
    const uint8_t *at = lines->data + lines->start;
    const uint8_t *end = lines->len == 0 ? NULL : memchr(at, '\n', lines->len);

    if (lines->skipping) {
        size_t rest = end == NULL ? lines->len : (size_t)(end - at) + 1;
        (void)take(lines, rest, 0);
        lines->skipping = end == NULL;
        return lines->skipping ? NULL : cli_lines_next(lines, len_max, len);
    }
    if (end != NULL && (size_t)(end - at) <= len_max) {
        *len = (size_t)(end - at);
        return take(lines, *len, 1);
    }
    if (lines->len > len_max) {
        *len = len_max + 1;
        lines->skipping = true;
        return take(lines, *len, 0);
    }
    if (lines->eof && lines->len > 0) {
        *len = lines->len;
        return take(lines, *len, 0);
    }
    return NULL;
}

void
cli_lines_fini(struct cli_lines *lines)
{
    free(lines->data);
    *lines = (struct cli_lines){0};
}
