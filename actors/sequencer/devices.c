#include "actors/sequencer/devices.h"
#include "proto/bytes.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool
seq_devices_init(struct seq_devices *d, uint32_t max, uint64_t hash_seed)
{
    assert(max > 0);
    an_hash_seed(&d->hash_key, hash_seed);
    d->cap = max;
    d->devices = calloc(max, sizeof(*d->devices));
    return d->devices != NULL && seq_table_init(&d->table, max);
}

void
seq_devices_fini(struct seq_devices *d)
{
    seq_table_fini(&d->table);
    free(d->devices);
    d->devices = NULL;
}

static uint32_t
hash_of(const struct seq_devices *d, uint64_t user, const uint8_t *name, size_t name_len)
{
    uint8_t in[8 + AN_NAME_LEN_MAX];

    assert(name_len <= AN_NAME_LEN_MAX);
    an_put_u64(in, user);
    memcpy(in + 8, name, name_len);
    return (uint32_t)an_hash(&d->hash_key, in, 8 + name_len);
}

static struct seq_device *
find(struct seq_devices *d, uint32_t hash, uint64_t user, const uint8_t *name,
     size_t name_len)
{
    uint32_t probe = hash, e;

    while ((e = seq_table_next(&d->table, hash, &probe)) != SEQ_NONE) {
        struct seq_device *device = &d->devices[e];

        if (device->user == user && device->name_len == name_len &&
            memcmp(device->name, name, name_len) == 0) {
            return device;
        }
    }
    return NULL;
}

void
seq_devices_drop(struct seq_devices *d, struct seq_device *device)
{
    assert(device->used);
    seq_table_remove(&d->table, device->hash, (uint32_t)(device - d->devices));
    device->used = false;
    d->count--;
}

static struct seq_device *
place(struct seq_devices *d)
{
    for (uint32_t i = 0; i < 2 * d->cap; i++) {
        struct seq_device *device = &d->devices[d->hand];

        d->hand = d->hand + 1 == d->cap ? 0 : d->hand + 1;
        if (!device->used) {
            return device;
        }
        if (device->touched) {
            device->touched = false;
        } else if (!device->loading && seq_position_idle(&device->cursor)) {
            seq_devices_drop(d, device);
            return device;
        }
    }
    return NULL;
}

struct seq_device *
seq_devices_get(struct seq_devices *d, uint64_t user, const uint8_t *name,
                size_t name_len, uint16_t slot)
{
    uint32_t hash = hash_of(d, user, name, name_len);
    struct seq_device *device = find(d, hash, user, name, name_len);

    if (device != NULL) {
        device->touched = true;
        return device;
    }
    device = place(d);
    if (device == NULL) {
        return NULL;
    }
    *device = (struct seq_device){.user = user,
                                  .name_len = (uint8_t)name_len,
                                  .used = true,
                                  .touched = true,
                                  .hash = hash};
    memcpy(device->name, name, name_len);
    device->cursor.device = device;
    device->cursor.slot = slot;
    device->cursor.waiting.tail = &device->cursor.waiting.head;
    seq_table_put(&d->table, hash, (uint32_t)(device - d->devices));
    d->count++;
    return device;
}
