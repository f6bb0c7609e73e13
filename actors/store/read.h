/* READ: many queries, at most two engine reads. The first brings every query's own rows;
 * the second the messages that inbox entries point at.
 *
 * Context: the store actor's thread. */
#ifndef AN_ACTORS_STORE_READ_H
#define AN_ACTORS_STORE_READ_H

#include "actors/store/store_priv.h"

/* An inbox entry and where the second read brings its message. */
struct store_ref {
    uint64_t inbox_seq;
    uint64_t seq;
    struct an_conv conv;
    bool elsewhere; /* on another store: whoever asked fetches it there */
    size_t query;   /* among the second read's queries of this one */
    size_t item;    /* in that query's answer */
};

/* One query on its way to its answer. */
struct store_ask {
    const Anser__Bus__Query *query;
    Anser__Bus__Answer answer;
    size_t first, count; /* its queries in the engine read under way */
    struct store_ref *refs;
    size_t ref_count;
    uint64_t head, oldest, generation; /* of the inbox */
};

struct store_read {
    struct store_read *next;
    struct store *store;
    struct an_msg *msg;
    struct an_arena arena; /* everything below */
    struct store_ask *asks;
    Anser__Bus__Answer **answers;
    size_t count;
    struct engine_query *queries; /* of the engine read under way or being prepared */
    size_t query_count, query_cap;
    size_t page_bytes_max;
    size_t page_bytes; /* of pages made so far */
    bool second;
};

/* What a kind of query does. An error becomes its answer's. */
struct store_query_ops {
    /* Adds its engine queries. */
    enum an_err (*plan)(struct store_read *read, struct store_ask *ask);
    /* Takes their answers; may add queries for the second read. */
    enum an_err (*take)(struct store_read *read, struct store_ask *ask,
                        const struct engine_answer *answers);
    /* Takes the second read's; NULL: it never adds any. */
    enum an_err (*take_messages)(struct store_read *read, struct store_ask *ask,
                                 const struct engine_answer *answers);
};

extern const struct store_query_ops STORE_QUERY_SYNC;
extern const struct store_query_ops STORE_QUERY_HISTORY;
extern const struct store_query_ops STORE_QUERY_HEAD;
extern const struct store_query_ops STORE_QUERY_MESSAGE;

/* Adds an engine query; keys are copied. NO_MEMORY. */
AN_MUST_USE enum an_err store_read_range(struct store_read *read, struct store_ask *ask,
                                         struct engine_query query);
/* Adds one for exactly this key. */
AN_MUST_USE enum an_err store_read_key(struct store_read *read, struct store_ask *ask,
                                       const uint8_t *key, size_t len);
/* Unpacks the only row of the answer: AN_OK and *out NULL when there is none. */
AN_MUST_USE enum an_err store_read_row(struct store_read *read,
                                       const ProtobufCMessageDescriptor *descriptor,
                                       const struct engine_answer *answer,
                                       const void **out);
/* Packs the body of a client's answer into *out, within what one answer may carry. */
AN_MUST_USE enum an_err store_read_page(struct store_read *read,
                                        const ProtobufCMessage *body,
                                        ProtobufCBinaryData *out);

#endif
