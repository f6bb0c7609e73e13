#include "client/cli/ask.h"
#include "client/cli/args.h"
#include "client/cli/node.h"
#include "core/control.h"
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 16, USER_ADD_MS = 15000 };

/* ------------------------------------------------------------------ whom */

static int
open_cluster(struct cli_asker *asker, const char *file, const char *host)
{
    char why[1024] = "";
    enum an_err err = plan_load(&asker->plan, file, why, sizeof(why));

    if (err == AN_OK) {
        err = plan_host(asker->plan, host, &asker->host, why, sizeof(why));
    }
    if (err == AN_OK) {
        err = plan_tls(asker->plan, asker->host, why, sizeof(why));
    }
    if (err != AN_OK) {
        return cli_fail(err, asker->command, why[0] == '\0' ? NULL : why);
    }
    plan_run_dir(asker->plan, asker->host, asker->run_dir, sizeof(asker->run_dir));
    return -1;
}

static int
open_node(struct cli_asker *asker, const char *dir)
{
    struct cli_node node = {0};
    char why[512];
    enum an_err err = cli_node_load(&node, dir);

    if (err == AN_OK && node.control == NULL) {
        err = AN_ERR_CONFIG;
    }
    if (err == AN_OK) {
        asker->control = node.control;
        node.control = NULL;
    }
    cli_node_fini(&node);
    if (err != AN_OK) {
        snprintf(why, sizeof(why), err == AN_ERR_CONNECTION ? "no node runs on %s" : "%s",
                 err == AN_ERR_CONNECTION ? dir : an_err_text(err));
        return cli_fail(err, asker->command, why);
    }
    return -1;
}

int
cli_asker_open(struct cli_asker *asker, const char *cluster, const char *host,
               const char *data)
{
    return cluster != NULL ? open_cluster(asker, cluster, host)
                           : open_node(asker, cli_data_dir(data));
}

void
cli_asker_close(struct cli_asker *asker)
{
    plan_free(asker->plan);
    free(asker->control);
    *asker = (struct cli_asker){0};
}

enum an_err
cli_asker_actors(const struct cli_asker *asker, struct cli_question **out, size_t *count)
{
    static const uint8_t single[] = {AN_ROLE_GATE,  AN_ROLE_ROUTER, AN_ROLE_SEQUENCER,
                                     AN_ROLE_STORE, AN_ROLE_IDGEN,  AN_ROLE_API};

    *count = asker->plan != NULL ? asker->plan->actor_count : sizeof(single);
    *out = calloc(*count, sizeof(**out));
    if (*out == NULL) {
        return AN_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < *count; i++) {
        (*out)[i].addr = asker->plan != NULL ? asker->plan->actors[i].addr
                                             : (struct an_addr){single[i], 0};
    }
    return AN_OK;
}

/* ------------------------------------------------------------------ asking */

/* The text endpoint says errors in JSON. */
static void
take_error(struct cli_question *question)
{
    json_t *root = json_loads(question->text, JSON_DECODE_ANY, NULL);
    const json_t *number = json_object_get(root, "number");
    const char *text = json_string_value(json_object_get(root, "text"));

    if (json_object_get(root, "error") != NULL && json_is_integer(number)) {
        unsigned err = (unsigned)json_integer_value(number);

        question->err = an_err_known(err) ? (enum an_err)err : AN_ERR_INTERNAL;
        snprintf(question->why, sizeof(question->why), "%s", text != NULL ? text : "");
        free(question->text);
        question->text = NULL;
    }
    json_decref(root);
}

static uint32_t
wait_ms(const struct cli_question *question)
{
    return question->ms == 0 ? CLI_ASK_MS : question->ms;
}

static void
ask_node(const struct cli_asker *asker, struct cli_question *question)
{
    char words[CLI_WORDS_MAX + 24];

    snprintf(words, sizeof(words), "%s/%u %s", an_role_name(question->addr.role),
             (unsigned)question->addr.index, question->words);
    question->err =
        an_control_ask(&question->text, asker->control, words, wait_ms(question));
    if (question->err == AN_OK) {
        take_error(question);
    }
}

static void
ask_one(const struct cli_asker *asker, struct cli_question *question)
{
    if (question->words[0] == '\0') {
        return;
    }
    question->why[0] = '\0';
    if (asker->plan == NULL) {
        ask_node(asker, question);
    } else {
        const struct an_control_from from = {.cluster = asker->plan->cluster,
                                             .topology = &asker->plan->topology,
                                             .places = &asker->plan->places,
                                             .run_dir = asker->run_dir,
                                             .host = asker->host};

        question->err =
            an_control_ask_actor(&question->text, &from, question->addr, question->words,
                                 wait_ms(question), question->why, sizeof(question->why));
    }
    if (question->err != AN_OK && question->err != AN_ERR_UNAVAILABLE &&
        question->err != AN_ERR_CONFIG) {
        snprintf(question->why, sizeof(question->why), "%s", an_err_text(question->err));
    }
}

struct work {
    const struct cli_asker *asker;
    struct cli_question *questions;
    size_t count;
    atomic_size_t next;
};

static void *
ask_some(void *arg)
{
    struct work *work = arg;
    size_t i;

    while ((i = atomic_fetch_add(&work->next, 1)) < work->count) {
        ask_one(work->asker, &work->questions[i]);
    }
    return NULL;
}

void
cli_ask_all(const struct cli_asker *asker, struct cli_question *questions, size_t count)
{
    struct work work = {.asker = asker, .questions = questions, .count = count};
    pthread_t threads[THREADS];
    unsigned started = 0;

    while (started + 1 < THREADS && started + 1 < count &&
           pthread_create(&threads[started], NULL, ask_some, &work) == 0) {
        started++;
    }
    (void)ask_some(&work);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

void
cli_answers_free(struct cli_question *questions, size_t count)
{
    for (size_t i = 0; questions != NULL && i < count; i++) {
        free(questions[i].text);
        questions[i].text = NULL;
    }
}

/* ------------------------------------------------------------------ accounts */

enum an_err
cli_api_ask(const struct cli_asker *asker, const char *words, char **text, char *why,
            size_t why_len)
{
    uint16_t apis = asker->plan == NULL ? 1 : asker->plan->topology.count[AN_ROLE_API];
    struct cli_question question = {.err = AN_ERR_CONFIG,
                                    .ms = USER_ADD_MS,
                                    .why = "the cluster file names no api/0, which "
                                           "sees to accounts"};

    for (uint16_t i = 0; i < apis; i++) {
        question.addr = (struct an_addr){AN_ROLE_API, i};
        snprintf(question.words, sizeof(question.words), "%s", words);
        ask_one(asker, &question);
        if (question.err == AN_OK && text != NULL) {
            *text = question.text;
        } else {
            free(question.text);
        }
        question.text = NULL;
        if (question.err != AN_ERR_UNAVAILABLE) {
            break;
        }
    }
    snprintf(why, why_len, "%s", question.why);
    return question.err;
}

enum an_err
cli_user_add(const struct cli_asker *asker, const char *name, const char *app, char *why,
             size_t why_len)
{
    char words[CLI_WORDS_MAX];

    snprintf(words, sizeof(words), "user-add %s %s", name, app);
    return cli_api_ask(asker, words, NULL, why, why_len);
}
