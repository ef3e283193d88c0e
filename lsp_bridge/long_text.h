/*
 * long_text.h - read a message that carries a whole file
 *
 * Half of the editors send the full text on every key. jansson looks at each of
 * its bytes some ten times; most bytes of a file stand for themselves and can be
 * copied eight at a time. So the long strings are taken out, jansson reads what
 * is left, and they are put back.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef LSP_LONG_TEXT_H
#define LSP_LONG_TEXT_H

#include <jansson.h>
#include <stddef.h>

enum { LONG_TEXT_BYTES = 16384 };   /* strings from this length on are taken out */

/*
 * What json_loadb() makes of the body. NULL where it has no long string, or anything
 * unusual: the caller then asks jansson, which knows what is wrong with it.
 */
json_t *long_text_parse(const char *body, size_t size);

#endif
