/*-------------------------------------------------------------------------
 *
 * job_worker.h
 *	  the work on a job that fills a column
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef JOB_WORKER_H
#define JOB_WORKER_H

#include "compat.h"

/* For the job's process; ends with it. */
extern void job_worker_annotate(int64 job) pg_attribute_noreturn();

#endif							/* JOB_WORKER_H */
