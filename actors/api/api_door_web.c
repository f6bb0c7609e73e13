/* Files of the web page. A path is taken literally: letters, digits and -_. between
 * slashes, no part that begins with a dot, so none leads out of the directory. */
#include "actors/api/api_door_priv.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAG_MAX = 64 };

static const char POLICY[] =
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; "
    "style-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'";

/* X(ending, content type) */
#define WEB_TYPES(X)                                                                     \
    X("html", "text/html; charset=utf-8")                                                \
    X("js", "text/javascript; charset=utf-8")                                            \
    X("mjs", "text/javascript; charset=utf-8")                                           \
    X("css", "text/css; charset=utf-8")                                                  \
    X("json", "application/json")                                                        \
    X("map", "application/json")                                                         \
    X("webmanifest", "application/manifest+json")                                        \
    X("txt", "text/plain; charset=utf-8")                                                \
    X("svg", "image/svg+xml")                                                            \
    X("png", "image/png")                                                                \
    X("jpg", "image/jpeg")                                                               \
    X("webp", "image/webp")                                                              \
    X("ico", "image/x-icon")                                                             \
    X("woff2", "font/woff2")                                                             \
    X("wasm", "application/wasm")

static const char *
type_of(const char *path)
{
    const char *dot = strrchr(path, '.');

#define ROW(ending, type)                                                                \
    if (dot != NULL && strcmp(dot + 1, ending) == 0) {                                   \
        return type;                                                                     \
    }
    WEB_TYPES(ROW)
#undef ROW
    return "application/octet-stream";
}

/* The file that a URI names, relative to the directory. False: it names none. */
static bool
take_path(const char *uri, char out[DOOR_PATH_MAX])
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    size_t len = strcspn(uri, "?");

    if (len == 0 || uri[0] != '/' || strspn(uri, allowed) < len ||
        len + sizeof("index.html") > DOOR_PATH_MAX) {
        return false;
    }
    for (size_t i = 0; i + 1 < len; i++) {
        if (uri[i] == '/' && (uri[i + 1] == '.' || uri[i + 1] == '/')) {
            return false;
        }
    }
    memcpy(out, uri + 1, len - 1);
    snprintf(out + len - 1, DOOR_PATH_MAX - len + 1, "%s",
             uri[len - 1] == '/' ? "index.html" : "");
    return true;
}

static bool
client_has(struct MHD_Connection *connection, const char *tag)
{
    const char *given = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                                    MHD_HTTP_HEADER_IF_NONE_MATCH);

    return given != NULL && strstr(given, tag) != NULL;
}

static struct MHD_Response *
with_headers(struct MHD_Response *response, const char *path, const char *tag)
{
    if (response == NULL) {
        return NULL;
    }
    (void)MHD_add_response_header(response, "ETag", tag);
    (void)MHD_add_response_header(response, "Cache-Control", "no-cache");
    (void)MHD_add_response_header(response, "Content-Type", type_of(path));
    (void)MHD_add_response_header(response, "Content-Security-Policy", POLICY);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    return response;
}

struct MHD_Response *
api_web_answer(struct api_door *door, const struct an_http_request *request,
               struct MHD_Connection *connection, unsigned *status)
{
    char path[DOOR_PATH_MAX], tag[TAG_MAX];
    struct MHD_Response *response;
    struct stat info;
    int fd = -1;

    if (door->web_fd >= 0 && take_path(request->uri, path)) {
        fd = openat(door->web_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    }
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        if (fd >= 0) {
            close(fd);
        }
        *status = api_error_status(AN_ERR_NOT_FOUND);
        return api_response_error(AN_ERR_NOT_FOUND);
    }
    snprintf(tag, sizeof(tag), "\"%llx-%llx%08lx\"", (unsigned long long)info.st_size,
             (unsigned long long)info.st_mtim.tv_sec,
             (unsigned long)info.st_mtim.tv_nsec);
    if (client_has(connection, tag)) {
        close(fd);
        *status = MHD_HTTP_NOT_MODIFIED;
        return with_headers(
            MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT), path, tag);
    }
    *status = MHD_HTTP_OK;
    response = MHD_create_response_from_fd64((uint64_t)info.st_size, fd); /* takes fd */
    if (response == NULL) {
        close(fd);
    }
    return with_headers(response, path, tag);
}
