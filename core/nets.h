/* Addresses of clients, and sets of them written as "192.0.2.0/24, 2001:db8::/32, ::1".
 * An address is 16 bytes; an IPv4 one is mapped (RFC 4291, 2.5.5.2).
 *
 * Context: pure functions. */
#ifndef AN_CORE_NETS_H
#define AN_CORE_NETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum { AN_ADDRESS_LEN = 16, AN_NETS_MAX = 32, AN_ADDRESS_TEXT_MAX = 48 };

struct an_nets {
    unsigned count;
    struct {
        uint8_t address[AN_ADDRESS_LEN];
        uint8_t bits;
    } net[AN_NETS_MAX];
};

/* Commas or blanks between; without "/BITS" one address. "" holds none. false: not
 * addresses, or more than AN_NETS_MAX, and *out is not to be used. */
bool an_nets_parse(struct an_nets *out, const char *text);
bool an_nets_hold(const struct an_nets *nets, const uint8_t address[AN_ADDRESS_LEN]);
/* Of a peer's socket address; zeroed for other families than IPv4 and IPv6. */
void an_address_of(uint8_t out[AN_ADDRESS_LEN], const struct sockaddr *from);
bool an_address_is_v4(const uint8_t address[AN_ADDRESS_LEN]);
/* Whoever has one IPv6 address has a network of them, /64: its first counts as all. */
void an_address_network(uint8_t address[AN_ADDRESS_LEN]);
/* "192.0.2.1"; AN_ADDRESS_TEXT_MAX holds it. */
void an_address_print(const uint8_t address[AN_ADDRESS_LEN], char *out, size_t len);

#endif
