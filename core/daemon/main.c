/*
 * main.c - dsr1-engine: inference in a process of its own
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "daemon/server.h"

#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct settings settings;
    struct server server;
    dsr1_error err = {0};
    int wrong = settings_parse(&settings, argc, argv);
    if (wrong != SETTINGS_GO)
        return wrong;
    dsr1_status status = server_open(&server, &settings, &err);
    if (status == DSR1_OK)
        status = server_run(&server, &err);
    if (status < 0)
        parent_failed(&server.parent, &err);
    int result = status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (!server_close(&server))
        _exit(result);
    return result;
}
