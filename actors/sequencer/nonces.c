/* Signed requests of back ends, each taken once: the first that claims its mark, within
 * the time that it is good. Not stored: a sequencer that comes to have a slot refuses
 * what was signed until then, for the one before may have taken it. */
#include "actors/sequencer/sequencer_priv.h"
#include "core/slot.h"
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 8192,
    WAYS = 16,    /* 131,072 requests in twice the window: 200 a second */
    SLACK_S = 60, /* apis whose clocks are behind ours believe a request longer */
};

struct seen {
    uint8_t mark[AN_MARK_LEN];
    uint64_t claimant;
    uint64_t until_s; /* then it is too old to come again */
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

static enum an_err
take(struct seq_nonces *nonces, const Anser__Bus__ClaimNonce *claim, uint64_t now_s)
{
    struct seen *ways = bucket_of(nonces, claim->mark.data), *room = NULL;

    for (unsigned i = 0; i < WAYS; i++) {
        if (ways[i].until_s < now_s) {
            room = &ways[i];
        } else if (memcmp(ways[i].mark, claim->mark.data, AN_MARK_LEN) == 0) {
            return ways[i].claimant == claim->claimant ? AN_OK
                                                       : AN_ERR_SIGNATURE_REPLAYED;
        }
    }
    if (room == NULL) {
        return AN_ERR_BUSY;
    }
    memcpy(room->mark, claim->mark.data, AN_MARK_LEN);
    room->claimant = claim->claimant;
    room->until_s = claim->at_s + AN_SIGN_WINDOW_S + SLACK_S;
    return AN_OK;
}

void
seq_claim_nonce_run(struct seq *s, struct seq_cmd *cmd, struct an_now now,
                    struct an_outbox *out)
{
    const Anser__Bus__ClaimNonce *claim = cmd->in->claim_nonce;
    uint64_t since_s = s->slots[cmd->slot].since_s;
    enum an_err err = AN_ERR_BUSY;

    if (s->nonces == NULL) { /* most clusters have no back end */
        s->nonces = calloc(1, sizeof(*s->nonces));
    }
    if (claim->at_s <= since_s) {
        cmd->retry_after_ms = (uint32_t)(since_s - claim->at_s + 1) * 1000;
        err = AN_ERR_SIGNATURE_EXPIRED;
    } else if (s->nonces != NULL) {
        err = take(s->nonces, claim, now.wall_ms / 1000);
    }
    s->m.nonces += err == AN_OK;
    seq_finish(s, cmd, err, now, out);
}
