/*-------------------------------------------------------------------------
 *
 * engine_text.h
 *	  text of the database to text of the engine, which is UTF-8, and back
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ENGINE_TEXT_H
#define ENGINE_TEXT_H

#include "wire/wire_field.h"

extern struct wire_text engine_text(const text *input);

/* Raises an error, with a hint, where the database's encoding cannot hold it. */
extern text *engine_text_back(struct wire_text answer);

#endif							/* ENGINE_TEXT_H */
