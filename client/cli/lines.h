/* Lines from a descriptor that must not be waited for: bytes in, whole lines out. */
#ifndef AN_CLIENT_CLI_LINES_H
#define AN_CLIENT_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero it. */
struct cli_lines {
    uint8_t *data;
    size_t start, len, cap;
    bool eof, failed, skipping;
};

/* One read; call when the descriptor is readable. Sets eof or failed at the end. */
void cli_lines_read(struct cli_lines *lines, int fd);
/* The next line without its newline, valid until the next call; at eof also what follows
 * the last newline. NULL: none is whole yet. A line that is longer than len_max comes cut
 * to len_max + 1 bytes, and its rest is skipped. */
const uint8_t *cli_lines_next(struct cli_lines *lines, size_t len_max, size_t *len);
void cli_lines_fini(struct cli_lines *lines);

#endif
