/* Every bound of the client library, with its reason. Those that struct anser_options can
 * change are defaults; the rest are fixed. docs/sdk.md lists them (tests/client
 * compares). Units come last in the name. */
#ifndef ANSER_CLIENT_LIMITS_H
#define ANSER_CLIENT_LIMITS_H

/* X(NAME, value, "why") */
#define ANSER_LIMITS(X)                                                                  \
    X(ADDRESSES_MAX, 16, "addresses of one client; tried in turn")                       \
    X(TICKETS_MAX, 64, "TLS sessions kept for connections to come")                      \
    X(RESOLVED_MAX, 8, "socket addresses one host name may stand for")                   \
    X(WINDOW, 64, "default of window: enough to fill a batch, small enough to resend")   \
    X(PENDING_MAX, 1024, "default of pending_max: messages accepted, not yet decided")   \
    X(PENDING_BYTES_MAX, 16 * 1024 * 1024, "bodies of pending messages; then FULL")      \
    X(SEND_ATTEMPTS_MAX, 16, "default of send_attempts_max")                             \
    X(SEND_TIMEOUT_MS, 10 * 60 * 1000, "default of send_timeout_ms; far below 24 h")     \
    X(BACKOFF_MIN_MS, 200, "default of backoff_min_ms: a restart takes about as long")   \
    X(BACKOFF_MAX_MS, 30 * 1000, "default of backoff_max_ms: back soon, without a herd") \
    X(RETRY_AFTER_MAX_MS, 5 * 60 * 1000, "a server's wish to wait is cut here")          \
    X(STABLE_MS, 5000, "online this long: the next pause is the shortest again")         \
    X(CONNECT_TIMEOUT_MS, 10 * 1000, "default of connect_timeout_ms, login included")    \
    X(ANSWER_TIMEOUT_MS, 15 * 1000, "default: longer than the server waits inside")      \
    X(CONFIRM_DELAY_MS, 50, "default of confirm_delay_ms: one confirm for a burst")      \
    X(CONFIRM_OWN_DELAY_MS, 2000, "nobody waits for the confirm of one's own message")   \
    X(CONFIRM_RETRY_MS, 1000, "pause after a refused confirm")                           \
    X(POSITIONS_MAX, 100, "delivered positions in one confirm: what the server takes")   \
    X(HOLE_WAIT_MS, 200, "an answer still due may fill a hole; then Sync is asked")      \
    X(SYNC_RETRY_MS, 1000, "pause after a refused Sync, or one that brought nothing")    \
    X(OWN_IDS_MAX, 1024,                                                                 \
      "own messages whose inbox entry follows; more: handed over too")                   \
    X(HELD_MAX, 256, "entries held back behind a hole or a pause; more: asked again")    \
    X(HELD_BYTES_MAX, 4 * 1024 * 1024, "bytes of them")                                  \
    X(FOLLOWED_MAX, 4096, "sent messages followed until delivered; more: not followed")  \
    X(FOLLOW_MIN_MS, 15 * 1000, "a missed delivered mark is asked for after this long")  \
    X(FOLLOW_MAX_MS, 10 * 60 * 1000, "and, doubling, at most this rarely")               \
    X(EARLY_MAX, 64, "receipts that may overtake the answer to their message")           \
    X(CONVERSATIONS_MAX, 4096, "conversations remembered; idle ones are forgotten")      \
    X(HISTORY_MAX, 16, "history questions not yet answered")                             \
    X(HISTORY_ATTEMPTS_MAX, 5, "a history question is given up after this many")         \
    X(FRAME_IN_MAX, 1024 * 1024, "a frame from the server: a page and its overhead")     \
    X(OUTPUT_HIGH_BYTES, 256 * 1024, "unwritten output above which nothing is added")    \
    X(READ_BYTES, 64 * 1024, "one read; the buffer grows to the frame at hand")          \
    X(READS_MAX, 16, "reads of one process(), so that a flood starves nobody")           \
    X(UNPACK_BYTES_MAX, 4 * 1024 * 1024, "memory one frame may take unpacked")           \
    X(CURSOR_FILE_BYTES_MAX, 64 * 1024, "a cursor file larger than this is damaged")

#define ANSER_LIMIT_ENUM(name, value, why) ANSER_LIMIT_##name = (value),
enum anser_limit { ANSER_LIMITS(ANSER_LIMIT_ENUM) };
#undef ANSER_LIMIT_ENUM

#endif
