/* Addresses of the configuration that nothing here binds: clients are told them, and
 * browsers say them. */
#include "actors/api/api.h"
#include "cluster/config.h"
#include "core/listen.h"
#include "core/origins.h"
#include <string.h>

static const char DIGITS[] = "0123456789";
#define SMALL "abcdefghijklmnopqrstuvwxyz0123456789-._"

struct piece {
    const char *at;
    size_t len;
};

/* What is before "://"; at is behind it. */
static bool
take_scheme(struct piece *rest, struct piece *scheme)
{
    for (size_t i = 0; i + 3 <= rest->len; i++) {
        if (memcmp(rest->at + i, "://", 3) == 0) {
            *scheme = (struct piece){rest->at, i};
            *rest = (struct piece){rest->at + i + 3, rest->len - i - 3};
            return i > 0;
        }
    }
    return false;
}

static size_t
span(struct piece text, const char *allowed)
{
    size_t len = 0;

    while (len < text.len && strchr(allowed, text.at[len]) != NULL) {
        len++;
    }
    return len;
}

/* HOST, HOST:PORT, [IPv6], [IPv6]:PORT; letters: of a name; *len: how long it is. */
static bool
host_and_port(struct piece text, const char *letters, size_t *len)
{
    bool six = text.len > 0 && text.at[0] == '[';
    size_t host = six ? 1 : 0, digits, port = 0;

    host += span((struct piece){text.at + host, text.len - host},
                 six ? "0123456789abcdefABCDEF:." : letters);
    if (host == (six ? 1u : 0u) || (six && (host == text.len || text.at[host] != ']'))) {
        return false;
    }
    *len = host + six;
    if (*len == text.len || text.at[*len] != ':') {
        return true;
    }
    digits = span((struct piece){text.at + *len + 1, text.len - *len - 1}, DIGITS);
    for (size_t i = 0; i < digits && digits <= 5; i++) {
        port = 10 * port + (size_t)(text.at[*len + 1 + i] - '0');
    }
    *len += 1 + digits;
    return port > 0 && port <= UINT16_MAX;
}

static bool
is_gate_scheme(struct piece scheme)
{
#define ROW(NAME, text, cover, web, http)                                                \
    if (!(http) && scheme.len == strlen(text) &&                                         \
        memcmp(scheme.at, text, scheme.len) == 0) {                                      \
        return true;                                                                     \
    }
    AN_SCHEMES(ROW)
#undef ROW
    return false;
}

/* A path is a proxy's, before WebSockets. */
static bool
is_gate(struct piece url)
{
    struct piece scheme, rest = url;
    size_t len;

    if (url.len >= API_URL_MAX || !take_scheme(&rest, &scheme) ||
        !is_gate_scheme(scheme) ||
        !host_and_port(rest, SMALL "ABCDEFGHIJKLMNOPQRSTUVWXYZ", &len)) {
        return false;
    }
    return len == rest.len || (rest.at[len] == '/' && scheme.at[0] == 'w');
}

/* As browsers say it, to the byte. */
static bool
is_origin(struct piece text)
{
    struct piece scheme, rest = text;
    size_t len;

    if (text.len == 1 && text.at[0] == '*') {
        return true;
    }
    return take_scheme(&rest, &scheme) &&
           span(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == scheme.len &&
           host_and_port(rest, SMALL, &len) && len == rest.len;
}

/* The first of a list that does not fit; at NULL: all do. */
static struct piece
first_wrong(const char *list, bool (*fits)(struct piece), unsigned *count)
{
    *count = 0;
    for (list += strspn(list, AN_ORIGINS_APART); *list != '\0';
         list += strspn(list, AN_ORIGINS_APART)) {
        struct piece one = {list, strcspn(list, AN_ORIGINS_APART)};

        if (!fits(one)) {
            return one;
        }
        list += one.len;
        (*count)++;
    }
    return (struct piece){NULL, 0};
}

static enum an_err
check_origins(const char *list, struct an_yaml_at section)
{
    struct an_yaml_at origins = an_yaml_find(section, "origins");
    struct piece wrong = {NULL, 0};
    unsigned count;

    if (an_yaml_there(origins)) {
        wrong = first_wrong(list, is_origin, &count);
    }
    return wrong.at == NULL
               ? AN_OK
               : an_yaml_refuse(
                     origins,
                     "'%.*s' is no origin, SCHEME://HOST or SCHEME://HOST:PORT "
                     "in small letters, or *",
                     (int)(wrong.len < 60 ? wrong.len : 60), wrong.at);
}

enum an_err
config_urls_check(const struct config *config, struct an_yaml_at map)
{
    struct an_yaml_at api = an_yaml_find(map, "api");
    struct an_yaml_at gates = an_yaml_find(api, "gates");
    struct piece wrong = {NULL, 0};
    unsigned count = 0;
    enum an_err err;

    if (an_yaml_there(gates)) {
        wrong = first_wrong(config->api_gates, is_gate, &count);
    }
    if (wrong.at != NULL) {
        return an_yaml_refuse(gates, "'%.*s' is no address of a gate, " AN_LISTEN_FORMS,
                              (int)(wrong.len < 60 ? wrong.len : 60), wrong.at);
    }
    if (count > API_GATES_MAX) {
        return an_yaml_refuse(gates, "more than %d addresses", API_GATES_MAX);
    }
    err = check_origins(config->api_origins, api);
    return err == AN_OK ? check_origins(config->gate_origins, an_yaml_find(map, "gate"))
                        : err;
}
