#include "cluster/data_dir.h"
#include "cluster/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_MAX_LEN = 4096, BASE_MAX = RUN_DIR_MAX - 16, SUFFIX_LEN = 6 };

static const char PREFIX[] = "anser-";

static enum an_err
complain(const char *path, char *why, size_t why_len)
{
    enum an_err err = errno == ENOSPC || errno == EDQUOT ? AN_ERR_DISK_FULL : AN_ERR_IO;

    snprintf(why, why_len, "%s: %s", path, strerror(errno));
    return err;
}

/* Parents are not made: a disk that is not mounted would be filled at its mount point.
 * False: they are there. */
static bool
lacks_parent(const char *path, char *why, size_t why_len)
{
    char parent[PATH_MAX_LEN];
    struct stat st;

    if ((size_t)snprintf(parent, sizeof(parent), "%s", path) >= sizeof(parent)) {
        return false;
    }
    for (char *at = strchr(parent + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (stat(parent, &st) != 0 && errno == ENOENT) {
            snprintf(why, why_len, "%s: the directory %s is not there; make it first",
                     path, parent);
            return true;
        }
        *at = '/';
    }
    return false;
}

enum an_err
data_dir_make(const char *path, char *why, size_t why_len)
{
    struct stat st;

    /* Its name too must outlive a power cut, and all that is acknowledged in it. */
    if (mkdir(path, 0700) == 0) {
        return file_sync_name(path) == 0 ? AN_OK : complain(path, why, why_len);
    }
    if (errno == ENOENT && lacks_parent(path, why, why_len)) {
        return AN_ERR_IO;
    }
    if (errno == EEXIST && stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            /* Who made it may have died before the sync; who may not read the directory
             * above did not make it here. */
            return file_sync_name(path) == 0 || errno == EACCES
                       ? AN_OK
                       : complain(path, why, why_len);
        }
        errno = ENOTDIR;
    }
    return complain(path, why, why_len);
}

enum an_err
lock_hold(const char *path, int *fd, char *why, size_t why_len)
{
    enum an_err err = AN_ERR_LOCKED;

    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) {
        return complain(path, why, why_len);
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) {
        return AN_OK;
    }
    if (errno == EWOULDBLOCK) {
        snprintf(why, why_len, "another process holds %s", path);
    } else {
        err = complain(path, why, why_len);
    }
    close(*fd);
    *fd = -1;
    return err;
}

enum an_err
data_dir_hold(const char *dir, int *fd, char *why, size_t why_len)
{
    char path[PATH_MAX_LEN];
    enum an_err err = data_dir_make(dir, why, why_len);

    if (err != AN_OK) {
        return err;
    }
    snprintf(path, sizeof(path), "%s/lock", dir);
    err = lock_hold(path, fd, why, why_len);
    if (err == AN_ERR_LOCKED) {
        snprintf(why, why_len, "another process runs on %s", dir);
    }
    return err;
}

enum an_err
run_dir_make(char out[RUN_DIR_MAX], char *why, size_t why_len)
{
    const char *base = getenv("XDG_RUNTIME_DIR");

    if (base == NULL || base[0] != '/' || strlen(base) > BASE_MAX ||
        access(base, W_OK | X_OK) != 0) {
        base = "/tmp";
    }
    snprintf(out, RUN_DIR_MAX, "%s/%sXXXXXX", base, PREFIX);
    return mkdtemp(out) != NULL ? AN_OK : complain(out, why, why_len);
}

/* "/run/user/0/anser-a1b2c3" of an address in it, by its last directory of that form;
 * false when there is none. */
static bool
directory_of(const char *url, char out[RUN_DIR_MAX])
{
    const char *path = strncmp(url, "ipc://", 6) == 0 ? url + 6 : url;
    const size_t name_len = sizeof(PREFIX) - 1 + SUFFIX_LEN;
    size_t found = 0;

    for (const char *at = path; (at = strstr(at, PREFIX)) != NULL; at++) {
        if (at > path && at[-1] == '/' && strcspn(at, "/") == name_len) {
            found = (size_t)(at - path) + name_len;
        }
    }
    if (path[0] != '/' || found == 0 || found >= RUN_DIR_MAX) {
        return false;
    }
    memcpy(out, path, found);
    out[found] = '\0';
    return true;
}

void
run_dir_remove(const char *url)
{
    char dir[RUN_DIR_MAX];
    struct dirent *entry;
    struct stat st;
    DIR *list;

    if (!directory_of(url, dir) || lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
        st.st_uid != geteuid()) {
        return;
    }
    list = opendir(dir);
    if (list == NULL) {
        return;
    }
    while ((entry = readdir(list)) != NULL) {
        if (fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISSOCK(st.st_mode)) {
            unlinkat(dirfd(list), entry->d_name, 0);
        }
    }
    closedir(list);
    rmdir(dir);
}
