#include "core/log.h"
#include "core/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 4096, TEXT_MAX_LEN = 2048 };

/* Set once, before threads; constant afterwards. */
static enum an_log_level level_max = AN_LOG_INFO;
static bool as_json;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void
an_log_setup(enum an_log_level level, bool json)
{
    level_max = level;
    as_json = json;
}

static size_t
put_time(char *out, size_t cap)
{
    struct timespec now;
    struct tm utc;
    char date[32];
    int len;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    len = snprintf(out, cap, "%s.%03ldZ", date, now.tv_nsec / 1000000);
    return len > 0 ? (size_t)len : 0;
}

static size_t
make_line(char *out, enum an_log_level level, const char *who, uint64_t trace,
          const char *text)
{
    char when[64], mark[64] = "";
    int len;

    put_time(when, sizeof(when));
    if (as_json) {
        if (trace != 0) {
            snprintf(mark, sizeof(mark), ",\"trace\":\"%016llx\"",
                     (unsigned long long)trace);
        }
        len = snprintf(out, LINE_MAX_LEN,
                       "{\"time\":\"%s\",\"level\":\"%s\",\"who\":\"%s\"%s,"
                       "\"text\":\"%s\"}\n",
                       when, level_names[level], who, mark, text);
    } else {
        if (trace != 0) {
            snprintf(mark, sizeof(mark), " trace=%016llx", (unsigned long long)trace);
        }
        len = snprintf(out, LINE_MAX_LEN, "%s %s %s%s %s\n", when, level_names[level],
                       who, mark, text);
    }
    return len > 0 && len < LINE_MAX_LEN ? (size_t)len : 0;
}

void
an_log_line(enum an_log_level level, const char *who, uint64_t trace, const char *text,
            size_t len)
{
    char line[LINE_MAX_LEN], clean[TEXT_MAX_LEN];
    size_t line_len;

    if (level > level_max) {
        return;
    }
    /* Whatever a peer got into a line, it stays one line. */
    an_text_escape(clean, sizeof(clean), text, len, as_json);
    line_len = make_line(line, level, who, trace, clean);
    /* One write: lines of several threads do not mix. Nowhere to report a failure. */
    if (write(STDERR_FILENO, line, line_len) < 0) {
        return;
    }
}

void
an_log(enum an_log_level level, const char *who, const char *fmt, ...)
{
    char text[TEXT_MAX_LEN];
    va_list args;
    int len;

    if (level > level_max) {
        return;
    }
    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    an_log_line(level, who, 0, text,
                (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1);
}
