#include "proto/kinds.h"
#include "proto/bus.pb-c.h"
#include <stddef.h>

#define ROW(number, kind, type, from, to, reply)                                         \
    [number] = {#kind, &anser__bus__##type##__descriptor, from, AN_ROLE_##to,            \
                AN_KIND_##reply},
static const struct an_kind_row rows[AN_KIND_BUS_COUNT] = {AN_KINDS(ROW)};

#define ROLE_NAME(role, name) name,
static const char *const role_names[] = {AN_ROLES(ROLE_NAME)};

const struct an_kind_row *
an_kind_row(unsigned kind)
{
    if (kind >= AN_KIND_BUS_COUNT || rows[kind].body == NULL) {
        return NULL;
    }
    return &rows[kind];
}

const char *
an_kind_name(unsigned kind)
{
    static const char *const local[] = {
        "START",      "TIMER",    "JOB_DONE",    "STOP",        "CONN_OPEN",
        "CONN_FRAME", "CONN_BAD", "CONN_OUTPUT", "CONN_CLOSED", "HTTP"};
    const struct an_kind_row *row = an_kind_row(kind);

    if (row != NULL) {
        return row->name;
    }
    if (kind >= AN_KIND_START && kind <= AN_KIND_HTTP) {
        return local[kind - AN_KIND_START];
    }
    return "unknown";
}

const char *
an_role_name(unsigned role)
{
    return role < AN_ROLE_COUNT ? role_names[role] : "unknown";
}
