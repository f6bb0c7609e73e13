/* How messages look on a terminal, in a pipe and as JSON. */
#ifndef AN_CLIENT_CLI_SHOW_H
#define AN_CLIENT_CLI_SHOW_H

#include "client/anser.h"
#include <stdio.h>

/* One line's worth: valid UTF-8 as it is; control characters, and bytes that are no
 * UTF-8, C-style (\n \t \xNN); a backslash doubled. Nothing in it can steer a terminal.
 */
void cli_put_escaped(FILE *out, const uint8_t *data, size_t len);
/* The same for people: a backslash stays single. */
void cli_put_plain(FILE *out, const uint8_t *data, size_t len);
/* What stands for a body that is no text: "[file, 3000 bytes]". */
void cli_put_other(FILE *out, const struct anser_message *message);
/* "SEQ FROM TEXT" and a newline; of a type other than text, what stands for it. */
void cli_put_line(FILE *out, const struct anser_message *message);
/* One JSON object on a line: 64-bit numbers as strings; "text", or "body_base64" of
 * anything but text. false without memory. */
bool cli_put_json(FILE *out, const struct anser_message *message);

#endif
