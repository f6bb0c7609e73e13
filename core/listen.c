#include "core/listen.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum an_cover cover;
    bool web, http;
} schemes[] = {
#define ROW(id, text, cover, web, http) {text, AN_COVER_##cover, web, http},
    AN_SCHEMES(ROW)
#undef ROW
};

const char *
an_scheme_name(enum an_scheme scheme)
{
    return schemes[scheme].name;
}

enum an_cover
an_scheme_cover(enum an_scheme scheme)
{
    return schemes[scheme].cover;
}

bool
an_scheme_is_web(enum an_scheme scheme)
{
    return schemes[scheme].web;
}

bool
an_scheme_is_http(enum an_scheme scheme)
{
    return schemes[scheme].http;
}

/* "tls://..." gives what is behind the slashes; NULL: no scheme of ours. */
static const char *
take_scheme(const char *url, bool http, enum an_scheme *scheme)
{
    for (unsigned i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i].name);

        if (schemes[i].http == http && strncmp(url, schemes[i].name, len) == 0 &&
            strncmp(url + len, "://", 3) == 0) {
            *scheme = (enum an_scheme)i;
            return url + len + 3;
        }
    }
    return NULL;
}

static bool
take_port(const char *text, in_port_t *port)
{
    size_t len = strlen(text);
    unsigned long value;

    if (len == 0 || len > 5 || strspn(text, "0123456789") != len) {
        return false;
    }
    value = strtoul(text, NULL, 10);
    *port = htons((uint16_t)value);
    return value <= UINT16_MAX;
}

static bool
parse(struct an_listen *out, const char *url, bool http)
{
    const char *host = take_scheme(url, http, &out->scheme), *colon;
    struct sockaddr_in *in = (struct sockaddr_in *)&out->at;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->at;
    char text[INET6_ADDRSTRLEN + 2];
    in_port_t port = 0;
    size_t len;

    memset(&out->at, 0, sizeof(out->at));
    colon = host == NULL ? NULL : strrchr(host, ':');
    if (colon == NULL || !take_port(colon + 1, &port)) {
        return false;
    }
    len = (size_t)(colon - host);
    if (len == 0 || len >= sizeof(text)) {
        return false;
    }
    memcpy(text, host, len);
    text[len] = '\0';
    if (text[0] == '[' && text[len - 1] == ']') {
        text[len - 1] = '\0';
        in6->sin6_family = AF_INET6;
        in6->sin6_port = port;
        return inet_pton(AF_INET6, text + 1, &in6->sin6_addr) == 1;
    }
    in->sin_family = AF_INET;
    in->sin_port = port;
    return inet_pton(AF_INET, strcmp(text, "localhost") == 0 ? "127.0.0.1" : text,
                     &in->sin_addr) == 1;
}

bool
an_listen_parse(struct an_listen *out, const char *url)
{
    return parse(out, url, false);
}

bool
an_listen_parse_http(struct an_listen *out, const char *url)
{
    return parse(out, url, true);
}

bool
an_listen_read(struct an_listen *out, const char *url, bool http, char *why,
               size_t why_len)
{
    if (parse(out, url, http)) {
        return true;
    }
    snprintf(why, why_len, "%slisten: '%s' is no %s (HOST a number, or localhost)",
             http ? "api." : "", url, http ? AN_LISTEN_HTTP_FORMS : AN_LISTEN_FORMS);
    return false;
}

uint16_t
an_listen_port(const struct an_listen *listen)
{
    if (listen->at.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)&listen->at)->sin6_port);
    }
    return ntohs(((const struct sockaddr_in *)&listen->at)->sin_port);
}

bool
an_listen_is_local(const struct an_listen *listen)
{
    if (listen->at.ss_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(
            &((const struct sockaddr_in6 *)&listen->at)->sin6_addr);
    }
    return ntohl(((const struct sockaddr_in *)&listen->at)->sin_addr.s_addr) >> 24 == 127;
}

bool
an_listen_is_any(const struct an_listen *listen)
{
    if (listen->at.ss_family == AF_INET6) {
        return IN6_IS_ADDR_UNSPECIFIED(
            &((const struct sockaddr_in6 *)&listen->at)->sin6_addr);
    }
    return ((const struct sockaddr_in *)&listen->at)->sin_addr.s_addr == INADDR_ANY;
}

void
an_listen_print(const struct an_listen *listen, char *out, size_t len)
{
    char host[INET6_ADDRSTRLEN] = "";
    const bool v6 = listen->at.ss_family == AF_INET6;
    const void *raw =
        v6 ? (const void *)&((const struct sockaddr_in6 *)&listen->at)->sin6_addr
           : (const void *)&((const struct sockaddr_in *)&listen->at)->sin_addr;

    (void)inet_ntop(listen->at.ss_family, raw, host, sizeof(host));
    snprintf(out, len, "%s://%s%s%s:%u", schemes[listen->scheme].name, v6 ? "[" : "",
             host, v6 ? "]" : "", (unsigned)an_listen_port(listen));
}
