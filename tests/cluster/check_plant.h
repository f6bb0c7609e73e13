/* Writes rows behind a store's back. */
#ifndef AN_TESTS_CLUSTER_CHECK_PLANT_H
#define AN_TESTS_CLUSTER_CHECK_PLANT_H

#include "tests/actors/store_rig.h"

/* One row of a closed store, put (value given) or deleted, whatever it means. */
void check_plant(struct store_rig *rig, const uint8_t *key, size_t key_len,
                 const ProtobufCMessage *value);

#endif
