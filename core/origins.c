#include "core/origins.h"
#include <string.h>
#include <strings.h>

bool
an_origins_list(const char *list, const char *origin, size_t len)
{
    for (list += strspn(list, AN_ORIGINS_APART); *list != '\0';
         list += strspn(list, AN_ORIGINS_APART)) {
        size_t one = strcspn(list, AN_ORIGINS_APART);

        if ((one == 1 && *list == '*') ||
            (one == len && strncasecmp(list, origin, len) == 0)) {
            return true;
        }
        list += one;
    }
    return false;
}
