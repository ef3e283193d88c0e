/*-------------------------------------------------------------------------
 *
 * grpo_worker.h
 *	  the work on a run of GRPO
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef GRPO_WORKER_H
#define GRPO_WORKER_H

#include "compat.h"

/* For the job's process; ends with it. */
extern void grpo_worker_train(int64 job) pg_attribute_noreturn();

#endif							/* GRPO_WORKER_H */
