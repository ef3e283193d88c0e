/*-------------------------------------------------------------------------
 *
 * batch_node.h
 *	  the plan node that looks ahead at rows and asks what they will ask
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef BATCH_NODE_H
#define BATCH_NODE_H

#include "nodes/plannodes.h"

/*
 * A node to be filled in: outer plan, target list and conditions (in terms of
 * INDEX_VAR), custom_scan_tlist (the outer plan's columns), and custom_exprs:
 * what batch_calls_collect() returned, in terms of INDEX_VAR.
 */
extern CustomScan *batch_node_make(void);

extern bool batch_node_is(const Plan *plan);

extern void batch_node_register(void);

#endif							/* BATCH_NODE_H */
