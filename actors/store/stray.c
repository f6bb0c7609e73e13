/* Claims and Appends that come a second time, or late. Neither can be told by its
 * content: a late Claim would fence its own sequencer, a late Append would move a cursor
 * back. So a sequencer numbers them, and what is not newer than the newest changes
 * nothing.
 *
 * The numbers need not be durable: a copy does not outlive the connection it came by. */
#include "actors/store/store_priv.h"

static bool
is_stray(struct store *store, const struct an_msg *msg, uint64_t incarnation,
         uint64_t number)
{
    struct store_writer *writer;

    if (incarnation == 0 || msg->from.role != AN_ROLE_SEQUENCER ||
        msg->from.index >= store->writer_count) {
        return false;
    }
    writer = &store->writers[msg->from.index];
    if (writer->incarnation == incarnation && number <= writer->number) {
        store->counts.strays++;
        return true;
    }
    writer->incarnation = incarnation;
    writer->number = number;
    return false;
}

bool
store_write_admit(struct store *store, struct an_msg *msg, uint64_t incarnation,
                  uint64_t number)
{
    if (is_stray(store, msg, incarnation, number)) {
        store_refuse(store, msg, AN_ERR_TIMEOUT); /* what the first one did, it knows */
        return false;
    }
    if (store->queue.count >= AN_STORE_WRITES_MAX) {
        store_refuse(store, msg, AN_ERR_BUSY);
        return false;
    }
    return true;
}
