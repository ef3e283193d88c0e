/*-------------------------------------------------------------------------
 *
 * grpo_options.h
 *	  the options of dsr1_grpo(), and the command line that they become
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef GRPO_OPTIONS_H
#define GRPO_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct GrpoOptions
{
	char	   *eval;			/* query for prompts to look at only; NULL: none */
	int			steps;
	int			batch;			/* prompts per step */
	int			max_tokens;
	int64		seed;
	int			reward_timeout; /* ms for one reward */
	int			rollouts;		/* kept of each step; -1: all */
	List	   *arguments;		/* strings: of dsr1 grpo, for what was given */
} GrpoOptions;

/* Raises an error for what is unknown or out of its range. */
extern void grpo_options_read(GrpoOptions *options, Jsonb *given);

#endif							/* GRPO_OPTIONS_H */
