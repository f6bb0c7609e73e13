#include "core/control.h"
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

static enum an_err
exchange(nng_socket socket, char **out, const char *words, uint32_t timeout_ms)
{
    nng_msg *msg;
    int rv = nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, (nng_duration)timeout_ms);

    if (rv == 0) {
        rv = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    }
    if (rv == 0) {
        rv = nng_send(socket, (void *)(uintptr_t)words, strlen(words), 0);
    }
    if (rv == 0) {
        rv = nng_recvmsg(socket, &msg, 0);
    }
    if (rv != 0) {
        return rv == NNG_ENOMEM ? AN_ERR_NO_MEMORY : AN_ERR_TIMEOUT;
    }
    *out = strndup(nng_msg_body(msg), nng_msg_len(msg));
    nng_msg_free(msg);
    return *out == NULL ? AN_ERR_NO_MEMORY : AN_OK;
}

enum an_err
an_control_ask(char **out, const char *url, const char *words, uint32_t timeout_ms)
{
    nng_socket socket;
    enum an_err err;

    if (nng_req0_open(&socket) != 0) {
        return AN_ERR_NO_MEMORY;
    }
    err = nng_dial(socket, url, NULL, 0) == 0 ? exchange(socket, out, words, timeout_ms)
                                              : AN_ERR_UNAVAILABLE;
    nng_close(socket);
    return err;
}
