/* Fuzzing a node's configuration: the input is its YAML. What is refused is refused with
 * the file and a line in one line of text; what is taken lies within every key's bounds.
 */
#include "cluster/config.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char NAME[] = "f.yaml:";

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
    config_fini(&config);
    return 0;
}
