/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  a function's result of many rows, all at once
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef ROWS_H
#define ROWS_H

#include "fmgr.h"
#include "nodes/execnodes.h"

extern ReturnSetInfo *rows_begin(FunctionCallInfo fcinfo);
extern void rows_put(ReturnSetInfo *rows, Datum *values, bool *nulls);

#endif							/* ROWS_H */
