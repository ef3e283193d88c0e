/*-------------------------------------------------------------------------
 *
 * options.h
 *	  the options of a completion: checked, and read out of jsonb
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "utils/array.h"
#include "utils/jsonb.h"
#include "wire/wire_message.h"

/* A completion with nothing but its defaults, to be filled in and pfree'd. */
extern struct wire_complete *options_new(void);

extern int32 options_check_max_tokens(int64 max_tokens);
extern float options_check_temperature(float8 temperature);
extern void options_read_stop(struct wire_complete *complete, ArrayType *array);
/* "": none, whatever dsr1.adapter says. */
extern void options_set_adapter(struct wire_complete *complete, const char *adapter);

/*
 * Reads an object of options.  What is not an option of every completion is
 * left to the caller: those named in `others`, which ends with NULL.
 */
extern void options_read(struct wire_complete *complete, Jsonb *options, const char *const *others);

/*
 * The same for a text that goes on at a cursor, with what editors know about
 * it: how it begins (opening, heal) and what it is the beginning of (grammar,
 * open_end).  suffix: that option is read, too, and makes the prompt, which is
 * raw, a gap to be filled.
 */
extern void options_read_cursor(struct wire_complete *complete, Jsonb *options, bool suffix);

/* The value of a key of a jsonb object, or NULL where there is none, or null. */
extern JsonbValue *options_find(Jsonb *object, const char *key);

#endif							/* OPTIONS_H */
