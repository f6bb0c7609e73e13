/* The conversations a client knows: what waits to be sent to each peer, and how far each
 * has come. Those that nothing hangs on are forgotten when there are too many. */
#include "client/client_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t
bucket_of(const uint8_t *peer, size_t len)
{
    uint32_t h = 2166136261u; /* FNV-1a: a program's own peers, no adversary */

    for (size_t i = 0; i < len; i++) {
        h = (h ^ peer[i]) * 16777619u;
    }
    return h % AC_CONV_BUCKETS;
}

struct ac_conv *
ac_conv_find(struct anser_client *client, const uint8_t *peer, size_t len)
{
    struct ac_conv *conv = client->convs[bucket_of(peer, len)];

    while (conv != NULL &&
           (conv->peer_len != len || memcmp(conv->peer, peer, len) != 0)) {
        conv = conv->hash_next;
    }
    return conv;
}

static bool
conv_idle(const struct ac_conv *conv)
{
    return conv->first == NULL && conv->followed == NULL && conv->received <= conv->told;
}

/* Forgets the conversations that nothing hangs on. */
static void
forget_idle(struct anser_client *client)
{
    for (size_t i = 0; i < AC_CONV_BUCKETS; i++) {
        struct ac_conv **at = &client->convs[i];
        while (*at != NULL) {
            struct ac_conv *conv = *at;
            if (!conv_idle(conv)) {
                at = &conv->hash_next;
                continue;
            }
            *at = conv->hash_next;
            free(conv);
            client->conv_count--;
        }
    }
}

struct ac_conv *
ac_conv_get(struct anser_client *client, const uint8_t *peer, size_t len)
{
    struct ac_conv *conv = ac_conv_find(client, peer, len);
    size_t bucket = bucket_of(peer, len);

    assert(len <= AN_NAME_LEN_MAX);
    if (conv != NULL) {
        return conv;
    }
    if (client->conv_count >= ANSER_LIMIT_CONVERSATIONS_MAX) {
        forget_idle(client);
    }
    if (client->conv_count >= ANSER_LIMIT_CONVERSATIONS_MAX) {
        return NULL;
    }
    conv = calloc(1, sizeof(*conv));
    if (conv == NULL) {
        return NULL;
    }
    memcpy(conv->peer, peer, len);
    conv->peer_len = len;
    conv->hash_next = client->convs[bucket];
    client->convs[bucket] = conv;
    client->conv_count++;
    return conv;
}

void
ac_conv_free_all(struct anser_client *client)
{
    for (size_t i = 0; i < AC_CONV_BUCKETS; i++) {
        while (client->convs[i] != NULL) {
            struct ac_conv *conv = client->convs[i];
            client->convs[i] = conv->hash_next;
            free(conv);
        }
    }
    client->conv_count = 0;
}

static struct ac_conv_list *
list_of(struct anser_client *client, enum ac_queue queue)
{
    return queue == AC_QUEUE_READY ? &client->sending.ready : &client->sending.blocked;
}

/* At the end of the queue, also when it is in that queue already. */
void
ac_conv_queue(struct anser_client *client, struct ac_conv *conv, enum ac_queue queue)
{
    if (conv->queue != AC_QUEUE_NONE) {
        struct ac_conv_list *list = list_of(client, conv->queue);
        *(conv->prev == NULL ? &list->first : &conv->prev->next) = conv->next;
        *(conv->next == NULL ? &list->last : &conv->next->prev) = conv->prev;
        conv->prev = conv->next = NULL;
    }
    conv->queue = queue;
    if (queue != AC_QUEUE_NONE) {
        struct ac_conv_list *list = list_of(client, queue);
        conv->prev = list->last;
        *(list->last == NULL ? &list->first : &list->last->next) = conv;
        list->last = conv;
    }
}

/* Puts the conversation where it belongs now. */
void
ac_conv_settle(struct anser_client *client, struct ac_conv *conv)
{
    enum ac_queue queue = AC_QUEUE_READY;

    if (conv->unsent == NULL || (conv->probing && conv->in_flight > 0)) {
        queue = AC_QUEUE_NONE; /* an answer, or a new message, settles it again */
    } else if (conv->not_before > client->now) {
        queue = AC_QUEUE_BLOCKED;
    }
    if (queue != conv->queue) {
        ac_conv_queue(client, conv, queue);
    }
}
