/* A YAML document and the line of everything in it: what configuration and cluster files
 * are read through. Complaints are `file:line: key: reason`. Anchors and aliases work;
 * a second document is refused.
 *
 * Context: any thread, one at a time for each document. */
#ifndef AN_CLUSTER_YAML_H
#define AN_CLUSTER_YAML_H

#include "core/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AN_YAML_TEXT_MAX = 1024, AN_YAML_FILE_MAX = 1024 * 1024 };

struct an_yaml;

/* A value of a document: a view, good until an_yaml_free. */
struct an_yaml_at {
    struct an_yaml *doc;
    int node;       /* 0: not there */
    unsigned line;  /* of its key; of an item itself */
    const char *in; /* the key of the mapping around it; "" in the outermost */
    const char *key;
};

/* Whole text, read. name stands for the file in complaints; it and why are borrowed until
 * an_yaml_free. AN_ERR_CONFIG with *why, AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err an_yaml_parse(struct an_yaml **out, const char *name,
                                      const char *text, size_t len, char *why,
                                      size_t why_len);
/* NULL is fine. */
void an_yaml_free(struct an_yaml *doc);
/* A whole file for an_yaml_parse, at most AN_YAML_FILE_MAX; *text from malloc(), also
 * terminated. AN_ERR_IO, AN_ERR_NO_MEMORY, AN_ERR_CONFIG (too long), with *why. */
AN_MUST_USE enum an_err an_yaml_file(char **text, size_t *len, const char *path,
                                     char *why, size_t why_len);

/* The outermost value; not there when the text is empty or comments alone. */
struct an_yaml_at an_yaml_root(struct an_yaml *doc);
static inline bool
an_yaml_there(struct an_yaml_at at)
{
    return at.node != 0;
}

/* Sees that it is a mapping whose keys are texts and not repeated. known: the keys it may
 * have, ended by NULL; NULL: any. AN_ERR_CONFIG. */
AN_MUST_USE enum an_err an_yaml_map(struct an_yaml_at at, const char *const *known);
AN_MUST_USE enum an_err an_yaml_list(struct an_yaml_at at);
bool an_yaml_is_list(struct an_yaml_at at);
/* Pairs of a mapping, items of a list; 0 of a text or of nothing. */
unsigned an_yaml_count(struct an_yaml_at at);
/* The pair or the item at i < an_yaml_count. An item has its list's key. */
struct an_yaml_at an_yaml_nth(struct an_yaml_at at, unsigned i);
/* The value of a key of a mapping; not there: node 0, and the line of the mapping. */
struct an_yaml_at an_yaml_find(struct an_yaml_at at, const char *key);

/* *text: the document's. Not empty, at most AN_YAML_TEXT_MAX bytes, no NUL in it. */
AN_MUST_USE enum an_err an_yaml_text(struct an_yaml_at at, const char **text);
/* Decimal digits, within least..most. */
AN_MUST_USE enum an_err an_yaml_number(struct an_yaml_at at, uint64_t least,
                                       uint64_t most, uint64_t *number);
/* "file:line: in.key: reason" in the document's why; returns AN_ERR_CONFIG. */
enum an_err an_yaml_refuse(struct an_yaml_at at, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
