/* The client library as a program that the system tests drive, and its adapter of the
 * conformance kit (client/conformance/README.md): every callback is a line on standard
 * output, every line "TO TEXT" of standard input is sent; "/history PEER" reads one.
 *
 *     sdk_client tcp://HOST:PORT[,...] TOKEN[,...] DEVICE CURSOR-FILE|- ANSWER_TIMEOUT_MS
 * ATTEMPTS
 *
 * A second TOKEN is the fresh one for when the first has expired. Its pauses are short;
 * with SDK_PATIENT in the environment they are the library's own. Ends with its input,
 * when everything is decided and confirmed. */
#include "client/anser.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 4096, FLUSH_MS = 60000, ADDRESSES_MAX = 16 };

static void
on_state(void *user, enum anser_state state, const struct anser_error *why)
{
    static const char *const names[] = {"OFFLINE", "CONNECTING", "ONLINE", "CLOSED"};

    (void)user;
    printf("state %s %s\n", names[state], why != NULL ? why->name : "-");
    (void)fflush(stdout);
}

static bool
on_message(void *user, const struct anser_message *message)
{
    (void)user;
    printf("message %llu %s %.*s\n", (unsigned long long)message->inbox_seq,
           message->from, (int)message->body_len, (const char *)message->body);
    (void)fflush(stdout);
    return true;
}

static void
on_send(void *user, const struct anser_send *send)
{
    static const char *const names[] = {"SENDING", "SENT", "STORED", "DELIVERED",
                                        "FAILED"};

    (void)user;
    printf("send %llu %s %llu %u %s\n", (unsigned long long)send->ticket,
           names[send->state], (unsigned long long)send->seq, send->attempts,
           send->state == ANSER_SEND_FAILED ? send->error.name : "-");
    (void)fflush(stdout);
}

static void
on_gap(void *user, uint64_t from, uint64_t to, bool reset)
{
    (void)user;
    printf("gap %llu %llu %d\n", (unsigned long long)from, (unsigned long long)to, reset);
    (void)fflush(stdout);
}

/* The next token of the list that user points to; NULL when there is none. */
static char *
on_token(void *user)
{
    char **rest = user;

    return *rest == NULL ? NULL : strdup(strsep(rest, ","));
}

/* A page of a conversation that is read whole, oldest first. */
static void
on_page(void *arg, const struct anser_page *page)
{
    struct anser_query query = {.peer = page->peer, .oldest_first = true};

    for (size_t i = 0; i < page->count; i++) {
        const struct anser_message *m = &page->messages[i];

        printf("history %s %llu %.*s\n", page->peer, (unsigned long long)m->seq,
               (int)m->body_len, (const char *)m->body);
        query.after = m->seq;
    }
    if (page->error.code != ANSER_OK || page->completed) {
        printf("history %s end %s\n", page->peer, page->error.name);
    } else {
        (void)anser_client_history(arg, &query, on_page, arg);
    }
    (void)fflush(stdout);
}

static void
send_line(struct anser_client *client, char *line)
{
    struct anser_outgoing message = {.to = line};
    struct anser_query query = {.oldest_first = true};
    char *text = strchr(line, ' ');
    enum anser_err err;

    if (text == NULL) {
        return;
    }
    *text++ = '\0';
    if (strcmp(line, "/history") == 0) {
        query.peer = text;
        (void)anser_client_history(client, &query, on_page, client);
        return;
    }
    message.body = text;
    message.body_len = strlen(text);
    err = anser_client_send(client, &message, NULL);
    if (err != ANSER_OK) {
        printf("refused %s\n", anser_err_name(err));
        (void)fflush(stdout);
    }
}

/* false at the end of the input. */
static bool
read_lines(struct anser_client *client)
{
    static char line[LINE_MAX_LEN];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, line + len, sizeof(line) - len - 1);
    char *end;

    if (got <= 0) {
        return false;
    }
    len += (size_t)got;
    line[len] = '\0';
    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        send_line(client, line);
        len -= (size_t)(end + 1 - line);
        memmove(line, end + 1, len + 1);
    }
    return len < sizeof(line) - 1;
}

static enum anser_err
drive(struct anser_client *client)
{
    enum anser_err err = anser_client_process(client);

    while (err == ANSER_OK) {
        unsigned events = anser_client_events(client);
        struct pollfd fds[2] = {
            {.fd = STDIN_FILENO, .events = POLLIN},
            {.fd = anser_client_fd(client),
             .events = (short)((events & ANSER_READ ? POLLIN : 0) |
                               (events & ANSER_WRITE ? POLLOUT : 0))},
        };

        (void)poll(fds, 2, anser_client_timeout_ms(client));
        if (fds[0].revents != 0 && !read_lines(client)) {
            return anser_client_flush(client, FLUSH_MS);
        }
        err = anser_client_process(client);
    }
    return err;
}

int
main(int argc, char **argv)
{
    bool patient = getenv("SDK_PATIENT") != NULL;
    struct anser_options options = {.backoff_min_ms = patient ? 0 : 50,
                                    .backoff_max_ms = patient ? 0 : 200,
                                    .callbacks = {.on_state = on_state,
                                                  .on_message = on_message,
                                                  .on_send = on_send,
                                                  .on_gap = on_gap,
                                                  .on_token = on_token}};
    const char *addresses[ADDRESSES_MAX];
    char *tokens;
    struct anser_client *client = NULL;
    enum anser_err err;

    if (argc != 7) {
        fprintf(stderr, "six arguments, see sdk_client.c\n");
        return 2;
    }
    for (char *rest = argv[1]; rest != NULL && options.address_count < ADDRESSES_MAX;) {
        addresses[options.address_count++] = strsep(&rest, ",");
    }
    options.addresses = addresses;
    options.ca_file = getenv("ANSER_CA");
    options.server_key = getenv("ANSER_SERVER_KEY"); /* of noise:// */
    tokens = argv[2];
    options.token = strsep(&tokens, ",");
    options.user = &tokens;
    options.device = argv[3];
    options.cursor_path = strcmp(argv[4], "-") == 0 ? NULL : argv[4];
    options.answer_timeout_ms = (uint32_t)strtoul(argv[5], NULL, 10);
    options.send_attempts_max = (uint32_t)strtoul(argv[6], NULL, 10);
    err = anser_client_create(&client, &options);
    printf("can history\n");
    if (err == ANSER_OK) {
        err = drive(client);
    }
    printf("end %s\n", anser_err_name(err));
    anser_client_destroy(client);
    return err == ANSER_OK ? 0 : 1;
}
