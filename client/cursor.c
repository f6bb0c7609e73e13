/* The cursor file: what this device has taken, so that a restart repeats nothing even if
 * the server has not heard of it yet. Text, so that people can read it:
 *
 *   anser-cursor 1
 *   user NAME
 *   device NAME
 *   generation N
 *   inbox_seq N
 *   delivered PEER N          one for each position the server has not acknowledged
 *   check HEX                 BLAKE2b-128 of all lines above
 *
 * It is replaced whole: a new file, synced, renamed, the folder synced. */
#include "client/client_priv.h"
#include "proto/names.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHECK_LEN = 16 };

static void
check_of(char hex[2 * CHECK_LEN + 1], const char *text, size_t len)
{
    uint8_t hash[CHECK_LEN];

    (void)crypto_generichash(hash, sizeof(hash), (const uint8_t *)text, len, NULL, 0);
    (void)sodium_bin2hex(hex, 2 * CHECK_LEN + 1, hash, sizeof(hash));
}

/* ------------------------------------------------------------------ reading */

/* The rest of the line after "KEY ", or NULL. *at moves to the next line. */
static char *
line_value(char **at, const char *key)
{
    size_t key_len = strlen(key);
    char *line = *at;
    char *end = strchr(line, '\n');

    if (end == NULL || strncmp(line, key, key_len) != 0 || line[key_len] != ' ') {
        return NULL;
    }
    *end = '\0';
    *at = end + 1;
    return line + key_len + 1;
}

static bool
number(uint64_t *out, const char *text)
{
    char *end;

    if (text == NULL || *text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool
same(const char *text, const char *expected)
{
    return text != NULL && strcmp(text, expected) == 0;
}

static bool
position(struct anser_client *client, char *value)
{
    char *space = strchr(value, ' ');
    struct ac_conv *conv;
    uint64_t seq;

    if (space == NULL || !number(&seq, space + 1) ||
        !an_name_valid((const uint8_t *)value, (size_t)(space - value))) {
        return false;
    }
    conv = ac_conv_get(client, (const uint8_t *)value, (size_t)(space - value));
    if (conv != NULL) {
        ac_confirm_received(client, conv, seq);
    }
    return true;
}

static enum an_err
parse(struct anser_client *client, char *text, size_t len, uint64_t *generation,
      uint64_t *seq)
{
    char hex[2 * CHECK_LEN + 1];
    char *check = strstr(text, "\ncheck ");
    char *at = text;
    char *value;

    if (strlen(text) != len || check == NULL) {
        return AN_ERR_CORRUPT;
    }
    check_of(hex, text, (size_t)(check + 1 - text));
    if (strncmp(check + 7, hex, sizeof(hex) - 1) != 0) {
        return AN_ERR_CORRUPT;
    }
    if (!same(line_value(&at, "anser-cursor"), "1") ||
        !same(line_value(&at, "user"), client->name) ||
        !same(line_value(&at, "device"), client->device) ||
        !number(generation, line_value(&at, "generation")) ||
        !number(seq, line_value(&at, "inbox_seq"))) {
        return AN_ERR_CORRUPT;
    }
    while ((value = line_value(&at, "delivered")) != NULL) {
        if (!position(client, value)) {
            return AN_ERR_CORRUPT;
        }
    }
    return AN_OK;
}

static enum an_err
read_file(const char *path, char *buf, size_t cap, size_t *len, bool *found)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum an_err err = AN_OK;

    *found = fd >= 0;
    *len = 0;
    if (fd < 0) {
        return errno == ENOENT ? AN_OK : AN_ERR_IO;
    }
    while (err == AN_OK) {
        ssize_t got = read(fd, buf + *len, cap - *len);
        if (got == 0) {
            break;
        }
        if (got < 0) {
            err = errno == EINTR ? AN_OK : AN_ERR_IO;
        } else {
            *len += (size_t)got;
            err = *len == cap ? AN_ERR_CORRUPT : AN_OK;
        }
    }
    close(fd);
    return err;
}

enum an_err
ac_cursor_load(struct anser_client *client, uint64_t *generation, uint64_t *seq,
               bool *found)
{
    char *buf = malloc(ANSER_LIMIT_CURSOR_FILE_BYTES_MAX + 1);
    size_t len = 0;
    enum an_err err;

    *found = false;
    if (buf == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    err = read_file(client->cursor_path, buf, ANSER_LIMIT_CURSOR_FILE_BYTES_MAX, &len,
                    found);
    if (err == AN_OK && *found) {
        buf[len] = '\0';
        err = parse(client, buf, len, generation, seq);
    }
    free(buf);
    return err;
}

/* ------------------------------------------------------------------ writing */

static void
put_positions(FILE *out, const struct anser_client *client)
{
    size_t left = ANSER_LIMIT_POSITIONS_MAX;

    for (size_t i = 0; i < AC_CONV_BUCKETS; i++) {
        const struct ac_conv *conv = client->convs[i];
        for (; conv != NULL && left > 0; conv = conv->hash_next) {
            if (conv->received > conv->told) {
                fprintf(out, "delivered %s %" PRIu64 "\n", conv->peer, conv->received);
                left--;
            }
        }
    }
}

/* The whole text, from malloc(). */
static char *
compose(const struct anser_client *client, uint64_t seq, size_t *len)
{
    char hex[2 * CHECK_LEN + 1];
    char *text = NULL;
    FILE *out = open_memstream(&text, len);

    if (out == NULL) {
        return NULL;
    }
    fprintf(out,
            "anser-cursor 1\nuser %s\ndevice %s\ngeneration %" PRIu64
            "\ninbox_seq %" PRIu64 "\n",
            client->name, client->device, client->inbox.generation, seq);
    put_positions(out, client);
    if (fflush(out) == 0) {
        check_of(hex, text, *len);
        fprintf(out, "check %s\n", hex);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static bool
write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, text, len);
        if (put < 0 && errno != EINTR) {
            return false;
        }
        if (put > 0) {
            text += put;
            len -= (size_t)put;
        }
    }
    return true;
}

static bool
sync_folder(const char *path)
{
    char copy[PATH_MAX];
    bool ok;
    int fd;

    memcpy(copy, path, strlen(path) + 1);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static enum an_err
replace(const char *path, const char *text, size_t len)
{
    char temp[PATH_MAX];
    int n = snprintf(temp, sizeof(temp), "%s.new", path);
    bool ok;
    int fd;

    if (n < 0 || (size_t)n >= sizeof(temp)) {
        return AN_ERR_IO;
    }
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return AN_ERR_IO;
    }
    ok = write_all(fd, text, len) && fdatasync(fd) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(temp, path) == 0 && sync_folder(path);
    return ok ? AN_OK : AN_ERR_IO;
}

enum an_err
ac_cursor_save(struct anser_client *client, uint64_t seq)
{
    size_t len = 0;
    char *text = compose(client, seq, &len);
    enum an_err err;

    if (text == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    err = replace(client->cursor_path, text, len);
    free(text);
    return err;
}
