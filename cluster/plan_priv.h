/* Shared by the two halves of the cluster file: plan_read.c reads it, plan.c keeps it. */
#ifndef AN_CLUSTER_PLAN_PRIV_H
#define AN_CLUSTER_PLAN_PRIV_H

#include "cluster/plan.h"
#include "cluster/yaml.h"

enum {
    SOCKET_PATH_MAX = 107, /* of an ipc address: sockaddr_un's, without its end */
};

/* One file under way. */
struct reading {
    struct plan *plan;
    struct an_yaml_at top, hosts, actors;
    const char *dir;
    uint16_t bus_port;
};

/* Fills the plan in; what was made is the plan's also on an error. */
enum an_err plan_read_hosts(struct reading *r);
enum an_err plan_read_actors(struct reading *r);
/* Ports, directories, addresses and socket names: what more than one actor has to do
 * with. */
enum an_err plan_read_places(struct reading *r);
enum an_err plan_check(struct reading *r);
/* Absolute, or below dir, without needless parts; NULL without memory. */
char *plan_path(const char *dir, const char *path);
/* The name of a cluster, host or process: letters, digits and - _ . */
enum an_err plan_read_name(struct an_yaml_at at, char out[PLAN_NAME_MAX + 1]);
struct an_yaml_at plan_actor_at(const struct reading *r, unsigned actor);
const char *plan_actor_name(const struct reading *r, unsigned actor);

#endif
