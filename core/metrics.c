#include "core/metrics.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LEN = 128 }; /* as Prometheus sees it */

struct row {
    char *group;
    char *actor;
    char *name;
    char *help;
    bool counter;
    uint64_t value;
    size_t order; /* of adding: keeps an actor's own order */
};

struct an_metrics {
    struct row *rows;
    size_t count, cap;
};

struct an_metrics *
an_metrics_create(void)
{
    return calloc(1, sizeof(struct an_metrics));
}

static void
row_fini(struct row *row)
{
    free(row->group);
    free(row->actor);
    free(row->name);
    free(row->help);
}

void
an_metrics_destroy(struct an_metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    for (size_t i = 0; i < metrics->count; i++) {
        row_fini(&metrics->rows[i]);
    }
    free(metrics->rows);
    free(metrics);
}

/* A copy; a counter's ends in "_total", whether its actor said so or not. */
static char *
full_name(const char *name, bool counter)
{
    static const char suffix[] = "_total";
    size_t len = strlen(name), suffix_len = sizeof(suffix) - 1;
    char *full = malloc(len + sizeof(suffix));
    bool has = len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;

    if (full != NULL) {
        snprintf(full, len + sizeof(suffix), "%s%s", name, counter && !has ? suffix : "");
    }
    return full;
}

void
an_metrics_add(struct an_metrics *metrics, const char *group, const char *actor,
               const char *name, const char *help, bool counter, uint64_t value)
{
    struct row row = {.group = strdup(group),
                      .actor = strdup(actor),
                      .name = full_name(name, counter),
                      .help = strdup(help),
                      .counter = counter,
                      .value = value,
                      .order = metrics->count};

    if (metrics->count == metrics->cap) {
        size_t cap = metrics->cap == 0 ? 64 : metrics->cap * 2;
        struct row *rows = realloc(metrics->rows, cap * sizeof(*rows));
        if (rows == NULL) {
            row_fini(&row);
            return;
        }
        metrics->rows = rows;
        metrics->cap = cap;
    }
    if (row.group == NULL || row.actor == NULL || row.name == NULL || row.help == NULL) {
        row_fini(&row);
        return;
    }
    metrics->rows[metrics->count++] = row;
}

static int
by_name(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = strcmp(x->group, y->group);

    if (order == 0) {
        order = strcmp(x->name, y->name);
    }
    if (order == 0) {
        order = strcmp(x->actor, y->actor);
    }
    return order;
}

static int
by_order(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = strcmp(x->group, y->group);

    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

/* Prometheus counts time in seconds, actors in whole numbers of what their names end in.
 */
static const struct unit {
    const char *suffix;
    uint64_t per_s;
    int digits;
} units[] = {{"_us", 1000000, 6}, {"_ms", 1000, 3}};

/* Writes the name as Prometheus is to see it. The unit it was counted in; NULL: of no
 * time. */
static const struct unit *
write_name(char *out, size_t size, const struct row *row)
{
    static const char total[] = "_total";
    size_t len = strlen(row->name);
    size_t total_len = row->counter ? sizeof(total) - 1 : 0;

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t tail = strlen(units[i].suffix) + total_len;

        if (len > tail && strncmp(row->name + len - tail, units[i].suffix,
                                  strlen(units[i].suffix)) == 0) {
            snprintf(out, size, "anser_%s_%.*s_seconds%s", row->group, (int)(len - tail),
                     row->name, row->counter ? total : "");
            return &units[i];
        }
    }
    snprintf(out, size, "anser_%s_%s", row->group, row->name);
    return NULL;
}

static void
write_value(FILE *file, const struct row *row, const struct unit *unit)
{
    uint64_t value = row->value;

    if (unit == NULL) {
        fprintf(file, "%" PRIu64 "\n", value);
    } else {
        fprintf(file, "%" PRIu64 ".%0*" PRIu64 "\n", value / unit->per_s, unit->digits,
                value % unit->per_s);
    }
}

static void
write_prometheus(FILE *file, const struct an_metrics *metrics)
{
    const struct row *before = NULL;

    for (size_t i = 0; i < metrics->count; i++) {
        const struct row *row = &metrics->rows[i];
        char name[NAME_LEN];
        const struct unit *unit = write_name(name, sizeof(name), row);

        if (before == NULL || strcmp(before->group, row->group) != 0 ||
            strcmp(before->name, row->name) != 0) {
            fprintf(file, "# HELP %s %s\n", name, row->help);
            fprintf(file, "# TYPE %s %s\n", name, row->counter ? "counter" : "gauge");
        }
        fprintf(file, "%s{actor=\"%s\"} ", name, row->actor);
        write_value(file, row, unit);
        before = row;
    }
}

static void
write_json(FILE *file, const struct an_metrics *metrics)
{
    const char *group = NULL;

    fputc('{', file);
    for (size_t i = 0; i < metrics->count; i++) {
        const struct row *row = &metrics->rows[i];

        if (group == NULL || strcmp(group, row->group) != 0) {
            fprintf(file, "%s\"%s\":{", group == NULL ? "" : "},", row->group);
            group = row->group;
        } else {
            fputc(',', file);
        }
        fprintf(file, "\"%s\":%llu", row->name, (unsigned long long)row->value);
    }
    fputs(group == NULL ? "}" : "}}", file);
}

static char *
write_all(const struct an_metrics *metrics,
          void (*write)(FILE *file, const struct an_metrics *metrics))
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);

    if (file == NULL) {
        return NULL;
    }
    write(file, metrics);
    if (fclose(file) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

char *
an_metrics_prometheus(struct an_metrics *metrics)
{
    if (metrics->count > 0) {
        qsort(metrics->rows, metrics->count, sizeof(struct row), by_name);
    }
    return write_all(metrics, write_prometheus);
}

char *
an_metrics_json(struct an_metrics *metrics)
{
    if (metrics->count > 0) {
        qsort(metrics->rows, metrics->count, sizeof(struct row), by_order);
    }
    return write_all(metrics, write_json);
}
