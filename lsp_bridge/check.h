/*
 * check.h - what an editor would get, from the shell
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_CHECK_H
#define LSP_CHECK_H

#include "settings.h"

/*
 * dsr1-lsp --check FILE:LINE:COLUMN: one suggestion at a place (both counted
 * from 1, columns in characters), and what led to it. Exit status.
 */
int check_place(const struct settings *settings, const char *place);

/* dsr1-lsp --status: the model that would be used. Exit status. */
int check_status(const struct settings *settings);

#endif
