#include "proto/utf8.h"
#include <string.h>

/* The bytes a well-formed sequence may begin with, and what may follow (Unicode 15,
 * table 3-7). Every further byte is 80..BF. */
struct lead {
    uint8_t first, last; /* of the lead byte */
    uint8_t second_min, second_max;
    uint8_t len;
};

static const struct lead leads[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
    {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
    {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

static size_t
sequence_len(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
        const struct lead *lead = &leads[i];
        if (data[0] < lead->first || data[0] > lead->last) {
            continue;
        }
        if (len < lead->len || data[1] < lead->second_min || data[1] > lead->second_max) {
            return 0;
        }
        for (size_t j = 2; j < lead->len; j++) {
            if ((data[j] & 0xC0) != 0x80) {
                return 0;
            }
        }
        return lead->len;
    }
    return 0;
}

/* Most text is ASCII: eight bytes at once. */
static bool
eight_ascii(const uint8_t *data)
{
    uint64_t bytes;

    memcpy(&bytes, data, sizeof(bytes));
    return (bytes & 0x8080808080808080) == 0;
}

bool
an_utf8_valid(const uint8_t *data, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t step = 1;
        if (len - at >= 8 && eight_ascii(data + at)) {
            at += 8;
            continue;
        }
        if (data[at] >= 0x80) {
            step = sequence_len(data + at, len - at);
            if (step == 0) {
                return false;
            }
        }
        at += step;
    }
    return true;
}
