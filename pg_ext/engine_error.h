/*-------------------------------------------------------------------------
 *
 * engine_error.h
 *	  the core's errors as PostgreSQL's
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ENGINE_ERROR_H
#define ENGINE_ERROR_H

#include "compat.h"
#include "dsr1.h"
#include "state.h"
#include "wire/wire_field.h"

extern int	engine_error_sqlstate(dsr1_status status);

/* Its message, fit to be shown and stored. */
extern char *engine_error_clean(struct wire_text message);

/* Raises what the engine answered to a request.  The message is cleaned in place. */
extern void engine_error_answer(dsr1_status status, char *message) pg_attribute_noreturn();

/* Raises that the engine does not start, and why as far as the user may know. */
extern void engine_error_failed(const State *state) pg_attribute_noreturn();

/* May the user see messages that name files of the server? */
extern bool engine_error_shows_files(void);

#endif							/* ENGINE_ERROR_H */
