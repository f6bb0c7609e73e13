/* Folders that tests made. */
#ifndef AN_TESTS_CORE_TREE_H
#define AN_TESTS_CORE_TREE_H

/* The folder and all that is in it; links are not followed. 0, or not when something of
 * it stays. */
int tree_remove(const char *path);

#endif
