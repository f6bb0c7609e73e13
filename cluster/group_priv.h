/* The inside of a group, shared by its files. */
#ifndef AN_CLUSTER_GROUP_PRIV_H
#define AN_CLUSTER_GROUP_PRIV_H

#include "actors/api/api.h"
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
    struct api_gates gates;      /* filled before actors start */
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

AN_MUST_USE enum an_err member_make_api(const struct group *group,
                                        const struct member *member,
                                        struct an_actor **out);
/* Where clients connect, for the api; once doors are bound. */
void group_note_gates(struct group *group);

/* Random, not 0. */
uint64_t member_seed(void);
/* A line of a door's; who: its actor's name. */
void member_log(void *who, int level, const char *line);
/* May a gate, or with http an api, listen there? AN_ERR_CONFIG with *why. */
AN_MUST_USE enum an_err member_judge_listen(const struct config *config, const char *url,
                                            bool http, char *why, size_t why_len);
/* Where a file of the settings is on this host; out has AN_PATH_LEN_MAX bytes. NULL: none
 * is named. */
const char *member_file(const struct plan *plan, const struct member *member,
                        const char *text, char *out);

#endif
