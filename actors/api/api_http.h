/* What is asked over HTTP, and by which function it is answered.
 *
 * Context: the api actor's thread. */
#ifndef AN_ACTORS_API_HTTP_H
#define AN_ACTORS_API_HTTP_H

#include "core/actor.h"

/* Answers at once. */
void api_http(const struct an_http_request *request, struct an_outbox *out);

#endif
