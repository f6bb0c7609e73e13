/* Runs a fuzz target over the files of a corpus directory: what plain ctest does where
 * there is no fuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int
replay_file(const char *path)
{
    uint8_t *bytes = malloc(1u << 20);
    FILE *file = fopen(path, "rb");

    if (bytes == NULL || file == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(bytes);
        return 1;
    }
    size_t len = fread(bytes, 1, 1u << 20, file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    return 0;
}

int
main(int argc, char **argv)
{
    unsigned count = 0;
    int failed = 0;

    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (dir == NULL) {
        fprintf(stderr, "usage: replay CORPUS-DIRECTORY\n");
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
            failed |= replay_file(path);
            count++;
        }
    }
    closedir(dir);
    printf("%u inputs\n", count);
    return failed || count == 0; /* an empty corpus tests nothing */
}
