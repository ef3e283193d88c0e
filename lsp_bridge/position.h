/*
 * position.h - columns as clients count them
 *
 * A client counts the characters of a line in UTF-16 units unless it agreed to
 * UTF-8 bytes or code points; we count bytes.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_POSITION_H
#define LSP_POSITION_H

#include <stddef.h>

enum position_encoding { POSITION_UTF16, POSITION_UTF8, POSITION_UTF32 };

/* "utf-16" and so on. */
const char *position_encoding_name(enum position_encoding encoding);

/*
 * The byte offset of column `units` in text, at most size. A column inside a
 * code point means its first byte. *left (may be NULL) is what of units was not
 * used up, so that text may come in pieces.
 */
size_t position_to_bytes(enum position_encoding encoding, const char *text, size_t size, size_t units, size_t *left);

/* How many units size bytes of text are. */
size_t position_units(enum position_encoding encoding, const char *text, size_t size);

#endif
