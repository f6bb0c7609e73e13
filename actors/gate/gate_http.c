#include "actors/gate/gate_http.h"
#include "core/origins.h"
#include <http_parser.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { KEY_LEN = 24, ACCEPT_LEN = 28 };

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
static const char *const subprotocols[] = {"anser.protobuf", "anser.json"};

struct span {
    const char *at;
    size_t len;
};

/* X(NAME, header): what counts of a request; each at most once. */
#define HEADERS(X)                                                                       \
    X(HOST, "Host")                                                                      \
    X(UPGRADE, "Upgrade")                                                                \
    X(CONNECTION, "Connection")                                                          \
    X(KEY, "Sec-WebSocket-Key")                                                          \
    X(VERSION, "Sec-WebSocket-Version")                                                  \
    X(PROTOCOL, "Sec-WebSocket-Protocol")                                                \
    X(ORIGIN, "Origin")                                                                  \
    X(LENGTH, "Content-Length")                                                          \
    X(ENCODING, "Transfer-Encoding")
#define HEADER_ENUM(id, name) H_##id,
enum header { HEADERS(HEADER_ENUM) H_COUNT };
#undef HEADER_ENUM

struct request {
    struct span url, name, header[H_COUNT];
    bool bad, twice;
};

struct answer {
    int status;
    const char *phrase, *more; /* more: header lines */
    const char *text;
};

/* ------------------------------------------------------------------ reading */

static int
on_url(http_parser *parser, const char *at, size_t len)
{
    ((struct request *)parser->data)->url = (struct span){at, len};
    return 0;
}

static int
on_name(http_parser *parser, const char *at, size_t len)
{
    struct request *request = parser->data;

    request->name = (struct span){at, len};
    /* The parser lets "Host :" pass. */
    request->bad = request->bad || memchr(at, ' ', len) != NULL;
    return 0;
}

static int
on_value(http_parser *parser, const char *at, size_t len)
{
    static const char *const names[] = {
#define HEADER_NAME(id, name) name,
        HEADERS(HEADER_NAME)
#undef HEADER_NAME
    };
    struct request *request = parser->data;

    for (unsigned i = 0; i < H_COUNT; i++) {
        if (strlen(names[i]) == request->name.len &&
            strncasecmp(names[i], request->name.at, request->name.len) == 0) {
            request->twice = request->twice || request->header[i].at != NULL;
            request->header[i] = (struct span){at, len};
        }
    }
    return 0;
}

/* What is behind the head is not the parser's. */
static int
on_head(http_parser *parser)
{
    (void)parser;
    return 2; /* no body, and an upgrade */
}

size_t
gate_http_head_len(const uint8_t *data, size_t len)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);

    return end == NULL ? 0 : (size_t)(end - data) + 4;
}

/* The parser takes a line feed alone for the end of a line; others do not, and what one
 * side takes for one request the other takes for two. */
static bool
lines_end_well(const uint8_t *head, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((head[i] == '\n' && (i == 0 || head[i - 1] != '\r')) || head[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ judging */

static bool
is_there(struct span span)
{
    return span.at != NULL;
}

/* Is the word in the list, letters of any case? */
static bool
lists(struct span list, const char *word)
{
    size_t want = strlen(word), at = 0;

    while (at < list.len) {
        size_t end = at, len;

        while (end < list.len && list.at[end] != ',') {
            end++;
        }
        len = end - at;
        while (len > 0 && (list.at[at] == ' ' || list.at[at] == '\t')) {
            at++;
            len--;
        }
        while (len > 0 &&
               (list.at[at + len - 1] == ' ' || list.at[at + len - 1] == '\t')) {
            len--;
        }
        if (len == want && strncasecmp(list.at + at, word, want) == 0) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

/* The first of ours that is among those offered; NULL: none. */
static const char *
choose(struct span offered)
{
    return lists(offered, subprotocols[0])   ? subprotocols[0]
           : lists(offered, subprotocols[1]) ? subprotocols[1]
                                             : NULL;
}

/* Who says no origin is no browser. */
static bool
origin_allowed(struct span origin, const char *origins)
{
    return !is_there(origin) || an_origins_list(origins, origin.at, origin.len);
}

/* 16 bytes in base64. */
static bool
key_valid(struct span key)
{
    unsigned char raw[KEY_LEN];

    return key.len == KEY_LEN && memcmp(key.at + KEY_LEN - 2, "==", 2) == 0 &&
           memchr(key.at, '=', KEY_LEN - 2) == NULL &&
           memchr(key.at, ' ', KEY_LEN) == NULL &&
           EVP_DecodeBlock(raw, (const unsigned char *)key.at, KEY_LEN) == 18;
}

static bool
path_is_root(struct span url)
{
    return url.len >= 1 && url.at[0] == '/' && (url.len == 1 || url.at[1] == '?');
}

/* Of several faults the first; status 101: none. */
static struct answer
judge(const http_parser *parser, const struct request *request, const char *origins)
{
    const struct span *h = request->header;

    if (request->bad || request->twice || parser->http_major != 1 ||
        parser->http_minor != 1 || !is_there(h[H_HOST]) || is_there(h[H_LENGTH]) ||
        is_there(h[H_ENCODING])) {
        return (struct answer){400, "Bad Request", "", "This is no HTTP/1.1 request."};
    }
    if (parser->method != HTTP_GET) {
        return (struct answer){405, "Method Not Allowed", "Allow: GET\r\n",
                               "A WebSocket is opened by GET."};
    }
    if (!path_is_root(request->url)) {
        return (struct answer){404, "Not Found", "", "The WebSocket is at /."};
    }
    if (!lists(h[H_UPGRADE], "websocket") || !lists(h[H_CONNECTION], "upgrade")) {
        return (struct answer){426, "Upgrade Required",
                               "Upgrade: websocket\r\nConnection: Upgrade, close\r\n",
                               "Only WebSockets are served here."};
    }
    if (!lists(h[H_VERSION], "13")) {
        return (struct answer){426, "Upgrade Required",
                               "Upgrade: websocket\r\nConnection: Upgrade, close\r\n"
                               "Sec-WebSocket-Version: 13\r\n",
                               "The WebSocket's version is 13."};
    }
    if (!key_valid(h[H_KEY])) {
        return (struct answer){400, "Bad Request", "",
                               "Sec-WebSocket-Key is not 16 bytes in base64."};
    }
    if (!origin_allowed(h[H_ORIGIN], origins)) {
        return (struct answer){403, "Forbidden", "",
                               "Pages of this origin may not connect (gate.origins)."};
    }
    if (is_there(h[H_PROTOCOL]) && choose(h[H_PROTOCOL]) == NULL) {
        return (struct answer){400, "Bad Request", "",
                               "The subprotocols are anser.protobuf and anser.json."};
    }
    return (struct answer){.status = 101};
}

/* ------------------------------------------------------------------ answering */

static void
put_refusal(const struct answer *answer, char *out, size_t *len)
{
    *len = (size_t)snprintf(out, GATE_HTTP_ANSWER_MAX,
                            "HTTP/1.1 %d %s\r\n%s%sContent-Type: text/plain\r\n"
                            "Content-Length: %zu\r\n\r\n%s\n",
                            answer->status, answer->phrase, answer->more,
                            answer->status == 426 ? "" : "Connection: close\r\n",
                            strlen(answer->text) + 1, answer->text);
}

static void
put_welcome(const struct request *request, char *out, size_t *len)
{
    const struct span *h = request->header;
    char text[KEY_LEN + sizeof(guid)];
    unsigned char hash[EVP_MAX_MD_SIZE], accept[ACCEPT_LEN + 1];
    unsigned hash_len = 0;

    memcpy(text, h[H_KEY].at, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof(guid));
    (void)EVP_Digest(text, KEY_LEN + sizeof(guid) - 1, hash, &hash_len, EVP_sha1(), NULL);
    (void)EVP_EncodeBlock(accept, hash, (int)hash_len);
    *len = (size_t)snprintf(out, GATE_HTTP_ANSWER_MAX,
                            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "
                            "websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
                            (const char *)accept,
                            is_there(h[H_PROTOCOL]) ? "Sec-WebSocket-Protocol: " : "",
                            is_there(h[H_PROTOCOL]) ? choose(h[H_PROTOCOL]) : "",
                            is_there(h[H_PROTOCOL]) ? "\r\n" : "");
}

bool
gate_http_answer(const uint8_t *head, size_t head_len, const char *origins,
                 char out[GATE_HTTP_ANSWER_MAX], size_t *len, bool *json)
{
    http_parser_settings settings;
    http_parser parser;
    struct request request = {0};
    struct answer answer;
    bool whole;

    http_parser_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_name;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_head;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &request;
    whole =
        http_parser_execute(&parser, &settings, (const char *)head, head_len) == head_len;
    request.bad = request.bad || !whole || HTTP_PARSER_ERRNO(&parser) != HPE_OK ||
                  !lines_end_well(head, head_len);
    *json = is_there(request.header[H_PROTOCOL]) &&
            choose(request.header[H_PROTOCOL]) == subprotocols[1];
    answer = judge(&parser, &request, origins);
    if (answer.status == 101) {
        put_welcome(&request, out, len);
    } else {
        put_refusal(&answer, out, len);
    }
    return answer.status == 101;
}

void
gate_http_too_long(char out[GATE_HTTP_ANSWER_MAX], size_t *len)
{
    const struct answer answer = {431, "Request Header Fields Too Large", "",
                                  "The head of a request has at most 8192 bytes."};

    put_refusal(&answer, out, len);
}
