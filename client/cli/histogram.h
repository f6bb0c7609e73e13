/* Latencies in microseconds: 32 buckets an octave, so a quantile is right to about 2 %.
 */
#ifndef AN_CLIENT_CLI_HISTOGRAM_H
#define AN_CLIENT_CLI_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 32 * 40 };

/* Zero it. */
struct histogram {
    uint64_t count;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* One value, in microseconds. */
void histogram_add(struct histogram *histogram, uint64_t us);
/* The value that fraction (0..1) of all are not above; 0 when there is none. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
