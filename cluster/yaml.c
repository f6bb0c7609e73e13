#include "cluster/yaml.h"
#include "core/text.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { PAIRS_MAX = 1024, REASON_MAX = 400, KEY_SHOWN = 64 };

struct an_yaml {
    yaml_document_t document;
    bool loaded;
    const char *name;
    char *why;
    size_t why_len;
};

static yaml_node_t *
node_of(struct an_yaml_at at)
{
    return at.node == 0 ? NULL : yaml_document_get_node(&at.doc->document, at.node);
}

static struct an_yaml_at
place(struct an_yaml *doc, int node, const char *in, const char *key)
{
    struct an_yaml_at at = {.doc = doc, .node = node, .in = in, .key = key};
    yaml_node_t *found = node_of(at);

    at.line = found == NULL ? 0 : (unsigned)found->start_mark.line + 1;
    return at;
}

/* ------------------------------------------------------------------ complaints */

__attribute__((format(printf, 3, 0))) static enum an_err
complain(struct an_yaml_at at, bool whole, const char *fmt, va_list args)
{
    struct an_yaml *doc = at.doc;
    char reason[REASON_MAX], line[REASON_MAX + 2 * KEY_SHOWN + 8];
    int len;

    vsnprintf(reason, sizeof(reason), fmt, args);
    len = snprintf(line, sizeof(line), "%.*s%s%.*s%s%s", KEY_SHOWN, whole ? at.in : "",
                   whole && at.in[0] != '\0' ? "." : "", KEY_SHOWN, at.key,
                   at.key[0] != '\0' ? ": " : "", reason);
    /* Quoted, a key or a text may hold anything; it stays one line. */
    an_text_escape(reason, sizeof(reason), line, (size_t)len, false);
    snprintf(doc->why, doc->why_len, "%s:%u: %s", doc->name, at.line, reason);
    return AN_ERR_CONFIG;
}

enum an_err
an_yaml_refuse(struct an_yaml_at at, const char *fmt, ...)
{
    va_list args;
    enum an_err err;

    va_start(args, fmt);
    err = complain(at, true, fmt, args);
    va_end(args);
    return err;
}

/* Of what is written, not of what it means: the key alone. */
__attribute__((format(printf, 2, 3))) static enum an_err
refuse_form(struct an_yaml_at at, const char *fmt, ...)
{
    va_list args;
    enum an_err err;

    va_start(args, fmt);
    err = complain(at, false, fmt, args);
    va_end(args);
    return err;
}

/* ------------------------------------------------------------------ whole documents */

static enum an_err
refuse_syntax(struct an_yaml *doc, const yaml_parser_t *parser, const char *text,
              size_t len)
{
    size_t line = parser->problem_mark.line + 1;

    if (parser->error == YAML_MEMORY_ERROR) {
        return AN_ERR_NO_MEMORY;
    }
    if (parser->error == YAML_READER_ERROR) { /* says where in bytes alone */
        size_t end = parser->problem_offset < len ? parser->problem_offset : len;
        line = 1;
        for (size_t i = 0; i < end; i++) {
            line += text[i] == '\n';
        }
    }
    snprintf(doc->why, doc->why_len, "%s:%zu: %s%s%s", doc->name, line,
             parser->problem == NULL ? "no YAML" : parser->problem,
             parser->context == NULL ? "" : ", ",
             parser->context == NULL ? "" : parser->context);
    return AN_ERR_CONFIG;
}

/* What follows the first document: nothing. */
static enum an_err
expect_end(struct an_yaml *doc, yaml_parser_t *parser, const char *text, size_t len)
{
    yaml_document_t more;
    yaml_node_t *node;
    enum an_err err = AN_OK;

    if (yaml_parser_load(parser, &more) == 0) {
        return refuse_syntax(doc, parser, text, len);
    }
    node = yaml_document_get_root_node(&more);
    if (node != NULL) {
        struct an_yaml_at at = {
            .doc = doc, .line = (unsigned)node->start_mark.line + 1, .in = "", .key = ""};
        err = an_yaml_refuse(at, "a second document; one file holds one");
    }
    yaml_document_delete(&more);
    return err;
}

enum an_err
an_yaml_parse(struct an_yaml **out, const char *name, const char *text, size_t len,
              char *why, size_t why_len)
{
    struct an_yaml *doc = calloc(1, sizeof(*doc));
    yaml_parser_t parser;
    enum an_err err = AN_OK;

    if (doc == NULL || yaml_parser_initialize(&parser) == 0) {
        free(doc);
        return AN_ERR_NO_MEMORY;
    }
    doc->name = name;
    doc->why = why;
    doc->why_len = why_len;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (yaml_parser_load(&parser, &doc->document) == 0) {
        err = refuse_syntax(doc, &parser, text, len);
    } else {
        doc->loaded = true;
        if (yaml_document_get_root_node(&doc->document) != NULL) {
            err = expect_end(doc, &parser, text, len);
        }
    }
    yaml_parser_delete(&parser);
    if (err != AN_OK) {
        an_yaml_free(doc);
        return err;
    }
    *out = doc;
    return AN_OK;
}

void
an_yaml_free(struct an_yaml *doc)
{
    if (doc != NULL && doc->loaded) {
        yaml_document_delete(&doc->document);
    }
    free(doc);
}

enum an_err
an_yaml_file(char **text, size_t *len, const char *path, char *why, size_t why_len)
{
    char *data = malloc(AN_YAML_FILE_MAX + 1);
    FILE *file = data == NULL ? NULL : fopen(path, "re");
    enum an_err err = AN_OK;
    size_t got = 0;

    if (data == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    if (file != NULL) {
        got = fread(data, 1, AN_YAML_FILE_MAX + 1, file);
    }
    if (file == NULL || ferror(file) != 0) {
        snprintf(why, why_len, "%s: %s", path, strerror(errno));
        err = AN_ERR_IO;
    } else if (got > AN_YAML_FILE_MAX) {
        snprintf(why, why_len, "%s: larger than a configuration", path);
        err = AN_ERR_CONFIG;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (err != AN_OK) {
        free(data);
        return err;
    }
    data[got] = '\0';
    *text = data;
    *len = got;
    return AN_OK;
}

/* ------------------------------------------------------------------ walking */

struct an_yaml_at
an_yaml_root(struct an_yaml *doc)
{
    return place(doc, yaml_document_get_root_node(&doc->document) == NULL ? 0 : 1, "",
                 "");
}

bool
an_yaml_is_list(struct an_yaml_at at)
{
    const yaml_node_t *node = node_of(at);

    return node != NULL && node->type == YAML_SEQUENCE_NODE;
}

/* "" of what is no key: a list, a mapping, a text with a NUL in it. */
static const char *
key_text(struct an_yaml_at at, int node)
{
    yaml_node_t *key = yaml_document_get_node(&at.doc->document, node);
    const char *text;

    if (key == NULL || key->type != YAML_SCALAR_NODE) {
        return "";
    }
    text = (const char *)key->data.scalar.value;
    return strlen(text) == key->data.scalar.length ? text : "";
}

unsigned
an_yaml_count(struct an_yaml_at at)
{
    const yaml_node_t *node = node_of(at);

    if (node == NULL || node->type == YAML_SCALAR_NODE) {
        return 0;
    }
    return node->type == YAML_MAPPING_NODE
               ? (unsigned)(node->data.mapping.pairs.top - node->data.mapping.pairs.start)
               : (unsigned)(node->data.sequence.items.top -
                            node->data.sequence.items.start);
}

struct an_yaml_at
an_yaml_nth(struct an_yaml_at at, unsigned i)
{
    const yaml_node_t *node = node_of(at);
    struct an_yaml_at child;
    const yaml_node_pair_t *pair;

    assert(i < an_yaml_count(at));
    if (node->type == YAML_SEQUENCE_NODE) {
        return place(at.doc, node->data.sequence.items.start[i], at.in, at.key);
    }
    pair = &node->data.mapping.pairs.start[i];
    child = place(at.doc, pair->value, at.key, key_text(at, pair->key));
    child.line = place(at.doc, pair->key, "", "").line;
    return child;
}

struct an_yaml_at
an_yaml_find(struct an_yaml_at at, const char *key)
{
    unsigned count = an_yaml_is_list(at) ? 0 : an_yaml_count(at);

    for (unsigned i = 0; i < count; i++) {
        struct an_yaml_at child = an_yaml_nth(at, i);
        if (strcmp(child.key, key) == 0) {
            return child;
        }
    }
    return (struct an_yaml_at){.doc = at.doc, .line = at.line, .in = at.key, .key = key};
}

static bool
is_known(const char *key, const char *const *known)
{
    for (; known != NULL && *known != NULL; known++) {
        if (strcmp(*known, key) == 0) {
            return true;
        }
    }
    return known == NULL;
}

static enum an_err
refuse_unknown(struct an_yaml_at at, const char *const *known)
{
    char list[REASON_MAX - 64] = "";
    size_t len = 0;

    for (; *known != NULL && len < sizeof(list); known++) {
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                len == 0 ? "" : ", ", *known);
    }
    return refuse_form(at, "not a key %s%s; there are: %s", at.in[0] == '\0' ? "" : "of ",
                       at.in[0] == '\0' ? "here" : at.in, list);
}

enum an_err
an_yaml_map(struct an_yaml_at at, const char *const *known)
{
    const yaml_node_t *node = node_of(at);
    unsigned count = an_yaml_count(at);

    if (node == NULL || node->type != YAML_MAPPING_NODE) {
        return refuse_form(at, "Expecting MAPPING (key: value)");
    }
    if (known == NULL && count > PAIRS_MAX) {
        return refuse_form(at, "more than %d keys", PAIRS_MAX);
    }
    for (unsigned i = 0; i < count; i++) {
        struct an_yaml_at child = an_yaml_nth(at, i);
        if (child.key[0] == '\0') {
            return refuse_form(child, "a key is a text, not empty");
        }
        if (!is_known(child.key, known)) {
            return refuse_unknown(child, known);
        }
        for (unsigned j = 0; j < i; j++) {
            struct an_yaml_at before = an_yaml_nth(at, j);
            if (strcmp(before.key, child.key) == 0) {
                return refuse_form(child, "already seen in line %u", before.line);
            }
        }
    }
    return AN_OK;
}

enum an_err
an_yaml_list(struct an_yaml_at at)
{
    return an_yaml_is_list(at) ? AN_OK : refuse_form(at, "Expecting a list ([a, b])");
}

/* ------------------------------------------------------------------ values */

enum an_err
an_yaml_text(struct an_yaml_at at, const char **text)
{
    const yaml_node_t *node = node_of(at);
    const char *value;
    size_t len;

    if (node == NULL) {
        return an_yaml_refuse(at, "missing");
    }
    if (node->type != YAML_SCALAR_NODE) {
        return an_yaml_refuse(at, "Expecting a text");
    }
    value = (const char *)node->data.scalar.value;
    len = node->data.scalar.length;
    if (len == 0 || len > AN_YAML_TEXT_MAX) {
        return an_yaml_refuse(at, len == 0 ? "empty" : "longer than %d bytes",
                              AN_YAML_TEXT_MAX);
    }
    if (strlen(value) != len) {
        return an_yaml_refuse(at, "a text without NUL");
    }
    *text = value;
    return AN_OK;
}

enum an_err
an_yaml_number(struct an_yaml_at at, uint64_t least, uint64_t most, uint64_t *number)
{
    const char *text = ""; /* gcc -O3 does not see that success sets it */
    char *end;
    unsigned long long value;
    enum an_err err = an_yaml_text(at, &text);

    if (err != AN_OK) {
        return err;
    }
    if (strspn(text, "0123456789") != strlen(text)) {
        return an_yaml_refuse(at, "'%.40s' is not a number", text);
    }
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || value < least || value > most) {
        return an_yaml_refuse(at, "%.40s is not in %llu..%llu", text,
                              (unsigned long long)least, (unsigned long long)most);
    }
    *number = value;
    return AN_OK;
}
