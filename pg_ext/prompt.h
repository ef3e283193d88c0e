/*-------------------------------------------------------------------------
 *
 * prompt.h
 *	  prompts in parts, in UTF-8: what all rows share first, the row's text last
 *
 * The engine keeps what it computed for the beginning of a prompt, so a query
 * over many rows pays for the instruction once.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef PROMPT_H
#define PROMPT_H

#include "lib/stringinfo.h"
#include "utils/array.h"

#include "wire/wire_message.h"

/* A conversation of an instruction and a text about which it is. */
extern void prompt_about(struct wire_prompt *prompt, const StringInfoData *instruction, struct wire_text input);

extern void prompt_turn(struct wire_prompt *prompt, const char *role, struct wire_text content);

extern void prompt_append(StringInfo to, struct wire_text text);

/* A blank and the text, if there is one. */
extern void prompt_append_more(StringInfo to, const text *more);

/* The text as JSON has it, with its quotes. */
extern void prompt_append_quoted(StringInfo to, struct wire_text text);

extern struct wire_text prompt_text(const StringInfoData *from);

/* An argument that is a text[] with 1 to `most` elements, none null or empty. */
extern struct wire_text *prompt_texts(ArrayType *array, const char *what, int most, int *n);

#endif							/* PROMPT_H */
