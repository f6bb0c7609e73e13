/* An api actor driven by hand, and what the others say to it: for the test_api*.c files
 * and the fuzzer. Users' requests are each file's own. */
#ifndef AN_TESTS_ACTORS_API_KIT_H
#define AN_TESTS_ACTORS_API_KIT_H

#include "actors/api/api.h"
#include "proto/bus.pb-c.h"
#include "tests/actors/harness.h"

/* An api that has said it is ready, in a *topology that is made here: one of each. */
struct harness *api_kit_create(const struct api_cfg *cfg, struct an_topology *topology);
/* An operator's words; the request's number. */
uint64_t api_kit_say(struct harness *h, const char *words);

/* A request of a back end with the key "a1" of the app "default". The headers' texts live
 * in *out; nonce, which has to last, is one of them. */
struct api_kit_signature {
    char time[24], hex[2 * 32 + 1];
};
extern const struct an_app_keys api_kit_app_keys;
void api_kit_sign(struct api_kit_signature *out, struct an_http_request *request,
                  const char *nonce, uint64_t wall_ms);

/* Answers a Read, a Submit, a TakeSegment. Returns the (first) query or command, which
 * lives as long as the ask. */
const Anser__Bus__Query *api_kit_give_answer(struct harness *h,
                                             const struct harness_effect *ask,
                                             const Anser__Bus__Answer *answer);
const Anser__Bus__Command *api_kit_give_result(struct harness *h,
                                               const struct harness_effect *ask,
                                               const Anser__Bus__Result *result);
void api_kit_give_key(struct harness *h, const struct harness_effect *ask, uint64_t key);

/* The same for the next such ask, which must be there: the Submit of one command. */
const Anser__Bus__Query *api_kit_read(struct harness *h,
                                      const Anser__Bus__Answer *answer);
const Anser__Bus__Command *api_kit_decide(struct harness *h, enum an_err err,
                                          uint64_t user);
void api_kit_key(struct harness *h, uint64_t key);

#endif
