/* The operator's log: one structured line per event on stderr,
 *   2026-11-21T08:16:53.123Z warn store/0 trace=00ab... text key=value ...
 * or JSON lines with log.format: json. Thread safe; never a body, token or key. */
#ifndef AN_CORE_LOG_H
#define AN_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum an_log_level { AN_LOG_ERROR, AN_LOG_WARN, AN_LOG_INFO, AN_LOG_DEBUG };

/* Lines above the level are dropped. Call once, before threads. */
void an_log_setup(enum an_log_level level, bool json);
/* who: "store/0", "main". trace 0: none is printed. */
void an_log_line(enum an_log_level level, const char *who, uint64_t trace,
                 const char *text, size_t len);
void an_log(enum an_log_level level, const char *who, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
