/*
 * train_folder.h - a folder of the test's own, and calls that must succeed, for tests of training
 *
 *     return cmocka_run_group_tests(tests, open_folder, remove_folder);
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef TRAIN_FOLDER_H
#define TRAIN_FOLDER_H

#include "dsr1.h"
#include "train_golden.h"

#include <unistd.h>

static char folder[] = "/tmp/dsr1-train-XXXXXX";

/* A path in the folder; the last sixteen are valid. */
static inline const char *in_folder(const char *name)
{
    static char paths[16][300];
    static int next;
    char *path = paths[next++ % 16];
    snprintf(path, 300, "%s/%s", folder, name);
    return path;
}

static inline int open_folder(void **state)
{
    (void) state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    char command[400];
    (void) state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static inline void must(dsr1_status status, const dsr1_error *err)
{
    if (status != DSR1_OK)
        fail_msg("%s", err->message);
}

#endif
