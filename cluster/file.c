#include "cluster/file.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t count = write(fd, data, len);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return -1;
        }
        data += count;
        len -= (size_t)count;
    }
    return 0;
}

int
file_sync_name(const char *path)
{
    char copy[PATH_MAX];
    int fd, rv;

    snprintf(copy, sizeof(copy), "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rv = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0) {
        close(fd);
    }
    return rv;
}

enum an_err
file_replace(const char *path, mode_t mode, const void *data, size_t len, char *why,
             size_t why_len)
{
    char fresh[PATH_MAX];
    int fd = -1, error = ENAMETOOLONG;

    if ((size_t)snprintf(fresh, sizeof(fresh), "%s.new", path) >= sizeof(fresh)) {
        goto out;
    }
    (void)unlink(fresh); /* one that a crash left may have another mode */
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    error = fd >= 0 && fchmod(fd, mode) == 0 && write_all(fd, data, len) == 0 &&
                    fsync(fd) == 0 && rename(fresh, path) == 0 &&
                    file_sync_name(path) == 0
                ? 0
                : errno;
out:
    if (fd >= 0) {
        close(fd);
    }
    if (error == 0) {
        return AN_OK;
    }
    snprintf(why, why_len, "%s: %s", path, strerror(error));
    return error == ENOSPC || error == EDQUOT ? AN_ERR_DISK_FULL : AN_ERR_IO;
}
