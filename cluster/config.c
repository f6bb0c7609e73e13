#include "cluster/config.h"
#include "core/nets.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The table of config.h as data: where each key goes and what it may be. */
enum kind { KIND_TEXT, KIND_CHOICE, KIND_NUMBER };
struct row {
    const char *section, *key;
    enum kind kind;
    size_t offset;
    const char *choices;
    uint64_t least, most;
};

#define AT(section, key) offsetof(struct config, section##_##key)
#define ROW_TEXT(section, key, def, help)                                                \
    {#section, #key, KIND_TEXT, AT(section, key), NULL, 0, 0},
#define ROW_CHOICE(section, key, def, choices, help)                                     \
    {#section, #key, KIND_CHOICE, AT(section, key), choices, 0, 0},
#define ROW_NUMBER(section, key, def, least, most, help)                                 \
    {#section, #key, KIND_NUMBER, AT(section, key), NULL, least, most},
static const struct row rows[] = {AN_CONFIG(ROW_TEXT, ROW_CHOICE, ROW_NUMBER)};
enum { ROWS = sizeof(rows) / sizeof(rows[0]), LIST_MAX = 1024 };

/* Each actor of a cluster file says these for itself. */
static const char *const not_settings[] = {"listen", "data", "bus", NULL};

/* ------------------------------------------------------------------ values */

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

/* The addresses of a list, one behind the other with a comma. */
static enum an_err
take_list(char **to, struct an_yaml_at list)
{
    char all[LIST_MAX];
    size_t len = 0;

    all[0] = '\0';
    for (unsigned i = 0; i < an_yaml_count(list); i++) {
        const char *text;
        enum an_err err = an_yaml_text(an_yaml_nth(list, i), &text);

        if (err != AN_OK) {
            return err;
        }
        len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i == 0 ? "" : ",",
                                text);
        if (len >= sizeof(all)) {
            return an_yaml_refuse(list, "longer than %d bytes in all", LIST_MAX - 1);
        }
    }
    return len == 0 ? an_yaml_refuse(list, "empty") : config_set_text(to, all);
}

static bool
takes_list(const struct row *row)
{
    return row->offset == offsetof(struct config, top_listen) ||
           row->offset == offsetof(struct config, api_listen);
}

static enum an_err
take_value(struct config *config, const struct row *row, struct an_yaml_at at)
{
    char *to = (char *)config + row->offset;
    const char *text;
    enum an_err err;

    if (row->kind == KIND_NUMBER) {
        return an_yaml_number(at, row->least, row->most, (uint64_t *)(void *)to);
    }
    if (takes_list(row) && an_yaml_is_list(at)) {
        return take_list((char **)(void *)to, at);
    }
    err = an_yaml_text(at, &text);
    if (err != AN_OK) {
        return err;
    }
    if (row->kind == KIND_CHOICE && !is_choice(text, row->choices)) {
        return an_yaml_refuse(at, "'%.40s' is none of %s", text, row->choices);
    }
    return config_set_text((char **)(void *)to, text);
}

/* ------------------------------------------------------------------ sections */

static bool
is_in(const char *const *list, const char *key)
{
    while (*list != NULL && strcmp(*list, key) != 0) {
        list++;
    }
    return *list != NULL;
}

/* The keys of a section, ended by NULL; those of the outermost are "top"'s and the
 * sections' names. */
static void
list_keys(const char *section, bool settings, const char *out[ROWS + 1])
{
    bool top = strcmp(section, "top") == 0;
    size_t used = 0;

    out[0] = NULL;
    for (size_t i = 0; i < ROWS; i++) {
        const char *key = strcmp(rows[i].section, section) == 0 ? rows[i].key
                          : top                                 ? rows[i].section
                                                                : NULL;
        if (key != NULL && !is_in(out, key) &&
            !(top && settings && is_in(not_settings, key))) {
            out[used++] = key;
            out[used] = NULL;
        }
    }
}

/* The values of a section's keys that are there. */
static enum an_err
take_section(struct config *config, const char *section, struct an_yaml_at map)
{
    enum an_err err = AN_OK;

    for (size_t i = 0; err == AN_OK && i < ROWS; i++) {
        struct an_yaml_at at;

        if (strcmp(rows[i].section, section) == 0) {
            at = an_yaml_find(map, rows[i].key);
            err = an_yaml_there(at) ? take_value(config, &rows[i], at) : AN_OK;
        }
    }
    return err;
}

static enum an_err
take_sections(struct config *config, struct an_yaml_at map)
{
    const char *known[ROWS + 1];

    for (unsigned i = 0; i < an_yaml_count(map); i++) {
        struct an_yaml_at at = an_yaml_nth(map, i);
        enum an_err err;

        list_keys(at.key, false, known);
        if (known[0] == NULL) {
            continue; /* a value of the outermost */
        }
        at.in = "";
        err = an_yaml_map(at, known);
        if (err == AN_OK) {
            err = take_section(config, at.key, at);
        }
        if (err != AN_OK) {
            return err;
        }
    }
    return AN_OK;
}

enum an_err
config_take(struct config *config, struct an_yaml_at map, bool settings)
{
    const char *known[ROWS + 2] = {"apps"};
    struct an_yaml_at gate;
    struct an_nets nets;
    enum an_err err;

    list_keys("top", settings, known + 1);
    err = an_yaml_map(map, known);
    map.key = "";
    if (err == AN_OK) {
        err = take_section(config, "top", map);
    }
    if (err == AN_OK) {
        err = take_sections(config, map);
    }
    if (err == AN_OK && an_yaml_there(an_yaml_find(map, "apps"))) {
        err = config_apps_take(config, an_yaml_find(map, "apps"));
    }
    gate = an_yaml_find(map, "gate");
    if (err == AN_OK && !an_nets_parse(&nets, config->gate_unlimited)) {
        err =
            an_yaml_refuse(an_yaml_find(gate, "unlimited"),
                           "not addresses with commas between, at most %d", AN_NETS_MAX);
    }
    if (err == AN_OK) {
        err = config_urls_check(config, map);
    }
    if (err == AN_OK && settings) {
        struct an_yaml_at at = an_yaml_find(an_yaml_find(map, "api"), "listen");

        err = an_yaml_there(at)
                  ? an_yaml_refuse(at, "each api of the file says it for itself")
                  : AN_OK;
    }
    if (err == AN_OK && config->gate_idle_ms < 2 * config->gate_heartbeat_ms) {
        struct an_yaml_at at = an_yaml_find(gate, "idle_ms");

        at.line = an_yaml_there(at) ? at.line : an_yaml_find(gate, "heartbeat_ms").line;
        err = an_yaml_refuse(at, "less than twice heartbeat_ms");
    }
    return err;
}

/* ------------------------------------------------------------------ addresses */

const char *
config_listen_refusal(const struct config *config, const struct an_listen *listen)
{
    const bool http = an_scheme_is_http(listen->scheme);

    switch (an_scheme_cover(listen->scheme)) {
    case AN_COVER_NOISE:
        return config->gate_noise_key[0] != '\0' ? NULL : "Noise needs gate.noise_key";
    case AN_COVER_TLS:
        return config->gate_tls_cert[0] != '\0' && config->gate_tls_key[0] != '\0'
                   ? NULL
                   : "TLS needs gate.tls_cert and gate.tls_key";
    case AN_COVER_NONE:
        break;
    }
    if (an_listen_is_local(listen) ||
        strcmp(http ? config->api_plain : config->gate_plain, "anywhere") == 0) {
        return NULL;
    }
    return http ? "others could read what goes over it: use https://, or say that it may "
                  "be so with api.plain: anywhere"
                : "others could read what goes over it: use TLS or Noise, or say that it "
                  "may be so with gate.plain: anywhere";
}

enum an_err
config_split_listen(char *text, char **out, unsigned most, unsigned *count, char *why,
                    size_t why_len)
{
    char *rest, *one;

    *count = 0;
    if (strcmp(text, "off") == 0) {
        return AN_OK;
    }
    for (one = strtok_r(text, ", ", &rest); one != NULL;
         one = strtok_r(NULL, ", ", &rest)) {
        if (*count == most) {
            snprintf(why, why_len, "listen: more than %u addresses", most);
            return AN_ERR_CONFIG;
        }
        out[(*count)++] = one;
    }
    if (*count == 0) {
        snprintf(why, why_len, "listen: no address");
        return AN_ERR_CONFIG;
    }
    return AN_OK;
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
    for (unsigned i = 0; i < config->key_count; i++) {
        free(config->keys[i].file);
    }
    *config = (struct config){0};
}

enum an_err
config_parse(struct config *config, const char *name, const char *text, size_t len,
             char *why, size_t why_len)
{
    struct an_yaml *doc;
    struct an_yaml_at root;
    enum an_err err = an_yaml_parse(&doc, name, text, len, why, why_len);

    if (err != AN_OK) {
        return err;
    }
    root = an_yaml_root(doc);
    if (an_yaml_there(root)) {
        err = config_take(config, root, false);
    }
    an_yaml_free(doc);
    return err;
}

enum an_err
config_load(struct config *config, const char *path, char *why, size_t why_len)
{
    char *text;
    size_t len;
    enum an_err err = an_yaml_file(&text, &len, path, why, why_len);

    if (err == AN_OK) {
        err = config_parse(config, path, text, len, why, why_len);
        free(text);
    }
    return err;
}
