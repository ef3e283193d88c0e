/*
 * json_repair.h - make document text readable that JSON does not allow
 *
 * Editors send what is in the buffer: halves of surrogate pairs, zeros, bytes
 * that are no UTF-8. Losing the document for that would cost more than a
 * U+FFFD, so it is put in their place, in the values of "text" and nowhere else.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_JSON_REPAIR_H
#define LSP_JSON_REPAIR_H

#include "base/buffer.h"

#include <stddef.h>

/* A copy of json with its "text" strings repaired. Broken syntax is copied as it is. */
void json_repair(const char *json, size_t size, struct buffer *out);

#endif
