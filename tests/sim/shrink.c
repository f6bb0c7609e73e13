/* A failing trial made small: which of its faults does it need, and how few operations?
 */
#include "tests/sim/sim.h"
#include <string.h>

enum {
    OPS_STEPS = 8,
    WORDS_LEN = 12, /* of what was broken; what follows are numbers of this trial */
};

/* Of the same kind as the first one? The first words of a sentence say which promise. */
static bool
same(const struct sim_result *result, const char *why)
{
    char pattern[2][WORDS_LEN + 1] = {{0}};

    if (result->ok) {
        return false;
    }
    for (unsigned which = 0; which < 2; which++) {
        const char *text = which == 0 ? why : result->why;
        size_t len = 0;
        for (; *text != '\0' && len < WORDS_LEN; text++) {
            if (*text < '0' || *text > '9') {
                pattern[which][len++] = *text;
            }
        }
    }
    return strcmp(pattern[0], pattern[1]) == 0;
}

/* Keeps the trial in *options and *result if it still fails so. */
static bool
try(struct sim_options *options, struct sim_result *result,
    const struct sim_options *smaller, const char *why)
{
    struct sim_result got;

    sim_trial(smaller, &got);
    if (!same(&got, why)) {
        return false;
    }
    *options = *smaller;
    *result = got;
    return true;
}

void
sim_shrink(struct sim_options *options, struct sim_result *result)
{
    struct sim_options smaller;
    char why[sizeof(result->why)];
    uint32_t low = 0, high;

    memcpy(why, result->why, sizeof(why));
    options->quiet = true;
    if (options->ops == 0 || options->ops > result->ops) {
        options->ops = (uint32_t)result->ops + 1;
    }
    for (int kind = 0; kind < SIM_KIND_COUNT; kind++) {
        smaller = *options;
        smaller.without |= 1u << kind;
        try(options, result, &smaller, why);
    }
    high = result->ops < options->ops ? (uint32_t)result->ops : options->ops;
    for (int step = 0; step < OPS_STEPS && high - low > 1; step++) {
        uint32_t middle = low + (high - low) / 2;
        smaller = *options;
        smaller.ops = middle;
        if (try(options, result, &smaller, why)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    options->quiet = false;
}
