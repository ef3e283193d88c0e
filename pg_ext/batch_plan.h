/*-------------------------------------------------------------------------
 *
 * batch_plan.h
 *	  puts a node into plans that asks ahead for rows to come
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef BATCH_PLAN_H
#define BATCH_PLAN_H

#include "nodes/plannodes.h"

/*
 * With row-level security, no condition changes its place among others: a
 * policy's comes before all that could leak what it hides.
 */
extern void batch_plan(PlannedStmt *plan, int cursor_options, bool has_policies);

extern void batch_register(void);

#endif							/* BATCH_PLAN_H */
