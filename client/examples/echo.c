/* The whole of a program on the client library: answers every text with the same text.
 *
 *     echo tcp://127.0.0.1:7400 TOKEN [CURSOR-FILE]
 *
 * docs/sdk.md walks through it. */
#include "client/anser.h"
#include <stdio.h>
#include <string.h>

struct echo {
    struct anser_client *client;
};

static void
on_state(void *user, enum anser_state state, const struct anser_error *why)
{
    struct echo *echo = user;

    if (state == ANSER_STATE_ONLINE) {
        printf("online as %s\n", anser_client_user(echo->client));
    } else if (why != NULL) {
        printf("%s: %s (%s)\n", state == ANSER_STATE_CLOSED ? "closed" : "offline",
               why->text, why->name);
    }
    (void)fflush(stdout);
}

static bool
on_message(void *user, const struct anser_message *message)
{
    struct echo *echo = user;
    struct anser_outgoing answer = {.to = message->from,
                                    .type = message->type,
                                    .body = message->body,
                                    .body_len = message->body_len};

    if (message->own || message->type != ANSER_TEXT) {
        return true; /* taken: an echo of an echo would never end */
    }
    /* Not taken while the queue is full: it comes again after anser_client_resume(). */
    return anser_client_send(echo->client, &answer, NULL) != ANSER_ERR_FULL;
}

static void
on_send(void *user, const struct anser_send *send)
{
    (void)user;
    if (send->state == ANSER_SEND_FAILED) {
        printf("not sent to %s: %s\n", send->to, send->error.text);
    }
}

int
main(int argc, char **argv)
{
    struct echo echo = {0};
    struct anser_options options = {.device = "echo",
                                    .user = &echo,
                                    .callbacks = {.on_state = on_state,
                                                  .on_message = on_message,
                                                  .on_send = on_send}};
    const char *address;
    enum anser_err err;

    if (argc < 3) {
        fprintf(stderr, "echo tcp://HOST:PORT TOKEN [CURSOR-FILE]\n");
        return 2;
    }
    address = argv[1];
    options.addresses = &address;
    options.address_count = 1;
    options.token = argv[2];
    options.cursor_path = argc > 3 ? argv[3] : NULL;
    err = anser_client_create(&echo.client, &options);
    while (err == ANSER_OK) {
        err = anser_client_wait(echo.client, 1000);
        anser_client_resume(echo.client);
    }
    fprintf(stderr, "echo: %s\n", anser_err_text(err));
    anser_client_destroy(echo.client);
    return 1;
}
