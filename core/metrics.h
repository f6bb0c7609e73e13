/* Counters and gauges of a process, gathered from every actor and written out once as
 * Prometheus text (version 0.0.4) or as JSON.
 *
 * Context: not thread safe; whoever gathers owns it. */
#ifndef AN_CORE_METRICS_H
#define AN_CORE_METRICS_H

#include "core/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct an_metrics;

/* NULL without memory. */
struct an_metrics *an_metrics_create(void);
void an_metrics_destroy(struct an_metrics *metrics);
/* group: "store" gives names "anser_store_NAME", with "_total" behind a counter's. actor:
 * "store/0", becomes a label. All are copied. Without memory the row is left out. What
 * counts time has a name that ends in "_us" or "_ms": Prometheus sees "_seconds" and a
 * decimal fraction, JSON the number as it is. */
void an_metrics_add(struct an_metrics *metrics, const char *group, const char *actor,
                    const char *name, const char *help, bool counter, uint64_t value);
/* HELP and TYPE once for each name, then its samples by actor. The caller frees it. NULL
 * without memory. */
char *an_metrics_prometheus(struct an_metrics *metrics);
/* {"GROUP":{"NAME":VALUE,...},...}: for one actor's. The caller frees it. NULL without
 * memory. */
char *an_metrics_json(struct an_metrics *metrics);

#endif
