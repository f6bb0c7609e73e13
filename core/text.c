#include "core/text.h"
#include "proto/utf8.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { ESCAPE_MAX = 7 };

static const char *
escape_of(unsigned char c, bool json, char buf[ESCAPE_MAX])
{
    switch (c) {
    case '\n':
        return "\\n";
    case '\t':
        return "\\t";
    case '\r':
        return "\\r";
    case '"':
        return json ? "\\\"" : NULL;
    case '\\':
        return json ? "\\\\" : NULL;
    default:
        break;
    }
    if (c >= 0x20 && c != 0x7f) {
        return NULL;
    }
    snprintf(buf, ESCAPE_MAX, "\\u%04x", (unsigned)c);
    return buf;
}

/* Bytes of the well-formed UTF-8 character that begins here; 0: none does. */
static size_t
character(const char *text, size_t len)
{
    for (size_t n = 1; n <= 4 && n <= len; n++) {
        if (an_utf8_valid((const uint8_t *)text, n)) {
            return n;
        }
    }
    return 0;
}

size_t
an_text_escape(char *out, size_t cap, const char *text, size_t len, bool json)
{
    size_t used = 0;

    assert(cap > 0);
    for (size_t i = 0, took = 1; i < len; i += took) {
        char buf[ESCAPE_MAX];
        const char *escape = escape_of((unsigned char)text[i], json, buf);
        size_t need;

        took = json ? character(text + i, len - i) : 1;
        if (took == 0) {
            took = 1;
            escape = "\\ufffd"; /* JSON is UTF-8 */
        }
        need = escape == NULL ? took : strlen(escape);
        if (used + need > cap - 1) {
            break;
        }
        memcpy(out + used, escape == NULL ? &text[i] : escape, need);
        used += need;
    }
    out[used] = '\0';
    return used;
}
