#include "client/cli/show.h"
#include "proto/utf8.h"
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Length of the printable UTF-8 character at data, 0 when it must be escaped. */
static size_t
printable(const uint8_t *data, size_t len)
{
    size_t n = data[0] < 0x80 ? 1 : data[0] < 0xE0 ? 2 : data[0] < 0xF0 ? 3 : 4;

    if (data[0] < ' ' || data[0] == 0x7F || n > len || !an_utf8_valid(data, n)) {
        return 0;
    }
    if (data[0] == 0xC2 && data[1] < 0xA0) { /* C1 controls */
        return 0;
    }
    return n;
}

static void
put(FILE *out, const uint8_t *data, size_t len, bool backslash)
{
    for (size_t i = 0; i < len;) {
        size_t n = printable(data + i, len - i);

        if (n == 0) {
            switch (data[i]) {
            case '\n':
                fputs("\\n", out);
                break;
            case '\t':
                fputs("\\t", out);
                break;
            case '\r':
                fputs("\\r", out);
                break;
            default:
                fprintf(out, "\\x%02X", data[i]);
            }
            i++;
            continue;
        }
        if (data[i] == '\\' && backslash) {
            putc('\\', out);
        }
        fwrite(data + i, 1, n, out);
        i += n;
    }
}

void
cli_put_escaped(FILE *out, const uint8_t *data, size_t len)
{
    put(out, data, len, true);
}

void
cli_put_plain(FILE *out, const uint8_t *data, size_t len)
{
    put(out, data, len, false);
}

void
cli_put_other(FILE *out, const struct anser_message *message)
{
    switch (message->type) {
    case ANSER_TEXT:
        fputs("[text", out);
        break;
    case ANSER_PICTURE:
        fputs("[picture", out);
        break;
    case ANSER_FILE:
        fputs("[file", out);
        break;
    case ANSER_RED_PACKET:
        fputs("[red packet", out);
        break;
    default:
        fprintf(out, "[type %" PRIu32, message->type);
    }
    fprintf(out, ", %zu bytes]", message->body_len);
}

void
cli_put_line(FILE *out, const struct anser_message *message)
{
    fprintf(out, "%" PRIu64 " %s ", message->seq, message->from);
    if (message->type == ANSER_TEXT) {
        cli_put_escaped(out, message->body, message->body_len);
    } else {
        cli_put_other(out, message);
    }
    putc('\n', out);
}

static void
put_number(json_t *object, const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    (void)json_object_set_new(object, name, json_string(text));
}

static void
put_body(json_t *object, const struct anser_message *message)
{
    size_t cap =
        sodium_base64_encoded_len(message->body_len, sodium_base64_VARIANT_ORIGINAL);
    char *text;

    if (message->type == ANSER_TEXT && an_utf8_valid(message->body, message->body_len)) {
        (void)json_object_set_new(
            object, "text", json_stringn((const char *)message->body, message->body_len));
        return;
    }
    text = malloc(cap);
    if (text != NULL) {
        (void)sodium_bin2base64(text, cap, message->body, message->body_len,
                                sodium_base64_VARIANT_ORIGINAL);
        (void)json_object_set_new(object, "body_base64", json_string(text));
    }
    free(text);
}

bool
cli_put_json(FILE *out, const struct anser_message *message)
{
    char id[2 * ANSER_MSG_ID_LEN + 1];
    json_t *object = json_object();
    bool ok;

    if (object == NULL) {
        return false;
    }
    (void)sodium_bin2hex(id, sizeof(id), message->client_msg_id, ANSER_MSG_ID_LEN);
    put_number(object, "id", message->message_id);
    put_number(object, "message_id", message->message_id);
    put_number(object, "seq", message->seq);
    if (message->inbox_seq != 0) {
        put_number(object, "inbox_seq", message->inbox_seq);
    }
    (void)json_object_set_new(object, "peer", json_string(message->peer));
    (void)json_object_set_new(object, "from", json_string(message->from));
    (void)json_object_set_new(object, "to", json_string(message->to));
    (void)json_object_set_new(object, "from_device", json_string(message->from_device));
    (void)json_object_set_new(object, "type", json_integer((json_int_t)message->type));
    put_number(object, "time_ms", message->time_ms);
    (void)json_object_set_new(object, "client_msg_id", json_string(id));
    put_body(object, message);
    ok = json_dumpf(object, out, JSON_COMPACT) == 0 && putc('\n', out) != EOF;
    json_decref(object);
    return ok;
}
