/*
 * secret.h - does a text look like a key that should not be suggested?
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_SECRET_H
#define LSP_SECRET_H

#include <stddef.h>

/* The offset at which something begins that has the shape of a credential; size when nothing does. */
size_t secret_find(const char *text, size_t size);

#endif
