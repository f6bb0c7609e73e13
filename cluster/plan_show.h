/* A cluster file, for an operator and for programs: who runs where, who listens where,
 * who has which slots. */
#ifndef AN_CLUSTER_PLAN_SHOW_H
#define AN_CLUSTER_PLAN_SHOW_H

#include "cluster/plan.h"
#include <stdio.h>

/* A table for each host. AN_ERR_IO: out takes no more. */
AN_MUST_USE enum an_err plan_show(const struct plan *plan, FILE *out);
/* One JSON object and a newline. AN_ERR_IO, AN_ERR_NO_MEMORY. */
AN_MUST_USE enum an_err plan_show_json(const struct plan *plan, FILE *out);

#endif
