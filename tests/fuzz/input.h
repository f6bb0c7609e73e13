/* An input that is taken apart from the front: what has run out is zeros. */
#ifndef AN_TESTS_FUZZ_INPUT_H
#define AN_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
    const uint8_t *data;
    size_t len;
};

static inline uint8_t
take(struct input *in)
{
    if (in->len == 0) {
        return 0;
    }
    in->len--;
    return *in->data++;
}

#endif
