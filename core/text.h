/* Text for people and tools: escaping. Pure, thread safe. */
#ifndef AN_CORE_TEXT_H
#define AN_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Copies text so that it stays on one line: control characters become \n, \t, \r or
 * \u00XX; with json also '"' and '\\' are escaped, so that the result fits between
 * quotes, and what is not UTF-8 becomes \ufffd; without, bytes above 0x7f are kept. Cut
 * (never inside an escape, with json never inside a character) at cap - 1 bytes and
 * terminated; cap at least 1. Returns the length written. */
size_t an_text_escape(char *out, size_t cap, const char *text, size_t len, bool json);

#endif
