/*
 * load_engine.c - a dsr1-engine of one's own, for as long as a benchmark runs
 *
 * As a supervisor starts it (core/daemon/settings.h): its end of a socketpair
 * tells when it is ready, and closing ours would end it.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "load_engine.h"

#include "base/error.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 40 };

static void run(const struct load_engine *engine, const char *program, const char *model,
                const char *const *arguments, int fd)
{
    char number[16];
    const char *argv[MAX_ARGUMENTS + 8] = {program, "--model", model, "--socket", engine->socket, "--parent-fd", number};
    snprintf(number, sizeof number, "%d", fd);
    for (int i = 0; arguments[i] && i < MAX_ARGUMENTS; i++)
        argv[7 + i] = arguments[i];
    setsid();
    execv(program, (char *const *) argv);
    fprintf(stderr, "cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

/* The engine's lines until "ready" or "failed STATUS REASON". */
static dsr1_status wait_ready(struct load_engine *engine, const char *program, dsr1_error *err)
{
    char line[1300];
    int fd = dup(engine->parent_fd);
    FILE *lines = fd < 0 ? NULL : fdopen(fd, "r");
    dsr1_status status = DSR1_ERR_IO;
    while (lines && status == DSR1_ERR_IO && fgets(line, sizeof line, lines)) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "ready") == 0)
            status = DSR1_OK;
        else if (strncmp(line, "failed ", 7) == 0)
            status = error_set(err, DSR1_ERR_ARGUMENT, "%s", line);
    }
    if (status == DSR1_ERR_IO)
        error_set(err, status, "%s did not start", program);
    if (lines)
        fclose(lines);
    else if (fd >= 0)
        close(fd);
    return status;
}

dsr1_status load_engine_start(struct load_engine *engine, const char *program, const char *model,
                              const char *const *arguments, dsr1_error *err)
{
    int pair[2];
    *engine = (struct load_engine){.parent_fd = -1};
    strcpy(engine->folder, "/tmp/dsr1-load-XXXXXX");
    if (!mkdtemp(engine->folder))
        return error_errno(err, DSR1_ERR_IO, "a folder for the socket");
    snprintf(engine->socket, sizeof engine->socket, "%s/s", engine->folder);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return error_errno(err, DSR1_ERR_IO, "a socket");
    engine->pid = fork();
    if (engine->pid == 0) {
        close(pair[0]);
        run(engine, program, model, arguments, pair[1]);
    }
    close(pair[1]);
    engine->parent_fd = pair[0];
    if (engine->pid < 0) {
        engine->pid = 0;
        return error_errno(err, DSR1_ERR_IO, "cannot fork");
    }
    return wait_ready(engine, program, err);
}

void load_engine_stop(struct load_engine *engine)
{
    if (engine->pid > 0) {
        kill(engine->pid, SIGTERM);
        waitpid(engine->pid, NULL, 0);
        unlink(engine->socket);
    }
    if (engine->parent_fd >= 0)
        close(engine->parent_fd);
    if (*engine->folder)
        rmdir(engine->folder);
    *engine = (struct load_engine){.parent_fd = -1};
}
