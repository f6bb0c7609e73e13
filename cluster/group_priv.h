/* The inside of a group, shared by its files. */
#ifndef AN_CLUSTER_GROUP_PRIV_H
#define AN_CLUSTER_GROUP_PRIV_H

#include "cluster/group.h"

enum { GROUP_WHO_LEN = 24, GROUP_URL_LEN = 256 };

struct member {
    const struct plan_actor *placed;
    char who[GROUP_WHO_LEN];  /* "store/0" */
    struct an_door *new_door; /* made, not yet given to the runner */
    struct an_door *door;     /* the runner's */
    bool started, ready;
};

struct group {
    struct group_cfg cfg; /* but for actors */
    struct an_runner *runner;
    struct member *members; /* in the order they start */
    unsigned member_count;
    char control[GROUP_URL_LEN]; /* the runner's text endpoint, once it is open */
};

/* A gate's door, not listening yet. AN_ERR_CONFIG, AN_ERR_NO_MEMORY, with *why. */
AN_MUST_USE enum an_err member_make_door(const struct group *group, struct member *member,
                                         char *why, size_t why_len);
/* The same of an api that listens. */
AN_MUST_USE enum an_err member_make_http(struct group *group, struct member *member,
                                         char *why, size_t why_len);
/* The actor; a store is opened. *why names the reason. */
AN_MUST_USE enum an_err member_make(const struct group *group, struct member *member,
                                    struct an_actor **out, char *why, size_t why_len);

#endif
