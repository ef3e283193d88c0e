/*-------------------------------------------------------------------------
 *
 * batch_late.h
 *	  conditions that ask wait until other nodes have dropped rows
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef BATCH_LATE_H
#define BATCH_LATE_H

#include "nodes/plannodes.h"

/*
 * Where a join's input is a node with a condition that asks, and the join is
 * expected to drop most of its rows, the node moves above the join.  Under a
 * limit it moves above the sort.  Returns the plan that takes the place of this
 * one, with the same columns.
 */
extern Plan *batch_late(Plan *plan);

/* One Var for each column of a target list. */
extern List *batch_late_vars(List *columns, int varno);

#endif							/* BATCH_LATE_H */
