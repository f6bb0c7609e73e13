/* Errors as the program sees them, from the shared table or from the server's words. */
#include "client/client_priv.h"
#include <stdio.h>
#include <string.h>

/* The public list must be the table: OK has no ERR_ in its public name, hence this one.
 */
enum { ANSER_ERR_OK = ANSER_OK };
#define CHECK(number, name, category, handling, sentence)                                \
    _Static_assert((int)ANSER_ERR_##name == (number), "anser.h and core/err.h differ");
AN_ERRORS(CHECK)

_Static_assert((int)ANSER_CATEGORY_INTERNAL == (int)AN_CAT_INTERNAL, "same order");
_Static_assert((int)ANSER_CATEGORY_AUTH == (int)AN_CAT_AUTH, "same order");

const char *
anser_err_name(unsigned code)
{
    return an_err_name(code);
}

const char *
anser_err_text(unsigned code)
{
    return an_err_text(code);
}

enum anser_category
anser_err_category(unsigned code)
{
    return (enum anser_category)an_err_category(code);
}

struct anser_error
ac_error_text(unsigned code, const char *text)
{
    struct anser_error error = {.code = code};

    error.category = anser_err_category(code);
    error.retry = an_err_handling(code) == AN_HANDLE_RETRY;
    (void)snprintf(error.name, sizeof(error.name), "%s", an_err_name(code));
    (void)snprintf(error.text, sizeof(error.text), "%s", text);
    return error;
}

struct anser_error
ac_error(unsigned code)
{
    return ac_error_text(code, an_err_text(code));
}

/* Printable, cut to fit: the words of a stranger end up in logs and terminals. */
static void
put_text(char *out, size_t cap, ProtobufCBinaryData text)
{
    size_t len = text.len < cap - 1 ? text.len : cap - 1;

    for (size_t i = 0; i < len; i++) {
        uint8_t c = text.data[i];
        out[i] = c >= ' ' && c < 0x7F ? (char)c : '?';
    }
    out[len] = '\0';
}

struct anser_error
ac_error_fields(uint32_t code, ProtobufCBinaryData name, ProtobufCBinaryData text,
                bool retry, uint32_t retry_after_ms)
{
    struct anser_error error = ac_error(code);

    if (name.len > 0) {
        put_text(error.name, sizeof(error.name), name);
    }
    if (text.len > 0) {
        put_text(error.text, sizeof(error.text), text);
    }
    error.retry = retry;
    error.retry_after_ms = retry_after_ms;
    if (error.retry_after_ms > ANSER_LIMIT_RETRY_AFTER_MAX_MS) {
        error.retry_after_ms = ANSER_LIMIT_RETRY_AFTER_MAX_MS;
    }
    return error;
}

struct anser_error
ac_error_frame(struct anser_client *client, const uint8_t *body, size_t len)
{
    Anser__Client__Error *in =
        ac_unpack(client, &anser__client__error__descriptor, body, len);

    if (in == NULL || in->code == 0) {
        return ac_error(AN_ERR_BODY_MALFORMED);
    }
    return ac_error_fields(in->code, in->name, in->text, in->retry, in->retry_after_ms);
}
