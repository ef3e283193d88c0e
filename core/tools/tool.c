/*
 * tool.c - failing in one line, and finding the model
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/error.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int tool_fail(const char *name, const dsr1_error *err)
{
    tool_progress_end();
    fflush(stdout);
    fprintf(stderr, "dsr1 %s: %s\n", name, err->message[0] ? err->message : dsr1_status_name(err->status));
    return 1;
}

/* The folder of the running program, "" where /proc does not tell. */
static void program_folder(char *folder, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", folder, size - 1);
    folder[n > 0 ? n : 0] = 0;
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
}

const char *tool_model_path(const char *given, dsr1_error *err)
{
    static char path[PATH_MAX + 64];
    /* build/bin/dsr1, an installed bin/dsr1, and wherever we are. */
    static const char *const folders[] = {"/../../models/", "/../share/dsr1/", NULL};
    if (given)
        return given;
    const char *wish = getenv("DSR1_MODEL");
    if (wish && *wish)
        return wish;

    char folder[PATH_MAX];
    program_folder(folder, sizeof folder);
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        snprintf(path, sizeof path, "%s%sdsr1-default.gguf", folders[f] ? folder : "",
                 folders[f] ? folders[f] : "models/");
        if (access(path, R_OK) == 0)
            return path;
    }
    error_set(err, DSR1_ERR_IO, "no model: give one with -m or DSR1_MODEL");
    return NULL;
}

dsr1_status tool_model_open(const char *given, dsr1_model **model, dsr1_error *err)
{
    *model = NULL;
    const char *path = tool_model_path(given, err);
    return path ? dsr1_model_open(path, model, err) : DSR1_ERR_IO;
}
