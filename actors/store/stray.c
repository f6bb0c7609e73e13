/* Claims and Appends that come a second time, or late. Neither can be told by its
 * content: a late Claim would fence its own sequencer, a late Append would move a cursor
 * back. So a sequencer numbers them, and what is not newer than the newest changes
 * nothing.
 *
 * The numbers need not be durable: a copy does not outlive the connection it came by. */
#include "actors/store/store_priv.h"

bool
store_is_stray(struct store *store, const struct an_msg *msg, uint64_t incarnation,
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
