/* Wrong passwords: who tries too often waits, ever longer. Counted for each pair of
 * account and address, so that the owner is let in from elsewhere, and for each address
 * over all accounts. Places are bounded; who waits keeps his, and where all of a place's
 * neighbours wait a newcomer waits with them.
 *
 * Context: the actor's thread. */
#ifndef AN_ACTORS_API_GUESS_H
#define AN_ACTORS_API_GUESS_H

#include <stdbool.h>
#include <stdint.h>

struct api_guess;

/* NULL without memory. seed: nobody outside knows it, so nobody can say who shares whose
 * place. */
struct api_guess *api_guess_create(uint64_t seed);
void api_guess_destroy(struct api_guess *guess);
/* One number of an address, as addresses are told apart here: of IPv6 the network counts.
 * Not 0; another with another seed. */
uint64_t api_guess_address(const struct api_guess *guess, const char *from);
/* A try begins, and counts as failed until it has passed. Returns in how many ms it may
 * begin; 0: now. from: the address, numeric; of IPv6 the network counts. */
uint64_t api_guess_try(struct api_guess *guess, const char *app, const char *name,
                       const char *from, uint64_t now_ms);
/* In how many ms the next try may begin; 0: now. *address: all of the address wait. No
 * try, it counts nothing. */
uint64_t api_guess_wait(struct api_guess *guess, const char *app, const char *name,
                        const char *from, uint64_t now_ms, bool *address);
/* The try that began then was right, or came to no end: it does not count. right: earlier
 * ones of the pair are forgotten, too. What a later try made others wait stands. */
void api_guess_pass(struct api_guess *guess, const char *app, const char *name,
                    const char *from, uint64_t began_ms, bool right);

#endif
