/* Fuzzing a node's configuration: the input is its YAML. What is refused is refused with
 * the file and a line in one line of text; what is taken lies within every key's bounds.
 */
#include "cluster/config.h"
#include "core/listen.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char NAME[] = "f.yaml:";

/* Whatever was set, an address is refused with a reason or taken. */
static void
judge(const struct config *config, const char *url)
{
    struct an_listen listen;

    if (an_listen_parse(&listen, url)) {
        const char *why = config_listen_refusal(config, &listen);
        assert(why == NULL || why[0] != '\0');
    }
}

/* The list of addresses that a key or an option holds. */
static void
split(const uint8_t *data, size_t len)
{
    char text[256], why[128] = "", *addresses[4];
    unsigned count;

    len = len < sizeof(text) ? len : sizeof(text) - 1;
    memcpy(text, data, len);
    text[len] = '\0';
    if (config_split_listen(text, addresses, 4, &count, why, sizeof(why)) != AN_OK) {
        assert(why[0] != '\0');
        return;
    }
    assert(count <= 4);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config config;
    char why[512] = "";
    enum an_err err = config_init(&config);

    assert(err == AN_OK);
    err = config_parse(&config, "f.yaml", (const char *)data, len, why, sizeof(why));
    if (err != AN_OK) {
        assert(err == AN_ERR_CONFIG);
        assert(strncmp(why, NAME, sizeof(NAME) - 1) == 0);
        assert(why[sizeof(NAME) - 1] >= '0' && why[sizeof(NAME) - 1] <= '9');
        for (const char *at = why; *at != '\0'; at++) {
            assert((unsigned char)*at >= 0x20 && *at != 0x7f);
        }
    }
    judge(&config, "tcp://0.0.0.0:7400");
    judge(&config, "tls://0.0.0.0:7401");
    judge(&config, "noise://0.0.0.0:7404");
    judge(&config, "http://0.0.0.0:7480");
    split(data, len);
    config_fini(&config);
    return 0;
}
