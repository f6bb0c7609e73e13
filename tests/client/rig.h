/* A client, a scripted server and a virtual clock, driven together. */
#ifndef TESTS_CLIENT_RIG_H
#define TESTS_CLIENT_RIG_H

#include "client/anser.h"
#include "mock_server.h"
#include <stdbool.h>
#include <stdint.h>

enum { RIG_MAX = 4096 };

struct rig_message {
    uint64_t inbox_seq, seq;
    char from[65];
    char text[128];
    bool own, own_device;
};

struct rig {
    struct mock mock;
    struct anser_client *client;
    struct anser_options options;
    const char *addresses[4];
    uint64_t now_ms; /* moves only by rig_advance */

    /* What the callbacks heard. */
    struct rig_message messages[RIG_MAX];
    size_t message_count;
    struct anser_send sends[RIG_MAX];
    size_t send_count;
    enum anser_state states[RIG_MAX];
    size_t state_count;
    struct anser_error why; /* of the last state that had one */
    unsigned gaps, resets, warnings;
    uint64_t gap_from, gap_to;
    unsigned tokens;
    const char *fresh_token;
    size_t take; /* messages on_message takes before it says no */
};

void rig_init(struct rig *rig);
/* Creates the client from rig->options. */
void rig_start(struct rig *rig);
void rig_fini(struct rig *rig);
/* Ends the client and makes another with the same options. */
void rig_restart(struct rig *rig);
/* Until cond holds, without the virtual clock moving; false when it does not come. */
bool rig_until(struct rig *rig, bool (*cond)(struct rig *rig));
/* Until client and server have nothing more to do at this instant. */
void rig_settle(struct rig *rig);
void rig_advance(struct rig *rig, uint64_t ms);
uint64_t rig_send(struct rig *rig, const char *to, const char *text);
/* How often this message was told to be in this state. */
size_t rig_told(const struct rig *rig, uint64_t ticket, enum anser_send_state state);
bool rig_online(struct rig *rig);
bool rig_closed(struct rig *rig);
bool rig_flushed(struct rig *rig);

#endif
