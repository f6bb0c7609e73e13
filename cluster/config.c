#include "cluster/config.h"
#include <assert.h>
#include <ctype.h>
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1024 * 1024, SAID_MAX = 200, KEY_MAX = 64, TEXT_MAX = 1024 };

/* As libcyaml fills it: a pointer for each key, NULL when the file does not name it. */
#define RAW_TEXT(section, key, def, help)                char *section##_##key;
#define RAW_CHOICE(section, key, def, choices, help)     char *section##_##key;
#define RAW_NUMBER(section, key, def, least, most, help) uint64_t *section##_##key;
struct raw {
    AN_CONFIG(RAW_TEXT, RAW_CHOICE, RAW_NUMBER)
};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define FIELD_TEXT(section, key, def, help)                                              \
    CYAML_FIELD_STRING_PTR(#key, OPTIONAL, struct raw, section##_##key, 1, TEXT_MAX),
#define FIELD_CHOICE(section, key, def, choices, help)                                   \
    CYAML_FIELD_STRING_PTR(#key, OPTIONAL, struct raw, section##_##key, 1, TEXT_MAX),
#define FIELD_NUMBER(section, key, def, least, most, help)                               \
    CYAML_FIELD_UINT_PTR(#key, OPTIONAL, struct raw, section##_##key),
#define FIELDS(section, LIST)                                                            \
    static const cyaml_schema_field_t section##_fields[] = {                             \
        LIST(FIELD_TEXT, FIELD_CHOICE, FIELD_NUMBER) CYAML_FIELD_END}
FIELDS(log, AN_CONFIG_LOG);
FIELDS(gate, AN_CONFIG_GATE);
FIELDS(sequencer, AN_CONFIG_SEQUENCER);
FIELDS(idgen, AN_CONFIG_IDGEN);
FIELDS(store, AN_CONFIG_STORE);

/* A section's members lie in the same struct: its offset is 0. */
#define SECTION(name)                                                                    \
    {                                                                                    \
        .key = #name,                                                                    \
        .value = {.type = CYAML_MAPPING,                                                 \
                  .flags = CYAML_FLAG_OPTIONAL,                                          \
                  .data_size = sizeof(struct raw),                                       \
                  .mapping = {.fields = name##_fields}},                                 \
        .data_offset = 0                                                                 \
    }
static const cyaml_schema_field_t top_fields[] = {
    AN_CONFIG_TOP(FIELD_TEXT, FIELD_CHOICE, FIELD_NUMBER) SECTION(log),
    SECTION(gate),
    SECTION(sequencer),
    SECTION(idgen),
    SECTION(store),
    CYAML_FIELD_END};
static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, top_fields)};

/* ------------------------------------------------------------------ complaints */

/* What libcyaml said: the complaint, and the innermost place it named. */
struct said {
    char what[SAID_MAX];
    char key[KEY_MAX];
    unsigned line;
};

__attribute__((format(printf, 3, 0))) static void
listen_to(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
    struct said *said = ctx;
    char text[SAID_MAX], key[KEY_MAX];
    const char *from = text;
    unsigned line;

    (void)level;
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\n")] = '\0';
    if (strncmp(from, "Load: ", 6) == 0) {
        from += 6;
    }
    if (said->what[0] == '\0') {
        memcpy(said->what, from, strlen(from) + 1);
        sscanf(from, "Unexpected key: %63s", said->key);
        sscanf(from, "Mapping field already seen: %63s", said->key);
    } else if (said->line == 0 &&
               sscanf(from, " in mapping field '%63[^']' (line: %u", key, &line) == 2) {
        said->line = line;
        if (said->key[0] == '\0') {
            memcpy(said->key, key, sizeof(key));
        }
    } else if (said->line == 0 && sscanf(from, " in mapping (line: %u", &line) == 1) {
        said->line = line;
    }
}

/* The last line that begins with this key, or 0: libcyaml points at the mapping. */
static unsigned
line_of(const char *text, size_t len, const char *section, const char *key)
{
    size_t key_len = strlen(key), section_len = strlen(section);
    unsigned line = 1, found = 0;
    bool inside = section_len == 0;

    for (size_t i = 0; i < len; line++) {
        const char *end = memchr(text + i, '\n', len - i);
        size_t stop = end == NULL ? len : (size_t)(end - text);
        size_t at = i;

        if (section_len > 0 && !isspace((unsigned char)text[i]) && text[i] != '#') {
            inside = stop - i > section_len && text[i + section_len] == ':' &&
                     memcmp(text + i, section, section_len) == 0;
            at += inside ? section_len + 1 : 0;
        }
        while (at < stop && (isspace((unsigned char)text[at]) || text[at] == '{')) {
            at++;
        }
        if (inside && stop - at > key_len && memcmp(text + at, key, key_len) == 0 &&
            (text[at + key_len] == ':' || text[at + key_len] == ' ')) {
            found = line;
        }
        i = stop + 1;
    }
    return found;
}

/* ------------------------------------------------------------------ values */

struct source {
    const char *name, *text;
    size_t len;
    char *why;
    size_t why_len;
};

static enum an_err
complain(const struct source *source, const char *section, const char *key,
         const char *reason)
{
    bool top = strcmp(section, "top") == 0;

    snprintf(source->why, source->why_len, "%s:%u: %s%s%s: %s", source->name,
             line_of(source->text, source->len, top ? "" : section, key),
             top ? "" : section, top ? "" : ".", key, reason);
    return AN_ERR_CONFIG;
}

static bool
is_choice(const char *value, const char *choices)
{
    size_t len = strlen(value);

    while (*choices != '\0') {
        size_t one = strcspn(choices, "|");
        if (one == len && memcmp(choices, value, len) == 0) {
            return true;
        }
        choices += one + (choices[one] == '|');
    }
    return false;
}

enum an_err
config_set_text(char **text, const char *value)
{
    char *copy = strdup(value);

    if (copy == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    free(*text);
    *text = copy;
    return AN_OK;
}

static enum an_err
set_choice(char **to, const char *value, const struct source *source, const char *section,
           const char *key, const char *choices)
{
    char reason[SAID_MAX];

    if (value == NULL) {
        return AN_OK;
    }
    if (!is_choice(value, choices)) {
        snprintf(reason, sizeof(reason), "'%.40s' is none of %s", value, choices);
        return complain(source, section, key, reason);
    }
    return config_set_text(to, value);
}

static enum an_err
set_number(uint64_t *to, const uint64_t *value, const struct source *source,
           const char *section, const char *key, uint64_t least, uint64_t most)
{
    char reason[SAID_MAX];

    if (value == NULL) {
        return AN_OK;
    }
    if (*value < least || *value > most) {
        snprintf(reason, sizeof(reason), "%llu is not in %llu..%llu",
                 (unsigned long long)*value, (unsigned long long)least,
                 (unsigned long long)most);
        return complain(source, section, key, reason);
    }
    *to = *value;
    return AN_OK;
}

static enum an_err
set_all(struct config *config, const struct raw *raw, const struct source *source)
{
    enum an_err err = AN_OK;

#define SET_TEXT(section, key, def, help)                                                \
    if (err == AN_OK && raw->section##_##key != NULL) {                                  \
        err = config_set_text(&config->section##_##key, raw->section##_##key);           \
    }
#define SET_CHOICE(section, key, def, choices, help)                                     \
    if (err == AN_OK) {                                                                  \
        err = set_choice(&config->section##_##key, raw->section##_##key, source,         \
                         #section, #key, choices);                                       \
    }
#define SET_NUMBER(section, key, def, least, most, help)                                 \
    if (err == AN_OK) {                                                                  \
        err = set_number(&config->section##_##key, raw->section##_##key, source,         \
                         #section, #key, least, most);                                   \
    }
    AN_CONFIG(SET_TEXT, SET_CHOICE, SET_NUMBER)
    if (err == AN_OK && config->gate_idle_ms < 2 * config->gate_heartbeat_ms) {
        err = complain(source, "gate", "idle_ms", "less than twice heartbeat_ms");
    }
    return err;
}

/* ------------------------------------------------------------------ whole files */

enum an_err
config_init(struct config *config)
{
    enum an_err err = AN_OK;

    *config = (struct config){0};
#define INIT_TEXT(section, key, def, help)                                               \
    if (err == AN_OK) {                                                                  \
        err = config_set_text(&config->section##_##key, def);                            \
    }
#define INIT_CHOICE(section, key, def, choices, help)     INIT_TEXT(section, key, def, help)
#define INIT_NUMBER(section, key, def, least, most, help) config->section##_##key = (def);
    AN_CONFIG(INIT_TEXT, INIT_CHOICE, INIT_NUMBER)
    return err;
}

void
config_fini(struct config *config)
{
#define FINI_TEXT(section, key, def, help)            free(config->section##_##key);
#define FINI_CHOICE(section, key, def, choices, help) free(config->section##_##key);
#define FINI_NUMBER(section, key, def, least, most, help)
    AN_CONFIG(FINI_TEXT, FINI_CHOICE, FINI_NUMBER)
    *config = (struct config){0};
}

enum an_err
config_parse(struct config *config, const char *name, const char *text, size_t len,
             char *why, size_t why_len)
{
    struct source source = {name, text, len, why, why_len};
    struct said said = {0};
    const cyaml_config_t yaml = {.log_fn = listen_to,
                                 .log_ctx = &said,
                                 .log_level = CYAML_LOG_WARNING,
                                 .mem_fn = cyaml_mem};
    struct raw *raw = NULL;
    cyaml_err_t rv =
        cyaml_load_data((const uint8_t *)text, len, &yaml, &schema, (void **)&raw, NULL);
    enum an_err err = AN_OK;
    unsigned line;

    if (rv != CYAML_OK) {
        line = said.key[0] == '\0' ? 0 : line_of(text, len, "", said.key);
        snprintf(why, why_len, "%s:%u: %s%s%s", name, line == 0 ? said.line : line,
                 said.key, said.key[0] == '\0' ? "" : ": ",
                 said.what[0] == '\0' ? cyaml_strerror(rv) : said.what);
        return rv == CYAML_ERR_OOM ? AN_ERR_NO_MEMORY : AN_ERR_CONFIG;
    }
    if (raw != NULL) {
        err = set_all(config, raw, &source);
    }
    cyaml_free(&yaml, &schema, raw, 0);
    return err;
}

enum an_err
config_load(struct config *config, const char *path, char *why, size_t why_len)
{
    char *text = malloc(FILE_MAX);
    FILE *file = fopen(path, "re");
    enum an_err err = AN_ERR_IO;
    size_t len = 0;

    if (text == NULL || file == NULL) {
        snprintf(why, why_len, "%s: %s", path, strerror(errno));
        goto out;
    }
    len = fread(text, 1, FILE_MAX, file);
    if (ferror(file) != 0 || len == FILE_MAX) {
        snprintf(why, why_len, "%s: %s", path,
                 len == FILE_MAX ? "larger than a configuration" : strerror(errno));
        goto out;
    }
    err = config_parse(config, path, text, len, why, why_len);
out:
    if (file != NULL) {
        fclose(file);
    }
    free(text);
    return err;
}
