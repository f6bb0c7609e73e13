/* The one error type: a stable number, a stable name, one sentence, who is at fault,
 * and what the receiver should do. Clients, actors and the CLI all speak these.
 *
 * Numbers and names are part of the client protocol: never change one, never reuse one.
 */
#ifndef AN_CORE_ERR_H
#define AN_CORE_ERR_H

#include "proto/frame.h"

/* Who is at fault; the CLI's exit code and a client's branch follow from it. */
enum an_category {
    AN_CAT_OK,
    AN_CAT_AUTH,
    AN_CAT_PERMISSION,
    AN_CAT_NOT_FOUND,
    AN_CAT_CONFLICT,
    AN_CAT_BUSY,
    AN_CAT_INVALID,
    AN_CAT_INTERNAL,
};

/* What the receiver should do: send the same again later, change the request, or stop. */
enum an_handling {
    AN_HANDLE_NONE,
    AN_HANDLE_RETRY,
    AN_HANDLE_FIX,
    AN_HANDLE_GIVE_UP,
};

/* X(number, NAME, category, handling, sentence) */
#define AN_ERRORS(X)                                                                     \
    X(0, OK, OK, NONE, "no error")                                                       \
    X(100, LOGIN_REQUIRED, AUTH, FIX, "log in before any other command")                 \
    X(101, TOKEN_INVALID, AUTH, GIVE_UP, "the token's form or signature is not valid")   \
    X(102, TOKEN_EXPIRED, AUTH, FIX, "the token has expired")                            \
    X(103, TOKEN_NOT_YET, AUTH, FIX, "the token is not valid yet")                       \
    X(104, TOKEN_AUDIENCE, AUTH, GIVE_UP, "the token was made for another audience")     \
    X(105, TOKEN_KEY, AUTH, GIVE_UP, "the token names a key that is not accepted")       \
    X(106, REPLACED, AUTH, GIVE_UP, "the same device logged in on another connection")   \
    X(107, LOGIN_TWICE, AUTH, FIX, "this connection is already logged in")               \
    X(108, LOGIN_TIMEOUT, AUTH, RETRY, "the connection did not log in in time")          \
    X(109, TOKEN_REVOKED, AUTH, FIX, "the token was revoked; log in anew")               \
    X(110, TOKEN_DEVICE, AUTH, GIVE_UP, "the token was issued to another device")        \
    X(111, TOKEN_APP, AUTH, GIVE_UP,                                                     \
      "the token's key may not speak for this application or issuer")                    \
    X(112, TOKEN_ALGORITHM, AUTH, GIVE_UP,                                               \
      "the token's algorithm is not the one of its key")                                 \
    X(113, TOKEN_UNSIGNED, AUTH, GIVE_UP, "the token is not signed")                     \
    X(114, KICKED, AUTH, GIVE_UP,                                                        \
      "a login on another device ended this one: the application's login policy")        \
    X(115, PASSWORD_WRONG, AUTH, FIX, "the user name or the password is wrong")          \
    X(116, REFRESH_INVALID, AUTH, GIVE_UP, "the refresh token is not valid")             \
    X(117, REFRESH_REUSED, AUTH, GIVE_UP,                                                \
      "the refresh token was used before; the device is logged out")                     \
    X(118, SIGNATURE_MISSING, AUTH, FIX,                                                 \
      "the request is not signed: one of its Anser- headers is missing")                 \
    X(119, SIGNATURE_KEY, AUTH, GIVE_UP,                                                 \
      "the request is signed with a key that is not known here")                         \
    X(120, SIGNATURE_EXPIRED, AUTH, FIX,                                                 \
      "the time in the signed request is too far from the server's")                     \
    X(121, SIGNATURE_WRONG, AUTH, FIX, "the signature is not that of this request")      \
    X(122, SIGNATURE_REPLAYED, AUTH, FIX, "the signed request was seen before")          \
    X(200, FORBIDDEN, PERMISSION, GIVE_UP, "this user may not do that")                  \
    X(201, USER_FORBIDDEN, PERMISSION, GIVE_UP, "the user is forbidden")                 \
    X(202, MUTED, PERMISSION, GIVE_UP, "the user is muted and may not send")             \
    X(300, USER_NOT_FOUND, NOT_FOUND, GIVE_UP, "there is no user of that name")          \
    X(301, NOT_FOUND, NOT_FOUND, GIVE_UP, "there is no such thing")                      \
    X(302, USER_DELETED, NOT_FOUND, GIVE_UP, "the user is deleted")                      \
    X(303, APP_UNKNOWN, NOT_FOUND, GIVE_UP,                                              \
      "no application of that name is served here")                                      \
    X(400, ID_CONFLICT, CONFLICT, FIX,                                                   \
      "this client message id was used with another body")                               \
    X(401, ID_EXPIRED, CONFLICT, FIX,                                                    \
      "the client message id is older than the retry window")                            \
    X(402, ID_TIME, CONFLICT, FIX, "the client message id is too far in the future")     \
    X(403, USER_EXISTS, CONFLICT, GIVE_UP, "a user of that name exists already")         \
    X(404, RESET, CONFLICT, FIX,                                                         \
      "the cursor belongs to another generation of the timeline")                        \
    X(405, CURSOR_AHEAD, CONFLICT, FIX,                                                  \
      "the position lies beyond the end of the timeline")                                \
    X(406, LOCKED, CONFLICT, GIVE_UP, "another process holds the data directory")        \
    X(407, WORKER_TAKEN, CONFLICT, GIVE_UP,                                              \
      "another id generator owns this worker number")                                    \
    X(408, TOO_MANY_DEVICES, CONFLICT, GIVE_UP,                                          \
      "the user has as many devices as one may have")                                    \
    X(500, BUSY, BUSY, RETRY, "the server is overloaded; try again later")               \
    X(501, UNAVAILABLE, BUSY, RETRY, "the part that owns this is not reachable now")     \
    X(502, EXPIRED, BUSY, RETRY, "the request ran out of time before it was handled")    \
    X(503, ORDER, BUSY, RETRY,                                                           \
      "an earlier message to this conversation must be sent again first")                \
    X(504, DISK_FULL, BUSY, RETRY,                                                       \
      "the store has no disk space left; nothing was written")                           \
    X(505, SLOW_CONSUMER, BUSY, RETRY, "the connection did not read its output in time") \
    X(506, IDLE, BUSY, RETRY, "the connection was silent for too long")                  \
    X(507, SHUTTING_DOWN, BUSY, RETRY, "the server is stopping; connect again")          \
    X(508, TIMEOUT, BUSY, RETRY, "no answer came in time; the outcome is not known")     \
    X(509, TOO_MANY_CONNECTIONS, BUSY, RETRY,                                            \
      "the gate holds as many connections as it may")                                    \
    X(510, DRAINING, BUSY, RETRY, "the gate asks its clients to connect elsewhere")      \
    X(511, RATE, BUSY, RETRY, "more requests of this kind than are taken in the time")   \
    X(512, ADDRESS_FULL, BUSY, RETRY, "this address has as many connections as it may")  \
    X(513, TOO_MANY_TRIES, BUSY, RETRY,                                                  \
      "too many wrong passwords; wait as long as the answer says")                       \
    X(600, FRAME_MAGIC, INVALID, GIVE_UP,                                                \
      "the frame does not begin with the protocol's magic")                              \
    X(601, FRAME_VERSION, INVALID, GIVE_UP,                                              \
      "the frame's protocol version is not supported")                                   \
    X(602, FRAME_TOO_LARGE, INVALID, FIX, "the frame is longer than the limit")          \
    X(603, FRAME_FLAGS, INVALID, FIX, "the frame has reserved flags set")                \
    X(604, CODEC, INVALID, FIX, "the frame's body codec is not supported")               \
    X(605, COMMAND, INVALID, FIX, "the frame's command is not known")                    \
    X(606, BODY_MALFORMED, INVALID, FIX, "the body is not a valid message of its kind")  \
    X(607, BODY_TOO_LARGE, INVALID, FIX, "the message body is longer than the limit")    \
    X(608, BODY_EMPTY, INVALID, FIX, "the message body is empty")                        \
    X(609, UTF8, INVALID, FIX, "the text is not valid UTF-8")                            \
    X(610, ARGUMENT, INVALID, FIX, "an argument is missing or out of range")             \
    X(611, USER_NAME, INVALID, FIX, "the user name is not allowed")                      \
    X(612, DEVICE_NAME, INVALID, FIX, "the device name is not allowed")                  \
    X(613, CONFIG, INVALID, FIX, "the configuration is not valid")                       \
    X(614, JSON, INVALID, FIX, "the text is not one JSON object")                        \
    X(615, METHOD, INVALID, FIX, "the path knows no such method")                        \
    X(616, CONTENT_TYPE, INVALID, FIX,                                                   \
      "the body's content type must be application/json")                                \
    X(617, PASSWORD_LENGTH, INVALID, FIX, "a password has 8 to 256 bytes")               \
    X(700, INTERNAL, INTERNAL, GIVE_UP, "the server met a fault of its own")             \
    X(701, FENCED, INTERNAL, RETRY, "another sequencer has claimed the slot")            \
    X(702, GAP, INTERNAL, RETRY, "the number is not the next one of its timeline")       \
    X(703, MOVED, INTERNAL, RETRY, "the slot belongs to another sequencer")              \
    X(704, NOT_MINE, INTERNAL, RETRY, "the slot belongs to another store")               \
    X(705, IO, INTERNAL, GIVE_UP, "reading or writing a file failed")                    \
    X(706, CORRUPT, INTERNAL, GIVE_UP, "stored data is damaged")                         \
    X(707, NO_MEMORY, INTERNAL, RETRY, "out of memory")                                  \
    X(708, ENVELOPE, INTERNAL, GIVE_UP,                                                  \
      "a bus message is malformed or from the wrong role")                               \
    X(709, NOT_SUPPORTED, INTERNAL, GIVE_UP, "this is not supported")                    \
    X(710, CONNECTION, BUSY, RETRY, "the connection could not be made or was lost")      \
    X(711, FULL, INTERNAL, RETRY, "a bounded queue or buffer is full")                   \
    X(712, REWIND, INTERNAL, RETRY, "the forwarded entry is not the next one")           \
    X(713, CLUSTER, INTERNAL, FIX,                                                       \
      "the peer is of another cluster, or knows other stores for the slots")             \
    X(714, TLS, AUTH, FIX, "the other side of the encrypted connection was not accepted")

#define AN_ERR_ENUM(number, name, category, handling, sentence) AN_ERR_##name = (number),
enum an_err { AN_ERRORS(AN_ERR_ENUM) };
#undef AN_ERR_ENUM
#define AN_OK AN_ERR_OK

/* Marks a function whose error must be looked at. */
#define AN_MUST_USE __attribute__((warn_unused_result))

/* All of these accept any number (one from a newer peer, say) and are thread safe.
 * An unknown number is named "UNKNOWN" and is AN_CAT_INTERNAL, AN_HANDLE_GIVE_UP. */
const char *an_err_name(unsigned err);
const char *an_err_text(unsigned err);
enum an_category an_err_category(unsigned err);
enum an_handling an_err_handling(unsigned err);
const char *an_category_name(enum an_category category);
/* What a command line program exits with: 0, auth 3, permission 4, not found 5, conflict
 * 6, busy 7, invalid 8, internal 9. (1 and 2 are a crash's and wrong usage's.) */
int an_err_exit_code(unsigned err);
/* What a header that is not right is called; AN_OK for one that is, or is not whole. */
enum an_err an_err_of_frame(enum an_frame_state state);
/* Is it in the table? A peer's number is checked with this before it becomes an an_err.
 */
int an_err_known(unsigned err);

#endif
