/* What an operator should know of who is let in and who is not, one line each. No
 * password, token or signature is ever in one. */
#include "actors/api/api_priv.h"
#include "core/log.h"
#include "core/text.h"
#include <stdio.h>
#include <string.h>

enum { SAY_MS = 1000 };

static const char *
escaped(char out[2 * AN_NAME_LEN_MAX + 1], const char *name)
{
    if (name[0] == '\0') {
        return "-";
    }
    an_text_escape(out, 2 * AN_NAME_LEN_MAX + 1, name, strlen(name), true);
    return out;
}

void
api_say(struct api_run *run, enum api_event event, const struct api_task *task,
        const char *more)
{
    static const struct {
        int level;
        const char *words;
    } events[] = {
#define ROW(name, level, words) {AN_LOG_##level, words},
        API_EVENTS(ROW)
#undef ROW
    };
    char app[2 * AN_NAME_LEN_MAX + 1], user[2 * AN_NAME_LEN_MAX + 1];
    struct api_said *said = &run->api->said[event];

    said->unsaid++;
    if (said->at_ms != 0 && run->now.mono_ms - said->at_ms < SAY_MS) {
        return;
    }
    an_out_log(run->out, events[event].level, task->trace,
               "%s address=%s app=%s user=%s%s count=%llu", events[event].words,
               task->http == NULL ? "-" : task->http->from, escaped(app, task->app),
               escaped(user, task->user.name), more, (unsigned long long)said->unsaid);
    said->at_ms = run->now.mono_ms;
    said->unsaid = 0;
}

void
api_say_device(struct api_run *run, enum api_event event, const struct api_task *task)
{
    char device[2 * AN_NAME_LEN_MAX + 1], more[sizeof(device) + 16];

    snprintf(more, sizeof(more), " device=%s", escaped(device, task->device));
    api_say(run, event, task, more);
}
