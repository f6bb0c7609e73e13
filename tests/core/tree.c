#include "tests/core/tree.h"
#include <ftw.h>
#include <stdio.h>

enum { DESCRIPTORS_MAX = 16 };

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int
tree_remove(const char *path)
{
    return nftw(path, remove_one, DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS);
}
