/*
 * replay.h - what an editor said once, said again, with a watch in hand
 *
 * dsr1-lsp --record TRACE writes every message of the editor and when it came;
 * --replay TRACE sends them to a server of its own at the same pace and prints
 * how long the answers took and how many tokens they cost.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_REPLAY_H
#define LSP_REPLAY_H

#include <jansson.h>

/* The exit status: 1 when the trace cannot be read, or a request was not answered exactly once. */
int replay_trace(const char *path, json_t *settings);

#endif
