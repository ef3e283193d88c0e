/*
 * listener.c - the Unix socket that clients connect to
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/listener.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512 };

/* Removes what a dead process left at the address; refuses anything else. */
static dsr1_status clear_place(const struct sockaddr_un *address, dsr1_error *err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT ? DSR1_OK : error_errno(err, DSR1_ERR_IO, "%s", address->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, DSR1_ERR_IO, "%s is there and is not a socket", address->sun_path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return error_errno(err, DSR1_ERR_IO, "socket");
    int connected = connect(probe, (const struct sockaddr *) address, sizeof *address);
    int reason = connected == 0 ? 0 : errno;
    close(probe);
    if (reason != ECONNREFUSED && reason != ENOENT)
        return error_set(err, DSR1_ERR_BUSY, "another process listens on %s", address->sun_path);
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return error_errno(err, DSR1_ERR_IO, "%s", address->sun_path);
    return DSR1_OK;
}

int listener_open(const char *path, dsr1_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return error_set(err, DSR1_ERR_ARGUMENT, "socket path %s is longer than %zu bytes", path,
                         sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    dsr1_status status = clear_place(&address, err);
    if (status < 0)
        return status;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno(err, DSR1_ERR_IO, "socket");
    mode_t mask = umask(0177);
    int bound = bind(fd, (const struct sockaddr *) &address, sizeof address);
    umask(mask);
    if (bound < 0 || listen(fd, BACKLOG) < 0) {
        status = error_errno(err, DSR1_ERR_IO, "%s", path);
        close(fd);
        return status;
    }
    return fd;
}

int listener_accept(int fd)
{
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0)
        return -1;
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != geteuid()) {
        close(client);
        errno = EACCES;
        return -1;
    }
    return client;
}
