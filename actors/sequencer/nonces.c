/* Signed requests of back ends, each taken once: the first that claims its mark, within
 * the time that it is good. Not stored: a sequencer that comes to have a slot refuses
 * what was signed until then, for the one before may have taken it. What is remembered is
 * in monotonic time: a clock that is set does not touch it. */
#include "actors/sequencer/sequencer_priv.h"
#include "core/slot.h"
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 8192,
    WAYS = 32,
    APP_WAYS = 24, /* an app's share: at 200 requests a second, 9 in a bucket on average,
                    * one of 50,000 finds it full; and others have room beside it */
    SLACK_S = 60,  /* apis whose clocks are behind ours believe a request longer */
    KEEP_S = AN_SIGN_WINDOW_S + SLACK_S,
    KEEP_MAX_S = KEEP_S + AN_SIGN_WINDOW_S, /* of one signed with a clock that is ahead */
};

struct seen {
    uint8_t mark[AN_MARK_LEN];
    uint64_t claimant;
    uint32_t app;
    uint32_t free_s; /* monotonic; then it is too old to come again; 0: never used */
};

struct seq_nonces {
    struct seen seen[BUCKETS][WAYS];
};

enum an_err
seq_claim_nonce_check(const Anser__Bus__Command *in)
{
    const Anser__Bus__ClaimNonce *claim = in->claim_nonce;

    return claim->mark.len == AN_MARK_LEN && claim->claimant != 0 &&
                   an_slot_mark(claim->mark.data) == in->slot && claim->at_s < UINT32_MAX
               ? AN_OK
               : AN_ERR_ARGUMENT;
}

/* The slot took some of a mark's bytes. */
static struct seen *
bucket_of(struct seq_nonces *nonces, const uint8_t *mark)
{
    uint32_t at;

    memcpy(&at, mark + 4, sizeof(at));
    return nonces->seen[at % BUCKETS];
}

/* Not shorter than what is signed now, whatever our clock says: it may be wrong. */
static uint32_t
keep_s(uint64_t at_s, struct an_now now)
{
    uint64_t now_s = now.wall_ms / 1000, ahead_s = at_s > now_s ? at_s - now_s : 0;

    return ahead_s > KEEP_MAX_S - KEEP_S ? KEEP_MAX_S : KEEP_S + (uint32_t)ahead_s;
}

static enum an_err
take(struct seq_nonces *nonces, const Anser__Bus__ClaimNonce *claim, struct an_now now)
{
    struct seen *ways = bucket_of(nonces, claim->mark.data), *room = NULL;
    uint32_t now_s = (uint32_t)(now.mono_ms / 1000);
    unsigned of_app = 0;

    for (unsigned i = 0; i < WAYS; i++) {
        if (ways[i].free_s <= now_s) {
            room = &ways[i];
        } else if (memcmp(ways[i].mark, claim->mark.data, AN_MARK_LEN) == 0) {
            return ways[i].claimant == claim->claimant ? AN_OK
                                                       : AN_ERR_SIGNATURE_REPLAYED;
        } else {
            of_app += ways[i].app == claim->app;
        }
    }
    if (room == NULL || of_app >= APP_WAYS) {
        return AN_ERR_BUSY;
    }
    memcpy(room->mark, claim->mark.data, AN_MARK_LEN);
    room->claimant = claim->claimant;
    room->app = claim->app;
    room->free_s = now_s + keep_s(claim->at_s, now) + 1;
    return AN_OK;
}

/* When the slot came to be ours, by the clock as it is now: it may have been set since.
 */
static uint64_t
held_from_s(const struct seq_slot *slot, struct an_now now)
{
    uint64_t held_ms = now.mono_ms - slot->held_mono_ms;

    return now.wall_ms > held_ms ? (now.wall_ms - held_ms) / 1000 : 0;
}

void
seq_claim_nonce_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                    struct an_outbox *out)
{
    const Anser__Bus__ClaimNonce *claim = cmd->in->claim_nonce;
    uint64_t from_s = held_from_s(&s->slots[cmd->slot], now);
    enum an_err err = AN_ERR_BUSY;

    if (s->nonces == NULL) { /* most clusters have no back end */
        s->nonces = calloc(1, sizeof(*s->nonces));
    }
    if (claim->at_s <= from_s) {
        cmd->retry_after_ms = (uint32_t)(from_s - claim->at_s + 1) * 1000;
        err = AN_ERR_SIGNATURE_EXPIRED;
    } else if (s->nonces != NULL) {
        err = take(s->nonces, claim, now);
    }
    s->m.nonces += err == AN_OK;
    seq_finish(s, cmd, err, now, out);
}
