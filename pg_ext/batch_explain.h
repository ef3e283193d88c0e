/*-------------------------------------------------------------------------
 *
 * batch_explain.h
 *	  what EXPLAIN shows of the node that looks ahead
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef BATCH_EXPLAIN_H
#define BATCH_EXPLAIN_H

#include "batch_state.h"
#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* Around the evaluation of a row. */
extern void batch_explain_begin(BatchState *state);
extern void batch_explain_end(BatchState *state);

/* A question of a row that is done with; counted once, by whoever comes first. */
extern void batch_explain_count(BatchFigures *figures, MemoEntry *entry);

/* What a node might ask. */
extern void batch_explain_estimate(const CustomScan *plan, double *requests, double *prompt_tokens);

extern void batch_explain(BatchState *state, List *ancestors, ExplainState *es);

#endif							/* BATCH_EXPLAIN_H */
