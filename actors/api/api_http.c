#include "actors/api/api_http.h"
#include "actors/api/api_error.h"
#include <stdbool.h>
#include <string.h>

static void
answer_error(const struct an_http_request *request, enum an_err err,
             struct an_outbox *out)
{
    char json[API_ERROR_JSON_MAX];
    size_t len = api_error_json(err, NULL, json);

    an_out_http(out, request->id, api_error_status(err), 0, json, len);
}

void
api_http(const struct an_http_request *request, struct an_outbox *out)
{
    static const char healthy[] = "{\"ok\":true}\n";
    size_t len = strcspn(request->uri, "?");

    if (len != strlen("/healthz") || memcmp(request->uri, "/healthz", len) != 0) {
        answer_error(request, AN_ERR_NOT_FOUND, out);
    } else if (request->method != AN_HTTP_GET && request->method != AN_HTTP_HEAD) {
        answer_error(request, AN_ERR_METHOD, out);
    } else {
        an_out_http(out, request->id, 200, 0, healthy, strlen(healthy));
    }
}
