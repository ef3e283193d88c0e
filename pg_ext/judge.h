/*-------------------------------------------------------------------------
 *
 * judge.h
 *	  how many rows the conditions of dsr1_filter() keep
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JUDGE_H
#define JUDGE_H

/* What a row has shown, for the planner's next guess in this session. */
extern void judge_learn(const text *condition, bool yes);

extern float8 judge_selectivity(const text *condition);

#endif							/* JUDGE_H */
