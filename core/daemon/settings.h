/*
 * settings.h - the engine process's command line
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include "dsr1.h"

struct settings {
    const char *model;
    const char *socket;
    int parent_fd;              /* -1: nobody's child */
    dsr1_engine_options engine;
};

enum { SETTINGS_GO = -1 };

/* SETTINGS_GO, or the exit status: 0 after --help or --version, 2 after a line about what is wrong. */
int settings_parse(struct settings *settings, int argc, char **argv);

#endif
