#include "core/nets.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { V6_KEPT = 8, V4_AT = 12, V4_BITS = 32, ALL_BITS = 128 };

static const uint8_t mapped[V4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool
an_address_is_v4(const uint8_t address[AN_ADDRESS_LEN])
{
    return memcmp(address, mapped, V4_AT) == 0;
}

void
an_address_of(uint8_t out[AN_ADDRESS_LEN], const struct sockaddr *from)
{
    memset(out, 0, AN_ADDRESS_LEN);
    if (from->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr,
               AN_ADDRESS_LEN);
    } else if (from->sa_family == AF_INET) {
        memcpy(out, mapped, V4_AT);
        memcpy(out + V4_AT, &((const struct sockaddr_in *)(const void *)from)->sin_addr,
               AN_ADDRESS_LEN - V4_AT);
    }
}

void
an_address_network(uint8_t address[AN_ADDRESS_LEN])
{
    if (!an_address_is_v4(address)) {
        memset(address + V6_KEPT, 0, AN_ADDRESS_LEN - V6_KEPT);
    }
}

void
an_address_print(const uint8_t address[AN_ADDRESS_LEN], char *out, size_t len)
{
    bool v4 = an_address_is_v4(address);

    if (inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + V4_AT : address, out,
                  (socklen_t)len) == NULL) {
        snprintf(out, len, "?");
    }
}

/* "ADDRESS[/BITS]". */
static bool
parse_one(struct an_nets *out, char *text)
{
    uint8_t *address = out->net[out->count].address;
    char *slash = strchr(text, '/'), *end;
    unsigned long bits, most = ALL_BITS;

    if (slash != NULL) {
        *slash = '\0';
    }
    if (inet_pton(AF_INET, text, address + V4_AT) == 1) {
        memcpy(address, mapped, V4_AT);
        most = V4_BITS;
    } else if (inet_pton(AF_INET6, text, address) != 1) {
        return false;
    }
    bits = most;
    if (slash != NULL) {
        if (strspn(slash + 1, "0123456789") == 0) {
            return false; /* strtoul would take a sign */
        }
        bits = strtoul(slash + 1, &end, 10);
        if (*end != '\0' || bits > most) {
            return false;
        }
    }
    out->net[out->count++].bits = (uint8_t)(bits + ALL_BITS - most);
    return true;
}

bool
an_nets_parse(struct an_nets *out, const char *text)
{
    static const char between[] = ", \t";

    out->count = 0;
    for (text += strspn(text, between); *text != '\0'; text += strspn(text, between)) {
        char one[AN_ADDRESS_TEXT_MAX + 4];
        size_t len = strcspn(text, between);

        if (len >= sizeof(one) || out->count == AN_NETS_MAX) {
            return false;
        }
        memcpy(one, text, len);
        one[len] = '\0';
        if (!parse_one(out, one)) {
            return false;
        }
        text += len;
    }
    return true;
}

static bool
same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;

    return memcmp(a, b, bytes) == 0 &&
           (rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0);
}

bool
an_nets_hold(const struct an_nets *nets, const uint8_t address[AN_ADDRESS_LEN])
{
    for (unsigned i = 0; i < nets->count; i++) {
        if (same_bits(nets->net[i].address, address, nets->net[i].bits)) {
            return true;
        }
    }
    return false;
}
