#include "proto/envelope.h"
#include "proto/bytes.h"
#include "proto/kinds.h"

enum { FLAG_ANSWER = 1 };

void
an_envelope_put(uint8_t out[AN_ENVELOPE_LEN], const struct an_envelope *env)
{
    out[0] = 'A';
    out[1] = 'B';
    out[2] = AN_BUS_VERSION;
    out[3] = env->answer ? FLAG_ANSWER : 0;
    an_put_u16(out + 4, env->kind);
    an_put_u16(out + 6, env->err);
    an_put_u64(out + 8, env->trace);
    an_put_u32(out + 16, env->budget_ms);
    out[20] = env->from.role;
    out[21] = 0;
    an_put_u16(out + 22, env->from.index);
    an_put_u32(out + 24, env->body_len);
    an_put_u64(out + 28, env->cluster);
    an_put_u64(out + 36, env->stores);
}

static const char *
fault(const uint8_t *data, size_t len)
{
    if (len < AN_ENVELOPE_LEN) {
        return "shorter than an envelope";
    }
    if (data[0] != 'A' || data[1] != 'B') {
        return "bad magic";
    }
    if (data[2] != AN_BUS_VERSION) {
        return "another bus version";
    }
    if ((data[3] & ~FLAG_ANSWER) != 0 || data[21] != 0) {
        return "reserved bits are set";
    }
    if (data[20] == AN_ROLE_NONE || data[20] >= AN_ROLE_COUNT) {
        return "unknown sender role";
    }
    if (an_get_u32(data + 24) != len - AN_ENVELOPE_LEN) {
        return "body length does not match";
    }
    return NULL;
}

bool
an_envelope_get(struct an_envelope *env, const uint8_t *data, size_t len,
                const char **why)
{
    *why = fault(data, len);
    if (*why != NULL) {
        return false;
    }
    env->answer = (data[3] & FLAG_ANSWER) != 0;
    env->kind = an_get_u16(data + 4);
    env->err = an_get_u16(data + 6);
    env->trace = an_get_u64(data + 8);
    env->budget_ms = an_get_u32(data + 16);
    env->from.role = data[20];
    env->from.index = an_get_u16(data + 22);
    env->body_len = an_get_u32(data + 24);
    env->cluster = an_get_u64(data + 28);
    env->stores = an_get_u64(data + 36);
    return true;
}
