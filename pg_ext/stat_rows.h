/*-------------------------------------------------------------------------
 *
 * stat_rows.h
 *	  what functions behind views share: asking the engine, and returning a set of rows as a whole
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef STAT_ROWS_H
#define STAT_ROWS_H

#include "engine_client.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "state.h"
#include "utils/tuplestore.h"

/*
 * The engine's answer to a question without fields, of the type wanted, or NULL where no engine is: looking starts none.
 * What the supervisor says of the engine goes into state. Free the answer with engine_request_free().
 */
extern EngineRequest *stat_ask(enum wire_type question, enum wire_type wanted, State *state);

/* The set to put rows of so many columns into; it is what the function returns. */
extern ReturnSetInfo *stat_rows_begin(FunctionCallInfo fcinfo, int n_columns);

#endif							/* STAT_ROWS_H */
