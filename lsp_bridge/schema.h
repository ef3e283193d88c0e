/*
 * schema.h - the tables that the connected role may read, as lines for a prompt
 *
 * A thread of its own asks the database, so that neither the editor nor the
 * model waits for it. What it learns goes into prompts for SQL and nowhere else.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SCHEMA_H
#define LSP_SCHEMA_H

#include "base/buffer.h"
#include "pg_host.h"

struct schema;

/*
 * Starts reading, and reads again every ttl_s seconds that somebody asks within.
 * columns: with columns, types, keys; else names. NULL when memory is short.
 * failed is called from its thread and under its lock, once a row of failures.
 */
struct schema *schema_open(const struct pg_wish *wish, bool columns, int ttl_s,
                           void (*failed)(void *user, const char *message), void *user);
/* Accepts NULL. False: the thread is still trying to connect, and nothing is freed. */
bool schema_close(struct schema *schema);

/* What is known now; "" at first. Free the text with free(); NULL when memory is short. Accepts NULL. */
char *schema_text(struct schema *schema);

/* Reads again now. Accepts NULL. */
void schema_refresh(struct schema *schema);

#endif
