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

extern void batch_plan(PlannedStmt *plan, int cursor_options);
extern void batch_register(void);

#endif							/* BATCH_PLAN_H */
