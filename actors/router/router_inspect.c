/* What an operator is shown of who is online. */
#include "actors/router/router_inspect.h"
#include "core/limits.h"
#include "core/text.h"
#include "proto/bus.pb-c.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INSPECT_MAX = 64 }; /* sessions shown at once */

static size_t
put_session(char *out, size_t cap, const struct router_session *s)
{
    char device[2 * AN_NAME_LEN_MAX + 1], platform[2 * AN_NAME_LEN_MAX + 1];
    char name[2 * AN_NAME_LEN_MAX + 1];
    int len;

    an_text_escape(device, sizeof(device), (const char *)s->text, s->device_len, true);
    an_text_escape(platform, sizeof(platform), (const char *)s->text + s->device_len,
                   s->platform_len, true);
    an_text_escape(name, sizeof(name),
                   (const char *)s->text + s->device_len + s->platform_len, s->name_len,
                   true);
    len = snprintf(out, cap,
                   "{\"user\":\"%" PRIu64 "\",\"name\":\"%s\",\"device\":\"%s\","
                   "\"platform\":\"%s\",\"gate\":%u,\"conn\":\"%" PRIu64 "\"}",
                   s->user, name, device, platform, s->gate, s->conn);
    return len < 0 || (size_t)len >= cap ? 0 : (size_t)len;
}

static bool
session_called(const struct router_session *s, const char *word, size_t len)
{
    char key[24];
    int key_len = snprintf(key, sizeof(key), "%" PRIu64, s->user);

    return (s->name_len == len &&
            memcmp(s->text + s->device_len + s->platform_len, word, len) == 0) ||
           ((size_t)key_len == len && memcmp(key, word, len) == 0);
}

/* "sessions NAME-OR-KEY" lists a user's, "sessions" whatever comes first; looking for a
 * name walks the table, which an operator may ask for. */
static void
list(const struct router_table *table, const char *word, size_t len, char *json,
     size_t cap)
{
    size_t at =
        (size_t)snprintf(json, cap, "{\"users\":%zu,\"online\":%zu,\"sessions\":[",
                         table->users, table->sessions - table->closing);
    size_t shown = 0;

    for (size_t i = 0; i < table->cap; i++) {
        for (const struct router_session *s = table->heads[i];
             s != NULL && shown < INSPECT_MAX; s = s->next) {
            if (s->closing || (len > 0 && !session_called(s, word, len))) {
                continue;
            }
            if (shown++ > 0) {
                json[at++] = ',';
            }
            at += put_session(json + at, cap - at - 4, s);
        }
    }
    memcpy(json + at, "]}", 3);
}

void
router_inspect(const struct router_table *table, struct an_msg *msg,
               struct an_outbox *out)
{
    const Anser__Bus__Inspect *inspect = (const Anser__Bus__Inspect *)msg->body;
    static const char verb[] = "sessions";
    const size_t verb_len = sizeof(verb) - 1, cap = INSPECT_MAX * 640 + 256;
    Anser__Bus__Inspected inspected = ANSER__BUS__INSPECTED__INIT;
    const char *words = (const char *)inspect->words.data;
    size_t len = inspect->words.len;
    char *json;

    if (an_out_help(out, msg,
                    "\"sessions [KEY]\":\"who is online, with which device, where\"")) {
        return;
    }
    if (len < verb_len || memcmp(words, verb, verb_len) != 0 ||
        (len > verb_len && words[verb_len] != ' ')) {
        an_out_answer(out, msg, AN_ERR_ARGUMENT, NULL);
        return;
    }
    words += verb_len;
    len -= verb_len;
    while (len > 0 && *words == ' ') {
        words++;
        len--;
    }
    json = malloc(cap);
    if (json == NULL) {
        an_out_answer(out, msg, AN_ERR_NO_MEMORY, NULL);
        return;
    }
    list(table, words, len, json, cap);
    inspected.json = (ProtobufCBinaryData){strlen(json), (uint8_t *)json};
    an_out_answer(out, msg, AN_OK, &inspected.base);
    free(json);
}
