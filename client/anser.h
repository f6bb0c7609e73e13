/* Anser's client library: the one public header.
 *
 * A client is one user on one device: it connects to a server, logs in, sends, receives,
 * and does all of that again when the connection breaks. It is a state machine over one
 * non-blocking socket. Nothing happens behind your back: no thread, no signal, no timer;
 * work is done inside anser_client_process() (for an event loop) or anser_client_wait()
 * (for a program that has nothing else to do), and callbacks are called from there.
 *
 *     struct anser_client *client;
 *     struct anser_options options = {
 *         .addresses = (const char *const[]){"tcp://127.0.0.1:7400"}, .address_count = 1,
 *         .token = token, .device = "laptop", .callbacks = {.on_message = print}};
 *     if (anser_client_create(&client, &options) != ANSER_OK) ...
 *     anser_client_send(client, &(struct anser_outgoing){
 *         .to = "bob", .type = ANSER_TEXT, .body = "hi", .body_len = 2}, NULL);
 *     anser_client_flush(client, 10000);
 *     anser_client_destroy(client);
 *
 * Threads: a client belongs to one thread at a time; different clients are independent.
 * Callbacks may call anything here except create, destroy, process, wait and flush.
 *
 * Memory: what you pass in is copied before the call returns; what a callback is given
 * lives until the callback returns. Times are milliseconds: *_ms as durations, time_ms as
 * Unix time of the server. docs/sdk.md is the guide, docs/protocol.md what is spoken. */
#ifndef ANSER_H
#define ANSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ errors */

/* Stable numbers, the same on the wire, in every language and in every version; a newer
 * server may answer one that is not listed. docs/protocol.md has a sentence for each. */
enum anser_err {
    ANSER_OK = 0,
    ANSER_ERR_LOGIN_REQUIRED = 100,
    ANSER_ERR_TOKEN_INVALID = 101,
    ANSER_ERR_TOKEN_EXPIRED = 102,
    ANSER_ERR_TOKEN_NOT_YET = 103,
    ANSER_ERR_TOKEN_AUDIENCE = 104,
    ANSER_ERR_TOKEN_KEY = 105,
    ANSER_ERR_REPLACED = 106,
    ANSER_ERR_LOGIN_TWICE = 107,
    ANSER_ERR_LOGIN_TIMEOUT = 108,
    ANSER_ERR_TOKEN_REVOKED = 109,
    ANSER_ERR_TOKEN_DEVICE = 110,
    ANSER_ERR_TOKEN_APP = 111,
    ANSER_ERR_TOKEN_ALGORITHM = 112,
    ANSER_ERR_TOKEN_UNSIGNED = 113,
    ANSER_ERR_KICKED = 114,
    ANSER_ERR_PASSWORD_WRONG = 115,
    ANSER_ERR_REFRESH_INVALID = 116,
    ANSER_ERR_REFRESH_REUSED = 117,
    ANSER_ERR_SIGNATURE_MISSING = 118,
    ANSER_ERR_SIGNATURE_KEY = 119,
    ANSER_ERR_SIGNATURE_EXPIRED = 120,
    ANSER_ERR_SIGNATURE_WRONG = 121,
    ANSER_ERR_SIGNATURE_REPLAYED = 122,
    ANSER_ERR_FORBIDDEN = 200,
    ANSER_ERR_USER_FORBIDDEN = 201,
    ANSER_ERR_MUTED = 202,
    ANSER_ERR_USER_NOT_FOUND = 300,
    ANSER_ERR_NOT_FOUND = 301,
    ANSER_ERR_USER_DELETED = 302,
    ANSER_ERR_APP_UNKNOWN = 303,
    ANSER_ERR_ID_CONFLICT = 400,
    ANSER_ERR_ID_EXPIRED = 401,
    ANSER_ERR_ID_TIME = 402,
    ANSER_ERR_USER_EXISTS = 403,
    ANSER_ERR_RESET = 404,
    ANSER_ERR_CURSOR_AHEAD = 405,
    ANSER_ERR_LOCKED = 406,
    ANSER_ERR_WORKER_TAKEN = 407,
    ANSER_ERR_TOO_MANY_DEVICES = 408,
    ANSER_ERR_BUSY = 500,
    ANSER_ERR_UNAVAILABLE = 501,
    ANSER_ERR_EXPIRED = 502,
    ANSER_ERR_ORDER = 503,
    ANSER_ERR_DISK_FULL = 504,
    ANSER_ERR_SLOW_CONSUMER = 505,
    ANSER_ERR_IDLE = 506,
    ANSER_ERR_SHUTTING_DOWN = 507,
    ANSER_ERR_TIMEOUT = 508,
    ANSER_ERR_TOO_MANY_CONNECTIONS = 509,
    ANSER_ERR_DRAINING = 510,
    ANSER_ERR_RATE = 511,
    ANSER_ERR_ADDRESS_FULL = 512,
    ANSER_ERR_TOO_MANY_TRIES = 513,
    ANSER_ERR_FRAME_MAGIC = 600,
    ANSER_ERR_FRAME_VERSION = 601,
    ANSER_ERR_FRAME_TOO_LARGE = 602,
    ANSER_ERR_FRAME_FLAGS = 603,
    ANSER_ERR_CODEC = 604,
    ANSER_ERR_COMMAND = 605,
    ANSER_ERR_BODY_MALFORMED = 606,
    ANSER_ERR_BODY_TOO_LARGE = 607,
    ANSER_ERR_BODY_EMPTY = 608,
    ANSER_ERR_UTF8 = 609,
    ANSER_ERR_ARGUMENT = 610,
    ANSER_ERR_USER_NAME = 611,
    ANSER_ERR_DEVICE_NAME = 612,
    ANSER_ERR_CONFIG = 613,
    ANSER_ERR_JSON = 614,
    ANSER_ERR_METHOD = 615,
    ANSER_ERR_CONTENT_TYPE = 616,
    ANSER_ERR_PASSWORD_LENGTH = 617,
    ANSER_ERR_INTERNAL = 700,
    ANSER_ERR_FENCED = 701,
    ANSER_ERR_GAP = 702,
    ANSER_ERR_MOVED = 703,
    ANSER_ERR_NOT_MINE = 704,
    ANSER_ERR_IO = 705,
    ANSER_ERR_CORRUPT = 706,
    ANSER_ERR_NO_MEMORY = 707,
    ANSER_ERR_ENVELOPE = 708,
    ANSER_ERR_NOT_SUPPORTED = 709,
    ANSER_ERR_CONNECTION = 710,
    ANSER_ERR_FULL = 711,
    ANSER_ERR_REWIND = 712,
    ANSER_ERR_CLUSTER = 713,
    ANSER_ERR_TLS = 714,
};

/* Whose fault it is. */
enum anser_category {
    ANSER_CATEGORY_OK,
    ANSER_CATEGORY_AUTH,
    ANSER_CATEGORY_PERMISSION,
    ANSER_CATEGORY_NOT_FOUND,
    ANSER_CATEGORY_CONFLICT,
    ANSER_CATEGORY_BUSY,
    ANSER_CATEGORY_INVALID,
    ANSER_CATEGORY_INTERNAL,
};

/* An error with all that is known of it. A value: copy it freely. */
struct anser_error {
    unsigned code;                /* enum anser_err, or a newer server's number */
    enum anser_category category; /* of this code */
    bool retry;                   /* the same may succeed later */
    uint32_t retry_after_ms;      /* not before; 0: not said */
    char name[32];                /* "USER_NOT_FOUND" */
    char text[160];               /* one English sentence, for people */
};

/* For any number; "UNKNOWN" when this version does not know it. Static strings. */
const char *anser_err_name(unsigned code);
const char *anser_err_text(unsigned code);
enum anser_category anser_err_category(unsigned code);

/* ------------------------------------------------------------------ messages */

/* What a body is. Other numbers pass through untouched. */
enum anser_type {
    ANSER_TEXT = 1, /* UTF-8 */
    ANSER_PICTURE = 2,
    ANSER_FILE = 3,
    ANSER_RED_PACKET = 4,
};

enum { ANSER_MSG_ID_LEN = 16 }; /* a UUIDv7 */

/* A message that was received, or read from history. Strings end with a NUL byte. */
struct anser_message {
    uint64_t message_id; /* unique in the whole installation; not ordered */
    uint64_t seq;        /* its place in the conversation: 1, 2, 3... without gaps */
    uint64_t inbox_seq;  /* its place in this user's inbox; 0 from history */
    uint64_t time_ms;    /* never goes back within a conversation */
    const char *from;
    const char *to;
    const char *peer;        /* the other side: names the conversation */
    const char *from_device; /* may be empty */
    uint32_t type;           /* enum anser_type */
    const uint8_t *body;     /* not NUL-terminated */
    size_t body_len;
    uint8_t client_msg_id[ANSER_MSG_ID_LEN]; /* what its sender chose */
    bool own;        /* sent by this user, here or on another device */
    bool own_device; /* by this very device: a note to oneself, or an earlier run's */
};

/* A message to be sent. */
struct anser_outgoing {
    const char *to;   /* a user name; one's own is allowed */
    uint32_t type;    /* 0 means ANSER_TEXT */
    const void *body; /* 1 to 65,536 bytes; text must be UTF-8 */
    size_t body_len;
    void *tag; /* yours: comes back in struct anser_send */
    /* NULL: the library makes one. 16 bytes of a UUIDv7, if you keep your own outbox and
     * want to send a message of an earlier run again: within 24 hours the server answers
     * with the first outcome and stores nothing twice. */
    const uint8_t *client_msg_id;
};

/* What has become of a message. Each is told at most once, in this order, except that
 * DELIVERED may follow STORED; SENT and FAILED exclude each other. */
enum anser_send_state {
    ANSER_SEND_SENDING, /* first handed to a connection */
    ANSER_SEND_SENT,    /* the server has it on disk: seq, message_id, time_ms are set */
    ANSER_SEND_STORED,  /* the server holds it: the other side has no device online */
    ANSER_SEND_DELIVERED, /* a device of the other side has it */
    ANSER_SEND_FAILED,    /* given up: error says why. Unless its code is one the server
                             refuses with for good, the message may still have arrived */
};

struct anser_send {
    uint64_t ticket; /* as given by anser_client_send */
    void *tag;
    enum anser_send_state state;
    const char *to;
    const uint8_t
        *client_msg_id; /* ANSER_MSG_ID_LEN bytes; zero before the first login */
    uint64_t seq;
    uint64_t message_id;
    uint64_t time_ms;
    unsigned attempts;        /* how often it was put on a connection */
    struct anser_error error; /* FAILED only */
};

/* ------------------------------------------------------------------ a client */

struct anser_client;

enum anser_state {
    ANSER_STATE_OFFLINE,    /* waiting until the next attempt */
    ANSER_STATE_CONNECTING, /* connecting or logging in */
    ANSER_STATE_ONLINE,
    ANSER_STATE_CLOSED, /* for good: closed by you, or an error that no retry heals */
};

/* All optional. user is the options' user pointer. */
struct anser_callbacks {
    /* The state changed. why: what ended the connection or attempt, NULL if nothing. */
    void (*on_state)(void *user, enum anser_state state, const struct anser_error *why);
    /* The next inbox entry, strictly in inbox_seq order and each once. true: taken, it
     * will be confirmed to the server. false: not now; it and all that follow wait until
     * anser_client_resume(), and come again then. Without this callback nothing is taken
     * nor confirmed. */
    bool (*on_message)(void *user, const struct anser_message *message);
    void (*on_send)(void *user, const struct anser_send *send);
    /* Inbox entries from..to (both included) will not come: they are older than the
     * server keeps in inboxes, or (reset) the server's inbox began anew, from a backup
     * for example, and may repeat messages. Conversations are whole in
     * anser_client_history(). from > to: the extent is not known. */
    void (*on_gap)(void *user, uint64_t from, uint64_t to, bool reset);
    /* The token has expired or was revoked: give a fresh one, from malloc(); the library
     * wipes and frees it. Asked once between two good logins. NULL: there is none, the
     * client closes with the error. */
    char *(*on_token)(void *user);
    /* Something is not as it should be, and was handled: a damaged cursor file, say. */
    void (*on_warning)(void *user, const struct anser_error *warning);
};

/* Zero means the default of client/limits.h (docs/sdk.md lists them). */
struct anser_options {
    const char *const *addresses; /* tcp://, tls:// or noise://HOST:PORT, tried in turn,
                                     the next one at once when a connection ends; a pause
                                     after a round */
    size_t address_count;         /* 1 to 16. Names are looked up with the system's
                                     blocking resolver; numbers never block */
    /* With tls://: who is believed (PEM; NULL: whom the system believes). The server's
     * certificate must have the address's host, name or number. */
    const char *ca_file;
    const char *cert_file; /* this client's own certificate, if the server wants one */
    const char *key_file;  /* and its key; NULL: it is in cert_file too */
    /* Of a program with many clients: another one of the same thread, made with the same
     * three files, whose TLS sessions this one resumes, as that one does this one's. Need
     * not outlive the call. NULL, or one without tls://: its own. */
    const struct anser_client *tls_with;
    /* With noise://: the public key that the server must have, in base64, as `anser noise
     * key` prints it. One for all addresses. */
    const char *server_key;
    const char *token;
    const char *device;   /* stable for one installation: the inbox cursor is its own */
    const char *platform; /* ios android windows mac linux web api; NULL: api */
    const char *client_name; /* name and version of your program, for the operator */
    const char *cursor_path; /* a file for the cursor, NULL: only the server remembers.
                                Its folder must exist; one file per user and device */
    bool send_only;          /* receive nothing, and leave the device's session alone */
    uint32_t window;         /* messages sent and not yet answered */
    uint32_t pending_max;    /* messages accepted and not yet decided */
    uint32_t send_attempts_max;  /* a message is given up after this many */
    uint32_t send_timeout_ms;    /* or this long after anser_client_send */
    uint32_t backoff_min_ms;     /* the first pause; doubles, with jitter */
    uint32_t backoff_max_ms;     /* the longest */
    uint32_t connect_timeout_ms; /* of one attempt, login included */
    uint32_t answer_timeout_ms;  /* of a request; then the connection is taken as dead */
    uint32_t confirm_delay_ms;   /* confirmations gather this long into one */
    struct anser_callbacks callbacks;
    void *user;
};

/* Takes no action yet: the first process() or wait() connects. ARGUMENT when an option is
 * missing or malformed, DEVICE_NAME, NO_MEMORY, IO when randomness is not to be had, TLS
 * when one of the files cannot be used. */
enum anser_err anser_client_create(struct anser_client **out,
                                   const struct anser_options *options);
/* Closes at once, tells no callback; unsent messages are lost. NULL is fine. */
void anser_client_destroy(struct anser_client *client);

/* --- an event loop's side --- */

enum { ANSER_READ = 1, ANSER_WRITE = 2 };

/* The socket to watch, -1 while there is none. It changes when the client reconnects:
 * compare anser_client_link() after each call and register anew (the number of the new
 * descriptor may be that of the old one). */
int anser_client_fd(const struct anser_client *client);
/* Counts the sockets this client has opened. */
uint64_t anser_client_link(const struct anser_client *client);
/* What to watch for: ANSER_READ and ANSER_WRITE bits. Ask again after each call. */
unsigned anser_client_events(const struct anser_client *client);
/* Call process() when the socket is ready or after this many ms, whichever is first. 0:
 * at once. -1: no timer runs. */
int anser_client_timeout_ms(const struct anser_client *client);
/* Does all that can be done without waiting. OK, or why the client is closed for good. */
enum anser_err anser_client_process(struct anser_client *client);

/* --- a simple program's side --- */

/* Waits for the socket or a timer, at most ms, then processes once. OK (also when nothing
 * happened or a signal came), or why the client is closed for good. */
enum anser_err anser_client_wait(struct anser_client *client, uint32_t ms);
/* Waits until every message is decided and every taken inbox entry is confirmed (to the
 * server, and in the cursor file). OK; TIMEOUT after ms; or why the client is closed. */
enum anser_err anser_client_flush(struct anser_client *client, uint32_t ms);
/* Is there nothing that flush would wait for? */
bool anser_client_flushed(const struct anser_client *client);
/* Says good-bye to the server (Logout) and closes, waiting at most ms for its answer.
 * Flush first. The state is CLOSED afterwards. */
void anser_client_close(struct anser_client *client, uint32_t ms);

enum anser_state anser_client_state(const struct anser_client *client);
/* The user name as the server told it at login; "" before. */
const char *anser_client_user(const struct anser_client *client);
/* The last error that ended a connection, an attempt or the client; code OK: none. */
struct anser_error anser_client_error(const struct anser_client *client);
/* The server's Unix time as learned at login, moved on by the local clock; 0 before. */
uint64_t anser_client_server_time_ms(const struct anser_client *client);
/* Replaces the token used at the next login. ARGUMENT, NO_MEMORY. */
enum anser_err anser_client_set_token(struct anser_client *client, const char *token);

/* --- sending --- */

/* Accepts a message: it is sent in order within its conversation, again after every
 * reconnect and every refusal that invites it, always with the same id, until it is SENT
 * or FAILED. *ticket (may be NULL) names it in on_send. Refused at once, and not
 * accepted: USER_NAME, BODY_EMPTY, BODY_TOO_LARGE, UTF8, ARGUMENT, FULL when as many are
 * pending as may be (process, then try again), NO_MEMORY, or why the client is closed. */
enum anser_err anser_client_send(struct anser_client *client,
                                 const struct anser_outgoing *message, uint64_t *ticket);
/* Messages accepted and not yet decided. */
size_t anser_client_pending(const struct anser_client *client);
/* May a message of this size be accepted now? */
bool anser_client_can_send(const struct anser_client *client, size_t body_len);

/* --- receiving --- */

/* Goes on after on_message answered false. */
void anser_client_resume(struct anser_client *client);
/* The newest inbox entry that was taken. */
uint64_t anser_client_cursor(const struct anser_client *client);

/* --- history --- */

struct anser_query {
    const char *peer;
    uint64_t before; /* newest first: messages with seq < before; 0: the newest */
    uint64_t after;  /* with oldest_first: messages with seq > after */
    bool oldest_first;
    uint32_t limit; /* the server gives fewer if it must; 0: as many as it likes */
};

/* A page of a conversation, in the order asked for. */
struct anser_page {
    struct anser_error error; /* code OK: the page is good */
    const char *peer;
    const struct anser_message *messages;
    size_t count;
    uint64_t head;           /* newest seq of the conversation, 0: empty */
    bool completed;          /* nothing further in the asked direction */
    uint64_t peer_delivered; /* the other side's devices have everything up to here */
    uint64_t own_delivered;  /* the same of this user's */
};

typedef void anser_page_f(void *arg, const struct anser_page *page);

/* Asks for a page; the callback comes exactly once, with the page or an error, unless the
 * client is destroyed first. Asked again after a reconnect. USER_NAME, FULL with too many
 * unanswered, NO_MEMORY, or why the client is closed: then the callback does not come. */
enum anser_err anser_client_history(struct anser_client *client,
                                    const struct anser_query *query, anser_page_f *page,
                                    void *arg);

#ifdef __cplusplus
}
#endif

#endif
