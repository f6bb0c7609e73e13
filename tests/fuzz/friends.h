/* How the actors that ours asks answer when all is well. */
#ifndef AN_TESTS_FUZZ_FRIENDS_H
#define AN_TESTS_FUZZ_FRIENDS_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* The packed body of the answer to this ask, the caller's to free(); its length. */
size_t friend_answer(uint8_t **out, unsigned kind, const ProtobufCMessage *ask);

#endif
