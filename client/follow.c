/* What becomes of sent messages. Receipts are hints and may be lost; positions move
 * forward only, so a missed one is healed by the next, and by asking History. */
#include "client/client_priv.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct anser_send
describe(const struct ac_conv *conv, const struct ac_followed *f,
         enum anser_send_state state)
{
    return (struct anser_send){
        .ticket = f->ticket,
        .tag = f->tag,
        .state = state,
        .to = conv->peer,
        .client_msg_id = f->id,
        .seq = f->seq,
        .message_id = f->message_id,
        .time_ms = f->time_ms,
        .attempts = f->attempts,
    };
}

static void
tell_stored(struct anser_client *client, struct ac_conv *conv, struct ac_followed *f)
{
    struct anser_send send = describe(conv, f, ANSER_SEND_STORED);

    if (!f->stored) {
        f->stored = true;
        ac_outgoing_tell(client, &send);
    }
}

/* Everything up to the conversation's delivered position is told and forgotten. */
static void
deliver(struct anser_client *client, struct ac_conv *conv)
{
    while (conv->followed != NULL && conv->followed->seq <= conv->delivered) {
        struct ac_followed *f = conv->followed;
        struct anser_send send = describe(conv, f, ANSER_SEND_DELIVERED);

        conv->followed = f->next;
        if (f->next == NULL) {
            conv->followed_last = NULL;
        }
        client->following.count--;
        ac_outgoing_tell(client, &send);
        free(f);
    }
}

void
ac_follow_delivered(struct anser_client *client, const char *peer, uint64_t seq)
{
    struct ac_conv *conv = ac_conv_find(client, (const uint8_t *)peer, strlen(peer));

    if (conv != NULL && seq > conv->delivered) {
        conv->delivered = seq;
        deliver(client, conv);
    }
}

/* ------------------------------------------------------------------ early receipts */

static void
remember_early(struct anser_client *client, const char *peer, uint64_t seq)
{
    struct ac_following *f = &client->following;
    struct ac_early *early;

    if (f->early == NULL) {
        f->early = calloc(ANSER_LIMIT_EARLY_MAX, sizeof(*f->early));
    }
    if (f->early == NULL) {
        return; /* a hint lost */
    }
    early = &f->early[f->early_at++ % ANSER_LIMIT_EARLY_MAX];
    early->seq = seq;
    memcpy(early->peer, peer, strlen(peer) + 1);
}

static bool
take_early(struct anser_client *client, const struct ac_conv *conv, uint64_t seq)
{
    struct ac_early *early = client->following.early;

    for (size_t i = 0; early != NULL && i < ANSER_LIMIT_EARLY_MAX; i++) {
        if (early[i].seq == seq && strcmp(early[i].peer, conv->peer) == 0) {
            early[i].seq = 0;
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ following */

/* Kept by seq; acks of a conversation come in its order but for rare exceptions. */
static void
insert(struct ac_conv *conv, struct ac_followed *f)
{
    struct ac_followed **at = &conv->followed;

    if (conv->followed_last != NULL && conv->followed_last->seq < f->seq) {
        at = &conv->followed_last->next;
    }
    while (*at != NULL && (*at)->seq < f->seq) {
        at = &(*at)->next;
    }
    f->next = *at;
    *at = f;
    if (f->next == NULL) {
        conv->followed_last = f;
    }
}

void
ac_follow_sent(struct anser_client *client, struct ac_conv *conv,
               const struct anser_send *sent)
{
    struct ac_following *following = &client->following;
    struct ac_followed *f;

    if (client->callbacks.on_send == NULL || client->send_only ||
        following->count >= ANSER_LIMIT_FOLLOWED_MAX) {
        return;
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return; /* the message is sent; only its marks are not followed */
    }
    f->ticket = sent->ticket;
    f->tag = sent->tag;
    f->seq = sent->seq;
    f->message_id = sent->message_id;
    f->time_ms = sent->time_ms;
    f->attempts = sent->attempts;
    memcpy(f->id, sent->client_msg_id, sizeof(f->id));
    insert(conv, f);
    following->count++;
    if (take_early(client, conv, f->seq)) {
        tell_stored(client, conv, f);
    }
    deliver(client, conv);
    if (following->check_at == AC_NEVER) {
        following->check_ms = ANSER_LIMIT_FOLLOW_MIN_MS;
        following->check_at = client->now + following->check_ms;
    }
}

static void
stored(struct anser_client *client, const char *peer, uint64_t seq)
{
    struct ac_conv *conv = ac_conv_find(client, (const uint8_t *)peer, strlen(peer));
    struct ac_followed *f = conv == NULL ? NULL : conv->followed;

    while (f != NULL && f->seq < seq) {
        f = f->next;
    }
    if (f != NULL && f->seq == seq) {
        tell_stored(client, conv, f);
    } else if (conv != NULL && conv->in_flight > 0) {
        remember_early(client, peer, seq); /* it may have overtaken its SendOk */
    }
}

void
ac_follow_receipt(struct anser_client *client, const Anser__Client__Receipt *in)
{
    char peer[AN_NAME_LEN_MAX + 1];
    struct ac_conv *conv;

    if (in->peer.len == 0 || in->peer.len > AN_NAME_LEN_MAX) {
        return; /* a hint we cannot use */
    }
    memcpy(peer, in->peer.data, in->peer.len);
    peer[in->peer.len] = '\0';
    conv = ac_conv_find(client, in->peer.data, in->peer.len);
    if (in->kind == ANSER__CLIENT__RECEIPT_KIND__RECEIPT_DELIVERED && conv != NULL) {
        ac_follow_delivered(client, peer, in->seq);
    } else if (in->kind == ANSER__CLIENT__RECEIPT_KIND__RECEIPT_STORED) {
        stored(client, peer, in->seq);
    }
}

/* ------------------------------------------------------------------ asking */

static void
ask_all(struct anser_client *client)
{
    for (size_t i = 0; i < AC_CONV_BUCKETS; i++) {
        for (struct ac_conv *conv = client->convs[i]; conv; conv = conv->hash_next) {
            if (conv->followed != NULL) {
                ac_history_ask_own(client, conv->peer);
            }
        }
    }
}

void
ac_follow_online(struct anser_client *client)
{
    if (client->following.count > 0) {
        client->following.check_ms = ANSER_LIMIT_FOLLOW_MIN_MS;
        client->following.check_at = client->now;
    }
}

/* Rarer and rarer while nothing is delivered: the peer may be away for days. */
enum an_err
ac_follow_step(struct anser_client *client)
{
    struct ac_following *f = &client->following;

    if (f->check_at > client->now) {
        return AN_OK;
    }
    if (f->count == 0) {
        f->check_at = AC_NEVER;
        return AN_OK;
    }
    ask_all(client);
    f->check_at = client->now + f->check_ms;
    f->check_ms *= 2;
    if (f->check_ms > ANSER_LIMIT_FOLLOW_MAX_MS) {
        f->check_ms = ANSER_LIMIT_FOLLOW_MAX_MS;
    }
    return AN_OK;
}

void
ac_follow_free(struct anser_client *client)
{
    for (size_t i = 0; i < AC_CONV_BUCKETS; i++) {
        for (struct ac_conv *conv = client->convs[i]; conv; conv = conv->hash_next) {
            while (conv->followed != NULL) {
                struct ac_followed *f = conv->followed;
                conv->followed = f->next;
                free(f);
            }
            conv->followed_last = NULL;
        }
    }
    free(client->following.early);
    client->following.early = NULL;
    client->following.count = 0;
}
