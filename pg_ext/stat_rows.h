/*-------------------------------------------------------------------------
 *
 * stat_rows.h
 *	  functions that return a set of rows, as a whole
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef STAT_ROWS_H
#define STAT_ROWS_H

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/tuplestore.h"

/* The set to put rows of so many columns into; it is what the function returns. */
extern ReturnSetInfo *stat_rows_begin(FunctionCallInfo fcinfo, int n_columns);

#endif							/* STAT_ROWS_H */
