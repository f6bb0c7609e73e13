/* Why connections are not made: NNG tells nobody, but it counts. */
#include "core/runner_nng/priv.h"
#include <string.h>

#define FAULT_NAME(name, meaning)    #name,
#define FAULT_MEANING(name, meaning) meaning,
static const char *const names[] = {FAULTS(FAULT_NAME)};
static const char *const meanings[] = {FAULTS(FAULT_MEANING)};
#undef FAULT_NAME
#undef FAULT_MEANING

static uint64_t
child_value(nng_stat *scope, const char *name, uint64_t otherwise)
{
    for (nng_stat *s = nng_stat_child(scope); s != NULL; s = nng_stat_next(s)) {
        if (strcmp(nng_stat_name(s), name) == 0) {
            return nng_stat_value(s);
        }
    }
    return otherwise;
}

bool
faults_read(nng_stat *all, const char *scope, unsigned id, struct faults *out)
{
    for (nng_stat *s = nng_stat_child(all); s != NULL; s = nng_stat_next(s)) {
        if (strcmp(nng_stat_name(s), scope) != 0 || child_value(s, "id", 0) != id) {
            continue;
        }
        for (size_t i = 0; i < FAULT_COUNT; i++) {
            out->count[i] = child_value(s, names[i], 0); /* a listener has no refused */
        }
        return true;
    }
    return false;
}

enum fault
faults_newer(const struct faults *before, const struct faults *now)
{
    size_t i = 0;

    while (i < FAULT_COUNT && now->count[i] <= before->count[i]) {
        i++;
    }
    return (enum fault)i;
}

const char *
fault_meaning(enum fault fault)
{
    return fault < FAULT_COUNT ? meanings[fault] : NULL;
}
