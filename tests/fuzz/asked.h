/* The text endpoint's own code (core/runner_nng/inspect.c) without its sockets. */
#ifndef AN_TESTS_FUZZ_ASKED_H
#define AN_TESTS_FUZZ_ASKED_H

#include <stddef.h>
#include <stdint.h>

struct an_runner;

/* Asks these words; the answer is checked when it comes. */
void asked_words(struct an_runner *runner, const uint8_t *words, size_t len);
/* How many questions have not been answered yet; they are forgotten. */
unsigned asked_forget(void);

#endif
